"""The figures as a page that opens without a server: growth, filling, all subjects, all numbers."""

from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.embed import components
from bokeh.resources import Resources

from ..report import page
from ..report.sheet import html_table
from ..views import speed, theme

if TYPE_CHECKING:
    from . import Bench

_GROWN = (
    "The same load in ever larger spaces, and pages at random in 8 GiB that are in use to so many "
    "percent. A line is of medians, a ring the best round; null is the harness."
)
_NOT_MEASURED = "Growth and filling take minutes: `potadlab bench core` measures them."


def html_page(bench: "Bench") -> str:
    """The page, as text."""
    plots: dict[str, Any] = {
        subject: speed.draw(bench.figures, subject)
        for subject in (speed.GROWTH, speed.FILLING)
        if speed.series(bench.figures, subject)
    }
    grown = len(plots)
    for subject, columns in speed.subjects(bench.figures).items():
        plots[subject] = speed.draw_subject(subject, columns)
    for plot in plots.values():
        theme.dress(plot, light=True)
    script, divs = components(plots) if plots else ("", {})
    cards = [page.card(div) for div in divs.values()]
    body = _SECTION.format(
        command=escape(bench.command),
        told=escape(f"core {bench.core}; C: {bench.c}"),
        grown_note=escape(_GROWN if grown else _NOT_MEASURED),
        grown="".join(cards[:grown]),
        subjects="".join(cards[grown:]),
        rows=html_table(rows(bench)),
        script=script,
    )
    head = Resources(mode="inline", components=["bokeh"]).render()
    return page.whole("potadlab bench", "how fast", head, body)


def rows(bench: "Bench") -> tuple[list[str], list[list[str]]]:
    """Every figure, in order of its name."""
    lines = [
        [name, f"{figure.median:,.5g}", f"{figure.best:,.5g}", figure.unit]
        for name, figure in sorted(bench.figures.items())
    ]
    return ["figure", "median", "best", "unit"], lines


_SECTION = """<section>
<h2>{command}</h2>
<p class="note">{told}. Contestants took turns on one core, in shuffled order; times are of the
processor.</p>
<h3>How it grows</h3>
<p class="note">{grown_note}</p>
<div class="cards">{grown}</div>
<h3>Side by side</h3>
<p class="note">A bar is the median of nine rounds, the mark the best; POTAD in blue.</p>
<div class="cards">{subjects}</div>
<h3>All figures</h3>
{rows}
{script}
</section>"""
