"""A synthetic load: memory fills to three quarters, lives on at 68 to 80 %, and drains at random.

85 % of blocks live a short time (exponential, a mean of 2,000 allocations), the others until they
are chosen to make room.  Orders 0 to 10, four fifths of them 0.  The same numbers as the published
comparison of allocators that README's figures stand beside: one seed, one file.
"""

import numpy as np

from ._jit import inlined, kernel
from .exchange import EXCHANGE  # noqa: F401  what `steady` writes

ORDERS = 11
_PROBABILITY = np.array([0.80, 0.06, 0.05, 0.04, 0.02, 0.01, 0.006, 0.004, 0.002, 0.006, 0.002])
_SHORT_LIVED, _MEAN_LIFE = 0.85, 2000.0
_FILL, _TARGET, _SWING, _PERIOD = 0.75, 0.74, 0.06, 400_000.0
SEED = 42

LIFE = np.dtype([("death", "i8"), ("id", "u4"), ("order", "u1")], align=True)  # of a live block


@kernel
def steady(records, seed, granules, allocations, dying, lasting, unused):
    """Write the load to EXCHANGE[] and return how many records it took: two for each allocation.

    granules: of the memory.  Scratch, as many rows as allocations each: dying (LIFE[], a heap by
    death), lasting (LIFE[]), unused (u4[], ids to use again).
    """
    dice = np.uint64(seed) * np.uint64(0x9E37_79B9_7F4A_7C15)
    count = live = now = np.int64(0)  # count: records written
    soon = long = free = ids = allocated = np.int64(0)  # rows of dying, lasting, unused; ids used
    filling = True
    while allocated < allocations:
        if filling and live >= granules * 75 // 100:
            filling = False
        if not filling:
            now += 1
            while soon > 0 and dying[0]["death"] <= now:
                soon -= 1
                live -= _release(records, count, dying[0], unused, free)
                _sift_down(dying, soon)
                count, free = count + 1, free + 1
        dice, order = _some_order(dice)
        if not filling:
            wave = np.sin(2 * np.pi * np.float64(allocated) / _PERIOD)
            target = np.int64(np.float64(granules) * (_TARGET + _SWING * wave))
            while live + (np.int64(1) << order) > target and long > 0:
                dice, chosen = _below(dice, long)
                long -= 1
                live -= _release(records, count, lasting[chosen], unused, free)
                _copy(lasting, chosen, lasting[long])
                count, free = count + 1, free + 1
        if free > 0:
            free -= 1
            name = np.int64(unused[free])
        else:
            name, ids = ids, ids + 1
        record = records[count]
        record["op"], record["order"], record["id"] = 0, order, name
        count, allocated, live = count + 1, allocated + 1, live + (np.int64(1) << order)
        death = np.int64(0)
        if not filling:
            dice, short = _share(dice)
            if short < _SHORT_LIVED:
                dice, rest = _share(dice)
                death = now + 1 + np.int64(-_MEAN_LIFE * np.log(1 - rest))
        if death > 0:
            _sift_up(dying, soon, death, name, order)
            soon += 1
        else:
            lasting[long]["id"], lasting[long]["order"] = name, order
            long += 1
    return _drain(records, count, dice, dying, soon, lasting, long, unused)


@kernel
def _drain(records, count, dice, dying, soon, lasting, long, unused):
    while soon > 0:
        soon -= 1
        _copy(lasting, long, dying[0])
        _sift_down(dying, soon)
        long += 1
    while long > 0:
        dice, chosen = _below(dice, long)
        long -= 1
        _release(records, count, lasting[chosen], unused, np.int64(0))
        _copy(lasting, chosen, lasting[long])
        count += 1
    return count


@inlined
def _release(records, count, life, unused, free):
    """Write the release of a block, its id to be used again; return its granules."""
    record = records[count]
    record["op"], record["order"], record["id"] = 1, life["order"], life["id"]
    unused[free] = life["id"]
    return np.int64(1) << np.int64(life["order"])


# ---- chance: splitmix64 ---------------------------------------------------------------------


@inlined
def _random(dice):
    """(the next state, 64 random bits)."""
    dice += np.uint64(0x9E37_79B9_7F4A_7C15)
    bits = dice
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return dice, bits ^ (bits >> np.uint64(31))


@inlined
def _share(dice):
    dice, bits = _random(dice)
    return dice, np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inlined
def _below(dice, limit):
    dice, bits = _random(dice)
    return dice, np.int64(bits % np.uint64(limit))


@inlined
def _some_order(dice):
    dice, share = _share(dice)
    total = 0.0
    for order in range(ORDERS):
        total += _PROBABILITY[order]
        if share < total:
            return dice, np.int64(order)
    return dice, np.int64(0)


# ---- a heap of lives, the first to die on top -----------------------------------------------


@inlined
def _copy(lives, at, life):
    row = lives[at]
    row["death"], row["id"], row["order"] = life["death"], life["id"], life["order"]


@kernel
def _sift_up(heap, size, death, name, order):
    at = size
    while at > 0 and heap[(at - 1) // 2]["death"] > death:
        _copy(heap, at, heap[(at - 1) // 2])
        at = (at - 1) // 2
    heap[at]["death"], heap[at]["id"], heap[at]["order"] = death, name, order


@kernel
def _sift_down(heap, size):
    """Take the top away: the last of `size` + 1 rows sinks from there."""
    last, at = heap[size], np.int64(0)
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1]["death"] < heap[child]["death"]:
            child += 1
        if heap[child]["death"] >= last["death"]:
            break
        _copy(heap, at, heap[child])
        at = child
    _copy(heap, at, last)
