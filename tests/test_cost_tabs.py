"""What things cost, in the dashboard without a browser: descriptors, lookups, lines, asks."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from made import allocate, ops_of, release, space_of

from potadlab.bundled import dataset
from potadlab.core.fold import holds
from potadlab.core.layout import BLOCK, Outcome, Verb
from potadlab.core.metered import AVAILABLE
from potadlab.dashboard import Dashboard, Lines
from potadlab.dashboard.asking import FIRST, LAST, Asked
from potadlab.errors import NotLive
from potadlab.kinds import KIND, KINDS
from potadlab.metrics import latency, lines
from potadlab.metrics.descriptors import start_bits_bytes
from potadlab.runs import Case, Touching, count_lines, lines_over_time, touched_by
from potadlab.traces import Trace
from potadlab.units import format_size
from potadlab.views import lines as lines_view
from potadlab.views import whatif

compiled = pytest.mark.skipif(not AVAILABLE, reason="lines are counted in compiled kernels only")


@pytest.fixture(scope="module")
def board():
    """Everything happens at once without an event loop, hence a thread of its own."""
    trace = Trace.read(dataset("mixed_owners"))
    short = replace(trace, ops=trace.ops[:30_000])
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(Dashboard, short, ["potad", "buddy"]).result()
    yield made
    made.close()


def look_at(board, part):
    board.controls.tabs.selected_index = 1 + board.parts.index(part)
    return part


# ---- descriptors ------------------------------------------------------------------------------


def bytes_now(board, sizes=None):
    """Of all descriptors at the moment shown, block by block."""
    live = board.session.runs["potad"].live(board.index)
    sizes = {kind.name: kind.record_bytes for kind in KINDS} | (sizes or {})
    each = [max(16, 8 + sizes[KINDS[block["kind"]].name]) for block in live]
    return sum(each)


def test_bars_and_sums_follow_moment_and_sliders(board):
    tab = look_at(board, board.describing)
    for index in (30_000, 11_111):
        board.go(index)
        assert sum(tab.now.data["mib"]) * (1 << 20) == pytest.approx(bytes_now(board))
        seconds = board.session.time_ns(index - 1) / 1e9
        assert tab.marker.data["time_s"] == pytest.approx([seconds])
    before = tab.over_time.data["anon"].copy()
    tab.sliders[KIND["anon"]].value = 360
    assert sum(tab.now.data["mib"]) * (1 << 20) == pytest.approx(bytes_now(board, {"anon": 360}))
    assert tab.over_time.data["anon"] == pytest.approx(before * (360 + 8) / (80 + 8))
    assert tab.plots[0].y_range.end >= tab.over_time.data["anon"].max()
    tab.reset.click()
    assert tab.sliders[KIND["anon"]].value == 80
    assert tab.over_time.data["anon"] == pytest.approx(before)
    start = start_bits_bytes(board.session.space.granules) / (1 << 20)
    assert tab.over_time.data[whatif.START_BITS][0] == pytest.approx(start)
    assert f"{len(board.session.runs['potad'].live(board.index)):,} blocks" in tab.told.value
    total = bytes_now(board) + start_bits_bytes(board.session.space.granules)
    assert f"{format_size(total)} with" in tab.told.value


# ---- lookups ----------------------------------------------------------------------------------


def test_lookups_are_measured_by_structure_and_population(board):
    tab = look_at(board, board.looking)
    tab.measured.clear()
    for name, box in tab.structures.items():
        box.value = name in ("memmap", "heads")
    tab.count.value = False
    for population in (10_000, 0):
        tab.population.value = population
        tab.measure.click()
    live = len(board.session.runs["potad"].live(board.index))
    rows = tab.rows()
    assert [row[:2] for row in rows] == [
        ["memmap", "10,000"], ["heads", "10,000"], ["memmap", f"{live:,}"], ["heads", f"{live:,}"],
    ]  # fmt: skip
    assert {row[6] for row in rows} == {"not counted"}
    granules = latency.generated(10_000)[1]
    assert float(rows[0][7]) == pytest.approx(64 * granules / 10_000, abs=0.1)
    assert [one.blocks for one in tab.curves()] == [live, live]
    measured = [one for found in tab.measured.values() for one in found]
    for row, one in zip(rows, measured, strict=True):
        figures = (one.independent_ns, one.dependent_ns, one.p50_ns, one.p99_ns)
        assert row[2:6] == [f"{ns:.1f}" for ns in figures]
    tab.shown.value = "heads, all populations"
    assert [one.blocks for one in tab.curves()] == [10_000, live]
    assert len(tab.plots) == 3
    for name in tab.structures:
        tab.structures[name].value = False
    tab.measure.click()
    assert "no structure is ticked" in board.controls.message.value


def test_measuring_can_be_cancelled(board):
    tab = look_at(board, board.looking)
    tab.structures["heads"].value = True
    before, show = dict(tab.measured), board._progress

    def progress(share, what):
        if "round 2" in what:
            board.cancel()
        show(share, what)

    board._progress = progress
    tab.population.value = 30_000
    tab.measure.click()
    board._progress = show
    assert "cancelled" in board.controls.message.value
    assert tab.measured == before
    assert not board.busy


def test_progress_never_goes_back():
    told = []
    blocks, granules = latency.generated(1000)
    latency.measure(
        blocks, granules, ["memmap", "heads"], lookups_timed=1 << 8,
        progress=lambda share, what: told.append(share),
    )  # fmt: skip
    assert told == sorted(told)
    assert len(told) == 2 + 2 * latency.ROUNDS
    assert 0 <= told[0] <= told[-1] < 1


def test_batches_are_told_by_the_clock_whoever_had_the_processor_meanwhile(monkeypatch):
    """Three batches of 160, 320 and, with a wait in it, 160,000,000 ticks; a tick is 2 ns."""
    ticks_of = np.array([160, 320, 160_000_000])
    seconds = iter([10.0, 10.0 + 2e-9 * ticks_of.sum()])
    cpu_seconds = iter([1.0, 1.0 + 1e-6])

    def batches(index, addresses, batch, ticks, zero):
        ticks[:] = ticks_of[: len(ticks)]

    monkeypatch.setattr(latency, "time_batches", batches)
    monkeypatch.setattr(latency, "time_nothing", lambda ticks: None)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(seconds))
    monkeypatch.setattr(latency.time, "thread_time", lambda: next(cpu_seconds))
    found = latency._samples_ns(None, np.zeros(3 * latency.BATCH, np.int64))
    assert found[:2] == pytest.approx([20, 40], rel=1e-6)


@compiled
def test_the_lines_that_a_byte_takes_light_up(board):
    tab = look_at(board, board.looking)
    for name, box in tab.structures.items():
        box.value = name in ("memmap", "heads")
    board.go(30_000)
    tab.follow.value = True
    live = board.session.runs["potad"].live(board.index)
    block = live[np.argmax(live["order"])]
    granule = int(block["granule"]) + 1
    board.choose("potad", granule)
    shown = re.findall(r'title="number (\d): line ([\d,]+) of (\w+), read"', tab.lit.value)
    frames = [int(line.replace(",", "")) for _, line, name in shown if name == "frames"]
    assert frames == [granule, granule - 1]  # a tail, then its head
    starts = [int(line.replace(",", "")) for _, line, name in shown if name == "starts"]
    assert granule // 512 in starts
    slots = [line for _, line, name in shown if name == "slots"]
    assert len(slots) == 1
    kind = KINDS[block["kind"]].name
    assert tab.lit.value.count(f"from {int(block['granule']) * 4096:#x}, {kind}") == 2
    tab.follow.value = False


@compiled
def test_all_structures_answer_alike_and_what_is_free_is_in_no_block(board):
    live = board.session.runs["potad"].live(30_000)
    asked = lines.Lookups(["memmap", "heads"], live, board.session.space.granules)
    for granule in (int(live["granule"][7]), int(live["granule"][-1]), 0, 12_345):
        at = holds(live, granule)
        expected = (int(live["granule"][at]), int(live["order"][at])) if at >= 0 else (-1,)
        for answer in asked.at(granule).values():
            assert (answer.start, answer.order)[: len(expected)] == expected
            assert answer.touched
            assert not any(one.written for one in answer.touched)


# ---- lines, op by op and over time ------------------------------------------------------------


SPACE = space_of([(0, 4096)], (0, 4096))
SMALL = Case(
    SPACE,
    ops_of(*(allocate(n, n % 3) for n in range(40)), *(release(n) for n in range(0, 40, 2))),
    np.zeros(0, BLOCK),
    40,
)


@compiled
def test_stretches_of_time_add_up_to_the_whole_run():
    whole, events = count_lines("buddy", SMALL)
    moments, told = [0, 7, 7, 45, 60], []
    total, again, over = lines_over_time("buddy", SMALL, moments, tell=told.append)
    assert np.array_equal(events, again)
    assert told == [0, 7 / 60, 7 / 60, 45 / 60]
    assert total.allocate.by_array == whole.allocate.by_array
    assert over.ops.tolist() == [[7, 0, 0], [0, 0, 0], [33, 5, 0], [0, 15, 0]]
    for first, end, row in zip(moments, moments[1:], range(4), strict=False):
        each = sum(counts[row].sum() for counts in over.by_array.values())
        assert each == events["lines"][first:end].sum()


@compiled
def test_going_on_and_going_back_touch_the_same_lines():
    touching = Touching("buddy", SMALL)
    events = count_lines("buddy", SMALL)[1]
    for index in (3, 4, 41, 10, 59):
        found = touching.at(index)
        assert found == touched_by("buddy", SMALL, index)
        assert len(found) == events["lines"][index]
        assert touching.done == index + 1


@compiled
def test_op_by_op_shows_the_op_of_the_moment_in_each_allocator(board):
    tab = look_at(board, board.counting)
    board.go(20_000)
    tab.steps.value = True
    for press in (None, tab.on, tab.back, board.controls.forward):
        if press:
            press.click()
        index = board.index
        assert f"op {index:,}: " in tab.cards.value
        for name in ("potad", "buddy"):
            expected = touched_by(name, board.session.runs[name].case, index - 1)
            card = re.search(rf"<b>{name}</b> ([\d,]+) lines?, (\d+) written", tab.cards.value)
            written = sum(one.written for one in expected)
            assert card.groups() == (f"{len(expected):,}", str(written))
    board.go(0)
    assert "No op has been done yet" in tab.cards.value
    tab.steps.value = False
    assert tab.cards.value == ""


@compiled
def test_every_op_is_counted_and_the_dearest_is_found(board):
    tab = look_at(board, board.counting)
    tab.dearest.click()
    assert "count the lines of all ops first" in board.controls.message.value
    tab.count.click()
    for name in ("potad", "buddy"):
        _, events = count_lines(name, board.session.runs[name].case)
        assert np.array_equal(tab.counted[name][1]["lines"], events["lines"])
        verbs = board.session.ops["verb"]
        for verb, rows in (("both", (0, 1)), ("allocate", (0,)), ("release", (1,))):
            tab.verb.value = verb
            found = tab.columns()[name]
            total = sum((found[each] * found["ops"]).sum() for each in found if each not in
                        ("time_s", "width_s", "ops"))  # fmt: skip
            done = np.isin(verbs, rows) & (events["outcome"] == Outcome.DONE)
            assert total == pytest.approx(events["lines"][done].sum())
            assert found["ops"].sum() == done.sum()
    tab.verb.value = "both"
    tops = [lines_view.top(each) for each in tab.columns().values()]
    assert [plot.y_range.end for plot in tab.plots] == [pytest.approx(1.05 * max(tops))] * 2
    tab.verb.value = "release"
    tab.dearest.click()
    most = {
        name: np.where(verbs == Verb.RELEASE, events["lines"], 0).max()
        for name, (_, events, _) in tab.counted.items()
    }
    assert f"{max(most.values()):,} lines in {max(most, key=most.get)}" in (
        board.controls.message.value
    )
    dearest = tab.counted[max(most, key=most.get)][1]["lines"][board.index - 1]
    assert dearest == max(most.values())
    board.session.names.append("recorded")
    assert tab._names() == ["potad", "buddy"]
    board.session.names.pop()


# ---- asked by hand ----------------------------------------------------------------------------


@compiled
def test_asks_touch_the_lines_of_the_same_ops_in_a_trace():
    asked = Asked(["buddy"], SMALL, 50)
    first = asked.allocate(0)["buddy"]
    asked.allocate(3, times=4)
    asked.release(LAST)
    last = asked.release(FIRST)["buddy"]
    ops = np.concatenate([
        SMALL.ops[:50],
        ops_of(allocate(40, kind=KIND["anon"], migratetype=1)),
        ops_of(*(allocate(n, 3, kind=KIND["anon"], migratetype=1) for n in range(41, 45))),
        ops_of(release(44, 3), release(40)),
    ])  # fmt: skip
    events = count_lines("buddy", Case(SPACE, ops, SMALL.start, 45))[1]
    found = asked.lines[Verb.ALLOCATE]["buddy"] + asked.lines[Verb.RELEASE]["buddy"]
    assert found == events["lines"][50:].tolist()
    assert first[0]["granule"] == events[50]["granule"]
    assert len(last[1]) == events[-1]["lines"]
    assert [handle for handle, _ in asked.live] == [41, 42, 43]
    asked.start_over()
    assert asked.live == []
    with pytest.raises(NotLive, match="allocate first"):
        asked.release()
    assert asked.allocate(0)["buddy"][0] == first[0]


@compiled
def test_allocators_are_asked_side_by_side():
    with ThreadPoolExecutor(1) as thread:
        widget = thread.submit(Lines, allocators=["buddy", "potad"], space="64MiB").result()
    asks = widget.asks
    assert "64 MiB of empty memory" in asks.told.value
    asks.release.click()
    assert "nothing to release" in widget.message.value
    asks.allocate.click()
    asks.times.value = 10
    asks.allocate.click()
    asks.release.click()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", asks.table.value)
    assert cells[0] == "buddy"
    assert [cells[1], cells[4]] == ["11", "10"]
    taken = asks._asked[1].lines[Verb.ALLOCATE]["buddy"]
    assert cells[2:4] == [f"{np.mean(taken):.2f}", f"{max(taken):,}"]
    assert "potad" in asks.means.value
    asks.again.click()
    assert asks.table.value == ""
    widget.close()
    assert asks.allocate.disabled


@compiled
def test_asks_from_a_moment_of_a_trace_leave_it_as_it_is(board):
    tab = look_at(board, board.counting)
    tab.asks.specs = ("potad", "buddy")
    board.go(25_000)
    ops = board.session.length
    tab.asks.allocate.click()
    assert "after 25,000 ops" in tab.asks.told.value
    assert board.session.length == ops
    assert tab.asks.table.value
    board.step(1)
    assert tab.asks.table.value == ""
    assert "after 25,001 ops" in tab.asks.told.value


def test_a_moment_or_an_allocator_that_is_not_there():
    with pytest.raises(Exception, match="write 0% to 100%"):
        Lines("mixed_owners", at="101%")
    with pytest.raises(Exception, match="'nothing' is not there"):
        Lines(allocators=["nothing"])
