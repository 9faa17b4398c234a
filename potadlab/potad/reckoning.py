"""What is free, counted from what lives: pure functions of BLOCK[] and ranges."""

from collections.abc import Sequence

import numpy as np


def gaps(
    blocks: np.ndarray, served: np.ndarray, zones: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Free ranges (start, end) in granules, ascending, cut at the borders of zones."""
    found = []
    for low, high in sorted(zones):
        for start, end in served.tolist():
            start, end = max(start, low), min(end, high)
            if start >= end:
                continue
            first, last = np.searchsorted(blocks["granule"], [start, end])
            starts = blocks["granule"][first:last]
            ends = starts + (np.int64(1) << blocks["order"][first:last].astype(np.int64))
            ends = np.maximum.accumulate(ends)  # a failed granule may lie in a block
            lows, highs = np.append(start, ends), np.append(starts, end)
            found += [(int(a), int(b)) for a, b in zip(lows, highs, strict=True) if a < b]
    return found


def largest_free_order(
    blocks: np.ndarray,
    served: np.ndarray,
    zones: Sequence[tuple[int, int]],
    order_max: int | None = None,
) -> int | None:
    """Order of the largest aligned block in the gaps; None if there is none."""
    free = np.array(gaps(blocks, served, zones), np.int64).reshape(-1, 2)
    if not len(free):
        return None
    top = int(free[:, 1].max()).bit_length()  # beyond it nothing fits, and sums would overflow
    for order in range(top if order_max is None else order_max, -1, -1):
        starts = -(-free[:, 0] >> order) << order
        if (starts + (np.int64(1) << order) <= free[:, 1]).any():
            return order
    return None


def longest_row(
    blocks: np.ndarray, served: np.ndarray, zones: Sequence[tuple[int, int]], align_order: int
) -> int:
    """Granules of the longest free row that begins and ends at multiples of 2**align_order."""
    free = np.array(gaps(blocks, served, zones), np.int64).reshape(-1, 2)
    rows = (free[:, 1] >> align_order) - (-(-free[:, 0] >> align_order))
    return max(int(rows.max(initial=0)), 0) << align_order
