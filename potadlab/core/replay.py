"""Run a trace through an allocator: OP[] in, EVENT[] out."""

import numpy as np

from ._jit import inlined, kernel
from .interface import add, adopt, allocate, claim, fail, release, split, unpoison
from .layout import NONE, Outcome, Verb


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


@kernel
def replay(state, ops, where, events, ranges, zones):
    """Apply `ops` to `state`; events[i] says what came of ops[i].

    `where[handle]` is the first granule of each live block, NONE for the others; zones and ranges
    are those that the state began with, and a row of zeros more for each ADD_MEMORY.
    """
    for i in range(len(ops)):
        op, event = ops[i], events[i]
        event["granule"], event["outcome"] = NONE, Outcome.DONE
        event["order"], event["steps"], event["lines"] = op["order"], 0, 0
        verb = op["verb"]
        if verb == Verb.ALLOCATE:
            _allocate(state, op, where, event)
        elif verb == Verb.RELEASE:
            _release(state, op, where, event)
        elif verb == Verb.SPLIT:
            _split(state, op, where, event)
        elif verb == Verb.ADD_MEMORY:
            _add_memory(state, op, event, ranges, zones)
        elif verb == Verb.CLAIM:
            _claim(state, op, where, event)
        elif verb == Verb.RELEASE_CLAIM:
            _release_claim(state, op, where, event)
        elif verb == Verb.FAIL:
            event["granule"] = op["granule"]
            event["outcome"] = fail(state, op["granule"])
        elif verb == Verb.UNPOISON:
            event["granule"] = op["granule"]
            event["outcome"] = unpoison(state, op["granule"])
        else:  # REFUSED is the recorded kernel's own; PIN, UNPIN are asked of a state directly
            event["outcome"] = Outcome.IGNORED


@inlined
def _allocate(state, op, where, event):
    order, kind, owner = np.int64(op["order"]), np.int64(op["kind"]), np.int64(op["owner"])
    cpu, group = np.int64(op["cpu"]), np.int64(0)
    granule = allocate(state, order, kind, owner, op["granule"], cpu, group)
    where[op["handle"]] = granule
    event["granule"] = granule
    if granule == NONE:
        event["outcome"] = Outcome.REFUSED


@inlined
def _release(state, op, where, event):
    granule = where[op["handle"]]
    if granule == NONE:
        event["outcome"] = Outcome.ABSENT
        return
    order = release(state, granule, np.int64(op["cpu"]))
    assert order >= 0
    where[op["handle"]] = NONE
    event["granule"], event["order"] = granule, order


@kernel
def _split(state, op, where, event):
    granule, order = where[op["handle"]], np.int64(op["order"])
    whole_order = split(state, granule, order) if granule != NONE else np.int64(NONE)
    if whole_order == NONE:
        event["outcome"] = Outcome.ABSENT
        return
    event["granule"], event["order"] = granule, whole_order
    where[op["handle"]] = NONE
    for piece in range(np.int64(1) << (whole_order - order)):
        where[op["into"] + piece] = granule + (piece << order)


@kernel
def _add_memory(state, op, event, ranges, zones):
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
def _claim(state, op, where, event):
    kind, owner = np.int64(op["kind"]), np.int64(op["owner"])
    align_order = np.int64(op["align_order"])
    granule, steps, order = claim(state, op["granules"], align_order, kind, owner)
    where[op["handle"]] = granule
    event["granule"], event["steps"], event["order"] = granule, steps, order
    if granule == NONE:
        event["outcome"] = Outcome.REFUSED if steps > 0 else Outcome.IGNORED


@kernel
def _release_claim(state, op, where, event):
    granule = where[op["handle"]]
    if granule == NONE:
        event["outcome"] = Outcome.ABSENT
        return
    event["granule"] = granule
    end = granule + op["granules"]
    while granule < end:
        order = release(state, granule, np.int64(op["cpu"]))
        assert order != NONE
        granule += np.int64(1) << order
        event["order"] = order
    where[op["handle"]] = NONE
