"""Count as the events go by: free blocks of each order, live blocks and granules of each kind, and
the regions (2 MiB) that unmovable memory spoils.

What is free is always counted as the largest aligned blocks it makes up (up to order_max, within
a zone), as a buddy allocator without caches would hold it; so allocators are compared alike.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel, state
from .bits import align_down, buddy_of, largest_order
from .fragmentation import add_unusable
from .layout import NONE, Outcome, Verb
from .mapped import mapped

ORDERS = 64
KINDS = 256


@state
class Census(NamedTuple):
    free_orders: np.ndarray  # u1[granule]  1 + order of the free block that starts here, else 0
    free_blocks: np.ndarray  # i8[ORDERS]
    live_blocks: np.ndarray  # i8[KINDS]
    live_granules: np.ndarray  # i8[KINDS]
    order_max: int
    zones: np.ndarray  # i8[zone, 2]
    movable: np.ndarray  # u1[KINDS]
    region_order: int
    fixed: np.ndarray  # i4[granule >> region_order]  live granules of kinds that do not move
    spoilt: np.ndarray  # i8[1]  regions with some, but not full of them


@state
class Samples(NamedTuple):
    at: np.ndarray  # i8[sample]  how many ops came before it, ascending
    free_blocks: np.ndarray  # i8[sample, ORDERS]
    live_blocks: np.ndarray  # i8[sample, KINDS]
    live_granules: np.ndarray  # i8[sample, KINDS]
    spoilt: np.ndarray  # i8[sample]


def new(zones: np.ndarray, order_max: int, movable: np.ndarray, region_order: int) -> Census:
    """A census of `zones` with nothing in service; movable: of each kind."""
    moves = np.zeros(KINDS, np.uint8)
    moves[: len(movable)] = movable
    return Census(
        mapped(int(zones.max()) + 1, "u1"),
        np.zeros(ORDERS, np.int64),
        np.zeros(KINDS, np.int64),
        np.zeros(KINDS, np.int64),
        order_max,
        zones.astype(np.int64),
        moves,
        region_order,
        mapped((int(zones.max()) >> region_order) + 1, np.int32),
        np.zeros(1, np.int64),
    )


@kernel
def begin(census, ranges, blocks):
    """Count the ranges in service (i8[n, 2]), free but for the live `blocks` (BLOCK[])."""
    after = 0
    for i in range(len(ranges)):
        start, end = ranges[i, 0], ranges[i, 1]
        while after < len(blocks) and blocks[after]["granule"] < end:
            block = blocks[after]
            _give_range(census, start, block["granule"])
            _live(census, block["kind"], block["granule"], np.int64(block["order"]), 1)
            start = block["granule"] + (np.int64(1) << np.int64(block["order"]))
            after += 1
        _give_range(census, start, end)


@kernel
def count(census, ops, events, moves, named, poison, samples, orders, unusable):
    """Follow the events; write a row of `samples` whenever as many ops as it says have been done.

    poison: i8[n] granules failed so far, room for all; unusable (i8[]) becomes the sum over ops of
    the unusable free space index of each of `orders` (0 .. 1000, mm/vmstat.c's integer arithmetic).
    """
    failed, row, moved = np.int64(0), np.int64(0), np.int64(0)
    for i in range(len(ops)):
        while row < len(samples.at) and samples.at[row] <= i:
            _sample(census, samples, row)
            row += 1
        while moved < len(moves) and moves[moved]["op"] == i:
            order_moved = np.int64(moves[moved]["order"])
            _take(census, moves[moved]["to"], order_moved)
            _give(census, moves[moved]["granule"], order_moved)
            moved += 1
        failed = _follow(census, ops[i], events[i], named, poison, failed)
        add_unusable(census.free_blocks, orders, unusable)
    while row < len(samples.at):
        _sample(census, samples, row)
        row += 1


@kernel
def _sample(census, samples, row):
    for order in range(ORDERS):
        samples.free_blocks[row, order] = census.free_blocks[order]
    for kind in range(KINDS):
        samples.live_blocks[row, kind] = census.live_blocks[kind]
        samples.live_granules[row, kind] = census.live_granules[kind]
    samples.spoilt[row] = census.spoilt[0]


@kernel
def _follow(census, op, event, named, poison, failed):
    verb, outcome, granule = op["verb"], event["outcome"], event["granule"]
    order = np.int64(event["order"])
    if outcome == Outcome.POISONED_FREE or (verb == Verb.FAIL and outcome == Outcome.POISONED_LIVE):
        poison[failed] = granule
        if outcome == Outcome.POISONED_FREE:
            _take(census, granule, np.int64(0))
        return failed + 1
    if verb == Verb.UNPOISON and outcome != Outcome.IGNORED:
        if outcome == Outcome.DONE:
            _give(census, granule, np.int64(0))
        return _drop(poison, failed, granule)
    if outcome != Outcome.DONE and outcome != Outcome.RELEASED:
        return failed
    kind = named[op["handle"]]["kind"] if op["handle"] != NONE else np.uint8(0)
    if verb == Verb.ALLOCATE:
        _take(census, granule, order)
        _live(census, kind, granule, order, 1)
    elif verb == Verb.RELEASE or outcome == Outcome.RELEASED:
        _give_but(census, granule, order, poison[:failed])
        _live(census, kind, granule, order, -1)
    elif verb == Verb.SPLIT:
        census.live_blocks[kind] += (np.int64(1) << (order - np.int64(op["order"]))) - 1
    elif verb == Verb.ADD_MEMORY:
        _give_range(census, granule, granule + op["granules"])
    elif verb == Verb.CLAIM or verb == Verb.RELEASE_CLAIM:
        for block in range(op["granules"] >> order):
            first = granule + (block << order)
            if verb == Verb.CLAIM:
                _take(census, first, order)
            else:
                _give_but(census, first, order, poison[:failed])
            _live(census, kind, first, order, 1 if verb == Verb.CLAIM else -1)
    return failed


@kernel
def _drop(poison, failed, granule):
    for i in range(failed):
        if poison[i] == granule:
            poison[i] = poison[failed - 1]
            return failed - 1
    return failed


@kernel
def _live(census, kind, granule, order, sign):
    census.live_blocks[kind] += sign
    census.live_granules[kind] += sign << order
    if census.movable[kind] == 0:
        _fix(census, granule, order, sign)


@kernel
def _fix(census, granule, order, sign):
    """A block that does not move has come or gone: which regions does it spoil?"""
    size, end = np.int64(1) << census.region_order, granule + (np.int64(1) << order)
    while granule < end:
        region = granule >> census.region_order
        part = min(end, (region + 1) << census.region_order) - granule
        census.spoilt[0] -= 0 < census.fixed[region] < size
        census.fixed[region] += sign * part
        census.spoilt[0] += 0 < census.fixed[region] < size
        granule += part


@kernel
def _zone_end(census, granule):
    for zone in range(len(census.zones)):
        if census.zones[zone, 0] <= granule < census.zones[zone, 1]:
            return census.zones[zone, 1]
    return granule


@kernel
def _same_zone(census, one, other):
    for zone in range(len(census.zones)):
        start, end = census.zones[zone, 0], census.zones[zone, 1]
        if start <= one < end:
            return start <= other < end
    return False


@kernel
def _give_range(census, start, end):
    while start < end:
        room = min(end, _zone_end(census, start)) - start
        order = min(largest_order(start, room), np.int64(census.order_max))
        _give(census, start, order)
        start += np.int64(1) << order


@kernel
def _give_but(census, granule, order, poison):
    """Free a block but for the failed granules in it."""
    end = granule + (np.int64(1) << order)
    inside = np.int64(0)
    for i in range(len(poison)):
        inside += granule <= poison[i] < end
    if inside == 0:
        _give(census, granule, order)
        return
    for page in range(granule, end):
        bad = False
        for i in range(len(poison)):
            bad = bad or poison[i] == page
        if not bad:
            _give(census, page, np.int64(0))


@kernel
def _give(census, granule, order):
    """Free a block, merged with its free buddies; one of more than order_max in pieces of that."""
    end = granule + (np.int64(1) << order)
    order = min(order, np.int64(census.order_max))
    while granule < end:
        _give_piece(census, granule, order)
        granule += np.int64(1) << order


@kernel
def _give_piece(census, granule, order):
    while order < census.order_max:
        buddy = buddy_of(granule, order)
        if not _same_zone(census, granule, buddy) or census.free_orders[buddy] != order + 1:
            break
        census.free_orders[buddy] = 0
        census.free_blocks[order] -= 1
        order += 1
        granule = align_down(granule, order)
    census.free_orders[granule] = order + 1
    census.free_blocks[order] += 1


@kernel
def _take(census, granule, order):
    """Take a block out of the free blocks that hold it; the rest stays free, split."""
    end = granule + (np.int64(1) << order)
    order = min(order, np.int64(census.order_max))
    while granule < end:
        _take_piece(census, granule, order)
        granule += np.int64(1) << order


@kernel
def _take_piece(census, granule, order):
    found = order
    while census.free_orders[align_down(granule, found)] != found + 1:
        found += 1
        assert found <= census.order_max
    census.free_orders[align_down(granule, found)] = 0
    census.free_blocks[found] -= 1
    while found > order:
        found -= 1
        half = buddy_of(align_down(granule, found), found)
        census.free_orders[half] = found + 1
        census.free_blocks[found] += 1
