"""Lists of blocks threaded through the pages: a row of LIST, and links in what is said of pages."""

import numpy as np

from .._jit import inlined
from ..layout import NONE
from . import pages as page


@inlined
def push(pages, here, granule, use, order):
    """list_add: to the head of the list."""
    first = here["first"]
    page.enlist(pages, granule, use, order, np.int64(NONE), first)
    if first == NONE:
        here["last"] = granule
    else:
        page.set_prev(pages, first, granule)
    here["first"] = granule
    here["blocks"] += 1


@inlined
def push_last(pages, here, granule, use, order):
    """list_add_tail: to its tail."""
    last = here["last"]
    page.enlist(pages, granule, use, order, last, np.int64(NONE))
    if last == NONE:
        here["first"] = granule
    else:
        page.set_next(pages, last, granule)
    here["last"] = granule
    here["blocks"] += 1


@inlined
def unlink(pages, here, granule):
    """list_del."""
    before, after = page.prev_of(pages, granule), page.next_of(pages, granule)
    if before == NONE:
        here["first"] = after
    else:
        page.set_next(pages, before, after)
    if after == NONE:
        here["last"] = before
    else:
        page.set_prev(pages, after, before)
    page.delist(pages, granule)
    here["blocks"] -= 1
