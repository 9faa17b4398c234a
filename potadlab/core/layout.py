"""Every record that crosses a boundary, with its units: read this first.

A granule is the smallest piece a space hands out (4 KiB of RAM, one swap slot); a block is
2**order granules, aligned to its size.  Core counts granules, never bytes; a Space turns
granules into bytes at the edge.  Three arrays are the whole protocol: OP (what was asked), EVENT
(what came of it; events[i] answers ops[i]) and BLOCK (what lives at one moment).
"""

from enum import IntEnum, IntFlag

import numpy as np

NONE = -1  # no granule, no handle, no owner
PUT_OFF = -2  # a release that waits for the last pin
HELD = -3  # a release of a claim's chunk that a pin refuses
CLAIMED = -16  # of a claim, `where` holds CLAIMED - first granule: what moves is never one
POISON = 1  # kinds that core knows: failed granules
DESCRIPTOR = 2  # and blocks that hold the records of others


class Verb(IntEnum):
    """What an op asks for."""

    ALLOCATE = 0
    RELEASE = 1
    CLAIM = 2
    RELEASE_CLAIM = 3
    FAIL = 4
    UNPOISON = 5
    PIN = 6
    UNPIN = 7
    SPLIT = 8
    ADD_MEMORY = 9
    REFUSED = 10  # the recorded kernel's own request failed (M9): counted, never tried
    MIGRATE = 11  # move the block elsewhere (soft offline)
    DRAIN = 12  # give back what front caches hold


class Outcome(IntEnum):
    """What came of an op."""

    DONE = 0
    REFUSED = 1  # no place
    ABSENT = 2  # the op's block is not alive here: refused before, or a cold start
    IGNORED = 3  # this allocator has no such verb, or nothing is left to do
    POISONED_FREE = 4  # FAIL: the granule was free and has left service
    POISONED_LIVE = 5  # FAIL: a live block holds it; its owner is told, it leaves at release
    POISONED_BEFORE = 6  # FAIL: it had failed before
    OUTSIDE = 7  # the granule is not in service
    PUT_OFF = 8  # RELEASE: the block is pinned; it goes with its last pin
    RELEASED = 9  # UNPIN: the last pin went, and with it the block
    UNMOVABLE = (
        10  # MIGRATE, soft FAIL: its kind stays, or it is pinned, or a failed granule is in it
    )
    PINNED = 11  # RELEASE_CLAIM: a pin holds it; nothing was done


class Flag(IntFlag):
    """Which mismatch of the recording made the op (facts: an importer's classes M1..M9)."""

    LIVE_AT_START = 1  # M1: release of a block that was live before the recording
    MEMORY_ADDED = 2  # M2: release of order_max in a section out of service: memory came in
    UNTRACED_UNSEEN = 4  # M3: release of an unseen block that was free at start
    UNTRACED_REUSED = 8  # M4: release of a block that the trace calls free
    PIECE = 16  # M5: release of a piece of a larger block
    CORRUPT = 32  # M6: release that mixes live and free
    LOST_FREE = 64  # M7: the release that the recording lost
    SYNTHETIC = 128  # made by the importer, not recorded
    BY_HAND = 256  # added by a click or a call
    # CLAIM: movable memory in the way may be moved; FAIL: soft, what lives there is moved first
    MAY_MIGRATE = 512


OP = np.dtype(
    [
        ("time_ns", "i8"),  # since the start of the recording
        # FAIL, UNPOISON, ADD_MEMORY: which granule; ALLOCATE, RELEASE, SPLIT: where the recorded
        # kernel had the block (only `recorded` looks); PIN, UNPIN, RELEASE_CLAIM: offset in the
        # block or claim that the handle names, NONE: from its start; else NONE
        ("granule", "i8"),
        ("granules", "i8"),  # CLAIM, RELEASE_CLAIM, ADD_MEMORY: how many in a row; else 2**order
        ("handle", "i4"),  # names the block while it lives, whatever its place
        ("into", "i4"),  # SPLIT: handle of the first piece, the others follow; else NONE
        ("owner", "i4"),  # index of an interned name or stack, NONE if not known
        ("flags", "u2"),  # Flag
        ("verb", "u1"),  # Verb
        ("order", "u1"),  # log2 of the block's granules; SPLIT: of the pieces
        ("align_order", "u1"),  # CLAIM: log2 of the alignment in granules
        ("kind", "u1"),  # index in the table of kinds
        ("cpu", "u1"),
        ("migratetype", "u1"),  # Linux's number, 255 if not recorded
    ],
    align=True,
)
assert OP.itemsize == 48

EVENT = np.dtype(
    [
        ("granule", "i8"),  # first granule of the block, NONE if there is none
        ("outcome", "u1"),  # Outcome
        ("steps", "u1"),  # CLAIM: steps of the search tried
        ("order", "u1"),  # order of the block it concerned; CLAIM: of each chunk
        ("lines", "u2"),  # distinct cache lines touched, 0 where not metered
    ],
    align=True,
)
assert EVENT.itemsize == 16

BLOCK = np.dtype(
    [  # in address order; a failed granule inside a live block is a second, order-0 record
        ("granule", "i8"),
        ("time_ns", "i8"),  # when it was allocated; negative: before the recording
        ("handle", "i4"),
        ("owner", "i4"),
        ("flags", "u2"),  # Flag of the op that made it
        ("order", "u1"),
        ("kind", "u1"),
    ],
    align=True,
)
assert BLOCK.itemsize == 32

MOVE = np.dtype(
    [  # a live block moved out of the way of a claim; those of one op stand in address order
        ("granule", "i8"),  # where it was
        ("to", "i8"),
        ("op", "i8"),  # index of the op that moved it
        ("handle", "i4"),
        ("order", "u1"),
    ],
    align=True,
)
assert MOVE.itemsize == 32

KIND_FACTS = np.dtype(
    [  # what core knows of a kind
        ("record_bytes", "i8"),  # header and body of its descriptor; 0: it needs none
        ("movable", "u1"),
        ("migratetype", "u1"),  # Linux's number, of a request that tells none
    ],
    align=True,
)
