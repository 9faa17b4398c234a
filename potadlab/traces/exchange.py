"""The exchange format: the ops of a trace as a C program reads them, eight bytes each.

Little-endian records {u8 op, u8 order, u16 0, u32 id}: op 0 allocates 2**order pages and calls the
block id, op 1 releases it.  Ids are used again, the last released first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import exchange, pairing
from ..core.exchange import EXCHANGE
from ..core.layout import BLOCK, NONE, OP
from ..errors import BadTrace
from ..files import Draft
from ..units import GIB, Space

SUFFIX = ".bin"
PAGE_BYTES = 4096
_SPACE_MIN = 8 * GIB  # of a file that is read: it does not tell the memory
_USED_MAX = 0.85  # of the memory that a file is given, at its peak


@dataclass(frozen=True)
class Exported:
    """What was written, and what the format has no record for."""

    records: np.ndarray  # EXCHANGE[], kinds and CPUs in its two bytes of 0
    live_before: int  # releases of blocks that lived before the trace
    other_verbs: int  # claims, refused requests, added memory, ...

    def words(self) -> str:
        count = len(self.records)
        allocates = int(np.count_nonzero(self.records["op"] == 0))
        return (
            f"{count:,} records: {allocates:,} allocate, {count - allocates:,} release; left out: "
            f"{self.live_before:,} releases of blocks that lived before, {self.other_verbs:,} ops "
            "of other verbs"
        )


def exported(ops: np.ndarray, handles: int) -> Exported:
    """The records of OP[]; a block that is cut is released with its last piece."""
    records, left_out = np.zeros(len(ops), EXCHANGE), np.zeros(2, np.int64)
    named = np.zeros(handles, exchange.NAMED)
    named["id"] = NONE
    count = exchange.of_ops(ops, records, named, np.zeros(handles, np.uint32), left_out)
    return Exported(records[:count], int(left_out[0]), int(left_out[1]))


def write(records: np.ndarray, path: Path) -> None:
    """Write the file, whole or not at all; raises OSError."""
    plain = records.copy()
    plain["kind"], plain["cpu"] = 0, 0
    draft = Draft(path, binary=True)
    try:
        draft.file.write(plain.tobytes())
        draft.keep()
    finally:
        draft.drop()


def read(path: Path) -> np.ndarray:
    """EXCHANGE[] of a file; raises BadTrace."""
    try:
        found = path.read_bytes()
    except OSError as error:
        raise BadTrace(f"{path}: cannot be read ({error.strerror}): check the name") from None
    size = EXCHANGE.itemsize
    if not found or len(found) % size:
        raise BadTrace(f"{path}: {len(found)} bytes: an exchange file has {size} for each op")
    records = np.frombuffer(found, EXCHANGE)
    rest = (records["kind"] != 0) | (records["cpu"] != 0)
    if rest.any():
        raise BadTrace(f"{path}: record {int(np.argmax(rest))}: bytes 2 and 3 must be 0")
    return records


def fields(path: Path) -> dict[str, Any]:
    """What a Trace of the file holds; raises BadTrace."""
    records = read(path)
    ops = np.zeros(len(records), OP)
    ids = np.full(int(records["id"].max()) + 1, NONE, np.int64)
    handles = exchange.to_ops(records, ops, ids)
    if handles < 0:
        raise BadTrace(
            f"{path}: record {NONE - handles}: write op 0 for an id that is free, 1 for one that "
            f"lives, and an order below {exchange.ORDERS}"
        )
    ops["time_ns"] = np.arange(len(ops))  # a file tells no times
    return {
        "name": path.name.removesuffix(SUFFIX),
        "path": path,
        "metadata": {},
        "ops": ops,
        "handles": handles,
        "owners": [],
        "events": len(records),
        "granule_bytes": PAGE_BYTES,
        "snapshot": "",
        "space": space_for(int(pairing.lives(ops, handles)[1])),
        "start": np.empty(0, BLOCK),
        "boundaries_assumed": 0,
        "kinds_guessed": 0,
    }


def space_for(peak_pages: int) -> Space:
    """8 GiB, or the power of two that the peak leaves some room in."""
    needed = max(int(peak_pages * PAGE_BYTES / _USED_MAX), _SPACE_MIN)
    return Space.ram(1 << (needed - 1).bit_length())
