"""How far free memory is from the recorded kernel's: over time, and by block size."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, LegendItem, Range1d
from bokeh.plotting import figure
from bokeh.transform import dodge

from ..metrics.distance import Distance
from ..units import format_size
from . import theme, timeline

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MOVED_COLOUR = "#999999"


def columns(found: Distance) -> dict[str, np.ndarray]:
    """Seconds; percent of free memory off the record; percent the record moved from its start."""
    return {
        "time_s": np.asarray(found.time_ns) / 1e9,
        "off": 100 * found.share,
        "moved": 100 * found.moved,
    }


def sizes(found: list[Distance], granule_bytes: int) -> dict[str, list[Any]]:
    """Block sizes, and for each allocator the mean percent of free memory more than the record."""
    orders = range(found[0].signed.shape[1])
    means = {one.allocator: (100 * one.signed.mean(axis=0)).tolist() for one in found}
    return {"size": [format_size(granule_bytes << order) for order in orders], **means}


def draw(found: list[Distance], seconds: float, marker: ColumnDataSource) -> Any:
    """A line for each allocator, and in grey how far the record itself moved."""
    highest = max(float(columns(one)[name].max()) for one in found for name in ("off", "moved"))
    plot = figure(
        title="Off the recorded placement: free memory in blocks of another size",
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, highest * 1.05 or 1.0),
        height=160,
        sizing_mode="stretch_width",
        tools="",
        y_axis_label="of free memory, %",
    )
    items = []
    grey = ColumnDataSource(columns(found[0]))
    line = plot.line("time_s", "moved", source=grey, color=MOVED_COLOUR, line_dash="dashed")
    items.append(LegendItem(label="the record, from its own start", renderers=[line]))
    for place, one in enumerate(found):
        data, colour = ColumnDataSource(columns(one)), COLOURS[place % len(COLOURS)]
        line = plot.line("time_s", "off", source=data, color=colour, line_width=2)
        label = f"{one.allocator}: mean {one.mean:.2%}"
        items.append(LegendItem(label=label, renderers=[line]))
    timeline.draw(plot, marker)
    theme.finish(plot, items)
    return plot


def draw_sizes(found: list[Distance], granule_bytes: int) -> Any:
    """Bars for each block size: above zero, more is free in it than the record has."""
    table = sizes(found, granule_bytes)
    plot = figure(
        title="More or less free than in the record, by block size (mean over time)",
        x_range=FactorRange(*table["size"]),
        height=160,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="block size",
        y_axis_label="of free memory, %",
    )
    data, width = ColumnDataSource(table), 0.8 / len(found)
    items = []
    for place, one in enumerate(found):
        at = dodge("size", (place + 0.5) * width - 0.4, range=plot.x_range)
        colour = COLOURS[place % len(COLOURS)]
        bars = plot.vbar(at, width * 0.9, one.allocator, source=data, color=colour)
        items.append(LegendItem(label=one.allocator, renderers=[bars]))
    theme.finish(plot, items)
    return plot
