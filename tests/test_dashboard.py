"""The dashboard without a browser: the protocol of frames, and what widgets do to a session."""

import html
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from potadlab.bundled import dataset
from potadlab.core.layout import Outcome
from potadlab.core.raster import FREE
from potadlab.dashboard import Dashboard, uploading, words
from potadlab.dashboard.controls import FASTEST, FASTEST_PICTURES, OWN_FILE
from potadlab.dashboard.flow import PATIENCE_S, Flow, Frame
from potadlab.dashboard.maps import SMALL
from potadlab.kinds import KINDS
from potadlab.session import Claimed, Step, Told
from potadlab.views import regions, theme


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def page():
    """A flow, its clock, and what went out."""
    sent, clock = [], Clock()
    flow = Flow(lambda message, buffers: sent.append(message["number"]), clock)
    return flow, clock, sent


def frame() -> Frame:
    return Frame({"type": "frame"}, [], chosen_s=0.0)


def test_nothing_goes_out_before_the_page_listens(page):
    flow, _, sent = page
    flow.offer(frame())
    assert sent == []
    flow.greet()
    assert sent == [1]


def test_one_frame_at_a_time_and_the_latest_wins(page):
    flow, _, sent = page
    flow.greet()
    first, second, third = frame(), frame(), frame()
    flow.offer(first)
    flow.offer(second)
    flow.offer(third)
    assert (sent, flow.replaced) == ([1], 1)
    flow.shown(1)
    assert sent == [1, 2]
    assert flow.in_flight is third


def test_a_fast_replay_builds_no_backlog(page):
    flow, clock, sent = page
    flow.greet()
    for step in range(1000):
        clock.now += 0.001
        flow.offer(frame())
        assert flow.sent - flow.answered <= 1
        if step % 100 == 99:
            flow.shown(sent[-1])
    assert len(sent) == 11


def test_old_answers_count_for_nothing(page):
    flow, _, _ = page
    flow.greet()
    flow.offer(frame())
    flow.shown(0)
    flow.shown(7)
    assert flow.in_flight is not None
    assert flow.answered == 0


def test_a_lost_answer_is_made_good_less_and_less_often(page):
    flow, clock, sent = page
    flow.greet()
    flow.offer(frame())
    flow.watch()
    assert sent == [1]
    times = []
    for _ in range(200):
        clock.now += 0.1
        flow.watch()
        if len(sent) > len(times) + 1:
            times.append(clock.now)
    assert times == pytest.approx([PATIENCE_S, 3 * PATIENCE_S, 7 * PATIENCE_S], abs=0.2)


def test_a_page_that_comes_again_gets_the_picture_again(page):
    flow, _, sent = page
    flow.greet()
    flow.offer(frame())
    flow.greet()
    assert sent == [1, 2]
    flow.shown(1)
    assert flow.in_flight is not None


def test_the_answer_is_expected_when_it_came_before(page):
    flow, clock, sent = page
    flow.greet()
    assert flow.due_s() < 0
    for _ in range(40):
        flow.offer(frame())
        clock.now += 0.1
        flow.shown(sent[-1])
    flow.offer(frame())
    assert flow.due_s() == pytest.approx(0.1, rel=0.01)


def test_statistics_are_of_frames_shown(page):
    flow, clock, sent = page
    flow.greet()
    for _ in range(11):
        flow.offer(Frame({}, [], chosen_s=clock.now))
        clock.now += 0.1
        flow.shown(sent[-1])
    stats = flow.stats()
    assert stats["shown"] == 11
    assert stats["fps"] == pytest.approx(10)
    assert stats["lag_ms_p95"] == pytest.approx(100)


@pytest.fixture(scope="module")
def opened():
    """A dashboard of the whole module, and what it said when it was opened.

    Without an event loop everything happens at once.  Made in a thread of its own: Playwright keeps
    a loop running in the main one.
    """
    with ThreadPoolExecutor(1) as thread:
        board = thread.submit(Dashboard, "mixed_owners").result()
    yield board, board.controls.message.value
    board.close()


@pytest.fixture
def dashboard(opened):
    """The dashboard as it was opened, whatever the test before has done; its session if it can."""
    board, _ = opened
    controls = board.controls
    controls.tabs.selected_index = 0
    if board.session.trace.path != dataset("mixed_owners") or board.session.added:
        board.open("mixed_owners")
    controls.colouring.value, controls.speed.value = theme.BY_SIZE, 1.0
    controls.worst.value = controls.lie.value = False
    board.comparing.difference.value = None
    for name in ("potad", "buddy", *controls.allocators):
        controls.allocators[name].value = name in ("potad", "buddy")
    if board.screen != SMALL:
        board.screen, board.window = SMALL, regions.whole(board._end(), pixels=SMALL.pixels)
        board._resized()
    board.moments.opened()
    press(board, "Escape")
    board.show_whole()
    board.go(0)
    board.say("")
    return board


def test_it_opens_with_a_trace_ready_to_play(opened, dashboard):
    assert dashboard.session.trace.name == "mixed_owners"
    assert "ready to play" in opened[1]
    assert dashboard.names == ["potad", "buddy"]
    assert dashboard.bridge.targets == dashboard.stage.canvas.targets


def test_lookups_are_measured_where_the_trace_ends(dashboard):
    session = dashboard.session
    assert len(session.start) == 0  # cold: nothing to look up at the start
    live = session.runs["potad"].live(session.length)
    assert [found.blocks for found in dashboard.measured] == [len(live)] * 2 != [0, 0]
    served = np.diff(session.in_service("potad", session.length), axis=1).sum()
    memmap = dashboard.measured[0]
    assert memmap.bytes_per_block * memmap.blocks == pytest.approx(64 * served)
    assert "at the trace's end" in dashboard.stage.canvas.latency.title.text


def test_steps_and_slider_move_the_moment(dashboard):
    dashboard.go(1000)
    dashboard.step(1)
    assert dashboard.index == 1001
    dashboard.step(-1)
    assert dashboard.index == 1000
    dashboard.controls.time.value = dashboard.controls.time.max / 2
    half = dashboard.session.time_ns(dashboard.session.length) / 2
    assert dashboard.index == pytest.approx(dashboard.session.index_at(int(half)), abs=2)
    dashboard.controls.time.value = 0  # and back to where it was before the drag
    assert dashboard.index <= 2
    dashboard.go(-5)
    assert dashboard.index == 0
    dashboard.go(10**12)
    assert dashboard.index == dashboard.session.length


def test_the_page_answers_our_slider_with_rounded_values_and_nothing_moves(dashboard):
    dashboard.go(1000)
    dashboard._moved_s = 0.0
    dashboard.go(1001)
    slider = dashboard.controls.time
    slider.value = slider.value + slider.step / 4
    assert dashboard.index == 1001


def chosen_block(dashboard):
    """Choose the first block of potad in the middle of the trace; returns its record."""
    dashboard.go(dashboard.session.length // 2)
    block = dashboard.session.blocks("potad", dashboard.index)[0]
    dashboard.choose("potad", int(block["granule"]))
    return block


def test_a_click_shows_the_block(dashboard):
    block = chosen_block(dashboard)
    shown = dashboard.controls.block.value
    assert f"{int(block['granule']) * 4096:#x}" in shown
    assert not dashboard.controls.fail.disabled


def test_fail_claim_and_undo_are_ops(dashboard):
    chosen_block(dashboard)
    ops = dashboard.session.length
    dashboard.controls.fail.click()
    assert dashboard.session.length == ops + 1
    told = zip(dashboard.session.names, dashboard.log[1:4], strict=True)
    assert all(line.strip().startswith(f"{name}:") for name, line in told)
    dashboard.controls.claim.click()
    assert dashboard.session.length == ops + 2
    assert "1 x 8 MiB" in dashboard.controls.log.value
    assert dashboard.adding.places("potad")
    dashboard.show_whole()
    assert len(dashboard.stage.canvas.shapes["potad"].data["xs"]) >= 1
    assert "diamond" in dashboard.stage.canvas.marks["potad"].data["marker"]
    dashboard.controls.undo.click()
    dashboard.controls.undo.click()
    assert dashboard.session.length == ops
    assert dashboard.controls.undo.disabled


def test_every_frame_holds_an_image_per_map_and_the_time(dashboard):
    dashboard.show_whole()
    made = dashboard.stage.painter.paint(dashboard.session.length, dashboard.window, "kind")
    assert [part["field"] for part in made.message["parts"]] == ["image", "image", "time_s"]
    assert {len(image) for image in made.buffers} == {256 * 160}
    assert len(np.unique(np.frombuffer(made.buffers[0], np.uint8))) > 3


@pytest.mark.parametrize("content", [b"", b"not a trace", b"PAR1garbagePAR1"])
def test_a_bad_file_is_one_line_and_the_dashboard_lives_on(dashboard, tmp_path, content):
    path = tmp_path / "bad <b>.parquet"
    path.write_bytes(content)
    before = dashboard.session
    dashboard.open(path)
    told = dashboard.controls.message.value
    assert "potadlab-error" in told
    assert "bad &lt;b&gt;.parquet" in told
    assert "\n" not in told
    assert dashboard.session is before
    assert not dashboard.controls.play.disabled


def test_a_missing_file_is_one_line(dashboard, tmp_path):
    dashboard.open(tmp_path / "nowhere.parquet")
    assert "nowhere.parquet" in dashboard.controls.message.value


def test_after_a_failed_open_the_menu_says_what_is_shown_and_the_path_can_be_tried_again(
    dashboard, tmp_path
):
    controls = dashboard.controls
    controls.trace.value = OWN_FILE
    controls.path.value = str(tmp_path / "later.parquet")
    for _ in range(2):
        assert "later.parquet" in controls.message.value
        assert controls.trace.value == "mixed_owners"
        assert controls.path.layout.display == controls.open.layout.display == ""
        dashboard.say("")
        controls.open.click()


def test_a_bundled_trace_that_cannot_be_read_leaves_the_menu_as_it_was(
    dashboard, tmp_path, monkeypatch
):
    monkeypatch.setitem(dashboard.opening.bundled, "thp_split", tmp_path / "gone.parquet")
    dashboard.controls.trace.value = "thp_split"
    assert "gone.parquet" in dashboard.controls.message.value
    assert dashboard.controls.trace.value == "mixed_owners"


def test_a_file_of_ones_own_is_not_taken_for_the_bundled_one_of_its_name(dashboard, tmp_path):
    own = tmp_path / "own.parquet"
    shutil.copy(dataset("mixed_owners"), own)
    dashboard.open(own)
    assert dashboard.session.trace.path == own
    assert dashboard.session.trace.name == "mixed_owners"
    assert dashboard.controls.trace.value == OWN_FILE
    assert dashboard.controls.path.layout.display == ""
    dashboard.controls.trace.value = "mixed_owners"
    assert dashboard.session.trace.path == dataset("mixed_owners")
    assert dashboard.controls.trace.value == "mixed_owners"
    assert dashboard.controls.path.layout.display == "none"


def test_pointer_messages_zoom_pan_and_choose(dashboard):
    dashboard.show_whole()
    full = dashboard.window
    at = {"type": "pointer", "map": "potad", "x": 10.0, "y": 10.0, "delta": 1.0}
    dashboard._hear({**at, "what": "wheel"})
    assert dashboard.window.granules_per_cell * 2 == full.granules_per_cell
    first = dashboard.window.first
    dashboard._hear({**at, "what": "panstart"})
    dashboard._hear({**at, "what": "pan", "y": 5.0})
    dashboard._hear({**at, "what": "pan", "y": 3.0})
    assert dashboard.window.first == first + 7 * dashboard.window.row_granules
    dashboard._hear({**at, "what": "panend"})
    dashboard._hear({**at, "what": "tap"})
    assert dashboard.selected[0] == "potad"
    dashboard.show_whole()
    assert dashboard.window == full


def test_maps_are_made_for_the_screen_they_are_on(dashboard):
    dashboard.go(5000)
    canvas, window = dashboard.stage.canvas, dashboard.window
    size = {"type": "size", "width": 347.5, "height": 163.0, "page_height": 720.0}
    dashboard._hear(size)
    assert dashboard.stage.canvas is canvas  # they are of this size
    dashboard._hear({**size, "width": 1005.0, "page_height": 1440.0})
    assert dashboard.stage.canvas is not canvas
    high = dashboard.stage.canvas.maps["potad"].height
    assert high == canvas.maps["potad"].height + 288
    assert dashboard.window.pixels == regions.Pixels(512, 163 + 288)
    assert dashboard.window.end >= window.end
    frame = dashboard.stage.painter.paint(*dashboard._moment())
    assert {len(image) for image in frame.buffers} == {512 * 451}
    images = dashboard.stage.canvas.images.values()
    assert {each.data["image"][0].shape for each in images} == {(451, 512)}
    dashboard._hear({**size, "width": 1005.0, "height": 455.0, "page_height": 1440.0})
    assert dashboard.window.pixels == regions.Pixels(512, 451)  # four rows more are not worth it
    view = dashboard.keeping.view()
    dashboard._hear({**size, "height": 451.0})
    assert dashboard.window.pixels == regions.Pixels(256, 163)
    assert dashboard.window.first <= window.first <= window.end <= dashboard.window.end
    assert (view["width"], view["height"]) == (512, 451)


def test_several_notches_of_the_wheel_are_as_many_steps(dashboard):
    dashboard.show_whole()
    full = dashboard.window
    at = {"type": "pointer", "what": "wheel", "map": "potad", "x": 10.0, "y": 10.0}
    dashboard._hear({**at, "delta": 3})
    assert dashboard.window.granules_per_cell * 8 == full.granules_per_cell
    dashboard._hear({**at, "delta": -2})
    assert dashboard.window.granules_per_cell * 2 == full.granules_per_cell
    dashboard._hear({**at, "delta": -1000})
    assert dashboard.window == full


def test_a_click_and_a_find_are_told_and_old_errors_go(dashboard):
    dashboard.go(5000)
    find(dashboard, "nobody at all")
    assert "potadlab-error" in dashboard.controls.message.value
    find(dashboard, "4MiB-12MiB")
    assert ">range 0x400000 to 0xc00000, 8 MiB:<" in dashboard.controls.message.value
    find(dashboard, "nobody at all")
    find(dashboard, "5MiB")
    assert ">0x500000 in potad after op 5,000: " in dashboard.controls.message.value
    block = dashboard.session.runs["buddy"].live(5000)[7]
    dashboard.choose("buddy", int(block["granule"]))
    said = f">{int(block['granule']) * 4096:#x} in buddy after op {dashboard.index:,}: block of "
    assert said in dashboard.controls.message.value


def test_menus_show_the_entry_that_stands_for_nothing(dashboard):
    shown = [dashboard.failing.pick, dashboard.claiming.way, dashboard.claiming.block]
    for menu in (*shown, dashboard.comparing.difference, dashboard.looking.shown):
        assert menu.label
    dashboard.comparing.difference.value = ("potad", "buddy")
    dashboard.comparing.offer()
    assert dashboard.comparing.difference.label == "potad - buddy"
    dashboard.comparing.choose(None)
    assert dashboard.comparing.difference.label == "none"


def test_owners_that_begin_alike_are_told_apart_and_told_whole():
    names = ["alloc_pages|ZERO|MOVABLE", "alloc_pages|ZERO|NOWARN", "short"]
    apart = words.apart(names, 13)
    assert apart == ["alloc_…OVABLE", "alloc_…NOWARN", "short"]
    shown = words.keys("Owner", [("#fff", apart[0])], whole={apart[0]: '"><b>' + names[0]})
    assert 'title="&quot;&gt;&lt;b&gt;alloc_pages|ZERO|MOVABLE"' in shown


def press(dashboard, key, shift=False):
    dashboard._hear({"type": "key", "key": key, "shift": shift})


def test_keys_play_step_jump_and_zoom(dashboard):
    dashboard.show_whole()
    dashboard.go(5000)
    for key, shift, at in (("ArrowRight", False, 5001), ("ArrowLeft", True, 4001)):
        press(dashboard, key, shift)
        assert dashboard.index == at
    session = dashboard.session
    press(dashboard, "3")
    end_ns = session.time_ns(session.length)
    assert dashboard.index == session.index_at(end_ns * 3 // 10)
    press(dashboard, "End")
    assert dashboard.index == session.length
    press(dashboard, "Home")
    assert dashboard.index == 0
    press(dashboard, "3")
    press(dashboard, "0")
    assert dashboard.index == 0
    full = dashboard.window
    press(dashboard, "+")
    assert dashboard.window.granules_per_cell * 2 == full.granules_per_cell
    press(dashboard, "-")
    assert dashboard.window == full
    press(dashboard, " ")
    assert dashboard.playing
    press(dashboard, " ")
    assert not dashboard.playing


def find(dashboard, text):
    dashboard.seeker.text.value = text
    dashboard.seeker.next.click()
    return dashboard.controls.message.value


def test_find_goes_to_an_address_a_kind_an_owner_one_after_the_other(dashboard):
    block = chosen_block(dashboard)
    dashboard.show_whole()
    granule = int(block["granule"])
    dashboard.selected = None
    find(dashboard, hex(granule * 4096))
    assert dashboard.selected == ("potad", granule)
    assert dashboard.window.granules_per_cell == 1
    live = dashboard.session.runs["potad"].live(dashboard.index)
    kind = int(live["kind"][0])
    wanted = live["granule"][live["kind"] == kind]
    dashboard.selected = None
    for at in (0, 1):
        said = find(dashboard, KINDS[kind].name)
        assert dashboard.selected == ("potad", int(wanted[at]))
        assert f"{at + 1:,} of {len(wanted):,} blocks in potad" in said
    assert "triangle" in dashboard.stage.canvas.marks["potad"].data["marker"]
    dashboard.choose("buddy", 0)
    find(dashboard, KINDS[kind].name)
    own = dashboard.session.runs["buddy"].live(dashboard.index)
    own = own["granule"][(own["kind"] == kind) & (own["granule"] > 0)]
    assert dashboard.selected == ("buddy", int(own[0])), "on the map that was clicked"
    said = find(dashboard, "<b>nobody</b>")
    assert "potadlab-error" in said
    assert "&lt;b&gt;" in said
    assert "memory ends at" in find(dashboard, "1000TiB")
    press(dashboard, "Escape")
    assert dashboard.selected is None
    assert "triangle" not in dashboard.stage.canvas.marks["potad"].data["marker"]
    dashboard.show_whole()


def test_a_range_is_typed_or_dragged_and_told_for_every_map(dashboard):
    dashboard.go(dashboard.session.length // 2)
    dashboard.show_whole()
    find(dashboard, "4MiB-12MiB")
    assert dashboard.seeker.range == (1024, 3072)
    assert "range 0x400000 to 0xc00000, 8 MiB:" in dashboard.controls.block.value
    for name in ("potad", "buddy"):
        assert f"{name}: " in dashboard.controls.block.value
        assert "#009e73" in dashboard.stage.canvas.shapes[name].data["colour"]
    dashboard.show_whole()
    first, wide = dashboard.window.first, dashboard.window.granules_per_cell
    at = {"type": "pointer", "map": "potad", "delta": 0, "shift": True}
    dashboard._hear({**at, "what": "panstart", "x": 10.0, "y": 2.0})
    dashboard._hear({**at, "what": "pan", "x": 20.0, "y": 2.0})
    dashboard._hear({**at, "what": "panend", "x": 20.0, "y": 2.0})
    row = 2 // dashboard.window.scale * dashboard.window.columns
    cells = [row + x // dashboard.window.scale for x in (10, 20)]
    assert dashboard.seeker.range == (first + cells[0] * wide, first + (cells[1] + 1) * wide)
    assert dashboard.window.first == first  # nothing was dragged away
    press(dashboard, "Escape")
    assert dashboard.seeker.range is None


@pytest.mark.parametrize("colouring", theme.ALL_COLOURINGS)
def test_every_colouring_paints_and_has_its_legend(dashboard, colouring):
    dashboard.go(dashboard.session.length // 2)
    dashboard.show_whole()
    dashboard.controls.colouring.value = colouring
    index, window, by, worst = dashboard._moment()
    for hilbert in (False, True):
        bent = regions.along(window, hilbert)
        made = [
            np.frombuffer(dashboard.stage.painter.paint(index, bent, by, each).buffers[0], np.uint8)
            for each in (worst, True)
        ]
        assert all(len(np.unique(image)) > 1 for image in made)
        free = [np.count_nonzero(image == FREE) for image in made]
        assert free[1] <= free[0]  # what is used is never outvoted by what is free
    own = theme.legend_of(colouring, dashboard.stage.painter.shades.names)
    assert all(label in dashboard.controls.legend.value for _, label in own[-1:])
    dashboard.controls.colouring.value = theme.BY_SIZE


def test_jumps_go_from_one_to_the_next_and_bookmarks_move_with_ops_by_hand(dashboard):
    moments = dashboard.moments
    late = dashboard.session.length // 2
    dashboard.go(2000)
    press(dashboard, "b")
    dashboard.go(late)
    moments.mark.click()
    moments.what.value = "bookmark"
    dashboard.go(0)
    for key, index in (("n", 2000), ("n", late), ("n", late), ("p", 2000), ("p", 2000)):
        press(dashboard, key)
        assert dashboard.index == index
    assert "no bookmark before this moment (2 in all)" in dashboard.controls.message.value
    assert dashboard.stage.canvas.noted.data["marker"].count("star") == 2
    dashboard.go(2500)
    dashboard.choose("potad", 1)
    dashboard.fail()
    assert moments.bookmarks == [2000, late + 1]
    moments.what.value = "failure"
    dashboard.go(0)
    moments.on.click()
    assert dashboard.index == 2501
    assert "failure 1 of 1" in dashboard.controls.message.value
    assert "diamond" in dashboard.stage.canvas.noted.data["marker"]
    dashboard.undo()
    assert moments.bookmarks == [2000, late]
    dashboard.go(2000)
    moments.mark.click()
    assert moments.bookmarks == [late]
    moments.opened()


def test_a_click_on_the_strip_goes_there(dashboard):
    seconds = dashboard.session.time_ns(dashboard.session.length) / 1e9
    dashboard._hear(
        {"type": "pointer", "what": "tap", "map": "strip", "x": seconds / 3, "y": 0.5, "delta": 0}
    )
    assert dashboard.index == dashboard.session.index_at(int(seconds / 3 * 1e9))


def test_as_fast_as_it_can_passes_the_whole_trace_in_so_many_pictures(dashboard):
    dashboard.go(0)
    dashboard.controls.speed.value = FASTEST
    dashboard.play()
    pictures = 0
    while dashboard.playing:
        before = dashboard.index
        dashboard._moment()
        pictures += 1
        assert dashboard.index >= before
    assert dashboard.index == dashboard.session.length
    assert FASTEST_PICTURES <= pictures <= FASTEST_PICTURES + 2
    dashboard.controls.speed.value = 1.0


def test_another_allocator_joins_with_the_ops_by_hand_and_undo_takes_them_from_all(dashboard):
    chosen_block(dashboard)
    dashboard.controls.fail.click()
    comparing = dashboard.comparing
    comparing.spec.value = "potad:caches=off"
    comparing.add.click()
    session = dashboard.session
    assert session.names[-1] == "potad:caches=off"
    assert dashboard.names == ["potad", "buddy", "potad:caches=off"]
    events = session.runs["potad:caches=off"].events
    assert len(events) == session.length
    dashboard.undo()
    session = dashboard.session
    assert len(session.runs["potad:caches=off"].events) == session.length
    comparing.spec.value = "nobody"
    comparing.add.click()
    assert "allocator &#x27;nobody&#x27; is not there" in dashboard.controls.message.value
    assert dashboard.session is session
    dashboard.controls.allocators["potad:caches=off"].value = False


def test_the_difference_is_one_more_map_and_follows(dashboard):
    dashboard.go(dashboard.session.length // 2)
    dashboard.comparing.difference.value = ("potad", "buddy")
    canvas = dashboard.stage.canvas
    assert canvas.names == ["potad", "buddy", "potad - buddy"]
    assert "potad only" in dashboard.controls.legend.value
    frame = dashboard.stage.painter.paint(*dashboard._moment())
    image = np.frombuffer(frame.buffers[2], np.uint8)
    assert (image == theme.BOTH_USE).any()
    blocks = dashboard.session.blocks("potad", dashboard.index)
    tip = dashboard._tip("potad - buddy", int(blocks["granule"][0]))
    assert "potad:" in tip
    assert "buddy:" in tip
    dashboard._tapped("potad - buddy", 0)
    assert dashboard.selected[0] == "potad"
    dashboard.comparing.difference.value = None
    assert dashboard.stage.canvas.names == ["potad", "buddy"]


def test_the_comparison_is_a_table_and_a_text_to_paste(dashboard):
    dashboard.controls.tabs.selected_index = 1
    comparing = dashboard.comparing
    assert "largest free block now" in comparing.table.value
    assert "lowest-highest" not in comparing.paste.value
    dashboard.comparing.measure.click()
    assert "lowest-highest" in comparing.paste.value
    assert max(map(len, comparing.paste.value.splitlines())) <= 80
    comparing.form.value = "Markdown"
    assert "| metric | potad | buddy |" in comparing.paste.value
    at = comparing.paste.value
    dashboard.go(10)
    assert comparing.paste.value != at
    dashboard.controls.tabs.selected_index = 0


def test_a_tab_in_front_gets_room(dashboard):
    def shown():
        canvas = dashboard.stage.canvas
        return [plot.visible for plot in (*canvas.orders.values(), canvas.latency)]

    dashboard.controls.tabs.selected_index = 2
    assert not any(shown())
    dashboard._redraw_here()
    assert not any(shown())
    assert all(plot.visible for plot in dashboard.stage.canvas.maps.values())
    dashboard.controls.tabs.selected_index = 0
    assert all(shown())


def test_cancelled_work_leaves_all_as_it_was(dashboard):
    session, length = dashboard.session, dashboard.session.length
    dashboard.choose("potad", 1)
    tell = session.progress

    def press_cancel(share, what):
        dashboard.cancel()
        tell(share, what)

    session.progress = press_cancel
    dashboard.fail()
    session.progress = tell
    assert "cancelled: all is as it was before" in dashboard.controls.message.value
    assert (session.length, session.added) == (length, 0)
    assert not dashboard.busy
    dashboard.fail()
    assert session.length == length
    assert dashboard.session.length == length + 1
    dashboard.undo()


def test_a_session_is_saved_and_opens_at_the_same_moment_and_zoom(dashboard, tmp_path):
    block = chosen_block(dashboard)
    dashboard.controls.fail.click()
    dashboard.controls.claim.click()
    dashboard.zoom(4)
    dashboard.controls.colouring.value = theme.BY_AGE
    dashboard.controls.worst.value, dashboard.controls.speed.value = True, 0.1
    dashboard.comparing.difference.value = ("potad", "buddy")
    dashboard.moments.what.value = "claim"
    press(dashboard, "b")
    find(dashboard, "4MiB-12MiB")
    dashboard.choose("buddy", int(block["granule"]))
    keeping, before = dashboard.keeping, dashboard.keeping.view()
    ops, log = dashboard.session.ops.copy(), list(dashboard.log)
    keeping.name.value = str(tmp_path / "mine")
    keeping.save.click()
    assert "written" in dashboard.controls.message.value
    text = (tmp_path / "mine.session.json").read_text()
    assert '"bundled": "mixed_owners"' in text
    dashboard.controls.colouring.value = theme.BY_SIZE
    dashboard.controls.worst.value, dashboard.controls.speed.value = False, 1.0
    dashboard.comparing.difference.value, dashboard.moments.what.value = None, "failure"
    dashboard.open("mixed_owners")
    assert dashboard.session.added == 0
    keeping.name.value = str(tmp_path / "mine")
    keeping.open.click()
    after = dashboard.keeping.view()
    assert json.loads(json.dumps(after)) == json.loads(json.dumps(before))
    assert (dashboard.session.ops == ops).all()
    assert dashboard.log[: len(log)] == log
    assert keeping.name.value == str(tmp_path / "mine")  # saved again, it goes there
    dashboard.controls.undo.click()
    dashboard.controls.undo.click()
    assert dashboard.session.length == len(dashboard.session.trace.ops)
    assert dashboard.controls.undo.disabled
    dashboard.controls.colouring.value = theme.BY_SIZE
    press(dashboard, "Escape")
    dashboard.moments.opened()


def test_the_page_of_the_run_is_written_with_what_was_added(dashboard, tmp_path):
    dashboard.keeping.name.value = str(tmp_path / "run")
    dashboard.keeping.page.click()
    page = (tmp_path / "run.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "mixed_owners" in page


@pytest.mark.parametrize(
    ("message", "wrong"),
    [({"form": "png", "error": ""}, ""), ({"form": "svg", "error": "Error: <b>"}, "&lt;b&gt;")],
)
def test_a_picture_of_the_page_becomes_a_file_or_a_line(dashboard, tmp_path, message, wrong):
    dashboard.keeping.name.value = str(tmp_path / "shot")
    dashboard._hear({"type": "picture", "buffers": [memoryview(b"made")], **message})
    if wrong:
        assert wrong in dashboard.controls.message.value
        assert not (tmp_path / "shot.svg").exists()
    else:
        assert (tmp_path / "shot.png").read_bytes() == b"made"


def test_an_upload_is_bounded_checked_and_opened(dashboard, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    posted = []
    monkeypatch.setattr(dashboard.bridge, "post", lambda message, _: posted.append(message))

    def give(name, content, size=None, offset=0):
        told = {"type": "upload", "name": name, "size": len(content) if size is None else size}
        dashboard._hear({**told, "offset": offset, "buffers": [memoryview(content)]})

    give("../../evil<script>.parquet", b"not one")
    assert "evil_script_.parquet: no Parquet file" in dashboard.controls.message.value
    content = dataset("thp_split").read_bytes()
    give("mine.parquet", content[:1000], size=uploading.BYTES_MAX + 1)
    assert "more than 64 MiB" in dashboard.controls.message.value
    give("mine.parquet", content[:1000], size=len(content))
    give("mine.parquet", content, size=len(content), offset=1000)
    assert "it changed" in dashboard.controls.message.value
    give("mine.parquet", content[1000:], size=len(content), offset=1000)  # nobody waits for it
    assert list(tmp_path.iterdir()) == []
    give("late.parquet", content[:10], size=len(content))
    give("mine.before.parquet", dataset("thp_split").with_suffix(".before.parquet").read_bytes())
    assert posted[-1] == {"type": "next"}
    half = len(content) // 2
    posted.clear()
    give("../mine.parquet", content[:half], size=len(content))
    assert posted == [{"type": "more", "offset": half}]
    give("../mine.parquet", content[half:], size=len(content), offset=half)
    there = ["uploaded_mine.before.parquet", "uploaded_mine.parquet"]
    assert sorted(file.name for file in tmp_path.iterdir()) == there
    assert dashboard.session.trace.path.name == "uploaded_mine.parquet"
    assert len(dashboard.session.trace.start) > 0  # warm
    dashboard.open("mixed_owners")


def test_the_map_lies_along_a_curve_and_back(dashboard):
    dashboard.show_whole()
    dashboard.controls.lie.value = True
    assert dashboard.window.hilbert
    dashboard.zoom(2)
    dashboard.show_whole()
    assert dashboard.window.hilbert
    dashboard.controls.lie.value = False
    assert not dashboard.window.hilbert


def test_a_claim_tells_its_steps_and_only_those_that_were_tried():
    size = 8 << 20
    steps = [Step(1, size, False), Step(2, size // 2, True)]
    found = [
        Claimed("potad", Outcome.DONE, 1 << 20, size, size // 2, steps, "found"),
        Claimed("buddy", Outcome.IGNORED, None, size, 4096, steps[:1], "not tried: too large"),
        Claimed("recorded", Outcome.IGNORED, None, size, 4096, [], "a record cannot"),
        Claimed("cma", Outcome.DONE, 2 << 20, size, size, [], "found", ranges=3),
        Claimed("cma:tails=off", Outcome.REFUSED, None, size, size, [], "given up", ranges=255),
    ]
    assert words.claimed("8 MiB at 1 MiB", found) == [
        "claim of 8 MiB at 1 MiB:",
        "  potad: found at 0x100000; tried 1 x 8 MiB: no; 2 x 4 MiB: found",
        "  buddy: not tried: too large",
        "  recorded: cannot answer, it is a recording",
        "  cma: found at 0x200000; tried 3 ranges of 8 MiB",
        "  cma:tails=off: given up; tried 255 or more ranges of 8 MiB",
    ]


def test_failed_memory_in_a_block_is_described_as_one_thing(dashboard):
    block = chosen_block(dashboard)
    granule = int(block["granule"])
    before = dashboard.controls.block.value
    dashboard.controls.fail.click()
    shown = dashboard.controls.block.value
    assert "has failed" in shown
    assert "free" not in shown
    assert shown.count(f"{granule * 4096:#x}") == 1
    dashboard.show_whole()
    tip = dashboard._tip("potad", granule)
    assert "1 failed granule" in tip[0]
    assert "block" in tip[0]
    assert tip[1] == f"{granule * 4096:#x}:"
    dashboard.controls.undo.click()
    assert "has failed" not in dashboard.controls.block.value
    assert (
        dashboard.controls.block.value.split("handle")[0].split("<div>")[2:]
        == (before.split("handle")[0].split("<div>")[2:])
    )


def test_a_block_of_many_granules_is_seen_behind_its_failed_granule(dashboard):
    dashboard.go(dashboard.session.length // 2)
    blocks = dashboard.session.blocks("potad", dashboard.index)
    large = blocks[np.argmax(blocks["order"])]
    granule, size = int(large["granule"]), 1 << int(large["order"])
    dashboard.choose("potad", granule + 1)
    dashboard.controls.fail.click()
    behind = dashboard.stage.painter.cell("potad", dashboard.index, granule + size - 1, 1)
    assert (behind.blocks, behind.failed) == (1, 0)
    assert f"from {granule * 4096:#x}" in dashboard.controls.block.value
    dashboard.controls.undo.click()


def test_undo_names_the_op_and_takes_its_message_away(dashboard):
    block = chosen_block(dashboard)
    dashboard.controls.fail.click()
    dashboard.controls.claim.click()
    assert "Undo goes back" in dashboard.controls.message.value
    dashboard.controls.undo.click()
    assert dashboard.log[0] == "undone: the claim of 8 MiB at 1 MiB"
    dashboard.controls.undo.click()
    assert dashboard.log[0] == f"undone: the failure of {int(block['granule']) * 4096:#x}"
    assert dashboard.controls.message.value == "<span></span>"


def test_the_last_map_stays(dashboard):
    boxes = dashboard.controls.allocators
    boxes["buddy"].value = False
    boxes["potad"].value = False
    assert boxes["potad"].value
    assert dashboard.names == ["potad"]
    boxes["buddy"].value = True
    assert dashboard.names == ["potad", "buddy"]
    assert "potadlab-error" not in dashboard.controls.message.value


def test_claims_are_offered_from_4_kib_and_from_the_granule_on(dashboard):
    controls = dashboard.controls
    assert [size for _, size in controls.size.options][:2] == [4096, 8192]
    controls.offer_sizes(1 << 16)
    assert controls.size.options[0] == ("64 KiB", 1 << 16)
    assert (controls.size.value, controls.align.value) == (8 << 20, 1 << 20)
    controls.offer_sizes(1 << 12)


def test_the_legend_tells_of_outlines(dashboard):
    assert "claim</span>" in dashboard.controls.legend.value
    assert "chosen block" in dashboard.controls.legend.value


def test_another_trace_begins_anew(dashboard):
    chosen_block(dashboard)
    dashboard.controls.fail.click()
    dashboard.controls.trace.value = "thp_split"
    controls = dashboard.controls
    assert dashboard.session.trace.name == "thp_split"
    assert controls.undo.disabled
    assert controls.fail.disabled
    assert dashboard.selected is None
    assert "Click on a map" in controls.block.value
    assert dashboard.log[0].startswith("opened thp_split:")
    assert dashboard.log[1].startswith("after op")
    controls.trace.value = "mixed_owners"


def test_names_from_traces_are_text():
    lines = words.told(
        0, [Told("potad", Outcome.POISONED_FREE, "x", "slab", "<script>", 1, 0, 4096)]
    )
    assert "&lt;script&gt;" in words.lines(lines)


# ---- links -----------------------------------------------------------------------------------


def link_of(dashboard) -> str:
    dashboard.keeping.link.click()
    return dashboard.keeping.address.value


def test_a_link_opens_the_same_moment_zoom_and_colours(dashboard, tmp_path):
    dashboard.go(4_321)
    dashboard.zoom(5)
    dashboard.controls.colouring.value = theme.BY_AGE
    dashboard.controls.lie.value = dashboard.controls.worst.value = True
    dashboard.comparing.difference.value = ("potad", "buddy")
    dashboard.choose("buddy", dashboard.window.first + 3)
    before, link = dashboard.keeping.view(), link_of(dashboard)
    assert link.startswith("?potadlab=mixed_owners&of=potad&of=buddy")
    assert dashboard.bridge.key not in link
    dashboard.controls.lie.value = dashboard.controls.worst.value = False
    dashboard.comparing.difference.value = None
    dashboard.controls.colouring.value = theme.BY_SIZE
    dashboard.go(0)
    dashboard.show_whole()
    session = dashboard.session
    dashboard.keeping.address.value = f"http://127.0.0.1:8888/lab/tree/lab.ipynb{link}"
    assert dashboard.keeping.view() == before
    assert dashboard.session is session  # nothing was replayed for it
    copy = tmp_path / "a copy & more.parquet"
    shutil.copy(dataset("mixed_owners"), copy)
    dashboard.open(copy)
    dashboard.go(77)
    other = link_of(dashboard)
    dashboard.open(link)
    assert dashboard.keeping.view() == before
    assert dashboard.session.trace.path == dataset("mixed_owners")
    dashboard.open(other)
    assert (dashboard.session.trace.path, dashboard.index) == (copy, 77)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("at=5", "at=x", "at=x: a whole number is wanted"),
        ("at=5", "at=-5", "at=-5: a whole number"),
        ("at=5", "at=%D9%A5", "a whole number"),
        ("at=5", f"at={'9' * 3000}", "a whole number"),
        ("at=5", "at=99999999", "at op 99,999,999 of"),
        ("ops=", "ops=1", "take the trace"),
        ("cell=", "cell=7", "no zoom"),
        ("cell=", "cells=", "'cell'"),
        ("lie=rows", "lie=<img src=x>", "img"),
        ("colour=size", "colour=<script>", "colour=<script>"),
        ("of=potad", "of=<b>nobody</b>", "nobody"),
        ("of=potad", "of=potad&of=potad" * 9, "it takes 1 to 8"),
        ("mixed_owners", "nowhere%3Cimg%3E", "there is no such trace here"),
        ("mixed_owners", "/dev/zero", "there is no such trace here"),
        pytest.param("mixed_owners", __file__, "cannot be read as Parquet", id="no-trace"),
        ("&at", "&x=" + "y" * 4000 + "&at", "letters, at most 4,000"),
    ],
)
def test_a_bad_link_is_one_line_and_all_stays_as_it_was(dashboard, old, new, told):
    dashboard.go(5)
    link = link_of(dashboard)
    assert old in link
    before, session = dashboard.keeping.view(), dashboard.session
    dashboard.open(link.replace(old, new))
    message = dashboard.controls.message.value
    assert "potadlab-error" in message
    assert html.escape(told) in message
    assert "<script>" not in message
    assert "<img" not in message
    assert "\n" not in message
    assert dashboard.keeping.view() == before
    assert dashboard.session is session


def test_ops_by_hand_are_in_no_link(dashboard):
    dashboard.controls.claim.click()
    dashboard.keeping.address.value = ""
    assert link_of(dashboard) == ""
    assert "save the session" in dashboard.controls.message.value
    dashboard.undo()


def test_the_page_completes_a_link_and_follows_that_in_its_address(dashboard):
    dashboard.go(9)
    link = link_of(dashboard)
    dashboard._hear({"type": "address", "url": f"http://127.0.0.1:1/{link}", "copied": True})
    assert dashboard.keeping.address.value == f"http://127.0.0.1:1/{link}"
    assert "copied" in dashboard.controls.message.value
    dashboard.go(0)
    dashboard._hear({"type": "link", "query": f"{link}&token=secret"})
    dashboard.opening.follow()
    assert dashboard.index == 9
