"""A swap device in use: what is out is freed at random, what goes out takes its place.

The one load that answers: which block is freed follows from what was allocated, so it is no OP[].
Chance comes from the caller, as numbers.
"""

import numpy as np

from ._jit import inlined, kernel
from .interface import allocate, release
from .layout import NONE

OUT = np.dtype([("granule", "i8"), ("order", "i8")])  # a block that is swapped out
BLOCKS, GRANULES = 0, 1  # in `held`
TRIED, SERVED = 0, 1  # in `counts`


@kernel
def age(state, out, held, orders, numbers, limit, kind, cpus, counts):
    """Swap out folios of these `orders`, one after the other; at most `limit` granules are out.

    Where there is no room, blocks of `out` (OUT[]) are freed first, chosen by `numbers` (i8[], not
    negative); where no block of the order is found, the folio is split to granules.  held: i8[2],
    how much is out; counts: i8[order, 2].  Returns how many numbers were used.
    """
    used = np.int64(0)
    for i in range(len(orders)):
        order, cpu = np.int64(orders[i]), np.int64(i % cpus)
        while held[GRANULES] + (np.int64(1) << order) > limit:
            assert used < len(numbers)
            _free(state, out, held, numbers[used] % held[BLOCKS], cpu)
            used += 1
        counts[order, TRIED] += 1
        counts[order, SERVED] += _swap_out(state, out, held, order, kind, cpu)
    return used


@inlined
def _swap_out(state, out, held, order, kind, cpu):
    """Whether a block for the whole folio was found; else it is out granule by granule."""
    left, piece_order, none = np.int64(1) << order, order, np.int64(NONE)
    while left > 0:
        granule = allocate(state, piece_order, kind, none, none, cpu, np.int64(0))
        if granule == NONE:
            assert piece_order > 0  # no allocator may refuse a granule while one is free
            piece_order = np.int64(0)
        else:
            block = out[held[BLOCKS]]
            block["granule"], block["order"] = granule, piece_order
            held[BLOCKS] += 1
            held[GRANULES] += np.int64(1) << piece_order
            left -= np.int64(1) << piece_order
    return piece_order == order


@inlined
def _free(state, out, held, chosen, cpu):
    """The last block takes the place of the chosen one."""
    block = out[chosen]
    order = release(state, block["granule"], cpu)
    assert order == block["order"]
    held[BLOCKS] -= 1
    held[GRANULES] -= np.int64(1) << order
    last = out[held[BLOCKS]]
    block["granule"], block["order"] = last["granule"], last["order"]
