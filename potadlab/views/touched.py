"""The cache lines that one op or lookup touches, as text that lights up, line by line.

HTML rather than a figure: it can be read aloud, copied and enlarged, and the page animates it by
itself.  Names are text, never markup.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Any, Protocol

from .latency import COLOURS

CELLS_MAX = 48  # of a structure; an op on 2 MiB of struct pages touches 512
STEP_S = 0.25  # from one line to the next, and at most so much for all of them
LIGHT_S_MAX = 4.0


class Touched(Protocol):
    """What is needed of a touched line."""

    @property
    def structure(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def read(self) -> bool: ...
    @property
    def written(self) -> bool: ...
    @property
    def locked(self) -> bool: ...


def columns(touched: Sequence[Touched]) -> dict[str, list[Any]]:
    """A row for each line, in the order of first touches (`at`, from 1).

    how: "r" read, "w" written, "rw" both; locked: touched under the lock.
    """
    return {
        "at": list(range(1, len(touched) + 1)),
        "structure": [one.structure for one in touched],
        "line": [one.line for one in touched],
        "how": ["r" * one.read + "w" * one.written for one in touched],
        "locked": [one.locked for one in touched],
    }


def summary(found: dict[str, list[Any]]) -> str:
    """How many lines, how many of them written and under the lock."""
    lines, written = len(found["at"]), sum("w" in how for how in found["how"])
    locked = sum(found["locked"])
    under = f", {locked:,} under the lock" if locked else ""
    return f"{lines:,} line{'' if lines == 1 else 's'}, {written:,} written{under}"


def by_structure(found: dict[str, list[Any]]) -> dict[str, list[int]]:
    """Rows of each structure, structures in the order in which they are met."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(found["structure"]):
        rows.setdefault(name, []).append(row)
    return rows


def draw(title: str, found: dict[str, list[Any]], notes: Sequence[str] = ()) -> str:
    """A card: what it is, how many lines; a row for each structure, a cell for each line."""
    pace = min(STEP_S, LIGHT_S_MAX / max(len(found["at"]), 1))
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{_cells(found, at, pace)}</td></tr>"
        for name, at in by_structure(found).items()
    )
    said = "".join(f"<div>{escape(note)}</div>" for note in notes)
    head = f"<b>{escape(title)}</b> {escape(summary(found))}"
    return f'<div class="potadlab-touched"><div>{head}</div>{said}<table>{rows}</table></div>'


def _cells(found: dict[str, list[Any]], rows: list[int], pace: float) -> str:
    more = len(rows) - CELLS_MAX
    rest = f" and {more:,} more" if more > 0 else ""
    return "".join(_cell(found, row, pace) for row in rows[:CELLS_MAX]) + rest


_HOW = {"r": "read", "w": "written", "rw": "read and written", "": "touched"}


def _cell(found: dict[str, list[Any]], row: int, pace: float) -> str:
    at, line, how = found["at"][row], found["line"][row], found["how"][row]
    locked = found["locked"][row]
    words = f"number {at}: line {line:,} of {found['structure'][row]}, {_HOW[how]}"
    words += ", under the lock" if locked else ""
    look = f"potadlab-line potadlab-line-{how}" + (" potadlab-line-locked" if locked else "")
    return (
        f'<span class="{look}" style="animation-delay:{(at - 1) * pace:.3f}s" '
        f'title="{escape(words)}" aria-label="{escape(words)}" role="img">'
        f"<b>{at}</b> {escape(how)}<small>{line:,}</small></span>"
    )


LEGEND = (
    '<div class="potadlab-touched-key"><span class="potadlab-line potadlab-line-r">r</span> read '
    '<span class="potadlab-line potadlab-line-w">w</span> written '
    '<span class="potadlab-line potadlab-line-rw">rw</span> both '
    '<span class="potadlab-line potadlab-line-locked">framed</span> under the lock of the zone. '
    "A cell is a line of 64 bytes: the order in which it is touched first, and below it its number "
    "in its structure.</div>"
)


def cards(drawn: Sequence[str]) -> str:
    """Cards side by side, where there is room."""
    return f'<div class="potadlab-cards">{"".join(drawn)}</div>'


# ---- running means ----------------------------------------------------------------------------

_WIDE, _HIGH, _LEFT = 560, 120, 34


def means(lines: Sequence[int]) -> list[float]:
    """The mean of the first 1, 2, ... values."""
    return [total / count for count, total in enumerate(accumulate(lines), start=1)]


def draw_means(what: str, lines: Mapping[str, Sequence[int]]) -> str:
    """The running mean of each allocator's lines per op of some sort, over how many, as SVG."""
    curves = {name: means(values) for name, values in lines.items()}
    most = max((len(curve) for curve in curves.values()), default=0)
    if most == 0:
        return ""
    top = max(max(curve, default=0.0) for curve in curves.values()) or 1.0
    drawn, said = [], []
    for number, (name, curve) in enumerate(curves.items()):
        if not curve:
            continue
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(_point(at, value, most, top) for at, value in enumerate(curve))
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<circle r="3" fill="{colour}" {_centre(len(curve) - 1, curve[-1], most, top)}/>'
        )
        key = f'<i style="background:{colour}"></i>'
        said.append(f'<span class="potadlab-key">{key}{escape(name)}: {curve[-1]:.2f}</span>')
    words = f"{what}: running mean of lines per op: " + ", ".join(
        f"{name} {curve[-1]:.2f}" for name, curve in curves.items() if curve
    )
    return (
        f'<div class="potadlab-means"><div>{escape(what)}: running mean of lines per op, '
        f"{_ops(most)}. {''.join(said)}</div>"
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(words)}">'
        f"{_axis(top, most)}{''.join(drawn)}</svg></div>"
    )


def _ops(count: int) -> str:
    return f"{count:,} op{'' if count == 1 else 's'}"


def _place(at: int, value: float, most: int, top: float) -> tuple[float, float]:
    across = _LEFT + (_WIDE - _LEFT - 8) * (at / max(most - 1, 1))
    return across, _HIGH - 18 - (_HIGH - 30) * value / top


def _point(at: int, value: float, most: int, top: float) -> str:
    return "{:.1f},{:.1f}".format(*_place(at, value, most, top))


def _centre(at: int, value: float, most: int, top: float) -> str:
    return 'cx="{:.1f}" cy="{:.1f}"'.format(*_place(at, value, most, top))


def _axis(top: float, most: int) -> str:
    left, bottom = _place(0, 0.0, most, top)
    right, high = _place(max(most - 1, 1), top, most, top)
    return (
        f'<path d="M{left} {high} V{bottom} H{right}" fill="none" stroke="currentColor"/>'
        f'<text x="{left - 4}" y="{high + 4}" text-anchor="end">{top:.1f}</text>'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{_HIGH - 4}">1</text>'
        f'<text x="{right}" y="{_HIGH - 4}" text-anchor="end">{_ops(most)}</text>'
    )


STYLE = """<style>
.potadlab-cards { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: flex-start; }
.potadlab-touched { flex: 1 1 300px; min-width: 0; line-height: 1.4; overflow-wrap: anywhere;
  border-left: 3px solid var(--jp-border-color2, #ccc); padding-left: 8px; }
.potadlab-touched table { border-collapse: collapse; }
.potadlab-touched th { font-weight: normal; text-align: right; padding: 1px 6px 1px 0;
  white-space: nowrap; vertical-align: middle; }
.potadlab-touched td { padding: 1px 0; }
.potadlab-line { display: inline-block; min-width: 34px; margin: 1px 2px; padding: 0 4px;
  border: 1px solid #0006; border-radius: 3px; text-align: center; line-height: 1.25;
  color: #000; background: #ddd; font-variant-numeric: tabular-nums; }
.potadlab-line small { display: block; font-size: 9px; }
.potadlab-line-r { background: #56b4e9; }
.potadlab-line-w { background: #e69f00; }
.potadlab-line-rw { background: #f0e442; }
.potadlab-line-locked { outline: 2px solid #d55e00; outline-offset: -1px; }
.potadlab-touched .potadlab-line { animation: potadlab-light 0.6s ease-out both; }
@keyframes potadlab-light {
  from { opacity: 0.12; transform: none; }
  45% { opacity: 1; transform: scale(1.3); box-shadow: 0 0 10px 3px #f0e442; }
  to { opacity: 1; transform: none; }
}
@media (prefers-reduced-motion: reduce) { .potadlab-touched .potadlab-line { animation: none; } }
.potadlab-means svg { width: 100%; max-width: 560px; height: 120px; font-size: 10px;
  fill: currentColor; }
.potadlab-touched-key { margin: 3px 0; }
</style>"""
