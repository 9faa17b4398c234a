"""A moment of a session to a frame: an image per map, and the time for the marker."""

import time
from dataclasses import dataclass

import numpy as np

from ..core.layout import Verb
from ..session import end_of_service
from ..views import difference, regions
from .canvas import Canvas
from .flow import Frame
from .shades import Shades


@dataclass(frozen=True)
class Cell:
    """What one cell of a map holds: `granule` is where to look for its foremost block."""

    granule: int
    size_bytes: int
    blocks: int  # live ones that reach into it
    failed: int  # granules, in blocks or not
    in_service: bool


class Painter:
    """Paints the maps of one canvas; runs in a thread, holds what changes rarely."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.session = canvas, canvas.session
        self.end = end_of_service(self.session)
        self.shades = Shades(self.session)
        self._added = np.flatnonzero(self.session.ops["verb"] == Verb.ADD_MEMORY)
        self._ranges: dict[tuple[str, int], np.ndarray] = {}

    def paint(
        self, index: int, window: regions.Window, colouring: str, worst: bool = False
    ) -> Frame:
        """The frame after `index` ops; worst: a cell shows the worst that is in it."""
        chosen_s, canvas = time.monotonic(), self.canvas
        images = [self._image(name, index, window, colouring, worst) for name in canvas.names]
        parts = [{"id": canvas.images[name].id, "field": "image"} for name in canvas.names]
        seconds = self.session.time_ns(max(index - 1, 0)) / 1e9
        marker = {"id": canvas.moment.id, "field": "time_s", "value": seconds}
        return Frame({"type": "frame", "parts": [*parts, marker]}, images, chosen_s)

    def _image(
        self, name: str, index: int, window: regions.Window, colouring: str, worst: bool
    ) -> bytes:
        if name not in self.session.names:
            return self._difference(index, window)
        blocks, ranges = self.session.blocks(name, index), self._in_service(name, index)
        unit = self.session.space.granule_bytes
        shade = self.shades.at(name, index, colouring)
        found = regions.columns(
            blocks, ranges, self.end, unit, window, colouring, shade=shade, worst=worst
        )
        return found["image"][0].tobytes()

    def _difference(self, index: int, window: regions.Window) -> bytes:
        pair = self.canvas.pair
        assert pair
        first, second = (self.session.blocks(name, index) for name in pair)
        ranges = self._in_service(pair[0], index)
        found = difference.columns(first, second, ranges, self.end, window)
        return found["image"][0].tobytes()

    def _in_service(self, name: str, index: int) -> np.ndarray:
        """Changes only where memory was added."""
        key = name, int(np.searchsorted(self._added, index))
        if key not in self._ranges:
            self._ranges[key] = self.session.in_service(name, index)
        return self._ranges[key]

    def cell(self, name: str, index: int, first: int, granules: int) -> Cell:
        """The cell of `granules` from `first` on; foremost is failed memory, else the largest."""
        run, ranges = self.session.runs[name], self._in_service(name, index)
        unit = self.session.space.granule_bytes
        return cell_of(run.live(index), run.poison(index), ranges, first, granules, unit)


def cell_of(
    live: np.ndarray,
    failed: np.ndarray,
    ranges: np.ndarray,
    first: int,
    granules: int,
    granule_bytes: int,
) -> Cell:
    """What `granules` from `first` on hold of live blocks (BLOCK[]) and failed granules (i8[])."""
    end = first + granules
    low, high = np.searchsorted(live["granule"], [first + 1, end])
    found = live[max(int(low) - 1, 0) : high]
    ends = found["granule"] + np.left_shift(np.int64(1), found["order"].astype(np.int64))
    found, failed = found[ends > first], failed[(failed >= first) & (failed < end)]
    serving = bool(np.any((ranges[:, 0] < end) & (ranges[:, 1] > first)))
    foremost = first
    if len(failed):
        foremost = int(failed[0])
    elif len(found):
        foremost = max(int(found["granule"][np.argmax(found["order"])]), first)
    return Cell(foremost, granules * granule_bytes, len(found), len(failed), serving)
