"""What ops cost in cache lines, summed up: by verb, by structure, under the lock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import interface
from ..core.layout import Outcome, Verb
from ..core.lookups import READ_ONLY
from ..core.meter import COST, Metering, metering
from .latency import addresses_in, filled_with, outermost

VERBS = {"allocate": Verb.ALLOCATE, "release": Verb.RELEASE}
PARTS = ("allocator", "descriptor", "lookup")
_LINES_MAX = 1 << 12  # of the counts for a figure; more is counted as that
_ORDERS = 64
_SUMS = ("written", "misses", "transfers", "guarded", "locked")


@dataclass(frozen=True)
class PartLines:
    """Of the ops on blocks of one order: lines per op, by whom they belong to."""

    ops: int
    parts: dict[str, float]  # of PARTS

    @property
    def mean(self) -> float:
        """Distinct lines touched."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class VerbLines:
    """Of the ops of one verb that were done; per op, as means unless said; 0 for no ops."""

    ops: int
    mean: float  # distinct lines touched
    p50: float
    p99: float
    written: float  # of the lines touched
    misses: float
    transfers: float
    locked_ops: float  # share of ops that took the lock, 0 .. 1
    locked: float  # lines touched under it, over all ops
    by_array: dict[str, float]  # lines touched in each array of the state
    counts: np.ndarray  # i8[]  counts[n]: ops that touched n lines
    by_order: dict[int, PartLines]  # of the orders that there were, ascending

    @property
    def whole(self) -> PartLines:
        """Of blocks of any order."""
        return PartLines(self.ops, _weighted(self.by_order))


def _weighted(by_order: dict[int, PartLines]) -> dict[str, float]:
    ops = max(sum(each.ops for each in by_order.values()), 1)
    return {
        part: sum(each.ops * each.parts[part] for each in by_order.values()) / ops for part in PARTS
    }


@dataclass(frozen=True)
class Touched:
    """A cache line that an op touched; `line` counts from the start of the structure."""

    structure: str
    line: int
    read: bool
    written: bool
    locked: bool


def touched(now: Metering) -> list[Touched]:
    """The lines that the last op touched, in the order of their first touches."""
    return [
        Touched(
            now.names[each["array"]],
            int(each["line"]),
            bool(each["read"]),
            bool(each["written"]),
            bool(each["locked"]),
        )
        for each in now.touches()
    ]


@dataclass(frozen=True)
class LinesOverTime:
    """Lines touched in each structure, from moment to moment of a run.

    index: i8[sample + 1], ops done at each moment; ops, and each of by_array: i8[sample, 3], by
    Verb.ALLOCATE, Verb.RELEASE (those that were done) and others.
    """

    index: np.ndarray
    ops: np.ndarray
    by_array: dict[str, np.ndarray]


@dataclass(frozen=True)
class Lines:
    """What an allocator's ops cost."""

    allocate: VerbLines
    release: VerbLines
    cut: int  # ops of which the log was too short: their lines are too few

    def of(self, verb: str) -> VerbLines:
        """By the name of the verb."""
        return self.allocate if verb == "allocate" else self.release

    def per_op(self, what: str) -> float:
        """A mean of VerbLines over all ops, allocations and releases alike; 0 for no ops."""
        both = self.allocate, self.release
        total = sum(float(getattr(each, what)) * each.ops for each in both)
        return total / max(sum(each.ops for each in both), 1)


@dataclass(frozen=True)
class Saving:
    """Lines per op that one allocator touches less than another: by what it is, by what it says."""

    allocator: float
    descriptor: float  # with the lookup: struct page is both

    @property
    def lines(self) -> float:
        """All that is saved; negative: it costs more."""
        return self.allocator + self.descriptor


def saving(lines: PartLines, against: PartLines) -> Saving:
    """What `lines` saves against another allocator's on the same ops."""
    saved = {part: against.parts[part] - lines.parts[part] for part in PARTS}
    return Saving(saved["allocator"], saved["descriptor"] + saved["lookup"])


def savings(lines: Lines, against: Lines) -> dict[str, dict[int, Saving]]:
    """By verb and order, where both have done such ops."""
    return {
        verb: {
            order: saving(found, against.of(verb).by_order[order])
            for order, found in lines.of(verb).by_order.items()
            if order in against.of(verb).by_order
        }
        for verb in VERBS
    }


class Tally:
    """Sums over ops, a piece of a run at a time."""

    def __init__(self) -> None:
        self._verbs = {verb: _VerbTally() for verb in VERBS}
        self._cut = 0

    def add(self, ops: np.ndarray, events: np.ndarray, costs: np.ndarray) -> None:
        """OP[], EVENT[] and COST[] of a piece."""
        assert costs.dtype == COST
        done = events["outcome"] == Outcome.DONE
        for name, verb in VERBS.items():
            of_verb = done & (ops["verb"] == verb)
            self._verbs[name].add(costs[of_verb], events["order"][of_verb])
        self._cut += int(np.count_nonzero(costs["cut"]))

    def lines(self, by_array: dict[str, np.ndarray]) -> Lines:
        """by_array: lines of each array by verb, as `core/meter.py` counts them."""
        found = {
            name: self._verbs[name].lines(
                {array: int(counts[verb]) for array, counts in by_array.items()}
            )
            for name, verb in VERBS.items()
        }
        return Lines(found["allocate"], found["release"], self._cut)


class _VerbTally:
    def __init__(self) -> None:
        self.sums = dict.fromkeys(_SUMS, 0)
        self.counts = np.zeros(0, np.int64)  # ops by lines
        self.ops = np.zeros(_ORDERS, np.int64)  # by order
        self.parts = np.zeros((_ORDERS, len(PARTS)), np.int64)

    def add(self, costs: np.ndarray, orders: np.ndarray) -> None:
        for what in _SUMS:
            self.sums[what] += int(costs[what].sum(dtype=np.int64))
        counts = np.bincount(costs["lines"], minlength=len(self.counts))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        self.ops += np.bincount(orders, minlength=_ORDERS)
        lines, descriptor, lookup = (
            np.bincount(orders, costs[what], _ORDERS).astype(np.int64)
            for what in ("lines", "descriptor", "lookup")
        )
        self.parts += np.stack([lines - descriptor - lookup, descriptor, lookup], axis=1)

    def lines(self, by_array: dict[str, int]) -> VerbLines:
        ops = int(self.ops.sum())
        means = {what: total / max(ops, 1) for what, total in self.sums.items()}
        shown = self.counts[: _LINES_MAX + 1].copy()
        shown[-1:] += self.counts[_LINES_MAX + 1 :].sum()
        return VerbLines(
            ops=ops,
            mean=float(self.parts.sum()) / max(ops, 1),
            p50=_percentile(self.counts, 50),
            p99=_percentile(self.counts, 99),
            written=means["written"],
            misses=means["misses"],
            transfers=means["transfers"],
            locked_ops=means["guarded"],
            locked=means["locked"],
            by_array={name: count / ops for name, count in by_array.items() if count and ops},
            counts=shown,
            by_order={
                int(order): PartLines(
                    int(self.ops[order]),
                    dict(zip(PARTS, (self.parts[order] / self.ops[order]).tolist(), strict=True)),
                )
                for order in np.flatnonzero(self.ops)
            },
        )


def _percentile(counts: np.ndarray, share: float) -> float:
    """Of values that are counted, as numpy's own (linear); 0 of none."""
    total = int(counts.sum())
    if total == 0:
        return 0.0
    place = (total - 1) * share / 100
    below = int(place)
    ends = np.cumsum(counts)
    low, high = np.searchsorted(ends, [below, min(below + 1, total - 1)], side="right")
    return float(low + (high - low) * (place - below))


def summed(
    ops: np.ndarray, events: np.ndarray, costs: np.ndarray, by_array: dict[str, np.ndarray]
) -> Lines:
    """OP[], EVENT[], COST[], and lines of each array by verb, as `core/meter.py` counts them."""
    tally = Tally()
    tally.add(ops, events, costs)
    return tally.lines(by_array)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def figures(lines: Lines) -> dict[str, Any]:
    """As `potadlab replay --json` names them."""
    verbs = {name: lines.of(name) for name in VERBS}
    return {
        "lines": {
            name: {
                "mean": round(found.mean, 3),
                "p50": found.p50,
                "p99": found.p99,
                "written": round(found.written, 3),
            }
            for name, found in verbs.items()
        },
        "misses": {name: round(found.misses, 4) for name, found in verbs.items()},
        "transfers": {name: round(found.transfers, 4) for name, found in verbs.items()},
        "locked": {
            name: {"ops": round(found.locked_ops, 4), "lines": round(found.locked, 3)}
            for name, found in verbs.items()
        },
        "lines_by_structure": {
            name: {array: round(each, 3) for array, each in found.by_array.items()}
            for name, found in verbs.items()
        },
        "lines_by_order": {
            name: [
                {"order": order, "ops": each.ops} | _parts(each)
                for order, each in found.by_order.items()
            ]
            for name, found in verbs.items()
        },
        **({"ops_cut": lines.cut} if lines.cut else {}),
    }


def _parts(found: PartLines) -> dict[str, float]:
    return {part: round(lines, 3) for part, lines in found.parts.items()}


def saving_figures(lines: Lines, against: Lines) -> dict[str, Any]:
    """As `potadlab replay --json` names them; of all blocks, then by order."""
    found = savings(lines, against)
    return {
        verb: _saved(saving(lines.of(verb).whole, against.of(verb).whole))
        | {"by_order": [{"order": order} | _saved(each) for order, each in found[verb].items()]}
        for verb in VERBS
    }


def _saved(found: Saving) -> dict[str, float]:
    return {
        "lines": round(found.lines, 3),
        "allocator": round(found.allocator, 3),
        "descriptor": round(found.descriptor, 3),
    }


@dataclass(frozen=True)
class LookupLines:
    """Mean distinct lines of one lookup, of an insert and of an erasure (None: read only)."""

    lookup: float
    misses: float
    insert: float | None
    erase: float | None


def of_lookups(
    blocks: np.ndarray,
    granules: int,
    names: Sequence[str],
    seed: int = 1,
    count: int = 1 << 15,
    updates: bool = True,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, LookupLines]:
    """Fill each lookup with `blocks` (BLOCK[]), then count lines at random addresses inside them.

    `count` lookups and, with `updates`, as many blocks erased and stored again; the cache begins
    empty.
    """
    tell = progress or (lambda share, what: None)
    blocks = outermost(blocks)
    if len(blocks) == 0:
        return {}
    addresses = addresses_in(blocks, np.random.default_rng(seed), count)
    dice = np.random.default_rng(seed)
    chosen = blocks[dice.permutation(len(blocks))[:count]]
    found = {}
    for done, name in enumerate(names):
        tell(done / len(names), f"counting the lines of {name}")
        again = chosen if updates and name not in READ_ONLY else None
        found[name] = _lookup_lines(name, blocks, granules, addresses, again)
    return found


def _lookup_lines(
    name: str,
    blocks: np.ndarray,
    granules: int,
    addresses: np.ndarray,
    chosen: np.ndarray | None,
) -> LookupLines:
    with metering(filled_with(name, blocks, granules)) as now:
        found = now.locate(addresses)
        erased = stored = None
        if chosen is not None:
            erased, stored = _mean(now.erase(chosen)["lines"]), _mean(now.store(chosen)["lines"])
    return LookupLines(_mean(found["lines"]), _mean(found["misses"]), stored, erased)


@dataclass(frozen=True)
class Answer:
    """What a lookup says of a granule, and the lines that it reads for that."""

    start: int  # granules; NONE: in no live block
    order: int
    kind: int
    touched: list[Touched]


class Lookups:
    """Lookups filled with the same blocks (BLOCK[]), to ask all of them for one granule."""

    def __init__(self, names: Sequence[str], blocks: np.ndarray, granules: int) -> None:
        kept = outermost(blocks)
        self._filled = {name: filled_with(name, kept, granules) for name in names}

    def at(self, granule: int) -> dict[str, Answer]:
        """Each one's answer; RuntimeError under NUMBA_DISABLE_JIT=1."""
        return {name: _answer(index, granule) for name, index in self._filled.items()}


def _answer(index: Any, granule: int) -> Answer:
    start, order, kind, _ = interface.locate(index, np.int64(granule))
    with metering(index) as now:
        now.locate(np.array([granule], np.int64))
        return Answer(int(start), int(order), int(kind), touched(now))


def lookup_figures(found: LookupLines) -> dict[str, Any]:
    """As `potadlab replay --json` names them."""
    updates = {"insert": found.insert, "erase": found.erase}
    return {
        "lines": round(found.lookup, 3),
        "misses": round(found.misses, 4),
        "update_lines": {what: _rounded(lines) for what, lines in updates.items()},
    }


def _rounded(lines: float | None) -> float | None:
    return None if lines is None else round(lines, 3)
