"""The moment shown, as an upright line in every figure over time."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from ..clock import SECONDS, Clock

COLOUR = "#e8003c"


def columns(time_ns: int) -> dict[str, np.ndarray]:
    """One moment, seconds (an op is one where a trace tells no times)."""
    return {"time_s": np.array([time_ns / 1e9])}


def source(time_ns: int = 0, clock: Clock = SECONDS) -> ColumnDataSource:
    """The marker; its name is how moments are called."""
    return ColumnDataSource(columns(time_ns), name=clock.axis)


def draw(plot: Any, marker: ColumnDataSource) -> None:
    """Put the line of `marker` over a figure along whose horizontal axis are moments."""
    plot.xaxis.axis_label = marker.name
    plot.vspan("time_s", source=marker, line_color=COLOUR, line_width=1.5)
