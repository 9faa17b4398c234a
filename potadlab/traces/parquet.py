"""Parquet files to NumPy: the columns that are asked for, checked, and the metadata."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import BadTrace

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
_FORMATS = {"potadlab-page-trace-1": "trace", "potadlab-page-snapshot-1": "snapshot"}


def read(path: Path, wanted: Columns, what: str) -> tuple[pa.Table, dict[str, Any]]:
    """The file's table, which has the `wanted` columns, and its metadata ({} if it has none).

    `what` is "trace" or "snapshot".  Raises BadTrace.
    """
    table = _table(path, what)
    _check_columns(path, table.column_names, wanted, what)
    _check_once(path, table.column_names)
    return table, _metadata(path, table.schema.metadata or {}, what)


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
