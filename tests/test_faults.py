"""Failures that come from a seed: how many, where, and that they are ops like any click."""

import numpy as np
import pytest
from made import allocate, at, ops_of, space_of

from potadlab.core.layout import BLOCK, Flag, Verb
from potadlab.errors import BadSize
from potadlab.faults import FAILURES_MAX, PER_MOPS, PER_S, at_random
from potadlab.kinds import KIND
from potadlab.session import Session
from potadlab.traces import Trace

SECOND = 10**9
RANGES = [(3, 60), (64, 120)]


def session_of(seconds=10, ops=400):
    """Pages of two ranges, a third one added halfway; an op each so many ns."""
    made = ops_of(*(allocate(handle, kind=KIND["anon"], owner=0) for handle in range(ops)))
    made[ops // 2 :] = ops_of(*(at(Verb.FAIL, 0) for _ in range(ops - ops // 2)))
    made["verb"][ops // 2 :] = Verb.DRAIN
    made[ops // 2] = at(Verb.ADD_MEMORY, 200, 56)
    made["time_ns"] = np.linspace(0, seconds * SECOND, ops).astype(np.int64)
    trace = Trace(
        name="faults", path=None, metadata={}, ops=made, handles=ops, owners=["someone"],
        events=ops, granule_bytes=4096, snapshot="", space=space_of(RANGES, (0, 256)),
        start=np.zeros(0, BLOCK), boundaries_assumed=0, kinds_guessed=0,
    )  # fmt: skip
    return Session(trace, ["potad", "buddy"])


@pytest.fixture(scope="module")
def session():
    return session_of()


@pytest.mark.parametrize("unit", [PER_S, PER_MOPS])
def test_the_same_seed_gives_the_same_failures_and_another_gives_others(session, unit):
    rate = 4 if unit == PER_S else 1e5
    first, again = (at_random(session, 0, rate, unit, 7) for _ in range(2))
    other = at_random(session, 0, rate, unit, 8)
    rows = [[(index, int(op["granule"])) for index, op in ops] for ops in (first, again, other)]
    assert rows[0] == rows[1] != rows[2]
    assert len(first) > 0


def test_as_many_as_the_rate_says_on_average(session):
    counts = [len(at_random(session, 0, 4, PER_S, seed)) for seed in range(60)]
    assert abs(np.mean(counts) - 40) < 4 * np.sqrt(40 / 60), "a Poisson process over 10 s"
    counts = [len(at_random(session, 200, 1e5, PER_MOPS, seed)) for seed in range(60)]
    assert abs(np.mean(counts) - 20) < 4 * np.sqrt(20 / 60), "over the 200 ops that are left"


def test_only_what_is_in_service_then_fails_and_all_of_it_may(session):
    seen = {True: set(), False: set()}
    for seed in range(40):
        for number, (index, op) in enumerate(at_random(session, 0, 10, PER_S, seed)):
            before = index - number  # ops of the trace
            granule = int(op["granule"])
            ranges = [*RANGES, (200, 256)][: 3 if before > 200 else 2]
            assert any(low <= granule < high for low, high in ranges)
            seen[before > 200].add(granule)
            assert op["verb"] == Verb.FAIL
            assert op["flags"] == Flag.BY_HAND
    everywhere = {granule for low, high in [*RANGES, (200, 256)] for granule in range(low, high)}
    assert seen[True] == everywhere


def test_they_are_replayed_undone_at_once_and_alike_for_every_allocator():
    session = session_of()
    before = session.ops.copy()
    ops = at_random(session, 100, 5, PER_S, 3, soft=True)
    assert all(index >= 100 for index, _ in ops)
    session.extend_all(ops, together=True)
    assert session.added == len(ops)
    assert session.failures().tolist() == [index for index, _ in ops]
    assert np.all(np.diff(session.ops["time_ns"]) >= 0)
    for told in map(session.told, session.failures()):
        assert [one.allocator for one in told] == ["potad", "buddy"]
        assert told[0].address == told[1].address
        assert told[0].soft
    session.fail(5, 0)
    assert session.undo()
    assert session.added == len(ops)
    assert session.undo()
    assert np.array_equal(session.ops, before)
    assert not session.undo()


def test_rates_that_cannot_be(session):
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadSize, match="above 0"):
            at_random(session, 0, rate, PER_S, 1)
    with pytest.raises(BadSize, match="above 0"):
        at_random(session, 0, 1, "per minute", 1)
    for rate, unit in ((FAILURES_MAX, PER_S), (1e9, PER_S), (1e12, PER_MOPS), (120, PER_S)):
        with pytest.raises(BadSize, match="take a lower"):
            at_random(session, 0, rate, unit, 1)
    assert at_random(session, session.length, 5, PER_S, 1) == []
