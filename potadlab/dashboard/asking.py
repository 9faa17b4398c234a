"""Ask allocators side by side for memory: the lines that each touches, and the mean of so many.

All start from one moment of a trace, or from empty memory, and are asked the same.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from ..bundled import datasets
from ..core.layout import BLOCK, NONE, OP, Flag, Outcome, Verb
from ..core.metered import AVAILABLE
from ..errors import BadSize, NotLive
from ..kinds import KIND
from ..metrics.lines import Touched
from ..report.run import index_of
from ..runs import Case, Touching, chosen
from ..traces import Trace
from ..units import KIB, MIB, Size, Space, format_size
from ..views import touched
from . import words
from .comparing import table
from .panel import one_line, replace_in_cell
from .parts import button, choice, html, on_clicks, row, sized
from .work import Latest, Worker

SPECS = ("buddy", "buddy:descriptor=memdesc", "potad")
SIZES = (4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB)
REPEAT_S = 1.2  # from one op to the next
LAST, FIRST = "the last", "the first"
_EACH = ["lines, mean", "most"]
HEADS = ["allocator", "allocations", *_EACH, "releases", *_EACH, "the last one"]

Answer = tuple[np.void, list[Touched]]  # EVENT, lines touched
Moment = tuple[Case, int, str]  # a case, ops done, what that is called
_READY = "getting ready: the first time on a machine each allocator compiles a minute or so"
_MOVABLE = 1  # Linux's migratetype


class Asked:
    """The same asks to several allocators, from after `index` ops of a case on."""

    def __init__(self, specs: Sequence[str], case: Case, index: int) -> None:
        self.case, self.index = case, index
        self._each = {spec: Touching(spec, case) for spec in specs}
        self.start_over()

    def start_over(self) -> None:
        """Be at the moment again, nothing asked."""
        for each in self._each.values():
            each.go(self.index)
        self.live: list[tuple[int, int]] = []  # handle, order
        self._handles = self.case.handles
        names = list(self._each)
        self.lines: dict[Verb, dict[str, list[int]]] = {
            verb: {name: [] for name in names} for verb in (Verb.ALLOCATE, Verb.RELEASE)
        }

    def allocate(self, order: int, times: int = 1) -> dict[str, Answer]:
        """So many blocks of 2**order granules; what came of the last in each allocator."""
        ops = _ops(Verb.ALLOCATE, times)
        ops["order"], ops["granules"] = order, 1 << order
        ops["handle"] = self._handles + np.arange(times)
        self._handles += times
        self.live += [(int(handle), order) for handle in ops["handle"]]
        return self._ask(ops, Verb.ALLOCATE)

    def release(self, which: str = LAST, times: int = 1) -> dict[str, Answer]:
        """So many of the blocks asked for, the last or the first; NotLive if there is none."""
        if not self.live:
            raise NotLive("nothing to release: allocate first")
        if which == LAST:
            gone, self.live = self.live[: -times - 1 : -1], self.live[:-times]
        else:
            gone, self.live = self.live[:times], self.live[times:]
        ops = _ops(Verb.RELEASE, len(gone))
        ops["handle"], ops["order"] = [one[0] for one in gone], [one[1] for one in gone]
        ops["granules"] = 1 << ops["order"].astype(np.int64)
        return self._ask(ops, Verb.RELEASE)

    def _ask(self, ops: np.ndarray, verb: Verb) -> dict[str, Answer]:
        found = {}
        for name, each in self._each.items():
            events, lines = each.ask(ops)
            done = events[events["outcome"] == Outcome.DONE]
            self.lines[verb][name] += done["lines"].tolist()
            found[name] = events[-1], lines
        return found


def _ops(verb: Verb, times: int) -> np.ndarray:
    """OP[] by hand, of anonymous memory, from the first CPU."""
    ops = np.zeros(times, OP)
    ops["verb"], ops["flags"], ops["kind"] = verb, Flag.BY_HAND, KIND["anon"]
    ops["granule"], ops["into"], ops["owner"], ops["migratetype"] = NONE, NONE, NONE, _MOVABLE
    return ops


class Asks:
    """Widgets over `Asked`; `moment()` says from where, None while nothing is open.

    `worker` lends its loop; an error goes to `failed`.
    """

    def __init__(
        self,
        moment: "Callable[[], Moment | None]",
        worker: Worker,
        failed: Callable[[Exception], None],
        specs: Sequence[str] = SPECS,
    ) -> None:
        self.specs, self._moment, self._worker = tuple(specs), moment, worker
        self._latest = Latest(worker, self._failed_here)
        self._tell_error = failed
        self._asked: tuple[tuple[Any, ...], Asked] | None = None  # of which case and moment
        self.repeating, self._turn = False, 0
        self._make_widgets()
        style = widgets.HTML(touched.STYLE, layout=widgets.Layout(display="none"))
        asked = row(
            self.size, self.allocate, self.release, self.which, self.times, self.repeat, self.again,
            flex_flow="row wrap",
        )  # fmt: skip
        self.root = widgets.VBox([style, asked, self.told, self.cards, self.means, self.table])
        self.root.add_class("potadlab-asks")
        self.forget()

    def _make_widgets(self) -> None:
        self.size = choice(sized(SIZES), SIZES[0], "Size", "120px")
        self.allocate = button("plus", "ask every allocator for a block", "Allocate", "100px")
        self.release = button("minus", "give a block back in every allocator", "Release", "100px")
        self.which = choice([LAST, FIRST], LAST, "of them", "140px")
        self.which.tooltip = "which of the blocks asked for is released"
        many = [("once", 1), *((f"{times:,} times", times) for times in (10, 100, 1000))]
        self.times = choice(many, 1, "ask", "130px")
        self.times.tooltip = "how many at a press; the lines of the last are shown"
        self.repeat = button("repeat", "allocate again and again", "Repeat", "90px")
        self.again = button("refresh", "forget what was asked", "Start over", "100px")
        self.told, self.cards, self.means, self.table = (html(width="100%") for _ in range(4))
        pressed = {
            self.allocate: self.ask_allocate,
            self.release: self.ask_release,
            self.repeat: self.toggle,
            self.again: self.forget,
        }
        for each in pressed:
            each.disabled = not AVAILABLE
        on_clicks(self._worker.in_loop, pressed)

    def _failed_here(self, error: Exception) -> None:
        self.stop()
        self.told.value = words.lines([self._from()])
        self._tell_error(error)

    def _from(self) -> str:
        if not AVAILABLE:
            return "lines can be counted in compiled kernels only: unset NUMBA_DISABLE_JIT"
        moment = self._moment()
        if moment is None:
            return "No trace is open."
        return f"From {moment[2]}: each press asks {', '.join(self.specs)} the same."

    def _here(self) -> Moment:
        moment = self._moment()
        if moment is None:
            raise NotLive("no trace is open: open one first")
        return moment

    def moved(self) -> None:
        """What was asked was asked at another moment, if it was."""
        if self._asked is None:
            self.told.value = words.lines([self._from()])
        elif self._asked[0] != (id(self._here()[0]), self._here()[1]):
            self.forget()  # the case is alive: nothing else has its id

    def forget(self) -> None:
        """Nothing asked: start from the moment as it now is."""
        self.stop()
        self._latest.drop()
        self._asked = None
        self.cards.value = self.means.value = self.table.value = ""
        self.told.value = words.lines([self._from()])

    def close(self) -> None:
        """Stop for good; what is shown stays."""
        self.stop()
        self._latest.close()
        self._asked = None
        for each in (self.allocate, self.release, self.repeat, self.again):
            each.disabled = True

    # ---- asking ----

    def ask_allocate(self) -> None:
        """Blocks of the size that is picked, from every allocator."""
        size, times = self.size.value, self.times.value
        unit = self._here()[0].space.granule_bytes
        if size < unit:
            raise BadSize(f"{format_size(size)}: the granule here is {format_size(unit)}")
        order = (size // unit).bit_length() - 1
        what = f"allocate {format_size(size)}"
        self._ask(what, lambda asked: asked.allocate(order, times))

    def ask_release(self) -> None:
        """Of the blocks that were asked for, in every allocator."""
        which, times = self.which.value, self.times.value
        self._ask("release", lambda asked: asked.release(which, times))

    def _ask(self, what: str, act: Callable[[Asked], dict[str, Answer]]) -> None:
        if self._latest.running:
            return  # the last press is still at work
        (case, index, _), known = self._here(), self._asked
        if known is None:
            self.told.value = words.lines([_READY])

        def work() -> tuple[Asked, dict[str, Answer]]:
            asked = known[1] if known else Asked(self.specs, case, index)
            return asked, act(asked)

        def then(found: tuple[Asked, dict[str, Answer]]) -> None:
            self._asked = (id(case), index), found[0]
            self._show(what, *found)

        self._latest.ask(work, then)

    def _show(self, what: str, asked: Asked, found: Mapping[str, Answer]) -> None:
        unit = asked.case.space.granule_bytes
        drawn = [
            touched.draw(name, touched.columns(lines), [f"{what}: {came_of(event, unit)}"])
            for name, (event, lines) in found.items()
        ]
        asks = sum(map(len, (next(iter(each.values())) for each in asked.lines.values())))
        # a number of its own, so that the same lines light up again
        self.cards.value = f"<div data-ask='{asks}'>{touched.cards(drawn)}</div>"
        self.means.value = touched.cards(
            [
                touched.draw_means(title, asked.lines[verb])
                for title, verb in (("Allocate", Verb.ALLOCATE), ("Release", Verb.RELEASE))
                if any(asked.lines[verb].values())
            ]
        )
        self.table.value = table(HEADS, self._rows(asked, found, unit)) + touched.LEGEND
        self.told.value = words.lines([self._from()])

    @staticmethod
    def _rows(asked: Asked, found: Mapping[str, Answer], unit: int) -> list[list[str]]:
        rows = []
        for name, (event, _) in found.items():
            cells = [name]
            for verb in (Verb.ALLOCATE, Verb.RELEASE):
                lines = asked.lines[verb][name]
                mean, most = (f"{np.mean(lines):.2f}", f"{max(lines):,}") if lines else ("", "")
                cells += [f"{len(lines):,}", mean, most]
            rows.append([*cells, came_of(event, unit)])
        return rows

    # ---- again and again ----

    def toggle(self) -> None:
        """Allocate once every second or so, until told to stop."""
        if self.repeating:
            return self.stop()
        self.repeating, self._turn = True, self._turn + 1
        self.repeat.description, self.repeat.icon = "Stop", "stop"
        self._worker.spawn(self._repeat(self._turn))

    def stop(self) -> None:
        self.repeating = False
        self.repeat.description, self.repeat.icon = "Repeat", "repeat"

    async def _repeat(self, turn: int) -> None:
        while self.repeating and turn == self._turn:  # else another has begun meanwhile
            self._worker.in_loop(self.ask_allocate)
            await asyncio.sleep(REPEAT_S)


def came_of(event: np.void, unit: int) -> str:
    outcome = Outcome(int(event["outcome"]))
    if outcome == Outcome.DONE:
        return f"at {words.address(int(event['granule']) * unit)}"
    return outcome.name.lower()


class Lines:
    """Allocators asked side by side, the lines they touch lit up one by one, and the mean.

    trace: a Trace, a path or a bundled name, from `at` on (so many ops, or a share of them); None:
    from empty memory of `space`.  Show it by ending a cell with it.  Raises UnknownName,
    BadTrace, BadSize.
    """

    def __init__(
        self,
        trace: "Trace | str | Path | None" = None,
        at: str | int = "50%",
        allocators: Sequence[str] = SPECS,
        space: Size = "1GiB",
    ) -> None:
        for spec in allocators:
            chosen(spec)
        moment = _start(trace, at, space)
        self.message = html(width="100%")
        self.worker = Worker(lambda _busy, _what: None, self._failed)
        self.asks = Asks(lambda: moment, self.worker, self._failed, allocators)
        sheet = widgets.HTML(words.STYLE, layout=widgets.Layout(display="none"))
        self.root = widgets.VBox([sheet, self.asks.root, self.message])
        self.root.add_class("potadlab")
        replace_in_cell(self)

    def _failed(self, error: Exception) -> None:
        self.message.value = f'<span class="potadlab-error">{escape(one_line(error))}</span>'

    def close(self) -> None:
        """Stop for good; what is shown stays."""
        self.asks.close()
        self.worker.close()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.root._repr_mimebundle_(**options)


def _start(trace: "Trace | str | Path | None", at: str | int, size: Size) -> Moment:
    if trace is None:
        space = Space.ram(size)
        empty = Case(space, np.zeros(0, OP), np.zeros(0, BLOCK), 0)
        return empty, 0, f"{format_size(space.bytes)} of empty memory"
    if not isinstance(trace, Trace):
        trace = Trace.read(datasets().get(str(trace)) or Path(trace).expanduser())
    index = index_of(at, len(trace.ops))
    case = Case(trace.space, trace.ops, trace.start, trace.handles)
    return case, index, f"{trace.name} after {index:,} ops"
