"""Lookup: how long it takes from an address to its descriptor, measured; which lines it reads."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..core.lookups import LOOKUPS
from ..core.metered import AVAILABLE
from ..errors import BadSize
from ..kinds import KINDS
from ..metrics import latency, lines
from ..metrics.latency import Latency
from ..units import format_size
from ..views import latency as latency_view
from ..views import theme, touched
from . import words
from .comparing import table
from .parts import button, choice, html, on_clicks, row, show_nothing, tick
from .stage import put_beside
from .work import Latest

if TYPE_CHECKING:
    from .lab import Dashboard

USUAL = ("memmap", "maple", "heads")
POPULATIONS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
LIVE = "live now"
_ALL = "10,000 to 1,000,000"
_SEVERAL = (10_000, 100_000, 1_000_000)
_LINES_COUNTED = 1 << 14
HEADS = ["lookup", "blocks", "independent, ns", "dependent, ns", "batch p50, ns", "batch p99, ns"]
HEADS += ["lines per lookup", "bytes per block"]
_NOTHING = ("nothing measured yet", None)
_ONCE = "the first time on a machine it compiles"
_WORDS = (
    "Random addresses inside random live blocks; every structure answers with start, order, kind "
    f"and owner. A sample is the mean of {latency.BATCH} lookups that wait for one another, timed "
    f"by {latency.clock()}; so a single slow lookup does not show. Compare within one measurement."
)


class Looking:
    """The tab of that name."""

    title = "Lookup"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.measured: dict[str, list[Latency]] = {}  # by population
        self.lines: dict[str, dict[str, lines.LookupLines]] = {}
        self.plots: list[Any] = []
        self._filled: dict[tuple[Any, ...], lines.Lookups] = {}  # one, the last
        self._lit_for: tuple[Any, ...] = ()  # session, allocator, moment, granule
        self._latest = Latest(board.worker, self._no_lines)
        self._make_widgets()
        self.root = self._layout()
        self._tell()
        self._connect()

    def _make_widgets(self) -> None:
        self.structures = {name: tick(name, f"measure {name}", name in USUAL) for name in LOOKUPS}
        populations = [(f"{count:,} blocks", count) for count in POPULATIONS]
        options = [("blocks live now", 0), *populations, (_ALL, -1)]
        self.population = choice(options, -1, "Population", "230px")
        self.population.tooltip = "how many blocks the structures hold"
        self.count = tick(
            "count lines", "cache lines of each lookup too: compiles for it, once", AVAILABLE
        )
        self.measure = button("clock-o", "time the ticked structures", "Measure lookups", "140px")
        self.shown = choice([_NOTHING], None, "Show", "230px")
        self.shown.tooltip = "which curves: structures at one population, or one at all"
        self.follow = widgets.ToggleButton(
            False,
            icon="lightbulb-o",
            description="Light up the lines",
            tooltip="for each byte that is clicked on a map: which lines its lookup reads",
            layout=widgets.Layout(width="160px", flex="0 0 auto"),
        )
        self.follow.disabled = not AVAILABLE
        self.again = button("refresh", "light them up again", "Again", "80px")
        self.lit, self.table, self.told = html(width="100%"), html(width="100%"), html(width="100%")
        self._figures = row(flex_flow="row wrap")

    def _layout(self) -> widgets.VBox:
        style = widgets.HTML(touched.STYLE, layout=widgets.Layout(display="none"))
        lookup = row(self.follow, self.again, html("<b>of a byte's lookup</b>"))
        ticks = row(*self.structures.values(), flex_flow="row wrap")
        asked = row(self.population, self.count, self.measure, self.shown, flex_flow="row wrap")
        parts = [style, lookup, self.lit, ticks, asked, self._figures, self.table, self.told]
        return widgets.VBox(parts)

    def _connect(self) -> None:
        board = self._board
        again = lambda: self._light(again=True)  # noqa: E731
        on_clicks(board._act, {self.measure: self.time, self.again: again})
        self.follow.observe(lambda _change: board._act(self._light), "value")
        self.shown.observe(lambda _change: board._act(self._draw), "value")

    def opened(self) -> None:
        """Other blocks: what was measured of the ones that lived then is of another session."""
        self._latest.drop()
        self._filled, self._lit_for, self.lit.value = {}, (), ""
        self.lines.pop(LIVE, None)
        if self.measured.pop(LIVE, None):
            self._offer(self.shown.value)
            self._draw()

    def close(self) -> None:
        self._latest.close()
        self._filled, self._lit_for = {}, ()

    def moved(self) -> None:
        for plot in self.plots:
            theme.dress(plot, self._board.light)
        self._light()

    # ---- one byte ----

    def _light(self, again: bool = False) -> None:
        """The lines that the lookup of the chosen byte reads, in three structures."""
        board = self._board
        if not self.follow.value:
            return
        if board.selected is None:
            self.lit.value = words.lines(["Click on a map: any byte of it is looked up here."])
            return
        name, granule = board.selected
        asked = (board._live(), name, board.index, granule)
        if asked == self._lit_for and not again:
            return
        self._lit_for = asked
        names = [each for each, box in self.structures.items() if box.value] or list(USUAL)
        self.lit.value = words.lines(["reading: the first time on a machine it compiles, a while"])
        blocks, granules = board._live().blocks(name, board.index), board._live().space.granules
        key = (*asked[:3], tuple(names))

        filled = self._filled

        def work() -> dict[str, lines.Answer]:
            if key not in filled:
                filled.clear()  # before the next ones are made: they are large
                filled[key] = lines.Lookups(names, blocks, granules)
            return filled[key].at(granule)

        self._latest.ask(work, lambda found: self._show_lines(name, granule, found))

    def _show_lines(self, name: str, granule: int, found: dict[str, lines.Answer]) -> None:
        unit = self._board._live().space.granule_bytes
        drawn = [
            touched.draw(each, touched.columns(answer.touched), [_answered(answer, unit)])
            for each, answer in found.items()
        ]
        head = words.lines([f"{name}, the byte at {words.address(granule * unit)}:"])
        self.lit.value = head + touched.cards(drawn) + touched.LEGEND

    def _no_lines(self, error: Exception) -> None:
        self.lit.value = ""
        self._board._failed(error)

    # ---- many ----

    def time(self) -> None:
        """Measure the ticked structures at the chosen population, or at several."""
        board, chosen = self._board, self.population.value
        names = [name for name, box in self.structures.items() if box.value]
        if not names:
            raise BadSize("no structure is ticked: tick one to measure")
        counted = self.count.value and AVAILABLE
        jobs = [self._job(count) for count in (_SEVERAL if chosen < 0 else (chosen,))]

        def work() -> list[tuple[str, list[Latency], dict[str, lines.LookupLines]]]:
            return [
                (label, *_measured(make(), names, counted, _part(board, at, len(jobs), label)))
                for at, (label, make) in enumerate(jobs)
            ]

        board._work("measuring lookups", work, self._show)

    def _job(self, count: int) -> tuple[str, Any]:
        """What a population is called, and what makes it: (BLOCK[], granules, in service)."""
        if count:
            return f"{count:,} blocks", lambda: (*latency.generated(count), None)
        board = self._board
        session, name, index = board._live(), board.names[0], board.index
        served = int(np.diff(session.in_service(name, index), axis=1).sum())
        blocks, granules = session.runs[name].live(index), session.space.granules
        if not len(blocks):
            raise BadSize(f"no block lives now in {name}: go on in time first")
        return LIVE, lambda: (blocks, granules, served)

    def _show(self, found: list[tuple[str, list[Latency], dict[str, lines.LookupLines]]]) -> None:
        for label, measured, counted in found:
            self.measured[label], self.lines[label] = measured, counted
        self._offer(found[-1][0])
        self._draw()
        self._board.say("lookups: measured")

    def _offer(self, chosen: str = "") -> None:
        """Every population, and every structure that was measured at several."""
        several = len(self.measured) > 1
        names = {one.lookup: None for found in self.measured.values() for one in found}
        options = [*self.measured, *((f"{name}, all populations") for name in names if several)]
        self._board._quiet = True
        self.shown.options = options or [_NOTHING]
        self.shown.value = chosen if chosen in options else next(iter(options), None)
        show_nothing(self.shown)
        self._board._quiet = False

    def curves(self) -> list[Latency]:
        """What is shown: each named as the legend is to call it."""
        shown = self.shown.value
        if shown in self.measured:
            return self.measured[shown]
        return [
            replace(one, lookup=f"{one.lookup}, {label}")
            for label, found in self.measured.items()
            for one in found
            if shown == f"{one.lookup}, all populations"
        ]

    def _draw(self) -> None:
        curves = self.curves()
        title = f"At most so long: {self.shown.value or _NOTHING[0]}"
        self.plots = [
            latency_view.draw(curves, title, lambda one: one.lookup),
            latency_view.draw_histogram(curves),
        ]
        if len(self.measured) > 1:
            every = [one for found in self.measured.values() for one in found]
            self.plots.append(latency_view.draw_populations(every))
        for plot in self.plots:
            plot.height = 210
            theme.dress(plot, self._board.light)
        put_beside(self._figures, self.plots)
        self._tell()

    def rows(self) -> list[list[str]]:
        """The table, below HEADS."""
        return [
            [
                one.lookup,
                f"{one.blocks:,}",
                f"{one.independent_ns:.1f}",
                f"{one.dependent_ns:.1f}",
                f"{one.p50_ns:.1f}",
                f"{one.p99_ns:.1f}",
                self._lines_of(label, one.lookup),
                f"{one.bytes_per_block:.1f}",
            ]
            for label, found in self.measured.items()
            for one in found
        ]

    def _lines_of(self, label: str, name: str) -> str:
        found = self.lines.get(label, {}).get(name)
        return f"{found.lookup:.2f}" if found else "not counted"

    def _tell(self) -> None:
        self.table.value = table(HEADS, self.rows()) if self.measured else ""
        self.told.value = words.lines([_WORDS])


def _part(board: "Dashboard", at: int, parts: int, label: str) -> Any:
    return lambda share, what: board._progress((at + share) / parts, f"{label}: {what}")


def _measured(
    population: tuple[np.ndarray, int, int | None], names: list[str], counted: bool, tell: Any
) -> tuple[list[Latency], dict[str, lines.LookupLines]]:
    blocks, granules, served = population
    share = 0.6 if counted else 1.0
    found = latency.measure(
        blocks,
        granules,
        names,
        in_service=served,
        progress=lambda done, what: tell(done * share, what),
    )
    if not counted:
        return found, {}
    more = lines.of_lookups(
        blocks,
        granules,
        names,
        count=_LINES_COUNTED,
        updates=False,
        progress=lambda done, what: tell(share + done * (1 - share), f"{what}; {_ONCE}"),
    )
    return found, more


def _answered(answer: lines.Answer, unit: int) -> str:
    if answer.start < 0:
        return "answers: in no live block"
    size, at = format_size(unit << answer.order), words.address(answer.start * unit)
    return f"answers: a block of {size} from {at}, {KINDS[answer.kind].name}"
