"""A trace that the test makes, of names that are HTML: read as text everywhere, and drawn as it is.

And the page for everyone: every control has a name, nothing is cut, both themes in every colour.
"""

import json
import random
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import Page, keep, opened

from potadlab.traces.parquet import TRACE
from potadlab.views import theme

HOSTILE = "<img src=x onerror=hit()>"
SCRIPT = '"></script><script>hit()</script>'
PAGES, ROWS, UNUSED = 1 << 14, 6000, 1 << 13  # the upper half is never asked for
LABELS = {0: "4 KiB", 1: "8 KiB", 2: "16-32 KiB"}
SETUP = """\
from pathlib import Path
import potadlab as pl

(file,) = Path(".").glob("<img*.parquet")
dashboard = pl.lab.Dashboard(file, ["recorded", "potad", "buddy"], ["recorded", "buddy"])
dashboard"""
HEAR = "window.hits = 0; window.hit = () => { window.hits += 1; };"
ROLES = (
    "button", "textbox", "combobox", "slider", "checkbox", "tab", "spinbutton", "progressbar",
    "radio", "searchbox", "switch", "listbox",
)  # fmt: skip
CUT = """() => {
  // what hides a part of its own text, and what goes beyond an element around it that hides it, or
  // that scrolls sideways; on a narrow page a table may scroll in a box that the keyboard reaches
  const cut = [];
  const told = (one, words) => cut.push(`${one.innerText.trim().slice(0, 40)}: ${words}`);
  const narrow = window.innerWidth < 1000;
  for (const one of document.querySelectorAll(".potadlab button, .potadlab label, .potadlab td, "
      + ".potadlab th, .potadlab .widget-html-content *, .potadlab-key, "
      + ".potadlab .lm-TabBar-tabLabel")) {
    if (!one.offsetParent || !one.innerText?.trim()) continue;
    const style = getComputedStyle(one);
    const hides = style.overflowX !== "visible" && style.overflowX !== "auto";
    if (hides && one.scrollWidth > one.clientWidth + 1)
      told(one, `${one.scrollWidth} in ${one.clientWidth}`);
    const { left, right } = one.getBoundingClientRect();
    for (let at = one.parentElement; at; at = at.parentElement) {
      const { overflowX } = getComputedStyle(at);
      if (overflowX === "visible") continue;
      const box = at.getBoundingClientRect();
      if (left < box.left - 1 || right > box.right + 1) {
        if (narrow && overflowX === "auto" && at.tabIndex === 0) break;
        told(one, `${left} to ${right} in ${at.className}, ${box.left} to ${box.right}`);
        break;
      }
    }
  }
  return cut;
}"""


SIDEWAYS = """() => [...document.querySelectorAll(".potadlab, .potadlab *")].filter((one) =>
  ["auto", "scroll"].includes(getComputedStyle(one).overflowX) && one.offsetParent
  && one.scrollWidth > one.clientWidth).map((one) => `${one.className}: ${one.scrollWidth}`)"""


def made_rows(rng: random.Random) -> list[tuple[int, int, int]]:
    """(op, page, order) of each event: blocks of up to four pages in the lower half."""
    live: dict[int, int] = {}
    rows = []
    while len(rows) < ROWS:
        if live and rng.random() < len(live) / 3000:
            page = rng.choice(list(live))
            rows.append((1, page, live.pop(page)))
            continue
        order = rng.choice([0, 0, 1, 2])
        page = rng.randrange(UNUSED >> 2) << 2
        if page not in live:
            live[page] = order
            rows.append((0, page, order))
    return rows


def write_trace(path, rows) -> None:
    op, pfn, order = (np.array(column) for column in zip(*rows, strict=True))
    stacks = [f"{HOSTILE}{at};{SCRIPT};do_anonymous_page" if at % 2 else SCRIPT for at in range(9)]
    columns = {
        "t_ns": np.arange(len(rows)) * 1_000_000, "cpu": op * 0, "op": op, "pfn": pfn,
        "order": order, "migratetype": np.where(op == 0, 1, 255), "gfp_flags": op * 0,
    }  # fmt: skip
    arrays = [pa.array(columns[name], kind) for name, kind in TRACE.items()]
    told = [stacks[at % len(stacks)] if one == 0 else None for at, one in enumerate(op)]
    table = pa.table([*arrays, pa.array(told)], [*TRACE, "stack"])
    metadata = {
        "format": "potadlab-page-trace-1", "name": HOSTILE, "kernel": SCRIPT, "page_shift": 12,
        "max_order": 10, "zones": {"Normal": [0, PAGES]}, "dropped_events": 0,
    }  # fmt: skip
    pq.write_table(table.replace_schema_metadata({"potadlab": json.dumps(metadata)}), path)


@pytest.fixture(scope="module")
def rows():
    return made_rows(random.Random(7))


@pytest.fixture(scope="module")
def page(lab, browser, rows):
    write_trace(lab.folder / f"{HOSTILE}.parquet", rows)
    browser.add_init_script(HEAR)
    shown = opened(lab, browser, "everyone", SETUP)
    shown.says("ready to play")
    shown.until("dashboard.stage.settled")
    yield shown
    keep(shown, "everyone_last")
    shown.close()
    (lab.folder / f"{HOSTILE}.parquet").unlink()


def titles(page: Page) -> list[str]:
    return page.page.locator(".potadlab").get_by_role("tab").all_inner_texts()


def top(page: Page) -> None:
    """Scroll to the beginning of the dashboard."""
    page.page.evaluate("document.querySelector('.potadlab').scrollIntoView({ block: 'start' })")


# ---- what is on the screen, against what the rows say --------------------------------------------


def expected(rows, failed: set[int]) -> list[str]:
    """What each page is, after these rows: the label of its colour."""
    labels = ["free"] * PAGES
    for op, page, order in rows:
        labels[page : page + (1 << order)] = [LABELS[order] if op == 0 else "free"] * (1 << order)
    for page in failed:
        labels[page] = "failed"
    return labels


def on_screen(page: Page, name: str) -> list[str]:
    """The label of the colour that each page has on the map."""
    colours = page.page.evaluate(
        """(name) => {
          for (const each of [...Bokeh.documents].reverse()) {
            const map = each.get_model_by_name(name);
            if (!map) continue;
            const [cells] = map.renderers;
            const { palette } = cells.glyph.color_mapper;
            return Array.from(cells.data_source.data.image[0]).map((pixel) => palette[pixel]);
          }
        }""",
        f"map {name}",
    )
    shape = page.python(
        "[dashboard.window.columns, dashboard.window.rows, dashboard.window.scale,"
        " dashboard.window.granules_per_cell, dashboard.window.first]"
    )
    columns, many, scale, per_cell, first = shape
    assert (per_cell, first) == (1, 0), "a cell is a page"
    wide = columns * scale
    light = page.python("dashboard.light")
    known = {colour.lower(): label for colour, label in theme.legend_sizes(4096)}
    known |= {colour.lower(): label for colour, label in theme.legend_map(theme.BY_SIZE, light)}
    cells = [
        colours[row * scale * wide + at * scale] for row in range(many) for at in range(columns)
    ]
    return [known.get(cell.lower()[:7], cell) for cell in cells]


def test_three_random_moments_are_drawn_as_the_rows_say_also_after_a_click(page, rows):
    rng = random.Random(11)
    failed: set[int] = set()
    added = ROWS + 1  # where an op was added by hand: nowhere yet
    for turn in range(3):
        seconds = rng.uniform(0.3, 0.95) * ROWS / 1000
        top(page)
        page.page.mouse.click(*page.point("strip", seconds, 0.2))
        page.until(f"abs(dashboard._time_ns() / 1e9 - {seconds}) < 0.1 and dashboard.stage.settled")
        at = page.python("dashboard.index")
        page.says(f"op {at:,} of")
        labels = expected(rows[: at - (at > added)], failed if at > added else set())
        assert on_screen(page, "recorded")[:PAGES] == labels
        if turn == 0:
            where = rng.randrange(UNUSED, PAGES)
            columns = page.python("dashboard.window.columns")
            row, column = divmod(where, columns)
            scale = page.python("dashboard.window.scale")
            page.page.mouse.click(
                *page.point("map recorded", (column + 0.5) * scale, (row + 0.5) * scale)
            )
            page.until("dashboard.selected")
            assert page.python("dashboard.selected[1]") == where
            page.press("Fail this address")
            page.until(f"not dashboard.busy and dashboard.session.length == {ROWS + 1}")
            failed, added = {where}, at
            page.until("dashboard.stage.settled")
            assert on_screen(page, "recorded")[where] == "failed"


# ---- names that are HTML -------------------------------------------------------------------------


def quiet(page: Page) -> None:
    """Nothing of what the names say has run or become an element."""
    assert page.page.evaluate("window.hits") == 0
    assert page.page.locator(".potadlab img").count() == 0
    assert page.page.locator(".potadlab script").count() == 0


def test_names_are_text_wherever_they_stand(page, lab):
    page.says(f"opened {HOSTILE}")
    page.page.get_by_label("Colour by").select_option(label="owner")
    page.says(f"{HOSTILE}1"[:20])  # the legend
    page.run("dashboard.go(3000)")
    block = page.python("int(dashboard.session.runs['recorded'].live(3000)['granule'][1])")
    page.run(f"dashboard.choose('recorded', {block})")
    page.says("owner: ")
    top(page)
    x, y = page.map_point("recorded", 0.3, 0.1)
    page.page.mouse.move(x - 4, y)
    page.page.mouse.move(x, y)
    page.page.locator(".potadlab-tip").wait_for(state="visible")
    page.page.mouse.move(5, 5)
    find = page.page.get_by_label("Find", exact=True)
    find.fill(HOSTILE)
    find.press("Enter")
    page.says(f"{HOSTILE}: ")
    page.press("Fail this address")
    page.until("not dashboard.busy")
    page.says("failed 0x")
    page.press("Claim this")
    page.until("not dashboard.busy")
    quiet(page)
    for title in titles(page):
        page.tab(title)
        page.page.wait_for_timeout(300)
        quiet(page)
    page.tab("Keep")
    page.button("SVG").click()
    page.says(".svg")
    quiet(page)
    drawing = max(lab.folder.glob("*.svg"), key=lambda one: one.stat().st_mtime_ns)
    drawn = ElementTree.parse(drawing).getroot()
    told = [one.text or "" for one in drawn.iterfind("{http://www.w3.org/2000/svg}text")]
    assert told[0].startswith(HOSTILE)
    assert {one.tag.rpartition("}")[2] for one in drawn.iter()}.isdisjoint({"script", "img"})
    drawing.unlink()
    page.press("HTML page")
    page.says(".html")
    quiet(page)
    written = max(lab.folder.glob("*.html"), key=lambda one: one.stat().st_mtime_ns)
    beside = page.page.context.new_page()
    beside.goto(written.as_uri())
    beside.locator(".bk-Figure").first.wait_for()
    assert beside.evaluate("window.hits") == 0
    assert beside.locator("img").count() == 0
    beside.close()
    written.unlink()
    page.page.get_by_label("Colour by").select_option(label="size")
    page.tab("Here")


def test_an_error_tells_of_hostile_names_as_text_and_the_dashboard_lives_on(page):
    find = page.page.get_by_label("Find", exact=True)
    find.fill(SCRIPT + "nobody")
    find.press("Enter")
    page.page.wait_for_selector(".potadlab-error")
    assert SCRIPT in page.page.locator(".potadlab-error").inner_text()
    quiet(page)
    page.press("Play")
    page.until("dashboard.playing")
    page.press("Pause")
    page.until("not dashboard.playing and dashboard.stage.settled")


# ---- a name for each control ---------------------------------------------------------------------


def controls(page: Page) -> list[tuple[str, str]]:
    """(role, name) of each control, as the browser tells those who hear the page."""
    tools = page.page.context.new_cdp_session(page.page)
    tools.send("Accessibility.enable")
    root = tools.send("Runtime.evaluate", {"expression": "document.querySelector('.potadlab')"})
    place = {"objectId": root["result"]["objectId"]}
    found = []
    for role in ROLES:
        for node in tools.send("Accessibility.queryAXTree", {**place, "role": role})["nodes"]:
            if not node["ignored"]:
                found.append((role, node.get("name", {}).get("value", "")))
    tools.detach()
    return found


def test_every_control_of_every_tab_has_a_name(page):
    seen = 0
    for title in titles(page):
        page.tab(title)
        page.page.wait_for_timeout(300)
        found = controls(page)
        seen += len(found)
        nameless = [
            (title, role, name)
            for role, name in found
            if not any(letter.isalnum() and not "\ue000" <= letter <= "\uf8ff" for letter in name)
        ]
        assert nameless == []
        glyphs = [name for _, name in found if any("\ue000" <= one <= "\uf8ff" for one in name)]
        assert glyphs == [], "an icon is read as a letter"
    assert seen > 60
    page.tab("Here")


def test_messages_are_told_to_those_who_hear(page):
    assert page.page.locator(".potadlab [role=status]").count() >= 1


# ---- sizes and themes ----------------------------------------------------------------------------


def comes_to(page: Page, found: str, what: str) -> None:
    """What is wrong in the page comes to nothing, once all has its place."""
    for _ in range(50):
        if page.page.evaluate(found) == []:
            return
        page.page.wait_for_timeout(200)
    assert page.page.evaluate(found) == [], what


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (2560, 1440), (640, 360)], ids=["small", "large", "200%"]
)
def test_no_text_is_cut(page, width, height):
    """640 x 360 is 1280 x 720 with text at 200 %."""
    page.page.set_viewport_size({"width": width, "height": height})
    try:
        for title in titles(page):
            page.tab(title)
            page.page.wait_for_timeout(400)
            keep(page, f"everyone_{width}_{title}")
            comes_to(page, CUT, title)
            if width > 640:  # a table may be wider than a phone
                comes_to(page, SIDEWAYS, f"{title} scrolls sideways")
    finally:
        page.tab("Here")
        page.page.set_viewport_size({"width": 1280, "height": 720})


def test_every_colouring_follows_the_theme_as_it_changes(page):
    change = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    shown = """() => {
      for (const each of [...Bokeh.documents].reverse()) {
        const map = each.get_model_by_name("map recorded");
        if (map) return map.renderers[0].glyph.color_mapper.palette.map((one) => one.toLowerCase());
      }
    }"""
    try:
        for name, light in (("JupyterLab Dark", False), ("JupyterLab Light", True)):
            page.page.evaluate(change, name)
            page.until(f"dashboard.light == {light}")
            palette = [colour.lower() for colour in theme.palette(light)]
            page.page.wait_for_function(
                f"(palette) => ({shown})().join() === palette", arg=",".join(palette)
            )
            for colouring in theme.ALL_COLOURINGS:
                page.page.get_by_label("Colour by").select_option(label=colouring)
                page.until(f"dashboard.controls.colouring.value == {colouring!r}")
                page.until("dashboard.stage.settled")
                for colour, _ in theme.legend_map(colouring, light):
                    page.page.wait_for_function(
                        """(colour) => [...document.querySelectorAll(".potadlab-key i")]
                          .some((key) => key.getAttribute("style").includes(colour))""",
                        arg=colour,
                    )
                keep(page, f"everyone_{'light' if light else 'dark'}_{colouring.replace(' ', '')}")
    finally:
        page.page.evaluate(change, "JupyterLab Light")
        page.page.get_by_label("Colour by").select_option(label="size")


def test_neither_notebook_nor_console_has_errors(page):
    outputs = page.outputs()
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert page.console == []
