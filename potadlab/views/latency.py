"""Time from an address to its descriptor, by structure: how many batches took at most so long."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, Legend, LegendItem, Range1d
from bokeh.plotting import figure

from ..metrics.latency import BATCH
from . import theme

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442")
DASHES = ("solid", "dashed", "dotted", "dotdash")  # after the colours, the next way to draw a line
_TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000)
_ROOM = 2.5  # from a tick with a label to the next, two decades on a figure of 300 pixels
_POINTS = 400
BINS = 60
HEIGHT = 160
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


def histogram(measured: list[Any], bins: int = BINS) -> dict[str, np.ndarray]:
    """ns at the edges of bins (`left`, `right`), and the share of batches (%) in each.

    Of each structure a column `share0`, ...; bins are evenly spaced in the logarithm.  What lies
    beyond `bounds` counts in the outermost bins.
    """
    low, high = bounds(measured)
    edges = np.geomspace(low, high, bins + 1)
    found = {"left": edges[:-1], "right": edges[1:]}
    for number, one in enumerate(measured):
        at = np.clip(np.searchsorted(edges, one.samples_ns, side="right") - 1, 0, bins - 1)
        counts = np.bincount(at, minlength=bins)
        found[f"share{number}"] = 100 * counts / max(len(one.samples_ns), 1)
    return found


def draw_histogram(measured: list[Any]) -> Any:
    """An outline for each structure, coloured as its curve."""
    found = histogram(measured)
    data = ColumnDataSource(found)
    plot = _figure("How many batches took so long", measured, "share of batches, %")
    shares = [found[name].max() for name in found if name.startswith("share")]
    plot.y_range = Range1d(0, 1.05 * max(shares, default=1.0))
    for number in range(len(measured)):
        colour, dash = look(number)
        name = f"share{number}"
        plot.step(
            "left", name, source=data, mode="after", color=colour, line_dash=dash, line_width=2
        )
        plot.quad(
            "left", "right", name, 0, source=data, fill_color=colour, fill_alpha=0.12,
            line_color=None,
        )  # fmt: skip
    _finish(plot)
    return plot


def by_population(measured: list[Any]) -> dict[str, dict[str, list[float]]]:
    """Of each structure: numbers of blocks, ascending, and the p50 and p99 of its batches there."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in sorted(measured, key=lambda one: one.blocks):
        rows = found.setdefault(one.lookup, {"blocks": [], "p50": [], "p99": []})
        for name, value in (("blocks", one.blocks), ("p50", one.p50_ns), ("p99", one.p99_ns)):
            rows[name].append(value)
    return found


def draw_populations(measured: list[Any]) -> Any:
    """The median over the number of blocks, and the 99th percentile, thin, above it."""
    plot = figure(
        title="Over the number of blocks: p50, and p99 (thin)",
        x_axis_type="log",
        y_axis_type="log",
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="blocks",
        y_axis_label="ns",
        name="latency by population",
    )
    numbers = sorted({one.blocks for one in measured})
    for number, (_, rows) in enumerate(by_population(measured).items()):
        colour, dash = look(number)
        data = ColumnDataSource(rows)
        plot.line("blocks", "p50", source=data, color=colour, line_dash=dash, line_width=2)
        plot.scatter("blocks", "p50", source=data, color=colour, size=6)
        plot.line("blocks", "p99", source=data, color=colour, line_dash=dash, line_width=1)
    theme.ticks(plot.xaxis, _apart(numbers))
    _ticks(plot.yaxis)
    theme.compact(plot)
    return plot


def _apart(numbers: list[int]) -> dict[float, str]:
    """Labels for ticks on a logarithmic axis; none where it would stand on the one before."""
    labels: dict[float, str] = {}
    labelled = 0.0
    for each in numbers:
        room = each >= _ROOM * labelled
        labels[each] = f"{each:,}" if room else ""
        labelled = each if room else labelled
    return labels


def draw(measured: list[Any], title: str = TITLE, name: Callable[[Any], str] = label) -> Any:
    """A curve per structure; in the legend `name`: median and 99th percentile of its batches."""
    plot = _figure(title if measured else NOTHING, measured, "share of batches, %")
    plot.y_range = Range1d(0, 101)
    items = []
    for number, found in enumerate(measured):
        data = ColumnDataSource(columns(found.samples_ns))
        colour, dash = look(number)
        line = plot.line("ns", "share", source=data, color=colour, line_dash=dash, line_width=2)
        items.append(LegendItem(label=name(found), renderers=[line]))
    plot.add_layout(Legend(items=items, ncols=2 if len(items) > 2 else 1), "above")
    _finish(plot)
    return plot


def _figure(title: str, measured: list[Any], label: str) -> Any:
    """Empty, with the axis of times."""
    return figure(
        title=title,
        x_range=Range1d(*bounds(measured)),
        x_axis_type="log",
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label=f"mean of {BATCH} dependent lookups, ns",
        y_axis_label=label,
    )


def _finish(plot: Any) -> None:
    _ticks(plot.xaxis)
    theme.compact(plot)
    theme.compact_legend(plot)


def _ticks(axis: Any) -> None:
    theme.ticks(axis, {tick: f"{tick:,}" for tick in _TICKS})
