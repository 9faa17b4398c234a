"""One word for each granule, 16 or 8 bytes a page: Linux's planned memdesc, flat.

A word says what lives there: nothing, a kind without descriptor (kind, order and owner stand in
the word itself, as memdesc's type 0), or which descriptor.  Every page of a block has the word, as
`alloc_page_desc` is to write it.  With 16 bytes a page the second word has kind and order, as the
16-byte struct page of the plan keeps an order; with 8 only the descriptor knows them.

A descriptor lies in an arena, a line each: the hot part of a folio.  Its bytes are counted by its
kind (struct folio alone is to have 80).  Sources: kernelnewbies.org/MatthewWilcox/Memdescs and
Memdescs/Path.  Unlike there: no reference counts and no RCU, the word 0 says that nothing lives
here, and pointers are numbers.  The other lookups that end at a descriptor use these words too.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..bits import align_down
from ..layout import KIND_FACTS, NONE
from ..mapped import mapped

# word: type 4 bits | PLAIN: kind 8, order 6, owner + 1; DESCRIBED: number of the descriptor.
# The low two bits are left free, for XArray and the two-level table mark their own words there.
PLAIN, DESCRIBED = 4, 8
_TYPE_BITS, _ORDER_SHIFT, _OWNER_SHIFT = 4, 12, 18

DESCRIPTOR = np.dtype(
    {
        "names": ["granule", "owner", "kind", "order"],  # while free: the next free one, + 1
        "formats": ["i8", "i4", "u1", "u1"],
        "offsets": [0, 8, 12, 13],
        "itemsize": 64,
    }
)


@state
class Descriptors(NamedTuple):
    rows: np.ndarray  # DESCRIPTOR[...]
    record_bytes: np.ndarray  # i8[kind]  0: the kind has no descriptor
    live: np.ndarray  # i8[kind]
    next: np.ndarray  # i8[2]  last freed + 1 (0: none), the next that was never used


def descriptors(granules: int, kinds: np.ndarray) -> Descriptors:
    """An arena for the descriptors of `granules`; kinds: KIND_FACTS[]."""
    assert kinds.dtype == KIND_FACTS
    sizes = np.ascontiguousarray(kinds["record_bytes"])
    live = np.zeros(len(kinds), np.int64)
    return Descriptors(mapped(granules, DESCRIPTOR), sizes, live, np.zeros(2, np.int64))


def descriptors_bytes(arena: Descriptors) -> int:
    """Bytes of those in use, by kind."""
    return int((arena.live * arena.record_bytes).sum())


@inlined
def describe(arena, granule, order, kind, owner):
    """The word of a block; takes a descriptor if its kind has one."""
    if arena.record_bytes[kind] == 0:
        return (owner + 1) << _OWNER_SHIFT | order << _ORDER_SHIFT | kind << _TYPE_BITS | PLAIN
    number = arena.next[0] - 1
    if number >= 0:
        arena.next[0] = arena.rows[number]["granule"]
    else:
        number = arena.next[1]
        arena.next[1] += 1
    arena.live[kind] += 1
    row = arena.rows[number]
    row["granule"], row["owner"], row["kind"], row["order"] = granule, owner, kind, order
    return number << _TYPE_BITS | DESCRIBED


@inlined
def read(arena, word, granule):
    """(start, order, kind, owner) of the block that has `word` and holds `granule`; 0: of none."""
    if word & DESCRIBED != 0:
        row = arena.rows[np.uint64(word) >> np.uint64(_TYPE_BITS)]
        return row["granule"], np.int64(row["order"]), np.int64(row["kind"]), np.int64(row["owner"])
    if word == 0:
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    order = word >> _ORDER_SHIFT & 0x3F
    kind, owner = word >> _TYPE_BITS & 0xFF, (word >> _OWNER_SHIFT) - 1
    return align_down(granule, order), order, kind, owner


@inlined
def drop(arena, word):
    """Free the descriptor of `word`, if it has one."""
    if word & DESCRIBED != 0:
        number = word >> _TYPE_BITS
        row = arena.rows[number]
        arena.live[row["kind"]] -= 1
        row["granule"], arena.next[0] = arena.next[0], number + 1


# ---- flat ------------------------------------------------------------------------------------

PAGE_16 = np.dtype(
    {
        "names": ["word", "kind", "order"],
        "formats": ["i8", "u1", "u1"],
        "offsets": [0, 8, 9],
        "itemsize": 16,
    }
)


@state
class Memmap16(NamedTuple):
    pages: np.ndarray  # PAGE_16[granule]
    descriptors: Descriptors


@state
class Memmap8(NamedTuple):
    words: np.ndarray  # i8[granule]
    descriptors: Descriptors


def new_16(granules: int, kinds: np.ndarray) -> Memmap16:
    """16 bytes for each of `granules`, none of them live."""
    return Memmap16(mapped(granules, PAGE_16), descriptors(granules, kinds))


def new_8(granules: int, kinds: np.ndarray) -> Memmap8:
    """8 bytes for each of `granules`, none of them live."""
    return Memmap8(mapped(granules, "i8"), descriptors(granules, kinds))


@interface.store.register
@kernel
def store_16(index: Memmap16, granule, order, kind, owner):
    word = describe(index.descriptors, granule, order, kind, owner)
    for page in range(granule, granule + (np.int64(1) << order)):
        row = index.pages[page]
        row["word"], row["kind"], row["order"] = word, kind, order


@interface.store.register
@kernel
def store_8(index: Memmap8, granule, order, kind, owner):
    word = describe(index.descriptors, granule, order, kind, owner)
    for page in range(granule, granule + (np.int64(1) << order)):
        index.words[page] = word


@interface.erase.register
@kernel
def erase_16(index: Memmap16, granule):
    start, order, _, _ = locate_16(index, granule)
    if start != granule:
        return np.int64(NONE)
    drop(index.descriptors, index.pages[granule]["word"])
    for page in range(granule, granule + (np.int64(1) << order)):
        index.pages[page]["word"] = 0
    return order


@interface.erase.register
@kernel
def erase_8(index: Memmap8, granule):
    start, order, _, _ = locate_8(index, granule)
    if start != granule:
        return np.int64(NONE)
    drop(index.descriptors, index.words[granule])
    for page in range(granule, granule + (np.int64(1) << order)):
        index.words[page] = 0
    return order


@interface.locate.register
@inlined
def locate_16(index: Memmap16, granule):
    row = index.pages[np.uint64(granule)]
    word, order = row["word"], np.int64(row["order"])
    if word == 0:
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    _, _, _, owner = read(index.descriptors, word, granule)
    return align_down(granule, order), order, np.int64(row["kind"]), owner


@interface.locate.register
@inlined
def locate_8(index: Memmap8, granule):
    return read(index.descriptors, index.words[np.uint64(granule)], granule)


@interface.bytes_of.register
def bytes_of_16(index: Memmap16, live_blocks: int, granules: int) -> dict[str, int]:
    """Both words for all `granules` in service, descriptors by kind."""
    return {"lookup": 16 * granules, "descriptors": descriptors_bytes(index.descriptors)}


@interface.bytes_of.register
def bytes_of_8(index: Memmap8, live_blocks: int, granules: int) -> dict[str, int]:
    """A word for all `granules` in service, descriptors by kind."""
    return {"lookup": 8 * granules, "descriptors": descriptors_bytes(index.descriptors)}
