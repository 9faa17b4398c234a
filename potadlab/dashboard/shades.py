"""What colourings by owner, group and age need, from a session."""

import numpy as np

from ..core.layout import NONE, Outcome, Verb
from ..grouping import groups_of
from ..kinds import facts
from ..session import Session
from ..views import theme


class Shades:
    """Of one session as it is now; an op added by hand asks for new ones."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._groups: dict[str, np.ndarray] = {}
        self._owners, self.names = _ranked(session)

    def at(self, name: str, index: int, colouring: str) -> theme.Shade:
        """For blocks of an allocator after `index` ops; groups only where they are asked for."""
        now_ns = self._session.time_ns(max(index - 1, 0)) if index else 0
        if colouring == theme.BY_GROUP and name not in self._groups:
            self._groups[name] = _groups(self._session, name)
        groups = self._groups.get(name, theme.PLAIN.groups)
        return theme.Shade(now_ns, self._owners, groups, self._session.clock)


def _ranked(session: Session) -> tuple[np.ndarray, list[str]]:
    """(u1[owner]: rank by memory asked for, names of those that have a colour)."""
    asked = session.ops[session.ops["verb"] == Verb.ALLOCATE]
    owners = np.concatenate([asked["owner"], session.start["owner"]])
    orders = np.concatenate([asked["order"], session.start["order"]])
    told = (owners >= 0) & (owners < len(session.owners))
    sizes = np.ldexp(1.0, orders[told].astype(np.int64))
    sums = np.bincount(owners[told], sizes, minlength=len(session.owners))
    first = np.argsort(-sums, kind="stable")[: theme.OWNERS_SHOWN]
    first = first[sums[first] > 0]
    ranks = np.full(len(session.owners), theme.OTHER_OWNER, np.uint8)
    ranks[first] = np.arange(len(first))
    return ranks, [session.owner(int(number)) for number in first]


def _groups(session: Session, name: str) -> np.ndarray:
    """u1[handle]: index into theme.GROUPS of what each block was asked for."""
    run, ops = session.runs[name], session.ops
    kinds = facts()
    kind = np.minimum(run.named["kind"], len(kinds) - 1)
    groups = (kinds["movable"][kind] != 0).astype(np.uint8)
    asked = ops["verb"] == Verb.ALLOCATE
    groups[ops["handle"][asked]] = groups_of(ops, "migratetype", session.handles)[asked] - 1
    cut = np.flatnonzero((ops["verb"] == Verb.SPLIT) & (run.events["outcome"] == Outcome.DONE))
    for at in cut[ops["into"][cut] != NONE]:
        pieces = 1 << (int(run.events[at]["order"]) - int(ops[at]["order"]))
        into = int(ops[at]["into"])
        groups[into : into + pieces] = groups[ops[at]["handle"]]
    return groups
