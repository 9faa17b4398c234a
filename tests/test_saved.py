"""A saved session: what was added comes back as it was, and a bad file is one line."""

import json

import numpy as np
import pytest
from made import allocate, blocks_of, ops_of, release, space_of

from potadlab.core.layout import Verb
from potadlab.dashboard import saved
from potadlab.errors import BadTrace
from potadlab.session import Session
from potadlab.traces.trace import Trace


@pytest.fixture
def session():
    ops = ops_of(allocate(0, 2, owner=0), allocate(1, 0), release(0, 2))
    space = space_of([(0, 64)], (0, 64))
    trace = Trace("made", None, {}, ops, 2, ["me"], 3, 4096, "", space, blocks_of(), 0, 0)
    return Session(trace, ["potad"])


def added(session):
    session.fail(0, 1)
    session.claim(8, 2, 0, owner="<i>camera</i>")
    session.fail(9, 5)
    return session


def test_ops_by_hand_come_back_one_after_the_other(session):
    before = session.ops.copy()
    added(session)
    ops, by_hand = session.ops.copy(), session.by_hand()
    assert [index for index, _ in by_hand] == [1, 0, 5]
    while session.undo():
        pass
    assert (session.ops == before).all()
    session.extend_all(by_hand)
    assert (session.ops == ops).all()
    assert session.added == 3
    session.undo()
    session.undo()
    assert session.ops["verb"].tolist() == [Verb.ALLOCATE, Verb.FAIL, Verb.ALLOCATE, Verb.RELEASE]


def written(session, tmp_path, **changed):
    """The file of a session, with some of it changed; its trace is called bundled."""
    path = tmp_path / f"one{saved.SUFFIX}"
    saved.save(path, added(session), {"index": 2}, ["told"])
    content = json.loads(path.read_text())
    content["trace"]["bundled"] = "made"
    path.write_text(json.dumps({**content, **changed}))
    return path


def test_a_file_says_all_of_it(session, tmp_path):
    path = written(session, tmp_path)
    found = saved.read(path)
    assert (found.trace, found.ops, found.allocators) == ("made", 3, ["potad"])
    assert (found.view, found.log) == ({"index": 2}, ["told"])
    wanted = session.ops.copy()
    fresh = Session(session.trace, ["potad"])
    fresh.extend_all(saved.ops_of(fresh, found, path))
    assert (fresh.ops == wanted).all()
    assert fresh.owner(int(wanted["owner"][0])) == "<i>camera</i>"
    assert np.array_equal(fresh.blocks("potad", 6), session.blocks("potad", 6))


@pytest.mark.parametrize("number", [0, 2])
def test_an_op_of_another_time_than_those_around_it_is_one_line(session, tmp_path, number):
    path = written(session, tmp_path)
    content = json.loads(path.read_text())
    added = content["added"][number]
    added["time_ns"] = session.time_ns(session.length) - added["time_ns"]
    path.write_text(json.dumps(content))
    fresh = Session(session.trace, ["potad"])
    with pytest.raises(BadTrace, match="another time than the ops around it"):
        saved.ops_of(fresh, saved.read(path), path)
    assert fresh.added == 0


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"session": 1}', '{"session": 2}', "[" * 5000, '"\\ud800"', "\x00", "NaN"],
)
def test_what_is_no_session_is_one_line(tmp_path, content):
    path = tmp_path / "bad.session.json"
    path.write_text(content)
    with pytest.raises(BadTrace) as told:
        saved.read(path)
    assert "bad.session.json" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("after", 99), ("after", -1), ("verb", "ERASE"), ("kind", "nobody"), ("granule", "x"),
        ("granule", 1 << 80), ("handle", 1 << 30), ("order", -1), ("owner", None),
    ],
)  # fmt: skip
def test_an_added_op_that_cannot_be_is_one_line(session, tmp_path, field, value):
    path = written(session, tmp_path)
    found = saved.read(path)
    found.added[1][field] = value
    fresh = Session(session.trace, ["potad"])
    if field == "owner":
        assert len(saved.ops_of(fresh, found, path)) == 3
        return
    with pytest.raises(BadTrace, match="added op 1"):
        saved.ops_of(fresh, found, path)


def test_another_trace_of_that_name_is_not_taken(session, tmp_path):
    path = written(session, tmp_path, trace={"name": "made", "bundled": "made", "ops": 4})
    with pytest.raises(BadTrace, match="was saved with 4 ops, made has 3"):
        saved.ops_of(session, saved.read(path), path)


def test_a_trace_made_in_python_is_in_no_file(session, tmp_path):
    path = written(session, tmp_path, trace={"name": "made", "ops": 3})
    with pytest.raises(BadTrace, match="made in Python"):
        saved.read(path)
