"""Linux's allocator of swap slots: clusters of 512, each used for one order at a time.

Orders 0 .. 9 (a slot holds a page).  As mm/swapfile.c of Linux 6.12, for devices that do not
rotate:
- cluster_alloc_swap_entry looks in the cluster that this CPU last used for the order, then takes
  the first of the free clusters, which becomes one of that order; then tries those of the order
  that are not full, each going to the end of the fragmented ones, then the fragmented ones, each
  once.  A higher order then fails, and the folio is split; order 0 steals from the clusters of
  every other order.
- alloc_swap_scan_cluster tries a cluster in aligned steps of 2**order.
- Any release brings a cluster back among those not full; a wholly free one is free for any order.
As in 6.12, what the CPU last used is not asked for its order: freed and taken meanwhile for
another, it serves both (later versions ask).  Facts only; the code is our own.

Differences from Linux: no swap cache, so nothing to reclaim when more than half is full; no
discard; order 0 has no cache of 64 slots per CPU; free clusters begin in order of address, not in
columns of 32.  Free slots are also bits, so that a step is a mask, not a loop over the bytes of
swap_map: the answers are the same.  The byte of a slot in swap_map counts users; here it is the
order of a live block, at its first slot, which in Linux the folio knows.  Bad slots are those never
added.  `fail`, `pin` and their kin are ignored, as Linux has none of them for slots.  A claim is
one block.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import kernel, state
from ..bits import ONES, align_down, popcount, runs, trailing_zeros
from ..layout import NONE, Outcome
from ..mapped import mapped

CPUS = 8  # with places of their own to look first; a trace's further CPUs share them
ORDER_MAX = 9  # PMD_ORDER: a whole cluster
CLUSTER_SLOTS = 1 << ORDER_MAX
_WORDS = CLUSTER_SLOTS // 64

CLUSTER = np.dtype(
    [  # swap_cluster_info, 24 bytes
        ("next", "i8"),  # following cluster of its list, or NONE
        ("prev", "i8"),
        ("lock", "u4"),  # nobody else is here; it counts among the bytes
        ("free", "u2"),  # CLUSTER_SLOTS - count
        ("list", "u1"),  # which of the lists below
        ("order", "u1"),
    ]
)
assert CLUSTER.itemsize == 24
LIST = np.dtype([("first", "i8"), ("last", "i8"), ("clusters", "i8")])
OFF, FREE, FULL, NONFULL = 0, 1, 2, 3  # OFF: no slot was ever free; NONFULL + order
FRAG = NONFULL + ORDER_MAX + 1  # FRAG + order
_LISTS = FRAG + ORDER_MAX + 1

SWAP_MAP_BYTES = 1  # per slot: its users
MEMCG_ID_BYTES = 2  # per slot: its owner (swap_cgroup)


@state
class ClustersState(NamedTuple):
    clusters: np.ndarray  # CLUSTER[slot / 512]
    lists: np.ndarray  # LIST[OFF .. FRAG + ORDER_MAX]
    swap_map: np.ndarray  # u1[slot]  1 + order where a live block begins, else 0
    free: np.ndarray  # u8[slot / 64]  bits of free slots
    next: np.ndarray  # i8[cpu, order]  percpu_cluster: where to look first, or NONE


def new(zones: np.ndarray, kinds: np.ndarray, cpus: int = CPUS) -> ClustersState:
    """An allocator of the slots of `zones` (i8[n, 2]) with nothing in service.

    cpus: how many have places of their own to look first; zones are all one here, as a device is;
    the records of `kinds` are not Linux's.
    """
    count = int(zones.max()) // CLUSTER_SLOTS + 1
    lists = np.zeros(_LISTS, LIST)
    lists["first"], lists["last"] = NONE, NONE
    return ClustersState(
        mapped(count, CLUSTER),
        lists,
        mapped(count * CLUSTER_SLOTS, "u1"),
        mapped(count * _WORDS, "u8"),
        np.full((cpus, ORDER_MAX + 1), NONE, np.int64),
    )


def bytes_of(state, live_blocks: int, granules: int) -> dict[str, int]:
    """Bytes of Linux 6.12 for `granules`: clusters, and for each slot its users and its owner.

    The swap table of 6.18, 8 bytes a slot in clusters that are used, is not among them.
    """
    clusters = -(-granules // CLUSTER_SLOTS) * CLUSTER.itemsize
    per_slot = SWAP_MAP_BYTES + MEMCG_ID_BYTES
    return {"free_structure": clusters, "descriptors": granules * per_slot, "lookup": 0}


@interface.add.register
@kernel
def add(state: ClustersState, start, end):
    while start < end:
        cluster_end = align_down(start, ORDER_MAX) + CLUSTER_SLOTS
        _put(state, start, min(end, cluster_end))
        start = cluster_end


@interface.adopt.register
@kernel
def adopt(state: ClustersState, granule, order, kind, owner):
    state.swap_map[granule] = order + 1


@interface.allocate.register
@kernel
def allocate(state: ClustersState, order, kind, owner, granule, cpu, group):
    if order > ORDER_MAX:
        return np.int64(NONE)
    hints = state.next[cpu % len(state.next)]
    found = _find(state, order, hints[order])
    hints[order] = NONE
    if found != NONE:
        _take(state, found, order)
        after = found + (np.int64(1) << order)
        if state.clusters[found >> ORDER_MAX]["free"] > 0 and after & (CLUSTER_SLOTS - 1) != 0:
            hints[order] = after
    return found


@kernel
def _find(state, order, hint):
    """cluster_alloc_swap_entry: where a block of the order can be had, or NONE."""
    found = _scan(state, hint, order) if hint != NONE else np.int64(NONE)
    if found == NONE and state.lists[FREE]["first"] != NONE:
        return state.lists[FREE]["first"] << ORDER_MAX
    if found == NONE and order < ORDER_MAX:
        found = _find_in_order(state, order)
    if found == NONE and order == 0:
        found = _steal(state)
    return found


@kernel
def _find_in_order(state, order):
    """In the clusters of the order: those not full, which are fragmented once tried, then those."""
    nonfull, frag = state.lists[NONFULL + order], state.lists[FRAG + order]
    tried = np.int64(0)
    while nonfull["first"] != NONE or tried < frag["clusters"]:
        fresh = nonfull["first"] != NONE
        cluster = nonfull["first"] if fresh else frag["first"]
        _move(state, cluster, FRAG + order)
        tried += 1
        found = _scan(state, cluster << ORDER_MAX, order)
        if found != NONE:
            return found
    return np.int64(NONE)


@kernel
def _steal(state):
    """A slot out of a cluster of any higher order, or NONE: then nothing is free at all."""
    for order in range(1, ORDER_MAX + 1):
        for lowest in (FRAG, NONFULL):
            cluster = state.lists[lowest + order]["first"]
            if cluster != NONE:
                return _scan(state, cluster << ORDER_MAX, np.int64(0))
    return np.int64(NONE)


@kernel
def _scan(state, granule, order):
    """The first free aligned place in the cluster of `granule`, there or above, or NONE."""
    cluster = granule >> ORDER_MAX
    if state.clusters[cluster]["free"] < np.int64(1) << order:
        return np.int64(NONE)
    word, end = granule >> 6, (cluster + 1) * _WORDS
    above = ONES << np.uint64(granule & 63)
    if order >= 6:
        return _scan_words(state, word, end, np.int64(1) << (order - 6))
    while word < end:
        starts = runs(state.free[word], order) & above
        if starts != np.uint64(0):
            return (word << 6) + trailing_zeros(starts)
        word, above = word + 1, ONES
    return np.int64(NONE)


@kernel
def _scan_words(state, word, end, words):
    """As _scan, for blocks of one or more whole words."""
    while word < end:
        free = np.int64(0)
        while free < words and state.free[word + free] == ONES:
            free += 1
        if free == words:
            return word << 6
        word += words
    return np.int64(NONE)


@kernel
def _take(state, granule, order):
    """cluster_alloc_range: a free cluster becomes one of the order, one without free slots full."""
    at, end = granule >> ORDER_MAX, granule + (np.int64(1) << order)
    cluster = state.clusters[at]
    _mark(state, granule, end, False)
    state.swap_map[granule] = order + 1
    cluster["free"] -= end - granule
    if cluster["list"] == FREE:
        cluster["order"] = order
        _move(state, at, NONFULL + order)
    if cluster["free"] == 0:
        _move(state, at, FULL)


@interface.release.register
@kernel
def release(state: ClustersState, granule, cpu):
    order = np.int64(state.swap_map[granule]) - 1
    if order == NONE:
        return np.int64(NONE)
    state.swap_map[granule] = 0
    add(state, granule, granule + (np.int64(1) << order))
    return order


@kernel
def _put(state, start, end):
    """dec_cluster_info_page: slots of one cluster are free; the cluster is free or not full."""
    at = start >> ORDER_MAX
    cluster = state.clusters[at]
    _mark(state, start, end, True)
    cluster["free"] += end - start
    if cluster["free"] == CLUSTER_SLOTS:
        cluster["order"] = 0
        _move(state, at, FREE)
    elif cluster["list"] != NONFULL + cluster["order"]:
        _move(state, at, NONFULL + np.int64(cluster["order"]))


@interface.split.register
@kernel
def split(state: ClustersState, granule, order):
    whole_order = np.int64(state.swap_map[granule]) - 1
    if whole_order < order:
        return np.int64(NONE)
    for piece in range(granule, granule + (np.int64(1) << whole_order), np.int64(1) << order):
        state.swap_map[piece] = order + 1
    return whole_order


@interface.claim.register
@kernel
def claim(state: ClustersState, granules, align_order, kind, owner, moves):
    order = trailing_zeros(np.uint64(granules))
    if granules != np.int64(1) << order or order > ORDER_MAX:
        return np.int64(NONE), np.int64(0), order, np.int64(0)
    found = interface.allocate(state, order, kind, owner, np.int64(NONE), np.int64(0), np.int64(0))
    return found, np.int64(1), order, np.int64(0)


@interface.migrate.register
@kernel
def migrate(state: ClustersState, granule):
    return np.int64(NONE), np.int64(Outcome.IGNORED)  # what is out has no page to copy


@interface.drain.register
@kernel
def drain(state: ClustersState):
    return np.int64(0)


@interface.pin.register
@kernel
def pin(state: ClustersState, granule):
    return np.int64(Outcome.IGNORED)


@interface.unpin.register
@kernel
def unpin(state: ClustersState, granule):
    return np.int64(Outcome.IGNORED), np.int64(NONE)


@interface.fail.register
@kernel
def fail(state: ClustersState, granule):
    return np.int64(Outcome.IGNORED)


@interface.unpoison.register
@kernel
def unpoison(state: ClustersState, granule):
    return np.int64(Outcome.IGNORED)


@interface.check.register
@kernel
def check(state: ClustersState):
    for number in range(1, len(state.lists)):
        _check_list(state, number)
    for at in range(len(state.clusters)):
        cluster = state.clusters[at]
        free = np.int64(0)
        for word in range(at * _WORDS, (at + 1) * _WORDS):
            free += popcount(state.free[word])
        assert cluster["free"] == free
        assert (free == CLUSTER_SLOTS) == (cluster["list"] == FREE)
        assert (free == 0) == (cluster["list"] == FULL or cluster["list"] == OFF)
        if cluster["list"] >= NONFULL:
            assert (cluster["list"] - NONFULL) % (ORDER_MAX + 1) == cluster["order"]
    live_end = np.int64(0)
    for granule in range(len(state.swap_map)):
        if state.swap_map[granule] != 0:
            assert granule >= live_end  # no two live blocks overlap
            order = np.int64(state.swap_map[granule]) - 1
            assert granule == align_down(granule, order)
            live_end = granule + (np.int64(1) << order)
        if granule < live_end:
            bit = np.uint64(1) << np.uint64(granule & 63)
            assert state.free[granule >> 6] & bit == np.uint64(0)


@kernel
def _check_list(state, number):
    clusters, before = np.int64(0), np.int64(NONE)
    at = state.lists[number]["first"]
    while at != NONE:
        cluster = state.clusters[at]
        assert cluster["list"] == number
        assert cluster["prev"] == before
        clusters, before, at = clusters + 1, np.int64(at), cluster["next"]
    assert before == state.lists[number]["last"]
    assert clusters == state.lists[number]["clusters"]


@kernel
def _mark(state, start, end, is_free):
    """Set or clear the bits of the slots start .. end - 1."""
    while start < end:
        word_end = min(end, (start | 63) + 1)
        mask = ONES << np.uint64(start & 63) & ONES >> np.uint64((64 - word_end) & 63)
        if is_free:
            assert state.free[start >> 6] & mask == np.uint64(0)
            state.free[start >> 6] |= mask
        else:
            assert state.free[start >> 6] & mask == mask
            state.free[start >> 6] &= ~mask
        start = word_end


@kernel
def _move(state, at, number):
    """list_move_tail: the last of its new list, whether it was on one or not."""
    cluster = state.clusters[at]
    if cluster["list"] != OFF:
        _unlink(state, cluster)
    entered = state.lists[number]
    last = entered["last"]
    cluster["prev"], cluster["next"], cluster["list"] = last, NONE, number
    if last == NONE:
        entered["first"] = at
    else:
        state.clusters[last]["next"] = at
    entered["last"] = at
    entered["clusters"] += 1


@kernel
def _unlink(state, cluster):
    left = state.lists[cluster["list"]]
    before, after = cluster["prev"], cluster["next"]
    if before == NONE:
        left["first"] = after
    else:
        state.clusters[before]["next"] = after
    if after == NONE:
        left["last"] = before
    else:
        state.clusters[after]["prev"] = before
    left["clusters"] -= 1
