"""Maps side by side, one per allocator: images change through frames, outlines and marks here.

Figures are built anew each time they are shown, because a Bokeh model belongs to one document for
life.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.layouts import row
from bokeh.models import ColumnDataSource, CustomJS

from ..views import regions, theme

EVENTS = ("mousemove", "mouseenter", "mouseleave", "wheel", "tap", "panstart", "pan", "panend")

Shape = tuple[int, int, str]  # granule, granules, colour
Mark = tuple[int, str, str]  # granule, marker, colour


def wire(plot: Any, name: str, key: str, events: Sequence[str] = EVENTS) -> None:
    """Let the pointer's events on a figure go to the bridge of this key, as those of `name`."""
    code = f"window.potadlab?.[{json.dumps(key)}]?.({json.dumps(name)}, cb_obj)"
    for event in events:
        plot.js_on_event(event, CustomJS(code=code))


@dataclass(frozen=True)
class Screen:
    """How large maps stand on the page: a picture's pixels, and a map's height with its axes."""

    pixels: regions.Pixels = regions.SMALL
    map_height: int = regions.HEIGHT

    def serves(self, wanted: "Screen") -> bool:
        """Whether it will do in place of another: it is that, or has a few rows less."""
        less = wanted.pixels.height - self.pixels.height
        alike = self.pixels.width == wanted.pixels.width and self.map_height == wanted.map_height
        return alike and 0 <= less <= _ROWS_LESS


SMALL = Screen()
_ROWS_LESS = 8
_HEIGHT_SMALL, _HEIGHT_SHARE = 720, 0.4  # what a taller page has more of, so much is the maps'


def height_for(page_height: float) -> int:
    """Of a map with its axes on a page so high."""
    return regions.HEIGHT + int(_HEIGHT_SHARE * max(page_height - _HEIGHT_SMALL, 0))


class Maps:
    """A map of each of `names`; `root` is what the page shows."""

    def __init__(
        self,
        names: Sequence[str],
        granule_bytes: int,
        key: str,
        pictures: Mapping[str, bytes],
        screen: Screen = SMALL,
    ) -> None:
        self.names, self.granule_bytes, self.screen = list(names), granule_bytes, screen
        # the last pictures stay until the next come, so that nothing flashes
        self.images = {name: regions.source(screen.pixels, pictures.get(name)) for name in names}
        self.shapes = {name: ColumnDataSource({"xs": [], "ys": [], "colour": []}) for name in names}
        self.marks = {name: ColumnDataSource(_marks([])) for name in names}
        self.maps = {name: self._map(name, key) for name in names}
        self.root = row(*self.maps.values(), sizing_mode="stretch_width")

    def _map(self, name: str, key: str) -> Any:
        data = self.images[name], self.shapes[name], self.marks[name]
        plot = regions.draw(name, *data, height=self.screen.map_height)
        plot.name = f"map {name}"
        wire(plot, name, key)
        return plot

    @property
    def targets(self) -> list[str]:
        """Ids of the sources that frames write to."""
        return [self.images[name].id for name in self.names]

    def dress(self, light: bool) -> None:
        """Colours of the theme, in every map."""
        for plot in self.maps.values():
            theme.dress(plot, light)
            plot.select_one({"name": "cells"}).glyph.color_mapper.palette = theme.palette(light)

    def label(self, window: regions.Window) -> None:
        """Addresses of the window, on every map."""
        for plot in self.maps.values():
            regions.label(plot, window, self.granule_bytes)

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
            pixels = regions.image_of(image, self.screen.pixels)
            self.images[name].data = {**self.images[name].data, "image": [pixels]}


def _marks(rows: list[tuple[float, float, str, str]]) -> dict[str, list[Any]]:
    names = ("x", "y", "marker", "colour")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}
