"""Every lookup of the registry against a dict; heads' records; what times them."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab.core import follow, interface
from potadlab.core._jit import kernel
from potadlab.core.layout import BLOCK, NONE
from potadlab.core.lookups import LOOKUPS, READ_ONLY, heads
from potadlab.kinds import KIND, facts

GRANULES = 700  # ends inside a word of level 0 and a word of level 1
RECORD_BYTES = facts()
RECORDLESS, FOLIO, XFS_BUF = KIND["kernel"], KIND["folio"], KIND["xfs_buf"]
FREE = (NONE, 0, 0, NONE)
LIVE = [name for name in LOOKUPS if name not in READ_ONLY]

numbers = st.integers(0, 1 << 20)
orders = st.one_of(st.integers(0, 3), st.integers(0, 9))
kinds = st.sampled_from([FOLIO, RECORDLESS, XFS_BUF, KIND["slab"]])
owners = st.sampled_from([NONE, 0, 1, 7, 2**31 - 1])
stores = st.tuples(st.just("store"), orders, numbers, kinds, owners)
erasures = st.tuples(st.just("erase"), numbers, st.booleans())


def new(name, granules=GRANULES):
    return LOOKUPS[name](granules, RECORD_BYTES)


def place(order, number):
    return number % (GRANULES >> order) << order


def holder(live, granule):
    """What the dict answers: start -> (order, kind, owner), searched one by one."""
    for start, (order, kind, owner) in live.items():
        if start <= granule < start + (1 << order):
            return start, order, kind, owner
    return FREE


def overlaps(live, start, size):
    return any(s < start + size and start < s + (1 << o) for s, (o, *_) in live.items())


def answers(index, granules):
    """What `locate` answers for each granule, by way of follow.locate_each."""
    granules = np.array(granules, np.int64)
    columns = [np.full(len(granules), 99, np.int64) for _ in range(4)]
    follow.locate_each(index, granules, *columns)
    return [tuple(int(column[i]) for column in columns) for i in range(len(granules))]


def check_answers(index, live):
    expected = [FREE] * GRANULES
    for start, (order, kind, owner) in live.items():
        for granule in range(start, start + (1 << order)):
            expected[granule] = (start, order, kind, owner)
    assert answers(index, range(GRANULES)) == expected


def check(index):
    """The structure's own invariants, where it has any."""
    if type(index) in interface.check.implementations:
        interface.check(index)


def stored(name, live):
    """A lookup made at once, in address order."""
    index = new(name)
    for start, (order, kind, owner) in sorted(live.items()):
        interface.store(index, start, order, kind, owner)
    return index


def store(index, live, order, number, kind, owner):
    start = place(order, number)
    if overlaps(live, start, 1 << order):
        return
    interface.store(index, start, order, kind, owner)
    live[start] = (order, kind, owner)


def erase(index, live, number, aimed):
    """Erase a start, or whatever granule comes: answers its order, or NONE and nothing changes."""
    granule = sorted(live)[number % len(live)] if aimed and live else number % GRANULES
    expected = live.pop(granule)[0] if granule in live else NONE
    assert interface.erase(index, granule) == expected


@pytest.mark.parametrize("name", LIVE)
@settings(max_examples=60)
@given(st.lists(st.one_of(stores, stores, erasures), max_size=60))
def test_every_granule_answers_with_its_block(name, requests):
    index, live = new(name), {}
    for verb, *request in requests:
        (store if verb == "store" else erase)(index, live, *request)
        check(index)
    check_answers(index, live)
    for start in list(live):
        order = live.pop(start)[0]
        assert interface.erase(index, start) == order
        assert interface.erase(index, start) == NONE, "erased twice"
        check(index)
    check_answers(index, live)


class Nothing(NamedTuple):
    """A lookup that notes nothing: `store` below is then the dict's alone."""


@interface.store.register
@kernel
def _store(index: Nothing, granule, order, kind, owner):
    pass


@pytest.mark.parametrize("name", LOOKUPS)
@settings(max_examples=60)
@given(st.lists(stores, max_size=60))
def test_blocks_stored_in_address_order_answer(name, requests):
    live = {}
    for _, *request in requests:
        store(Nothing(), live, *request)
    index = stored(name, live)
    check(index)
    check_answers(index, live)


@pytest.mark.parametrize("name", LOOKUPS)
@pytest.mark.parametrize("order", range(10))
def test_a_block_ends_where_its_neighbour_begins(name, order):
    """Each order alone, at each place, with the granules on both sides."""
    size = 1 << order
    for start in range(0, GRANULES - size + 1, size):
        index = new(name)
        interface.store(index, start, order, FOLIO, 5)
        near = [g for g in (start - 1, start, start + size - 1, start + size) if 0 <= g < GRANULES]
        inside = (start, order, FOLIO, 5)
        expected = [inside if start <= g < start + size else FREE for g in near]
        assert answers(index, near) == expected
        if start > 8 * size:  # the first and last places tell all
            break


@pytest.mark.parametrize("name", LIVE)
def test_erase_takes_only_starts(name):
    index = new(name)
    interface.store(index, 64, 6, FOLIO, 1)
    interface.store(index, 8, 2, RECORDLESS, 2)
    for granule in (63, 65, 127, 128, 9, 11, 12, 7, 0, 699):
        assert interface.erase(index, granule) == NONE
    check_answers(index, {64: (6, FOLIO, 1), 8: (2, RECORDLESS, 2)})


def arrays_of(state):
    for part in state:
        if isinstance(part, np.ndarray):
            yield part
        elif isinstance(part, tuple):
            yield from arrays_of(part)


@pytest.mark.parametrize("name", LOOKUPS)
def test_no_two_arrays_are_the_same_memory(name):
    """A meter tells by the address which structure was touched."""
    places = sorted((each.ctypes.data, each.nbytes) for each in arrays_of(new(name)))
    for (start, size), (after, _) in itertools.pairwise(places):
        assert start + size <= after


def test_a_table_that_comes_again_counts_from_nothing():
    index = new("two-level", 4096)
    for _ in range(2):
        for upper in (0, 512, 1024):
            interface.store(index, upper, 3, FOLIO, 1)
        check(index)
        for upper in (0, 1024, 512):
            interface.erase(index, upper)
    check(index)
    assert index.next.tolist() == [3, 3, 0]  # 2 was freed last; three were ever used, none is


TIB_OF_SECTORS = 3 << 30  # 1.5 TiB of 512 B


def test_a_space_of_three_thousand_million_granules():
    index = new("heads", TIB_OF_SECTORS)
    last = TIB_OF_SECTORS - 1
    interface.store(index, 0, 31, FOLIO, 1)  # 1 TiB
    interface.store(index, 1 << 31, 29, RECORDLESS, 2)
    interface.store(index, last, 0, XFS_BUF, 3)
    interface.store(index, last - 31, 3, XFS_BUF, 4)
    assert answers(index, [0, (1 << 31) - 1]) == [(0, 31, FOLIO, 1)] * 2
    ends = [1 << 31, (1 << 31) + (1 << 29) - 1]
    assert answers(index, ends) == [(1 << 31, 29, RECORDLESS, 2)] * 2
    assert answers(index, [(1 << 31) + (1 << 29), last - 1, last - 23]) == [FREE] * 3
    assert answers(index, [last, last - 24]) == [(last, 0, XFS_BUF, 3), (last - 31, 3, XFS_BUF, 4)]
    assert interface.erase(index, 0) == 31
    assert answers(index, [0, 1 << 30]) == [FREE] * 2


@pytest.mark.parametrize("name", [name for name in LOOKUPS if name != "heads"])
def test_a_lookup_of_three_thousand_million_granules(name):
    index = new(name, TIB_OF_SECTORS)
    start = TIB_OF_SECTORS - 512
    interface.store(index, start, 9, FOLIO, 8)
    assert answers(index, [start, TIB_OF_SECTORS - 1, start - 1]) == [(start, 9, FOLIO, 8)] * 2 + [
        FREE
    ]
    if name in LIVE:
        assert interface.erase(index, start) == 9


# ---- heads: records --------------------------------------------------------------------------


def live_records(index, kind):
    return int(index.arenas[kind]["live"])


def record_of(index, granule):
    """Number of the record of the block that holds `granule`."""
    entry = index.slots[heads.head_at(index, granule)]["entry"]
    return int(entry) >> 32


def test_freed_records_are_reused_last_in_first_out():
    index = new("heads")
    for granule in range(4):
        interface.store(index, granule, 0, FOLIO, granule)
    interface.store(index, 8, 0, XFS_BUF, 9)  # another arena counts for itself
    assert [record_of(index, granule) for granule in (0, 1, 2, 3, 8)] == [0, 1, 2, 3, 0]
    for granule in (1, 3, 0):
        interface.erase(index, granule)
    assert live_records(index, FOLIO) == 1
    for granule in (16, 17, 18, 19):
        interface.store(index, granule, 0, FOLIO, granule)
    assert [record_of(index, granule) for granule in (16, 17, 18, 19)] == [0, 3, 1, 4]
    assert live_records(index, FOLIO) == 5
    assert [index.arenas[FOLIO]["fresh"], index.arenas[XFS_BUF]["fresh"]] == [5, 1]
    assert [answer[3] for answer in answers(index, (2, 16, 17, 18, 19, 8))] == [
        2,
        16,
        17,
        18,
        19,
        9,
    ]


@pytest.mark.parametrize("owner", [NONE, 0, 2**31 - 1])
def test_a_kind_without_record_keeps_its_owner(owner):
    index = new("heads")
    interface.store(index, 128, 7, RECORDLESS, owner)
    assert heads.split_block(index, 128, 2) == 7
    assert answers(index, [128, 255]) == [(128, 2, RECORDLESS, owner), (252, 2, RECORDLESS, owner)]
    assert live_records(index, RECORDLESS) == 0 == index.arenas[RECORDLESS]["fresh"]


def test_pieces_share_a_record_until_the_last_is_gone():
    index = new("heads")
    interface.store(index, 64, 6, FOLIO, 5)
    assert heads.split_block(index, 64, 4) == 6
    assert heads.split_block(index, 80, 3) == 4  # a piece of a piece
    assert answers(index, [64, 80, 88, 96, 127]) == [
        (64, 4, FOLIO, 5),
        (80, 3, FOLIO, 5),
        (88, 3, FOLIO, 5),
        (96, 4, FOLIO, 5),
        (112, 4, FOLIO, 5),
    ]
    for granule in (64, 88, 112, 80):
        interface.erase(index, granule)
        assert live_records(index, FOLIO) == 1
        assert answers(index, [96]) == [(96, 4, FOLIO, 5)]
    interface.erase(index, 96)
    assert live_records(index, FOLIO) == 0
    interface.store(index, 0, 0, FOLIO, 6)
    assert record_of(index, 0) == 0


def test_split_of_what_cannot_be_split_changes_nothing():
    index = new("heads")
    interface.store(index, 64, 4, FOLIO, 5)
    for granule, order in ((64, 5), (65, 0), (80, 0), (0, 0), (72, 3)):
        assert heads.split_block(index, granule, order) == NONE
    check_answers(index, {64: (4, FOLIO, 5)})
    assert heads.split_block(index, 64, 4) == 4  # into one piece: itself
    check_answers(index, {64: (4, FOLIO, 5)})


def test_bytes_are_those_of_the_space_not_of_the_mapping():
    granules = 3 << 27  # 1.5 TiB of 4 KiB
    whole = heads.start_bytes(np.array([(0, granules)]))
    assert whole == 8 * sum(-(-granules // 64**level) for level in range(1, 6))
    assert heads.start_bytes(np.array([(0, 64), (granules - 64, granules)])) == 8 * (5 + 5)
    index = new("heads", granules)
    interface.store(index, granules - 1, 0, RECORDLESS, NONE)
    assert interface.bytes_of(index, 1, granules) == {"lookup": whole + 16, "descriptors": 0}


def test_chunks_share_a_record():
    index = new("heads")
    heads.store_chunks(index, 24, 3, 5, XFS_BUF, 7)
    check_answers(index, {start: (3, XFS_BUF, 7) for start in range(24, 64, 8)})
    assert live_records(index, XFS_BUF) == 1
    whole = np.array([(0, GRANULES)])
    assert heads.lookup_bytes(index, 5, whole)["descriptors"] == 360
    for start in range(24, 64, 8):
        assert live_records(index, XFS_BUF) == 1
        interface.erase(index, start)
    assert live_records(index, XFS_BUF) == 0


chunks = st.tuples(
    st.just("chunks"), st.integers(0, 6), numbers, st.integers(1, 5), st.tuples(kinds, owners)
)
splits = st.tuples(st.just("split"), numbers, st.integers(0, 7))


@settings(max_examples=60)
@given(st.lists(st.one_of(stores, chunks, splits, splits, erasures, erasures), max_size=50))
def test_a_record_lives_as_long_as_a_block_that_shares_it(requests):
    index, live, sharing = new("heads"), {}, {}  # sharing: start -> the request that made it
    for number, (verb, *request) in enumerate(requests):
        if verb == "store":
            store(index, live, *request)
        elif verb == "erase":
            erase(index, live, *request)
        elif verb == "chunks":
            store_chunks(index, live, *request)
        elif live:
            split(index, live, sharing, *request)
        sharing = {start: sharing.get(start, number) for start in live}
        for kind in (FOLIO, XFS_BUF, KIND["slab"]):
            records = {sharing[start] for start, (_, k, _) in live.items() if k == kind}
            assert live_records(index, kind) == len(records)
    check_answers(index, live)


def store_chunks(index, live, order, number, count, told):
    start = place(order, number)
    if start + (count << order) > GRANULES or overlaps(live, start, count << order):
        return
    heads.store_chunks(index, start, order, count, *told)
    live.update({start + (chunk << order): (order, *told) for chunk in range(count)})


def split(index, live, sharing, number, order):
    start = sorted(live)[number % len(live)]
    whole, *told = live[start]
    assert heads.split_block(index, start, order) == (whole if order <= whole else NONE)
    if order <= whole:
        pieces = range(start, start + (1 << whole), 1 << order)
        live.update({piece: (order, *told) for piece in pieces})
        sharing.update(dict.fromkeys(pieces, sharing[start]))


# ---- what times them -------------------------------------------------------------------------


def some_blocks():
    blocks = np.zeros(6, BLOCK)
    blocks["granule"] = [0, 5, 8, 64, 256, 699]
    blocks["order"] = [2, 0, 3, 6, 8, 0]
    blocks["kind"], blocks["owner"] = FOLIO, [3, NONE, 0, 8, 2, 1]
    return blocks


def in_one_number(answer):
    start, order, kind, owner = answer
    return start + order + kind + owner


@pytest.mark.parametrize("name", LOOKUPS)
def test_blocks_are_stored_and_erased_together(name):
    index, blocks = new(name), some_blocks()
    follow.store_all(index, blocks)
    fields = blocks[["granule", "order", "kind", "owner"]].tolist()
    check_answers(index, {start: tuple(rest) for start, *rest in fields})
    if name in LIVE:
        follow.erase_all(index, blocks)
        check_answers(index, {})


@pytest.mark.parametrize("name", LOOKUPS)
def test_what_is_timed_is_what_is_answered(name):
    index, blocks = new(name), some_blocks()
    blocks["owner"] = range(6)
    follow.store_all(index, blocks)
    granules = np.array([1, 5, 15, 127, 300, 699, 70, 9])
    numbers = [in_one_number(answer) for answer in answers(index, granules)]
    assert follow.locate_independent(index, granules) == sum(numbers)
    assert follow.locate_dependent(index, granules, 0) == numbers[-1]
    classes = [order + kind for _, order, kind, _ in answers(index, granules)]
    assert follow.classify_independent(index, granules) == sum(classes)
    assert follow.classify_dependent(index, granules, 0) == classes[-1]
    ticks = np.full(4, -1, np.int64)
    follow.time_batches(index, granules, 2, ticks, 0)
    assert np.all(ticks >= 0)
    follow.time_nothing(ticks)
    assert np.all(ticks >= 0)


class Asked(NamedTuple):
    """A lookup that answers as told and writes down what it was asked."""

    answers: np.ndarray  # i8[n, 4]
    asked: np.ndarray  # i8[n]
    count: np.ndarray  # i8[1]


@interface.locate.register
@kernel
def _locate(index: Asked, granule):
    i = index.count[0]
    index.asked[i] = granule
    index.count[0] = i + 1
    start, order, kind, owner = index.answers[i]
    return start, order, kind, owner


@pytest.mark.parametrize(
    ("start", "owner"), [(NONE, NONE), (0, NONE), (96, NONE), (0, 0), (96, 2**31 - 1)]
)
def test_the_last_answer_leaves_the_next_address_as_it_is(start, owner):
    granules = np.array([7, 0, 12, TIB_OF_SECTORS - 1])
    told = np.array([[start, 5, FOLIO, owner]] * 4)
    index = Asked(told, np.zeros(4, np.int64), np.zeros(1, np.int64))
    follow.locate_dependent(index, granules, 0)
    assert index.asked.tolist() == granules.tolist()
