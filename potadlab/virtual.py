"""A trace on N virtual CPUs: what CPUs cost each other.

N copies of the trace's ops run at once in one memory: copy k on CPU k, with handles of its own,
each 1/8 of the trace's time and 1/N later than the one before, so that bursts do not meet.  The
memory is N times as large, one zone, all free at the start: 32 copies of a warm start would need
gigabytes, so releases of blocks that were live before the recording are left out.  The first
OPS ops of each copy are taken, however many there are.  Each allocator is given N CPUs' worth of
front caches, per-CPU lists or reservations.
"""

from collections.abc import Iterable

import numpy as np

from .core.layout import BLOCK, NONE, Verb
from .metrics.lines import Lines
from .runs import Case, count_lines
from .units import Space, Zone

OPS = 1 << 16  # of each copy
CPUS = (1, 2, 8, 32)
CPUS_MAX = 64  # that `core/meter.py` tells apart
_SPREAD = 8  # the last copy is 1/8 of the time late
_VERBS = (Verb.ALLOCATE, Verb.RELEASE, Verb.SPLIT)


def count(spec: str, case: Case, cpus: Iterable[int] = CPUS, ops: int = OPS) -> dict[int, Lines]:
    """What an op costs with so many CPUs, by their number."""
    return {each: count_lines(spec, side_by_side(case, each, ops), each)[0] for each in cpus}


def side_by_side(case: Case, copies: int, ops: int = OPS) -> Case:
    """The case of N copies: their ops in order of time, a zone of N times the memory."""
    own, handles = _own_ops(case, ops)
    step = int(np.ptp(own["time_ns"])) // (_SPREAD * copies) if len(own) else 0
    together = np.concatenate([_copied(own, copy, handles, step) for copy in range(copies)])
    together = together[np.argsort(together["time_ns"], kind="stable")]
    return Case(space_of(case.space, copies), together, np.zeros(0, BLOCK), handles * copies)


def space_of(space: Space, copies: int) -> Space:
    """A zone of N times the memory, all of it in service."""
    granules, name = space.bytes // space.granule_bytes * copies, f"{copies} times {space.name}"
    return Space(name, space.granule_bytes, ((0, granules),), (Zone("all", 0, granules),))


def _own_ops(case: Case, count: int) -> tuple[np.ndarray, int]:
    """(the first `count` ops on blocks that the trace itself allocates, how many handles they use).

    The pieces of a split block are numbered on, so each of them has a handle too.
    """
    ops = case.ops[np.isin(case.ops["verb"], _VERBS)]
    born, pieces_end = np.zeros(case.handles, bool), np.zeros(case.handles, np.int64)
    orders = np.zeros(case.handles, np.int64)
    made = ops[ops["verb"] == Verb.ALLOCATE]
    born[made["handle"]], orders[made["handle"]] = True, made["order"]
    for op in ops[ops["verb"] == Verb.SPLIT]:
        whole, first = op["handle"], op["into"]
        end = first + (1 << max(int(orders[whole]) - int(op["order"]), 0))
        born[first:end], orders[first:end] = born[whole], op["order"]
        pieces_end[whole] = end
    own = ops[born[ops["handle"]]][:count]
    used = np.maximum(own["handle"] + 1, pieces_end[own["handle"]])
    return own, int(used.max(initial=1))


def _copied(ops: np.ndarray, copy: int, handles: int, step: int) -> np.ndarray:
    made = ops.copy()
    made["time_ns"] += copy * step
    made["cpu"], made["granule"] = copy, NONE
    made["handle"] += copy * handles
    made["into"][made["into"] != NONE] += copy * handles
    return made
