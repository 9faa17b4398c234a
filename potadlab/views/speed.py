"""Time per op as `potadlab bench` measured it: over a space's size and fill, and side by side."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Protocol

from bokeh.models import ColumnDataSource, FixedTicker, LegendItem
from bokeh.plotting import figure

from ..units import parse_size
from . import theme
from .latency import COLOURS

HEIGHT = 200
GROWTH, FILLING = "grow", "fill"
_NULL = "null"


class Measured(Protocol):
    """What is needed of a figure."""

    @property
    def median(self) -> float: ...
    @property
    def best(self) -> float: ...
    @property
    def unit(self) -> str: ...


Figures = Mapping[str, Measured]


def series(figures: Figures, subject: str) -> dict[str, dict[str, list[float]]]:
    """By contestant: columns x (bytes, or percent), median and best, ascending in x.

    Of the figures SUBJECT.X.CONTESTANT.ns_per_op, where X is a size or a number.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for name, measured in figures.items():
        if name.startswith(f"{subject}.") and name.endswith(".ns_per_op"):
            middle, contestant = name.removesuffix(".ns_per_op").rsplit(".", 1)
            place = middle.removeprefix(f"{subject}.")
            x = float(place) if place.isdigit() else float(parse_size(place))
            found.setdefault(contestant, []).append((x, measured.median, measured.best))
    columns = ("x", "median", "best")
    return {
        contestant: dict(zip(columns, map(list, zip(*sorted(rows), strict=True)), strict=True))
        for contestant, rows in sorted(found.items(), key=lambda item: (item[0] == _NULL, item[0]))
    }


def draw(figures: Figures, subject: str) -> Any:
    """A line of medians for each contestant, and its best round as a ring below it."""
    over = subject == GROWTH
    plot = figure(
        title="Time per op over the size of the space"
        if over
        else "Time per op over how full it is",
        x_axis_type="log" if over else "linear",
        height=HEIGHT,
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="size of the space" if over else "in use, %",
        y_axis_label="ns per op",
        name=subject,
    )
    plot.y_range.start = 0
    items, places = [], set[float]()
    for number, (name, columns) in enumerate(series(figures, subject).items()):
        data, colour = ColumnDataSource(columns), COLOURS[number % len(COLOURS)]
        places |= set(columns["x"])
        line = plot.line("x", "median", source=data, color=colour, line_width=2)
        dots = plot.scatter("x", "median", source=data, color=colour, size=6)
        plot.scatter("x", "best", source=data, line_color=colour, fill_color=None, size=8)
        items.append(LegendItem(label=name, renderers=[line, dots]))
    plot.xaxis.ticker = FixedTicker(ticks=sorted(places))
    if over:
        plot.xaxis.major_label_overrides = {x: _size(x) for x in places}
    theme.finish(plot, items)
    return plot


def _size(size_bytes: float) -> str:
    gib = size_bytes / (1 << 30)
    return f"{gib / 1024:g} TiB" if gib >= 1024 else f"{gib:g} GiB"


def subjects(figures: Figures) -> dict[str, dict[str, list[Any]]]:
    """By subject and unit, such as "compile_redis, ns_per_op": columns who, median, best.

    Of what several contestants were timed in; the fastest stands at the top.
    """
    timed = [
        (f"{parts[0]}, {parts[-1]}", ".".join(parts[1:-1]), measured)
        for parts, measured in ((name.split("."), measured) for name, measured in figures.items())
        if measured.unit == "ns" and parts[0] not in (GROWTH, FILLING)
    ]
    found: dict[str, dict[str, list[Any]]] = {}
    for subject, group in groupby(sorted(timed, key=lambda row: row[0]), key=lambda row: row[0]):
        rows = sorted(((who, one) for _, who, one in group), key=lambda row: -row[1].median)
        if len(rows) > 1:
            found[subject] = {
                "who": [who for who, _ in rows],
                "median": [one.median for _, one in rows],
                "best": [one.best for _, one in rows],
            }
    return found


def draw_subject(subject: str, columns: dict[str, list[Any]]) -> Any:
    """A bar for each contestant as long as its median, and a mark where its best round was."""
    plot = figure(
        title=subject,
        y_range=columns["who"],
        height=60 + 18 * len(columns["who"]),
        sizing_mode="stretch_width",
        tools="",
        x_axis_label="ns",
        name=subject,
    )
    plot.x_range.start = 0
    data = ColumnDataSource(
        columns
        | {"colour": [COLOURS["potad" not in who and "heads" not in who] for who in columns["who"]]}
    )
    plot.hbar("who", right="median", height=0.6, color="colour", source=data)
    plot.scatter("best", "who", marker="dash", angle=1.5708, size=14, color="black", source=data)
    theme.compact(plot)
    return plot
