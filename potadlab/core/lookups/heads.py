"""Start bits with slots: from any granule to its live block, kind and owner in two lines.

Level l has a bit for each run of 64**l granules, set where a live block of order 6l .. 6l + 5
begins, and a slot of 16 bytes beside it.  A live block of level l covers whole words of the levels
below, so they hold no start: an empty word sends the search up, a word with starts ends it.
Naturally aligned powers of two are what makes this possible; a tree of ranges cannot know it.

A slot is the hot half of a descriptor's header: the entry (kind, order, flags, which record), the
owner and the kind's state word; an entry of 0 says that nothing begins there, so who knows the
first granule needs no start bit.  The rest of a record lies in an arena per kind, freed ones are
reused last in first out: the header's cold half (how many share it, pins) and, apart from it, the
kind's own body.  A kind without a record (plain kernel pages, poison, as type 0 of Linux's planned
memdesc) has its slot only.  Pieces of a split block share its record, which counts them: releasing
never allocates.  Owners stood in the records before: a line more on every op and lookup.

Magazines.  Each CPU keeps up to MAGAZINE freed records of each kind on a line of its own, last in
first out, so that a block off a front cache finds its record without the arena, which is all CPUs'
(Bonwick and Adams, Magazines and Vmem, USENIX 2001).  Hosted arenas have none: a slab goes back
when its records are free, wherever they were kept.

Hosted arenas take their memory from the space that they describe, a slab at a time: a block of
kind DESCRIPTOR, which needs no record, so there is no recursion.  A slab whose records are all
free goes back when memory is wanted (`blocks.shrink`).

The start bits are always exact.  Source: potadlab's own; the mail it answers is Wilcox, 29 March
2021, 20210329165832.GG351017@casper.infradead.org ("It's going to have to be a lookup tree").
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import generic, inlined, kernel, state
from ..bits import apart, leading_zeros, prefetch, trailing_zeros
from ..layout import KIND_FACTS, NONE, POISON
from ..mapped import mapped

# entry, from bit 0: reach 8 bits | order 8 | kind 8 | flags 8 | record 32; 0: no block begins here.
# reach: granules of a live block of level 0, in level l 64**l at a time; 0 for one that is cached
_REACH, _EXTENT = np.uint64(0xFF), np.uint64(0xFFFF)
_ORDER_SHIFT, _KIND_SHIFT, _RECORD_SHIFT = np.uint64(8), np.uint64(16), np.uint64(32)
POISONED = np.uint64(1 << 24)  # it holds a failed granule
PIECE = np.uint64(1 << 25)  # its record is shared
CACHED = np.uint64(1 << 26)  # in a front cache: not live
RELEASED = np.uint64(1 << 27)  # released while pinned: it goes with its last pin
CHUNK = np.uint64(1 << 28)  # of a claim: it stays beside the others
PINNED = np.uint64(1 << 29)  # it has pins, or had; pieces and chunks share theirs without it
OWNS = np.uint64(1 << 30)  # it has a record, which is its own unless it is a PIECE
_LOW = np.uint64((1 << 32) - 1)

_ENTRY = {"entry": ("u8", 0), "reach": ("u1", 0), "order": ("u1", 1), "kind": ("u1", 2)}
SLOT = np.dtype(_ENTRY | {"owner": ("i4", 8), "state": ("i4", 12)})  # state: the kind's own word
BARE = np.dtype(_ENTRY)  # of what describes nothing
RECORD = np.dtype(
    [  # the cold half of a descriptor's header, written when it is wanted first
        ("pieces", "i4"),  # PIECE: how many live blocks share it
        ("pins", "i4"),  # PIECE, PINNED
    ]
)
ENTRY_BYTES = 8
HEADER_BYTES = SLOT.itemsize - ENTRY_BYTES + RECORD.itemsize  # owner, state, pieces, pins
ARENA = np.dtype(
    [  # one per kind; what taking and freeing a record needs is the first line
        ("record_bytes", "i8"),  # header, both halves, and body; 0: the kind has no records
        ("base", "i8"),  # where its records begin
        ("free", "i8"),  # how many stand in `freed`
        ("fresh", "i8"),  # the next that was never used
        ("room", "i8"),  # end of those that have memory
        ("live", "i8"),  # that blocks have, or magazines
        ("movable", "i8"),
        ("bodies", "i8"),  # where its bodies begin
        ("slab_order", "i8"),  # hosted: of the blocks that hold its records
        ("slab_records", "i8"),  # hosted: how many a slab holds; 0: not hosted
        ("slabs", "i8"),  # hosted: slabs ever numbered
        ("free_slab", "i8"),  # hosted: last slab given back + 1, 0: none
        ("unused", "i8", 4),
    ]
)
assert ARENA.itemsize == 128
MAGAZINE_WORDS = 16  # i4: how many records it holds, NONE for a kind without; their numbers
MAGAZINE = MAGAZINE_WORDS - 1
_HANDED_BACK = 8  # records that go from a full magazine to the arena
SLAB = np.dtype(
    [  # records number * slab_records ... of an arena
        ("granule", "i8"),  # its block; given back: the next such slab + 1
        ("free", "i8"),  # scratch of `blocks.shrink`
    ]
)


@state
class Heads(NamedTuple):
    starts: np.ndarray  # u8[...]  start bits of each level; set without a slot: `blocks`' runs
    slots: np.ndarray  # SLOT[...]  of each level; Bare: BARE[...]
    offsets: np.ndarray  # i8[level]  where a level begins in slots; / 64: in starts
    arenas: np.ndarray  # ARENA[kind]
    magazines: np.ndarray  # i4[(cpu * kinds + kind) * MAGAZINE_WORDS + ...]
    records: np.ndarray  # RECORD[...]  those of an arena begin at its base
    freed: np.ndarray  # i4[...]  numbers of freed records, by arena, the last on top
    bodies: np.ndarray  # u1[...]  cold bodies, record_bytes - 16 each
    slabs: np.ndarray  # SLAB[...]  by arena; hosted ones only


class Bare(Heads):
    """Heads without owners and records: what an allocator must know by itself."""


def new(
    granules: int, kinds: np.ndarray, hosted: int = 0, bare: bool = False, cpus: int = 0
) -> Heads:
    """A lookup over `granules`, empty; kinds: KIND_FACTS[].

    hosted: bytes of a granule, if the records' memory is taken from the space itself; else 0.
    bare: no kind has records, no block an owner.  cpus: with magazines, a power of two or 0.
    """
    if bare:
        kinds = kinds.copy()
        kinds["record_bytes"] = 0
    if bare or hosted:
        cpus = 0
    levels = _levels(granules)
    sizes = [64 ** (levels - level) for level in range(levels)]
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    each = granules + cpus * MAGAZINE  # a block has a record at most; what magazines hold is more
    total, arenas = int(offsets[-1]), _arenas(each, kinds, hosted)
    body_bytes = int(_body_bytes(kinds).sum()) * each
    return (Bare if bare else Heads)(
        mapped(total // 64, "u8"),
        mapped(total, BARE if bare else SLOT),
        offsets,
        arenas,
        mapped(cpus * len(kinds) * MAGAZINE_WORDS, "i4"),
        mapped(len(kinds) * each, RECORD),
        mapped(len(kinds) * each, "i4"),
        mapped(body_bytes, "u1"),
        mapped(len(kinds) * each if hosted else 1, SLAB),
    )


def _levels(granules: int) -> int:
    """Levels of start bits: the highest is one or more words."""
    levels = 2
    while 64**levels <= granules:
        levels += 1
    return levels


def _body_bytes(kinds: np.ndarray) -> np.ndarray:
    return np.maximum(kinds["record_bytes"] - HEADER_BYTES, 0)


def _arenas(each: int, kinds: np.ndarray, hosted: int) -> np.ndarray:
    """ARENA[kind] with room for so many records in each."""
    assert kinds.dtype == KIND_FACTS
    arenas = np.zeros(len(kinds), ARENA)
    arenas["record_bytes"], arenas["movable"] = kinds["record_bytes"], kinds["movable"]
    arenas["base"] = np.arange(len(kinds)) * each
    arenas["bodies"] = np.cumsum(np.append(0, _body_bytes(kinds)[:-1])) * each
    arenas["room"] = each
    if hosted:
        for arena in arenas:
            record_bytes = int(arena["record_bytes"])
            if record_bytes == 0:
                continue
            arena["room"] = 0
            arena["slab_order"] = (-(-record_bytes // hosted) - 1).bit_length()
            arena["slab_records"] = (hosted << int(arena["slab_order"])) // record_bytes
    return arenas


def live_records(heads: Heads) -> np.ndarray:
    """Records that blocks have, by kind; what lies in magazines is free."""
    kept = heads.magazines.reshape(-1, len(heads.arenas), MAGAZINE_WORDS)[:, :, 0]
    found: np.ndarray = heads.arenas["live"] - np.maximum(kept, 0).sum(axis=0)
    return found


# ---- what is said of a block beside its entry -----------------------------------------------


@generic
def describe(heads, at, owner, state):
    """Write owner and state word of slot `at`."""


@describe.register
@inlined
def _(heads: Heads, at, owner, state):
    slot = heads.slots[np.uint64(at)]
    slot["owner"], slot["state"] = owner, state


@describe.register
@inlined
def _(heads: Bare, at, owner, state):
    pass


@generic
def description(heads, at):
    """(owner, state word) of slot `at`."""


@description.register
@inlined
def _(heads: Heads, at):
    slot = heads.slots[np.uint64(at)]
    return np.int64(slot["owner"]), np.int64(slot["state"])


@description.register
@inlined
def _(heads: Bare, at):
    return np.int64(NONE), np.int64(0)


# ---- entries and records --------------------------------------------------------------------


@inlined
def kind_of(entry):
    return np.int64(entry >> _KIND_SHIFT & np.uint64(0xFF))


@inlined
def order_of(entry):
    return np.int64(entry >> _ORDER_SHIFT & np.uint64(0xFF))


@inlined
def _extent(order):
    """Order and reach of the entry of a live block."""
    reach = np.uint64(1) << np.uint64(order - order // 6 * 6)
    return np.uint64(order) << _ORDER_SHIFT | reach


@kernel
def record_at(heads, entry):
    """Index of the record of `entry` in `records`, NONE where its kind has none."""
    if entry & OWNS == np.uint64(0):
        return np.int64(NONE)
    return heads.arenas[kind_of(entry)]["base"] + np.int64(entry >> _RECORD_SHIFT)


@kernel
def body_at(heads, entry):
    """(where it begins in `bodies`, bytes) of the cold body of a record; no bytes for no record."""
    arena = heads.arenas[kind_of(entry)]
    size = max(arena["record_bytes"] - HEADER_BYTES, np.int64(0))
    return arena["bodies"] + np.int64(entry >> _RECORD_SHIFT) * size, size


@inlined
def _take_record(heads, kind):
    """Of the entry of a new block: kind and record, if its kind has one; no record is touched."""
    arena = heads.arenas[kind]
    if arena["record_bytes"] == 0:
        return np.uint64(kind) << _KIND_SHIFT
    free = arena["free"] - 1
    if free >= 0:
        number = np.int64(heads.freed[arena["base"] + free])
        arena["free"] = free
    else:
        number = arena["fresh"]
        assert number < arena["room"]
        arena["fresh"] = number + 1
    arena["live"] += 1
    return np.uint64(number) << _RECORD_SHIFT | OWNS | np.uint64(kind) << _KIND_SHIFT


@inlined
def fetch_slot(heads, at):
    """Have the lines fetched that forgetting the slot `at` writes."""
    prefetch(heads.slots, at)
    prefetch(heads.starts, at >> 6)


@inlined
def has_record(heads, kind):
    """Whether a record of this kind can be taken, or none is needed."""
    arena = heads.arenas[kind]
    return arena["record_bytes"] == 0 or arena["free"] > 0 or arena["fresh"] < arena["room"]


@kernel
def add_slab(heads, kind, granule):
    """Let the block at `granule` hold the next records of a hosted arena that has none left."""
    arena = heads.arenas[kind]
    number = arena["free_slab"] - 1
    if number >= 0:
        arena["free_slab"] = heads.slabs[arena["base"] + number]["granule"]
    else:
        number = arena["slabs"]
        arena["slabs"] += 1
    heads.slabs[arena["base"] + number]["granule"] = granule
    arena["fresh"] = number * arena["slab_records"]
    arena["room"] = arena["fresh"] + arena["slab_records"]


@inlined
def drop_record(heads, entry):
    """One live block fewer shares the record of `entry`; the last one frees it."""
    if entry & OWNS == np.uint64(0):
        return
    arena = heads.arenas[kind_of(entry)]
    number = np.int64(entry >> _RECORD_SHIFT)
    if entry & PIECE != np.uint64(0):
        record = heads.records[arena["base"] + number]
        record["pieces"] -= 1
        if record["pieces"] > 0:
            return
    heads.freed[arena["base"] + arena["free"]] = number
    arena["free"] += 1
    arena["live"] -= 1


@inlined
def _take_kept(heads, kind, cpu):
    """As `_take_record`, from the magazine of this CPU."""
    if len(heads.magazines) == 0:
        return _take_record(heads, kind)
    at = np.uint64((cpu * len(heads.arenas) + kind) * MAGAZINE_WORDS)
    count = np.int64(heads.magazines[at])
    if count == 0:
        count = _refill(heads, kind, at)
    if count == NONE:
        return np.uint64(kind) << _KIND_SHIFT
    heads.magazines[at] = count - 1
    number = np.uint64(heads.magazines[at + np.uint64(count)])
    return number << _RECORD_SHIFT | OWNS | np.uint64(kind) << _KIND_SHIFT


@kernel
def _refill(heads, kind, at):
    """Fill an empty magazine from its arena; return how many it holds, NONE: no such records."""
    apart()
    arena, count = heads.arenas[kind], np.int64(0)
    if arena["record_bytes"] == 0:
        heads.magazines[at] = NONE
        return np.int64(NONE)
    count = min(arena["free"], np.int64(MAGAZINE))
    arena["free"] -= count
    first = arena["base"] + arena["free"]
    for i in range(count):
        heads.magazines[at + np.uint64(1 + i)] = heads.freed[first + i]
    if count == 0:
        count = min(arena["room"] - arena["fresh"], np.int64(MAGAZINE))
        assert count > 0
        arena["fresh"] += count
        for i in range(count):  # the lowest on top
            heads.magazines[at + np.uint64(1 + i)] = arena["fresh"] - 1 - i
    arena["live"] += count
    return count


@inlined
def _keep_record(heads, entry, cpu):
    """As `drop_record` of a block that is no piece, into the magazine of this CPU."""
    if len(heads.magazines) == 0:
        drop_record(heads, entry)
    elif entry & OWNS != np.uint64(0):
        at = np.uint64((cpu * len(heads.arenas) + kind_of(entry)) * MAGAZINE_WORDS)
        if heads.magazines[at] == MAGAZINE:
            _hand_back(heads, kind_of(entry), at)
        count = np.int64(heads.magazines[at]) + 1
        heads.magazines[at + np.uint64(count)] = np.int64(entry >> _RECORD_SHIFT)
        heads.magazines[at] = count


@kernel
def _hand_back(heads, kind, at):
    """Give what lies longest in a full magazine back to its arena."""
    apart()
    arena = heads.arenas[kind]
    first = arena["base"] + arena["free"]
    for i in range(_HANDED_BACK):
        heads.freed[first + i] = heads.magazines[at + np.uint64(1 + i)]
    for i in range(MAGAZINE - _HANDED_BACK):
        heads.magazines[at + np.uint64(1 + i)] = heads.magazines[
            at + np.uint64(1 + _HANDED_BACK + i)
        ]
    heads.magazines[at] = MAGAZINE - _HANDED_BACK
    arena["free"] += _HANDED_BACK
    arena["live"] -= _HANDED_BACK


@kernel
def _share_record(heads, entry, blocks):
    """Let `blocks` more live blocks share the record of `entry`."""
    if entry & OWNS == np.uint64(0):
        return
    record = heads.records[record_at(heads, entry)]
    if entry & PIECE == np.uint64(0):
        record["pieces"], record["pins"] = 1, 0
    record["pieces"] += blocks


@inlined
def _write(heads, granule, order, entry, owner, state):
    level = order // 6
    at = heads.offsets[level] + (granule >> (6 * level))
    heads.starts[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
    slot = heads.slots[at]
    slot["entry"] = entry & ~_EXTENT | _extent(order)
    describe(heads, at, owner, state)


@inlined
def slot_of(heads, granule, order):
    """Where in `slots` a block of this order that begins at `granule` has its own."""
    if order < 6:
        return granule
    return heads.offsets[order // 6] + (granule >> (6 * (order // 6)))


@inlined
def head_at(heads, granule):
    """Where in `slots` the live block that begins at `granule` has its slot, or NONE.

    No start bit is read: what is told the first granule finds the slot at once.
    """
    if heads.slots[np.uint64(granule)]["entry"] != np.uint64(0):
        return granule
    level = np.int64(1)
    while level < len(heads.offsets) - 1 and granule & ((np.int64(1) << (6 * level)) - 1) == 0:
        at = heads.offsets[level] + (granule >> (6 * level))
        if heads.slots[at]["entry"] != np.uint64(0):
            return at
        level += 1
    return np.int64(NONE)


@inlined
def entry_at(heads, granule):
    """Where in `slots` the live block that holds `granule` has its own, or NONE."""
    for level in range(len(heads.offsets) - 1):
        at = heads.offsets[level] + (granule >> (6 * level))
        word = heads.starts[at >> 6]
        if word == np.uint64(0):
            continue
        if word >> np.uint64(at & 63) & np.uint64(1) != np.uint64(0):
            # most often: guessed right, the entry is read before the word is there
            return at if heads.slots[at]["entry"] != np.uint64(0) else np.int64(NONE)
        before = word << np.uint64(63 - (at & 63))
        if before == np.uint64(0):
            return np.int64(NONE)
        start = at - leading_zeros(before)
        entry = heads.slots[start]["entry"]
        if entry == np.uint64(0) or (at - start) << (6 * level) >> order_of(entry) != 0:
            return np.int64(NONE)
        return start
    return np.int64(NONE)


@kernel
def next_start(heads, granule):
    """The lowest granule after `granule`, which is in no block, at which a block may begin."""
    at = granule + 1
    word = heads.starts[at >> 6] >> np.uint64(at & 63)
    if at & 63 == 0:
        return at
    return at + trailing_zeros(word) if word != np.uint64(0) else ((at >> 6) + 1) << 6


@inlined
def start_of(heads, at):
    """First granule of the block whose entry is `at`."""
    level = order_of(heads.slots[np.uint64(at)]["entry"]) // 6
    if level == 0:
        return at
    return (at - heads.offsets[level]) << (6 * level)


@inlined
def forget(heads, at):
    """Clear start bit and entry of the slot `at`; return the entry; its record stays."""
    heads.starts[at >> 6] &= ~(np.uint64(1) << np.uint64(at & 63))
    entry = heads.slots[at]["entry"]
    heads.slots[at]["entry"] = 0
    return entry


@interface.store.register
@inlined
def store(index: Heads, granule, order, kind, owner):
    _write(index, granule, order, _take_record(index, kind), owner, 0)


@kernel
def store_chunks(heads, granule, order, chunks, kind, owner):
    """Store `chunks` adjacent blocks that share one record (a claim)."""
    entry = _take_record(heads, kind)
    _share_record(heads, entry, chunks - 1)
    for chunk in range(chunks):
        _write(heads, granule + (chunk << order), order, entry | PIECE | CHUNK, owner, 0)


@kernel
def move(heads, at, granule):
    """Let the block of slot `at` begin at `granule` instead; its record goes with it."""
    owner, state = description(heads, at)
    entry = forget(heads, at)
    _write(heads, granule, order_of(entry), entry, owner, state)


@kernel
def own_record(heads, at):
    """Give a piece of a split block a record of its own, which says what the shared one does."""
    slot = heads.slots[at]
    entry = slot["entry"]
    own = _take_record(heads, kind_of(entry)) | entry & _LOW & ~PIECE
    first, size = body_at(heads, entry)
    into = body_at(heads, own)[0]
    for i in range(size):
        heads.bodies[into + i] = heads.bodies[first + i]
    drop_record(heads, entry)
    slot["entry"] = own


@inlined
def set_start(heads, at):
    """Set the start bit of a block that has no slot yet: it is in a run of a front cache."""
    heads.starts[at >> 6] |= np.uint64(1) << np.uint64(at & 63)


@inlined
def set_starts(heads, granule, mask):
    """As `set_start`, of blocks of order < 6 in the word of `granule`."""
    heads.starts[granule >> 6] |= mask


@inlined
def label(heads, at, order, kind, owner, cpu):
    """Make a block of a run live: its start bit is set."""
    entry = _take_kept(heads, kind, cpu) | _extent(order)
    heads.slots[np.uint64(at)]["entry"] = entry
    describe(heads, at, owner, 0)


@inlined
def forget_cached(heads, granule):
    """Clear the entry of a cached block of order < 6, its record freed; its start bit stays."""
    slot = heads.slots[granule]
    drop_record(heads, slot["entry"])
    slot["entry"] = 0


@inlined
def clear_starts(heads, granule, mask):
    """Clear start bits in the word of `granule`, of blocks that are forgotten."""
    heads.starts[granule >> 6] &= ~mask


@inlined
def relabel(heads, at, order, kind, owner, cpu):
    """Make a cached block live; a record of the same kind is used again."""
    slot = heads.slots[np.uint64(at)]
    entry = slot["entry"]
    describe(heads, at, owner, 0)
    if kind_of(entry) == kind:
        slot["entry"] = entry & ~CACHED | _extent(order)
    else:
        slot["entry"] = _other_record(heads, entry, kind, cpu)


@kernel
def _other_record(heads, entry, kind, cpu):
    """The entry of a block that was cached, with a record of another kind."""
    apart()
    _keep_record(heads, entry, cpu)
    return _take_kept(heads, kind, cpu) | _extent(order_of(entry))


@inlined
def pins(heads, at):
    """How often the block of slot `at` is pinned."""
    entry = heads.slots[at]["entry"]
    if entry & OWNS == np.uint64(0) or entry & (PINNED | PIECE) == np.uint64(0):
        return np.int64(0)
    return np.int64(heads.records[record_at(heads, entry)]["pins"])


@kernel
def pieces(heads, at):
    """How many blocks share the record of slot `at`, itself counted."""
    entry = heads.slots[at]["entry"]
    if entry & OWNS == np.uint64(0) or entry & PIECE == np.uint64(0):
        return np.int64(1)
    return np.int64(heads.records[record_at(heads, entry)]["pieces"])


@kernel
def add_pins(heads, at, count):
    """Add pins to the record of slot `at`; False where its kind has none."""
    slot = heads.slots[at]
    entry = slot["entry"]
    if entry & OWNS == np.uint64(0):
        return False
    record = heads.records[record_at(heads, entry)]
    if entry & (PINNED | PIECE) == np.uint64(0):
        record["pins"] = 0
    record["pins"] += count
    slot["entry"] = entry | PINNED if record["pins"] > 0 else entry & ~PINNED
    return True


@interface.erase.register
@kernel
def erase(index: Heads, granule):
    at = head_at(index, granule)
    if at == NONE:
        return np.int64(NONE)
    entry = forget(index, at)
    drop_record(index, entry)
    return order_of(entry)


@kernel
def split_block(heads, granule, order):
    """Make the block at `granule` into pieces that share its record; return its order, or NONE."""
    at = head_at(heads, granule)
    if at == NONE:
        return np.int64(NONE)
    entry, (owner, state) = heads.slots[at]["entry"], description(heads, at)
    if order_of(entry) < order or kind_of(entry) == POISON or pins(heads, at) > 0:
        return np.int64(NONE)
    if entry & CACHED != np.uint64(0):
        return np.int64(NONE)
    forget(heads, at)
    pieces = np.int64(1) << (order_of(entry) - order)
    _share_record(heads, entry, pieces - 1)
    for piece in range(pieces):
        _write(heads, granule + (piece << order), order, entry | PIECE, owner, state)
    return order_of(entry)


@inlined
def cached(entry):
    """The entry of a block that was live and is in a front cache now."""
    return entry & ~_REACH | CACHED


@interface.locate.register
@inlined
def locate(index: Heads, granule):
    """What waits for the slot, which is far away, is little.

    A processor overlaps as many lookups as it has room for what waits: start and level are found
    from the start bits, which are few and near; one byte says whether the block is live and reaches
    the granule; each field is a load of its own.  Of 1e6 blocks, none waiting for another: 36 ns
    with the start taken from the entry's order, 25 with fields taken out of the entry by shifts.
    """
    word = index.starts[np.uint64(granule) >> np.uint64(6)]
    if word == np.uint64(0):
        return _locate_above(index, granule)
    before = word << np.uint64(63 - (granule & 63))
    if before == np.uint64(0):
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    back = leading_zeros(before)
    return _answer(index, granule - back, granule - back, back)


@kernel
def _locate_above(heads, granule):
    """No block of order < 6 begins near: the lowest level that has one there."""
    for level in range(1, len(heads.offsets) - 1):
        shift = np.int64(6 * level)
        at = heads.offsets[level] + (granule >> shift)
        word = heads.starts[at >> 6]
        if word == np.uint64(0):
            continue
        before = word << np.uint64(63 - (at & 63))
        if before == np.uint64(0):
            break
        back = leading_zeros(before)
        return _answer(heads, at - back, ((granule >> shift) - back) << shift, back)
    return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)


@inlined
def _answer(heads, at, start, back):
    """Of the block of slot `at`, which begins at `start`, if it reaches `back` slots further."""
    slot = heads.slots[np.uint64(at)]
    if back >= np.int64(slot["reach"]):
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    return start, np.int64(slot["order"]), np.int64(slot["kind"]), description(heads, at)[0]


def lookup_bytes(heads: Heads, live_blocks: int, zones: np.ndarray) -> dict[str, int]:
    """Bytes in use: start bits of the zones (i8[n, 2], granules), slots, records by kind.

    The hot half of a header counts to the record, where there is one for the block.
    """
    starts = start_bytes(zones)
    records = live_records(heads)
    halves = (heads.slots.itemsize - ENTRY_BYTES) * max(live_blocks - int(records.sum()), 0)
    descriptors = int((records * heads.arenas["record_bytes"]).sum())
    return {"lookup": starts + ENTRY_BYTES * live_blocks + halves, "descriptors": descriptors}


def start_bytes(zones: np.ndarray) -> int:
    """Bytes of the words of start bits that the zones (i8[n, 2], granules) reach into."""
    widths = [64 ** (level + 1) for level in range(_levels(int(zones.max())))]
    return 8 * sum(-(-int(end) // w) - int(start) // w for start, end in zones for w in widths)
