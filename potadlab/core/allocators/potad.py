"""POTAD, the Power Of Two Allocator with Descriptor: free tree, records, lookup.

Any power of two from one granule to the whole space; a descriptor of its own kind per block; the
lookup kept up on every op; claims in place of CMA; failed granules leave service alone.
After Matthew Wilcox, 29 March 2021 (20210329165832.GG351017@casper.infradead.org and the addendum
lkml 2103.3/07080).

Zones are tried in the order given; within a zone, the lowest address that can serve, or (tight)
the child whose largest free block is the smallest that can: large blocks are broken last.
"""

import numpy as np

from .. import blocks, interface, tree
from .._jit import inlined, kernel
from ..bits import trailing_zeros
from ..layout import NONE
from ..lookups import heads

CPUS = 8  # with front caches of their own; a trace's further CPUs share them


class PotadState(blocks.Blocks):
    """Blocks, placed by POTAD."""


blocks.register(PotadState)


def new(
    zones: np.ndarray,
    record_bytes: np.ndarray,
    cpus: int = CPUS,
    groups: int = 0,
    tight: bool = False,
    chunk_order: int = 9,
) -> PotadState:
    """An allocator over `zones` (i8[n, 2], granules, in order of trial) with nothing in service.

    cpus: how many have front caches, 0: none; groups: how many besides the pool; chunk_order: of
    what belongs to one group, 9 is Linux's pageblock of 4 KiB pages.
    """
    return blocks.new(PotadState, zones, record_bytes, cpus, groups, tight, chunk_order)


@interface.allocate.register
@inlined
def allocate(state: PotadState, order, kind, owner, granule, cpu, group):
    if state.cpus > 0 and order < blocks.CACHED_ORDERS:
        found = blocks.pop(state, order, group, cpu, kind, owner)
        if found != NONE:
            return found
    found, part = blocks.place(state, order, group)
    if found == NONE and blocks.drain(state) > 0:
        found, part = blocks.place(state, order, group)
    if found != NONE:
        blocks.take(state, part, found, order, kind, owner)
    return found


@interface.claim.register
@kernel
def claim(state: PotadState, granules, align_order, kind, owner):
    """One chunk, two adjacent chunks of half the size, ... down to the alignment, then give up."""
    blocks.drain(state)
    order = trailing_zeros(np.uint64(granules))
    steps = np.int64(0)
    while order >= align_order:
        steps += 1
        chunks = granules >> order
        for zone in range(len(state.tree.zones)):
            start = _find_row(state, zone, order, chunks)
            if start != NONE:
                _take_row(state, start, order, chunks)
                heads.store_chunks(state.heads, start, order, chunks, kind, owner)
                return start, steps, order
        order -= 1
    return np.int64(NONE), steps, order + 1


@kernel
def _find_row(state, zone, order, chunks):
    """The lowest `chunks` adjacent free blocks of 2**order granules, or NONE."""
    start = _next_free(state, zone, order, np.int64(0))
    found, count = start, np.int64(1)
    while found != NONE and count < chunks:
        after = found + (np.int64(1) << order)
        found = _next_free(state, zone, order, after)
        if found == after:
            count += 1
        else:
            start, count = found, np.int64(1)
    return start if found != NONE else np.int64(NONE)


@kernel
def _next_free(state, zone, order, granule):
    """The lowest free block of a zone at `granule` or above, whichever group has it."""
    lowest = np.int64(NONE)
    for part in range(zone * state.tree.groups, (zone + 1) * state.tree.groups):
        found = tree.find_from(state.tree, part, order, granule)
        if found != NONE and (lowest == NONE or found < lowest):
            lowest = found
    return lowest


@kernel
def _take_row(state, start, order, chunks):
    for chunk in range(chunks):
        granule = start + (chunk << order)
        part = blocks.part_of(state, granule)
        tree.enter(state.tree, part, granule, order)
        tree.put(state.tree, part, granule, order, False)
