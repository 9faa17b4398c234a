"""Memory as a map: addresses run along rows whose length is a power of two of bytes.

A window says which granules are shown.  Zooming halves what a cell stands for and lays memory
out anew, so a zoomed map is one stretch of addresses again, not a cut-out of old rows.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, LinearColorMapper, Range1d, WheelZoomTool
from bokeh.plotting import figure

from ..core.raster import rasterise
from ..units import format_size, is_power_of_two
from . import curve, theme

_COLUMNS_MIN = 32  # then a granule is 8 pixels wide or more
_EDGES_FROM = 4  # pixels per cell from which blocks are parted by lines
_WIDTHS = (128, 256, 512, 1024)
_HEIGHT_MIN, _HEIGHT_MAX = 64, 1024


@dataclass(frozen=True)
class Pixels:
    """How large a picture is: no larger than it is on the screen, so that none is dropped."""

    width: int  # a power of two
    height: int


HEIGHT = 205  # of a map with title and axes, on a screen of 720 pixels
SMALL = Pixels(256, 160)  # what a map of two has on a screen of 1280 x 720


def fitting(width: float, height: float) -> Pixels:
    """The largest picture for a frame of so many pixels on the screen."""
    widths = [each for each in _WIDTHS if each <= width]
    return Pixels(max(widths, default=_WIDTHS[0]), int(min(max(height, _HEIGHT_MIN), _HEIGHT_MAX)))


def is_pixels(width: int, height: int) -> bool:
    """Whether a picture may have this size."""
    return width in _WIDTHS and _HEIGHT_MIN <= height <= _HEIGHT_MAX


@dataclass(frozen=True)
class Window:
    """What a map shows: `columns * rows` cells of `granules_per_cell`, from granule `first` on."""

    first: int
    granules_per_cell: int
    columns: int
    rows: int
    hilbert: bool = False  # along a Hilbert curve, not in rows
    pixels: Pixels = SMALL

    @property
    def row_granules(self) -> int:
        return self.columns * self.granules_per_cell

    @property
    def end(self) -> int:
        return self.first + self.rows * self.row_granules

    @property
    def scale(self) -> int:
        """Pixels per cell."""
        return self.pixels.width // self.columns

    @property
    def height(self) -> int:
        """Pixels of the image in use."""
        return self.rows * self.scale


def _ladder(granules: int, pixels: Pixels) -> list[tuple[int, int]]:
    """(columns, granules_per_cell) of every zoom, the whole space first."""
    steps = [(_COLUMNS_MIN, 1)]
    while _rows_max(steps[-1][0], pixels) * steps[-1][0] * steps[-1][1] < granules:
        columns, per_cell = steps[-1]
        wider = (columns * 2, 1) if columns < pixels.width else (columns, per_cell * 2)
        steps.append(wider)
    return steps[::-1]


def _rows_max(columns: int, pixels: Pixels) -> int:
    return pixels.height * columns // pixels.width


def _window(
    first: int, step: tuple[int, int], granules: int, hilbert: bool, pixels: Pixels
) -> Window:
    """A window of this zoom from the row of `first` on, never beyond the space."""
    columns, per_cell = step
    rows_all = -(-granules // (columns * per_cell))
    rows = min(_rows_max(columns, pixels), rows_all)
    row = min(max(first // (columns * per_cell), 0), rows_all - rows)
    return Window(row * columns * per_cell, per_cell, columns, rows, hilbert, pixels)


def whole(granules: int, hilbert: bool = False, pixels: Pixels = SMALL) -> Window:
    """The window that shows a whole space, with the shortest rows that do."""
    return _window(0, _ladder(granules, pixels)[0], granules, hilbert, pixels)


def window_of(
    first: int, columns: int, per_cell: int, hilbert: bool, granules: int, pixels: Pixels = SMALL
) -> Window:
    """The window of this zoom from about `first` on; ValueError for a zoom that is none."""
    if (columns, per_cell) not in _ladder(granules, pixels):
        raise ValueError(f"no zoom of {columns} columns with {per_cell} granules in a cell")
    return _window(first, (columns, per_cell), granules, hilbert, pixels)


def resized(window: Window, pixels: Pixels, granules: int) -> Window:
    """About the same memory in a picture of another size: the closest zoom that shows it all."""
    shown, ladder = window.end - window.first, _ladder(granules, pixels)
    steps = [step for step in ladder if _rows_max(step[0], pixels) * step[0] * step[1] >= shown]
    step = (steps or ladder[:1])[-1]
    return _window(window.first, step, granules, window.hilbert, pixels)


def along(window: Window, hilbert: bool) -> Window:
    """The same memory along the curve, or in rows."""
    return replace(window, hilbert=hilbert)


def _cell(window: Window, granule: int) -> tuple[int, int]:
    """Row and column of the cell of a granule that is shown."""
    cell = (granule - window.first) // window.granules_per_cell
    if window.hilbert:
        row, column = curve.places(window.columns, window.rows)[cell]
        return int(row), int(column)
    return divmod(cell, window.columns)


def _laid(window: Window, cells: np.ndarray) -> np.ndarray:
    """[row, column]: what is told of each cell in the order of addresses, as the map has it."""
    if window.hilbert:
        return cells[curve.cells(window.columns, window.rows)]
    return cells.reshape(window.rows, window.columns)


def _told(window: Window, laid: np.ndarray) -> np.ndarray:
    """What a map has [row, column], cell by cell in the order of addresses."""
    if not window.hilbert:
        return laid.ravel()
    at = curve.places(window.columns, window.rows)
    return laid[at[:, 0], at[:, 1]]


def locate(window: Window, x: float, y: float) -> int | None:
    """The granule in the middle of the cell under a pixel of the image; None beside the map."""
    column, row = int(x // window.scale), int(y // window.scale)
    if not (0 <= column < window.columns and 0 <= row < window.rows):
        return None
    cell = row * window.columns + column
    if window.hilbert:
        cell = int(curve.cells(window.columns, window.rows)[row, column])
    return window.first + cell * window.granules_per_cell


def zoom(window: Window, granule: int, steps: int, granules: int) -> Window:
    """Zoomed in (steps > 0) or out; `granule` stays at its height on the map, if it can."""
    ladder = _ladder(granules, window.pixels)
    step = ladder.index((window.columns, window.granules_per_cell)) + steps
    columns, per_cell = ladder[min(max(step, 0), len(ladder) - 1)]
    share = (granule - window.first) / (window.end - window.first)
    above = int(share * _rows_max(columns, window.pixels)) * columns * per_cell
    step_ = columns, per_cell
    return _window(granule - above, step_, granules, window.hilbert, window.pixels)


def pan(window: Window, rows: int, granules: int) -> Window:
    """Moved down by so many rows, never beyond the space."""
    first = window.first + rows * window.row_granules
    step = window.columns, window.granules_per_cell
    return _window(first, step, granules, window.hilbert, window.pixels)


def showing(
    granule: int, size: int, granules: int, hilbert: bool = False, pixels: Pixels = SMALL
) -> Window:
    """The closest window in which `size` granules from `granule` on fill at most an eighth."""
    ladder = _ladder(granules, pixels)
    holds = [_rows_max(columns, pixels) * columns * per_cell for columns, per_cell in ladder]
    steps = [step for step, held in zip(ladder, holds, strict=True) if held >= 8 * size]
    columns, per_cell = step = (steps or ladder[:1])[-1]
    above = _rows_max(columns, pixels) // 2 * columns * per_cell
    return _window(granule + size // 2 - above, step, granules, hilbert, pixels)


def columns(
    blocks: np.ndarray,
    ranges: np.ndarray,
    granules: int,
    granule_bytes: int,
    window: Window,
    colouring: str = theme.BY_SIZE,
    shade: theme.Shade = theme.PLAIN,
    worst: bool = False,
) -> dict[str, Any]:
    """The image (u1[height, width], palette indices) of BLOCK[] for `draw`, and where it goes.

    ranges: i8[n, 2] granules in service; granules: end of the space; worst: a cell shows the worst
    that is in it (theme.ranks), not what holds most of it.
    """
    assert is_power_of_two(window.columns)
    assert is_power_of_two(window.granules_per_cell)
    categories = theme.categories(blocks, colouring, granule_bytes, shade)
    ranks = theme.ranks(colouring) if worst else None
    place = window.first, window.granules_per_cell, window.rows, window.columns
    cells = rasterise(blocks, categories, ranges, granules, *place, ranks)
    found = picture(window, cells.ravel())
    if window.scale >= _EDGES_FROM:
        _draw_edges(found["image"][0], blocks, window)
    return found


def picture(window: Window, cells: np.ndarray) -> dict[str, Any]:
    """The image of a palette index (u1) for each cell, in the order of addresses."""
    image = blank(window.pixels)
    image[: window.height] = _enlarge(_laid(window, cells), window.scale)
    return _placed(image)


def blank(pixels: Pixels) -> np.ndarray:
    """u1[height, width]: a picture of nothing."""
    return np.zeros((pixels.height, pixels.width), np.uint8)


def image_of(picture: bytes, pixels: Pixels) -> np.ndarray:
    """u1[height, width] of the bytes of a picture."""
    return np.frombuffer(picture, np.uint8).reshape(pixels.height, pixels.width)


def _placed(image: np.ndarray) -> dict[str, Any]:
    """An image and where it goes."""
    height, width = image.shape
    return {"image": [image], "x": [0], "y": [0], "dw": [width], "dh": [height]}


def stretched(shown: bytes, before: Window, window: Window) -> bytes:
    """What a picture of the window `before` tells of another, as such: until that is painted.

    Each cell takes what its middle was shown as; what was not shown is blank.
    """
    image = image_of(shown, before.pixels)
    middle = before.scale // 2  # of a cell, beside the lines between blocks
    known = _told(before, image[middle : before.height : before.scale, middle :: before.scale])
    at = window.first + np.arange(window.rows * window.columns) * window.granules_per_cell
    at = (at + window.granules_per_cell // 2 - before.first) // before.granules_per_cell
    inside = (at >= 0) & (at < len(known))
    cells = np.where(inside, known[at * inside], 0)
    return bytes(picture(window, cells)["image"][0])


def _enlarge(cells: np.ndarray, scale: int) -> np.ndarray:
    return cells if scale == 1 else cells.repeat(scale, axis=0).repeat(scale, axis=1)


def _draw_edges(image: np.ndarray, blocks: np.ndarray, window: Window) -> None:
    """Lines on the left and upper side of every block in a window of one granule per cell."""
    first, last = np.searchsorted(blocks["granule"], [window.first, window.end])
    starts = blocks["granule"][first:last] - window.first
    holders = np.zeros(window.rows * window.columns, np.int64)
    holders[starts] = starts + 1
    sizes = np.left_shift(np.int64(1), blocks["order"][first:last].astype(np.int64))
    ends = starts + sizes
    inside = ends < len(holders)
    marks = holders.copy()
    np.maximum.at(marks, ends[inside], ends[inside] + 1)
    holder = _laid(window, np.maximum.accumulate(marks))
    left = np.ones_like(holder, bool)
    left[:, 1:] = holder[:, 1:] != holder[:, :-1]
    upper = np.ones_like(holder, bool)
    upper[1:] = holder[1:] != holder[:-1]
    scale, height = window.scale, window.height
    used = image[:height] >= theme.USED
    rows, columns_ = np.arange(height) % scale == 0, np.arange(image.shape[1]) % scale == 0
    lines = (_enlarge(left, scale) & columns_) | (_enlarge(upper, scale) & rows[:, None])
    image[:height][lines & used] = theme.EDGE


def outline(window: Window, granule: int, size: int) -> tuple[list[float], list[float]]:
    """(xs, ys): the border, in pixels, of `size` granules from `granule` on; empty if not shown.

    In rows at most three rectangles in one polygon: the end of a row, full rows, the beginning of
    one.  Along the curve every side that a cell has to another's, parted by NaN.
    """
    first, last = max(granule, window.first), min(granule + size, window.end)
    if first >= last:
        return [], []
    per_cell, wide = window.granules_per_cell, window.columns
    low = (first - window.first) // per_cell
    high = -(-(last - window.first) // per_cell)
    if window.hilbert:
        return _sides(window, low, high)
    (top, left), (bottom, right) = divmod(low, wide), divmod(high - 1, wide)
    right += 1
    if top == bottom:
        xs, ys = [left, right, right, left, left], [top, top, top + 1, top + 1, top]
    else:
        xs = [left, wide, wide, right, right, 0, 0, left, left]
        ys = [top, top, bottom, bottom, bottom + 1, bottom + 1, top + 1, top + 1, top]
    return [x * window.scale for x in xs], [y * window.scale for y in ys]


def _sides(window: Window, low: int, high: int) -> tuple[list[float], list[float]]:
    """Where cells [low, high) of the curve end."""
    inside = np.zeros(window.rows * window.columns, bool)
    inside[low:high] = True
    held = np.pad(_laid(window, inside), 1)
    xs: list[float] = []
    ys: list[float] = []
    upright = np.argwhere(held[1:-1, 1:] != held[1:-1, :-1])  # left of column x, in row y
    level = np.argwhere(held[1:, 1:-1] != held[:-1, 1:-1])  # above row y, in column x
    for sides, across, down in ((upright, 0, 1), (level, 1, 0)):
        for y, x in sides.tolist():
            xs += [x * window.scale, (x + across) * window.scale, float("nan")]
            ys += [y * window.scale, (y + down) * window.scale, float("nan")]
    return xs, ys


def place(window: Window, granule: int) -> tuple[float, float] | None:
    """The middle of a granule's cell, in pixels of the image; None if it is not shown."""
    if not window.first <= granule < window.end:
        return None
    row, column = _cell(window, granule)
    return (column + 0.5) * window.scale, (row + 0.5) * window.scale


def ticks(window: Window, granule_bytes: int) -> tuple[dict[int, str], dict[int, str]]:
    """Labels of the horizontal axis (offset in a row) and the vertical one (address of a row)."""
    row_bytes, half = window.row_granules * granule_bytes, window.pixels.width // 2
    if window.hilbert:
        ends = (_address(end * granule_bytes) for end in (window.first, window.end))
        return {half: f"{' to '.join(ends)} along a Hilbert curve"}, {}
    across = {half // 2: "", half: f"+{format_size(row_bytes // 2)}", half + half // 2: ""}
    step = max(window.rows // 5, 1)
    down = {
        row * window.scale: _address(window.first * granule_bytes + row * row_bytes)
        for row in range(0, window.rows, _round_step(step))
    }
    return across, down


def _round_step(step: int) -> int:
    return 1 << (step.bit_length() - 1) if step & (step - 1) else step


def _address(address: int) -> str:
    """An address as a size where that is exact and short, else in hexadecimal."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if address and address % (unit >> 2) == 0 and address >= unit:
            return f"{address / unit:g} {name}"
    return f"{address:#x}" if address else "0"


def source(pixels: Pixels = SMALL, picture: bytes | None = None) -> ColumnDataSource:
    """An image, empty or with these palette indices; frames change it in place."""
    fits = picture is not None and len(picture) == pixels.width * pixels.height
    image = image_of(picture, pixels).copy() if picture and fits else blank(pixels)
    return ColumnDataSource(_placed(image))


def draw(
    title: str,
    image: ColumnDataSource,
    shapes: ColumnDataSource,
    marks: ColumnDataSource,
    height: int = HEIGHT,
) -> Any:
    """A map: the image, outlines (xs, ys, colour) and marks (x, y, marker, colour) over it.

    height: of all of it on the screen, in pixels.
    """
    rows, width = image.data["image"][0].shape
    plot = figure(
        title=title,
        x_range=Range1d(0, width),
        y_range=Range1d(rows, 0),
        height=height,
        sizing_mode="stretch_width",
        tools=[WheelZoomTool(speed=0)],  # moves nothing, but keeps the page from scrolling
    )
    plot.toolbar.active_scroll = plot.toolbar.tools[0]
    last = theme.EDGE
    mapper = LinearColorMapper(theme.palette(light=True), low=-0.5, high=last + 0.5)
    plot.image("image", "x", "y", "dw", "dh", source=image, color_mapper=mapper, name="cells")
    plot.multi_line("xs", "ys", source=shapes, line_color="white", line_width=5)
    plot.multi_line("xs", "ys", source=shapes, line_color="colour", line_width=2.5)
    plot.scatter(
        "x", "y", marker="marker", source=marks, size=9, line_color="white", fill_color="colour"
    )
    plot.xaxis.ticker, plot.yaxis.ticker = FixedTicker(ticks=[]), FixedTicker(ticks=[])
    plot.grid.visible = False
    theme.compact(plot)
    return plot


def label(plot: Any, window: Window, granule_bytes: int) -> None:
    """Put the window's addresses on the axes, and fit the plot to the rows in use."""
    across, down = ticks(window, granule_bytes)
    for axis, labels in ((plot.xaxis[0], across), (plot.yaxis[0], down)):
        axis.ticker.ticks = list(labels)
        axis.major_label_overrides = dict(labels)
    plot.y_range.start = window.height
