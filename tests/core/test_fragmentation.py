"""mm/vmstat.c's measures on cases worked by hand, and against plain sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab.core.fragmentation import (
    blocks_available,
    fragmentation_index,
    free_granules,
    unusable_index,
)


def blocks(**counts):
    """blocks(o0=3, o4=1): three free granules and a block of 16."""
    made = np.zeros(11, np.int64)
    for name, count in counts.items():
        made[int(name[1:])] = count
    return made


@pytest.mark.parametrize(
    ("free", "order", "available", "unusable", "fragmentation"),
    [
        (blocks(), 0, 0, 1000, 0),  # nothing free
        (blocks(o0=512), 9, 0, 1000, 997),  # 1000 - (1000 + 1000) // 512
        (blocks(o0=511, o9=1), 9, 1, 499, -1000),  # 511 * 1000 // 1023
        (blocks(o0=24, o3=1, o4=2), 3, 5, 375, -1000),  # 24 of 64 are too small
        (blocks(o0=24, o3=1, o4=2), 5, 0, 1000, 889),  # 1000 - (1000 + 64000 // 32) // 27
        (blocks(o1=1), 9, 0, 1000, -3),  # lack of memory: 1000 - (1000 + 3) // 1
        (blocks(o8=3), 9, 0, 1000, 167),  # 1000 - (1000 + 1500) // 3
        (blocks(o10=1), 9, 2, 0, -1000),
        # buddyinfo of a recorded machine: N = 712,353; 31 * 512 + 289 * 1024 serve
        (
            np.array([2435, 5437, 11847, 7775, 4019, 2723, 996, 318, 85, 31, 289]),
            9, 609, 562, -1000,
        ),
    ],
)  # fmt: skip
def test_worked_by_hand(free, order, available, unusable, fragmentation):
    assert blocks_available(free, order) == available
    assert unusable_index(free, order) == unusable
    assert fragmentation_index(free, order) == fragmentation


@given(st.lists(st.integers(0, 1000), min_size=11, max_size=11), st.integers(0, 10))
def test_as_plain_sums(counts, order):
    free = sum(count << k for k, count in enumerate(counts))
    able = sum(count << k for k, count in enumerate(counts) if k >= order)
    made = np.array(counts)
    assert free_granules(made) == free
    assert blocks_available(made, order) == able >> order
    assert unusable_index(made, order) == ((free - able) * 1000 // free if free else 1000)
    if able == 0 and free:
        wanted = free * 1000 // (1 << order)
        assert fragmentation_index(made, order) == 1000 - (1000 + wanted) // sum(counts)
