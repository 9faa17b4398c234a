"""Each machine instruction against its plain twin; each run of bits against the string it means."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab.core import bits
from potadlab.core._jit import kernel

words = st.integers(0, 2**64 - 1).map(np.uint64)
lines = st.binary(min_size=128, max_size=128).map(lambda raw: np.frombuffer(raw, np.uint8).copy())
compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="compares machine code with Python")


@kernel
def count_all(word, out):
    out[0] = bits.trailing_zeros(word)
    out[1] = bits.leading_zeros(word)
    out[2] = bits.popcount(word)


@kernel
def compare_all(line, at, value, out):
    out[0] = bits.bytes_at_least(line, at, value)
    out[1] = bits.bytes_equal(line, at, value)
    out[2] = np.uint64(bits.bytes_max(line, at))


@kernel
def pass_on(value):
    return bits.one_by_one(value)


@kernel
def put(line, at, mask, value):
    bits.bytes_put(line, at, mask, value)


@compiled
@given(words)
def test_counts_are_those_of_the_twins(word):
    out = np.zeros(3, np.int64)
    count_all(word, out)
    twins = bits.trailing_zeros, bits.leading_zeros, bits.popcount
    assert out.tolist() == [int(twin.plain(word)) for twin in twins]


@compiled
@given(lines, st.integers(0, 64), st.integers(0, 255))
def test_comparisons_are_those_of_the_twins(line, at, value):
    out = np.zeros(3, np.uint64)
    compare_all(line, at, value, out)
    assert int(out[0]) == int(bits.bytes_at_least.plain(line, at, value))
    assert int(out[1]) == int(bits.bytes_equal.plain(line, at, value))
    assert int(out[2]) == int(bits.bytes_max.plain(line, at))


@given(lines, words, st.integers(0, 255))
def test_put_writes_where_the_mask_says(line, mask, value):
    expected = line.copy()
    for i in range(64):
        if int(mask) >> i & 1:
            expected[64 + i] = value
    put(line, 64, mask, value)
    assert line.tolist() == expected.tolist()


def runs_of(word, order):
    size = 1 << order
    full = (1 << size) - 1
    return {start for start in range(0, 64, size) if word >> start & full == full}


@given(words)
def test_runs_are_the_aligned_runs(word):
    for order in range(6):
        found = int(bits.runs(word, order))
        assert {i for i in range(64) if found >> i & 1} == runs_of(int(word), order)
    longest = max((order + 1 for order in range(7) if runs_of(int(word), order)), default=0)
    assert bits.longest_run(word) == longest


@given(st.integers(0, 40), st.integers(1, 2**20))
def test_largest_order_is_aligned_and_fits(granule, granules):
    order = int(bits.largest_order(granule, granules))
    assert granule % 2**order == 0
    assert 2**order <= granules
    assert granule % 2 ** (order + 1) or 2 ** (order + 1) > granules


@pytest.mark.parametrize("order", range(7))
def test_run_mask_covers_one_aligned_run(order):
    for first in range(0, 64, 1 << order):
        assert int(bits.run_mask(first, order)) == ((1 << (1 << order)) - 1) << first


@pytest.mark.parametrize("value", [0, -1, 1 << 62])
def test_what_goes_one_by_one_stays_as_it_is(value):
    assert pass_on(np.int64(value)) == value
