"""What comes of each op, written out: one list of ops, every allocator."""

from functools import partial

import numpy as np
import pytest
from made import allocate, at, blocks_of, claim, op, ops_of, release, release_claim, split

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS, NULL
from potadlab.core.layout import BLOCK, EVENT, MOVE, NONE, Flag, Outcome, Verb
from potadlab.core.replay import begin, replay
from potadlab.kinds import facts

DONE, REFUSED, ABSENT, IGNORED = (Outcome.DONE, Outcome.REFUSED, Outcome.ABSENT, Outcome.IGNORED)
FREE, LIVE, BEFORE = Outcome.POISONED_FREE, Outcome.POISONED_LIVE, Outcome.POISONED_BEFORE
OUTSIDE = Outcome.OUTSIDE
NOTHING = np.zeros(0, BLOCK)
KIND, OWNER = 4, 7  # a kind with a record
ANON, SLAB = 3, 6  # movable, and not
HANDLES = 64


def begun(name, ranges, zones, start=NOTHING):
    """(state, where, ranges, zones) at the beginning."""
    ranges, zones = np.array(ranges, np.int64), np.array(zones, np.int64)
    # places are exact where no front cache holds blocks back
    makers = {name: allocator.new for name, allocator in {**ALLOCATORS, "null": NULL}.items()}
    makers["potad"] = partial(makers["potad"], caches=0)
    state = makers[name](zones, facts())
    where = np.full(HANDLES, NONE, np.int64)
    begin(state, ranges, start, where)
    room = np.concatenate([ranges, np.zeros((8, 2), np.int64)])  # for what ADD_MEMORY adds
    return state, where, room, zones


def play(ops, state, where, ranges, zones):
    """(granule, outcome, order, steps) of each op."""
    events = np.full(len(ops), 99, EVENT)
    groups, moves = np.zeros(len(ops), np.uint8), np.zeros(0, MOVE)
    replay(state, ops, groups, where, events, moves, ranges, zones)
    interface.check(state)
    assert not events["lines"].any()
    return events[["granule", "outcome", "order", "steps"]].tolist()


def compare(name, table, *start):
    """table: (op, {name: event, "all": event of the others}) ..."""
    ops = ops_of(*(op for op, _ in table))
    events = play(ops, *begun(name, *start))
    expected = [by_name.get(name, by_name.get("all")) for _, by_name in table]
    for i, (event, wanted) in enumerate(zip(events, expected, strict=True)):
        assert event == wanted, f"op {i}: {Verb(ops[i]['verb']).name}"


def everywhere(event):
    return {"all": event}


def here(potad, buddy, recorded, llfree=None):
    """LLFree as POTAD where nothing else is said: in one word both take the lowest place.

    A space too small for an area leaves of cma the buddy that it stands on.
    """
    linux = {"buddy": buddy, "cma": buddy}
    return {"potad": potad, "recorded": recorded, "llfree": llfree or potad} | linux


@pytest.mark.parametrize("name", ALLOCATORS)
def test_blocks_and_pieces(name):
    """32 granules; Linux's first list heads after expand are the upper halves."""
    table = [
        (allocate(0, 2, granule=8), here((0, DONE, 2, 0), (0, DONE, 2, 0), (8, DONE, 2, 0))),
        (allocate(1, 0, granule=3), here((4, DONE, 0, 0), (4, DONE, 0, 0), (3, DONE, 0, 0))),
        (allocate(2, 1, granule=2), here((6, DONE, 1, 0), (6, DONE, 1, 0), (NONE, REFUSED, 1, 0))),
        (release(2, 1), here((6, DONE, 1, 0), (6, DONE, 1, 0), (NONE, ABSENT, 1, 0))),
        (split(0, 1, into=10), here((0, DONE, 2, 0), (0, DONE, 2, 0), (8, DONE, 2, 0))),
        (release(0, 2), everywhere((NONE, ABSENT, 2, 0))),  # it is pieces now
        (release(11, 1), here((2, DONE, 1, 0), (2, DONE, 1, 0), (10, DONE, 1, 0))),
        (split(10, 0, into=20), here((0, DONE, 1, 0), (0, DONE, 1, 0), (8, DONE, 1, 0))),
        (release(21), here((1, DONE, 0, 0), (1, DONE, 0, 0), (9, DONE, 0, 0))),
        (release(21), everywhere((NONE, ABSENT, 0, 0))),  # released before
        (allocate(3, 6, granule=0), everywhere((NONE, REFUSED, 6, 0))),
        (release(3, 6), everywhere((NONE, ABSENT, 6, 0))),  # it was refused
        (release(40), everywhere((NONE, ABSENT, 0, 0))),  # it never was
        (split(3, 0, into=30), everywhere((NONE, ABSENT, 0, 0))),
        (split(20, 1, into=30), everywhere((NONE, ABSENT, 1, 0))),  # smaller than the pieces
        (allocate(4, 1, granule=10), here((2, DONE, 1, 0), (2, DONE, 1, 0), (10, DONE, 1, 0))),
        # 1 came last of order 0: while 2 was free, a merge was likely
        (allocate(5, 0, granule=8), here((1, DONE, 0, 0), (5, DONE, 0, 0), (NONE, REFUSED, 0, 0))),
        (op(Verb.UNPIN, 4), here((2, ABSENT, 0, 0), (2, ABSENT, 0, 0), (10, ABSENT, 0, 0))),
        (op(Verb.PIN, 3), everywhere((NONE, ABSENT, 0, 0))),  # it was refused
        (op(Verb.REFUSED, order=3), everywhere((NONE, IGNORED, 3, 0))),
    ]
    compare(name, table, [(0, 32)], [(0, 32)])


@pytest.mark.parametrize("name", ALLOCATORS)
def test_claims(name):
    """48 granules: the buddy core sees 32 + 16, gives one block or nothing; so does LLFree.

    A record gives none.
    """
    ignored = (NONE, IGNORED, 0, 0)
    absent = (NONE, ABSENT, 0, 0)
    no = {order: (NONE, IGNORED, order, 0) for order in (1, 2, 3)}
    table = [
        (allocate(0, granule=0), here((0, DONE, 0, 0), (32, DONE, 0, 0), (0, DONE, 0, 0))),
        (
            claim(1, 64, 0),
            here((NONE, REFUSED, 0, 7), (NONE, REFUSED, 6, 1), ignored, (NONE, REFUSED, 6, 1)),
        ),
        (claim(2, 6, 1), here((2, DONE, 1, 1), no[1], ignored, no[1])),
        (
            claim(3, 32, 2),
            here((16, DONE, 4, 2), (0, DONE, 5, 1), ignored, (NONE, REFUSED, 5, 1)),
        ),
        (claim(4, 24, 3), here((NONE, REFUSED, 3, 1), no[3], ignored, no[3])),
        (release_claim(4, 24), everywhere(absent)),
        (release_claim(3, 32), here((16, DONE, 4, 0), (0, DONE, 5, 0), absent, absent)),
        (release_claim(3, 32), everywhere(absent)),
        (claim(5, 24, 3), here((8, DONE, 3, 1), no[3], ignored, no[3])),
        (allocate(6, granule=34), here((1, DONE, 0, 0), (33, DONE, 0, 0), (34, DONE, 0, 0))),
        (
            allocate(7, granule=35),
            here((32, DONE, 0, 0), (34, DONE, 0, 0), (35, DONE, 0, 0), (2, DONE, 0, 0)),
        ),
        (claim(8, 12, 0), here((36, DONE, 2, 1), no[2], ignored, no[2])),
        (release_claim(2, 6), here((2, DONE, 1, 0), absent, absent, absent)),
        (claim(9, 4, 0), here((4, DONE, 2, 1), (36, DONE, 2, 1), ignored)),
        (
            claim(10, 4, 1),
            here((NONE, REFUSED, 1, 2), (40, DONE, 2, 1), ignored, (8, DONE, 2, 1)),
        ),
        (claim(11, 2, 0), here((2, DONE, 1, 1), (44, DONE, 1, 1), ignored, (12, DONE, 1, 1))),
        (claim(12, 2, 0), here((34, DONE, 1, 1), (46, DONE, 1, 1), ignored, (14, DONE, 1, 1))),
        (
            claim(13, 2, 0),
            here((NONE, REFUSED, 0, 2), (0, DONE, 1, 1), ignored, (16, DONE, 1, 1)),
        ),
    ]
    compare(name, table, [(0, 48)], [(0, 48)])


@pytest.mark.parametrize("name", ALLOCATORS)
def test_failed_granules_and_added_memory(name):
    table = [
        (allocate(0, 3, granule=0), everywhere((0, DONE, 3, 0))),
        (at(Verb.FAIL, 5), everywhere((5, LIVE, 0, 0))),
        (at(Verb.FAIL, 5), everywhere((5, BEFORE, 0, 0))),
        (at(Verb.FAIL, 20), everywhere((20, FREE, 0, 0))),
        (at(Verb.FAIL, 40), everywhere((40, OUTSIDE, 0, 0))),  # in the zone, not in service
        (at(Verb.FAIL, 48), everywhere((48, OUTSIDE, 0, 0))),
        (at(Verb.ADD_MEMORY, 40, 16), everywhere((40, OUTSIDE, 0, 0))),  # beyond the zone's end
        (at(Verb.ADD_MEMORY, 32, 16), everywhere((32, DONE, 0, 0))),
        (at(Verb.ADD_MEMORY, 0, 16), everywhere((0, IGNORED, 0, 0))),
        (at(Verb.ADD_MEMORY, 31, 16), everywhere((31, IGNORED, 0, 0))),
        (at(Verb.ADD_MEMORY, 48, 16), everywhere((48, OUTSIDE, 0, 0))),
        (at(Verb.FAIL, 40), everywhere((40, FREE, 0, 0))),
        (at(Verb.FAIL, 40), everywhere((40, BEFORE, 0, 0))),
        (release(0, 3), everywhere((0, DONE, 3, 0))),
        # merges are likely at 0 and 6, so Linux puts them last; 44 came last of order 2
        (
            allocate(1, 2, granule=4),
            here((0, DONE, 2, 0), (44, DONE, 2, 0), (NONE, REFUSED, 2, 0)),
        ),
        (allocate(2, granule=4), everywhere((4, DONE, 0, 0))),
        (at(Verb.UNPOISON, 5), everywhere((5, DONE, 0, 0))),
        (at(Verb.UNPOISON, 5), everywhere((5, IGNORED, 0, 0))),
        (at(Verb.UNPOISON, 7), everywhere((7, IGNORED, 0, 0))),
        (at(Verb.UNPOISON, 99), everywhere((99, IGNORED, 0, 0))),
        (allocate(3, granule=5), here((5, DONE, 0, 0), (41, DONE, 0, 0), (5, DONE, 0, 0))),
        (at(Verb.FAIL, 5), here((5, LIVE, 0, 0), (5, FREE, 0, 0), (5, LIVE, 0, 0))),
        (at(Verb.UNPOISON, 5), here((5, LIVE, 0, 0), (5, DONE, 0, 0), (5, LIVE, 0, 0))),
        (release(3), here((5, DONE, 0, 0), (41, DONE, 0, 0), (5, DONE, 0, 0))),
        (release(2), everywhere((4, DONE, 0, 0))),
        (allocate(4, 1, granule=4), here((4, DONE, 1, 0), (42, DONE, 1, 0), (4, DONE, 1, 0))),
    ]
    compare(name, table, [(0, 32)], [(0, 48)])


@pytest.mark.parametrize("name", ALLOCATORS)
def test_memory_is_added_once(name):
    state = begun(name, [(0, 32)], [(0, 64)])
    events = play(ops_of(*[at(Verb.ADD_MEMORY, 32, 16)] * 3), *state)
    assert [event[1] for event in events] == [DONE, IGNORED, IGNORED]


@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_failed_granule_in_a_claim_and_in_pieces(name):
    """A claim of two chunks, a split block: each leaves its failed granule out, alone."""
    table = [
        (allocate(0, 3, granule=0), everywhere((0, DONE, 3, 0))),
        (at(Verb.FAIL, 3), everywhere((3, LIVE, 0, 0))),
        (split(0, 1, into=10), everywhere((0, DONE, 3, 0))),
        (release(10, 1), everywhere((0, DONE, 1, 0))),
        (release(11, 1), everywhere((2, DONE, 1, 0))),
        (at(Verb.FAIL, 3), everywhere((3, BEFORE, 0, 0))),
        (at(Verb.FAIL, 4), everywhere((4, LIVE, 0, 0))),  # its neighbour piece
        (claim(1, 8, 3), here((8, DONE, 3, 1), (8, DONE, 3, 1), (NONE, IGNORED, 0, 0))),
        (at(Verb.FAIL, 9), here((9, LIVE, 0, 0), (9, LIVE, 0, 0), (9, FREE, 0, 0))),
        (release_claim(1, 8), here((8, DONE, 3, 0), (8, DONE, 3, 0), (NONE, ABSENT, 0, 0))),
        (at(Verb.FAIL, 9), everywhere((9, BEFORE, 0, 0))),
        (at(Verb.UNPOISON, 9), everywhere((9, DONE, 0, 0))),
        (allocate(2, 3, granule=8), everywhere((8, DONE, 3, 0))),  # whole again
        (allocate(3, 1, granule=2), here((0, DONE, 1, 0), (0, DONE, 1, 0), (NONE, REFUSED, 1, 0))),
        (allocate(4, 0, granule=2), here((2, DONE, 0, 0), (2, DONE, 0, 0), (2, DONE, 0, 0))),
        (allocate(5, 0, granule=3), everywhere((NONE, REFUSED, 0, 0))),
    ]
    compare(name, table, [(0, 16)], [(0, 16)])


START = blocks_of((2, 1, 0, KIND, OWNER), (16, 3, 1, 1 + KIND, OWNER), (28, 2, 5, 0, NONE))


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_start_is_live_and_the_rest_free(name):
    start = [(2, 10), (16, 32)], [(16, 32), (0, 16)], START
    state, where, *_ = begun(name, *start)
    assert where.tolist() == [2, 16, NONE, NONE, NONE, 28] + [NONE] * 58
    interface.check(state)
    table = [
        (release(1, 3), everywhere((16, DONE, 3, 0))),
        (release(1, 3), everywhere((NONE, ABSENT, 3, 0))),
        (allocate(10, 3, granule=16), everywhere((16, DONE, 3, 0))),
        (allocate(11, 2, granule=24), everywhere((24, DONE, 2, 0))),
        (allocate(12, 2, granule=4), everywhere((4, DONE, 2, 0))),  # the next zone
        (allocate(13, 2, granule=8), everywhere((NONE, REFUSED, 2, 0))),  # [8, 12) is half a hole
        (allocate(14, 1, granule=8), everywhere((8, DONE, 1, 0))),
        (allocate(15, 0, granule=0), everywhere((NONE, REFUSED, 0, 0))),
        (at(Verb.FAIL, 29), everywhere((29, LIVE, 0, 0))),
        (at(Verb.FAIL, 12), everywhere((12, OUTSIDE, 0, 0))),
        (release(5, 2), everywhere((28, DONE, 2, 0))),
        (allocate(16, 1, granule=30), everywhere((30, DONE, 1, 0))),
        (allocate(17, 0, granule=28), everywhere((28, DONE, 0, 0))),
        (split(0, 0, into=20), everywhere((2, DONE, 1, 0))),
        (release(21), everywhere((3, DONE, 0, 0))),
        (release(20), everywhere((2, DONE, 0, 0))),
        (allocate(18, 1, granule=2), everywhere((2, DONE, 1, 0))),
    ]
    compare(name, table, *start)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_handles_say_where_their_blocks_are(name):
    state = begun(name, [(0, 32)], [(0, 32)])
    ops = ops_of(allocate(3, 2, granule=0), split(3, 1, into=7), release(7, 1), allocate(9, 5))
    play(ops, *state)
    assert state[1].tolist() == [NONE] * 8 + [2] + [NONE] * 55


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_went_with_its_last_pin_is_named_no_more(name):
    """Else its handle would release whatever lies there next."""
    state = begun(name, [(0, 4)], [(0, 4)])
    events = play(
        ops_of(
            allocate(0, 2, granule=0, kind=KIND), op(Verb.PIN, 0), release(0, 2),
            op(Verb.UNPIN, 0), allocate(1, 2, granule=0, kind=KIND), release(0, 2), release(1, 2),
        ),
        *state,
    )  # fmt: skip
    outcomes = [event[1] for event in events]
    pinned = [Outcome.DONE, Outcome.PUT_OFF, Outcome.RELEASED]
    assert outcomes == [DONE, *pinned, DONE, ABSENT, DONE]
    assert (state[1] == NONE).all()


def test_a_claim_that_may_not_move_does_not_though_there_is_room_for_moves():
    state, where, ranges, zones = begun("potad", [(0, 16)], [(0, 16)])
    upper = [allocate(1, 3, kind=SLAB), split(1, 2, into=5), release(6, 2)]  # 8 to 12 stay
    claims = claim(2, 8, 3), claim(3, 8, 3, flags=Flag.MAY_MIGRATE)
    ops = ops_of(allocate(0, 0, kind=ANON), *upper, *claims)
    events, moves = np.zeros(len(ops), EVENT), np.zeros(64, MOVE)
    groups = np.zeros(len(ops), np.uint8)
    assert replay(state, ops, groups, where, events, moves, ranges, zones) == 1
    assert events["outcome"].tolist() == [DONE] * 4 + [REFUSED, DONE]
    assert moves[0][["granule", "to", "op", "handle"]].tolist() == (0, 12, 5, 0)


def many_ops():
    """Allocates, releases, splits, claims and failures, chosen by arithmetic."""
    ops = []
    for i in range(60):
        first = i * 7 % 13
        ops.append(allocate(i, first % 4, granule=first * 8 % 64))
        if i % 3 == 2:
            ops.append(release(i - 2, (i - 2) * 7 % 13 % 4))
        if i % 7 == 3:
            ops.append(at(Verb.FAIL, i))
    return ops_of(*ops)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_same_ops_bring_the_same_events(name):
    space = [(0, 128)], [(64, 128), (0, 64)]
    ops = many_ops()
    once = play(ops, *begun(name, *space))
    assert play(ops, *begun(name, *space)) == once
    state = begun(name, *space)  # and in two parts
    assert play(ops[:31], *state) + play(ops[31:], *state) == once
    assert {event[1] for event in once} >= {DONE, FREE, LIVE}


def test_the_harness_alone_does_nothing():
    table = [
        (allocate(0, 2), everywhere((0, DONE, 2, 0))),
        (release(0, 2), everywhere((0, DONE, 0, 0))),
        (release(1, 2), everywhere((NONE, ABSENT, 2, 0))),
        (claim(2, 8, 0), everywhere((NONE, IGNORED, 0, 0))),
        (at(Verb.FAIL, 3), everywhere((3, IGNORED, 0, 0))),
        (at(Verb.UNPOISON, 3), everywhere((3, IGNORED, 0, 0))),
    ]
    compare("null", table, [(0, 32)], [(0, 32)])


@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_failed_granule_is_no_block_to_release_or_split(name):
    state, *_ = begun(name, [(0, 16)], [(0, 16)])
    assert interface.fail(state, 5) == FREE
    for _ in range(2):
        assert interface.split(state, 5, 0) == NONE
        assert interface.release(state, 5, 0) == NONE
        assert interface.fail(state, 5) == BEFORE
    interface.check(state)


def test_recorded_refuses_what_cannot_have_been():
    """A place that is misaligned, taken, in a hole, over a zone's edge, or not told."""
    places = [(6, 2), (8, 1), (9, 0), (16, 0), (28, 3), (20, 5), (64, 0), (NONE, 0)]
    table = [(allocate(0, 2, granule=8), everywhere((8, DONE, 2, 0)))]
    table += [
        (allocate(1 + i, order, granule=granule), everywhere((NONE, REFUSED, order, 0)))
        for i, (granule, order) in enumerate(places)
    ]
    table += [(allocate(20, 2, granule=4), everywhere((4, DONE, 2, 0)))]
    compare("recorded", table, [(0, 16), (20, 64)], [(30, 64), (0, 30)])


def test_no_merge_is_likely_at_the_last_orders():
    """buddy_merge_likely: never for MAX_PAGE_ORDER - 1 and above, so 0 comes first again."""
    blocks = [(0, 9, 0), (1, 9, 512), (2, 10, 1024), (3, 10, 2048), (4, 9, 3072)]
    table = [
        (allocate(handle, order), everywhere((granule, DONE, order, 0)))
        for handle, order, granule in blocks
    ]
    table += [
        (release(2, 10), everywhere((1024, DONE, 10, 0))),
        (release(0, 9), everywhere((0, DONE, 9, 0))),  # beside 512; 3584 was free before
        (allocate(5, 9), everywhere((0, DONE, 9, 0))),
        (allocate(6, 9), everywhere((3584, DONE, 9, 0))),
    ]
    compare("buddy", table, [(0, 6144)], [(0, 6144)])


@pytest.mark.parametrize("name", ALLOCATORS)
def test_blocks_larger_than_linux_hands_out(name):
    """A machine of larger pages records orders above 10: its blocks are given back all the same."""
    start = blocks_of((0, 12, 0, KIND, OWNER))
    table = [
        (release(0, 12), everywhere((0, DONE, 12, 0))),
        (
            allocate(1, 12, granule=0),
            here(*[(0, DONE, 12, 0), (NONE, REFUSED, 12, 0)] * 2),
        ),
        (release(1, 12), here(*[(0, DONE, 12, 0), (NONE, ABSENT, 12, 0)] * 2)),
        (
            allocate(2, 10, granule=1024),
            here((0, DONE, 10, 0), (3072, DONE, 10, 0), (1024, DONE, 10, 0)),
        ),
        (
            split(2, 1, into=3),
            here((0, DONE, 10, 0), (3072, DONE, 10, 0), (1024, DONE, 10, 0)),
        ),
    ]
    many = np.full(1024, NONE, np.int64)
    state, where, *rest = begun(name, [(0, 4096)], [(0, 4096), (4096, 4160)], start)
    where = np.concatenate([where, many])
    events = play(ops_of(*(op for op, _ in table)), state, where, *rest)
    assert events == [by_name.get(name, by_name.get("all")) for _, by_name in table]
