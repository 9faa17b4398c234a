"""What people add to the experiment: failures and claims, as ops; and taking them out again."""

from typing import TYPE_CHECKING

import numpy as np

from ..core.layout import Outcome, Verb
from ..session import Claimed, Session, Told
from ..units import format_size
from . import words
from .failing import Asked, asked_of

if TYPE_CHECKING:
    from .lab import Dashboard


class Adding:
    """Ops by hand in the session of a dashboard; each is done in a copy, which takes its place."""

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self._undone: list[tuple[str, list[int]]] = []  # by each undo: what it was, where it stood
        self._claims: tuple[np.ndarray | None, np.ndarray] = None, np.zeros(0, np.int64)

    def opened(self) -> None:
        """Another session: what was added to it before it was saved is undone as it was added."""
        session, self._undone = self._board._live(), []
        for (index, op), joined in zip(session.by_hand(), session.joined(), strict=True):
            if joined and self._undone:
                self._undone[-1][1].append(index)
            else:
                name = Verb(int(op["verb"])).name.lower()
                self._undone.append((f"op {name} of the saved session", [index]))

    def close(self) -> None:
        self._undone, self._claims = [], (None, np.zeros(0, np.int64))

    # ---- what is asked ----

    def fail(self) -> None:
        """The memory at the chosen address fails, in every allocator."""
        board, index = self._board, self._board.index
        if board.selected is None:
            return board.say("click on a map first: that is the address that fails", error=True)
        granule, soft = board.selected[1], board.controls.soft.value
        at_bytes = granule * board._live().space.granule_bytes
        what = f"the {'soft ' if soft else ''}failure of {words.address(at_bytes)}"

        def work(session: Session) -> tuple[list[Told], Asked]:
            found = session.fail(granule, index, soft)
            return found, asked_of(session)

        def then(found: tuple[list[Told], Asked]) -> None:
            board.failing.know(found[1])
            self.added([index], what, words.told(at_bytes, found[0]))

        board.change(f"failing {words.address(at_bytes)}, replaying what comes after", work, then)

    def claim(self) -> None:
        """Claim the size at the alignment that are picked, in every allocator."""
        board, index, controls = self._board, self._board.index, self._board.controls
        unit, align = board._live().space.granule_bytes, controls.align.value
        size = controls.size.value
        asked = f"{format_size(size)} at {format_size(align)}"
        order, migrate = max(align // unit, 1).bit_length() - 1, controls.migrate.value

        def work(session: Session) -> list[Claimed]:
            return session.claim(size // unit, order, index, migrate=migrate)

        def then(found: list[Claimed]) -> None:
            self.added([index], f"the claim of {asked}", words.claimed(asked, found))

        board.change(f"claiming {asked}, replaying what comes after", work, then)

    def undo(self) -> None:
        """Back to the run without what was added last."""
        board = self._board
        if not board._live().added:
            return board.say("nothing to undo: this is the untouched run", error=True)

        def then(_done: bool) -> None:
            what, ops = self._undone.pop()
            index = board.index
            for at in reversed(ops):
                board.moments.shifted(at, -1)
                index -= at < index
            board._replayed_anew(index)
            board._note([f"undone: {what}"])

        board.change("undoing, replaying without it", Session.undo, then)

    def added(self, ops: list[int], what: str, lines: list[str]) -> None:
        """Ops stand at these places, put in one after the other; show the moment of the first."""
        board, index = self._board, ops[0]
        self._undone.append((what, ops))
        for at in ops:
            board.moments.shifted(at, 1)
        session = board._live()
        when = session.clock.told(session.time_ns(max(index - 1, 0)), 6)
        board._note([", ".join([f"after op {index:,}", *when]) + f": {lines[0]}", *lines[1:]])
        board._replayed_anew(index + 1)
        many = "an op was" if len(ops) == 1 else f"{len(ops):,} ops were"
        board.say(f"{many} added and all after replayed; Undo goes back")

    # ---- where claims have come to lie ----

    def places(self, name: str) -> list[tuple[int, int]]:
        """(granule, granules) of what was claimed by hand before this moment, and was given."""
        session, index = self._board._live(), self._board.index
        if self._claims[0] is not session.ops:
            added = np.sort(session.places_by_hand())
            self._claims = session.ops, added[session.ops["verb"][added] == Verb.CLAIM]
        events = session.runs[name].events
        return [
            (int(events["granule"][at]), int(session.ops["granules"][at]))
            for at in self._claims[1].tolist()
            if at < index and events["outcome"][at] == Outcome.DONE
        ]
