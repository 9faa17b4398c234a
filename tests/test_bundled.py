"""Every bundled trace in every allocator, in the space it was recorded in."""

import numpy as np
import pytest

from potadlab import bundled
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import Outcome, Verb
from potadlab.runs import Case, run_allocator
from potadlab.traces import Trace

MOMENTS = 12


@pytest.fixture(scope="module", params=bundled.datasets())
def trace(request):
    return Trace.read(bundled.dataset(request.param))


def case_of(trace):
    return Case(trace.space, trace.ops, trace.start, trace.handles)


def check_moment(run, index):
    """Live blocks are aligned, apart, in service; what is free and live makes up the service."""
    blocks, service = run.blocks(index), run.in_service(index)
    sizes = np.int64(1) << blocks["order"].astype(np.int64)
    starts, ends = blocks["granule"], blocks["granule"] + sizes
    assert not np.any(starts & (sizes - 1))
    assert np.all(ends[:-1] <= starts[1:]), "blocks lie apart"
    held = np.searchsorted(service[:, 0], starts, side="right") - 1
    assert np.all(held >= 0)
    assert np.all(ends <= service[held, 1]), "blocks lie in service"
    return int(sizes.sum()), int((service[:, 1] - service[:, 0]).sum())


@pytest.mark.parametrize("name", ALLOCATORS)
def test_it_replays_without_a_refusal(trace, name):
    run = run_allocator(name, case_of(trace), samples=MOMENTS, check_end=True)
    assert run.refused == 0
    for outcome in (Outcome.REFUSED, Outcome.OUTSIDE):
        assert not np.any(run.events["outcome"] == outcome)
    if len(trace.start):  # warm: every release finds its block
        assert not np.any(run.events["outcome"] == Outcome.ABSENT)
    census = run.census
    free = (census.free_blocks << np.arange(census.free_blocks.shape[1])).sum(axis=1)
    for row, index in enumerate(census.index):
        live, service = check_moment(run, int(index))
        assert census.live_granules[row].sum() == live
        assert census.live_blocks[row].sum() == len(run.blocks(int(index)))
        assert free[row] + live == service
        assert live * trace.granule_bytes <= run.live_bytes_max


def test_recorded_puts_each_block_where_the_kernel_did(trace):
    run = run_allocator("recorded", case_of(trace), samples=1)
    placed = np.isin(trace.ops["verb"], (Verb.ALLOCATE, Verb.RELEASE, Verb.SPLIT))
    placed &= run.events["outcome"] == Outcome.DONE
    assert np.array_equal(run.events["granule"][placed], trace.ops["granule"][placed])
    assert run.count(Verb.ALLOCATE, Outcome.DONE) == np.sum(trace.ops["verb"] == Verb.ALLOCATE)


def test_all_allocators_hold_the_same_bytes(trace):
    """What is live does not depend on where it was put."""
    runs = [run_allocator(name, case_of(trace), samples=4) for name in ALLOCATORS]
    assert len({run.live_bytes_max for run in runs}) == 1
    for run in runs[1:]:
        assert np.array_equal(run.census.live_granules, runs[0].census.live_granules)
        assert np.array_equal(run.census.live_blocks, runs[0].census.live_blocks)
