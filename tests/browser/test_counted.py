"""A trace made by hand tells no times: on the page its moments are ops; its names are text."""

import pytest
from pages import keep, opened
from test_for_everyone import HEAR, HOSTILE, SCRIPT

KIND = "abcdefghijklmnopqrstuvwxyz_1234"  # as long as a kind's name may be
MANY = 400
SETUP = f"""\
import potadlab as pl

try:
    pl.Kind.register({HOSTILE!r})
except pl.PotadError as error:
    refused = str(error)
pl.Kind.register({KIND!r}, descriptor_bytes=64, meaning={HOSTILE!r})
potad = pl.Potad(pl.Space.ram("16MiB"))
for at in range({MANY // 4}):
    blocks = [potad.allocate("4KiB", {KIND!r}, {HOSTILE!r} + str(at % 3)) for _ in range(3)]
    potad.release(blocks[0])
dashboard = pl.lab.Dashboard(potad.trace({SCRIPT!r}), ["potad", "buddy"])
dashboard"""


@pytest.fixture(scope="module")
def page(lab, browser):
    browser.add_init_script(HEAR)
    shown = opened(lab, browser, "counted", SETUP)
    shown.says("ready to play")
    shown.until("dashboard.stage.settled")
    yield shown
    shown.close()


def top(page):
    page.page.evaluate("document.querySelector('.potadlab').scrollIntoView({ block: 'start' })")


def test_slider_strip_and_axes_count_ops(page):
    many = page.python("dashboard.session.length")
    assert many == MANY
    page.says(f"op 0 of {many}")
    top(page)
    page.page.mouse.click(*page.point("strip", 100, 0.2))
    page.until("abs(dashboard.index - 100) < 4 and dashboard.stage.settled")
    at = page.python("dashboard.index")
    page.says(f"op {at} of {many}")
    slider = page.page.get_by_role("slider", name="Ops", exact=True)
    slider.focus()
    page.page.keyboard.press("ArrowRight")
    page.until(f"dashboard.index == {at + 1}")
    labels = page.page.evaluate(
        """() => Bokeh.documents.flatMap((each) => each.roots())
          .flatMap((root) => [...root.references()].map((one) => one.axis_label))"""
    )
    assert "ops done" in labels
    assert "time, s" not in labels
    text = page.page.locator(".potadlab").first.inner_text()
    assert " s of " not in text
    assert "1 ops per s" in page.page.get_by_label("Speed", exact=True).inner_text().replace(
        "\xa0", " "
    )
    keep(page, "counted")


def test_playing_goes_on_by_ops(page):
    page.run("dashboard.go(0)")
    page.page.get_by_label("Speed", exact=True).select_option(label="100 ops per s")
    page.press("Play")
    page.until("dashboard.index > 20")
    page.press("Pause")
    page.until("not dashboard.playing")


def test_names_of_kinds_are_refused_or_text_everywhere(page):
    assert "take up to 31 letters" in page.python("refused")
    page.run("dashboard.go(200)")
    for colouring in ("owner", "kind"):
        page.page.get_by_label("Colour by").select_option(label=colouring)
        page.until("dashboard.stage.settled")
        page.says(f"{HOSTILE}1" if colouring == "owner" else KIND)
    block = page.python("int(dashboard.session.runs['potad'].live(200)['granule'][1])")
    page.run(f"dashboard.choose('potad', {block})")
    page.says(f"block of 4 KiB, {KIND}")
    top(page)
    x, y = page.map_point("potad", 0.05, 0.02)
    page.page.mouse.move(x - 4, y)
    page.page.mouse.move(x, y)
    page.page.locator(".potadlab-tip").wait_for(state="visible")
    page.page.mouse.move(5, 5)
    page.press("Fail this address")
    page.until("not dashboard.busy")
    page.says("after op 200: failed 0x")
    for title in page.page.locator(".potadlab").get_by_role("tab").all_inner_texts():
        page.page.locator(".potadlab").get_by_role("tab", name=title, exact=True).click()
        page.page.wait_for_timeout(400)
        keep(page, f"counted_{title}")
        assert page.page.evaluate("window.hits") == 0, title
        assert page.page.locator(".potadlab img, .potadlab script").count() == 0, title


def test_neither_notebook_nor_console_has_errors(page):
    assert [one for one in page.outputs() if one["output_type"] == "error"] == []
    assert page.console == []
