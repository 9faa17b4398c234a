"""Flat memmap: a frame per granule, descriptor and lookup in one, as Linux's vmemmap.

The fields stand in the head's frame; each tail's frame points to its head, as compound_head
(include/linux/page-flags.h), so a lookup reads one line for a head and two for a tail, and a
store writes one line per granule of the block.  64 bytes is struct page; 32 a struct page half as
large, the interim of memdesc's plan, if it still held the descriptor: two frames in a line.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped

FRAME_BYTES = 64


def _frame(itemsize: int) -> np.dtype:
    return np.dtype(
        {
            "names": ["head", "owner", "kind", "order"],
            "formats": ["i8", "i4", "u1", "u1"],
            # head: 1 + granule of the block's head; 0: in no live block
            "offsets": [8, 24, 28, 29],
            "itemsize": itemsize,
        }
    )


@state
class Memmap(NamedTuple):
    frames: np.ndarray  # frame[granule], of 64 or 32 bytes


def new(granules: int, kinds: np.ndarray) -> Memmap:
    """A memmap of `granules`, none of them live; its descriptor is the frame itself."""
    return Memmap(mapped(granules, _frame(FRAME_BYTES)))


def new_32(granules: int, kinds: np.ndarray) -> Memmap:
    """The same with frames of 32 bytes."""
    return Memmap(mapped(granules, _frame(32)))


@interface.store.register
@kernel
def store(index: Memmap, granule, order, kind, owner):
    for page in range(granule, granule + (np.int64(1) << order)):
        index.frames[page]["head"] = granule + 1
    frame = index.frames[granule]
    frame["owner"], frame["kind"], frame["order"] = owner, kind, order


@interface.erase.register
@kernel
def erase(index: Memmap, granule):
    frame = index.frames[granule]
    if frame["head"] != granule + 1:
        return np.int64(NONE)
    order = np.int64(frame["order"])
    for page in range(granule, granule + (np.int64(1) << order)):
        index.frames[page]["head"] = 0
    return order


@interface.locate.register
@inlined
def locate(index: Memmap, granule):
    head = index.frames[np.uint64(granule)]["head"]
    if head == 0:
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    frame = index.frames[np.uint64(head - 1)]
    return head - 1, np.int64(frame["order"]), np.int64(frame["kind"]), np.int64(frame["owner"])


@interface.bytes_of.register
def bytes_of(index: Memmap, live_blocks: int, granules: int) -> dict[str, int]:
    """A frame for each of `granules` in service, live or not; it is descriptor and lookup."""
    return {"lookup": 0, "descriptors": index.frames.itemsize * granules}
