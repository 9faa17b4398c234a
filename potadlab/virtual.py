"""A trace on N virtual CPUs: what CPUs cost each other.

N copies of the trace's ops run at once in one memory: copy k on CPU k, with handles of its own,
each 1/8 of the trace's time and 1/N later than the one before, so that bursts do not meet.  The
memory is N times as large, one zone, all free at the start: 32 copies of a warm start would need
gigabytes, so releases of blocks that were live before the recording are left out.  Each allocator
is given N CPUs' worth of front caches, per-CPU lists or reservations.  The ops are made and counted
a piece at a time, so a whole trace on 32 CPUs (37 million ops) takes no more memory than a few.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .core.layout import BLOCK, NONE, OP, Verb
from .grouping import groups_of
from .metrics.lines import Lines
from .runs import Case, chosen, count_lines_in_pieces
from .units import Space, Zone

CPUS = (1, 2, 8, 32)
CPUS_MAX = 64  # that `core/meter.py` tells apart
_SPREAD = 8  # the last copy is 1/8 of the time late
_PIECE = 1 << 18  # ops
_VERBS = (Verb.ALLOCATE, Verb.RELEASE, Verb.SPLIT)


Piece = tuple[np.ndarray, np.ndarray]  # OP[], and the index of each in the ops of one copy


def count(
    spec: str,
    case: Case,
    cpus: Iterable[int] = CPUS,
    ops: int | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[int, Lines]:
    """What an op costs with so many CPUs, by their number; ops: of each copy, None: all."""
    tell = progress or (lambda share, what: None)
    own, handles = _own_ops(case, ops)
    groups = groups_of(own, chosen(spec).grouping, handles)
    found = {}
    for each in cpus:
        told = _told(_pieces(own, each, handles), len(own) * each, f"{spec} on {each} CPUs", tell)
        nothing = _together(case, each, handles, np.zeros(0, OP))
        pieces = ((made, groups[index]) for made, index in told)
        found[each] = count_lines_in_pieces(spec, nothing, pieces, each)
    return found


def _told(
    pieces: Iterable[Piece], ops: int, what: str, tell: Callable[[float, str], None]
) -> Iterator[Piece]:
    """The pieces, and how far they are."""
    done = 0
    for made, index in pieces:
        tell(done / ops, what)
        yield made, index
        done += len(made)


def side_by_side(case: Case, copies: int, ops: int | None = None) -> Case:
    """The case of N copies: their ops in order of time, a zone of N times the memory."""
    own, handles = _own_ops(case, ops)
    made = np.concatenate([np.zeros(0, OP), *(ops for ops, _ in _pieces(own, copies, handles))])
    return _together(case, copies, handles, made)


def _together(case: Case, copies: int, handles: int, ops: np.ndarray) -> Case:
    return Case(space_of(case.space, copies), ops, np.zeros(0, BLOCK), handles * copies)


def space_of(space: Space, copies: int) -> Space:
    """A zone of N times the memory, all of it in service."""
    granules, name = space.bytes // space.granule_bytes * copies, f"{copies} times {space.name}"
    return Space(name, space.granule_bytes, ((0, granules),), (Zone("all", 0, granules),))


def _own_ops(case: Case, count: int | None) -> tuple[np.ndarray, int]:
    """(the first `count` ops on blocks that the trace itself allocates, how many handles they use).

    None: all.  The pieces of a split block are numbered on, so each of them has a handle too.
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


def _pieces(own: np.ndarray, copies: int, handles: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(OP[] of all copies in order of time, each op's index in `own`), piece by piece."""
    step = int(np.ptp(own["time_ns"])) // (_SPREAD * copies) if len(own) else 0
    late_ns = step * np.arange(copies)
    order = np.argsort(late_ns[:, None] + own["time_ns"], axis=None, kind="stable")
    for first in range(0, len(order), _PIECE):
        copy, index = np.divmod(order[first : first + _PIECE], len(own))
        made = own[index]
        made["time_ns"] += late_ns[copy]
        made["cpu"], made["granule"] = copy, NONE
        made["handle"] += (copy * handles).astype(np.int32)
        made["into"] += np.where(made["into"] == NONE, 0, copy * handles).astype(np.int32)
        yield made, index
