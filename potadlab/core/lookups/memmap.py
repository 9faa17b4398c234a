"""Flat memmap: 64 bytes per granule, descriptor and lookup in one, as Linux's vmemmap.

The fields stand in the head's frame; each tail's frame points to its head, as compound_head
(include/linux/page-flags.h), so a lookup reads one line for a head and two for a tail, and a
store writes one line per granule of the block.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import kernel, state
from ..layout import NONE
from ..mapped import mapped

FRAME_BYTES = 64
_FIELDS = {
    "head": ("i8", 8),  # 1 + granule of the block's head; 0: in no live block
    "owner": ("i4", 24),
    "kind": ("u1", 48),
    "order": ("u1", 49),
}
FRAME = np.dtype(
    {
        "names": list(_FIELDS),
        "formats": [format for format, _ in _FIELDS.values()],
        "offsets": [offset for _, offset in _FIELDS.values()],
        "itemsize": FRAME_BYTES,
    }
)


@state
class Memmap(NamedTuple):
    frames: np.ndarray  # FRAME[granule]


def new(granules: int, kinds: np.ndarray) -> Memmap:
    """A memmap of `granules`, none of them live; its descriptor is the frame itself."""
    return Memmap(mapped(granules, FRAME))


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
@kernel
def locate(index: Memmap, granule):
    start = index.frames[granule]["head"] - 1
    if start == NONE:
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    frame = index.frames[start]
    return start, np.int64(frame["order"]), np.int64(frame["kind"]), np.int64(frame["owner"])
