"""What kernels touch, on kernels of which it is known; costs against a slow model of them."""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import allocate, at, blocks_of, ops_of, release, split

from potadlab.core import bits, meter, metered
from potadlab.core._jit import DISABLED, kernel
from potadlab.core.allocators import ALLOCATORS, choose
from potadlab.core.layout import EVENT, MOVE, NONE, Outcome, Verb
from potadlab.core.lookups import LOOKUPS, READ_ONLY
from potadlab.core.meter import COST, Guard, Part, metering
from potadlab.core.replay import begin, replay
from potadlab.kinds import facts

compiled = pytest.mark.skipif(DISABLED, reason="only compiled kernels can be seen to touch memory")

PAIR = np.dtype([("first", "i8"), ("second", "i4"), ("third", "i4")])


class Inner(NamedTuple):
    words: np.ndarray  # i8[]
    pairs: np.ndarray  # PAIR[], four to a line


class Outer(NamedTuple):
    inner: Inner
    line: np.ndarray  # u1[]
    table: np.ndarray  # i8[4, 8], a row a line
    count: int


def outer():
    inner = Inner(np.arange(64), np.zeros(16, PAIR))
    return Outer(inner, np.zeros(256, np.uint8), np.arange(32).reshape(4, 8), 5)


@kernel
def read_word(state, i):
    return state.inner.words[i] + state.count


@kernel
def write_word(state, i):
    state.inner.words[i] = i


@kernel
def _add_one(pair):  # it gets no array
    pair["second"] += 1


@kernel
def change_pair(state, i):
    _add_one(state.inner.pairs[i])
    return np.int64(0)


@kernel
def read_vector(state, i):
    return bits.bytes_max(state.line, i)


@kernel
def write_vector(state, i):
    bits.bytes_put(state.line, i, bits.ONES, np.int64(3))


@kernel
def write_slice(state, i):
    piece = state.inner.words[i : i + 9]
    piece[1:] = 7


@kernel
def read_row(state, i):
    row = state.table[i]
    return row[0] + row[7]


@kernel
def _sum(words):
    total = np.int64(0)
    for word in words:
        total += word
    return total


@kernel
def sum_some(state, i):
    return _sum(state.inner.words[i : i + 3])


@kernel
def read_other(state, other):
    return other[0] + state.inner.words[0]


CASES = [  # kernel, argument -> (array, line, read?, written?) in order of first touches
    (read_word, 9, [("inner.words", 1, 1, 0)]),
    (write_word, 8, [("inner.words", 1, 0, 1)]),
    (change_pair, 5, [("inner.pairs", 1, 1, 1)]),
    (read_vector, 64, [("line", 1, 1, 0)]),
    (read_vector, 65, [("line", 1, 1, 0), ("line", 2, 1, 0)]),
    (write_vector, 128, [("line", 2, 1, 1)]),
    (write_slice, 7, [("inner.words", 1, 0, 1)]),
    (write_slice, 6, [("inner.words", 0, 0, 1), ("inner.words", 1, 0, 1)]),
    (read_row, 3, [("table", 3, 1, 0)]),
    (sum_some, 6, [("inner.words", 0, 1, 0), ("inner.words", 1, 1, 0)]),
]


def touches(metering):
    return [
        (metering.names[touch["array"]], touch["line"], touch["read"], touch["written"])
        for touch in metering.touches()
    ]


@compiled
@pytest.mark.parametrize(("act", "argument", "expected"), CASES)
def test_known_lines_of_small_kernels(act, argument, expected):
    plain, cost = outer(), np.zeros(1, COST)
    answer = act(plain, argument)
    state = outer()
    with metering(state) as metered_now:
        assert act(metered_now.state, argument) == answer
        meter.settle(metered_now.meter, 0, 0, cost[0])
        assert touches(metered_now) == expected
    assert cost["lines"] == len(expected)
    assert cost["written"] == sum(written for *_, written in expected)
    for name, array in meter.arrays_of(state).items():  # it did what it does without a meter
        assert np.array_equal(array, meter.arrays_of(plain)[name])


@compiled
def test_other_memory_does_not_count_and_nothing_is_left():
    with metering(outer()) as now:
        read_other(now.state, np.arange(5))
        meter.settle(now.meter, 0, 0, np.zeros(1, COST)[0])
        assert touches(now) == [("inner.words", 0, 1, 0)]
        meter.settle(now.meter, 0, 0, np.zeros(1, COST)[0])
        assert touches(now) == []


@compiled
def test_unmetered_kernels_log_nothing_and_keep_their_machine_code():
    state = outer()
    read_word(state, 3)
    before = [signature for signature in read_word.signatures if "metered" not in str(signature)]
    with metering(state) as now:
        read_word(now.state, 3)
        meter.settle(now.meter, 0, 0, np.zeros(1, COST)[0])
        read_word(state, 3)
        assert metered.LOGGED[0] == 0
    after = [signature for signature in read_word.signatures if "metered" not in str(signature)]
    assert after == before
    for signature, code in read_word.inspect_llvm().items() if read_word.stats.cache_misses else ():
        assert ("potadlab_touch" in code) == ("metered" in str(signature))


@compiled
def test_one_meter_at_a_time():
    with metering(outer()):
        assert metered.BUSY.locked()
    assert not metered.BUSY.locked()


def test_it_says_where_it_cannot_be_had():
    if not DISABLED:
        pytest.skip("it can be had")
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT"), metering(outer()):
        pass


# ---- costs, from a log written by hand --------------------------------------------------------

BYTES = {"one": 200, "two": 64, "three": 1000}  # neither whole lines nor whole pages
GUARDS = {"one": Guard.NEVER, "two": Guard.ALWAYS, "three": Guard.WRITTEN}
WAYS, SETS = 2, 4
# "one" has a row of 8 bytes for each granule, "three" one of 40: a line is the row's that starts it
PARTS = {"one": Part.WORD, "two": Part.LOOKUP, "three": Part.PAGE}
ROWS = {"one": 8, "two": 1, "three": 40}

access = st.tuples(
    st.sampled_from([*BYTES, "elsewhere"]),
    st.integers(0, 999),
    st.sampled_from([1, 8, 64, 200]),
    st.booleans(),
)
cpus = st.sampled_from([0, 1, 2, 64])  # few, or none comes back to a line; 64 shares with 0
owned = st.tuples(st.integers(0, 24), st.integers(0, 9))  # first granule of the block, granules
logs = st.lists(st.tuples(cpus, owned, st.lists(access, max_size=12)), max_size=12)


class SlowMeter:
    """Dicts and lists: lines of an op, a cache, who wrote and who has which line."""

    def __init__(self):
        self.cache = [OrderedDict() for _ in range(SETS)]
        self.wrote = {}  # line -> holders since
        pages = {name: -(-size // 4096) * 64 for name, size in BYTES.items()}
        names = list(BYTES)
        self.first = {name: sum(pages[n] for n in names[:i]) for i, name in enumerate(names)}

    def part(self, line, start, end):
        name = max((n for n in self.first if self.first[n] <= line), key=self.first.get)
        if PARTS[name] < Part.PAGE:
            return PARTS[name]
        per_line = max(64 // ROWS[name], 1)
        at = (line - self.first[name]) * per_line
        if not set(range(at, at + per_line)) & set(range(start, end)):
            return Part.ALLOCATOR
        return Part.DESCRIPTOR if name == "three" and at <= start else Part.LOOKUP

    def cost(self, cpu, block, accesses):
        held = [i for i, each in enumerate(accesses) if self.guarded(*each)]
        lines, written, locked = {}, set(), set()
        for i, (name, start, size, writes) in enumerate(accesses):
            if name == "elsewhere" or start >= BYTES[name]:
                continue
            for byte in range(start, min(start + size, BYTES[name])):
                line = self.first[name] + byte // 64
                lines[line] = True
                if writes:
                    written.add(line)
                if held and held[0] <= i <= held[-1]:
                    locked.add(line)
        misses = sum(self.misses(line) for line in lines)
        transfers = sum(self.transfers(line, cpu % 64, line in written) for line in lines)
        parts = [self.part(line, block[0], sum(block)) for line in lines]
        said = parts.count(Part.DESCRIPTOR), parts.count(Part.LOOKUP)
        return len(lines), len(written), misses, transfers, len(locked), *said, bool(held), 0

    def guarded(self, name, start, size, writes):
        if name == "elsewhere" or start >= BYTES[name]:
            return False
        return GUARDS[name] == Guard.ALWAYS or (GUARDS[name] == Guard.WRITTEN and writes)

    def misses(self, line):
        ways = self.cache[line % SETS]
        missed = line not in ways
        ways[line] = True
        ways.move_to_end(line)
        if len(ways) > WAYS:
            ways.popitem(last=False)
        return missed

    def transfers(self, line, cpu, writes):
        holders = self.wrote.get(line)
        fetched = holders is not None and cpu not in holders
        if writes:
            self.wrote[line] = {cpu}
        elif holders is not None:
            holders.add(cpu)
        return fetched


def memory():
    """Arrays with room around them, so that no address past one is in another."""
    room = {name: np.zeros(4096, np.uint8)[1024 : 1024 + size] for name, size in BYTES.items()}
    return {name: each.view(f"V{ROWS[name]}") for name, each in room.items()}


@given(logs)
def test_costs_are_those_of_a_slow_model(ops):
    arrays, slow = memory(), SlowMeter()
    elsewhere = np.zeros(2048, np.uint8)
    with metered.BUSY:
        counted = meter.new(arrays, GUARDS, WAYS * SETS * 64, WAYS, PARTS)
        for cpu, block, accesses in ops:
            for i, (name, start, size, writes) in enumerate(accesses):
                address = arrays.get(name, elsewhere).ctypes.data + start
                metered.LOG[i] = address, -size if writes else size
            metered.LOGGED[0] = len(accesses)
            cost = np.zeros(1, COST)
            meter.settle_block(counted, 0, cpu, block[0], sum(block), cost[0])
            assert cost[0].tolist() == slow.cost(cpu, block, accesses)


@pytest.mark.parametrize("logged", [0, 3, 4, 5, 1000])
def test_a_log_that_is_too_short_is_told(logged):
    arrays, cost = memory(), np.zeros(1, COST)
    with metered.BUSY:
        counted = meter.new(arrays, GUARDS)._replace(log=metered.LOG[:4])
        metered.LOG[:4] = arrays["one"].ctypes.data, 8
        metered.LOGGED[0] = logged
        meter.settle(counted, 0, 0, cost[0])
        assert metered.LOGGED[0] == 0
    assert cost["cut"] == (logged > 4)
    assert cost["lines"] == min(logged, 1)


# ---- every allocator, every lookup ------------------------------------------------------------

ZONES = np.array([(512, 2048), (0, 512)])
RANGES = np.array([(16, 500), (512, 1900), (0, 0)])
START = blocks_of((16, 2, 0, 4, 1), (600, 3, 1, 5, 2))
OPS = ops_of(
    allocate(2, granule=700, kind=4, cpu=1),
    allocate(3, 3, granule=720, kind=5, owner=3),
    allocate(4, 6, granule=768, kind=4),
    release(0, 2),
    release(2, cpu=2),
    split(4, 2, into=5),
    release(5, 2),
    allocate(21, 9, granule=1024, kind=4),
    at(Verb.ADD_MEMORY, 1900, 20),
    release(3, 3),
    release(21, 9),
    release(99),
)


def replayed(name, watch):
    """(EVENT[], COST[] or None) of the ops in an allocator."""
    state = ALLOCATORS[name].new(ZONES, facts())
    where, events = np.full(100, NONE), np.zeros(len(OPS), EVENT)
    begin(state, RANGES[:2], START, where)
    groups, moves = np.zeros(len(OPS), np.uint8), np.zeros(64, MOVE)
    rest = (groups, where, events, moves, RANGES.copy(), ZONES)
    if not watch:
        replay(state, OPS, *rest)
        return events, None
    allocator = ALLOCATORS[name]
    more = {"left_out": allocator.uncounted, "parts": allocator.parts}
    with metering(state, allocator.guards, **more) as now:
        costs = np.zeros(len(OPS), COST)
        replay(now.state, OPS, *rest, run=now.runner(costs))
    return events, costs


@compiled
@pytest.mark.parametrize("name", ALLOCATORS)
def test_every_allocator_does_the_same_under_a_meter(name):
    plain, _ = replayed(name, watch=False)
    events, costs = replayed(name, watch=True)
    assert np.array_equal(events["lines"], costs["lines"])
    events["lines"] = 0
    assert np.array_equal(events, plain)
    done = (events["outcome"] == Outcome.DONE) & (events["granule"] != NONE)
    assert np.all(costs["written"][done] > 0)
    assert np.all(costs["written"] <= costs["lines"])
    assert costs["lines"][-1] == 0  # its block was never there, so the allocator was not asked
    assert not costs["cut"].any()
    assert np.all(costs["descriptor"] + costs["lookup"] <= costs["lines"])
    done &= OPS["verb"] <= Verb.RELEASE
    said = costs["descriptor"][done] + costs["lookup"][done]
    assert np.all(said > 0) or not ALLOCATORS[name].parts


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_is_guarded_and_left_out_is_there(name):
    allocator = ALLOCATORS[name]
    arrays = meter.arrays_of(allocator.new(ZONES, facts()))
    assert set(allocator.uncounted) <= set(arrays)
    assert set(allocator.guards) <= set(arrays) | {array.partition(".")[0] for array in arrays}
    assert not allocator.cpus or allocator.cpus in allocator.options
    if "descriptor" in allocator.options:
        arrays |= meter.arrays_of(allocator.new(ZONES, facts(), descriptor="memdesc"))
    named = set(arrays) | {array.partition(".")[0] for array in arrays}
    assert set(allocator.parts) <= named


@compiled
@pytest.mark.parametrize(
    ("spec", "allocated", "released"),
    [  # descriptor and lookup of a block of 16 pages, in core lists alone
        # the first struct page, and 15 tails
        ("buddy:pcp=off,migratetypes=off", (1, 15), (1, 15)),
        ("buddy:pcp=off,migratetypes=off,tails=off", (1, 0), (1, 0)),
        # its record and the arena's row (bytes 160 to 199: two lines); 16 words of 8 bytes
        ("buddy:descriptor=memdesc,pcp=off,migratetypes=off", (3, 2), (3, 2)),
    ],
)
def test_a_page_is_descriptor_and_lookup_of_its_own_block_only(spec, allocated, released):
    """Four blocks that need a split each: the buddies' pages are the allocator's."""
    picked = choose(spec)
    state = picked.new(np.array([(0, 4096)]), facts())
    ops = ops_of(
        *(allocate(handle, 4, kind=4) for handle in range(4)), release(1, 4), release(2, 4)
    )
    where, events = np.full(8, NONE), np.zeros(len(ops), EVENT)
    begin(state, np.array([(0, 4096)]), START[:0], where)
    rest = (np.zeros(len(ops), np.uint8), where, events, np.zeros(0, MOVE), np.zeros((0, 2), int))
    more = {"left_out": picked.allocator.uncounted, "parts": picked.allocator.parts}
    with metering(state, picked.allocator.guards, **more) as now:
        costs = np.zeros(len(ops), COST)
        replay(now.state, ops, *rest, np.array([(0, 4096)]), run=now.runner(costs))
    assert costs[["descriptor", "lookup"]][:4].tolist() == [allocated] * 4
    assert costs[["descriptor", "lookup"]][4:].tolist() == [released] * 2
    others = costs["lines"] - costs["descriptor"] - costs["lookup"]
    assert np.all(others >= 1)
    assert others[0] > others[3] == others[1], "the first splits 4 MiB: a page for each half"


@compiled
@pytest.mark.parametrize("name", LOOKUPS)
def test_every_lookup_can_be_metered(name):
    index = LOOKUPS[name](4096, facts())
    blocks = blocks_of((16, 2, 0, 4, 1), (64, 6, 1, 5, 2), (600, 3, 2, 5, 2))
    with metering(index) as now:
        stored = now.store(blocks)
        found = now.locate(np.array([17, 127, 603, 700]))
        if name not in READ_ONLY:
            assert np.all(now.erase(blocks)["written"] > 0)
    assert np.all(stored["written"] > 0)
    assert np.all(found["lines"] > 0)
    assert np.all(found["written"] == 0)


@compiled
def test_memmap_has_the_lines_that_it_says():
    index = LOOKUPS["memmap"](4096, facts())
    blocks = blocks_of((64, 6, 1, 5, 2))
    with metering(index) as now:
        assert now.store(blocks)["lines"].tolist() == [64]
        assert now.locate(np.array([64, 65, 10])).tolist()[0][0] == 1  # a head
        assert now.touches()["line"].tolist() == [10]
        assert now.locate(np.array([65]))["lines"].tolist() == [2]  # a tail and its head
        assert now.lines_by_array()["frames"].tolist() == [64, 0, 6]


@compiled
def test_a_hit_takes_no_lock_and_touches_no_other_cpus_line():
    """Two CPUs by turns; kinds that change find their record in the CPU's magazine."""
    zones, ops = np.array([(0, 4096)]), []
    for turn in range(40):
        for cpu in (0, 1):
            ops.append(allocate(1 + cpu, kind=3 + turn // 2 % 3, cpu=cpu))
        ops.extend(release(1 + cpu, cpu=cpu) for cpu in (0, 1))
    ops = ops_of(*ops)
    state = ALLOCATORS["potad"].new(zones, facts())
    where, events, costs = np.full(3, NONE), np.zeros(len(ops), EVENT), np.zeros(len(ops), COST)
    begin(state, zones, blocks_of(), where)
    rest = (np.zeros(len(ops), np.uint8), where, events, np.zeros(1, MOVE), zones.copy(), zones)
    with metering(state, ALLOCATORS["potad"].guards) as now:
        replay(now.state, ops, *rest, run=now.runner(costs))
    late = costs[len(costs) // 2 :]
    assert not late["guarded"].any()
    assert not late["transfers"].any()
    assert {int(cost["lines"]) for cost in late[2::4]} <= {2, 3, 4}
    same = late[4::8]  # the kind that the block had
    assert same["lines"].tolist() == [2] * len(same), "the stack's line and the slot's"


@pytest.mark.parametrize("name", ALLOCATORS)
def test_guards_name_arrays_that_are_there(name):
    """A string in place of a tuple would name its letters."""
    allocator = ALLOCATORS[name]
    arrays = meter.arrays_of(allocator.new(np.array([[0, 4096]]), facts()))
    parts = {array.partition(".")[0] for array in arrays}
    assert allocator.guards.keys() <= parts | arrays.keys()
    assert set(allocator.uncounted) <= arrays.keys()
