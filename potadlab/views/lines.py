"""Cache lines per op: how many ops touch at most so many, and in which structure they lie."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Legend, LegendItem, Range1d
from bokeh.palettes import Category20_20
from bokeh.plotting import figure

from . import theme
from .latency import COLOURS

_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 4000)
_NONE = 0.8  # where the logarithmic axis has 0
OTHERS = "others"
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
    plot.xaxis.ticker = FixedTicker(ticks=list(_TICKS))
    plot.xaxis.major_label_overrides = {tick: f"{tick:,}" for tick in _TICKS}
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


def draw_structures(title: str, lines: dict[str, dict[str, float]]) -> Any:
    """A bar for each allocator and verb, a piece for each structure."""
    found = structures(lines)
    names = [name for name in found if name != "row"]
    colours = [Category20_20[number % 20] for number in range(len(names))]
    plot = figure(
        title=title,
        y_range=found["row"],
        height=90 + 24 * len(found["row"]) + 12 * (len(names) // 5),
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="cache lines per op, mean",
    )
    bars = plot.hbar_stack(
        names, y="row", height=0.7, color=colours, source=ColumnDataSource(found)
    )
    plot.x_range.start = 0
    _finish(
        plot, [LegendItem(label=n, renderers=[bar]) for n, bar in zip(names, bars, strict=True)]
    )
    return plot


def _finish(plot: Any, items: list[LegendItem]) -> None:
    plot.add_layout(Legend(items=items, orientation="horizontal", ncols=5), "above")
    theme.compact(plot)
    theme.compact_legend(plot)
