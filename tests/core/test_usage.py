"""Page frames kept up by events: against a list that knows no more than it needs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from potadlab.core import usage
from potadlab.core.raster import POISON

FREE, USED = 1, 0
EVENT = st.tuples(st.integers(-2, 40), st.integers(0, 3), st.booleans(), st.integers(2, 9))
EVENTS = st.lists(EVENT, max_size=40)
STATE = st.lists(st.sampled_from([FREE, USED, 5]), min_size=1, max_size=32)


def arrays(events):
    pfn, order, freed, value = (
        (list(column) for column in zip(*events, strict=True)) if events else ([],) * 4
    )
    return (
        np.array(pfn, np.int64),
        np.array(order, np.uint8),
        np.array(freed, bool),
        np.array(value, np.uint8),
    )


def touched(event, length):
    pfn, order, _, _ = event
    return range(max(pfn, 0), min(pfn + (1 << order), length))


@given(STATE, EVENTS)
def test_follow(state, events):
    array, wanted = np.array(state, np.uint8), list(state)
    taken = usage.follow(array, *arrays(events), FREE)
    for event in events:
        for frame in touched(event, len(wanted)):
            wanted[frame] = FREE if event[2] else event[3]
    assert array.tolist() == wanted
    assert taken == state.count(FREE) - wanted.count(FREE)


@given(STATE, EVENTS)
def test_rewind_gives_what_the_first_event_tells(state, events):
    array = np.array(state, np.uint8)
    pfn, order, freed, _ = arrays(events)
    usage.rewind(array, pfn, order, freed, FREE, USED)
    for frame, now in enumerate(state):
        first = next((event for event in events if frame in touched(event, len(state))), None)
        if first is None:
            assert array[frame] == now
        elif first[2]:
            assert array[frame] != FREE
        else:
            assert array[frame] == FREE


def test_rewind_keeps_what_a_frame_in_use_is_used_for():
    """It was freed and allocated again, or freed untold: what it is now, it may have been."""
    array = np.array([5, 5, FREE], np.uint8)
    usage.rewind(array, np.array([0, 2]), np.zeros(2, np.uint8), np.ones(2, bool), FREE, USED)
    assert array.tolist() == [5, 5, USED]


@given(STATE)
def test_census(state):
    counts = np.zeros(256, np.int64)
    usage.census(np.array(state, np.uint8), counts)
    assert {byte: count for byte, count in enumerate(counts) if count} == {
        byte: state.count(byte) for byte in set(state)
    }


def test_free_blocks_by_hand():
    """Aligned, cut at a zone's border and at the last order."""
    array = np.full(64, FREE, np.uint8)
    array[[0, 3, 40]] = USED
    counts = np.zeros(4, np.int64)
    usage.free_blocks(array, FREE, np.array([0, 20]), np.array([20, 64]), counts)
    # 1, 2 | 4-7, 8-15, 16-19 | 20-23, 24-31, 32-39 | 41, 42-43, 44-47, 48-55, 56-63
    assert counts.tolist() == [3, 1, 4, 5]


@given(STATE)
def test_free_blocks_cover_what_is_free(state):
    array, counts = np.array(state, np.uint8), np.zeros(3, np.int64)
    usage.free_blocks(array, FREE, np.array([0]), np.array([len(state)]), counts)
    assert counts @ [1, 2, 4] == state.count(FREE)


@given(STATE, st.integers(0, 3), st.integers(1, 5))
def test_cells_show_what_most_frames_are(state, first, per_cell):
    """The most frequent, the higher of equals; poison always; nothing beyond the end."""
    categories = np.zeros(256, np.uint8)
    categories[[FREE, USED, 5]] = [2, 7, POISON]
    pixels, counts = np.full(10, 99, np.uint8), np.zeros(256, np.int64)
    usage.cells(np.array(state, np.uint8), categories, first, per_cell, counts, pixels)
    for pixel, found in enumerate(pixels.tolist()):
        low = first + pixel * per_cell
        here = [int(categories[byte]) for byte in state[low : low + per_cell]]
        wanted = max(here, key=lambda one: (here.count(one), one), default=0)
        assert found == (POISON if POISON in here else wanted)
    assert not counts.any()
