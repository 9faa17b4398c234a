"""Swap folios that found a block of their own order, by age or by fill of the device."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.plotting import figure

from ..units import format_size
from . import theme

_COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#332288")
_DASHES = ("solid", "dashed", "dotted", "dotdash")


class Aged(Protocol):
    """What is needed of one allocator's run."""

    @property
    def allocator(self) -> str: ...
    @property
    def success(self) -> np.ndarray: ...  # f8[sample, order], 0 .. 1 or NaN
    @property
    def bytes_per_slot(self) -> float: ...


class Ageing(Protocol):
    """What is needed of a comparison."""

    @property
    def space(self) -> Any: ...
    @property
    def fill(self) -> float: ...
    @property
    def orders(self) -> tuple[int, ...]: ...
    @property
    def turnovers(self) -> np.ndarray: ...
    @property
    def runs(self) -> Sequence[Aged]: ...


def name(allocator: str, order: int) -> str:
    """The column of an allocator's folios of one order."""
    return f"{allocator}, order {order}"


def columns(aged: Ageing) -> dict[str, np.ndarray]:
    """Turnovers, and % of the folios served up to each: one column per allocator and order."""
    found = {"turnovers": np.asarray(aged.turnovers, float)}
    for run in aged.runs:
        for at, order in enumerate(aged.orders):
            found[name(run.allocator, order)] = 100 * run.success[:, at]
    return found


def columns_by_fill(aged: Sequence[Ageing]) -> dict[str, np.ndarray]:
    """% of the slots in use, and % of the folios served in the last turnover, as in `columns`.

    The comparisons have the same allocators and orders.
    """
    found = {"fill": np.array([100 * one.fill for one in aged])}
    ends = [columns(one) for one in aged]
    for column in list(ends[0])[1:]:
        found[column] = np.array([end[column][-1] for end in ends])
    return found


def draw(aged: Ageing) -> Any:
    """Success over age: a colour per order, a dash per allocator, its bytes of metadata beside."""
    plot = _figure(
        f"Folios swapped out in one block, {100 * aged.fill:g} % of {aged.space.name} in use",
        "age, turnovers",
        (0, float(aged.turnovers[-1]) or 1.0),
    )
    words = [
        f"{run.allocator} ({run.bytes_per_slot:.3g} B of metadata per slot)" for run in aged.runs
    ]
    _lines(plot, columns(aged), "turnovers", aged, words)
    return plot


def draw_by_fill(aged: Sequence[Ageing]) -> Any:
    """Success in the last turnover over the share of slots in use."""
    last = aged[0].turnovers[-1]
    fills = [100 * one.fill for one in aged]
    plot = _figure(
        f"Folios swapped out in one block, after {last:g} turnovers",
        "slots in use, %",
        (min(fills), max(fills)),
    )
    _lines(plot, columns_by_fill(aged), "fill", aged[0], [run.allocator for run in aged[0].runs])
    return plot


def _figure(title: str, label: str, x_range: tuple[float, float]) -> Any:
    return figure(
        title=title,
        x_range=Range1d(*x_range),
        y_range=Range1d(-1, 101),
        height=300,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label=label,
        y_axis_label="served, %",
    )


def _lines(plot: Any, found: dict[str, np.ndarray], x: str, aged: Ageing, words: list[str]) -> None:
    data = ColumnDataSource({key: list(values) for key, values in found.items()})
    items = []
    for run, dash, word in zip(aged.runs, _DASHES, words, strict=False):
        for order, colour in zip(aged.orders, _COLOURS, strict=False):
            column = name(run.allocator, order)
            line = plot.line(x, column, source=data, color=colour, line_dash=dash, line_width=2)
            size = format_size(aged.space.granule_bytes << order)
            items.append(LegendItem(label=f"{size}, {word}", renderers=[line]))
    theme.finish(plot, items, place="right")
