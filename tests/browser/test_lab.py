"""The dashboard in the real JupyterLab: what a person does first, and what the page then shows."""

import pytest
from listening import elsewhere, places
from pages import Page, keep, picture


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = Page(browser.pages[0])
    shown.page.goto(lab.address("lab.ipynb"))
    shown.page.wait_for_selector(".potadlab")  # the page runs the notebook by itself
    shown.says("ready to play")
    shown.until("dashboard.frame_stats()['shown']")
    yield shown
    keep(shown, "last")


def pixels(shown: Page, name: str) -> list[int]:
    """The image of a map as the page holds it."""
    return shown.page.evaluate(
        """(id) => Array.from(Bokeh.documents.map((d) => d.get_model_by_id(id))
             .find((model) => model).data.image[0])""",
        shown.python(f"dashboard.stage.canvas.images[{name!r}].id"),
    )


def test_the_page_shows_every_figure_and_what_the_kernel_painted(page):
    keep(page, "start")
    assert page.page.locator(".bk-Figure").count() >= 6
    for name in ("potad", "buddy"):
        image = pixels(page, name)
        painted = (
            "dashboard.stage.painter.paint(dashboard.index, dashboard.window, 'size')"
            f".buffers[dashboard.stage.canvas.names.index({name!r})].hex()"
        )
        assert bytes(image).hex() == page.python(painted)
        assert len(set(image)) > 5


def test_neither_the_server_nor_a_kernel_listens_beyond_localhost(page, lab):
    assert len(places(lab.pid)) > 5  # the server's port, and those of the kernel
    assert elsewhere(lab.pid) == []


def test_playing_moves_time_and_maps_and_pausing_stops_them(page):
    before = pixels(page, "potad")
    on_its_way = (
        "(dashboard.stage.flow.sent - dashboard.stage.flow.resent - dashboard.stage.flow.answered)"
    )
    page.until("dashboard.stage.settled")
    lost = page.python(on_its_way)  # with figures that have been replaced
    page.press("Play")
    page.until("dashboard.index > 20_000")
    page.until("dashboard.frame_stats()['shown'] > 20")
    assert page.python(on_its_way) <= lost + 1
    keep(page, "playing")
    page.press("Pause")
    page.until("not dashboard.playing")  # the click may come after what this asks
    at = page.python("dashboard.index")
    page.until("dashboard.stage.settled")
    assert page.python("dashboard.index") == at
    page.says(f"op {at:,} of")
    assert pixels(page, "potad") != before


def test_stepping_goes_one_op_forth_and_back(page):
    at = page.python("dashboard.index")
    page.page.locator(".potadlab button[title='one op forward']").click()
    page.says(f"op {at + 1:,} of")
    page.page.locator(".potadlab button[title='one op back']").click()
    page.says(f"op {at:,} of")


def test_the_slider_drags_back_and_forth(page):
    handle = page.page.locator(".potadlab .noUi-handle").first
    track = page.page.locator(".potadlab .noUi-base").first.bounding_box()
    middle = track["y"] + track["height"] / 2
    moments = []
    for share in (0.75, 0.25):
        box = handle.bounding_box()
        page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.page.mouse.down()
        page.page.mouse.move(track["x"] + share * track["width"], middle, steps=8)
        page.page.mouse.up()
        end = page.python("dashboard.controls.time.max")
        page.until(f"abs(dashboard.controls.time.value / {end} - {share}) < 0.03")
        page.until("dashboard.stage.settled")
        moments.append(page.python("dashboard.index"))
        page.says(f"op {moments[-1]:,} of")
    assert moments[0] > moments[1] > 0


def test_hover_and_click_show_the_block(page):
    x, y = page.map_point("potad", 0.5, 0.7)
    page.page.mouse.move(x - 3, y)
    page.page.mouse.move(x, y)
    tip = page.page.locator(".potadlab-tip")
    tip.wait_for(state="visible")
    assert "here" in tip.inner_text()
    page.press("Play")
    page.page.mouse.click(x, y)
    page.until("dashboard.selected and not dashboard.playing")
    assert page.python("dashboard.selected[0]") == "potad"
    address = page.python("hex(dashboard.selected[1] * 4096)")
    page.says(address)


def test_the_wheel_zooms_every_map_alike_and_back(page):
    page.page.mouse.move(*page.map_point("buddy", 0.5, 0.5))
    page.page.mouse.wheel(0, -100)
    page.until("dashboard.window.granules_per_cell < 64")
    page.until("dashboard.stage.settled")
    starts = page.python(
        "[list(map(str, p.yaxis[0].major_label_overrides.values()))"
        " for p in dashboard.stage.canvas.maps.values()]"
    )
    assert starts[0] == starts[1]
    wide = page.python("dashboard.window.granules_per_cell")
    page.page.mouse.wheel(0, -300)  # three notches, as a busy page hears of them
    page.until(f"dashboard.window.granules_per_cell * 8 == {wide}")
    page.page.locator(".potadlab button[title='show all memory']").click()
    page.until("dashboard.window.first == 0 and dashboard.window.granules_per_cell >= 64")


def test_failing_the_chosen_address_names_its_owner_and_can_be_undone(page):
    ops = page.python("dashboard.session.length")
    page.press("Fail this address")
    page.says("failed 0x")
    page.until(f"not dashboard.busy and dashboard.session.length == {ops + 1}")
    log = page.python("dashboard.log")
    assert [line.strip().split(":")[0] for line in log[1:4]] == ["potad", "buddy", "recorded"]
    assert all("poisoned" in line or "outside" in line for line in log[1:4])
    page.until("dashboard.stage.settled")
    keep(page, "failed")


def test_a_claim_lists_its_steps_and_draws_the_place(page):
    assert page.python("[dashboard.controls.size.value, dashboard.controls.align.value]") == [
        8 << 20,
        1 << 20,
    ]
    page.press("Claim this")
    page.says("claim of 8 MiB at 1 MiB")
    page.until("not dashboard.busy and dashboard.adding.places('potad')")
    page.says("1 x 8 MiB")
    drawn = page.python("[len(dashboard.stage.canvas.shapes['potad'].data['xs'])]")
    assert drawn[0] >= 1
    page.until("dashboard.stage.settled")
    keep(page, "claimed")


@pytest.mark.parametrize("what", ["failure", "claim"])
def test_the_arrows_jump_to_what_was_added(page, what):
    verb = {"failure": "FAIL", "claim": "CLAIM"}[what]
    page.run("from potadlab.core.layout import Verb; import numpy as np")
    at = page.python(
        f"[int(n) + 1 for n in np.flatnonzero(dashboard.session.ops['verb'] == Verb.{verb})]"
    )
    assert len(at) == 1
    here = page.python("dashboard.index")
    page.page.get_by_label("to", exact=True).select_option(label=what)
    page.run("dashboard.go(0)")
    page.page.locator(".potadlab button[title='to the next']").click()
    page.says(f"{what} 1 of 1")
    page.says(f"op {at[0]:,} of")
    page.run(f"dashboard.go({here})")
    page.until("dashboard.stage.settled")


def test_playing_goes_on_with_what_was_added(page):
    block = page.page.locator(".potadlab-block").inner_text()
    at = page.python("dashboard.index")
    page.press("Play")
    page.until(f"dashboard.index > {at} + 20_000 and dashboard.frame_stats()['shown'] > 10")
    keep(page, "lab")
    page.press("Pause")
    page.until("not dashboard.playing and dashboard.stage.settled")
    assert "potad, at 0x" in block
    page.tab("Compare")
    page.says("largest free block now")
    page.until("dashboard.stage.settled")
    picture(page, "dashboard")
    page.tab("Here")
    assert "diamond" in page.python("dashboard.stage.canvas.marks['potad'].data['marker']")


def test_undo_returns_to_the_untouched_run(page):
    page.press("Undo")
    page.says("undone")
    page.press("Undo")
    page.until("dashboard.session.added == 0")
    page.until("dashboard.session.length == len(dashboard.session.trace.ops)")


def test_the_last_map_stays_ticked(page):
    boxes = page.page.locator(".potadlab input[type=checkbox]")
    boxes.nth(1).click()
    page.until("dashboard.names == ['potad']")
    boxes.nth(0).click()
    page.page.wait_for_function(
        "() => document.querySelector('.potadlab input[type=checkbox]').checked"
    )
    boxes.nth(1).click()
    page.until("dashboard.names == ['potad', 'buddy'] and dashboard.stage.settled")
    assert boxes.nth(0).is_checked()


def test_a_bad_file_is_one_line_and_the_dashboard_lives_on(page, tmp_path):
    (tmp_path / "notes.parquet").write_text("not a trace")
    before = page.python("dashboard.session.trace.name")
    page.page.locator(".potadlab select").first.select_option(label="a file of my own ...")
    path = page.page.get_by_placeholder("path of a .parquet trace")
    path.fill(str(tmp_path / "notes.parquet"))
    path.press("Enter")
    page.page.wait_for_selector(".potadlab-error")
    assert "notes.parquet" in page.page.locator(".potadlab-error").inner_text()
    assert page.python("dashboard.session.trace.name") == before
    assert page.page.locator(".potadlab select").first.input_value() == before
    page.run("dashboard.say('')")
    page.page.wait_for_selector(".potadlab-error", state="detached")
    page.page.locator(".potadlab button[title^='open the file']").click()
    page.page.wait_for_selector(".potadlab-error")
    keep(page, "bad_file")
    page.press("Play")
    page.until("dashboard.playing")
    page.press("Pause")
    page.until("not dashboard.playing")


def test_a_second_run_of_the_cell_replaces_the_dashboard(page):
    page.run("before = dashboard")
    page.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.until("dashboard is not before and dashboard.session and dashboard.stage.settled")
    assert page.python("before.session is None")
    page.says("ready to play")


def test_neither_notebook_nor_console_has_errors(page):
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert page.console == []


def test_opened_again_after_its_kernel_has_ended_the_notebook_runs_anew(page):
    page.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.page.reload()
    page.says("ready to play")
    page.until("dashboard.stage.settled")
    page.run("marked = dashboard")
    page.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.reload()  # now the kernel lives: what it shows is shown again, nothing is run
    page.page.wait_for_selector(".potadlab")
    page.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session")
    page.page.wait_for_timeout(3000)
    assert page.python("marked is dashboard")
