"""This machine's physical memory at a moment: what each page is used for, read from /proc.

kpageflags   a 64-bit word of flags for each page; reading takes a second, it is not one moment
kpagecount   how often each page is mapped into processes
zoneinfo     zones: first page, pages spanned, present and managed
buddyinfo    free blocks by zone and order, as Linux counts them
"""

import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core import usage
from ...errors import CannotRecord
from .. import parquet
from ..importing.memory import kinds_of_flags
from ..snapshot import FREE, KIND_NAMES, SECTION, runs_of

PROC = Path("/proc")
_HOLE, _FRESH, _PLAIN = 11, 16, 0
_READ_BYTES = 1 << 20
_ZONE = re.compile(r"^Node +(\d+), zone +(\S+)", re.M)

Tell = Callable[[float, str], None]


@dataclass
class Memory:
    """Page kinds of the snapshot format, one per page frame, and what else was told then."""

    kinds: np.ndarray  # u1
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def now(cls, tell: Tell | None = None, mapped: bool = False, proc: Path = PROC) -> "Memory":
        """Of this machine; `mapped` counts mappings too.  Raises CannotRecord."""
        zones, present = _zones(proc)
        kinds = _flags(proc, max((end for _, end in zones.values()), default=0), tell)
        fresh = _tell_holes(kinds, zones, present)
        metadata: dict[str, Any] = {
            "zones": {name: list(edges) for name, edges in zones.items()} if zones else None,
            "buddyinfo": _buddyinfo(proc),
            "page_shift": os.sysconf("SC_PAGE_SIZE").bit_length() - 1,
            "kinds": KIND_NAMES,
            "recorded": "/proc/kpageflags",
            "kernel": platform.release(),
            "pages_not_initialised": fresh or None,
        }
        if mapped:
            metadata["mapped_pages"] = _mapped(proc, kinds)
        return cls(kinds, {key: value for key, value in metadata.items() if value is not None})

    def rewind(self, rows: np.ndarray) -> None:
        """Make it what it was before these events (LINE[] in order of time, frees and allocs)."""
        rows = rows[(rows["op"] <= 1) & (rows["pfn"] >= 0)]
        usage.rewind(self.kinds, rows["pfn"], rows["order"], rows["op"] == 1, FREE, _PLAIN)

    def write(self, path: Path) -> None:
        """A snapshot file, whole or not at all.  Raises OSError."""
        parquet.write_snapshot(path, runs_of(self.kinds), self.metadata)

    def draft(self, path: Path, more: dict[str, Any]) -> parquet.Draft:
        """A snapshot file, written but not yet under its name.  Raises OSError."""
        return parquet.draft_snapshot(path, runs_of(self.kinds), self.metadata | more)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CannotRecord(f"{path}: cannot be read ({error.strerror})") from None


def _flags(proc: Path, end: int, tell: Tell | None) -> np.ndarray:
    parts, pages = [], 0
    for words in _words(proc / "kpageflags"):
        parts.append(kinds_of_flags(words))
        pages += len(words)
        if tell:
            tell(min(pages / max(end, pages), 1.0), "looking at the memory")
    if not parts:
        raise CannotRecord(f"{proc / 'kpageflags'}: holds nothing: is this a container?")
    return np.concatenate(parts)


def _words(path: Path) -> Any:
    """Words of /proc/kpageflags or kpagecount, some at a time.  Raises CannotRecord."""
    try:
        with path.open("rb", buffering=0) as file:
            while data := file.read(_READ_BYTES):
                yield np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
    except FileNotFoundError:
        raise CannotRecord(
            f"{path}: this kernel does not tell what pages are used for: "
            "it was built without CONFIG_PROC_PAGE_MONITOR"
        ) from None
    except PermissionError:
        raise CannotRecord(f"{path}: only root may read it: put sudo before the command") from None
    except OSError as error:
        raise CannotRecord(f"{path}: cannot be read ({error.strerror})") from None


def _zones(proc: Path) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """(zone: [first page, end), zone: pages present but not managed), of all that have pages.

    Named as in buddyinfo's bundled form; with the node where there are several.  Zones of several
    nodes that lie in one another are left out: nobody could tell whose a page is.
    """
    found, missing = {}, {}
    text = _read(proc / "zoneinfo")
    parts = _ZONE.split(text)[1:]
    nodes = set(parts[::3])
    for node, zone, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        told = {
            name: int(number)
            for name, number in re.findall(r"\b(spanned|present|managed|start_pfn):? +(\d+)", body)
        }
        if told.get("spanned") and "start_pfn" in told:
            name = zone if len(nodes) == 1 else f"node {node} {zone}"
            found[name] = told["start_pfn"], told["start_pfn"] + told["spanned"]
            missing[name] = told.get("present", 0) - told.get("managed", 0)
    edges = sorted(found.values())
    apart = all(one[1] <= other[0] for one, other in pairwise(edges))
    return (found, missing) if apart else ({}, {})


def _tell_holes(
    kinds: np.ndarray, zones: dict[str, tuple[int, int]], missing: dict[str, int]
) -> int:
    """Tell sections without any flag: not initialised yet, or no memory; pages of the former.

    Where Linux initialises page structs late, those sections read as zeros, as holes do; a zone's
    `present` less `managed` says how many there are, and the last ones are meant.
    """
    whole = len(kinds) // SECTION
    empty = np.flatnonzero(~kinds[: whole * SECTION].reshape(whole, SECTION).any(axis=1))
    fresh = 0
    for name, (start, end) in zones.items():
        mine = empty[(empty * SECTION >= start) & ((empty + 1) * SECTION <= end)]
        late = mine[len(mine) - min(missing[name] // SECTION, len(mine)) :]
        for section in mine:
            kind = _FRESH if section in late else _HOLE
            kinds[section * SECTION : (section + 1) * SECTION] = kind
        fresh += len(late) * SECTION
    return fresh


def _buddyinfo(proc: Path) -> dict[str, list[int]]:
    lines = _read(proc / "buddyinfo").splitlines()
    told = [match for line in lines if (match := _ZONE.match(line))]
    nodes = {match[1] for match in told}
    found = {}
    for match in told:
        name = match[2] if len(nodes) == 1 else f"node {match[1]} {match[2]}"
        found[name] = [int(count) for count in match.string[match.end() :].split()]
    return found


def _mapped(proc: Path, kinds: np.ndarray) -> dict[str, dict[str, int]]:
    """Of each kind, pages that processes have mapped, and those mapped more than once."""
    once, often, at = np.zeros(256, np.int64), np.zeros(256, np.int64), 0
    for words in _words(proc / "kpagecount"):
        here = kinds[at : at + len(words)]
        words = words[: len(here)]
        once += np.bincount(here[words > 0], minlength=256)
        often += np.bincount(here[words > 1], minlength=256)
        at += len(here)
    return {
        KIND_NAMES[str(kind)]: {"mapped": int(once[kind]), "shared": int(often[kind])}
        for kind in np.flatnonzero(once)
    }
