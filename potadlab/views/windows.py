"""Where a claim looks: windows of a step, how far each is from free, what is in the way."""

from dataclasses import dataclass

import numpy as np

from ..core.layout import POISON

_SLICE = 1 << 20  # windows at a time


@dataclass(frozen=True)
class Windows:
    """The windows of one step: so many adjacent chunks of 2**order granules, naturally aligned.

    The nearest come first: free ones, then by what would have to move, then those where something
    stays (by how much of it), the lowest first.
    """

    order: int
    chunks: int
    count: int  # in service as a whole
    free: int
    movable: int  # not free, but could be emptied
    start: np.ndarray  # i8[nearest]  granule
    moving: np.ndarray  # i8[nearest]  granules of the movable blocks in the way, whole
    staying: np.ndarray  # i8[nearest]  granules of the window that stay: their kind, or failed


class _Below:
    """How many granules of some blocks lie below an address."""

    def __init__(self, starts: np.ndarray, sizes: np.ndarray) -> None:
        self.starts, self.sizes = starts, sizes
        self.sums = np.concatenate([[0], np.cumsum(sizes)])

    def __call__(self, at: np.ndarray) -> np.ndarray:
        last = np.searchsorted(self.starts, at, side="right") - 1
        if not len(self.starts):
            return np.zeros(len(at), np.int64)
        inside = np.clip(at - self.starts[last], 0, self.sizes[last])
        return np.where(last < 0, 0, self.sums[last] + inside)

    def across(self, at: np.ndarray, before: bool) -> np.ndarray:
        """Of the block that lies across `at`: its granules before it, or from it on."""
        last = np.searchsorted(self.starts, at, side="left") - 1
        if not len(self.starts):
            return np.zeros(len(at), np.int64)
        offset = at - self.starts[last]
        reach = (last >= 0) & (offset < self.sizes[last])
        return np.where(reach, offset if before else self.sizes[last] - offset, 0)


def columns(
    blocks: np.ndarray,
    ranges: np.ndarray,
    zones: np.ndarray,
    movable: np.ndarray,
    granules: int,
    order: int,
    nearest: int = 16,
) -> Windows:
    """The windows of `granules` in a row that begin at a multiple of 2**order, within a zone.

    blocks: BLOCK[] in address order, failed granules included; ranges and zones: i8[n, 2];
    movable: bool[kind].  Pins are not told of, so a block is taken to stay by its kind alone.
    """
    moves = (blocks["kind"] != POISON) & movable[blocks["kind"]].astype(bool)
    sizes = np.left_shift(np.int64(1), blocks["order"].astype(np.int64))
    move = _Below(blocks["granule"][moves], sizes[moves])
    stay = _Below(blocks["granule"][~moves], sizes[~moves])
    serve = _Below(ranges[:, 0], ranges[:, 1] - ranges[:, 0])
    count, free, emptied, rows = 0, 0, 0, np.zeros((0, 3), np.int64)
    for low, high in zones.tolist():
        step = 1 << order
        first, last = -(-low // step), (high - granules) // step
        for at in range(first, last + 1, _SLICE):
            starts = np.arange(at, min(at + _SLICE, last + 1), dtype=np.int64) << order
            ends = starts + granules
            starts = starts[serve(ends) - serve(starts) == granules]
            found = _measure(starts, granules, move, stay)
            able, empty = found[:, 2] == 0, found[:, 1] == 0
            count += len(starts)
            free += int(np.count_nonzero(able & empty))
            emptied += int(np.count_nonzero(able & ~empty))
            rows = _nearest(np.concatenate([rows, found]), nearest)
    chunks = granules >> order
    return Windows(order, chunks, count, free, emptied, rows[:, 0], rows[:, 1], rows[:, 2])


def _measure(starts: np.ndarray, granules: int, move: _Below, stay: _Below) -> np.ndarray:
    """i8[window, 3]: start, what would move, what stays."""
    ends = starts + granules
    moving = move(ends) - move(starts)
    moving += move.across(starts, before=True) + move.across(ends, before=False)
    return np.stack([starts, moving, stay(ends) - stay(starts)], axis=1)


def _nearest(rows: np.ndarray, count: int) -> np.ndarray:
    """The first so many, stable, so that zones and then addresses go in order."""
    return rows[np.lexsort((rows[:, 1], rows[:, 2]))[:count]]


def inside(blocks: np.ndarray, start: int, granules: int) -> np.ndarray:
    """The BLOCK[] that reach into a window, in address order."""
    ends = blocks["granule"] + np.left_shift(np.int64(1), blocks["order"].astype(np.int64))
    return blocks[(blocks["granule"] < start + granules) & (ends > start)]
