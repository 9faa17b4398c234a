"""Text in pieces -> rows: the scanner's arrays, and the lines that it leaves to Python."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...core import text as core
from ...core.layout import NONE
from ...core.text import LINE, NOW, ODD, SPAN, Interned, Reason, Scanner

HELD = 1 << 12  # rows kept back, so that one that comes late finds its place
SHOWN = 5  # numbers of damaged lines that are told
_LINE_BYTES = 4096  # longer ones are none that the tools print
_ROWS, _ODD, _TEXTS = 1 << 17, 1 << 14, 1 << 10

_DAMAGE = {
    Reason.NO_EVENT: "no event can be read",
    Reason.STAMP: "its stamp is beyond 292 years",
    Reason.PFN: "pfn= is missing or beyond 2**36",
    Reason.ORDER: f"order= is missing or above {core.ORDER_MAX}",
    Reason.ALIGNMENT: "pfn is not aligned to its order",
    Reason.COUNT: "count= of a claim is missing or absurd",
}
_NO_STAMP = "no stamp in seconds: record with the trace clock mono, print the time"
_EVENT = r"(?:\w+:)?(?:mm_page_alloc|mm_page_free|mm_page_free_direct|cma_\w+): "
_HAS_EVENT = re.compile(_EVENT.encode())
_HEADER = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})")
_KERNEL = re.compile(rb"# os release : (\S{1,80})")
_LOST = re.compile(
    rb"CPU:\s*\d+ "
    rb"\[(?:LOST (\d{1,15}) EVENTS|(\d{1,15}) EVENTS DROPPED|LOST EVENTS|EVENTS DROPPED)\]"
    rb"|.*\bPERF_RECORD_LOST(?:_SAMPLES)? (?:lost )?(\d{1,15})"
)
_OF_THE_TOOL = re.compile(  # what trace-cmd, perf and function_graph print besides
    rb"#|cpus=\d+|version = \d+|CPU \d+ is empty|\.\.\.|\s*-+$"
    rb"|\s*(?:\d+\.\d+\s*\|\s*)?\d+\)[ |]|\s*=> <?[0-9a-f]|.*PERF_RECORD_"
)
_GRAPH = re.compile(  # function_graph with funcgraph-abstime: events stand in comments
    rb"\s*(\d+\.\d+) *\| *(\d+)\).*/\* (" + _EVENT.encode() + rb".*?) *\*/\s*"
)


@dataclass
class Found:
    """What the text held besides rows."""

    lines: int = 0
    damaged: int = 0
    damaged_lines: list[tuple[int, str]] = field(default_factory=list)  # the first SHOWN
    lost_lines: int = 0  # by LOST lines: events
    lost_header: int = 0  # by the header: written and no longer in the buffer
    losses: int = 0  # LOST lines that say how many, and such that do not
    went_back: int = 0  # rows later than the next, beyond what HELD can order
    kernel: str = ""


class Texts:
    """Interned texts: the scanner's table and, by number, what Python makes of each."""

    def __init__(
        self, wanted: bool = True, decode: Callable[[np.ndarray], str] | None = None
    ) -> None:
        """`decode` makes a text of what a span means; bytes of UTF-8 if it is not given."""
        self._decode = decode or _text_of
        count = _TEXTS if wanted else 0
        self.table = Interned(
            np.zeros(2 * count, np.int32), np.zeros(count, SPAN), np.zeros(1, np.int64)
        )
        self.texts: list[str] = []

    def take(self, place: np.ndarray) -> list[str]:
        """Decode those that are new, from the bytes that their spans mean; they are returned."""
        new = [
            self._decode(place[span["start"] : span["end"]])
            for span in self.table.spans[len(self.texts) : self.table.count[0]]
        ]
        self.texts += new
        if 2 * len(self.texts) > len(self.table.spans) > 0:
            self._grow()
        return new

    def _grow(self) -> None:
        """Twice the room; numbers stay."""
        known, old = len(self.texts), self.table
        self.table = Interned(
            np.zeros(2 * len(old.slots), np.int32),
            np.zeros(2 * len(old.spans), SPAN),
            np.zeros(1, np.int64),
        )
        for span in old.spans[:known]:
            core.intern(self.table, span["hash"], span["start"], span["end"])


def _text_of(data: np.ndarray) -> str:
    return bytes(data).decode("utf-8", "replace").replace("\0", " ")


class Piece(NamedTuple):
    """Bytes with whole lines from `start` to `end`, a newline before and at the end."""

    text: np.ndarray  # u1
    start: int
    end: int


class Lines:
    """Feed it pieces of text; it gives rows in order of time, late ones sorted in."""

    def __init__(self, room_bytes: int, tasks: bool) -> None:
        self.found = Found()
        self.gfps, self.areas, self.stacks = Texts(), Texts(), Texts()
        self.tasks = Texts(tasks)
        self.now = np.zeros(1, NOW)
        self.now["stack"], self.now["last"] = NONE, NONE
        self._arrays = (
            np.zeros(_ROWS, LINE),
            np.zeros(_ODD, ODD),
            np.zeros(2 * room_bytes, np.uint8),
            np.full((256, core.WAITING), NONE, np.int64),
            np.zeros(1, core.FIELDS),
        )
        self._given = np.zeros(_ROWS, LINE)
        self._newest_ns = -1

    def _scanner(self) -> Scanner:
        rows, odd, frames, waiting, fields = self._arrays
        gfps, areas = self.gfps.table, self.areas.table
        tasks, stacks = self.tasks.table, self.stacks.table
        return Scanner(rows, odd, gfps, areas, tasks, stacks, frames, waiting, fields, self.now)

    def feed(self, piece: Piece, final: bool) -> int:
        """Take lines; return where the first one not taken begins.  Call `rows` after it."""
        waiting, before = self._arrays[3].copy(), self.now.copy()
        taken = core.scan(self._scanner(), *piece, final)
        clear = self._rewritten(piece)
        self._take_texts(piece.text)
        if clear is not None:
            self._arrays[3][:], self.now[:] = waiting, before
            again = core.scan(self._scanner(), *clear, final)
            self._take_texts(clear.text)
            self._take_odd(clear)
            return piece.start + _same_line(piece, clear, again)
        self._take_odd(piece)
        return int(taken)

    def _take_texts(self, text: np.ndarray) -> None:
        for texts in (self.gfps, self.areas, self.tasks):
            texts.take(text)
        self.stacks.take(self._arrays[2])
        self.now["frames"] = 0

    # ---- lines that the scanner leaves ------------------------------------------------------

    def _odd_lines(self, piece: Piece) -> list[tuple[np.void, bytes]]:
        odd = self._arrays[1][: self.now["odd"][0]]
        return [(one, piece.text[one["start"] : one["end"]].tobytes()) for one in odd]

    def _rewritten(self, piece: Piece) -> Piece | None:
        """The piece with odd lines as the scanner knows them; None if there are none to rewrite."""
        parts, at = [], piece.start
        for odd, line in self._odd_lines(piece):
            clear = _clear(line) if odd["reason"] == Reason.NO_EVENT else None
            if clear is not None:
                parts += [piece.text[at : odd["start"]].tobytes(), clear]
                at = odd["end"]
        if not parts:
            return None
        parts = [b"\n", *parts, piece.text[at : piece.end].tobytes()]
        text = np.frombuffer(b"".join([*parts, bytes(core.SLACK)]), np.uint8)
        return Piece(text, 1, len(text) - core.SLACK)

    def _take_odd(self, piece: Piece) -> None:
        for odd, line in self._odd_lines(piece):
            if odd["reason"] != Reason.NO_EVENT:
                self._damage(int(odd["line"]), _DAMAGE[Reason(int(odd["reason"]))])
            elif _HAS_EVENT.search(line) and not line.startswith(b"#"):
                self._damage(int(odd["line"]), _NO_STAMP)
            elif not self._is_told(line):
                self._damage(int(odd["line"]), _DAMAGE[Reason.NO_EVENT])
        self.now["odd"] = 0
        self.found.lines = int(self.now["lines"][0])

    def _damage(self, line: int, said: str) -> None:
        self.found.damaged += 1
        if len(self.found.damaged_lines) < SHOWN:
            self.found.damaged_lines.append((line, said))

    def _is_told(self, line: bytes) -> bool:
        """Whether a line without an event is one that the tools print; losses are counted."""
        if len(line) > _LINE_BYTES:
            return line.startswith(b"#")
        if header := _HEADER.match(line):
            self.found.lost_header += max(int(header[2]) - int(header[1]), 0)
        elif kernel := _KERNEL.match(line):
            self.found.kernel = kernel[1].decode("ascii", "replace")
        elif lost := _LOST.match(line):
            self.found.losses += 1
            self.found.lost_lines += int(lost[1] or lost[2] or lost[3] or 0)
        else:
            return bool(_OF_THE_TOOL.match(line))
        return True

    # ---- rows -------------------------------------------------------------------------------

    def rows(self, final: bool) -> np.ndarray:
        """LINE[] in order of time, all but those that may have to wait for an earlier one.

        They stay until the next call.
        """
        rows, waiting, count = self._arrays[0], self._arrays[3], int(self.now["rows"][0])
        self._sort(rows[:count], waiting)
        ready = count if final else max(count - HELD, 0)
        given = self._given[:ready]
        given[:] = rows[:ready]
        rows[: count - ready] = rows[ready:count].copy()
        waiting -= ready
        waiting[waiting < 0] = NONE
        self.now["last"] = max(int(self.now["last"][0]) - ready, NONE)
        self.now["rows"] = count - ready
        if ready:
            late = given["time_ns"] < self._newest_ns
            self.found.went_back += int(np.count_nonzero(late))
            given["time_ns"][late] = self._newest_ns
            self._newest_ns = int(given["time_ns"][-1])
        return given

    def _sort(self, rows: np.ndarray, waiting: np.ndarray) -> None:
        time_ns = rows["time_ns"]
        if np.all(time_ns[1:] >= time_ns[:-1]):
            return
        order = np.argsort(time_ns, kind="stable")
        rows[:] = rows[order]
        place = np.empty(len(order) + 1, np.int64)
        place[order], place[NONE] = np.arange(len(order)), NONE
        waiting[:] = place[waiting]
        self.now["last"] = place[self.now["last"]]


def _clear(line: bytes) -> bytes | None:
    """An event as the scanner knows it, where some option has printed it otherwise."""
    if len(line) > _LINE_BYTES or not _HAS_EVENT.search(line):
        return None
    if graph := _GRAPH.fullmatch(line):
        return b"[%s] %s: %s" % (graph[2], graph[1], graph[3])
    return None


def _same_line(piece: Piece, clear: Piece, at: int) -> int:
    """Bytes of `piece` that hold as many lines as stand before `at` in `clear`."""
    lines = int(np.count_nonzero(clear.text[clear.start : at] == 10))
    if not lines:
        return 0
    ends = np.flatnonzero(piece.text[piece.start : piece.end] == 10)
    return int(ends[lines - 1]) + 1
