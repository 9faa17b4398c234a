"""The dashboard at work: cancelled at any point, opened anew, closed; what it lets go of."""

import asyncio
import gc
import html
import json
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from loops import WAIT_S, in_loop, until
from made import allocate, at, blocks_of, ops_of, pages_in_use, space_of

from potadlab.bundled import dataset
from potadlab.clock import SECONDS
from potadlab.core.layout import Outcome, Verb
from potadlab.core.raster import FREE, HOLE
from potadlab.dashboard import Dashboard, failing, panel, saved, words
from potadlab.dashboard.comparing import SHOWN_MAX
from potadlab.dashboard.keeping import seen_in
from potadlab.dashboard.looking import LIVE
from potadlab.dashboard.telling import CHOSEN
from potadlab.dashboard.uploading import Upload
from potadlab.kinds import KIND
from potadlab.session import Told, end_of_service
from potadlab.traces import Trace
from potadlab.units import MIB
from potadlab.views import failures, orders, regions, theme
from potadlab.workloads import generate

NAMES = ["potad", "buddy"]
SURPRISE = re.compile(r">\w+Error: ")  # one that nobody has thought of


def make(trace=None, names=NAMES):
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Dashboard, pages_in_use() if trace is None else trace, names).result()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A trace of a thousand ops, in a file."""
    path = tmp_path_factory.mktemp("small") / "small.parquet"
    generate("steady", path, ops=1000, memory_bytes=64 * MIB)
    return path


@pytest.fixture
def board():
    made = make()
    yield made
    made.close()


def front(board, part):
    board.controls.tabs.selected_index = 1 + board.parts.index(part)


# ---- cancelled -------------------------------------------------------------------------------


class Steps:
    """Stops a dashboard's thread at a step that it tells of, until it is let on."""

    def __init__(self, board):
        self.count, self.stop_at = 0, -1
        self.there, self.on = threading.Event(), threading.Event()
        tell = board._progress

        def progress(share, what):
            # a thread that was left may come here late, when steps are counted anew
            if self._at_work() and not self.there.is_set() and not board.worker.left:
                self.count += 1
                if self.count - 1 == self.stop_at:
                    self.there.set()
                    self.on.wait(WAIT_S)
            tell(share, what)

        board._progress = progress
        board.session.progress = progress

    @staticmethod
    def _at_work():
        return threading.current_thread().name.startswith("potadlab-work")

    def begin(self, stop_at):
        self.count, self.stop_at = 0, stop_at
        self.there.clear()
        self.on.clear()


def cancelled_at_each_step(act, undo):
    """Presses Cancel at each step of what `act` begins; all is as before, and the board goes on."""

    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        front(board, board.failing)
        board.choose("potad", 7)
        steps, at = Steps(board), 0
        while True:
            session, ops = board.session, board.session.ops.copy()
            log, index = list(board.log), board.index
            steps.begin(at)
            act(board)
            await until(lambda: steps.there.is_set() or not board.busy)
            if not steps.there.is_set():
                break  # there is no such step: it is done
            board.cancel()
            assert not board.busy
            assert "cancelled" in board.controls.message.value
            assert board.session is session
            assert np.array_equal(session.ops, ops)
            assert (board.log, board.index) == (log, index)
            act(board)  # at once, while the thread that was left still runs
            assert board.busy
            board.cancel()
            steps.on.set()
            await asyncio.sleep(0.02)  # nothing comes of it; if later, of the next step's neither
            assert "cancelled" in board.controls.message.value
            assert board.session is session
            at += 1
        assert at > 2
        assert board.session is not session
        steps.begin(-1)
        undo(board)
        await until(lambda: not board.busy)
        assert np.array_equal(board.session.ops, ops)
        board.close()

    in_loop(run)


def test_a_failure_cancelled_at_any_point_has_never_been():
    cancelled_at_each_step(lambda board: board.fail(), lambda board: board.undo())


def test_failures_at_random_cancelled_at_any_point_have_never_been():
    cancelled_at_each_step(lambda board: board.failing.fail_at_random(), lambda board: board.undo())


def test_a_trace_that_is_opened_while_another_is_read_waits_its_turn():
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        session = board.session
        board.open(dataset("mixed_owners"))
        board.open(dataset("thp_split"))
        assert "still at work" in board.controls.message.value
        board.cancel()
        assert board.session is session
        board.zoom(1)
        board.go(7)
        board.open(pages_in_use())
        await until(lambda: not board.busy)
        assert board.session is not session
        assert board.session.trace.name == "by hand"
        assert board.index == 0
        board.close()

    in_loop(run)


def test_outlines_stand_where_they_belong_also_while_work_goes_on():
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        steps = Steps(board)
        steps.begin(0)
        board.choose("potad", 7)
        board.fail()
        await until(steps.there.is_set)
        board.show_whole()
        board.zoom(1)
        drawn = board.stage.canvas.shapes["potad"].data
        assert (drawn["xs"][0], drawn["ys"][0]) == regions.outline(board.window, 7, 1)
        assert "block of 4 KiB, xfs_buf" in "".join(board._tip("potad", 7))
        board.close()
        steps.on.set()

    in_loop(run)


def test_a_board_that_is_closed_at_work_leaves_it():
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        steps = Steps(board)
        steps.begin(0)
        board.choose("potad", 7)
        board.fail()
        await until(steps.there.is_set)
        said = board.controls.message.value
        board.close()
        steps.on.set()
        await asyncio.sleep(0.1)
        assert steps.count == 1, "it went on for nobody"
        assert not board.busy
        assert board.controls.message.value == said
        assert board.controls.cancel.layout.display == "none"

    in_loop(run)


def test_a_zoom_while_a_picture_is_painted_and_one_in_flight_changes_both():
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        stage = board.stage
        stage.ready(stage.canvas.targets, 0)
        await until(lambda: stage.flow.in_flight and not stage._painting)
        sent = list(stage.flow.in_flight.buffers)
        board.zoom(1, 0)
        assert stage.flow.in_flight.buffers != sent, "it may be sent again"
        assert stage._changes == [], "nothing is being painted"
        await until(lambda: stage.flow.waiting)
        painted = stage.painter.paint(*board._moment()).buffers
        assert stage.flow.waiting.buffers == painted
        board.close()

    in_loop(run)


def test_a_zoom_while_a_picture_is_painted_changes_what_comes_of_it():
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        stage, on = board.stage, threading.Event()
        stage.still = True
        stage.ready(stage.canvas.targets, 0)
        paint = stage.painter.paint
        stage.painter.paint = lambda *moment: (on.wait(WAIT_S), paint(*moment))[1]
        before = board.window
        wanted = paint(*board._moment()).buffers
        stage.want()
        stage.still = False
        await until(lambda: stage._painting)
        board.zoom(1, 0)
        stage.still = True  # nothing is painted after it
        on.set()
        await until(lambda: not stage._painting)
        frame = stage.flow.waiting or stage.flow.in_flight
        assert frame.buffers == [regions.stretched(one, before, board.window) for one in wanted]
        board.close()

    in_loop(run)


@pytest.mark.parametrize("tab", ["looking", "counting"])
def test_what_was_asked_aside_of_another_trace_is_not_shown(tab):
    async def run():
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        on, shown = threading.Event(), []
        latest = getattr(board, tab)._latest
        latest.ask(lambda: on.wait(WAIT_S), shown.append)
        await until(lambda: latest._begun)
        board.open(pages_in_use())
        await until(lambda: not board.busy)
        assert not latest.running
        on.set()
        await asyncio.sleep(0.05)
        assert shown == []
        board.close()

    in_loop(run)


# ---- closed, and again ------------------------------------------------------------------------


def aside():
    return {one for one in threading.enumerate() if one.name.startswith("potadlab-")}


def test_a_closed_board_holds_neither_its_session_nor_a_thread():
    async def run():
        before = aside()
        board = Dashboard(pages_in_use(), NAMES)
        await until(lambda: board.session and not board.busy)
        board.choose("potad", 7)
        board.fail()
        await until(lambda: not board.busy)
        for part in board.parts:
            front(board, part)
            await until(lambda: not board.busy)
        board.claiming.area.value = 2 * MIB
        board.claiming.search()
        await until(lambda: not board.busy)
        session, ops = weakref.ref(board.session), weakref.ref(board.session.ops)
        board.close()
        await until(lambda: not aside() - before)

        def gone():
            gc.collect()
            return session() is None and ops() is None

        await until(gone)
        assert board.root is not None  # the page may still show it

    in_loop(run)


def test_panels_of_one_run_of_a_cell_stay_and_the_next_run_closes_them(monkeypatch):
    class Panel:
        closed = False

        def close(self):
            self.closed = True

    class Shell:
        parent = None

        @property
        def kernel(self):
            return self

        def get_parent(self):
            return self.parent

    shell = Shell()
    monkeypatch.setattr(panel, "get_ipython", lambda: shell)
    monkeypatch.setattr(panel, "_of_cell", {})
    made = [Panel() for _ in range(5)]
    runs = [("a", "1"), ("a", "1"), ("b", "2"), ("a", "3")]
    for one, (cell, run) in zip(made, runs, strict=False):
        shell.parent = {"metadata": {"cellId": cell}, "header": {"msg_id": run}}
        panel.replace_in_cell(one)
    assert [one.closed for one in made] == [True, True, False, False, False]
    shell.parent = {}  # no notebook with cells
    panel.replace_in_cell(made[4])
    assert not made[3].closed


def test_neither_redrawing_nor_going_through_the_tabs_leaves_widgets_behind(board):
    def go_round():
        board.controls.allocators["buddy"].value ^= True
        board.controls.allocators["buddy"].value ^= True
        board.choose("potad", 7)
        board.fail()
        for part in board.parts:
            front(board, part)
        board.looking._show([("10 blocks", board.measured, {})])
        board.claiming.area.value = 2 * MIB
        board.claiming.sizes.value, board.claiming.moments.value = 2 * MIB, 1
        board.claiming.draw_curve()
        board.undo()

    go_round()
    gc.collect()
    before = len(_instances)
    for _ in range(2):
        go_round()
    gc.collect()
    assert len(_instances) <= before


# ---- nothing open ----------------------------------------------------------------------------


def widgets_in(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_in(child)


def test_without_a_trace_every_button_answers_with_a_line_that_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    board = make(tmp_path / "nowhere.parquet")
    assert board.session is None
    message = board.controls.message
    pressed = 0
    working = (board.controls.trace, board.looking.measure)  # these need no trace to be open
    for widget in list(widgets_in(board.root)):
        if widget in working:
            continue
        message.value = ""
        if isinstance(widget, ipywidgets.Button):
            widget.click()
        elif isinstance(widget, ipywidgets.Dropdown) and len(widget.options) > 1:
            widget.index = widget.index - 1 if widget.index else 1
        elif isinstance(widget, ipywidgets.ToggleButton | ipywidgets.Checkbox):
            widget.value = not widget.value
        else:
            continue
        pressed += 1
        assert not SURPRISE.search(message.value), (widget.tooltip, message.value)
    assert pressed > 50
    for key in board.bridge.hot_keys:
        board._hear({"type": "key", "key": key, "shift": False})
    at = {"type": "pointer", "x": 1.0, "y": 1.0, "delta": 1.0}
    for where in ("potad", "strip"):
        for what in ("wheel", "panstart", "pan", "panend", "hover", "tap"):
            board._hear({**at, "what": what, "map": where})
        assert not SURPRISE.search(message.value)
    board.close()


# ---- claims by hand ---------------------------------------------------------------------------


def claim(board, index, size=MIB):
    board.go(index)
    board.controls.size.value = board.controls.align.value = size
    board.claim()


def lie(board, name="potad"):
    """Where the events say that claims have come to lie."""
    events, ops = board.session.runs[name].events, board.session.ops
    at = np.flatnonzero((ops["verb"] == Verb.CLAIM) & (events["outcome"] == Outcome.DONE))
    return list(zip(events["granule"][at].tolist(), ops["granules"][at].tolist(), strict=True))


def test_outlines_of_claims_follow_when_one_before_them_takes_their_place(board):
    board.controls.migrate.value = True
    claim(board, 20)
    first = lie(board)
    assert board.adding.places("potad") == first
    claim(board, 10)
    board.go(board.session.length)
    assert sorted(board.adding.places("potad")) == sorted(lie(board))
    assert lie(board)[1] != first[0], "the later one had to go elsewhere"
    board.go(10)
    assert board.adding.places("potad") == []
    board.go(11)
    assert board.adding.places("potad") == lie(board)[:1]
    board.undo()
    board.go(board.session.length)
    assert board.adding.places("potad") == first


def test_a_saved_session_has_each_claim_outlined_until_it_is_undone(small, tmp_path):
    board = make(small, ["potad"])
    claim(board, 100)
    claim(board, 200)
    board.keeping.name.value = str(tmp_path / "mine")
    board.keeping.save_session()
    board.open(tmp_path / f"mine{saved.SUFFIX}")
    board.go(board.session.length)
    both = board.adding.places("potad")
    assert both == lie(board)
    assert len(both) == 2
    board.undo()
    board.go(board.session.length)
    assert board.adding.places("potad") == both[:1]
    assert "undone: op claim of the saved session" in board.log[0]
    board.close()


# ---- what a saved session may say ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(small, tmp_path_factory):
    """A board, and a session of it in a file."""
    made = make(small, ["potad"])
    path = tmp_path_factory.mktemp("kept") / f"mine{saved.SUFFIX}"
    made.choose("potad", 1)
    made.fail()
    made.keeping.name.value = str(path)
    made.keeping.save_session()
    made.undo()
    yield made, path
    made.close()


def changed(path, place, value):
    content = json.loads(path.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    other = path.with_name(f"other{saved.SUFFIX}")
    other.write_text(json.dumps(content))
    return other


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["trace", "path"], "/dev/zero"), (["trace", "bundled"], "nothing of ours"),
        (["view", "index"], float("inf")), (["view", "first"], float("nan")),
        (["view", "columns"], 7), (["view", "range"], [[], {}]),
        (["view", "bookmarks"], [float("inf")]), (["view", "selected"], ["potad", "x"]),
        (["added", 0, "verb"], "ALLOCATE"), (["added", 0, "granule"], 1 << 40),
        (["added", 0, "granule"], -2), (["added", 0, "handle"], 3), (["added", 0, "flags"], 255),
        (["added", 0, "time_ns"], 1 << 60), (["log"], 5),
    ],
)  # fmt: skip
def test_a_saved_session_that_cannot_be_is_one_line_and_all_stays(kept, place, value):
    board, path = kept
    other = changed(path, place, value)
    session, before, log = board.session, board.keeping.view(), list(board.log)
    board.open(other)
    assert "potadlab-error" in board.controls.message.value
    assert not SURPRISE.search(board.controls.message.value)
    assert board.session is session
    assert board.keeping.view() == before
    assert board.log == log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shown", ["nobody"]), ("shown", "potad"), ("shown", 5), ("shown", [[]]),
        ("difference", 7), ("difference", ["a", {}]), ("selected", "ab"), ("selected", [["x"], 1]),
        ("range", 3), ("range", [5, 1 << 70]), ("bookmarks", "all"), ("colouring", ["size"]),
        ("speed", [1]), ("sort", {}), ("placed", "anywhere"), ("index", 1 << 70),
    ],
)  # fmt: skip
def test_what_does_not_fit_of_a_saved_session_is_left_out(kept, name, value):
    board, path = kept
    board.open(changed(path, ["view", name], value))
    assert "potadlab-error" not in board.controls.message.value
    assert board.session.added == 1
    assert board.names == ["potad"]
    assert 0 <= board.index <= board.session.length
    assert board.keeping.view()["range"] is None
    board.undo()


def test_a_log_that_is_read_is_bounded(kept):
    _, path = kept
    found = saved.read(changed(path, ["log"], ["<b>" * 1000] * 1000))
    assert len(found.log) == 200
    assert max(map(len, found.log)) == 1000


def test_no_more_maps_are_opened_than_there_is_room_for(board):
    many = board.session.copy()
    many.names = [f"potad {number}" for number in range(SHOWN_MAX + 1)]
    many.runs = dict.fromkeys(many.names, many.runs["potad"])
    view = board.keeping.view()
    assert seen_in(many, {**view, "shown": many.names}).shown == many.names[:SHOWN_MAX]
    assert seen_in(many, {**view, "shown": many.names[3:4]}).shown == many.names[3:4]
    assert seen_in(many, {**view, "shown": ["nobody"]}).shown == many.names[:2]


# ---- small things -----------------------------------------------------------------------------


def test_lookups_of_what_lived_in_another_trace_are_not_shown(board):
    looking = board.looking
    looking._show([(LIVE, board.measured, {}), ("10 blocks", board.measured, {})])
    assert len(looking.rows()) == 2 * len(board.measured)
    rows = looking.table.value.count("<tr>")
    board.open(pages_in_use())
    assert LIVE not in looking.measured
    assert looking.shown.value == "10 blocks"
    assert looking.table.value.count("<tr>") == rows - len(board.measured)
    assert "10 blocks" in looking.plots[0].title.text


def test_failed_memory_is_found_by_its_kind(board):
    board.choose("potad", 3)
    board.fail()
    board.seeker.text.value = "poison"
    board.seeker.find()
    assert board.selected == ("potad", 3)
    assert board.session.blocks("potad", board.index)["kind"].tolist().count(KIND["poison"]) == 1


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda board: board.seeker.next.click(), "nothing to find"),
        (lambda board: set_and_press(board.failing.seed, -1, board.failing.random), "seed -1"),
        (
            lambda board: set_and_press(board.claiming.moments, 10**9, board.claiming.measure),
            "1,000,000,000 moments: take 1 to 1,000",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(board, ask, told):
    ask(board)
    assert told in board.controls.message.value
    assert not SURPRISE.search(board.controls.message.value)


def set_and_press(field, value, button):
    field.value = value
    button.click()


def test_a_bookmark_stays_before_what_is_added_at_its_moment_and_goes_on_after_it(board):
    for index in (5, 6):
        board.go(index)
        board.moments.bookmark()
    board.go(5)
    board.choose("potad", 7)
    board.fail()
    assert board.moments.bookmarks == [5, 7]
    board.undo()
    assert board.moments.bookmarks == [5, 6]


def test_the_chosen_block_is_outlined_on_its_own_map_and_only_a_dot_on_others(board):
    board.choose("potad", 7)
    canvas = board.stage.canvas
    assert canvas.shapes["potad"].data["colour"] == [CHOSEN]
    assert canvas.shapes["buddy"].data["colour"] == []
    marks = [canvas.marks[name].data["marker"] for name in NAMES]
    assert marks == [["circle"], ["circle_dot"]]


def test_a_piece_that_nobody_asked_for_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked, done = [], []
    upload = Upload(asked.append, done.append)

    def give(offset, content):
        upload.piece({"name": "a.parquet", "size": 12, "offset": offset, "buffers": [content]})

    give(0, b"PAR1")
    give(8, b"last")
    assert asked == [4]
    give(4, b"midd")
    give(4, b"midd")
    give(8, b"last")
    assert (asked, len(done)) == ([4, 8], 1)
    assert done[0].read_bytes() == b"PAR1middlast"


def test_a_picture_too_large_says_so(board, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("potadlab.dashboard.keeping.PICTURE_BYTES_MAX", 1024)
    board.keeping.picture("png", b"x" * 2048, "")
    assert "the page made 2 KiB, more than 1 KiB" in board.controls.message.value
    assert list(tmp_path.iterdir()) == []


def test_an_allocator_that_joins_again_has_one_box(board):
    for _ in range(2):
        board.comparing.spec.value = "potad:caches=off"
        board.comparing.join()
        assert "potad:caches=off" in board.names
        board.open(pages_in_use())
    boxes = [box.description for box in board.controls._maps.children[1:]]
    assert boxes == ["potad", "buddy", "potad:caches=off"]


# ---- painted -----------------------------------------------------------------------------------


def test_each_map_is_of_its_own_allocator_and_the_marker_of_the_last_op_done(small):
    board = make(small)
    board.go(500)
    frame = board.stage.painter.paint(*board._moment())
    session, window = board.session, board.window
    wanted = [
        regions.columns(
            session.blocks(name, 500), session.in_service(name, 500), end_of_service(session),
            session.space.granule_bytes, window,
        )["image"][0].tobytes()
        for name in NAMES
    ]  # fmt: skip
    assert frame.buffers == wanted
    assert wanted[0] != wanted[1]
    assert frame.message["parts"][-1]["value"] == session.ops["time_ns"][499] / 1e9
    board.close()


def test_memory_that_is_added_is_painted_and_owners_are_ranked_by_what_they_ask_for():
    ops = ops_of(
        allocate(0, 0, owner=0, time_ns=1),
        allocate(1, 2, owner=1, time_ns=2),
        allocate(2, 0, owner=0, time_ns=3),
        at(Verb.ADD_MEMORY, 64, 64),
    )
    ops["time_ns"][3] = 4
    space = space_of([(0, 64)], (0, 128))
    trace = Trace(
        "made", None, {}, ops, 3, ["few", "much"], 4, 4096, "", space, blocks_of(), 0, 0
    )  # fmt: skip
    board = make(replace(trace, ops=ops[:3]), ["potad"])
    memmap = board.measured[0]
    assert memmap.bytes_per_block * memmap.blocks == 64 * 64, "what is not in service has no page"
    board.close()
    board = make(trace, ["potad"])
    painter = board.stage.painter
    assert painter.shades.names == ["much", "few"]
    images = [
        regions.image_of(painter.paint(index, board.window, "size").buffers[0], board.window.pixels)
        for index in (3, 4, 3)
    ]
    places = [regions.place(board.window, granule) for granule in (100, 127)]
    found = [[image[int(y), int(x)] for x, y in places] for image in images]
    assert found == [[HOLE, HOLE], [FREE, FREE], [HOLE, HOLE]]
    board.close()


def test_what_playing_costs_is_told(board, monkeypatch):
    stats = {"shown": 9, "fps": 12.34, "lag_ms_p50": 45.6, "lag_ms_p95": 99.0, "flight_ms_p50": 7.0}
    spent = SimpleNamespace(monotonic=lambda: 110.0, process_time=lambda: 22.5)
    monkeypatch.setattr("potadlab.dashboard.telling.time", spent)
    monkeypatch.setattr(board, "frame_stats", lambda over_s: stats)
    board.telling._spent, board.stage.page_ms, board.playing = (100.0, 20.0), 3.4, True
    board.telling.status()
    told = "12.3 frames per s, lag 46 ms; 25% of a processor, page 3 ms"
    assert board.controls.status.value == told
    board.playing = False
    board.telling.status()
    assert board.controls.status.value == ""


def test_the_caption_of_a_picture_says_what_it_shows(board):
    board.go(9)
    board.zoom(1)
    for worst, by in ((False, "size"), (True, "size, the worst in a cell")):
        board.controls.worst.value = worst
        (name, where), keys = board.telling.caption()
        assert name == f"by hand after op 9 of {board.session.length}, 0.800000 s"
        start, end = (words.address(at * 4096) for at in (board.window.first, board.window.end))
        assert where == f"{start} to {end}, coloured by {by}"
        assert keys == [*theme.legend_sizes(4096), *theme.legend_map("size", board.light)]
    board.choose("potad", 7)
    board.fail()
    assert board.telling.caption()[0][0].endswith("; 1 op added by hand")


def test_of_failures_at_random_it_is_told_how_many_owners_heard(board):
    def came(allocator, result, *told):
        one = Told(allocator, Outcome.POISONED_LIVE, "", "slab", "me", 1, 0, 4096)
        return replace(one, result=result, told=told)

    rows = [
        (3, 0.1, [came("potad", "Delayed", "owner"), came("buddy", "Ignored")]),
        (4, 0.2, [came("potad", "Recovered", "processes"), came("buddy", "Ignored", "processes")]),
        (5, 0.3, [came("potad", "Delayed", "owner", "processes"), came("buddy", "")]),
        (9, 0.4, [came("potad", "Failed", "owner"), came("buddy", "Failed")]),  # not asked of
    ]
    board.failing.know((board.session.ops, len(board.session.names), rows))
    assert board.failing._summary({3, 4, 5}) == [
        "  potad: 2 Delayed, 1 Recovered; owners told: 2",
        "  buddy: 2 Ignored, 1 not asked; owners told: 0",
    ]


# ---- text, never markup; and of the right allocator ----

HOSTILE = "\"><img src=x onerror='alert(1)'>"


def test_legends_and_titles_of_rows_are_text():
    assert "<img" not in words.keys(HOSTILE, [("#ffffff", HOSTILE)])
    told = Told("potad", Outcome.POISONED_LIVE, HOSTILE, "slab", HOSTILE, 1, 0, 4096)
    table = failing._table(failures.columns([(3, 0.5, [told])]), 0, SECONDS)
    assert "<img" not in table
    assert f'title="{html.escape(HOSTILE)}"' in table
    assert "<img" not in failing._panes((3, 0.5, [told]), SECONDS)


def test_what_is_in_the_way_of_a_claim_is_of_the_allocator_that_was_asked(board):
    claiming = board.claiming
    front(board, claiming)
    claiming.area.value, claiming.size.value = 2 * MIB, MIB
    claiming.search()
    number, cma = next(
        (number, answer) for number, answer in enumerate(claiming.asked.answers) if answer.area
    )
    claiming.way.value = number, 0
    start = cma.tries[0].start_bytes // 4096
    claiming.asked.before[cma.allocator] = blocks_of((start + 3, 0, 1, 0, 0))
    claiming.asked.before["potad"] = blocks_of((start + 5, 0, 1, 0, 0))
    assert claiming._in_the_way()["granule"].tolist() == [start + 3]


def test_free_memory_over_time_is_that_of_each_allocator(small):
    board = make(small)
    canvas, unit = board.stage.canvas, orders.unit_for(board.session.space.bytes)
    wanted = []
    for name in NAMES:
        census = board.session.runs[name].census
        columns = orders.columns(census.time_ns, census.free_blocks, 4096, unit)
        drawn = canvas.orders[name].renderers[0].data_source.data
        assert all(list(drawn[part]) == list(values) for part, values in columns.items())
        wanted.append(columns)
    assert any(list(wanted[0][part]) != list(wanted[1][part]) for part in wanted[0])
    board.close()


def test_what_is_told_of_a_chosen_block_is_of_its_allocator(small):
    board = make(small)
    board.go(500)
    potad, buddy = (board.session.runs[name].live(500)["granule"].tolist() for name in NAMES)
    only = min(set(buddy) - set(potad))
    board.choose("buddy", only)
    assert f"buddy, at {only * 4096:#x}, after op 500:" in board.controls.block.value
    wanted = board.describe("buddy", only)
    assert words.lines(wanted) in board.controls.block.value
    assert board.describe("potad", only) != wanted
    board.close()


def test_times_are_of_the_ops_that_were_timed(board):
    board.comparing.measure.click()
    assert board.comparing.rounds
    board.choose("potad", 7)
    board.fail()
    assert board.comparing.rounds == {}
