"""Memory in use for long: huge pages got, free memory unusable for them, pages moved, by age.

And the same over the last turnovers, by the share of memory that may not move.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d, Span
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
    def lately(self, figure: str) -> np.ndarray: ...  # f8[seed], of one of MEASURES


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

_MARK = "#888888"  # seen on light and dark


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


def draw(aged: Ageing, measure: str) -> tuple[Any, ColumnDataSource]:
    """One of MEASURES over age, and its source: the mean of the seeds, and a band around it."""
    found = columns(aged, measure)
    data = ColumnDataSource(as_lists(found))
    plot = _frame(measure, f"{MEASURES[measure][0]} (closed loop)", "age, turnovers of memory")
    plot.x_range = Range1d(0, float(aged.turnovers[-1]) or 1.0)
    lines = {}
    for number, run in enumerate(aged.runs):
        colour, dash = latency.look(number)
        low, high = f"{run.allocator} low", f"{run.allocator} high"
        plot.varea("turnovers", low, high, source=data, color=colour, fill_alpha=0.12)
        lines[run.allocator] = plot.line(
            "turnovers", run.allocator, source=data, color=colour, line_dash=dash, line_width=2
        )
    _legend(plot, lines)
    return plot, data


def share_columns(found: Mapping[int, Aged], measure: str) -> dict[str, np.ndarray]:
    """Shares of unmovable memory (%), ascending; mean, lowest, highest of the seeds, lately.

    found: one allocator's runs, by that share.
    """
    shares = sorted(found)
    lately = [MEASURES[measure][2] * found[share].lately(measure) for share in shares]
    told = [values[~np.isnan(values)] for values in lately]
    ends = [(each.mean(), each.min(), each.max()) if len(each) else (np.nan,) * 3 for each in told]
    mean, low, high = np.array(ends, float).reshape(-1, 3).T
    return {"unmovable": np.array(shares, float), "mean": mean, "low": low, "high": high}


def draw_shares(
    found: Mapping[str, Mapping[int, Aged]], measure: str, now: float, most: float
) -> tuple[Any, dict[str, ColumnDataSource], Span]:
    """One of MEASURES against the share of unmovable memory, 0 to `most` %: a line each allocator.

    Returned beside: the source of each, and the line that marks the share `now`.
    """
    plot = _frame(measure, f"{MEASURES[measure][0]}, last turnovers", "unmovable, % of memory")
    plot.x_range = Range1d(-0.02 * most, 1.02 * most)
    mark = Span(
        location=now, dimension="height", line_color=_MARK, line_width=6, line_alpha=0.4, name="now"
    )
    plot.add_layout(mark)
    sources, lines = {}, {}
    for number, (name, runs) in enumerate(found.items()):
        colour, dash = latency.look(number)
        data = sources[name] = ColumnDataSource(as_lists(share_columns(runs, measure)))
        plot.segment("unmovable", "low", "unmovable", "high", source=data, color=colour)
        plot.scatter("unmovable", "mean", source=data, color=colour, size=7)
        lines[name] = plot.line(
            "unmovable", "mean", source=data, color=colour, line_dash=dash, line_width=2
        )
    _legend(plot, lines)
    return plot, sources, mark


def as_lists(found: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Columns as a source takes them: NaN stays NaN."""
    return {name: list(values) for name, values in found.items()}


def _frame(measure: str, title: str, along: str) -> Any:
    """An empty figure, of this measure upwards."""
    _, label, scale = MEASURES[measure]
    plot = figure(
        title=title,
        height=280,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label=along,
        y_axis_label=label,
    )
    if scale == 100.0:
        plot.y_range = Range1d(-1, 101)
    else:
        plot.y_range.start = 0
    return plot


def _legend(plot: Any, lines: Mapping[str, Any]) -> None:
    items = [LegendItem(label=name, renderers=[line]) for name, line in lines.items()]
    theme.finish(plot, items, ncols=2)
    plot.legend.spacing = 8
