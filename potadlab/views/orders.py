"""Free memory by the size of free blocks, over time: a stack, small blocks at the bottom."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from ..units import GIB
from . import theme, timeline

NAMES = tuple(f"class{number}" for number in range(len(theme.SIZES)))


def columns(
    time_ns: np.ndarray, free_blocks: np.ndarray, granule_bytes: int
) -> dict[str, np.ndarray]:
    """Seconds, and GiB free in each class of sizes: one column per entry of theme.SIZES.

    free_blocks: i8[sample, order], blocks of 2**order granules.
    """
    orders = np.arange(free_blocks.shape[1])
    classes = theme.size_class(np.minimum(orders, theme.ORDER_MAX), granule_bytes)
    block_gib = np.ldexp(granule_bytes / GIB, orders)
    found = {"time_s": np.asarray(time_ns) / 1e9}
    for number, name in enumerate(NAMES):
        found[name] = free_blocks[:, classes == number] @ block_gib[classes == number]
    return found


def top(found: dict[str, np.ndarray]) -> float:
    """Upper end of the axis for such columns, GiB."""
    stack = sum(found[name] for name in NAMES)
    return float(np.max(stack, initial=0)) * 1.05 or 1.0


def source(found: dict[str, np.ndarray]) -> ColumnDataSource:
    return ColumnDataSource({key: list(values) for key, values in found.items()})


def draw(
    title: str, data: ColumnDataSource, seconds: float, gib: float, marker: ColumnDataSource
) -> Any:
    """The stack over `seconds` and up to `gib`, with the marker of the moment shown."""
    plot = figure(
        title=title,
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, gib),
        height=115,
        sizing_mode="stretch_width",
        tools="",
        y_axis_label="free, GiB",
    )
    colours = [size.colour for size in theme.SIZES]
    plot.varea_stack(NAMES, x="time_s", color=colours, source=data)
    timeline.draw(plot, marker)
    theme.compact(plot)
    return plot
