"""LLFree: bit fields and counters below, an array of trees above, and a tree reserved by each CPU.

Wrenger, Rommel, Halbuer, Dietrich, Lohmann: "LLFree: Scalable and Optionally-Persistent Page-Frame
Allocation", USENIX ATC 2023; limits of the search as in the authors' llfree-c.  Facts only; the
code is our own.

Below: a child of 512 granules (2 MiB of 4 KiB pages) has one line of bits and a counter of 16 bits,
which says how many are free, or that it is taken whole.  Orders 0 to 6 are a run in one word, 7
and 8 whole words, 9 a child by its counter alone, 10 two adjacent children.  A piece of a child
taken whole that is released breaks the child into bits then.
Above: a tree is `children` of them, 8 (16 MiB, as llfree-c is built) or 32 (64 MiB, as in the
paper), with one counter.  A CPU reserves a tree and takes that counter along; it allocates there,
at the word it used last, until the tree cannot serve.  Then it reserves another: nearby (among
eight side by side), partly used anywhere, free anywhere; at last all reservations are given
back and every tree is tried.  After four releases in a row into one tree the CPU reserves that.
With groups ("migratetype", later than the paper) a CPU has a reservation each for fixed, movable
and huge blocks, and a tree is of the group that first reserved it until it is free as a whole.

Differences: single-threaded, so no atomics, retries or locks, and its times say nothing of its
scaling.  A bit is set where memory is free, so that memory not in service costs nothing.  LLFree is
told the order at release and has no more verbs than get and put; as in Linux, where it takes the
free lists' place only, struct page (core/frames.py) knows what lives, is pinned, or has failed,
and is counted under descriptors.  Each zone has children and trees of its own.
"""

from typing import NamedTuple

import numpy as np

from .. import frames, interface
from .._jit import inlined, kernel, state
from ..bits import ONES, largest_order, popcount, run_mask, runs, trailing_zeros
from ..layout import NONE, Outcome
from ..mapped import mapped

CHILD_ORDER, WORD_ORDER, ORDER_MAX = 9, 6, 10
CHILD, WORDS = 1 << CHILD_ORDER, 8
WHOLE = 0xFFFF  # a child's counter: taken as one block
FREES = 4  # releases into one tree, after which it is reserved
NEARBY = 8  # trees searched first
FIXED, MOVABLE, HUGE = 0, 1, 2  # groups of trees

TREE = np.dtype([("free", "u2"), ("reserved", "u1"), ("group", "i1")])  # less what its CPU has
LOCAL = np.dtype(  # a CPU's reservation; a line
    {
        "names": ["tree", "free", "near", "freed_tree", "frees"],
        "formats": ["i8"] * 5,
        "offsets": [0, 8, 16, 24, 32],
        "itemsize": 64,
    }
)


@state
class LlfreeState(NamedTuple):
    bits: np.ndarray  # u8[child * WORDS + word]  set where a granule is free
    children: np.ndarray  # u2[child]  free granules, or WHOLE
    trees: np.ndarray  # TREE[tree]
    locals: np.ndarray  # LOCAL[(zone * groups + group) * cpus + cpu]
    frames: np.ndarray  # FRAME[granule]
    failed: np.ndarray  # i8[1]  granules that have failed
    zones: np.ndarray  # i8[zone, 2]  start and end, in granules, in order of trial
    tree_base: np.ndarray  # i8[zone + 1]  add a granule's tree in the space: its index
    tree_order: int
    cpus: int
    groups: int
    tails: int


def new(
    zones: np.ndarray,
    kinds: np.ndarray,
    cpus: int = 8,
    children: int = 8,
    groups: int = 1,
    tails: int = 1,
) -> LlfreeState:
    """An allocator over `zones` with nothing in service; the records of `kinds` are not Linux's.

    cpus: with reservations of their own, further ones share them; children: of a tree, 8 or 32;
    groups: 1, or 3 to keep fixed, movable and huge blocks in trees of their own; tails: whether
    the pages of a block are told their head.
    """
    tree_order = CHILD_ORDER + children.bit_length() - 1
    zones = zones.astype(np.int64)
    first, last = zones[:, 0] >> tree_order, (zones[:, 1] - 1) >> tree_order
    ends = np.cumsum(last + 1 - first)
    tree_base = ends - (last + 1)
    count = int(ends[-1])
    local = np.zeros(len(zones) * groups * cpus, LOCAL)
    local["tree"], local["freed_tree"] = NONE, NONE
    trees = np.zeros(count, TREE)
    trees["group"] = NONE
    return LlfreeState(
        mapped(count * children * WORDS, np.uint64),
        mapped(count * children, np.uint16),
        trees,
        local,
        mapped(int(zones.max()) + 1, frames.FRAME),
        np.zeros(1, np.int64),
        zones,
        np.append(tree_base, 0),
        tree_order,
        cpus,
        groups,
        tails,
    )


def bytes_of(state: LlfreeState, live_blocks: int, granules: int) -> dict[str, int]:
    """Bits, counters, trees and reservations; struct page stands under descriptors, as Linux's."""
    free = state.bits.nbytes + state.children.nbytes + state.trees.nbytes + state.locals.nbytes
    return {
        "free_structure": free,
        "descriptors": granules * frames.FRAME.itemsize,
        "lookup": 0,
    }


# ---- verbs ----------------------------------------------------------------------------------


@interface.add.register
@kernel
def add(state: LlfreeState, start, end):
    _give_range(state, start, end)


@interface.adopt.register
@kernel
def adopt(state: LlfreeState, granule, order, kind, owner):
    frames.begin(state.frames, granule, order, state.tails != 0)
    zone = _zone_of(state, granule)
    for start in range(granule, granule + (np.int64(1) << order), CHILD):
        if order >= CHILD_ORDER:
            _fill(state, _child_of(state, zone, start), ONES)
            state.children[_child_of(state, zone, start)] = WHOLE


@interface.allocate.register
@inlined
def allocate(state: LlfreeState, order, kind, owner, granule, cpu, group):
    found = _allocate(state, order, cpu, group)
    if found != NONE:
        frames.begin(state.frames, found, order, state.tails != 0)
    return found


@kernel
def _allocate(state, order, cpu, group):
    if order > ORDER_MAX:
        return np.int64(NONE)
    group = _group_of(state, order, group)
    for zone in range(len(state.zones)):
        found = _get(state, np.int64(zone), order, cpu % state.cpus, group)
        if found != NONE:
            return found
    return np.int64(NONE)


@interface.release.register
@inlined
def release(state: LlfreeState, granule, cpu):
    order = frames.end(state.frames, granule, state.tails != 0)
    if order >= 0:
        _put(state, granule, order, cpu % state.cpus)
    return order


@kernel
def _put(state, granule, order, cpu):
    end = granule + (np.int64(1) << order)
    if order <= ORDER_MAX and (state.failed[0] == 0 or not _has_failed(state, granule, end)):
        _give(state, _zone_of(state, granule), granule, order, cpu)
        return
    start = granule
    for page in range(granule, end):  # failed pages stay out
        if state.frames[page]["poisoned"] != 0:
            _give_range(state, start, page)
            start = page + 1
    _give_range(state, start, end)


@kernel
def _has_failed(state, start, end):
    failed = np.int64(0)
    for page in range(start, end):
        failed += state.frames[page]["poisoned"]
    return failed > 0


@interface.split.register
@kernel
def split(state: LlfreeState, granule, order):
    return frames.split(state.frames, granule, order, state.tails != 0)


@interface.pin.register
@kernel
def pin(state: LlfreeState, granule):
    return frames.pin(state.frames, granule)


@interface.unpin.register
@kernel
def unpin(state: LlfreeState, granule):
    outcome, head = frames.unpin(state.frames, granule)
    if outcome != Outcome.RELEASED:
        return outcome, np.int64(NONE)
    return outcome, interface.release(state, head, np.int64(0))


@interface.claim.register
@kernel
def claim(state: LlfreeState, granules, align_order, kind, owner, moves):
    """One block: a power of two up to order 10; others are not tried."""
    order = trailing_zeros(np.uint64(granules))
    if granules != np.int64(1) << order or order > ORDER_MAX:
        return np.int64(NONE), np.int64(0), order, np.int64(0)
    found = interface.allocate(state, order, kind, owner, np.int64(NONE), np.int64(0), np.int64(0))
    return found, np.int64(1), order, np.int64(0)


@interface.migrate.register
@kernel
def migrate(state: LlfreeState, granule):
    return np.int64(NONE), np.int64(Outcome.IGNORED)  # it knows no kinds, so nothing movable


@interface.holder.register
@kernel
def holder(state: LlfreeState, granule):
    head = frames.live_head(state.frames, granule)
    return head, np.int64(state.frames[max(head, 0)]["order"])


@interface.drain.register
@kernel
def drain(state: LlfreeState):
    """Give back all reservations; they hold counters, no blocks."""
    for place in range(len(state.locals)):
        _unreserve(state, state.locals[place])
    return np.int64(0)


@interface.fail.register
@kernel
def fail(state: LlfreeState, granule):
    zone = _zone_of(state, granule)
    if zone == NONE:
        return np.int64(Outcome.OUTSIDE)
    frame = state.frames[granule]
    if frame["poisoned"] != 0:
        return np.int64(Outcome.POISONED_BEFORE)
    if frames.live_head(state.frames, granule) != NONE:
        frame["poisoned"] = 1
        state.failed[0] += 1
        return np.int64(Outcome.POISONED_LIVE)
    child = _child_of(state, zone, granule)
    one = run_mask(granule & 63, 0)
    if state.bits[_word_of(child, granule)] & one == np.uint64(0):
        return np.int64(Outcome.OUTSIDE)
    frame["poisoned"] = 1
    state.failed[0] += 1
    state.bits[_word_of(child, granule)] &= ~one
    state.children[child] -= 1
    _uncount(state, _tree_of(state, zone, granule))
    return np.int64(Outcome.POISONED_FREE)


@interface.unpoison.register
@kernel
def unpoison(state: LlfreeState, granule):
    zone = _zone_of(state, granule)
    if zone == NONE or state.frames[granule]["poisoned"] == 0:
        return np.int64(Outcome.IGNORED)
    state.frames[granule]["poisoned"] = 0
    state.failed[0] -= 1
    if frames.live_head(state.frames, granule) != NONE:
        return np.int64(Outcome.POISONED_LIVE)
    _give_range(state, granule, granule + 1)
    return np.int64(Outcome.DONE)


@interface.check.register
@kernel
def check(state: LlfreeState):
    children = np.int64(1) << (state.tree_order - CHILD_ORDER)
    for tree in range(len(state.trees)):
        free = np.int64(0)
        for child in range(tree * children, (tree + 1) * children):
            set_bits = np.int64(0)
            for word in range(child * WORDS, (child + 1) * WORDS):
                set_bits += popcount(state.bits[word])
            if state.children[child] == WHOLE:
                assert set_bits == CHILD
            else:
                assert set_bits == state.children[child]
                free += set_bits
        owners = np.int64(0)
        for place in range(len(state.locals)):
            if state.locals[place]["tree"] == tree:
                owners += 1
                free -= state.locals[place]["free"]
        assert owners == state.trees[tree]["reserved"]
        assert free == state.trees[tree]["free"]
    _check_live(state)


@kernel
def _check_live(state):
    """What lives is not free, and nothing lives twice."""
    failed, end = np.int64(0), np.int64(0)
    for granule in range(len(state.frames)):
        frame = state.frames[granule]
        failed += frame["poisoned"]
        zone = _zone_of(state, granule)
        if frame["live"] != 0:
            assert zone != NONE
            assert granule >= end
            end = granule + (np.int64(1) << np.int64(frame["order"]))
            assert end <= state.zones[zone, 1]
        if zone != NONE and granule < end:
            assert not _is_free(state, zone, granule)
    assert failed == state.failed[0]


# ---- above: trees and reservations ----------------------------------------------------------


@inlined
def _group_of(state, order, group):
    if state.groups == 1:
        return np.int64(0)
    if order >= CHILD_ORDER:
        return np.int64(HUGE)
    return np.int64(MOVABLE) if group == 2 else np.int64(FIXED)


@inlined
def _local(state, zone, group, cpu):
    return state.locals[(zone * state.groups + group) * state.cpus + cpu]


@inlined
def _get(state, zone, order, cpu, group):
    """From the reserved tree; its counter first takes back what other CPUs released there."""
    local, size = _local(state, zone, group, cpu), np.int64(1) << order
    if local["tree"] != NONE:
        tree = state.trees[local["tree"]]
        if local["free"] < size <= local["free"] + tree["free"]:
            local["free"] += tree["free"]
            tree["free"] = 0
        if local["free"] >= size:
            found = _take(state, zone, local["tree"], local["near"], order)
            if found != NONE:
                local["free"] -= size
                if order <= WORD_ORDER:
                    local["near"] = found
                return found
    return _reserve(state, zone, order, cpu, group)


@kernel
def _reserve(state, zone, order, cpu, group):
    """Allocate from another tree and reserve it: nearby, partly used, free, any."""
    local = _local(state, zone, group, cpu)
    first = state.tree_base[zone] + (state.zones[zone, 0] >> state.tree_order)
    last = state.tree_base[zone] + ((state.zones[zone, 1] - 1) >> state.tree_order)
    count = last + 1 - first
    start = local["tree"] if local["tree"] != NONE else first + count // state.cpus * cpu
    start -= (start - first) % NEARBY
    nearby = min(((count + state.cpus - 1) // state.cpus + 3) // 4, np.int64(NEARBY))
    size, whole = np.int64(1) << order, np.int64(1) << state.tree_order
    low, high = whole // 16, whole - whole // 4
    trees = (first, count, start)
    found = _search(state, zone, trees, nearby, size, whole, order, local, group, True)
    if found == NONE:
        found = _search(state, zone, trees, count, max(low, size), high, order, local, group, True)
    if found == NONE:
        low = max(high, size)
        found = _search(state, zone, trees, count, low, whole, order, local, group, True)
    if found == NONE:
        all_cpus = state.groups * state.cpus
        for place in range(zone * all_cpus, (zone + 1) * all_cpus):
            _unreserve(state, state.locals[place])
        found = _search(state, zone, trees, count, size, whole, order, local, group, False)
    return found


@kernel
def _search(state, zone, trees, count, low, high, order, local, group, own):
    """Try `count` trees to the left and right of a start by turns, with low .. high free.

    own: only trees of the group, or of none yet.
    """
    first, among, start = trees
    for i in range(1, count + 1):
        aside = i // 2 if i & 1 else -(i // 2)
        at = first + (start - first + aside) % among
        tree = state.trees[at]
        free = np.int64(tree["free"])
        if tree["reserved"] != 0 or not low <= free <= high:
            continue
        if own and tree["group"] != NONE and tree["group"] != group:
            continue
        near = (at - state.tree_base[zone]) << state.tree_order
        found = _take(state, zone, at, near, order)
        if found != NONE:
            _unreserve(state, local)
            if tree["group"] == NONE:
                tree["group"] = group
            tree["free"], tree["reserved"] = 0, 1
            local["tree"], local["near"] = at, found
            local["free"] = free - (np.int64(1) << order)
            return found
    return np.int64(NONE)


@inlined
def _unreserve(state, local):
    if local["tree"] != NONE:
        tree = state.trees[local["tree"]]
        tree["free"] += np.uint16(local["free"])
        tree["reserved"] = 0
        local["tree"], local["free"] = NONE, 0
        _disband(state, tree)


@inlined
def _disband(state, tree):
    """A tree that is free as a whole is of no group."""
    if tree["free"] == np.int64(1) << state.tree_order:
        tree["group"] = NONE


@kernel
def _uncount(state, at):
    """A granule of this tree is free no more."""
    for place in range(len(state.locals)):
        local = state.locals[place]
        if local["tree"] == at and local["free"] > 0:
            local["free"] -= 1
            return
    state.trees[at]["free"] -= 1


@inlined
def _give(state, zone, granule, order, cpu):
    """A release: FREES of them into one tree in a row, and the next one reserves it."""
    _put_below(state, zone, granule, order)
    at, size = _tree_of(state, zone, granule), np.int64(1) << order
    tree = state.trees[at]
    local = _local(state, zone, max(np.int64(tree["group"]), np.int64(0)), cpu)
    if local["freed_tree"] != at:
        local["freed_tree"], local["frees"] = at, 0
    again = local["frees"] >= FREES
    local["frees"] += 1
    if local["tree"] == at:
        local["free"] += size
        return
    tree["free"] += np.uint16(size)
    free, whole = np.int64(tree["free"]), np.int64(1) << state.tree_order
    _disband(state, tree)
    if again and tree["reserved"] == 0 and whole // 16 <= free <= whole - whole // 4:
        _unreserve(state, local)
        tree["free"], tree["reserved"] = 0, 1
        local["tree"], local["free"] = at, free
        local["near"] = (at - state.tree_base[zone]) << state.tree_order


@kernel
def _give_range(state, start, end):
    """Memory that comes into service, or what is left of a block with failed granules."""
    while start < end:
        zone = _zone_of(state, start)
        room = min(end, state.zones[zone, 1]) - start
        order = min(largest_order(start, room), np.int64(ORDER_MAX))
        _put_below(state, zone, start, order)
        tree = state.trees[_tree_of(state, zone, start)]
        tree["free"] += np.uint16(np.int64(1) << order)
        _disband(state, tree)
        start += np.int64(1) << order


# ---- below: children and bits ---------------------------------------------------------------


@inlined
def _zone_of(state, granule):
    for zone in range(len(state.zones)):
        if state.zones[zone, 0] <= granule < state.zones[zone, 1]:
            return np.int64(zone)
    return np.int64(NONE)


@inlined
def _tree_of(state, zone, granule):
    return state.tree_base[zone] + (granule >> state.tree_order)


@inlined
def _child_of(state, zone, granule):
    base = state.tree_base[zone] << (state.tree_order - CHILD_ORDER)
    return base + (granule >> CHILD_ORDER)


@inlined
def _word_of(child, granule):
    return child * WORDS + ((granule >> WORD_ORDER) & (WORDS - 1))


@kernel
def _is_free(state, zone, granule):
    child = _child_of(state, zone, granule)
    word = state.bits[_word_of(child, granule)]
    return state.children[child] != WHOLE and word & run_mask(granule & 63, 0) != np.uint64(0)


@inlined
def _fill(state, child, word):
    for place in range(child * WORDS, (child + 1) * WORDS):
        state.bits[place] = word


@kernel
def _take(state, zone, tree, near, order):
    """A free block of a tree, taken, from the child and word of `near` on and around; or NONE."""
    span = np.int64(2) if order > CHILD_ORDER else np.int64(1)
    children = np.int64(1) << (state.tree_order - CHILD_ORDER)
    base = state.tree_base[zone] << (state.tree_order - CHILD_ORDER)
    first = tree * children
    start = (base + (near >> CHILD_ORDER) - first) // span * span
    for i in range(0, children, span):
        child = first + (start + i) % children
        if order >= CHILD_ORDER:
            if _take_whole(state, child, span):
                return (child - base) << CHILD_ORDER
        elif state.children[child] != WHOLE and state.children[child] >= np.int64(1) << order:
            found = _take_bits(state, child, (near >> WORD_ORDER) & (WORDS - 1), order)
            if found != NONE:
                state.children[child] -= np.uint16(np.int64(1) << order)
                return ((child - base) << CHILD_ORDER) + found
    return np.int64(NONE)


@inlined
def _take_whole(state, child, span):
    for one in range(child, child + span):
        if state.children[one] != CHILD:
            return False
    for one in range(child, child + span):
        state.children[one] = WHOLE
    return True


@inlined
def _take_bits(state, child, start, order):
    """The first free run of a child's words, from word `start` on and around, taken; or NONE."""
    words = np.int64(1) << max(order - WORD_ORDER, np.int64(0))
    start = start // words * words
    for i in range(0, WORDS, words):
        word = (start + i) % WORDS
        place, bit = child * WORDS + word, np.int64(0)
        if order < WORD_ORDER:
            able = runs(state.bits[place], order)
            if able == np.uint64(0):
                continue
            bit = trailing_zeros(able)
            state.bits[place] &= ~run_mask(bit, order)
            return (word << WORD_ORDER) + bit
        full = True
        for other in range(place, place + words):
            full = full and state.bits[other] == ONES
        if full:
            for other in range(place, place + words):
                state.bits[other] = np.uint64(0)
            return word << WORD_ORDER
    return np.int64(NONE)


@inlined
def _put_below(state, zone, granule, order):
    child = _child_of(state, zone, granule)
    if order >= CHILD_ORDER:
        for one in range(child, child + (np.int64(1) << (order - CHILD_ORDER))):
            if state.children[one] != WHOLE:  # else all its bits are set
                _fill(state, one, ONES)
            state.children[one] = CHILD
        return
    if state.children[child] == WHOLE:
        _fill(state, child, np.uint64(0))
        state.children[child] = 0
    state.children[child] += np.uint16(np.int64(1) << order)
    place = _word_of(child, granule)
    if order <= WORD_ORDER:
        state.bits[place] |= run_mask(granule & 63, order)
        return
    for other in range(place, place + (np.int64(1) << (order - WORD_ORDER))):
        state.bits[other] = ONES
