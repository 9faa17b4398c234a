"""struct page as an allocator that keeps no blocks of its own needs it: what lives where.

A live block is known by its first frame only: order, pins, and whether its release waits for them.
A pin is a count of its own, and a pinned release a mark, where Linux counts one reference with the
other; the order stands there for every block, where Linux keeps it for compound pages only and
otherwise trusts the caller.
"""

import numpy as np

from ._jit import inlined, kernel
from .bits import align_down
from .layout import NONE, PUT_OFF, Outcome

_FIELDS = {  # where Linux 6.12 (x86-64) has them
    "head": ("i8", 8),  # compound_head of a tail page
    "order": ("i1", 40),  # of the live block that starts here
    "live": ("i1", 48),
    "poisoned": ("i1", 49),  # PG_hwpoison
    "released": ("i1", 50),  # pinned, and released meanwhile
    "pins": ("i4", 52),  # refcount, but for the owner's own
}
FRAME = np.dtype(  # one per granule, 64 bytes
    {
        "names": list(_FIELDS),
        "formats": [format for format, _ in _FIELDS.values()],
        "offsets": [offset for _, offset in _FIELDS.values()],
        "itemsize": 64,
    }
)


@inlined
def begin(frames, granule, order, tails):
    """A block lives from now on; with `tails`, each further page is told its head."""
    frame = frames[granule]
    frame["live"], frame["order"] = 1, order
    if tails:
        for page in range(granule + 1, granule + (np.int64(1) << order)):
            frames[page]["head"] = granule


@inlined
def end(frames, granule, tails):
    """A block lives no more: its order; NONE where none starts, PUT_OFF where pins hold it."""
    frame = frames[granule]
    if frame["live"] == 0 or frame["released"] != 0:
        return np.int64(NONE)
    if frame["pins"] > 0:
        frame["released"] = 1
        return np.int64(PUT_OFF)
    frame["live"] = 0
    order = np.int64(frame["order"])
    if tails:
        for page in range(granule + 1, granule + (np.int64(1) << order)):
            frames[page]["head"] = 0
    return order


@kernel
def live_head(frames, granule):
    """First granule of the live block that holds `granule`, or NONE."""
    if not 0 <= granule < len(frames):
        return np.int64(NONE)
    for order in range(64):
        head = align_down(granule, order)
        if frames[head]["live"] != 0:
            return head if frames[head]["order"] >= order else np.int64(NONE)
        if head == 0:
            break
    return np.int64(NONE)


@kernel
def split(frames, granule, order, tails):
    """Make a live block several of 2**order; return its own order, or NONE."""
    frame = frames[granule]
    whole_order = np.int64(frame["order"])
    if frame["live"] == 0 or whole_order < order or frame["pins"] > 0:
        return np.int64(NONE)
    for piece in range(granule, granule + (np.int64(1) << whole_order), np.int64(1) << order):
        frames[piece]["head"] = 0
        begin(frames, piece, order, tails)
    return whole_order


@kernel
def pin(frames, granule):
    """DONE, or ABSENT where nothing lives or only its pins keep it."""
    head = live_head(frames, granule)
    if head == NONE or frames[head]["released"] != 0:
        return np.int64(Outcome.ABSENT)
    frames[head]["pins"] += 1
    return np.int64(Outcome.DONE)


@kernel
def unpin(frames, granule):
    """(Outcome, first granule): RELEASED where a release had waited: the caller ends the block."""
    head = live_head(frames, granule)
    if head == NONE or frames[head]["pins"] == 0:
        return np.int64(Outcome.ABSENT), head
    frame = frames[head]
    frame["pins"] -= 1
    if frame["pins"] > 0 or frame["released"] == 0:
        return np.int64(Outcome.DONE), head
    frame["released"] = 0
    return np.int64(Outcome.RELEASED), head
