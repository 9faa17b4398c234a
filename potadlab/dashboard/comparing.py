"""Side by side: further allocators, what they differ in, all metrics, a table to paste."""

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ..core.allocators import ALLOCATORS
from ..report import compare, timing
from ..report.compare import BETTER
from .parts import button, choice, html, on_clicks, row, show_nothing, spec_box

if TYPE_CHECKING:
    from .lab import Dashboard

SHOWN_MAX = 4  # maps side by side
TEXT, MARKDOWN = "text, 80 columns", "Markdown"


class Comparing:
    """The tab of that name."""

    title = "Compare"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.rounds: compare.Rounds = {}
        self.spec = spec_box(ALLOCATORS, "buddy:pcp=off")
        self.add = button("plus", "replay the trace in this allocator too", "Add", "70px")
        self.difference = choice([("none", None)], None, "Difference", "230px")
        self.measure = button(
            "clock-o", "time each allocator, five rounds", "Measure times", "130px"
        )
        self.form = choice([TEXT, MARKDOWN], TEXT, "To paste as", "220px")
        self.table = html(width="100%")
        self.paste = widgets.Textarea(
            rows=12,
            disabled=False,
            description="",
            layout=widgets.Layout(width="100%", height="250px", margin="0"),
        )
        self.paste.add_class("potadlab-paste")
        self.paste.tooltip = "the table to paste"
        self.root = widgets.VBox(
            [
                row(
                    self.spec, self.add, self.difference, self.measure, self.form,
                    flex_flow="row wrap",
                ),
                widgets.HBox(
                    [
                        widgets.VBox([self.table], layout=widgets.Layout(flex="45 1 400px")),
                        widgets.VBox([self.paste], layout=widgets.Layout(flex="50 1 400px")),
                    ],
                    layout=widgets.Layout(width="100%", flex_flow="row wrap"),
                ),
            ]
        )  # fmt: skip
        on_clicks(board._act, {self.add: self.join, self.measure: self.time})
        self.difference.observe(self._differ, "value")
        self.form.observe(lambda _change: board._act(self.moved), "value")

    def opened(self) -> None:
        """Another session, or other ops in it: what was timed is of the old ones."""
        self.rounds = {}
        self.offer()

    def close(self) -> None:
        self.rounds = {}

    def offer(self) -> None:
        """Every pair of allocators of the session."""
        names = self._board._live().names
        pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
        kept, board = self.difference.value, self._board
        board._quiet = True
        self.difference.options = [("none", None), *((f"{a} - {b}", (a, b)) for a, b in pairs)]
        self.choose(kept if kept in pairs else None)
        board._quiet = False

    def choose(self, pair: tuple[str, ...] | None) -> None:
        """Show the difference of a pair, or none."""
        self.difference.value = pair
        show_nothing(self.difference)

    def _differ(self, _change: Any) -> None:
        board = self._board
        board._act(board._redraw_here)

    def join(self) -> None:
        """Replay in the allocator that was asked for, and show its map if there is room."""
        board, spec = self._board, self.spec.value.strip()
        session = board._live()
        if not spec or spec in session.names:
            return board.say(f"{spec or 'nothing'} is there already: write another", error=True)

        def then(_done: Any) -> None:
            board.offer_map(spec, len(board.names) < SHOWN_MAX)
            self.opened()
            board._redraw_here()
            board.say(f"{spec}: replayed beside the others")

        board.change(f"replaying in {spec}", lambda fresh: fresh.join(spec), then)

    def time(self) -> None:
        """Time all allocators of the session."""
        board = self._board
        session = board._live()

        def then(found: compare.Rounds) -> None:
            self.rounds = found
            self.moved()
            board.say("timed: a verdict needs rounds that do not overlap")

        work = lambda: timing.in_rounds(session, board._progress)  # noqa: E731
        board._work("timing", work, then)

    def times(self) -> dict[str, dict[str, float]]:
        """What was timed, as reports have it."""
        return timing.summary(self._board._live(), self.rounds)

    def moved(self) -> None:
        """Say how the allocators compare now."""
        board = self._board
        if board.session is None:
            return
        session, index = board.session, board.index
        found = compare.metrics(session, index, self.rounds)
        heads, rows = compare.cells(session, found)
        self.table.value = table(heads, rows)
        write = compare.as_text if self.form.value == TEXT else compare.as_markdown
        self.paste.value = write(session, found, index)


def table(heads: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(map(_cell, cells))}</tr>" for cells in rows)
    return f'<table class="potadlab-numbers"><tr>{top}</tr>{body}</table>'


def _cell(text: str) -> str:
    mark = ' class="potadlab-better"' if text.endswith(BETTER) else ""
    return f"<td{mark}>{escape(text)}</td>"
