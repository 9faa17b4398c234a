"""Start bits with a rank in each word into an array of the blocks; built once, read only.

One bit for each granule, set where a block begins, and beside each word of them how many blocks
begin before it (the rank of Jacobson, "Space-efficient static trees and graphs", FOCS 1989): the
number of the last block that begins at or before an address is a count of bits.  So a lookup reads
one line of the index and one of the array, whatever the order.  A live allocator cannot have it:
every block that comes or goes would shift the array and all later ranks.  So blocks are stored in
address order, and there is no erase; it stands here as the least that a lookup can cost.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..bits import align_down, popcount
from ..layout import NONE
from ..mapped import mapped

WORD = np.dtype([("starts", "u8"), ("rank", "i8")])  # rank: blocks that begin before this word
ROW = np.dtype([("owner", "i4"), ("order", "u1"), ("kind", "u1"), ("spare", "u2")])


@state
class Rank(NamedTuple):
    words: np.ndarray  # WORD[granule >> 6]
    rows: np.ndarray  # ROW[1 + block]  in address order; row 0: none, of order 0
    record_bytes: np.ndarray  # i8[kind]
    counts: np.ndarray  # i8[3]  blocks, end of the last one, bytes of descriptors


def new(granules: int, kinds: np.ndarray) -> Rank:
    """A lookup over `granules`, empty."""
    sizes = np.ascontiguousarray(kinds["record_bytes"])
    words = mapped((granules >> 6) + 2, WORD)
    return Rank(words, mapped(granules + 1, ROW), sizes, np.zeros(3, np.int64))


@interface.store.register
@kernel
def store(index: Rank, granule, order, kind, owner):
    assert granule >= index.counts[1], "blocks come in address order"
    if index.counts[0] > 0:  # all blocks so far begin before the words up to this one's
        for word in range((index.counts[1] - 1 >> 6) + 1, (granule >> 6) + 1):
            index.words[word]["rank"] = index.counts[0]
    index.words[granule >> 6]["starts"] |= np.uint64(1) << np.uint64(granule & 63)
    index.counts[0] += 1
    row = index.rows[index.counts[0]]
    row["owner"], row["order"], row["kind"] = owner, order, kind
    index.counts[1] = granule + (np.int64(1) << order)
    for word in range((granule >> 6) + 1, (index.counts[1] - 1 >> 6) + 1):
        index.words[word]["rank"] = index.counts[0]
    index.counts[2] += index.record_bytes[kind]


@interface.locate.register
@inlined
def locate(index: Rank, granule):
    word = index.words[np.uint64(granule) >> np.uint64(6)]
    before = word["starts"] << np.uint64(63 - (granule & 63))
    row = index.rows[np.uint64(word["rank"] + popcount(before))]
    order = np.int64(row["order"])
    start = align_down(granule, order)
    # in the last block before it, if that covers it; else the start computed is none
    starts = index.words[np.uint64(start) >> np.uint64(6)]["starts"]
    if starts >> np.uint64(start & 63) & np.uint64(1) == np.uint64(0):
        return np.int64(NONE), np.int64(0), np.int64(0), np.int64(NONE)
    return start, order, np.int64(row["kind"]), np.int64(row["owner"])


@interface.check.register
@kernel
def check(index: Rank):
    before = 0
    for word in range((index.counts[1] + 63) >> 6):
        assert index.words[word]["rank"] == before, "a rank counts the blocks before its word"
        before += popcount(index.words[word]["starts"])
    assert before == index.counts[0], "a start bit for each block"


@interface.bytes_of.register
def bytes_of(index: Rank, live_blocks: int, granules: int) -> dict[str, int]:
    """Start bits and ranks over the whole range, a row per block, descriptors by kind."""
    lookup = WORD.itemsize * len(index.words) + ROW.itemsize * live_blocks
    return {"lookup": lookup, "descriptors": int(index.counts[2])}
