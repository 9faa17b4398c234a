"""Replay the exchange format: eight bytes an op, as the C baselines do.

The loop does what theirs does and no more: take an op, call the allocator, keep the place in an
array.  So times compare; what `replay.py` adds (events, all verbs) is left out alike.
"""

import numpy as np

from ._jit import kernel
from .interface import allocate, release
from .layout import NONE

EXCHANGE = np.dtype(
    [
        ("op", "u1"),  # 0 allocate, 1 release
        ("order", "u1"),  # log2 of the block's pages, at both
        ("kind", "u1"),  # 0 in a file
        ("cpu", "u1"),  # 0 in a file
        ("id", "<u4"),  # names the block while it lives; used again afterwards
    ]
)
assert EXCHANGE.itemsize == 8


@kernel
def replay(state, records, where, refused):
    """Apply EXCHANGE[] to `state`; the releases of what was refused are passed over.

    where[id]: first granule of the block, NONE at the start; refused: i8[order], counted up.  A
    block's owner is its id; a release is told the address only.
    """
    none = np.int64(NONE)
    for i in range(len(records)):
        record = records[i]
        name, cpu = np.int64(record["id"]), np.int64(record["cpu"])
        if record["op"] == 0:
            order, kind = np.int64(record["order"]), np.int64(record["kind"])
            granule = allocate(state, order, kind, name, none, cpu, np.int64(0))
            where[name] = granule
            if granule == NONE:
                refused[order] += 1
        elif where[name] != NONE:
            release(state, where[name], cpu)
            where[name] = none
