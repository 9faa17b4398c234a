"""Failures: by click, by address or at random; who was told of each, and what came of it."""

import asyncio
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..clock import SECONDS, Clock
from ..errors import BadSize
from ..faults import PER_MOPS, PER_S, UNITS, at_random
from ..session import Session, Told
from ..units import format_size
from ..views import failures
from . import finding, words
from .parts import button, choice, html, on_clicks, row

if TYPE_CHECKING:
    from .lab import Dashboard

HARD, SOFT = "hard", "soft"
_ROWS_SHOWN = 60
_LISTED = 12  # addresses of failed granules
_OWNER_LETTERS = 60
_FOLLOW_S = 0.5
_AT = "at"
_HEADS = (
    "no.", _AT, "after op", "address", "how", "allocator", "what lived there", "owner", "told",
    "done", "outcome", "Linux, same block",
)  # fmt: skip
_SAID = (
    "Hard: the memory is broken. Soft: it is about to break, so what can move is moved away first "
    "(Linux's soft offline; here whole blocks move, Linux would cut a large folio). A trace tells "
    "neither pins nor dirt, and goes on as recorded; all owners under potad are taken to listen."
)

Row = tuple[int, float, list[Told]]  # op, time in s, what came of it
Asked = tuple[Any, int, list[Row]]  # of which ops, of how many allocators, what they said
_NOTHING: Asked = (None, 0, [])


class Failing:
    """The tab of that name."""

    title = "Failures"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self._asked: Asked = _NOTHING
        self._followed: tuple[str, str] | None = None  # the choice that the address came after
        self._fields()
        self.fail = button("bolt", "the memory at this address fails", "Fail", "76px")
        self.random = button(
            "random",
            "from this moment to the end, in every allocator alike; playing goes on",
            "Fail at random",
            "130px",
        )
        self.undo = button("undo", "back to the run without what was added last", "Undo", "76px")
        self.pick = choice([("none yet", None)], None, "Failure", "330px")
        self.pick.tooltip = "go to the moment and the place of a failure"
        self.panes, self.poison, self.table = (html(width="100%") for _ in range(3))
        self.root = widgets.VBox(
            [
                row(self.address, self.how, self.fail, self.undo, self.pick, flex_flow="row wrap"),
                row(self.rate, self.unit, self.seed, self.random, flex_flow="row wrap"),
                self.panes,
                self.poison,
                self.table,
                html(words.lines([_SAID]), width="100%"),
            ]
        )
        self._connect()

    def _fields(self) -> None:
        style = {"description_width": "initial"}
        self.address = widgets.Text(
            placeholder="0x1a21c0000 or 6GiB, or click on a map",
            description="Address",
            tooltip="any byte of the memory that fails",
            continuous_update=False,
            style=style,
            layout=widgets.Layout(width="280px", flex="0 0 auto"),
        )
        self.how = choice((HARD, SOFT), HARD, "fails", "120px")
        self.how.tooltip = "hard: it is broken; soft: it is about to break"
        self.rate = widgets.FloatText(
            5.0,
            description="At random",
            tooltip="how many failures on average",
            style=style,
            layout=widgets.Layout(width="150px", flex="0 0 auto"),
        )
        self.unit = choice(UNITS, PER_S, "", "160px")
        self.unit.tooltip = "what the rate is per"
        self.seed = widgets.IntText(
            1,
            description="Seed",
            tooltip="the same seed, the same failures",
            style=style,
            layout=widgets.Layout(width="110px", flex="0 0 auto"),
        )

    def _connect(self) -> None:
        board = self._board
        clicks = {
            self.fail: self.fail_address,
            self.random: self.fail_at_random,
            self.undo: board.undo,
        }
        on_clicks(board._act, clicks)
        self.pick.observe(lambda _change: board._act(self._go), "value")
        self.address.observe(lambda _change: self._written(), "value")
        tick = board.controls.soft
        self.how.observe(lambda change: setattr(tick, "value", change["new"] == SOFT), "value")
        tick.observe(
            lambda change: setattr(self.how, "value", SOFT if change["new"] else HARD), "value"
        )
        board.worker.spawn(self._follow())

    @property
    def soft(self) -> bool:
        return bool(self.how.value == SOFT)

    # ---- what people ask for ----

    def fail_address(self) -> None:
        """The granule of the address that is written fails."""
        board, unit = self._board, self._board._live().space.granule_bytes
        sought = finding.read(self.address.value, unit)
        end = board._end()
        if sought.word or not 0 <= sought.low < end:
            said = words.short(self.address.value, 40) or "nothing"
            raise BadSize(f"address {said}: write one below {words.address(end * unit)}")
        name = board.selected[0] if board.selected else board._live().names[0]
        if board.window and not board.window.first <= sought.low < board.window.end:
            board._show_place(sought.low, 1)
        if board.selected != (name, sought.low):
            board.choose(name, sought.low)
        board.fail()

    def fail_at_random(self) -> None:
        """Granules fail from this moment on, in one replay, to be undone at once."""
        board, index = self._board, self._board.index
        rate, unit, seed, playing = self.rate.value, self.unit.value, self.seed.value, board.playing
        soft = self.soft

        def work(session: Session) -> tuple[list[int], Asked | None]:
            ops = at_random(session, index, rate, unit, seed, soft)
            if not ops:
                return [], None
            session.extend_all(ops, together=True)
            return [at for at, _ in ops], asked_of(session)

        def then(found: tuple[list[int], Asked | None]) -> None:
            ops, asked = found
            if asked is None:
                return board.say("none falls into the rest of the trace: take a higher rate")
            self.know(asked)
            how = f"{'soft' if soft else 'hard'}, {rate:g} {unit}, seed {seed}"
            what = f"{len(ops):,} failures at random ({how})"
            board.adding.added(ops, what, [f"{what}:", *self._summary(set(ops))])
            board.go(index)
            if playing:
                board.play()

        board.change("failing at random, replaying what comes after", work, then)

    def _summary(self, ops: set[int]) -> list[str]:
        """A line for each allocator: outcomes, and how many owners were told."""
        session = self._board._live()
        told = [one for op, _, each in self._rows(session) for one in each if op in ops]
        lines = []
        for name in session.names:
            mine = [one for one in told if one.allocator == name]
            counts = Counter(one.result or "not asked" for one in mine)
            heard = sum("owner" in one.told for one in mine)
            parts = [f"{many:,} {result}" for result, many in sorted(counts.items())]
            lines.append(f"  {name}: {', '.join(parts)}; owners told: {heard:,}")
        return lines

    def _go(self) -> None:
        op, board = self.pick.value, self._board
        if op is None or board.session is None:
            return
        granule = int(board.session.ops[op]["granule"])
        name = board.selected[0] if board.selected else board.session.names[0]
        board.pause()
        board.selected = name, granule
        board._show_place(granule, 1)
        board.go(op + 1)

    # ---- what came of them ----

    def know(self, asked: "Asked") -> None:
        """What came of the failures of a session that is about to be shown."""
        self._asked = asked

    @property
    def _clock(self) -> Clock:
        session = self._board.session
        return session.clock if session else SECONDS

    def _rows(self, session: Session) -> list[Row]:
        return self._asked[2] if self._known(session) else []

    def _known(self, session: Session) -> bool:
        ops, names, _ = self._asked
        return ops is session.ops and names == len(session.names)

    def opened(self) -> None:
        """Another session, or other ops in it."""
        if not self._known(self._board._live()):
            self._asked = _NOTHING
        if self.unit.options != (units := UNITS if self._clock.timed else (PER_MOPS,)):
            self.unit.options = units
        self._say([])

    def close(self) -> None:
        self._asked = _NOTHING

    def moved(self) -> None:
        """Say what has failed by now."""
        board = self._board
        if board.session is None:
            return
        self._follow_choice()
        session = board.session

        def then(asked: Asked) -> None:
            self.know(asked)
            board._mark()

        if not self._known(session) and len(session.failures()):
            return board._work(
                "asking who was told",
                lambda: asked_of(session),
                then,
            )
        self._say(self._rows(session))

    def _follow_choice(self) -> None:
        """What is clicked on is the address that fails, unless one was written after that."""
        chosen = self._chosen()
        if chosen and chosen != self._followed:
            self._followed = chosen
            self.address.value = chosen[1]

    def _chosen(self) -> tuple[str, str] | None:
        """Allocator and address of what was clicked on."""
        found = self._board.selected
        return found and (found[0], self._board._address(found[1]))

    def _written(self) -> None:
        """What was chosen before is not followed any more."""
        self._followed = self._chosen()

    async def _follow(self) -> None:
        """While a trace plays, the table plays along."""
        board = self._board
        while True:
            await asyncio.sleep(_FOLLOW_S)
            if board.playing and board.front is self and not board.busy and board.session:
                self.play_along(board.session)

    def play_along(self, session: Session) -> None:
        """Say what has failed by now; to ask who was told takes a pause."""
        self._say(self._rows(session))
        asked = len(session.failures())
        if asked and not self._known(session):
            many = words.many(asked, "failure")
            self.table.value = words.lines([f"Who was told of {many} is asked at the next pause."])

    # ---- what is said ----

    def _say(self, rows: list[Row]) -> None:
        board = self._board
        past = [one for one in rows if one[0] < board.index]
        self._offer(past)
        shown = next((one for one in past if one[0] == self.pick.value), None)
        self.panes.value = _panes(shown or (past[-1] if past else None), self._clock)
        self.poison.value = words.lines(self._failed_now())
        self.table.value = _table(failures.columns(past), len(rows) - len(past), self._clock)

    def _offer(self, past: list[Row]) -> None:
        """The menu of failures up to now, the latest first."""
        options: list[tuple[str, int | None]] = [
            (
                f"{number}: "
                + ", ".join([*self._clock.told(time_s * 1e9, 6), words.address(told[0].address)]),
                op,
            )
            for number, (op, time_s, told) in enumerate(past, start=1)
        ]
        options = options[::-1] or [("none yet", None)]
        if tuple(options) == self.pick.options:
            return
        kept, board = self.pick.value, self._board
        quiet, board._quiet = board._quiet, True
        self.pick.options = options
        ops = [op for _, op in options]
        self.pick.index = ops.index(kept) if kept in ops else 0  # a value of None shows nothing
        board._quiet = quiet

    def _failed_now(self) -> list[str]:
        """A line for each allocator: what has failed and where it is."""
        board, lines = self._board, []
        if board.session is None:
            return []
        unit = board.session.space.granule_bytes
        for name in board.session.names:
            found = board.session.runs[name].poison(board.index)
            if not len(found):
                continue
            listed = ", ".join(words.address(int(one) * unit) for one in found[:_LISTED])
            more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
            live = board.session.runs[name].live(board.index)
            kept = int(np.count_nonzero(_held(live, found)))
            size = format_size(len(found) * unit)
            lines.append(
                f"failed now in {name}: {words.many(len(found), 'granule')}, {size}, "
                f"{kept:,} of them still in live blocks: {listed}{more}"
            )
        return lines or ["no memory has failed by now"]


def asked_of(session: Session) -> Asked:
    """What came of each failure of a session; takes time where there are many."""
    found, ops = [], session.failures().tolist()
    for done, op in enumerate(ops):
        session.progress(done / len(ops), "asking who was told")
        found.append((op, session.time_ns(max(op - 1, 0)) / 1e9, session.told(op)))
    return session.ops, len(session.names), found


def _held(live: np.ndarray, granules: np.ndarray) -> np.ndarray:
    """bool[]: whether a live block (BLOCK[] in address order) holds each granule."""
    at = np.searchsorted(live["granule"], granules, side="right") - 1
    ends = live["granule"] + np.left_shift(np.int64(1), live["order"].astype(np.int64))
    held = np.zeros(len(granules), bool)
    held[at >= 0] = granules[at >= 0] < ends[at[at >= 0]]
    return held


def _panes(shown: Row | None, clock: Clock) -> str:
    """What POTAD makes of a failure, and Linux of the same block, beside each other."""
    if shown is None:
        return ""
    op, time_s, told = shown
    one = next((each for each in told if each.allocator.startswith("potad")), told[0])
    what = "free memory"
    if one.kind != "free":
        start = words.address(one.start_bytes)
        what = f"block of {format_size(one.size_bytes)}, {one.kind}, from {start}"
    how = "soft failure" if one.soft else "failure"
    when = ", ".join([f"after op {op:,}", *clock.told(time_s * 1e9, 6)])
    title = f"{how} of {words.address(one.address)}, {when}: {what}"
    heard = ", ".join(one.told) or "nobody"
    left = _pane(one.allocator, one.result or "not asked", [
        f"told: {heard}", *_stack(one), f"done: {one.done or 'nothing'}", one.words,
    ])  # fmt: skip
    right = _pane("Linux 6.12, same block", one.linux or "not asked", [
        f"told: {', '.join(one.linux_told) or 'nobody'}",
        one.linux_words or "the address is not in service",
    ])  # fmt: skip
    return f'<div><b>{escape(title)}</b></div><div class="potadlab-panes">{left}{right}</div>'


def _stack(one: Told) -> list[str]:
    """The owner, whole: a line for each frame of a call stack."""
    return ["owner:", *(f"  {frame}" for frame in one.owner.split(";"))]


def _pane(title: str, outcome: str, lines: list[str]) -> str:
    head = f"<div><b>{escape(title)}</b>: <em>{escape(outcome)}</em></div>"
    return f'<div class="potadlab-pane">{head}{words.lines(lines)}</div>'


def _table(found: failures.Columns, later: int, clock: Clock) -> str:
    """The notifications, the latest first."""
    count = len(found["number"])
    notes = []
    if count > _ROWS_SHOWN:
        notes.append(f"{count - _ROWS_SHOWN:,} older rows are not shown")
    if later:
        notes.append(f"{words.many(later, 'failure')} still to come after this moment")
    if not count:
        return words.lines([*notes, "Nothing has been told yet."])
    heads = [text for text in _HEADS if clock.timed or text != _AT]
    head = "".join(f"<th>{text}</th>" for text in heads)
    rows = "".join(
        _line(found, at, clock) for at in range(count - 1, max(count - _ROWS_SHOWN, 0) - 1, -1)
    )
    table = f'<table class="potadlab-numbers"><tr>{head}</tr>{rows}</table>'
    return f'<div class="potadlab-told" tabindex="0">{table}</div>{words.lines(notes)}'


def _line(found: failures.Columns, at: int, clock: Clock) -> str:
    one = {name: column[at] for name, column in found.items()}
    lived, start = one["kind"], words.address(one["start_bytes"])
    if lived != "free":
        lived = f"{lived}, {format_size(one['size_bytes'])} from {start}"
    cells = (
        f"{one['number']:,}", *clock.told(one["time_s"] * 1e9, 6), f"{one['op']:,}",
        words.address(one["address"]), one["how"], one["allocator"], lived,
        words.short(one["owner"], _OWNER_LETTERS), one["told"], one["done"] or "nothing",
        one["outcome"], one["linux"],
    )  # fmt: skip
    title = escape(one["words"], quote=True)
    return f'<tr title="{title}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
