"""What is said of a page: struct page, or a memdesc word; the same questions to both.

In a list or live, a block is known at its first granule: `use_of` and `order_of` answer there.
"""

from typing import NamedTuple

import numpy as np

from .._jit import generic, inlined, kernel, state
from ..bits import align_down
from ..layout import NONE
from ..mapped import mapped

NO_HEAD, FREE, LIVE, CACHED = 0, 1, 2, 3
TAIL_MAPPING = 0x400

_FIELDS = {  # where Linux 6.12 (x86-64) has them
    "next": ("i8", 8),  # buddy_list, pcp_list: following block of the list, or NONE
    "prev": ("i8", 16),  # (of a tail, `next` is compound_head: the head's granule, + 1)
    "mapping": ("i8", 24),  # of a tail TAIL_MAPPING
    "order": ("i1", 40),  # private: of the block that starts here
    "use": ("i1", 48),  # page_type: one of the four above
    "poisoned": ("i1", 49),  # PG_hwpoison
    "released": ("i1", 50),  # pinned, and released meanwhile
    "movable": ("i1", 51),  # PG_lru, or a movable page's mapping
    "pins": ("i4", 52),  # refcount, but for the owner's own
}
FRAME = np.dtype(  # one per granule, 64 bytes: struct page
    {
        "names": list(_FIELDS),
        "formats": [format for format, _ in _FIELDS.values()],
        "offsets": [offset for _, offset in _FIELDS.values()],
        "itemsize": 64,
    }
)


@state
class StructPages(NamedTuple):
    frames: np.ndarray  # FRAME[granule]
    kind_movable: np.ndarray  # u1[kind]
    tails: int  # 0: tails of compound pages are left alone


def new(granules: int, kinds: np.ndarray, tails: int) -> StructPages:
    """struct page for so many granules, none in use."""
    return StructPages(mapped(granules, FRAME), kinds["movable"].copy(), tails)


# ---- the questions --------------------------------------------------------------------------


@generic
def use_of(pages, granule):
    """NO_HEAD, FREE, LIVE or CACHED (in a per-CPU list)."""


@generic
def order_of(pages, granule):
    """Order of the block that begins at `granule`."""


@generic
def next_of(pages, granule):
    """The block after this one in its list, or NONE."""


@generic
def prev_of(pages, granule):
    """The block before this one in its list, or NONE."""


@generic
def set_next(pages, granule, after):
    """Let a block of a list stand before `after`."""


@generic
def set_prev(pages, granule, before):
    """Let a block of a list stand after `before`."""


@generic
def enlist(pages, granule, use, order, before, after):
    """A block is FREE or CACHED, in a list between two others."""


@generic
def delist(pages, granule):
    """A block is in no list any more."""


@generic
def describe(pages, granule, order, kind, owner):
    """prep_new_page: a block is live from now on."""


@generic
def forget(pages, granule, order):
    """free_pages_prepare: a block is live no more."""


@generic
def move(pages, granule, to, order):
    """migrate_folio: the live block is at `to` from now on, with all that is said of it."""


@generic
def cut(pages, granule, whole_order, order):
    """split_page: a live block becomes live blocks of 2**order."""


@generic
def movable(pages, granule):
    """Whether the live block at `granule` can be moved: on LRU lists, or as its driver says."""


@generic
def poisoned(pages, granule):
    """Whether this very granule has failed (PG_hwpoison)."""


@generic
def set_poisoned(pages, granule, value):
    """1: it has failed, 0: no more."""


@generic
def released(pages, granule):
    """Whether the release of the live block waits for its last pin."""


@generic
def set_released(pages, granule, value):
    """1: it waits, 0: no more."""


@generic
def pins_of(pages, granule):
    """How often the live block is pinned; NONE if nothing counts it."""


@generic
def add_pins(pages, granule, more):
    """Pin the live block once more, or (-1) once less."""


# ---- struct page ----------------------------------------------------------------------------


@use_of.register
@inlined
def _use_of(pages: StructPages, granule):
    return np.int64(pages.frames[granule]["use"])


@order_of.register
@inlined
def _order_of(pages: StructPages, granule):
    return np.int64(pages.frames[granule]["order"])


@next_of.register
@inlined
def _next_of(pages: StructPages, granule):
    return np.int64(pages.frames[granule]["next"])


@prev_of.register
@inlined
def _prev_of(pages: StructPages, granule):
    return np.int64(pages.frames[granule]["prev"])


@set_next.register
@inlined
def _set_next(pages: StructPages, granule, after):
    pages.frames[granule]["next"] = after


@set_prev.register
@inlined
def _set_prev(pages: StructPages, granule, before):
    pages.frames[granule]["prev"] = before


@enlist.register
@inlined
def _enlist(pages: StructPages, granule, use, order, before, after):
    frame = pages.frames[granule]
    frame["next"], frame["prev"] = after, before
    frame["use"], frame["order"] = use, order


@delist.register
@inlined
def _delist(pages: StructPages, granule):
    pages.frames[granule]["use"] = NO_HEAD


@describe.register
@inlined
def _describe(pages: StructPages, granule, order, kind, owner):
    """prep_compound_page writes each tail's struct page."""
    frame = pages.frames[granule]
    frame["use"], frame["order"] = LIVE, order
    frame["movable"] = pages.kind_movable[kind]
    if pages.tails != 0:
        _set_tails(pages, granule, order)


@inlined
def _set_tails(pages, granule, order):
    for tail in range(granule + 1, granule + (np.int64(1) << order)):
        frame = pages.frames[tail]
        frame["mapping"], frame["next"], frame["order"] = TAIL_MAPPING, granule + 1, 0


@forget.register
@inlined
def _forget(pages: StructPages, granule, order):
    """The tails' fields are cleared (free_tail_page_prepare)."""
    pages.frames[granule]["use"] = NO_HEAD
    if pages.tails != 0:
        for tail in range(granule + 1, granule + (np.int64(1) << order)):
            frame = pages.frames[tail]
            frame["mapping"], frame["next"] = 0, 0


@cut.register
@kernel
def _cut(pages: StructPages, granule, whole_order, order):
    may_move = pages.frames[granule]["movable"]
    _forget(pages, granule, whole_order)
    for piece in range(granule, granule + (np.int64(1) << whole_order), np.int64(1) << order):
        frame = pages.frames[piece]
        frame["use"], frame["order"], frame["movable"] = LIVE, order, may_move
        if pages.tails != 0:
            _set_tails(pages, piece, order)


@move.register
@kernel
def _move(pages: StructPages, granule, to, order):
    frame = pages.frames[to]
    frame["use"], frame["order"] = LIVE, order
    frame["movable"] = pages.frames[granule]["movable"]
    _forget(pages, granule, order)
    if pages.tails != 0:
        _set_tails(pages, to, order)


@movable.register
@inlined
def _movable(pages: StructPages, granule):
    return pages.frames[granule]["movable"] != 0


@poisoned.register
@inlined
def _poisoned(pages: StructPages, granule):
    return pages.frames[granule]["poisoned"] != 0


@set_poisoned.register
@inlined
def _set_poisoned(pages: StructPages, granule, value):
    pages.frames[granule]["poisoned"] = value


@released.register
@inlined
def _released(pages: StructPages, granule):
    return pages.frames[granule]["released"] != 0


@set_released.register
@inlined
def _set_released(pages: StructPages, granule, value):
    pages.frames[granule]["released"] = value


@pins_of.register
@inlined
def _pins_of(pages: StructPages, granule):
    return np.int64(pages.frames[granule]["pins"])


@add_pins.register
@inlined
def _add_pins(pages: StructPages, granule, more):
    pages.frames[granule]["pins"] += more


# ---- of both --------------------------------------------------------------------------------


@kernel
def head_of(pages, granule):
    """First granule of the free, cached or live block that holds `granule`, or NONE."""
    for order in range(64):
        head = align_down(granule, order)
        if use_of(pages, head) != NO_HEAD:
            return head if order_of(pages, head) >= order else np.int64(NONE)
        if head == 0:
            break
    return np.int64(NONE)
