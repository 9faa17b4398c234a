"""What claims come to over a whole trace, by size: success and what it cost."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.plotting import figure

from ..units import MIB, format_size
from . import theme

_COLOURS = {"potad": "#0072b2", "cma": "#d55e00"}


class Survey(Protocol):
    """What is needed of an allocator's claims, in one way."""

    @property
    def allocator(self) -> str: ...
    @property
    def may_move(self) -> bool: ...
    @property
    def size_bytes(self) -> np.ndarray: ...  # i8[size]
    @property
    def done(self) -> np.ndarray: ...  # bool[size, moment]
    @property
    def moved_bytes(self) -> np.ndarray: ...  # i8[size, moment]
    @property
    def in_vain(self) -> np.ndarray: ...  # i8[size, moment]


def name(found: Survey) -> str:
    """What the line of an allocator, in one way, is called."""
    return found.allocator.partition(":")[0] + (", may migrate" if found.may_move else "")


def columns(found: Survey) -> dict[str, np.ndarray]:
    """By size: success in % of the moments; MiB copied and tries in vain, means per claim given.

    NaN where none was given.
    """
    given = found.done.sum(axis=1)
    with np.errstate(invalid="ignore"):
        copied = (found.moved_bytes * found.done).sum(axis=1) / MIB / given
        in_vain = (found.in_vain * found.done).sum(axis=1) / given
    return {
        "size_bytes": found.size_bytes,
        "success_percent": 100 * found.done.mean(axis=1),
        "copied_mib": copied,
        "in_vain": in_vain,
    }


def draw(surveys: Sequence[Survey], light: bool = True) -> list[Any]:
    """Figures of success, copies and tries in vain over the size: a colour for each allocator.

    One that moves is dashed, with a ring around its dots.
    """
    plots = [
        _plot("Claims given", "of the moments, %", "success_percent", surveys),
        _plot("Copied for each claim given", "MiB, mean", "copied_mib", surveys),
        _plot("Tries in vain before it", "ranges or steps, mean", "in_vain", surveys),
    ]
    plots[0].y_range = Range1d(-3, 103)
    for plot in plots[1:]:
        plot.y_range.start, plot.y_range.min_interval = 0, 1  # nothing is no small difference
    for plot in plots:
        theme.dress(plot, light)
    return plots


def _plot(title: str, label: str, column: str, surveys: Sequence[Survey]) -> Any:
    plot = figure(
        title=title,
        x_axis_type="log",
        height=210,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="size of the claim",
        y_axis_label=label,
    )
    items = []
    for found in surveys:
        data = ColumnDataSource({key: list(values) for key, values in columns(found).items()})
        colour = _COLOURS.get(found.allocator.partition(":")[0], "#009e73")
        dash = "dashed" if found.may_move else "solid"
        line = plot.line(
            "size_bytes", column, source=data, color=colour, line_dash=dash, line_width=2
        )
        size, fill = (11, None) if found.may_move else (6, colour)
        dots = plot.scatter(
            "size_bytes", column, source=data, line_color=colour, fill_color=fill, size=size
        )
        items.append(LegendItem(label=name(found), renderers=[line, dots]))
    ticks = surveys[0].size_bytes.tolist() if surveys else []
    theme.ticks(plot.xaxis, {tick: format_size(tick) for tick in ticks})
    theme.finish(plot, items, ncols=2)
    return plot
