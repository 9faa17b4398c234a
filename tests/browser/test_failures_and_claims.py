"""Failures and claims, in the real JupyterLab: the notebook that is made for a stage."""

import re

import pytest
from pages import Page, keep, narrow, opened, picture

from potadlab.bundled import notebook


def cell(words: str) -> str:
    """The cell of the notebook that holds the words."""
    text = notebook("10_on_stage").with_suffix(".py").read_text("utf-8")
    return next(cell for cell in re.split(r"(?m)^# %%.*$", text) if words in cell).strip()


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = opened(lab, browser, "stage", cell("import potadlab"))
    shown.says("ready to play")
    shown.run("dashboard = stage")
    shown.until("stage.stage.settled")
    yield shown
    keep(shown, "stage_last")
    shown.close()


def press(page: Page, text: str) -> None:
    """A button of the tab in front, and wait until its work is done."""
    found = page.page.locator(".potadlab button:visible", has_text=re.compile(f"^{text}$"))
    found.last.scroll_into_view_if_needed()
    found.last.click()
    page.page.wait_for_timeout(300)
    page.until("not stage.busy")  # and whoever asks waits for what has come of it


def shown(page: Page, name: str) -> None:
    table = page.page.locator(".potadlab-numbers:visible")
    if table.count():
        table.first.scroll_into_view_if_needed()
    page.page.wait_for_timeout(600)
    keep(page, name)


def outlines(page: Page) -> dict[str, list]:
    """What is outlined on the map, as the page has it."""
    return page.columns("stage.stage.canvas.shapes['potad']")


def test_the_steps_of_a_claim_fall_through_to_eight_of_one(page):
    page.tab("Claims")
    page.page.keyboard.press("End")  # as the notebook says
    page.until("stage.index == stage.session.length")
    page.page.get_by_label("CMA's area").select_option(label="64 MiB")
    press(page, "Search")
    page.until("stage.claiming._now and not stage.busy")
    page.says("1 x 8 MiB")
    steps = page.python("[[t.chunks, t.done] for t in stage.claiming.asked.answers[0].tries]")
    assert steps == [[1, False], [2, False], [4, False], [8, True]]
    for at, chunks in enumerate((1, 2, 4, 8), start=1):
        page.says(f"potad, step {at} of 4: {chunks} x {8 // chunks} MiB")
        page.until("stage.stage.settled")
        assert len(outlines(page)["xs"]) >= 1
        if chunks < 8:
            page.page.locator(".potadlab button[title='the next step']:visible").click()
    assert page.python("stage.claiming._window()") == 17 * 256
    answers = page.python("[[a.allocator, a.may_move] for a in stage.claiming.asked.answers]")
    assert ["cma:area=64MiB", True] in answers
    assert "cma" in page.page.locator(".potadlab-numbers:visible").first.inner_text()
    shown(page, "stage_steps")


def test_what_is_in_the_way_is_chosen_moved_and_counted(page):
    press(page, "Claim")
    page.until("stage.session.added == 1 and not stage.busy")
    page.says("potad: found at 0x1100000")
    press(page, "Search")
    page.until("stage.claiming._now and not stage.busy")
    assert not any(page.python("[t.done for t in stage.claiming.asked.answers[0].tries]"))
    blocks = page.page.get_by_label("In the way")
    texts = blocks.locator("option").all_inner_texts()
    assert re.match(r"[0-9]+\sblocks", texts[0])
    blocks.select_option(index=1)
    page.says("its owner:")
    page.says("ext4_file_read_iter")  # the call stack, a line for each frame
    shown(page, "stage_in_the_way")
    picture(page, "claim", ".potadlab-figures")
    press(page, "Migrate and claim")
    page.until("stage.session.added == 2 and not stage.busy")
    moved = page.python("int(len(stage.session.runs['potad'].moves))")
    assert moved > 0
    page.says(f"{moved} blocks moved out of the way, {moved // 4}")  # of 256 KiB each
    shown(page, "stage_migrated")


def test_a_curve_by_size_is_measured_in_a_thread(page):
    page.page.get_by_label("Curve up to").select_option(label="16 MiB")
    page.run("stage.claiming.moments.value = 3")
    press(page, "Curve by size")
    page.says("3 moments, 5 sizes, each claimed")
    table = page.page.locator(".potadlab-numbers:visible").last.inner_text()
    for words in ("16 MiB", "potad, may migrate", "cma", "%"):
        assert words in table
    page.page.locator(".potadlab-numbers:visible").last.scroll_into_view_if_needed()
    page.page.wait_for_timeout(600)
    keep(page, "stage_curve")
    assert narrow(page, "stage_curve") == []


def test_a_byte_of_an_xfs_buffer_fails_and_its_owner_is_told_by_name(page):
    page.run(cell("buffer.start"))  # before the tab is opened, with a block chosen: as on a stage
    page.tab("Failures")
    press(page, "Fail")
    page.until("len(stage.session.failures()) == 1 and not stage.busy")
    page.says("xfs_trans_read_buf_map")
    panes = page.page.locator(".potadlab-pane:visible").all_inner_texts()
    assert panes[0].startswith("potad: Delayed")
    assert "told: owner" in panes[0]
    assert "mount /home" in panes[0]
    assert panes[1].startswith("Linux 6.12, same block: Ignored")
    assert "told: nobody" in panes[1]
    assert "Memory failure: 0x" in panes[1]
    shown(page, "stage_failure")
    picture(page, "failure", ".potadlab-figures")


def test_memory_fails_softly_and_what_can_move_is_moved(page):
    page.run("block = cache[0]")
    page.page.get_by_label("fails", exact=True).select_option(label="soft")
    page.run("stage.failing.address.value = f'{block.start:#x}'")
    press(page, "Fail")
    page.until("len(stage.session.failures()) == 2 and not stage.busy")
    row = page.page.locator(".potadlab-told tr", has_text="soft").first.inner_text()
    assert f"{page.python('block.start'):#x}" in row
    assert page.python("len(stage.session.runs['potad'].poison(stage.index))") == 2
    page.says("failed now in potad: 2 granules")
    page.page.get_by_label("fails", exact=True).select_option(label="hard")


def test_memory_fails_at_random_and_one_undo_takes_all_back(page):
    page.run("stage.go(100)")
    page.run("stage.failing.unit.value = 'per 1e6 ops'; stage.failing.rate.value = 5000.0")
    before = page.python("stage.session.added")
    press(page, "Fail at random")
    page.until("not stage.busy and len(stage.session.failures()) > 5")
    many = page.python("len(stage.session.failures())") - 2
    page.says(f"{many} ops were added")
    assert f"{many} failures at random (hard, 5000 per 1e6 ops" in page.python("stage.log[0]")
    page.run("stage.go(stage.session.length)")
    page.until("stage.stage.settled")
    rows = page.page.locator(".potadlab-told tr").count() - 1
    assert rows == 2 * (many + 2)  # potad and buddy
    shown(page, "stage_random")
    press(page, "Undo")
    page.until(f"not stage.busy and stage.session.added == {before}")
    assert page.console == []
