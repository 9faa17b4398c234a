"""What things cost, in the real JupyterLab: descriptors, lookups, lines, and asks by hand."""

import re

import pytest
from loops import WAIT_S
from pages import Page, keep, narrow, opened, picture

SETUP = """\
from dataclasses import replace
import numpy as np
import potadlab as pl
from potadlab.kinds import KINDS, KIND

trace = pl.Trace.read(pl.datasets()["mixed_owners"])
dashboard = pl.lab.Dashboard(replace(trace, ops=trace.ops[:300_000]), ["potad", "buddy"])
dashboard"""
COMPILE_MS = 1000 * WAIT_S  # three allocators with a meter, where nothing is compiled


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = opened(lab, browser, "costs", SETUP)
    shown.says("ready to play")
    shown.until("dashboard.stage.settled")
    yield shown
    keep(shown, "costs_last")
    shown.close()


def see(page: Page, selector: str, name: str) -> None:
    """Keep a picture with a part of the tab in view, and of a narrow screen's whole tab."""
    page.page.locator(selector).first.scroll_into_view_if_needed()
    page.page.wait_for_timeout(600)  # what lights up is lit, what is drawn is drawn
    keep(page, name)


def click_map(page: Page) -> None:
    """Click on the largest block of potad, wherever the page was scrolled to."""
    page.page.locator(".potadlab-figures").scroll_into_view_if_needed()
    page.page.evaluate("document.querySelector('.potadlab-figures').scrollIntoView()")
    page.run(
        "from potadlab.views import regions\n"
        "live = dashboard.session.runs['potad'].live(dashboard.index)\n"
        "block = live[np.argmax(live['order'])]"
    )
    x, y = page.python("regions.place(dashboard.window, int(block['granule']))")
    page.page.mouse.click(*page.point("map potad", x, y))


def says(page: Page, selector: str, pattern: str) -> str:
    """Wait until a part of the page matches; its text."""
    page.page.wait_for_function(
        """([selector, pattern]) => [...document.querySelectorAll(selector)]
             .some((each) => new RegExp(pattern).test(each.innerText))""",
        arg=[selector, pattern],
        timeout=COMPILE_MS,
    )
    return page.page.locator(selector).first.inner_text()


def test_descriptors_by_kind_follow_the_moment_and_the_sliders(page):
    page.tab("Descriptors")
    page.until("dashboard.describing.plots")
    for moment in (120_000, 300_000):
        page.run(f"dashboard.go({moment})")
        page.until("dashboard.stage.settled")
        page.run(
            "live = dashboard.session.runs['potad'].live(dashboard.index)\n"
            "each = {k.name: max(16, 8 + k.record_bytes) for k in KINDS}\n"
            "sums = {n: int(np.sum(live['kind'] == KIND[n])) * each[n] / 2**20 for n in each}"
        )
        shown = page.columns("dashboard.describing.now")
        assert dict(zip(shown["kind"], shown["mib"], strict=True)) == pytest.approx(
            page.python("{n: mib for n, mib in sums.items() if mib}")
        )
    before = page.columns("dashboard.describing.over_time")["anon"]
    handle = page.page.get_by_role("slider", name=re.compile("anon")).or_(
        page.page.locator(".widget-slider", has_text="anon, B").locator(".noUi-handle")
    )
    handle.first.focus()
    for _ in range(5):
        page.page.keyboard.press("ArrowRight")
    page.until("dashboard.describing.record_bytes[KIND['anon']] == 120")
    after = page.columns("dashboard.describing.over_time")["anon"]
    assert after == pytest.approx([mib * 128 / 88 for mib in before])
    assert page.python("dashboard.index") == 300_000  # the slider's own arrows, not steps
    see(page, ".potadlab-whatif", "costs_descriptors")
    page.press("As they are")
    page.until("dashboard.describing.record_bytes[KIND['anon']] == 80")


def test_lookup_latency_by_structure_and_population_with_progress_and_cancel(page):
    page.tab("Lookup")
    page.page.get_by_label("Population").select_option(label="1,000,000 blocks")
    page.press("Measure lookups")
    page.page.locator(".potadlab button:enabled", has_text="Cancel").click()
    page.says("cancelled")
    page.until("not dashboard.busy")
    assert page.python("dashboard.looking.measured") == {}
    page.page.get_by_label("Population").select_option(label="10,000 to 1,000,000")
    page.press("Measure lookups")
    says(page, ".potadlab", "lookups: measured")
    rows = page.python("dashboard.looking.rows()")
    assert [row[1] for row in rows] == ["10,000"] * 3 + ["100,000"] * 3 + ["1,000,000"] * 3
    assert all(float(row[6]) >= 1 for row in rows)
    table = page.page.locator(".potadlab-numbers:visible").inner_text()
    assert "lines per lookup" in table
    assert rows[-1][4] in table
    found = page.python("[plot.title.text for plot in dashboard.looking.plots]")
    assert found[0] == "At most so long: 1,000,000 blocks"
    see(page, ".potadlab-numbers:visible", "costs_lookup")
    assert narrow(page, "costs_lookup") == []
    page.page.get_by_label("Show", exact=True).select_option(label="heads, all populations")
    page.until("len(dashboard.looking.curves()) == 3")
    page.page.wait_for_timeout(500)
    keep(page, "costs_populations")


def test_a_click_on_any_byte_lights_up_its_lookup_in_three_structures(page):
    page.page.get_by_role("button", name="Light up the lines").click()
    page.until("dashboard.looking.follow.value")
    click_map(page)
    page.until("dashboard.selected")
    granule = page.python("dashboard.selected[1]")
    assert len(page.columns("dashboard.stage.canvas.shapes['potad']")["xs"]) == 1  # outlined
    text = says(page, ".potadlab-cards", "answers: ")
    for name in ("memmap", "maple", "heads"):
        assert name in text
    answers = page.python(
        "[[n, a.start, len(a.touched)] for n, a in"
        f" next(iter(dashboard.looking._filled.values())).at({granule}).items()]"
    )
    assert len({start for _, start, _ in answers}) == 1
    assert answers[0][1] >= 0
    for name, _, many in answers:
        assert re.search(rf"{name} {many} line", text)
    cells = page.page.locator(".potadlab-cards:visible .potadlab-line")
    assert cells.count() == sum(many for _, _, many in answers)
    see(page, ".potadlab-cards:visible", "costs_byte_lighting")
    lit = "(cell) => getComputedStyle(cell).opacity === '1'"
    page.await_(lambda: cells.last.evaluate(lit), "lit")
    keep(page, "costs_byte")


def test_op_by_op_the_lines_of_each_allocator_stand_side_by_side(page):
    page.tab("Lines")
    page.page.get_by_role("button", name="Op by op").click()
    says(page, ".potadlab-cards", "potad")
    click_map(page)
    for key, moved in (("ArrowRight", 1), ("ArrowLeft", -1)):
        at = page.python("dashboard.index")
        page.page.keyboard.press(key)
        moved = at + moved if at + moved <= 300_000 else at
        says(page, ".potadlab", f"op {moved:,}: (allocate|release)")
    page.run("from potadlab.runs import touched_by")
    index = page.python("dashboard.index")
    text = page.page.locator(".potadlab-cards:visible").first.inner_text()
    for name in ("potad", "buddy"):
        many = page.python(
            f"len(touched_by({name!r}, dashboard.session.runs[{name!r}].case, {index} - 1))"
        )
        assert re.search(rf"{name} {many} line", text)
    see(page, ".potadlab-cards:visible", "costs_op")


def test_lines_over_time_are_counted_in_a_thread(page):
    page.press("Count all ops")
    says(page, ".potadlab", "lines: counted")
    assert page.python("list(dashboard.counting.counted)") == ["potad", "buddy"]
    found = page.python("{n: c[0].allocate.mean for n, c in dashboard.counting.counted.items()}")
    titles = page.python("[plot.title.text for plot in dashboard.counting.plots]")
    for title, (name, mean) in zip(titles, found.items(), strict=True):
        assert title.startswith(f"{name}: {mean:.2f} lines per allocation")
    see(page, ".potadlab-lines-over-time", "costs_lines")
    assert narrow(page, "costs_lines") == []
    page.press("Dearest op")
    page.says("the most of all")


def test_allocate_from_three_allocators_from_a_moment_of_the_trace(page):
    asks = page.page.locator(".potadlab-asks")
    asks.get_by_role("button", name="Allocate").click()
    page.page.wait_for_function(
        "document.querySelectorAll('.potadlab-asks .potadlab-touched').length === 3",
        timeout=COMPILE_MS,
    )
    asks.get_by_label("ask", exact=True).select_option(label="100 times")
    asks.get_by_role("button", name="Allocate").click()
    says(page, ".potadlab-asks", r"\b101\b")
    asks.get_by_role("button", name="Release").click()
    says(page, ".potadlab-asks", "Release: running mean")
    lines = page.python(
        "{n: [len(v), sum(v) / len(v)] for n, v in"
        " dashboard.counting.asks._asked[1].lines[0].items()}"
    )
    text = asks.inner_text()
    for name, (many, mean) in lines.items():
        assert many == 101
        assert f"{name}: {mean:.2f}" in text
    see(page, ".potadlab-means", "costs_asks")
    picture(page, "lines", ".potadlab-asks")


def test_neither_notebook_nor_console_has_errors(page):
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert page.console == []


def test_the_widget_alone_plays_and_stops(lab, browser):
    shown = opened(
        lab, browser, "asks", "import potadlab as pl\nlines = pl.lab.Lines()\nlines", ".potadlab"
    )
    shown.press("Repeat")
    shown.page.wait_for_selector(".potadlab-touched", timeout=COMPILE_MS)
    shown.until("len(lines.asks._asked[1].live) > 3")
    shown.press("Stop")
    shown.until("not lines.asks.repeating and not lines.asks._latest.running")
    many = shown.python("len(lines.asks._asked[1].live)")
    shown.page.wait_for_timeout(2000)
    assert shown.python("len(lines.asks._asked[1].live)") == many
    assert shown.page.locator(".potadlab-touched").count() == 3
    keep(shown, "costs_widget")
    assert shown.console == []
    shown.close()
