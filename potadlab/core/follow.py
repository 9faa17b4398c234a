"""Keep a lookup in step with blocks, and time what it answers."""

import numpy as np

from ._jit import kernel
from .bits import cycles
from .interface import erase, locate, store
from .layout import NONE

_NO_ANSWER = np.int64(-(1 << 63))  # what no lookup answers


@kernel
def store_all(index, blocks):
    """Store every block of BLOCK[]."""
    for i in range(len(blocks)):
        block = blocks[i]
        order, kind = np.int64(block["order"]), np.int64(block["kind"])
        store(index, block["granule"], order, kind, np.int64(block["owner"]))


@kernel
def erase_all(index, blocks):
    """Erase every block of BLOCK[]."""
    for i in range(len(blocks)):
        assert erase(index, blocks[i]["granule"]) != NONE


@kernel
def locate_each(index, granules, starts, orders, kinds, owners):
    """What `locate` answers for each granule."""
    for i in range(len(granules)):
        starts[i], orders[i], kinds[i], owners[i] = locate(index, granules[i])


@kernel
def _answer(index, granule):
    """All fields of an answer in one number, so that none is left out by the compiler."""
    start, order, kind, owner = locate(index, granule)
    return start ^ order << 1 ^ kind << 2 ^ owner << 3


@kernel
def locate_independent(index, granules):
    """Look all up, one after the other, none waiting for another's answer."""
    total = np.int64(0)
    for i in range(len(granules)):
        total ^= _answer(index, granules[i])
    return total


@kernel
def locate_dependent(index, granules):
    """Look all up, each one only when the last has answered."""
    last = np.int64(0)
    for i in range(len(granules)):
        # the answer enters the next address and leaves it as it is; the compiler cannot know
        last = _answer(index, granules[i] + np.int64(last == _NO_ANSWER))
    return last


@kernel
def time_batches(index, granules, batch, ticks):
    """ticks[i]: cycles that batch i took: `batch` dependent lookups."""
    for i in range(len(ticks)):
        before = cycles()
        last = locate_dependent(index, granules[i * batch : (i + 1) * batch])
        ticks[i] = cycles() - before + np.int64(last == _NO_ANSWER)


@kernel
def time_nothing(ticks):
    """ticks[i]: cycles between two readings of the counter with nothing between."""
    for i in range(len(ticks)):
        before = cycles()
        ticks[i] = cycles() - before
