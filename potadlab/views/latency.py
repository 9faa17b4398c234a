"""Time from an address to its descriptor, by structure: how many batches took at most so long."""

from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Legend, LegendItem, Range1d
from bokeh.plotting import figure

from ..metrics.latency import BATCH
from . import theme

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442")
DASHES = ("solid", "dashed", "dotted", "dotdash")  # after the colours, the next way to draw a line
_TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000)
_POINTS = 400
TITLE = "Lookup of blocks live at the trace's end"
NOTHING = "Lookup: no block lives at the trace's end"


class Measured(Protocol):
    """What is needed of a measurement: ns of batches (means of lookups), their median and 99th."""

    @property
    def lookup(self) -> str: ...
    @property
    def samples_ns(self) -> np.ndarray: ...
    @property
    def p50_ns(self) -> float: ...
    @property
    def p99_ns(self) -> float: ...


def columns(samples_ns: np.ndarray) -> dict[str, np.ndarray]:
    """ns, ascending, at most 400 of them, and the share of batches (%) that took at most that."""
    ordered = np.sort(samples_ns)
    at = np.unique(np.linspace(0, len(ordered) - 1, min(_POINTS, len(ordered))).astype(int))
    # a sample of 0 is below what the clock can tell; a logarithmic axis begins above it
    return {"ns": np.maximum(ordered[at], 0.1), "share": 100 * (at + 1) / max(len(ordered), 1)}


def label(found: Measured) -> str:
    return f"{found.lookup}: p50 {found.p50_ns:.3g} ns, p99 {found.p99_ns:.3g} ns"


def look(number: int) -> tuple[str, str]:
    """(colour, dash) of the curve with this number: no two of 24 alike."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def bounds(measured: list[Any]) -> tuple[float, float]:
    """(low, high) of the axis in ns: from half the 1st percentile to thrice the 99th."""
    if not measured:
        return 1.0, 1000.0
    low = min(float(np.percentile(found.samples_ns, 1)) for found in measured)
    high = max(found.p99_ns for found in measured)
    return max(low / 2, 0.5), max(high * 3, 10.0)


def draw(measured: list[Any]) -> Any:
    """A curve per structure, median and 99th percentile of its batches in the legend."""
    low, high = bounds(measured)
    plot = figure(
        title=TITLE if measured else NOTHING,
        x_range=Range1d(low, high),
        y_range=Range1d(0, 101),
        x_axis_type="log",
        height=160,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label=f"mean of {BATCH} dependent lookups, ns",
        y_axis_label="share of batches, %",
    )
    items = []
    for number, found in enumerate(measured):
        data = ColumnDataSource(columns(found.samples_ns))
        colour, dash = look(number)
        line = plot.line("ns", "share", source=data, color=colour, line_dash=dash, line_width=2)
        items.append(LegendItem(label=label(found), renderers=[line]))
    plot.add_layout(Legend(items=items, ncols=2 if len(items) > 2 else 1), "above")
    plot.xaxis.ticker = FixedTicker(ticks=list(_TICKS))
    plot.xaxis.major_label_overrides = {tick: f"{tick:,}" for tick in _TICKS}
    theme.compact(plot)
    theme.compact_legend(plot)
    return plot
