"""One dump of a machine's memory to one snapshot file.

    kpageflags    /proc/kpageflags as it is: a 64-bit word of flags for each page
    page_owner    every live block with its stack (mm/page_owner.c); what is not in it counts as
                  free, whole sections without any as no memory
    pagetypeinfo  free blocks by zone and order, and how large the zones are, but not where
    buddyinfo     the same without sizes

The last two are laid out so that the free blocks are as many of each order as told: from the end of
each zone down, the largest first, each beside a buddy in use.  The metadata says `places: assumed`.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import usage
from ...core.text import ORDER_MAX, PFN_MAX
from ...errors import BadTrace
from .. import parquet
from ..purpose import Kinds
from ..snapshot import KIND_NAMES, PAGE_KINDS, SECTION
from ..trace import Progress
from .source import Source

_READ_BYTES = 1 << 20
_LINE_BYTES = 1 << 16
_BLOCKS_MAX = 1 << 26  # a machine of 256 GiB in single pages
_FREE, _PLAIN, _COMPOUND = 1, 0, 14

# include/uapi/linux/kernel-page-flags.h: the strongest first
_SINGLE = 3  # anon; 4 is of a file, 5 and 6 are parts of large folios
_FLAGS = (
    ((19,), 10),  # HWPOISON
    ((20,), 11),  # NOPAGE
    ((10,), 1),  # BUDDY
    ((23,), 9),  # OFFLINE
    ((24,), 17),  # ZERO_PAGE
    ((21,), 13),  # KSM
    ((17,), 12),  # HUGE
    ((7,), 2),  # SLAB
    ((26,), 7),  # PGTABLE
    ((32,), 8),  # RESERVED
    ((5, 11, 12, 14), _SINGLE),  # LRU, MMAP, ANON, SWAPBACKED: of a process or of a file
)
_MASKS = np.array([sum(1 << bit for bit in bits) for bits, _ in _FLAGS], np.uint64)
_MEANINGS = np.array([meaning for _, meaning in _FLAGS], np.uint8)
_ANON, _COMPOUND_BITS = np.uint64(1 << 12), np.uint64(1 << 15 | 1 << 16)
_FLAGS_END = 43  # bits above are none

_ALLOCATED = re.compile(rb"Page allocated via order (\d{1,3}),")
_PFN = re.compile(rb"PFN (0x[0-9a-fA-F]{1,16}|\d{1,19})\b")
_FRAME = re.compile(rb"\s+([A-Za-z_][\w.]{0,200})\+0x")
_BUDDY = re.compile(
    rb"Node\s+(\d{1,5}), zone\s+(\S{1,40})(?:, type\s+\S+)?((?:\s+>?\d{1,15})+)\s*$"
)
_PER_BLOCK = re.compile(rb"Pages per block:\s+(\d{1,8})\s*$")

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, pages, kind of runs


@dataclass(frozen=True)
class ImportedSnapshot:
    """What was made of a dump."""

    path: Path
    format: str
    counts: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For `import --json`."""
        return {"path": str(self.path), "format": self.format, "counts": self.counts}

    def words(self) -> list[str]:
        """What people should know, a line each; the first says what was made."""
        runs, pages = self.counts["runs"], self.counts["pages"]
        said = [f"{self.path}: a snapshot of {pages:,} pages in {runs:,} runs, from {self.format}"]
        if self.format in ("buddyinfo", "pagetypeinfo"):
            said.append("where the free blocks lie is not told: their places are assumed")
        if self.format == "page_owner":
            said.append("pages without an owner are taken as free")
        for name, words in (("overlaps", "blocks"), ("damaged", "blocks that cannot be read")):
            if self.counts.get(name):
                said.append(f"{self.counts[name]:,} {words} left out ({name})")
        return said


def format_of(start: bytes) -> str | None:
    """The dump that a file which begins so is, None if it is none."""
    if b"Page allocated via order " in start:
        return "page_owner"
    if start.startswith(b"Page block order:"):
        return "pagetypeinfo"
    if _BUDDY.match(start.split(b"\n")[0]):
        return "buddyinfo"
    words = np.frombuffer(start[: len(start) // 8 * 8], np.uint64)
    binary = len(words) >= 8 and start.count(0) > len(start) // 2
    return "kpageflags" if binary and not (words >> np.uint64(_FLAGS_END)).any() else None


def import_snapshot(
    source: Source, target: Path, found: str, kinds: Kinds, page_bytes: int, tell: Progress
) -> ImportedSnapshot:
    """Make the dump of format `found` a snapshot file.  Raises BadTrace."""
    counts: dict[str, int] = {}
    metadata: dict[str, Any] = {}
    if found == "kpageflags":
        columns = _of_flags(source, tell)
    elif found == "page_owner":
        columns = _of_owners(source, kinds, counts, tell)
    else:
        columns, metadata = _of_counts(source)
    if not len(columns[0]):
        raise BadTrace(f"{source.name}: holds no page of {found}: dump it again")
    counts |= {"runs": len(columns[0]), "pages": int(columns[1].sum())}
    metadata |= {"kinds": KIND_NAMES, "page_shift": page_bytes.bit_length() - 1}
    parquet.write_snapshot(target, columns, metadata | {"recorded": found})
    tell(1.0, "imported")
    return ImportedSnapshot(target, found, counts)


# ---- kpageflags -----------------------------------------------------------------------------


def _of_flags(source: Source, tell: Progress) -> Columns:
    starts, kinds, pages, last = [], [], 0, -1
    room, filled = memoryview(bytearray(_READ_BYTES)), 0
    while count := source.readinto(room[filled:]):
        filled += count
        whole = filled // 8 * 8
        kind = kinds_of_flags(np.frombuffer(room[:whole], np.uint64))
        new = np.flatnonzero(np.diff(kind.astype(np.int16), prepend=last))
        starts.append(new + pages)
        kinds.append(kind[new])
        pages += len(kind)
        last = int(kind[-1]) if len(kind) else last
        room[: filled - whole] = bytes(room[whole:filled])
        filled -= whole
        tell(source.share(), f"{pages:,} pages")
    start = np.concatenate(starts) if starts else np.empty(0, np.int64)
    kind = np.concatenate(kinds) if kinds else np.empty(0, np.uint8)
    return start, np.diff(start, append=pages), kind


def kinds_of_flags(words: np.ndarray) -> np.ndarray:
    """Page kinds of the snapshot format, of words of /proc/kpageflags (u8 -> u1)."""
    kinds = np.empty(len(words), np.uint8)
    usage.kinds_of_flags(words, _MASKS, _MEANINGS, _COMPOUND_BITS, _ANON, _SINGLE, kinds)
    return kinds


# ---- page_owner -----------------------------------------------------------------------------


def _lines(source: Source) -> Iterator[bytes]:
    """Lines without their end; one longer than any that is printed comes in pieces."""
    room, rest = memoryview(bytearray(_READ_BYTES)), b""
    while count := source.readinto(room):
        lines = (rest + bytes(room[:count])).split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > _LINE_BYTES:
            yield rest
            rest = b""
    yield rest


def _of_owners(source: Source, kinds: Kinds, counts: dict[str, int], tell: Progress) -> Columns:
    pfns, orders, meanings = array("q"), array("b"), array("b")
    known: dict[bytes, str | None] = {}
    order, pfn = -1, -1
    frames: list[bytes] = []
    counts["damaged"] = 0
    for line in _lines(source):
        if allocated := _ALLOCATED.match(line):
            order, pfn, frames = int(allocated[1]), -1, []
        elif place := _PFN.match(line):
            pfn = int(place[1], 16 if place[1][:2] == b"0x" else 10)
        elif frame := _FRAME.match(line):
            frames.append(frame[1])
        elif not line.strip() and order >= 0:
            good = order <= ORDER_MAX and 0 <= pfn < PFN_MAX and pfn % (1 << order) == 0
            counts["damaged"] += not good
            if good:
                stack = b";".join(frames)
                if stack not in known:
                    known[stack] = kinds.of_stack(stack.decode("ascii", "replace"))
                pfns.append(pfn)
                orders.append(order)
                single, large = PAGE_KINDS.get(known[stack] or "", (_PLAIN, _COMPOUND))
                meanings.append(large if order else single)
            order = -1
            if not len(pfns) % 4096:
                tell(source.share(), f"{len(pfns):,} blocks")
    return _runs_of_blocks(np.array(pfns), np.array(orders), np.array(meanings), counts)


def _runs_of_blocks(
    pfn: np.ndarray, order: np.ndarray, kind: np.ndarray, counts: dict[str, int]
) -> Columns:
    """Runs of live blocks and of what is free between them; equal neighbours are joined."""
    place = np.lexsort((-order, pfn))
    pfn, order, kind = pfn[place].astype(np.int64), order[place].astype(np.int64), kind[place]
    end = pfn + (np.int64(1) << order)
    before = np.maximum.accumulate(np.append(0, end))[:-1]
    good = pfn >= before
    good[:1] = True
    counts["overlaps"] = int(np.count_nonzero(~good))
    pfn, end, kind = pfn[good], end[good], kind[good]
    gap_start, gap_end = end[:-1], pfn[1:]
    near = (gap_end > gap_start) & (gap_end - gap_start < SECTION)
    start = np.concatenate([pfn, gap_start[near]])
    stop = np.concatenate([end, gap_end[near]])
    kind = np.concatenate([kind, np.full(np.count_nonzero(near), _FREE)])
    place = np.argsort(start)
    start, stop, kind = start[place], stop[place], kind[place].astype(np.uint8)
    new = np.ones(len(start), bool)
    new[1:] = (start[1:] != stop[:-1]) | (kind[1:] != kind[:-1])
    last = np.append(new[1:], True)[: len(new)]
    return start[new], stop[last] - start[new], kind[new]


# ---- buddyinfo and pagetypeinfo -------------------------------------------------------------


def _of_counts(source: Source) -> tuple[Columns, dict[str, Any]]:
    free: dict[str, np.ndarray] = {}
    sizes: dict[str, int] = {}
    per_block, of_blocks = 0, False
    for line in _lines(source):
        if block := _PER_BLOCK.match(line):
            per_block = int(block[1])
        of_blocks = of_blocks or line.startswith(b"Number of blocks")
        if not (found := _BUDDY.match(line)):
            continue
        zone = f"node {int(found[1])} {found[2].decode('ascii', 'replace')}"
        told = np.array([int(count.lstrip(b">")) for count in found[3].split()], np.float64)
        if of_blocks:
            sizes[zone] = int(told.sum()) * per_block
        else:
            have = free.get(zone, np.zeros(0))
            length = max(len(have), len(told))
            free[zone] = np.pad(have, (0, length - len(have))) + np.pad(
                told, (0, length - len(told))
            )
    return _laid_out(source.name, free, sizes)


def _laid_out(
    name: str, free: dict[str, np.ndarray], sizes: dict[str, int]
) -> tuple[Columns, dict[str, Any]]:
    blocks = sum(float(counts.sum()) for counts in free.values())
    orders = max((len(counts) for counts in free.values()), default=0)
    pages = sum(float((counts * 2.0 ** np.arange(len(counts))).sum()) for counts in free.values())
    if blocks > _BLOCKS_MAX or orders > ORDER_MAX or 4 * pages + sum(sizes.values()) > PFN_MAX:
        raise BadTrace(f"{name}: tells of more memory than any machine has: dump it again")
    if not free:
        return (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)), {}
    parts, start = [], 0
    for zone, counts in free.items():
        part = _zone(counts.astype(np.int64), start, sizes.get(zone, 0))
        parts.append(part)
        start = int(part[0][-1] + part[1][-1]) if len(part[0]) else start
    starts, lengths, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    told = {zone: counts.astype(np.int64).tolist() for zone, counts in free.items()}
    return (starts, lengths, kinds), {"buddyinfo": told, "places": "assumed"}


def _zone(free: np.ndarray, start: int, size: int) -> Columns:
    """Runs of a zone that begins at `start`: pages in use, and the free blocks at its end."""
    top = len(free) - 1
    unit = 1 << top
    slots = free << np.minimum(np.arange(len(free)) + 1, top)  # each with its buddy
    end = start + -(-max(size, int(slots.sum())) // unit) * unit
    starts, pages, at = [], [], end
    for order in range(top, -1, -1):
        step = 1 << min(order + 1, top)
        count = int(free[order])
        lowest = at - count * step
        starts.append(lowest + np.arange(count) * step)
        pages.append(np.full(count, 1 << order))
        at = lowest
    free_start, free_pages = np.concatenate(starts[::-1]), np.concatenate(pages[::-1])
    used_start = np.append(start, free_start + free_pages)
    used_end = np.append(free_start, end)
    all_start = np.concatenate([used_start, free_start])
    all_pages = np.concatenate([used_end - used_start, free_pages])
    kind = np.repeat([_PLAIN, _FREE], [len(used_start), len(free_start)]).astype(np.uint8)
    place = np.argsort(all_start, kind="stable")
    place = place[all_pages[place] > 0]
    return all_start[place], all_pages[place], kind[place]
