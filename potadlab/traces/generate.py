"""Synthetic loads, from a seed: the same everywhere."""

import numpy as np

from ..core import steady as kernels
from ..core.exchange import EXCHANGE

STEADY_ALLOCATIONS, STEADY_GRANULES = 2_000_000, 1 << 21  # 8 GiB of 4 KiB pages


def steady(
    allocations: int = STEADY_ALLOCATIONS,
    granules: int = STEADY_GRANULES,
    seed: int = kernels.SEED,
) -> np.ndarray:
    """EXCHANGE[]: memory fills to 75 %, lives on at 68 to 80 %, drains; orders 0 to 10.

    With the usual numbers it is the trace of 4,000,000 ops that the published comparison used.
    """
    records, rows = np.zeros(2 * allocations, EXCHANGE), allocations + 1
    lives = np.zeros(rows, kernels.LIFE), np.zeros(rows, kernels.LIFE)
    count = kernels.steady(
        records, np.uint64(seed), granules, allocations, *lives, np.zeros(rows, np.uint32)
    )
    return records[:count]
