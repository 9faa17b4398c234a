"""One allocator on one trace: start, replay, and what can be asked of it afterwards."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from . import kinds
from .core import allocators, census, fold
from .core.allocators import Allocator, Chosen
from .core.interface import check
from .core.layout import BLOCK, EVENT, MOVE, NONE, OP, POISON, Flag, Outcome, Verb
from .core.mapped import mapped
from .core.meter import COST, OTHER, Metering, metering
from .core.replay import begin, replay
from .errors import UnknownName
from .grouping import groups_of
from .metrics import lines
from .metrics.fragmentation import SIZES, order_of
from .metrics.lines import Lines, LinesOverTime, Touched
from .units import Space

# A BLOCK[] is kept this often, and any moment is one stretch of events away: about 20 ms of folding
# for a million live blocks, and 32 MB per checkpoint kept.
CHECKPOINT_OPS = 1 << 18
_BEYOND = 47  # an order beyond any space
_SERVICE = (Verb.ADD_MEMORY, Verb.FAIL, Verb.UNPOISON)


@dataclass(frozen=True)
class Case:
    """What every allocator of a comparison is given: the same, in the same order."""

    space: Space
    ops: np.ndarray  # OP[]
    start: np.ndarray  # BLOCK[] live at the start
    handles: int

    @property
    def ranges(self) -> np.ndarray:
        """i8[n, 2]: granules in service at the start."""
        return np.array(self.space.in_service, np.int64).reshape(-1, 2)

    def room(self) -> np.ndarray:
        """The ranges, and room for those that the ops add."""
        added = int(np.count_nonzero(self.ops["verb"] == Verb.ADD_MEMORY))
        return np.concatenate([self.ranges, np.zeros((added, 2), np.int64)])

    def moves(self) -> np.ndarray:
        """MOVE[], zero: room for all that the ops can move."""
        ops = self.ops
        claims = (ops["verb"] == Verb.CLAIM) & (ops["flags"] & Flag.MAY_MIGRATE != 0)
        soft = (ops["verb"] == Verb.FAIL) & (ops["flags"] & Flag.MAY_MIGRATE != 0)
        single = int(np.count_nonzero(soft | (ops["verb"] == Verb.MIGRATE)))
        return mapped(int((ops["granules"][claims] + 2).sum()) + single, MOVE)

    @property
    def zones(self) -> np.ndarray:
        """i8[n, 2] in order of trial."""
        return np.array([(zone.start, zone.end) for zone in self.space.zones], np.int64)


def chosen(spec: str) -> Chosen:
    """The allocator and options that `spec` names; raises UnknownName."""
    try:
        return allocators.choose(spec)
    except ValueError as error:
        raise UnknownName(str(error)) from None


def begun(spec: str, case: Case, **more: Any) -> tuple[Any, np.ndarray]:
    """(state, where): an allocator in which the start is live and nothing has happened yet."""
    where = np.full(case.handles, NONE, np.int64)
    state = chosen(spec).new(case.zones, kinds.facts(), **more)
    begin(state, case.ranges, case.start, where)
    return state, where


def _groups(spec: str, case: Case) -> np.ndarray:
    """u1[]: beside whom each op's block is to lie."""
    return groups_of(case.ops, chosen(spec).grouping, case.handles)


def _replayed(spec: str, case: Case) -> tuple[Any, np.ndarray, np.ndarray, float]:
    """(state, EVENT[], MOVE[], seconds) of replaying the ops; start and compiling are not timed."""
    state, where = begun(spec, case)
    groups = _groups(spec, case)
    events, moves = np.zeros(len(case.ops), EVENT), case.moves()
    rest = (moves, case.room(), case.zones)
    replay(state, case.ops[:0], groups[:0], where, events[:0], *rest)  # compile before
    before = time.perf_counter()
    moved = replay(state, case.ops, groups, where, events, *rest)
    return state, events, moves[:moved].copy(), time.perf_counter() - before


def _metering(picked: Chosen, state: Any) -> AbstractContextManager[Metering]:
    allocator = picked.allocator
    return metering(state, allocator.guards, left_out=allocator.uncounted, parts=allocator.parts)


def _end_start(state: Any, case: Case) -> None:
    """Ask for more than there can be, from the first CPU, so that what is done at the first op is.

    Linux's buddy tells the migratetype of each pageblock then: 300,000 lines in thp_split.
    """
    op = np.zeros(1, OP)
    op["verb"], op["order"] = Verb.ALLOCATE, _BEYOND
    nothing = (np.full(1, NONE), np.zeros(1, EVENT), case.moves(), case.room(), case.zones)
    replay(state, op, np.zeros(1, np.uint8), *nothing)


def count_lines(spec: str, case: Case, cpus: int | None = None) -> tuple[Lines, np.ndarray]:
    """(what the ops cost in cache lines, EVENT[] with the lines of each op) of a metered replay.

    cpus: for so many, if not the usual number.  Raises RuntimeError under NUMBA_DISABLE_JIT=1.
    """
    found, events, _ = lines_over_time(spec, case, [0, len(case.ops)], cpus)
    return found, events


def lines_over_time(
    spec: str,
    case: Case,
    moments: Sequence[int] | np.ndarray,
    cpus: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> tuple[Lines, np.ndarray, LinesOverTime]:
    """As `count_lines`, and the lines in each structure between moments (ops done, ascending).

    The first moment is 0, the last is after all ops; tell(share done) is called at each.
    """
    picked = chosen(spec)
    state, where = begun(spec, case, **(picked.for_cpus(cpus) if cpus else {}))
    _end_start(state, case)
    groups, edges = _groups(spec, case), np.asarray(moments, np.int64)
    events, costs = np.zeros(len(case.ops), EVENT), np.zeros(len(case.ops), COST)
    moves, room, moved = case.moves(), case.room(), 0
    with _metering(picked, state) as now:
        sums = [now.lines_by_array()]
        for first, end in pairwise(edges.tolist()):
            tell(first / max(len(case.ops), 1))
            part = slice(first, end)
            told = (where, events[part], moves[moved:], room, case.zones)
            run = now.runner(costs[part])
            moved += replay(now.state, case.ops[part], groups[part], *told, run=run)
            sums.append(now.lines_by_array())
        by_array = {name: np.diff([counts[name] for counts in sums], axis=0) for name in now.names}
        found = lines.summed(case.ops, events, costs, sums[-1])
    return found, events, LinesOverTime(edges, _done_between(case.ops, events, edges), by_array)


def count_lines_in_pieces(
    spec: str, case: Case, pieces: Iterable[tuple[np.ndarray, np.ndarray]], cpus: int
) -> Lines:
    """The same of ops that come piece by piece (OP[], groups u1[]); those of `case` do not count.

    They may neither claim, move nor add memory.
    """
    picked = chosen(spec)
    state, where = begun(spec, case, **picked.for_cpus(cpus))
    _end_start(state, case)
    tally, nothing = lines.Tally(), (np.zeros(0, MOVE), case.room(), case.zones)
    with _metering(picked, state) as now:
        for ops, groups in pieces:
            events, costs = np.zeros(len(ops), EVENT), np.zeros(len(ops), COST)
            rest = (groups, where, events, *nothing)
            replay(now.state, ops, *rest, run=now.runner(costs))
            tally.add(ops, events, costs)
        return tally.lines(now.lines_by_array())


def _done_between(ops: np.ndarray, events: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """i8[sample, 3]: ALLOCATEs and RELEASEs that were done between moments, and all others."""
    rows = np.where(events["outcome"] == Outcome.DONE, np.minimum(ops["verb"], OTHER), OTHER)
    sums = np.stack([np.append(0, np.cumsum(rows == row)) for row in range(OTHER + 1)], axis=1)
    return np.diff(sums[edges], axis=0)


class Touching:
    """An allocator at a moment of a case: which lines any op touches, and what one may ask.

    Going on costs the ops between, going back begins anew.
    """

    def __init__(self, spec: str, case: Case) -> None:
        self.spec, self.case = spec, case
        self._picked, self._groups = chosen(spec), _groups(spec, case)
        self._begin()

    def _begin(self) -> None:
        self._state, self._where = begun(self.spec, self.case)
        _end_start(self._state, self.case)
        self._moves, self._room = self.case.moves(), self.case.room()
        self._moved = self.done = 0
        self.asked = 0  # ops that are not the case's, since

    def go(self, index: int) -> None:
        """Be where the case's first `index` ops are done, and nothing else."""
        if index < self.done or self.asked:
            self._begin()
        self._on(self._state, index)

    def _on(self, state: Any, index: int, run: Callable[..., int] | None = None) -> None:
        part = slice(self.done, index)
        ops, groups = self.case.ops[part], self._groups[part]
        rest = (self._moves[self._moved :], self._room, self.case.zones)
        events = np.zeros(len(ops), EVENT)
        self._moved += replay(state, ops, groups, self._where, events, *rest, run=run)
        self.done = index

    def at(self, index: int) -> list[Touched]:
        """The lines that op `index` of the case touches, in the order of their first touches."""
        self.go(index)
        with _metering(self._picked, self._state) as now:
            self._on(now.state, index + 1, now.runner(np.zeros(1, COST)))
            return lines.touched(now)

    def ask(self, ops: np.ndarray) -> tuple[np.ndarray, list[Touched]]:
        """(EVENT[] with the lines of each, lines that the last touches) of ops of one's own.

        OP[]; their handles count on from the case's.
        """
        self.asked += len(ops)
        room = max(int(ops["handle"].max(initial=0)) + 1 - len(self._where), 0)
        self._where = np.append(self._where, np.full(2 * room, NONE, np.int64))
        events, costs = np.zeros(len(ops), EVENT), np.zeros(len(ops), COST)
        groups = groups_of(ops, self._picked.grouping, len(self._where))
        rest = (self._where, events, self._moves, self._room, self.case.zones)
        with _metering(self._picked, self._state) as now:
            replay(now.state, ops, groups, *rest, run=now.runner(costs))
            return events, lines.touched(now)


def touched_by(spec: str, case: Case, index: int) -> list[Touched]:
    """The lines that op `index` of a case touches, in the order of their first touches."""
    return Touching(spec, case).at(index)


def state_after(spec: str, case: Case) -> Any:
    """The allocator's state when all ops are done."""
    return _replayed(spec, case)[0]


def events_of(spec: str, case: Case) -> np.ndarray:
    """EVENT[]: what comes of the ops, and nothing else."""
    return _replayed(spec, case)[1]


def outcomes_of(spec: str, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(EVENT[], MOVE[]): what comes of the ops, and what claims moved out of their way."""
    _, events, moves, _ = _replayed(spec, case)
    return events, moves


def replay_seconds(spec: str, case: Case) -> float:
    """Seconds that replaying the ops takes, the start not counted."""
    return _replayed(spec, case)[3]


@dataclass(frozen=True)
class Census:
    """Counts at `at` moments of a run; sizes in granules."""

    index: np.ndarray  # i8[sample]  ops done before it
    time_ns: np.ndarray  # i8[sample]
    free_blocks: np.ndarray  # i8[sample, order]
    live_blocks: np.ndarray  # i8[sample, kind]
    live_granules: np.ndarray  # i8[sample, kind]
    spoilt: np.ndarray  # i8[sample]  regions of 2 MiB that unmovable memory spoils
    unusable_means: dict[str, float]  # unusable free space index by size, mean over ops, 0 .. 1

    @property
    def unusable_mean(self) -> float:
        """For 2 MiB."""
        return self.unusable_means["2MiB"]


@dataclass
class Run:
    """What came of a case in one allocator."""

    name: str
    case: Case
    events: np.ndarray  # EVENT[]
    moves: np.ndarray  # MOVE[], what claims moved out of their way
    seconds: float
    named: np.ndarray  # NAMED[handle]
    census: Census
    bytes: dict[str, int]  # free_structure, descriptors, lookup; at the end of the run
    _checkpoints: list[tuple[int, np.ndarray]] = field(default_factory=list)
    _last: tuple[int, np.ndarray] | None = None

    def live(self, index: int) -> np.ndarray:
        """The live blocks after the first `index` ops, BLOCK[] in address order."""
        last = self._last  # once: another thread may put a later moment there
        known = [last] if last and last[0] <= index else []
        at = bisect_right(self._checkpoints, index, key=lambda checkpoint: checkpoint[0])
        done, blocks = max([self._checkpoints[at - 1], *known], key=lambda known: known[0])
        if done < index:
            blocks = self._fold(done, blocks, index)
        self._last = index, blocks
        return blocks

    def _fold(self, done: int, blocks: np.ndarray, index: int) -> np.ndarray:
        ops, events = self.case.ops[done:index], self.events[done:index]
        first, last = np.searchsorted(self.moves["op"], [done, index])
        moves = self.moves[first:last]
        changes = np.empty(fold.count_changes(ops, events, moves), fold.CHANGE)
        fold.changes(ops, events, moves, done, changes)
        changes = changes[np.argsort(changes["granule"], kind="stable")]
        after = np.empty(len(blocks) + len(changes), BLOCK)
        return after[: fold.merge(blocks, changes, self.named, after)]

    def keep_checkpoints(self) -> None:
        """Fold the whole run once, keeping a BLOCK[] every CHECKPOINT_OPS ops."""
        self._checkpoints = [(0, self.case.start)]
        for index in range(CHECKPOINT_OPS, len(self.case.ops), CHECKPOINT_OPS):
            done, blocks = self._checkpoints[-1]
            self._checkpoints.append((index, self._fold(done, blocks, index)))

    def poison(self, index: int) -> np.ndarray:
        """Granules that have failed by then and were not brought back, i8[], ascending."""
        ops, events = self.case.ops, self.events
        failed: set[int] = set()
        for at in self._before(index, Verb.FAIL, Verb.UNPOISON):
            granule, outcome = int(ops[at]["granule"]), events[at]["outcome"]
            if ops[at]["verb"] == Verb.UNPOISON and outcome != Outcome.IGNORED:
                failed.discard(granule)
            elif outcome in (Outcome.POISONED_FREE, Outcome.POISONED_LIVE):
                failed.add(granule)
        return np.array(sorted(failed), np.int64)

    def blocks(self, index: int) -> np.ndarray:
        """Live blocks and failed granules after `index` ops, BLOCK[]; a block before its poison."""
        live, failed = self.live(index), self.poison(index)
        if len(failed) == 0:
            return live
        poison = np.zeros(len(failed), BLOCK)
        poison["granule"], poison["kind"] = failed, POISON
        poison["handle"], poison["owner"] = NONE, NONE
        both = np.concatenate([live, poison])
        return both[np.argsort(both["granule"], kind="stable")]

    def in_service(self, index: int) -> np.ndarray:
        """i8[n, 2]: ranges of granules in service after `index` ops, ascending, disjoint."""
        at = self._before(index, Verb.ADD_MEMORY)
        added = self.case.ops[at[self.events["outcome"][at] == Outcome.DONE]]
        more = np.stack([added["granule"], added["granule"] + added["granules"]], axis=1)
        ranges = np.concatenate([self.case.ranges, more])
        ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
        first = np.ones(len(ranges), bool)
        first[1:] = ranges[1:, 0] != ranges[:-1, 1]
        last = np.append(first[1:], True)[: len(first)]
        return np.stack([ranges[first, 0], ranges[last, 1]], axis=1)

    @cached_property
    def _rare(self) -> np.ndarray:
        """Where the few ops are that change what is in service, i8[]."""
        return np.flatnonzero(np.isin(self.case.ops["verb"], _SERVICE))

    def _before(self, index: int, *verbs: Verb) -> np.ndarray:
        """Where the first `index` ops are one of these verbs of service, i8[]."""
        rare = self._rare[: np.searchsorted(self._rare, index)]
        return rare[np.isin(self.case.ops["verb"][rare], verbs)]

    def count(self, verb: Verb, outcome: Outcome) -> int:
        """Ops of this verb with this outcome."""
        both = (self.case.ops["verb"] == verb) & (self.events["outcome"] == outcome)
        return int(np.count_nonzero(both))

    @property
    def refused(self) -> int:
        """Allocations and claims that found no place."""
        return self.count(Verb.ALLOCATE, Outcome.REFUSED) + self.count(Verb.CLAIM, Outcome.REFUSED)

    @property
    def live_bytes_max(self) -> int:
        """Largest footprint of live blocks at any op, the start included."""
        return _live_granules_max(self) * self.case.space.granule_bytes


def _live_granules_max(run: Run) -> int:
    ops, events = run.case.ops, run.events
    sizes = np.where(
        (ops["verb"] == Verb.CLAIM) | (ops["verb"] == Verb.RELEASE_CLAIM),
        ops["granules"],
        np.int64(1) << events["order"].astype(np.int64),
    )
    signs = np.zeros(len(ops), np.int64)
    done = events["outcome"] == Outcome.DONE
    signs[done & np.isin(ops["verb"], (Verb.ALLOCATE, Verb.CLAIM))] = 1
    signs[done & np.isin(ops["verb"], (Verb.RELEASE, Verb.RELEASE_CLAIM))] = -1
    signs[events["outcome"] == Outcome.RELEASED] = -1
    start = (np.int64(1) << run.case.start["order"].astype(np.int64)).sum()
    return int(start + max(np.cumsum(sizes * signs).max(initial=0), 0))


def run_allocator(spec: str, case: Case, samples: int = 400, check_end: bool = False) -> Run:
    """Replay the case in the allocator of `spec`; `check_end` asserts its invariants afterwards."""
    state, events, moves, seconds = _replayed(spec, case)
    if check_end:
        check(state)
    named = np.zeros(case.handles, fold.NAMED)
    fold.name_handles(case.start, case.ops, named)
    fold.name_pieces(case.ops, events, named)
    picked = chosen(spec)
    counted = _take_census(picked.order_max, case, events, moves, named, samples)
    sizes = _bytes(picked.allocator, state, case, events, counted)
    run = Run(spec, case, events, moves, seconds, named, counted, sizes)
    run.keep_checkpoints()
    return run


def _sample_points(case: Case, samples: int) -> np.ndarray:
    """Op indices evenly spaced in time, the last one after all ops."""
    if len(case.ops) == 0:
        return np.zeros(1, np.int64)
    times = np.linspace(case.ops[0]["time_ns"], case.ops[-1]["time_ns"], samples)
    return np.unique(np.append(np.searchsorted(case.ops["time_ns"], times), len(case.ops)))


def _take_census(
    order_max: int | None,
    case: Case,
    events: np.ndarray,
    moves: np.ndarray,
    named: np.ndarray,
    samples: int,
) -> Census:
    at = _sample_points(case, samples).astype(np.int64)
    sizes = {size: order_of(size, case.space.granule_bytes) for size in SIZES}
    most = census.ORDERS - 1 if order_max is None else order_max
    counts = census.new(case.zones, most, kinds.facts()["movable"], sizes["2MiB"])
    table = census.Samples(
        at,
        np.zeros((len(at), census.ORDERS), np.int64),
        np.zeros((len(at), census.KINDS), np.int64),
        np.zeros((len(at), census.KINDS), np.int64),
        np.zeros(len(at), np.int64),
    )
    orders = np.array([*sizes.values()], np.int64)
    unusable = np.zeros(len(orders), np.int64)
    failures = int(np.count_nonzero(case.ops["verb"] == Verb.FAIL))
    census.begin(counts, case.ranges, case.start)
    poison = np.zeros(failures, np.int64)
    census.count(counts, case.ops, events, moves, named, poison, table, orders, unusable)
    return Census(
        at,
        case.ops["time_ns"][np.minimum(at, len(case.ops) - 1)] if len(case.ops) else at,
        table.free_blocks,
        table.live_blocks,
        table.live_granules,
        table.spoilt,
        dict(zip(sizes, (unusable / 1000 / max(len(case.ops), 1)).tolist(), strict=True)),
    )


def _bytes(
    allocator: Allocator, state: Any, case: Case, events: np.ndarray, counted: Census
) -> dict[str, int]:
    """Bytes of each structure at the end; what a name of Linux's holds in one stands under one."""
    added = case.ops["granules"][
        (case.ops["verb"] == Verb.ADD_MEMORY) & (events["outcome"] == Outcome.DONE)
    ]
    granules = case.space.bytes // case.space.granule_bytes + int(added.sum())
    return allocator.bytes_of(state, int(counted.live_blocks[-1].sum()), granules)
