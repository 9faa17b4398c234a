"""LINE[] to the rows of a trace file, and what they sum up to: the end of every import, recording
and workload."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.layout import NONE
from ..core.text import Op
from . import parquet
from .purpose import Kinds

MIGRATETYPES = {"0": "Unmovable", "1": "Movable", "2": "Reclaimable", "3": "HighAtomic"}


class Filler:
    """Fills a trace file; texts are given before the rows that have their numbers."""

    def __init__(self, writer: parquet.TraceWriter, kinds: Kinds) -> None:
        self._writer, self._kinds = writer, kinds
        self.stacks, self.tasks = Dictionary(frames_of), Dictionary(_task_of)
        self.areas = Dictionary(str)
        self._kind_told: list[bool] = []  # by stack
        self._sums = np.zeros(8, np.int64)  # rows by op
        self._failed, self._claims_failed, self._guessed, self.order_max = 0, 0, 0, 0
        self.first_ns: int | None = None
        self._last_ns = 0
        self.fine_stamps = False

    def write(self, rows: np.ndarray, gfp_flags: np.ndarray) -> None:
        """Append LINE[] in order of time; `gfp_flags` (u4) are each row's.  Raises OSError."""
        if not len(rows):
            return
        for stack in self.stacks.texts[len(self._kind_told) :]:
            self._kind_told.append(self._kinds.of_stack(stack) is not None)
        alloc, stack = rows["op"] == Op.ALLOC, self.stacks.index[rows["stack"]]
        claims = rows["op"] >= Op.CLAIM
        count = pa.array(rows["count"].astype(np.uint32), mask=~claims)
        columns = {
            "t_ns": pa.array(rows["time_ns"]),
            "cpu": pa.array(rows["cpu"]),
            "op": pa.array(rows["op"]),
            "pfn": pa.array(rows["pfn"].view(np.uint64)),
            "order": pa.array(rows["order"]),
            "migratetype": pa.array(rows["migratetype"]),
            "gfp_flags": pa.array(gfp_flags),
            "stack": self.stacks.column(rows["stack"]),
            "count": count,
            "area": self.areas.column(rows["area"]),
            "task": self.tasks.column(rows["task"]),
        }
        self._writer.write(columns)
        self._sums += np.bincount(rows["op"], minlength=8)
        failed = rows["pfn"] == NONE
        self._failed += int(np.count_nonzero(failed & alloc))
        self._claims_failed += int(np.count_nonzero(failed & claims))
        told = np.array([*self._kind_told, False])[stack]
        self._guessed += int(np.count_nonzero(alloc & ~told))
        self.order_max = max(self.order_max, int(rows["order"][~claims].max(initial=0)))
        self.fine_stamps = self.fine_stamps or bool(np.any(rows["time_ns"] % 1000))
        if self.first_ns is None:
            self.first_ns = int(rows["time_ns"][0])
        self._last_ns = int(rows["time_ns"][-1])

    @property
    def events(self) -> int:
        return int(self._sums.sum())

    @property
    def pages_asked(self) -> bool:
        """Whether there is an alloc or free at all, without which it is no trace."""
        return bool(self._sums[: Op.FREE + 1].any())

    @property
    def duration_s(self) -> float:
        return (self._last_ns - (self.first_ns or 0)) / 1e9

    def counts(self) -> dict[str, int]:
        """Of the rows, by what they are."""
        return {
            "allocates": int(self._sums[Op.ALLOC]) - self._failed,
            "releases": int(self._sums[Op.FREE]),
            "failed": self._failed,
            "claims": int(self._sums[Op.CLAIM]),
            "claims_failed": self._claims_failed,
            "claims_released": int(self._sums[Op.RELEASE_CLAIM]),
            "kinds_guessed": self._guessed,
        }

    def metadata(self) -> dict[str, Any]:
        """Of the trace file (see parquet.py): what the rows tell."""
        return {
            "events": self.events,
            "duration_s": self.duration_s,
            "max_order": max(self.order_max, 10),
        }


class Dictionary:
    """Interned texts by number, as a column's dictionary: cleaned, so that equal ones are one."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self.texts: list[str] = []
        self.index = np.full(1, NONE, np.int32)  # by number; the last is of NONE
        self._clean = clean
        self._place: dict[str, int] = {}

    def take(self, texts: list[str]) -> None:
        """Take the texts that are new since the last call."""
        new = [self._clean(text) for text in texts[len(self.index) - 1 :]]
        if not new:
            return
        for text in new:
            if text and text not in self._place:
                self._place[text] = len(self.texts)
                self.texts.append(text)
        places = [self._place.get(text, NONE) for text in new]
        self.index = np.array([*self.index[:-1], *places, NONE], np.int32)

    def column(self, numbers: np.ndarray) -> pa.DictionaryArray:
        """The texts of these numbers; NONE is null."""
        index = self.index[numbers]
        return pa.DictionaryArray.from_arrays(
            pa.array(index, mask=index == NONE), pa.array(self.texts, pa.string())
        )


_OF_TRACING = re.compile(r"trace_event_|__traceiter_|perf_trace_|perf_tp_|__bpf_trace_|\[unknown\]")


def frames_of(stack: str) -> str:
    """A stack without the functions that recorded it, and without those that have no name."""
    return ";".join(name for name in stack.split(";") if name and not _OF_TRACING.match(name))


_TASK = re.compile(r"(?:\S+: +)?(.*?)[ -]+(\d+)(?:/\d+)?(?: +\([ \d-]+\))?\s*")


def _task_of(text: str) -> str:
    """Of what stands before the cpu ("task-0", "task     0", "inst: task-0 (  7)"): "task-0"."""
    task = _TASK.fullmatch(text) if len(text) < 256 else None
    return f"{task[1]}-{task[2]}" if task else text[:256].strip()
