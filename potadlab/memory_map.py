"""The memory map of a real x86 machine, from its kernel's boot log or from /proc/iomem."""

import re
from pathlib import Path

from .errors import BadSpace

_FIRMWARE = "BIOS-e820:"
# as e820__print_table (arch/x86/kernel/e820.c) writes; since Linux 7.0 with gaps, and other names
_E820 = re.compile(r"BIOS-e820: \[(mem|gap) 0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\]\s*(.*)")
# as r_show (kernel/resource.c) writes; what is inside of another is indented, and left out
_IOMEM = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.*)")
_RAM = ("usable", "System RAM")
_LOOKS = "BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable"


def read(path: Path) -> list[tuple[int, int]]:
    """(start, end) in bytes of what a boot log or /proc/iomem calls memory; ascending, disjoint.

    Lines of other kinds are passed over.  Raises BadSpace: file, line, what to do.
    """
    try:
        text = path.read_bytes().decode(errors="replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadSpace(f"{path}: cannot be read: {reason}") from None
    ranges: list[tuple[int, int]] = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{path}, line {number}"
        found = _memory(line.rstrip(), place)
        if not found:
            continue
        if ranges and found[0] < ranges[-1][1]:
            raise BadSpace(f"{place}: begins below the end of the memory above: keep one map only")
        ranges.append(found)
    if not ranges:
        raise BadSpace(f"{path}: tells of no memory: give a boot log with lines as {_LOOKS!r}")
    return ranges


def _memory(line: str, place: str) -> tuple[int, int] | None:
    """(start, end) of the memory a line tells of, None for all other lines."""
    firmware = _E820.search(line)
    if _FIRMWARE in line and not firmware:
        raise BadSpace(f"{place}: is no whole line of a memory map: they look as {_LOOKS!r}")
    if firmware:
        what, first, last, kind = firmware.groups()
    elif told := _IOMEM.fullmatch(line):
        what, (first, last, kind) = "mem", told.groups()
    else:
        return None
    if what != "mem" or kind not in _RAM:
        return None
    start, end = int(first, 16), int(last, 16) + 1
    if end == 1:
        raise BadSpace(f"{place}: every address is 0: read /proc/iomem as root")
    if start >= end:
        raise BadSpace(f"{place}: ends below its start: correct it, or leave it out")
    return start, end
