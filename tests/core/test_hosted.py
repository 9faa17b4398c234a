"""Records in the very space that they describe: no recursion, no granule lost."""

import random

import numpy as np
import pytest

from potadlab.core import blocks, interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import DESCRIPTOR, MOVE, NONE, Outcome
from potadlab.core.lookups.heads import locate
from potadlab.kinds import KIND, KINDS, facts

ANON, KERNEL, XFS_BUF = KIND["anon"], KIND["kernel"], KIND["xfs_buf"]
GRANULES = 256
WAYS = {"512 B, no caches": (512, 0), "512 B, caches": (512, 2), "4 KiB, caches": (4096, 2)}


def hosted(granule_bytes, caches, granules=GRANULES):
    zones = np.array([(0, granules)])
    state = ALLOCATORS["potad"].new(zones, facts(), caches=caches, hosted=granule_bytes)
    interface.add(state, 0, granules)
    return state


def allocate(state, order, kind):
    return int(interface.allocate(state, order, kind, 7, NONE, 0, 0))


def slabs(state):
    """First granule and order of every block that holds records."""
    found = {}
    for granule in range(GRANULES):
        start, order, kind, _ = locate(state.heads, granule)
        if start != NONE and kind == DESCRIPTOR:
            found[int(start)] = int(order)
    return found


@pytest.fixture(params=WAYS, ids=str)
def way(request):
    return WAYS[request.param]


def test_the_space_fills_to_the_last_granule_and_empties_again(way):
    state, live = hosted(*way), []
    while (granule := allocate(state, 0, ANON)) != NONE:
        live.append(granule)
    last = [granule for _ in range(2) if (granule := allocate(state, 0, KERNEL)) != NONE]
    held = slabs(state)
    assert len(live) + len(last) + sum(1 << order for order in held.values()) == GRANULES
    assert len(last) <= 1, "at most one granule that found no room for a slab beside it"
    assert len(held) == -(-len(live) // (way[0] // facts()["record_bytes"][ANON]))
    interface.check(state)
    for granule in live + last:
        assert interface.release(state, granule, 0) == 0, "releasing never allocates"
    blocks.make_room(state)
    assert slabs(state) == {}
    assert allocate(state, 8, KERNEL) == 0, "all of it is one block again"


def test_a_record_larger_than_a_granule_lies_in_a_larger_slab():
    kinds = facts()
    kinds["record_bytes"][XFS_BUF] = 1500
    state = ALLOCATORS["potad"].new(np.array([(0, GRANULES)]), kinds, caches=0, hosted=512)
    interface.add(state, 0, GRANULES)
    assert allocate(state, 0, XFS_BUF) != NONE
    assert list(slabs(state).values()) == [2]


def test_what_finds_no_room_for_its_record_leaves_all_as_it_was():
    state = hosted(512, 0, 4)
    assert allocate(state, 2, ANON) == NONE, "four granules, and one more for the record"
    assert slabs(state) == {}
    no_moves = np.zeros(0, MOVE)
    assert interface.claim(state, 4, 2, ANON, 7, no_moves)[0] == NONE
    assert allocate(state, 2, KERNEL) == 0
    assert interface.split(state, 0, 0) == 2
    assert interface.release(state, 0, 0) == 0
    assert allocate(state, 0, ANON) == NONE


def test_the_numbers_of_slabs_that_went_are_used_again():
    """An arena has as many numbers for records as the space has granules, and no more."""
    state = hosted(512, 0, 8)
    for _ in range(20):
        granule = allocate(state, 0, ANON)
        assert list(slabs(state).values()) == [0]
        assert interface.release(state, granule, 0) == 0
        assert blocks.make_room(state) == 1
    assert int(state.heads.arenas[ANON]["slabs"]) == 1


def test_a_piece_that_is_pinned_takes_a_record_of_its_own_or_is_refused():
    """A slab of 512 B has room for six records: one shared, two of pinned pieces, three more."""
    state = hosted(512, 0, 8)
    assert allocate(state, 2, ANON) == 0
    assert slabs(state) == {4: 0}
    assert interface.split(state, 0, 0) == 2
    singles = [allocate(state, 0, ANON) for _ in range(3)]
    assert [interface.pin(state, piece) for piece in (0, 1)] == [Outcome.DONE] * 2
    assert int(state.heads.arenas[ANON]["live"]) == 6
    assert interface.pin(state, 2) == Outcome.REFUSED
    assert interface.pin(state, 1) == Outcome.DONE, "it has a record"
    assert interface.unpin(state, 2) == (Outcome.ABSENT, NONE)
    assert int(state.heads.arenas[ANON]["live"]) == 6
    assert interface.release(state, singles[0], 0) == 0
    assert interface.pin(state, 2) == Outcome.DONE
    assert int(state.heads.arenas[ANON]["live"]) == 6
    interface.check(state)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_live_and_what_holds_its_records_is_all_there_is(way, seed):
    """Random ops; every granule is free, live or in a slab, and every answer is right."""
    dice, state, live = random.Random(seed), hosted(*way), {}
    for step in range(400):
        kind = dice.choice([kind for kind in range(3, len(KINDS))])
        if dice.random() < 0.55:
            order = dice.choice([0, 0, 1, 2, 4])
            granule = allocate(state, order, kind)
            if granule != NONE:
                assert not any(granule <= other < granule + (1 << order) for other in live)
                live[granule] = order, kind
        elif live:
            granule = dice.choice(sorted(live))
            assert interface.release(state, granule, 0) == live.pop(granule)[0]
        if step % 20 == 0:
            interface.check(state)
            for granule, (order, kind) in live.items():
                last = granule + (1 << order) - 1
                assert tuple(locate(state.heads, last)) == (granule, order, kind, 7)
            records = [order for order, kind in live.values() if facts()["record_bytes"][kind]]
            assert int(state.heads.arenas["live"].sum()) >= len(records)
    for granule, (order, _) in live.items():
        assert interface.release(state, granule, 0) == order
    blocks.make_room(state)
    assert slabs(state) == {}
    assert int(state.heads.arenas["live"].sum()) == 0
    assert allocate(state, 8, KERNEL) == 0
