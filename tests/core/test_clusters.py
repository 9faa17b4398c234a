"""Linux's swap clusters against a slow model of their rules, and each rule by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model import Model

from potadlab.core import interface
from potadlab.core.allocators import clusters
from potadlab.core.allocators.clusters import FRAG, FREE, FULL, NONFULL
from potadlab.core.layout import KIND_FACTS, MOVE, NONE, Outcome

CLUSTER = 512
KINDS = np.zeros(4, KIND_FACTS)
STILL = np.empty(0, MOVE)  # a claim may move nothing


def started(*ranges, cpus=1):
    """Slots of these ranges in service."""
    state = clusters.new(np.array([(0, ranges[-1][1])]), KINDS, cpus=cpus)
    for start, end in ranges:
        interface.add(state, start, end)
    return state


def allocate(state, order, cpu=0):
    return int(interface.allocate(state, order, 2, 0, NONE, cpu, 0))


def release(state, granule):
    return int(interface.release(state, granule, 0))


def fill(state, order):
    """Allocate until refused; where the blocks are."""
    found = []
    while (granule := allocate(state, order)) != NONE:
        found.append(granule)
    return found


def on_list(state, number):
    """The clusters of a list, first to last."""
    found, at = [], state.lists[number]["first"]
    while at != NONE:
        found.append(int(at))
        at = state.clusters[at]["next"]
    return found


# ---- the rules, by hand -------------------------------------------------------------------------


def test_a_cluster_with_bad_slots_begins_among_those_of_order_0_that_are_not_full():
    state = started((1, 1536), (1540, 2000))  # slot 0: the header; 1536 .. 1539: bad
    assert on_list(state, FREE) == [1, 2]
    assert on_list(state, NONFULL) == [0, 3]


def test_free_clusters_come_before_those_that_are_not_full():
    state = started((1, 1024))
    assert allocate(state, 0) == 512, "cluster 0 holds the header, so it is not free"


def test_the_cpu_goes_on_where_it_was():
    state = started((1, 2048))
    assert [allocate(state, 2) for _ in range(3)] == [512, 516, 520]
    assert release(state, 512) == 2
    assert allocate(state, 2) == 524, "what is free before the hint is not seen"


def test_each_cpu_has_a_cluster_of_its_own():
    state = started((0, 2048), cpus=2)
    assert [allocate(state, 0, cpu) for cpu in (0, 1, 0, 1)] == [0, 512, 1, 513]


def test_each_order_has_clusters_of_its_own():
    state = started((0, 2048))
    assert [allocate(state, order) for order in (0, 2, 4, 0, 2, 4)] == [0, 512, 1024, 1, 516, 1040]
    assert [on_list(state, NONFULL + order) for order in (0, 2, 4)] == [[0], [1], [2]]


def test_order_9_takes_a_free_cluster_whole():
    state = started((0, 1024))
    assert fill(state, 9) == [0, 512]
    assert on_list(state, FULL) == [0, 1]
    assert release(state, 512) == 9
    assert allocate(state, 0) == 512
    assert release(state, 0) == 9
    assert fill(state, 9) == [0], "511 free slots of cluster 1 are no use to it"


def test_orders_beyond_a_cluster_are_refused():
    assert allocate(started((0, 2048)), 10) == NONE


def test_a_higher_order_never_uses_the_clusters_of_another():
    state = started((0, 512))
    assert allocate(state, 0) == 0
    assert allocate(state, 2) == NONE, "508 slots are free, in a cluster of order 0"
    assert allocate(state, 1) == NONE
    assert allocate(state, 0) == 1


def test_order_0_steals_from_every_order_fragmented_before_not_full():
    state = started((0, 1536))
    assert [allocate(state, order) for order in (3, 5, 4)] == [0, 512, 1024]
    assert allocate(state, 0) == 8, "the lowest order first"
    assert [allocate(state, 0) for _ in range(3)] == [9, 10, 11]
    assert on_list(state, NONFULL + 3) == [0]
    assert state.clusters[0]["order"] == 3, "it stays what it was"


def test_order_0_steals_until_nothing_is_free():
    state = started((0, 1024))
    assert [allocate(state, 1), allocate(state, 8)] == [0, 512]
    assert fill(state, 0) == [*range(2, 512), *range(768, 1024)]
    assert on_list(state, FULL) == [0, 1]


def test_a_step_is_aligned_to_the_block():
    state = started((0, 512))
    assert allocate(state, 2) == 0
    assert allocate(state, 0) == 4, "stolen"
    assert allocate(state, 2) == 8, "5 .. 8 are free, but no aligned block"


def test_a_cluster_that_was_tried_is_fragmented_until_something_in_it_is_released():
    state = started((0, 1024))
    assert len(fill(state, 4)) == 64
    assert (release(state, 0), release(state, 512)) == (4, 4)
    assert on_list(state, NONFULL + 4) == [0, 1]
    assert allocate(state, 4) == 0
    assert on_list(state, FULL) == [0]
    assert allocate(state, 0) == 512, "stolen"
    assert allocate(state, 4) == NONE
    assert on_list(state, FRAG + 4) == [1]
    assert release(state, 528) == 4
    assert on_list(state, NONFULL + 4) == [1]
    assert allocate(state, 4) == 528


def test_fragmented_clusters_are_tried_again_in_turn():
    state = started((0, 1536), cpus=3)
    assert [allocate(state, 3, cpu) for cpu in range(3)] == [0, 512, 1024]
    state.next[:] = NONE  # as if the CPUs had gone elsewhere
    assert [allocate(state, 3) for _ in range(2)] == [8, 16], "the first, then the hint"
    assert on_list(state, FRAG + 3) == [0]
    state.next[:] = NONE
    assert allocate(state, 3) == 520
    state.next[:] = NONE
    assert allocate(state, 3) == 1032
    assert on_list(state, FRAG + 3) == [0, 1, 2]
    state.next[:] = NONE
    assert allocate(state, 3) == 24
    assert on_list(state, FRAG + 3) == [1, 2, 0]


def test_a_wholly_free_cluster_is_free_for_any_order_and_the_last_to_be_taken():
    state = started((0, 1536))
    assert allocate(state, 4) == 0
    assert release(state, 0) == 4
    assert on_list(state, FREE) == [1, 2, 0]
    assert state.clusters[0]["order"] == 0
    assert fill(state, 9) == [512, 1024, 0]


def test_what_the_cpu_last_used_may_have_another_order_by_now():
    """6.12 does not ask; cluster_is_usable came later."""
    state = started((0, 512))
    assert allocate(state, 2) == 0
    assert release(state, 0) == 2
    assert allocate(state, 0) == 0
    assert state.clusters[0]["order"] == 0
    assert allocate(state, 2) == 4


def test_a_folio_freed_in_pieces_leaves_a_cluster_of_its_order():
    state = started((0, 512))
    assert allocate(state, 9) == 0
    assert interface.split(state, 0, 4) == 9
    assert interface.split(state, 0, 5) == NONE
    assert release(state, 16) == 4
    assert on_list(state, NONFULL + 9) == [0]
    assert allocate(state, 4) == NONE
    assert allocate(state, 0) == 16
    assert release(state, 20) == NONE, "inside a block"
    assert release(state, 32) == 4


def test_a_claim_is_one_block_or_nothing():
    state = started((0, 1024))
    assert [int(x) for x in interface.claim(state, 512, 3, 2, 0, STILL)[:3]] == [0, 1, 9]
    assert [int(x) for x in interface.claim(state, 512 * 2, 3, 2, 0, STILL)[:2]] == [NONE, 0]
    assert [int(x) for x in interface.claim(state, 96, 3, 2, 0, STILL)[:2]] == [NONE, 0]
    assert [int(x) for x in interface.claim(state, 512, 3, 2, 0, STILL)[:2]] == [512, 1]
    assert [int(x) for x in interface.claim(state, 512, 3, 2, 0, STILL)[:2]] == [NONE, 1]


def test_what_linux_has_not_for_slots_is_ignored():
    state = started((0, 512))
    assert allocate(state, 0) == 0
    before = [array.copy() for array in state]
    for verb in (interface.pin, interface.fail, interface.unpoison):
        assert verb(state, 0) == Outcome.IGNORED
    assert tuple(interface.unpin(state, 0)) == (Outcome.IGNORED, NONE)
    assert tuple(interface.migrate(state, 0)) == (NONE, Outcome.IGNORED)
    assert interface.drain(state) == 0
    for array, same in zip(state, before, strict=True):
        assert (array == same).all()


def test_a_block_that_was_live_at_the_start_can_be_released():
    state = started((0, 512), (1024, 1536))
    interface.adopt(state, 512, 9, 2, 0)
    interface.check(state)
    assert release(state, 512) == 9
    assert on_list(state, FREE) == [0, 2, 1]


def test_linux_pays_a_map_a_share_of_a_cluster_and_an_owner_for_each_slot():
    assert clusters.bytes_of(None, 0, 1024) == {
        "free_structure": 48,
        "descriptors": 3072,
        "lookup": 0,
    }


# ---- the rules, slowly --------------------------------------------------------------------------


class Slow:
    """mm/swapfile.c in lists of Python: one byte per slot, every step looked at."""

    def __init__(self, slots, bad, cpus):
        count = -(-slots // CLUSTER)
        self.used = [slot >= slots or slot in bad for slot in range(count * CLUSTER)]
        self.orders = [0] * count
        self.lists = {}
        self.next = {}
        self.cpus = cpus
        self.live = {}
        self.came = Counter()
        for at in range(count):
            if self.count(at) == 0:
                self.move(at, "free")
            elif self.count(at) < CLUSTER:
                self.move(at, ("nonfull", 0))

    def count(self, at):
        return sum(self.used[at * CLUSTER : (at + 1) * CLUSTER])

    def of(self, name):
        return self.lists.setdefault(name, [])

    def move(self, at, name):
        for members in self.lists.values():
            if at in members:
                members.remove(at)
        self.of(name).append(at)

    def scan(self, offset, order):
        """(where found or None, where to go on or None), as alloc_swap_scan_cluster."""
        at, size = offset // CLUSTER, 1 << order
        if self.count(at) + size > CLUSTER:
            return None, None
        for place in range(offset, (at + 1) * CLUSTER - size + 1, size):
            if not any(self.used[place : place + size]):
                self.take(at, place, order)
                after = place + size
                full = self.count(at) == CLUSTER or after + size > (at + 1) * CLUSTER
                return place, None if full else after
        return None, None

    def take(self, at, place, order):
        if at in self.of("free"):
            self.orders[at] = order
            self.move(at, ("nonfull", order))
        for slot in range(place, place + (1 << order)):
            self.used[slot] = True
        if self.count(at) == CLUSTER:
            self.move(at, "full")

    def candidates(self, order, hint):
        """What to scan, one after the other: (what it is, offset)."""
        if hint is not None:
            yield "hint", hint
        if self.of("free"):
            yield "free", self.of("free")[0] * CLUSTER
        if order < 9:
            fresh = len(self.of(("nonfull", order)))
            for name, tries in (("nonfull", fresh), ("frag", len(self.of(("frag", order))))):
                for _ in range(tries):
                    at = self.of((name, order))[0]
                    self.move(at, ("frag", order))
                    yield name, at * CLUSTER
        if order == 0:
            for other in range(1, 10):
                for name in ("frag", "nonfull"):
                    for at in self.of((name, other))[:1]:
                        yield "stolen", at * CLUSTER

    def allocate(self, order, cpu):
        cpu %= self.cpus
        hint, self.next[cpu, order] = self.next.get((cpu, order)), None
        for what, offset in self.candidates(order, hint):
            place, self.next[cpu, order] = self.scan(offset, order)
            if place is not None:
                self.live[place] = order
                self.came[what] += 1
                return place
        self.came["refused"] += 1
        return NONE

    def release(self, place):
        order = self.live.pop(place)
        for slot in range(place, place + (1 << order)):
            self.used[slot] = False
        at = place // CLUSTER
        if self.count(at) == 0:
            self.orders[at] = 0
            self.move(at, "free")
        elif at not in self.of(("nonfull", self.orders[at])):
            self.move(at, ("nonfull", self.orders[at]))
        return order

    def split(self, place, order):
        whole = self.live[place]
        if whole < order:
            return NONE
        self.live |= {piece: order for piece in range(place, place + (1 << whole), 1 << order)}
        return whole


NUMBERS = {"free": FREE, "full": FULL}
NUMBERS |= {("nonfull", order): NONFULL + order for order in range(10)}
NUMBERS |= {("frag", order): FRAG + order for order in range(10)}
RANGES = [(490, 520), (1000, 3084), (3085, 3090)]  # few slots of order 0, so it soon steals
SLOTS, CPUS = RANGES[-1][1], 2
BAD = set(range(SLOTS)) - {slot for start, end in RANGES for slot in range(start, end)}


def play(requests):
    """Every answer and every list as the slow model's, and what is live apart and aligned."""
    state = started(*RANGES, cpus=CPUS)
    slow, sets = Slow(SLOTS, BAD, CPUS), Model([(0, SLOTS)])
    for start, end in RANGES:
        sets.add(start, end)
    for verb, first, second in requests:
        if verb == "allocate":
            granule = allocate(state, first, second)
            assert granule == slow.allocate(first, second)
            if granule != NONE:
                sets.take(granule, first)
        elif slow.live:
            granule = sorted(slow.live)[first % len(slow.live)]
            if verb == "release":
                assert release(state, granule) == slow.release(granule) == sets.release(granule)
            else:
                whole = interface.split(state, granule, second)
                assert whole == slow.split(granule, second) == sets.split(granule, second)
        for name, number in NUMBERS.items():
            assert on_list(state, number) == slow.of(name), name
    interface.check(state)
    return slow


numbers = st.integers(0, 1 << 16)
orders = st.sampled_from([0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9])
requests = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), orders, st.integers(0, 3)),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("split"), numbers, st.integers(0, 9)),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(requests)
def test_every_answer_and_every_list_is_the_slow_models(requests):
    play(requests)


PHASES = [  # orders, share of requests that allocate
    ([2, 4, 7, 9], 0.7),
    ([0], 0.95),
    ([0, 4], 0.2),
]


@pytest.mark.parametrize("seed", range(3))
def test_in_tides_of_large_and_small_as_the_slow_model(seed):
    """Long enough to refuse, to fragment and to steal."""
    random, chosen = np.random.default_rng(seed), []
    for orders, share in PHASES * 3:
        for _ in range(250):
            if random.random() < share:
                chosen.append(("allocate", int(random.choice(orders)), int(random.integers(4))))
            else:
                verb = "split" if random.random() < 0.1 else "release"
                chosen.append((verb, int(random.integers(1 << 20)), int(random.integers(5))))
    came = play(chosen).came
    assert set(came) == {"hint", "free", "nonfull", "frag", "stolen", "refused"}, came


@settings(max_examples=20)
@given(requests)
def test_all_released_is_all_free(requests):
    state = started(*RANGES, cpus=CPUS)
    for verb, order, cpu in requests:
        if verb == "allocate":
            allocate(state, order, cpu)
    for granule in np.flatnonzero(state.swap_map):
        release(state, granule)
    interface.check(state)
    assert sorted(on_list(state, FREE)) == [2, 3, 4, 5]
    assert sorted(on_list(state, NONFULL)) == [0, 1, 6], (
        "those with slots that are bad or not there"
    )
    assert len(fill(state, 0)) == SLOTS - len(BAD)
