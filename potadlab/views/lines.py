"""Cache lines per op: how many ops touch at most so many, and in which structure they lie."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.palettes import Category20_20
from bokeh.plotting import figure

from ..metrics.lines import Lines
from ..units import format_size
from . import theme, timeline
from .latency import COLOURS

_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 4000)
_NONE = 0.8  # where the logarithmic axis has 0
OTHERS = "others"
SHOWN = 40.0  # lines of a bar that are drawn where tails make it longer; its name has the sum
_SHARE_MIN = 0.02  # of the longest bar: what is less stands among the others


def columns(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Lines, ascending, and the share of ops (%) that touch at most that; a step at each.

    counts: i8[], counts[n]: ops that touch n lines.  No ops: no rows.
    """
    lines = np.flatnonzero(counts)
    share = 100 * np.cumsum(counts)[lines] / max(int(counts.sum()), 1)
    return {"lines": np.maximum(lines.astype(float), _NONE), "share": share}


def draw(title: str, counts: dict[str, np.ndarray]) -> Any:
    """A curve of steps for each allocator."""
    high = max((len(each) for each in counts.values()), default=1)
    plot = figure(
        title=title,
        x_range=Range1d(_NONE, max(high * 1.1, 10)),
        y_range=Range1d(0, 101),
        x_axis_type="log",
        height=160,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="cache lines that an op touches at most",
        y_axis_label="share of ops, %",
    )
    items = []
    for number, (name, each) in enumerate(counts.items()):
        colour = COLOURS[number % len(COLOURS)]
        data = ColumnDataSource(columns(each))
        line = plot.step("lines", "share", source=data, mode="after", color=colour, line_width=2)
        items.append(LegendItem(label=name, renderers=[line]))
    _finish(plot, items)
    theme.ticks(plot.xaxis, {tick: f"{tick:,}" for tick in _TICKS})
    return plot


def structures(lines: dict[str, dict[str, float]]) -> dict[str, list[Any]]:
    """A row for each bar, last one first, and lines per op in each structure, the most first.

    lines: of each bar, lines per op by structure.  What never makes 2 % of the longest bar is
    summed up under "others".
    """
    rows = list(reversed(lines))
    longest = max((sum(each.values()) for each in lines.values()), default=0.0)
    totals: dict[str, float] = {}
    for each in lines.values():
        for name, value in each.items():
            totals[name] = max(totals.get(name, 0.0), value)
    shown = [name for name, value in totals.items() if value >= _SHARE_MIN * longest]
    found: dict[str, list[Any]] = {"row": rows}
    for name in sorted(shown, key=lambda name: -totals[name]):
        found[name] = [lines[row].get(name, 0.0) for row in rows]
    rest = [sum(value for name, value in lines[row].items() if name not in shown) for row in rows]
    return found | ({OTHERS: rest} if any(rest) else {})


def by_size(
    verb: str, runs: Mapping[str, Lines], granule_bytes: int
) -> dict[str, dict[str, float]]:
    """Of each block size and allocator, named with its sum: lines per op by whom they belong to."""
    orders = sorted(set().union(*(found.of(verb).by_order for found in runs.values())))
    return {
        f"{format_size(granule_bytes << order)}, {name}: {each.mean:.2f}": each.parts
        for order in orders
        for name, found in runs.items()
        if (each := found.of(verb).by_order.get(order))
    }


def over_time(
    time_ns: np.ndarray, ops: np.ndarray, by_array: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Seconds at the middle of each stretch, its width, ops, and lines per op in each structure.

    time_ns: i8[sample + 1], edges; ops: i8[sample]; by_array: i8[sample], lines.  The structure
    with the most lines comes first; what makes less than 2 % of all is summed up under "others".
    Where there is no op there are no lines.
    """
    edges = np.asarray(time_ns) / 1e9
    totals = {name: int(lines.sum()) for name, lines in by_array.items()}
    least = _SHARE_MIN * sum(totals.values())
    shown = sorted((name for name in totals if totals[name] > least), key=lambda n: -totals[n])
    per_op = 1 / np.maximum(ops, 1)
    found = {
        "time_s": (edges[1:] + edges[:-1]) / 2,
        "width_s": np.diff(edges),
        "ops": np.asarray(ops),
    }
    for name in shown:
        found[name] = by_array[name] * per_op
    rest = [by_array[name] for name in totals if totals[name] and name not in shown]
    if rest:
        found[OTHERS] = np.sum(rest, axis=0) * per_op
    return found


def stacked(found: dict[str, np.ndarray]) -> list[str]:
    """Names of the structures among the columns of `over_time`."""
    return [name for name in found if name not in ("time_s", "width_s", "ops")]


def top(found: dict[str, np.ndarray]) -> float:
    """Lines per op in the dearest stretch."""
    return float(np.max(np.sum([found[name] for name in stacked(found)], axis=0), initial=0.0))


def draw_over_time(
    title: str, found: dict[str, np.ndarray], seconds: float, high: float, marker: ColumnDataSource
) -> Any:
    """A bar for each stretch of time, a piece for each structure; `high`: end of the axis."""
    names = stacked(found)
    plot = figure(
        title=title,
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, high),
        height=216,  # the title has two lines
        sizing_mode="stretch_width",
        tools="",
        y_axis_label="lines per op",
    )
    bars = plot.vbar_stack(
        names, x="time_s", width="width_s", color=colours(names), line_color=None,
        source=ColumnDataSource(found),
    )  # fmt: skip
    items = [LegendItem(label=n, renderers=[bar]) for n, bar in zip(names, bars, strict=True)]
    timeline.draw(plot, marker)
    theme.finish(plot, items, ncols=3)
    return plot


def colours(names: list[str]) -> list[str]:
    """A colour for each of so many structures."""
    return [Category20_20[number % 20] for number in range(len(names))]


def draw_structures(
    title: str, lines: dict[str, dict[str, float]], end: float | None = None
) -> Any:
    """A bar for each allocator and verb, a piece for each structure; shown up to `end` lines."""
    found = structures(lines)
    names = [name for name in found if name != "row"]
    plot = figure(
        title=title,
        y_range=found["row"],
        height=90 + 24 * len(found["row"]) + 12 * (len(names) // 5),
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="cache lines per op, mean",
    )
    bars = plot.hbar_stack(
        names, y="row", height=0.7, color=colours(names), source=ColumnDataSource(found)
    )
    plot.x_range.start = 0
    if end is not None:
        plot.x_range.end = end
    _finish(
        plot, [LegendItem(label=n, renderers=[bar]) for n, bar in zip(names, bars, strict=True)]
    )
    return plot


def _finish(plot: Any, items: list[LegendItem]) -> None:
    theme.finish(plot, items, ncols=5)
