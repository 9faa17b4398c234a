"""memdesc: a word of 8 bytes for each page, and a descriptor from slab for each allocation.

The end state of Linux's plan (kernelnewbies MatthewWilcox/Memdescs; facts only): every page's word
holds the type and where the descriptor is, so an allocation writes 2**order words, eight of them
to a line, and no tail.  A kind without a descriptor (type 0, Misc) has all in the word.  Records
have their kind's size, as POTAD's, rounded up to 16 bytes; they lie in an arena per kind and are
reused last in, first out.  Their first 16 bytes are written when taken; the rest is its user's.

Where the plan is open, this is ours: the links of a free page share its word (29 bits each, so a
space has fewer than 2**29 granules), and a release clears the words, so that no free page leads to
a descriptor that is gone.
"""

from typing import NamedTuple

import numpy as np

from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped
from . import pages as page
from .pages import FREE, LIVE, NO_HEAD

GRANULES_MAX = (1 << 29) - 1
# in a list: use 2 bits | order 4 | next + 1 29 | prev + 1 29
# live head: use 2 | poisoned 1 | released 1 | order 6 | kind 8 | record 46; other pages of the
# block: the same with use 0 and order 0
_USE, _LINK = np.uint64(3), np.uint64((1 << 29) - 1)
_POISONED, _RELEASED = np.uint64(4), np.uint64(8)
_NEXT, _PREV = np.uint64(6), np.uint64(35)
_ORDER, _KIND, _RECORD = np.uint64(4), np.uint64(10), np.uint64(18)
_ZERO = np.uint64(0)

ARENA = np.dtype(
    [  # one per kind
        ("words", "i8"),  # of 8 bytes in a record; 0: the kind has none
        ("base", "i8"),  # where its records begin
        ("free", "i8"),  # last freed record + 1, 0: none
        ("fresh", "i8"),  # the next that was never used
        ("live", "i8"),
    ]
)
_OWNER, _PINS = 0, 1  # words of a record; free: _OWNER is the next free record + 1


@state
class Memdescs(NamedTuple):
    words: np.ndarray  # u8[granule]
    kind_movable: np.ndarray  # u1[kind]
    arenas: np.ndarray  # ARENA[kind]
    records: np.ndarray  # i8[...]


def new(granules: int, kinds: np.ndarray) -> Memdescs:
    """Words for so many granules, none in use.  MemoryError where the links do not reach."""
    if granules > GRANULES_MAX:
        raise MemoryError(f"memdesc's links reach {GRANULES_MAX} granules")
    arenas = np.zeros(len(kinds), ARENA)
    arenas["words"] = -(-kinds["record_bytes"] // 16) * 2
    arenas["base"] = np.cumsum(np.append(0, arenas["words"][:-1])) * granules
    return Memdescs(
        mapped(granules, "u8"),
        kinds["movable"].copy(),
        arenas,
        mapped(int(arenas["words"].sum()) * granules, "i8"),
    )


def bytes_of(pages: Memdescs, granules: int) -> dict[str, int]:
    """A word for each granule is the lookup, and what free lists are threaded through."""
    records = int((pages.arenas["live"] * pages.arenas["words"]).sum()) * 8
    return {"descriptors": records, "lookup": granules * 8}


# ---- lists ----------------------------------------------------------------------------------


@page.use_of.register
@inlined
def _use_of(pages: Memdescs, granule):
    return np.int64(pages.words[granule] & _USE)


@page.order_of.register
@inlined
def _order_of(pages: Memdescs, granule):
    word = pages.words[granule]
    if word & _USE == LIVE:
        return np.int64(word >> _ORDER & np.uint64(63))
    return np.int64(word >> np.uint64(2) & np.uint64(15))


@page.next_of.register
@inlined
def _next_of(pages: Memdescs, granule):
    return np.int64(pages.words[granule] >> _NEXT & _LINK) - 1


@page.prev_of.register
@inlined
def _prev_of(pages: Memdescs, granule):
    return np.int64(pages.words[granule] >> _PREV & _LINK) - 1


@page.set_next.register
@inlined
def _set_next(pages: Memdescs, granule, after):
    rest = pages.words[granule] & ~(_LINK << _NEXT)
    pages.words[granule] = rest | np.uint64(after + 1) << _NEXT


@page.set_prev.register
@inlined
def _set_prev(pages: Memdescs, granule, before):
    rest = pages.words[granule] & ~(_LINK << _PREV)
    pages.words[granule] = rest | np.uint64(before + 1) << _PREV


@page.enlist.register
@inlined
def _enlist(pages: Memdescs, granule, use, order, before, after):
    word = np.uint64(use) | np.uint64(order) << np.uint64(2)
    pages.words[granule] = word | np.uint64(after + 1) << _NEXT | np.uint64(before + 1) << _PREV


@page.delist.register
@inlined
def _delist(pages: Memdescs, granule):
    pages.words[granule] = _ZERO


# ---- live blocks ----------------------------------------------------------------------------


@inlined
def _take_record(pages, kind, owner):
    arena = pages.arenas[kind]
    words = arena["words"]
    if words == 0:
        return np.int64(owner) + 1
    number = arena["free"] - 1
    if number >= 0:
        at = arena["base"] + number * words
        arena["free"] = pages.records[at + _OWNER]
    else:
        number = arena["fresh"]
        at = arena["base"] + number * words
        arena["fresh"] += 1
    arena["live"] += 1
    pages.records[at + _OWNER], pages.records[at + _PINS] = owner, 0
    return np.int64(number)


@inlined
def _drop_record(pages, word):
    arena = pages.arenas[word >> _KIND & np.uint64(255)]
    if arena["words"] != 0:
        number = np.int64(word >> _RECORD)
        pages.records[arena["base"] + number * arena["words"] + _OWNER] = arena["free"]
        arena["free"] = number + 1
        arena["live"] -= 1


@inlined
def _write(pages, granule, order, kind, record):
    """Each page's word, failed ones stay marked; the head's says use and order too."""
    word = np.uint64(kind) << _KIND | np.uint64(record) << _RECORD
    for each in range(granule, granule + (np.int64(1) << order)):
        pages.words[each] = pages.words[each] & _POISONED | word
    pages.words[granule] |= np.uint64(LIVE) | np.uint64(order) << _ORDER


@page.describe.register
@inlined
def _describe(pages: Memdescs, granule, order, kind, owner):
    _write(pages, granule, order, kind, _take_record(pages, kind, owner))


@page.forget.register
@inlined
def _forget(pages: Memdescs, granule, order):
    _drop_record(pages, pages.words[granule])
    for each in range(granule, granule + (np.int64(1) << order)):
        pages.words[each] &= _POISONED


@page.move.register
@kernel
def _move(pages: Memdescs, granule, to, order):
    """The record stays, the words go with the pages."""
    word = pages.words[granule]
    kind, record = np.int64(word >> _KIND & np.uint64(255)), np.int64(word >> _RECORD)
    for each in range(granule, granule + (np.int64(1) << order)):
        pages.words[each] &= _POISONED
    _write(pages, to, order, kind, record)


@page.cut.register
@kernel
def _cut(pages: Memdescs, granule, whole_order, order):
    """Each piece has a record of its own."""
    word = pages.words[granule]
    kind, owner = np.int64(word >> _KIND & np.uint64(255)), np.int64(word >> _RECORD) - 1
    arena = pages.arenas[kind]
    if arena["words"] != 0:
        owner = pages.records[arena["base"] + (owner + 1) * arena["words"] + _OWNER]
    _drop_record(pages, word)
    for piece in range(granule, granule + (np.int64(1) << whole_order), np.int64(1) << order):
        _write(pages, piece, order, kind, _take_record(pages, kind, owner))


@page.movable.register
@inlined
def _movable(pages: Memdescs, granule):
    return pages.kind_movable[pages.words[granule] >> _KIND & np.uint64(255)] != 0


@page.poisoned.register
@inlined
def _poisoned(pages: Memdescs, granule):
    word = pages.words[granule]
    return (word & _USE == NO_HEAD or word & _USE == LIVE) and word & _POISONED != 0


@page.set_poisoned.register
@inlined
def _set_poisoned(pages: Memdescs, granule, value):
    assert pages.words[granule] & _USE != FREE
    pages.words[granule] &= ~_POISONED
    if value != 0:
        pages.words[granule] |= _POISONED


@page.released.register
@inlined
def _released(pages: Memdescs, granule):
    return pages.words[granule] & _RELEASED != 0


@page.set_released.register
@inlined
def _set_released(pages: Memdescs, granule, value):
    pages.words[granule] &= ~_RELEASED
    if value != 0:
        pages.words[granule] |= _RELEASED


@inlined
def _pins_at(pages, granule):
    """Index of the word that counts the pins of a live block, NONE if its kind has no record."""
    word = pages.words[granule]
    arena = pages.arenas[word >> _KIND & np.uint64(255)]
    if arena["words"] == 0:
        return np.int64(NONE)
    return arena["base"] + np.int64(word >> _RECORD) * arena["words"] + _PINS


@page.pins_of.register
@inlined
def _pins_of(pages: Memdescs, granule):
    at = _pins_at(pages, granule)
    return pages.records[at] if at != NONE else np.int64(NONE)


@page.add_pins.register
@inlined
def _add_pins(pages: Memdescs, granule, more):
    pages.records[_pins_at(pages, granule)] += more
