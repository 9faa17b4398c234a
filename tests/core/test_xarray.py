"""XArray by hand: where Linux's lib/xarray.c puts entries, siblings and nodes."""

import numpy as np
import pytest

from potadlab.core import follow, interface
from potadlab.core.layout import NONE
from potadlab.core.lookups import LOOKUPS, xarray
from potadlab.kinds import KIND, facts

FOLIO, KERNEL = KIND["folio"], KIND["kernel"]
CANONICAL, FREE = "entry", "."


def new():
    return LOOKUPS["xarray"](1 << 20, facts())


def shape(index, entry=None):
    """The tree as nested tuples (shift, {slot: entry, sibling's slot or tree}), free slots out."""
    entry = int(index.head[0]) if entry is None else entry
    if entry == 0:
        return FREE
    if entry & 3 == 0:
        return CANONICAL
    if entry < 64 << 2:
        return entry >> 2
    node = (entry >> 2) - 1024
    slots = {offset: int(index.words[node * 72 + 5 + offset]) for offset in range(64)}
    used = {offset: shape(index, each) for offset, each in slots.items() if each}
    header = int(index.words[node * 72])
    assert header >> 16 == len(used)
    return header & 0xFF, used


def answer(index, granule):
    starts, orders, kinds, owners = (np.zeros(1, np.int64) for _ in range(4))
    follow.locate_each(index, np.array([granule]), starts, orders, kinds, owners)
    return int(starts[0]), int(orders[0]), int(kinds[0]), int(owners[0])


def test_a_node_is_nine_lines():
    assert xarray.NODE_BYTES == 576 == 40 + 64 * 8 + 3 * 8
    assert new().words.ctypes.data % 64 == 0


def test_granule_0_alone_stands_in_the_head():
    index = new()
    interface.store(index, 0, 0, FOLIO, 7)
    assert shape(index) == CANONICAL
    assert answer(index, 0) == (0, 0, FOLIO, 7)
    assert answer(index, 1) == answer(index, 64) == (NONE, 0, 0, NONE)
    interface.store(index, 1, 0, FOLIO, 8)  # the head goes into slot 0 of a node
    assert shape(index) == (0, {0: CANONICAL, 1: CANONICAL})
    assert interface.erase(index, 1) == 0  # and back
    assert shape(index) == CANONICAL


def test_a_block_fills_slots_of_one_node_and_siblings_name_the_first():
    index = new()
    interface.store(index, 8, 3, FOLIO, 7)
    assert shape(index) == (0, {8: CANONICAL, **dict.fromkeys(range(9, 16), 8)})
    assert answer(index, 15) == (8, 3, FOLIO, 7)


def test_order_7_takes_two_slots_a_level_up():
    index = new()
    interface.store(index, 128, 7, KERNEL, 3)
    assert shape(index) == (6, {2: CANONICAL, 3: 2})
    assert answer(index, 255) == (128, 7, KERNEL, 3)
    assert answer(index, 256) == answer(index, 127) == (NONE, 0, 0, NONE)


def test_a_block_of_order_6_at_0_has_a_node_with_room_for_more():
    """xas_max: 64 granules at 0 need the second level, for an entry of many is never the head."""
    index = new()
    interface.store(index, 0, 6, FOLIO, 1)
    assert shape(index) == (6, {0: CANONICAL})


def test_a_block_of_many_granules_keeps_its_node_when_it_is_alone():
    index = new()
    interface.store(index, 0, 7, FOLIO, 1)
    interface.store(index, 4096, 0, FOLIO, 2)
    interface.erase(index, 4096)
    assert shape(index) == (6, {0: CANONICAL, 1: 0})
    index = new()
    interface.store(index, 0, 6, FOLIO, 1)
    interface.store(index, 4096, 0, FOLIO, 2)
    interface.erase(index, 4096)
    assert shape(index) == (6, {0: CANONICAL})
    assert answer(index, 63) == (0, 6, FOLIO, 1)


def test_the_tree_grows_by_levels_and_shrinks():
    index = new()
    interface.store(index, 5, 0, FOLIO, 1)
    interface.store(index, 4096, 0, FOLIO, 2)  # needs shift 12
    low = (0, {5: CANONICAL})
    assert shape(index) == (12, {0: (6, {0: low}), 1: (6, {0: (0, {0: CANONICAL})})})
    assert interface.erase(index, 4096) == 0
    assert shape(index) == low
    assert interface.erase(index, 5) == 0
    assert shape(index) == FREE
    assert index.next[2] == 0


def test_freed_nodes_are_reused_last_in_first_out():
    index = new()
    interface.store(index, 5, 0, FOLIO, 1)
    interface.store(index, 64, 0, FOLIO, 2)
    assert index.next[1] == 3
    interface.erase(index, 64)
    interface.store(index, 64, 0, FOLIO, 2)
    assert index.next.tolist() == [0, 3, 3]


def test_split_within_a_node():
    index = new()
    interface.store(index, 16, 4, FOLIO, 9)
    assert xarray.split(index, 16, 2) == 4
    four = {first: CANONICAL for first in (16, 20, 24, 28)}
    others = {g: g & ~3 for g in range(16, 32) if g & 3}
    assert shape(index) == (0, four | others)
    assert [answer(index, g) for g in (16, 23, 31)] == [
        (16, 2, FOLIO, 9), (20, 2, FOLIO, 9), (28, 2, FOLIO, 9),
    ]  # fmt: skip
    assert index.descriptors.live[FOLIO] == 4


def test_split_into_fresh_nodes_below():
    """xas_split: order 7 into order 5: a node for each of its two slots, two entries in each."""
    index = new()
    interface.store(index, 128, 7, FOLIO, 9)
    assert xarray.split(index, 128, 5) == 7
    child = (0, {0: CANONICAL, **dict.fromkeys(range(1, 32), 0)} | {
        32: CANONICAL, **dict.fromkeys(range(33, 64), 32)
    })  # fmt: skip
    assert shape(index) == (6, {2: child, 3: child})
    interface.check(index)
    assert answer(index, 255) == (224, 5, FOLIO, 9)
    assert [interface.erase(index, g) for g in (128, 160, 192, 224)] == [5] * 4
    assert index.next[2] == 0


@pytest.mark.parametrize(("granule", "order"), [(129, 0), (128, 8), (0, 0), (192, 3)])
def test_what_cannot_be_split_stays(granule, order):
    index = new()
    interface.store(index, 128, 7, FOLIO, 9)
    assert xarray.split(index, granule, order) == NONE
    assert shape(index) == (6, {2: CANONICAL, 3: 2})


def test_a_split_over_two_levels_is_refused():
    """Linux warns and does not try (xas_split_alloc)."""
    index = new()
    interface.store(index, 4096, 12, FOLIO, 9)
    assert xarray.split(index, 4096, 5) == NONE
    assert xarray.split(index, 4096, 6) == 12
    assert shape(index) == (12, {1: (6, dict.fromkeys(range(64), CANONICAL))})
