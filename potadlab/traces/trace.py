"""A trace: what a machine asked of its page allocator, as OP[], and the memory it began with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..clock import Clock, clock_of
from ..core import pairing
from ..core.layout import BLOCK, Flag, Verb
from ..core.mapped import mapped
from ..core.pairing import Rows
from ..core.text import ORDER_MAX, PFN_MAX
from ..errors import BadTrace, PotadError
from ..kinds import KINDS
from ..units import Space, end_of
from . import exchange, parquet
from .claims import NO_CLAIMS, Claims, claims_of, put_in
from .purpose import Kinds, Purposes, check_table, purposes
from .snapshot import Snapshot, find, runs_of_zones
from .start import blocks_of, ranges_of, zones_of

_FAILED = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # Linux's pfn of an alloc that failed
Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done


@dataclass(eq=False)
class Trace:
    """Ops in time order, on blocks named by handles 0 .. handles - 1, and the start they need."""

    name: str
    path: Path | None
    metadata: dict[str, Any]
    ops: np.ndarray  # OP[]
    handles: int  # the start's included
    owners: list[str]  # OP.owner and BLOCK.owner index it
    events: int  # rows of the file that were allocs or frees
    granule_bytes: int
    snapshot: str  # file name of the one used, "" if none
    space: Space  # the recorded machine; ranges: in service at the start
    start: np.ndarray  # BLOCK[] in address order, disjoint; empty if cold
    boundaries_assumed: int  # blocks of the start whose edges the snapshot does not tell
    kinds_guessed: int  # recorded allocations whose kind no stack told
    claims: dict[str, int] = field(default_factory=lambda: dict(NO_CLAIMS))  # see claims.py

    @classmethod
    def read(
        cls,
        path: str | Path,
        snapshot: str | Path | None = None,
        cold: bool = False,
        progress: Progress | None = None,
        kinds: str | Path | None = None,
    ) -> "Trace":
        """A recorded trace, warm where a snapshot is given or found beside it, unless `cold`.

        A file NAME.bin is taken as ops in the exchange format (exchange.py), from a cold start.

        `kinds` is a table of kernel functions in the form of kinds.toml, to add to it.

        Raises BadTrace: one line, with the file, the place and what to do.
        """
        path, tell = Path(path), progress or (lambda share, what: None)
        tell(0.0, "reading the trace")
        if path.suffix == exchange.SUFFIX:
            return cls(**exchange.fields(path))
        rows, purpose, claims, metadata = rows_of(path, kinds)
        place = Path(snapshot) if snapshot else find(path)
        before = Snapshot.read(place) if place else None
        if before and snapshot is None:
            _check_same_recording(path, metadata, before)
        zones = zones_of(path, metadata, rows, before)
        runs = before.runs(zones) if before else runs_of_zones(zones)

        tell(0.3, "pairing allocs with frees")
        frames = mapped(end_of(zones), pairing.FRAME)
        order_max = metadata.get("max_order", 10)
        ops, handles = pairing.pair(rows, runs, frames, order_max)

        tell(0.6, "laying out the start")
        start, assumed = np.empty(0, BLOCK), 0
        if before and not cold:
            start, assumed = blocks_of(ops, runs, frames, order_max, handles)
        used = max(int(handles), int(start["handle"].max(initial=-1)) + 1)
        granule_bytes = 1 << metadata.get("page_shift", 12)
        space = Space("the recorded machine", granule_bytes, ranges_of(runs, frames), zones)
        tell(1.0, "read")
        return cls(
            name=str(metadata.get("name") or path.name.removesuffix(".parquet")),
            path=path,
            metadata=metadata,
            ops=put_in(ops, claims, used),
            handles=used + claims.handles,
            owners=purpose.owners,
            events=len(rows.op),
            granule_bytes=granule_bytes,
            snapshot=place.name if place else "",
            space=space,
            start=start,
            boundaries_assumed=assumed,
            kinds_guessed=purpose.guessed,
            claims=claims.counts,
        )

    @cached_property
    def clock(self) -> Clock:
        """How its moments are named."""
        return clock_of(self.ops["time_ns"])

    @cached_property
    def counts(self) -> dict[str, int]:
        """Rows by class: `count_classes` of the ops, and the events that the recorder lost."""
        lost_events = self.metadata.get("dropped_events", 0)
        return {**count_classes(self.ops, self.handles), "lost_events": lost_events}

    def info(self) -> dict[str, Any]:
        """The object of `info --json`; orders are text, as JSON's keys are."""
        recorded = self.ops[self.ops["verb"] == Verb.ALLOCATE]
        recorded = recorded[recorded["flags"] & Flag.SYNTHETIC == 0]
        orders, kinds = np.bincount(recorded["order"]), np.bincount(recorded["kind"])
        return {
            "name": self.name,
            "events": self.events,
            "allocates": len(recorded),
            "releases": self.events - len(recorded) - self.counts["failed"],
            "counts": self.counts,
            "peak_live_pages": int(pairing.lives(self.ops, self.handles)[1]),
            "duration_s": int(self.ops["time_ns"][-1]) / 1e9 if self.clock.timed else None,
            "orders": {str(order): int(orders[order]) for order in np.flatnonzero(orders)},
            "kinds": {KINDS[kind].name: int(kinds[kind]) for kind in np.flatnonzero(kinds)},
            "kinds_guessed": self.kinds_guessed,
            "claims": self.claims,
            "snapshot": self.snapshot,
            "start_blocks": len(self.start),
            "boundaries_assumed": self.boundaries_assumed,
        }


def count_classes(ops: np.ndarray, handles: int) -> dict[str, int]:
    """Rows by class (exact, M1 to M9 of the import): sums over the very ops that are replayed."""
    flags, verb = ops["flags"], ops["verb"]
    frees = np.bincount(flags[verb == Verb.RELEASE], minlength=1 << 16)
    # an alloc may tell of several lost frees: those whose op stands right before it are counted
    lost = (flags[:-1] & Flag.LOST_FREE != 0) & (verb[1:] == Verb.ALLOCATE)
    return {
        "exact": int(frees[0]),
        "live_at_start": int(frees[Flag.LIVE_AT_START]),
        "memory_added": int(np.count_nonzero(verb == Verb.ADD_MEMORY)),
        "untraced_unseen": int(frees[Flag.UNTRACED_UNSEEN]),
        "untraced_reused": int(frees[Flag.UNTRACED_REUSED]),
        "split": int(frees[Flag.PIECE]),
        "corrupt": int(frees[Flag.CORRUPT] + frees[Flag.CORRUPT | Flag.PIECE]),
        "lost_free": int(np.count_nonzero(lost)),
        "never_freed": int(pairing.lives(ops, handles)[0]),
        "failed": int(np.count_nonzero(verb == Verb.REFUSED)),
    }


def _check_same_recording(path: Path, metadata: dict[str, Any], before: Snapshot) -> None:
    """Raises BadTrace if a snapshot beside a trace was not taken when it was recorded."""
    ours, theirs = metadata.get("recording"), before.metadata.get("recording")
    if theirs and ours != theirs:
        raise BadTrace(
            f"{before.path}: is of another recording than {path}: give its own with --snapshot, "
            "or move this one away"
        )


# ---- the file -------------------------------------------------------------------------------


def rows_of(path: Path, kinds: str | Path | None) -> tuple[Rows, Purposes, Claims, dict[str, Any]]:
    """The file's allocs and frees, checked; what they were for; its claims; the metadata.

    Raises BadTrace.
    """
    table, metadata = parquet.read(path, parquet.TRACE, "trace")
    _check_metadata(path, metadata)
    columns = parquet.columns(path, table, parquet.TRACE)
    kept = np.flatnonzero(columns["op"] <= 1)
    if not len(kept):
        raise BadTrace(f"{path}: holds 0 allocs and frees: record it again")
    all_rows, start_ns = table, int(columns["t_ns"][kept[0]])
    if len(kept) < table.num_rows:
        table = table.take(pa.array(kept))
        columns = {name: values[kept] for name, values in columns.items()}
    _check_rows(path, columns, kept)
    table_of_kinds = Kinds.read(kinds, metadata.get("kinds"))
    purpose = purposes(path, table, columns, metadata.get("gfp_bits", {}), table_of_kinds)
    rows = Rows(
        columns["t_ns"] - columns["t_ns"][0],
        columns["op"],
        columns["pfn"].astype(np.int64),  # a failed alloc's becomes NONE
        columns["order"],
        columns["cpu"],
        columns["migratetype"],
        purpose.kind,
        purpose.owner,
    )
    claims = claims_of(path, all_rows, start_ns, purpose.owners)
    return rows, purpose, claims, metadata


def _check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """The numbers and tables that are used are numbers and tables."""
    for key, low, high in (("page_shift", 9, 21), ("max_order", 0, ORDER_MAX)):
        value = metadata.get(key, low)
        if not isinstance(value, int) or not low <= value <= high:
            raise BadTrace(f"{path}: metadata {key} {value!r}: write a number of {low} to {high}")
    if not isinstance(metadata.get("dropped_events", 0), int):
        raise BadTrace(f"{path}: metadata dropped_events: write a number")
    if "kinds" in metadata:
        try:
            check_table(f"{path}: metadata kinds", metadata["kinds"])
        except PotadError as error:
            raise BadTrace(str(error)) from None
    bits = metadata.get("gfp_bits", {})
    if not isinstance(bits, dict) or not all(map(_is_bit, bits.items())):
        raise BadTrace(f"{path}: metadata gfp_bits: write an object of bit number to name")


def _is_bit(named: tuple[str, Any]) -> bool:
    bit, name = named
    return bit.isdecimal() and len(bit) <= 2 and isinstance(name, str)


def _check_rows(path: Path, columns: dict[str, np.ndarray], kept: np.ndarray) -> None:
    """Raises BadTrace for a first row that cannot be; `kept` are the rows' places in the file."""
    time, pfn, order = columns["t_ns"], columns["pfn"], columns["order"]
    if int(time[-1]) - int(time[0]) >= 1 << 62:
        raise BadTrace(f"{path}: t_ns spans over 146 years: write nanoseconds of one clock")
    failed = (pfn == _FAILED) & (columns["op"] == 0)
    below = (np.uint64(1) << np.minimum(order, ORDER_MAX).astype(np.uint64)) - np.uint64(1)
    for wrong, what in (
        (np.append(False, time[1:] < time[:-1]), "t_ns goes back: sort the file by t_ns, stably"),
        (order > ORDER_MAX, f"order is above {ORDER_MAX}: give log2 of the pages"),
        ((pfn >= PFN_MAX) & ~failed, "pfn is beyond 2**36: give page frame numbers, no addresses"),
        ((pfn & below != 0) & ~failed, "pfn is not aligned to its order: check both columns"),
    ):
        if wrong.any():
            raise BadTrace(f"{path}: row {int(kept[np.argmax(wrong)])}: {what}")
