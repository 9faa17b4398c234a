"""The moment shown, as an upright line in every figure over time."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

COLOUR = "#e8003c"


def columns(time_ns: int) -> dict[str, np.ndarray]:
    """One moment, seconds."""
    return {"time_s": np.array([time_ns / 1e9])}


def source(time_ns: int = 0) -> ColumnDataSource:
    return ColumnDataSource(columns(time_ns))


def draw(plot: Any, marker: ColumnDataSource) -> None:
    """Put the line of `marker` over a figure whose horizontal axis is seconds."""
    plot.vspan("time_s", source=marker, line_color=COLOUR, line_width=1.5)
