"""What is made of costs, by hand: sums, copies on virtual CPUs, columns of figures, tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import allocate, blocks_of, ops_of, release, space_of, split

import potadlab as pl
from potadlab import runs, virtual
from potadlab.core.layout import EVENT, NONE, Outcome, Verb
from potadlab.core.meter import COST
from potadlab.core.metered import AVAILABLE
from potadlab.metrics import lines
from potadlab.report import figures, html_page, meters, table
from potadlab.views import lines as line_view
from potadlab.views import sharing

SPACE = space_of([(0, 4096)], (0, 4096))
CASE = runs.Case(
    SPACE,
    ops_of(
        allocate(1), allocate(2, 3), release(0, 2), split(2, 1, into=3), release(4, 1), release(1)
    ),
    blocks_of((16, 2, 0, 4, 1)),
    16,
)


def costs_of(*rows):
    """COST[] of (lines, written, misses, transfers, locked, descriptor, lookup, guarded)."""
    made = np.zeros(len(rows), COST)
    for cost, row in zip(made, rows, strict=True):
        for field, value in zip(COST.names, row, strict=False):
            cost[field] = value
    return made


def summed():
    """Of three allocations, of which one is refused, and a release."""
    ops = ops_of(allocate(1), allocate(2), allocate(3), release(1))
    events = np.zeros(4, EVENT)
    events["outcome"] = Outcome.DONE, Outcome.DONE, Outcome.REFUSED, Outcome.DONE
    costs = costs_of(
        (2, 1, 2, 0, 0, 1, 0, 0),
        (6, 3, 0, 1, 4, 2, 3, 1),
        (99, 99, 99, 99, 99, 9, 9, 1),
        (5, 5, 5, 5, 5, 1, 1, 1),
    )
    by_array = {
        "words": np.array([6, 0, 90]),
        "nodes": np.array([2, 5, 9]),
        "none": np.zeros(3, int),
    }
    return lines.summed(ops, events, costs, by_array)


def test_sums_are_over_the_ops_that_were_done():
    found = summed()
    assert (found.allocate.ops, found.release.ops) == (2, 1)
    assert (found.allocate.mean, found.allocate.p50, found.allocate.written) == (4, 4, 2)
    assert found.allocate.p99 == pytest.approx(5.96)
    assert (found.allocate.misses, found.allocate.transfers) == (1, 0.5)
    assert (found.allocate.locked_ops, found.allocate.locked) == (0.5, 2)
    assert found.allocate.by_array == {"words": 3, "nodes": 1}
    assert found.allocate.counts.tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert found.release.by_array == {"nodes": 5}
    assert found.per_op("transfers") == pytest.approx(2)
    assert found.cut == 0


def test_figures_have_the_names_of_the_json():
    found = lines.figures(summed())
    assert found["lines"]["allocate"] == {"mean": 4.0, "p50": 4.0, "p99": 5.96, "written": 2.0}
    assert found["misses"] == {"allocate": 1.0, "release": 5.0}
    assert found["transfers"] == {"allocate": 0.5, "release": 5.0}
    assert found["locked"]["allocate"] == {"ops": 0.5, "lines": 2.0}
    assert found["lines_by_structure"] == {
        "allocate": {"words": 3.0, "nodes": 1.0},
        "release": {"nodes": 5.0},
    }
    assert "ops_cut" not in found


def test_nothing_done_is_no_lines():
    found = lines.summed(ops_of(), np.zeros(0, EVENT), np.zeros(0, COST), {"words": np.zeros(3)})
    assert (found.allocate.mean, found.release.p99, found.per_op("locked")) == (0, 0, 0)
    assert found.allocate.by_array == {}


# ---- whose lines they are ---------------------------------------------------------------------


def costly(rows):
    """Lines of allocations and releases, from (verb, order, lines, descriptor, lookup)."""
    ops = ops_of(*(allocate(at) if row[0] == "a" else release(at) for at, row in enumerate(rows)))
    events, costs = np.zeros(len(rows), EVENT), np.zeros(len(rows), COST)
    events["order"] = [row[1] for row in rows]
    for place, what in enumerate(("lines", "descriptor", "lookup"), start=2):
        costs[what] = [row[place] for row in rows]
    return lines.summed(ops, events, costs, {})


MINE = costly([("a", 0, 4, 1, 1), ("a", 0, 6, 1, 2), ("a", 9, 5, 2, 1), ("r", 0, 3, 0, 1)])
THEIRS = costly([("a", 0, 8, 1, 0), ("a", 0, 8, 2, 0), ("a", 9, 520, 1, 511), ("r", 3, 9, 1, 7)])


def test_lines_are_split_by_order():
    assert {order: (one.ops, one.mean) for order, one in MINE.allocate.by_order.items()} == {
        0: (2, 5.0),
        9: (1, 5.0),
    }
    assert MINE.allocate.by_order[0].parts == {"allocator": 2.5, "descriptor": 1, "lookup": 1.5}
    assert THEIRS.allocate.whole.parts["lookup"] == pytest.approx(511 / 3)
    assert THEIRS.allocate.whole.mean == pytest.approx(THEIRS.allocate.mean)


def test_what_is_saved_is_split_too():
    found = lines.savings(MINE, THEIRS)
    assert found["release"] == {}, "no size that both have released"
    assert found["allocate"][0] == lines.Saving(allocator=6.5 - 2.5, descriptor=1.5 - 2.5)
    assert found["allocate"][9] == lines.Saving(allocator=8 - 2, descriptor=512 - 3)
    for order, each in found["allocate"].items():
        one, other = (every.allocate.by_order[order].mean for every in (MINE, THEIRS))
        assert each.lines == pytest.approx(other - one)


def test_a_run_in_pieces_sums_up_to_the_same():
    dice = np.random.default_rng(5)
    count = 3000
    ops = ops_of(*(allocate(1) if dice.random() < 0.5 else release(1) for _ in range(count)))
    events, costs = np.zeros(count, EVENT), np.zeros(count, COST)
    events["order"], events["outcome"] = dice.integers(0, 11, count), dice.integers(0, 2, count)
    costs["lines"] = dice.geometric(0.02, count)
    costs["descriptor"] = costs["lines"] // 3
    for what in ("written", "misses", "transfers", "locked"):
        costs[what] = dice.integers(0, 9, count)
    tally = lines.Tally()
    for first in range(0, count, 700):
        piece = slice(first, first + 700)
        tally.add(ops[piece], events[piece], costs[piece])
    whole, found = lines.summed(ops, events, costs, {}), tally.lines({})
    for verb, number in lines.VERBS.items():
        one, other = whole.of(verb), found.of(verb)
        own = costs[(ops["verb"] == number) & (events["outcome"] == Outcome.DONE)]["lines"]
        assert (one.p50, one.p99) == pytest.approx(tuple(np.percentile(own, [50, 99])))
        assert one.counts.tolist() == other.counts.tolist() == np.bincount(own).tolist()
        assert (one.ops, one.mean, one.misses) == (
            len(own),
            pytest.approx(own.mean()),
            other.misses,
        )
        assert one.by_order == other.by_order
        total = sum(each.ops * each.mean for each in one.by_order.values())
        assert total == pytest.approx(int(own.sum()))


def test_figures_of_what_is_saved():
    found = lines.saving_figures(MINE, THEIRS)
    assert found["allocate"]["by_order"][0] == {
        "order": 0,
        "lines": 3.0,
        "allocator": 4.0,
        "descriptor": -1.0,
    }
    assert found["allocate"]["lines"] == pytest.approx((3 + 3 + 515) / 3, abs=1e-3)
    assert lines.figures(MINE)["lines_by_order"]["release"] == [
        {"order": 0, "ops": 1, "allocator": 2.0, "descriptor": 0.0, "lookup": 1.0}
    ]


def test_tables_of_sizes():
    heads, rows = table.orders_rows(MINE, 4096)
    assert heads == ["size", "ops", "lines", "allocator", "descriptor", "lookup"]
    assert rows[0] == [
        "4 KiB",
        "2 / 1",
        "5.00 / 3.00",
        "2.50 / 2.00",
        "1.00 / 0.00",
        "1.50 / 1.00",
    ]
    assert rows[1][:3] == ["2 MiB", "1 / -", "5.00 / -"]
    assert rows[-1][:3] == ["all", "3 / 1", "5.00 / 3.00"]
    heads, rows = table.savings_rows(MINE, THEIRS, 4096)
    assert rows[0] == ["4 KiB", "+3.00 / -", "+4.00 / -", "-1.00 / -"]
    assert rows[1] == ["2 MiB", "+515.00 / -", "+6.00 / -", "+509.00 / -"]
    assert rows[-1][0] == "all"
    assert line_view.by_size("allocate", {"mine": MINE, "theirs": THEIRS}, 4096) == {
        "4 KiB, mine: 5.00": MINE.allocate.by_order[0].parts,
        "4 KiB, theirs: 8.00": THEIRS.allocate.by_order[0].parts,
        "2 MiB, mine: 5.00": MINE.allocate.by_order[9].parts,
        "2 MiB, theirs: 520.00": THEIRS.allocate.by_order[9].parts,
    }


def test_who_is_compared_with_whom():
    found = meters.Meters(
        dict.fromkeys(["buddy", "potad", "buddy:descriptor=memdesc", "llfree"], MINE)
    )
    assert found.rivals("potad") == ["buddy", "buddy:descriptor=memdesc"]
    assert found.rivals("buddy:descriptor=memdesc") == ["buddy"]
    assert found.rivals("buddy") == []
    titles = [sheet.title for sheet in table.savings_sheets(found, 4096)]
    assert titles == [
        "Cache lines per op that potad saves against buddy",
        "Cache lines per op that potad saves against buddy:descriptor=memdesc",
        "Cache lines per op that buddy:descriptor=memdesc saves against buddy",
        "Cache lines per op that llfree saves against buddy",
        "Cache lines per op that llfree saves against buddy:descriptor=memdesc",
    ]


# ---- virtual CPUs -----------------------------------------------------------------------------


def test_one_copy_leaves_out_what_was_live_before():
    found = virtual.side_by_side(CASE, 1)
    kept = [op for op in CASE.ops if op["handle"] != 0]
    assert found.ops["verb"].tolist() == [op["verb"] for op in kept]
    assert found.ops["handle"].tolist() == [op["handle"] for op in kept]
    assert len(found.start) == 0
    assert found.ops["cpu"].tolist() == [0] * len(kept)


def test_copies_have_handles_and_times_of_their_own():
    found = virtual.side_by_side(CASE, 3)
    assert found.space.bytes == 3 * SPACE.bytes
    assert found.handles == 3 * 7  # 0 to 6: 3 to 6 are the pieces of block 2
    assert np.all(np.diff(found.ops["time_ns"]) >= 0)
    for cpu in range(3):
        own = found.ops[found.ops["cpu"] == cpu]
        assert (own["handle"] - 7 * cpu).tolist() == [1, 2, 2, 4, 1]
        assert own["into"].tolist() == [NONE, NONE, 3 + 7 * cpu, NONE, NONE]
        assert (own["time_ns"] - own["time_ns"][0]).tolist() == [0, 10, 30, 40, 50]
        assert own["time_ns"][0] == cpu * (50 // 24)


def test_pieces_are_the_whole(monkeypatch):
    whole = virtual.side_by_side(CASE, 3).ops
    monkeypatch.setattr(virtual, "_PIECE", 4)
    own, handles = virtual._own_ops(CASE, None)
    pieces = list(virtual._pieces(own, 3, handles))
    assert [len(ops) for ops, _ in pieces] == [4, 4, 4, 3]
    assert np.array_equal(np.concatenate([ops for ops, _ in pieces]), whole)
    for ops, index in pieces:
        assert np.array_equal(own["verb"][index], ops["verb"])
        assert np.array_equal(own["handle"][index] + 7 * ops["cpu"].astype(int), ops["handle"])


def test_the_first_ops_of_each_copy():
    found = virtual.side_by_side(CASE, 2, ops=2)
    assert found.ops["verb"].tolist() == [Verb.ALLOCATE] * 4
    assert found.handles == 2 * 7  # the block is split later on


@pytest.mark.parametrize("name", ["llfree", "buddy", "potad"])  # `recorded` knows no place for them
def test_copies_can_be_replayed(name):
    case = virtual.side_by_side(CASE, 2)
    found = runs.run_allocator(name, case, samples=2, check_end=True)
    assert np.all(found.events["outcome"] == Outcome.DONE)


# ---- figures ----------------------------------------------------------------------------------


def test_columns_are_steps_of_the_share():
    found = line_view.columns(np.array([1, 0, 2, 1]))
    assert found["lines"].tolist() == [0.8, 2, 3]
    assert found["share"].tolist() == [25, 75, 100]
    assert line_view.columns(np.zeros(0, int))["share"].tolist() == []


def test_structures_stand_by_size_and_small_ones_together():
    bars = {"one": {"a": 1.0, "b": 3.0, "c": 0.01}, "two": {"b": 0.5, "d": 0.02}}
    assert line_view.structures(bars) == {
        "row": ["two", "one"],
        "b": [0.5, 3.0],
        "a": [0.0, 1.0],
        line_view.OTHERS: [0.02, 0.01],
    }
    assert line_view.structures({}) == {"row": []}


def test_sharing_columns_are_in_order_of_cpus():
    assert sharing.columns({8: 2.0, 1: 0.5}) == {"cpus": [1, 8], "value": [0.5, 2.0]}


# ---- reports ----------------------------------------------------------------------------------


def counted():
    """Meters of two allocators, written by hand."""
    found = summed()
    lookups = {"memmap": lines.LookupLines(1.9, 0.5, 2.0, 3.0)}
    virtual_cpus = {"potad": {1: found, 8: found}}
    return meters.Meters({"potad": found, "buddy": replace(found, cut=3)}, virtual_cpus, lookups)


def test_tables_have_a_row_per_allocator_and_fit_a_terminal():
    heads, rows = table.lines_rows(counted())
    first = dict(zip(heads, rows[0], strict=True))
    assert first["lines"] == "4.00 / 5.00"
    assert first["p99"] == "6 / 5"
    assert first["ops locked"] == "50% / 100%"
    assert "3 ops touch more than was kept" in table.lines_caption(counted())
    widths = [max(map(len, column)) + 2 for column in zip(heads, *rows, strict=True)]
    assert sum(widths) <= 100
    heads, rows = table.cpus_rows(counted())
    assert [row[:2] for row in rows] == [["potad", "1"], ["potad", "8"]]


def test_json_of_one_allocator():
    found = meters.figures(counted(), "potad")
    assert found["virtual_cpus"][1]["cpus"] == 8
    assert found["virtual_cpus"][1]["transfers"] == found["transfers"]
    assert meters.figures(counted(), "null") == {}
    assert figures._lookup_lines(counted(), "memmap") == {
        "lines": 1.9,
        "misses": 0.5,
        "update_lines": {"insert": 2.0, "erase": 3.0},
    }


def test_a_number_of_cpus_that_cannot_be_had():
    trace = pl.Trace.read(pl.datasets()["thp_split"])
    with pytest.raises(pl.BadSize, match="65 virtual CPUs: take 1 to 64"):
        pl.replay(trace, cpus=[8, 65])


def test_copies_that_are_more_than_the_machine_can_model_are_refused(monkeypatch):
    trace = pl.Trace.read(pl.datasets()["thp_split"])
    monkeypatch.setattr(Path, "read_text", lambda path: "MemAvailable: 3000000 kB\n")
    with pytest.raises(pl.BadSpace, match=r"a space of 1.5 TiB: buddy would need about 1\.88 GiB"):
        pl.replay(trace, ["buddy"], space=pl.Space.ram("24GiB"), cpus=[1, 64])


@pytest.fixture(scope="module")
def run():
    """Buddy, metered on a few ops of a bundled trace."""
    if not AVAILABLE:
        pytest.skip("lines are counted in compiled kernels only")
    trace = pl.Trace.read(pl.datasets()["thp_split"])
    short = replace(trace, ops=trace.ops[:3000])
    return pl.replay(short, ["buddy"], lookups=["memmap"], lines=True, cpus=[1, 2])


def test_a_replay_counts_lines(run):
    found = run.as_dict()
    one = found["runs"][0]
    assert one["lines"]["release"]["mean"] > one["lines"]["release"]["written"] > 1
    assert [each["cpus"] for each in one["virtual_cpus"]] == [1, 2]
    assert one["virtual_cpus"][0]["transfers"] == {"allocate": 0.0, "release": 0.0}
    assert one["virtual_cpus"][1]["transfers"]["allocate"] > 0
    assert 1 <= found["lookups"][0]["lines"] <= 2
    done = run.session.runs["buddy"].events
    assert np.all(done["lines"][done["outcome"] == Outcome.DONE] > 0)


def test_the_parts_of_a_run_are_all_of_its_lines(run):
    """Against the lines that stand in the events, and those of the page's array and the others."""
    ops, found = run.session.ops, run.as_dict()["runs"][0]
    events = run.session.runs["buddy"].events
    for verb, number in lines.VERBS.items():
        done = (ops["verb"] == number) & (events["outcome"] == Outcome.DONE)
        by_order = {row["order"]: row for row in found["lines_by_order"][verb]}
        assert sorted(by_order) == np.unique(events["order"][done]).tolist()
        for order, row in by_order.items():
            mean = events["lines"][done & (events["order"] == order)].mean()
            assert sum(row[part] for part in lines.PARTS) == pytest.approx(mean, abs=2e-3)
            assert (row["descriptor"], row["lookup"]) == (1, (1 << order) - 1), "struct page"
        pages = found["lines_by_structure"][verb]["pages.frames"]
        own = sum(row["ops"] * (row["descriptor"] + row["lookup"]) for row in by_order.values())
        assert own / done.sum() <= pages + 1e-3


def test_the_lines_of_one_op_add_up_to_its_event(run):
    case = run.session.runs["buddy"].case
    for index in (0, 17, 2999):
        touched = runs.touched_by("buddy", case, index)
        assert len(touched) == run.session.runs["buddy"].events["lines"][index]
        assert len({(each.structure, each.line) for each in touched}) == len(touched)


def test_the_page_shows_them(run):
    text = html_page([run])
    for told in (table.LINES_TITLE, table.CPUS_TITLE, "Cache lines by structure", "under the lock"):
        assert told in text


# ---- what is promised of POTAD ------------------------------------------------------------------

OPS = 20_000  # of each trace


@pytest.mark.skipif(not AVAILABLE, reason="lines can be counted in compiled kernels only")
def test_potads_lines_are_below_those_of_buddy_with_memdesc_on_every_trace():
    """Everything counted, a release told the address only; and the lock is seldom taken."""
    for name, path in pl.datasets().items():
        trace = pl.Trace.read(path)
        case = runs.Case(trace.space, trace.ops[:OPS], trace.start, trace.handles)
        ours, theirs = (
            runs.count_lines(spec, case)[0] for spec in ("potad", "buddy:descriptor=memdesc")
        )
        for verb in lines.VERBS:
            assert ours.of(verb).mean < theirs.of(verb).mean, f"{name}: {verb}"
        assert ours.allocate.locked_ops < 0.5, name
        assert ours.cut == theirs.cut == 0
