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
from ..bits import apart, largest_order, trailing_zeros
from ..layout import DESCRIPTOR, NONE
from ..lookups import heads

WINDOWS_TRIED = 16  # that a claim tries to empty, those with the least to move first
CPUS = 8  # with front caches of their own; a trace's further CPUs share them


class PotadState(blocks.Blocks):
    """Blocks, placed by POTAD."""


blocks.register(PotadState)


def new(
    zones: np.ndarray,
    kinds: np.ndarray,
    caches: int = CPUS,
    groups: int = 0,
    placement: str = "lowest",
    chunk_order: int = 9,
    hosted: int = 0,
    records: bool = True,
) -> PotadState:
    """An allocator over `zones` (i8[n, 2], granules, in order of trial) with nothing in service.

    caches: how many CPUs have front caches; groups: how many besides the pool; placement: "lowest"
    or "tightest"; chunk_order: of what belongs to one group, 9 is Linux's pageblock of 4 KiB pages;
    hosted: bytes of a granule if records take their memory from the space, else 0; records: False
    for no records and owners, as an allocator that describes nothing.
    """
    tight = placement == "tightest"
    more = (chunk_order, hosted, not records)
    return blocks.new(PotadState, zones, kinds, caches, groups, tight, *more)


@interface.allocate.register
@inlined
def allocate(state: PotadState, order, kind, owner, granule, cpu, group):
    if state.hosted == 0:
        if state.cpus > 0:
            found = blocks.pop(state, order, group, cpu, kind, owner)
            if found != NONE:
                return found
        return _place(state, order, kind, owner, group)
    return _allocate_hosted(state, order, kind, owner, cpu, group)


@kernel
def _allocate_hosted(state, order, kind, owner, cpu, group):
    apart()
    found, first, nobody = np.int64(NONE), np.int64(DESCRIPTOR), np.int64(NONE)
    if state.cpus > 0:
        found = blocks.pop(state, order, group, cpu, first, nobody)
    if found == NONE:
        found = _place(state, order, first, nobody, group)
    return _give_record(state, found, kind, owner)


@kernel
def _place(state, order, kind, owner, group):
    """Allocate what no front cache has."""
    apart()
    found, part = blocks.place(state, order, group)
    if found == NONE and blocks.make_room(state) > 0:
        found, part = blocks.place(state, order, group)
    if found != NONE:
        blocks.take(state, part, found, order, kind, owner)
    return found


@kernel
def _give_record(state, found, kind, owner):
    """Let a block have its record where arenas are hosted; NONE, and nothing taken, for no room.

    The block has its place before: a slab put first could break the last large run.
    """
    if found == NONE:
        return np.int64(NONE)
    if not blocks.ready_record(state, kind):
        blocks.untake(state, found)
        return np.int64(NONE)
    at = heads.head_at(state.heads, found)
    order = heads.order_of(state.heads.slots[at]["entry"])
    heads.relabel(state.heads, at, order, kind, owner, np.int64(0))  # there are no magazines
    return found


@interface.claim.register
@kernel
def claim(state: PotadState, granules, align_order, kind, owner, moves):
    """One chunk, two adjacent chunks of half the size, ... down to the alignment, then give up.

    With `moves`, the window with the least movable memory in the way is emptied then.
    """
    blocks.make_room(state)
    order = trailing_zeros(np.uint64(granules))
    start, steps, moved = np.int64(NONE), np.int64(0), np.int64(0)
    while order >= align_order and start == NONE:
        steps += 1
        for zone in range(len(state.tree.zones)):
            if start == NONE:
                start = _find_row(state, zone, order, granules >> order)
        order -= 1
    order += 1
    if start != NONE:
        _take_row(state, start, order, granules >> order)
    elif len(moves) > 0 and blocks.ready_record(state, kind):
        start, moved = _empty_window(state, granules, align_order, moves)
        if start != NONE:
            order = largest_order(start, np.int64(1) << trailing_zeros(np.uint64(granules)))
            _take_row(state, start, order, granules >> order)  # chunks go back one by one
    if start == NONE:
        return start, steps, order, moved
    if not blocks.ready_record(state, kind):
        blocks.add(state, start, start + granules)
        return np.int64(NONE), steps, order, moved
    heads.store_chunks(state.heads, start, order, granules >> order, kind, owner)
    return start, steps, order, moved


@kernel
def _empty_window(state, granules, align_order, moves):
    """(start, blocks moved) of the window with the least to move, emptied; NONE if none can be.

    What lies in a window may find no place outside of it; then the next cheapest is tried.
    """
    cost, zone, start = np.int64(NONE), np.int64(NONE), np.int64(NONE)
    for _ in range(WINDOWS_TRIED):
        cost, zone, start = _next_window(state, granules, align_order, cost, zone, start)
        if start == NONE:
            break
        moved = blocks.empty_out(state, start, start + granules, moves)
        if moved != NONE:
            return start, moved
    return np.int64(NONE), np.int64(0)


@kernel
def _next_window(state, granules, align_order, cost, zone, start):
    """(granules to move, zone, start) of the cheapest window after that one; NONE for no more."""
    least, where, best = np.int64(NONE), np.int64(NONE), np.int64(NONE)
    for other in range(len(state.tree.zones)):
        above = cost if other > zone else cost + 1  # of equal cost, zones go in order of trial
        after = start if other == zone else np.int64(NONE)
        found, more = _cheapest_window(state, other, granules, align_order, above, after)
        if found != NONE and (best == NONE or more < least):
            least, where, best = more, np.int64(other), found
    return least, where, best


@kernel
def _cheapest_window(state, zone, granules, align_order, above, after):
    """(start, granules to move) of the lowest window of a zone with the least to move, or NONE.

    Only those that cost at least `above`, or one less and begin after `after`, if that is not NONE.
    A block that lies across a border of the window moves whole.
    """
    step, end = np.int64(1) << align_order, state.tree.zones[zone, 1]
    start = (state.tree.zones[zone, 0] + step - 1) >> align_order << align_order
    best, least, used, seen = np.int64(NONE), np.int64(0), np.int64(0), start
    while start + granules <= end:
        if seen < start + granules:
            more = blocks.in_the_way(state, seen, seen + step)
            seen += step
            used += more
            if more == NONE:
                start, used = seen, np.int64(0)
            continue
        costs = used + blocks.sticking_out(state, start, seen)
        waits = costs >= above or (after != NONE and costs == above - 1 and start > after)
        if waits and (best == NONE or costs < least):
            best, least = start, costs
        used -= blocks.in_the_way(state, start, start + step)
        start += step
    return best, least


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
