"""What lives at each moment, and what was counted by then, against a dict that forgets nothing."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import (
    allocate,
    at,
    blocks_of,
    claim,
    op,
    ops_of,
    release,
    release_claim,
    space_of,
    split,
)

from potadlab import runs
from potadlab.core import census, fold
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.fragmentation import unusable_index
from potadlab.core.layout import NONE, POISON, Flag, Outcome, Verb
from potadlab.errors import UnknownName
from potadlab.kinds import KIND, KINDS, facts
from potadlab.runs import Case, begun, run_allocator

GRANULE_BYTES = 128 << 10  # 2 MiB is 16 granules
HUGE = 4
ADDED = ((30, 37), (80, 96))  # may come into service later
SPACE = space_of([(2, 30), (37, 80)], (37, 101), (0, 37), granule_bytes=GRANULE_BYTES)
FOLIO, KERNEL = KIND["folio"], KIND["kernel"]
START = blocks_of((4, 1, 0, FOLIO, 1), (16, 3, 1, KERNEL, NONE), (40, 3, 2, FOLIO, 2))
FIELDS = ["granule", "order", "handle", "kind", "owner", "time_ns", "flags"]

# ---- random ops ------------------------------------------------------------------------------

numbers = st.integers(0, 1 << 16)
requests = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), st.integers(0, 5), numbers),
        st.tuples(st.just("allocate"), st.integers(0, 2), numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("split"), numbers, st.integers(0, 3)),
        st.tuples(st.just("claim"), st.integers(1, 12), st.integers(0, 7)),
        st.tuples(st.just("migrate"), numbers, numbers),
        st.tuples(st.just("fail"), st.integers(0, 110), numbers),
        st.tuples(st.just("fail"), numbers, st.just(True)),
        st.tuples(st.just("unpoison"), numbers, numbers),
        st.tuples(st.just("add"), numbers, numbers),
    ),
    max_size=50,
)


class Writer:
    """Ops as a recording would have them: handles used once, pieces named before."""

    def __init__(self):
        self.ops = []
        self.handles = len(START)
        self.named = [("block", int(b["handle"]), int(b["order"])) for b in START]
        self.to_add = list(ADDED)

    def write(self, verb, first, second):
        getattr(self, verb)(first, second)
        self.ops[-1]["time_ns"] = 100 + 7 * (len(self.ops) // 2)  # two at a time

    def allocate(self, order, number):
        kind = number % len(KINDS)
        kind = FOLIO if kind == POISON else kind  # which no op may ask for
        told = {"kind": kind, "owner": number % 5 - 1, "flags": number % 3}
        wanted = number % 101 >> order << order
        self.ops.append(allocate(self.handles, order, granule=wanted, **told))
        self.name("block", order)

    def name(self, what, size):
        self.named.append((what, self.handles, size))
        self.handles += 1

    def release(self, number, _):
        """Of anything ever named, so often of what is dead or was refused."""
        what, handle, size = self.named[number % len(self.named)]
        if number % 3:
            self.named.remove((what, handle, size))
        if not self.named:
            self.name("block", 0)
        give = release if what == "block" else release_claim
        self.ops.append(give(handle, size))

    def split(self, number, order):
        blocks = [named for named in self.named if named[0] == "block"]
        if not blocks:
            return self.allocate(order, number)
        _, handle, whole = blocks[number % len(blocks)]
        order = min(order, whole)
        self.ops.append(split(handle, order, into=self.handles))
        for _ in range(1 << (whole - order)):
            self.name("block", order)

    def claim(self, size, number):
        align_order, flags = number % 4, Flag.MAY_MIGRATE if number > 3 else 0
        granules, kind = size << align_order, FOLIO if size % 2 else KERNEL
        told = {"kind": kind, "owner": 3, "flags": flags}
        self.ops.append(claim(self.handles, granules, align_order, **told))
        self.name("claim", granules)

    def migrate(self, number, _):
        _, handle, size = self.named[number % len(self.named)]
        self.ops.append(op(Verb.MIGRATE, handle, size if size < 10 else 0))

    def fail(self, granule, _):
        self.ops.append(at(Verb.FAIL, granule % 111))

    def unpoison(self, number, anywhere):
        """Mostly of a granule that has failed, at least once."""
        failed = [int(op["granule"]) for op in self.ops if op["verb"] == Verb.FAIL]
        granule = number % 111 if anywhere % 4 == 0 or not failed else failed[number % len(failed)]
        self.ops.append(at(Verb.UNPOISON, granule))

    def add(self, number, _):
        if not self.to_add:
            return self.fail(number % 110, 0)
        start, end = self.to_add.pop(number % len(self.to_add))
        self.ops.append(at(Verb.ADD_MEMORY, start, end - start))


def case_of(requests, space=SPACE, start=START):
    writer = Writer()
    for request in requests:
        writer.write(*request)
    return Case(space, ops_of(*writer.ops), start, writer.handles)


# ---- the slow model --------------------------------------------------------------------------


class Moment:
    """What lives after the events so far; each event is asked for only what it did."""

    def __init__(self, case):
        self.live = {int(b["granule"]): tuple(b[FIELDS].item()) for b in case.start}
        self.named = {int(b["handle"]): tuple(b[FIELDS].item())[3:] for b in case.start}
        self.failed, self.service = set(), set()
        for start, end in case.space.in_service:
            self.service |= set(range(start, end))

    def follow(self, op, event, moves):
        for move in moves:
            granule, to, order = (int(move[name]) for name in ("granule", "to", "order"))
            assert self.live.pop(granule)[1:3] == (order, move["handle"])
            self.place(to, order, int(move["handle"]))
        verb, granule, order = Verb(op["verb"]), int(event["granule"]), int(event["order"])
        handle = int(op["handle"])
        if verb in (Verb.ALLOCATE, Verb.CLAIM):
            told = [int(op[field]) for field in FIELDS[3:]]
            self.named[handle] = tuple(told)
        if verb == Verb.FAIL and event["outcome"] in (
            Outcome.POISONED_FREE,
            Outcome.POISONED_LIVE,
        ):
            self.failed.add(granule)
        elif verb == Verb.UNPOISON and event["outcome"] != Outcome.IGNORED:
            self.failed.remove(granule)
        elif event["outcome"] == Outcome.DONE and verb != Verb.MIGRATE:
            self.done(verb, op, handle, granule, order)

    def done(self, verb, op, handle, granule, order):
        if verb == Verb.ALLOCATE:
            self.place(granule, order, handle)
        elif verb == Verb.RELEASE:
            assert self.live.pop(granule)[1:3] == (order, handle)
        elif verb == Verb.SPLIT:
            assert self.live.pop(granule)[1:3] == (order, handle)
            for i in range(1 << (order - int(op["order"]))):
                piece = int(op["into"]) + i
                self.named[piece] = self.named[handle]
                self.live_at(granule + (i << int(op["order"])), int(op["order"]), piece)
        elif verb == Verb.ADD_MEMORY:
            self.service |= set(range(granule, granule + int(op["granules"])))
        else:
            for chunk in range(granule, granule + int(op["granules"]), 1 << order):
                if verb == Verb.CLAIM:
                    self.place(chunk, order, handle)
                else:
                    assert self.live.pop(chunk)[1:3] == (order, handle)

    def place(self, granule, order, handle):
        row = set(range(granule, granule + (1 << order)))
        assert row <= self.free(), "only what is free is handed out"
        self.live_at(granule, order, handle)

    def live_at(self, granule, order, handle):
        self.live[granule] = (granule, order, handle, *self.named[handle])

    # ---- what follows from it ----

    def covered(self):
        return {g + i for g, block in self.live.items() for i in range(1 << block[1])}

    def free(self):
        return self.service - self.covered() - self.failed

    def blocks(self):
        poison = [(granule, 0, NONE, POISON, NONE, 0, 0) for granule in sorted(self.failed)]
        live = [self.live[granule] for granule in sorted(self.live)]
        return sorted(live + poison, key=lambda block: block[0])  # stable: a block, its poison

    def free_blocks(self, zones, order_max):
        """The largest aligned pieces of what is free, within a zone: how many of each order."""
        free, counts = self.free(), [0] * census.ORDERS
        for low, high in zones:
            left = {granule for granule in free if low <= granule < high}
            for order in range(min(order_max, 7), -1, -1):
                for start in range(0, high, 1 << order):
                    row = set(range(start, start + (1 << order)))
                    if row <= left:
                        left -= row
                        counts[order] += 1
        return counts

    def by_kind(self):
        blocks, granules = [0] * census.KINDS, [0] * census.KINDS
        for _, order, _, kind, *_ in self.live.values():
            blocks[kind] += 1
            granules[kind] += 1 << order
        return blocks, granules


def moments(run):
    """(index, Moment) after each number of ops; the Moment is the same one, moved on."""
    moment = Moment(run.case)
    yield 0, moment
    for index, (asked, event) in enumerate(zip(run.case.ops, run.events, strict=True)):
        moment.follow(asked, event, run.moves[run.moves["op"] == index])
        yield index + 1, moment


def unusable(free_blocks, order):
    """(N - S * 2**k) * 1000 / N of mm/vmstat.c, with N free pages and S suitable blocks."""
    free = sum(count << k for k, count in enumerate(free_blocks))
    suitable = sum(count << (k - order) for k, count in enumerate(free_blocks) if k >= order)
    return (free - (suitable << order)) * 1000 // free if free else 1000


def spoilt(blocks):
    """Regions of 2 MiB with a granule of an unmovable kind, and one that is free or movable."""
    fixed = Counter()
    for block in blocks:
        if not facts()["movable"][block["kind"]]:
            first, end = int(block["granule"]), int(block["granule"]) + (1 << int(block["order"]))
            fixed.update(granule >> HUGE for granule in range(first, end))
    return sum(count < 1 << HUGE for count in fixed.values())


# ---- the tests -------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _many_checkpoints():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "CHECKPOINT_OPS", 3)
        yield


@pytest.mark.parametrize("name", ALLOCATORS)
@settings(max_examples=60)
@given(requests, st.randoms(use_true_random=False))
def test_any_moment_is_what_the_events_made_of_the_start(name, requests, random):
    run = run_allocator(name, case_of(requests), samples=5, check_end=True)
    expected = {index: moment.blocks() for index, moment in moments(run)}
    order = [*expected, *expected]
    random.shuffle(order)
    for index in order:
        assert run.blocks(index)[FIELDS].tolist() == expected[index], f"after {index} ops"


@pytest.mark.parametrize("name", ALLOCATORS)
@settings(max_examples=60)
@given(requests)
def test_service_and_failures_of_any_moment(name, requests):
    run = run_allocator(name, case_of(requests), samples=5)
    for index, moment in moments(run):
        ranges = run.in_service(index)
        assert all(end < start for (_, end), (start, _) in pairwise(ranges.tolist()))
        assert {g for start, end in ranges for g in range(start, end)} == moment.service
        assert run.poison(index).tolist() == sorted(moment.failed)
        live = run.live(index)
        assert {fold.holds(live, granule) for granule in moment.free()} <= {NONE}
        for i, block in enumerate(live):
            last = int(block["granule"]) + (1 << int(block["order"])) - 1
            assert fold.holds(live, block["granule"]) == i == fold.holds(live, last)


@pytest.mark.parametrize("name", ALLOCATORS)
@settings(max_examples=60)
@given(requests, st.sampled_from([1, 7, 400]))
def test_samples_are_what_counting_again_gives(name, requests, samples):
    run = run_allocator(name, case_of(requests), samples=samples)
    counted, order_max = run.census, ALLOCATORS[name].order_max or 63
    rows = {int(index): row for row, index in enumerate(counted.index)}
    assert len(run.case.ops) in rows, "the end is a sample"
    zones = [(zone.start, zone.end) for zone in SPACE.zones]
    indices, live_max = [], 0
    for index, moment in moments(run):
        free_blocks = moment.free_blocks(zones, order_max)
        blocks, granules = moment.by_kind()
        live_max = max(live_max, sum(granules))
        if index:
            indices.append(unusable(free_blocks, HUGE))
        if index in rows:
            row = rows[index]
            assert counted.free_blocks[row].tolist() == free_blocks
            assert counted.live_blocks[row].tolist() == blocks
            assert counted.live_granules[row].tolist() == granules
            assert counted.spoilt[row] == spoilt(run.live(index))
    assert run.live_bytes_max == live_max * GRANULE_BYTES
    assert counted.unusable_mean == pytest.approx(sum(indices) / 1000 / max(len(indices), 1))


@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_granule_brought_back_is_free_again_when_its_block_goes(name):
    """Failed while live and brought back: the block is released whole, and can be had again."""
    ops = ops_of(
        allocate(0, 3, granule=0),
        at(Verb.FAIL, 5),
        at(Verb.FAIL, 2),
        at(Verb.UNPOISON, 5),
        at(Verb.UNPOISON, 2),
        release(0, 3),
        allocate(1, 3, granule=0),
    )
    run = run_allocator(name, Case(space_of([(0, 8)], (0, 8)), ops, START[:0], 2), samples=400)
    failed = [[], [], [5], [2, 5], [2], [], [], []]
    assert [run.poison(index).tolist() for index in range(8)] == failed
    assert run.census.free_blocks[:, 3].tolist() == [1, 0, 0, 0, 0, 0, 1, 0]
    assert run.census.free_blocks.sum(axis=1).tolist() == [1, 0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("upper_first", [True, False])
def test_zones_are_tried_in_their_order(upper_first):
    zones = [(512, 1024), (0, 512)] if upper_first else [(0, 512), (512, 1024)]
    space = space_of([(0, 1024)], *zones)
    case = Case(space, ops_of(allocate(0), allocate(1, 6)), START[:0], 2)
    assert case.zones.tolist() == [list(zone) for zone in zones]
    for name in ("potad", "buddy"):
        granules = run_allocator(name, case).events["granule"]
        assert [granule >= 512 for granule in granules.tolist()] == [upper_first] * 2


def test_a_block_that_stays_spoils_the_regions_that_it_does_not_fill():
    state = census.new(np.array([(0, 64)]), 5, facts()["movable"], 2)
    live = blocks_of((0, 4, 0, KIND["slab"], 0), (16, 1, 1, KIND["slab"], 0), (20, 0, 2, 3, 0))
    census.begin(state, np.array([(0, 64)]), live)
    assert state.fixed[:6].tolist() == [4, 4, 4, 4, 2, 0]
    assert state.spoilt[0] == 1, "four are filled, one half, and anonymous memory moves"


def test_samples_are_evenly_spaced_in_time():
    ops = ops_of(*(allocate(handle) for handle in range(10)))
    ops["time_ns"] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 100]
    run = run_allocator("potad", Case(SPACE, ops, START[:0], 10), samples=5)
    assert run.census.index.tolist() == [0, 9, 10]
    assert run.census.time_ns.tolist() == [0, 100, 100]
    assert run.census.live_blocks[:, 0].tolist() == [0, 9, 10]


def test_a_run_without_ops_is_its_start():
    run = run_allocator("buddy", Case(SPACE, ops_of(), START, 3))
    assert run.blocks(0)[FIELDS].tolist() == START[FIELDS].tolist()
    assert run.census.index.tolist() == [0]
    assert run.live_bytes_max == (2 + 8 + 8) * GRANULE_BYTES
    assert run.refused == 0


def test_what_was_refused_is_counted():
    ops = ops_of(
        allocate(0, 6),
        allocate(1, 5),
        allocate(2, 5),
        claim(3, 48, 4),
        release(2, 5),
        claim(4, 3, 0),
        release_claim(4, 3),
    )
    run = run_allocator("potad", Case(space_of([(0, 40)], (0, 40)), ops, START[:0], 5))
    assert run.refused == 3
    assert run.count(Verb.ALLOCATE, Outcome.DONE) == 1
    assert run.count(Verb.RELEASE, Outcome.ABSENT) == 1
    assert run.live_bytes_max == 35 * 4096


def test_bytes_at_the_end():
    """A folio and its pieces share 80 bytes; a struct page for every page in service."""
    ops = ops_of(allocate(0, 3, kind=FOLIO), allocate(1, 1, kind=KERNEL), split(0, 2, into=2))
    case = Case(space_of([(0, 4096)], (0, 4096)), ops, START[:0], 4)
    run = run_allocator("potad", case)
    start_bits = run.bytes["lookup"] - 3 * 8
    assert run.bytes["descriptors"] == 80
    assert start_bits >= 4096 // 8
    for name in ("buddy", "recorded"):
        assert run_allocator(name, case).bytes["descriptors"] == 4096 * 64


def test_an_allocator_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match=r"'slob'.*potad"):
        begun("slob", Case(SPACE, ops_of(), START[:0], 0))


def one(orders):
    """free_blocks with these counts, from order 0 up."""
    free_blocks = np.zeros(census.ORDERS, np.int64)
    free_blocks[: len(orders)] = orders
    return free_blocks


@pytest.mark.parametrize(
    ("free_blocks", "order", "index"),
    [
        ([], 9, 1000),  # N = 0
        ([1], 0, 0),
        ([5], 1, 1000),
        ([0] * 9 + [3], 9, 0),
        ([512] + [0] * 8 + [1], 9, 500),
        ([512] + [0] * 9 + [1], 9, 333),  # 512 of 1536, integer arithmetic
        ([1, 1, 1], 1, 142),  # 1 of 7
        ([1, 1, 1], 2, 428),
        ([7, 2, 0, 4], 3, 255),  # 11 of 43
        ([0, 0, 1 << 40], 3, 1000),
    ],
)
def test_unusable_index_is_that_of_vmstat(free_blocks, order, index):
    assert unusable_index(one(free_blocks), order) == index == unusable(free_blocks, order)


def test_recorded_blocks_larger_than_linux_hands_out_are_counted():
    """Free memory is counted in blocks of at most order 10, as Linux would hold it."""
    ops = ops_of(
        allocate(1, 11, granule=0), release(0, 12), release(1, 11), allocate(2, 12, granule=4096)
    )
    case = Case(space_of([(0, 8192)], (0, 8192)), ops, blocks_of((4096, 12, 0, FOLIO, 0)), 3)
    run = run_allocator("recorded", case, samples=5, check_end=True)
    assert run.refused == 0
    assert run.census.free_blocks[:, 10].tolist() == [4, 2, 6, 8, 4]
    assert run.census.free_blocks.sum(axis=1).tolist() == [4, 2, 6, 8, 4]


def test_a_space_that_begins_with_nothing_in_service():
    ops = ops_of(allocate(0, granule=3), at(Verb.ADD_MEMORY, 0, 8), allocate(1, granule=3))
    run = run_allocator("potad", Case(space_of([], (0, 16)), ops, START[:0], 2), samples=4)
    assert [run.in_service(index).tolist() for index in range(4)] == [[], [], [[0, 8]], [[0, 8]]]
    assert run.events["granule"].tolist() == [NONE, 0, 0]
    assert run.census.unusable_mean == 1.0
