"""How the cells of a map lie: in rows, or along a Hilbert curve bent to fill any rectangle.

On the curve neighbours in memory are neighbours on the map, so at the size of the whole memory one
sees how scattered a region is.  A curve for any rectangle: halve the long way, or go up half the
short side, along, and back down, each part again such a curve.
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def places(columns: int, rows: int) -> np.ndarray:
    """i4[cell, 2]: row and column of each cell along the curve; steps are to a neighbour.

    One step of a rectangle with an odd side may be diagonal.
    """
    path: list[complex] = []
    along, across = complex(columns, 0), complex(0, rows)
    _fill(path, 0j, *((along, across) if columns >= rows else (across, along)))
    at = np.array(path)
    return np.stack([at.imag, at.real], axis=1).astype(np.int32)


@lru_cache(maxsize=16)
def cells(columns: int, rows: int) -> np.ndarray:
    """i4[row, column]: which cell of the curve lies there."""
    found = np.empty((rows, columns), np.int32)
    at = places(columns, rows)
    found[at[:, 0], at[:, 1]] = np.arange(len(at))
    return found


def _size(side: complex) -> int:
    return round(abs(side.real) + abs(side.imag))


def _half(side: complex) -> complex:
    """Half of a side, even where it can be, so that the parts join without a diagonal."""
    size = _size(side)
    half = size // 2
    return side / size * (half + 1 if half % 2 and size > 2 else half)


def _fill(path: list[complex], at: complex, along: complex, across: complex) -> None:
    """Add the cells of the rectangle at `at`, entered there and left at the end of `along`."""
    length, height = _size(along), _size(across)
    if length == 1 or height == 1:
        side, size = (along, length) if height == 1 else (across, height)
        path += [at + step * side / size for step in range(size)]
    elif 2 * length > 3 * height:
        half = _half(along)
        _fill(path, at, half, across)
        _fill(path, at + half, along - half, across)
    else:
        up, half = _half(across), along / length * (length // 2)
        last = along - along / length + up - across / height
        _fill(path, at, up, half)
        _fill(path, at + up, along, across - up)
        _fill(path, at + last, -up, half - along)
