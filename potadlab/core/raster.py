"""Blocks to pixels: memory in rows, and in each pixel the category that holds most of its granules.

A merge sweep over blocks and ranges, both in address order: each is visited once, and a pixel
costs the blocks that begin in it.  Equal shares go to the higher category, so used beats free.
Where categories have ranks, the highest rank that is present wins, however little of it there is:
one pinned page among gigabytes is seen.  A failed granule is never outvoted in any case.
"""

import numpy as np

from ._jit import kernel

# Categories of a pixel; those from USED on belong to live blocks and are the caller's to name.
OUTSIDE = 0  # beyond the end of the space
HOLE = 1  # inside it, not in service
FREE = 2
POISON = 3
USED = 4


def rasterise(
    blocks: np.ndarray,
    categories: np.ndarray,
    ranges: np.ndarray,
    end: int,
    first: int,
    granules_per_pixel: int,
    height: int,
    width: int,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """u1[height, width]: the categories of `height * width` pixels from granule `first` on.

    blocks: BLOCK[]; categories: u1 per block, USED and up or POISON (such blocks may lie inside
    others); ranges: i8[n, 2] in service, ascending, disjoint; end: of the space, in granules;
    ranks: u1[256], of each category (None: all alike).
    """
    ranks = np.zeros(256, np.uint8) if ranks is None else ranks
    pixels = np.empty(height * width, np.uint8)
    counts = np.zeros(max(int(categories.max(initial=0)), USED) + 1, np.int64)
    _sweep(blocks, categories, ranges, end, first, granules_per_pixel, counts, ranks, pixels)
    _mark_poison(blocks, categories, first, granules_per_pixel, pixels)
    return pixels.reshape(height, width)


@kernel
def _sweep(blocks, categories, ranges, end, first, granules_per_pixel, counts, ranks, pixels):
    block = _first_block(blocks, categories, first)
    span = 0
    for pixel in range(len(pixels)):
        low = first + pixel * granules_per_pixel
        high = low + granules_per_pixel
        block, used = _count_blocks(blocks, categories, block, low, high, counts)
        span, serving = _count_ranges(ranges, span, low, high)
        inside = max(min(high, end) - low, 0)
        counts[OUTSIDE] = high - low - inside
        counts[HOLE] = max(inside - serving, 0)
        counts[FREE] = max(serving - used, 0)
        pixels[pixel] = _dominant(counts, ranks)


@kernel
def _first_block(blocks, categories, first):
    """Index of the first live block that may reach `first` or beyond."""
    low, high = 0, len(blocks)
    while low < high:
        middle = (low + high) // 2
        if blocks[middle]["granule"] < first:
            low = middle + 1
        else:
            high = middle
    low -= 1
    while low > 0 and categories[low] == POISON:
        low -= 1
    return max(low, 0)


@kernel
def _count_blocks(blocks, categories, block, low, high, counts):
    """Add granules in [low, high) to `counts`; return the next pixel's first block and the sum."""
    used = 0
    while block < len(blocks) and blocks[block]["granule"] < high:
        start = blocks[block]["granule"]
        stop = start + (np.int64(1) << np.int64(blocks[block]["order"]))
        if categories[block] != POISON:
            overlap = max(min(stop, high) - max(start, low), 0)
            counts[categories[block]] += overlap
            used += overlap
            if stop > high:
                break
        block += 1
    return block, used


@kernel
def _count_ranges(ranges, span, low, high):
    """How many granules of [low, high) are in service, and the next pixel's first range."""
    serving = 0
    while span < len(ranges) and ranges[span, 0] < high:
        serving += max(min(ranges[span, 1], high) - max(ranges[span, 0], low), 0)
        if ranges[span, 1] > high:
            break
        span += 1
    return span, serving


@kernel
def _dominant(counts, ranks):
    """Of the highest rank, the category with most granules (the higher of equals); clears them."""
    best, most = 0, 0
    for category in range(len(counts)):
        if counts[category] > 0 and (
            ranks[category] > ranks[best]
            or (ranks[category] == ranks[best] and counts[category] >= most)
        ):
            best, most = category, counts[category]
        counts[category] = 0
    return best


@kernel
def _mark_poison(blocks, categories, first, granules_per_pixel, pixels):
    for block in range(len(blocks)):
        if categories[block] == POISON:
            pixel = (blocks[block]["granule"] - first) // granules_per_pixel
            if 0 <= pixel < len(pixels):
                pixels[pixel] = POISON
