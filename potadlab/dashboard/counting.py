"""Lines: how many each op touches, in which structure, over time; op by op; asked for by hand."""

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..core.layout import NONE, Verb
from ..core.metered import AVAILABLE
from ..kinds import KINDS
from ..metrics.lines import Lines, LinesOverTime, Touched
from ..runs import Case, Touching, chosen, lines_over_time
from ..units import format_size
from ..views import lines as lines_view
from ..views import theme, timeline, touched
from . import words
from .asking import Asks, came_of
from .parts import button, choice, html, on_clicks, row
from .stage import put_beside
from .work import Latest

if TYPE_CHECKING:
    from .lab import Dashboard

STRETCHES = 120
ALL_OPS = "both"
VERBS = {ALL_OPS: (0, 1), "allocate": (0,), "release": (1,)}  # rows of by_array
_COMPILES = "the first time on a machine its kernels are compiled with a meter, a minute or so"
_FIRST = "The first time on a machine the kernels are compiled with a meter: a minute or so each."
Counted = tuple[Lines, np.ndarray, LinesOverTime]  # EVENT[] with the lines of each op


class Counting:
    """The tab of that name."""

    title = "Lines"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.counted: dict[str, Counted] = {}
        self.plots: list[Any] = []
        self.markers: list[Any] = []  # of the figures; a source is of one document
        self._each: dict[str, Touching] = {}
        self._stepped: tuple[Any, ...] = ()
        self._latest = Latest(board.worker, self._no_lines)
        self._make_widgets()
        self.asks = Asks(self._moment, board.worker, board._failed)
        self.root = self._layout()
        self._connect()

    def _make_widgets(self) -> None:
        self.count = button("calculator", f"count every op. {_FIRST}", "Count all ops", "120px")
        self.verb = choice(list(VERBS), ALL_OPS, "Ops", "140px")
        self.verb.tooltip = "of which ops the mean is shown"
        self.dearest = button("arrow-up", "go to the op with the most lines", "Dearest op", "110px")
        self.steps = widgets.ToggleButton(
            False,
            icon="eye",
            description="Op by op",
            tooltip=f"the lines that the op of this moment touched. {_FIRST}",
            layout=widgets.Layout(width="100px", flex="0 0 auto"),
        )
        self.back = button("step-backward", "to the op before")
        self.on = button("step-forward", "to the next op")
        self.told = html(words.lines([_FIRST]), flex="1 1 200px")
        self.cards = html(width="100%")
        self._figures = row(flex_flow="row wrap")
        self._figures.add_class("potadlab-lines-over-time")

    def _layout(self) -> widgets.VBox:
        style = widgets.HTML(touched.STYLE, layout=widgets.Layout(display="none"))
        first = row(
            self.steps, self.back, self.on, self.count, self.verb, self.dearest, self.told,
            flex_flow="row wrap",
        )  # fmt: skip
        asks = html("<b>Ask for memory at this moment</b> (the trace stays as it is)")
        return widgets.VBox([style, first, self.cards, self._figures, asks, self.asks.root])

    def _connect(self) -> None:
        board = self._board
        for each in (self.count, self.steps):
            each.disabled = not AVAILABLE
        clicks = {
            self.count: self.count_all,
            self.dearest: self.go_to_dearest,
            self.back: lambda: board.step(-1),
            self.on: lambda: board.step(1),
        }
        on_clicks(board._act, clicks)
        self.steps.observe(lambda _change: board._act(self._step), "value")
        self.verb.observe(lambda _change: board._act(self._draw), "value")

    def _names(self) -> list[str]:
        """Allocators that place blocks by themselves."""
        names = self._board._live().names
        return [name for name in names if not chosen(name).allocator.needs_record]

    def _moment(self) -> tuple[Case, int, str] | None:
        board = self._board
        session = board.session
        if session is None:
            return None
        case = session.runs[session.names[0]].case
        return case, board.index, f"{session.trace.name} after {board.index:,} ops"

    def opened(self) -> None:
        """Other ops: nothing of them is counted yet."""
        self._latest.drop()
        self.counted, self._each, self._stepped = {}, {}, ()
        self._close_figures()
        self.cards.value = ""
        self.told.value = words.lines([_FIRST])
        self.asks.forget()

    def close(self) -> None:
        self.opened()
        self._latest.close()
        self.asks.close()

    def moved(self) -> None:
        """The op by op view follows; what was asked by hand was asked at another moment."""
        board = self._board
        for plot in self.plots:
            theme.dress(plot, board.light)
        for marker in self.markers:
            marker.data = timeline.columns(board._time_ns())
        self.asks.moved()
        self._step()

    # ---- op by op ----

    def _step(self) -> None:
        """The lines of the last op done, in every allocator."""
        board = self._board
        if not self.steps.value:
            self._latest.drop()
            self.cards.value, self._stepped = "", ()
            return
        session, index = board._live(), board.index
        if self._stepped == (session, len(session.ops), index):
            return
        self._stepped = session, len(session.ops), index
        if index == 0:
            self.cards.value = words.lines(["No op has been done yet: step on."])
            return
        cases, each = {name: session.runs[name].case for name in self._names()}, self._each

        def work() -> dict[str, list[Touched]]:
            found = {}
            for name, case in cases.items():
                if name not in each or each[name].case is not case:
                    each[name] = Touching(name, case)
                    board.worker.from_thread(self._say_step, f"{looking} in {name}; {_COMPILES}")
                found[name] = each[name].at(index - 1)
            return found

        looking = f"looking at op {index:,}"
        self._say_step(looking)
        self._latest.ask(work, lambda found: self._show_step(index, found))

    def _say_step(self, text: str) -> None:
        self.told.value = words.lines([f"{text} ..."])

    def _show_step(self, index: int, found: dict[str, list[Touched]]) -> None:
        session = self._board._live()
        unit = session.space.granule_bytes
        op = session.ops[index - 1]
        drawn = [
            touched.draw(
                name, touched.columns(lines), [came_of(session.runs[name].events[index - 1], unit)]
            )
            for name, lines in found.items()
        ]
        said = f"op {index:,}: {_asked(op, unit)}"
        if int(op["owner"]) != NONE:  # a release tells none
            said += f", by {words.short(session.owner(int(op['owner'])))}"
        self.cards.value = words.lines([said]) + touched.cards(drawn) + touched.LEGEND
        self.told.value = ""

    def _no_lines(self, error: Exception) -> None:
        self.told.value = ""
        self._board._failed(error)

    # ---- all ops, over time ----

    def count_all(self) -> None:
        """Replay every allocator with a meter, a stretch of time at a time."""
        board, names = self._board, self._names()
        session = board._live()
        times = self._times()
        edges = [session.index_at(int(time)) for time in times]
        edges[0], edges[-1] = 0, session.length

        def work() -> dict[str, Counted]:
            found = {}
            for at, name in enumerate(names):
                what = f"counting the lines of {name}; the first time it compiles a minute or so"

                def tell(share: float, at: int = at, what: str = what) -> None:
                    board._progress((at + share) / len(names), what)

                case = session.runs[name].case
                found[name] = lines_over_time(name, case, edges, tell=tell)
            return found

        board._work("counting lines", work, self._show)

    def _times(self) -> np.ndarray:
        session = self._board._live()
        return np.linspace(0, max(session.time_ns(session.length), 1), STRETCHES + 1)

    def _show(self, counted: dict[str, Counted]) -> None:
        self.counted = counted
        self._draw()
        self._board.say("lines: counted")
        self._board._say_part()

    def columns(self) -> dict[str, dict[str, np.ndarray]]:
        """Of each allocator what its figure shows."""
        rows, times = list(VERBS[self.verb.value]), self._times()
        return {
            name: lines_view.over_time(
                times,
                over.ops[:, rows].sum(axis=1),
                {array: counts[:, rows].sum(axis=1) for array, counts in over.by_array.items()},
            )
            for name, (_, _, over) in self.counted.items()
        }

    def _draw(self) -> None:
        if not self.counted:
            return
        found = self.columns()
        session = self._board._live()
        seconds = max(session.time_ns(session.length) / 1e9, 1e-9)
        high = 1.05 * max(lines_view.top(each) for each in found.values()) or 1.0
        self._close_figures()
        for name, each in found.items():
            marker = timeline.source(self._board._time_ns(), session.clock)
            title = self._title(name)
            plot = lines_view.draw_over_time(title, each, seconds, high, marker)
            theme.dress(plot, self._board.light)
            self.plots.append(plot)
            self.markers.append(marker)
        put_beside(self._figures, self.plots)
        cut = {name: one.cut for name, (one, _, _) in self.counted.items() if one.cut}
        note = f"; too few: {cut}" if cut else ""
        self.told.value = words.lines([f"means over {STRETCHES} stretches of time{note}"])

    def _title(self, name: str) -> str:
        each = self.counted[name][0]
        return (
            f"{name}: {each.allocate.mean:.2f} lines per allocation (p99 {each.allocate.p99:.0f}),"
            f"\n{each.release.mean:.2f} per release (p99 {each.release.p99:.0f})"
        )

    def _close_figures(self) -> None:
        self.plots, self.markers = [], []
        put_beside(self._figures, [])

    def go_to_dearest(self) -> None:
        """The moment after the op with the most lines, of those chosen, in any allocator."""
        board = self._board
        if not self.counted:
            return board.say("count the lines of all ops first", error=True)
        rows, verbs = VERBS[self.verb.value], board._live().ops["verb"]
        best = []
        for name, (_, events, _) in self.counted.items():
            lines = np.where(np.isin(verbs, rows), events["lines"].astype(np.int64), -1)
            at = int(np.argmax(lines)) if len(lines) else 0
            best.append((int(lines[at]) if len(lines) else 0, -at, name))
        lines_most, at, name = max(best)
        board.pause()
        board.go(1 - at)
        board.say(f"op {1 - at:,}: {lines_most:,} lines in {name}, the most of all")


_VERBS = {verb: verb.name.lower().replace("_", " ") for verb in Verb}


def _asked(op: np.void, unit: int) -> str:
    """What an op asks, in words."""
    verb = Verb(int(op["verb"]))
    if verb in (Verb.ALLOCATE, Verb.RELEASE):
        kind = f", {KINDS[int(op['kind'])].name}" if verb == Verb.ALLOCATE else ""
        return f"{_VERBS[verb]} {format_size(unit << int(op['order']))}{kind}, CPU {int(op['cpu'])}"
    if int(op["granule"]) != NONE:
        return f"{_VERBS[verb]} at {words.address(int(op['granule']) * unit)}"
    return f"{_VERBS[verb]} {format_size(int(op['granules']) * unit)}"
