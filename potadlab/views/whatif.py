"""Descriptors of sizes one may choose: bytes by kind over time, beside a word for every page.

Pure arithmetic over how many blocks of each kind live; nothing is replayed.
"""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, LegendItem, Range1d
from bokeh.plotting import figure

from ..kinds import KIND, KINDS
from ..metrics.descriptors import bytes_of_one, descriptor_bytes, start_bits_bytes
from ..units import MIB, format_size
from . import theme, timeline

PER_PAGE = (64, 32, 16, 8)  # bytes: struct page, half of it, memdesc's plan with and without order
START_BITS = "start bits"
MEMDESC = "8 B and descriptors"
_DASHES = ("solid", "dashed", "dotdash", "dotted")


def present(live_blocks: np.ndarray) -> list[int]:
    """Kinds of which any block ever lives; live_blocks: i8[sample, kind]."""
    return [int(number) for number in np.flatnonzero(live_blocks.any(axis=0))]


def columns(
    time_ns: np.ndarray,
    live_blocks: np.ndarray,
    record_bytes: np.ndarray,
    in_service: int,
    granules: int,
) -> dict[str, np.ndarray]:
    """Seconds; MiB of each kind present, of the start bits; of so many bytes for every page.

    live_blocks: i8[sample, kind]; record_bytes: i8[kind]; in_service: pages that are there;
    granules: end of the address range.  MEMDESC: a word of 8 bytes for every page, and the records
    (it has no slots).
    """
    kind_bytes = descriptor_bytes(live_blocks, record_bytes)
    samples = len(time_ns)
    found = {"time_s": np.asarray(time_ns) / 1e9}
    for number in present(live_blocks):
        found[KINDS[number].name] = kind_bytes[:, number] / MIB
    found[START_BITS] = np.full(samples, start_bits_bytes(granules) / MIB)
    for each in PER_PAGE:
        found[page_name(each)] = np.full(samples, each * in_service / MIB)
    kinds = live_blocks.shape[1]
    records = live_blocks * np.resize(record_bytes, kinds)
    found[MEMDESC] = found[page_name(8)] + records.sum(axis=1) / MIB
    return found


def page_name(each_bytes: int) -> str:
    return f"{each_bytes} B per page"


def stacked(found: dict[str, np.ndarray]) -> list[str]:
    """Names of the columns that stand on each other."""
    lines = {"time_s", MEMDESC, *map(page_name, PER_PAGE)}
    return [name for name in found if name not in lines]


def bars(live_blocks: np.ndarray, record_bytes: np.ndarray) -> dict[str, list[Any]]:
    """A row for each kind that lives, the most bytes first: blocks, bytes of one, MiB, colour.

    live_blocks: i8[kind], at one moment.
    """
    each = bytes_of_one(len(live_blocks), record_bytes)
    total = live_blocks * each
    shown = [int(number) for number in np.argsort(-total, kind="stable") if live_blocks[number]]
    return {
        "kind": [KINDS[number].name for number in shown],
        "blocks": [int(live_blocks[number]) for number in shown],
        "each_bytes": [int(each[number]) for number in shown],
        "mib": [float(total[number] / MIB) for number in shown],
        "colour": [theme.kind_colour(number) for number in shown],
        "words": [
            f"{live_blocks[number]:,} x {each[number]:,} B = {format_size(int(total[number]))}"
            for number in shown
        ],
    }


def draw(found: dict[str, np.ndarray], seconds: float, marker: ColumnDataSource) -> Any:
    """(figure, its source): kinds on each other, and a line for each way to pay for every page."""
    data = ColumnDataSource(found)
    plot = figure(
        title="Descriptors, slots and start bits, by kind",
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, top(found)),
        height=250,
        sizing_mode="stretch_width",
        tools="",
        y_axis_label="MiB",
        name="descriptors over time",
    )
    names = stacked(found)
    colours = [_colour(name) for name in names]
    plot.varea_stack(names, x="time_s", color=colours, source=data, alpha=0.85)
    items = []
    for name, dash in zip(map(page_name, PER_PAGE), _DASHES, strict=True):
        line = plot.line("time_s", name, source=data, color="#777777", line_dash=dash, line_width=2)
        items.append(LegendItem(label=f"{name}, {found[name][-1]:,.1f} MiB", renderers=[line]))
    line = plot.line("time_s", MEMDESC, source=data, color="#e8003c", line_width=2)
    items.append(LegendItem(label=f"{MEMDESC} (memdesc)", renderers=[line]))
    timeline.draw(plot, marker)
    theme.finish(plot, items, ncols=2)
    return plot, data


def top(found: dict[str, np.ndarray]) -> float:
    """Upper end of the axis, MiB."""
    lines = [found[page_name(PER_PAGE[0])], found[MEMDESC]]
    return max(top_of_stack(found), 1.05 * max(float(np.max(each, initial=0)) for each in lines))


def top_of_stack(found: dict[str, np.ndarray]) -> float:
    """The same, of what stands on each other alone."""
    stack = np.sum([found[name] for name in stacked(found)], axis=0)
    return 1.05 * float(np.max(stack, initial=0)) or 1.0


def draw_bars(found: dict[str, list[Any]]) -> Any:
    """(figure, its source): a bar for each kind."""
    data = ColumnDataSource(found)
    plot = figure(
        title="At this moment",
        y_range=FactorRange(factors=found["kind"][::-1]),
        height=250,
        sizing_mode="stretch_width",
        tools=[HoverTool(tooltips=[("", "@kind"), ("", "@words")])],
        x_axis_label="MiB",
        name="descriptors now",
    )
    plot.x_range = Range1d(0, top_of_bars(found))
    plot.hbar(y="kind", right="mib", height=0.75, color="colour", source=data)
    plot.text(
        "mib", "kind", "words", source=data, text_font_size="10px", text_baseline="middle",
        x_offset=4, name="words",
    )  # fmt: skip
    theme.compact(plot)
    return plot, data


def top_of_bars(found: dict[str, list[Any]]) -> float:
    """Upper end of the axis, MiB: beside the longest bar its words have room."""
    return max(found["mib"], default=0.0) * 2.2 or 1.0


def dress(plot: Any, light: bool) -> None:
    """The colours of the theme."""
    theme.dress(plot, light)
    for words in plot.select({"name": "words"}):
        words.glyph.text_color = theme.look(light).ink


def _colour(name: str) -> str:
    return "#777777" if name == START_BITS else theme.kind_colour(KIND[name])
