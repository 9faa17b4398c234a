"""What lives at a moment: a fold of the events over the blocks that lived before."""

import numpy as np

from ._jit import kernel
from .layout import NONE, Outcome, Verb

NAMED = np.dtype(
    [  # what a handle names, whatever allocator holds it
        ("time_ns", "i8"),
        ("owner", "i4"),
        ("flags", "u2"),
        ("kind", "u1"),
    ],
    align=True,
)
CHANGE = np.dtype(
    [  # a block that begins or ends at a granule
        ("granule", "i8"),
        ("handle", "i4"),
        ("order", "u1"),
        ("alive", "u1"),
    ],
    align=True,
)


@kernel
def name_handles(blocks, ops, named):
    """named[handle] (NAMED[]) from the blocks at the start and the ops."""
    for i in range(len(blocks)):
        block, name = blocks[i], named[blocks[i]["handle"]]
        name["time_ns"], name["owner"] = block["time_ns"], block["owner"]
        name["flags"], name["kind"] = block["flags"], block["kind"]
    for i in range(len(ops)):
        op = ops[i]
        if op["verb"] == Verb.ALLOCATE or op["verb"] == Verb.CLAIM:
            name = named[op["handle"]]
            name["time_ns"], name["owner"] = op["time_ns"], op["owner"]
            name["flags"], name["kind"] = op["flags"], op["kind"]


@kernel
def name_pieces(ops, events, named):
    """named[handle] of the pieces of split blocks; after `name_handles`."""
    for i in range(len(ops)):
        op, event = ops[i], events[i]
        if op["verb"] == Verb.SPLIT and event["outcome"] == Outcome.DONE:
            whole = named[op["handle"]]
            for piece in range(1 << (event["order"] - op["order"])):
                name = named[op["into"] + piece]
                name["time_ns"], name["owner"] = whole["time_ns"], whole["owner"]
                name["flags"], name["kind"] = whole["flags"], whole["kind"]


@kernel
def _blocks_of(verb, order, event_order, granules):
    """(blocks, their order) that an event of this verb begins or ends."""
    if verb == Verb.CLAIM or verb == Verb.RELEASE_CLAIM:
        return granules >> event_order, event_order
    return np.int64(1), event_order


@kernel
def count_changes(ops, events, moves):
    """How many changes `changes` will write for these events and the moves they made."""
    count = np.int64(2 * len(moves))
    for i in range(len(ops)):
        op, event = ops[i], events[i]
        verb, event_order = op["verb"], np.int64(event["order"])
        if event["outcome"] == Outcome.RELEASED:
            count += 1
        if event["outcome"] != Outcome.DONE:
            continue
        if verb == Verb.SPLIT:
            count += 1 + (np.int64(1) << (event_order - np.int64(op["order"])))
        elif verb <= Verb.RELEASE_CLAIM:
            count += _blocks_of(verb, np.int64(op["order"]), event_order, op["granules"])[0]
    return count


@kernel
def changes(ops, events, moves, first, out):
    """Every block that these events begin or end, in time order, to `out` (CHANGE[]).

    moves: MOVE[] that they made; first: the number of ops[0] among all.
    """
    count, moved = np.int64(0), np.int64(0)
    for i in range(len(ops)):
        op, event = ops[i], events[i]
        while moved < len(moves) and moves[moved]["op"] == first + i:
            move = moves[moved]
            handle, order = move["handle"], np.int64(move["order"])
            count = _change(out, count, move["granule"], handle, order, False)
            count = _change(out, count, move["to"], handle, order, True)
            moved += 1
        verb, granule, event_order = op["verb"], event["granule"], np.int64(event["order"])
        if event["outcome"] == Outcome.RELEASED:
            count = _change(out, count, granule, op["handle"], event_order, False)
        if event["outcome"] != Outcome.DONE:
            continue
        if verb == Verb.SPLIT:
            order = np.int64(op["order"])
            count = _change(out, count, granule, op["handle"], event_order, False)
            for piece in range(np.int64(1) << (event_order - order)):
                into = op["into"] + piece
                count = _change(out, count, granule + (piece << order), into, order, True)
        elif verb <= Verb.RELEASE_CLAIM:
            alive = verb == Verb.ALLOCATE or verb == Verb.CLAIM
            blocks, order = _blocks_of(verb, np.int64(op["order"]), event_order, op["granules"])
            for block in range(blocks):
                start = granule + (block << order)
                count = _change(out, count, start, op["handle"], order, alive)
    assert count == len(out)


@kernel
def _change(out, count, granule, handle, order, alive):
    change = out[count]
    change["granule"], change["handle"] = granule, handle
    change["order"], change["alive"] = order, alive
    return count + 1


@kernel
def merge(before, moves, named, after):
    """BLOCK[] `before` and the CHANGE[] since, both in address order, to BLOCK[] `after`.

    Of several changes at one granule the last counts; returns how many blocks were written.
    """
    i, j, count = np.int64(0), np.int64(0), np.int64(0)
    while i < len(before) or j < len(moves):
        if j == len(moves) or (i < len(before) and before[i]["granule"] < moves[j]["granule"]):
            after[count] = before[i]
            i, count = i + 1, count + 1
            continue
        granule = moves[j]["granule"]
        if i < len(before) and before[i]["granule"] == granule:
            i += 1
        while j + 1 < len(moves) and moves[j + 1]["granule"] == granule:
            j += 1
        if moves[j]["alive"]:
            _write_block(after[count], moves[j], named)
            count += 1
        j += 1
    return count


@kernel
def _write_block(block, move, named):
    name = named[move["handle"]]
    block["granule"], block["handle"], block["order"] = (
        move["granule"],
        move["handle"],
        move["order"],
    )
    block["time_ns"], block["owner"] = name["time_ns"], name["owner"]
    block["flags"], block["kind"] = name["flags"], name["kind"]


@kernel
def holds(blocks, granule):
    """Index of the block that holds `granule` in BLOCK[] in address order, or NONE."""
    low, high = np.int64(0), np.int64(len(blocks))
    while low < high:
        middle = (low + high) >> 1
        if blocks[middle]["granule"] <= granule:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return np.int64(NONE)
    block = blocks[low - 1]
    inside = granule < block["granule"] + (np.int64(1) << np.int64(block["order"]))
    return low - 1 if inside else np.int64(NONE)
