"""Blocks: a free tree, a lookup and the failed granules, kept in step.

What POTAD is made of, and where `recorded` keeps its truth: they differ in how a place is chosen.

Front caches.  Each CPU and group has a last in, first out stack of blocks for orders 0 to 3 and one
for chunks, as Linux's per-CPU lists (pcp_allowed_order).  A cached block keeps its start bit and
record; its entry says CACHED, so the lookup answers None.  Counts call it free; a claim, or an
allocation that finds no place, drains the stacks first.

An empty stack is filled with a run: the free blocks of one word of the tree, kept as the mask that
they were there.  Their start bits are set at once, under the lock; slot and record each gets when
it is taken, so a run costs few lines, and what it leads to is no other CPU's.  A stack's count, its
run and its upper end share a line: an op that hits touches it, the block's slot, and at most the
line of a magazine of records.

Groups.  A chunk (a pageblock of 2 MiB) belongs to one group at a time, or to the pool of its zone;
each has a part of the free tree.  A wholly free chunk returns to the pool.  A group without room
takes a chunk from the pool, else steals from another group, which is counted; a chunk of which at
least half is free then changes group (as can_steal_fallback and steal_suitable_fallback of
mm/page_alloc.c, which also counts blocks that are alike).  Blocks of a chunk or more come from
the pool.

A failed granule inside a live block keeps a bit and leaves service when the block is released;
then it has a permanent start of order 0, without record, and its neighbours are free again.
A pinned block (get_user_pages) is released when its last pin goes.
"""

from typing import NamedTuple

import numpy as np

from . import interface, tree
from ._jit import inlined, kernel, state
from .bits import apart, largest_order, popcount, trailing_zeros, widened
from .layout import DESCRIPTOR, HELD, NONE, POISON, PUT_OFF, Outcome
from .lookups import heads
from .lookups.heads import CACHED, CHUNK, OWNS, PIECE, PINNED, POISONED, RELEASED, Heads
from .mapped import mapped
from .tree import Tree

SMALL_ORDERS = 4  # 0..3 have a stack each, and chunks have one
STACKS = SMALL_ORDERS + 1  # of a CPU and group
# room of a stack of order 0 below its upper end, 6 of Linux's batches of 63; order k has 2**k times
# less, as much memory each
STACK_BLOCKS = 384
STACK_CHUNKS = 4  # and of the one of chunks: half of them go at more, so up to 11 lie there
TOP_BLOCKS = 12  # the upper end of a stack: with what is before it, one line
STACK_WORDS = 16 + STACK_BLOCKS  # of a row of `stacks`
_RUN = np.uint64(1)  # words of a row: its run's granule >> 6, then the mask, low half first
_MASK = np.uint64(2)
_TOP = 4  # the upper end, the last one released on top; then those below
_LOW_HALF, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)
_SHIFTED = 6  # blocks that move between the upper end and the rest at a time
_BELOW = np.int64(1 << 8)  # in the count: one block below the upper end
_GRANULES_MAX = 1 << 32  # that four bytes tell apart
STOLEN, CHANGED = 0, 1  # in `counts`: blocks stolen from another group, chunks that changed it
# blocks whose release is more than a push on a front cache
_SPECIAL = PIECE | POISONED | CHUNK | CACHED | RELEASED | PINNED
_STAYS = CACHED | POISONED | RELEASED | CHUNK  # blocks that are not moved


@state
class Blocks(NamedTuple):
    tree: Tree
    heads: Heads
    poison: np.ndarray  # u8[granule/64]  failed granules, live or not
    chunk_groups: np.ndarray  # u1[granule >> chunk_order]  0: the pool
    # u4[stack * STACK_WORDS + ...] (u8 in larger spaces): blocks in the upper end + _BELOW times
    # those below; the run; first granules
    stacks: np.ndarray
    counts: np.ndarray  # i8[2]  STOLEN, CHANGED
    cpus: int  # a power of two; 0: no front caches
    chunk_order: int  # of what belongs to one group; at least 6
    hosted: int  # 1: records take their memory from the space


def new(
    state_class, zones, kinds, cpus=0, groups=0, tight=False, chunk_order=9, hosted=0, bare=False
):
    """A state over `zones` (i8[n, 2], granules, in order of trial) with nothing in service."""
    granules = int(zones.max())
    cpus = 1 << (cpus - 1).bit_length() if cpus else 0
    stacks = max(cpus, 1) * (groups + 1) * STACKS
    return state_class(
        tree.new(zones, groups + 1, tight),
        heads.new(granules, kinds, hosted, bare, cpus),
        mapped(granules // 64 + 1, "u8"),
        mapped((granules >> chunk_order) + 1, "u1"),
        mapped(stacks * STACK_WORDS, "u4" if granules <= _GRANULES_MAX else "u8"),
        np.zeros(2, np.int64),
        cpus,
        chunk_order,
        int(hosted > 0),
    )


def register(state_class) -> None:
    """Let the functions below serve `state_class`, which chooses places by its own `allocate`."""
    for verb, implementation in _VERBS.items():
        getattr(interface, verb).implementations[state_class] = implementation


# ---- parts and groups -----------------------------------------------------------------------


@inlined
def part_of(state, granule):
    """The part of the free tree that keeps what is free at `granule`."""
    zone = tree.zone_of(state.tree, granule)
    return zone * state.tree.groups + state.chunk_groups[granule >> state.chunk_order]


@kernel
def place(state, order, group):
    """(granule, part) of a free block for a group, its path exact; (NONE, NONE) if none."""
    wanted = group if order < state.chunk_order else 0
    for zone in range(len(state.tree.zones)):
        part = zone * state.tree.groups + wanted
        found = tree.find(state.tree, part, order)
        if found == NONE and wanted != 0 and _grow(state, zone, wanted):
            found = tree.find(state.tree, part, order)
        if found != NONE:
            return found, part
    if state.tree.groups > 1 and order < state.chunk_order:
        return _steal(state, order, wanted)
    return np.int64(NONE), np.int64(NONE)


@kernel
def _grow(state, zone, group):
    """Give a group a chunk of its zone's pool."""
    pool = zone * state.tree.groups
    chunk = tree.find(state.tree, pool, state.chunk_order)
    if chunk == NONE:
        return False
    tree.put(state.tree, pool, chunk, state.chunk_order, False)
    state.chunk_groups[chunk >> state.chunk_order] = group
    _put_free(state, pool + group, chunk, state.chunk_order)
    return True


@kernel
def _steal(state, order, group):
    """(granule, part) out of the part with the largest free block that is not the group's own."""
    best, most = np.int64(NONE), order - 1
    for part in range(len(state.tree.zones) * state.tree.groups):
        if part % state.tree.groups == group:
            continue
        size = tree.largest(state.tree, part)
        if size > most:
            best, most = part, size
    if best == NONE:
        return np.int64(NONE), np.int64(NONE)
    state.counts[STOLEN] += 1
    found = tree.find(state.tree, best, most)
    chunk = found >> state.chunk_order << state.chunk_order
    free = tree.free_in(state.tree, best, chunk, state.chunk_order)
    if free << 1 >= 1 << state.chunk_order:
        own = best - best % state.tree.groups + group
        tree.move_chunk(state.tree, best, own, chunk, state.chunk_order)
        state.chunk_groups[chunk >> state.chunk_order] = group
        state.counts[CHANGED] += 1
        best = own
    tree.enter(state.tree, best, found, order)
    return found, best


@kernel
def _put_free(state, part, granule, order):
    tree.enter(state.tree, part, granule, order)
    tree.put(state.tree, part, granule, order, True)


@kernel
def _to_pool(state, part, granule):
    """Return the chunk of `granule` to the pool if it is wholly free."""
    chunk = granule >> state.chunk_order << state.chunk_order
    group = part % state.tree.groups
    if group == 0 or tree.free_order(state.tree, part, chunk) < state.chunk_order:
        return
    tree.enter(state.tree, part, chunk, state.chunk_order)
    tree.put(state.tree, part, chunk, state.chunk_order, False)
    state.chunk_groups[chunk >> state.chunk_order] = 0
    _put_free(state, part - group, chunk, state.chunk_order)


# ---- verbs ----------------------------------------------------------------------------------


@kernel
def add(state, start, end):
    while start < end:
        part = part_of(state, start)
        zone_end = state.tree.zones[part // state.tree.groups, 1]
        order = largest_order(start, min(end, zone_end) - start)
        if part % state.tree.groups != 0:
            order = min(order, state.chunk_order)
        _put_free(state, part, start, order)
        _to_pool(state, part, start)
        start += np.int64(1) << order


@kernel
def adopt(state, granule, order, kind, owner):
    heads.store(state.heads, granule, order, kind, owner)


@inlined
def take(state, part, granule, order, kind, owner):
    """Make a free block, whose path is exact, live."""
    tree.put(state.tree, part, granule, order, False)
    heads.store(state.heads, granule, order, kind, owner)


@kernel
def untake(state, granule):
    """Give a live block that nobody has seen yet back to the tree."""
    _free(state, heads.entry_at(state.heads, granule), granule)


@inlined
def release(state, granule, cpu):
    at = heads.head_at(state.heads, granule)
    if at == NONE:
        return np.int64(NONE)
    entry = state.heads.slots[np.uint64(at)]["entry"]
    order = heads.order_of(entry)
    if state.cpus > 0 and entry & _SPECIAL == np.uint64(0):
        stack = _stack_of(state, cpu, _group_of(state, granule, order), order)
        if stack != NONE:
            state.heads.slots[np.uint64(at)]["entry"] = heads.cached(entry)
            _push(state, stack, order, granule)
            return order
    return _release(state, at, granule)


@kernel
def _release(state, at, granule):
    """Release a block that goes to no front cache, or is no usual one."""
    apart()
    entry = state.heads.slots[at]["entry"]
    if entry & (CACHED | RELEASED) != np.uint64(0) or heads.kind_of(entry) == POISON:
        return np.int64(NONE)
    if heads.pins(state.heads, at) > 0:
        if entry & CHUNK != np.uint64(0):
            return np.int64(HELD)
        state.heads.slots[at]["entry"] = entry | RELEASED
        return np.int64(PUT_OFF)
    _free(state, at, granule)
    return heads.order_of(entry)


@kernel
def _free(state, at, granule):
    """Give the block of entry `at`, live or cached, back to the tree."""
    entry = heads.forget(state.heads, at)
    heads.drop_record(state.heads, entry)
    if entry & POISONED != np.uint64(0):
        _give_around_poison(state, granule, heads.order_of(entry))
    else:
        _give(state, granule, heads.order_of(entry))


@kernel
def _give(state, granule, order):
    """Free an extent of a block's size that is in no block and holds nothing failed."""
    part = part_of(state, granule)
    if order >= state.chunk_order or state.tree.groups == 1:
        tree.put(state.tree, part, granule, order, True)
    else:
        _put_free(state, part, granule, order)
        _to_pool(state, part, granule)


@kernel
def split(state, granule, order):
    whole_order = heads.split_block(state.heads, granule, order)
    if whole_order == NONE:
        return whole_order
    part = part_of(state, granule)
    for piece in range(np.int64(1) << (whole_order - order)):
        first = granule + (piece << order)
        tree.enter(state.tree, part, first, order)
        _note_poison(state, heads.entry_at(state.heads, first))
    return whole_order


@kernel
def _entry_inside(state, granule):
    """Index of the entry of the block that holds `granule`, NONE also outside the zones."""
    if tree.zone_of(state.tree, granule) == NONE:
        return np.int64(NONE)
    return heads.entry_at(state.heads, granule)


@kernel
def pin(state, granule):
    at = _entry_inside(state, granule)
    if at == NONE or state.heads.slots[at]["entry"] & (CACHED | RELEASED) != np.uint64(0):
        return np.int64(Outcome.ABSENT)
    if heads.kind_of(state.heads.slots[at]["entry"]) == POISON:
        return np.int64(Outcome.ABSENT)
    entry = state.heads.slots[at]["entry"]
    if entry & OWNS == np.uint64(0):
        return np.int64(Outcome.IGNORED)  # nothing to count on
    if entry & (PIECE | CHUNK) == PIECE:  # a piece moves and goes alone, so it counts alone
        if not ready_record(state, heads.kind_of(entry)):
            return np.int64(Outcome.REFUSED)
        heads.own_record(state.heads, at)
    heads.add_pins(state.heads, at, 1)
    return np.int64(Outcome.DONE)


@kernel
def unpin(state, granule):
    at = _entry_inside(state, granule)
    if at == NONE or heads.pins(state.heads, at) == 0:
        return np.int64(Outcome.ABSENT), np.int64(NONE)
    heads.add_pins(state.heads, at, -1)
    entry = state.heads.slots[at]["entry"]
    if heads.pins(state.heads, at) > 0 or entry & RELEASED == np.uint64(0):
        return np.int64(Outcome.DONE), np.int64(NONE)
    _free(state, at, heads.start_of(state.heads, at))
    return np.int64(Outcome.RELEASED), heads.order_of(entry)


# ---- front caches ---------------------------------------------------------------------------
# Indices are made unsigned where every op passes: Numba then leaves out its test for negative ones.


@inlined
def _stack_of(state, cpu, group, order):
    """Where the row of this CPU, group and order begins in `stacks`, NONE for an order without."""
    if order >= SMALL_ORDERS:
        if order != state.chunk_order:
            return np.int64(NONE)
        order = np.int64(SMALL_ORDERS)
    row = ((cpu & (state.cpus - 1)) * state.tree.groups + group) * STACKS + order
    return row * STACK_WORDS


@inlined
def _group_of(state, granule, order):
    """The group whose stacks a block goes to; chunks are the pool's."""
    if state.tree.groups == 1 or order >= state.chunk_order:
        return np.int64(0)
    return np.int64(state.chunk_groups[granule >> state.chunk_order])


@inlined
def _room(state, order):
    """How many blocks fit below the upper end of a stack."""
    return np.int64(STACK_CHUNKS if order == state.chunk_order else STACK_BLOCKS >> order)


@inlined
def pop(state, order, group, cpu, kind, owner):
    """Make a cached block live; NONE where none can be had.  An empty stack is filled first."""
    if order >= state.chunk_order:
        group = np.int64(0)
    stack = _stack_of(state, cpu, group, order)
    if stack == NONE:
        return np.int64(NONE)
    own = cpu & (state.cpus - 1)
    count = np.int64(state.stacks[np.uint64(stack)])
    if count == 0:
        granule = _next_of_run(state, stack, order, group)
        if granule != NONE:
            at = heads.slot_of(state.heads, granule, order)
            heads.label(state.heads, at, order, kind, owner, own)
        return granule
    if count & (_BELOW - 1) == 0:
        count = _raise(state.stacks, stack)
    granule = np.int64(state.stacks[np.uint64(stack + _TOP - 1 + (count & (_BELOW - 1)))])
    state.stacks[np.uint64(stack)] = count - 1
    at = heads.slot_of(state.heads, granule, order)
    heads.relabel(state.heads, at, order, kind, owner, own)
    return granule


@inlined
def _next_of_run(state, stack, order, group):
    """Take the lowest block of a stack's run, filled if it is empty; NONE where there is none."""
    at = np.uint64(stack)
    mask = _run_of(state.stacks, at)
    if mask == np.uint64(0):
        mask = _fill(state, stack, order, group)
        if mask == np.uint64(0):
            return np.int64(NONE)
    _keep_run(state.stacks, at, mask & (mask - np.uint64(1)))
    return (np.int64(state.stacks[at + _RUN]) << 6) + trailing_zeros(mask)


@inlined
def _run_of(stacks, at):
    """The mask of a stack's run: a bit where a block begins."""
    return np.uint64(stacks[at + _MASK]) | np.uint64(stacks[at + _MASK + np.uint64(1)]) << _HALF


@inlined
def _keep_run(stacks, at, mask):
    stacks[at + _MASK] = mask & _LOW_HALF
    stacks[at + _MASK + np.uint64(1)] = mask >> _HALF


@inlined
def _push(state, stack, order, granule):
    count = np.int64(state.stacks[np.uint64(stack)])
    if count & (_BELOW - 1) == TOP_BLOCKS:
        if count // _BELOW + _SHIFTED > _room(state, order):
            _spill(state, stack, order, (count // _BELOW + 1) // 2)
        count = _lower(state.stacks, stack)
    state.stacks[np.uint64(stack + _TOP + (count & (_BELOW - 1)))] = granule
    state.stacks[np.uint64(stack)] = count + 1


@kernel
def _raise(stacks, stack):
    """Fill the empty upper end of a stack from below; return the new count."""
    apart()
    below = np.int64(stacks[stack]) // _BELOW
    moved = min(below, np.int64(_SHIFTED))
    top = stack + _TOP
    first = top + TOP_BLOCKS + below - moved
    for i in range(moved):
        stacks[top + i] = stacks[first + i]
    count = (below - moved) * _BELOW + moved
    stacks[stack] = count
    return count


@kernel
def _lower(stacks, stack):
    """Make room in the full upper end of a stack; return the new count."""
    apart()
    below, top = np.int64(stacks[stack]) // _BELOW, stack + _TOP
    for i in range(_SHIFTED):
        stacks[top + TOP_BLOCKS + below + i] = stacks[top + i]
    for i in range(TOP_BLOCKS - _SHIFTED):
        stacks[top + i] = stacks[top + _SHIFTED + i]
    count = (below + _SHIFTED) * _BELOW + TOP_BLOCKS - _SHIFTED
    stacks[stack] = count
    return count


@kernel
def _fill(state, stack, order, group):
    """Take the free blocks of a word, or a chunk, as the run of an empty stack; return its mask."""
    apart()
    first, part = place(state, order, group)
    if first == NONE:
        return np.uint64(0)
    if order < SMALL_ORDERS:
        mask = tree.take_run(state.tree, part, order, first)
        heads.set_starts(state.heads, first, mask)
    else:
        mask = np.uint64(1)
        tree.put(state.tree, part, first, order, False)
        heads.set_start(state.heads, heads.slot_of(state.heads, first, order))
    state.stacks[np.uint64(stack) + _RUN] = first >> 6
    _keep_run(state.stacks, np.uint64(stack), mask)
    return mask


@kernel
def _spill(state, stack, order, count):
    """Give the `count` blocks longest below the upper end of a stack back to the tree."""
    apart()
    below, held = stack + _TOP + TOP_BLOCKS, np.int64(state.stacks[stack])
    if order < SMALL_ORDERS:
        _give_cached(state, order, state.stacks[below : below + count])
    else:
        for i in range(count):
            granule = np.int64(state.stacks[below + i])
            _free(state, heads.head_at(state.heads, granule), granule)
    for i in range(held // _BELOW - count):
        state.stacks[below + i] = state.stacks[below + count + i]
    state.stacks[stack] = held - count * _BELOW


@kernel
def _give_cached(state, order, blocks):
    """Give cached blocks smaller than a word back to the tree, those of one word together."""
    for i in range(len(blocks)):  # their lines are cold: let the misses overlap
        granule = np.int64(blocks[i])
        heads.fetch_slot(state.heads, granule)
        tree.fetch(state.tree, part_of(state, granule), granule)
    i = np.int64(0)
    while i < len(blocks):
        first, starts = np.int64(blocks[i]), np.uint64(0)
        while i < len(blocks) and np.int64(blocks[i]) >> 6 == first >> 6:
            granule = np.int64(blocks[i])
            heads.forget_cached(state.heads, granule)
            starts |= np.uint64(1) << np.uint64(granule & 63)
            i += 1
        _give_word(state, first, starts, order)


@kernel
def _give_word(state, granule, starts, order):
    """Give blocks of one word, which have no slots any more, back to the tree."""
    heads.clear_starts(state.heads, granule, starts)
    part = part_of(state, granule)
    if state.tree.groups > 1:
        tree.enter(state.tree, part, granule, np.int64(0))
    tree.give_some(state.tree, part, granule, widened(starts, order))
    if state.tree.groups > 1:
        _to_pool(state, part, granule)


@kernel
def drain(state):
    """Empty every front cache; return how many blocks went back to the tree."""
    drained = np.int64(0)
    for stack in range(0, len(state.stacks), STACK_WORDS):
        drained += _give_run(state, stack)
        count = np.int64(state.stacks[stack])
        if count == 0:
            continue
        drained += count // _BELOW + count % _BELOW
        _spill(state, stack, np.int64(stack // STACK_WORDS % STACKS), count // _BELOW)
        for i in range(count % _BELOW):
            granule = np.int64(state.stacks[stack + _TOP + i])
            _free(state, heads.head_at(state.heads, granule), granule)
        state.stacks[stack] = 0
    return drained


@kernel
def _give_run(state, stack):
    """Give a stack's run back to the tree; return how many blocks."""
    mask, order = _run_of(state.stacks, np.uint64(stack)), np.int64(stack // STACK_WORDS % STACKS)
    if mask == np.uint64(0):
        return np.int64(0)
    granule = np.int64(state.stacks[np.uint64(stack) + _RUN]) << 6
    granule += trailing_zeros(mask)  # a zone may end within the word
    if order < SMALL_ORDERS:
        _give_word(state, granule, mask, order)
    else:
        heads.forget(state.heads, heads.slot_of(state.heads, granule, state.chunk_order))
        _give(state, granule, np.int64(state.chunk_order))
    _keep_run(state.stacks, np.uint64(stack), np.uint64(0))
    return popcount(mask)


@kernel
def is_cached(state, granule):
    """Whether a front cache holds the block that `granule` is in."""
    at = _entry_inside(state, granule)
    if at != NONE:
        return state.heads.slots[at]["entry"] & CACHED != np.uint64(0)
    for stack in range(0, len(state.stacks), STACK_WORDS):
        order = np.int64(stack // STACK_WORDS % STACKS)
        if order == SMALL_ORDERS:
            order = np.int64(state.chunk_order)
        start = granule >> order << order
        mask = _run_of(state.stacks, np.uint64(stack)) >> np.uint64(start & 63) & np.uint64(1)
        if mask != np.uint64(0) and np.int64(state.stacks[np.uint64(stack) + _RUN]) == start >> 6:
            return True
    return False


# ---- hosted arenas --------------------------------------------------------------------------


@kernel
def ready_record(state, kind):
    """See that a record of this kind can be taken; False where there is no memory for it."""
    if heads.has_record(state.heads, kind):
        return True
    order = state.heads.arenas[kind]["slab_order"]
    found, part = place(state, order, np.int64(0))
    if found == NONE and make_room(state) > 0:
        found, part = place(state, order, np.int64(0))
    if found == NONE:
        return False
    take(state, part, found, order, np.int64(DESCRIPTOR), np.int64(NONE))
    heads.add_slab(state.heads, kind, found)
    return True


@kernel
def make_room(state):
    """Give back what is kept for later, cached blocks and empty slabs; return how many blocks."""
    freed = drain(state)
    if state.hosted:
        for kind in range(len(state.heads.arenas)):
            if state.heads.arenas[kind]["slab_records"] > 0:
                freed += shrink(state, kind)
    return freed


@kernel
def shrink(state, kind):
    """Give back the slabs of a hosted arena whose records are all free; return how many."""
    arena, slabs = state.heads.arenas[kind], state.heads.slabs
    base, each = arena["base"], arena["slab_records"]
    for slab in range(arena["slabs"]):
        slabs[base + slab]["free"] = 0
    if arena["fresh"] < arena["room"]:
        slabs[base + arena["fresh"] // each]["free"] = arena["room"] - arena["fresh"]
    for i in range(arena["free"]):
        slabs[base + state.heads.freed[base + i] // each]["free"] += 1
    return _give_slabs(state, arena, base, each)


@kernel
def _give_slabs(state, arena, base, each):
    """Forget the freed records of wholly free slabs, then give the slabs back."""
    slabs, freed, kept = state.heads.slabs, state.heads.freed, np.int64(0)
    for i in range(arena["free"]):
        number = freed[base + i]
        if slabs[base + number // each]["free"] < each:
            freed[base + kept] = number
            kept += 1
    arena["free"] = kept
    given = np.int64(0)
    for slab in range(arena["slabs"]):
        if slabs[base + slab]["free"] < each:
            continue
        if arena["fresh"] // each == slab:
            arena["fresh"] = arena["room"]
        granule = slabs[base + slab]["granule"]
        _free(state, heads.entry_at(state.heads, granule), granule)
        slabs[base + slab]["granule"], arena["free_slab"] = arena["free_slab"], slab + 1
        given += 1
    return given


# ---- moving ---------------------------------------------------------------------------------


@kernel
def can_move(state, at):
    """Whether the block of entry `at` may be put elsewhere."""
    entry = state.heads.slots[at]["entry"]
    movable = state.heads.arenas[heads.kind_of(entry)]["movable"] != 0
    return movable and entry & _STAYS == np.uint64(0) and heads.pins(state.heads, at) == 0


@kernel
def _move(state, at, granule):
    """Put a movable block elsewhere, its extent into nobody's hands; its new start, or NONE."""
    order = heads.order_of(state.heads.slots[at]["entry"])
    group = np.int64(state.chunk_groups[granule >> state.chunk_order])
    found, part = place(state, order, group)
    if found != NONE:
        tree.put(state.tree, part, found, order, False)
        heads.move(state.heads, at, found)
    return found


@kernel
def migrate(state, granule):
    at = heads.head_at(state.heads, granule)
    if at == NONE:
        return np.int64(NONE), np.int64(Outcome.ABSENT)
    if not can_move(state, at):
        return np.int64(NONE), np.int64(Outcome.UNMOVABLE)
    order, found = heads.order_of(state.heads.slots[at]["entry"]), _move(state, at, granule)
    if found == NONE and make_room(state) > 0:
        found = _move(state, at, granule)
    if found == NONE:
        return np.int64(NONE), np.int64(Outcome.REFUSED)
    _give(state, granule, order)
    return found, np.int64(Outcome.DONE)


@kernel
def holder(state, granule):
    at = np.int64(NONE)
    if tree.zone_of(state.tree, granule) != NONE:
        at = heads.entry_at(state.heads, granule)
    if at == NONE:
        return np.int64(NONE), np.int64(0)
    entry = state.heads.slots[at]["entry"]
    if entry & CACHED != np.uint64(0) or heads.kind_of(entry) == POISON:
        return np.int64(NONE), np.int64(0)
    return heads.start_of(state.heads, at), heads.order_of(entry)


@kernel
def in_the_way(state, start, end):
    """Movable live granules between start and end, or NONE if what is there cannot be emptied.

    Front caches have been drained.
    """
    granule, used = start, np.int64(0)
    while granule < end:
        at = heads.entry_at(state.heads, granule)
        if at == NONE:
            order = tree.free_order(state.tree, part_of(state, granule), granule)
            if order == NONE:
                return np.int64(NONE)  # a hole
            granule = ((granule >> order) + 1) << order
        elif can_move(state, at):
            after = _end_of(state, at)
            used += min(after, end) - granule
            granule = after
        else:
            return np.int64(NONE)
    return used


@kernel
def _end_of(state, at):
    return heads.start_of(state.heads, at) + (
        np.int64(1) << heads.order_of(state.heads.slots[at]["entry"])
    )


@kernel
def sticking_out(state, start, end):
    """Granules outside of blocks that lie across the borders of start .. end - 1."""
    outside = np.int64(0)
    at = heads.entry_at(state.heads, start)
    if at != NONE:
        outside += start - heads.start_of(state.heads, at)
    at = heads.entry_at(state.heads, end - 1)
    if at != NONE:
        outside += _end_of(state, at) - end
    return outside


@kernel
def empty_out(state, start, end, moves):
    """Take start .. end - 1 out of the free memory, its live blocks moved elsewhere.

    Returns how many were moved (MOVE[] in address order), NONE if one found no place: then all is
    as it was.
    """
    _isolate(state, start, end)
    moved, granule = np.int64(0), start
    while granule < end:
        at = heads.entry_at(state.heads, granule)
        if at == NONE:
            granule = heads.next_start(state.heads, granule)
            continue
        first, after = heads.start_of(state.heads, at), _end_of(state, at)
        order = heads.order_of(state.heads.slots[at]["entry"])
        to = _move(state, at, first)
        if to == NONE:
            _move_back(state, start, end, moves[:moved])
            return np.int64(NONE)
        moves[moved]["granule"], moves[moved]["to"], moves[moved]["order"] = first, to, order
        moved, granule = moved + 1, after
    if moved > 0:
        first, last = moves[0]["granule"], moves[moved - 1]
        if first < start:
            add(state, first, start)
        after = last["granule"] + (np.int64(1) << np.int64(last["order"]))
        if end < after:
            add(state, end, after)
    for chunk in range(-(-start >> state.chunk_order), end >> state.chunk_order):
        state.chunk_groups[chunk] = 0  # wholly taken: it comes back to the pool
    return moved


@kernel
def _isolate(state, start, end):
    """Take what is free between start and end out of the tree."""
    granule = start
    while granule < end:
        at = heads.entry_at(state.heads, granule)
        if at != NONE:
            granule = _end_of(state, at)
            continue
        part = part_of(state, granule)
        order = tree.free_order(state.tree, part, granule)
        assert order != NONE
        order = min(order, largest_order(granule, end - granule))
        tree.enter(state.tree, part, granule, order)
        tree.put(state.tree, part, granule, order, False)
        granule += np.int64(1) << order


@kernel
def _move_back(state, start, end, moves):
    """Undo `empty_out`: the blocks to where they were, the rest free again."""
    for i in range(len(moves)):
        granule, to, order = moves[i]["granule"], moves[i]["to"], np.int64(moves[i]["order"])
        heads.move(state.heads, heads.entry_at(state.heads, to), granule)
        _give(state, to, order)
    granule, free = start, start
    while granule < end:
        at = heads.entry_at(state.heads, granule)
        if at == NONE:
            granule = heads.next_start(state.heads, granule)
            continue
        add(state, free, granule)
        granule = free = _end_of(state, at)
    add(state, free, end)


# ---- failed granules ------------------------------------------------------------------------


@kernel
def _poison_bit(granule):
    return np.uint64(1) << np.uint64(granule & 63)


@kernel
def is_poisoned(state, granule):
    return state.poison[granule >> 6] & _poison_bit(granule) != np.uint64(0)


@kernel
def _note_poison(state, at):
    """Let the entry of a live block say whether it still holds a failed granule."""
    if state.heads.slots[at]["entry"] & POISONED == np.uint64(0):
        return
    granule, end = heads.start_of(state.heads, at), _end_of(state, at)
    while granule < end:
        if is_poisoned(state, granule):
            return
        granule += 1 if state.poison[granule >> 6] != np.uint64(0) else 64 - (granule & 63)
    state.heads.slots[at]["entry"] &= ~POISONED


@kernel
def _plant(state, granule):
    """The permanent start of a failed granule that is in no live block; it has no record."""
    heads.store(state.heads, granule, np.int64(0), np.int64(POISON), np.int64(NONE))
    state.heads.slots[granule]["entry"] |= POISONED


@kernel
def _give_around_poison(state, granule, order):
    """Free a released extent but for its failed granules."""
    end = granule + (np.int64(1) << order)
    start = granule
    while granule < end:
        if granule & 63 == 0 and state.poison[granule >> 6] == np.uint64(0) and end - granule >= 64:
            granule += 64
        elif is_poisoned(state, granule):
            add(state, start, granule)
            _plant(state, granule)
            granule += 1
            start = granule
        else:
            granule += 1
    add(state, start, end)


@kernel
def fail(state, granule):
    if tree.zone_of(state.tree, granule) == NONE:
        return np.int64(Outcome.OUTSIDE)
    if is_poisoned(state, granule):
        return np.int64(Outcome.POISONED_BEFORE)
    if is_cached(state, granule):
        drain(state)
    at = heads.entry_at(state.heads, granule)
    part = part_of(state, granule)
    if at == NONE and tree.free_order(state.tree, part, granule) == NONE:
        return np.int64(Outcome.OUTSIDE)
    state.poison[granule >> 6] |= _poison_bit(granule)
    if at != NONE:
        state.heads.slots[at]["entry"] |= POISONED
        return np.int64(Outcome.POISONED_LIVE)
    tree.enter(state.tree, part, granule, np.int64(0))
    tree.put(state.tree, part, granule, np.int64(0), False)
    _plant(state, granule)
    return np.int64(Outcome.POISONED_FREE)


@kernel
def unpoison(state, granule):
    zone = tree.zone_of(state.tree, granule)
    if zone == NONE or not is_poisoned(state, granule):
        return np.int64(Outcome.IGNORED)
    state.poison[granule >> 6] &= ~_poison_bit(granule)
    at = heads.entry_at(state.heads, granule)
    if heads.kind_of(state.heads.slots[at]["entry"]) != POISON:
        _note_poison(state, at)
        return np.int64(Outcome.POISONED_LIVE)
    heads.erase(state.heads, granule)
    add(state, granule, granule + 1)
    return np.int64(Outcome.DONE)


# ---- what is there --------------------------------------------------------------------------


@kernel
def list_live(state, start, end, out):
    """Live blocks, records' and failed granules included, that begin in start .. end - 1.

    Written to `out` (BLOCK[]) in address order as far as it goes; returns how many there are.  The
    walk goes from block to block, free ones included, so it costs what is there, not the space.
    """
    granule, count = start, np.int64(0)
    while granule < end:
        at = heads.entry_at(state.heads, granule)
        if at == NONE:
            order = tree.free_order(state.tree, part_of(state, granule), granule)
            if order == NONE:
                granule = heads.next_start(state.heads, granule)
            else:
                granule = ((granule >> order) + 1) << order
            continue
        entry = state.heads.slots[at]["entry"]
        if entry & CACHED == np.uint64(0) and count < len(out):
            block = out[count]
            block["granule"], block["order"] = granule, heads.order_of(entry)
            block["kind"] = heads.kind_of(entry)
            block["owner"] = heads.description(state.heads, at)[0]
        count += entry & CACHED == np.uint64(0)
        granule = _end_of(state, at)
    return count


# ---- check ----------------------------------------------------------------------------------


@kernel
def check(state):
    tree.check(state.tree)
    cached = np.int64(0)
    for level in range(len(state.heads.offsets) - 1):
        first, last = state.heads.offsets[level], state.heads.offsets[level + 1]
        for at in range(first, last, 64):
            word = state.heads.starts[at >> 6]
            if word != np.uint64(0):
                cached += _check_slots(state, at, word)
            while word != np.uint64(0):
                cached += _check_block(state, at + trailing_zeros(word), level)
                word &= word - np.uint64(1)
    for stack in range(0, len(state.stacks), STACK_WORDS):
        count = np.int64(state.stacks[stack])
        top, below = count % _BELOW, count // _BELOW
        cached -= top + below + _check_run(state, stack)
        for i in range(top):
            _check_cached(state, np.int64(state.stacks[stack + _TOP + i]))
        for i in range(below):
            _check_cached(state, np.int64(state.stacks[stack + _TOP + TOP_BLOCKS + i]))
    assert cached == 0  # every cached block is on one stack, or in a run


@kernel
def _check_slots(state, first, word):
    """Assert that what has an entry has a start bit; return how many start bits have none."""
    bare = np.int64(0)
    for i in range(64):
        begins = word >> np.uint64(i) & np.uint64(1) != np.uint64(0)
        filled = state.heads.slots[first + i]["entry"] != np.uint64(0)
        assert begins or not filled
        bare += begins and not filled
    return bare


@kernel
def _check_run(state, stack):
    """Assert that the blocks of a run have a start bit, no entry and nothing free; their number."""
    mask, order = _run_of(state.stacks, np.uint64(stack)), np.int64(stack // STACK_WORDS % STACKS)
    order = order if order < SMALL_ORDERS else np.int64(state.chunk_order)
    left = mask
    while left != np.uint64(0):
        granule = np.int64(state.stacks[np.uint64(stack) + _RUN]) << 6
        granule += trailing_zeros(left)
        at = heads.slot_of(state.heads, granule, order)
        assert state.heads.starts[at >> 6] >> np.uint64(at & 63) & np.uint64(1) != np.uint64(0)
        assert state.heads.slots[at]["entry"] == np.uint64(0)
        _check_not_free(state, granule, order)
        left &= left - np.uint64(1)
    return popcount(mask)


@kernel
def _check_cached(state, granule):
    at = heads.head_at(state.heads, granule)
    assert state.heads.slots[at]["entry"] & CACHED != np.uint64(0)


@kernel
def _check_not_free(state, granule, order):
    """Assert that a block is aligned, in a zone, and that nothing in it is free."""
    size = np.int64(1) << order
    assert granule & (size - 1) == 0
    zone = tree.zone_of(state.tree, granule)
    assert zone != NONE
    for part in range(zone * state.tree.groups, (zone + 1) * state.tree.groups):
        free = tree.find_from(state.tree, part, np.int64(0), granule)
        assert free == NONE or free >= granule + size


@kernel
def _check_block(state, at, level):
    """Assert that a start is in its place and nothing in it is free; 1 if it is cached."""
    entry = state.heads.slots[at]["entry"]
    if entry == np.uint64(0):
        return np.int64(0)  # of a run
    order = heads.order_of(entry)
    assert order // 6 == level
    granule = heads.start_of(state.heads, at)
    _check_not_free(state, granule, order)
    last = granule + (np.int64(1) << order) - 1
    assert heads.entry_at(state.heads, last) == at  # and no other live block
    return np.int64(entry & CACHED != np.uint64(0))


_VERBS = {
    "add": add,
    "adopt": adopt,
    "release": release,
    "split": split,
    "migrate": migrate,
    "holder": holder,
    "drain": drain,
    "pin": pin,
    "unpin": unpin,
    "fail": fail,
    "unpoison": unpoison,
    "check": check,
}
