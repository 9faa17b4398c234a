"""Arrays as large as the space, of which only what is touched costs memory."""

import mmap
from contextlib import suppress

import numpy as np

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux; Python names it since 3.13


def mapped(count: int, dtype, huge: bool = False) -> np.ndarray:
    """`count` zeroed records, mapped without reserve: pages are committed when first written.

    huge: 2 MiB at a time where the system does that, for what is read and written all over.
    """
    dtype = np.dtype(dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    memory = mmap.mmap(-1, max(count * dtype.itemsize, 1), flags=flags)
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, count)
