"""Blocks: a free tree, a lookup and the failed granules, kept in step.

What POTAD is made of, and where `recorded` keeps its truth: they differ in how a place is chosen.
A failed granule inside a live block keeps a bit and leaves service when the block is released;
then it has a permanent start of order 0, without record, and its neighbours are free again.
"""

from typing import NamedTuple

import numpy as np

from . import interface, tree
from ._jit import kernel
from .bits import largest_order, trailing_zeros
from .layout import NONE, POISON, Outcome
from .lookups import heads
from .lookups.heads import POISONED, Heads
from .mapped import mapped
from .tree import Tree


class Blocks(NamedTuple):
    tree: Tree
    heads: Heads
    poison: np.ndarray  # u8[granule/64]  failed granules, live or not


def new(state_class, zones: np.ndarray, record_bytes: np.ndarray):
    """A state over `zones` (i8[n, 2], granules, in order of trial) with nothing in service."""
    granules = int(zones.max())
    return state_class(
        tree.new(zones), heads.new(granules, record_bytes), mapped(granules // 64 + 1, "u8")
    )


def register(state_class) -> None:
    """Let the functions below serve `state_class`, which chooses places by its own `allocate`."""
    for verb, implementation in _VERBS.items():
        getattr(interface, verb).implementations[state_class] = implementation


@kernel
def take(state, zone, granule, order, kind, owner):
    """Make a free block, whose path is exact, live."""
    tree.put(state.tree, zone, granule, order, False)
    heads.store(state.heads, granule, order, kind, owner)


@kernel
def add(state, start, end):
    while start < end:
        zone = tree.zone_of(state.tree, start)
        order = largest_order(start, min(end, state.tree.zones[zone, 1]) - start)
        _give(state, zone, start, order)
        start += np.int64(1) << order


@kernel
def adopt(state, granule, order, kind, owner):
    heads.store(state.heads, granule, order, kind, owner)


@kernel
def release(state, granule):
    at = heads.entry_at(state.heads, granule)
    if at == NONE or heads.start_of(state.heads, at) != granule:
        return np.int64(NONE)
    entry = heads.forget(state.heads, at)
    heads.drop_record(state.heads, entry)
    order = heads.order_of(entry)
    zone = tree.zone_of(state.tree, granule)
    if entry & POISONED == np.uint64(0):
        tree.put(state.tree, zone, granule, order, True)
    else:
        _give_around_poison(state, zone, granule, order)
    return order


@kernel
def split(state, granule, order):
    whole_order = heads.split_block(state.heads, granule, order)
    if whole_order == NONE:
        return whole_order
    zone = tree.zone_of(state.tree, granule)
    for piece in range(np.int64(1) << (whole_order - order)):
        tree.enter(state.tree, zone, granule + (piece << order), order)
    return whole_order


@kernel
def fail(state, granule):
    zone = tree.zone_of(state.tree, granule)
    if zone == NONE:
        return np.int64(Outcome.OUTSIDE)
    if is_poisoned(state, granule):
        return np.int64(Outcome.POISONED_BEFORE)
    at = heads.entry_at(state.heads, granule)
    if at == NONE and tree.free_order(state.tree, zone, granule) == NONE:
        return np.int64(Outcome.OUTSIDE)
    state.poison[granule >> 6] |= _poison_bit(granule)
    if at != NONE:
        state.heads.entries[at] |= POISONED
        return np.int64(Outcome.POISONED_LIVE)
    tree.enter(state.tree, zone, granule, np.int64(0))
    tree.put(state.tree, zone, granule, np.int64(0), False)
    _plant(state, granule)
    return np.int64(Outcome.POISONED_FREE)


@kernel
def unpoison(state, granule):
    zone = tree.zone_of(state.tree, granule)
    if zone == NONE or not is_poisoned(state, granule):
        return np.int64(Outcome.IGNORED)
    state.poison[granule >> 6] &= ~_poison_bit(granule)
    at = heads.entry_at(state.heads, granule)
    if heads.kind_of(state.heads.entries[at]) != POISON:
        return np.int64(Outcome.POISONED_LIVE)
    heads.erase(state.heads, granule)
    _give(state, zone, granule, np.int64(0))
    return np.int64(Outcome.DONE)


@kernel
def check(state):
    tree.check(state.tree)
    for level in range(len(state.heads.offsets) - 1):
        first, last = state.heads.offsets[level], state.heads.offsets[level + 1]
        for at in range(first, last, 64):
            word = state.heads.starts[at >> 6]
            while word != np.uint64(0):
                _check_block(state, at + trailing_zeros(word), level)
                word &= word - np.uint64(1)


@kernel
def _give(state, zone, granule, order):
    tree.enter(state.tree, zone, granule, order)
    tree.put(state.tree, zone, granule, order, True)


@kernel
def _poison_bit(granule):
    return np.uint64(1) << np.uint64(granule & 63)


@kernel
def is_poisoned(state, granule):
    return state.poison[granule >> 6] & _poison_bit(granule) != np.uint64(0)


@kernel
def _plant(state, granule):
    """The permanent start of a failed granule that is in no live block; it has no record."""
    heads.store(state.heads, granule, np.int64(0), np.int64(POISON), np.int64(NONE))


@kernel
def _give_around_poison(state, zone, granule, order):
    """Free a released extent but for its failed granules."""
    end = granule + (np.int64(1) << order)
    start = granule
    while granule < end:
        if granule & 63 == 0 and state.poison[granule >> 6] == np.uint64(0) and end - granule >= 64:
            granule += 64
        elif is_poisoned(state, granule):
            add(state, start, granule)
            _plant(state, granule)
            granule += 1
            start = granule
        else:
            granule += 1
    add(state, start, end)


@kernel
def _check_block(state, at, level):
    order = heads.order_of(state.heads.entries[at])
    assert order // 6 == level
    granule, size = heads.start_of(state.heads, at), np.int64(1) << order
    assert granule & (size - 1) == 0
    zone = tree.zone_of(state.tree, granule)
    assert zone != NONE
    free = tree.find_from(state.tree, zone, np.int64(0), granule)
    assert free == NONE or free >= granule + size  # nothing in a live block is free
    assert heads.entry_at(state.heads, granule + size - 1) == at  # and no other live block


_VERBS = {
    "add": add,
    "adopt": adopt,
    "release": release,
    "split": split,
    "fail": fail,
    "unpoison": unpoison,
    "check": check,
}
