"""Replay the exchange format: eight bytes an op, as the C baselines do.

The loop does what theirs does and no more: take an op, call the allocator, keep the place in an
array.  So times compare; what `replay.py` adds (events, all verbs) is left out alike.
"""

import numpy as np

from ._jit import inlined, kernel
from .interface import allocate, release
from .layout import NONE, Verb

EXCHANGE = np.dtype(
    [
        ("op", "u1"),  # 0 allocate, 1 release
        ("order", "u1"),  # log2 of the block's pages, at both
        ("kind", "u1"),  # 0 in a file
        ("cpu", "u1"),  # 0 in a file
        ("id", "<u4"),  # names the block while it lives; used again afterwards
    ]
)
assert EXCHANGE.itemsize == 8
ORDERS = 64  # that a record may name
NS_PER_OP = 1000  # of ops that are read: a file has no times

NAMED = np.dtype(
    [  # by handle
        ("id", "i8"),  # NONE: not of this file
        ("pieces", "i8"),  # of a block that was cut: how many live
        ("whole", "i4"),  # of a piece: the handle of the block that was allocated
        ("order", "u1"),
    ],
    align=True,
)


@kernel
def replay(state, records, where, refused):
    """Apply EXCHANGE[] to `state`; the releases of what was refused are passed over.

    where[id]: first granule of the block, NONE at the start; refused: i8[order], counted up.  A
    block's owner is its id; a release is told the address only.
    """
    none = np.int64(NONE)
    for i in range(len(records)):
        record = records[i]
        name, cpu = np.int64(record["id"]), np.int64(record["cpu"])
        if record["op"] == 0:
            order, kind = np.int64(record["order"]), np.int64(record["kind"])
            granule = allocate(state, order, kind, name, none, cpu, np.int64(0))
            where[name] = granule
            if granule == NONE:
                refused[order] += 1
        elif where[name] != NONE:
            release(state, where[name], cpu)
            where[name] = none


# ---- to and from OP[] -----------------------------------------------------------------------


@kernel
def to_ops(records, ops, handle_of):
    """Write OP[] for EXCHANGE[]; each block gets a handle of its own.

    handle_of[id]: NONE at the start.  Returns how many handles, or NONE - i if record i allocates
    an id that lives, releases one that does not or in another order, or is neither op.
    """
    handles = np.int64(0)
    for i in range(len(records)):
        record, op = records[i], ops[i]
        name, order = record["id"], np.int64(record["order"])
        lives = handle_of[name] != NONE
        if record["op"] > 1 or order >= ORDERS or lives != (record["op"] == 1):
            return np.int64(NONE) - i
        op["time_ns"], op["order"], op["granules"] = i * NS_PER_OP, order, np.int64(1) << order
        op["granule"], op["into"], op["owner"], op["migratetype"] = NONE, NONE, NONE, 255
        if lives:
            op["verb"], op["handle"] = Verb.RELEASE, handle_of[name]
            handle_of[name] = NONE
        else:
            op["verb"], op["handle"] = Verb.ALLOCATE, handles
            handle_of[name] = handles
            handles += 1
    return handles


@kernel
def of_ops(ops, records, named, unused, left_out):
    """Write EXCHANGE[] for OP[] and return how many records; kinds and CPUs stand in them too.

    A block that is cut is released with its last piece.  named: NAMED[handle], id NONE at the
    start; unused: u4[handle], scratch, ids to use again, the last first.  left_out: i8[2], counted
    up: releases of blocks that were live before, ops of verbs that the format has not.
    """
    count = ids = free = np.int64(0)
    for i in range(len(ops)):
        op = ops[i]
        verb, handle = op["verb"], np.int64(op["handle"])
        if verb == Verb.ALLOCATE:
            name = ids
            if free > 0:
                free -= 1
                name = np.int64(unused[free])
            ids += name == ids
            block = named[handle]
            block["id"], block["pieces"], block["whole"] = name, 1, handle
            block["order"] = op["order"]
            _put(records, count, 0, op, name, op["order"])
            count += 1
        elif verb == Verb.RELEASE and named[handle]["id"] != NONE:
            whole = named[named[handle]["whole"]]
            whole["pieces"] -= 1
            if whole["pieces"] == 0:
                _put(records, count, 1, op, whole["id"], whole["order"])
                unused[free] = whole["id"]
                count, free = count + 1, free + 1
        elif verb == Verb.SPLIT and named[handle]["id"] != NONE:
            _cut(named, handle, op)
        elif verb == Verb.RELEASE:
            left_out[0] += 1
        else:
            left_out[1] += 1
    return count


@inlined
def _put(records, at, verb, op, name, order):
    record = records[at]
    record["op"], record["order"], record["id"] = verb, order, name
    record["kind"], record["cpu"] = op["kind"], op["cpu"]


@kernel
def _cut(named, handle, op):
    block, order = named[handle], np.int64(op["order"])
    pieces = np.int64(1) << (np.int64(block["order"]) - order)
    named[block["whole"]]["pieces"] += pieces - 1
    for piece in range(pieces):
        each = named[op["into"] + piece]
        each["id"], each["whole"], each["order"] = block["id"], block["whole"], order


@kernel
def release_rest(state, records, where):
    """Release what a replay left live, so that the next begins as this one did."""
    for i in range(len(records)):
        name = records[i]["id"]
        if where[name] != NONE:
            release(state, where[name], np.int64(0))
            where[name] = NONE


@kernel
def arithmetic(steps):
    """A random number made so often (xorshift): nothing but work within a processor, no memory."""
    value = np.uint64(88172645463325252)
    for _ in range(steps):
        value ^= value << np.uint64(13)
        value ^= value >> np.uint64(7)
        value ^= value << np.uint64(17)
    return value


# ---- one order at a time --------------------------------------------------------------------


@kernel
def hot_pairs(state, order, kind, count):
    """Allocate a block and release it, `count` times."""
    none, cpu = np.int64(NONE), np.int64(0)
    for i in range(count):
        granule = allocate(state, order, kind, i, none, cpu, np.int64(0))
        release(state, granule, cpu)


@kernel
def allocate_all(state, order, kind, blocks):
    """Allocate a block for each place of `blocks` (i8[])."""
    none, cpu = np.int64(NONE), np.int64(0)
    for i in range(len(blocks)):
        blocks[i] = allocate(state, order, kind, np.int64(i), none, cpu, np.int64(0))


@kernel
def batch(state, order, kind, blocks):
    """Release all of `blocks`, then allocate as many."""
    none, cpu = np.int64(NONE), np.int64(0)
    for i in range(len(blocks)):
        release(state, blocks[i], cpu)
    for i in range(len(blocks)):
        blocks[i] = allocate(state, order, kind, np.int64(i), none, cpu, np.int64(0))


@kernel
def churn(state, kind, pool, chosen):
    """Release the single granules pool[chosen[i]], each time allocating another in its place."""
    none, cpu, order = np.int64(NONE), np.int64(0), np.int64(0)
    for i in range(len(chosen)):
        release(state, pool[chosen[i]], cpu)
        pool[chosen[i]] = allocate(state, order, kind, np.int64(i), none, cpu, np.int64(0))


@kernel
def replay_places(state, records, where, places):
    """As `replay`; places[i] (i8) is the first granule of the block of op i, NONE where refused."""
    none = np.int64(NONE)
    for i in range(len(records)):
        record = records[i]
        name, cpu = np.int64(record["id"]), np.int64(record["cpu"])
        if record["op"] == 0:
            order, kind = np.int64(record["order"]), np.int64(record["kind"])
            where[name] = allocate(state, order, kind, name, none, cpu, np.int64(0))
            places[i] = where[name]
        else:
            places[i] = where[name]
            if where[name] != NONE:
                release(state, where[name], cpu)
