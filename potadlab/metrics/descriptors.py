"""Bytes of metadata: POTAD's records and entries against a struct page for every page."""

import numpy as np

from ..kinds import KINDS

STRUCT_PAGE_BYTES = 64  # include/linux/mm_types.h, x86-64
ENTRY_BYTES = 8  # POTAD's lookup: a 64-bit entry per live block
START_BITS = 64 / 63  # start bits per granule: one, and 1/64 of that on each level above


def record_bytes_of_kinds() -> np.ndarray:
    """i8[kind]: bytes of a kind's record, 0 for kinds that need none."""
    return np.array([kind.record_bytes for kind in KINDS], np.int64)


def descriptor_bytes(live_blocks: np.ndarray) -> np.ndarray:
    """live_blocks i8[..., kind] -> bytes of their records and entries, i8[..., kind]."""
    kinds = live_blocks.shape[-1]
    per_block = np.full(kinds, ENTRY_BYTES, np.int64)
    known = record_bytes_of_kinds()[:kinds]
    per_block[: len(known)] += known
    return live_blocks * per_block


def start_bits_bytes(granules: int) -> int:
    """Bytes of POTAD's start bits over a range of granules."""
    return int(granules * START_BITS / 8)


def struct_page_bytes(granules: int, granule_bytes: int, page_bytes: int = 4096) -> int:
    """Bytes of struct page for a range of granules, live or not."""
    return granules * granule_bytes // page_bytes * STRUCT_PAGE_BYTES
