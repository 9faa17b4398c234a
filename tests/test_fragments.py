"""Fragmentation in reports and pictures; free blocks of the bundled snapshots against buddyinfo."""

import numpy as np
import pytest

from potadlab import bundled
from potadlab.core import census
from potadlab.core.fragmentation import unusable_index
from potadlab.core.layout import BLOCK
from potadlab.core.linux.state import ORDER_MAX
from potadlab.kinds import facts
from potadlab.metrics.fragmentation import at_a_moment, largest_order, order_of
from potadlab.traces.snapshot import Snapshot, find
from potadlab.units import KIB
from potadlab.views import fragmentation as view

FREE = 1  # page kind of a snapshot: buddy
SNAPSHOTS = {name: find(path) for name, path in bundled.datasets().items() if find(path)}
# read while the machine was at rest, so that every zone and order is as buddyinfo tells; of the
# others the machine was busy between the two readings, seen in Normal only
AT_REST = "thp_split"


def counted(snapshot, zone):
    """Free blocks of each order in one zone, from the runs of free pages."""
    start, end = snapshot.metadata["zones"][zone]
    free = snapshot.kind == FREE
    runs = np.stack([snapshot.start[free], snapshot.end[free]], axis=1).clip(start, end)
    runs = runs[runs[:, 0] < runs[:, 1]]
    counts = census.new(np.array([(start, end)]), ORDER_MAX, facts()["movable"], 9)
    census.begin(counts, runs, np.zeros(0, BLOCK))
    return counts.free_blocks[: ORDER_MAX + 1]


def test_every_order_of_every_zone_is_as_buddyinfo_tells():
    snapshot = Snapshot.read(SNAPSHOTS[AT_REST])
    told = snapshot.metadata["buddyinfo"]
    assert set(told) == {"DMA", "DMA32", "Normal"}
    for zone, blocks in told.items():
        found = counted(snapshot, zone)
        assert found.tolist() == blocks, zone
        for order in (4, 9, 10):  # and what extfrag/unusable_index would print
            assert unusable_index(found, order) == unusable_index(np.array(blocks), order)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_zones_at_rest_are_as_buddyinfo_tells(name):
    snapshot = Snapshot.read(SNAPSHOTS[name])
    told = snapshot.metadata["buddyinfo"]
    assert counted(snapshot, "DMA").tolist() == told["DMA"]
    assert counted(snapshot, "DMA32").tolist() == told["DMA32"]
    normal, free = counted(snapshot, "Normal"), np.array(told["Normal"])
    orders = np.arange(len(free))
    pages = int((normal << orders).sum()), int((free << orders).sum())
    assert pages[0] == pytest.approx(pages[1], rel=0.08), "read within a second or so"


def test_a_moment_worked_by_hand():
    """3 pages, a block of 64 KiB, one of 2 MiB: 531 pages, of which 19 and 3 are too small."""
    blocks = np.zeros(64, int)
    blocks[[0, 4, 9]] = 3, 1, 1
    assert at_a_moment(blocks, 4 * KIB) == {
        "unusable_index": {"64KiB": 0.005, "2MiB": 0.035, "1GiB": 1.0},
        # 1000 - (1000 + 531 * 1000 // 2**18) // 5
        "fragmentation_index": {"64KiB": -1.0, "2MiB": -1.0, "1GiB": 0.8},
        "blocks_available": {"64KiB": 33, "2MiB": 1, "1GiB": 0},
        "largest_free_bytes": 2 << 20,
    }


def test_nothing_free():
    found = at_a_moment(np.zeros(11, int), 4 * KIB)
    assert found["unusable_index"]["2MiB"] == 1
    assert found["fragmentation_index"]["2MiB"] == 0
    assert found["largest_free_bytes"] == 0
    assert largest_order(np.zeros(11, int)) is None


@pytest.mark.parametrize(
    ("size", "granule_bytes", "order"),
    [("2MiB", 4096, 9), ("2MiB", 512, 12), ("64KiB", 65536, 0), ("64KiB", 1 << 20, 0)],
)
def test_order_of_a_size(size, granule_bytes, order):
    assert order_of(size, granule_bytes) == order


def test_columns():
    blocks = np.zeros((2, 11), int)
    blocks[0, 10], blocks[1, 8] = 2, 1
    found = view.columns(np.array([0, 5e8]), blocks, np.array([3, 4]), 4 * KIB)
    wanted = {
        "time_s": [0, 0.5],
        "unusable": [0, 100],
        "available": [4, 0],
        "spoilt": [3, 4],
    }
    assert {name: column.tolist() for name, column in found.items()} == wanted
