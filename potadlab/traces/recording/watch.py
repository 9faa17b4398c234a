"""This machine as it runs: what each page is used for, kept up event by event, and who asks.

Memory needed is bounded: a byte a page, a minute of rates, the few hundred owners that ask most.
What the ring buffer lost is counted; frames that lost events named are wrong until the next one.
"""

import atexit
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core import usage
from ...core.layout import NONE
from ...core.pairing import Role
from ...core.text import LINE, Op
from ...kinds import KIND
from ..cutting import page_kinds
from ..importing import gfp
from ..purpose import Kinds
from ..snapshot import FREE as FREE_PAGE
from ..snapshot import roles_of
from . import tracefs
from .machine import Memory
from .recorder import Output, comm_of, own_threads
from .stream import Stream

FREE, OUT = 255, 254  # bytes of frames without a kind
RATES_S = 60.0  # of rates are kept
_HALVED_S = 5.0  # what owners asked for counts half after so long
_OWNERS = 400
_BUFFER_BYTES = 16 << 20  # of each CPU: it is read several times a second


@dataclass
class Rate:
    """What happened up to `at_s` since the one before."""

    at_s: float
    seconds: float
    allocs: int
    frees: int
    pages: int  # allocated
    lost: int
    own: int  # allocs and frees of this process: who watches is watched too


@dataclass
class Watch:
    """Begin with `open`, then call `step` several times a second; `close` at the end.

    `owners` records the kernel's call stacks (who asks: a function), else the process is told.
    """

    owners: bool = False
    buffer_bytes: int = _BUFFER_BYTES
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    rates: deque[Rate] = field(default_factory=deque)
    asked: dict[str, float] = field(default_factory=dict)  # pages by owner, older ones count less
    allocated: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # by kind
    events: int = 0
    lost: int = 0
    now_s: float = 0.0  # since it began, by the events' clock

    def open(self, tell: Any = None) -> "Watch":
        """Record, look at the memory, and make it what it is now.  Raises CannotRecord."""
        self._stack = ExitStack()
        _compile()
        try:
            place = self._stack.enter_context(tracefs.mounted())
            self._instance = self._stack.enter_context(
                tracefs.Instance(place, self.buffer_bytes, self.owners)
            )
            stream = Stream(self._instance)
            self._instance.start()
            memory = Memory.now(tell)
            self.begin(memory, stream)
        except BaseException:
            self._stack.close()
            raise
        atexit.register(self._stack.close)
        return self

    def begin(self, memory: Memory, stream: Any) -> None:
        """From this memory on, by the events of this stream; what it holds already comes first."""
        self._stream, self.memory = stream, memory
        self._kinds, self._table = Kinds.read(), page_kinds()
        self._kind_of_stack: list[int] = []
        self._owner_of_stack: list[str] = []
        self._comms: dict[int, str] = {}
        self._kind_of_flags: dict[int, int] = {}
        self._began_ns = self._instance_now()
        self._halved_s = 0.0
        self._output: Output | None = None
        rows, _ = stream.take()
        memory.rewind(rows)
        self.frames = codes_of(memory.kinds)
        self._told = self.frames.copy()
        self._take(rows)

    def close(self) -> None:
        """Stop for good; a recording that was not finished is gone."""
        if self._output:
            self._output.__exit__(None, None, None)
            self._output = None
        self._stack.close()
        atexit.unregister(self._stack.close)

    @property
    def zones(self) -> dict[str, tuple[int, int]]:
        """[start, end) in frames by name; all of memory where they are not told."""
        found = self.memory.metadata.get("zones") or {"memory": (0, len(self.frames))}
        return {name: (int(start), int(end)) for name, (start, end) in found.items()}

    @property
    def page_bytes(self) -> int:
        return 1 << int(self.memory.metadata.get("page_shift", 12))

    # ---- what happens -----------------------------------------------------------------------

    def step(self) -> int:
        """Carry out what has happened; returns how many events that were."""
        rows, _ = self._stream.take()
        self._take(rows)
        if self._output and len(rows):
            self._output.write(rows)
        return len(rows)

    def _take(self, rows: np.ndarray) -> None:
        rows = rows[rows["op"] <= Op.FREE]
        alloc = (rows["op"] == Op.ALLOC) & (rows["pfn"] != NONE)
        kinds = np.zeros(len(rows), np.uint8)
        kinds[alloc] = self._kinds_of(rows[alloc])
        served = rows["pfn"] != NONE
        here = rows[served]
        freed = here["op"] == Op.FREE
        usage.follow(self.frames, here["pfn"], here["order"], freed, kinds[served], FREE)
        pages = np.left_shift(1, rows["order"].astype(np.int64))
        self.allocated += np.bincount(kinds[alloc], pages[alloc], 256).astype(np.int64)
        self._note_owners(rows[alloc], pages[alloc])
        self._note_rate(rows, int(np.count_nonzero(alloc)), int(pages[alloc].sum()))

    def _note_rate(self, rows: np.ndarray, allocs: int, pages: int) -> None:
        before_s, lost = self.now_s, self._lost_by_now()
        last_ns = int(rows["time_ns"][-1]) if len(rows) else 0
        self.now_s = max((max(self._instance_now(), last_ns) - self._began_ns) / 1e9, before_s)
        frees = int(np.count_nonzero(rows["op"] == Op.FREE))
        own = int(np.count_nonzero(np.isin(rows["task"], own_threads())))
        new = Rate(self.now_s, self.now_s - before_s, allocs, frees, pages, lost - self.lost, own)
        self.lost, self.events = lost, self.events + len(rows)
        self.rates.append(new)
        while self.rates[0].at_s < self.now_s - RATES_S:
            self.rates.popleft()

    def _lost_by_now(self) -> int:
        return int(self._instance.stats()["lost"])

    def _instance_now(self) -> int:
        return self._instance.now_ns()

    def _kinds_of(self, rows: np.ndarray) -> np.ndarray:
        """Kind of each alloc: by its stack, else guessed from its flags."""
        for stack in self._stream.stacks.texts[len(self._kind_of_stack) :]:
            self._kind_of_stack.append(KIND[self._kinds.of_stack(stack) or "unknown"])
            self._owner_of_stack.append(self._kinds.owner_of(stack))
        told = np.array([*self._kind_of_stack, 0], np.uint8)[rows["stack"]]
        classes = rows["gfp"].astype(np.int64) << 8 | rows["migratetype"]
        found, places = np.unique(classes, return_inverse=True)
        guessed = np.array([self._guess(int(one)) for one in found], np.uint8)
        return np.where(told != 0, told, guessed[places] if len(found) else told)

    def _guess(self, flags: int) -> int:
        if flags not in self._kind_of_flags:
            names = frozenset(name for bit, name in gfp.BITS.items() if flags >> 8 >> bit & 1)
            self._kind_of_flags[flags] = KIND[self._kinds.of_flags(names, flags & 255)]
        return self._kind_of_flags[flags]

    # ---- who asks ---------------------------------------------------------------------------

    def _note_owners(self, rows: np.ndarray, pages: np.ndarray) -> None:
        if self.now_s - self._halved_s > _HALVED_S:
            self._halved_s = self.now_s
            kept = sorted(self.asked.items(), key=lambda one: -one[1])[:_OWNERS]
            self.asked = {name: asked / 2 for name, asked in kept if asked >= 2}
        by = rows["stack"] if self.owners else rows["task"]
        found, places = np.unique(by, return_inverse=True)
        sums = np.bincount(places, pages, len(found))
        if not self.owners and any(int(pid) not in self._comms for pid in found):
            self._comms = self._stream.comms()
        for number, asked in zip(found.tolist(), sums.tolist(), strict=True):
            name = self._owner(number)
            self.asked[name] = self.asked.get(name, 0) + asked

    def _owner(self, number: int) -> str:
        if not self.owners:
            return self._comms.setdefault(number, comm_of(number))
        return self._owner_of_stack[number] if number != NONE else "no stack"

    def top(self, count: int) -> list[tuple[str, float]]:
        """(owner, share of the pages asked for of late), those who ask most."""
        whole = sum(self.asked.values()) or 1.0
        ranked = sorted(self.asked.items(), key=lambda one: (-one[1], one[0]))
        return [(name, asked / whole) for name, asked in ranked[:count]]

    # ---- what there is ----------------------------------------------------------------------

    def pages_by_kind(self) -> np.ndarray:
        """i8[256]: frames by their byte: a kind, FREE or OUT."""
        counts = np.zeros(256, np.int64)
        usage.census(self.frames, counts)
        return counts

    def free_blocks(self) -> np.ndarray:
        """i8[order]: free blocks by size, the largest aligned ones, up to Linux's order 10."""
        counts = np.zeros(11, np.int64)
        edges = np.array(list(self.zones.values()), np.int64)
        usage.free_blocks(self.frames, FREE, edges[:, 0].copy(), edges[:, 1].copy(), counts)
        return counts

    # ---- recording --------------------------------------------------------------------------

    @property
    def recording(self) -> Path | None:
        return self._output.target if self._output else None

    def record(self, target: Path, names: bool = False) -> None:
        """Write what happens from now on; the memory as it is now is its start.  OSError."""
        assert self._output is None
        self._before = self._memory_now()
        self._lost_before, self._counts_before = self.lost, self._stream.counts
        output = Output(target, self._stream, self.owners, names)
        output.__enter__()
        self._output = output

    def finish(self) -> Output:
        """End the recording: its files appear.  Raises CannotRecord, OSError; then it is gone."""
        output = self._output
        assert output
        try:
            self.step()
            read, before = self._stream.counts, self._counts_before
            names = ("stacks", "stacks_lost", "strange")
            counts = {name: read[name] - before[name] for name in names}
            counts["lost_events"] = self.lost - self._lost_before
            told = {"clock": self._instance.clock}
            output.keep(self._before, self._memory_now(), counts, told)
        finally:
            self._output = None
            output.__exit__(None, None, None)
        return output

    def _memory_now(self) -> Memory:
        """The frames as a snapshot has them; those that nothing has changed as they were read."""
        kinds = self._table[0][self.frames]
        kinds[self.frames == FREE] = FREE_PAGE
        same = self.frames == self._told
        kinds[same] = self.memory.kinds[same]
        return Memory(kinds, dict(self.memory.metadata))


def codes_of(kinds: np.ndarray) -> np.ndarray:
    """Bytes of frames (u1), of page kinds of the snapshot format."""
    roles, kind_of = roles_of()
    codes = kind_of.copy()
    codes[np.isin(roles, (Role.OUT, Role.FRESH))] = OUT
    codes[roles == Role.FREE] = FREE
    codes[kind_of == KIND["poison"]] = KIND["poison"]
    return codes[kinds]


def _compile() -> None:
    """Before anything is recorded: events would wait meanwhile."""
    frames, none = np.zeros(1, np.uint8), np.zeros(0, LINE)
    freed, kinds, edge = none["op"] == 1, np.zeros(0, np.uint8), np.zeros(1, np.int64)
    usage.follow(frames, none["pfn"], none["order"], freed, kinds, FREE)
    usage.rewind(frames, none["pfn"], none["order"], freed, FREE_PAGE, 0)
    usage.free_blocks(frames, FREE, edge, edge, np.zeros(11, np.int64))
    usage.census(frames, np.zeros(256, np.int64))
