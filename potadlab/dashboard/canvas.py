"""All figures of one session: a column per allocator, and one for what they share.

Figures are built anew for each session, because a Bokeh model belongs to one document for life.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS

from ..kinds import KIND, KINDS
from ..metrics.latency import Latency
from ..session import Session
from ..views import descriptors, latency, orders, regions, theme, timeline

EVENTS = ("mousemove", "mouseenter", "mouseleave", "wheel", "tap", "panstart", "pan", "panend")
SIDE_WIDTH = 300
POISON_COLOUR = KINDS[KIND["poison"]].colour

Shape = tuple[int, int, str]  # granule, granules, colour
Mark = tuple[int, str, str]  # granule, marker, colour


class Canvas:
    """Figures of `names` (allocators of the session); images change through frames."""

    def __init__(
        self,
        session: Session,
        names: Sequence[str],
        measured: list[Latency],
        key: str,
        light: bool,
        pictures: Mapping[str, bytes],
    ) -> None:
        self.session, self.names = session, list(names)
        seconds = max(session.time_ns(session.length) / 1e9, 1e-9)
        # the last pictures stay until the next come, so that nothing flashes
        self.images = {name: regions.source(pictures.get(name)) for name in names}
        self.shapes = {name: ColumnDataSource({"xs": [], "ys": [], "colour": []}) for name in names}
        self.marks = {name: ColumnDataSource(_marks([])) for name in names}
        # a source may serve several figures, so one marker moves in all of them
        self.moment = timeline.source()
        self.maps = {name: self._map(name, key) for name in names}
        self._free = _free(session, names)
        self.orders = self._draw_orders(seconds)
        self.descriptors = self._draw_descriptors(seconds)
        self.latency = latency.draw(measured)
        self._side()
        self.root = self._layout()
        self.dress(light)

    def _map(self, name: str, key: str) -> Any:
        plot = regions.draw(name, self.images[name], self.shapes[name], self.marks[name])
        plot.name = f"map {name}"
        code = f"window.potadlab?.[{json.dumps(key)}]?.({json.dumps(name)}, cb_obj)"
        for event in EVENTS:
            plot.js_on_event(event, CustomJS(code=code))
        return plot

    def _draw_orders(self, seconds: float) -> dict[str, Any]:
        gib = max((orders.top(found) for found in self._free.values()), default=1.0)
        return {
            name: orders.draw(
                "Free, by block size",
                orders.source(self._free[name]),
                seconds,
                gib,
                self.moment,
            )
            for name in self.names
        }

    def _draw_descriptors(self, seconds: float) -> Any:
        session = self.session
        name = self.names[0] if self.names else session.names[0]
        census = session.runs[name].census
        served = int(np.diff(session.in_service(name, session.length), axis=1).sum())
        found = descriptors.columns(
            census.time_ns, census.live_blocks, served, session.space.granules
        )
        return descriptors.draw(found, seconds, self.moment)

    def _side(self) -> None:
        for plot in (self.descriptors, self.latency):
            plot.sizing_mode, plot.width = "fixed", SIDE_WIDTH

    def _layout(self) -> Any:
        pairs = [
            column(self.maps[name], self.orders[name], sizing_mode="stretch_width")
            for name in self.names
        ]
        side = column(self.descriptors, self.latency, width=SIDE_WIDTH, sizing_mode="fixed")
        return row(*pairs, side, sizing_mode="stretch_width")

    @property
    def targets(self) -> list[str]:
        """Ids of the sources that frames write to."""
        return [*(self.images[name].id for name in self.names), self.moment.id]

    def dress(self, light: bool) -> None:
        """Colours of the theme, in every figure."""
        colours = theme.palette(light)
        for plot in [*self.maps.values(), *self.orders.values(), self.descriptors, self.latency]:
            theme.dress(plot, light)
        for plot in self.maps.values():
            plot.select_one({"name": "cells"}).glyph.color_mapper.palette = colours

    def label(self, window: regions.Window) -> None:
        """Addresses of the window, on every map."""
        for plot in self.maps.values():
            regions.label(plot, window, self.session.space.granule_bytes)

    def mark(
        self, name: str, window: regions.Window, shapes: list[Shape], marks: list[Mark]
    ) -> None:
        """Outline blocks and mark granules on one map."""
        drawn = [(*regions.outline(window, at, size), colour) for at, size, colour in shapes]
        drawn = [shape for shape in drawn if shape[0]]
        rows = []
        for granule, marker, colour in marks:
            place = regions.place(window, granule)
            if place:
                rows.append((*place, marker, colour))
        self.shapes[name].data = {
            "xs": [shape[0] for shape in drawn],
            "ys": [shape[1] for shape in drawn],
            "colour": [shape[2] for shape in drawn],
        }
        self.marks[name].data = _marks(rows)

    def write(self, images: list[bytes], seconds: float | None) -> None:
        """A frame by Bokeh's own way, where the bridge cannot find the sources."""
        for name, image in zip(self.names, images, strict=True):
            pixels = np.frombuffer(image, np.uint8).reshape(regions.HEIGHT, regions.WIDTH)
            self.images[name].data = {**self.images[name].data, "image": [pixels]}
        if seconds is not None:
            self.moment.data = {"time_s": [seconds]}


def _marks(rows: list[tuple[float, float, str, str]]) -> dict[str, list[Any]]:
    names = ("x", "y", "marker", "colour")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _free(session: Session, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    found = {}
    for name in names:
        census = session.runs[name].census
        found[name] = orders.columns(
            census.time_ns, census.free_blocks, session.space.granule_bytes
        )
    return found
