"""Run a trace through an allocator: OP[] in, EVENT[] out."""

import numpy as np

from ._jit import inlined, kernel
from .interface import (
    add,
    adopt,
    allocate,
    claim,
    drain,
    fail,
    holder,
    migrate,
    pin,
    release,
    split,
    unpin,
    unpoison,
)
from .layout import CLAIMED, HELD, NONE, PUT_OFF, Flag, Outcome, Verb

_MAY_MIGRATE = int(Flag.MAY_MIGRATE)


@kernel
def begin(state, ranges, blocks, where):
    """Put an empty state where the recording began.

    ranges: i8[n, 2] granules in service, free but for `blocks` (BLOCK[], address order), which are
    live; `where[handle]` is set for each.
    """
    after = 0
    for i in range(len(ranges)):
        start, end = ranges[i, 0], ranges[i, 1]
        while after < len(blocks) and blocks[after]["granule"] < end:
            block = blocks[after]
            granule, order = block["granule"], np.int64(block["order"])
            if start < granule:
                add(state, start, granule)
            adopt(state, granule, order, np.int64(block["kind"]), np.int64(block["owner"]))
            where[block["handle"]] = granule
            start = granule + (np.int64(1) << order)
            after += 1
        if start < end:
            add(state, start, end)
    assert after == len(blocks)  # no live block out of service


def replay(state, ops, groups, where, events, moves, ranges, zones, run=None):
    """Apply `ops` to `state`; events[i] says what came of ops[i]; return how many blocks moved.

    groups: u1[], beside whom each op's block is to lie.  `where[handle]` is the first granule of
    each live block, CLAIMED less that for claims, NONE for the others.  moves: MOVE[], filled in
    order of ops; each CLAIM that may migrate needs room for `granules` + 2, each MIGRATE and each
    FAIL that may for one.
    zones and ranges are those that the state began with, and a row of zeros for each ADD_MEMORY.
    run: what takes the place of `run_ops` (a meter).

    The verbs that fill traces run in one kernel; each of the rare ones has its own, which is not
    compiled before it is needed: all in one took three times as long to compile.
    """
    run = run or run_ops
    done, moved = run(state, ops, groups, where, events, 0), 0
    while done < len(ops):
        verb, op, event = int(ops["verb"][done]), ops[done : done + 1], events[done : done + 1]
        event["outcome"] = Outcome.DONE
        if verb == Verb.ADD_MEMORY:
            _add_memory(state, op, event, ranges, zones)
        elif verb in (Verb.CLAIM, Verb.MIGRATE) or _is_soft(op):
            act = _MOVING[verb]
            count = act(state, op, where, event, moves[moved:])
            moves["op"][moved : moved + count] = done
            moved += count
        else:
            _RARE[verb](state, op, where, event)
        done = run(state, ops, groups, where, events, done + 1)
    return moved


def _is_soft(op):
    """Whether an op is a soft failure."""
    return op["verb"][0] == Verb.FAIL and int(op["flags"][0]) & _MAY_MIGRATE != 0


@kernel
def run_ops(state, ops, groups, where, events, first):
    """Apply ops from `first` on up to one of a rare verb; return its index, or how many there are.

    The event of that one is made ready.
    """
    for i in range(first, len(ops)):
        op, event = ops[i], events[i]
        event["granule"], event["outcome"] = NONE, Outcome.DONE
        event["order"], event["steps"], event["lines"] = op["order"], 0, 0
        verb = op["verb"]
        if verb == Verb.ALLOCATE:
            _allocate(state, op, groups[i], where, event)
        elif verb == Verb.RELEASE:
            _release(state, op, where, event)
        elif verb == Verb.SPLIT:
            _split(state, op, where, event)
        elif verb == Verb.REFUSED:  # the recorded kernel's own
            event["outcome"] = Outcome.IGNORED
        else:
            return i
    return len(ops)


@inlined
def _allocate(state, op, group, where, event):
    order, kind, owner = np.int64(op["order"]), np.int64(op["kind"]), np.int64(op["owner"])
    cpu = np.int64(op["cpu"])
    granule = allocate(state, order, kind, owner, op["granule"], cpu, np.int64(group))
    where[op["handle"]] = granule
    event["granule"] = granule
    if granule == NONE:
        event["outcome"] = Outcome.REFUSED


@inlined
def _release(state, op, where, event):
    granule = where[op["handle"]]
    if granule < 0:  # not live, or a claim
        event["outcome"] = Outcome.ABSENT
        return
    order = release(state, granule, np.int64(op["cpu"]))
    if order < 0:
        event["outcome"] = Outcome.PUT_OFF if order == PUT_OFF else Outcome.ABSENT
        return
    where[op["handle"]] = NONE
    event["granule"], event["order"] = granule, order


@kernel
def _start(where, handle):
    """First granule of a live block or claim, or NONE."""
    granule = where[handle]
    return CLAIMED - granule if granule <= CLAIMED else granule


@kernel
def _pin(state, ops, where, events):
    op, event = ops[0], events[0]
    granule, released = _start(where, op["handle"]), np.int64(NONE)
    if granule == NONE:
        event["outcome"] = Outcome.ABSENT
        return
    event["granule"] = granule
    if op["verb"] == Verb.PIN:
        event["outcome"] = pin(state, granule + max(op["granule"], 0))
    else:
        event["outcome"], released = unpin(state, granule + max(op["granule"], 0))
    if released != NONE:
        event["order"] = released
        where[op["handle"]] = NONE


@kernel
def _migrate(state, ops, where, events, moves):
    op, event = ops[0], events[0]
    granule = where[op["handle"]]
    if granule < 0:
        event["outcome"] = Outcome.ABSENT if granule == NONE else Outcome.UNMOVABLE
        return np.int64(0)
    to, event["outcome"] = migrate(state, granule)
    if to == NONE:
        return np.int64(0)
    where[op["handle"]], event["granule"] = to, to
    moves[0]["granule"], moves[0]["to"], moves[0]["order"] = granule, to, op["order"]
    moves[0]["handle"] = op["handle"]
    return np.int64(1)


@kernel
def _rename(where, moves):
    """Let the handles of moved blocks name their new places, and the moves their handles."""
    if len(moves) == 0:
        return
    for handle in range(len(where)):
        low, high = np.int64(0), np.int64(len(moves))
        while low < high:  # moves stand in address order
            middle = (low + high) // 2
            if moves[middle]["granule"] < where[handle]:
                low = middle + 1
            else:
                high = middle
        if low < len(moves) and moves[low]["granule"] == where[handle]:
            moves[low]["handle"] = handle
            where[handle] = moves[low]["to"]


@kernel
def _split(state, op, where, event):
    granule, order = where[op["handle"]], np.int64(op["order"])
    whole_order = split(state, granule, order) if granule >= 0 else np.int64(NONE)
    if whole_order == NONE:
        event["outcome"] = Outcome.ABSENT
        return
    event["granule"], event["order"] = granule, whole_order
    where[op["handle"]] = NONE
    for piece in range(np.int64(1) << (whole_order - order)):
        where[op["into"] + piece] = granule + (piece << order)


@kernel
def _add_memory(state, ops, events, ranges, zones):
    op, event = ops[0], events[0]
    start, end = op["granule"], op["granule"] + op["granules"]
    event["granule"], event["outcome"] = start, Outcome.OUTSIDE
    for i in range(len(zones)):
        if zones[i, 0] <= start and end <= zones[i, 1]:
            event["outcome"] = Outcome.DONE
    row = 0
    while row < len(ranges) and ranges[row, 1] != 0:
        if ranges[row, 0] < end and start < ranges[row, 1]:
            event["outcome"] = Outcome.IGNORED  # a cold start has it in service already
        row += 1
    if event["outcome"] == Outcome.DONE:
        assert row < len(ranges)  # the caller leaves room
        ranges[row, 0], ranges[row, 1] = start, end
        add(state, start, end)


@kernel
def _claim(state, ops, where, events, moves):
    op, event = ops[0], events[0]
    kind, owner = np.int64(op["kind"]), np.int64(op["owner"])
    align_order, room = np.int64(op["align_order"]), np.int64(0)
    if np.int64(op["flags"]) & _MAY_MIGRATE != 0:
        room = op["granules"] + 2
        assert room <= len(moves)  # the caller leaves room
    found = claim(state, op["granules"], align_order, kind, owner, moves[:room])
    granule, steps, order, moved = found
    where[op["handle"]] = CLAIMED - granule if granule != NONE else granule
    event["granule"], event["steps"], event["order"] = granule, steps, order
    if granule == NONE:
        event["outcome"] = Outcome.REFUSED if steps > 0 else Outcome.IGNORED
    _rename(where, moves[:moved])
    return moved


@kernel
def _release_claim(state, ops, where, events):
    op, event = ops[0], events[0]
    if where[op["handle"]] > CLAIMED:  # not live, or a block
        event["outcome"] = Outcome.ABSENT
        return
    granule = _start(where, op["handle"])
    whole = op["granule"] == NONE
    granule += max(op["granule"], 0)
    event["granule"] = granule
    end = granule + op["granules"]
    while granule < end:
        order = release(state, granule, np.int64(op["cpu"]))
        if order < 0:  # the chunks share their pins, so it is the first one
            event["outcome"] = Outcome.PINNED if order == HELD else Outcome.PUT_OFF
            if order == NONE:  # released before, and put off
                event["outcome"] = Outcome.ABSENT
            return
        granule += np.int64(1) << order
        event["order"] = order
    if whole:
        where[op["handle"]] = NONE


@kernel
def _fail(state, ops, where, events):
    events[0]["granule"] = ops[0]["granule"]
    events[0]["outcome"] = fail(state, ops[0]["granule"])


@kernel
def _fail_softly(state, ops, where, events, moves):
    """Linux's soft offline: what can move leaves, then the granule; what cannot stays in use."""
    event, granule = events[0], ops[0]["granule"]
    event["granule"] = granule
    start, order = holder(state, granule)
    if start == NONE:
        event["outcome"] = fail(state, granule)
        return np.int64(0)
    to, event["outcome"] = migrate(state, start)
    if to == NONE:
        return np.int64(0)
    moves[0]["granule"], moves[0]["to"], moves[0]["order"] = start, to, order
    _rename(where, moves[:1])
    event["outcome"] = fail(state, granule)
    return np.int64(1)


@kernel
def _unpoison(state, ops, where, events):
    events[0]["granule"] = ops[0]["granule"]
    events[0]["outcome"] = unpoison(state, ops[0]["granule"])


@kernel
def _drain(state, ops, where, events):
    drain(state)


_MOVING = {Verb.CLAIM: _claim, Verb.MIGRATE: _migrate, Verb.FAIL: _fail_softly}
_RARE = {
    Verb.RELEASE_CLAIM: _release_claim,
    Verb.FAIL: _fail,
    Verb.UNPOISON: _unpoison,
    Verb.PIN: _pin,
    Verb.UNPIN: _pin,
    Verb.DRAIN: _drain,
}
