"""Per-CPU lists: struct per_cpu_pages of each zone, orders 0 to 3 and the pageblock's.

`rmqueue_pcplist`, `nr_pcp_alloc`, `free_unref_page_commit`, `nr_pcp_high`, `nr_pcp_free`,
`free_pcppages_bulk`.  The lock is never contended here.  `high` does not decay by time (vmstat's
decay_pcp_high), and no reclaim lowers it (ZONE_RECLAIM_ACTIVE, ZONE_BELOW_HIGH): an allocator
sees neither clock nor kswapd.  PCPF_FREE_HIGH_BATCH is taken as set, as it is where a CPU's share
of the data cache holds more than three batches: 756 KiB, with batches of 63.
"""

import numpy as np

from .._jit import inlined, kernel
from ..layout import NONE
from . import chain
from .fallback import claim_block, steal
from .lists import give, smallest
from .pages import CACHED
from .state import (
    BATCH_SCALE_MAX,
    CMA,
    COSTLY_ORDER,
    MOVABLE,
    PCP_LISTS,
    PCP_TYPES,
    type_of,
)


@inlined
def has_list(state, order):
    """pcp_allowed_order."""
    return state.cpus > 0 and (order <= COSTLY_ORDER or order == state.block_order)


@inlined
def index_of(order, migratetype):
    """order_to_pindex; CMA's and HIGHATOMIC's pages lie among the movable ones."""
    known = migratetype if migratetype < PCP_TYPES else np.int64(MOVABLE)
    if order > COSTLY_ORDER:
        return np.int64(PCP_TYPES * (COSTLY_ORDER + 1) + (known == MOVABLE))
    return PCP_TYPES * order + known


@inlined
def _order_at(state, index):
    last = PCP_TYPES * (COSTLY_ORDER + 1)
    return np.int64(index // PCP_TYPES) if index < last else np.int64(state.block_order)


@inlined
def pop(state, at, pcp, order):
    """The block at the head of pcp_lists[at], or NONE."""
    here = state.pcp_lists[at]
    granule = np.int64(here["first"])
    if granule != NONE:
        chain.unlink(state.pages, here, granule)
        pcp["count"] -= np.int64(1) << order
    return granule


@inlined
def push(state, zone, cpu, granule, order):
    """free_unref_page_commit: to the head of its list; some go back if there are too many now."""
    number = zone * state.cpus + cpu
    pcp = state.pcps[number]
    pcp["alloc_factor"] >>= 1
    index = index_of(order, type_of(state, granule))
    here = state.pcp_lists[number * PCP_LISTS + index]
    chain.push(state.pages, here, granule, CACHED, order)
    pcp["count"] += np.int64(1) << order
    batch = state.zones[zone]["batch"]
    high_order = order > 0 and order <= COSTLY_ORDER
    all_back = high_order and pcp["free_count"] >= batch and pcp["freed_high_order"] != 0
    all_back = all_back and pcp["count"] >= batch
    pcp["freed_high_order"] = high_order
    if pcp["free_count"] < batch << BATCH_SCALE_MAX:
        pcp["free_count"] += np.int64(1) << order
    if all_back or pcp["count"] >= pcp["high"]:
        _trim(state, zone, cpu, index, all_back)


@kernel
def _trim(state, zone, cpu, index, all_back):
    """nr_pcp_high and nr_pcp_free: how many are too many, and back with them."""
    pcp, own = state.pcps[zone * state.cpus + cpu], state.zones[zone]
    batch, high = np.int64(own["batch"]), np.int64(pcp["high"])
    most = batch << BATCH_SCALE_MAX
    if all_back:
        pcp["high"] = max(high - most, np.int64(own["high_min"]))
        give_back(state, zone, cpu, min(np.int64(pcp["count"]), most), index)
        return
    if own["high_min"] != own["high_max"]:
        needed = np.int64(pcp["free_count"]) + batch
        if high < needed:
            pcp["high"] = min(max(needed, np.int64(own["high_min"])), np.int64(own["high_max"]))
    count = np.int64(1)
    if high >= batch:
        count = min(max(np.int64(pcp["free_count"]), batch), max(high - batch, batch))
    give_back(state, zone, cpu, count, index)


@kernel
def give_back(state, zone, cpu, count, index):
    """free_pcppages_bulk: `count` granules from the tails, round robin from list `index` on.

    Returns how many blocks.
    """
    number = zone * state.cpus + cpu
    pcp, blocks = state.pcps[number], np.int64(0)
    count, index = min(np.int64(pcp["count"]), count), index - 1
    while count > 0:
        index = index + 1 if index + 1 < PCP_LISTS else np.int64(0)
        here, order = state.pcp_lists[number * PCP_LISTS + index], _order_at(state, index)
        while count > 0 and here["last"] != NONE:
            granule = np.int64(here["last"])
            chain.unlink(state.pages, here, granule)
            pcp["count"] -= np.int64(1) << order
            count -= np.int64(1) << order
            blocks += 1
            give(state, zone, granule, order, False)
    return blocks


@kernel
def drain_all(state):
    """drain_all_pages; returns how many blocks went back."""
    blocks = np.int64(0)
    for zone in range(len(state.zones)):
        for cpu in range(state.cpus):
            count = np.int64(state.pcps[zone * state.cpus + cpu]["count"])
            blocks += give_back(state, zone, cpu, count, np.int64(0))
    return blocks


@kernel
def refill_count(state, zone, pcp, order):
    """nr_pcp_alloc: how many blocks to take from the zone at once."""
    own = state.zones[zone]
    batch, high_max = np.int64(own["batch"]), np.int64(own["high_max"])
    high = np.int64(pcp["high"])
    if high < batch:
        return np.int64(1)
    count = batch if order > 0 else batch << pcp["alloc_factor"]
    if own["high_min"] != high_max:
        high = min(high + count, high_max)
        pcp["high"] = high
    if order == 0:
        most = max(high - np.int64(pcp["count"]) - batch, batch)
        if count <= most and pcp["alloc_factor"] < BATCH_SCALE_MAX:
            pcp["alloc_factor"] += 1
        count = min(count, most)
    return max(count >> order, np.int64(2)) if count > 1 else count


@kernel
def refill(state, zone, order, migratetype, whole_blocks, count, at):
    """rmqueue_bulk: `count` blocks from the zone to the tail of pcp_lists[at]; how many it were.

    at NONE: one block, which is returned.  whole_blocks: ALLOC_NOFRAGMENT, take over pageblocks
    only, steal nothing.  Once it steals, it steals the rest (rmqueue_mode).
    """
    stealing, order_min = False, order
    if whole_blocks and order < state.block_order:
        order_min = np.int64(state.block_order)
    for done in range(count):
        granule = np.int64(NONE)
        if not stealing:
            if state.area_granules > 0 and migratetype == MOVABLE:
                granule = _balanced(state, zone, order)
            else:
                granule = smallest(state, zone, order, migratetype)
            if granule == NONE and state.migratetypes != 0:
                granule = claim_block(state, zone, order, migratetype, order_min)
        if granule == NONE and state.migratetypes != 0 and not whole_blocks:
            granule = steal(state, zone, order, migratetype)
            stealing = True
        if at == NONE:
            return granule
        if granule == NONE:
            return np.int64(done)
        chain.push_last(state.pages, state.pcp_lists[at], granule, CACHED, order)
    return np.int64(count)


@kernel
def _balanced(state, zone, order):
    """A movable block where there is CMA: its lists first while over half of what is free is its.

    Else they come after movable's own (__rmqueue with ALLOC_CMA, __rmqueue_cma_fallback).
    """
    own = state.zones[zone]
    first, second = np.int64(MOVABLE), np.int64(CMA)
    if own["cma"] > own["free"] // 2:
        first, second = second, first
    granule = smallest(state, zone, order, first)
    return granule if granule != NONE else smallest(state, zone, order, second)
