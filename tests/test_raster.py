"""The raster against a twin that looks at every granule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab.core.layout import BLOCK
from potadlab.core.raster import FREE, HOLE, OUTSIDE, POISON, USED, rasterise

pytestmark = pytest.mark.core
ANON, SLAB = USED + 1, USED + 5


@st.composite
def memories(draw):
    """(blocks, categories, ranges, end): disjoint blocks, some granules failed, holes."""
    order_max = draw(st.integers(2, 5))
    end = draw(st.integers(1, 6)) << order_max
    places = draw(st.lists(st.integers(0, order_max), max_size=40))
    rows, at = [], 0
    for order in places:
        at = -(-at // (1 << order)) << order
        if at + (1 << order) > end:
            break
        if draw(st.booleans()):
            rows.append((at, order, draw(st.sampled_from([USED, ANON, SLAB]))))
        at += 1 << order
    failed = draw(st.sets(st.integers(0, end - 1), max_size=3))
    rows = sorted([*rows, *((granule, 0, POISON) for granule in failed)])
    blocks = np.zeros(len(rows), BLOCK)
    blocks["granule"] = [row[0] for row in rows]
    blocks["order"] = [row[1] for row in rows]
    cuts = sorted(draw(st.sets(st.integers(0, end), max_size=6)))
    ranges = np.array(cuts[: len(cuts) // 2 * 2], np.int64).reshape(-1, 2)
    return blocks, np.array([row[2] for row in rows], np.uint8), ranges, end


def granule_categories(blocks, categories, ranges, end, first, granules):
    """Category of each granule, and whether a live block holds it."""
    found = np.full(granules, OUTSIDE)
    found[: max(end - first, 0)] = HOLE
    serving = np.zeros(granules, np.int64)
    for low, high in ranges:
        span = slice(max(low - first, 0), max(high - first, 0))
        found[span] = FREE
        serving[span] = 1
    used = np.zeros(granules, np.int64)
    for block, category in zip(blocks, categories, strict=True):
        low = int(block["granule"]) - first
        span = slice(max(low, 0), max(low + (1 << int(block["order"])), 0))
        if category != POISON:
            found[span] = category
            used[span] = 1
    return found, used, serving


def brute_force(blocks, categories, ranges, end, first, per_pixel, height, width, ranks=(0,) * 256):
    found, used, serving = granule_categories(
        blocks, categories, ranges, end, first, height * width * per_pixel
    )
    pixels = []
    for pixel in range(height * width):
        span = slice(pixel * per_pixel, (pixel + 1) * per_pixel)
        counts = np.bincount(found[span][found[span] >= USED], minlength=256)
        inside = min(max(end - first - pixel * per_pixel, 0), per_pixel)
        counts[OUTSIDE] = per_pixel - inside
        counts[HOLE] = max(inside - serving[span].sum(), 0)
        counts[FREE] = max(serving[span].sum() - used[span].sum(), 0)
        present = np.flatnonzero(counts).tolist() or [0]
        pixels.append(max(present, key=lambda here: (ranks[here], counts[here], here)))
    for granule in blocks["granule"][categories == POISON]:
        pixel = (int(granule) - first) // per_pixel
        if 0 <= pixel < len(pixels):
            pixels[pixel] = POISON
    return np.array(pixels, np.uint8).reshape(height, width)


@given(
    memory=memories(),
    first=st.integers(0, 40),
    per_pixel=st.sampled_from([1, 2, 3, 8, 32]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 8)),
)
def test_every_pixel_is_what_most_of_its_granules_are(memory, first, per_pixel, shape):
    blocks, categories, ranges, end = memory
    pixels = rasterise(blocks, categories, ranges, end, first, per_pixel, *shape)
    expected = brute_force(blocks, categories, ranges, end, first, per_pixel, *shape)
    assert pixels.tolist() == expected.tolist()


@given(memory=memories(), first=st.integers(0, 40), per_pixel=st.sampled_from([1, 3, 8, 32]))
def test_with_ranks_the_worst_that_is_present_wins(memory, first, per_pixel):
    blocks, categories, ranges, end = memory
    ranks = np.zeros(256, np.uint8)
    ranks[[FREE, USED, ANON, SLAB]] = 1, 2, 3, 2
    pixels = rasterise(blocks, categories, ranges, end, first, per_pixel, 4, 6, ranks)
    expected = brute_force(blocks, categories, ranges, end, first, per_pixel, 4, 6, ranks)
    assert pixels.tolist() == expected.tolist()


def test_one_failed_granule_colours_a_pixel_of_a_million():
    blocks = np.zeros(2, BLOCK)
    blocks["granule"], blocks["order"] = [0, 777_777], [20, 0]
    everything = np.array([[0, 1 << 20]])
    categories = np.array([ANON, POISON], np.uint8)
    assert rasterise(blocks, categories, everything, 1 << 20, 0, 1 << 20, 1, 1)[0, 0] == POISON


def test_rows_run_along_addresses():
    blocks = np.zeros(1, BLOCK)
    blocks["granule"], blocks["order"] = 8, 2
    pixels = rasterise(blocks, np.array([ANON], np.uint8), np.array([[0, 14]]), 15, 0, 1, 4, 4)
    assert pixels.tolist() == [
        [FREE] * 4,
        [FREE] * 4,
        [ANON] * 4,
        [FREE, FREE, HOLE, OUTSIDE],
    ]
