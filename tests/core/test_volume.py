"""A million random ops in every way that POTAD can be set, and LLFree's, judged by the model.

A failure prints its seed and the shortest list of ops that still fails.
"""

import random

import numpy as np
import pytest
from judge import Judge, pairs
from test_allocators import LINUX, VARIANTS

from potadlab.core import interface
from potadlab.core._jit import DISABLED
from potadlab.core.layout import BLOCK, EVENT, MOVE, NONE, OP, Flag, Verb
from potadlab.core.lookups.heads import locate
from potadlab.core.replay import begin, replay
from potadlab.kinds import KIND, KINDS, facts

WAYS = [name for name in VARIANTS if name.startswith(("potad", "llfree"))]
OPS = 2000 if DISABLED else 200_000  # of each way: a million in all
LIST_OPS = 400
ZONES, RANGES = [(200, 453), (3, 200)], [(3, 60), (64, 180), (200, 300), (310, 450)]
HANDLES = 16 * LIST_OPS
FACTS = facts()
_KINDS = [KIND[name] for name in ("anon", "file", "folio", "swap")] * 4 + list(range(2, len(KINDS)))
ALLOCATE, RELEASE, SPLIT, CLAIM, RELEASE_CLAIM, FAIL, UNPOISON, PIN, UNPIN, MIGRATE, DRAIN = (
    int(Verb[name])
    for name in (
        "ALLOCATE", "RELEASE", "SPLIT", "CLAIM", "RELEASE_CLAIM", "FAIL", "UNPOISON", "PIN",
        "UNPIN", "MIGRATE", "DRAIN",
    )
)  # fmt: skip
_VERBS = {
    ALLOCATE: 40, RELEASE: 34, SPLIT: 4, CLAIM: 4, RELEASE_CLAIM: 3, FAIL: 2, UNPOISON: 2,
    PIN: 3, UNPIN: 3, MIGRATE: 3, DRAIN: 1,
}  # fmt: skip
_BY_HANDLE = (RELEASE, SPLIT, RELEASE_CLAIM, PIN, UNPIN, MIGRATE)
_CLAIM_KINDS, _CLAIM_FLAGS = (KIND["driver"], KIND["anon"]), (0, int(Flag.MAY_MIGRATE))
_USUAL = {"granule": NONE, "handle": NONE, "into": NONE, "granules": 1, "order": 0} | {
    "align_order": 0, "verb": 0
}  # fmt: skip


def ops_of_seed(seed):
    """(OP[], u1[] groups): a list with as much sense as can be had without knowing the events."""
    dice = random.Random(seed)
    verbs = dice.choices(list(_VERBS), list(_VERBS.values()), k=LIST_OPS)
    ops = np.zeros(LIST_OPS, OP)
    ops["owner"], ops["time_ns"] = 1, np.arange(LIST_OPS)
    ops["cpu"] = dice.choices(range(4), k=LIST_OPS)
    known = Known(dice)
    fields = [known.op(verb) for verb in verbs]
    for name in ("verb", "handle", "order", "into", "granule", "granules", "align_order"):
        ops[name] = [one.get(name, _USUAL[name]) for one in fields]
    ops["kind"], ops["flags"] = (
        [one.get("kind", 0) for one in fields],
        [one.get("flags", 0) for one in fields],
    )
    claim_sizes(ops)
    return ops, np.array(dice.choices(range(4), k=LIST_OPS), np.uint8)


class Known:
    """What the ops so far have named."""

    def __init__(self, dice):
        self.dice, self.free = dice, 0
        self.blocks: dict[int, int] = {}  # handle -> order
        self.claims: list[int] = []

    def op(self, verb):
        """The fields of an op of this verb."""
        dice = self.dice
        if verb == ALLOCATE:
            order = min(int(dice.expovariate(0.7)), 8)
            handle = self.named(1)
            self.blocks[handle] = order
            kind = dice.choice(_KINDS)
            return {"verb": verb, "handle": handle, "order": order, "kind": kind}
        if verb == CLAIM:
            align_order, handle = dice.randrange(6), self.named(1)
            self.claims.append(handle)
            return {
                "verb": verb, "handle": handle, "align_order": align_order,
                "granules": dice.randrange(1, 9) << align_order,
                "kind": dice.choice(_CLAIM_KINDS), "flags": dice.choice(_CLAIM_FLAGS),
            }  # fmt: skip
        if verb in _BY_HANDLE:
            return self.by_handle(verb)
        flags = dice.choice(_CLAIM_FLAGS) if verb == FAIL else 0  # hard or soft
        return {"verb": verb, "granule": dice.randrange(460), "flags": flags}

    def named(self, count):
        """The first of so many new handles."""
        self.free += count
        return self.free - count

    def by_handle(self, verb):
        """An op on a block or claim, most often one that may live."""
        dice = self.dice
        if verb == RELEASE_CLAIM or (verb in (PIN, UNPIN) and dice.random() < 0.1):
            return {"verb": verb, "handle": dice.choice(self.claims or [0])}
        handle = dice.choice(list(self.blocks)) if self.blocks else 0
        whole = self.blocks.get(handle, 0)
        if verb == SPLIT and self.blocks:
            order = dice.randrange(whole + 1)
            pieces = 1 << (whole - order)
            if self.free + pieces >= HANDLES:
                return {"verb": DRAIN}
            into = self.named(pieces)
            self.blocks.update({into + piece: order for piece in range(pieces)})
            return {"verb": verb, "handle": handle, "order": order, "into": into}
        if verb == RELEASE and self.blocks and dice.random() < 0.9:
            del self.blocks[handle]
        return {"verb": verb, "handle": handle, "order": whole if verb == MIGRATE else 0}


def claim_sizes(ops):
    """RELEASE_CLAIM gives back as much as its claim asked for."""
    claims = ops[ops["verb"] == Verb.CLAIM]
    asked = dict(zip(claims["handle"].tolist(), claims["granules"].tolist(), strict=True))
    back = ops["verb"] == Verb.RELEASE_CLAIM
    ops["granules"][back] = [asked.get(handle, 1) for handle in ops["handle"][back].tolist()]


def fault_in(name, ops, groups):
    """What is wrong with the events of these ops, None if nothing is."""
    state, where = VARIANTS[name](np.array(ZONES), FACTS), np.full(HANDLES, NONE, np.int64)
    served = np.array(RANGES, np.int64)
    begin(state, served, np.zeros(0, BLOCK), where)
    events = np.zeros(len(ops), EVENT)
    room = int((ops["granules"][ops["verb"] == Verb.CLAIM] + 2).sum()) + len(ops)
    moves, judge = np.zeros(room, MOVE), Judge(ZONES, RANGES, name in LINUX)
    try:
        moved = replay(state, ops, groups, where, events, moves, served, np.array(ZONES))
        first, last = (
            np.searchsorted(moves["op"][:moved], np.arange(len(ops)), side)
            for side in ("left", "right")
        )
        for i, (op, event) in enumerate(pairs(ops, events)):
            judge.see(op, event, moves[first[i] : last[i]])
        judge.agrees(where)
        interface.check(state)
        for granule in range(3, 450, 31) if name not in LINUX else ():
            start = int(locate(state.heads, granule)[0])
            if granule not in judge.model.failed:
                assert start == judge.model.holder(granule)
    except AssertionError as error:
        return f"{error}" or "an assertion of the core"
    return None


def shortest(name, ops, groups):
    """Leave out what is not needed for the fault, ever smaller stretches at a time."""
    width = len(ops) // 2
    while width:
        start = 0
        while start < len(ops):
            kept = np.r_[0:start, min(start + width, len(ops)) : len(ops)]
            if fault_in(name, ops[kept], groups[kept]):
                ops, groups = ops[kept], groups[kept]
            else:
                start += width
        width //= 2
    return ops, groups


@pytest.mark.parametrize("name", WAYS)
def test_a_million_ops_are_done_as_the_model_says(name):
    for seed in range(OPS // LIST_OPS):
        ops, groups = ops_of_seed(f"{name} {seed}")
        groups %= 4 if "groups" in name else 1
        fault = fault_in(name, ops, groups)
        if fault:
            ops, groups = shortest(name, ops, groups)
            said = "\n".join(f"{Verb(op['verb']).name} {op}" for op in ops)
            pytest.fail(f"seed {name!r} {seed}: {fault}\nshortest list:\n{said}")


def test_a_list_is_cut_to_what_fails(monkeypatch):
    """A fault that needs two ops is told in two ops."""

    def needs_both(name, ops, groups):
        verbs = set(ops["verb"].tolist())
        return "both" if {Verb.FAIL, Verb.CLAIM} <= verbs else None

    monkeypatch.setattr("test_volume.fault_in", needs_both)
    ops, groups = ops_of_seed("a seed")
    assert len(shortest("potad", ops, groups)[0]) == 2
