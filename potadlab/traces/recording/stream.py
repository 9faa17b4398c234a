"""Events of an instance as they happen: LINE[] in order of time over all CPUs."""

from bisect import bisect_right
from contextlib import suppress
from pathlib import Path

import numpy as np

from ...core import ring
from ...core.layout import NONE
from ...core.ring import RING, Ring
from ...core.text import LINE, WAITING
from ...errors import CannotRecord
from ..importing.lines import Texts
from .tracefs import Instance

_PAGES = 64  # read before they are decoded
_ROUND_PAGES = 4096  # of a CPU at a time: what waits to be merged stays small
_LATE_NS = 1_000_000  # an event may be written so long after it took its time, and not longer
_KALLSYMS = Path("/proc/kallsyms")


class Stream:
    """Reads an instance; `take` gives what has happened since the last time."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        symbols = Symbols() if instance.stacks else None
        self.stacks = Texts(decode=symbols.stack_of if symbols else str)
        self.areas = Texts(decode=lambda words: _bytes_of(words).decode("utf-8", "replace"))
        page = instance.page_bytes
        self._data = np.zeros(_PAGES * page + ring.SLACK, np.uint8)
        self._words = np.zeros(_PAGES * page // 8, np.uint64)
        self._cpus = [_Cpu(number, page) for number in instance.cpus]
        if self._cpus:  # compiled now, and not while events wait
            ring.decode(self._state(self._cpus[0]), self._data, 0, page, 0)

    def take(self, final: bool = False) -> tuple[np.ndarray, bool]:
        """(LINE[], whether that was all there was); what may be overtaken waits unless `final`."""
        now_ns = self._instance.now_ns()
        newest, empty = [], True
        for place, cpu in enumerate(self._cpus):
            drained = self._drain(place, cpu)
            empty &= drained
            if not drained:
                newest.append(cpu.last_ns)
            elif not final:
                newest.append(now_ns - _LATE_NS if now_ns else cpu.last_ns)
        until_ns = min(newest, default=np.iinfo(np.int64).max)
        parts = [cpu.give(until_ns) for cpu in self._cpus]
        rows = np.concatenate(parts)
        return rows[np.argsort(rows["time_ns"], kind="stable")], empty

    def _drain(self, place: int, cpu: "_Cpu") -> bool:
        """Read one CPU; whether it is empty."""
        page = self._instance.page_bytes
        for _ in range(_ROUND_PAGES // _PAGES):
            pages = 0
            while pages < _PAGES:
                room = self._data[pages * page : (pages + 1) * page]
                if not self._instance.read(place, room):
                    break
                pages += 1
            self._decode(cpu, pages)
            if pages < _PAGES:
                return True
        return False

    def _state(self, cpu: "_Cpu") -> Ring:
        formats, stacks, areas = self._instance.formats, self.stacks.table, self.areas.table
        return Ring(formats, cpu.rows, stacks, areas, self._words, cpu.waiting, cpu.now)

    def _decode(self, cpu: "_Cpu", pages: int) -> None:
        page, taken = self._instance.page_bytes, 0
        cpu.make_room(pages)
        while taken < pages:
            data = self._data[taken * page :]
            taken += ring.decode(self._state(cpu), data, pages - taken, page, cpu.number)
            self.stacks.take(self._words)
            self.areas.take(self._words)
            cpu.now["words"] = 0

    @property
    def cpus(self) -> int:
        return len(self._cpus)

    def comms(self) -> dict[int, str]:
        """Names of processes by number, as far as the kernel has kept them."""
        found = {}
        with suppress(OSError, ValueError):
            text = (self._instance.place / "saved_cmdlines").read_text(errors="replace")
            for line in text.splitlines():
                pid, _, name = line.strip().partition(" ")
                found[int(pid)] = name
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Of all that was decoded so far: see RING."""
        names = ("events", "stacks", "stacks_lost", "strange", "other", "failed")
        return {name: sum(int(cpu.now[name][0]) for cpu in self._cpus) for name in names}


class _Cpu:
    """What was decoded of one CPU and waits for the others."""

    def __init__(self, number: int, page_bytes: int) -> None:
        self.number = number
        self._page_rows = page_bytes // ring.EVENT_BYTES
        self.rows = np.zeros(2 * _PAGES * self._page_rows, LINE)
        self.waiting = np.full((1, WAITING), NONE, np.int64)
        self.now = np.zeros(1, RING)

    def make_room(self, pages: int) -> None:
        wanted = int(self.now["rows"][0]) + pages * self._page_rows
        if wanted > len(self.rows):
            rows = np.zeros(max(wanted, 2 * len(self.rows)), LINE)
            rows[: len(self.rows)] = self.rows
            self.rows = rows

    @property
    def last_ns(self) -> int:
        count = int(self.now["rows"][0])
        return int(self.rows["time_ns"][count - 1]) if count else 0

    def give(self, until_ns: int) -> np.ndarray:
        """The rows before that time, which are here no more."""
        count = int(self.now["rows"][0])
        ready = int(np.searchsorted(self.rows["time_ns"][:count], until_ns))
        given = self.rows[:ready].copy()
        self.rows[: count - ready] = self.rows[ready:count].copy()
        self.now["rows"] = count - ready
        self.waiting -= ready
        self.waiting[self.waiting < 0] = NONE
        return given


class Symbols:
    """The kernel's functions by address, of /proc/kallsyms.  Raises CannotRecord.

    Of several names for one address the first, as the kernel prints it (kernel/kallsyms.c:
    get_symbol_pos).
    """

    def __init__(self, path: Path = _KALLSYMS) -> None:
        named: dict[int, str] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            address, kind, name = line.split()[:3]
            if kind in "tTwW":
                named.setdefault(int(address, 16), name)
        self._addresses = sorted(named)
        if not any(self._addresses):
            raise CannotRecord(
                f"{path}: does not tell the kernel's functions, which --owners needs: "
                "set kernel.kptr_restrict to 0 or 1, as root (sysctl)"
            )
        self._names = [named[address] for address in self._addresses]

    def stack_of(self, addresses: np.ndarray) -> str:
        """ "innermost;...;outermost"."""
        return ";".join(filter(None, map(self._name, addresses.tolist())))

    def _name(self, address: int) -> str:
        place = bisect_right(self._addresses, address) - 1
        return self._names[place] if place >= 0 else ""


def _bytes_of(words: np.ndarray) -> bytes:
    return words.tobytes().rstrip(b"\0")
