"""CMA by hand: where the area lies, who may use it, what its search tries, what moves."""

import numpy as np

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import MOVE, NONE, Outcome
from potadlab.core.linux.state import CMA, MOVABLE, type_of
from potadlab.kinds import KIND, facts

ANON, PTDESC, DRIVER = KIND["anon"], KIND["ptdesc"], KIND["driver"]
BLOCK = 512  # a pageblock
PLAIN = {"pcp": 0, "watermarks": 0}


def made(blocks=8, area=4, **options):
    """Pageblocks of free memory, the upper ones CMA's."""
    state = ALLOCATORS["cma"].new(
        np.array([(0, blocks * BLOCK)]), facts(), **PLAIN, area=area * BLOCK << 12, **options
    )
    interface.add(state, 0, blocks * BLOCK)
    return state


def ask(state, order, kind=ANON):
    return int(interface.allocate(state, order, kind, 0, NONE, 0, 0))


def claim(state, granules, align_order, may_move=True):
    """(start, steps, order of the chunks, [(from, to), ...])"""
    moves = np.zeros(granules + 2 if may_move else 0, MOVE)
    start, steps, order, moved = interface.claim(state, granules, align_order, DRIVER, 0, moves)
    interface.check(state)
    return (
        int(start),
        int(steps),
        int(order),
        list(zip(moves["granule"][:moved].tolist(), moves["to"][:moved].tolist(), strict=True)),
    )


def test_the_area_is_the_highest_that_is_free_of_what_stays():
    state = made()
    ask(state, 0)
    assert tuple(state.area[0])[:2] == (4 * BLOCK, 4 * BLOCK)
    assert [type_of(state, block * BLOCK) == CMA for block in range(8)] == [False] * 4 + [True] * 4
    warm = ALLOCATORS["cma"].new(np.array([(0, 8 * BLOCK)]), facts(), area=2 * BLOCK << 12, **PLAIN)
    interface.adopt(warm, 7 * BLOCK, 0, PTDESC, 0)
    interface.adopt(warm, 6 * BLOCK, 0, ANON, 0)
    for start, end in ((0, 6 * BLOCK), (6 * BLOCK + 1, 7 * BLOCK), (7 * BLOCK + 1, 8 * BLOCK)):
        interface.add(warm, start, end)
    ask(warm, 0)
    assert warm.area[0]["base"] == 5 * BLOCK, "memory that moves is no hindrance"
    interface.check(warm)


def test_a_space_without_room_has_no_area():
    state = made(blocks=2, area=4)
    assert claim(state, 1, 0) == (NONE, 0, 0, []), "not tried"


def test_only_movable_memory_goes_into_the_area():
    """It goes there first while more than half of what is free is CMA's."""
    state = made(blocks=8, area=4)
    assert ask(state, 9, PTDESC) < 4 * BLOCK
    assert ask(state, 9) >= 4 * BLOCK, "2048 of 3584 free granules are CMA's"
    assert ask(state, 9) < 4 * BLOCK, "1536 of 3072: no more than half"
    assert [ask(state, 9, PTDESC) for _ in range(3)].count(NONE) == 1
    assert [ask(state, 9) >= 4 * BLOCK for _ in range(3)] == [True] * 3
    assert ask(state, 9) == NONE


def test_the_search_is_first_fit_from_the_base():
    state = made()
    base = 4 * BLOCK
    assert claim(state, 96, 5) == (base, 1, 5, [])
    assert claim(state, 64, 6) == (base + 128, 1, 6, []), "aligned: 96 is not"
    assert claim(state, 32, 5) == (base + 96, 1, 5, []), "the hole between"
    for chunk in range(base, base + 96, 32):
        assert interface.release(state, chunk, 0) == 5
    assert not state.claimed[:96].any()
    assert claim(state, 64, 5) == (base, 1, 6, [])


def filled(state, pinned=()):
    """Single movable granules all over the area; those in `pinned` are pinned."""
    taken = []
    while (granule := ask(state, 0)) != NONE:
        taken.append(granule)
    for granule in taken:
        if granule < 4 * BLOCK:
            interface.release(state, granule, 0)
    for granule in pinned:
        assert interface.pin(state, granule) == Outcome.DONE
    interface.check(state)


def test_a_busy_range_is_skipped_and_what_can_move_moves():
    state, base = made(), 4 * BLOCK
    filled(state, pinned=[base + 10, base + 200])
    start, steps, order, moves = claim(state, 256, 7)
    # tried: +0 (10 is pinned), +128 (200 is pinned), +256
    assert (start, steps, order) == (base + 256, 3, 8)
    assert [granule for granule, _ in moves] == list(range(base + 256, base + 512))
    assert all(to < base for _, to in moves), "the rest of the area is full"
    assert interface.release(state, base + 256, 0) == 8
    assert claim(state, 128, 7, may_move=False)[:2] == (base + 256, 3)


def test_nothing_moves_unless_it_may():
    state = made()
    filled(state)
    start, steps, _, moves = claim(state, 512, 9, may_move=False)
    assert (start, steps, moves) == (NONE, 4, [])


def test_no_place_for_what_has_to_move_ends_it():
    """-ENOMEM: what has been moved stays where it is."""
    state = made()
    filled(state)
    while ask(state, 0, PTDESC) != NONE:
        pass
    interface.release(state, 5, 0)
    start, steps, _, moves = claim(state, 8, 3)
    assert (start, steps) == (NONE, 1)
    assert moves == [(4 * BLOCK, 5)]


def test_a_large_block_at_the_edge_moves_whole():
    state = made()
    base = 4 * BLOCK
    ask(state, 0, PTDESC)
    assert ask(state, 9) == base, "over half of what is free is CMA's"
    start, steps, order, moves = claim(state, 64, 6)
    assert (start, steps, order) == (base, 1, 6)
    assert len(moves) == 1
    assert moves[0][0] == base
    assert claim(state, 64, 6)[0] == base + 64, "its rest is free again"


def test_a_bit_may_stand_for_several_granules():
    state = made(bit_order=4)
    base = 4 * BLOCK
    assert claim(state, 3, 0)[0] == base
    assert claim(state, 1, 0)[0] == base + 16
    assert np.flatnonzero(state.claimed).tolist() == [0, 1, 2, 16]


def test_a_bit_is_set_while_a_chunk_of_its_claim_lives():
    """What lies in the rest of the bit is no claim's: it may be pinned, moved and released."""
    state = made(blocks=6, bit_order=4)
    base = 2 * BLOCK
    assert claim(state, 3, 0)[:3] == (base, 1, 0)
    rest = ask(state, 0)
    assert rest == base + 3, "movable memory uses what the claim left of its bit"
    assert interface.pin(state, rest) == Outcome.DONE
    assert interface.unpin(state, rest) == (Outcome.DONE, NONE)
    assert interface.release(state, rest, 0) == 0
    assert interface.pin(state, base + 1) == Outcome.IGNORED, "still claimed"
    assert interface.release(state, base, 0) == 0
    assert interface.pin(state, base + 1) == Outcome.IGNORED, "still claimed"
    assert claim(state, 1, 0)[:2] == (base + 16, 1), "the first bit is set: two chunks live"
    for chunk in (base + 1, base + 2):
        assert interface.release(state, chunk, 0) == 0
    assert claim(state, 1, 0)[0] == base


def test_claimed_memory_cannot_be_pinned_or_lose_its_type():
    state = made()
    start = claim(state, 1024, 9)[0]
    assert interface.pin(state, start + 3) == Outcome.IGNORED
    assert interface.release(state, start, 0) == 10
    assert type_of(state, start) == CMA
    assert type_of(state, 0) == MOVABLE
    interface.check(state)
