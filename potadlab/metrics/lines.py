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
_LINES_MAX = 1 << 12  # of the counts for a figure; more is counted as that


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


def summed(
    ops: np.ndarray, events: np.ndarray, costs: np.ndarray, by_array: dict[str, np.ndarray]
) -> Lines:
    """OP[], EVENT[], COST[], and lines of each array by verb, as `core/meter.py` counts them."""
    assert costs.dtype == COST
    done = events["outcome"] == Outcome.DONE
    found = {
        name: _verb_lines(
            costs[done & (ops["verb"] == verb)],
            {array: int(counts[verb]) for array, counts in by_array.items()},
        )
        for name, verb in VERBS.items()
    }
    return Lines(found["allocate"], found["release"], int(np.count_nonzero(costs["cut"])))


def _verb_lines(costs: np.ndarray, by_array: dict[str, int]) -> VerbLines:
    ops, lines = len(costs), costs["lines"]
    p50, p99 = np.percentile(lines, [50, 99]) if ops else (0.0, 0.0)
    return VerbLines(
        ops=ops,
        mean=_mean(lines),
        p50=float(p50),
        p99=float(p99),
        written=_mean(costs["written"]),
        misses=_mean(costs["misses"]),
        transfers=_mean(costs["transfers"]),
        locked_ops=_mean(costs["guarded"]),
        locked=_mean(costs["locked"]),
        by_array={name: count / ops for name, count in by_array.items() if count and ops},
        counts=np.bincount(np.minimum(lines, _LINES_MAX)),
    )


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
        **({"ops_cut": lines.cut} if lines.cut else {}),
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
    addresses = addresses_in(blocks, seed, count)
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
