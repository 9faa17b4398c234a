"""The distance from the recorded placement, by hand, and where it is told."""

import json

import numpy as np
from bokeh.embed import json_item
from test_session import small_trace

import potadlab as pl
from potadlab.metrics.distance import distance
from potadlab.report import table
from potadlab.runs import Case, run_allocator
from potadlab.session import Session
from potadlab.views import distance as view

TIMES = np.array([0, 1_000_000_000])
RECORDED = np.array([[0, 0, 4, 0], [4, 2, 2, 0]])  # 16 granules free at both moments
HERE = np.array([[0, 0, 2, 1], [8, 4, 0, 0]])  # a block of order 3 is two of order 2


def test_the_share_of_free_memory_in_blocks_of_another_order():
    found = distance("buddy", TIMES, HERE, RECORDED, 2)
    assert found.share.tolist() == [0, 8 / 16]  # 4 and 4 more in small ones, 8 less in large ones
    assert found.signed[1].tolist() == [4 / 16, 4 / 16, -8 / 16]
    assert found.moved.tolist() == [0, 8 / 16]  # from 16 in large ones to 4, 4 and 8
    assert (found.mean, found.worst, found.end, found.moved_mean) == (0.25, 0.5, 0.5, 0.25)
    told = found.as_dict()
    assert told["by_order"] == {"mean": [0.125, 0.125, -0.25], "end": [0.25, 0.25, -0.5]}
    assert json.loads(json.dumps(told)) == told


def test_one_at_the_place_of_the_record_is_at_no_distance():
    assert distance("recorded", TIMES, RECORDED, RECORDED, 2).share.tolist() == [0, 0]
    assert not distance("none", TIMES, RECORDED * 0, RECORDED * 0, 2).share.any(), "nothing is free"


def test_columns_of_the_view():
    found = distance("buddy", TIMES, HERE, RECORDED, 2)
    shown = view.columns(found)
    assert shown["time_s"].tolist() == [0, 1]
    assert shown["off"].tolist() == [0, 50]
    assert shown["moved"].tolist() == [0, 50]
    other = distance("potad", TIMES, RECORDED, RECORDED, 2)
    assert view.sizes([found, other], 4096) == {
        "size": ["4 KiB", "8 KiB", "16 KiB"],
        "buddy": [12.5, 12.5, -25],
        "potad": [0, 0, 0],
    }


def test_a_session_tells_of_each_allocator_but_the_record():
    trace = small_trace()
    session = Session(trace, ["buddy", "recorded", "buddy:pcp=off"])
    found = session.distances()
    assert [one.allocator for one in found] == ["buddy", "buddy:pcp=off"]
    case = Case(trace.space, trace.ops, trace.start, trace.handles)
    truth = run_allocator("recorded", case).census.free_blocks
    assert (distance("", found[0].time_ns, truth, truth, 10).moved == found[0].moved).all()
    assert Session(trace, ["buddy"]).distances() == []
    heads, rows = table.distance_rows(session)
    assert [row[0] for row in rows] == ["buddy", "buddy:pcp=off"]
    assert {len(row) for row in rows} == {len(heads)}


def test_a_run_shows_it_everywhere():
    run = pl.replay(small_trace(), ["buddy", "recorded"], lookups=["memmap"])
    first, second = run.as_dict()["runs"]
    assert first["distance"]["mean"] == round(run.session.distances()[0].mean, 5)
    assert "distance" not in second
    assert run.distance_table().row_count == 1
    for figure in run.distance_figures():
        assert json_item(figure)["doc"]
    alone = pl.replay(small_trace(), ["buddy"], lookups=["memmap"])
    assert alone.distance_table() is None
    assert alone.distance_figures() == []
