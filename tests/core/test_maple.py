"""Maple Tree by hand (split, push, rebalance, coalesce, span, gaps), then against a list.

What must come out follows from Linux's own numbers: 16 slots, 10 with gaps, 6 and 4 at least, the
split at half, pushes that leave 15 entries behind, no leaf but the last ending with a free range.
"""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab.core import follow, interface
from potadlab.core._jit import DISABLED
from potadlab.core.layout import NONE
from potadlab.core.lookups import maple
from potadlab.kinds import KIND, facts

FOLIO = KIND["folio"]
LAST = maple.LAST
FREE = 0


def word(value):
    """Something for a slot: a kind without descriptor whose owner is `value`."""
    return np.int64((value + 1) << 18 | 4)


def new(gaps=False):
    return maple.new(1 << 12, facts(), gaps)


def put(index, first, last, value):
    """Store and check; value None: nothing lives there."""
    entry = np.int64(FREE) if value is None else word(value)
    maple.store_range(index, np.int64(first), np.int64(last), entry)
    interface.check(index)


def shape(index, node=None, high=LAST):
    """A leaf is [(last key, value or None), ...], a node above [(last key, leaf or node), ...]."""
    node = int(index.root[maple.ROOT]) if node is None else node
    if node & 3 != 2:
        return None if node == 0 else (node >> 18) - 1
    words, number, kind = index.words, node >> 8, node >> 3 & 15
    first, room = (10, 10) if kind == maple.ARANGE else (16, 16)
    pivots = [int(words[number * 32 + 1 + slot]) for slot in range(room - 1)]
    entries = []
    for slot in range(room):
        last = pivots[slot] if slot < room - 1 else high
        entries.append((last, shape(index, int(words[number * 32 + first + slot]), last)))
        if last == high:
            return entries
    raise AssertionError("a node without an end")


def leaves(index):
    """[(first value, last value, entries)] of the leaves of a tree of two levels."""
    found = []
    for _, leaf in shape(index):
        values = [value for _, value in leaf if value is not None]
        found.append((values[0], values[-1], len(leaf)))
    return found


def filled(blocks, wide=1, gaps=False):
    """Block i lives from wide * i on."""
    index = new(gaps)
    for i in range(blocks):
        put(index, wide * i, wide * i + wide - 1, i)
    return index


def nodes_of(index):
    return int(index.root[maple.NODES])


def gaps_of(index):
    """Of the root: gap of each slot, and which slot the node says is the largest."""
    base = (int(index.root[maple.ROOT]) >> 8) * 32
    end, place = int(index.words[base + 30]) & 0xFF, int(index.words[base + 30]) >> 8
    return index.words[base + 20 : base + 21 + end].tolist(), place


def test_a_node_is_four_lines():
    assert maple.NODE_BYTES == 256 == 8 * (1 + 15 + 16) == 8 * (1 + 9 + 10 + 10 + 2)
    assert new().words.ctypes.data % 256 == 0


def test_granule_0_alone_stands_in_the_root():
    index = new()
    put(index, 0, 0, 7)
    assert (shape(index), nodes_of(index)) == (7, 0)
    put(index, 2, 3, 8)
    assert shape(index) == [(0, 7), (1, None), (3, 8), (LAST, None)]
    put(index, 2, 3, None)
    assert shape(index) == [(0, 7), (LAST, None)]
    put(index, 0, 0, None)
    assert (shape(index), nodes_of(index)) == (None, 0)


def test_stores_into_a_free_range_leave_what_is_around():
    index = new()
    put(index, 8, 15, 1)
    assert shape(index) == [(7, None), (15, 1), (LAST, None)]
    put(index, 2, 3, 2)  # in the midst of one: two slots more
    assert shape(index) == [(1, None), (3, 2), (7, None), (15, 1), (LAST, None)]
    put(index, 4, 7, 3)  # all of one: no slot more
    assert shape(index) == [(1, None), (3, 2), (7, 3), (15, 1), (LAST, None)]


def test_free_ranges_side_by_side_become_one():
    index = filled(4)
    put(index, 1, 1, None)
    assert shape(index) == [(0, 0), (1, None), (2, 2), (3, 3), (LAST, None)]
    put(index, 2, 2, None)
    assert shape(index) == [(0, 0), (2, None), (3, 3), (LAST, None)]
    put(index, 3, 3, None)  # joins both sides
    assert shape(index) == [(0, 0), (LAST, None)]


def test_a_full_leaf_is_split_in_half():
    """17 entries, the last one at 16: split at 8, nine to the left and eight to the right."""
    assert len(shape(filled(15))) == 16
    index = filled(16)
    assert leaves(index) == [(0, 8, 9), (9, 15, 8)]
    assert [last for last, _ in shape(index)] == [8, LAST]
    assert nodes_of(index) == 3


def test_a_leaf_of_18_entries_is_split_at_8_too():
    """A range in the midst of another makes two more: entry 17 is the last, half of it is 8."""
    index = filled(15, wide=4)
    put(index, 1, 1, 99)
    assert [len(leaf) for _, leaf in shape(index)] == [9, 9]


def test_a_split_never_leaves_a_free_range_at_the_end():
    """Every second granule: entry 8 of 17 is free, so the left node takes one more."""
    index = new()
    for i in range(8):
        put(index, 2 * i + 1, 2 * i + 1, i)
    (first, left), (last, right) = shape(index)
    assert (first, last) == (9, LAST)
    assert left[-1] == (9, 4)
    assert (len(left), len(right)) == (10, 7)


def test_a_leaf_that_overflows_pushes_to_the_left_until_15_are_there():
    assert leaves(filled(24)) == [(0, 8, 9), (9, 23, 16)]
    assert leaves(filled(25)) == [(0, 14, 15), (15, 24, 11)]
    assert leaves(filled(30)) == [(0, 14, 15), (15, 29, 16)]
    # 16 + 14 slots are too many for two: a split
    assert leaves(filled(31)) == [(0, 14, 15), (15, 23, 9), (24, 30, 8)]


@pytest.mark.parametrize(("erased", "entries"), [(3, [13, 9, 8]), (4, [15, 14])])
def test_two_leaves_push_only_where_there_is_room_for_a_free_range(erased, entries):
    """The last leaf ends at 16, the one before at 12 or 11: 28 slots are too many, 27 are not."""
    index = filled(30)  # 15 and 16
    put(index, 1, erased, None)
    put(index, 30, 30, 30)
    assert [len(leaf) for _, leaf in shape(index)] == entries


def test_the_first_leaf_pushes_to_the_right():
    index = filled(16, wide=4)  # leaves of 9 and 8 entries
    for i in range(3):
        put(index, 4 * i + 1, 4 * i + 1, 100 + i)  # each makes three of one
    assert [len(leaf) for _, leaf in shape(index)] == [15, 8]
    put(index, 13, 13, 103)  # 17 on the left, 8 on the right: 10 stay
    assert [len(leaf) for _, leaf in shape(index)] == [10, 15]
    assert nodes_of(index) == 3


def test_two_leaves_that_fit_into_one_are_joined():
    """The left one of 9 + 8 falls to 6 entries: with its neighbour's 8 it is one leaf, the root."""
    index = filled(16)
    for granule in range(3):
        put(index, granule, granule, None)
    assert [len(leaf) for _, leaf in shape(index)] == [7, 8]
    put(index, 3, 3, None)
    assert shape(index) == [(3, None), *((i, i) for i in range(4, 16)), (LAST, None)]
    assert nodes_of(index) == 1


def test_two_leaves_that_do_not_fit_into_one_share_evenly():
    """6 entries left, 16 in the next: 22, split at 10."""
    index = filled(24)  # 9 and 16
    for granule in range(4):
        put(index, granule, granule, None)
    assert leaves(index) == [(4, 13, 11), (14, 23, 11)]
    assert nodes_of(index) == 3


def test_the_last_leaf_is_joined_with_the_one_before():
    index = filled(16)  # 9 and 8
    for granule in (15, 14, 13):
        put(index, granule, granule, None)
    assert shape(index) == [*((i, i) for i in range(13)), (LAST, None)]


def test_a_free_range_at_the_end_of_a_leaf_spans_two():
    """Erasing block 8, the left leaf's last: 17 entries, entry 8 is free, split behind entry 9."""
    index = filled(16)
    put(index, 8, 8, None)
    (first, left), (_, right) = shape(index)
    assert first == 9
    assert left == [*((i, i) for i in range(8)), (8, None), (9, 9)]
    assert right == [*((i, i) for i in range(10, 16)), (LAST, None)]


def test_a_range_over_many_leaves_leaves_nothing_of_them():
    index = filled(200)
    put(index, 3, 197, 999)
    assert shape(index) == [
        (0, 0), (1, 1), (2, 2), (197, 999), (198, 198), (199, 199), (LAST, None)
    ]  # fmt: skip
    assert nodes_of(index) == 1
    put(index, 0, LAST, None)
    assert (shape(index), nodes_of(index)) == (None, 0)


def test_freed_nodes_are_used_again():
    index = filled(200)
    most = int(index.root[maple.FRESH])
    put(index, 0, LAST, None)
    for i in range(200):
        put(index, i, i, i)
    assert index.root[maple.FRESH] == most


def test_gaps_say_the_widest_free_range_below():
    index = filled(16, gaps=True)  # leaves up to 8 and up to the end
    assert gaps_of(index) == ([0, LAST - 15], 1)
    put(index, 2, 4, None)
    assert gaps_of(index) == ([3, LAST - 15], 1)
    put(index, 16, LAST, 99)
    assert gaps_of(index) == ([3, 0], 0)
    put(index, 12, 12, None)
    assert gaps_of(index) == ([3, 1], 0)
    assert maple.empty_area(index, 1) == 2
    assert maple.empty_area(index, 3) == 2
    assert maple.empty_area(index, 4) == NONE
    put(index, 3, 3, 5)
    assert gaps_of(index) == ([1, 1], 0)


def test_a_node_with_gaps_has_ten_slots():
    """150 blocks are ten leaves; the eleventh splits the root: entry 10, half of it is 5."""
    index = filled(150, gaps=True)
    assert [len(leaf) for _, leaf in shape(index)] == [15] * 9 + [16]
    put(index, 150, 150, 150)
    assert [len(inner) for _, inner in shape(index)] == [6, 5]
    assert nodes_of(index) == 11 + 2 + 1
    assert [len(leaf) for _, leaf in shape(filled(151))] == [15] * 9 + [9, 8]  # 16 without


# ---- against a list --------------------------------------------------------------------------

KEYS = 600
keys = st.integers(0, KEYS - 1)
widths = st.one_of(st.integers(1, 3), st.integers(1, 200))
values = st.one_of(st.none(), st.integers(0, 1000))


def found(index, granules):
    columns = [np.full(len(granules), 99, np.int64) for _ in range(4)]
    follow.locate_each(index, np.array(granules, np.int64), *columns)
    return [
        None if start == NONE else int(owner) for start, *_, owner in zip(*columns, strict=True)
    ]


def first_free(model, size):
    """The lowest of `size` free keys in a row; behind the last one all are free."""
    run = 0
    for key in range(KEYS + size):
        run = run + 1 if key >= KEYS or model[key] is None else 0
        if run == size:
            return key - size + 1
    raise AssertionError


@pytest.mark.parametrize("gaps", [False, True])
@settings(max_examples=40)
@given(st.lists(st.tuples(keys, widths, values), max_size=80))
def test_any_ranges_one_over_the_other(gaps, stores):
    index, model = new(gaps), [None] * KEYS
    for first, wide, value in stores:
        last = min(first + wide, KEYS) - 1
        put(index, first, last, value)
        model[first : last + 1] = [value] * (last + 1 - first)
    assert found(index, range(KEYS)) == model
    if gaps:
        for size in (1, 2, 7, 40):
            assert maple.empty_area(index, size) == first_free(model, size)


OPS = 400 if DISABLED else 30_000


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_tree_of_many_levels_grows_and_shrinks(seed, gaps):
    """Narrow ranges fill it, wide ones and erasures empty it, in turns."""
    dice, index, model = random.Random(seed), new(gaps), [None] * KEYS * 6
    widest = (1, 2, 30)[seed]
    for op in range(OPS):
        filling = op // 4000 % 3 < 2
        first = dice.randrange(len(model))
        wide = dice.randrange(1, widest + 1) if filling else dice.randrange(1, 40)
        wide = dice.randrange(1, len(model)) if dice.random() < 0.002 else wide
        last = min(first + wide, len(model)) - 1
        value = dice.randrange(1000) if dice.random() < (0.7 if filling else 0.2) else None
        entry = np.int64(FREE) if value is None else word(value)
        maple.store_range(index, np.int64(first), np.int64(last), entry)
        model[first : last + 1] = [value] * (last + 1 - first)
        if op % 97 == 0 or wide > 40:
            interface.check(index)
    interface.check(index)
    assert found(index, range(len(model))) == model
    put(index, 0, len(model), None)
    assert (shape(index), nodes_of(index)) == (None, 0)
