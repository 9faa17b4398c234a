"""Fallback: memory of another migratetype, when a type's own lists are empty.

A whole pageblock is claimed where that pays, else a single block is stolen, and its pageblock
stays polluted (`should_try_claim_block`, `find_suitable_fallback`, `__rmqueue_claim`,
`__rmqueue_steal`).  HIGHATOMIC's pageblocks are no fallback.  A claim below the pageblock's order
boosts the watermarks, if told to.
"""

import numpy as np

from .._jit import inlined, kernel
from ..bits import align_down
from ..layout import NONE
from . import pages
from .lists import expand, list_of, move_block, smallest, unlink
from .pages import FREE, LIVE
from .state import MOVABLE, PCP_TYPES, RECLAIMABLE, UNMOVABLE, boost_marks, set_type


@inlined
def fallback_of(migratetype, choice):
    """fallbacks[][]: whom a type takes from, in order."""
    if choice == 0:
        return np.int64(UNMOVABLE if migratetype == RECLAIMABLE else RECLAIMABLE)
    return np.int64(UNMOVABLE if migratetype == MOVABLE else MOVABLE)


@inlined
def _other(state, zone, order, migratetype):
    """The first fallback type with a free block of this order, or NONE."""
    for choice in range(PCP_TYPES - 1):
        other = fallback_of(migratetype, choice)
        if list_of(state, zone, order, other)["first"] != NONE:
            return other
    return np.int64(NONE)


@inlined
def _may_claim(state, order, migratetype):
    return order >= state.block_order // 2 or migratetype != MOVABLE


@kernel
def claim_block(state, zone, order, migratetype, order_min):
    """__rmqueue_claim: from the largest order down, take over pageblocks; a block, or NONE."""
    for found in range(state.orders - 1, order_min - 1, -1):
        if not _may_claim(state, found, migratetype):
            break
        other = _other(state, zone, found, migratetype)
        if other == NONE:
            continue
        granule = np.int64(list_of(state, zone, found, other)["first"])
        if found >= state.block_order:
            unlink(state, zone, granule, found, other)
            set_type(state, granule, np.int64(found), migratetype)
            expand(state, zone, granule, order, np.int64(found), migratetype)
            return granule
        boost_marks(state, zone)
        start = align_down(granule, state.block_order)
        if _worth_it(state, zone, start, other, migratetype):
            move_block(state, zone, start, other, migratetype)
            return smallest(state, zone, order, migratetype)
    return np.int64(NONE)


@kernel
def _worth_it(state, zone, start, before, migratetype):
    """try_to_claim_block: free and alike pages are half of the pageblock or more.

    All of it must lie in the zone.
    """
    size = np.int64(1) << state.block_order
    if start < state.zones[zone]["start"] or start + size > state.zones[zone]["end"]:
        return False
    free, movable, granule, movable_until = np.int64(0), np.int64(0), start, np.int64(0)
    while granule < start + size:  # each page is looked at, as in Linux
        use = pages.use_of(state.pages, granule)
        if use == FREE:
            part = np.int64(1) << pages.order_of(state.pages, granule)
            free += part
            granule += part
            continue
        if use == LIVE and pages.movable(state.pages, granule):
            movable_until = granule + (np.int64(1) << pages.order_of(state.pages, granule))
        movable += granule < movable_until
        granule += 1
    alike = movable
    if migratetype != MOVABLE:
        alike = size - free - movable if before == MOVABLE else np.int64(0)
    return free + alike >= size // 2


@kernel
def steal(state, zone, order, migratetype):
    """__rmqueue_steal: the smallest block of another type; what is left of it stays that type's."""
    for found in range(order, state.orders):
        other = _other(state, zone, found, migratetype)
        if other != NONE:
            granule = np.int64(list_of(state, zone, found, other)["first"])
            unlink(state, zone, granule, np.int64(found), other)
            expand(state, zone, granule, order, np.int64(found), other)
            return granule
    return np.int64(NONE)
