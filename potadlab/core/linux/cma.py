"""A CMA area: a bitmap of what is claimed, over pageblocks that movable memory uses meanwhile.

After mm/cma.c and alloc_contig_range (mm/page_alloc.c) of Linux 6.12; facts only.  The bitmap knows
no owners and no sizes, only which bits are set.  What a claim leaves of its last bit is free for
movable memory, so each claimed granule is marked here, and a bit is set while one of its is.

Differences from Linux.  The area is declared when the first op comes: in the zone that is tried
first, the run of pageblocks in service with the least unmovable memory, the highest of such (at
boot there is none; a warm start may have some, and ranges that hold it are busy for ever).  What
cannot move is seen before anything is moved: pinned, failed or of an unmovable kind.  Linux tries
five times and gives up with what it has moved; a pin of ours stays, so once is enough.  Claimed
memory cannot be pinned: drivers map it without struct pages (VM_PFNMAP).
"""

import numpy as np

from .._jit import kernel
from ..bits import align_down
from ..layout import NONE
from . import lists, pages
from .pages import FREE, LIVE, NO_HEAD
from .state import (
    CMA,
    ISOLATE,
    RECLAIMABLE,
    SERVED,
    UNMOVABLE,
    type_of,
    zone_of,
)


@kernel
def declare(state):
    """cma_init_reserved_mem: choose the area, and let its pageblocks be CMA's."""
    blocks = state.area_granules >> state.block_order
    if blocks == 0:
        return
    for zone in range(len(state.zones)):
        first, size = _best_window(state, zone, blocks), np.int64(1) << state.block_order
        if first != NONE:
            state.area[0]["base"], state.area[0]["granules"] = first * size, blocks * size
            _retype(state, first * size, blocks * size)
            return


@kernel
def _best_window(state, zone, blocks):
    """First pageblock of so many in service in a zone, with the least that stays; NONE if none."""
    best, least, size = np.int64(NONE), np.int64(0), np.int64(1) << state.block_order
    own = state.zones[zone]
    start, end = (own["start"] + size - 1) // size, own["end"] // size
    for first in range(start, end - blocks + 1):
        unmovable, served = np.int64(0), np.int64(0)
        for block in range(first, first + blocks):
            unmovable += state.votes[block, UNMOVABLE] + state.votes[block, RECLAIMABLE]
            served += state.votes[block, SERVED]
        if served == blocks * size and (best == NONE or unmovable <= least):
            best, least = np.int64(first), unmovable
    return best


@kernel
def _retype(state, start, granules):
    """Free pieces to the lists of CMA, pageblock by pageblock."""
    size, zone = np.int64(1) << state.block_order, zone_of(state, start)
    lists.cut_free(state, zone, start)
    lists.cut_free(state, zone, start + granules)
    for block in range(start, start + granules, size):
        lists.cut_free(state, zone, block)
        lists.move_block(state, zone, block, type_of(state, block), np.int64(CMA))


# ---- the bitmap -----------------------------------------------------------------------------


@kernel
def step(state, align_order):
    """Bits from one aligned place to the next: mask + 1."""
    return np.int64(1) << max(align_order - state.area[0]["bit_order"], np.int64(0))


@kernel
def find(state, granules, align_order, bit):
    """bitmap_find_next_zero_area_off: (bit, granule) of the first aligned run of clear bits from
    `bit` on; NONE where there is none.
    """
    own = state.area[0]
    wide = step(state, align_order)
    offset = (own["base"] & ((np.int64(1) << align_order) - 1)) >> own["bit_order"]
    count = ((granules - 1) >> own["bit_order"]) + 1
    bit = (bit + offset + wide - 1) // wide * wide - offset
    while (bit + count) << own["bit_order"] <= own["granules"]:
        first, last = bit << own["bit_order"], ((bit + count) << own["bit_order"]) - 1
        while last >= first and state.claimed[last] == 0:
            last -= 1
        if last < first:
            return bit, own["base"] + first
        bit = ((last >> own["bit_order"]) + offset + wide) // wide * wide - offset
    return bit, np.int64(NONE)


@kernel
def claimed(state, granule):
    """Whether a claim holds it."""
    own = state.area[0]
    inside = own["base"] <= granule < own["base"] + own["granules"]
    return inside and state.claimed[granule - own["base"]] != 0


@kernel
def give_up(state, granule, order):
    """cma_release of a chunk; what is no claim's is not marked."""
    own = state.area[0]
    if own["base"] <= granule < own["base"] + own["granules"]:
        first = granule - own["base"]
        for at in range(first, min(first + (np.int64(1) << order), own["granules"])):
            state.claimed[at] = 0


# ---- alloc_contig_range ---------------------------------------------------------------------


@kernel
def first_head(state, start):
    """Where to begin to look at blocks: that which lies over `start`, or `start`."""
    head = pages.head_of(state.pages, start)
    return start if head == NONE else head


@kernel
def busy(state, start, granules, may_move):
    """Whether something in the range has to stay (has_unmovable_pages)."""
    granule, end = first_head(state, start), start + granules
    while granule < end:
        use = pages.use_of(state.pages, granule)
        if use == NO_HEAD:
            return True  # failed, and out of service
        order = pages.order_of(state.pages, granule)
        after = granule + (np.int64(1) << order)
        if use == LIVE and (not may_move or stays(state, granule, order)):
            return True
        granule = after
    return False


@kernel
def stays(state, granule, order):
    """Whether a live block cannot be moved: its kind, a claim, its size, a pin, failed memory."""
    if not pages.movable(state.pages, granule) or claimed(state, granule):
        return True
    if order >= state.orders or pages.pins_of(state.pages, granule) > 0:
        return True
    for page in range(granule, granule + (np.int64(1) << order)):
        if pages.poisoned(state.pages, page):
            return True
    return False


@kernel
def isolate(state, start, granules, before, after):
    """start_isolate_page_range, undo_isolate_page_range: retype all pageblocks that are touched."""
    zone, size = zone_of(state, start), np.int64(1) << state.block_order
    for block in range(align_down(start, state.block_order), start + granules, size):
        lists.cut_free(state, zone, block)
        lists.move_block(state, zone, block, np.int64(before), np.int64(after))


@kernel
def take(state, start, granules):
    """isolate_freepages_range: the range, all free now, leaves the lists and is marked."""
    granule, end, zone = first_head(state, start), start + granules, zone_of(state, start)
    while granule < end:
        assert pages.use_of(state.pages, granule) == FREE
        order = pages.order_of(state.pages, granule)
        after = granule + (np.int64(1) << order)
        lists.unlink(state, zone, granule, order, np.int64(ISOLATE))
        _give_edges(state, zone, granule, after, start, end)
        granule = after
    first = start - state.area[0]["base"]
    for at in range(first, first + granules):
        state.claimed[at] = 1


@kernel
def _give_edges(state, zone, low, high, start, end):
    """What of [low, high) lies outside of [start, end) goes back."""
    if low < start:
        lists.give_range(state, low, start, False)
    if end < high:
        lists.give_range(state, end, high, False)
