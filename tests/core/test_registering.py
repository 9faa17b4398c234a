"""Registering a space costs next to nothing, however large: memory is touched on use."""

import gc
from pathlib import Path

import numpy as np
import pytest

from potadlab.core.interface import allocate
from potadlab.core.layout import BLOCK, NONE, OP
from potadlab.runs import Case, begun
from potadlab.units import KIB, MIB, TIB, Space

SPACES = {
    "1.5 TiB of 4 KiB": ("1.5TiB", "4KiB"),
    "3 TiB of 4 KiB": ("3TiB", "4KiB"),
    "1.5 TiB of 512 B": ("1.5TiB", 512),
    "3 TiB of 512 B": ("3TiB", 512),
}


def resident_bytes():
    """Counted page by page: statm is off by a batch of pages per CPU."""
    return int(Path("/proc/self/smaps_rollup").read_text().partition("Rss:")[2].split()[0]) * KIB


def registered(space):
    return begun("potad", Case(space, np.empty(0, OP), np.empty(0, BLOCK), 0))[0]


def fill(state, order, blocks):
    return [allocate(state, order, 0, 0, NONE, 0, 0) for _ in range(blocks)]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """What a first call takes, once: kernels (also for granules beyond u4), modules, our own."""
    for space in (Space.ram("64MiB"), Space.ram("3TiB", 512)):
        fill(registered(space), 9, 4)
    resident_bytes()


@pytest.mark.parametrize("name", SPACES)
def test_registering_touches_less_than_a_mib(name):
    space = Space.ram(*SPACES[name])
    gc.collect()
    before = resident_bytes()
    state = registered(space)
    assert resident_bytes() - before < MIB
    order = (TIB // space.granule_bytes).bit_length() - 1
    blocks = [0, 1 << order, 2 << order] if space.bytes == 3 * TIB else [0]
    assert fill(state, order, len(blocks) + 1) == [*blocks, NONE]
    assert resident_bytes() - before < MIB, "nor do blocks of 1 TiB"


def test_several_zones_and_holes_cost_no_more():
    space = Space.join(Space.memory_map("superdome_flex"), Space.ram("1TiB", start="2TiB"))
    gc.collect()
    before = resident_bytes()
    state = registered(space)
    assert resident_bytes() - before < MIB
    assert fill(state, 28, 1) == [2 * TIB >> 12], "only the second has 1 TiB in one block"


def test_memory_grows_with_what_is_used():
    """A block of 2 MiB each: some bytes of lookup and tree for each, not of the space."""
    state = registered(Space.ram("3TiB", 512))
    gc.collect()
    before = resident_bytes()
    fill(state, 12, 256)
    few = resident_bytes() - before
    fill(state, 12, 4096)
    many = resident_bytes() - before
    assert few < MIB
    assert few < many < 4096 * 1024


def test_six_thousand_million_sectors_do_not_overflow():
    space = Space.ram("3TiB", 512)
    assert space.granules == 6 << 30
    state = registered(space)
    last = space.granules - 1
    assert allocate(state, 0, 0, 0, NONE, 0, 0) == 0
    assert fill(state, 31, 2) == [1 << 31, 2 << 31]
    assert allocate(state, 30, 0, 0, NONE, 0, 0) == 1 << 30
    small = Space.ranges([("2.5TiB", 3 * TIB - 512)], 512)
    top = registered(small)
    blocks = [allocate(top, order, 0, 0, NONE, 0, 0) for order in range(29, -1, -1)]
    assert blocks == [(6 << 30) - (2 << order) for order in range(29, -1, -1)]
    assert max(blocks) == last - 1
    assert allocate(top, 0, 0, 0, NONE, 0, 0) == NONE
