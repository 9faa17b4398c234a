"""A machine as it runs: what is asked of it, and its free memory, over the last minute."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, NumeralTickFormatter, Range1d
from bokeh.plotting import figure

from . import orders, theme

SECONDS = 60.0
ALLOCS, FREES, LOST = "#0072b2", "#e69f00", "#e8003c"
_STEP_S = 0.5


def rates(
    at_s: np.ndarray, allocs: np.ndarray, frees: np.ndarray, lost: np.ndarray, now_s: float
) -> dict[str, np.ndarray]:
    """Events per second in steps of half a second, over the last minute; time is 0 now.

    at_s: when each count ended, ascending; what is unfinished of the last step is left out.
    """
    last = np.floor(now_s / _STEP_S)
    first = max(last - SECONDS / _STEP_S, 0.0)
    step = np.floor(np.asarray(at_s) / _STEP_S).astype(np.int64)
    steps = np.arange(int(first), int(last))
    kept = (step >= first) & (step < last)
    found = {"time_s": (steps + 0.5) * _STEP_S - now_s}
    for name, counts in (("allocs", allocs), ("frees", frees), ("lost", lost)):
        weights = np.asarray(counts, np.float64)[kept]
        sums = np.bincount(step[kept] - int(first), weights, len(steps))
        found[name] = sums / _STEP_S
    return found


def draw_rates(source: ColumnDataSource) -> Any:
    """Lines of allocs, frees and events that were lost."""
    plot = figure(
        title="Page allocations",
        x_range=Range1d(-SECONDS, 0),
        y_range=DataRange1d(start=0, min_interval=10),
        height=130,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="time, s",
        y_axis_label="per second",
    )
    for name, colour in (("allocs", ALLOCS), ("frees", FREES), ("lost", LOST)):
        plot.line(
            "time_s", name, source=source, line_color=colour, line_width=1.5, legend_label=name
        )
    plot.yaxis.formatter = NumeralTickFormatter(format="0a")
    theme.compact(plot)
    theme.compact_legend(plot)
    plot.legend.orientation, plot.legend.background_fill_alpha = "horizontal", 0.6
    return plot


def free(
    at_s: np.ndarray, free_blocks: np.ndarray, page_bytes: int, now_s: float
) -> dict[str, np.ndarray]:
    """As views.orders.columns, time counted back from now."""
    found = orders.columns(np.asarray(at_s) * 1e9, free_blocks, page_bytes)
    found["time_s"] = found["time_s"] - now_s
    return found


def draw_free(source: ColumnDataSource) -> Any:
    """The stack of free memory by block size."""
    plot = figure(
        title="Free, by block size",
        x_range=Range1d(-SECONDS, 0),
        y_range=DataRange1d(start=0),
        height=130,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="time, s",
        y_axis_label="free, GiB",
    )
    colours = [size.colour for size in theme.SIZES]
    plot.varea_stack(orders.NAMES, x="time_s", color=colours, source=source)
    theme.compact(plot)
    return plot


def empty(names: Iterable[str]) -> ColumnDataSource:
    return ColumnDataSource({"time_s": [], **{name: [] for name in names}})
