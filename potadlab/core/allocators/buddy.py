"""Linux's buddy allocator, as mm/page_alloc.c of Linux 6.12 (6.12.117); the code is our own.

Free lists per order and migratetype (`linux/lists.py`), fallback (`linux/fallback.py`), per-CPU
lists (`linux/percpu.py`), struct page with compound tails (`linux/pages.py`), zones with their
watermarks (`linux/state.py`).  Each can be switched off.  With memdesc (`linux/memdesc.py`) in
place of struct page it is what Linux plans to be.

Differences from Linux.  Every block of order > 0 is taken as compound (__GFP_COMP).  Zones are
tried in the order given, whatever gfp flags say; where there are several, ALLOC_NOFRAGMENT is set
at first, as for ZONE_NORMAL above ZONE_DMA32.  Nobody reclaims: below the low watermark the next
zone is tried, then the min watermark, and then (unless told to refuse) what is left is given.
Per-CPU lists are drained before anything is refused, and when a page in them fails, where Linux
gives up on that page.  The types of pageblocks at a warm start are inferred from what lives in
them, and free lists are in order of address, where a real machine's are shuffled by use.  Reserves
for requests that must not wait (`linux/highatomic.py`) need a caller that tells such: of recorded
traces none does, and the recorded machines had none.  Boosted watermarks are lowered by a drain,
which stands for kswapd's run; as nobody else lowers them, they are off unless asked for.  CPUs are
counted as they show up.  The order of a live block is kept at its head, where Linux keeps it for
compound pages only and otherwise trusts the caller.  A live page that fails leaves service at
release whatever the order (free_pages_prepare: order 0 only).  A pin is a count of its own, and a
pinned release a mark, where Linux counts one reference with the other.  A claim is one block
(alloc_pages): a power of two up to MAX_PAGE_ORDER.
"""

import numpy as np

from .. import interface
from .._jit import inlined, kernel
from ..bits import align_down, largest_order, trailing_zeros
from ..layout import NONE, PUT_OFF, Outcome
from ..linux import cma, highatomic, lists, memdesc, pages, percpu
from ..linux.memdesc import Memdescs
from ..linux.pages import CACHED, FREE, LIVE, NO_HEAD, StructPages
from ..linux.state import (
    ALL_MARKS,
    CMA,
    HIGHATOMIC,
    ISOLATE,
    MOVABLE,
    NO_MARKS,
    ONLINE,
    ORDER_MAX,
    PCP_LISTS,
    PCP_TYPES,
    POISONED,
    RECLAIMABLE,
    SERVED,
    TYPES,
    UNMOVABLE,
    ZONE_MARKS,
    BuddyState,
    lower_marks,
    measure_zones,
    type_of,
    wanted_type,
    zone_of,
)
from ..linux.state import new as new_state

CPUS = 8  # with lists of their own; a trace's further CPUs share them


def new(
    zones: np.ndarray,
    kinds: np.ndarray,
    pcp: int = CPUS,
    tails: int = 1,
    migratetypes: int = 1,
    watermarks: int = ZONE_MARKS,
    max_order: int = ORDER_MAX,
    page: int = 12,
    descriptor: str = "page",
    area: int = 0,
    bit_order: int = 0,
    highatomic: int = 1,
    boost: int = 0,
) -> BuddyState:
    """An allocator over `zones` (i8[n, 2], granules, in order of trial) with nothing in service.

    pcp: how many CPUs have lists of their own; page: log2 of a granule's bytes; descriptor: "page"
    (struct page) or "memdesc", which has no tails to write; area: bytes of a CMA area, whole
    pageblocks of it, each bit of its bitmap for 2**bit_order granules; highatomic: pageblocks are
    reserved for what must not wait; boost: claims of less than a pageblock boost the watermarks.
    """
    granules = int(zones.max()) + 1
    told: StructPages | Memdescs
    if descriptor == "memdesc":
        told = memdesc.new(granules, kinds)
    else:
        told = pages.new(granules, kinds, tails)
    return new_state(
        zones, kinds, pcp, told, migratetypes, watermarks, max_order, page, area, bit_order,
        highatomic, boost,
    )  # fmt: skip


# ---- the start ------------------------------------------------------------------------------


@interface.add.register
@kernel
def add(state: BuddyState, start, end):
    lists.give_range(state, start, end, True)  # __free_pages_core: FPI_TO_TAIL
    _manage(state, start, end)


@interface.adopt.register
@kernel
def adopt(state: BuddyState, granule, order, kind, owner):
    end = granule + (np.int64(1) << order)
    pages.describe(state.pages, granule, order, kind, owner)
    _manage(state, granule, end)
    while granule < end:
        block = granule >> state.block_order
        part = min(end, (block + 1) << state.block_order) - granule
        state.votes[block, min(state.kind_types[kind], PCP_TYPES - 1)] += part
        granule += part


@kernel
def _manage(state, start, end):
    while start < end:
        zone = state.zones[zone_of(state, start)]
        part = min(end, np.int64(zone["end"])) - start
        zone["managed"] += part
        _serve(state, start, start + part)
        start += part
    if state.counts[ONLINE] > 0:
        measure_zones(state)


@kernel
def _serve(state, start, end):
    if state.area_granules > 0:
        while start < end:
            block = start >> state.block_order
            part = min(end, (block + 1) << state.block_order) - start
            state.votes[block, SERVED] += part
            start += part


@kernel
def _bring_online(state, cpu):
    """The first op of a CPU; the very first of all also ends the start."""
    if state.counts[ONLINE] == 0 and state.migratetypes != 0:
        _infer_types(state)
        cma.declare(state)
    state.counts[ONLINE] = cpu + 1
    measure_zones(state)


@kernel
def _infer_types(state):
    """Give each pageblock the type that most of what lives in it at the start would ask for."""
    size = np.int64(1) << state.block_order
    for block in range(len(state.votes)):
        votes, start = state.votes[block], block << state.block_order
        most = np.int64(MOVABLE)
        for other in (UNMOVABLE, RECLAIMABLE):
            if votes[other] > votes[most]:
                most = np.int64(other)
        if most == MOVABLE:
            continue
        zone = zone_of(state, start)
        if zone != NONE and start + size <= state.zones[zone]["end"]:
            lists.move_block(state, zone, start, np.int64(MOVABLE), most)


# ---- allocate -------------------------------------------------------------------------------


@interface.allocate.register
@inlined
def allocate(state: BuddyState, order, kind, owner, granule, cpu, group):
    if cpu >= state.counts[ONLINE]:
        _bring_online(state, cpu)
    atomic = order > 0 and group == 1 + HIGHATOMIC and state.highatomic != 0
    atomic = atomic and state.watermarks != NO_MARKS
    found = _take(state, order, wanted_type(state, kind, group), cpu, atomic)
    if found != NONE:
        pages.describe(state.pages, found, order, kind, owner)
    return found


@inlined
def _take(state, order, migratetype, cpu, atomic):
    """get_page_from_freelist where its first zone serves at once, else all of it.

    atomic: ALLOC_HIGHATOMIC, from the min watermark on.
    """
    found = np.int64(NONE)
    zone = np.int64(0)
    mark = state.zones[zone]["low"]
    if order < state.orders and _above(state, zone, order, migratetype, mark, False):
        if percpu.has_list(state, order):
            number = cpu % state.cpus
            pcp = state.pcps[number]
            at = number * PCP_LISTS + percpu.index_of(order, migratetype)
            found = percpu.pop(state, at, pcp, order)
            if found != NONE:
                pcp["free_count"] >>= 1
                return found
        elif state.area_granules == 0:
            found = lists.smallest(state, zone, order, migratetype)
    if found == NONE:
        found = _take_anywhere(state, order, migratetype, cpu, atomic)
    return found


@inlined
def _above(state, zone, order, migratetype, mark, atomic):
    """zone_watermark_fast: enough is free, and a block of this order or more is among it.

    What is CMA's counts for movable requests only (ALLOC_CMA), what is reserved for atomic ones.
    """
    if state.watermarks == NO_MARKS:
        return True
    free = state.zones[zone]["free"]
    if state.area_granules > 0 and migratetype != MOVABLE:
        free -= state.zones[zone]["cma"]
    if not atomic:
        free -= state.zones[zone]["highatomic"]
    if free - (np.int64(1) << order) + 1 <= mark:
        return False
    if order == 0:
        return True
    for found in range(order, state.orders):
        for other in range(PCP_TYPES):
            if lists.list_of(state, zone, found, other)["first"] != NONE:
                return True
        if migratetype == MOVABLE and lists.list_of(state, zone, found, CMA)["first"] != NONE:
            return True
        if atomic and lists.list_of(state, zone, found, HIGHATOMIC)["first"] != NONE:
            return True
    return False


@kernel
def _take_anywhere(state, order, migratetype, cpu, atomic):
    """The passes over the zones: low watermark, min watermark, none; then what is held back.

    That is per-CPU lists, and reserved pageblocks one after the other.
    """
    if order >= state.orders:
        return np.int64(NONE)
    first = 2 if state.watermarks == NO_MARKS else 0
    last = 1 if state.watermarks == ALL_MARKS else 2
    for level in range(first, last + 1):
        found = _take_above(state, order, migratetype, cpu, level, atomic and level > 0)
        if found != NONE:
            return found
    found = np.int64(NONE)
    if percpu.drain_all(state) > 0:
        found = _take_above(state, order, migratetype, cpu, last, atomic)
    while found == NONE and highatomic.unreserve(state, migratetype):
        found = _take_above(state, order, migratetype, cpu, last, atomic)
    return found


@kernel
def _take_above(state, order, migratetype, cpu, level, atomic):
    """One pass, level 0: above the low watermark, 1: min, 2: whatever is free.

    Where there are several zones, whole pageblocks are taken over before anything is stolen
    (ALLOC_NOFRAGMENT).
    """
    for whole_blocks in (True, False):
        if whole_blocks and (len(state.zones) == 1 or state.migratetypes == 0):
            continue
        for zone in range(len(state.zones)):
            own = state.zones[zone]
            mark = own["low"] if level == 0 else _min_mark(own, order, atomic)
            if level < 2 and not _above(state, zone, order, migratetype, mark, atomic):
                continue
            found = _take_from(state, zone, order, migratetype, cpu, whole_blocks, atomic)
            if found != NONE:
                if atomic:
                    highatomic.reserve(state, zone, found)
                return found
    return np.int64(NONE)


@inlined
def _min_mark(own, order, atomic):
    """The min watermark: single pages ignore its boost; ALLOC_MIN_RESERVE, ALLOC_NON_BLOCK."""
    mark = own["min"] - own["reserve"]
    if atomic:
        mark -= mark // 2
        mark -= mark // 4
    elif order == 0:
        mark -= own["boost"]
    return mark + own["reserve"]


@kernel
def _take_from(state, zone, order, migratetype, cpu, whole_blocks, atomic):
    """rmqueue: from the CPU's list, refilled if it is empty, or from the zone's.

    An atomic request takes what is reserved, but not before the CPU's list.
    """
    found = np.int64(NONE)
    if percpu.has_list(state, order):
        found = _take_cached(state, zone, order, migratetype, cpu, whole_blocks)
    if found == NONE and atomic:
        found = lists.smallest(state, zone, order, np.int64(HIGHATOMIC))
    if found == NONE and not percpu.has_list(state, order):
        one = np.int64(1)
        return percpu.refill(state, zone, order, migratetype, whole_blocks, one, np.int64(NONE))
    return found


@kernel
def _take_cached(state, zone, order, migratetype, cpu, whole_blocks):
    """rmqueue_pcplist."""
    number = zone * state.cpus + cpu % state.cpus
    pcp = state.pcps[number]
    pcp["free_count"] >>= 1
    at = number * PCP_LISTS + percpu.index_of(order, migratetype)
    if state.pcp_lists[at]["first"] == NONE:
        count = percpu.refill_count(state, zone, pcp, order)
        count = percpu.refill(state, zone, order, migratetype, whole_blocks, count, at)
        pcp["count"] += count << order
    return percpu.pop(state, at, pcp, order)


# ---- release --------------------------------------------------------------------------------


@interface.release.register
@inlined
def release(state: BuddyState, granule, cpu):
    if cpu >= state.counts[ONLINE]:
        _bring_online(state, cpu)
    if pages.use_of(state.pages, granule) != LIVE or pages.released(state.pages, granule):
        return np.int64(NONE)
    if pages.pins_of(state.pages, granule) > 0:
        pages.set_released(state.pages, granule, 1)
        return np.int64(PUT_OFF)
    order = pages.order_of(state.pages, granule)
    pages.forget(state.pages, granule, order)
    if state.area_granules > 0:
        cma.give_up(state, granule, order)
    if state.counts[POISONED] > 0 and _give_but_poison(state, granule, order):
        return order
    _put_back(state, granule, order, cpu)
    return order


@inlined
def _put_back(state, granule, order, cpu):
    """free_unref_page, or straight to the zone's lists where there is none for the order."""
    zone = zone_of(state, granule)
    if percpu.has_list(state, order):
        percpu.push(state, zone, cpu % state.cpus, granule, order)
    else:
        _give(state, zone, granule, order)


@inlined
def _give(state, zone, granule, order):
    """split_large_buddy: what is larger than a pageblock is freed by pageblock."""
    part = min(order, np.int64(state.block_order))
    for piece in range(granule, granule + (np.int64(1) << order), np.int64(1) << part):
        lists.give(state, zone, piece, part, False)


@kernel
def _give_but_poison(state, granule, order):
    """Free a block but for failed pages, which never reach a list; False if there are none."""
    end, start, clean = granule + (np.int64(1) << order), granule, True
    for page in range(granule, end):
        if pages.poisoned(state.pages, page):
            lists.give_range(state, start, page, False)
            start, clean = page + 1, False
    if not clean:
        lists.give_range(state, start, end, False)
    return not clean


@interface.drain.register
@kernel
def drain(state: BuddyState):
    lower_marks(state)
    return percpu.drain_all(state)


# ---- live blocks ----------------------------------------------------------------------------


@interface.split.register
@kernel
def split(state: BuddyState, granule, order):
    whole_order = pages.order_of(state.pages, granule)
    if pages.use_of(state.pages, granule) != LIVE or whole_order < order:
        return np.int64(NONE)
    if pages.pins_of(state.pages, granule) > 0:
        return np.int64(NONE)
    pages.cut(state.pages, granule, whole_order, order)
    return whole_order


@interface.pin.register
@kernel
def pin(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head == NONE or pages.released(state.pages, head):
        return np.int64(Outcome.ABSENT)
    if pages.pins_of(state.pages, head) == NONE or cma.claimed(state, head):
        return np.int64(Outcome.IGNORED)  # memdesc's type Misc counts nothing; VM_PFNMAP
    pages.add_pins(state.pages, head, 1)
    return np.int64(Outcome.DONE)


@kernel
def _live_head(state, granule):
    """First granule of the live block that holds `granule`, or NONE."""
    inside = zone_of(state, granule) != NONE
    head = pages.head_of(state.pages, granule) if inside else np.int64(NONE)
    if head == NONE or pages.use_of(state.pages, head) != LIVE:
        return np.int64(NONE)
    return head


@interface.unpin.register
@kernel
def unpin(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head == NONE or pages.pins_of(state.pages, head) <= 0:
        return np.int64(Outcome.ABSENT), np.int64(NONE)
    pages.add_pins(state.pages, head, -1)
    if pages.pins_of(state.pages, head) > 0 or not pages.released(state.pages, head):
        return np.int64(Outcome.DONE), np.int64(NONE)
    pages.set_released(state.pages, head, 0)
    return np.int64(Outcome.RELEASED), interface.release(state, head, np.int64(0))


@interface.claim.register
@kernel
def claim(state: BuddyState, granules, align_order, kind, owner, moves):
    if state.area_granules > 0:
        return _claim_from_area(state, granules, align_order, kind, owner, moves)
    order = trailing_zeros(np.uint64(granules))
    if granules != np.int64(1) << order or order >= state.orders:
        return np.int64(NONE), np.int64(0), order, np.int64(0)  # no block of Linux's has that size
    found = interface.allocate(state, order, kind, owner, np.int64(NONE), np.int64(0), np.int64(0))
    return found, np.int64(1), order, np.int64(0)


@kernel
def _claim_from_area(state, granules, align_order, kind, owner, moves):
    """cma_alloc: first fit in the bitmap; a busy range is skipped, one step of alignment on.

    Each range that is tried is a step.  Memory in the way is moved one block after the other, as
    the lock (cma_mutex) lets one claim do it at a time.
    """
    if state.counts[ONLINE] == 0:
        _bring_online(state, np.int64(0))
    order, steps, bit = trailing_zeros(np.uint64(granules)), np.int64(0), np.int64(0)
    if state.area[0]["granules"] == 0:  # there was no room for it
        return np.int64(NONE), steps, order, np.int64(0)
    percpu.drain_all(state)
    while True:
        bit, start = cma.find(state, granules, align_order, bit)
        if start == NONE:
            return np.int64(NONE), max(steps, np.int64(1)), order, np.int64(0)
        steps = min(steps + 1, np.int64(255))  # EVENT has a byte for it
        if not cma.busy(state, start, granules, len(moves) > 0):
            break
        bit += cma.step(state, align_order)
    cma.isolate(state, start, granules, CMA, ISOLATE)
    moved = _move_out(state, start, start + granules, moves)
    if moved < 0:  # no place for one of them: -ENOMEM ends it at once
        cma.isolate(state, start, granules, ISOLATE, CMA)
        return np.int64(NONE), steps, order, -moved - 1
    cma.take(state, start, granules)
    cma.isolate(state, start, granules, ISOLATE, CMA)
    order = largest_order(start, np.int64(1) << order)
    for chunk in range(start, start + granules, np.int64(1) << order):
        pages.describe(state.pages, chunk, order, kind, owner)
    return start, steps, order, moved


@kernel
def _move_out(state, start, end, moves):
    """migrate_pages: all live blocks of a range, lowest first; how many, or -1 - how many before
    there was no place for one.
    """
    moved, granule = np.int64(0), cma.first_head(state, start)
    while granule < end:
        if pages.use_of(state.pages, granule) != LIVE:
            granule += 1
            continue
        order = pages.order_of(state.pages, granule)
        to = _take(state, order, np.int64(MOVABLE), np.int64(0), False)
        if to == NONE:
            return -1 - moved
        pages.move(state.pages, granule, to, order)
        moves[moved]["granule"], moves[moved]["to"], moves[moved]["order"] = granule, to, order
        moved += 1
        _give(state, zone_of(state, granule), granule, order)
        granule += np.int64(1) << order
    return moved


@interface.migrate.register
@kernel
def migrate(state: BuddyState, granule):
    if _live_head(state, granule) != granule:
        return np.int64(NONE), np.int64(Outcome.ABSENT)
    order = pages.order_of(state.pages, granule)
    if cma.stays(state, granule, order):
        return np.int64(NONE), np.int64(Outcome.UNMOVABLE)
    if state.counts[ONLINE] == 0:
        _bring_online(state, np.int64(0))
    to = _take(state, order, np.int64(MOVABLE), np.int64(0), False)
    if to == NONE:
        return np.int64(NONE), np.int64(Outcome.REFUSED)
    pages.move(state.pages, granule, to, order)
    _put_back(state, granule, order, np.int64(0))
    return to, np.int64(Outcome.DONE)


@interface.holder.register
@kernel
def holder(state: BuddyState, granule):
    head = _live_head(state, granule)
    if head == NONE:
        return np.int64(NONE), np.int64(0)
    return head, pages.order_of(state.pages, head)


# ---- failed memory --------------------------------------------------------------------------


@interface.fail.register
@kernel
def fail(state: BuddyState, granule):
    zone = zone_of(state, granule)
    if zone == NONE:
        return np.int64(Outcome.OUTSIDE)
    if pages.poisoned(state.pages, granule):
        return np.int64(Outcome.POISONED_BEFORE)
    head = pages.head_of(state.pages, granule)
    if head == NONE:
        return np.int64(Outcome.OUTSIDE)
    if pages.use_of(state.pages, head) == CACHED:
        percpu.drain_all(state)
        head = pages.head_of(state.pages, granule)
    state.counts[POISONED] += 1
    if pages.use_of(state.pages, head) == LIVE:
        pages.set_poisoned(state.pages, granule, 1)
        return np.int64(Outcome.POISONED_LIVE)
    lists.take_off(state, zone, granule, head)
    pages.set_poisoned(state.pages, granule, 1)
    return np.int64(Outcome.POISONED_FREE)


@interface.unpoison.register
@kernel
def unpoison(state: BuddyState, granule):
    zone = zone_of(state, granule)
    if zone == NONE or not pages.poisoned(state.pages, granule):
        return np.int64(Outcome.IGNORED)
    pages.set_poisoned(state.pages, granule, 0)
    state.counts[POISONED] -= 1
    if pages.head_of(state.pages, granule) != NONE:
        return np.int64(Outcome.POISONED_LIVE)
    lists.give(state, zone, granule, np.int64(0), False)
    return np.int64(Outcome.DONE)


# ---- invariants -----------------------------------------------------------------------------


@interface.check.register
@kernel
def check(state: BuddyState):
    for zone in range(len(state.zones)):
        free, in_area, kept = np.int64(0), np.int64(0), np.int64(0)
        for order in range(state.orders):
            for migratetype in range(TYPES):
                here = lists.list_of(state, zone, order, migratetype)
                blocks = _check_list(state, zone, here, FREE, order, migratetype)
                assert blocks == 0 or migratetype != ISOLATE
                free += blocks << order
                in_area += blocks << order if migratetype == CMA else 0
                kept += blocks << order if migratetype == HIGHATOMIC else 0
        assert free == state.zones[zone]["free"]
        assert in_area == state.zones[zone]["cma"]
        assert kept == state.zones[zone]["highatomic"] <= state.zones[zone]["reserved"]
        for cpu in range(state.cpus):
            _check_pcp(state, zone, zone * state.cpus + cpu)
    _check_area(state)


@kernel
def _check_pcp(state, zone, number):
    held = np.int64(0)
    for index in range(PCP_LISTS):
        order = index // PCP_TYPES if index < PCP_LISTS - 2 else state.block_order
        here = state.pcp_lists[number * PCP_LISTS + index]
        held += _check_list(state, zone, here, CACHED, order, np.int64(NONE)) << order
    assert held == state.pcps[number]["count"]


@kernel
def _check_area(state):
    """What is claimed is live."""
    own = state.area[0]
    for at in range(own["granules"]):
        granule = own["base"] + at
        assert type_of(state, granule) == CMA
        if state.claimed[at] != 0:
            head = pages.head_of(state.pages, granule)
            assert pages.use_of(state.pages, head) == LIVE


@kernel
def _check_list(state, zone, here, use, order, migratetype):
    """How many blocks it has, each as the list says; migratetype NONE: any."""
    blocks, granule, before = np.int64(0), np.int64(here["first"]), np.int64(NONE)
    while granule != NONE:
        assert pages.use_of(state.pages, granule) == use
        assert pages.order_of(state.pages, granule) == order
        assert pages.prev_of(state.pages, granule) == before
        assert granule == align_down(granule, order)
        assert zone_of(state, granule) == zone
        assert migratetype == NONE or type_of(state, granule) == migratetype
        for page in range(granule + 1, granule + (np.int64(1) << order)):
            assert pages.use_of(state.pages, page) == NO_HEAD
        after = pages.next_of(state.pages, granule)
        blocks, before, granule = blocks + 1, granule, after
    assert before == here["last"]
    assert blocks == here["blocks"]
    return blocks
