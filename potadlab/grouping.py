"""Beside whom a block is to lie: the objection of 2021 to an allocator without grouping.

Johannes Weiner, 30 March 2021 (YGN8biqigvPP0SGN@cmpxchg.org): without grouping by type or lifetime
only the smallest size is left after some uptime.
"""

import numpy as np

from .core import lifetime
from .core.allocators import GROUPS_MAX
from .core.layout import NONE
from .core.linux.state import HIGHATOMIC
from .kinds import KINDS, facts

_MIGRATETYPES = 3  # unmovable, movable, reclaimable; HighAtomic is unmovable, others share the last


def groups_of(ops: np.ndarray, by: str, handles: int) -> np.ndarray:
    """u1[op]: the group of each op, 1 and up; 0 for all where `by` is "none".

    by: "migratetype" (where none was recorded: whether the kind is movable), "linux" (the same, and
    a group more for HighAtomic), "kind", or "lifetime", predicted from the site's earlier blocks
    (its owner; where none is told, kind and migratetype).
    """
    if by == "linux":
        types = np.where(ops["migratetype"] == HIGHATOMIC, HIGHATOMIC, _migratetypes(ops))
        return (1 + types).astype(np.uint8)
    if by == "migratetype":
        return (1 + _migratetypes(ops)).astype(np.uint8)
    if by == "kind":
        return (1 + np.minimum(ops["kind"], GROUPS_MAX - 1)).astype(np.uint8)
    groups = np.zeros(len(ops), np.uint8)
    if by == "lifetime":
        sites = _sites(ops)
        table = np.zeros(int(sites.max(initial=0)) + 1, lifetime.SITE)
        lifetime.predict(ops, sites, table, np.full(handles, NONE, np.int64), groups)
    return groups


def _migratetypes(ops: np.ndarray) -> np.ndarray:
    told = np.where(ops["migratetype"] == HIGHATOMIC, 0, ops["migratetype"])
    told = np.minimum(told, _MIGRATETYPES - 1)
    movable = facts()["movable"][np.minimum(ops["kind"], len(KINDS) - 1)]
    return np.where(ops["migratetype"] == 255, movable, told)


def _sites(ops: np.ndarray) -> np.ndarray:
    """i8[op]: a number for each call site."""
    unnamed = ops["kind"].astype(np.int64) * _MIGRATETYPES + _migratetypes(ops)
    return np.where(ops["owner"] >= 0, 256 * _MIGRATETYPES + ops["owner"], unnamed)
