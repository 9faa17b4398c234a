"""The records of Linux's page allocator, and how a zone's numbers come from its size."""

from typing import NamedTuple

import numpy as np

from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped
from .memdesc import Memdescs
from .pages import StructPages

ORDER_MAX = 10  # MAX_PAGE_ORDER: 4 MiB of 4 KiB pages
UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC, CMA, ISOLATE = range(6)
TYPES = 6
PCP_TYPES = 3  # MIGRATE_PCPTYPES: those that have per-CPU lists, and merge with one another
NO_MARKS, ZONE_MARKS, ALL_MARKS = 0, 1, 2  # how far watermarks are kept

ZONE = np.dtype(
    [  # what every op reads is the first line
        ("start", "i8"),
        ("end", "i8"),
        ("free", "i8"),  # NR_FREE_PAGES: in the free lists; what per-CPU lists hold is not
        ("cma", "i8"),  # NR_FREE_CMA: how much of it is CMA's
        ("highatomic", "i8"),  # nr_free_highatomic: how much of it is reserved
        ("min", "i8"),  # watermarks, the zone's lowmem_reserve and its boost added
        ("low", "i8"),
        ("batch", "i8"),  # of the per-CPU lists
        ("high_min", "i8"),
        ("high_max", "i8"),
        ("managed", "i8"),  # granules in service
        ("reserve", "i8"),  # lowmem_reserve
        ("high", "i8"),  # the high watermark by itself
        ("boost", "i8"),  # watermark_boost
        ("reserved", "i8"),  # nr_reserved_highatomic
        ("unused", "i8"),
    ]
)
assert ZONE.itemsize == 128
LIST = np.dtype([("first", "i8"), ("last", "i8"), ("blocks", "i8")])
PCP = np.dtype(
    [  # struct per_cpu_pages, of a zone and CPU
        ("count", "i8"),  # granules it holds
        ("high", "i8"),  # it gives some back at so many
        ("free_count", "i8"),  # granules released lately, halved at each allocation
        ("alloc_factor", "i8"),  # log2 of how much the next refill grows, halved at each release
        ("freed_high_order", "i8"),  # PCPF_PREV_FREE_HIGH_ORDER
    ]
)
AREA = np.dtype(
    [  # struct cma
        ("base", "i8"),
        ("granules", "i8"),  # 0: there is none
        ("bit_order", "i8"),  # order_per_bit
    ]
)
ONLINE, POISONED = 0, 1  # places in `counts`
SERVED = 3  # place in `votes`


@state
class BuddyState(NamedTuple):
    lists: np.ndarray  # LIST[(zone * orders + order) * TYPES + type]
    pages: StructPages | Memdescs
    zones: np.ndarray  # ZONE[zone]  in order of trial
    types: np.ndarray  # u1[pageblock]  its migratetype
    votes: np.ndarray  # i4[pageblock, 4]  granules live at the start by type; in service
    pcps: np.ndarray  # PCP[zone * cpus + cpu]
    pcp_lists: np.ndarray  # LIST[(zone * cpus + cpu) * PCP_LISTS + index]
    counts: np.ndarray  # i8[2]  CPUs seen; failed granules
    area: np.ndarray  # AREA[1]
    claimed: np.ndarray  # u1[granule of the area]  1: a claim holds it
    kind_types: np.ndarray  # u1[kind]  migratetype of a request that tells none
    cpus: int  # with lists of their own; 0: none
    orders: int  # MAX_PAGE_ORDER + 1
    block_order: int  # of a pageblock
    page_shift: int
    migratetypes: int  # 0: all is MOVABLE
    watermarks: int
    area_granules: int  # wanted for CMA; 0: no area
    highatomic: int  # 0: no reserves
    boost: int  # 0: claims do not boost watermarks


PCP_LISTS = 14  # NR_PCP_LISTS: three types of orders 0 to 3, and two of the pageblock's order
COSTLY_ORDER = 3  # PAGE_ALLOC_COSTLY_ORDER
BATCH_SCALE_MAX = 5  # CONFIG_PCP_BATCH_SCALE_MAX
HIGH_FRACTION = 8  # high_max is an eighth of a zone's pages, shared by the CPUs


def new(
    zones: np.ndarray,
    kinds: np.ndarray,
    cpus: int,
    pages: StructPages | Memdescs,
    migratetypes: int,
    watermarks: int,
    order_max: int,
    page_shift: int,
    area_bytes: int,
    bit_order: int,
    highatomic: int,
    boost: int,
) -> BuddyState:
    """A state over `zones` with nothing in service."""
    granules = int(zones.max()) + 1
    block_order = min(page_shift - 3, order_max)  # pageblock_order: of a PMD, 8-byte entries
    lists, pcp_lists = (
        np.zeros(count, LIST)
        for count in (len(zones) * (order_max + 1) * TYPES, len(zones) * max(cpus, 1) * PCP_LISTS)
    )
    for each in (lists, pcp_lists):
        each["first"], each["last"] = NONE, NONE
    table = np.zeros(len(zones), ZONE)
    table["start"], table["end"] = zones[:, 0], zones[:, 1]
    types = mapped((granules >> block_order) + 1, "u1")
    area_granules = area_bytes >> page_shift >> block_order << block_order
    area = np.zeros(1, AREA)
    area["bit_order"] = min(bit_order, block_order)
    return BuddyState(
        lists, pages, table, types,
        mapped(len(types) * (SERVED + 1), "i4").reshape(-1, SERVED + 1),
        np.zeros(len(zones) * max(cpus, 1), PCP), pcp_lists, np.zeros(2, np.int64), area,
        mapped(area_granules + 1, "u1"),
        kinds["migratetype"].copy(),
        cpus, order_max + 1, block_order, page_shift, migratetypes, watermarks, area_granules,
        highatomic, boost,
    )  # fmt: skip


@inlined
def zone_of(state, granule):
    for zone in range(len(state.zones)):
        if state.zones[zone]["start"] <= granule < state.zones[zone]["end"]:
            return np.int64(zone)
    return np.int64(NONE)


@inlined
def type_of(state, granule):
    """get_pfnblock_migratetype: of the pageblock; XOR MOVABLE, as untouched memory is MOVABLE."""
    if state.migratetypes == 0:
        return np.int64(MOVABLE)
    return np.int64(state.types[granule >> state.block_order] ^ MOVABLE)


@kernel
def set_type(state, granule, order, migratetype):
    """change_pageblock_range: of all pageblocks that the block touches."""
    first = granule >> state.block_order
    last = (granule + (np.int64(1) << order) - 1) >> state.block_order
    for block in range(first, last + 1):
        state.types[block] = migratetype ^ MOVABLE


@inlined
def wanted_type(state, kind, group):
    """Migratetype of a request: as it says (1 and up), else as its kind usually is.

    1 + HIGHATOMIC: of order > 0 and must not wait, and so for the kernel's own use.
    """
    if state.migratetypes == 0:
        return np.int64(MOVABLE)
    if group > 0:
        return np.int64(group) - 1 if group <= PCP_TYPES else np.int64(UNMOVABLE)
    return np.int64(state.kind_types[kind])


@kernel
def measure_zones(state):
    """Watermarks and per-CPU limits from the zones' sizes, as after boot or memory hotplug.

    init_per_zone_wmark_min and khugepaged's set_recommended_min_freepages, __setup_per_zone_wmarks
    (watermark_scale_factor 10), setup_per_zone_lowmem_reserve (ratio 256), zone_batchsize,
    zone_highsize (high_min from the low watermark, high_max an eighth); nr_pcp_high holds `high` of
    the CPUs seen between the two.
    """
    total, populated = np.int64(0), np.int64(0)
    for zone in range(len(state.zones)):
        total += state.zones[zone]["managed"]
        populated += state.zones[zone]["managed"] > 0
    smallest = _min_free(state, total, populated)
    above, cpus = np.int64(0), max(state.counts[ONLINE], np.int64(1))
    for number in range(len(state.zones)):
        zone = state.zones[number]
        managed = np.int64(zone["managed"])
        lowest = smallest * managed // max(total, np.int64(1))
        low = lowest + max(lowest // 4, managed // 1000)
        zone["reserve"], zone["high"] = above // 256, 2 * low - lowest
        marks = zone["reserve"] + zone["boost"]
        zone["min"], zone["low"] = lowest + marks, low + marks
        above += managed
        batch = max(min(managed >> 10, np.int64(1 << 20 >> state.page_shift)) // 4, np.int64(1))
        power = np.int64(1)
        while power * 2 <= batch + batch // 2:
            power *= 2
        batch = max(power - 1, np.int64(1))
        zone["batch"] = batch
        zone["high_min"] = max(low // cpus, batch * 4)
        zone["high_max"] = max(managed // HIGH_FRACTION // cpus, batch * 4)
        for cpu in range(min(state.counts[ONLINE], state.cpus)):
            pcp = state.pcps[number * state.cpus + cpu]
            high = max(np.int64(pcp["high"]), np.int64(zone["high_min"]))
            pcp["high"] = min(high, np.int64(zone["high_max"]))


@kernel
def _min_free(state, total, populated):
    """min_free_kbytes, in granules; with transparent huge pages, as distributions have it."""
    kib_shift = state.page_shift - 10
    kib = total << kib_shift if kib_shift >= 0 else total >> -kib_shift
    usual = min(max(np.int64(np.sqrt(np.float64(16 * kib))), np.int64(128)), np.int64(262144))
    usual = usual >> kib_shift if kib_shift >= 0 else usual << -kib_shift
    huge = populated * (2 + PCP_TYPES * PCP_TYPES) << state.block_order
    return max(usual, min(huge, total // 20))


@inlined
def count_free(state, zone, granules, migratetype):
    """account_freepages: so many granules more (or less) are free; isolated ones are not."""
    if migratetype != ISOLATE:
        state.zones[zone]["free"] += granules
        if migratetype == CMA:
            state.zones[zone]["cma"] += granules
        elif migratetype == HIGHATOMIC:
            state.zones[zone]["highatomic"] += granules


@kernel
def boost_marks(state, zone):
    """boost_watermark: by a pageblock, up to 150 % of the high watermark; not in a small zone."""
    own, size = state.zones[zone], np.int64(1) << state.block_order
    if state.boost == 0 or own["managed"] < 4 * size or own["high"] == 0:
        return
    most = max(own["high"] * 3 // 2, size)
    _move_marks(own, min(own["boost"] + size, most) - own["boost"])


@kernel
def lower_marks(state):
    """What kswapd does when it has reclaimed enough: no mark is boosted any more."""
    for zone in range(len(state.zones)):
        _move_marks(state.zones[zone], -state.zones[zone]["boost"])


@inlined
def _move_marks(own, granules):
    own["boost"] += granules
    own["min"] += granules
    own["low"] += granules
