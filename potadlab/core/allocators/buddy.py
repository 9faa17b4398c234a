"""Linux's buddy allocator, its core: a free list per order and zone, threaded through struct page.

Orders 0 .. MAX_PAGE_ORDER (10).  As mm/page_alloc.c of Linux 6.12: __rmqueue_smallest takes the
head of the first list that is not empty, expand puts the upper halves at the head of theirs,
__free_one_page merges with the buddy while it can, and buddy_merge_likely chooses the tail.
take_page_off_buddy is `fail` for a free page.  Facts only; the code is our own.

Differences from Linux: no migratetypes (so no fallback), no per-CPU lists, no compound tails, no
watermarks; gfp zone limits are ignored, every request tries the zones from the top down.  A warm
start has its free lists in order of address, where a real machine's are shuffled by use.  The
order of a live block is kept at its head, where Linux keeps it for compound pages only and
otherwise trusts the caller.  A live page that fails leaves service at release whatever the order
(free_pages_prepare: order 0 only).  A pin is a count of its own, and a pinned release a mark,
where Linux counts one reference with the other.  A migration moves what it is told to: it knows no
kinds, whoever asks must.  A claim is one block (alloc_pages): a power of
two up to MAX_PAGE_ORDER; others are not tried, as CMA is not here.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel
from ..bits import align_down, buddy_of, largest_order, trailing_zeros
from ..layout import NONE, PUT_OFF, Outcome
from ..mapped import mapped

ORDER_MAX = 10  # MAX_PAGE_ORDER: 4 MiB of 4 KiB pages

_FIELDS = {  # where Linux 6.12 (x86-64) has them
    "next": ("i8", 8),  # buddy_list: following free block of the same order, or NONE
    "prev": ("i8", 16),
    "order": ("i1", 40),  # private: of the block that starts here
    "use": ("i1", 48),  # page_type: one of the three below
    "poisoned": ("i1", 49),  # PG_hwpoison
    "released": ("i1", 50),  # pinned, and released meanwhile
    "pins": ("i4", 52),  # refcount, but for the owner's own
}
FRAME = np.dtype(  # one per granule, 64 bytes: struct page
    {
        "names": list(_FIELDS),
        "formats": [format for format, _ in _FIELDS.values()],
        "offsets": [offset for _, offset in _FIELDS.values()],
        "itemsize": 64,
    }
)
NO_HEAD, FREE, LIVE = 0, 1, 2

AREA = np.dtype([("first", "i8"), ("last", "i8"), ("blocks", "i8")])  # free_area of a zone


class BuddyState(NamedTuple):
    areas: np.ndarray  # AREA[zone * (ORDER_MAX + 1) + order]
    frames: np.ndarray  # FRAME[granule]
    zones: np.ndarray  # i8[zone, 2]  start and end, in granules, in order of trial


def new(zones: np.ndarray, kinds: np.ndarray) -> BuddyState:
    """An allocator over `zones` with nothing in service; the records of `kinds` are not Linux's."""
    areas = np.zeros(len(zones) * (ORDER_MAX + 1), AREA)
    areas["first"], areas["last"] = NONE, NONE
    return BuddyState(areas, mapped(int(zones.max()) + 1, FRAME), zones.astype(np.int64))


@interface.add.register
@kernel
def add(state: BuddyState, start, end):
    _give_range(state, start, end, True)  # __free_pages_core: FPI_TO_TAIL, lowest address first


@kernel
def _give_range(state, start, end, to_tail):
    while start < end:
        zone = _zone_of(state, start)
        room = min(end, state.zones[zone, 1]) - start
        order = min(largest_order(start, room), np.int64(ORDER_MAX))
        _give(state, zone, start, order, to_tail)
        start += np.int64(1) << order


@interface.adopt.register
@kernel
def adopt(state: BuddyState, granule, order, kind, owner):
    frame = state.frames[granule]
    frame["use"], frame["order"] = LIVE, order


@interface.allocate.register
@inlined
def allocate(state: BuddyState, order, kind, owner, granule, cpu, group):
    for zone in range(len(state.zones)):
        found = _smallest(state, zone, order)
        if found != NONE:
            return found
    return np.int64(NONE)


@inlined
def _smallest(state, zone, order):
    """__rmqueue_smallest and expand: the head of the first list that can serve."""
    for found in range(order, ORDER_MAX + 1):
        granule = _area(state, zone, found)["first"]
        if granule == NONE:
            continue
        _unlink(state, zone, granule, found)
        while found > order:  # give the upper halves back
            found -= 1
            _push(state, zone, granule + (np.int64(1) << found), found)
        frame = state.frames[granule]
        frame["use"], frame["order"] = LIVE, order
        return granule
    return np.int64(NONE)


@interface.release.register
@inlined
def release(state: BuddyState, granule, cpu):
    frame = state.frames[granule]
    if frame["use"] != LIVE or frame["released"] != 0:
        return np.int64(NONE)
    if frame["pins"] > 0:
        frame["released"] = 1
        return np.int64(PUT_OFF)
    order = np.int64(frame["order"])
    frame["use"] = NO_HEAD
    zone = _zone_of(state, granule)
    end, start = granule + (np.int64(1) << order), granule
    if order == 0 and frame["poisoned"] == 0:
        _give(state, zone, granule, order, False)
        return order
    clean = True
    for page in range(granule, end):  # poisoned pages never reach a list
        if state.frames[page]["poisoned"] != 0:
            _give_range(state, start, page, False)
            start, clean = page + 1, False
    if clean and order <= ORDER_MAX:
        _give(state, zone, granule, order, False)
    else:
        _give_range(state, start, end, False)
    return order


@interface.split.register
@kernel
def split(state: BuddyState, granule, order):
    frame = state.frames[granule]
    whole_order = np.int64(frame["order"])
    if frame["use"] != LIVE or whole_order < order or frame["pins"] > 0:
        return np.int64(NONE)
    for piece in range(granule, granule + (np.int64(1) << whole_order), np.int64(1) << order):
        frame = state.frames[piece]
        frame["use"], frame["order"] = LIVE, order
    return whole_order


@interface.pin.register
@kernel
def pin(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head == NONE or state.frames[head]["released"] != 0:
        return np.int64(Outcome.ABSENT)
    state.frames[head]["pins"] += 1
    return np.int64(Outcome.DONE)


@interface.unpin.register
@kernel
def unpin(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head == NONE or state.frames[head]["pins"] == 0:
        return np.int64(Outcome.ABSENT), np.int64(NONE)
    frame = state.frames[head]
    frame["pins"] -= 1
    if frame["pins"] > 0 or frame["released"] == 0:
        return np.int64(Outcome.DONE), np.int64(NONE)
    frame["released"] = 0
    return np.int64(Outcome.RELEASED), interface.release(state, head, np.int64(0))


@interface.claim.register
@kernel
def claim(state: BuddyState, granules, align_order, kind, owner, moves):
    order = trailing_zeros(np.uint64(granules))
    if granules != np.int64(1) << order or order > ORDER_MAX:
        return np.int64(NONE), np.int64(0), order, np.int64(0)  # no block of Linux's has that size
    found = interface.allocate(state, order, kind, owner, np.int64(NONE), np.int64(0), np.int64(0))
    return found, np.int64(1), order, np.int64(0)


@interface.migrate.register
@kernel
def migrate(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head != granule or state.frames[head]["released"] != 0:
        return np.int64(NONE), np.int64(Outcome.ABSENT)
    order, none = np.int64(state.frames[head]["order"]), np.int64(NONE)
    stays = state.frames[head]["pins"] > 0
    for page in range(head, head + (np.int64(1) << order)):
        stays = stays or state.frames[page]["poisoned"] != 0
    if stays:
        return none, np.int64(Outcome.UNMOVABLE)
    found = interface.allocate(state, order, none, none, none, np.int64(0), np.int64(0))
    if found == NONE:
        return none, np.int64(Outcome.REFUSED)
    interface.release(state, head, np.int64(0))
    return found, np.int64(Outcome.DONE)


@interface.drain.register
@kernel
def drain(state: BuddyState):
    return np.int64(0)


@interface.fail.register
@kernel
def fail(state: BuddyState, granule):
    zone = _zone_of(state, granule)
    if zone == NONE:
        return np.int64(Outcome.OUTSIDE)
    if state.frames[granule]["poisoned"] != 0:
        return np.int64(Outcome.POISONED_BEFORE)
    head = _head_of(state, granule)
    if head == NONE:
        return np.int64(Outcome.OUTSIDE)
    state.frames[granule]["poisoned"] = 1
    frame = state.frames[head]
    if frame["use"] == LIVE:
        return np.int64(Outcome.POISONED_LIVE)
    order = np.int64(frame["order"])
    _unlink(state, zone, head, order)
    while order > 0:  # break_down_buddy_pages: keep splitting the half that holds it
        order -= 1
        half = head + (np.int64(1) << order)
        if granule >= half:
            _push(state, zone, head, order)
            head = half
        else:
            _push(state, zone, half, order)
    return np.int64(Outcome.POISONED_FREE)


@interface.unpoison.register
@kernel
def unpoison(state: BuddyState, granule):
    zone = _zone_of(state, granule)
    if zone == NONE or state.frames[granule]["poisoned"] == 0:
        return np.int64(Outcome.IGNORED)
    state.frames[granule]["poisoned"] = 0
    if _head_of(state, granule) != NONE:
        return np.int64(Outcome.POISONED_LIVE)
    _give(state, zone, granule, np.int64(0), False)
    return np.int64(Outcome.DONE)


@interface.check.register
@kernel
def check(state: BuddyState):
    for zone in range(len(state.zones)):
        for order in range(ORDER_MAX + 1):
            area = _area(state, zone, order)
            blocks, granule, before = np.int64(0), np.int64(area["first"]), np.int64(NONE)
            while granule != NONE:
                frame = state.frames[granule]
                assert frame["use"] == FREE
                assert frame["order"] == order
                assert frame["prev"] == before
                assert granule == align_down(granule, order)
                assert _zone_of(state, granule) == zone
                blocks, before, granule = blocks + 1, granule, np.int64(frame["next"])
            assert before == area["last"]
            assert blocks == area["blocks"]


@inlined
def _area(state, zone, order):
    return state.areas[zone * (ORDER_MAX + 1) + order]


@inlined
def _zone_of(state, granule):
    for zone in range(len(state.zones)):
        if state.zones[zone, 0] <= granule < state.zones[zone, 1]:
            return np.int64(zone)
    return np.int64(NONE)


@kernel
def _live_head(state, granule):
    """First granule of the live block that holds `granule`, or NONE."""
    head = _head_of(state, granule) if _zone_of(state, granule) != NONE else np.int64(NONE)
    if head == NONE or state.frames[head]["use"] != LIVE:
        return np.int64(NONE)
    return head


@kernel
def _head_of(state, granule):
    """First granule of the free or live block that holds `granule`, or NONE."""
    for order in range(64):
        head = align_down(granule, order)
        frame = state.frames[head]
        if frame["use"] != NO_HEAD:
            return head if frame["order"] >= order else np.int64(NONE)
        if head == 0:
            break
    return np.int64(NONE)


@inlined
def _is_free(state, zone, granule, order):
    if not state.zones[zone, 0] <= granule < state.zones[zone, 1]:
        return False
    frame = state.frames[granule]
    return frame["use"] == FREE and frame["order"] == order


@inlined
def _give(state, zone, granule, order, to_tail):
    """__free_one_page: merge with the buddy while it is free and of the same order."""
    while order < ORDER_MAX:
        buddy = buddy_of(granule, order)
        if not _is_free(state, zone, buddy, order):
            break
        _unlink(state, zone, buddy, order)
        order += 1
        granule = align_down(granule, order)
    above = align_down(granule, order + 1)
    merge_likely = order < ORDER_MAX - 1 and _is_free(
        state, zone, buddy_of(above, order + 1), order + 1
    )
    if to_tail or merge_likely:
        _push_last(state, zone, granule, order)
    else:
        _push(state, zone, granule, order)


@inlined
def _push(state, zone, granule, order):
    area, frame = _area(state, zone, order), state.frames[granule]
    first = area["first"]
    frame["next"], frame["prev"] = first, NONE
    frame["use"], frame["order"] = FREE, order
    if first == NONE:
        area["last"] = granule
    else:
        state.frames[first]["prev"] = granule
    area["first"] = granule
    area["blocks"] += 1


@inlined
def _push_last(state, zone, granule, order):
    area, frame = _area(state, zone, order), state.frames[granule]
    last = area["last"]
    if last == NONE:
        _push(state, zone, granule, order)
        return
    frame["next"], frame["prev"] = NONE, last
    frame["use"], frame["order"] = FREE, order
    state.frames[last]["next"] = granule
    area["last"] = granule
    area["blocks"] += 1


@inlined
def _unlink(state, zone, granule, order):
    area, frame = _area(state, zone, order), state.frames[granule]
    before, after = frame["prev"], frame["next"]
    if before == NONE:
        area["first"] = after
    else:
        state.frames[before]["next"] = after
    if after == NONE:
        area["last"] = before
    else:
        state.frames[after]["prev"] = before
    frame["use"] = NO_HEAD
    area["blocks"] -= 1
