"""Descriptors: bytes by kind over time beside a word for every page, and what if they were other.

Sliders change nothing but arithmetic over how many blocks of each kind live.
"""

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..kinds import KINDS, facts
from ..units import MIB, format_size
from ..views import timeline, whatif
from . import words
from .parts import button, choice, html, row
from .stage import put_beside

if TYPE_CHECKING:
    from .lab import Dashboard

EVERY_PAGE, ONLY = "64 B per page", "descriptors"
SLIDER_MAX, SLIDER_STEP = 512, 8  # bytes of a record
_WORDS = (
    "Sliders: bytes of a kind's record, 0 for none. A block has a slot of 16 B in the lookup, in "
    "which 8 B of its record (owner, state) lie; start bits are POTAD's own. 16 and 8 B per page "
    "lead to descriptors: the red line is 8 B and those."
)


class Describing:
    """The tab of that name."""

    title = "Descriptors"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.record_bytes = facts()["record_bytes"].copy()
        self.sliders: dict[int, widgets.IntSlider] = {}  # by kind
        self.reset = button("undo", "sizes as the table of kinds has them", "As they are", "110px")
        self.axis = choice([EVERY_PAGE, ONLY], EVERY_PAGE, "Axis up to", "220px")
        self.axis.tooltip = "how far the axis of the figure over time goes"
        self.told = html(width="100%")
        self._choices = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self._figures = row(flex_flow="row wrap", min_height="260px", align_items="flex-start")
        self.root = widgets.VBox(
            [self._figures, self.told, row(self.axis, self.reset), self._choices]
        )
        self.marker = timeline.source()
        self._choices.add_class("potadlab-whatif")
        self.plots: tuple[Any, ...] = ()
        self._built: tuple[Any, ...] = ()  # session and ops that the figures are of
        self.axis.observe(lambda _change: board._act(self._rise), "value")
        self.reset.on_click(lambda _button: board._act(self.as_they_are))

    def opened(self) -> None:
        """Other ops: other counts.  Figures are made when the tab is looked at."""
        self._built = ()

    def close(self) -> None:
        self._built = ()

    def moved(self) -> None:
        """The bars are of the moment; the line in the other figure too."""
        board = self._board
        session = board._live()
        if self._built != (session, session.length, id(session.ops)):
            self._built = (session, session.length, id(session.ops))
            self._build()
        for plot in self.plots:
            whatif.dress(plot, board.light)
        self.marker.data = timeline.columns(board._time_ns())
        self._fill(over_time=False)

    def _build(self) -> None:
        session = self._board._live()
        name = session.names[0]
        self._census = session.runs[name].census
        ranges = session.in_service(name, session.length)
        self._served = int(np.diff(ranges, axis=1).sum())
        self.marker = timeline.source(clock=session.clock)
        seconds = max(session.time_ns(session.length) / 1e9, 1e-9)
        over, self.over_time = whatif.draw(self._columns(), seconds, self.marker)
        now, self.now = whatif.draw_bars(self._bars())
        self.plots = over, now
        put_beside(self._figures, self.plots, "58 1 380px", "42 1 300px")
        self._make_sliders()

    def _columns(self) -> dict[str, np.ndarray]:
        session, census = self._board._live(), self._census
        return whatif.columns(
            census.time_ns,
            census.live_blocks,
            self.record_bytes,
            self._served,
            session.space.granules,
        )

    def _bars(self) -> dict[str, list[Any]]:
        board = self._board
        session = board._live()
        live = session.runs[session.names[0]].live(board.index)
        return whatif.bars(np.bincount(live["kind"], minlength=len(KINDS)), self.record_bytes)

    def _make_sliders(self) -> None:
        kinds = whatif.present(self._census.live_blocks)
        for kind in kinds:
            if kind not in self.sliders:
                self.sliders[kind] = self._slider(kind)
        self._choices.children = [self.sliders[kind] for kind in kinds]

    def _slider(self, kind: int) -> widgets.IntSlider:
        usual = int(self.record_bytes[kind])
        slider = widgets.IntSlider(
            usual,
            min=0,
            max=max(SLIDER_MAX, usual),
            step=SLIDER_STEP,
            description=f"{KINDS[kind].name}, B",
            tooltip=f"bytes of the record of a block of kind {KINDS[kind].name}; now {usual} B",
            style={"description_width": "110px"},
            layout=widgets.Layout(width="340px"),
        )
        slider.observe(
            lambda change: self._board._act(lambda: self.set(kind, change["new"])), "value"
        )
        return slider

    def set(self, kind: int, record_bytes: int) -> None:
        """A record of this kind takes so many bytes."""
        self.record_bytes[kind] = record_bytes
        self._fill()

    def as_they_are(self) -> None:
        """Sizes of the table of kinds again."""
        self.record_bytes = facts()["record_bytes"].copy()
        self._board._quiet = True
        for kind, slider in self.sliders.items():
            slider.value = int(self.record_bytes[kind])
        self._board._quiet = False
        if self.plots:
            self._fill()

    def _fill(self, over_time: bool = True) -> None:
        if over_time:
            found = self._columns()
            self.over_time.data = found
            self._rise()
        bars = self._bars()
        self.now.data = bars
        self.plots[1].y_range.factors = bars["kind"][::-1]
        self.plots[1].x_range.end = whatif.top_of_bars(bars)
        self._tell(bars)

    def _rise(self) -> None:
        """The axis goes as far as is asked for."""
        if self.plots:
            top = whatif.top if self.axis.value == EVERY_PAGE else whatif.top_of_stack
            self.plots[0].y_range.end = top(self._columns())

    def _tell(self, bars: dict[str, list[Any]]) -> None:
        """The sum at this moment, beside what pages would cost."""
        start = float(self.over_time.data[whatif.START_BITS][0])
        total = (sum(bars["mib"]) + start) * MIB
        pages = [
            f"{format_size(each * self._served)} at {each} B ({each * self._served / total:.2f} x)"
            for each in whatif.PER_PAGE
        ]
        now = (
            f"Now: {sum(bars['blocks']):,} blocks, {format_size(total)} with "
            f"{format_size(start * MIB)} of start bits; a word for each of {self._served:,} pages: "
            f"{', '.join(pages)}."
        )
        self.told.value = words.lines([now, _WORDS])
