"""POTAD, the Power Of Two Allocator with Descriptor: free tree, records, lookup.

Any power of two from one granule to the whole space; a descriptor of its own kind per block; the
lookup kept up on every op; claims in place of CMA; failed granules leave service alone.
After Matthew Wilcox, 29 March 2021 (20210329165832.GG351017@casper.infradead.org and the addendum
lkml 2103.3/07080).  Not yet here: per-CPU front caches, groups, pins.

Zones are tried in the order given; within a zone, the lowest address that can serve.
"""

import numpy as np

from .. import blocks, interface, tree
from .._jit import kernel
from ..bits import trailing_zeros
from ..layout import NONE
from ..lookups import heads


class PotadState(blocks.Blocks):
    """Blocks, placed by POTAD."""


blocks.register(PotadState)


def new(zones: np.ndarray, record_bytes: np.ndarray) -> PotadState:
    """An allocator over `zones` (i8[n, 2], granules, in order of trial) with nothing in service."""
    return blocks.new(PotadState, zones, record_bytes)


@interface.allocate.register
@kernel
def allocate(state: PotadState, order, kind, owner, granule):
    for zone in range(len(state.tree.zones)):
        found = tree.find(state.tree, zone, order)
        if found != NONE:
            blocks.take(state, zone, found, order, kind, owner)
            return found
    return np.int64(NONE)


@interface.claim.register
@kernel
def claim(state: PotadState, granules, align_order, kind, owner):
    """One chunk, two adjacent chunks of half the size, ... down to the alignment, then give up."""
    order = trailing_zeros(np.uint64(granules))
    steps = np.int64(0)
    while order >= align_order:
        steps += 1
        chunks = granules >> order
        for zone in range(len(state.tree.zones)):
            start = _find_row(state, zone, order, chunks)
            if start != NONE:
                _take_row(state, zone, start, order, chunks)
                heads.store_chunks(state.heads, start, order, chunks, kind, owner)
                return start, steps, order
        order -= 1
    return np.int64(NONE), steps, order + 1


@kernel
def _find_row(state, zone, order, chunks):
    """The lowest `chunks` adjacent free blocks of 2**order granules, or NONE."""
    start = tree.find_from(state.tree, zone, order, np.int64(0))
    found, count = start, np.int64(1)
    while found != NONE and count < chunks:
        after = found + (np.int64(1) << order)
        found = tree.find_from(state.tree, zone, order, after)
        if found == after:
            count += 1
        else:
            start, count = found, np.int64(1)
    return start if found != NONE else np.int64(NONE)


@kernel
def _take_row(state, zone, start, order, chunks):
    for chunk in range(chunks):
        granule = start + (chunk << order)
        tree.enter(state.tree, zone, granule, order)
        tree.put(state.tree, zone, granule, order, False)
