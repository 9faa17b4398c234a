"""All figures of one session: a column per allocator, and one for what they share.

Figures are built anew for each session, because a Bokeh model belongs to one document for life.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column, row

from ..kinds import KIND, KINDS
from ..metrics.latency import Latency
from ..session import Session
from ..views import descriptors, latency, orders, strip, theme, timeline
from .maps import SMALL, Maps, Screen, wire

SIDE_WIDTH, MAP_WIDTH_MIN = 300, 180
SIDE_HEIGHT = 150  # two are as high as a map and what is below it
STRIP = "strip"  # what the page calls it
POISON_COLOUR = KINDS[KIND["poison"]].colour


class Canvas(Maps):
    """Figures of `names` (allocators of the session); images change through frames."""

    def __init__(
        self,
        session: Session,
        names: Sequence[str],
        measured: list[Latency],
        key: str,
        light: bool,
        pictures: Mapping[str, bytes],
        pair: tuple[str, str] | None = None,
        screen: Screen = SMALL,
    ) -> None:
        self.allocators, self.pair = list(names), pair
        names = [*names, difference_name(pair)] if pair else names
        super().__init__(names, session.space.granule_bytes, key, pictures, screen)
        self.session = session
        self._seconds = seconds = max(session.time_ns(session.length) / 1e9, 1e-9)
        # a source may serve several figures, so one marker moves in all of them
        self.moment = timeline.source(clock=session.clock)
        self._free = _free(session, self.allocators)
        self.noted = strip.source(strip.marks(session.ops[:0], {}, seconds))
        self.strip = strip.draw(
            strip.columns(session.ops, seconds), self.noted, seconds, self.moment
        )
        wire(self.strip, STRIP, key, ("tap", "pan"))
        self.orders = self._draw_orders(seconds)
        self.descriptors = self._draw_descriptors(seconds)
        self.latency = latency.draw(measured)
        self._side()
        self.root = self._layout()
        self.dress(light)

    def _draw_orders(self, seconds: float) -> dict[str, Any]:
        high = max((orders.top(found) for found in self._free.values()), default=1.0)
        unit = orders.unit_for(self.session.space.bytes)
        return {
            name: orders.draw(
                "Free, by block size",
                orders.source(self._free[name]),
                seconds,
                high,
                self.moment,
                unit,
            )
            for name in self.allocators
        }

    def _draw_descriptors(self, seconds: float) -> Any:
        session = self.session
        name = self.allocators[0] if self.allocators else session.names[0]
        census = session.runs[name].census
        served = int(np.diff(session.in_service(name, session.length), axis=1).sum())
        found = descriptors.columns(
            census.time_ns, census.live_blocks, served, session.space.granules
        )
        return descriptors.draw(found, seconds, self.moment)

    def _side(self) -> None:
        for plot in (self.descriptors, self.latency):
            plot.sizing_mode, plot.width, plot.height = "fixed", SIDE_WIDTH, SIDE_HEIGHT

    def _layout(self) -> Any:
        pairs = [
            column(self.maps[name], self.orders[name], sizing_mode="stretch_width")
            for name in self.allocators
        ]
        if self.pair:
            pairs.append(column(self.maps[self.names[-1]], sizing_mode="stretch_width"))
        side = column(self.descriptors, self.latency, width=SIDE_WIDTH, sizing_mode="fixed")
        for each in pairs:
            each.min_width = MAP_WIDTH_MIN
        # where the page is narrow, what stands at the side stands below
        shown = row(*pairs, side, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})
        return column(self.strip, shown, sizing_mode="stretch_width")

    def make_room(self, room: bool) -> None:
        """Hide what is told over time, so that maps and what stands below are seen at once."""
        for plot in (*self.orders.values(), self.latency):
            plot.visible = not room

    def note(self, where: Mapping[str, np.ndarray]) -> None:
        """Mark notable ops on the strip: indices by what they are."""
        self.noted.data = strip.marks(self.session.ops, where, self._seconds)

    @property
    def targets(self) -> list[str]:
        """Ids of the sources that frames write to."""
        return [*super().targets, self.moment.id]

    def dress(self, light: bool) -> None:
        """Colours of the theme, in every figure."""
        super().dress(light)
        for plot in (self.strip, *self.orders.values(), self.descriptors, self.latency):
            theme.dress(plot, light)

    def write(self, images: list[bytes], seconds: float | None) -> None:
        """As of maps; and the marker of the moment, unless `seconds` is None."""
        super().write(images, seconds)
        if seconds is not None:
            self.moment.data = {"time_s": [seconds]}


def difference_name(pair: tuple[str, str]) -> str:
    """What the map of a difference is called."""
    return f"{pair[0]} - {pair[1]}"


def _free(session: Session, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    found, space = {}, session.space
    for name in names:
        census = session.runs[name].census
        found[name] = orders.columns(
            census.time_ns, census.free_blocks, space.granule_bytes, orders.unit_for(space.bytes)
        )
    return found
