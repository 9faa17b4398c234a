"""Start bits with entries: from any granule to its live block in two lines, its owner in a third.

Level l has a bit for each run of 64**l granules, set where a live block of order 6l .. 6l + 5
begins, and a 64-bit entry beside it.  A live block of level l covers whole words of the levels
below, so they hold no start: an empty word sends the search up, a word with starts ends it.
Naturally aligned powers of two are what makes this possible; a tree of ranges cannot know it.

An entry says kind, order and flags; its record says the owner.  Records lie in an arena per
kind, freed ones are reused last in first out; the hot header of a record and the kind's own cold
body lie apart.  A kind without a record (plain kernel pages, poison, as type 0 of Linux's planned
memdesc) keeps its owner's number in the entry itself.  Pieces of a split block share its record,
which counts them: releasing never allocates.

Hosted arenas take their memory from the space that they describe, a slab at a time: a block of
kind DESCRIPTOR, which needs no record, so there is no recursion.  A slab whose records are all
free goes back when memory is wanted (`blocks.shrink`).

The start bits are always exact.  Source: potadlab's own; the mail it answers is Wilcox, 29 March
2021, 20210329165832.GG351017@casper.infradead.org ("It's going to have to be a lookup tree").
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel
from ..bits import leading_zeros, trailing_zeros
from ..layout import KIND_FACTS, NONE, POISON
from ..mapped import mapped

# entry: kind 8 bits | order 6 | flags 10 | record 40
POISONED = np.uint64(1 << 14)  # it holds a failed granule
PIECE = np.uint64(1 << 15)  # its record is shared
CACHED = np.uint64(1 << 16)  # in a front cache: not live
RELEASED = np.uint64(1 << 17)  # released while pinned: it goes with its last pin
CHUNK = np.uint64(1 << 18)  # of a claim: it stays beside the others
_RECORD_SHIFT = np.uint64(24)
_LOW = np.uint64((1 << 24) - 1)

RECORD = np.dtype(
    [  # the hot header of a descriptor, 16 bytes; the cold body is the kind's own
        ("owner", "i4"),  # while free: the next free record of the arena, + 1
        ("pieces", "i4"),  # how many live blocks share it
        ("pins", "i4"),
        ("state", "i4"),  # the kind's own: dirty, mapped, ...; 0 when taken
    ]
)
RECORD_BYTES = RECORD.itemsize
ARENA = np.dtype(
    [  # one per kind
        ("record_bytes", "i8"),  # header and body; 0: the kind has no records
        ("base", "i8"),  # where its records begin
        ("free", "i8"),  # last freed record + 1, 0: none
        ("fresh", "i8"),  # the next that was never used
        ("room", "i8"),  # end of those that have memory
        ("live", "i8"),
        ("bodies", "i8"),  # where its bodies begin
        ("movable", "i8"),
        ("slab_order", "i8"),  # hosted: of the blocks that hold its records
        ("slab_records", "i8"),  # hosted: how many a slab holds; 0: not hosted
        ("slabs", "i8"),  # hosted: slabs ever numbered
        ("free_slab", "i8"),  # hosted: last slab given back + 1, 0: none
    ]
)
SLAB = np.dtype(
    [  # records number * slab_records ... of an arena
        ("granule", "i8"),  # its block; given back: the next such slab + 1
        ("free", "i8"),  # scratch of `blocks.shrink`
    ]
)


class Heads(NamedTuple):
    starts: np.ndarray  # u8[...]  start bits of each level
    entries: np.ndarray  # u8[...]  entries of each level
    offsets: np.ndarray  # i8[level]  where a level begins in entries; / 64: in starts
    arenas: np.ndarray  # ARENA[kind]
    records: np.ndarray  # RECORD[kind * granules]
    bodies: np.ndarray  # u1[...]  cold bodies, record_bytes - 16 each
    slabs: np.ndarray  # SLAB[kind * granules]  hosted arenas only


def new(granules: int, kinds: np.ndarray, hosted: int = 0) -> Heads:
    """A lookup over `granules`, empty; kinds: KIND_FACTS[].

    hosted: bytes of a granule, if the records' memory is taken from the space itself; else 0.
    """
    top = 1
    while 64 ** (top + 1) <= granules:
        top += 1
    sizes = [64 ** (top + 1 - level) for level in range(top + 1)]
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    total, arenas = int(offsets[-1]), _arenas(granules, kinds, hosted)
    body_bytes = int(_body_bytes(kinds).sum()) * granules
    return Heads(
        mapped(total // 64, "u8"),
        mapped(total, "u8"),
        offsets,
        arenas,
        mapped(len(kinds) * granules, RECORD),
        mapped(body_bytes, "u1"),
        mapped(len(kinds) * granules if hosted else 1, SLAB),
    )


def _body_bytes(kinds: np.ndarray) -> np.ndarray:
    return np.maximum(kinds["record_bytes"] - RECORD.itemsize, 0)


def _arenas(granules: int, kinds: np.ndarray, hosted: int) -> np.ndarray:
    assert kinds.dtype == KIND_FACTS
    arenas = np.zeros(len(kinds), ARENA)
    arenas["record_bytes"], arenas["movable"] = kinds["record_bytes"], kinds["movable"]
    arenas["base"] = np.arange(len(kinds)) * granules
    arenas["bodies"] = np.cumsum(np.append(0, _body_bytes(kinds)[:-1])) * granules
    arenas["room"] = granules
    if hosted:
        for arena in arenas:
            record_bytes = int(arena["record_bytes"])
            if record_bytes == 0:
                continue
            arena["room"] = 0
            arena["slab_order"] = (-(-record_bytes // hosted) - 1).bit_length()
            arena["slab_records"] = (hosted << int(arena["slab_order"])) // record_bytes
    return arenas


@inlined
def kind_of(entry):
    return np.int64(entry & np.uint64(0xFF))


@inlined
def order_of(entry):
    return np.int64(entry >> np.uint64(8) & np.uint64(0x3F))


@kernel
def record_at(heads, entry):
    """Index of the record of `entry` in `records`, NONE where its kind has none."""
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] == 0:
        return np.int64(NONE)
    return arena["base"] + np.int64(entry >> _RECORD_SHIFT)


@kernel
def body_at(heads, entry):
    """(where it begins in `bodies`, bytes) of the cold body of a record; no bytes for no record."""
    arena = heads.arenas[kind_of(entry)]
    size = max(arena["record_bytes"] - RECORD_BYTES, np.int64(0))
    return arena["bodies"] + np.int64(entry >> _RECORD_SHIFT) * size, size


@kernel
def owner_of(heads, entry):
    record = np.int64(entry >> _RECORD_SHIFT)
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] == 0:
        return record - 1
    return np.int64(heads.records[arena["base"] + record]["owner"])


@inlined
def _take_record(heads, kind, owner):
    arena = heads.arenas[kind]
    if arena["record_bytes"] == 0:
        return owner + 1  # the entry's own 40 bits
    number = arena["free"] - 1
    if number >= 0:
        record = heads.records[arena["base"] + number]
        arena["free"] = record["owner"]
    else:
        number = arena["fresh"]
        assert number < arena["room"]
        arena["fresh"] += 1
        record = heads.records[arena["base"] + number]
    arena["live"] += 1
    record["owner"], record["pieces"], record["pins"], record["state"] = owner, 1, 0, 0
    return number


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
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] == 0:
        return
    number = np.int64(entry >> _RECORD_SHIFT)
    record = heads.records[arena["base"] + number]
    record["pieces"] -= 1
    if record["pieces"] == 0:
        record["owner"], arena["free"] = arena["free"], number + 1
        arena["live"] -= 1


@kernel
def _share_record(heads, entry, blocks):
    """Let `blocks` more live blocks share the record of `entry`."""
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] != 0:
        number = np.int64(entry >> _RECORD_SHIFT)
        heads.records[arena["base"] + number]["pieces"] += blocks


@inlined
def _write(heads, granule, order, entry):
    level = order // 6
    at = heads.offsets[level] + (granule >> (6 * level))
    heads.starts[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
    heads.entries[at] = entry & ~np.uint64(0x3F00) | np.uint64(order) << np.uint64(8)


@inlined
def entry_at(heads, granule):
    """Where in `entries` the live block that holds `granule` has its entry, or NONE."""
    for level in range(len(heads.offsets) - 1):
        at = heads.offsets[level] + (granule >> (6 * level))
        word = heads.starts[at >> 6]
        if word == np.uint64(0):
            continue
        if word >> np.uint64(at & 63) & np.uint64(1) != np.uint64(0):
            return at  # most often: guessed right, the entry is read before the word is there
        before = word << np.uint64(63 - (at & 63))
        if before == np.uint64(0):
            return np.int64(NONE)
        start = at - leading_zeros(before)
        order = order_of(heads.entries[start])
        if (at - start) << (6 * level) >> order != 0:
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
    level = order_of(heads.entries[at]) // 6
    return (at - heads.offsets[level]) << (6 * level)


@inlined
def forget(heads, at):
    """Clear the start bit of the entry `at`; return the entry; its record stays."""
    heads.starts[at >> 6] &= ~(np.uint64(1) << np.uint64(at & 63))
    return heads.entries[at]


@interface.store.register
@inlined
def store(index: Heads, granule, order, kind, owner):
    record = np.uint64(_take_record(index, kind, owner))
    _write(index, granule, order, record << _RECORD_SHIFT | np.uint64(kind))


@kernel
def store_chunks(heads, granule, order, chunks, kind, owner):
    """Store `chunks` adjacent blocks that share one record (a claim)."""
    entry = np.uint64(_take_record(heads, kind, owner)) << _RECORD_SHIFT | np.uint64(kind)
    _share_record(heads, entry, chunks - 1)
    for chunk in range(chunks):
        _write(heads, granule + (chunk << order), order, entry | PIECE | CHUNK)


@kernel
def move(heads, at, granule):
    """Let the block of entry `at` begin at `granule` instead; its record goes with it."""
    entry = forget(heads, at)
    _write(heads, granule, order_of(entry), entry)


@kernel
def own_record(heads, at):
    """Give a piece of a split block a record of its own, which says what the shared one does."""
    entry = heads.entries[at]
    owner = owner_of(heads, entry)
    number = np.uint64(_take_record(heads, kind_of(entry), owner))
    own = number << _RECORD_SHIFT | entry & _LOW & ~PIECE
    state = heads.records[record_at(heads, entry)]["state"]
    heads.records[record_at(heads, own)]["state"] = state
    first, size = body_at(heads, entry)
    into = body_at(heads, own)[0]
    for i in range(size):
        heads.bodies[into + i] = heads.bodies[first + i]
    drop_record(heads, entry)
    heads.entries[at] = own


@inlined
def store_cached(heads, granule, order):
    """Note a block of order < 6 that is in a front cache; it has no record yet."""
    _write(heads, granule, order, CACHED)


@inlined
def relabel(heads, at, kind, owner):
    """Make a cached block live; a record of the same kind is used again."""
    entry = heads.entries[at]
    if kind_of(entry) == kind and heads.arenas[kind]["record_bytes"] != 0:
        record = heads.records[heads.arenas[kind]["base"] + np.int64(entry >> _RECORD_SHIFT)]
        record["owner"], record["state"] = owner, 0
        heads.entries[at] = entry & ~CACHED
        return
    drop_record(heads, entry)
    fresh = np.uint64(_take_record(heads, kind, owner)) << _RECORD_SHIFT
    heads.entries[at] = fresh | entry & np.uint64(0x3F00) | np.uint64(kind)


@inlined
def pins(heads, at):
    """How often the block of entry `at` is pinned."""
    entry = heads.entries[at]
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] == 0:
        return np.int64(0)
    return np.int64(heads.records[arena["base"] + np.int64(entry >> _RECORD_SHIFT)]["pins"])


@kernel
def add_pins(heads, at, count):
    """Add pins to the record of entry `at`; False where its kind has none."""
    entry = heads.entries[at]
    arena = heads.arenas[kind_of(entry)]
    if arena["record_bytes"] == 0:
        return False
    heads.records[arena["base"] + np.int64(entry >> _RECORD_SHIFT)]["pins"] += count
    return True


@interface.erase.register
@kernel
def erase(index: Heads, granule):
    at = entry_at(index, granule)
    if at == NONE or start_of(index, at) != granule:
        return np.int64(NONE)
    entry = forget(index, at)
    drop_record(index, entry)
    return order_of(entry)


@kernel
def split_block(heads, granule, order):
    """Make the block at `granule` into pieces that share its record; return its order, or NONE."""
    at = entry_at(heads, granule)
    if at == NONE or start_of(heads, at) != granule or order_of(heads.entries[at]) < order:
        return np.int64(NONE)
    if kind_of(heads.entries[at]) == POISON or pins(heads, at) > 0:
        return np.int64(NONE)
    if heads.entries[at] & CACHED != np.uint64(0):
        return np.int64(NONE)
    entry = forget(heads, at)
    pieces = np.int64(1) << (order_of(entry) - order)
    _share_record(heads, entry, pieces - 1)
    for piece in range(pieces):
        _write(heads, granule + (piece << order), order, entry | PIECE)
    return order_of(entry)


@interface.locate.register
@kernel
def locate(index: Heads, granule):
    at = entry_at(index, granule)
    if at == NONE or index.entries[at] & CACHED != np.uint64(0):
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    entry = index.entries[at]
    return start_of(index, at), order_of(entry), kind_of(entry), owner_of(index, entry)


def lookup_bytes(heads: Heads, live_blocks: int) -> dict[str, int]:
    """Bytes in use: start bits over the whole range, an entry per block, records by kind."""
    starts = int(heads.offsets[-1]) // 8
    records = int((heads.arenas["live"] * heads.arenas["record_bytes"]).sum())
    return {"lookup": starts + 8 * live_blocks, "descriptors": records}
