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
from ...core.text import LINE, Op
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
    work_s: float  # after the first event the command, or the time that was asked for, began
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
            f"{self.before.name}, {self.after.name}",
        ]
        if self.work_s:  # of another clock it cannot be told
            said.append(
                f"the first {self.work_s:.3f} s of it are the look at the memory before: "
                f"`potadlab cut --from {self.work_s:.3f}s` leaves them out"
            )
        said.append(
            f"{counts['lost_events']:,} events lost: the buffers were full; "
            "what follows a gap is repaired as well as it can be (--buffer takes a size)"
            if counts["lost_events"]
            else "no event was lost"
        )
        said += [f"{counts[name]:,} {words}" for name, words in _SAID.items() if counts.get(name)]
        said += [f"left behind by a killed run, and removed: {name}" for name in self.left_overs]
        return said


_SAID = {
    "failed": "allocs failed",
    "claims": "contiguous claims (cma)",
    "claims_failed": "of them failed",
    "stacks": "call stacks",
    "stacks_lost": "call stacks left out: their alloc is not there",
    "strange": "events left out: they cannot be",
    "own": "events are the recorder's own",
    "untraced_pages": "pages more were allocated: lost, or in bulk, which has no events",
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
        instance = stack.enter_context(tracefs.Instance(place, size, owners))
        stream = Stream(instance)
        output = stack.enter_context(Output(Path(target), stream, owners, names))
        recording = _Recording(instance, stream, output, tell)
        recording.run(seconds, command)
    return Recorded(
        path=output.target,
        before=output.beside["before"],
        after=output.beside["after"],
        duration_s=output.filler.duration_s,
        work_s=recording.work_s,
        counts=output.counts,
        buffer_bytes=instance.buffer_bytes,
        exit_code=recording.exit_code,
        left_overs=tuple(left),
    )


class Output:
    """The files of a recording: rows go to the trace as they come, all get their names at the end.

    A context manager: what was not kept is gone.  `owners` and `names` as of `record`.
    """

    def __init__(self, target: Path, stream: Stream, owners: bool, names: bool) -> None:
        self.target, self._stream = target, stream
        self._owners, self._names = owners, names
        stem = target.name.removesuffix(".parquet")
        self.beside = {
            when: target.with_name(f"{stem}.{when}.parquet") for when in ("before", "after")
        }
        self._began = datetime.now(UTC).isoformat(timespec="microseconds")
        self._writer = parquet.TraceWriter(target, names)
        self.filler = Filler(self._writer, Kinds.read())
        self._comms: dict[int, str] = {}  # by process
        self._tasks: dict[tuple[int, str], int] = {}
        self.own = self.pages = 0
        self.counts: dict[str, int] = {}

    def __enter__(self) -> "Output":
        self._writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def write(self, rows: np.ndarray) -> None:
        """Append rows of the stream.  Raises OSError."""
        self.filler.stacks.take(self._stream.stacks.texts)
        self.filler.areas.take(self._stream.areas.texts)
        self.own += int(np.count_nonzero(np.isin(rows["task"], own_threads())))
        alloc = (rows["op"] == Op.ALLOC) & (rows["pfn"] != NONE)
        self.pages += int(np.left_shift(1, rows["order"][alloc].astype(np.int64)).sum())
        flags = np.where(rows["gfp"] == NONE, 0, rows["gfp"]).astype(np.uint32)
        rows = rows.copy()
        rows["task"] = self._numbers_of(rows["task"]) if self._names else NONE
        self.filler.write(rows, flags)

    def _numbers_of(self, pids: np.ndarray) -> np.ndarray:
        """Numbers of "name-pid" of processes, which the file's column has."""
        found, places = np.unique(pids, return_inverse=True)
        self._comms.update(self._stream.comms())
        numbers = []
        for pid in found.tolist():
            key = pid, self._comms.get(pid) or comm_of(pid)
            numbers.append(self._tasks.setdefault(key, len(self._tasks)))
        self.filler.tasks.take([f"{name}-{pid}" for pid, name in self._tasks])
        return np.array(numbers, np.int32)[places]

    def keep(
        self, before: Memory, after: Memory, counts: dict[str, int], told: dict[str, Any]
    ) -> None:
        """All files are written; then all get their names.  Raises CannotRecord, OSError.

        `counts` go to the trace's `import`, `told` to its metadata.
        """
        if not self.filler.pages_asked:
            raise CannotRecord("nothing was recorded: no page was allocated meanwhile")
        self.counts = self.filler.counts() | {"own": self.own} | counts
        more = {"recording": self._began}
        with ExitStack() as stack:
            drafts = []
            for when, memory in (("before", before), ("after", after)):
                draft = memory.draft(self.beside[when], more)
                stack.callback(draft.drop)
                drafts.append(draft)
            self._writer.keep(self._metadata(before) | told)
            for draft in drafts:
                draft.keep()

    def _metadata(self, before: Memory) -> dict[str, Any]:
        told = self.filler.metadata() | {
            "name": self.target.name.removesuffix(".parquet"),
            "recorded": "tracefs: kmem:mm_page_alloc, kmem:mm_page_free"
            + (", stacks of allocs" if self._owners else ""),
            "recording": self._began,
            "kernel": platform.release(),
            "machine": {
                "architecture": platform.machine(),
                "cpus": os.cpu_count(),
                "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            },
            "cpus": self._stream.cpus,
            "page_shift": before.metadata["page_shift"],
            "gfp_bits": {str(bit): name for bit, name in gfp.BITS.items()},
            "migratetype": MIGRATETYPES,
            "dropped_events": self.counts["lost_events"],
            "import": {name: count for name, count in self.counts.items() if count},
        }
        if "zones" in before.metadata:
            told["zones"] = before.metadata["zones"]
        return told


class _Recording:
    """One recording under way."""

    def __init__(
        self, instance: tracefs.Instance, stream: Stream, output: Output, tell: Progress
    ) -> None:
        self._instance, self._stream = instance, stream
        self._output, self._tell = output, tell
        self.work_s = 0.0
        self.exit_code: int | None = None

    def run(self, seconds: float | None, command: Sequence[str]) -> None:
        pages = pages_allocated()
        before = self._begin()
        with _signals() as came:
            self.exit_code = self._work(seconds, command, came)
        self._instance.stop()
        pages = pages_allocated() - pages
        self._tell(1.0, "looking at the memory")
        after = Memory.now()  # at once: the machine goes on, and events of it are told no more
        self._write(final=True)
        counts = {
            "lost_events": self._instance.stats()["lost"],
            "untraced_pages": max(pages - self._output.pages, 0),
        }
        read = self._stream.counts
        counts |= {name: read[name] for name in ("stacks", "stacks_lost", "strange")}
        told = {"clock": self._instance.clock, "work_begins_s": self.work_s}
        self._output.keep(before, after, counts, told)

    def _begin(self) -> Memory:
        """Record, look at the memory, and make of it what it was at the first event."""
        self._instance.start()
        before = Memory.now(self._tell)
        before.rewind(self._write())
        first_ns, now_ns = self._output.filler.first_ns, self._instance.now_ns()
        self.work_s = max(now_ns - first_ns, 0) / 1e9 if first_ns is not None else 0.0
        return before

    def _work(self, seconds: float | None, command: Sequence[str], came: list[int]) -> int | None:
        """Until it is over or a signal came; the exit code of a command that ended by itself."""
        child = _started(command)
        began = time.monotonic()
        try:
            while not came:
                passed = time.monotonic() - began
                if child is not None and child.poll() is not None:
                    return child.returncode
                if seconds is not None and passed >= seconds:
                    break
                self._look(passed, seconds)
                left = _LOOK_S if seconds is None else min(_LOOK_S, seconds - passed)
                if child is None:
                    time.sleep(max(left, 0))
                else:
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(max(left, 0.001))
        except BaseException:
            _ended(child)
            raise
        self._tell(1.0, "stopping")
        _ended(child)
        return None

    def _look(self, passed_s: float, seconds: float | None) -> None:
        """Read the buffers if there is much in them; tell how far we are."""
        stats = self._instance.stats()
        if stats["fullest"] > _FULL * self._instance.buffer_bytes:
            self._write()
        lost = f", {stats['lost']:,} lost" if stats["lost"] else ""
        share = min(passed_s / seconds, 1.0) if seconds else 0.0
        self._tell(share, f"recording: {passed_s:.0f} s, {stats['entries']:,} events{lost}")

    def _write(self, final: bool = False) -> np.ndarray:
        """Take all that there is and write it; it is given back until something was written."""
        parts, empty, first = [], False, not self._output.filler.events
        while not empty:
            rows, empty = self._stream.take(final)
            self._output.write(rows)
            parts += [rows] if first else []
        return np.concatenate(parts) if parts else np.zeros(0, LINE)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that came: Ctrl-C and SIGTERM are noted, so that they hit no half-started
    command; another one raises KeyboardInterrupt.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _started(command: Sequence[str]) -> subprocess.Popen | None:
    if not command:
        return None
    try:
        return subprocess.Popen(command)
    except OSError as error:
        raise PotadError(f"{command[0]}: cannot be run ({error.strerror})") from None


def _ended(child: subprocess.Popen | None) -> None:
    """End a command that still runs: as Ctrl-C would, then harder."""
    for ask in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child is not None and child.poll() is None:
            child.send_signal(ask)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                child.wait(_GRACE_S)


def own_threads() -> list[int]:
    """Numbers of this process's threads: a recorder is recorded too."""
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc/self/task")]
    return [os.getpid()]


def comm_of(pid: int) -> str:
    """The name of a process that still lives, as ftrace would print it."""
    with suppress(OSError):
        return (PROC / f"{pid}/comm").read_text(errors="replace").strip()
    return "<idle>" if pid == 0 else "<...>"


def pages_allocated() -> int:
    """Since boot, by Linux's own count (vmstat pgalloc_*)."""
    with suppress(OSError):
        text = (PROC / "vmstat").read_text()
        return sum(map(int, re.findall(r"^pgalloc_\w+ (\d+)", text, re.M)))
    return 0
