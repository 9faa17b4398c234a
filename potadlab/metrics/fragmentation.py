"""How broken up free memory is, for reports: by size of block, in Linux's own measures."""

from typing import Any

import numpy as np

from ..core.fragmentation import blocks_available, fragmentation_index, unusable_index
from ..units import GIB, KIB, MIB

SIZES = {"64KiB": 64 * KIB, "2MiB": 2 * MIB, "1GiB": GIB}  # of blocks that people ask for


def order_of(size: str, granule_bytes: int) -> int:
    """Of a block of this size, one of SIZES; 0 where a granule is larger."""
    return max(SIZES[size] // granule_bytes, 1).bit_length() - 1


def largest_order(free_blocks: np.ndarray) -> int | None:
    """Of the largest free block; None if nothing is free."""
    there = np.flatnonzero(free_blocks)
    return int(there[-1]) if len(there) else None


def at_a_moment(free_blocks: np.ndarray, granule_bytes: int) -> dict[str, Any]:
    """unusable_index, fragmentation_index, blocks_available by size, and largest_free_bytes.

    free_blocks: i8[order].  The indices as Linux prints them, in thousandths.
    """
    orders = {size: order_of(size, granule_bytes) for size in SIZES}
    blocks = np.asarray(free_blocks, np.int64)
    largest = largest_order(blocks)
    return {
        "unusable_index": {
            size: int(unusable_index(blocks, order)) / 1000 for size, order in orders.items()
        },
        "fragmentation_index": {
            size: int(fragmentation_index(blocks, order)) / 1000 for size, order in orders.items()
        },
        "blocks_available": {
            size: int(blocks_available(blocks, order)) for size, order in orders.items()
        },
        "largest_free_bytes": 0 if largest is None else granule_bytes << largest,
    }
