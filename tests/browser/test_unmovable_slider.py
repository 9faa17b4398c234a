"""The slider for unmovable memory in the real JupyterLab: what the page has, against `pl.age`."""

import pytest
from pages import keep, opened

import potadlab as pl

SETUP = """\
import potadlab as pl

unmovable = pl.lab.Unmovable(["llfree", "buddy"], "64MiB", turnovers=3, seeds=2)
unmovable"""
SHARES = {"read": 0.3, "huge": 0.3, "small": 0.1, "kernel": 0.3}


@pytest.fixture(scope="module")
def page(lab, browser):
    shown = opened(lab, browser, "unmovable", SETUP, ".potadlab")
    shown.page.wait_for_selector(".potadlab .bk-Figure")
    yield shown
    shown.close()


def slider(page):
    return page.page.get_by_role("slider", name="Unmovable, %")


def shown(page) -> dict[str, list[float]]:
    """Means of the seeds, over age, as the page has them; null is where nothing was measured."""
    page.page.wait_for_function(
        "(id) => Bokeh.documents.some((each) => each.get_model_by_id(id))",
        arg=page.python("unmovable.over_age.id"),
    )
    columns = page.columns("unmovable.over_age")
    return {name: columns[name] for name in ("turnovers", "llfree", "buddy")}


def expected(percent: int, turnovers: int = 3) -> tuple[dict[str, list[float]], list[float]]:
    """Success over age by policy, and over the last turnovers; percent of the huge pages."""
    ageing = pl.age(
        "64MiB", ["llfree", "buddy"], turnovers=turnovers, seeds=2, unmovable=percent / 100,
        **SHARES,
    ).ageing  # fmt: skip
    over = {run.allocator: [100 * run.success[:, at].mean() for at in range(1, turnovers + 1)]
            for run in ageing.runs}  # fmt: skip
    last = [
        100 * run.last_success("at_once", "compacted").mean() for run in ageing.runs
    ]  # the load has asked for huge pages in each turnover
    return over, last


def agrees(page, percent: int) -> None:
    page.says(f"{percent} % of memory may not move: aged")
    over, last = expected(percent)
    for name, column in over.items():
        assert shown(page)[name][1:] == pytest.approx(column)
    for name, one in zip(("llfree", "buddy"), last, strict=True):
        columns = page.columns(f"unmovable.by_share['{name}']")
        assert columns["mean"][columns["unmovable"].index(percent)] == pytest.approx(one)
    table = page.page.locator(".potadlab-numbers").inner_text()
    for one in last:
        assert f"{one:.0f}%" in table


def test_the_slider_moves_by_keyboard_and_the_figures_are_those_of_age(page):
    agrees(page, 10)
    slider(page).focus()
    page.page.keyboard.press("ArrowRight")
    agrees(page, 15)
    for _ in range(5):  # quickly: the latest wins
        page.page.keyboard.press("ArrowRight")
    agrees(page, 40)
    page.page.keyboard.press("Home")
    agrees(page, 0)
    assert page.columns("unmovable.by_share['buddy']")["unmovable"][0] == 0
    keep(page, "unmovable")


def test_another_measure_and_policy(page):
    page.page.get_by_label("Show", exact=True).select_option(
        label="2 MiB regions spoilt by unmovable memory"
    )
    page.until("unmovable.plots[0].yaxis[0].axis_label == 'regions'")
    spoilt = pl.age("64MiB", ["buddy"], turnovers=3, seeds=2, unmovable=0.0, **SHARES).ageing.runs[
        0
    ]
    assert shown(page)["buddy"] == pytest.approx(spoilt.spoilt.mean(axis=0).tolist())
    page.page.get_by_label("Policy", exact=True).fill("buddy:migratetypes=off")
    page.press("Add")
    page.says("buddy:migratetypes=off")
    page.until("not unmovable.worker.busy and 'buddy:migratetypes=off' in unmovable.by_share")
    assert page.page.locator(".potadlab input[type=checkbox]").count() == 3
    page.page.locator(".potadlab input[type=checkbox]").nth(2).click()
    page.until("list(unmovable.by_share) == ['llfree', 'buddy']")
    page.page.get_by_label("Show", exact=True).select_option(index=0)
    agrees(page, 0)


def test_cancel_mid_way_leaves_all_as_it_was(page):
    page.run("unmovable._turnovers = 4000")  # long work
    before = shown(page)
    table = page.page.locator(".potadlab-numbers").inner_text()
    slider(page).focus()
    page.page.keyboard.press("End")
    page.says("ageing in llfree, seed 1")
    keep(page, "unmovable_at_work")
    page.press("Cancel")
    page.says("cancelled: all is as it was before")
    assert page.python("unmovable.percent.value") == 0
    assert slider(page).get_attribute("aria-valuenow") in ("0", "0.0")
    assert shown(page) == before
    assert page.page.locator(".potadlab-numbers").inner_text() == table
    page.run("unmovable._turnovers = 3")
    slider(page).focus()
    page.page.keyboard.press("ArrowRight")
    agrees(page, 5)


def test_an_unknown_policy_is_one_line(page):
    before = shown(page)
    page.page.get_by_label("Policy", exact=True).fill("<img src=x>")
    page.press("Add")
    line = page.page.locator(".potadlab-error")
    line.wait_for()
    assert "allocator '<img src=x>' is not there" in line.inner_text()
    assert line.bounding_box()["height"] < 40
    assert page.page.locator(".potadlab img").count() == 0
    assert shown(page) == before


def test_it_follows_the_theme_and_fits(page):
    change = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    try:
        page.page.evaluate(change, "JupyterLab Dark")
        page.until("not unmovable.light and unmovable.plots[1].background_fill_color == '#111111'")
        keep(page, "unmovable_dark")
        for width, height in ((640, 360), (2560, 1440)):
            page.page.set_viewport_size({"width": width, "height": height})
            page.page.wait_for_timeout(400)
            keep(page, f"unmovable_{width}")
    finally:
        page.page.set_viewport_size({"width": 1280, "height": 720})
        page.page.evaluate(change, "JupyterLab Light")


def test_the_cell_run_again_replaces_the_widget(page):
    page.run("before = unmovable")
    page.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.until("unmovable is not before and unmovable.ageing")
    assert page.python("before.percent.disabled and not before.worker.busy")
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert page.console == []
