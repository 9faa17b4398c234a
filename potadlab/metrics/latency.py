"""How long it takes from a physical address to the descriptor: measured, by structure."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
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
from ..errors import UnknownName
from ..kinds import facts
from .descriptors import struct_page_bytes

ROUNDS = 5
BATCH = 16  # dependent lookups per reading of the cycle counter: it is not serialising

_Round = tuple[float, float, np.ndarray]  # independent and dependent ns, ns of each batch


@dataclass(frozen=True)
class Latency:
    """Lookups of random live addresses, all returning kind, order and owner; nanoseconds.

    independent, dependent: of one lookup, median of `ROUNDS` rounds.  p50, p99: of batches, each
    the mean of `BATCH` dependent lookups, so single slow lookups do not show in them.
    """

    lookup: str
    blocks: int
    independent_ns: float
    dependent_ns: float
    p50_ns: float
    p99_ns: float
    samples_ns: np.ndarray  # f8[]  mean of each batch of `BATCH` dependent lookups, all rounds
    bytes_per_block: float


def measure(
    blocks: np.ndarray,
    granules: int,
    lookups: tuple[str, ...] = ("memmap", "heads"),
    seed: int = 1,
    lookups_timed: int = 1 << 17,
    in_service: int | None = None,
) -> list[Latency]:
    """Fill each lookup with `blocks` (BLOCK[]) and time it on random addresses inside them.

    `granules` is the end of the space, `in_service` how many of them there are (None: all).  Every
    lookup sees the same addresses; they alternate, `ROUNDS` times, in an order shuffled by `seed`.
    Empty for no blocks.  Raises UnknownName for a lookup that is not there.
    """
    for name in lookups:
        if name not in LOOKUPS:
            raise UnknownName(f"lookup {name!r}: choose among {', '.join(LOOKUPS)}")
    if len(blocks) == 0:
        return []
    addresses = _addresses(blocks, seed, lookups_timed)
    filled = {name: _filled(name, blocks, granules) for name in lookups}
    timed = _rounds(filled, addresses, seed)
    served = granules if in_service is None else in_service
    return [
        _latency(name, timed[name], len(blocks), _bytes(filled[name], served, len(blocks)))
        for name in lookups
    ]


def _addresses(blocks: np.ndarray, seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    chosen = blocks[random.integers(0, len(blocks), count)]
    inside = random.integers(0, np.int64(1) << chosen["order"].astype(np.int64))
    return chosen["granule"] + inside


def _filled(name: str, blocks: np.ndarray, granules: int) -> Any:
    make: Any = LOOKUPS[name]
    index = make(granules, facts())
    store_all(index, blocks)
    return index


def _rounds(filled: dict[str, Any], addresses: np.ndarray, seed: int) -> dict[str, list[_Round]]:
    """Rounds of each lookup; the lookups alternate, so that all meet the same noise."""
    order, timed = random.Random(seed), {name: list[_Round]() for name in filled}
    for _ in range(ROUNDS):
        for name in order.sample(list(filled), len(filled)):
            timed[name].append(_round(filled[name], addresses))
    return timed


def _round(index: Any, addresses: np.ndarray) -> _Round:
    ns = 1e9 / len(addresses)
    independent = _seconds(locate_independent, index, addresses) * ns
    dependent = _seconds(locate_dependent, index, addresses) * ns
    return independent, dependent, _samples_ns(index, addresses)


def _latency(name: str, rounds: list[_Round], blocks: int, size_bytes: int) -> Latency:
    independent, dependent, batches = zip(*rounds, strict=True)
    samples = np.concatenate(batches)
    return Latency(
        lookup=name,
        blocks=blocks,
        independent_ns=median(independent),
        dependent_ns=median(dependent),
        p50_ns=float(np.percentile(samples, 50)),
        p99_ns=float(np.percentile(samples, 99)),
        samples_ns=samples,
        bytes_per_block=size_bytes / blocks,
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


def _bytes(index: Any, in_service: int, blocks: int) -> int:
    if isinstance(index, Heads):
        return sum(lookup_bytes(index, blocks).values())
    return struct_page_bytes(in_service)
