"""This machine as it runs, in the real JupyterLab: seen, zoomed, recorded."""

import os
import shutil

import pytest
from pages import Page, keep

from potadlab import CannotRecord
from potadlab.bundled import notebook
from potadlab.traces.recording import check


@pytest.fixture(scope="module")
def page(lab, browser):
    try:
        check()
    except CannotRecord as error:
        if os.environ.get("POTADLAB_TRACEFS") == "required":
            raise
        pytest.skip(f"NOTHING REAL WAS WATCHED: {error}")
    shutil.copy(notebook("live"), lab.folder)
    shown = Page(browser.new_page())
    shown.page.goto(lab.address("live.ipynb"))  # as of `lab --live`: it runs of itself
    shown.page.wait_for_selector(".potadlab .bk-Figure")
    shown.until("live.stage.flow.ready")
    yield shown
    shown.run("live.close()")
    keep(shown, "live_last")
    shown.close()


def test_it_is_seen_as_it_goes_on(page):
    page.says("events/s")
    page.until("len(live.canvas.rates.data['allocs']) > 2 and live._watch.events > 100")
    rates = page.columns("live.canvas.rates")
    assert max(rates["allocs"]) > 0
    assert max(page.columns("live.canvas.free")["time_s"]) <= 0
    page.until("live.stage.flow.sent > 1")
    page.says("out of service")
    page.says("process")
    assert not page.console


def test_a_page_says_what_it_is_used_for(page):
    x, y = page.point("map this machine", 128, 60)
    page.page.mouse.click(x, y)
    page.says("around it:")


def test_what_goes_on_is_recorded(page, lab):
    page.press("Record")
    page.says("recording to recorded-")
    page.page.wait_for_timeout(500)
    page.press("Stop")
    page.says("the memory before and after beside it")
    made = sorted(path.name for path in lab.folder.glob("recorded-*"))
    assert [name.split(".", 1)[1] for name in made] == [
        "after.parquet",
        "before.parquet",
        "parquet",
    ]
    assert page.python("pl.Trace.read(str(live.target.value)).events") > 0
    assert not page.console
