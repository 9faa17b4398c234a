"""Contiguous allocations that the recorded kernel made for CMA, as ops among the others.

A claim stands for itself: the granules it lies on are those of its area, whose other users the
kernel moves away untraced, so it says nothing about them and pairing does not see it.  What the
recorded kernel could not serve is asked as well, and given back at once (SYNTHETIC): whether
another allocator can is the question.  A size that is no multiple of its alignment is rounded up
to one, because blocks of power of two make it up.  Source: mm/cma.c, events cma_alloc_finish and
cma_release.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..core.layout import NONE, OP, Flag, Verb
from ..core.text import COUNT_MAX, ORDER_MAX, PFN_MAX, Op
from ..errors import BadTrace
from ..kinds import KIND

FAILED = (1 << 64) - 1
_COLUMNS = ("t_ns", "cpu", "op", "pfn", "order", "count", "area")
NO_CLAIMS = {"asked": 0, "failed": 0, "released": 0, "unseen": 0, "rounded": 0}


class Claims(NamedTuple):
    """Claims of a trace: OP[] with handles from 0, and how many of which sort there were.

    unseen: releases of what was claimed before the recording, which are left out.
    """

    ops: np.ndarray
    handles: int
    counts: dict[str, int]


def claims_of(path: Path, table: pa.Table, start_ns: int, owners: list[str]) -> Claims:
    """The claims of a trace file's rows; `owners` gets the areas.  Raises BadTrace."""
    ops: list[np.ndarray] = []
    counts = dict(NO_CLAIMS)
    live: dict[tuple[int, int], np.ndarray] = {}
    handles, last_ns = 0, None
    for place, row in _rows(table):
        _check(path, place, row, last_ns)
        last_ns = row["t_ns"]
        key = row["pfn"], row["count"]
        if row["op"] == Op.RELEASE_CLAIM:
            counts["released" if key in live else "unseen"] += 1
            if key in live:
                ops.append(_release(row, live.pop(key), start_ns))
            continue
        claim = _claim(row, handles, start_ns, owners)
        handles += 1
        ops.append(claim)
        counts["asked"] += 1
        counts["rounded"] += int(claim["granules"]) != row["count"]
        if row["pfn"] == FAILED:
            counts["failed"] += 1
            ops.append(_release(row, claim, start_ns))
            ops[-1]["flags"] = Flag.SYNTHETIC
        else:
            live[key] = claim
    return Claims(np.array(ops, OP) if ops else np.empty(0, OP), handles, counts)


def _rows(table: pa.Table) -> list[tuple[int, dict[str, Any]]]:
    """Places and rows of claims and their releases; none in a file that does not say how many."""
    if "count" not in table.column_names:
        return []
    op = table.column("op").to_numpy()
    places = np.flatnonzero((op == Op.CLAIM) | (op == Op.RELEASE_CLAIM))
    names = [name for name in _COLUMNS if name in table.column_names]
    rows = table.select(names).take(pa.array(places)).to_pylist()
    return list(zip(places.tolist(), rows, strict=True))


def _check(path: Path, place: int, row: dict[str, Any], last_ns: int | None) -> None:
    """Raises BadTrace where a claim cannot be."""
    what = None
    if not isinstance(row["count"], int) or not 0 < row["count"] < COUNT_MAX:
        what = "count of a claim: give the number of pages"
    elif row["order"] > ORDER_MAX:
        what = f"order is above {ORDER_MAX}: give log2 of the claim's alignment"
    elif row["pfn"] + row["count"] > PFN_MAX and (row["pfn"] != FAILED or row["op"] != Op.CLAIM):
        what = "pfn is beyond 2**36: give page frame numbers, no addresses"
    elif not isinstance(row.get("area"), str | None):
        what = "area is no text: rewrite it"
    elif last_ns is not None and row["t_ns"] < last_ns:
        what = "t_ns goes back: sort the file by t_ns, stably"
    if what:
        raise BadTrace(f"{path}: row {place}: {what}")


def _claim(row: dict[str, Any], handle: int, start_ns: int, owners: list[str]) -> np.ndarray:
    owner = " ".join(filter(None, ["cma", row.get("area")]))
    if owner not in owners:
        owners.append(owner)
    align = 1 << row["order"]
    op = _op(Verb.CLAIM, row, start_ns)
    op["granules"] = -(-row["count"] // align) * align
    op["align_order"], op["handle"] = row["order"], handle
    op["owner"], op["kind"] = owners.index(owner), KIND["driver"]
    return op


def _release(row: dict[str, Any], claim: np.ndarray, start_ns: int) -> np.ndarray:
    op = _op(Verb.RELEASE_CLAIM, row, start_ns)
    op["granules"], op["handle"] = claim["granules"], claim["handle"]
    return op


def _op(verb: Verb, row: dict[str, Any], start_ns: int) -> np.ndarray:
    op = np.zeros(1, OP)[0]
    op["verb"], op["time_ns"] = verb, max(row["t_ns"] - start_ns, 0)
    op["granule"], op["into"], op["owner"] = NONE, NONE, NONE
    op["cpu"], op["migratetype"] = row["cpu"], 255
    return op


def put_in(ops: np.ndarray, claims: Claims, first: int) -> np.ndarray:
    """`ops` with the claims among them, after ops of the same time; their handles from `first`."""
    if not len(claims.ops):
        return ops
    added = claims.ops.copy()
    added["handle"] += first
    return np.insert(ops, np.searchsorted(ops["time_ns"], added["time_ns"], "right"), added)
