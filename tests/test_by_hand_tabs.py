"""The tabs Failures and Claims without a browser: what is asked there becomes ops, and is told."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from made import blocks_of, pages_in_use, space_of

from potadlab.core.layout import Flag, Verb
from potadlab.dashboard import Dashboard, claiming
from potadlab.kinds import KIND
from potadlab.units import MIB


def opened(trace):
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Dashboard, trace, ["potad", "buddy"]).result()


@pytest.fixture
def board():
    made = opened(pages_in_use())
    yield made
    made.close()


def front(board, part):
    board.controls.tabs.selected_index = 1 + board.parts.index(part)


def test_an_xfs_buf_fails_and_its_owner_is_told_where_linux_ignores_it(board):
    front(board, board.failing)
    board.go(10)
    board.failing.address.value = f"{7 * 4096 + 123:#x}"
    board.failing.fail_address()
    panes, table = board.failing.panes.value, board.failing.table.value
    assert "Delayed" in panes
    assert "told: owner" in panes
    assert "<em>Ignored</em>" in panes
    assert "  xfs_buf_get_map" in panes
    assert "0x7000" in table
    for text in (panes, table):
        assert "<img" not in text, "owners are text"
    assert "1 granule, 4 KiB, 1 of them still in live blocks: 0x7000" in board.failing.poison.value
    board.go(0)
    assert "1 failure still to come" in board.failing.table.value
    board.failing.how.value = "soft"
    assert board.controls.soft.value, "one choice, in both tabs"
    board.choose("potad", 8 * 256 + 7)
    assert board.failing.address.value == f"{(8 * 256 + 7) * 4096:#x}"
    board.failing.fail_address()
    told = board.session.told(0)
    assert [one.done for one in told] == ["block moved, then taken off"] * 2
    board.undo()
    board.undo()
    assert board.session.added == 0


def test_an_address_that_is_written_is_not_lost_to_what_was_chosen_before(board):
    board.choose("potad", 9)
    board.failing.address.value = f"{7 * 4096 + 123:#x}"  # while another tab is in front
    board.claim()
    front(board, board.failing)
    assert board.failing.address.value == f"{7 * 4096 + 123:#x}"
    board.choose("buddy", 9)
    assert board.failing.address.value == f"{9 * 4096:#x}", "a later choice is followed"


def test_failures_at_random_are_one_thing_to_undo_and_stay_in_a_saved_session(
    board, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    front(board, board.failing)
    board.failing.rate.value = 4
    board.failing.fail_at_random()
    many = board.session.added
    assert many > 4
    assert board.index == 0, "the moment stays"
    assert board.session.joined() == [False] + [True] * (many - 1)
    board.go(board.session.length)
    assert len(board.failing.pick.options) == many
    board.failing.pick.value = board.failing.pick.options[-1][1]
    assert board.index == board.failing.pick.value + 1
    board.failing.play_along(board.session)
    assert "Nothing has been told" not in board.failing.table.value
    board.failing._asked = (None, 0, [])  # as of a trace that came with its failures
    board.failing.play_along(board.session)
    assert f"Who was told of {many} failures is asked at the next pause" in (
        board.failing.table.value
    )
    assert "failed now in potad" in board.failing.poison.value
    board.undo()
    assert board.session.added == 0
    assert [op["verb"] for op in board.session.ops] == [Verb.DRAIN] * 40
    for rate in (0, 1e9):
        board.failing.rate.value = rate
        board.failing.fail_at_random()
        assert "potadlab-error" in board.controls.message.value
        assert board.session.added == 0


@pytest.mark.parametrize("text", ["", "what", "64MiB", "0xyz"])
def test_addresses_that_cannot_be(board, text):
    board.failing.address.value = text
    board.failing.fail.click()
    assert "potadlab-error" in board.controls.message.value
    assert board.session.added == 0


def test_what_is_chosen_in_a_hole_is_out_of_service_in_every_tab():
    board = opened(replace(pages_in_use(), space=space_of([(0, 4096), (8192, 12288)], (0, 12288))))
    front(board, board.claiming)
    for granule, said in ((5000, "out of service"), (100, "free")):
        board.choose("buddy", granule)
        assert f"in buddy: 4 KiB here: {said}" in board.claiming.chosen.value
        assert f"4 KiB here: {said}" in board.controls.message.value
    board.close()


def test_a_claim_falls_through_its_steps_and_migrating_is_counted(board):
    claiming = board.claiming
    front(board, claiming)
    claiming.area.value = 2 * MIB
    claiming.search()
    tries = [
        (one.chunks, one.done) for one in claiming.asked.answers[1].tries
    ]  # 8 x 1 MiB, then the window that was emptied
    assert tries[:4] == [(1, False), (2, False), (4, False), (8, False)]
    assert tries[-1][1]
    assert "step 1 of 4: 1 x 8 MiB: not so many free in a row" in claiming.step.value
    assert "2 windows in service at 8 MiB: 0 free, 1 hold only what can move" in claiming.step.value
    shapes = list(claiming.shapes("potad"))
    assert (2048, 2048, "#e69f00") in shapes, "the nearest window"
    assert (2048 + 7, 1, "#56b4e9") in shapes, "what lies in its way"
    assert list(claiming.shapes("buddy")) == []
    claiming.block.value = claiming.block.options[1][1]
    assert board.selected == ("potad", 2048 + 7)
    assert "xfs_buf_get_map" in claiming.chosen.value
    assert "<img" not in claiming.chosen.value + claiming.table.value
    board.go(5)
    assert "search again" in claiming.step.value
    assert list(claiming.shapes("potad")) == []
    claiming.take(True)
    assert board.session.ops[5]["flags"] == Flag.BY_HAND | Flag.MAY_MIGRATE
    assert "8 blocks moved out of the way, 32 KiB copied" in "\n".join(board.log)


def test_what_is_in_the_way_is_weighed_and_what_stays_is_listed_first(board):
    claiming = board.claiming
    front(board, claiming)
    claiming.size.value = 16 * MIB
    claiming.search()
    assert (
        "the nearest window: 0x0: 8 blocks (32 KiB) would have to move, 8 blocks (32 KiB) stay"
    ) in claiming.step.value
    listed = [text for text, _ in claiming.block.options]
    assert listed[0] == "16 blocks"
    assert [", stays" in text for text in listed[1:]] == [True] * 8 + [False] * 8


def test_what_moves_and_what_stays_have_each_their_own_sum():
    found = blocks_of((0, 2, 1, KIND["anon"], 0), (8, 0, 2, KIND["slab"], 0))
    assert claiming._weighed(found, 4096) == (
        ": 1 block (16 KiB) would have to move, 1 block (4 KiB) stay"
    )
    assert claiming._weighed(found[:0], 4096) == ": free"


def test_the_curve_by_size(board):
    claiming = board.claiming
    claiming.area.value, claiming.sizes.value, claiming.moments.value = 2 * MIB, 8 * MIB, 2
    claiming.draw_curve()
    potad, moving = claiming.found[:2]
    assert potad.size_bytes.tolist() == [MIB, 2 * MIB, 4 * MIB, 8 * MIB]
    assert not potad.done.any(), "a page is in each MiB"
    assert moving.done.all()
    rows = re.findall("<tr>(.*?)</tr>", claiming.curve.children[1].value)
    cells = [re.findall("<t[dh]>(.*?)</t[dh]>", one) for one in rows]
    assert cells[0] == ["given", "1 MiB", "2 MiB", "4 MiB", "8 MiB"]
    assert cells[1] == ["potad", *["0 %"] * 4]
    given = {one[0]: [text.partition(",")[0] for text in one[1:]] for one in cells[2:]}
    assert given == {
        "potad, may migrate": ["100 %"] * 4,
        "cma": ["0 %"] * 4,
        "cma, may migrate": ["100 %", "100 %", "0 %", "0 %"],  # its area is 2 MiB
    }
    claiming.moments.value = 0
    claiming.measure.click()
    assert "0 moments" in board.controls.message.value
