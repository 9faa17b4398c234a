"""One recorded text to one trace file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.text import SLACK
from ...errors import BadTrace
from .. import parquet
from ..filling import Filler
from ..purpose import Kinds, read_table
from ..trace import Progress
from . import gfp
from .lines import Lines, Piece
from .memory import ImportedSnapshot, format_of, import_snapshot
from .source import Source, opened

PIECE_BYTES = 8 << 20
_DAMAGED_SHARE = 0.01
_HOPELESS_LINES = 100_000  # of which more than half are damaged: no need to read on
_WANTED = "mm_page_alloc and mm_page_free of ftrace, perf script or trace-cmd report"


@dataclass(frozen=True)
class Imported:
    """What an import found, left out and repaired."""

    path: Path
    format: str  # the tool whose text it seems to be
    counts: dict[str, int]
    damaged_lines: tuple[tuple[int, str], ...]  # number of the line, what is wrong; the first few
    duration_s: float
    cut_short: bool

    def as_dict(self) -> dict[str, Any]:
        """For `import --json`."""
        lines = [{"line": line, "what": what} for line, what in self.damaged_lines]
        return {
            "path": str(self.path),
            "format": self.format,
            "counts": self.counts,
            "damaged_lines": lines,
            "duration_s": self.duration_s,
            "cut_short": self.cut_short,
        }

    def words(self) -> list[str]:
        """What people should know, a line each; the first says what was made."""
        counts = self.counts
        first = (
            f"{self.path}: {counts['allocates']:,} allocs and {counts['releases']:,} frees "
            f"in {self.duration_s:.3f} s, from {counts['lines']:,} lines of {self.format}"
        )
        said = [f"{counts[name]:,} {words}" for name, words in _SAID.items() if counts[name]]
        said += ["the file ends in the middle: what was there is taken"] * self.cut_short
        said += [f"line {line:,}: {what}" for line, what in self.damaged_lines]
        return [first, *said]


_SAID = {  # counts, in the words of the end
    "failed": "allocs failed on the recorded machine",
    "claims": "contiguous claims (cma)",
    "claims_failed": "of them failed on the recorded machine",
    "stacks": "call stacks taken",
    "stacks_lost": "call stacks left out: their alloc is not there",
    "kinds_guessed": "allocs whose kind is guessed from their flags",
    "batched": "mm_page_free_batched left out: they repeat a free",
    "below": "events below the per-CPU lists left out",
    "other": "other events left out",
    "lost_events": "events the recorder lost",
    "losses": "places where the recorder says that it lost events",
    "went_back": "events came too late and were given the time of the one before",
    "no_cpu": "events without a CPU taken as CPU 0",
    "gfp_numbers": "different gfp flags told as numbers, named as Linux 6.18 names them",
    "gfp_strange": "different gfp flags that nobody here knows, left out",
    "damaged": "damaged lines left out; the first:",
}


def import_file(
    source: str | Path,
    target: str | Path,
    names: bool = False,
    kinds: str | Path | None = None,
    page_bytes: int = 4096,
    progress: Progress | None = None,
) -> Imported | ImportedSnapshot:
    """Make what was recorded elsewhere a trace or snapshot file; "-" is standard input.

    Text of ftrace, perf script or trace-cmd report becomes a trace; a dump of kpageflags,
    page_owner, buddyinfo or pagetypeinfo a snapshot (see memory.py).  Packed files (gzip, xz, zstd)
    are taken as they are.  `names` keeps names and numbers of processes, which are left out else;
    `kinds` is a table of kernel functions, kept in the file.  `page_bytes` is the page of the
    recorded machine.  Memory needed for a trace does not depend on the text's length.  The target
    appears when it is whole.

    Raises BadTrace, PotadError; OSError where the target cannot be written.
    """
    own_kinds = read_table(kinds) if kinds else None
    table = Kinds.read(more=own_kinds)
    tell, place = progress or (lambda share, what: None), Path(target)
    tell(0.0, "opening")
    with opened(source) as text:
        if dump := format_of(text.start):
            return import_snapshot(text, place, dump, table, page_bytes, tell)
        with parquet.TraceWriter(place, names) as writer:
            importing = _Import(text, writer, table, names)
            importing.run(tell)
            metadata = importing.metadata(place, page_bytes)
            writer.keep(metadata | ({"kinds": own_kinds} if own_kinds else {}))
            tell(1.0, "imported")
            return importing.imported(place)


class _Import:
    """One import under way."""

    def __init__(
        self, source: Source, writer: parquet.TraceWriter, kinds: Kinds, names: bool
    ) -> None:
        self._source = source
        self._filler = Filler(writer, kinds)
        self._lines = Lines(PIECE_BYTES + 2, names)
        self._gfps: list[int] = []
        self._strange: set[str] = set()
        self._numbers = 0

    def run(self, tell: Progress) -> None:
        """Read all of the source, write all of its rows.  Raises BadTrace."""
        memory = bytearray(PIECE_BYTES + 2 + SLACK)  # a newline before, and one at the end
        memory[0] = 10
        text, room = np.frombuffer(memory, np.uint8), memoryview(memory)
        filled, final = 1, False
        while not final:
            filled, final = self._fill(room, filled)
            if final and filled > 1 and memory[filled - 1] != 10:
                memory[filled] = 10
                filled += 1
            end = memory.rfind(b"\n", 1, filled) + 1
            full = filled > PIECE_BYTES
            if not end and full:  # a line without end: taken in pieces
                memory[filled] = 10
                filled += 1
                end = filled
            at = self._feed(Piece(text, 1, max(end, 1)), final, full)
            memory[1 : 1 + filled - at] = memory[at:filled]
            filled -= at - 1
            tell(self._source.share(), f"{self._lines.found.lines:,} lines")
        self._check_damage(final=True)
        if not self._filler.pages_asked:
            raise BadTrace(
                f"{self._source.name}: holds no page allocation or free: give text with {_WANTED}"
            )

    def _fill(self, room: memoryview, filled: int) -> tuple[int, bool]:
        """Read until there is a piece; (bytes that are there, whether that was all)."""
        while filled <= PIECE_BYTES:
            count = self._source.readinto(room[filled : PIECE_BYTES + 1])
            if not count:
                return filled, True
            filled += count
        return filled, False

    def _feed(self, piece: Piece, final: bool, full: bool) -> int:
        """Take the lines of a piece; where the first one not taken begins."""
        at = piece.start
        while at < piece.end:
            taken = self._lines.feed(piece._replace(start=at), final)
            if taken == at and full and at == piece.start:  # a stack as long as the piece
                taken = self._lines.feed(piece, True)
            if taken == at:
                break
            at = taken
            self._write(self._lines.rows(False))
            self._check_damage(final=False)
        if final:
            self._write(self._lines.rows(True))
        return at

    def _check_damage(self, final: bool) -> None:
        """Raises BadTrace where too many lines are damaged, early where it is hopeless."""
        found = self._lines.found
        share = found.damaged / max(found.lines, 1)
        if share > (_DAMAGED_SHARE if final else 0.5) and (final or found.lines > _HOPELESS_LINES):
            line, what = found.damaged_lines[0]
            raise BadTrace(
                f"{self._source.name}: line {line}: {what}; so {found.damaged:,} of "
                f"{found.lines:,} lines: give text with {_WANTED}"
            )

    # ---- rows to columns --------------------------------------------------------------------

    def _write(self, rows: np.ndarray) -> None:
        self._take_texts()
        self._filler.write(rows, np.array([*self._gfps, 0], np.uint32)[rows["gfp"]])

    def _take_texts(self) -> None:
        """Make of new texts what the file holds."""
        lines, filler = self._lines, self._filler
        for text in lines.gfps.texts[len(self._gfps) :]:
            flags, strange = gfp.flags_of(text)
            self._gfps.append(flags)
            self._numbers += gfp.is_number(text)
            self._strange.update(strange)
        filler.stacks.take(lines.stacks.texts)
        filler.tasks.take(lines.tasks.texts)
        filler.areas.take(lines.areas.texts)

    # ---- the end ----------------------------------------------------------------------------

    def metadata(self, target: Path, page_bytes: int) -> dict[str, Any]:
        """Of the trace file: see parquet.py."""
        found, counts = self._lines.found, self.counts()
        known = {"kernel": found.kernel} if found.kernel else {}
        return {
            "name": target.name.removesuffix(".parquet"),
            "recorded": f"text of {self._format()}",
            "clock": f"not told ({'nano' if self._filler.fine_stamps else 'micro'}second stamps)",
            "page_shift": page_bytes.bit_length() - 1,
            "cpus": int(self._lines.now["cpu_max"][0]) + 1,
            "gfp_bits": {str(bit): name for bit, name in gfp.BITS.items()},
            "dropped_events": counts["lost_events"],
            "import": {name: count for name, count in counts.items() if count},
            **self._filler.metadata(),
            **known,
        }

    def imported(self, target: Path) -> Imported:
        return Imported(
            path=target,
            format=self._format(),
            counts=self.counts(),
            damaged_lines=tuple(self._lines.found.damaged_lines),
            duration_s=self._filler.duration_s,
            cut_short=self._source.cut_short,
        )

    def counts(self) -> dict[str, int]:
        """What was found, by name."""
        found, now = self._lines.found, self._lines.now[0]
        counted = ("stacks", "stacks_lost", "batched", "below", "other", "no_cpu")
        return {
            "lines": found.lines,
            **self._filler.counts(),
            **{name: int(now[name]) for name in counted},
            "lost_events": max(found.lost_lines, found.lost_header),
            "losses": found.losses,
            "went_back": found.went_back,
            "gfp_numbers": self._numbers,
            "gfp_strange": len(self._strange),
            "damaged": found.damaged,
        }

    def _format(self) -> str:
        """The tool, by what it alone prints."""
        start = self._source.start
        if b"kmem:mm_" in start or b"# ========" in start:
            return "perf script"
        if start.startswith((b"cpus=", b"version = ")) or re.search(rb" mm_page_\w+:  ", start):
            return "trace-cmd report"
        return "ftrace"
