"""Fragmentation over time: free memory unusable for 2 MiB, blocks to be had, regions spoilt."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.plotting import figure

from ..metrics.fragmentation import at_a_moment
from . import latency, theme, timeline

MEASURES = {  # column: title, label of the axis
    "unusable": ("Free memory unusable for 2 MiB", "unusable, %"),
    "available": ("2 MiB blocks to be had", "blocks"),
    "spoilt": ("2 MiB regions spoilt by unmovable memory", "regions"),
}


def columns(
    time_ns: np.ndarray, free_blocks: np.ndarray, spoilt: np.ndarray, granule_bytes: int
) -> dict[str, np.ndarray]:
    """Seconds, and each of MEASURES; free_blocks: i8[sample, order], spoilt: i8[sample]."""
    moments = [at_a_moment(blocks, granule_bytes) for blocks in free_blocks]
    return {
        "time_s": np.asarray(time_ns) / 1e9,
        "unusable": np.array([100 * moment["unusable_index"]["2MiB"] for moment in moments]),
        "available": np.array([moment["blocks_available"]["2MiB"] for moment in moments]),
        "spoilt": np.asarray(spoilt),
    }


def draw(
    measure: str,
    found: Mapping[str, dict[str, np.ndarray]],
    seconds: float,
    marker: ColumnDataSource,
) -> Any:
    """One of MEASURES over time, a line per allocator; found: columns by allocator."""
    title, label = MEASURES[measure]
    plot = figure(
        title=title,
        x_range=Range1d(0, seconds),
        height=160,
        sizing_mode="stretch_width",
        tools="",
        y_axis_label=label,
    )
    items = []
    for number, (name, one) in enumerate(found.items()):
        colour, dash = latency.look(number)
        data = ColumnDataSource({"x": list(one["time_s"]), "y": list(one[measure])})
        line = plot.line("x", "y", source=data, color=colour, line_dash=dash, line_width=2)
        items.append(LegendItem(label=name, renderers=[line]))
    timeline.draw(plot, marker)
    theme.finish(plot, items, ncols=2 if len(items) > 2 else 1)
    return plot
