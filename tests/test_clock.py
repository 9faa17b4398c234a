"""Traces that tell no times: their moments are counted in ops, wherever they are named."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import potadlab as pl
from potadlab.clock import OP_NS, OPS, SECONDS, clock_of
from potadlab.dashboard import Dashboard
from potadlab.faults import PER_MOPS, UNITS
from potadlab.report import compare
from potadlab.traces import exchange
from potadlab.views import theme

MS = 10**6


def by_hand(ops=40):
    """A MiB of which pages are taken, and every fourth given back."""
    potad = pl.Potad(pl.Space.ram("1MiB"))
    while len(potad.trace().ops) < ops:
        blocks = [potad.allocate("4KiB", "anon") for _ in range(4)]
        potad.release(blocks[0])
    return potad.trace("mine")


@pytest.fixture
def board():
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(Dashboard, by_hand(), ["potad", "buddy"]).result()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("times", "clock"),
    [
        ([], OPS), ([0], OPS), ([5], SECONDS), ([0, 0, 0], OPS), ([0, 1, 2], OPS),
        ([0, 1, 3], SECONDS), ([0, MS], SECONDS),
    ],
)  # fmt: skip
def test_what_no_machine_can_do_is_no_time(times, clock):
    assert clock_of(np.array(times, np.int64)) is clock


def test_words():
    assert SECONDS.told(1_234_567, 6) == ["0.001235 s"]
    assert SECONDS.told(2 * OP_NS) == ["2.000 s"]
    assert OPS.told(2 * OP_NS) == []
    assert [OPS.lasted(count * OP_NS) for count in (0, 1, 1234)] == ["0 ops", "1 op", "1,234 ops"]
    assert [SECONDS.lasted(ns) for ns in (1500, 2 * MS, 3 * 10**9)] == ["1.5 us", "2 ms", "3.000 s"]


def test_a_session_of_such_a_trace_counts_its_ops():
    trace = by_hand()
    session = pl.replay(trace, ["potad"]).session
    assert session.clock is OPS
    many = session.length
    assert session.ops["time_ns"].tolist() == [OP_NS * at for at in range(1, many + 1)]
    assert [session.index_at(at * OP_NS) for at in (0, 1, 7, many)] == [0, 1, 7, many]
    session.fail(3, 10)
    assert session.ops["time_ns"].tolist() == [OP_NS * at for at in range(1, many + 2)]
    assert trace.ops["time_ns"][-1] == many - 1, "the trace is as it was"
    assert trace.info()["duration_s"] is None


def test_a_file_for_c_programs_tells_no_times(tmp_path):
    trace = by_hand()
    exchange.write(exchange.exported(trace.ops, trace.handles).records, tmp_path / "c.bin")
    found = pl.Trace.read(tmp_path / "c.bin")
    assert found.clock is OPS
    assert pl.Trace.read("datasets/mixed_owners.parquet").clock is SECONDS


def test_the_dashboard_counts_in_ops(board):
    controls, many = board.controls, board.session.length
    assert controls.time.description == "Ops"
    assert controls.time.max == many
    board.go(7)
    assert controls.now.value == f"op 7 of {many}"
    assert (controls.time.value, controls.time.step) == (7, 1)
    controls.time.value = 21
    assert board.index == 21
    assert ("1 ops per s", 1.0) in controls.speed.options
    canvas = board.stage.canvas
    over = [canvas.descriptors, *canvas.orders.values()]
    assert {plot.xaxis.axis_label for plot in over} == {"ops done"}
    assert {plot.x_range.end for plot in [*over, canvas.strip]} == {many}
    assert board.failing.unit.options == (PER_MOPS,)


def test_an_op_by_hand_is_told_by_its_number_and_undo_goes_back(board):
    board.go(10)
    board.choose("potad", int(board.session.runs["potad"].live(10)["granule"][0]))
    told = board.describe("potad", board.selected[1])
    assert told[-1].startswith("handle 1, age 8 ops, "), "done by the second of ten ops"
    board.fail()
    assert board.log[0].startswith("after op 10: ")
    assert board.index == 11
    assert board.controls.now.value == f"op 11 of {board.session.length}"
    board.controls.tabs.selected_index = 1 + board.parts.index(board.failing)
    table = board.failing.table.value
    assert " s<" not in table
    assert "<th>at</th>" not in table
    assert table.count("<th>") == table.split("</tr>")[1].count("<td>")
    board.undo()
    assert board.index == 10
    assert compare.heading(board.session, 10).endswith("; now: op 10")


def test_ages_are_in_ops(board):
    board.controls.colouring.value = theme.BY_AGE
    legend = board.controls.legend.value
    assert "below 10 ops" in legend
    assert "ms" not in legend
    shade = board.stage.painter.shades.at("potad", 30, theme.BY_AGE)
    live = board.session.runs["potad"].live(30)
    found = theme.categories(live, theme.BY_AGE, 4096, shade) - theme.FIRST_AGE
    ages = 30 - live["time_ns"] // OP_NS
    assert found.tolist() == (ages >= 10).astype(int).tolist()
    assert 0 < found.sum() < len(found)


def test_a_recording_is_told_in_seconds_as_before():
    with ThreadPoolExecutor(1) as thread:
        board = thread.submit(Dashboard, "mixed_owners", ["buddy"]).result()
    board.go(100)
    at_s = board.session.ops["time_ns"][99] / 1e9
    assert board.controls.now.value.startswith(f"{at_s:.6f} s of ")
    assert board.controls.time.description == "Time"
    assert board.stage.canvas.moment.name == "time, s"
    assert board.failing.unit.options == UNITS
    board.close()


def test_the_page_of_a_run_says_ops(tmp_path):
    run = pl.replay(by_hand(), ["buddy"])
    run.to_html(tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text()
    assert "ops done" in text
    assert "time, s" not in text
    assert "at 0.0" not in text
