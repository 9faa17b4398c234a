"""Recorded allocs and frees, which name blocks by place, to OP[], which names them by handle.

One pass over the rows of a trace, with one FRAME for each granule.  A free meets a frame that is
live (the usual), free already or not seen yet; the last two, and frees of parts, are the mismatches
M1..M9 of every recording that starts on a running machine.  Each becomes ops that can be replayed:

    alloc                        ALLOCATE; before it RELEASE (LOST_FREE) of live blocks it covers
    free, head and order match   RELEASE
    free, unseen                 RELEASE (LIVE_AT_START) of a block of the start; or ADD_MEMORY; or
                                 ALLOCATE (SYNTHETIC) and RELEASE (UNTRACED_UNSEEN)
    free, free already           ALLOCATE (SYNTHETIC) and RELEASE (UNTRACED_REUSED)
    free of a part               SPLIT into pieces of that order, once, and RELEASE (PIECE)
    free of live and other       RELEASE (CORRUPT) of each live part
    alloc that failed            REFUSED

The class flag of a recorded free stands on exactly one op that is not SYNTHETIC; where one free
needs several releases, the others are SYNTHETIC.  So the counts of an import are sums over OP[].
ALLOCATE, RELEASE and SPLIT carry the recorded place of the block in `granule`.  All ops of a row
share its time.  Alloc and free ranges are aligned (the caller checks), hence nested or disjoint.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from ._jit import allocating_kernel as kernel
from ._jit import state
from .bits import align_down, largest_order
from .layout import NONE, OP, Flag, Verb

FRAME = np.dtype(
    [  # all zero: not seen yet
        ("handle", "i4"),  # of the live block that holds the granule
        ("root", "i4"),  # handle of that block as it was allocated, before any split
        ("order", "u1"),
        ("root_order", "u1"),
        ("state", "u1"),  # State
        ("first", "u1"),  # First
    ]
)


class State(IntEnum):
    """What the rows so far say of a granule."""

    UNSEEN = 0
    LIVE = 1
    FREE = 2


class First(IntEnum):
    """What the first event of a granule says of the start."""

    NONE = 0
    FREE = 1  # it was free and in service
    LIVE = 2  # a block held it
    ADDED = 3  # it was out of service


class Role(IntEnum):
    """What a snapshot's run of granules is to the start, where no event says more."""

    FREE = 0
    FRESH = 1  # out of service until it is added
    OUT = 2  # never in service
    SINGLES = 3  # live, each granule a block
    WHOLES = 4  # live, boundaries not told: greedy aligned blocks
    NOT_TOLD = 5  # there is no snapshot: free


@state
class Rows(NamedTuple):
    """The recorded events in time order, a column each; frees have kind 0, owner NONE."""

    time_ns: np.ndarray  # i8, from the first event
    op: np.ndarray  # u1: 0 alloc, 1 free
    pfn: np.ndarray  # i8, NONE: the alloc failed
    order: np.ndarray  # u1
    cpu: np.ndarray  # u1
    migratetype: np.ndarray  # u1
    kind: np.ndarray  # u1
    owner: np.ndarray  # i4


@state
class Runs(NamedTuple):
    """The space at the start: run i reaches from start[i] to start[i + 1] (one start more)."""

    start: np.ndarray  # i8, ascending from 0, granules
    role: np.ndarray  # u1
    kind: np.ndarray  # u1, index in the table of kinds


# Numba knows IntEnum, not IntFlag
_LIVE_AT_START, _MEMORY_ADDED = int(Flag.LIVE_AT_START), int(Flag.MEMORY_ADDED)
_UNTRACED_UNSEEN, _UNTRACED_REUSED = int(Flag.UNTRACED_UNSEEN), int(Flag.UNTRACED_REUSED)
_PIECE, _CORRUPT, _LOST_FREE = int(Flag.PIECE), int(Flag.CORRUPT), int(Flag.LOST_FREE)
_SYNTHETIC = int(Flag.SYNTHETIC)
_NOT_RECORDED = 255  # migratetype of all but allocs


# ---- rows to ops ----------------------------------------------------------------------------


@kernel
def pair(rows, runs, frames, order_max):
    """(OP[], handles used) of `rows`; `frames` (FRAME, zeroed, one per granule) keeps the end."""
    ops, handles = _pair(rows.op, rows.pfn, rows.order, runs, frames, order_max)
    _tell(ops, rows)
    return ops, handles


@kernel
def _pair(verbs, granules, orders, runs, frames, order_max):
    """`pair`, but each op has the index of its row in place of what `_tell` fills in."""
    ops = np.empty(len(verbs) + len(verbs) // 8 + 8, OP)
    count, handles = np.int64(0), np.int64(0)
    for row in range(len(verbs)):
        ops = _room(ops, count + 2)
        granule, order = granules[row], np.int64(orders[row])
        if granule == NONE:
            count = _put(ops, count, row, Verb.REFUSED, NONE, order, NONE, 0)
        elif verbs[row] == 0:
            if _any_live(frames, granule, order):
                ops, count = _release_covered(ops, count, row, frames, granule, order)
            count = _put(ops, count, row, Verb.ALLOCATE, granule, order, handles, 0)
            _hold(frames, granule, order, handles)
            handles += 1
        elif frames[granule]["state"] == State.LIVE and frames[granule]["order"] >= order:
            count, handles = _release_live(ops, count, row, frames, granule, order, handles)
            _drop(frames, granule, order, First.FREE)
        elif _any_live(frames, granule, order):
            ops, count = _release_mixed(ops, count, row, frames, granule, order)
            _drop(frames, granule, order, First.FREE)
        else:
            flags = _class_of_dead(frames, runs, granule, order, order_max)
            count, handles = _release_dead(ops, count, row, granule, order, handles, flags)
            _drop(frames, granule, order, _first_of(flags))
    return ops[:count], handles


@kernel
def _room(ops, count):
    """`ops`, or a longer copy, with room for `count` ops."""
    if count <= len(ops):
        return ops
    grown = np.empty(2 * count, OP)
    for index in range(len(ops)):  # compiles in a tenth of the time of a slice assignment
        grown[index] = ops[index]
    return grown


@kernel
def _put(ops, count, row, verb, granule, order, handle, flags):
    """Append an op; returns the new count."""
    op = ops[count]
    op["time_ns"] = row
    op["granule"] = granule
    op["granules"] = np.int64(1) << order
    op["handle"] = handle
    op["into"] = NONE
    op["flags"] = flags
    op["verb"] = verb
    op["order"] = order
    return count + 1


@kernel
def _tell(ops, rows):
    """Copy to each op what its row tells; kind and owner only where the row asks for a block."""
    for index in range(len(ops)):
        op = ops[index]
        row = op["time_ns"]
        asks = op["verb"] == Verb.REFUSED or op["verb"] == Verb.ALLOCATE
        asks = asks and op["flags"] & _SYNTHETIC == 0
        op["time_ns"] = rows.time_ns[row]
        op["cpu"] = rows.cpu[row]
        op["align_order"] = 0
        op["owner"] = rows.owner[row] if asks else NONE
        op["kind"] = rows.kind[row] if asks else 0
        op["migratetype"] = rows.migratetype[row] if asks else _NOT_RECORDED


@kernel
def _any_live(frames, granule, order):
    for at in range(granule, granule + (np.int64(1) << order)):
        if frames[at]["state"] == State.LIVE:
            return True
    return False


@kernel
def _hold(frames, granule, order, handle):
    """Mark a newly allocated block live."""
    for at in range(granule, granule + (np.int64(1) << order)):
        frame = frames[at]
        frame["handle"] = handle
        frame["root"] = handle
        frame["order"] = order
        frame["root_order"] = order
        frame["state"] = State.LIVE
        if frame["first"] == First.NONE:
            frame["first"] = First.FREE


@kernel
def _drop(frames, granule, order, first):
    """Mark granules free; `first` is what that says of those not seen before."""
    for at in range(granule, granule + (np.int64(1) << order)):
        frame = frames[at]
        frame["state"] = State.FREE
        if frame["first"] == First.NONE:
            frame["first"] = first


@kernel
def _release_live(ops, count, row, frames, granule, order, handles):
    """Free of a live block (exact) or of a piece of one (M5), which is split to pieces first."""
    frame = frames[granule]
    held, handle = np.int64(frame["order"]), np.int64(frame["handle"])
    flags = _PIECE if held > order or handle != frame["root"] else 0
    if held > order:
        head = align_down(granule, held)
        count = _put(ops, count, row, Verb.SPLIT, head, order, handle, _PIECE | _SYNTHETIC)
        ops[count - 1]["into"] = handles
        _split(frames, head, held, order, handles)
        handle = handles + ((granule - head) >> order)
        handles += np.int64(1) << (held - order)
    return _put(ops, count, row, Verb.RELEASE, granule, order, handle, flags), handles


@kernel
def _split(frames, head, held, order, into):
    """Piece i of the block of order `held` at `head` gets handle into + i."""
    for at in range(head, head + (np.int64(1) << held)):
        frames[at]["handle"] = into + ((at - head) >> order)
        frames[at]["order"] = order


@kernel
def _release_mixed(ops, count, row, frames, granule, order):
    """Free of granules that belong to no one block: pieces of one (M5), or the live parts (M6)."""
    root, flags = frames[granule]["root"], np.int64(_PIECE)
    for at in range(granule, granule + (np.int64(1) << order)):
        if frames[at]["state"] != State.LIVE or frames[at]["root"] != root:
            flags = np.int64(_CORRUPT)
    return _release_parts(ops, count, row, frames, granule, order, np.int64(NONE), flags)


@kernel
def _release_covered(ops, count, row, frames, granule, order):
    """M7: before an alloc, release each live block it covers, whole, also if partly covered."""
    for at in range(granule, granule + (np.int64(1) << order)):
        if frames[at]["state"] == State.LIVE:
            root, held = np.int64(frames[at]["root"]), np.int64(frames[at]["root_order"])
            head, flags = align_down(at, held), np.int64(_LOST_FREE | _SYNTHETIC)
            ops, count = _release_parts(ops, count, row, frames, head, held, root, flags)
    return _room(ops, count + 1), count


@kernel
def _release_parts(ops, count, row, frames, granule, order, root, flags):
    """Release the live blocks in a range (those of `root`, unless NONE) and mark them free.

    The first op carries `flags`; the others are SYNTHETIC as well.
    """
    end = granule + (np.int64(1) << order)
    ops = _room(ops, count + end - granule)
    at = granule
    while at < end:
        frame = frames[at]
        part = np.int64(0)
        if frame["state"] == State.LIVE and (root == NONE or frame["root"] == root):
            part, handle = np.int64(frame["order"]), np.int64(frame["handle"])
            piece = _PIECE if handle != frame["root"] else 0
            count = _put(ops, count, row, Verb.RELEASE, at, part, handle, flags | piece)
            _drop(frames, at, part, First.FREE)
            flags |= _SYNTHETIC
        at += np.int64(1) << part
    return ops, count


@kernel
def _class_of_dead(frames, runs, granule, order, order_max):
    """The class flag of a free of which nothing is live: M4, or by the snapshot M1, M2 or M3."""
    end = granule + (np.int64(1) << order)
    for at in range(granule, end):
        if frames[at]["state"] == State.FREE:
            return _UNTRACED_REUSED
    fresh, run = True, np.searchsorted(runs.start, granule, "right") - 1
    while run < len(runs.role) and runs.start[run] < end:
        if runs.role[run] != Role.FRESH and runs.role[run] != Role.FREE:
            return _LIVE_AT_START
        fresh = fresh and runs.role[run] == Role.FRESH
        run += 1
    return _MEMORY_ADDED if fresh and order == order_max else _UNTRACED_UNSEEN


@kernel
def _first_of(flags):
    """What a free of nothing live says of granules not seen before."""
    if flags == _MEMORY_ADDED:
        return First.ADDED
    return First.LIVE if flags == _LIVE_AT_START else First.FREE


@kernel
def _release_dead(ops, count, row, granule, order, handles, flags):
    """Memory added (M2), a block of the start (M1), or one whose alloc was not traced (M3, M4)."""
    if flags == _MEMORY_ADDED:
        return _put(ops, count, row, Verb.ADD_MEMORY, granule, order, NONE, flags), handles
    if flags != _LIVE_AT_START:
        count = _put(ops, count, row, Verb.ALLOCATE, granule, order, handles, _SYNTHETIC)
    return _put(ops, count, row, Verb.RELEASE, granule, order, handles, flags), handles + 1


# ---- the start, from the snapshot and the first events --------------------------------------


@kernel
def service_edges(runs, frames, edges):
    """Where service begins and ends at the start, in turns, written to `edges` while it has room.

    Returns how many there are.  An event of a granule tells more than the snapshot.
    """
    count, inside = 0, False
    for run in range(len(runs.role)):
        out = runs.role[run] == Role.FRESH or runs.role[run] == Role.OUT
        # in runs in service no event says otherwise: one look is enough
        for at in range(runs.start[run], runs.start[run + 1] if out else runs.start[run] + 1):
            first = frames[at]["first"]
            serves = not out or first == First.FREE or first == First.LIVE
            if serves != inside:
                if count < len(edges):
                    edges[count] = at
                count, inside = count + 1, serves
    if inside and count < len(edges):
        edges[count] = runs.start[-1]
    return count + inside


@kernel
def start_blocks(runs, frames, order_max, handles, blocks):
    """Live blocks of granules without an event, in address order, to `blocks` while it has room.

    Their handles go on from `handles`.  Returns (how many there are, how many of them have
    assumed boundaries).
    """
    count, assumed = 0, 0
    for run in range(len(runs.role)):
        at, end, role = runs.start[run], runs.start[run + 1], runs.role[run]
        while (role == Role.SINGLES or role == Role.WHOLES) and at < end:
            stretch_end = _stretch_end(frames, at, end)
            several = stretch_end - at > 1 and role == Role.WHOLES
            while at < stretch_end:
                order = min(largest_order(at, stretch_end - at), order_max) if several else 0
                if count < len(blocks):
                    _fill_block(blocks[count], at, order, runs.kind[run], handles + count)
                count, assumed = count + 1, assumed + several
                at += np.int64(1) << order
            while at < end and frames[at]["first"] != First.NONE:
                at += 1
    return count, assumed


@kernel
def _fill_block(block, granule, order, kind, handle):
    block["granule"] = granule
    block["order"] = order
    block["kind"] = kind
    block["handle"] = handle
    block["owner"] = 0
    block["time_ns"] = -1  # before the recording; how long before is not told
    block["flags"] = _LIVE_AT_START


@kernel
def freed_blocks(ops, runs, blocks):
    """Live blocks of the start that a row releases (M1), as it does, in order of their release."""
    count = 0
    for index in range(len(ops)):
        op = ops[index]
        if op["flags"] & _LIVE_AT_START:
            granule = op["granule"]
            kind = runs.kind[np.searchsorted(runs.start, granule, "right") - 1]
            _fill_block(blocks[count], granule, op["order"], kind, op["handle"])
            count += 1


@kernel
def _stretch_end(frames, at, end):
    """The next granule from `at` on that has an event, or `end`."""
    while at < end and frames[at]["first"] == First.NONE:
        at += 1
    return at


# ---- sums over ops --------------------------------------------------------------------------


@kernel
def lives(ops, handles):
    """(allocs with a part alive at the end, peak of live granules); only what a row allocated."""
    root = np.full(handles, NONE, np.int32)  # blocks of the start and synthetic ones have none
    orders = np.zeros(handles, np.uint8)
    left = np.zeros(handles, np.int64)
    live, peak = np.int64(0), np.int64(0)
    for index in range(len(ops)):
        op = ops[index]
        handle, granules = op["handle"], np.int64(1) << np.int64(op["order"])
        if op["verb"] == Verb.ALLOCATE and op["flags"] & _SYNTHETIC == 0:
            root[handle] = handle
            orders[handle] = op["order"]
            left[handle] = granules
            live += granules
            peak = max(peak, live)
        elif op["verb"] == Verb.SPLIT:
            pieces = np.int64(1) << (np.int64(orders[handle]) - np.int64(op["order"]))
            root[op["into"] : op["into"] + pieces] = root[handle]
            orders[op["into"] : op["into"] + pieces] = op["order"]
        elif op["verb"] == Verb.RELEASE and root[handle] != NONE:
            left[root[handle]] -= granules
            live -= granules
    never_freed = 0
    for handle in range(handles):
        never_freed += left[handle] > 0
    return never_freed, peak
