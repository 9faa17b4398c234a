"""How long the blocks of a call site live, learnt as a trace goes by."""

import numpy as np

from ._jit import kernel
from .layout import NONE, Verb

CLASSES = 4  # below 1 ms, below 100 ms, longer, and sites of which no block has gone yet
_BORDERS_NS = (1_000_000, 100_000_000)
WEIGHT = 8  # of the past against one lifetime more

SITE = np.dtype([("mean_log2", "f8"), ("gone", "i8")])


@kernel
def predict(ops, site_of, sites, born, classes):
    """classes[i] (u1, 1 .. CLASSES) of each ALLOCATE from the blocks of its site gone before it.

    site_of: i8[op]; sites: SITE[], zero; born: i8[handle], NONE: index of the op that made it.
    """
    for i in range(len(ops)):
        op = ops[i]
        if op["verb"] == Verb.ALLOCATE:
            born[op["handle"]] = i
            classes[i] = class_of(sites[site_of[i]], *_BORDERS_NS)
        elif op["verb"] == Verb.RELEASE and born[op["handle"]] != NONE:
            first = born[op["handle"]]
            learn(sites[site_of[first]], op["time_ns"] - ops[first]["time_ns"])


@kernel
def learn(site, lifetime):
    """A running geometric mean: one long life among many short ones tells little."""
    weight = min(site["gone"], np.int64(WEIGHT))
    site["mean_log2"] = (site["mean_log2"] * weight + np.log2(lifetime + 1.0)) / (weight + 1)
    site["gone"] += 1


@kernel
def class_of(site, short, long):
    """1 for lives below `short`, 2 below `long`, 3 for others, 4 where none has ended yet."""
    if site["gone"] == 0:
        return CLASSES
    if site["mean_log2"] < np.log2(short):
        return 1
    return 2 if site["mean_log2"] < np.log2(long) else 3
