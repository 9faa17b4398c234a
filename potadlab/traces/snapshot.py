"""Snapshots: a machine's physical memory at one moment, as runs of page kinds.

Made from /proc/kpageflags.  It shows which granules were free, and what the others were used for,
but not where one block ends and the next begins.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.pairing import Role, Runs
from ..core.text import PFN_MAX
from ..errors import BadTrace
from ..kinds import KIND
from ..units import Zone, end_of, format_size
from . import parquet

SECTION = 1 << 15  # granules Linux adds at once: 128 MiB of 4 KiB (x86, SECTION_SIZE_BITS 27)

# Page kinds of the format (see the files' metadata): what the start makes of them.
_KINDS = {
    0: (Role.WHOLES, "kernel"),  # no flag: a plain kernel page, or free in a per-CPU list
    1: (Role.FREE, "unknown"),
    2: (Role.WHOLES, "slab"),
    3: (Role.SINGLES, "anon"),
    4: (Role.SINGLES, "file"),
    5: (Role.WHOLES, "anon"),
    6: (Role.WHOLES, "file"),
    7: (Role.SINGLES, "ptdesc"),
    8: (Role.OUT, "kernel"),  # reserved: the kernel's image and the firmware's
    9: (Role.OUT, "driver"),  # offline, or given back to a host
    10: (Role.OUT, "poison"),
    11: (Role.OUT, "unknown"),  # no page: a hole
    12: (Role.WHOLES, "hugetlb"),
    13: (Role.SINGLES, "anon"),  # ksm
    14: (Role.WHOLES, "kernel"),
    15: (Role.WHOLES, "unknown"),
    16: (Role.FRESH, "unknown"),  # struct pages not initialised yet
    17: (Role.WHOLES, "kernel"),  # the zero page
}
KIND_NAMES = {  # as the metadata of a snapshot file tells them
    **{"0": "no flags: pcp-free or plain kernel page", "1": "buddy (free)", "2": "slab"},
    **{"3": "anon order-0", "4": "file/shmem lru order-0", "5": "anon large folio (head+tail)"},
    **{"6": "file large folio (head+tail)", "7": "pgtable", "8": "reserved"},
    **{"9": "offline/balloon", "10": "hwpoison", "11": "nopage (hole)", "12": "hugetlb"},
    **{"13": "ksm", "14": "compound, no lru (kernel)", "15": "other flagged"},
    **{"16": "uninitialised section (lazy deferred init)", "17": "zero page"},
}
PAGE_KINDS = {  # kind: the page kind of a single page, and of a larger block
    **{"anon": (3, 5), "file": (4, 6), "folio": (4, 6), "slab": (2, 2), "ptdesc": (7, 7)},
    "hugetlb": (12, 12),
}
FREE, _HOLE = 1, 11
_TOLD = ("zones", "buddyinfo", "mapped_pages", "kernel", "recorded")
_ROLES = np.array([_KINDS.get(kind, (Role.WHOLES, ""))[0] for kind in range(256)], np.uint8)
_KIND_INDEX = np.array(
    [KIND[_KINDS.get(kind, (Role.WHOLES, "unknown"))[1]] for kind in range(256)], np.uint8
)


def roles_of() -> tuple[np.ndarray, np.ndarray]:
    """(Role, kind) of each page kind of the format, u1[256] each."""
    return _ROLES, _KIND_INDEX


@dataclass(frozen=True)
class Snapshot:
    """Runs of pages of one kind: [start, end) in granules, ascending, disjoint."""

    path: Path
    metadata: dict[str, Any]
    start: np.ndarray  # i8
    end: np.ndarray  # i8
    kind: np.ndarray  # u1, page kinds of the format

    @classmethod
    def read(cls, path: str | Path) -> "Snapshot":
        """Raises BadTrace: one line, what is wrong with the file and what to do."""
        path = Path(path)
        table, metadata = parquet.read(path, parquet.SNAPSHOT, "snapshot")
        start, pages, kind = parquet.columns(path, table, parquet.SNAPSHOT).values()
        if not len(start):
            raise BadTrace(f"{path}: holds no runs: take the snapshot again")
        _check(path, (start >= PFN_MAX), "is beyond 2**36 pages: not a page frame number")
        start = start.astype(np.int64)
        end = start + pages
        _check(path, np.append(False, start[1:] < end[:-1]), "begins inside the run before it")
        return cls(path, metadata, start, end, kind)

    def runs(self, zones: tuple[Zone, ...]) -> Runs:
        """The runs cut at the edges of zones; what is in none, or in no run, is out of service."""
        edges = np.array([edge for zone in zones for edge in (zone.start, zone.end)])
        starts = _distinct(np.zeros(1, np.int64), edges, self.start, self.end)
        starts = starts[starts <= end_of(zones)]
        run = np.searchsorted(self.start, starts[:-1], "right") - 1
        kind = np.where((run >= 0) & (starts[:-1] < self.end[run]), self.kind[run], _HOLE)
        kind[~in_zones(starts[:-1], zones)] = _HOLE
        starts, kind = _without_memory(starts, kind.astype(np.uint8))
        return Runs(starts, _ROLES[kind], _KIND_INDEX[kind])

    def info(self) -> dict[str, Any]:
        """What it holds, for `info --json`: pages by kind."""
        names = self.metadata.get("kinds", {})
        pages = np.bincount(self.kind, self.end - self.start)
        told = {key: self.metadata[key] for key in _TOLD if key in self.metadata}
        return {
            "runs": len(self.start),
            "pages": {
                names.get(str(kind), f"kind {kind}"): int(pages[kind])
                for kind in np.flatnonzero(pages)
            },
            **told,
        }

    def free_pages(self, order: int) -> tuple[int, int]:
        """(free pages, those of them in aligned free blocks of at least 2**order)."""
        start, end = self.start[self.kind == FREE], self.end[self.kind == FREE]
        size = 1 << order
        whole = np.maximum(end // size - -(-start // size), 0) * size
        return int((end - start).sum()), int(whole.sum())

    def words(self) -> list[str]:
        """What it holds, a line each; the first says what it is."""
        found, page_bytes = self.info(), 1 << int(self.metadata.get("page_shift", 12))
        mapped = found.get("mapped_pages", {})
        said = [f"{self.path}: {sum(found['pages'].values()):,} pages in {found['runs']:,} runs"]
        for kind, pages in found["pages"].items():
            there = mapped.get(kind, {}).get("mapped", 0)
            share = f", {format_size(there * page_bytes)} of it mapped" if there else ""
            said.append(f"{format_size(pages * page_bytes):>10}  {kind}{share}")
        return said


def runs_of(pages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start, pages, kind) of runs of one kind, of a kind per page."""
    start = np.flatnonzero(np.diff(pages.astype(np.int16), prepend=-1))
    return start, np.diff(start, append=len(pages)), pages[start]


def runs_of_zones(zones: tuple[Zone, ...]) -> Runs:
    """Without a snapshot: everything in a zone is taken for free."""
    starts = _distinct(np.array([0, *(edge for zone in zones for edge in (zone.start, zone.end))]))
    role = np.where(in_zones(starts[:-1], zones), Role.NOT_TOLD, Role.OUT).astype(np.uint8)
    return Runs(starts, role, np.zeros(len(role), np.uint8))


def in_zones(granules: np.ndarray, zones: tuple[Zone, ...]) -> np.ndarray:
    """Which granules lie in a zone."""
    inside = np.zeros(len(granules), bool)
    for zone in zones:
        inside |= (granules >= zone.start) & (granules < zone.end)
    return inside


def find(path: Path) -> Path | None:
    """NAME.before.parquet beside a trace NAME.parquet, or in `snapshots/` beside it."""
    name = path.name.removesuffix(".parquet") + ".before.parquet"
    places = (path.with_name(name), path.parent / "snapshots" / name)
    return next((place for place in places if place.is_file()), None)


def _without_memory(starts: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make holes of whole sections without any flag, as x86's PCI hole from 3 to 4 GiB reads.

    A section in use always has flagged pages; in the bundled snapshots the longest other run
    without flags is 5,120 pages of a section's 32,768, and the zone's `present` agrees.
    """
    first, last = -(-starts[:-1] // SECTION) * SECTION, starts[1:] // SECTION * SECTION
    empty = (kind == 0) & (first < last)
    if not empty.any():
        return starts, kind
    finer = _distinct(starts, first[empty], last[empty])
    run = np.searchsorted(starts, finer[:-1], "right") - 1
    hole = empty[run] & (finer[:-1] >= first[run]) & (finer[1:] <= last[run])
    return finer, np.where(hole, _HOLE, kind[run]).astype(np.uint8)


def _distinct(*granules: np.ndarray) -> np.ndarray:
    """Ascending, each once; on sorted parts far faster than np.unique, which hashes."""
    merged = np.sort(np.concatenate(granules), kind="stable")
    return merged[np.append(True, merged[1:] != merged[:-1])]


def _check(path: Path, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadTrace(f"{path}: row {row}: the run {what}: take the snapshot again")
