"""Colours, labels and the look of figures: safe for colour-blind readers, on light and on dark.

Sizes run along viridis (light small, dark large), so their order shows without hue; kinds have the
colours of the table of kinds; failed memory keeps one colour that nothing else has.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.palettes import viridis

from ..core.raster import FREE, HOLE, OUTSIDE, POISON, USED
from ..kinds import KIND, KINDS
from ..units import GIB, KIB, MIB


@dataclass(frozen=True)
class SizeClass:
    """Blocks of at least `bytes_min`, up to the next class."""

    label: str
    bytes_min: int
    colour: str


_LABELS = (
    ("below 4 KiB", 0),
    ("4 KiB", 4 * KIB),
    ("8 KiB", 8 * KIB),
    ("16-32 KiB", 16 * KIB),
    ("64-256 KiB", 64 * KIB),
    ("512 KiB-1 MiB", 512 * KIB),
    ("2 MiB", 2 * MIB),
    ("4-512 MiB", 4 * MIB),
    ("1 GiB and up", GIB),
)
_COLOURS = ("#fff3b0", *reversed(viridis(9)[1:]))
SIZES = tuple(
    SizeClass(label, low, colour[:7])
    for (label, low), colour in zip(_LABELS, _COLOURS, strict=True)
)

# Palette indices: the raster's own, then one for all used memory, the sizes, the kinds.  One
# palette for every way of colouring, so that a frame can never meet the wrong one.  A byte a pixel:
# the table of kinds may grow until FURTHER_KINDS, which the others share.
USED_ANY = USED
FIRST_SIZE = USED + 1
FIRST_KIND = FIRST_SIZE + len(SIZES)
FURTHER_KINDS = 254
EDGE = 255  # between blocks, when zoomed in
FURTHER_COLOUR = "#4d4d4d"

BY_SIZE, BY_KIND, BY_USE = "size", "kind", "free / used"
COLOURINGS = (BY_SIZE, BY_KIND, BY_USE)
CLEAR = "#00000000"
ORDER_MAX = 47  # of the table of size classes: far beyond any space


def size_class(order: int | np.ndarray, granule_bytes: int) -> Any:
    """Index into SIZES of blocks of 2**order granules."""
    lows = np.array([size.bytes_min for size in SIZES[1:]])
    size_bytes = np.left_shift(np.int64(granule_bytes), np.asarray(order, np.int64))
    return np.searchsorted(lows, size_bytes, side="right")


def categories(blocks: np.ndarray, colouring: str, granule_bytes: int) -> np.ndarray:
    """Palette index (u1) of each block; failed memory looks alike in every colouring."""
    if colouring == BY_SIZE:
        table = FIRST_SIZE + size_class(np.arange(ORDER_MAX + 1), granule_bytes)
        found = table.astype(np.uint8)[blocks["order"]]
    elif colouring == BY_KIND:
        table = np.minimum(FIRST_KIND + np.arange(256), FURTHER_KINDS)
        table[len(KINDS) :] = FIRST_KIND + KIND["unknown"]
        found = table.astype(np.uint8)[blocks["kind"]]
    else:
        found = np.full(len(blocks), USED_ANY, np.uint8)
    found[blocks["kind"] == KIND["poison"]] = POISON
    return found


@dataclass(frozen=True)
class Look:
    """The colours of one theme."""

    paper: str
    ink: str
    grid: str
    free: str
    hole: str
    edge: str


LIGHT = Look("#ffffff", "#333333", "#e3e3e3", "#f0f1f3", "#6b6f76", "#ffffff")
DARK = Look("#111111", "#d6d6d6", "#333333", "#26282c", "#000000", "#111111")


def look(light: bool) -> Look:
    return LIGHT if light else DARK


def palette(light: bool) -> list[str]:
    """Colour of each palette index."""
    colours = [KINDS[KIND["unknown"]].colour] * (EDGE + 1)
    chosen = look(light)
    colours[OUTSIDE], colours[HOLE], colours[FREE] = CLEAR, chosen.hole, chosen.free
    colours[POISON], colours[USED_ANY] = KINDS[KIND["poison"]].colour, "#0072b2"
    colours[FIRST_SIZE:FIRST_KIND] = [size.colour for size in SIZES]
    for number in range(len(KINDS)):
        colours[min(FIRST_KIND + number, FURTHER_KINDS)] = kind_colour(number)
    colours[EDGE] = chosen.edge
    return colours


def kind_colour(number: int) -> str:
    """The colour of a kind on the maps and wherever else it is shown."""
    return KINDS[number].colour if FIRST_KIND + number < FURTHER_KINDS else FURTHER_COLOUR


def legend_sizes(granule_bytes: int, space_bytes: int = 1 << 62) -> list[tuple[str, str]]:
    """(colour, label) of the sizes that blocks of such granules can have in a space."""
    first = 1 if granule_bytes >= 4 * KIB else 0
    fitting = [size for size in SIZES[first:] if size.bytes_min <= space_bytes]
    return [(size.colour, size.label) for size in fitting]


def legend_kinds(present: np.ndarray) -> list[tuple[str, str]]:
    """(colour, label) of the kinds whose flag in `present` (per kind) is set; never poison."""
    seen = [number for number, there in enumerate(present[: len(KINDS)]) if there]
    return [
        (kind_colour(number), KINDS[number].name) for number in seen if number != KIND["poison"]
    ]


def legend_map(colouring: str, light: bool) -> list[tuple[str, str]]:
    """(colour, label) of what every map can show beside sizes or kinds."""
    chosen = look(light)
    rows = [(chosen.free, "free"), (chosen.hole, "out of service")]
    rows.append((KINDS[KIND["poison"]].colour, "failed"))
    return [("#0072b2", "used"), *rows] if colouring == BY_USE else rows


def dress(plot: Any, light: bool) -> None:
    """Give a figure the colours of the theme."""
    chosen = look(light)
    plot.background_fill_color = plot.border_fill_color = chosen.paper
    plot.outline_line_color = chosen.grid
    plot.title.text_color = chosen.ink
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = chosen.ink
        axis.major_label_text_color = axis.axis_label_text_color = chosen.ink
        axis.minor_tick_line_color = None
    for grid in plot.grid:
        grid.grid_line_color = chosen.grid
    for legend in plot.legend:
        legend.background_fill_color, legend.label_text_color = chosen.paper, chosen.ink


def compact(plot: Any) -> None:
    """Small type, little margin: what fits four figures side by side at 1280 x 720."""
    plot.toolbar_location = None
    plot.min_border_right, plot.min_border_top = 14, 2
    plot.title.text_font_size, plot.title.standoff = "12px", 3
    for axis in plot.axis:
        axis.major_label_text_font_size = axis.axis_label_text_font_size = "10px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_standoff, axis.major_tick_in = 2, 0


def compact_legend(plot: Any) -> None:
    """A legend above the frame, one entry a line, without a border."""
    for legend in plot.legend:
        legend.orientation, legend.location = "vertical", "top_left"
        legend.label_text_font_size, legend.border_line_color = "10px", None
        legend.padding = legend.margin = legend.spacing = 0
        legend.glyph_height = legend.label_height = 13
        legend.glyph_width, legend.label_standoff = 18, 4
