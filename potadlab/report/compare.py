"""Allocators beside each other on all metrics, the better one marked; as text and as Markdown.

A metric that was measured in several rounds has its spread beside it, and a verdict only where the
rounds of the best do not overlap those of any other.  `recorded` is what happened, no competitor.
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from ..potad.reckoning import gaps, largest_free_order
from ..runs import chosen
from ..session import Session
from ..units import MIB, format_size
from . import table
from .sheet import Rows
from .timing import NULL

COLUMNS = 80
_METRIC_COLUMNS, _PER_TABLE = 30, 4
BETTER, UNCLEAR = "*", "~"
HARNESS = "  of it the harness"
FOOT = (
    f"{BETTER} better; {UNCLEAR} best median, but its rounds overlap another's. "
    "Times: ns per op, median of the rounds, harness included. Bytes at the end of the trace."
)

Rounds = dict[str, list[float]]  # ns per op of each round, by allocator


@dataclass(frozen=True)
class Metric:
    """One row: a value for each allocator (None: it has none), and which is better."""

    name: str
    values: Mapping[str, float | None]
    write: Callable[[float], str]
    high: bool = False  # the higher, the better
    judged: bool = True  # a part of a sum is not: struct page is three things in one
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)

    def best(self) -> dict[str, str]:
        """A mark for each allocator that is better than another; none where all are alike."""
        if not self.judged:
            return {}
        known = {name: value for name, value in self.values.items() if value is not None}
        rivals = {name: value for name, value in known.items() if not _is_record(name)}
        if len({self.write(value) for value in rivals.values()}) < 2:
            return {}  # a difference that nobody sees is none
        top = self.write((max if self.high else min)(rivals.values()))
        return {
            name: UNCLEAR if self._overlaps(name, rivals) else BETTER
            for name, value in rivals.items()
            if self.write(value) == top
        }

    def _overlaps(self, name: str, rivals: dict[str, float]) -> bool:
        if name not in self.spread:
            return False
        low, high = self.spread[name]
        others = [self.spread[other] for other in rivals if other != name and other in self.spread]
        return any(low <= top and bottom <= high for bottom, top in others)

    def cell(self, name: str) -> str:
        value = self.values.get(name)
        return "-" if value is None else self.write(value) + self.best().get(name, "")


def _is_record(name: str) -> bool:
    return chosen(name).allocator.needs_record


def metrics(session: Session, index: int, rounds: Rounds | None = None) -> list[Metric]:
    """Every metric of every allocator; `index`: the moment of those that are of a moment."""
    names, runs = session.names, session.runs
    now = {name: _free(session, name, index) for name in names}
    rows = _times(rounds or {})
    rows += [
        Metric("requests refused", {name: runs[name].refused for name in names}, "{:,.0f}".format),
        Metric(
            "unusable for 2 MiB, mean",
            {name: runs[name].census.unusable_mean for name in names},
            "{:.1%}".format,
        ),
        Metric("unusable for 2 MiB, now", {name: now[name][0] for name in names}, "{:.1%}".format),
        Metric(
            "largest free block now", {name: now[name][1] for name in names}, format_size, high=True
        ),
    ]
    for part in ("free_structure", "descriptors", "lookup"):
        sizes = {name: _bytes(runs[name].bytes, part) for name in names}
        rows.append(Metric(part.replace("_", " "), sizes, format_size, judged=False))
    whole = {name: float(sum(runs[name].bytes.values())) for name in names}
    rows.append(Metric("all three", whole, format_size))
    peaks = {name: float(runs[name].live_bytes_max) for name in names}
    return [*rows, Metric("peak live memory", peaks, format_size, judged=False)]


def _bytes(found: dict[str, int], part: str) -> float | None:
    return float(found[part]) if part in found else None


def _times(rounds: Rounds) -> list[Metric]:
    asked = {name: found for name, found in rounds.items() if name != NULL}
    if not asked:
        return []
    medians: dict[str, float | None] = {name: median(found) for name, found in asked.items()}
    spread = {name: (min(found), max(found)) for name, found in asked.items()}
    harness: dict[str, float | None] = dict.fromkeys(asked, median(rounds.get(NULL, [0.0])))
    write = "{:.1f}".format
    return [Metric("ns per op", medians, write, spread=spread), Metric(HARNESS, harness, write)]


def _free(session: Session, name: str, index: int) -> tuple[float, float]:
    """(share of free memory that no aligned 2 MiB can have, largest free block in bytes)."""
    blocks, ranges = session.blocks(name, index), session.in_service(name, index)
    zones = [(zone.start, zone.end) for zone in session.space.zones]
    free = np.array(gaps(blocks, ranges, zones), np.int64).reshape(-1, 2)
    unit, total = session.space.granule_bytes, int(np.diff(free, axis=1).sum())
    order = max(2 * MIB // unit, 1).bit_length() - 1
    whole = np.maximum((free[:, 1] >> order) - (-(-free[:, 0] >> order)), 0)
    usable = int(whole.sum()) << order
    top = largest_free_order(blocks, ranges, zones, chosen(name).order_max)
    return 1 - usable / total if total else 1.0, 0.0 if top is None else float(unit << top)


def spreads(metric: Metric) -> dict[str, str]:
    """Lowest to highest of the rounds, by allocator."""
    return {name: f"{low:.1f}-{high:.1f}" for name, (low, high) in metric.spread.items()}


def cells(session: Session, found: Sequence[Metric]) -> Rows:
    """Heads and rows: a metric a row, an allocator a column, spreads below what has them."""
    rows = []
    for metric in found:
        rows.append([metric.name, *(metric.cell(name) for name in session.names)])
        if metric.spread:
            told = spreads(metric)
            rows.append(["  lowest-highest", *(told.get(name, "-") for name in session.names)])
    return ["metric", *session.names], rows


def heading(session: Session, index: int) -> str:
    """What is compared, and what "now" is."""
    now = [*session.clock.told(session.time_ns(max(index - 1, 0))), f"op {index:,}"]
    return f"{table.headline(session)}; now: {', '.join(now)}"


def as_text(session: Session, found: Sequence[Metric], index: int) -> str:
    """At most 80 columns wide; allocators whose names have no room stand in a table below."""
    heads, rows = cells(session, found)
    lines, room = _wrapped(heading(session, index)), COLUMNS - _METRIC_COLUMNS
    beside = min(max(room // (max(map(len, session.names)) + 1), 1), _PER_TABLE)
    for first in range(1, len(heads), beside):
        shown = slice(first, first + beside)
        width = room // len(heads[shown])
        for row in (heads, *rows):
            told = "".join(f"{_cut(cell, width - 1):>{width}}" for cell in row[shown])
            lines.append(f"{row[0]:<{_METRIC_COLUMNS}}{told}")
        lines.append("")
    return "\n".join([*lines, *_wrapped(FOOT)])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        while len(word) > COLUMNS:
            lines, word = [*lines, word[:COLUMNS]], word[COLUMNS:]
        if len(lines[-1]) + len(word) + 1 > COLUMNS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]


def as_markdown(session: Session, found: Sequence[Metric], index: int) -> str:
    """A table for a mail or an issue; names from a trace stay text."""
    heads, rows = cells(session, found)
    lines = [_plain(heading(session, index)), ""]
    lines += [_row(heads), _row(["---", *["--:"] * len(session.names)], plain=False)]
    lines += [_row([row[0].strip(), *row[1:]]) for row in rows]
    return "\n".join([*lines, "", _plain(FOOT)])


def _row(shown: Sequence[str], plain: bool = True) -> str:
    return f"| {' | '.join(_plain(cell) if plain else cell for cell in shown)} |"


def _plain(text: str) -> str:
    """Text in which Markdown and HTML see no mark-up."""
    return re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", html.escape(text, quote=False))
