"""Bytes of records and lookup entries by kind, of all with the start bits, and of struct page.

Logarithmic, being far apart.
"""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LegendItem, Range1d
from bokeh.plotting import figure

from ..kinds import KIND, KINDS
from ..metrics.descriptors import descriptor_bytes, start_bits_bytes, struct_page_bytes
from ..units import format_size
from . import theme, timeline

PAGES = "struct_page"
TOTAL = "total"
_TICKS = [float(1 << shift) for shift in range(0, 60, 4)]


def columns(
    time_ns: np.ndarray, live_blocks: np.ndarray, in_service: int, granules: int
) -> dict[str, np.ndarray]:
    """Seconds; bytes of each kind that has any (its name); their sum and start bits; struct page.

    live_blocks: i8[sample, kind]; in_service: granules that are there; granules: end of the
    address range.  A record per live block, see descriptor_bytes.  A logarithmic axis has no place
    for 0, so 0 becomes NaN.
    """
    kind_bytes = descriptor_bytes(live_blocks)
    found = {"time_s": np.asarray(time_ns) / 1e9}
    for number in np.flatnonzero(kind_bytes.any(axis=0)):
        values = kind_bytes[:, number].astype(float)
        found[KINDS[number].name] = np.where(values > 0, values, np.nan)
    found[TOTAL] = kind_bytes.sum(axis=1).astype(float) + start_bits_bytes(granules)
    found[PAGES] = np.full(len(time_ns), float(struct_page_bytes(in_service)))
    return found


def kinds(found: dict[str, np.ndarray]) -> list[str]:
    """Names of the kinds among the columns."""
    return [name for name in found if name not in ("time_s", TOTAL, PAGES)]


def source(found: dict[str, np.ndarray]) -> ColumnDataSource:
    return ColumnDataSource({key: list(values) for key, values in found.items()})


def bounds(found: dict[str, np.ndarray]) -> tuple[float, float]:
    """(low, high) of the axis, bytes: four decades of 16 at most, struct page at the top."""
    high = max(float(found[PAGES].max(initial=1)), float(found[TOTAL].max(initial=1)))
    return max(high / 16**4, 1.0), high * 4


def draw(found: dict[str, np.ndarray], seconds: float, marker: ColumnDataSource) -> Any:
    """A line per kind, the sum with the start bits, and struct page dashed above them."""
    low, high = bounds(found)
    plot = figure(
        title="Records and lookup entries, by kind",
        x_range=Range1d(0, seconds),
        y_range=Range1d(low, high),
        y_axis_type="log",
        height=160,
        sizing_mode="stretch_width",
        tools="",
    )
    data = source(found)
    for name in kinds(found):
        plot.line("time_s", name, source=data, color=theme.kind_colour(KIND[name]), line_width=1.5)
    total = plot.line("time_s", TOTAL, source=data, color="#777777", line_width=3)
    pages = plot.line(
        "time_s", PAGES, source=data, color="#777777", line_dash="dashed", line_width=2
    )
    _label(plot, found, total, pages)
    timeline.draw(plot, marker)
    return plot


def _label(plot: Any, found: dict[str, np.ndarray], total: Any, pages: Any) -> None:
    """Sizes on the axis, and what the two grey lines are."""
    theme.ticks(plot.yaxis, {tick: format_size(tick) for tick in _TICKS})
    words = f"struct page, 64 B each: {format_size(found[PAGES][-1])}"
    sums = f"all, with start bits, at the end: {format_size(found[TOTAL][-1])}"
    items = [LegendItem(label=words, renderers=[pages]), LegendItem(label=sums, renderers=[total])]
    theme.finish(plot, items)
