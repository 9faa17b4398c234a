"""What a page's descriptor says: struct page, 64 bytes for each granule, in use or not."""

import numpy as np

from .._jit import inlined, kernel
from ..bits import align_down
from ..layout import NONE
from .state import FREE, LIVE, NO_HEAD, TAIL_MAPPING, zone_of


@inlined
def is_free(state, zone, granule, order):
    """page_is_buddy: a free block of this order, in this zone, begins at `granule`."""
    if not state.zones[zone]["start"] <= granule < state.zones[zone]["end"]:
        return False
    frame = state.frames[granule]
    return frame["use"] == FREE and frame["order"] == order


@inlined
def describe(state, granule, order, kind):
    """prep_new_page: a block is live; prep_compound_page writes each tail's struct page."""
    frame = state.frames[granule]
    frame["use"], frame["order"] = LIVE, order
    frame["movable"] = state.kind_movable[kind]
    if state.tails != 0:
        set_tails(state, granule, order)


@inlined
def set_tails(state, granule, order):
    for tail in range(granule + 1, granule + (np.int64(1) << order)):
        frame = state.frames[tail]
        frame["mapping"], frame["next"], frame["order"] = TAIL_MAPPING, granule + 1, 0


@inlined
def forget(state, granule, order):
    """free_pages_prepare: the block is live no more; the tails' fields are cleared."""
    state.frames[granule]["use"] = NO_HEAD
    if state.tails != 0:
        for tail in range(granule + 1, granule + (np.int64(1) << order)):
            frame = state.frames[tail]
            frame["mapping"], frame["next"] = 0, 0


@kernel
def head_of(state, granule):
    """First granule of the free, cached or live block that holds `granule`, or NONE."""
    for order in range(64):
        head = align_down(granule, order)
        frame = state.frames[head]
        if frame["use"] != NO_HEAD:
            return head if frame["order"] >= order else np.int64(NONE)
        if head == 0:
            break
    return np.int64(NONE)


@kernel
def live_head(state, granule):
    """First granule of the live block that holds `granule`, or NONE."""
    head = head_of(state, granule) if zone_of(state, granule) != NONE else np.int64(NONE)
    if head == NONE or state.frames[head]["use"] != LIVE:
        return np.int64(NONE)
    return head
