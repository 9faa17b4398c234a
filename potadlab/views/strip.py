"""The whole trace at a glance: allocations by kind over time, and where something happened."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from ..core.layout import Outcome, Verb
from ..kinds import KINDS
from . import theme, timeline

BINS = 240
# what people jump to, its marker and colour
WHAT = {
    "refusal": ("x", "#e8003c"),
    "failure": ("diamond", "#e8003c"),
    "claim": ("inverted_triangle", "#d000d0"),
    "split": ("circle", "#666666"),
    "bookmark": ("star", "#009e73"),
}


def notable(ops: np.ndarray, events: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """i8[] indices of the ops of each sort; a refusal counts in whichever allocator it happened.

    events: EVENT[] of each allocator.
    """
    verbs = ops["verb"]
    asking = (verbs == Verb.ALLOCATE) | (verbs == Verb.CLAIM)
    refused = verbs == Verb.REFUSED
    for found in events.values():
        refused = refused | (asking & (found["outcome"] == Outcome.REFUSED))
    return {
        "refusal": np.flatnonzero(refused),
        "failure": np.flatnonzero(verbs == Verb.FAIL),
        "claim": np.flatnonzero(verbs == Verb.CLAIM),
        "split": np.flatnonzero(verbs == Verb.SPLIT),
    }


def columns(ops: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    """Allocations per bin, a column per kind (its name), the kinds with most last; bins in s."""
    edges = np.linspace(0, seconds, BINS + 1)
    asked = ops[ops["verb"] == Verb.ALLOCATE]
    bins = np.clip(np.searchsorted(edges, asked["time_ns"] / 1e9, side="right") - 1, 0, BINS - 1)
    kinds = np.minimum(asked["kind"], len(KINDS) - 1).astype(np.int64)
    counts = np.bincount(kinds * BINS + bins, minlength=len(KINDS) * BINS).reshape(-1, BINS)
    found = {"time_s": (edges[1:] + edges[:-1]) / 2}
    sums = counts.sum(axis=1)
    for kind in sorted(np.flatnonzero(sums), key=lambda number: sums[number]):
        found[KINDS[kind].name] = counts[kind]
    return found


def marks(ops: np.ndarray, where: Mapping[str, np.ndarray], seconds: float) -> dict[str, list[Any]]:
    """Time, height, marker and colour of each notable op; of many in one bin, one."""
    rows = []
    for row, (what, indices) in enumerate(where.items()):
        marker, colour = WHAT[what]
        times = ops["time_ns"][np.clip(indices, 0, len(ops) - 1)] / 1e9 if len(ops) else []
        bins = (np.asarray(times) / seconds * BINS).astype(np.int64)
        for at in np.unique(bins, return_index=True)[1]:
            rows.append((float(times[at]), row, marker, colour))
    names = ("time_s", "row", "marker", "colour")
    return {name: [one[at] for one in rows] for at, name in enumerate(names)}


def source(found: dict[str, list[Any]]) -> ColumnDataSource:
    return ColumnDataSource(found)


def draw(
    found: dict[str, np.ndarray],
    noted: ColumnDataSource,
    seconds: float,
    marker: ColumnDataSource,
) -> Any:
    """The strip; `noted` holds `marks`, in rows above the stack."""
    names = [name for name in found if name != "time_s"]
    most = float(np.sum([found[name] for name in names], axis=0).max()) if names else 1.0
    plot = figure(
        title=f"Allocations by kind over {marker.name}; click to go there",
        x_range=Range1d(0, seconds),
        y_range=Range1d(0, 1),
        height=74,
        sizing_mode="stretch_width",
        tools="",
        name="strip",
    )
    stack = {"time_s": found["time_s"], **{name: found[name] / most * 0.7 for name in names}}
    colours = [_colour(name) for name in names]
    plot.varea_stack(names, x="time_s", color=colours, source=ColumnDataSource(stack))
    plot.extra_y_ranges = {"rows": Range1d(14.5, -0.7)}
    plot.scatter(
        "time_s", "row", marker="marker", source=noted, size=6, y_range_name="rows",
        line_color="colour", fill_color="colour", name="noted",
    )  # fmt: skip
    timeline.draw(plot, marker)
    plot.xaxis.axis_label = None  # low, and above figures that say it
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.grid.visible = False
    theme.compact(plot)
    plot.min_border_left = 40
    return plot


def _colour(name: str) -> str:
    number = next(number for number, kind in enumerate(KINDS) if kind.name == name)
    return theme.kind_colour(number)
