"""Keep a lookup in step with blocks, and time what it answers."""

import numpy as np

from ._jit import inlined, kernel
from .bits import cycles, one_by_one
from .interface import erase, locate, store
from .layout import NONE


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


@inlined
def _answer(index, granule):
    """All fields of an answer in one number, so that none is left out by the compiler.

    What waits for memory takes room in the processor, so it is a plain sum.
    """
    start, order, kind, owner = locate(index, granule)
    return start + order + kind + owner


@kernel
def locate_independent(index, granules):
    """Look all up, one after the other, none waiting for another's answer.

    One lookup is one lookup: the compiler would make eight of the memmap's into one vector
    instruction, 12 ns instead of 21 each, which nobody who has one address can do.
    """
    total = np.int64(0)
    for i in range(len(granules)):
        total += one_by_one(_answer(index, granules[i]))
    return total


@kernel
def locate_dependent(index, granules, zero):
    """Look all up, each one only when the last has answered.

    `zero` is 0, which the compiler cannot know: the answer enters the next address and leaves it
    as it is.
    """
    last = np.int64(0)
    for i in range(len(granules)):
        last = _answer(index, granules[i] + (last & zero))
    return last


@inlined
def _class(index, granule):
    """Kind and order alone; `locate` is inlined, so the owner's line is not read for it."""
    _, order, kind, _ = locate(index, granule)
    return order + kind


@kernel
def classify_independent(index, granules):
    """As `locate_independent`, of kind and order alone."""
    total = np.int64(0)
    for i in range(len(granules)):
        total += one_by_one(_class(index, granules[i]))
    return total


@kernel
def classify_dependent(index, granules, zero):
    """As `locate_dependent`, of kind and order alone."""
    last = np.int64(0)
    for i in range(len(granules)):
        last = _class(index, granules[i] + (last & zero))
    return last


@kernel
def time_batches(index, granules, batch, ticks, zero):
    """ticks[i]: cycles that batch i took: `batch` dependent lookups; `zero` is 0."""
    last = np.int64(0)
    for i in range(len(ticks)):
        before = cycles()
        for j in range(i * batch, (i + 1) * batch):
            last = _answer(index, granules[j] + (last & zero))
        ticks[i] = cycles() - before + (last & zero)


@kernel
def time_nothing(ticks):
    """ticks[i]: cycles between two readings of the counter with nothing between."""
    for i in range(len(ticks)):
        before = cycles()
        ticks[i] = cycles() - before
