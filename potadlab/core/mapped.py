"""Arrays as large as the space, of which only what is touched costs memory."""

import mmap

import numpy as np

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux; Python names it since 3.13


def mapped(count: int, dtype) -> np.ndarray:
    """`count` zeroed records, mapped without reserve: pages are committed when first written."""
    dtype = np.dtype(dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    memory = mmap.mmap(-1, max(count * dtype.itemsize, 1), flags=flags)
    return np.frombuffer(memory, dtype, count)
