"""One recording of this machine: before, the events, after.

The buffers are large and nobody reads them while little is in them: reading costs the recorded
machine time and pages.  Recording begins before the memory is looked at, which takes a second and
is no moment; the snapshot is then rewound by what happened meanwhile, so it is the first event's.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ...core.layout import NONE
from ...core.text import Op
from ...errors import CannotRecord, PotadError
from .. import parquet
from ..filling import MIGRATETYPES, Filler
from ..importing import gfp
from ..purpose import Kinds
from ..trace import Progress
from . import tracefs
from .machine import PROC, Memory
from .stream import Stream

_LOOK_S = 0.05  # between looks at the buffers and at the command
_FULL = 0.25  # a buffer filled by so much is read
_GRACE_S = 5.0  # for a command that was asked to end


@dataclass(frozen=True)
class Recorded:
    """What a recording came to."""

    path: Path
    before: Path
    after: Path
    duration_s: float
    work_s: float  # when the command, or the time that was asked for, began
    counts: dict[str, int]
    buffer_bytes: int
    exit_code: int | None  # of the command
    left_overs: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `record --json`."""
        return {
            "path": str(self.path),
            "before": str(self.before),
            "after": str(self.after),
            "duration_s": self.duration_s,
            "work_s": self.work_s,
            "counts": self.counts,
            "buffer_bytes": self.buffer_bytes,
            "exit_code": self.exit_code,
            "left_overs": list(self.left_overs),
        }

    def words(self) -> list[str]:
        """What people should know, a line each; the first says what was made."""
        counts = self.counts
        said = [
            f"{self.path}: {counts['allocates']:,} allocs and {counts['releases']:,} frees "
            f"in {self.duration_s:.3f} s; the memory before and after: "
            f"{self.before.name}, {self.after.name}"
        ]
        said.append(
            f"{counts['lost_events']:,} events lost: the buffers were full; "
            "what follows a gap is repaired as well as it can be (--buffer takes a size)"
            if counts["lost_events"]
            else "no event was lost"
        )
        said += [f"{counts[name]:,} {words}" for name, words in _SAID.items() if counts.get(name)]
        said += [f"left behind by a killed run, and removed: {name}" for name in self.left_overs]
        if self.exit_code:
            said.append(f"the command ended with {self.exit_code}")
        return said


_SAID = {
    "failed": "allocs failed",
    "claims": "contiguous claims (cma)",
    "claims_failed": "of them failed",
    "stacks": "call stacks",
    "stacks_lost": "call stacks left out: their alloc is not there",
    "strange": "events left out: they cannot be",
    "own": "events are the recorder's own",
    "untraced_pages": "pages more were allocated than Linux has events for (bulk allocation)",
}


def record(
    target: str | Path,
    seconds: float | None = None,
    command: Sequence[str] = (),
    owners: bool = False,
    names: bool = False,
    buffer_bytes: int | None = None,
    progress: Progress | None = None,
) -> Recorded:
    """Record this machine's page allocations to `target`, NAME.parquet.

    For so many seconds, or while the command runs, or until interrupted (Ctrl-C, SIGTERM), which
    ends every recording well; a second time, it is given up.  The memory before and after goes
    beside it: NAME.before.parquet, NAME.after.parquet.  `owners` records the kernel's call stacks,
    `names` the names and numbers of processes.  `buffer_bytes` is for each CPU; without it, a
    sixteenth of the memory to be had, for all.  The files appear when all are whole.

    Raises CannotRecord (what is missing, what to do), PotadError; OSError where a file cannot be
    written.
    """
    if command and shutil.which(command[0]) is None:
        raise PotadError(f"{command[0]}: no such command: nothing was recorded")
    tell = progress or (lambda share, what: None)
    with ExitStack() as stack:
        place = stack.enter_context(tracefs.mounted())
        left = tracefs.remove_left_overs(place)
        size = buffer_bytes or tracefs.buffer_bytes(os.cpu_count() or 1)
        recording = _Recording(Path(target), owners, names, tell, left)
        stack.enter_context(recording.files())
        instance = stack.enter_context(tracefs.Instance(place, size, owners))
        recording.run(instance, seconds, command)
        return recording.recorded(instance)


class _Recording:
    """One recording under way."""

    def __init__(
        self, target: Path, owners: bool, names: bool, tell: Progress, left: list[str]
    ) -> None:
        self._target, self._tell, self._left = target, tell, tuple(left)
        self._owners, self._names = owners, names
        stem = target.name.removesuffix(".parquet")
        self._beside = {
            when: target.with_name(f"{stem}.{when}.parquet") for when in ("before", "after")
        }
        self._began = datetime.now(UTC).isoformat(timespec="microseconds")
        self._comms: dict[int, str] = {}  # by process
        self._tasks: dict[tuple[int, str], int] = {}
        self._own = self._pages = 0
        self._lost = self._untraced = 0
        self._work_s = 0.0
        self._start_ns = 0
        self._exit_code: int | None = None
        self._counted: dict[str, int] = {}

    @contextmanager
    def files(self) -> Iterator[None]:
        with parquet.TraceWriter(self._target, self._names) as self._writer:
            self._filler = Filler(self._writer, Kinds.read())
            yield

    def run(
        self, instance: tracefs.Instance, seconds: float | None, command: Sequence[str]
    ) -> None:
        self._instance, self._stream = instance, Stream(instance)
        before, pages = self._begin()
        with _signals():
            try:
                self._exit_code = self._work(seconds, command)
            except KeyboardInterrupt:
                self._tell(0.0, "stopping")
        instance.stop()
        self._untraced = max(_pages_allocated() - pages, 0)
        self._write(final=True)
        self._lost = instance.stats()["lost"]
        self._untraced = max(self._untraced - self._pages, 0)
        if not self._filler.pages_asked:
            raise CannotRecord("nothing was recorded: no page was allocated meanwhile")
        self._tell(1.0, "looking at the memory")
        self._keep(before, Memory.now())

    def _begin(self) -> tuple[Memory, int]:
        """Record, look at the memory, and make of it what it was at the first event."""
        pages = _pages_allocated()
        self._start_ns = time.monotonic_ns()
        self._instance.start()
        before = Memory.now(self._tell)
        rows = self._write()
        before.rewind(rows)
        self._work_s = (time.monotonic_ns() - self._start_ns) / 1e9
        return before, pages

    # ---- while it records -------------------------------------------------------------------

    def _work(self, seconds: float | None, command: Sequence[str]) -> int | None:
        """Until it is over; the exit code of the command."""
        child = _started(command)
        began = time.monotonic()
        try:
            while True:
                passed = time.monotonic() - began
                if child is not None and child.poll() is not None:
                    return child.returncode
                if seconds is not None and passed >= seconds:
                    return _ended(child)
                self._look(passed, seconds)
                left = _LOOK_S if seconds is None else min(_LOOK_S, seconds - passed)
                if child is None:
                    time.sleep(max(left, 0))
                else:
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(max(left, 0.001))
        except KeyboardInterrupt:
            _ended(child)
            raise

    def _look(self, passed_s: float, seconds: float | None) -> None:
        """Read the buffers if there is much in them; tell how far we are."""
        stats = self._instance.stats()
        if stats["fullest"] > _FULL * self._instance.buffer_bytes:
            self._write()
        lost = f", {stats['lost']:,} lost" if stats["lost"] else ""
        share = min(passed_s / seconds, 1.0) if seconds else 0.0
        self._tell(share, f"recording: {passed_s:.0f} s, {stats['entries']:,} events{lost}")

    def _write(self, final: bool = False) -> np.ndarray:
        """Take what there is and write it; the rows, of the first call only."""
        first: list[np.ndarray] = []
        empty = False
        while not empty:
            rows, empty = self._stream.take(final)
            if not self._filler.events:
                first.append(rows)
            self._write_rows(rows)
        if final:
            self._write_rows(self._stream.take(final)[0])
        return np.concatenate(first) if first else np.zeros(0, np.uint8)

    def _write_rows(self, rows: np.ndarray) -> None:
        self._filler.stacks.take(self._stream.stacks.texts)
        self._filler.areas.take(self._stream.areas.texts)
        self._own += int(np.count_nonzero(np.isin(rows["task"], _threads())))
        alloc = (rows["op"] == Op.ALLOC) & (rows["pfn"] != NONE)
        self._pages += int(np.left_shift(1, rows["order"][alloc].astype(np.int64)).sum())
        flags = np.where(rows["gfp"] == NONE, 0, rows["gfp"]).astype(np.uint32)
        rows["task"] = self._numbers_of(rows["task"]) if self._names else NONE
        self._filler.write(rows, flags)

    def _numbers_of(self, pids: np.ndarray) -> np.ndarray:
        """Numbers of "name-pid" of processes, which the file's column has."""
        found, places = np.unique(pids, return_inverse=True)
        with suppress(OSError):
            for line in (self._instance.place / "saved_cmdlines").read_text().splitlines():
                pid, _, name = line.strip().partition(" ")
                self._comms[int(pid)] = name
        numbers = []
        for pid in found.tolist():
            with suppress(OSError):
                self._comms.setdefault(pid, (PROC / f"{pid}/comm").read_text().strip())
            key = pid, self._comms.get(pid, "<idle>" if pid == 0 else "<...>")
            numbers.append(self._tasks.setdefault(key, len(self._tasks)))
        self._filler.tasks.take([f"{name}-{pid}" for pid, name in self._tasks])
        return np.array(numbers, np.int32)[places]

    # ---- the end ----------------------------------------------------------------------------

    def _keep(self, before: Memory, after: Memory) -> None:
        """All files are written; then all get their names."""
        self._counted = self._counts()
        more = {"recording": self._began}
        with ExitStack() as stack:
            drafts = []
            for when, memory in (("before", before), ("after", after)):
                draft = memory.draft(self._beside[when], more)
                stack.callback(draft.drop)
                drafts.append(draft)
            self._writer.keep(self._metadata(before))
            for draft in drafts:
                draft.keep()

    def _counts(self) -> dict[str, int]:
        read = self._stream.counts
        return {
            **self._filler.counts(),
            "lost_events": self._lost,
            "stacks": read["stacks"],
            "stacks_lost": read["stacks_lost"],
            "strange": read["strange"],
            "own": self._own,
            "untraced_pages": self._untraced,
        }

    def _metadata(self, before: Memory) -> dict[str, Any]:
        told = self._filler.metadata() | {
            "name": self._target.name.removesuffix(".parquet"),
            "recorded": "tracefs: kmem:mm_page_alloc, kmem:mm_page_free"
            + (", stacks of allocs" if self._owners else ""),
            "recording": self._began,
            "clock": self._instance.clock,
            "kernel": platform.release(),
            "machine": {
                "architecture": platform.machine(),
                "cpus": os.cpu_count(),
                "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            },
            "cpus": len(self._instance.cpus),
            "page_shift": before.metadata["page_shift"],
            "gfp_bits": {str(bit): name for bit, name in gfp.BITS.items()},
            "migratetype": MIGRATETYPES,
            "dropped_events": self._lost,
            "import": {name: count for name, count in self._counted.items() if count},
            "work_begins_s": self._work_s,
        }
        if "zones" in before.metadata:
            told["zones"] = before.metadata["zones"]
        return told

    def recorded(self, instance: tracefs.Instance) -> Recorded:
        return Recorded(
            path=self._target,
            before=self._beside["before"],
            after=self._beside["after"],
            duration_s=self._filler.duration_s,
            work_s=self._work_s,
            counts=self._counted,
            buffer_bytes=instance.buffer_bytes,
            exit_code=self._exit_code,
            left_overs=self._left,
        )


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends a recording as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _started(command: Sequence[str]) -> subprocess.Popen | None:
    if not command:
        return None
    try:
        return subprocess.Popen(command)
    except OSError as error:
        raise PotadError(f"{command[0]}: cannot be run ({error.strerror})") from None


def _ended(child: subprocess.Popen | None) -> int | None:
    """End a command that still runs: as Ctrl-C would, then harder."""
    if child is None:
        return None
    for ask in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            child.send_signal(ask)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                child.wait(_GRACE_S)
    return child.returncode


def _threads() -> list[int]:
    """Numbers of this process's threads: a recorder is recorded too."""
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc/self/task")]
    return [os.getpid()]


def _pages_allocated() -> int:
    """Since boot, by Linux's own count (vmstat pgalloc_*)."""
    with suppress(OSError):
        text = (PROC / "vmstat").read_text()
        return sum(map(int, re.findall(r"^pgalloc_\w+ (\d+)", text, re.M)))
    return 0
