"""Colours, labels and the look of figures: safe for colour-blind readers, on light and on dark.

Sizes run along viridis (light small, dark large), so their order shows without hue; kinds have the
colours of the table of kinds; failed memory keeps one colour that nothing else has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh.models import FixedTicker, Legend, LegendItem
from bokeh.palettes import cividis, viridis

from ..clock import OP_NS, SECONDS, Clock
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

# For owners: Paul Tol's "muted", told apart by all; the others share grey.
OWNER_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255",
    "#aa4499",
)  # fmt: skip
OWNERS_SHOWN = len(OWNER_COLOURS)
OTHER_OWNER = OWNERS_SHOWN  # rank of owners that have no colour of their own
GROUPS = (("unmovable", "#d55e00"), ("movable", "#56b4e9"), ("reclaimable", "#009e73"))
AGES = (  # up to so many ns, young ones light
    ("below 1 ms", 10**6),
    ("1-10 ms", 10**7),
    ("10-100 ms", 10**8),
    ("0.1-1 s", 10**9),
    ("1-10 s", 10**10),
    ("10 s and more", 1 << 62),
    ("older than the recording", 1 << 63),
)
OP_AGES = (  # the same for traces that tell no times
    ("below 10 ops", 10 * OP_NS),
    ("10-100 ops", 100 * OP_NS),
    ("100-1,000 ops", 1000 * OP_NS),
    ("1,000-10,000 ops", 10**4 * OP_NS),
    ("10,000-100,000 ops", 10**5 * OP_NS),
    ("100,000 ops and more", 1 << 62),
    ("from before", 1 << 63),
)
AGE_COLOURS = tuple(colour[:7] for colour in reversed(cividis(len(AGES))))
QUIET_COLOUR, HURT_COLOUR = "#b9c7d3", "#e69f00"
# Of two allocators, from "only the second has it in use" to "only the first"
DIFFERENCES = ("#b35806", "#fdb863", "#9aa5b1", "#b2abd2", "#542788")

# Palette indices: the raster's own, then one for all used memory, the sizes, owners, groups, ages,
# two for failures, differences, the kinds.  One palette for every way of colouring, so that a frame
# can never meet the wrong one.  A byte a pixel: the table of kinds may grow until FURTHER_KINDS,
# which the others share.
USED_ANY = USED
FIRST_SIZE = USED + 1
FIRST_OWNER = FIRST_SIZE + len(SIZES)
FIRST_GROUP = FIRST_OWNER + OWNERS_SHOWN + 1
FIRST_AGE = FIRST_GROUP + len(GROUPS)
QUIET = FIRST_AGE + len(AGES)  # a block without a failed granule
HURT = QUIET + 1  # a block with one
FIRST_DIFFERENCE = HURT + 1
BOTH_USE = FIRST_DIFFERENCE + len(DIFFERENCES) // 2
FIRST_KIND = FIRST_DIFFERENCE + len(DIFFERENCES)
FURTHER_KINDS = 254
EDGE = 255  # between blocks, when zoomed in
FURTHER_COLOUR = "#4d4d4d"

BY_SIZE, BY_KIND, BY_USE = "size", "kind", "free / used"
COLOURINGS = (BY_SIZE, BY_KIND, BY_USE)
BY_OWNER, BY_GROUP, BY_AGE, BY_FAILED = "owner", "group", "age", "failed"
ALL_COLOURINGS = (*COLOURINGS, BY_OWNER, BY_GROUP, BY_AGE, BY_FAILED)  # these need a Shade
CLEAR = "#00000000"
_APART = ".bk-grid { column-gap: 14px !important; }"  # Bokeh's own gap is between rows as well
ORDER_MAX = 47  # of the table of size classes: far beyond any space


def size_class(order: int | np.ndarray, granule_bytes: int) -> Any:
    """Index into SIZES of blocks of 2**order granules."""
    lows = np.array([size.bytes_min for size in SIZES[1:]])
    size_bytes = np.left_shift(np.int64(granule_bytes), np.asarray(order, np.int64))
    return np.searchsorted(lows, size_bytes, side="right")


@dataclass(frozen=True)
class Shade:
    """What a block does not carry and some colourings ask for."""

    now_ns: int = 0
    owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))  # rank, by owner
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))  # by handle
    clock: Clock = SECONDS


PLAIN = Shade()


def categories(
    blocks: np.ndarray, colouring: str, granule_bytes: int, shade: Shade = PLAIN
) -> np.ndarray:
    """Palette index (u1) of each block; failed memory looks alike in every colouring."""
    if colouring == BY_SIZE:
        table = FIRST_SIZE + size_class(np.arange(ORDER_MAX + 1), granule_bytes)
        found = table.astype(np.uint8)[blocks["order"]]
    elif colouring == BY_KIND:
        table = np.minimum(FIRST_KIND + np.arange(256), FURTHER_KINDS)
        table[len(KINDS) :] = FIRST_KIND + KIND["unknown"]
        found = table.astype(np.uint8)[blocks["kind"]]
    elif colouring == BY_OWNER:
        found = FIRST_OWNER + _looked_up(shade.owners, blocks["owner"], OTHER_OWNER)
    elif colouring == BY_GROUP:
        found = FIRST_GROUP + _looked_up(shade.groups, blocks["handle"], 0)
    elif colouring == BY_AGE:
        found = FIRST_AGE + _age_class(blocks["time_ns"], shade)
    elif colouring == BY_FAILED:
        found = np.where(_hurt(blocks), HURT, QUIET).astype(np.uint8)
    else:
        found = np.full(len(blocks), USED_ANY, np.uint8)
    found[blocks["kind"] == KIND["poison"]] = POISON
    return found


def _looked_up(table: np.ndarray, at: np.ndarray, missing: int) -> np.ndarray:
    """u1: table[at], `missing` where there is none."""
    known = (at >= 0) & (at < len(table))
    found = np.full(len(at), missing, np.uint8)
    found[known] = table[at[known]]
    return found


def ages(clock: Clock) -> tuple[tuple[str, int], ...]:
    return AGES if clock.timed else OP_AGES


def _age_class(since_ns: np.ndarray, shade: Shade) -> np.ndarray:
    """u1: index into the ages of the clock."""
    limits = np.array([limit for _, limit in ages(shade.clock)[:-2]])
    found = np.searchsorted(limits, shade.now_ns - since_ns, side="right").astype(np.uint8)
    found[since_ns < 0] = len(AGES) - 1
    return found


def _hurt(blocks: np.ndarray) -> np.ndarray:
    """Whether a failed granule lies in each block (its own record follows the block's)."""
    failed = blocks["granule"][blocks["kind"] == KIND["poison"]]
    ends = blocks["granule"] + np.left_shift(np.int64(1), blocks["order"].astype(np.int64))
    return np.searchsorted(failed, ends) > np.searchsorted(failed, blocks["granule"])


def ranks(colouring: str) -> np.ndarray:
    """u1[256]: the worse, the higher, of each palette index: for maps that show the worst.

    Worse is what stands in the way of a large block: used before free; small before large,
    unmovable before movable, old before young, a failure before all.
    """
    found = np.zeros(256, np.uint8)
    found[FREE] = 1
    found[USED_ANY:EDGE] = 2
    found[POISON] = 255
    if colouring == BY_SIZE:
        found[FIRST_SIZE : FIRST_SIZE + len(SIZES)] = 2 + np.arange(len(SIZES))[::-1]
    elif colouring == BY_KIND:
        for number, kind in enumerate(KINDS):
            found[min(FIRST_KIND + number, FURTHER_KINDS)] = 2 if kind.movable else 3
    elif colouring == BY_GROUP:
        found[FIRST_GROUP : FIRST_GROUP + len(GROUPS)] = 4, 2, 3
    elif colouring == BY_AGE:
        found[FIRST_AGE : FIRST_AGE + len(AGES)] = 2 + np.arange(len(AGES))
    elif colouring == BY_FAILED:
        found[HURT] = 3
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
    colours[FIRST_SIZE:FIRST_OWNER] = [size.colour for size in SIZES]
    colours[FIRST_OWNER:FIRST_GROUP] = [*OWNER_COLOURS, FURTHER_COLOUR]
    colours[FIRST_GROUP:FIRST_AGE] = [colour for _, colour in GROUPS]
    colours[FIRST_AGE:QUIET] = AGE_COLOURS
    colours[QUIET], colours[HURT] = QUIET_COLOUR, HURT_COLOUR
    colours[FIRST_DIFFERENCE:FIRST_KIND] = DIFFERENCES
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


def legend_of(colouring: str, owners: list[str], clock: Clock = SECONDS) -> list[tuple[str, str]]:
    """(colour, label) of what a colouring shows; owners: those with a colour of their own."""
    if colouring == BY_OWNER:
        rows = list(zip(OWNER_COLOURS, owners, strict=False))
        return [*rows, (FURTHER_COLOUR, "other owners")]
    if colouring == BY_GROUP:
        return [(colour, name) for name, colour in GROUPS]
    if colouring == BY_AGE:
        return list(zip(AGE_COLOURS, [name for name, _ in ages(clock)], strict=True))
    if colouring == BY_FAILED:
        return [(QUIET_COLOUR, "used"), (HURT_COLOUR, "a failed page is in this block")]
    return []


def legend_difference(first: str, second: str) -> list[tuple[str, str]]:
    """(colour, label) of a map of differences."""
    labels = (f"{second} only", f"more in {second}", "both", f"more in {first}", f"{first} only")
    return list(zip(DIFFERENCES, labels, strict=True))


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


def ticks(axis: Any, labels: Mapping[float, str]) -> None:
    """Put ticks at these places and nowhere else, with these words."""
    axis.ticker = FixedTicker(ticks=list(labels))
    axis.major_label_overrides = dict(labels)


def finish(plot: Any, items: list[LegendItem], ncols: int = 1, place: str = "above") -> None:
    """A legend beside the frame, and all of it compact."""
    plot.add_layout(Legend(items=items, ncols=ncols), place)
    compact(plot)
    compact_legend(plot)


def compact_legend(plot: Any) -> None:
    """A legend above the frame, one entry a line, without a border."""
    for legend in plot.legend:
        legend.orientation, legend.location = "vertical", "top_left"
        legend.label_text_font_size, legend.border_line_color = "10px", None
        legend.padding = legend.margin = legend.spacing = 0
        legend.glyph_height = legend.label_height = 13
        legend.glyph_width, legend.label_standoff = 18, 4
        legend.stylesheets = [_APART]
