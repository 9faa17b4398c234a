"""How long it takes from a physical address to the descriptor: measured, by structure."""

import platform
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..core import interface
from ..core._jit import DISABLED
from ..core.follow import (
    classify_dependent,
    classify_independent,
    erase_all,
    locate_dependent,
    locate_independent,
    store_all,
    time_batches,
    time_nothing,
)
from ..core.layout import BLOCK
from ..core.lookups import LOOKUPS, READ_ONLY
from ..core.mapped import in_huge_pages
from ..errors import UnknownName
from ..kinds import KIND, facts

ROUNDS = 5
BATCH = 16  # dependent lookups per reading of the cycle counter: it is not serialising
USUAL = ("memmap", "heads")
_TIMINGS = 5  # of a round, with other addresses each
_UPDATES = 1 << 15  # of a round: so many blocks are erased, then stored again

# `generated`: orders 0 to 6, 1.9 granules on average, as facts of real machines have it
_ORDER_MAX, _HALVED = 6, 0.879  # a block of order > 0 is two halves with this probability
_KINDS = {"anon": 0.45, "file": 0.3, "slab": 0.15, "ptdesc": 0.05, "kernel": 0.05}

_Round = dict[str, float]  # by what was timed, ns of one


@dataclass(frozen=True)
class Latency:
    """Lookups of random live addresses, all returning kind, order and owner; nanoseconds.

    rounds_ns: of one, in each of `ROUNDS` rounds, by what was timed: "independent", "dependent"
    lookups; where asked for, "insert" and "erase" (unless it is read only), and
    "kind_order_independent", "kind_order_dependent": lookups that return these alone.  p50, p99:
    of batches, each the mean of `BATCH` dependent lookups, so single slow ones do not show in them.
    """

    lookup: str
    blocks: int
    rounds_ns: dict[str, tuple[float, ...]]
    p50_ns: float
    p99_ns: float
    samples_ns: np.ndarray  # f8[]  mean of each batch of `BATCH` dependent lookups, all rounds
    bytes_per_block: float

    @property
    def independent_ns(self) -> float:
        return median(self.rounds_ns["independent"])

    @property
    def dependent_ns(self) -> float:
        return median(self.rounds_ns["dependent"])

    @property
    def insert_ns(self) -> float | None:
        return self._median("insert")

    @property
    def erase_ns(self) -> float | None:
        return self._median("erase")

    def _median(self, what: str) -> float | None:
        return median(self.rounds_ns[what]) if what in self.rounds_ns else None


def measure(
    blocks: np.ndarray,
    granules: int,
    lookups: Sequence[str] = USUAL,
    seed: int = 1,
    lookups_timed: int = 1 << 17,
    in_service: int | None = None,
    updates: bool = False,
    kind_order: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> list[Latency]:
    """Fill each lookup with `blocks` (BLOCK[]) and time it on random addresses inside them.

    `granules` is the end of the space, `in_service` how many of them there are (None: all).  Blocks
    are stored in the order of their time, and a block inside another (a failed granule) is left
    out.  Every lookup sees the same addresses, but each timing of each round has its own: else it
    would find what the one before has left in the caches.  The lookups alternate, `ROUNDS` times,
    in an order shuffled by `seed`.  `updates`: inserts and erasures are timed too, `kind_order`:
    lookups of kind and order alone.  All memory is asked to be in huge pages, as Linux maps its
    own; times are of the processor, not of the clock, but for those of batches: a few have
    another's work in them.  Empty for no blocks.  Raises UnknownName for an unknown lookup.
    """
    for name in lookups:
        if name not in LOOKUPS:
            raise UnknownName(f"lookup {name!r}: choose among {', '.join(LOOKUPS)}")
    blocks = outermost(blocks)
    if len(blocks) == 0:
        return []
    tell = progress or (lambda share, what: None)
    filled = {}
    for done, name in enumerate(lookups):
        tell(done / len(lookups) / 2, f"filling {name} with {len(blocks):,} blocks")
        filled[name] = filled_with(name, blocks, granules)
    served = granules if in_service is None else in_service
    sizes = {name: _bytes(filled[name], len(blocks), served) for name in lookups}
    rounds, samples = _rounds(filled, blocks, lookups_timed, seed, updates, kind_order, tell)
    return [
        _latency(name, rounds[name], samples[name], len(blocks), sizes[name]) for name in lookups
    ]


def generated(count: int, seed: int = 1) -> tuple[np.ndarray, int]:
    """(BLOCK[count] that fill a space in address order, its granules); orders 0 to 6, mean 1.9.

    Made by halving blocks of order 6 again and again, at random; kinds, owners and times are random
    too, so that neighbours' records do not lie beside each other.
    """
    dice = np.random.default_rng(seed)
    orders = np.full(count // 32 + 64, _ORDER_MAX, np.uint8)
    for order in range(_ORDER_MAX, 0, -1):
        halves = 1 + ((orders == order) & (dice.random(len(orders)) < _HALVED))
        orders = np.repeat(orders - (halves - 1).astype(np.uint8), halves)
    assert len(orders) >= count
    blocks = np.zeros(count, BLOCK)
    ends = np.cumsum(np.int64(1) << orders[:count].astype(np.int64))
    blocks["granule"][1:], blocks["order"] = ends[:-1], orders[:count]
    blocks["time_ns"], blocks["handle"] = dice.permutation(count), np.arange(count)
    numbers = [KIND[name] for name in _KINDS]
    blocks["kind"] = dice.choice(numbers, count, p=list(_KINDS.values()))
    blocks["owner"] = dice.integers(0, 1000, count)
    return blocks, int(ends[-1])


def figures(measured: Iterable[Latency], size: str) -> dict[str, dict[str, Any]]:
    """Figures of `potadlab bench`: "lookup.NAME.SIZE.WHAT" -> median, best, unit.

    WHAT is what was timed, and `update_ns`, the mean of an insert and an erasure.
    """
    found: dict[str, dict[str, Any]] = {}
    for latency in measured:
        rounds = dict(latency.rounds_ns)
        if "insert" in rounds:
            pairs = zip(rounds["insert"], rounds["erase"], strict=True)
            rounds["update"] = tuple((insert + erase) / 2 for insert, erase in pairs)
        for what, ns in rounds.items():
            name = f"lookup.{latency.lookup}.{size}.{_figure_name(what)}"
            found[name] = {"median": median(ns), "best": min(ns), "unit": "ns"}
        each = latency.bytes_per_block
        name = f"lookup.{latency.lookup}.{size}.bytes_per_block"
        found[name] = {"median": each, "best": each, "unit": "bytes"}
    return found


def _figure_name(what: str) -> str:
    kind_order = what.startswith("kind_order_")
    return f"{what.removeprefix('kind_order_')}_ns" + (".kind_order_only" if kind_order else "")


def outermost(blocks: np.ndarray) -> np.ndarray:
    """Those that do not lie inside one before them."""
    ends = blocks["granule"] + (np.int64(1) << blocks["order"].astype(np.int64))
    before = np.maximum.accumulate(np.append(0, ends[:-1])) if len(blocks) else ends
    return blocks[blocks["granule"] >= before]


def addresses_in(blocks: np.ndarray, dice: np.random.Generator, count: int) -> np.ndarray:
    """Granules inside blocks chosen at random."""
    chosen = blocks[dice.integers(0, len(blocks), count)]
    inside = dice.integers(0, np.int64(1) << chosen["order"].astype(np.int64))
    return chosen["granule"] + inside


def filled_with(name: str, blocks: np.ndarray, granules: int) -> Any:
    """The lookup of this name with the blocks in it, stored in the order of their time."""
    index: Any = LOOKUPS[name](granules, facts())
    in_huge_pages(index)
    in_time = np.argsort(blocks["time_ns"], kind="stable")
    store_all(index, blocks if name in READ_ONLY else blocks[in_time])
    return index


def _rounds(
    filled: dict[str, Any],
    blocks: np.ndarray,
    count: int,
    seed: int,
    updates: bool,
    kind_order: bool,
    tell: Callable[[float, str], None],
) -> tuple[dict[str, list[_Round]], dict[str, np.ndarray]]:
    """Rounds of each lookup; the lookups alternate, so that all meet the same noise."""
    order, dice = random.Random(seed), np.random.default_rng(seed)
    timed: dict[str, list[_Round]] = {name: [] for name in filled}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in filled}
    for done in range(ROUNDS):
        chosen = dice.choice(len(blocks), min(_UPDATES, -(-len(blocks) // 2)), replace=False)
        asked = [addresses_in(blocks, dice, count) for _ in range(_TIMINGS)]
        for at, name in enumerate(order.sample(list(filled), len(filled))):
            share = (done + at / len(filled)) / ROUNDS
            tell((1 + share) / 2, f"timing {name}, round {done + 1} of {ROUNDS}")
            ns, batches = _round(filled[name], *asked[:3])
            if kind_order:
                ns |= _classified(filled[name], *asked[3:])
            if updates and name not in READ_ONLY:
                ns |= _updated(filled[name], blocks[chosen])
            timed[name].append(ns)
            samples[name].append(batches)
    return timed, {name: np.concatenate(samples[name]) for name in filled}


def _round(
    index: Any, first: np.ndarray, second: np.ndarray, third: np.ndarray
) -> tuple[_Round, np.ndarray]:
    ns = {
        "independent": _ns(locate_independent, index, first),
        "dependent": _ns(locate_dependent, index, second, 0),
    }
    return ns, _samples_ns(index, third)


def _classified(index: Any, first: np.ndarray, second: np.ndarray) -> _Round:
    return {
        "kind_order_independent": _ns(classify_independent, index, first),
        "kind_order_dependent": _ns(classify_dependent, index, second, 0),
    }


def _updated(index: Any, chosen: np.ndarray) -> _Round:
    """Erase blocks in one random order and store them in another.

    An erasure meets its block cold; an insert, what all the erasures left in the outer caches.
    """
    again = chosen[np.random.default_rng(len(chosen)).permutation(len(chosen))]
    return {"erase": _ns(erase_all, index, chosen), "insert": _ns(store_all, index, again)}


def _latency(
    name: str, rounds: list[_Round], samples: np.ndarray, blocks: int, size_bytes: int
) -> Latency:
    return Latency(
        lookup=name,
        blocks=blocks,
        rounds_ns={what: tuple(ns[what] for ns in rounds) for what in rounds[0]},
        p50_ns=float(np.percentile(samples, 50)),
        p99_ns=float(np.percentile(samples, 99)),
        samples_ns=samples,
        bytes_per_block=size_bytes / blocks,
    )


def _ns(kernel: Callable, index: Any, each: np.ndarray, *more: int) -> float:
    """ns of one; compiling is outside the time."""
    kernel(index, each[:0], *more)
    before = time.thread_time()
    kernel(index, each, *more)
    return (time.thread_time() - before) * 1e9 / len(each)


def _samples_ns(index: Any, addresses: np.ndarray) -> np.ndarray:
    ticks, nothing = np.zeros(len(addresses) // BATCH, np.int64), np.zeros(1000, np.int64)
    time_batches(index, addresses, BATCH, ticks[:0], 0)
    time_nothing(nothing)
    before = time.perf_counter()  # as the counter, it goes on while others have the processor
    time_batches(index, addresses, BATCH, ticks, 0)
    seconds = time.perf_counter() - before
    ns_per_tick = seconds * 1e9 / max(ticks.sum(), 1)
    return np.maximum(ticks - int(np.median(nothing)), 0) * ns_per_tick / BATCH


def clock() -> str:
    """What batches are timed with on this machine, in words."""
    if DISABLED:
        return "the system's clock, kernels not compiled"
    if platform.machine().lower() in ("x86_64", "amd64"):
        return "the cycle counter (rdtsc)"
    return "the processor's counter (LLVM's readcyclecounter)"


def _bytes(index: Any, blocks: int, in_service: int) -> int:
    return sum(interface.bytes_of(index, blocks, in_service).values())
