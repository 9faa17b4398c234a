"""A figure of one's own in the real JupyterLab, in a notebook without any other widget."""

from pages import opened

CELL = """\
import potadlab as pl
from bokeh.plotting import figure

drawn = figure(name="drawn", width=300, height=200)
drawn.line([0, 1], [0, 1])
pl.lab.show(drawn)"""


def test_a_figure_shows_without_any_other_widget(lab, browser):
    shown = opened(lab, browser, "show", CELL, ".bk-Figure")
    x, y = shown.point("drawn", 0.5, 0.5)
    assert x > 0
    assert y > 0
    assert shown.console == []
    shown.close()
