"""A small space step by step: a row for each moment, time goes down, every split and merge between.

What is free is shown as the largest aligned blocks it makes up, the rule of `core/census.py`.  Two
rows of aligned blocks differ in nothing but splits and merges: of two blocks that overlap one holds
the other.  So they are read off the rows, and drawn as trees of halves, whatever the allocator.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from bokeh.plotting import figure

from ..core.layout import NONE
from ..core.raster import FREE, HOLE
from ..errors import BadSpace
from ..kinds import KIND
from ..units import KIB, format_size
from . import theme

GRANULES_MAX = 64  # beyond, a granule is narrower than the label of its size
ROW_PIXELS = 58
_BAR, _TEXT = 0.42, 0.27  # shares of a row: its blocks, the words above them; trees have the rest
_LETTERS = 76  # of small type that fit beside each other in half a page
_POISON = KIND["poison"]
CHOSEN = "#111111"
_REFUSED = {True: "#c00000", False: "#ff8a80"}


class Step(Protocol):
    """An op and what lived after it, as allocators in the hand remember it."""

    @property
    def number(self) -> int: ...
    @property
    def words(self) -> str: ...
    @property
    def blocks(self) -> np.ndarray: ...  # BLOCK[]
    @property
    def ok(self) -> bool: ...


class Piece(NamedTuple):
    """2**order granules of a row: a live block, a failed granule, or a free block (at NONE)."""

    granule: int
    order: int
    at: int  # in the row's BLOCK[]
    failed: bool

    @property
    def end(self) -> int:
        return self.granule + (1 << self.order)


class Change(NamedTuple):
    """A block of one row that is several in the other: a split, or a merge."""

    before: list[Piece]
    after: list[Piece]

    @property
    def whole(self) -> Piece:
        return self.before[0] if self.is_split else self.after[0]

    @property
    def parts(self) -> list[Piece]:
        return self.after if self.is_split else self.before

    @property
    def is_split(self) -> bool:
        return len(self.before) == 1


# ---- what a row is made of, and what came between two ---------------------------------------


def aligned(start: int, end: int, order_max: int | None = None) -> Iterator[tuple[int, int]]:
    """(granule, order) of the largest aligned blocks that granules start .. end - 1 make up."""
    while start < end:
        order = (end - start).bit_length() - 1
        if start:
            order = min(order, (start & -start).bit_length() - 1)
        if order_max is not None:
            order = min(order, order_max)
        yield start, order
        start += 1 << order


def pieces(blocks: np.ndarray, in_service: np.ndarray, order_max: int | None) -> list[Piece]:
    """Live blocks, failed granules outside them and free blocks: all that is in service, once.

    in_service: i8[n, 2] granules at the start, ascending, cut where zones meet; order_max: to which
    free blocks merge, None: without end.
    """
    taken: list[Piece] = []
    records = [
        Piece(int(block["granule"]), int(block["order"]), index, bool(block["kind"] == _POISON))
        for index, block in enumerate(blocks)
    ]
    for piece in sorted(records, key=lambda piece: (piece.granule, piece.failed)):
        if not taken or piece.granule >= taken[-1].end:
            taken.append(piece)
    found = list(taken)
    for start, end in in_service.tolist():
        inside = [piece for piece in taken if start <= piece.granule < end]
        starts = [start, *(piece.end for piece in inside)]
        ends = [*(piece.granule for piece in inside), end]
        for low, high in zip(starts, ends, strict=True):
            found += [Piece(*free, NONE, False) for free in aligned(low, high, order_max)]
    return sorted(found)


def changes(before: list[Piece], after: list[Piece]) -> list[Change]:
    """Every split and merge between two rows of the same space, in address order."""
    found, left, right = [], 0, 0
    while left < len(before):
        end = max(before[left].end, after[right].end)
        low, left = left, _past(before, left, end)
        high, right = right, _past(after, right, end)
        if left - low > 1 or right - high > 1:
            found.append(Change(before[low:left], after[high:right]))
    return found


def _past(row: list[Piece], at: int, end: int) -> int:
    while at < len(row) and row[at].granule < end:
        at += 1
    return at


# ---- in words ---------------------------------------------------------------------------------


def told(change: Change, granule_bytes: int) -> str:
    """The change in words: "split 64 KiB: 32 + 16 + 8 | 8 taken", "merged 4 + 4 -> 8 KiB"."""
    whole, parts = change.whole, sorted(change.parts, key=lambda part: part.order)
    unit = max(KIB, 1 << ((granule_bytes << parts[0].order).bit_length() - 1) // 10 * 10)

    def total(pieces: Iterable[Piece]) -> str:
        return " + ".join(f"{(granule_bytes << piece.order) / unit:g}" for piece in pieces)

    size = f"{total([whole])} {format_size(unit).split()[1]}"
    if not change.is_split:
        return f"merged {total(parts)} -> {size}{'' if whole.at == NONE else ' taken'}"
    parts.reverse()
    live = [part for part in parts if part.at != NONE and not part.failed]
    failed = [part for part in parts if part.failed]
    word = " taken" if whole.at == NONE else " kept" if len(live) < len(parts) else ""
    said = [
        total(part for part in parts if part.at == NONE),
        total(live) + word if live else "",
        total(failed) + " failed" if failed else "",
    ]
    return f"split {size}: " + " | ".join(filter(None, said))


def between(
    before: np.ndarray,
    after: np.ndarray,
    in_service: np.ndarray,
    granule_bytes: int,
    order_max: int | None,
) -> str:
    """Every split and merge between two BLOCK[] of the same space, in words; may be empty."""
    rows = [pieces(blocks, in_service, order_max) for blocks in (before, after)]
    return "; ".join(told(change, granule_bytes) for change in changes(*rows))


# ---- the columns ------------------------------------------------------------------------------


def columns(
    history: Sequence[Step],
    in_service: np.ndarray,
    granules: int,
    granule_bytes: int,
    order_max: int | None,
    owners: Sequence[str] = (),
    colouring: str = theme.BY_SIZE,
) -> dict[str, dict[str, list[Any]]]:
    """Blocks, trees and words of a row for each step, row 0 the first.

    in_service, order_max: as `pieces`; granules: end of the space; owners: names by BLOCK's owner.
    Columns of "blocks": left, right (granules), top, bottom (rows), x, y (middle), category
    (palette index), label; of "trees": xs, ys, a line for each halving; of "words": x, y, text,
    refused (0 or 1).
    Raises BadSpace beyond GRANULES_MAX granules.
    """
    check_small(granules, granule_bytes)
    rows = [pieces(step.blocks, in_service, order_max) for step in history]
    room = _LETTERS / granules
    found: dict[str, dict[str, list[Any]]] = {
        part: {name: [] for name in names} for part, names in _COLUMNS.items()
    }
    for number, (step, row) in enumerate(zip(history, rows, strict=True)):
        categories = theme.categories(step.blocks, colouring, granule_bytes)
        boxes = _boxes(row, step.blocks, in_service, categories)
        for left, right, category, index in boxes:
            label = _label(right - left, step.blocks, index, category, granule_bytes, owners, room)
            middle = (left + right) / 2, number + _BAR / 2
            place = left, right, number, number + _BAR, *middle
            _add(found["blocks"], *place, category, label)
        done = changes(rows[number - 1], row) if number else []
        for line in _trees(done, number):
            _add(found["trees"], *line)
        text = "; ".join([_words(step), *(told(change, granule_bytes) for change in done)])
        top = number - 1 + _BAR if number else -_TEXT
        _add(found["words"], 0, top + _TEXT / 2, _short(text, _LETTERS), int(not step.ok))
    return found


def check_small(granules: int, granule_bytes: int) -> None:
    """Raises BadSpace for a space that ends beyond what this figure shows."""
    if granules > GRANULES_MAX:
        raise BadSpace(
            f"{granules:,} granules of {format_size(granule_bytes)}: steps are drawn for "
            f"up to {GRANULES_MAX}; take a smaller space, or the map of pl.lab.Hand"
        )


def _add(found: dict[str, list[Any]], *values: Any) -> None:
    for column, value in zip(found.values(), values, strict=True):
        column.append(value)


def _words(step: Step) -> str:
    said = _short(step.words, _LETTERS // 2)
    return f"{step.number}  {said}" if step.ok else f"refused: {said}"


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _boxes(
    row: list[Piece], blocks: np.ndarray, in_service: np.ndarray, categories: np.ndarray
) -> Iterator[tuple[int, int, int, int]]:
    """(left, right, category, index) of all that is drawn in a row; later ones lie on top."""
    for (_, end), (start, _) in pairwise(in_service.tolist()):
        if end < start:
            yield end, start, HOLE, NONE
    for piece in row:
        category = FREE if piece.at == NONE else int(categories[piece.at])
        yield piece.granule, piece.end, category, piece.at
    shown = {piece.at for piece in row}
    for index, block in enumerate(blocks):  # failed granules in live blocks
        if index not in shown:
            granule = int(block["granule"])
            yield granule, granule + 1, int(categories[index]), index


def _label(
    wide: int,
    blocks: np.ndarray,
    index: int,
    category: int,
    granule_bytes: int,
    owners: Sequence[str],
    room: float,
) -> str:
    """Size and owner, as much of it as fits into `wide` granules of `room` letters."""
    size, letters = format_size(wide * granule_bytes), int(wide * room)
    said = [size, size.split()[0]]
    if category == HOLE:
        said = ["out of service", "out"]
    elif index != NONE and blocks[index]["kind"] == _POISON:
        said = ["failed", "x"]
    elif index != NONE and 0 <= blocks[index]["owner"] < len(owners):
        full = f"{size} {owners[blocks[index]['owner']]}"
        if letters >= len(size) + 4:  # a space, two letters of the owner and an ellipsis
            said = [_short(full, letters)]
    return next((text for text in said if len(text) <= letters), "")


def _trees(done: Iterable[Change], number: int) -> Iterator[tuple[list[float], list[float]]]:
    """(xs, ys) of the lines between row `number` and the one above it."""
    upper, lower = number - 1 + _BAR, float(number)
    near = upper + _TEXT  # words stand above: only stems pass through them
    for change in done:
        whole, halvings = change.whole, _halvings(change)
        levels = max(halvings.values()) + 1
        heights = [near + (lower - near) * (level + 0.5) / levels for level in range(levels)]
        root, leaves = (upper, lower) if change.is_split else (lower, upper)
        if not change.is_split:
            heights.reverse()
        middle = (whole.granule + whole.end) / 2
        yield [middle, middle], [root, heights[0]]
        for (granule, order), level in halvings.items():
            quarter = (1 << order) / 4
            left, right = granule + quarter, granule + 3 * quarter
            halves = (granule, order - 1), (granule + (1 << order) // 2, order - 1)
            ends = [heights[level + 1] if half in halvings else leaves for half in halves]
            at = heights[level]
            yield [left, left, right, right], [ends[0], at, at, ends[1]]


def _halvings(change: Change) -> dict[tuple[int, int], int]:
    """(granule, order) of every block between the whole and its parts that is halved: its level."""
    leaves = {(part.granule, part.order) for part in change.parts}
    found: dict[tuple[int, int], int] = {}
    waiting = [(change.whole.granule, change.whole.order, 0)]
    while waiting:
        granule, order, level = waiting.pop()
        if (granule, order) not in leaves:
            found[granule, order] = level
            half = 1 << (order - 1)
            waiting += [(granule + half, order - 1, level + 1), (granule, order - 1, level + 1)]
    return found


def locate(x: float, y: float, granules: int) -> int | None:
    """The granule under a point of the figure; None beside the blocks of a row."""
    return int(x) if 0 <= x < granules and y >= 0 and y % 1 <= _BAR else None


def outline(granule: int, size: int, row: int) -> tuple[list[float], list[float]]:
    """(xs, ys): the border of `size` granules from `granule` on, in a row."""
    left, right, top, bottom = granule, granule + size, row, row + _BAR
    return [left, right, right, left, left], [top, top, bottom, bottom, top]


# ---- the figure -------------------------------------------------------------------------------

_COLUMNS = {
    "blocks": ("left", "right", "top", "bottom", "x", "y", "category", "label"),
    "trees": ("xs", "ys"),
    "words": ("x", "y", "text", "refused"),
}


def sources() -> dict[str, ColumnDataSource]:
    """Empty sources for `draw`: of `columns`, and "chosen", the outline of a block."""
    parts = {**_COLUMNS, "chosen": ("xs", "ys")}
    return {part: ColumnDataSource({name: [] for name in names}) for part, names in parts.items()}


def draw(
    title: str, data: dict[str, ColumnDataSource], granules: int, granule_bytes: int, rows: int
) -> Any:
    """A figure of `sources` with room for so many rows, to be dressed."""
    plot = figure(
        title=title,
        x_range=Range1d(0, granules),
        y_range=Range1d(rows - 1 + _BAR + 0.06, -_TEXT - 0.05),
        height=round((rows - 1 + _BAR + _TEXT) * ROW_PIXELS) + 45,
        sizing_mode="stretch_width",
        tools=[],
    )
    plot.multi_line("xs", "ys", source=data["trees"], line_width=1.5, name="trees")
    plot.quad("left", "right", "top", "bottom", source=data["blocks"], name="blocks")
    plot.text(
        "x", "y", "label", source=data["blocks"], name="labels",
        text_align="center", text_baseline="middle", text_font_size="11px",
    )  # fmt: skip
    plot.text(
        "x", "y", "text", source=data["words"], name="words",
        text_baseline="middle", text_font_size="11px", x_offset=2,
    )  # fmt: skip
    plot.multi_line("xs", "ys", source=data["chosen"], line_color="white", line_width=5)
    plot.multi_line("xs", "ys", source=data["chosen"], line_color=CHOSEN, line_width=2.5)
    plot.yaxis.visible = plot.grid.visible = False
    places = range(0, granules, max(granules // 8, 1))
    theme.ticks(plot.xaxis, {at: format_size(at * granule_bytes) for at in places})
    theme.compact(plot)
    return plot


def dress(plot: Any, light: bool) -> None:
    """Give the figure the colours of the theme."""
    theme.dress(plot, light)
    look, colours = theme.look(light), theme.palette(light)
    glyphs = {name: plot.select_one({"name": name}).glyph for name in ("blocks", "labels", "words")}
    glyphs["blocks"].fill_color = _mapped("category", colours)
    glyphs["blocks"].line_color = look.edge if light else look.grid
    glyphs["labels"].text_color = _mapped("category", [_ink(each, look.ink) for each in colours])
    glyphs["words"].text_color = _mapped("refused", [look.ink, _REFUSED[light]])
    glyphs["words"].background_fill_color = look.paper
    plot.select_one({"name": "trees"}).glyph.line_color = look.ink


def _mapped(name: str, colours: list[str]) -> dict[str, Any]:
    """The colour at the index that a column holds."""
    mapper = LinearColorMapper(colours, low=-0.5, high=len(colours) - 0.5)
    return {"field": name, "transform": mapper}


def _ink(colour: str, otherwise: str) -> str:
    """Black or white, whichever reads better on a colour."""
    if colour == theme.CLEAR:
        return otherwise
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 299 * red + 587 * green + 114 * blue > 128_000 else "#ffffff"
