"""How long it takes from a physical address to the descriptor: measured, by structure."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.follow import (
    locate_dependent,
    locate_independent,
    store_all,
    time_batches,
    time_nothing,
)
from ..core.lookups import LOOKUPS
from ..core.lookups.heads import Heads, lookup_bytes
from ..core.lookups.memmap import FRAME_BYTES
from ..errors import UnknownName
from .descriptors import record_bytes_of_kinds

BATCH = 16  # dependent lookups per reading of the cycle counter: it is not serialising


@dataclass(frozen=True)
class Latency:
    """Lookups of random live addresses, all returning kind, order and owner; nanoseconds."""

    lookup: str
    blocks: int
    independent_ns: float
    dependent_ns: float
    p50_ns: float
    p99_ns: float
    samples_ns: np.ndarray  # f8[]  mean of each batch of `BATCH` dependent lookups
    bytes_per_block: float


def measure(
    blocks: np.ndarray,
    granules: int,
    lookups: tuple[str, ...] = ("memmap", "heads"),
    seed: int = 1,
    lookups_timed: int = 1 << 17,
) -> list[Latency]:
    """Fill each lookup with `blocks` (BLOCK[]) and time it on random addresses inside them.

    `granules` is the end of the space; every lookup sees the same addresses, in an order chosen by
    `seed`.  Empty for no blocks.  Raises UnknownName for a lookup that is not there.
    """
    for name in lookups:
        if name not in LOOKUPS:
            raise UnknownName(f"lookup {name!r}: choose among {', '.join(LOOKUPS)}")
    if len(blocks) == 0:
        return []
    addresses = _addresses(blocks, seed, lookups_timed)
    return [_measure_one(name, blocks, granules, addresses) for name in lookups]


def _addresses(blocks: np.ndarray, seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    chosen = blocks[random.integers(0, len(blocks), count)]
    inside = random.integers(0, np.int64(1) << chosen["order"].astype(np.int64))
    return chosen["granule"] + inside


def _measure_one(name: str, blocks: np.ndarray, granules: int, addresses: np.ndarray) -> Latency:
    index = LOOKUPS[name](granules, record_bytes_of_kinds())
    store_all(index, blocks)
    independent = min(_seconds(locate_independent, index, addresses) for _ in range(3))
    dependent = min(_seconds(locate_dependent, index, addresses) for _ in range(3))
    samples = _samples_ns(index, addresses)
    return Latency(
        lookup=name,
        blocks=len(blocks),
        independent_ns=independent / len(addresses) * 1e9,
        dependent_ns=dependent / len(addresses) * 1e9,
        p50_ns=float(np.percentile(samples, 50)),
        p99_ns=float(np.percentile(samples, 99)),
        samples_ns=samples,
        bytes_per_block=_bytes(index, granules, len(blocks)) / len(blocks),
    )


def _seconds(kernel: Callable, index: Any, addresses: np.ndarray) -> float:
    kernel(index, addresses[:1])  # compile outside the time
    before = time.perf_counter()
    kernel(index, addresses)
    return time.perf_counter() - before


def _samples_ns(index: Any, addresses: np.ndarray) -> np.ndarray:
    ticks, nothing = np.zeros(len(addresses) // BATCH, np.int64), np.zeros(1000, np.int64)
    time_batches(index, addresses, BATCH, ticks[:1])
    time_nothing(nothing)
    before = time.perf_counter()
    time_batches(index, addresses, BATCH, ticks)
    seconds = time.perf_counter() - before
    ns_per_tick = seconds * 1e9 / max(ticks.sum(), 1)
    return np.maximum(ticks - int(np.median(nothing)), 0) * ns_per_tick / BATCH


def _bytes(index: Any, granules: int, blocks: int) -> int:
    if isinstance(index, Heads):
        return sum(lookup_bytes(index, blocks).values())
    return granules * FRAME_BYTES
