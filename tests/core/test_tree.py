"""The free tree against a bit per granule: every question, from every order and place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab.core import tree
from potadlab.core.bits import largest_order
from potadlab.core.layout import NONE

# three levels, zones in order of trial; one border lies inside a word, none at a power of two
ZONES = np.array([(700, 4500), (5, 700)])
END = 4500
ORDERS = range(13)


class Model:
    """free[zone][granule]; live blocks as (zone, start) -> order."""

    def __init__(self):
        self.free = np.zeros((len(ZONES), END), bool)
        self.live = {}

    def starts(self, zone, order):
        """Every aligned start of a free block, ascending."""
        size = 1 << order
        whole = self.free[zone, : END // size * size].reshape(-1, size).all(axis=1)
        return np.flatnonzero(whole) << order

    def find_from(self, zone, order, granule):
        starts = self.starts(zone, order)
        starts = starts[starts >= granule]
        return int(starts[0]) if len(starts) else NONE

    def free_order(self, zone, granule):
        order = NONE
        while order < ORDERS[-1] and self.is_free(zone, granule, order + 1):
            order += 1
        return order

    def is_free(self, zone, granule, order):
        start = granule >> order << order
        return start + (1 << order) <= END and self.free[zone, start : start + (1 << order)].all()

    def put(self, zone, start, order, is_free):
        self.free[zone, start : start + (1 << order)] = is_free


class Both:
    """The same done to a tree and to the model."""

    def __init__(self):
        self.tree, self.model = tree.new(ZONES), Model()

    def add(self, zone, start, end):
        """Bring granules in service, as the largest aligned blocks."""
        while start < end:
            order = int(largest_order(start, end - start))
            self.give(zone, start, order)
            start += 1 << order

    def give(self, zone, start, order):
        tree.enter(self.tree, zone, start, order)
        self.put(zone, start, order, True)

    def put(self, zone, start, order, is_free):
        tree.put(self.tree, zone, start, order, is_free)
        self.model.put(zone, start, order, is_free)

    # ---- requests ----

    def take(self, zone, order, number, above):
        """The lowest free block, or the lowest above a granule: as allocate, as a claim."""
        low = number % END if above else 0
        expected = self.model.find_from(zone, order, low)
        if above:
            found = tree.find_from(self.tree, zone, order, low)
            if found != NONE:
                tree.enter(self.tree, zone, found, order)
        else:
            found = tree.find(self.tree, zone, order)
        assert found == expected
        if found != NONE:
            self.put(zone, int(found), order, False)
            self.model.live[zone, int(found)] = order

    def release(self, number):
        if self.model.live:
            (zone, start), order = self.pop(number)
            self.put(zone, start, order, True)  # without enter: a live block's path is exact

    def split(self, number, order):
        if self.model.live:
            (zone, start), whole = self.pop(number)
            order = min(order, whole)
            for piece in range(start, start + (1 << whole), 1 << order):
                tree.enter(self.tree, zone, piece, order)
                self.model.live[zone, piece] = order

    def pop(self, number):
        block = sorted(self.model.live)[number % len(self.model.live)]
        return block, self.model.live.pop(block)

    # ---- questions ----

    def check(self, granules):
        tree.check(self.tree)
        for zone in range(len(ZONES)):
            for order in ORDERS:
                found = [int(tree.find_from(self.tree, zone, order, g)) for g in granules]
                assert found == [self.model.find_from(zone, order, g) for g in granules], order
            orders = [int(tree.free_order(self.tree, zone, g)) for g in granules]
            assert orders == [self.model.free_order(zone, g) for g in granules]

    def free_granules(self):
        """Every free granule, read with find_from, zone by zone."""
        found = []
        for zone in range(len(ZONES)):
            granule = 0
            while (granule := int(tree.find_from(self.tree, zone, 0, granule))) != NONE:
                found.append((zone, granule))
                granule += 1
        return found


def in_service():
    both = Both()
    both.add(0, 700, 2000)
    both.add(0, 2048, 4500)  # a hole of 48 granules before a power of two
    both.add(1, 5, 690)
    return both


zones, numbers = st.sampled_from([0, 0, 1]), st.integers(0, 1 << 20)
orders = st.one_of(st.integers(0, 6), st.integers(0, 12))
requests = st.lists(
    st.one_of(
        st.tuples(st.just("take"), zones, orders, numbers, st.booleans()),
        st.tuples(st.just("take"), zones, orders, numbers, st.booleans()),
        st.tuples(st.just("release"), numbers),
        st.tuples(st.just("split"), numbers, st.integers(0, 8)),
    ),
    max_size=40,
)
EDGES = [0, 4, 5, 63, 64, 65, 127, 128, 690, 699, 700, 703, 704, 2000, 2047, 2048, 4032]
EDGES += [4095, 4096, 4097, 4128, 4496, 4499]


@settings(max_examples=60)
@given(requests, st.lists(st.integers(0, END - 1), max_size=6))
def test_every_question_is_answered_as_by_the_model(requests, granules):
    both = in_service()
    for verb, *request in requests:
        getattr(both, verb)(*request)
        tree.check(both.tree)
    both.check(EDGES + granules)
    while both.model.live:
        both.release(0)
    both.check(EDGES + granules)


@settings(max_examples=25)
@given(requests)
def test_what_is_free_is_free_once(requests):
    both = in_service()
    for verb, *request in requests:
        getattr(both, verb)(*request)
    free = [(zone, int(g)) for zone in (0, 1) for g in np.flatnonzero(both.model.free[zone])]
    assert both.free_granules() == free


def test_an_empty_tree_has_nothing():
    both = Both()
    both.check(EDGES)
    for zone in (0, 1):
        assert all(tree.find(both.tree, zone, order) == NONE for order in range(30))


def test_parts_of_a_block_that_was_never_written_come_back():
    """[1024, 2048) is taken whole, its children unwritten, and given back in unequal parts."""
    both = Both()
    both.give(0, 1024, 10)
    assert tree.find(both.tree, 0, 10) == 1024
    both.put(0, 1024, 10, False)
    for start, order in ((1024 + 64, 6), (1024 + 3, 0), (1536, 9), (1024 + 4, 2)):
        both.give(0, start, order)
        both.check([1024, 1027, 1028, 1031, 1032, 1087, 1088, 1151, 1152, 1535, 1536, 2047])
    both.model.live = {}
    for start, order in ((1024, 0), (1025, 1), (1032, 3), (1040, 4), (1056, 5), (1152, 7)):
        both.give(0, start, order)
    both.give(0, 1280, 8)
    assert tree.free_order(both.tree, 0, 1500) == 10  # all one block again
    both.check([1024, 2047, 2048])


def test_a_stale_child_is_written_anew():
    """A word that was written, filled up again and taken whole still says free: never read."""
    both = Both()
    both.give(0, 1024, 10)
    both.take(0, 0, 0, False)  # writes the word of 1024
    both.release(0)
    both.take(0, 10, 0, False)
    both.split(0, 6)
    both.release(0)  # [1024, 1088) is free again
    both.take(0, 6, 0, False)
    both.check([1023, 1024, 1025, 1087, 1088])  # not even by those who look from there
    both.split(0, 0)  # its word says taken, piece by piece
    both.release(0)
    both.check([1023, 1024, 1025, 1087, 1088])
    assert both.free_granules() == [(0, 1024)]


@pytest.mark.parametrize("order", ORDERS)
def test_find_from_is_the_next_aligned_free_block_at_or_above(order):
    both = in_service()
    size = 1 << order
    for low in (0, 1, 5, 64, size - 1, size, size + 1, 2 * size, 2000, 2048, 4095, END - size):
        for granule in (low, low + 1):
            found = tree.find_from(both.tree, 0, order, granule)
            assert found == both.model.find_from(0, order, granule)
            assert found == NONE or (found >= granule and found % size == 0)


def test_find_from_past_the_end_is_nothing():
    both = in_service()
    for order in ORDERS:
        for granule in (END, 64**3 - 1, 64**3, 1 << 40):
            assert tree.find_from(both.tree, 0, order, granule) == NONE


def test_find_from_writes_nothing():
    both = in_service()
    before = both.tree.words.copy(), both.tree.nodes.copy()
    both.check(EDGES)
    assert np.array_equal(before[0], both.tree.words)
    assert np.array_equal(before[1], both.tree.nodes)


def test_zones_are_apart():
    both = Both()
    both.give(0, 704, 6)
    assert [int(tree.zone_of(both.tree, g)) for g in (4, 5, 699, 700, 4499, 4500)] == [
        NONE,
        1,
        1,
        0,
        0,
        NONE,
    ]
    assert tree.find(both.tree, 1, 0) == NONE
    both.give(1, 690, 0)
    assert tree.find(both.tree, 1, 0) == 690
    assert tree.find(both.tree, 0, 0) == 704
    both.give(0, 700, 2)
    both.give(1, 696, 2)
    assert tree.free_order(both.tree, 1, 699) == 2  # [696, 704) lies in two zones
    assert tree.find(both.tree, 0, 3) == 704


def test_check_notices_a_byte_that_is_not_true():
    both = in_service()
    both.take(0, 0, 0, False)
    tree.check(both.tree)
    level = both.tree.offsets[1]
    both.tree.nodes[level + 704 // 64 - 1] ^= 1  # of [640, 704), which is partly free
    with pytest.raises(AssertionError):
        tree.check(both.tree)


def test_a_space_of_three_thousand_million_granules():
    """1.5 TiB of 512 B: registered in a few steps, any order, any place."""
    end = 3 << 30
    large = tree.new(np.array([(0, end)]))
    for start, order in ((0, 31), (1 << 31, 30)):
        tree.enter(large, 0, start, order)
        tree.put(large, 0, start, order, True)
    assert tree.order_max(large) >= 31
    assert [int(tree.find(large, 0, order)) for order in (0, 30, 31, 32)] == [0, 0, 0, NONE]
    assert tree.find_from(large, 0, 0, end - 1) == end - 1
    assert tree.find_from(large, 0, 0, end) == NONE
    assert tree.find_from(large, 0, 30, 1) == 1 << 30
    assert [int(tree.free_order(large, 0, granule)) for granule in (5, end - 1)] == [31, 30]
    last = int(tree.find_from(large, 0, 3, end - 9))
    assert last == end - 8
    tree.enter(large, 0, last, 3)
    tree.put(large, 0, last, 3, False)
    tree.check(large)
    assert tree.find_from(large, 0, 2, end - 9) == NONE
    assert [int(tree.free_order(large, 0, granule)) for granule in (1 << 31, last - 1)] == [29, 3]
    assert tree.find(large, 0, 31) == 0
    tree.put(large, 0, 0, 31, False)
    assert tree.find(large, 0, 0) == 1 << 31
    tree.put(large, 0, last, 3, True)
    assert tree.free_order(large, 0, last) == 30
