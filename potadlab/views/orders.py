"""Free memory by the size of free blocks, over time: a stack, small blocks at the bottom."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from ..units import GIB, KIB, MIB
from . import theme, timeline

UNITS = {GIB: "GiB", MIB: "MiB", KIB: "KiB"}
NAMES = tuple(f"class{number}" for number in range(len(theme.SIZES)))


def unit_for(space_bytes: int) -> int:
    """The unit, in bytes, in which so much memory is told well."""
    return next((unit for unit in UNITS if unit <= space_bytes), KIB)


def columns(
    time_ns: np.ndarray, free_blocks: np.ndarray, granule_bytes: int, unit: int = GIB
) -> dict[str, np.ndarray]:
    """Seconds, and what is free in each class of sizes: one column per entry of theme.SIZES.

    free_blocks: i8[sample, order], blocks of 2**order granules; unit: of UNITS.
    """
    orders = np.arange(free_blocks.shape[1])
    classes = theme.size_class(np.minimum(orders, theme.ORDER_MAX), granule_bytes)
    block = np.ldexp(granule_bytes / unit, orders)
    found = {"time_s": np.asarray(time_ns) / 1e9}
    for number, name in enumerate(NAMES):
        found[name] = free_blocks[:, classes == number] @ block[classes == number]
    return found


def top(found: dict[str, np.ndarray]) -> float:
    """Upper end of the axis for such columns."""
    stack = sum(found[name] for name in NAMES)
    return float(np.max(stack, initial=0)) * 1.05 or 1.0


def source(found: dict[str, np.ndarray]) -> ColumnDataSource:
    return ColumnDataSource({key: list(values) for key, values in found.items()})


def draw(
    title: str,
    data: ColumnDataSource,
    seconds: float,
    high: float,
    marker: ColumnDataSource,
    unit: int = GIB,
) -> Any:
    """The stack over `seconds` and up to `high`, with the marker of the moment shown."""
    plot = figure(
        title=title,
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, high),
        height=102,
        sizing_mode="stretch_width",
        tools="",
        y_axis_label=f"free, {UNITS[unit]}",
    )
    colours = [size.colour for size in theme.SIZES]
    plot.varea_stack(NAMES, x="time_s", color=colours, source=data)
    timeline.draw(plot, marker)
    plot.yaxis.ticker.desired_num_ticks = 3  # in 47 px
    theme.compact(plot)
    return plot
