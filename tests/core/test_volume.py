"""A million random ops in every way that POTAD can be set, each event judged by the model.

A failure prints its seed and the shortest list of ops that still fails.
"""

import random

import numpy as np
import pytest
from judge import Judge
from test_allocators import VARIANTS

from potadlab.core import interface
from potadlab.core._jit import DISABLED
from potadlab.core.layout import BLOCK, EVENT, MOVE, NONE, OP, Flag, Verb
from potadlab.core.lookups.heads import locate
from potadlab.core.replay import begin, replay
from potadlab.kinds import KIND, KINDS, facts

WAYS = [name for name in VARIANTS if name.startswith("potad")]
OPS = 2000 if DISABLED else 200_000  # of each way: a million in all
LIST_OPS = 400
ZONES, RANGES = [(200, 453), (3, 200)], [(3, 60), (64, 180), (200, 300), (310, 450)]
HANDLES = 16 * LIST_OPS
FACTS = facts()
_KINDS = [KIND[name] for name in ("anon", "file", "folio", "swap")] * 4 + list(range(2, len(KINDS)))
_VERBS = {
    Verb.ALLOCATE: 40, Verb.RELEASE: 34, Verb.SPLIT: 4, Verb.CLAIM: 4, Verb.RELEASE_CLAIM: 3,
    Verb.FAIL: 2, Verb.UNPOISON: 2, Verb.PIN: 3, Verb.UNPIN: 3, Verb.MIGRATE: 3, Verb.DRAIN: 1,
}  # fmt: skip
_BY_HANDLE = (Verb.RELEASE, Verb.SPLIT, Verb.RELEASE_CLAIM, Verb.PIN, Verb.UNPIN, Verb.MIGRATE)


def ops_of_seed(seed):
    """(OP[], u1[] groups): a list with as much sense as can be had without knowing the events."""
    dice = random.Random(seed)
    ops, groups = np.zeros(LIST_OPS, OP), np.zeros(LIST_OPS, np.uint8)
    ops["owner"], ops["into"], ops["handle"], ops["granule"] = 1, NONE, NONE, NONE
    verbs = dice.choices(list(_VERBS), list(_VERBS.values()), k=LIST_OPS)
    blocks, claims, free = {}, [], 0  # blocks: handle -> order
    for i, verb in enumerate(verbs):
        op = ops[i]
        op["verb"], op["cpu"], groups[i] = verb, dice.randrange(4), dice.randrange(4)
        if verb == Verb.ALLOCATE:
            op["handle"], op["order"] = free, min(int(dice.expovariate(0.7)), 8)
            op["kind"] = dice.choice(_KINDS)
            blocks[free], free = int(op["order"]), free + 1
        elif verb == Verb.CLAIM:
            op["align_order"], op["handle"] = dice.randrange(6), free
            op["granules"] = dice.randrange(1, 9) << int(op["align_order"])
            op["kind"] = dice.choice([KIND["driver"], KIND["anon"]])
            op["flags"] = dice.choice([0, Flag.MAY_MIGRATE])
            claims.append(free)
            free += 1
        elif verb in _BY_HANDLE:
            free = by_handle(dice, op, blocks, claims, free)
        else:
            op["granule"] = dice.randrange(460)
    ops["time_ns"] = np.arange(LIST_OPS)
    return ops, groups


def by_handle(dice, op, blocks, claims, free):
    """An op on a block or claim, most often one that may live; returns the next free handle."""
    verb = op["verb"]
    if verb == Verb.RELEASE_CLAIM or (verb in (Verb.PIN, Verb.UNPIN) and dice.random() < 0.1):
        op["handle"] = dice.choice(claims or [0])
        return free
    handle = dice.choice(list(blocks)) if blocks else 0
    op["handle"] = handle
    if verb == Verb.SPLIT and blocks:
        order = blocks[handle]
        op["order"], op["into"] = dice.randrange(order + 1), free
        pieces = 1 << (order - int(op["order"]))
        if free + pieces >= HANDLES:
            op["verb"] = Verb.DRAIN
            return free
        blocks.update({free + piece: int(op["order"]) for piece in range(pieces)})
        return free + pieces
    if verb == Verb.RELEASE and blocks and dice.random() < 0.9:
        del blocks[handle]
    if verb == Verb.MIGRATE and blocks:
        op["order"] = blocks.get(handle, 0)
    return free


def claim_sizes(ops):
    """RELEASE_CLAIM gives back as much as its claim asked for."""
    asked = {int(op["handle"]): int(op["granules"]) for op in ops if op["verb"] == Verb.CLAIM}
    for op in ops:
        if op["verb"] == Verb.RELEASE_CLAIM:
            op["granules"] = asked.get(int(op["handle"]), 1)


def fault_in(name, ops, groups):
    """What is wrong with the events of these ops, None if nothing is."""
    state, where = VARIANTS[name](np.array(ZONES), FACTS), np.full(HANDLES, NONE, np.int64)
    served = np.array(RANGES, np.int64)
    begin(state, served, np.zeros(0, BLOCK), where)
    events = np.zeros(len(ops), EVENT)
    room = int((ops["granules"][ops["verb"] == Verb.CLAIM] + 2).sum()) + len(ops)
    moves, judge = np.zeros(room, MOVE), Judge(ZONES, RANGES)
    try:
        moved = replay(state, ops, groups, where, events, moves, served, np.array(ZONES))
        for i, (op, event) in enumerate(zip(ops, events, strict=True)):
            judge.see(op, event, moves[:moved][moves["op"][:moved] == i])
        judge.agrees(where)
        interface.check(state)
        for granule in range(3, 450, 7):
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
        claim_sizes(ops)
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
