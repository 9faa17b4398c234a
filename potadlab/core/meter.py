"""Cache lines of each op: touched, written, missed, fetched from another CPU, under the lock.

A line is 64 bytes of one array, counted from its start as though it began at a line's edge, where
a C program would place it; so counts are the same in every process.  Arrays lie one after the
other, each from a page on, in the simulated cache: set-associative, least recently used leaves.
It holds nothing when metering begins, and it is one for all CPUs.

A transfer: a line that another CPU has written since this CPU last had it, which must come from
that CPU's cache.  Lines that nobody has written since metering began come from memory.

Under the lock: an allocator says which arrays its lock guards (`Guard`).  From an op's first
access of one of them to its last the lock is held, and the lines touched meanwhile count.  What an
op does before and after (a front cache, the block's own record, compound tails) does not.

Each line belongs to one of three: what is free (the allocator's own), the descriptor, the lookup
(`Part`).  struct page is all three in one, memdesc's words two of them.  There the lines of the
op's own block are its descriptor or lookup: it would need them whatever allocator placed it.
Those of other blocks (neighbours in a list, buddies) are the allocator's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from . import metered
from ._jit import kernel, state
from .follow import erase_all, locate_independent, store_all
from .layout import Outcome, Verb
from .mapped import mapped
from .replay import run_ops

LINE_BYTES = 64
_LINES_PER_PAGE = 64
CACHE_BYTES, CACHE_WAYS = 1 << 20, 16
LINES_MAX = 0xFFFF  # that EVENT has room for
CPUS = 64  # told apart; a trace's further CPUs share them
OTHER = 2  # row of `by_array` beside Verb.ALLOCATE and Verb.RELEASE: other verbs, or not done


class Guard(IntEnum):
    """When the allocator's lock must be held to touch an array."""

    NEVER = 0
    WRITTEN = 1  # read without it
    ALWAYS = 2


class Part(IntEnum):
    """What an array is for."""

    ALLOCATOR = 0
    DESCRIPTOR = 1
    LOOKUP = 2
    PAGE = 3  # a row per granule.  Own block: its first line DESCRIPTOR, the others (tails) LOOKUP
    WORD = 4  # the same, but all of the own block is LOOKUP


_DESCRIPTOR, _LOOKUP, _PAGE = int(Part.DESCRIPTOR), int(Part.LOOKUP), int(Part.PAGE)
_WRITTEN, _ALWAYS, _RELEASE = int(Guard.WRITTEN), int(Guard.ALWAYS), int(Verb.RELEASE)
_DONE = int(Outcome.DONE)

COST = np.dtype(
    [  # of one op
        ("lines", "u4"),  # distinct lines touched
        ("written", "u4"),  # of these, written
        ("misses", "u4"),
        ("transfers", "u4"),
        ("locked", "u4"),  # lines touched under the lock
        ("descriptor", "u4"),  # of the lines, the descriptor's
        ("lookup", "u4"),  # and the lookup's; the rest is the allocator's
        ("guarded", "u1"),  # whether the lock was taken
        ("cut", "u1"),  # whether the log was too short for the op: all counts are too low
    ],
    align=True,
)
TOUCH = np.dtype(
    [  # a line that an op touched, in the order of first touches
        ("line", "i8"),  # of all arrays, one after the other
        ("array", "i4"),
        ("read", "u1"),
        ("written", "u1"),
        ("locked", "u1"),
    ],
    align=True,
)
_ARRAY = np.dtype(
    [("start", "i8"), ("end", "i8"), ("line", "i8"), ("array", "i4"), ("guard", "u1")], align=True
)
_PART = np.dtype([("part", "i8"), ("line", "i8"), ("per_line", "i8")])  # rows of it on a line
_LINE = np.dtype(
    [
        ("op", "i8"),  # the last that touched it, from 1
        ("touch", "i8"),  # where in that op's touches
        ("holders", "u8"),  # a bit for each CPU that had it since it was written; 0: never written
    ]
)
_ROOM = 1 << 20  # lines of one op


@state
class Meter(NamedTuple):
    log: np.ndarray  # ACCESS[]
    logged: np.ndarray  # i8[1]
    arrays: np.ndarray  # _ARRAY[] by address
    lines: np.ndarray  # _LINE[line]
    touched: np.ndarray  # TOUCH[], the op's
    counts: np.ndarray  # i8[2]  ops, touches of the last one
    tags: np.ndarray  # i8[set, way]  line + 1, the last used first
    by_array: np.ndarray  # i8[3, array]  lines touched by ALLOCATE, RELEASE, OTHER
    parts: np.ndarray  # _PART[array]


_OPS, _TOUCHES = 0, 1


def arrays_of(state: Any, above: str = "") -> dict[str, np.ndarray]:
    """The arrays of a state by name, those of its parts as "part.name"."""
    found: dict[str, np.ndarray] = {}
    for name, part in zip(state._fields, state, strict=True):
        if isinstance(part, np.ndarray):
            found[above + name] = part
        elif isinstance(part, tuple):
            found |= arrays_of(part, f"{above}{name}.")
    return found


def new(
    arrays: Mapping[str, np.ndarray],
    guards: Mapping[str, Guard],
    cache_bytes: int = CACHE_BYTES,
    ways: int = CACHE_WAYS,
    parts: Mapping[str, Part] | None = None,
) -> Meter:
    """A meter of these arrays, its cache empty; one not named in `guards` is guarded when written.

    One not named in `parts` is the allocator's.  "part" in either speaks for every "part.name".
    Each array is one piece of memory (C order), apart from the others.
    """
    whole = {name.partition(".")[0] for name in arrays}
    assert guards.keys() <= whole | arrays.keys()
    rows, told = np.zeros(len(arrays), _ARRAY), np.zeros(len(arrays), _PART)
    line = 0
    for number, (name, array) in enumerate(arrays.items()):
        assert array.flags.c_contiguous
        start, above = array.ctypes.data, name.partition(".")[0]
        guard = guards.get(name, guards.get(above, Guard.WRITTEN))
        rows[number] = (start, start + array.nbytes, line, number, guard)
        part = (parts or {}).get(name, (parts or {}).get(above, Part.ALLOCATOR))
        told[number] = part, line, max(LINE_BYTES // array.itemsize, 1)
        assert part < Part.PAGE or array.itemsize <= LINE_BYTES
        pages = -(-array.nbytes // (LINE_BYTES * _LINES_PER_PAGE))
        line += pages * _LINES_PER_PAGE
    rows = np.sort(rows[rows["start"] < rows["end"]], order="start")
    assert np.all(rows["end"][:-1] <= rows["start"][1:])
    sets = cache_bytes // LINE_BYTES // ways
    return Meter(
        metered.LOG,
        metered.LOGGED,
        rows,
        mapped(line, _LINE),
        mapped(_ROOM, TOUCH),
        np.zeros(2, np.int64),
        np.zeros((sets, ways), np.int64),
        np.zeros((3, len(arrays)), np.int64),
        told,
    )


# ---- one op ---------------------------------------------------------------------------------


@kernel
def settle(meter, row, cpu, cost):
    """Count what was logged since the last time, as one op of `cpu`, and empty the log."""
    settle_block(meter, row, cpu, np.int64(0), np.int64(0), cost)


@kernel
def settle_block(meter, row, cpu, start, end, cost):
    """The same of an op on the block of granules start .. end - 1."""
    logged, room = meter.logged[0], np.int64(len(meter.log))
    cost["cut"] = logged > room
    first, last = _locked(meter, min(logged, room))
    meter.counts[_OPS] += 1
    meter.counts[_TOUCHES] = 0
    for i in range(min(logged, room)):
        _note(meter, meter.log[i], first <= i <= last, cost)
    meter.logged[0] = 0
    cost["guarded"] = first <= last
    cost["lines"] = meter.counts[_TOUCHES]
    cost["written"], cost["misses"], cost["transfers"], cost["locked"] = 0, 0, 0, 0
    cost["descriptor"], cost["lookup"] = 0, 0
    for i in range(meter.counts[_TOUCHES]):
        touch = meter.touched[i]
        meter.by_array[row, touch["array"]] += 1
        cost["written"] += touch["written"]
        cost["locked"] += touch["locked"]
        part = _part_of(meter.parts[touch["array"]], touch["line"], start, end)
        cost["descriptor"] += part == _DESCRIPTOR
        cost["lookup"] += part == _LOOKUP
        cost["misses"] += missed(meter.tags, touch["line"])
        cost["transfers"] += _transferred(meter.lines[touch["line"]], cpu, touch["written"])


@kernel
def _part_of(array, line, start, end):
    """Whose a line is: ALLOCATOR, DESCRIPTOR or LOOKUP."""
    part = array["part"]
    if part < _PAGE:
        return part
    first = (line - array["line"]) * array["per_line"]
    if max(first, start) >= min(first + array["per_line"], end):
        return np.int64(0)
    return np.int64(_DESCRIPTOR if part == _PAGE and first <= start else _LOOKUP)


@kernel
def _array_at(meter, address):
    """Which of the arrays holds an address, or one that does not."""
    low, high = np.int64(0), np.int64(len(meter.arrays))
    while high - low > 1:
        middle = (low + high) // 2
        if meter.arrays[middle]["start"] <= address:
            low = middle
        else:
            high = middle
    return low


@kernel
def _locked(meter, logged):
    """The first and last access under the lock; (logged, -1) if there is none."""
    first, last = logged, np.int64(-1)
    for i in range(logged):
        access = meter.log[i]
        array = meter.arrays[_array_at(meter, access["address"])]
        if not array["start"] <= access["address"] < array["end"]:
            continue
        if array["guard"] == _ALWAYS or (array["guard"] == _WRITTEN and access["bytes"] < 0):
            first, last = min(first, i), i
    return first, last


@kernel
def _note(meter, access, locked, cost):
    """Note the lines of one access, if it is to one of the arrays."""
    start, size = access["address"], access["bytes"]
    end = start + abs(size)
    array = meter.arrays[_array_at(meter, start)]
    if not array["start"] <= start < array["end"] or size == 0:
        return
    first = array["line"] + (start - array["start"]) // LINE_BYTES
    last = array["line"] + (min(end, array["end"]) - 1 - array["start"]) // LINE_BYTES
    for line in range(first, last + 1):
        known = meter.lines[line]
        if known["op"] != meter.counts[_OPS]:
            if meter.counts[_TOUCHES] == len(meter.touched):
                cost["cut"] = 1
                return
            known["op"], known["touch"] = meter.counts[_OPS], meter.counts[_TOUCHES]
            meter.counts[_TOUCHES] += 1
            touch = meter.touched[known["touch"]]
            touch["line"], touch["array"] = line, array["array"]
            touch["read"], touch["written"], touch["locked"] = 0, 0, 0
        touch = meter.touched[known["touch"]]
        touch["written"] |= size < 0
        touch["read"] |= size > 0
        touch["locked"] |= locked


@kernel
def missed(tags, line):
    """Use a line in a cache; whether it was not there."""
    ways, tag = tags[line % len(tags)], line + 1
    at = np.int64(0)
    while at < len(ways) - 1 and ways[at] != tag:
        at += 1
    miss = ways[at] != tag
    while at > 0:  # those used later than it, or all, move one on
        ways[at] = ways[at - 1]
        at -= 1
    ways[0] = tag
    return miss


@kernel
def _transferred(line, cpu, written):
    """Whether `cpu`, which touches a line, must fetch it from the CPU that wrote it."""
    own = np.uint64(1) << np.uint64(cpu % CPUS)
    holders = line["holders"]
    if written:
        line["holders"] = own
    elif holders != np.uint64(0):
        line["holders"] = holders | own
    return holders != np.uint64(0) and holders & own == np.uint64(0)


# ---- whole runs -----------------------------------------------------------------------------


@kernel
def _settle_op(meter, op, event, cost):
    row = np.int64(OTHER)
    if op["verb"] <= _RELEASE and event["outcome"] == _DONE:
        row = np.int64(op["verb"])
    start, granules = event["granule"], np.int64(1) << np.int64(event["order"])
    settle_block(meter, row, np.int64(op["cpu"]), start, start + granules, cost)
    event["lines"] = min(np.int64(cost["lines"]), LINES_MAX)


@kernel
def _run_metered(state, ops, groups, where, events, first, meter, costs):
    """As replay's own loop, op by op; state is metered, and so is nothing else here."""
    for i in range(first, len(ops)):
        after = i + 1
        if run_ops(state, ops[i:after], groups[i:after], where, events[i:after], 0) == 0:
            return i
        _settle_op(meter, ops[i], events[i], costs[i])
    return len(ops)


@kernel
def _store_metered(index, blocks, meter, costs):
    for i in range(len(blocks)):
        store_all(index, blocks[i : i + 1])
        settle(meter, np.int64(0), np.int64(0), costs[i])


@kernel
def _erase_metered(index, blocks, meter, costs):
    for i in range(len(blocks)):
        erase_all(index, blocks[i : i + 1])
        settle(meter, np.int64(1), np.int64(0), costs[i])


@kernel
def _locate_metered(index, granules, meter, costs):
    for i in range(len(granules)):
        locate_independent(index, granules[i : i + 1])
        settle(meter, np.int64(2), np.int64(0), costs[i])


@dataclass(frozen=True)
class Metering:
    """A metered state, while `metering` lasts: its kernels log, each op is settled."""

    state: Any  # metered, over the memory of the one it was made from
    names: list[str]  # of its arrays
    meter: Meter

    def runner(self, costs: np.ndarray) -> Callable[..., int]:
        """What takes the place of the loop in `replay`; costs (COST[]) gets that of each op."""

        def run(state, ops, groups, where, events, first):
            if first > 0:  # a rare verb was done since
                _settle_op(self.meter, ops[first - 1], events[first - 1], costs[first - 1])
            return _run_metered(state, ops, groups, where, events, first, self.meter, costs)

        return run

    def store(self, blocks: np.ndarray) -> np.ndarray:
        """COST[] of storing each block of BLOCK[] in a lookup."""
        costs = np.zeros(len(blocks), COST)
        _store_metered(self.state, blocks, self.meter, costs)
        return costs

    def erase(self, blocks: np.ndarray) -> np.ndarray:
        """COST[] of erasing each block."""
        costs = np.zeros(len(blocks), COST)
        _erase_metered(self.state, blocks, self.meter, costs)
        return costs

    def locate(self, granules: np.ndarray) -> np.ndarray:
        """COST[] of looking each granule up."""
        costs = np.zeros(len(granules), COST)
        _locate_metered(self.state, granules, self.meter, costs)
        return costs

    def touches(self) -> np.ndarray:
        """TOUCH[] of the last op; `line` counts from the start of its array."""
        found = self.meter.touched[: self.meter.counts[_TOUCHES]].copy()
        first = np.zeros(len(self.names), np.int64)
        first[self.meter.arrays["array"]] = self.meter.arrays["line"]
        found["line"] -= first[found["array"]]
        return found

    def lines_by_array(self) -> dict[str, np.ndarray]:
        """Lines touched in each array by ALLOCATE, RELEASE, others; or store, erase, locate."""
        return dict(zip(self.names, self.meter.by_array.T.copy(), strict=True))


@contextmanager
def metering(
    state: Any,
    guards: Mapping[str, Guard] | None = None,
    cache_bytes: int = CACHE_BYTES,
    ways: int = CACHE_WAYS,
    left_out: Sequence[str] = (),
    parts: Mapping[str, Part] | None = None,
) -> Iterator[Metering]:
    """Meter what is done with `.state`, over the memory of `state`; one at a time in a process.

    guards: which arrays the allocator's lock guards, parts: what they are for, both by name;
    left_out: arrays that do not count.
    Raises RuntimeError under NUMBA_DISABLE_JIT=1, where nothing can be seen.
    """
    if not metered.AVAILABLE:
        raise RuntimeError("lines can be counted in compiled kernels only: unset NUMBA_DISABLE_JIT")
    arrays = arrays_of(state)
    for name in left_out:
        del arrays[name]
    with metered.BUSY:
        metered.LOGGED[0] = 0
        meter = new(arrays, guards or {}, cache_bytes, ways, parts)
        yield Metering(metered.metered(state), list(arrays), meter)
