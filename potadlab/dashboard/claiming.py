"""Claims: asked for at a moment, step by step on the maps, CMA's answer beside; over the trace."""

from collections.abc import Iterator
from html import escape
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..claiming import Answer, Asked, Survey, ask, survey
from ..errors import BadSize
from ..kinds import KINDS, facts
from ..report.claims import claim_rows
from ..runs import Case
from ..session import Session
from ..units import KIB, MIB, format_size, parse_size
from ..views import claims, theme, windows
from . import words
from .controls import ALIGN_BYTES, CLAIM_BYTES
from .maps import Shape
from .parts import button, choice, html, on_clicks, row, sized
from .stage import put_beside

if TYPE_CHECKING:
    from .lab import Dashboard

AREAS = tuple(MIB << shift for shift in range(1, 14))
TRIED, WINDOW, MOVES, STAYS = "#5e3c99", "#e69f00", "#56b4e9", "#d55e00"
_KEYS = [
    (TRIED, "window tried"),
    (WINDOW, "the nearest, or the one got"),
    (MOVES, "in its way, can move"),
    (STAYS, "in its way, stays"),
]
_OUTLINED = 200  # blocks in the way
_RANGES_SHOWN = 16
_CURVE_SIZES = 7
_MOMENTS_MAX = 1000
_OWNER_LETTERS = 40

Stop = tuple[int, int]  # which answer, which of its steps


class Claiming:
    """The tab of that name."""

    title = "Claims"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.asked: Asked | None = None
        self.found: list[Survey] = []
        self._of: Any = None  # the ops that were asked about
        self._windows: dict[int, windows.Windows] = {}  # of POTAD, by order of the chunks
        self.stops: list[Stop] = []
        self._fields()
        self.table, self.step, self.chosen, self.told = (html(width="100%") for _ in range(4))
        self._plots: list[Any] = []  # of the curve
        self.curve = widgets.VBox(layout=widgets.Layout(width="100%"))
        self._figures = row(flex_flow="row wrap")
        keys = html(words.keys("Outline", _KEYS, "background:#fff;border:2px solid "))
        here = widgets.VBox(
            [row(self.back, self.on, self.way, keys, flex_flow="row wrap"), self.step,
             row(self.block, self.see), self.chosen],
            layout=widgets.Layout(flex="1 1 420px", min_width="300px", overflow="hidden"),
        )  # fmt: skip
        table = widgets.VBox([self.table], layout=widgets.Layout(flex="1 1 440px", overflow="auto"))
        both = (here, table)
        self.root = widgets.VBox(
            [
                row(self.size, self.align, self.area, self.ask, self.map, self.claim, self.migrate,
                    self.undo, flex_flow="row wrap"),
                row(*both, align_items="flex-start", flex_flow="row wrap"),
                row(self.sizes, self.moments, self.measure),
                self.curve,
            ]
        )  # fmt: skip
        self._connect()
        self._forget()

    def _fields(self) -> None:
        self.size = choice(sized(CLAIM_BYTES), 8 * MIB, "Size", "120px")
        self.align = choice(sized(ALIGN_BYTES), MIB, "aligned to", "160px")
        self.area = choice(sized(AREAS), 256 * MIB, "CMA's area", "160px")
        for picker, tip in (
            (self.size, "how much is claimed, in a row"),
            (self.align, "where it may begin, and the smallest chunk"),
            (self.area, "how much is kept aside for CMA, used by movable memory meanwhile"),
        ):
            picker.tooltip = tip
        self.ask = button("search", "search at this moment, nothing is taken", "Search", "84px")
        self.map = button("map-o", "show the map of CMA with such an area", "CMA's map", "104px")
        self.claim = button("object-group", "take it, nothing is moved for it", "Claim", "78px")
        self.migrate = button(
            "exchange",
            "take it, what can move is moved out of its way",
            "Migrate and claim",
            "164px",
        )
        self.undo = button("undo", "back to the run without what was added last", "Undo", "76px")
        self.back = button("chevron-left", "the step before")
        self.on = button("chevron-right", "the next step")
        self.way = choice([("not asked yet", None)], None, "Step", "270px")
        self.way.tooltip = "a step of a search, drawn on its map"
        self.block = choice([("nothing", None)], None, "In the way", "340px")
        self.block.tooltip = "go to a block that lies in the window"
        self.see = button("eye", "zoom in on the window of this step")
        self.sizes = choice(sized(CLAIM_BYTES), 64 * MIB, "Curve up to", "165px")
        self.sizes.tooltip = "the largest claim of the curve"
        self.moments = widgets.IntText(
            12,
            description="moments",
            tooltip="at how many moments of the trace each size is claimed",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="120px", flex="0 0 auto"),
        )
        self.measure = button(
            "line-chart", "claim each size over the whole trace", "Curve by size", "120px"
        )

    def _connect(self) -> None:
        board = self._board
        clicks = {
            self.ask: self.search,
            self.map: self.show_map,
            self.claim: lambda: self.take(False),
            self.migrate: lambda: self.take(True),
            self.undo: board.undo,
            self.back: lambda: self.go(-1),
            self.on: lambda: self.go(1),
            self.see: self.zoom,
            self.measure: self.draw_curve,
        }
        on_clicks(board._act, clicks)
        self.way.observe(lambda _change: board._act(board._mark), "value")
        self.block.observe(lambda _change: board._act(self._choose), "value")

    # ---- what people ask for ----

    def _case(self) -> Case:
        session = self._board._live()
        return Case(session.space, session.ops, session.start, session.handles)

    def search(self) -> None:
        """Ask POTAD and CMA at this moment, with and without moving; the session stays as it is."""
        board, session, index = self._board, self._board._live(), self._board.index
        size, align, area = self.size.value, self.align.value, self._area()
        case = self._case()

        def work() -> tuple[Asked, dict[int, windows.Windows]]:
            asked = ask(case, index, size, align, area, board._progress)
            board._progress(1.0, "looking at its windows")
            return asked, _windows_of(session, asked)

        def then(found: tuple[Asked, dict[int, windows.Windows]]) -> None:
            self.asked, self._windows = found
            self._of = session.ops
            self._offer_steps()
            board._mark()
            board.say("searched: go through the steps")

        board._work(f"claiming {format_size(size)} at {format_size(align)}", work, then)

    def _area(self) -> str:
        return format_size(self.area.value).replace(" ", "")

    def show_map(self) -> None:
        """Replay in CMA too and show its map."""
        board, spec = self._board, f"cma:area={self._area()}"
        if spec in board._live().names:
            return board.say(f"{spec}: its map is among those above")
        board.comparing.spec.value = spec
        board.comparing.join()

    def take(self, migrate: bool) -> None:
        """The claim becomes an op, in every allocator."""
        controls = self._board.controls
        controls.size.value, controls.align.value = self.size.value, self.align.value
        controls.migrate.value = migrate
        self._board.claim()

    def go(self, steps: int) -> None:
        """So many steps on, or back."""
        if self.way.value is None:
            return self._board.say("search first", error=True)
        at = min(max(self.stops.index(self.way.value) + steps, 0), len(self.stops) - 1)
        self.way.value = self.stops[at]

    def zoom(self) -> None:
        """The window of this step, large."""
        window = self._window()
        if window is None:
            return self._board.say("this step has no window", error=True)
        self._board._show_place(window, self._granules())

    def _choose(self) -> None:
        if self.block.value is not None:
            name, granule = self.block.value
            self._board._show_place(granule, 1)
            self._board.choose(name, granule)

    def draw_curve(self) -> None:
        """Claims over the whole trace, by size, in a thread."""
        board, align, area = self._board, self.align.value, self._area()
        most, many = max(self.sizes.value, align), self.moments.value
        if not 1 <= many <= _MOMENTS_MAX:
            raise BadSize(f"{many:,} moments: take 1 to {_MOMENTS_MAX:,}")
        sizes = [align << at for at in range((most // align).bit_length())]
        case, sizes = self._case(), sizes[-_CURVE_SIZES:]

        def then(found: list[Survey]) -> None:
            self.found = found
            self._say_curve(align)
            board.say(f"{len(found[0].index):,} moments, {len(sizes):,} sizes, each claimed")

        board._work(
            "claiming over the whole trace",
            lambda: survey(case, sizes, align, many, area, board._progress),
            then,
        )

    def _say_curve(self, align: int) -> None:
        self._close_curve()
        self._plots = claims.draw(self.found, self._board.light)
        moments = len(self.found[0].index)
        said = (
            f"At {moments:,} moments, evenly over the ops, aligned to "
            f"{format_size(align)}; {_named(self.found)}. Each size and way is a replay "
            "of its own; a claim is given back at once, what it has moved stays moved."
        )
        self.told.value = words.lines([said]) + _curve_table(self.found)
        put_beside(self._figures, self._plots)
        self.curve.children = [self._figures, self.told]

    def _close_curve(self) -> None:
        self.curve.children, self._plots = [], []
        put_beside(self._figures, [])

    # ---- what is there ----

    def opened(self) -> None:
        """Another session, or other ops in it: what was asked is of the old ones."""
        session = self._board._live()
        unit = session.space.granule_bytes
        for picker, sizes in (
            (self.size, CLAIM_BYTES), (self.align, ALIGN_BYTES), (self.sizes, CLAIM_BYTES),
        ):  # fmt: skip
            kept, fitting = picker.value, [size for size in sizes if size >= unit]
            if picker.options != tuple(sized(fitting)):
                picker.options = sized(fitting)
                picker.value = kept if kept in fitting else fitting[0]
        if self._of is not session.ops:
            self._forget()

    def _forget(self) -> None:
        self.asked, self._of, self._windows, self.stops = None, None, {}, []
        self.found = []
        self._close_curve()
        self._quietly(self.way, [("not asked yet", None)], None)
        self._say()

    def _quietly(self, menu: Any, options: list[tuple[str, Any]], value: Any) -> None:
        """Set what a menu offers, and what it shows, without acting on it."""
        board = self._board
        quiet, board._quiet = board._quiet, True
        menu.options = options
        menu.index = [one for _, one in options].index(value)  # a value of None shows nothing
        board._quiet = quiet

    def _offer_steps(self) -> None:
        assert self.asked
        self.stops = []
        options: list[tuple[str, Stop | None]] = []
        for number, answer in enumerate(self.asked.answers):
            for at, tried in enumerate(answer.tries):
                many = f"{tried.chunks:,} x {format_size(tried.chunk_bytes)}"
                self.stops.append((number, at))
                options.append((f"{_way(answer)}, {at + 1}: {many}", (number, at)))
        options = options or [("no steps", None)]
        self._quietly(self.way, options, options[0][1])

    def close(self) -> None:
        self.asked, self._of, self._windows, self.found = None, None, {}, []

    def moved(self) -> None:
        """Say what was found, while this is the moment that was asked about."""
        for plot in self._plots:
            theme.dress(plot, self._board.light)
        self._say()

    @property
    def _now(self) -> bool:
        """What is shown is the moment that was asked about."""
        board = self._board
        same = board.session is not None and self._of is board.session.ops
        return self.asked is not None and same and self.asked.index == board.index

    def _stop(self) -> tuple[Answer, int] | None:
        if self.asked is None or self.way.value is None:
            return None
        number, at = self.way.value
        return self.asked.answers[number], at

    def _granules(self) -> int:
        assert self.asked
        return self.asked.size_bytes // self._board._live().space.granule_bytes

    def _window(self) -> int | None:
        """First granule of the window that a step is about: what it found, or came nearest to."""
        stop = self._stop()
        if stop is None:
            return None
        answer, at = stop
        start = answer.tries[at].start_bytes
        if start is not None:
            return start // self._board._live().space.granule_bytes
        found = self._step_windows(answer, at)
        return int(found.start[0]) if found is not None and len(found.start) else None

    def _step_windows(self, answer: Answer, at: int) -> windows.Windows | None:
        unit = self._board._live().space.granule_bytes
        if answer.allocator != "potad":
            return None
        return self._windows.get((answer.tries[at].chunk_bytes // unit).bit_length() - 1)

    def _in_the_way(self) -> np.ndarray:
        """BLOCK[] in the window of this step."""
        stop, window = self._stop(), self._window()
        assert self.asked
        if stop is None or window is None:
            return np.zeros(0, next(iter(self.asked.before.values())).dtype)
        return windows.inside(self.asked.before[stop[0].allocator], window, self._granules())

    # ---- on the maps ----

    def shapes(self, name: str) -> Iterator[Shape]:
        """Outlines on the map of an allocator: what this step looked at, and what is in the way."""
        board, stop = self._board, self._stop()
        if board.front is not self or not self._now:
            return
        if stop is None or not _is_map_of(name, stop[0]):
            return
        window, granules = self._window(), self._granules()
        for start in self._tried():
            yield start, granules, TRIED
        if window is None:
            return
        for block in self._in_the_way()[:_OUTLINED]:
            colour = MOVES if KINDS[block["kind"]].movable else STAYS
            yield int(block["granule"]), 1 << int(block["order"]), colour
        yield window, granules, WINDOW

    def _tried(self) -> list[int]:
        """Windows of this step beside the one that it is about."""
        stop = self._stop()
        assert stop
        answer, at = stop
        found = self._step_windows(answer, at)
        if found is not None:
            return [int(start) for start in found.start]
        unit = self._board._live().space.granule_bytes
        starts = [one.start_bytes for one in answer.tries[max(at - _RANGES_SHOWN, 0) : at]]
        return [start // unit for start in starts if start is not None]

    # ---- what is said ----

    def _say(self) -> None:
        self.table.value = _table(self.asked.answers, self.way.value) if self.asked else ""
        lines = [
            *self._latest(),
            "Search: POTAD and CMA are asked for the size at this moment; nothing is taken.",
        ]
        blocks: list[tuple[str, Any]] = [("nothing", None)]
        if self.asked and not self._now:
            lines = [f"asked after op {self.asked.index:,}: search again at this moment"]
        elif self.asked:
            lines, blocks = self._told(), self._listed()
        self.step.value = words.lines(lines)
        kept = self.block.value if self.block.value in [one for _, one in blocks] else None
        if tuple(blocks) != self.block.options:
            self._quietly(self.block, blocks, kept)
        self.chosen.value = words.lines(self._owner())
        self.see.disabled = not (self._now and self._window() is not None)

    def _latest(self) -> list[str]:
        """What came of the claim that was taken last, as the log says it."""
        log = self._board.log
        if not log or ": claim of " not in log[0]:
            return []
        return [log[0], *takewhile(lambda line: line.startswith("  "), log[1:])]

    def _told(self) -> list[str]:
        """Lines on the step."""
        stop = self._stop()
        if stop is None:
            return ["no step was tried"]
        answer, at = stop
        tried, unit = answer.tries[at], self._board._live().space.granule_bytes
        asked = f"{tried.chunks:,} x {format_size(tried.chunk_bytes)}"
        lines = [
            f"{_way(answer)}, step {at + 1:,} of {len(answer.tries):,}: {asked}: {tried.words}"
        ]
        found = self._step_windows(answer, at)
        if found is not None:
            lines.append(
                f"{found.count:,} windows in service at {format_size(tried.chunk_bytes)}: "
                f"{found.free:,} free, {found.movable:,} hold only what can move, "
                f"{found.count - found.free - found.movable:,} hold what stays"
            )
        window = self._window()
        if window is None:
            return lines
        what = "the window" if tried.start_bytes is not None else "the nearest window"
        lines.append(f"{what}: {words.address(window * unit)}{_weighed(self._in_the_way(), unit)}")
        if answer.moved_blocks and tried.done:
            lines.append(f"cost: {words.moved(answer.moved_blocks, answer.moved_bytes)}")
        return lines

    def _listed(self) -> list[tuple[str, Any]]:
        """What is in the way, for the menu: what stays first, then the largest."""
        stop, session = self._stop(), self._board._live()
        found = self._in_the_way()
        if stop is None or not len(found):
            return [("nothing", None)]
        stays = np.array([not KINDS[kind].movable for kind in found["kind"]])
        order = np.lexsort((found["granule"], -found["order"].astype(int), ~stays))
        name = next((one for one in session.names if _is_map_of(one, stop[0])), None)
        rows: list[tuple[str, Any]] = [(words.many(len(found), "block"), None)]
        for at in order[:_OUTLINED] if name else ():
            block, size = found[at], session.space.granule_bytes << int(found[at]["order"])
            start = words.address(int(block["granule"]) * session.space.granule_bytes)
            kind = KINDS[block["kind"]].name + (", stays" if stays[at] else "")
            owner = words.short(session.owner(int(block["owner"])), _OWNER_LETTERS)
            text = f"{format_size(size)} at {start}, {kind}, {owner}"
            rows.append((text, (name, int(block["granule"]))))
        return rows

    def _owner(self) -> list[str]:
        """The chosen block: what it is, and its owner's stack, a line for each frame."""
        board = self._board
        if board.session is None or board.selected is None:
            return ["Click on a block in the way: its owner is shown here."]
        found = board.session.describe(board.selected[0], board.index, board.selected[1])
        if found is None:
            said = board.describe(*board.selected)[0]
            return [f"chosen: {board._address(board.selected[1])} in {board.selected[0]}: {said}"]
        moves = KINDS[[one.name for one in KINDS].index(found.kind)].movable
        return [
            f"chosen in {board.selected[0]}: {format_size(found.size_bytes)} of {found.kind} at "
            f"{words.address(found.start_bytes)}, {'can move' if moves else 'stays'}; its owner:",
            *found.owner.split(";"),
        ]


def _windows_of(session: Session, asked: Asked) -> dict[int, windows.Windows]:
    """POTAD's windows at each size of chunk, down to the alignment."""
    unit = session.space.granule_bytes
    granules, align = asked.size_bytes // unit, asked.align_bytes // unit
    largest = (granules & -granules).bit_length() - 1
    zones = np.array([(zone.start, zone.end) for zone in session.space.zones], np.int64)
    movable = facts()["movable"] != 0
    return {
        order: windows.columns(asked.before["potad"], asked.ranges, zones, movable, granules, order)
        for order in range(largest, align.bit_length() - 2, -1)
    }


def _is_map_of(name: str, answer: Answer) -> bool:
    """CMA's answer is of an area of a size, and so is its map."""
    return name == answer.allocator


def _way(answer: Answer) -> str:
    name = answer.allocator.partition(":")[0]
    return f"{name}, may migrate" if answer.may_move else name


def _weighed(found: np.ndarray, unit: int) -> str:
    """How much of what is in a window's way, in words."""
    if not len(found):
        return ": free"
    stays = np.array([not KINDS[kind].movable for kind in found["kind"]])
    sizes = np.left_shift(np.int64(unit), found["order"].astype(np.int64))
    parts = [
        f"{words.many(int(mask.sum()), 'block')} ({format_size(int(sizes[mask].sum()))}) {what}"
        for mask, what in ((~stays, "would have to move"), (stays, "stay"))
        if mask.any()
    ]
    return f": {', '.join(parts)}"


def _named(found: list[Survey]) -> str:
    areas = [one.allocator.partition("=")[2] for one in found if one.allocator.startswith("cma")]
    return f"cma with an area of {format_size(parse_size(areas[0]))}" if areas else "no cma"


def _table(answers: list[Answer], shown: Stop | None) -> str:
    """The steps of all answers, those of the one that is shown in bold."""
    parts = []
    for number, answer in enumerate(answers):
        heads, rows = claim_rows([answer])
        mark = ' class="potadlab-better"' if shown and shown[0] == number else ""
        if not number:
            parts.append("<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>")
        for cells in rows:
            told = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells[1:])
            parts.append(
                f"<tr><td{mark if cells[0] else ''}>{escape(str(cells[0]))}</td>{told}</tr>"
            )
    return f'<table class="potadlab-numbers potadlab-steps">{"".join(parts)}</table>'


def _curve_table(found: list[Survey]) -> str:
    """The curve in numbers."""
    sizes = found[0].size_bytes.tolist()
    head = "".join(f"<th>{escape(format_size(size))}</th>" for size in sizes)
    rows = []
    for one in found:
        told = claims.columns(one)
        cells = [
            f"{success:.0f} %" + ("" if np.isnan(mib) or not mib else f", {_mib(mib)} copied")
            for success, mib in zip(told["success_percent"], told["copied_mib"], strict=True)
        ]
        line = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{escape(claims.name(one))}</td>{line}</tr>")
    return f'<table class="potadlab-numbers"><tr><th>given</th>{head}</tr>{"".join(rows)}</table>'


def _mib(mib: float) -> str:
    return f"{mib:.1f} MiB" if mib >= 0.1 else f"{mib * MIB / KIB:.1f} KiB"
