"""A table of 2 MiB entries, each a block's word or a table of 512 words.

Weiner's first step from the flat memmap (lore, 2021: a 2 MiB page holds `smallpages[512]`): 8
bytes for each 4 KiB page, but only where blocks smaller than 2 MiB live; a larger block has its
word in each of its entries.  A lookup reads the entry, the table's word and the descriptor.  The
words are memdesc's; 2 MiB is 512 granules, whatever a granule is.  A table that is empty is freed,
the last one first.  No lock, no RCU.
"""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import inlined, kernel, state
from ..layout import NONE
from ..mapped import mapped
from .memdesc import Descriptors, describe, descriptors, descriptors_bytes, drop, read

TABLE = 2  # an entry of the upper table: number of a table << 4 | TABLE
_TABLE_ORDER = 9


@state
class TwoLevel(NamedTuple):
    entries: np.ndarray  # i8[granule >> 9]  word of a block, or which table
    tables: np.ndarray  # i8[table << 9]  words
    used: np.ndarray  # i8[table]  granules that live; free: the next free table, + 1
    next: np.ndarray  # i8[3]  last freed table + 1 (0: none), the next never used, tables in use
    descriptors: Descriptors


def new(granules: int, kinds: np.ndarray) -> TwoLevel:
    """A lookup over `granules`, empty."""
    upper = (granules >> _TABLE_ORDER) + 1
    return TwoLevel(
        mapped(upper, "i8"),
        mapped(upper << _TABLE_ORDER, "i8"),
        mapped(upper, "i8"),
        np.zeros(3, np.int64),
        descriptors(granules, kinds),
    )


@kernel
def _take_table(index):
    table = index.next[0] - 1
    if table >= 0:
        index.next[0] = index.used[table]
    else:
        table = index.next[1]
        index.next[1] += 1
    index.next[2] += 1
    index.used[table] = 0
    return table


@interface.store.register
@kernel
def store(index: TwoLevel, granule, order, kind, owner):
    word = describe(index.descriptors, granule, order, kind, owner)
    upper = granule >> _TABLE_ORDER
    if order >= _TABLE_ORDER:
        for at in range(upper, upper + (np.int64(1) << (order - _TABLE_ORDER))):
            index.entries[at] = word
        return
    if index.entries[upper] == 0:
        index.entries[upper] = _take_table(index) << 4 | TABLE
    table = index.entries[upper] >> 4
    at = table << _TABLE_ORDER | granule & 511
    for page in range(at, at + (np.int64(1) << order)):
        index.tables[page] = word
    index.used[table] += np.int64(1) << order


@interface.erase.register
@kernel
def erase(index: TwoLevel, granule):
    start, order, _, _ = locate(index, granule)
    if start != granule:
        return np.int64(NONE)
    upper = granule >> _TABLE_ORDER
    drop(index.descriptors, _word(index, granule))
    if order >= _TABLE_ORDER:
        for at in range(upper, upper + (np.int64(1) << (order - _TABLE_ORDER))):
            index.entries[at] = 0
        return order
    table = index.entries[upper] >> 4
    at = table << _TABLE_ORDER | granule & 511
    for page in range(at, at + (np.int64(1) << order)):
        index.tables[page] = 0
    index.used[table] -= np.int64(1) << order
    if index.used[table] == 0:
        index.entries[upper], index.used[table] = 0, index.next[0]
        index.next[0] = table + 1
        index.next[2] -= 1
    return order


@inlined
def _word(index, granule):
    word = index.entries[granule >> _TABLE_ORDER]
    if word & TABLE != 0:
        word = index.tables[word >> 4 << _TABLE_ORDER | granule & 511]
    return word


@interface.locate.register
@inlined
def locate(index: TwoLevel, granule):
    return read(index.descriptors, _word(index, granule), granule)


@interface.check.register
@kernel
def check(index: TwoLevel):
    tables = 0
    for upper in range(len(index.entries)):
        entry = index.entries[upper]
        if entry & TABLE == 0:
            continue
        tables += 1
        live = 0
        for page in range(entry >> 4 << _TABLE_ORDER, ((entry >> 4) + 1) << _TABLE_ORDER):
            live += index.tables[page] != 0
        assert live == index.used[entry >> 4] > 0, "a table counts its live granules"
    assert tables == index.next[2], "an empty table is freed"


@interface.bytes_of.register
def bytes_of(index: TwoLevel, live_blocks: int, granules: int) -> dict[str, int]:
    """The upper table over the whole range, the tables in use, descriptors by kind."""
    tables = (int(index.next[2]) << _TABLE_ORDER) * 8
    return {
        "lookup": 8 * len(index.entries) + tables,
        "descriptors": descriptors_bytes(index.descriptors),
    }
