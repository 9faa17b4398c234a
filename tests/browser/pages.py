"""A notebook's page as a person sees it, with the kernel behind it."""

import json
import os
import re
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path

import nbformat

FIGURE = ".potadlab .bk-Figure"
WAIT_S = 300  # much may have to be compiled first; a test that fails takes as long
NOISE = re.compile("favicon")


class Page:
    """The page as a person sees it, and the kernel behind it."""

    def __init__(self, page):
        self.page, self.console, self.path = page, [], ""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def _hear(self, message):
        if message.type == "error" and not NOISE.search(message.text):
            self.console.append(message.text)

    def close(self) -> None:
        """Close the page, and end the kernels behind it: each holds a gigabyte or two."""
        self.page.evaluate(
            """() => {
              const shown = [...(window.jupyterapp?.shell.widgets("main") ?? [])];
              return Promise.all(shown.map((one) => one.sessionContext?.shutdown()));
            }"""
        )
        self.page.close()

    def python(self, expression: str):
        """The value of an expression in the notebook's kernel."""
        text = self.run(f"import json; print(json.dumps({expression}))")
        return json.loads(text.strip().splitlines()[-1])

    def of(self, path: str) -> "Page":
        """The same page with the kernel of the notebook at a path, be it in front or not."""
        other = copy(self)
        other.path = path
        return other

    def run(self, code: str) -> str:
        """What code prints in the notebook's kernel."""
        return self.page.evaluate(
            """async ([code, path]) => {
              const { shell } = window.jupyterapp;
              const behind = [...shell.widgets("main")].find((one) => one.context?.path === path);
              const kernel = (behind ?? shell.currentWidget).sessionContext.session.kernel;
              const future = kernel.requestExecute({ code, store_history: false });
              let text = "";
              future.onIOPub = ({ header, content }) => {
                if (header.msg_type === "stream") text += content.text;
                if (header.msg_type === "error") text += content.evalue;
              };
              await future.done;
              return text;
            }""",
            [code, self.path],
        )

    def says(self, words: str) -> None:
        """Wait until the dashboard shows the words."""
        self.page.wait_for_function(
            "(words) => document.querySelector('.potadlab')?.innerText.includes(words)", arg=words
        )

    def until(self, expression: str) -> None:
        """Wait until an expression in the kernel is true."""
        self.await_(lambda: self.python(f"bool({expression})"), f"true: {expression}")

    def await_(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        end = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < end, f"never {what}; console: {self.console}"
            self.page.wait_for_timeout(100)

    def button(self, text: str):
        """The button that says just this; its icon is a letter to those who ask by role."""
        return self.page.locator(".potadlab button", has_text=re.compile(f"^{re.escape(text)}$"))

    def press(self, text: str) -> None:
        self.page.locator(".potadlab button:enabled:visible", has_text=text).click()

    def tab(self, title: str) -> None:
        """Bring a tab of the dashboard to the front."""
        self.page.locator(".potadlab").get_by_role("tab", name=title, exact=True).click()

    def map_point(self, name: str, across: float, down: float) -> tuple[float, float]:
        """Where on the screen a share of a map's frame lies."""
        return self._in_figure(
            f"map {name}", "left + across * width", "top + down * height", across, down
        )

    def point(self, figure: str, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a point of a figure lies, given in its own units."""
        return self._in_figure(
            figure, "frame.x_scale.compute(across)", "frame.y_scale.compute(down)", x, y
        )

    def _in_figure(
        self, figure: str, right: str, below: str, across: float, down: float
    ) -> tuple[float, float]:
        """A point of the newest figure of a name, by two JavaScript terms for its place in it."""
        return tuple(
            self.page.evaluate(
                f"""([name, across, down]) => {{
                  const found = [];
                  const walk = (view) => {{
                    if (view.model.name === name) found.push(view);
                    for (const child of view.children()) walk(child);
                  }};
                  for (const root of Bokeh.index) walk(root);
                  const {{ el, frame }} = found[found.length - 1];
                  const box = el.getBoundingClientRect();
                  const {{ left, top, width, height }} = frame.bbox;
                  return [box.x + {right}, box.y + {below}];
                }}""",
                [figure, across, down],
            )
        )

    def columns(self, model: str) -> dict[str, list]:
        """The columns of a source, by the Python expression that names it, as the page has them."""
        return self.page.evaluate(
            """(id) => {
              const found = Bokeh.documents.map((each) => each.get_model_by_id(id));
              const data = Object.entries(found.find((model) => model).data);
              return Object.fromEntries(data.map(([name, column]) => [name, Array.from(column)]));
            }""",
            self.python(f"{model}.id"),
        )

    def open(self, address: str, figure: str = FIGURE) -> None:
        """Open a notebook and run it from top to bottom, until it shows a figure."""
        self.page.goto(address)
        self.page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'"
        )
        self.page.evaluate("window.jupyterapp.shell.collapseLeft()")
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_selector(figure)

    def outputs(self) -> list[dict]:
        """Outputs of all cells of the notebook."""
        return self.page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
              .filter((cell) => cell.type === "code").flatMap((cell) => cell.outputs.toJSON())"""
        )


def opened(lab, browser, name: str, code: str, figure: str = FIGURE) -> Page:
    """A page of its own with a notebook of one cell, run; the workspace's name takes no dot."""
    cell = nbformat.v4.new_code_cell(code)
    cell.metadata["jupyter"] = {"source_hidden": True}
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(book, lab.folder / f"{name}.ipynb")
    shown = Page(browser.new_page())
    shown.open(lab.address(f"{name}.ipynb"), figure)
    return shown


def keep(shown: Page, name: str) -> None:
    """Save a screenshot where POTADLAB_SHOTS says."""
    if folder := os.environ.get("POTADLAB_SHOTS"):
        shown.page.screenshot(path=Path(folder) / f"{name}.png")


def picture(shown: Page, name: str, of: str = ".potadlab") -> None:
    """Renew a picture of README where POTADLAB_PICTURES says (`make pictures`), `of` at its top."""
    if folder := os.environ.get("POTADLAB_PICTURES"):
        shown.page.mouse.move(0, 0)  # no tip over it
        shown.page.emulate_media(reduced_motion="reduce")  # lines are lit at once
        shown.page.locator(of).first.evaluate("(part) => part.scrollIntoView({ block: 'start' })")
        shown.page.wait_for_timeout(600)  # what is drawn is drawn
        shown.page.screenshot(path=Path(folder) / f"{name}.png")
        shown.page.emulate_media(reduced_motion="no-preference")


def narrow(shown: Page, name: str) -> list[str]:
    """Figures that are too narrow to read, or cut, on a page of 640 x 360: 200 % of 1280 x 720."""
    page, wrong = shown.page, []
    page.set_viewport_size({"width": 640, "height": 360})
    page.wait_for_timeout(800)  # until all is laid out anew
    keep(shown, f"{name}_200")
    right = page.locator(".potadlab").first.bounding_box()
    for figure in page.locator(f"{FIGURE}:visible").all():
        box = figure.bounding_box()
        if box["width"] < 180 or box["x"] + box["width"] > right["x"] + right["width"] + 1:
            wrong.append(f"{figure.inner_text()[:40]!r}: {box}")
    page.set_viewport_size({"width": 1280, "height": 720})
    page.wait_for_timeout(800)
    return wrong
