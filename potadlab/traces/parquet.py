"""Trace and snapshot files: Parquet with a JSON object under the metadata key `potadlab`.

A trace (`"format": "potadlab-page-trace-1"`) is one row per event, in order of time; where stamps
are equal, the order of rows counts.

| column | type | holds |
|---|---|---|
| t_ns | int64 | nanoseconds of the recorder's clock |
| cpu | uint8 | where it happened (of machines with more: modulo 256) |
| op | uint8 | 0 alloc, 1 free, 6 claim, 7 release of a claim; others are markers, skipped |
| pfn | uint64 | page frame number; ~0: the alloc or claim failed |
| order | uint8 | log2 of the pages; claim: of the alignment |
| migratetype | uint8 | Linux's number; 255 where it is not told (frees) |
| gfp_flags | uint32 | 0 where they are not told (frees) |
| stack | text, may be missing or null | kernel functions, innermost first, `;` between |
| count | uint32, may be missing or null | claims: how many pages |
| area | text, may be missing or null | claims: the CMA area |
| task | text, may be missing or null | name and number of the process, only if asked for |

Metadata that readers use: `page_shift` (12), `max_order` (10), `zones` ({name: [first pfn, end]}),
`gfp_bits` ({bit: name}), `dropped_events` (lost by the recorder), `name`, `kinds` (a table as
traces/kinds.toml, to add to it), `recording` (when it began: the snapshot beside it has
the same).  For people: `kernel`, `machine`, `clock`, `recorded` (how), `cpus`, `events`,
`duration_s`, `work_begins_s`, `import` (what was counted), `potadlab` (the version that wrote it).

A snapshot (`"format": "potadlab-page-snapshot-1"`) is one row per run of pages of one kind:
start_pfn uint64, npages uint32, kind uint8; metadata
`kinds` ({number: words}), `zones`, `page_shift`.

A change that old readers would get wrong takes the next number in `format`; they refuse it.
"""

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import BadTrace
from ..files import Draft

# Columns of each format: name -> type.  Any integer type that holds the values is taken.
Columns = dict[str, pa.DataType]
TRACE: Columns = {
    "t_ns": pa.int64(),
    "cpu": pa.uint8(),
    "op": pa.uint8(),  # 0 alloc, 1 free; others are markers, skipped
    "pfn": pa.uint64(),  # ~0: the alloc failed
    "order": pa.uint8(),
    "migratetype": pa.uint8(),
    "gfp_flags": pa.uint32(),
}
SNAPSHOT: Columns = {"start_pfn": pa.uint64(), "npages": pa.uint32(), "kind": pa.uint8()}
_TEXT = pa.dictionary(pa.int32(), pa.string())
TOLD_SOMETIMES = {"stack": _TEXT, "count": pa.uint32(), "area": _TEXT}
_TRACE_FORMAT = "potadlab-page-trace-1"
_GROUP_ROWS = 1 << 20
_SNAPSHOT_FORMAT = "potadlab-page-snapshot-1"
_FORMATS = {_TRACE_FORMAT: "trace", _SNAPSHOT_FORMAT: "snapshot"}


# ---- writing --------------------------------------------------------------------------------


class TraceWriter:
    """Writes a trace file in pieces; a context manager.  Only `keep` puts it under its name.

    The encodings are those that made the bundled files smallest, with a faster compression.
    """

    def __init__(self, path: Path, tasks: bool = False) -> None:
        columns = TRACE | TOLD_SOMETIMES | ({"task": _TEXT} if tasks else {})
        self._schema = pa.schema(list(columns.items()))
        self._draft = Draft(path, binary=True)
        self._writer = pq.ParquetWriter(
            self._draft.file,
            self._schema,
            compression="zstd",
            compression_level=3,
            write_statistics=False,
            store_schema=False,
            use_dictionary=[name for name in columns if name not in ("t_ns", "pfn")],
            column_encoding={"t_ns": "DELTA_BINARY_PACKED", "pfn": "BYTE_STREAM_SPLIT"},
        )
        self._waiting: list[pa.RecordBatch] = []
        self._thread = ThreadPoolExecutor(1)  # packs one group while the next is read
        self._packing: Future[None] | None = None

    def write(self, columns: dict[str, Any]) -> None:
        """Append rows: an array for each column.  Raises OSError."""
        arrays = [columns[name] for name in self._schema.names]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        if sum(map(len, self._waiting)) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Hand over the rows that wait; those handed over before are written after this."""
        self._settle()
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._packing = self._thread.submit(self._pack, table)
            self._waiting = []

    def _pack(self, table: pa.Table) -> None:
        self._writer.write_table(table.unify_dictionaries(), row_group_size=len(table))

    def _settle(self) -> None:
        if self._packing:
            self._packing.result()

    def keep(self, metadata: dict[str, Any]) -> None:
        """The rows, and `metadata` with format and version, now stand under the name."""
        self._flush()
        self._settle()
        told = {"format": _TRACE_FORMAT, "potadlab": _version()} | metadata
        self._writer.add_key_value_metadata({"potadlab": json.dumps(told)})
        self._writer.close()
        self._draft.keep()

    def __enter__(self) -> "TraceWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        with suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._draft.drop()


def draft_snapshot(
    path: Path, runs: tuple[np.ndarray, np.ndarray, np.ndarray], metadata: dict[str, Any]
) -> Draft:
    """A snapshot file of runs (start, pages, kind), to be kept or dropped.  Raises OSError."""
    table = pa.table(dict(zip(SNAPSHOT, runs, strict=True))).cast(pa.schema(SNAPSHOT.items()))
    told = {"format": _SNAPSHOT_FORMAT, "potadlab": _version()} | metadata
    draft = Draft(path, binary=True)
    try:
        pq.write_table(
            table.replace_schema_metadata({"potadlab": json.dumps(told)}),
            draft.file,
            compression="zstd",
            use_dictionary=["kind"],
            column_encoding={"start_pfn": "DELTA_BINARY_PACKED"},
        )
    except BaseException:
        draft.drop()
        raise
    return draft


def write_snapshot(
    path: Path, runs: tuple[np.ndarray, np.ndarray, np.ndarray], metadata: dict[str, Any]
) -> None:
    """A snapshot file, whole or not at all.  Raises OSError."""
    draft = draft_snapshot(path, runs, metadata)
    try:
        draft.keep()
    finally:
        draft.drop()


def _version() -> str:
    # not an import: the package imports all layers, and this is one of the lowest
    return sys.modules["potadlab"].__version__


# ---- reading --------------------------------------------------------------------------------


def read(path: Path, wanted: Columns, what: str) -> tuple[pa.Table, dict[str, Any]]:
    """The file's table, which has the `wanted` columns, and its metadata ({} if it has none).

    `what` is "trace" or "snapshot".  Raises BadTrace.
    """
    table = _table(path, what)
    _check_columns(path, table.column_names, wanted, what)
    _check_once(path, table.column_names)
    return table, _metadata(path, table.schema.metadata or {}, what)


def is_snapshot(path: Path) -> bool:
    """Whether the file is a snapshot; of one that is nothing at all, reading tells."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return all(name in names for name in SNAPSHOT)


def columns(path: Path, table: pa.Table, wanted: Columns) -> dict[str, np.ndarray]:
    """The wanted columns as arrays of their types.  Raises BadTrace, naming column and row."""
    return {name: _column(path, table, name, kind) for name, kind in wanted.items()}


def _column(path: Path, table: pa.Table, name: str, kind: pa.DataType) -> np.ndarray:
    values = table.column(name)
    if not pa.types.is_integer(values.type):
        raise BadTrace(f"{path}: column {name} is {values.type}: rewrite it as {kind}")
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy())[0])
        raise BadTrace(f"{path}: row {row}: {name} is missing: fill it in or drop the row")
    try:
        return values.cast(kind).to_numpy()
    except pa.ArrowInvalid as error:
        raise BadTrace(f"{path}: column {name}: {_line(error)}: rewrite it as {kind}") from None


def _table(path: Path, what: str) -> pa.Table:
    if path.is_dir():
        raise BadTrace(f"{path}: is a directory: give the {what}'s Parquet file")
    if not path.exists():
        raise BadTrace(f"{path}: no such file: give the path of a {what} (NAME.parquet)")
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise BadTrace(
            f"{path}: cannot be read as Parquet ({_line(error)}): copy or record the {what} again"
        ) from None


def _check_columns(path: Path, found: list[str], wanted: Columns, what: str) -> None:
    missing = [name for name in wanted if name not in found]
    if not missing:
        return
    for other, theirs in (("trace", TRACE), ("snapshot", SNAPSHOT)):
        if other != what and all(name in found for name in theirs):
            raise BadTrace(f"{path}: is a {other}, not a {what}: give the {what} in its place")
    raise BadTrace(
        f"{path}: no column {', '.join(missing)}: a {what} has the columns {', '.join(wanted)}"
    )


def _check_once(path: Path, found: list[str]) -> None:
    twice = [name for place, name in enumerate(found) if name in found[:place]]
    if twice:
        raise BadTrace(f"{path}: column {twice[0]} is there twice: leave one of them out")


def _metadata(path: Path, raw: dict[bytes, bytes], what: str) -> dict[str, Any]:
    try:
        metadata = json.loads(raw.get(b"potadlab", b"{}"))
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise BadTrace(f"{path}: metadata key potadlab is no JSON object: write the {what} again")
    format_name = metadata.get("format")
    if format_name is not None and _FORMATS.get(str(format_name)) != what:
        raise BadTrace(f"{path}: format {format_name!r} is no {what} read here: update potadlab")
    return metadata


def _line(error: Exception) -> str:
    """The first words of a library's message, on one line."""
    return " ".join(str(error).split())[:120].rstrip(" .:")
