"""A window of a trace as a trace of its own, with the memory at its beginning."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core import usage
from ..errors import BadTrace
from ..files import Draft
from ..kinds import KIND
from . import parquet
from .snapshot import FREE, PAGE_KINDS, Snapshot, find, runs_of
from .trace import Progress, rows_of

_PLAIN, _COMPOUND, _HOLE = 0, 14, 11


@dataclass(frozen=True)
class Cut:
    """What a cut came to."""

    path: Path
    before: Path | None
    events: int
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """For `cut --json`."""
        before = str(self.before) if self.before else None
        return {**vars(self), "path": str(self.path), "before": before}

    def words(self) -> list[str]:
        """What people should know, a line each."""
        first = f"{self.path}: {self.events:,} events in {self.duration_s:.3f} s"
        if self.before:
            return [f"{first}; the memory at their beginning: {self.before.name}"]
        return [first, "no snapshot beside the trace: nothing tells the memory at its beginning"]


def cut(
    source: Path, from_s: float, to_s: float | None, target: Path, progress: Progress | None = None
) -> Cut:
    """Write the events from `from_s` up to, not including, `to_s` after the first one.

    Where a snapshot lies beside the source, it is carried forward to the cut and lies beside the
    target.  Raises BadTrace; OSError where the target cannot be written.
    """
    tell = progress or (lambda share, what: None)
    tell(0.0, "reading the trace")
    table, metadata = parquet.read(source, parquet.TRACE, "trace")
    rows, purpose, _, _ = rows_of(source, None)
    first_ns = _first_ns(table)
    since = table["t_ns"].to_numpy() - first_ns
    last = float("inf") if to_s is None else to_s * 1e9
    chosen = (since >= from_s * 1e9) & (since < last)
    window = table.take(pa.array(np.flatnonzero(chosen)))
    ops = window["op"].to_numpy()
    if not np.any(ops <= 1):
        ends = "its end" if to_s is None else f"{to_s:g} s"
        raise BadTrace(
            f"{source}: no event from {from_s:g} s to {ends}: it lasts {since[-1] / 1e9:.3f} s"
        )
    told = metadata | {
        "name": target.name.removesuffix(".parquet"),
        "events": len(window),
        "duration_s": float(np.ptp(window["t_ns"].to_numpy())) / 1e9,
        "window": {"of": str(metadata.get("name", source.name)), "from_s": from_s, "to_s": to_s},
        "recording": f"{metadata.get('recording', source.name)} from {from_s:g} s",
    }
    tell(0.5, "carrying the memory forward")
    gone = rows.time_ns < from_s * 1e9
    beside = find(source)
    before = target.with_name(target.name.removesuffix(".parquet") + ".before.parquet")
    draft = _memory(beside, rows, purpose, gone, before, told) if beside else None
    try:
        tell(0.8, "writing")
        _write(target, window, told)
        if draft:
            draft.keep()
    finally:
        if draft:
            draft.drop()
    tell(1.0, "cut")
    return Cut(target, before if draft else None, len(window), told["duration_s"])


def _first_ns(table: pa.Table) -> int:
    """The stamp that a reader counts from: of the first alloc or free."""
    at = int(np.argmax(table["op"].to_numpy() <= 1))
    return int(table["t_ns"][at].as_py())


def _write(target: Path, table: pa.Table, metadata: dict[str, Any]) -> None:
    told = {"potadlab": json.dumps(metadata)}
    draft = Draft(target, binary=True)
    try:
        pq.write_table(
            table.replace_schema_metadata(told),
            draft.file,
            compression="zstd",
            use_dictionary=[name for name in table.column_names if name not in ("t_ns", "pfn")],
            column_encoding={"t_ns": "DELTA_BINARY_PACKED", "pfn": "BYTE_STREAM_SPLIT"},
        )
        draft.keep()
    finally:
        draft.drop()


def _memory(
    source: Path, rows: Any, purpose: Any, gone: np.ndarray, target: Path, told: dict[str, Any]
) -> Draft:
    """The snapshot after the rows that are `gone`, not yet under its name."""
    snapshot = Snapshot.read(source)
    pages = np.full(int(snapshot.end[-1]), _HOLE, np.uint8)
    for start, end, kind in zip(snapshot.start, snapshot.end, snapshot.kind, strict=True):
        pages[start:end] = kind
    served = gone & (rows.pfn >= 0)
    kinds = page_kinds()[np.minimum(rows.order[served], 1), purpose.kind[served]]
    usage.follow(pages, rows.pfn[served], rows.order[served], rows.op[served] == 1, kinds, FREE)
    more = {"recording": told["recording"], "window": told["window"]}
    return parquet.draft_snapshot(target, runs_of(pages), snapshot.metadata | more)


def page_kinds() -> np.ndarray:
    """u1[2, kind]: page kinds of the snapshot format for single pages, and for larger blocks."""
    table = np.full((2, 256), _PLAIN, np.uint8)
    table[1] = _COMPOUND
    for name, both in PAGE_KINDS.items():
        table[:, KIND[name]] = both
    return table
