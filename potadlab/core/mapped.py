"""Arrays as large as the space, of which only what is touched costs memory."""

import mmap
from typing import Any

import numpy as np

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux; Python names it since 3.13


def mapped(count: int, dtype) -> np.ndarray:
    """`count` zeroed records, mapped without reserve: pages are committed when first written."""
    dtype = np.dtype(dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    memory = mmap.mmap(-1, max(count * dtype.itemsize, 1), flags=flags)
    return np.frombuffer(memory, dtype, count)


def in_huge_pages(state: Any) -> None:
    """Ask for huge pages (2 MiB) under every mapped array of a state, before it is written.

    Linux maps its own memory, struct pages and slabs included, so; in pages of 4 KiB much of a
    lookup's time would be page walks, which a kernel does not pay.  Without them nothing changes.
    """
    for part in state:
        if isinstance(part, tuple):
            in_huge_pages(part)
        memory = getattr(getattr(part, "base", None), "obj", None)
        if isinstance(memory, mmap.mmap) and len(memory) > mmap.PAGESIZE:
            try:
                memory.madvise(mmap.MADV_HUGEPAGE)
            except OSError:  # a kernel without them
                return
