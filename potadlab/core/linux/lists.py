"""The free lists of a zone, one for each order and migratetype, threaded through the pages."""

import numpy as np

from .._jit import inlined, kernel
from ..bits import align_down, buddy_of, largest_order
from ..layout import NONE
from . import chain, pages
from .pages import FREE
from .state import PCP_TYPES, TYPES, count_free, set_type, type_of, zone_of


@inlined
def is_free(state, zone, granule, order):
    """page_is_buddy: a free block of this order, in this zone, begins at `granule`."""
    if not state.zones[zone]["start"] <= granule < state.zones[zone]["end"]:
        return False
    free = pages.use_of(state.pages, granule) == FREE
    return free and pages.order_of(state.pages, granule) == order


@inlined
def list_of(state, zone, order, migratetype):
    return state.lists[(zone * state.orders + order) * TYPES + migratetype]


@inlined
def smallest(state, zone, order, migratetype):
    """__rmqueue_smallest: the head of the first list that can serve, expanded; or NONE."""
    for found in range(order, state.orders):
        granule = list_of(state, zone, found, migratetype)["first"]
        if granule != NONE:
            unlink(state, zone, granule, found, migratetype)
            expand(state, zone, granule, order, found, migratetype)
            return np.int64(granule)
    return np.int64(NONE)


@inlined
def expand(state, zone, granule, order, found, migratetype):
    """The upper halves go to the heads of their lists, down to the order that is wanted."""
    count_free(state, zone, -(np.int64(1) << order), migratetype)
    while found > order:
        found -= 1
        push(state, zone, granule + (np.int64(1) << found), found, migratetype)


@inlined
def give(state, zone, granule, order, to_tail):
    """__free_one_page: merge with the buddy while it is free and of the same order.

    From the pageblock's order up, blocks of unlike types merge unless one is CMA's, reserved or
    isolated;
    the buddy's pageblocks take the type.  It goes to the tail if the buddy of what it would make
    is free (buddy_merge_likely), or if told to.
    """
    migratetype = type_of(state, granule)
    count_free(state, zone, np.int64(1) << order, migratetype)
    while order < state.orders - 1:
        buddy = buddy_of(granule, order)
        if not is_free(state, zone, buddy, order):
            break
        other = migratetype
        if order >= state.block_order:
            other = type_of(state, buddy)
            if other != migratetype:
                if other >= PCP_TYPES or migratetype >= PCP_TYPES:
                    break
                set_type(state, buddy, order, migratetype)
        unlink(state, zone, buddy, order, other)
        order += 1
        granule = align_down(granule, order)
    above = align_down(granule, order + 1)
    merge_likely = order < state.orders - 2 and is_free(
        state, zone, buddy_of(above, order + 1), order + 1
    )
    if to_tail or merge_likely:
        push_last(state, zone, granule, order, migratetype)
    else:
        push(state, zone, granule, order, migratetype)


@kernel
def give_range(state, start, end, to_tail):
    """Free the granules start .. end - 1, lowest address first, in the largest blocks."""
    while start < end:
        zone = zone_of(state, start)
        room = min(end, np.int64(state.zones[zone]["end"])) - start
        order = min(largest_order(start, room), np.int64(state.orders - 1))
        give(state, zone, start, order, to_tail)
        start += np.int64(1) << order


@inlined
def push(state, zone, granule, order, migratetype):
    chain.push(state.pages, list_of(state, zone, order, migratetype), granule, FREE, order)


@inlined
def push_last(state, zone, granule, order, migratetype):
    chain.push_last(state.pages, list_of(state, zone, order, migratetype), granule, FREE, order)


@inlined
def unlink(state, zone, granule, order, migratetype):
    chain.unlink(state.pages, list_of(state, zone, order, migratetype), granule)


@kernel
def cut_free(state, zone, granule):
    """Split a free block larger than a pageblock that lies over or begins at `granule`."""
    head = pages.head_of(state.pages, granule)
    if head == NONE or pages.use_of(state.pages, head) != FREE:
        return
    order = pages.order_of(state.pages, head)
    if order <= state.block_order:
        return
    migratetype = type_of(state, head)
    unlink(state, zone, head, order, migratetype)
    part = np.int64(state.block_order)
    for piece in range(head, head + (np.int64(1) << order), np.int64(1) << part):
        push_last(state, zone, piece, part, migratetype)


@kernel
def move_block(state, zone, start, before, migratetype):
    """__move_freepages_block: a pageblock's free pieces to the tails of another type's lists."""
    end = start + (np.int64(1) << state.block_order)
    granule = start
    while granule < end:
        if pages.use_of(state.pages, granule) != FREE:
            granule += 1
            continue
        order = pages.order_of(state.pages, granule)
        unlink(state, zone, granule, order, before)
        push_last(state, zone, granule, order, migratetype)
        count_free(state, zone, -(np.int64(1) << order), before)
        count_free(state, zone, np.int64(1) << order, migratetype)
        granule += np.int64(1) << order
    set_type(state, start, np.int64(state.block_order), migratetype)


@kernel
def take_off(state, zone, granule, head):
    """take_page_off_buddy, break_down_buddy_pages: one granule out of the free block at `head`."""
    order, migratetype = pages.order_of(state.pages, head), type_of(state, head)
    unlink(state, zone, head, order, migratetype)
    count_free(state, zone, np.int64(-1), migratetype)
    while order > 0:  # the half that holds it is split on, the other goes back
        order -= 1
        half = head + (np.int64(1) << order)
        if granule >= half:
            push(state, zone, head, order, migratetype)
            head = half
        else:
            push(state, zone, half, order, migratetype)
