"""Allocators by hand in the real JupyterLab: ask, click, release, and see what became of it."""

import nbformat
import pytest
from pages import Page, keep

SETUP = """
import potadlab as pl

ram = pl.Space.ram("64KiB", granule="4KiB")
potad, buddy = pl.Potad(ram), pl.Buddy(ram)
hand = pl.lab.Hand(potad, buddy)
hand
"""


@pytest.fixture(scope="module")
def page(lab, browser):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SETUP)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(book, lab.folder / "hand.ipynb")
    shown = Page(browser.new_page())
    shown.page.goto(lab.address("hand.ipynb"))
    shown.page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    shown.page.evaluate("window.jupyterapp.shell.collapseLeft()")
    shown.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    shown.page.wait_for_selector(".potadlab .bk-Figure")
    yield shown
    keep(shown, "hand_last")
    shown.page.close()


def test_it(page):
    page.page.wait_for_timeout(3000)
    keep(page, "hand_start")
    page.press("Allocate")
    page.says("allocate 8 KiB")
    page.page.wait_for_timeout(1000)
    page.press("Allocate")
    page.run("b = buddy.allocate('16KiB', owner='code <b>')")
    page.run("b = potad.allocate('16KiB', owner='code <b>')")
    page.page.wait_for_timeout(1000)
    keep(page, "hand_two")
    print(page.console, page.python("hand.log"))
