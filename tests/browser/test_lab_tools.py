"""The tools of the dashboard on a small trace: find, select, keys, colours, the way memory lies."""

from base64 import b64encode
from xml.etree import ElementTree

import pytest
from pages import Page, keep, opened

from potadlab.bundled import dataset

SETUP = """\
import potadlab as pl

dashboard = pl.lab.Dashboard("mixed_owners")
dashboard"""


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = opened(lab, browser, "tools", SETUP)
    shown.says("ready to play")
    shown.until("dashboard.stage.settled")
    yield shown
    keep(shown, "tools_last")
    shown.close()


def find(page: Page, text: str) -> None:
    box = page.page.get_by_label("Find", exact=True)
    box.fill(text)
    box.press("Enter")


def test_keys_work_where_the_dashboard_was_clicked(page):
    page.page.mouse.click(*page.map_point("potad", 0.5, 0.1))
    page.until("dashboard.selected")
    page.page.keyboard.press("5")
    half = "dashboard.session.index_at(dashboard.session.time_ns(dashboard.session.length) // 2)"
    page.until(f"dashboard.index == {half}")
    page.page.keyboard.press("End")
    page.until("dashboard.index == dashboard.session.length")
    page.page.keyboard.press("Home")
    page.until("dashboard.index == 0")
    page.page.keyboard.press("5")
    page.until(f"dashboard.index == {half}")
    at = page.python("dashboard.index")
    page.page.keyboard.press("ArrowRight")
    page.says(f"op {at + 1:,} of")
    page.page.keyboard.press("Shift+ArrowLeft")
    page.says(f"op {at + 1 - 1000:,} of")
    wide = page.python("dashboard.window.granules_per_cell")
    page.page.keyboard.press("+")
    page.until(f"dashboard.window.granules_per_cell == {wide // 2}")
    page.page.keyboard.press("-")
    page.until(f"dashboard.window.granules_per_cell == {wide}")
    page.page.keyboard.press("Space")
    page.until("dashboard.playing")
    page.page.keyboard.press("Space")
    page.until("not dashboard.playing and dashboard.stage.settled")
    page.page.keyboard.press("Escape")
    page.until("dashboard.selected is None")
    assert page.page.locator(".jp-Cell").count() == 1  # none of it went to the notebook


def test_a_button_keeps_no_key_but_its_own(page):
    play = page.button("Play")
    play.focus()
    page.page.keyboard.press("End")
    page.until("dashboard.index == dashboard.session.length")
    page.page.keyboard.press("Home")
    page.until("dashboard.index == 0")
    page.page.keyboard.press("ArrowRight")
    page.until("dashboard.index == 1")
    page.page.keyboard.press("Space")  # presses the button, and that alone
    page.until("dashboard.playing")
    page.press("Pause")
    page.page.keyboard.press("5")  # the tests after this one look at memory in use
    page.until("dashboard.index > 1 and not dashboard.playing and dashboard.stage.settled")


def test_the_slider_of_time_goes_to_both_ends_by_keyboard(page):
    page.page.locator(".potadlab-time .noUi-handle").focus()
    page.page.keyboard.press("End")
    page.until("dashboard.index == dashboard.session.length and dashboard.stage.settled")
    page.page.keyboard.press("Home")
    page.until("dashboard.index == 0 and dashboard.stage.settled")
    page.page.keyboard.press("ArrowRight")
    page.until("dashboard.index > 0 and dashboard.stage.settled")
    page.page.keyboard.press("ArrowLeft")
    page.until("dashboard._time_ns() == 0 and dashboard.stage.settled")
    page.page.keyboard.press("5")  # the tests after this one look at memory in use
    page.until("dashboard.index > 100_000 and dashboard.stage.settled")


def test_what_people_do_is_heard_by_one_thread(page):
    page.run(
        "import threading; heard, step, zoom = [], dashboard.step, dashboard.zoom\n"
        "main = threading.main_thread()\n"
        "def here(act): heard.append(threading.current_thread() is main); act()\n"
        "dashboard.step = lambda ops: here(lambda: step(ops))\n"
        "dashboard.zoom = lambda steps, granule=None: here(lambda: zoom(steps, granule))"
    )
    page.page.locator(".potadlab button[title='one op forward']").click()
    page.until("len(heard) == 1")
    page.page.mouse.move(*page.map_point("potad", 0.5, 0.1))
    page.page.mouse.wheel(0, -100)
    page.until("len(heard) == 2")
    assert page.python("heard") == [True, True]
    page.run("del dashboard.step, dashboard.zoom; dashboard.show_whole()")
    page.page.keyboard.press("Escape")


def test_typing_in_find_is_no_key_and_enter_goes_to_kind_after_kind(page):
    at = page.python("dashboard.index")
    find(page, "slab")
    page.says("slab: 1 of")
    assert page.python("dashboard.index") == at
    first = page.python("dashboard.selected[1]")
    page.page.get_by_label("Find", exact=True).press("Enter")
    page.says("slab: 2 of")
    assert page.python("dashboard.selected[1]") > first
    page.run("from potadlab.kinds import KIND; live = dashboard.session.runs['potad'].live("
             "dashboard.index)")  # fmt: skip
    second = page.python("live['granule'][live['kind'] == KIND['slab']][1].item()")
    assert page.python("dashboard.selected[1]") == second
    page.until("dashboard.stage.settled")
    keep(page, "tools_found")
    find(page, "<img src=x onerror=alert(1)>")
    page.page.wait_for_selector(".potadlab-error")
    assert page.page.locator(".potadlab img").count() == 0


def test_an_address_and_an_owner_are_found(page):
    block = page.python("live[len(live) // 2].tolist()[:2]")  # granule, order
    find(page, hex(block[0] * 4096))
    page.until(f"dashboard.selected and dashboard.selected[1] == {block[0]}")
    page.says(f"{block[0] * 4096:#x} in potad after op ")
    page.says(": block of ")
    page.until("dashboard.stage.settled")
    page.until(shown_is_painted(page, "potad"))
    page.run(
        "owners = dashboard.session.owners\n"
        "name = owners[int(live['owner'][live['owner'] >= 0][0])]\n"
        "own = [int(b['granule']) for b in live"
        " if b['owner'] >= 0 and name.lower() in owners[b['owner']].lower()]"
    )
    page.run("dashboard.selected = None")
    find(page, page.python("name"))
    page.says(f": 1 of {page.python('len(own)'):,} blocks in potad")
    assert page.python("dashboard.selected[1] == own[0]")


def test_a_drag_moves_every_map_by_the_rows_it_went(page):
    page.run("dashboard.show_whole(); dashboard.zoom(4, granule=dashboard.window.end // 2)")
    page.until("dashboard.stage.settled")
    first, scale, row = page.python(
        "[dashboard.window.first, dashboard.window.scale, dashboard.window.row_granules]"
    )
    x, y = page.point("map potad", 100, 30)
    _, below = page.point("map potad", 100, 30 + 8 * scale)
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x, below, steps=5)
    page.page.mouse.up()
    page.until(f"dashboard.window.first == {first} - 8 * {row} and dashboard.stage.settled")
    for name in ("potad", "buddy"):
        page.until(shown_is_painted(page, name))


def test_shift_and_drag_select_a_range_and_tell_what_is_in_it(page):
    page.page.locator(".potadlab button[title='show all memory']").click()
    page.until("dashboard.window.first == 0 and dashboard.stage.settled")
    page.page.keyboard.down("Shift")
    page.page.mouse.move(*page.map_point("buddy", 0.2, 0.3))
    page.page.mouse.down()
    page.page.mouse.move(*page.map_point("buddy", 0.6, 0.5), steps=6)
    page.page.mouse.up()
    page.page.keyboard.up("Shift")
    page.until("dashboard.seeker.range")
    low, high = page.python("dashboard.seeker.range")
    page.says(f"range {low * 4096:#x} to {high * 4096:#x}")
    block = page.page.locator(".potadlab-block").inner_text()
    assert "potad: " in block
    assert "buddy: " in block
    assert "#009e73" in page.columns("dashboard.stage.canvas.shapes['buddy']")["colour"]
    keep(page, "tools_range")


@pytest.mark.parametrize("colouring", ["owner", "group", "age", "failed"])
def test_every_colouring_is_on_the_page_with_its_legend(page, colouring):
    page.page.get_by_label("Colour by").select_option(label=colouring)
    page.says({"owner": "other owners", "group": "reclaimable", "age": "below 1 ms",
               "failed": "a failed page"}[colouring])  # fmt: skip
    page.until("dashboard.stage.settled")
    page.until(shown_is_painted(page, "buddy"))
    keep(page, f"tools_{colouring}")


def shown_is_painted(page: Page, name: str) -> str:
    """Whether the kernel, asked now, paints what the page has."""
    return (
        "dashboard.stage.painter.paint(*dashboard._moment())"
        f".buffers[dashboard.stage.canvas.names.index({name!r})].hex() == '{image(page, name)}'"
    )


def image(page: Page, name: str) -> str:
    """The picture of a map as the page has it, in hexadecimal."""
    found = page.columns(f"dashboard.stage.canvas.images[{name!r}]")["image"][0]
    return bytes(found.values() if isinstance(found, dict) else found).hex()


def test_a_larger_screen_has_larger_maps_of_more_pixels(page):
    small = page.python("[dashboard.window.pixels.width, dashboard.window.pixels.height]")
    assert len(image(page, "buddy")) == 2 * small[0] * small[1]
    page.page.set_viewport_size({"width": 2560, "height": 1440})
    page.until("dashboard.window.pixels.width == 512 and dashboard.stage.settled")
    large = page.python("[dashboard.window.pixels.width, dashboard.window.pixels.height]")
    assert large[1] > 2 * small[1]
    shown = page.page.evaluate(
        """(name) => {
          const found = [];
          const walk = (view) => {
            if (view.model.name === name) found.push(view);
            for (const child of view.children()) walk(child);
          };
          for (const root of Bokeh.index) walk(root);
          const { width, height } = found[found.length - 1].frame.bbox;
          return [width, height];
        }""",
        "map buddy",
    )
    assert large[0] <= shown[0] < 2 * large[0]
    assert large[1] <= shown[1] < large[1] + 20
    page.until(shown_is_painted(page, "buddy"))
    keep(page, "tools_large")
    page.page.set_viewport_size({"width": 1280, "height": 720})
    page.until(f"dashboard.window.pixels.width == {small[0]} and dashboard.stage.settled")
    page.until(shown_is_painted(page, "buddy"))


def test_the_old_picture_is_stretched_until_the_new_one_is_painted(page):
    page.run("from potadlab.views import regions; dashboard.show_whole()")
    page.until("dashboard.stage.settled")
    page.run("before = dashboard.window; dashboard.stage.still = True")  # as if painting took long
    shown = image(page, "buddy")
    page.page.mouse.move(*page.map_point("buddy", 0.5, 0.1))
    page.page.mouse.wheel(0, -100)
    page.until("dashboard.window.end - dashboard.window.first < before.end - before.first")
    expected = page.python(
        f"regions.stretched(bytes.fromhex('{shown}'), before, dashboard.window).hex()"
    )
    assert expected != shown
    page.await_(lambda: image(page, "buddy") == expected, "stretched")
    assert not page.python("dashboard.stage.settled")
    page.run("dashboard.stage.still = False")
    page.until("dashboard.stage.settled")
    page.until(shown_is_painted(page, "buddy"))
    page.run("dashboard.show_whole()")


def test_hilbert_and_the_worst(page):
    page.page.get_by_label("Colour by").select_option(label="kind")
    page.page.get_by_label("in", exact=True).select_option(label="Hilbert curve")
    page.until("dashboard.window.hilbert and dashboard.stage.settled")
    page.until(shown_is_painted(page, "potad"))
    keep(page, "tools_hilbert")
    page.page.get_by_label("worst").check()
    page.until("dashboard.stage.settled")
    page.until(shown_is_painted(page, "potad"))
    keep(page, "tools_worst")
    page.page.get_by_label("worst").uncheck()
    page.page.get_by_label("in", exact=True).select_option(label="rows")
    page.until("not dashboard.window.hilbert and dashboard.stage.settled")


def test_a_click_on_the_strip_goes_there_and_bookmarks_are_marked_and_found(page):
    seconds = page.python("dashboard.controls.time.max")
    page.page.mouse.click(*page.point("strip", seconds / 4, 0.2))
    page.until("dashboard.index == dashboard.session.index_at(dashboard._time_ns()) > 1000")
    assert abs(page.python("dashboard._time_ns()") / 1e9 - seconds / 4) < seconds / 50
    quarter = page.python("dashboard.index")
    page.page.keyboard.press("b")
    page.says("1 bookmark")
    page.until("dashboard.stage.settled")
    assert page.columns("dashboard.stage.canvas.noted")["marker"][-1] == "star"
    page.page.keyboard.press("9")
    page.page.get_by_label("to", exact=True).select_option(label="bookmark")
    page.page.locator(".potadlab button[title='to the one before']").click()
    page.says(f"op {quarter:,} of")
    page.page.get_by_label("Speed").select_option(label="as fast as it can")
    page.press("Play")
    page.until(f"dashboard.index > {quarter} + 100_000")
    page.press("Pause")
    page.until("not dashboard.playing and dashboard.stage.settled")
    page.page.get_by_label("Speed").select_option(label="1 s per s")
    keep(page, "tools_strip")


def test_side_by_side_differences_metrics_and_a_table_to_paste(page):
    page.tab("Compare")
    page.page.get_by_label("Difference").select_option(label="potad - buddy")
    page.until("len(dashboard.stage.canvas.names) == 3 and dashboard.stage.settled")
    page.says("potad only")
    page.until(shown_is_painted(page, "potad - buddy"))
    page.press("Measure times")
    page.says("timed: a verdict")
    paste = page.page.locator(".potadlab-paste textarea").input_value()
    assert "ns per op" in paste
    assert max(map(len, paste.splitlines())) <= 80
    page.page.locator(".potadlab-paste").scroll_into_view_if_needed()
    keep(page, "tools_compare")
    page.page.get_by_label("To paste as").select_option(label="Markdown")
    page.page.wait_for_function(
        "document.querySelector('.potadlab-paste textarea').value.includes('| metric | potad')"
    )
    page.page.get_by_label("Difference").select_option(label="none")
    page.until("len(dashboard.stage.canvas.names) == 2 and dashboard.stage.settled")


def test_four_allocators_side_by_side_at_one_moment_and_zoom(page):
    page.tab("Compare")
    page.run("dashboard.go(400_000)")
    spec = page.page.get_by_label("Allocator", exact=True)
    for count, each in ((3, "buddy:pcp=off"), (4, "potad:caches=off")):
        spec.fill(each)
        page.press("Add")
        page.says(f"{each}: replayed beside the others")
        page.until(f"len(dashboard.stage.canvas.names) == {count} and dashboard.stage.settled")
    names = page.python("dashboard.stage.canvas.names")
    assert names == ["potad", "buddy", "buddy:pcp=off", "potad:caches=off"]
    page.page.evaluate("document.querySelector('.potadlab-figures').scrollIntoView()")
    wide = page.python("dashboard.window.granules_per_cell")
    page.page.mouse.move(*page.map_point("buddy:pcp=off", 0.5, 0.5))
    page.page.mouse.wheel(0, -100)
    page.until(f"dashboard.window.granules_per_cell < {wide} and dashboard.stage.settled")
    pictures = {image(page, name) for name in names}
    assert len(pictures) == 4
    for name in names:
        page.until(shown_is_painted(page, name))
        assert name in page.page.locator(".potadlab-numbers:visible").inner_text()
    keep(page, "tools_four")
    page.page.locator(".potadlab").get_by_label("buddy:pcp=off").uncheck()
    page.page.locator(".potadlab").get_by_label("potad:caches=off").uncheck()
    page.until("dashboard.names == ['potad', 'buddy'] and dashboard.stage.settled")
    page.run("dashboard.show_whole()")


def test_the_session_is_kept_and_opens_at_the_same_moment_and_zoom(page, lab):
    page.tab("Keep")
    page.run("dashboard.go(500_000); dashboard.zoom(3)")
    page.until("dashboard.stage.settled")
    before = page.python("[dashboard.index, dashboard.window.first, dashboard.window.end]")
    name = page.page.get_by_label("Name", exact=True)
    name.fill("kept")
    name.press("Tab")
    page.press("Save session")
    page.says("written: kept.session.json")
    assert (lab.folder / "kept.session.json").is_file()
    for form, magic in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        page.button(form).click()
        page.says(f"written: kept.{form.lower()}")
        assert (lab.folder / f"kept.{form.lower()}").read_bytes()[:4] == magic
    drawn = ElementTree.parse(lab.folder / "kept.svg").getroot()
    told = [one.text for one in drawn.iterfind("{http://www.w3.org/2000/svg}text")]
    assert told[0].startswith("mixed_owners after op 500,000 of 1,159,608, ")
    assert told[1].endswith(f"coloured by {page.python('dashboard.controls.colouring.value')}")
    assert {"free", "out of service", "failed"} < set(told)
    page.press("HTML page")
    page.says("written: kept.html")
    assert (lab.folder / "kept.html").stat().st_size > 1 << 20
    page.run("dashboard.go(0); dashboard.show_whole()")
    page.press("Open session")
    page.until(f"dashboard.index == {before[0]} and not dashboard.busy and dashboard.stage.settled")
    after = page.python("[dashboard.index, dashboard.window.first, dashboard.window.end]")
    assert after == before
    keep(page, "tools_keep")


def test_a_link_opens_the_same_moment_in_a_page_opened_by_it(page):
    page.run("dashboard.go(123_456); dashboard.zoom(2)")
    page.page.get_by_label("Colour by").select_option(label="kind")
    page.until("dashboard.stage.settled")
    before = page.python("[dashboard.index, dashboard.window.first, dashboard.window.end]")
    page.tab("Keep")
    page.press("Link")
    page.says("a link to this moment")
    link = page.page.get_by_label("a link to this moment").input_value()
    assert link.startswith(page.page.url.partition("?")[0] + "?potadlab=mixed_owners&")
    assert "token" not in link
    page.run("dashboard.controls.colouring.value = 'size'; dashboard.go(0); dashboard.show_whole()")
    page.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.goto(link)
    page.page.wait_for_selector(".potadlab .bk-Figure")
    page.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session")
    page.until(f"dashboard.index == {before[0]} and dashboard.stage.settled")
    after = page.python("[dashboard.index, dashboard.window.first, dashboard.window.end]")
    assert after == before
    assert page.python("dashboard.controls.colouring.value") == "kind"
    page.until(shown_is_painted(page, "potad"))
    page.tab("Keep")
    field = page.page.get_by_label("a link to this moment")
    field.fill(link.replace("at=123456", "at=<img src=x onerror=alert(1)>"))
    field.press("Enter")
    page.page.wait_for_selector(".potadlab-error")
    assert "a whole number is wanted" in page.page.locator(".potadlab-error").inner_text()
    assert page.page.locator(".potadlab img").count() == 0
    assert page.python("dashboard.index") == before[0]
    page.run("dashboard.say('')")


def chosen_trace() -> tuple[str, bytes]:
    return "late.parquet", dataset("fileio_memcg").read_bytes()


def test_a_trace_of_ones_own_is_picked_in_pieces(page, lab):
    name, content = chosen_trace()
    assert len(content) > 1 << 20  # more than one piece
    page.tab("Keep")
    with page.page.expect_file_chooser() as chooser:
        page.press("My trace ...")
    chooser.value.set_files({"name": name, "mimeType": "", "buffer": content})
    page.until(
        "dashboard.session.trace.path.name == 'uploaded_late.parquet' and not dashboard.busy"
    )
    assert (lab.folder / "uploaded_late.parquet").read_bytes() == content
    (lab.folder / "uploaded_late.parquet").unlink()


def test_a_trace_is_dropped_on_the_page_with_the_memory_before_it(page, lab):
    before = dataset("thp_split").with_suffix(".before.parquet").read_bytes()
    given = {"dropped.parquet": dataset("thp_split").read_bytes(), "dropped.before.parquet": before}
    files = page.page.evaluate_handle(
        """(given) => {
          const data = new DataTransfer();
          for (const [name, text] of Object.entries(given)) {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], name));
          }
          return data;
        }""",
        {name: b64encode(content).decode() for name, content in given.items()},
    )
    root = page.page.locator(".potadlab").first
    root.dispatch_event("dragover", {"dataTransfer": files})
    page.page.wait_for_selector(".potadlab-drop")
    root.dispatch_event("drop", {"dataTransfer": files})
    page.until(
        "dashboard.session.trace.path.name == 'uploaded_dropped.parquet' and not dashboard.busy"
    )
    assert page.python("len(dashboard.session.trace.start)") > 0
    assert page.page.locator(".potadlab-drop").count() == 0
    page.until("dashboard.stage.settled")
    page.until(shown_is_painted(page, "potad"))
    for path in lab.folder.glob("uploaded_dropped*"):
        path.unlink()


def test_nothing_is_painted_while_nobody_sees_it(page, lab):
    page.tab("Here")
    page.page.get_by_label("Speed").select_option(label="0.1 s per s")
    page.run("dashboard.go(0)")
    page.press("Play")
    page.until("dashboard.frame_stats()['shown'] > 5")
    page.says("of a processor")
    (lab.folder / "beside.txt").write_text("in front of it")
    page.page.evaluate(
        "window.jupyterapp.commands.execute('docmanager:open', { path: 'beside.txt' }), 0"
    )
    kernel = page.of("tools.ipynb")
    kernel.until("not dashboard.stage.seen")
    kernel.until("dashboard.stage.settled")  # what was on its way has come
    sent, index = kernel.python("[dashboard.stage.flow.sent, dashboard.index]")
    kernel.until(f"dashboard.index > {index}")  # time goes on
    assert kernel.python("dashboard.stage.flow.sent") == sent
    page.page.evaluate("window.jupyterapp.shell.currentWidget.close(), 0")
    kernel.until(f"dashboard.stage.seen and dashboard.stage.flow.sent > {sent} + 3")
    page.press("Pause")
    kernel.until("not dashboard.playing and dashboard.stage.settled")
    page.page.get_by_label("Speed").select_option(label="1 s per s")


def test_neither_notebook_nor_console_has_errors(page):
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert page.console == []
