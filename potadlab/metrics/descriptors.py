"""Bytes of metadata: POTAD's records, entries and start bits against a struct page per granule."""

import numpy as np

from ..core.lookups import heads
from ..core.lookups.heads import ENTRY_BYTES, SLOT
from ..core.lookups.memmap import FRAME_BYTES
from ..kinds import facts


def descriptor_bytes(live_blocks: np.ndarray, record_bytes: np.ndarray | None = None) -> np.ndarray:
    """live_blocks i8[..., kind] -> bytes of their records and slots, i8[..., kind].

    record_bytes: i8[kind], what a record of each kind would take (None: what the table says).  One
    of 8 bytes or less fits its slot.

    The owner's half of a slot counts to the record, where there is one.  A record for each live
    block: in use are fewer, for the pieces of a split block share one, and a few more, for blocks
    in front caches keep theirs; the table of a run counts those in use.
    """
    kinds = live_blocks.shape[-1]
    return live_blocks * bytes_of_one(kinds, record_bytes)


def bytes_of_one(kinds: int, record_bytes: np.ndarray | None = None) -> np.ndarray:
    """i8[kind]: record and slot of one block of each of so many kinds, in bytes."""
    per_block = np.full(kinds, SLOT.itemsize, np.int64)
    known = (facts()["record_bytes"] if record_bytes is None else record_bytes)[:kinds]
    per_block[: len(known)] = np.maximum(ENTRY_BYTES + known, SLOT.itemsize)
    return per_block


def start_bits_bytes(granules: int) -> int:
    """Bytes of POTAD's start bits over an address range, as the lookup itself counts them."""
    return heads.start_bytes(np.array([(0, granules)]))


def struct_page_bytes(granules: int) -> int:
    """Bytes of struct page, 64 for each granule (a page of the recorded machine), live or not."""
    return granules * FRAME_BYTES
