"""Memory in use for long: huge pages got, free memory unusable for them, pages moved, by age."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.plotting import figure

from . import latency, theme


class Aged(Protocol):
    """What is needed of one allocator's runs; f8[seed, sample] each."""

    @property
    def allocator(self) -> str: ...
    @property
    def success(self) -> np.ndarray: ...  # 0 .. 1 or NaN
    @property
    def unusable(self) -> np.ndarray: ...  # 0 .. 1
    @property
    def spoilt(self) -> np.ndarray: ...  # regions
    @property
    def migrated(self) -> np.ndarray: ...  # granules a turnover


class Ageing(Protocol):
    """What is needed of a comparison."""

    @property
    def turnovers(self) -> np.ndarray: ...  # f8[sample]
    @property
    def runs(self) -> Sequence[Any]: ...


MEASURES = {  # attribute: title, label of the axis, scale
    "success": ("Huge pages got, of those asked for", "got, %", 100.0),
    "unusable": ("Free memory unusable for 2 MiB", "unusable, %", 100.0),
    "spoilt": ("2 MiB regions spoilt by unmovable memory", "regions", 1.0),
    "migrated": ("Pages moved to empty a region", "pages a turnover", 1.0),
}


def columns(aged: Ageing, measure: str) -> dict[str, np.ndarray]:
    """Turnovers; per allocator the mean of the seeds under its name, "NAME low" and "NAME high".

    Where nothing was measured (no huge page was asked for), NaN.
    """
    scale = MEASURES[measure][2]
    found = {"turnovers": np.asarray(aged.turnovers, float)}
    for run in aged.runs:
        values = scale * np.asarray(getattr(run, measure), float)
        told = ~np.isnan(values)
        count = told.sum(axis=0)
        total = np.where(told, values, 0).sum(axis=0)
        mean = np.full(values.shape[1], np.nan)
        found[run.allocator] = np.divide(total, count, out=mean, where=count > 0)
        low = np.where(told, values, np.inf).min(axis=0)
        high = np.where(told, values, -np.inf).max(axis=0)
        found[f"{run.allocator} low"] = np.where(count > 0, low, np.nan)
        found[f"{run.allocator} high"] = np.where(count > 0, high, np.nan)
    return found


def draw(aged: Ageing, measure: str) -> Any:
    """One of MEASURES over age: a line for the mean of the seeds, a band from lowest to highest."""
    title, label, scale = MEASURES[measure]
    found = columns(aged, measure)
    data = ColumnDataSource({key: list(values) for key, values in found.items()})
    plot = figure(
        title=f"{title} (closed loop)",
        x_range=Range1d(0, float(aged.turnovers[-1]) or 1.0),
        height=280,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="age, turnovers of memory",
        y_axis_label=label,
    )
    if scale == 100.0:
        plot.y_range = Range1d(-1, 101)
    else:
        plot.y_range.start = 0
    items = []
    for number, run in enumerate(aged.runs):
        colour, dash = latency.look(number)
        low, high = f"{run.allocator} low", f"{run.allocator} high"
        plot.varea("turnovers", low, high, source=data, color=colour, fill_alpha=0.12)
        line = plot.line(
            "turnovers", run.allocator, source=data, color=colour, line_dash=dash, line_width=2
        )
        items.append(LegendItem(label=run.allocator, renderers=[line]))
    theme.finish(plot, items, ncols=2)
    return plot
