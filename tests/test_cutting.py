"""Windows of traces, two traces beside each other, and what the program says of both."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab import BadTrace, Trace, cli
from potadlab.bundled import dataset
from potadlab.traces import Snapshot, parquet
from potadlab.traces.cutting import cut
from potadlab.traces.difference import Difference
from potadlab.traces.importing.gfp import BITS
from potadlab.traces.snapshot import runs_of

PAGES = 64
BITS_NAMED = {str(bit): name for bit, name in BITS.items()}
FREE = 1


def write_trace(path, rows, stack="", **metadata):
    """rows: (seconds, op, pfn, order)"""
    seconds, op, pfn, order = (list(column) for column in zip(*rows, strict=True))
    alloc = np.array(op) == 0
    columns = {
        "t_ns": np.array([int(1e9 * at) + 7 for at in seconds], np.int64),
        "cpu": np.zeros(len(op), np.uint8),
        "op": np.array(op, np.uint8),
        "pfn": np.array(pfn, np.uint64),
        "order": np.array(order, np.uint8),
        "migratetype": np.where(alloc, 1, 255).astype(np.uint8),
        "gfp_flags": np.where(alloc, 0x140DCA, 0).astype(np.uint32),
    }
    if stack:
        columns["stack"] = [stack if one else None for one in alloc]
    told = {"zones": {"Normal": [0, PAGES]}, "name": "whole", "gfp_bits": BITS_NAMED, **metadata}
    table = pa.table(columns).replace_schema_metadata({"potadlab": json.dumps(told)})
    pq.write_table(table, path)


def write_memory(path, kinds, **metadata):
    parquet.write_snapshot(path, runs_of(np.array(kinds, np.uint8)), metadata)


def memory_of(path):
    snapshot = Snapshot.read(path)
    sizes = snapshot.end - snapshot.start
    return np.repeat(snapshot.kind, sizes).tolist(), snapshot.metadata


ROWS = [
    (0.0, 0, 8, 0),
    (1.0, 0, 16, 2),
    (2.0, 1, 8, 0),
    (2.0, 0, 24, 0),
    (3.0, 1, 40, 0),
    (4.0, 0, 8, 3),
]


def test_a_window_by_hand(tmp_path):
    write_trace(tmp_path / "whole.parquet", ROWS)
    kinds = [FREE] * PAGES
    kinds[40] = 4
    write_memory(tmp_path / "whole.before.parquet", kinds)
    found = cut(tmp_path / "whole.parquet", 2.0, 4.0, tmp_path / "part.parquet")
    assert (found.events, found.duration_s) == (3, 1.0)
    table = pq.read_table(found.path)
    assert table["pfn"].to_pylist() == [8, 24, 40]
    memory, told = memory_of(found.before)
    wanted = [FREE] * PAGES
    wanted[8], wanted[40] = 3, 4
    wanted[16:20] = [5] * 4
    assert memory == wanted
    assert told["window"] == {"of": "whole", "from_s": 2.0, "to_s": 4.0}
    trace = Trace.read(found.path)
    assert (trace.name, trace.snapshot) == ("part", "part.before.parquet")
    assert trace.counts["live_at_start"] == 2
    assert trace.counts["untraced_unseen"] == 0


def test_without_a_snapshot_there_is_none_beside_the_cut(tmp_path):
    write_trace(tmp_path / "whole.parquet", ROWS)
    found = cut(tmp_path / "whole.parquet", 1.0, None, tmp_path / "part.parquet")
    assert found.before is None
    assert found.events == 5
    assert "nothing tells the memory" in found.words()[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.parquet", "whole.parquet"]


def test_a_window_without_events_is_told(tmp_path):
    write_trace(tmp_path / "whole.parquet", ROWS)
    with pytest.raises(BadTrace, match=r"no event from 5 s to its end: it lasts 4.000 s"):
        cut(tmp_path / "whole.parquet", 5.0, None, tmp_path / "part.parquet")


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 15), st.integers(0, 2)),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.sampled_from([FREE, 0, 3, 4]), min_size=PAGES, max_size=PAGES),
    st.integers(0, 5),
)
def test_the_memory_at_a_cut_is_that_of_the_events_before(tmp_path_factory, rows, kinds, from_s):
    folder = tmp_path_factory.mktemp("cut")
    rows = [(at, op, place << order, order) for at, op, place, order in sorted(rows)]
    rows = [(at - rows[0][0], op, pfn, order) for at, op, pfn, order in rows]
    write_trace(folder / "whole.parquet", rows)
    write_memory(folder / "whole.before.parquet", kinds)
    late = [row for row in rows if row[0] >= from_s]
    if not late:
        with pytest.raises(BadTrace, match="no event"):
            cut(folder / "whole.parquet", from_s, None, folder / "part.parquet")
        return
    found = cut(folder / "whole.parquet", from_s, None, folder / "part.parquet")
    for _, op, pfn, order in rows[: len(rows) - len(late)]:
        kinds[pfn : pfn + (1 << order)] = [FREE if op else (5 if order else 3)] * (1 << order)
    assert memory_of(found.before)[0] == kinds
    assert pq.read_table(found.path)["pfn"].to_pylist() == [row[2] for row in late]


def test_a_real_trace_is_cut_warm(tmp_path):
    """What the whole trace calls exact is exact or live at the start of its cut, never untraced."""
    whole = Trace.read(dataset("thp_split"))
    found = cut(dataset("thp_split"), 3.0, None, tmp_path / "part.parquet")
    part = Trace.read(found.path)
    untraced = ("untraced_unseen", "untraced_reused", "corrupt")
    assert sum(part.counts[name] for name in untraced) <= sum(
        whole.counts[name] for name in untraced
    )
    assert part.counts["live_at_start"] > 0
    recorded = pq.read_table(dataset("thp_split"))["t_ns"].to_numpy()
    assert part.events == np.count_nonzero(recorded - recorded[0] >= 3e9)


# ---- difference -----------------------------------------------------------------------------


def test_a_difference_by_hand(tmp_path):
    write_trace(tmp_path / "a.parquet", ROWS, name="a")
    write_trace(tmp_path / "b.parquet", [(0.0, 0, 8, 0), (0.5, 0, 9, 0), (2.0, 1, 9, 0)], name="b")
    write_memory(tmp_path / "b.after.parquet", [FREE] * PAGES)
    found = Difference.of(*(Trace.read(tmp_path / f"{name}.parquet") for name in "ab"))
    values = {row.what: row.values for row in found.rows}
    assert values["seconds"] == (4.0, 2.0)
    assert values["allocs"] == (4, 2)
    assert values["pages allocated"] == (14, 2)
    assert values["allocs of order 2"] == (1, 0)
    assert values["life of half the blocks, ms"] == (2000.0, 1500.0)
    assert values["at the end: free pages"] == (None, 64)
    assert values["pages of kind anon"] == (14, 2)
    ratios = {row.what: row.ratio for row in found.rows}
    assert ratios["pages allocated"] == 2 / 14
    assert ratios["at the end: free pages"] is None
    assert found.as_dict()["rows"][0]["what"] == "seconds"


def test_owners_of_stacks_are_not_compared_with_guessed_ones(tmp_path):
    for name, stack in (("a", "do_anonymous_page;handle_mm_fault"), ("b", "")):
        write_trace(tmp_path / f"{name}.parquet", ROWS, stack, name=name)
    a, b = (Trace.read(tmp_path / f"{name}.parquet") for name in "ab")
    for first, second, said in ((a, b, "A has call stacks and B"), (b, a, "B has call stacks")):
        found = Difference.of(first, second)
        assert said in found.caption
        assert not any(row.what.startswith("pages by") for row in found.rows)
    for one in (a, b):
        found = Difference.of(one, one)
        assert "call stacks" not in found.caption
        assert any(row.what.startswith("pages by") for row in found.rows)


def test_a_trace_differs_from_itself_in_nothing():
    trace = Trace.read(dataset("thp_split"))
    found = Difference.of(trace, trace)
    assert all(first == second for first, second in (row.values for row in found.rows))
    assert all(row.ratio in (None, 1.0) for row in found.rows)


def test_free_pages_in_large_blocks():
    kinds = [0] * 3 + [FREE] * 21 + [0] * 8
    snapshot = Snapshot(None, {}, *spans(kinds))
    assert snapshot.free_pages(0) == (21, 21)
    assert snapshot.free_pages(3) == (21, 16)


def spans(kinds):
    start, pages, kind = runs_of(np.array(kinds, np.uint8))
    return start, start + pages, kind


# ---- the program ----------------------------------------------------------------------------


@pytest.fixture
def potadlab(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return stopped.value.code, told.out, told.err

    return run


def test_the_program_cuts_and_compares(potadlab, tmp_path):
    part = tmp_path / "part.parquet"
    code, out, err = potadlab("cut", "thp_split", part, "--from", "1s", "--to", "1500ms")
    assert (code, err) == (0, "")
    assert "part.before.parquet" in out
    code, out, _ = potadlab("diff", "thp_split", part)
    assert code == 0
    assert "B / A" in out
    code, out, _ = potadlab("diff", "thp_split", part, "--json")
    assert json.loads(out)["a"] == "thp_split"
    code, out, _ = potadlab("info", tmp_path / "part.before.parquet")
    assert code == 0
    assert "buddy (free)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cut", "thp_split", "x.parquet", "--from", "2s", "--to", "1s"], 2, "later than --from"),
        (["cut", "nonesuch.parquet", "x.parquet"], 1, "no such file"),
        (["cut", "thp_split", "no/x.parquet"], 1, "there is no folder no: make it first"),
        (["cut", "thp_split", "x.parquet", "--from", "1h"], 1, "no event from 3600 s"),
        (["diff", "thp_split"], 2, "Missing argument"),
        (["diff", "thp_split", "nonesuch.parquet"], 1, "no such file"),
    ],
)
def test_it_fails_in_one_line(potadlab, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    got, _, err = potadlab(*arguments)
    assert got == code
    assert said in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_cut_never_overwrites_what_it_reads(potadlab, tmp_path):
    write_trace(tmp_path / "whole.parquet", ROWS)
    write_memory(tmp_path / "whole.before.parquet", [FREE] * PAGES)
    old = (tmp_path / "whole.parquet").read_bytes()
    for target in ("whole.parquet", "whole.before.parquet", "whole"):
        code, _, err = potadlab("cut", tmp_path / "whole.parquet", tmp_path / target)
        assert code == 1
        assert "is also read" in err
    assert (tmp_path / "whole.parquet").read_bytes() == old
