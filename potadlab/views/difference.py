"""A map of where two allocators differ: what only one has in use, what both have, what neither."""

from typing import Any

import numpy as np

from ..core.layout import BLOCK
from ..core.raster import rasterise
from ..kinds import KIND
from . import regions, theme

MOST, SOME = 0.5, 0.05  # of a cell's granules, from which one has "only" or "more" of it


def used(blocks: np.ndarray, window: regions.Window) -> np.ndarray:
    """i8[cell]: granules of each cell, in the order of addresses, that live BLOCK[] hold."""
    live = blocks[blocks["kind"] != KIND["poison"]]
    sizes = np.left_shift(np.int64(1), live["order"].astype(np.int64))
    cells = window.rows * window.columns
    edges = window.first + np.arange(cells + 1) * window.granules_per_cell
    begun = np.searchsorted(live["granule"], edges)
    before = np.append(0, np.cumsum(sizes))[begun]
    ends = np.append(0, live["granule"] + sizes)[begun]
    return np.diff(before - np.maximum(ends - edges, 0))


def columns(
    first: np.ndarray,
    second: np.ndarray,
    ranges: np.ndarray,
    granules: int,
    window: regions.Window,
) -> dict[str, Any]:
    """The image (palette indices) of two BLOCK[] on the same memory, for `regions.draw`.

    ranges: i8[n, 2] granules in service; granules: end of the space.
    """
    nothing = np.zeros(0, BLOCK), np.zeros(0, np.uint8)
    place = window.first, window.granules_per_cell, window.rows, window.columns
    cells = rasterise(*nothing, ranges, granules, *place).ravel()
    shares = [used(blocks, window) / window.granules_per_cell for blocks in (first, second)]
    more = shares[0] - shares[1]
    step = (more > SOME).astype(int) + (more >= MOST) - (more < -SOME) - (more <= -MOST)
    both = (step == 0) & (np.maximum(*shares) >= MOST)
    shown = both | (step != 0)
    cells = np.where(shown, theme.BOTH_USE + step, cells).astype(np.uint8)
    return regions.picture(window, cells)
