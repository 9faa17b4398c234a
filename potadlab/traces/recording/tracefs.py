"""A tracefs instance of our own: made, set, read raw, and always removed.

Linux: Documentation/trace/ftrace.rst, "Instances".  An instance has buffers and events of its own,
so it disturbs nobody else's tracing.  Its name tells the process that made it; what a killed one
left behind is removed by the next.
"""

import ctypes
import errno
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ...core.layout import NONE
from ...core.ring import FIELD, FORMAT, STACK
from ...core.text import Op
from ...errors import CannotRecord
from ...units import MIB

MOUNT = Path("/sys/kernel/tracing")
_FILESYSTEMS, _MOUNTS, _PROCESSES = Path("/proc/filesystems"), Path("/proc/mounts"), Path("/proc")
_PREFIX = "potadlab"
SCRIPT = "or record with `potadlab record --script` on the machine in question"
_CLOCKS = ("mono", "global")  # mono can be compared with ours, and orders CPUs best (measured)
_BUFFER_LEAST = 1 * MIB

# event: what it is of ours, and its fields by our names; those in () may be missing
EVENTS: dict[str, tuple[int, dict[str, str]]] = {
    "kmem/mm_page_alloc": (
        Op.ALLOC,
        {"pfn": "pfn", "order": "order", "gfp": "gfp_flags", "migratetype": "migratetype"},
    ),
    "kmem/mm_page_free": (Op.FREE, {"pfn": "pfn", "order": "order"}),
    "cma/cma_alloc_finish": (
        Op.CLAIM,
        {"pfn": "pfn", "count": "count", "align": "align", "error": "errorno", "name": "name"},
    ),
    "cma/cma_release": (Op.RELEASE_CLAIM, {"pfn": "pfn", "count": "count", "name": "name"}),
}
NEEDED = ("kmem/mm_page_alloc", "kmem/mm_page_free")
_STACK_EVENT = "ftrace/kernel_stack"
_STACK_FIELDS = {"pfn": "caller", "count": "size"}
_NUMBER = re.compile(r"^ID: (\d+)", re.M)
_LAYOUT = re.compile(r"field:[^;]*?(\w+)(?:\[[^;]*\])?;\s*offset:(\d+);\s*size:(\d+);")


@contextmanager
def mounted() -> Iterator[Path]:
    """Where tracefs is; mounted for the while if it is not.  Raises CannotRecord."""
    if sys.byteorder != "little":
        raise CannotRecord(f"recording reads little-endian machines only: {SCRIPT}")
    with suppress(OSError):
        for line in _MOUNTS.read_text().splitlines():
            _, place, kind, *_ = line.split(" ")
            if kind == "tracefs":
                yield Path(place.encode().decode("unicode_escape"))
                return
    _check_root()
    kinds = _FILESYSTEMS.read_text() if _FILESYSTEMS.exists() else ""
    if "tracefs" not in kinds:
        raise CannotRecord(
            "this kernel has no tracefs: it was built without CONFIG_FTRACE; "
            "record on a kernel that has it"
        )
    c_library = ctypes.CDLL(None, use_errno=True)
    if c_library.mount(b"tracefs", bytes(MOUNT), b"tracefs", 0, None):
        said = os.strerror(ctypes.get_errno())
        raise CannotRecord(
            f"tracefs cannot be mounted on {MOUNT} ({said}): a container must be privileged; "
            f"mount it outside, {SCRIPT}"
        )
    try:
        yield MOUNT
    finally:
        c_library.umount2(bytes(MOUNT), 0)  # busy: somebody uses it by now, and keeps it


def _check_root() -> None:
    if os.geteuid() != 0:
        raise CannotRecord(f"recording needs root: put sudo before the command, {SCRIPT}")


class Instance:
    """An instance below `place` (tracefs); a context manager that always removes it.

    `stacks` records the kernel's call stack of each alloc.  Raises CannotRecord.
    """

    def __init__(self, place: Path, buffer_bytes: int, stacks: bool) -> None:
        self.place, self.stacks = place, stacks
        self.path = place / "instances" / f"{_PREFIX}.{os.getpid()}.{_began(os.getpid())}"
        self.buffer_bytes = buffer_bytes  # of each CPU; less if there is no room for it
        self.clock = ""
        self.cpus: list[int] = []
        self._files: list[int] = []
        self.formats = np.zeros(0, FORMAT)

    def __enter__(self) -> "Instance":
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)
        self._files = []
        _remove(self.path)

    def _make(self) -> None:
        remove_left_overs(self.place)
        try:
            self.path.mkdir()
        except OSError as error:
            if isinstance(error, PermissionError):
                _check_root()
            raise CannotRecord(
                f"{self.path}: no tracing instance can be made ({error.strerror}): "
                f"is the kernel locked down? {SCRIPT}"
            ) from None
        missing = [name for name in NEEDED if not (self.path / "events" / name).is_dir()]
        if missing:
            raise CannotRecord(
                f"this kernel has no event {', '.join(missing)}: it was built without them "
                "(CONFIG_TRACEPOINTS, CONFIG_EVENT_TRACING); record on a kernel that has them"
            )
        self._set("tracing_on", "0")
        self._choose_clock()
        self._set("options/overwrite", "0")  # a full buffer loses what is new: the start is whole
        self._grow()
        self.formats = self._read_formats()
        if self.stacks:
            self._set("events/kmem/mm_page_alloc/trigger", "stacktrace")
        found = [int(path.name[3:]) for path in (self.path / "per_cpu").glob("cpu[0-9]*")]
        self.cpus = sorted(found)
        self._files = [self._open(cpu) for cpu in self.cpus]

    def _set(self, name: str, value: str) -> None:
        """Raises CannotRecord."""
        try:
            (self.path / name).write_text(value)
        except OSError as error:
            raise CannotRecord(
                f"{self.path / name}: cannot be set to {value} ({error.strerror}): {SCRIPT}"
            ) from None

    def _choose_clock(self) -> None:
        known = re.findall(r"[\w-]+", (self.path / "trace_clock").read_text())
        clock = next((name for name in _CLOCKS if name in known), None)
        if clock is None:
            raise CannotRecord(f"this kernel has neither trace clock {' nor '.join(_CLOCKS)}")
        self._set("trace_clock", clock)
        self.clock = clock

    def _grow(self) -> None:
        """Buffers of the size that is wanted, or of the largest half of it that there is."""
        while True:
            try:
                self._set("buffer_size_kb", str(self.buffer_bytes >> 10))
                return
            except CannotRecord:
                if self.buffer_bytes < 2 * _BUFFER_LEAST:
                    raise
                self.buffer_bytes //= 2

    def _read_formats(self) -> np.ndarray:
        """FORMAT[] of the events that there are."""
        forms = []
        for name, (op, wanted) in EVENTS.items():
            path = self.path / "events" / name / "format"
            if path.exists():
                forms.append(_format(path, int(op), wanted))
        if self.stacks:
            place = self.place / "events" / _STACK_EVENT / "format"  # instances have none
            forms.append(_format(place, STACK, _STACK_FIELDS))
        return np.array(forms, FORMAT)

    def _open(self, cpu: int) -> int:
        path = self.path / "per_cpu" / f"cpu{cpu}" / "trace_pipe_raw"
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise CannotRecord(
                f"{path}: cannot be read ({error.strerror}): is the kernel locked down? {SCRIPT}"
            ) from None

    # ---- at work ----------------------------------------------------------------------------

    @property
    def page_bytes(self) -> int:
        """Of a page of the ring buffer; 4096 unless somebody chose otherwise (Linux 6.8)."""
        path = self.path / "buffer_subbuf_size_kb"
        return int(path.read_text()) << 10 if path.exists() else os.sysconf("SC_PAGE_SIZE")

    def now_ns(self) -> int:
        """The clock of the events; 0 if it cannot be read from here."""
        return time.monotonic_ns() if self.clock == "mono" else 0

    def start(self) -> None:
        for name in EVENTS:
            if (self.path / "events" / name).is_dir():
                self._set(f"events/{name}/enable", "1")
        self._set("tracing_on", "1")

    def stop(self) -> None:
        self._set("tracing_on", "0")

    def read(self, cpu: int, room: np.ndarray) -> int:
        """One page of the ring buffer of the `cpu`-th CPU; 0 if there is nothing."""
        try:
            return os.readv(self._files[cpu], [room.data])
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENODEV):
                return 0
            raise CannotRecord(f"{self.path}: cannot be read ({error.strerror})") from None

    def stats(self) -> dict[str, int]:
        """Sums over CPUs: bytes that wait, events (read or not), events lost.

        `fullest` is the largest of the bytes that wait.
        """
        sums = {"bytes": 0, "lost": 0, "fullest": 0, "entries": 0}
        for cpu in self.cpus:
            text = (self.path / "per_cpu" / f"cpu{cpu}" / "stats").read_text()
            told = dict(re.findall(r"^([\w ]+): (\d+)", text, re.M))
            sums["bytes"] += int(told.get("bytes", 0))
            sums["fullest"] = max(sums["fullest"], int(told.get("bytes", 0)))
            sums["entries"] += int(told.get("entries", 0)) + int(told.get("read events", 0))
            lost = ("overrun", "commit overrun", "dropped events")
            sums["lost"] += sum(int(told.get(name, 0)) for name in lost)
        return sums


def _format(path: Path, op: int, wanted: dict[str, str]) -> tuple[int, ...]:
    """A row of FORMAT, of an event's `format` file.  Raises CannotRecord."""
    text = path.read_text()
    number, layout = _NUMBER.search(text), {}
    for name, offset, size in _LAYOUT.findall(text):
        layout[name] = int(offset), int(size)
    lacking = [name for name in ("pfn", "count") if name in wanted and wanted[name] not in layout]
    if number is None or (op < STACK and lacking):
        raise CannotRecord(f"{path}: has no {' nor '.join(lacking)}: too old a kernel; {SCRIPT}")
    places = [layout.get(wanted.get(name, ""), (NONE, 0))[0] for name in FIELD]
    return (int(number[1]), op, *places, layout[wanted["pfn"]][1])


def remove_left_overs(place: Path) -> list[str]:
    """Remove instances whose process is gone; their names.  One that is read is busy, and stays."""
    removed = []
    with suppress(OSError):
        for path in (place / "instances").glob(f"{_PREFIX}.*"):
            _, pid, began = [*path.name.split("."), "", ""][:3]
            if pid.isdecimal() and _began(int(pid)) != began and _remove(path):
                removed.append(path.name)
    return removed


def _remove(path: Path) -> bool:
    """Whether the instance is gone; right after its files were closed it may be busy a moment."""
    for _ in range(20):
        try:
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
            time.sleep(0.02)
        else:
            return True
    return False


def _began(pid: int) -> str:
    """When a process began, in ticks since boot: with its number that is a name for good."""
    try:
        text = (_PROCESSES / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def check() -> None:
    """Raises CannotRecord, with what is missing and what to do, if nothing can be recorded here."""
    with mounted() as place, Instance(place, _BUFFER_LEAST, stacks=False):
        pass


def buffer_bytes(cpus: int) -> int:
    """For each CPU: a sixteenth of the memory to be had, 1 to 256 MiB."""
    text = Path("/proc/meminfo").read_text()
    told = re.search(r"MemAvailable: +(\d+) kB", text) or re.search(r"MemFree: +(\d+) kB", text)
    have = (int(told[1]) << 10) // 16 if told else 64 * MIB
    return max(min(have // max(cpus, 1), 256 * MIB) >> 20 << 20, _BUFFER_LEAST)
