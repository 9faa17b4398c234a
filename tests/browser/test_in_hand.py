"""Allocators by hand in the real JupyterLab: ask, click, release, and see what became of it."""

import pages
import pytest
from pages import Page, keep

SETUP = """\
import potadlab as pl

ram = pl.Space.ram("{size}", granule="4KiB")
potad, buddy = pl.Potad(ram), pl.Buddy(ram)
hand = pl.lab.Hand(potad, buddy)
hand"""


def opened(lab, browser, size: str) -> Page:
    """A notebook with both allocators over so much memory, in a page of its own."""
    name = f"hand_{size.replace('.', '_')}"
    shown = pages.opened(lab, browser, name, SETUP.format(size=size))
    shown.until("hand.stage.flow.ready")
    return shown


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = opened(lab, browser, "64KiB")
    yield shown
    keep(shown, "hand_last")
    shown.close()


def rows(page: Page, name: str) -> list[list[tuple[int, int, str]]]:
    """(left, right, label) of the blocks in each row that the page has."""
    found = page.columns(f"hand.canvas.data['{name}']['blocks']")
    drawn: list[list[tuple[int, int, str]]] = []
    for left, right, top, label in zip(
        *(found[part] for part in ("left", "right", "top", "label")), strict=True
    ):
        drawn += [[]] * (top + 1 - len(drawn))
        drawn[top] = [*drawn[top], (left, right, label)]
    return drawn


def words(page: Page, name: str) -> list[str]:
    return page.columns(f"hand.canvas.data['{name}']['words']")["text"]


def wait_rows(page: Page, count: int) -> None:
    """Until the page itself has so many rows for each."""
    page.await_(
        lambda: all(len(words(page, name)) == count for name in ("potad", "buddy")),
        f"{count} rows: {words(page, 'potad')}, {words(page, 'buddy')}",
    )


EMPTY = [(0, 16, "64 KiB")]
ONE = [(0, 2, "8 KiB me"), (2, 4, "8 KiB"), (4, 8, "16 KiB"), (8, 16, "32 KiB")]
TWO = [
    (0, 2, "8 KiB me"), (2, 3, "4"), (3, 4, "4"), (4, 8, "16 KiB"), (8, 16, "32 KiB"),
]  # fmt: skip
FREED = [(0, 2, "8 KiB"), *TWO[1:]]


def test_allocate_adds_a_row_to_each_figure(page):
    keep(page, "hand_start")
    page.press("Allocate")
    page.says("allocate 8 KiB (anon, me)")
    wait_rows(page, 2)
    page.page.locator(".potadlab select").first.select_option(label="4 KiB")
    page.press("Allocate")
    page.says("allocate 4 KiB (anon, me)")
    wait_rows(page, 3)
    for name in ("potad", "buddy"):
        assert rows(page, name) == [EMPTY, ONE, TWO]
        assert words(page, name)[2] == "2  allocate 4 KiB (anon, me); split 8 KiB: 4 | 4 taken"
        trees = page.columns(f"hand.canvas.data['{name}']['trees']")
        assert len(trees["xs"]) == (1 + 3) + (1 + 1)  # a stem and a line for each halving


def test_a_click_chooses_and_release_gives_back_everywhere(page):
    page.page.mouse.click(*page.point("steps of buddy", 0.9, 2.2))
    page.says("buddy, at 0x0:")
    page.says("its like in potad: at 0x0")
    page.press("Release")
    page.says("release at 0x0 in potad, 0x0 in buddy:")
    wait_rows(page, 4)
    for name in ("potad", "buddy"):
        assert rows(page, name)[3] == FREED
        assert page.python(f"len({name}.blocks())") == 1


def test_hover_tells_of_the_block(page):
    x, y = page.point("steps of potad", 2.5, 3.2)
    page.page.mouse.move(x - 3, y)
    page.page.mouse.move(x, y)
    tip = page.page.locator(".potadlab-tip")
    tip.wait_for(state="visible")
    assert tip.inner_text().splitlines()[:2] == ["potad, at 0x2000:", "block of 4 KiB, anon"]
    page.page.mouse.move(5, 5)


def test_what_code_does_is_seen_at_once_and_names_are_text(page):
    page.run("block = potad.allocate('16KiB', owner='<b>code</b>')")
    page.says("potad, by code: allocate 16 KiB (kernel, <b>code</b>)")
    page.run("block = buddy.allocate('16KiB', owner='<b>code</b>')")
    wait_rows(page, 5)
    assert (4, 8, "16 KiB <b>code</b>") in rows(page, "potad")[4]
    assert page.page.locator(".potadlab-log b").count() == 0
    keep(page, "hand_light")


def test_it_works_by_keyboard(page):
    owner = page.page.get_by_label("Owner")
    owner.focus()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("keys")
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Enter")
    page.says("allocate 4 KiB (anon, keys)")
    menu = page.page.get_by_label("Block", exact=True)
    menu.locator("option", has_text="keys").first.wait_for(state="attached")  # offered anew
    menu.select_option(label="buddy: 4 KiB at 0x2000, me")
    page.says("buddy, at 0x2000:")
    page.button("Release").focus()
    page.page.keyboard.press("Space")
    page.says("release at 0x2000 in potad, 0x2000 in buddy:")


def test_a_refusal_is_a_line_in_the_log(page):
    claim = page.page.get_by_label("Claim")
    claim.fill("10 KiB")
    claim.press("Tab")
    page.button("Claim").click()
    page.says("potad: refused: claim of 10 KiB")
    page.page.get_by_label("Size").select_option(label="64 KiB")
    page.press("Allocate")
    page.says("refused: no free block of 64 KiB: the largest free block has 32 KiB")
    page.page.get_by_label("Size").select_option(label="8 KiB")


def test_figures_follow_the_theme(page):
    change = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    page.page.evaluate(change, "JupyterLab Dark")
    try:
        page.until("not hand.light")
        page.page.wait_for_function(
            """() => Bokeh.documents.flatMap((each) => each.roots())
              .flatMap((root) => [...root.references()])
              .filter((model) => model.name?.startsWith("steps of "))
              .every((model) => model.background_fill_color === "#111111")"""
        )
        keep(page, "hand_dark")
    finally:
        page.page.evaluate(change, "JupyterLab Light")
    page.until("hand.light")


def test_a_page_that_is_loaded_again_shows_what_is_now(page):
    page.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.reload()
    page.page.wait_for_selector(".potadlab .bk-Figure")
    page.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session")
    page.until("hand._version == hand._version_shown and hand.stage.flow.ready")
    shown = len(page.python("[each.words for each in potad.history]"))
    wait_rows(page, min(shown, 6))
    assert words(page, "potad")[-1] == "refused: allocate 64 KiB (anon, keys)"


def test_a_large_space_is_a_map_in_the_page(lab, browser, page):
    shown = opened(lab, browser, "1.5TiB")
    shown.page.get_by_label("Size").select_option(label="1 GiB")
    shown.press("Allocate")
    shown.says("buddy: refused: size 1073741824: buddy hands out at most 4 MiB")
    shown.until("hand.stage.settled")
    for name in ("potad", "buddy"):
        image = shown.columns(f"hand.canvas.images['{name}']")["image"][0]
        image = image if isinstance(image, list) else list(image.values())
        painted = (
            "hand.stage.painter.paint(*hand._moment())"
            f".buffers[list(hand.allocators).index('{name}')].hex()"
        )
        assert bytes(image).hex() == shown.python(painted)
    whole = shown.python("hand.window.granules_per_cell")
    shown.page.mouse.move(*shown.point("map potad", 100, 50))
    shown.page.mouse.wheel(0, -100)
    shown.until(f"hand.window.granules_per_cell < {whole}")
    shown.page.get_by_title("show all memory").click()
    shown.until(f"hand.window.granules_per_cell == {whole}")
    for halved in range(1, 5):
        shown.page.get_by_title("zoom in on the chosen block").click()
        shown.until(f"hand.window.granules_per_cell == {whole >> halved}")
    seen = "divmod(1000 - hand.window.first, hand.window.granules_per_cell * hand.window.columns)"
    row, granule = shown.python(seen)
    cell = granule // (whole >> 4)
    shown.page.mouse.click(*shown.point("map potad", cell + 0.5, row + 0.9))
    shown.says("block of 1 GiB, anon")
    shown.until("hand.stage.settled")
    keep(shown, "hand_map")
    assert shown.console == []
    shown.close()


def test_from_a_tebibyte_and_a_half_to_one_granule_of_512_bytes_by_the_wheel(lab, browser, page):
    code = (
        "import potadlab as pl\n"
        "potad = pl.Potad(pl.Space.ram('1.5TiB', granule='512'))\n"
        "for size in ('1TiB', '512', '2KiB'):\n"
        "    potad.allocate(size)\n"
        "block = potad.allocate('512', owner='the one')\n"
        "hand = pl.lab.Hand(potad)\nhand"
    )
    shown = pages.opened(lab, browser, "granule", code)
    shown.until("hand.stage.settled")
    seen = (
        "[hand.window.columns, hand.window.granules_per_cell, hand.window.scale,"
        " *divmod(block.start // 512 - hand.window.first, hand.window.row_granules)]"
    )
    for _ in range(60):  # figures that are put up anew, as labels grow, do not hear a step
        columns, wide, scale, row, column = shown.python(seen)
        if (columns, wide) == (32, 1):
            break
        middle = columns // 2 * scale
        shown.page.mouse.move(*shown.point("map potad", middle, (row + 0.5) * scale))
        shown.page.mouse.wheel(0, -100)
        shown.page.wait_for_timeout(400)
        shown.until("hand.stage.settled")
    assert (columns, wide) == (32, 1)
    shown.page.mouse.click(*shown.point("map potad", (column + 0.5) * scale, (row + 0.5) * scale))
    start = shown.python("block.start")
    assert start > 1 << 40
    shown.says(f"potad, at {start:#x}:")
    shown.says("block of 512 B")
    shown.says("owner: the one")
    keep(shown, "hand_granule")
    assert shown.console == []
    shown.close()


def test_neither_notebook_nor_console_has_errors(page):
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert page.console == []
