"""Allocators in the hand as pictures: what each holds now, its steps, its map."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from bokeh.layouts import row

from ..core.layout import BLOCK, POISON
from ..potad.allocator import Allocator
from ..potad.reckoning import gaps
from ..units import Space
from ..views import regions, steps
from .flow import Frame
from .maps import Maps, wire
from .painter import Cell, cell_of

ROWS = 6  # steps in view: what fits above the log at 1280 x 720
_EVENTS = ("mousemove", "mouseenter", "mouseleave", "tap")


@dataclass(frozen=True)
class Held:
    """What an allocator holds at a moment."""

    space: Space
    blocks: np.ndarray  # BLOCK[] in address order, failed granules too
    in_service: np.ndarray  # i8[n, 2]
    order_max: int | None

    @classmethod
    def now(cls, allocator: Allocator) -> "Held":
        return cls(allocator.space, allocator.blocks(), allocator.in_service(), allocator.order_max)

    @cached_property
    def live(self) -> np.ndarray:
        return self.blocks[self.blocks["kind"] != POISON]

    @cached_property
    def failed(self) -> np.ndarray:
        """i8[] granules, ascending."""
        return self.blocks["granule"][self.blocks["kind"] == POISON]

    @cached_property
    def free(self) -> list[tuple[int, int]]:
        """Free ranges (start, end) in granules, ascending, cut where zones meet."""
        return gaps(self.blocks, self.in_service, _zones(self.space))

    @cached_property
    def free_bytes(self) -> int:
        return sum(end - start for start, end in self.free) * self.space.granule_bytes

    @cached_property
    def zoned(self) -> np.ndarray:
        """i8[n, 2]: in service, cut where zones meet."""
        whole = gaps(np.zeros(0, BLOCK), self.in_service, _zones(self.space))
        return np.array(whole, np.int64).reshape(-1, 2)

    def free_block(self, granule: int) -> tuple[int, int] | None:
        """(granule, order) of the largest free block that holds a granule; None if it is taken."""
        for start, end in self.free:
            if start <= granule < end:
                blocks = steps.aligned(start, end, self.order_max)
                return next(block for block in blocks if granule < block[0] + (1 << block[1]))
        return None

    def first_of(self, handle: int) -> int | None:
        """First granule of the block or claim of a handle."""
        found = self.live["granule"][self.live["handle"] == handle]
        return int(found[0]) if len(found) else None

    def cell(self, first: int, granules: int) -> Cell:
        """What so many granules from `first` on hold."""
        unit = self.space.granule_bytes
        return cell_of(self.live, self.failed, self.in_service, first, granules, unit)

    def turned_into(self, after: "Held") -> str:
        """Every split and merge since, in words; nothing of spaces too large to be drawn so."""
        if self.space.granules > steps.GRANULES_MAX:
            return ""
        unit = self.space.granule_bytes
        return steps.between(self.blocks, after.blocks, self.zoned, unit, self.order_max)


def _zones(space: Space) -> list[tuple[int, int]]:
    return [(zone.start, zone.end) for zone in space.zones]


class StepsCanvas:
    """The steps of each allocator of a small space, side by side."""

    def __init__(self, names: Sequence[str], space: Space, key: str) -> None:
        self.names = list(names)
        self.data = {name: steps.sources() for name in names}
        self.figures = {
            name: steps.draw(name, data, space.granules, space.granule_bytes, ROWS)
            for name, data in self.data.items()
        }
        for name, plot in self.figures.items():
            plot.name = f"steps of {name}"
            wire(plot, name, key, _EVENTS)
        self.root = row(*self.figures.values(), sizing_mode="stretch_width")

    @property
    def targets(self) -> list[str]:
        return [data["blocks"].id for data in self.data.values()]

    def dress(self, light: bool) -> None:
        for plot in self.figures.values():
            steps.dress(plot, light)

    def fill(
        self, name: str, history: Sequence[steps.Step], held: Held, owners: Sequence[str], by: str
    ) -> None:
        """Show these rows, coloured by size, kind or use."""
        space = held.space
        found = steps.columns(
            history, held.zoned, space.granules, space.granule_bytes, held.order_max, owners, by
        )
        for part, columns in found.items():
            self.data[name][part].data = columns

    def choose(self, name: str, places: Sequence[tuple[int, int, int]]) -> None:
        """Outline (granule, granules, row) in a figure."""
        drawn = [steps.outline(*place) for place in places]
        self.data[name]["chosen"].data = {
            "xs": [xs for xs, _ in drawn],
            "ys": [ys for _, ys in drawn],
        }

    def write(self, images: list[bytes], seconds: float | None) -> None:
        """No frames go to steps."""


class MapPainter:
    """Paints the maps of allocators in the hand; runs in a thread, on what it is given."""

    def __init__(self, canvas: Maps, space: Space) -> None:
        self.canvas, self.space = canvas, space

    def paint(self, window: regions.Window, colouring: str, held: Mapping[str, Held]) -> Frame:
        """A frame of what each allocator holds."""
        chosen_s, names = time.monotonic(), self.canvas.names
        images = [self._image(held[name], window, colouring) for name in names]
        parts = [{"id": self.canvas.images[name].id, "field": "image"} for name in names]
        return Frame({"type": "frame", "parts": parts}, images, chosen_s)

    def _image(self, held: Held, window: regions.Window, colouring: str) -> bytes:
        space = self.space
        found: dict[str, Any] = regions.columns(
            held.blocks, held.in_service, space.granules, space.granule_bytes, window, colouring
        )
        return found["image"][0].tobytes()
