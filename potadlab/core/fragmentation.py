"""How broken up free memory is: mm/vmstat.c's measures, with its integer arithmetic.

free_blocks: i8[order], free blocks of 2**order granules, each as large as it can be.
"""

import numpy as np

from ._jit import kernel


@kernel
def free_granules(free_blocks):
    free = np.int64(0)
    for order in range(len(free_blocks)):
        free += free_blocks[order] << order
    return free


@kernel
def blocks_available(free_blocks, order):
    """How many blocks of 2**order could be had one after the other."""
    blocks = np.int64(0)
    for k in range(order, len(free_blocks)):
        blocks += free_blocks[k] << (k - order)
    return blocks


@kernel
def unusable_index(free_blocks, order):
    """Share of free memory that is in smaller blocks, 0 .. 1000; 1000 where nothing is free.

    debugfs extfrag/unusable_index.
    """
    free = free_granules(free_blocks)
    if free == 0:
        return np.int64(1000)
    return (free - (blocks_available(free_blocks, order) << order)) * 1000 // free


@kernel
def fragmentation_index(free_blocks, order):
    """Why a block is refused: towards 0 for want of memory, towards 1000 for fragmentation.

    -1000 where it is not refused, 0 where nothing is free.  debugfs extfrag/extfrag_index.
    """
    count = np.int64(0)
    for k in range(len(free_blocks)):
        count += free_blocks[k]
    if count == 0:
        return np.int64(0)
    if blocks_available(free_blocks, order) > 0:
        return np.int64(-1000)
    wanted = free_granules(free_blocks) * 1000 // (np.int64(1) << order)
    return np.int64(1000) - (1000 + wanted) // count


@kernel
def add_unusable(free_blocks, orders, sums):
    """Add the unusable free space index of each of `orders` to `sums` (i8[])."""
    free = free_granules(free_blocks)
    for place in range(len(orders)):
        small = np.int64(0)
        for k in range(min(orders[place], len(free_blocks))):
            small += free_blocks[k] << k
        sums[place] += small * 1000 // free if free else 1000
