"""Bytes at the edge, granules inside: sizes as people write them, and the Space between."""

import re
import reprlib
from dataclasses import dataclass
from fractions import Fraction

from .errors import BadSize

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SIZE_MAX = 1 << 62  # exclusive: sums of two still fit 64 bits with a sign
DIGITS_MAX = 100
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\s*", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes of "8MiB", "8 MB", "8M" or 8388608; powers of two, as kernel people mean them.

    Raises BadSize if the text is no size, not a whole number of bytes, or not below SIZE_MAX.
    """
    size, said = (Fraction(text), str(text)) if isinstance(text, int) else _read(text)
    if size >= SIZE_MAX:
        raise BadSize(f"size {said} is beyond all memory: take less than 4096PiB")
    if size.denominator != 1:
        raise BadSize(f"size {said} is not a whole number of bytes")
    return int(size)


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

    ranges: (start, end) in granules, ascending, disjoint; zones: ascending, disjoint, they hold
    all ranges and all memory that may be added later.
    """

    name: str
    granule_bytes: int
    ranges: tuple[tuple[int, int], ...]
    zones: tuple[Zone, ...]

    @classmethod
    def ram(cls, size: str | int, granule: str | int = "4KiB") -> "Space":
        """A flat space of `size` from address 0, in one zone."""
        granule_bytes, size_bytes = parse_size(granule), parse_size(size)
        if not is_power_of_two(granule_bytes) or granule_bytes < 512:
            raise BadSize(f"granule {granule}: take a power of two of at least 512 B")
        if size_bytes < granule_bytes or size_bytes % granule_bytes:
            raise BadSize(f"space {size}: take a multiple of the granule, {granule}")
        granules = size_bytes // granule_bytes
        name = format_size(size_bytes)
        return cls(name, granule_bytes, ((0, granules),), (Zone("RAM", 0, granules),))

    @property
    def granules(self) -> int:
        """End of the address range, in granules."""
        return self.zones[-1].end

    @property
    def bytes(self) -> int:
        """Bytes in service at the start."""
        return sum(end - start for start, end in self.ranges) * self.granule_bytes
