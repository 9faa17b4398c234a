"""What virtual CPUs cost each other: a figure over their number."""

from typing import Any

from bokeh.models import ColumnDataSource, LegendItem
from bokeh.plotting import figure

from . import theme
from .latency import COLOURS


def columns(by_cpus: dict[int, float]) -> dict[str, list[float]]:
    """Numbers of CPUs, ascending, and the value at each."""
    return {"cpus": sorted(by_cpus), "value": [by_cpus[cpus] for cpus in sorted(by_cpus)]}


def draw(title: str, label: str, values: dict[str, dict[int, float]]) -> Any:
    """A line for each allocator; values: by allocator, then by number of CPUs."""
    plot = figure(
        title=title,
        x_axis_type="log",
        height=160,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="virtual CPUs",
        y_axis_label=label,
    )
    plot.y_range.start = 0
    items = []
    for number, (name, by_cpus) in enumerate(values.items()):
        colour = COLOURS[number % len(COLOURS)]
        data = ColumnDataSource(columns(by_cpus))
        line = plot.line("cpus", "value", source=data, color=colour, line_width=2)
        dots = plot.scatter("cpus", "value", source=data, color=colour, size=6)
        items.append(LegendItem(label=name, renderers=[line, dots]))
    ticks = sorted({cpus for by_cpus in values.values() for cpus in by_cpus})
    theme.ticks(plot.xaxis, {tick: str(tick) for tick in ticks})
    theme.finish(plot, items)
    return plot
