"""First fit: the lowest place that can serve, found by looking at one granule after the other.

An allocator of one's own, to copy and to change: a state of arrays, a `new`, and a function for
each verb.  These four are needed; what else potadlab.core.interface names (split, pin, fail,
claim, ...) may be added the same way, and is answered with "has no such verb" where it is not.
"""

from typing import NamedTuple

import numpy as np

import potadlab as pl
from potadlab.core.layout import NONE


class FirstFit(NamedTuple):
    used: np.ndarray  # u1[granule]  0 where free
    orders: np.ndarray  # i1[granule]  1 + order of the live block that starts here, else 0
    lowest: np.ndarray  # i8[order]  nothing below it can serve
    zones: np.ndarray  # i8[zone, 2]  start and end, in granules, in order of trial


def new(zones: np.ndarray, kinds: np.ndarray) -> FirstFit:
    """An allocator over `zones` with nothing in service."""
    end = int(zones.max())
    used, orders = np.ones(end, np.uint8), np.zeros(end, np.int8)
    return FirstFit(used, orders, np.zeros(64, np.int64), zones.astype(np.int64))


@pl.interface.add.register
@pl.kernel
def add(state: FirstFit, start, end):
    for granule in range(start, end):
        state.used[granule] = 0
    for order in range(len(state.lowest)):
        state.lowest[order] = min(state.lowest[order], start)


@pl.interface.adopt.register
@pl.kernel
def adopt(state: FirstFit, granule, order, kind, owner):
    _take(state, granule, order)


@pl.interface.allocate.register
@pl.kernel
def allocate(state: FirstFit, order, kind, owner, granule, cpu, group):
    found = _find(state, order)
    if found != NONE:
        _take(state, found, order)
        state.lowest[order] = found + (np.int64(1) << order)
    else:
        state.lowest[order] = len(state.used)
    return found


@pl.interface.release.register
@pl.kernel
def release(state: FirstFit, granule, cpu):
    order = np.int64(state.orders[granule]) - 1
    if order < 0:
        return np.int64(NONE)
    state.orders[granule] = 0
    for one in range(granule, granule + (np.int64(1) << order)):
        state.used[one] = 0
    for larger in range(len(state.lowest)):  # a larger block may begin before this one
        state.lowest[larger] = min(state.lowest[larger], granule >> larger << larger)
    return order


@pl.kernel
def _take(state, granule, order):
    state.orders[granule] = order + 1
    for one in range(granule, granule + (np.int64(1) << order)):
        state.used[one] = 1


@pl.kernel
def _find(state, order):
    """The lowest aligned place of 2**order free granules within a zone, or NONE."""
    size, best = np.int64(1) << order, np.int64(NONE)
    for zone in range(len(state.zones)):
        low = max(state.zones[zone, 0], state.lowest[order])
        start = (low + size - 1) >> order << order
        while start + size <= state.zones[zone, 1] and (best == NONE or start < best):
            if _is_free(state, start, start + size):
                best = start
            start += size
    return best


@pl.kernel
def _is_free(state, start, end):
    taken = np.int64(0)
    for granule in range(start, end):
        taken += state.used[granule]
    return taken == 0
