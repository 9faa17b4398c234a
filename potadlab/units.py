"""Bytes at the edge, granules inside: sizes as people write them, and the Space between."""

import os
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import isfinite
from numbers import Rational, Real
from pathlib import Path
from typing import Any

from . import bundled, memory_map
from .errors import BadSize, BadSpace

Size = str | int | float

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SIZE_MAX = 1 << 62  # exclusive: sums of two still fit 64 bits with a sign
GRANULE_BYTES_MIN, GRANULE_BYTES_MAX = 512, GIB
GRANULES_MAX = 1 << 38  # more than tables can be mapped for: 128 TiB of 512 B, 1 PiB of 4 KiB
PAGE_BYTES = 4 * KIB
DIGITS_MAX = 100
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\s*", re.IGNORECASE)


def parse_size(text: Size) -> int:
    """Bytes of "8MiB", "8 MB", "8M" or 8388608; powers of two, as kernel people mean them.

    Raises BadSize if the text is no size, not a whole number of bytes, or not below SIZE_MAX.
    """
    size, said = _read(text) if isinstance(text, str) else _number(text)
    if abs(size) >= SIZE_MAX:
        raise BadSize(f"size {said} is beyond all memory: take less than 4096PiB")
    if size.denominator != 1:
        raise BadSize(f"size {said} is not a whole number of bytes")
    return int(size)


def _number(size: object) -> tuple[Fraction, str]:
    """A number of bytes, also one of NumPy's, and how to quote it."""
    if isinstance(size, Rational):
        exact = Fraction(int(size.numerator), int(size.denominator))
    elif isinstance(size, Real) and isfinite(size):
        exact = Fraction(float(size))
    else:
        said = " ".join(reprlib.repr(size).split())
        raise BadSize(f"size {said} is not understood: write it as 512, 4KiB, 8MiB or 1.5TiB")
    return exact, str(size) if abs(exact) < SIZE_MAX else "of so many digits"


def _read(text: str) -> tuple[Fraction, str]:
    """The bytes that `text` says, exactly, and how to quote it."""
    said = reprlib.repr(text)  # shortened, where someone gives hundreds of digits
    match = _SIZE.fullmatch(text)
    if not match:
        raise BadSize(f"size {said} is not understood: write it as 512, 4KiB, 8MiB or 1.5TiB")
    if len(match[1]) > DIGITS_MAX:
        raise BadSize(f"size {said} has more digits than any memory: take less than 4096PiB")
    return Fraction(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "), said


def format_size(size_bytes: int | float) -> str:
    """A size in the largest unit that leaves at least 1: "8 MiB", "1.5 TiB", "360 B"."""
    size, unit = float(size_bytes), 0
    while abs(size) >= 1023.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    number = f"{size:.0f}" if size == int(size) or abs(size) >= 100 else f"{size:.3g}"
    return f"{number} {_UNITS[unit]}"


def parse_granule(granule: Size) -> int:
    """Bytes of a granule.  Raises BadSize for all but a power of two from 512 B to 1 GiB."""
    size = parse_size(granule)
    if not is_power_of_two(size) or not GRANULE_BYTES_MIN <= size <= GRANULE_BYTES_MAX:
        raise BadSize(f"granule {_said(granule)}: take a power of two from 512 B to 1 GiB")
    return size


def is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


@dataclass(frozen=True)
class Zone:
    """A part of a space with free memory of its own, as Linux's zones; in granules."""

    name: str
    start: int
    end: int  # exclusive


@dataclass(frozen=True)
class Space:
    """What is handed out: ranges of granules in service at the start, in zones.

    in_service: (start, end) in granules, ascending, disjoint; zones: in order of trial, disjoint,
    they hold all that is in service and all memory that may be added later.
    """

    name: str
    granule_bytes: int
    in_service: tuple[tuple[int, int], ...]
    zones: tuple[Zone, ...]

    @classmethod
    def ram(cls, size: Size, granule: Size = "4KiB", start: Size = 0) -> "Space":
        """A flat space of `size` from the address `start`, in one zone.

        Raises BadSize for what is no multiple of the granule, or no granule.
        """
        granule_bytes = parse_granule(granule)
        size_bytes, start_bytes = parse_size(size), parse_size(start)
        if size_bytes < granule_bytes or size_bytes % granule_bytes:
            raise BadSize(f"space {_said(size)}: take a multiple of the granule, {_said(granule)}")
        if start_bytes < 0 or start_bytes % granule_bytes:
            raise BadSize(f"start {_said(start)}: take a multiple of the granule, {_said(granule)}")
        first, end = start_bytes // granule_bytes, (start_bytes + size_bytes) // granule_bytes
        if end * granule_bytes > _end_max(granule_bytes):
            raise BadSize(f"space {_said(size)} from {_said(start)} {_beyond(granule_bytes)}")
        name = format_size(size_bytes)
        return cls(name, granule_bytes, ((first, end),), (Zone("RAM", first, end),))

    @classmethod
    def ranges(
        cls,
        ranges: Iterable[tuple[Size, Size]],
        granule: Size = "4KiB",
        zones: Iterable[tuple[str, Size, Size]] | None = None,
    ) -> "Space":
        """A space of (start, end) addresses, ascending, with holes between them.

        zones: (name, start, end) in order of trial, which hold all ranges; None: one over all.
        Raises BadSize for what is no size, BadSpace for ranges and zones that do not fit.
        """
        granule_bytes = parse_granule(granule)
        given = _listed(ranges, "range", ("start", "end"))
        served = [_extent("range", start, end, granule_bytes) for start, end in given]
        for number, (before, after) in enumerate(pairwise(served), 1):
            if after[0] < before[1]:
                raise BadSpace(
                    f"range {_quoted(*given[number])} begins below the end of the one before it, "
                    f"{_quoted(*given[number - 1])}: write them ascending, not overlapping"
                )
        made: tuple[Zone, ...] = (Zone("RAM", served[0][0], served[-1][1]),)
        if zones is not None:
            made = _zones(zones, granule_bytes)
            _check_held(served, made, granule_bytes)
        size_bytes = sum(end - start for start, end in served) * granule_bytes
        return cls(format_size(size_bytes), granule_bytes, _merged(served), made)

    @classmethod
    def join(cls, *spaces: "Space") -> "Space":
        """Several spaces as one; the zones are tried in the order given.

        Raises BadSpace where granules differ or zones overlap.
        """
        if not spaces or not all(isinstance(space, Space) for space in spaces):
            raise BadSpace("join: give one or more spaces, as Space.join(Space.ram(...), ...)")
        for one, other in combinations(spaces, 2):
            _check_joined(one, other)
        served = sorted(extent for space in spaces for extent in space.in_service)
        zones = tuple(zone for space in spaces for zone in space.zones)
        name = " + ".join(space.name for space in spaces)
        return cls(name, spaces[0].granule_bytes, _merged(served), zones)

    @classmethod
    def memory_map(cls, source: str | os.PathLike[str], granule: Size = "4KiB") -> "Space":
        """A real x86 machine in Linux's zones, from a file or the name of a bundled map.

        The file holds the BIOS-e820 lines of a boot log, or /proc/iomem.  Memory shrinks to whole
        pages and granules.  Raises BadSize for the granule, BadSpace: file, line, what to do.
        """
        granule_bytes = parse_granule(granule)
        path = _map_file(source)
        unit = max(granule_bytes, PAGE_BYTES)
        inwards = ((-(-start // unit), end // unit) for start, end in memory_map.read(path))
        served = [(first, last) for first, last in inwards if first < last]
        if not served:
            raise BadSpace(f"{path}: no memory holds a whole granule of {format_size(unit)}")
        served = [
            (start * unit // granule_bytes, end * unit // granule_bytes) for start, end in served
        ]
        if served[-1][1] * granule_bytes > _end_max(granule_bytes):
            raise BadSpace(f"{path}: memory {_beyond(granule_bytes)}")
        zones = _linux_zones(served, granule_bytes)
        return cls(path.name.partition(".")[0], granule_bytes, _merged(served), zones)

    @property
    def granules(self) -> int:
        """End of the address range, in granules."""
        return end_of(self.zones)

    @property
    def bytes(self) -> int:
        """Bytes in service at the start."""
        return sum(end - start for start, end in self.in_service) * self.granule_bytes


def end_of(zones: Iterable[Zone]) -> int:
    """The end of the highest zone, in granules."""
    return max(zone.end for zone in zones)


# ---- what is asked for, checked --------------------------------------------------------------


def _said(size: Any) -> str:
    """A size as it was given, in one line."""
    return " ".join(str(size).split())


def _quoted(start: Size, end: Size) -> str:
    return f"{_said(start)} to {_said(end)}"


def _end_max(granule_bytes: int) -> int:
    return min(GRANULES_MAX * granule_bytes, SIZE_MAX)


def _beyond(granule_bytes: int) -> str:
    most = _end_max(granule_bytes)
    larger = ", or take a larger granule" if most < SIZE_MAX else ""
    return (
        f"ends beyond all memory that granules of {format_size(granule_bytes)} can count: "
        f"end at {format_size(most)} or below{larger}"
    )


def _listed(given: Any, what: str, parts: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Each of `given` as a tuple of so many parts; at least one."""
    form = f"write [({', '.join(parts)}), ...]"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BadSpace(f"{what}s {reprlib.repr(given)}: {form}")
    listed = []
    for each in given:
        if isinstance(each, str) or not isinstance(each, Iterable):
            raise BadSpace(f"{what} {reprlib.repr(each)}: {form}")
        listed.append(tuple(each))
        if len(listed[-1]) != len(parts):
            raise BadSpace(f"{what} {reprlib.repr(listed[-1])}: {form}")
    if not listed:
        raise BadSpace(f"{what}s: there is none: {form}")
    return listed


def _extent(what: str, start: Size, end: Size, granule_bytes: int) -> tuple[int, int]:
    """(start, end) in granules."""
    first, last = parse_size(start), parse_size(end)
    said = f"{what} {_quoted(start, end)}"
    if not 0 <= first < last:
        raise BadSpace(f"{said} is empty: begin at 0 or above, and end above the start")
    if first % granule_bytes or last % granule_bytes:
        raise BadSpace(f"{said}: take multiples of the granule, {format_size(granule_bytes)}")
    if last > _end_max(granule_bytes):
        raise BadSpace(f"{said} {_beyond(granule_bytes)}")
    return first // granule_bytes, last // granule_bytes


def _zones(given: Iterable[tuple[str, Size, Size]], granule_bytes: int) -> tuple[Zone, ...]:
    """The zones in the order given."""
    zones = []
    for name, start, end in _listed(given, "zone", ("name", "start", "end")):
        said = " ".join(reprlib.repr(name).split())
        if not isinstance(name, str):
            raise BadSpace(f"zone {said}: its name is text: write (name, start, end)")
        zones.append(Zone(name, *_extent(f"zone {said}", start, end, granule_bytes)))
    for before, after in pairwise(sorted(zones, key=lambda zone: zone.start)):
        if after.start < before.end:
            raise BadSpace(
                f"zones {before.name!r} and {after.name!r} overlap "
                f"at {after.start * granule_bytes:#x}: give each address to one zone"
            )
    return tuple(zones)


def _check_held(served: list[tuple[int, int]], zones: tuple[Zone, ...], granule_bytes: int) -> None:
    """The zones, which are disjoint, hold each range whole."""
    for start, end in served:
        at = start
        for zone in sorted(zones, key=lambda zone: zone.start):
            if zone.start <= at < zone.end:
                at = zone.end
        if at < end:
            raise BadSpace(
                f"{at * granule_bytes:#x} lies in a range but in no zone: "
                "let the zones hold all ranges"
            )


def _check_joined(one: Space, other: Space) -> None:
    if one.granule_bytes != other.granule_bytes:
        raise BadSpace(
            f"{one.name} has granules of {format_size(one.granule_bytes)}, {other.name} of "
            f"{format_size(other.granule_bytes)}: make both with the same granule"
        )
    for zone, second in product(one.zones, other.zones):
        if zone.start < second.end and second.start < zone.end:
            at = max(zone.start, second.start) * one.granule_bytes
            raise BadSpace(
                f"{one.name} (zone {zone.name}) and {other.name} (zone {second.name}) overlap "
                f"at {at:#x}: let one begin elsewhere, as Space.ram(size, start=...)"
            )


def _merged(served: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ascending disjoint ranges; those that touch are one."""
    merged = served[:1]
    for start, end in served[1:]:
        if start == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)


# ---- memory maps -----------------------------------------------------------------------------


def _map_file(source: Any) -> Path:
    """The bundled map of this name, else the file."""
    maps = bundled.memory_maps()
    if isinstance(source, str) and source in maps:
        return maps[source]
    known = ", ".join(maps)
    if not isinstance(source, str | os.PathLike):
        raise BadSpace(f"memory map {reprlib.repr(source)}: give a file, or one of {known}")
    path = Path(source)
    if path.name == str(source) and not os.path.lexists(path):
        raise BadSpace(f"memory map {source!r}: no such file, and bundled is only {known}")
    return path


def _linux_zones(served: list[tuple[int, int]], granule_bytes: int) -> tuple[Zone, ...]:
    """Those of zone_sizes_init (arch/x86/mm/init.c) that have memory, as its zonelist: top down."""
    end = served[-1][1]
    edges = [0, *(min(border // granule_bytes, end) for border in (16 * MIB, 4 * GIB)), end]
    named = zip(("DMA", "DMA32", "Normal"), pairwise(edges), strict=True)
    zones = [Zone(name, *edge) for name, edge in named]
    return tuple(
        zone
        for zone in reversed(zones)
        if any(start < zone.end and zone.start < last for start, last in served)
    )
