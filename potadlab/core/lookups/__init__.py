"""The lookups, by the name people give: name -> new(granules, kinds)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import interface
from . import heads, maple, memdesc, memmap, rank, two_level, xarray

LOOKUPS: dict[str, Callable[..., Any]] = {
    "memmap": memmap.new,
    "memmap32": memmap.new_32,
    "memmap16": memdesc.new_16,
    "memmap8": memdesc.new_8,
    "two-level": two_level.new,
    "xarray": xarray.new,
    "maple": maple.new,
    "maple-gaps": maple.new_with_gaps,
    "heads": heads.new,
    "rank": rank.new,
}
READ_ONLY = ("rank",)  # blocks are stored once, in address order; there is no erase


@interface.bytes_of.register
def _bytes_of_heads(index: heads.Heads, live_blocks: int, granules: int) -> dict[str, int]:
    return heads.lookup_bytes(index, live_blocks, np.array([(0, granules)]))
