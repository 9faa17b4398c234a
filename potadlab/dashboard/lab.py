"""The dashboard: a session, a moment, a window; and what each widget does to them.

A widget never changes a state: it moves the moment, or adds an op to the session.  Long work
(reading, replaying) runs in a thread; the page goes on.
"""

import asyncio
import html
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.io import output_notebook
from bokeh.resources import INLINE
from jupyter_bokeh import BokehModel

from ..bundled import datasets
from ..errors import PotadError
from ..kinds import KINDS
from ..metrics.latency import Latency, measure
from ..session import Claimed, Session
from ..traces import Trace
from ..units import format_size
from ..views import regions, theme
from . import words
from .bridge import Bridge
from .canvas import POISON_COLOUR, Canvas, Mark, Shape
from .controls import OWN_FILE, SLIDER_STEPS, Controls
from .flow import Flow
from .painter import Painter, end_of_service

ALLOCATORS = ("potad", "buddy", "recorded")
SHOWN = ("potad", "buddy")
STATUS_S = 0.25  # text and slider follow a playing trace this often; figures as fast as they can
SILENCE_S = 30.0  # then say that the page does not answer
_CHOSEN, _PLACED = "#111111", "#d000d0"
_LOG_LINES = 200


class Dashboard:
    """Memory of a recorded machine in several allocators, to play, to fail and to claim from.

    `trace`: a Trace, a path, or the name of a bundled one.  Show it by ending a cell with it.
    """

    def __init__(
        self,
        trace: "Trace | str | Path" = "compile_redis",
        allocators: Sequence[str] = ALLOCATORS,
        shown: Sequence[str] = SHOWN,
    ) -> None:
        self.session: Session | None = None
        self.index = 0
        self.window: regions.Window | None = None
        self.playing, self.busy, self.light = False, False, True
        self.selected: tuple[str, int] | None = None  # allocator, granule
        self.placed: list[Claimed] = []
        self.measured: list[Latency] = []
        self.log: list[str] = []
        self._allocators = tuple(allocators)
        self._key = uuid.uuid4().hex
        self._dragged: tuple[int, float] | None = None  # first granule and y at the drag's start
        self._played_from = (0.0, 0)  # clock in s, time_ns
        self._quiet = False  # a widget is moved by us, not by hand
        self._moved_s = 0.0  # when the slider was last moved by hand
        self._asked_s = time.monotonic()  # when the page was last given figures to answer for
        self._missing = 0  # sources the page cannot find
        self._wanted = asyncio.Event()  # a picture is due
        self._threads = ThreadPoolExecutor(1, "potadlab")
        self._paint_thread = ThreadPoolExecutor(1, "potadlab-paint")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begin(trace, shown)

    def _begin(self, trace: "Trace | str | Path", shown: Sequence[str]) -> None:
        output_notebook(INLINE, hide_banner=True)  # before any BokehModel, or the page has no Bokeh
        self._bundled = datasets()
        shown = [name for name in self._allocators if name in shown] or self._allocators[:2]
        self.controls = Controls(self._bundled, self._allocators, shown)
        self.bridge = Bridge(self._key, self._hear)
        self.flow = Flow(self._send)
        self.canvas: Canvas | None = None
        self._model: BokehModel | None = None
        self.root = self.controls.layout(self.bridge)
        self._connect()
        self._say_block()
        self._say_log()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # not in a notebook: everything happens at once
            self._loop = None
        if self._loop:
            self._spawn(self._pump())
            self._spawn(self._follow())
        self.open(trace)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.root._repr_mimebundle_(**options)

    def close(self) -> None:
        """Stop playing and let the threads go; the figures stay as they are."""
        self.pause()
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False)
        self._paint_thread.shutdown(wait=False)

    # ---- work that takes time ----

    def _spawn(self, work: Any) -> None:
        assert self._loop
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _work(self, what: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `work` in the thread, then `then` with its result; an error becomes a message."""
        if self.busy:
            return self.say("still at work: wait for it to end", error=True)
        self.pause()
        self._set_busy(True, what)
        if self._loop:
            self._spawn(self._work_aside(work, then))
        else:
            self._settle(work, then)

    async def _work_aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        assert self._loop
        try:
            done = await self._loop.run_in_executor(self._threads, work)
        except Exception as error:
            self._failed(error)
        else:
            self._settle(lambda: done, then)

    def _settle(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        try:
            done = work()
            self._set_busy(False, "")
            then(done)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """One line in the page; the dashboard goes on with what it had."""
        self._set_busy(False, "")
        known = isinstance(error, PotadError | OSError)
        self.say(str(error) if known else f"{type(error).__name__}: {error}", error=True)

    def _set_busy(self, busy: bool, what: str) -> None:
        self.busy = busy
        self.controls.enable(not busy and self.session is not None)
        self.controls.trace.disabled = self.controls.path.disabled = busy
        self._enable_by_hand()
        self.controls.progress.layout.visibility = "visible" if busy else "hidden"
        self.controls.progress.value = 0
        self.say(what)

    def _progress(self, share: float, what: str) -> None:
        """Called from the thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._show_progress, share, what)

    def _show_progress(self, share: float, what: str) -> None:
        if self.busy:
            self.controls.progress.value = share
            self.say(f"{what} (the first time, kernels are compiled: up to a minute)")

    def say(self, text: str, error: bool = False) -> None:
        """The message line."""
        mark = ' class="potadlab-error"' if error else ""
        self.controls.message.value = f"<span{mark}>{html.escape(text)}</span>"

    # ---- opening a trace ----

    def open(self, trace: "Trace | str | Path") -> None:
        """Read and replay a trace (object, path or bundled name); on an error keep the last."""
        name = trace if isinstance(trace, str | Path) else trace.name
        self._work(f"opening {name}", lambda: self._load(trace), self._show)

    def _load(self, trace: "Trace | str | Path") -> tuple[Session, list[Latency]]:
        if isinstance(trace, str | Path):
            path = self._bundled.get(str(trace)) or Path(trace).expanduser()
            trace = Trace.read(path, progress=self._progress)
        session = Session(trace, self._allocators, progress=self._progress)
        self._progress(1.0, "measuring lookups")
        blocks = session.blocks(session.names[0], 0)
        return session, measure(blocks, session.space.granules)

    def _show(self, loaded: tuple[Session, list[Latency]]) -> None:
        self.session, self.measured = loaded
        self.selected, self.placed = None, []
        self.window = regions.whole(end_of_service(self.session))
        self._say_trace()
        self.controls.enable(True)
        self._set_slider_range()
        self._redraw()
        self.go(0)
        self.say(f"{self.session.trace.name}: {self.session.length:,} ops, ready to play")

    def _live(self) -> Session:
        assert self.session is not None
        return self.session

    @property
    def names(self) -> list[str]:
        """Allocators whose maps are shown."""
        boxes = self.controls.allocators
        return [name for name in self._live().names if boxes[name].value]

    def _redraw(self) -> None:
        """New figures: for another session, other maps, or a run that has changed."""
        assert self.window
        self.flow.leave()
        self.canvas = Canvas(self._live(), self.names, self.measured, self._key, self.light)
        self.painter = Painter(self.canvas)
        self.canvas.label(self.window)
        old, self._model = self._model, BokehModel(self.canvas.root, combine_events=True)
        self._model.layout.width = "100%"
        self.controls.figures.children = [self._model]
        if old:
            old.close()
        self.bridge.targets = self.canvas.targets
        self._asked_s = time.monotonic()
        self._say_legend()
        self._mark()
        self._wanted.set()

    # ---- frames ----

    async def _pump(self) -> None:
        """Paint while there is something to show and the last picture is on its way or shown."""
        while True:
            await self._wanted.wait()
            if self.busy or self.session is None or self.flow.waiting or not self.flow.ready:
                await asyncio.sleep(0.005)
                self.flow.watch()
                continue
            self._wanted.clear()
            try:
                await self._paint_next()
            except Exception as error:
                self._failed(error)

    async def _paint_next(self) -> None:
        assert self._loop and self.canvas
        canvas = self.canvas
        if self.playing:
            self._advance()
        choice = self.index, self.window, self.controls.colouring.value
        frame = await self._loop.run_in_executor(self._paint_thread, self.painter.paint, *choice)
        if canvas is self.canvas:
            self.flow.offer(frame)
        if self.playing:
            self._wanted.set()

    async def _follow(self) -> None:
        """Keep text and slider near the pictures, and watch over lost answers."""
        while True:
            await asyncio.sleep(STATUS_S)
            self.flow.watch()
            if self.playing:
                self._say_moment()
            self._say_status()


    def _send(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        """The way of frames: the bridge, or Bokeh's own if the page cannot find the sources."""
        if self._missing and self.canvas:
            self.canvas.write(buffers, message["parts"][-1]["value"])
            message, buffers = {**message, "parts": []}, []
        self.bridge.post(message, buffers)

    def _hear(self, message: dict[str, Any]) -> None:
        """What the page says: ready, shown, theme, pointer."""
        try:
            getattr(self, f"_hear_{message['type']}")(message)
        except Exception as error:
            self._failed(error)

    def _hear_ready(self, message: dict[str, Any]) -> None:
        if self.canvas is None or message["targets"] != self.canvas.targets:
            return
        self._missing = int(message["missing"])
        self._hear_theme(message)
        self.flow.greet()
        self._wanted.set()

    def _hear_shown(self, message: dict[str, Any]) -> None:
        self.flow.shown(int(message["number"]))

    def _hear_theme(self, message: dict[str, Any]) -> None:
        if bool(message["light"]) != self.light:
            self.light = bool(message["light"])
            if self.canvas:
                self.canvas.dress(self.light)
                self._say_legend()

    def _hear_pointer(self, message: dict[str, Any]) -> None:
        getattr(self, f"_pointer_{message['what']}")(
            str(message["map"]), float(message["x"]), float(message["y"]), message
        )

    def frame_stats(self, over_s: float = 1e9) -> dict[str, float]:
        """Frames sent and shown, fps and lag in ms: of all, or of the last `over_s` seconds."""
        return self.flow.stats(over_s)

    # ---- the moment ----

    def go(self, index: int) -> None:
        """Show the moment after `index` ops."""
        self.index = min(max(index, 0), self._live().length)
        self._played_from = time.monotonic(), self._time_ns()
        self._say_moment()
        self._mark()
        self._wanted.set()

    def _time_ns(self) -> int:
        return self._live().time_ns(max(self.index - 1, 0)) if self.index else 0

    def play(self) -> None:
        """Go on from this moment, from the start if this is the end."""
        if self.session is None or self.busy:
            return
        if self.index >= self.session.length:
            self.go(0)
        self.playing = True
        self._played_from = time.monotonic(), self._time_ns()
        self.controls.play.description, self.controls.play.icon = "Pause", "pause"
        self.flow.forget()
        self._clear_marks()
        self._wanted.set()

    def pause(self) -> None:
        if not self.playing:
            return
        self.playing = False
        self.controls.play.description, self.controls.play.icon = "Play", "play"
        self._say_moment()
        self._mark()
        self._wanted.set()

    def step(self, ops: int) -> None:
        """So many ops on, or back."""
        self.pause()
        self.go(self.index + ops)

    def _advance(self) -> None:
        """The moment that the clock has come to."""
        session, (clock_s, from_ns) = self._live(), self._played_from
        time_ns = from_ns + (time.monotonic() - clock_s) * self.controls.speed.value * 1e9
        self.index = max(session.index_at(int(time_ns)), self.index)
        if self.index >= session.length:
            self.pause()

    def _slide(self, change: Any) -> None:
        if self._quiet or self.session is None:
            return
        self._moved_s = time.monotonic()
        self.go(self.session.index_at(int(change["new"] * 1e9)))

    def _set_slider_range(self) -> None:
        seconds = max(self._live().time_ns(self._live().length) / 1e9, 1e-6)
        self._quiet = True
        slider = self.controls.time
        slider.value = 0
        slider.max, slider.step = seconds, seconds / SLIDER_STEPS
        self._quiet = False

    # ---- the window ----

    def zoom(self, steps: int, granule: int | None = None) -> None:
        """Closer (or wider, below 0) around a granule, the chosen one or the middle."""
        assert self.window
        if granule is None:
            middle = (self.window.first + self.window.end) // 2
            granule = self.selected[1] if self.selected else middle
        self._look(regions.zoom(self.window, granule, steps, self.painter.end))

    def show_whole(self) -> None:
        """All memory again."""
        self._look(regions.whole(self.painter.end))

    def _look(self, window: regions.Window) -> None:
        if window != self.window and self.canvas:
            self.window = window
            self.canvas.label(window)
            self._mark()
            self._wanted.set()

    def _pointer_wheel(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        if granule is not None and message["delta"]:
            self.zoom(1 if message["delta"] > 0 else -1, granule)

    def _pointer_panstart(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        assert self.window
        self._dragged = self.window.first, y

    def _pointer_pan(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        if self._dragged and self.window:
            first, from_y = self._dragged
            rows = round((from_y - y) / self.window.scale)
            moved = first // self.window.row_granules + rows
            rows = moved - self.window.first // self.window.row_granules
            self._look(regions.pan(self.window, rows, self.painter.end))

    def _pointer_panend(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        self._dragged = None

    def _under(self, x: float, y: float) -> int | None:
        return regions.locate(self.window, x, y) if self.window else None

    # ---- the block under the pointer, and the chosen one ----

    def _pointer_hover(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        lines = [] if granule is None or self.busy else self.describe(name, granule)
        self.bridge.post({"type": "tip", "lines": lines}, [])

    def describe(self, name: str, granule: int) -> list[str]:
        """Lines on the cell that holds a granule, and on the foremost block in it."""
        assert self.window
        session, wide = self._live(), self.window.granules_per_cell
        first = granule // wide * wide
        cell = self.painter.cell(name, self.index, first, wide)
        found = session.describe(name, self.index, cell.granule)
        lines = words.cell(first * session.space.granule_bytes, cell)
        if found is None:
            return lines
        told = words.descriptor(found, self._time_ns())
        return told if wide == 1 else [*lines, *told]

    def _pointer_tap(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        if granule is not None and self.window:
            self.pause()
            wide = self.window.granules_per_cell
            self.choose(name, self.painter.cell(name, self.index, granule, wide).granule)

    def choose(self, name: str, granule: int) -> None:
        """Pause, and show the block that holds a granule."""
        self.pause()
        self.selected = name, granule
        self._say_block()
        self._mark()

    # ---- what people add ----

    def fail(self) -> None:
        """The memory at the chosen address fails, in every allocator."""
        session, index = self._live(), self.index
        if self.selected is None:
            return self.say("click on a map first: that is the address that fails", error=True)
        granule = self.selected[1]
        at_bytes = granule * session.space.granule_bytes
        self._work(
            f"failing {words.address(at_bytes)}, replaying what comes after",
            lambda: session.fail(granule, index),
            lambda found: self._added(index, words.told(at_bytes, found)),
        )

    def claim(self) -> None:
        """Claim the size at the alignment that are picked, in every allocator."""
        session, index, controls = self._live(), self.index, self.controls
        unit, align = session.space.granule_bytes, controls.align.value
        size = controls.size.value
        asked = f"{format_size(size)} at {format_size(align)}"
        order = max(align // unit, 1).bit_length() - 1

        def then(found: list[Claimed]) -> None:
            self.placed = [one for one in found if one.start_bytes is not None]
            self._added(index, words.claimed(asked, found))

        work = lambda: session.claim(size // unit, order, index)  # noqa: E731
        self._work(f"claiming {asked}, replaying what comes after", work, then)

    def undo(self) -> None:
        """Back to the run without the last op added by hand."""
        session, time_ns = self._live(), self._time_ns()
        if not session.undo():
            return self.say("nothing to undo: this is the untouched run", error=True)
        self.placed = []
        self._redraw()
        self.go(session.index_at(time_ns))
        self._note(["undone: the run without that op"])
        self._enable_by_hand()

    def _added(self, index: int, lines: list[str]) -> None:
        session = self._live()
        self._redraw()
        self.go(index + 1)
        at = f"after op {index:,}, {session.time_ns(max(index - 1, 0)) / 1e9:.6f} s: "
        self._note([at + lines[0], *lines[1:]])
        self._say_block()
        self._enable_by_hand()
        self.say("an op was added and all after it replayed; Undo goes back")

    def _note(self, lines: list[str]) -> None:
        self.log = [*lines, *self.log][:_LOG_LINES]
        self._say_log()

    # ---- what is said ----

    def _mark(self) -> None:
        """Outline the chosen block and the places of the claim; mark failed granules."""
        if self.canvas is None or self.window is None or self.playing or self.busy:
            return
        for name in self.canvas.names:
            self.canvas.mark(name, self.window, self._shapes(name), self._points(name))

    def _clear_marks(self) -> None:
        if self.canvas and self.window:
            for name in self.canvas.names:
                self.canvas.mark(name, self.window, [], self._points(name))

    def _shapes(self, name: str) -> list[Shape]:
        session, shapes = self._live(), []
        unit = session.space.granule_bytes
        for one in self.placed:
            if one.allocator == name and one.start_bytes is not None:
                shapes.append((one.start_bytes // unit, one.size_bytes // unit, _PLACED))
        if self.selected and self.selected[0] == name:
            found = session.describe(name, self.index, self.selected[1])
            if found:
                shapes.append((found.start_bytes // unit, 1 << found.order, _CHOSEN))
        return shapes

    def _points(self, name: str) -> list[Mark]:
        session = self._live()
        unit = session.space.granule_bytes
        failed = session.runs[name].poison(self.index)
        marks = [(int(granule), "x", POISON_COLOUR) for granule in failed]
        for one in self.placed:
            if one.allocator == name and one.start_bytes is not None:
                marks.append((one.start_bytes // unit, "inverted_triangle", _PLACED))
        if self.selected:
            filled = self.selected[0] == name
            marks.append((self.selected[1], "circle" if filled else "circle_dot", _CHOSEN))
        return marks

    def _say_moment(self) -> None:
        session, seconds = self._live(), self._time_ns() / 1e9
        self.controls.now.value = (
            f"{seconds:.6f} s of {self.controls.time.max:.3f} s, "
            f"op {self.index:,} of {session.length:,}"
        )
        if time.monotonic() - self._moved_s > 0.5:  # a hand on the slider is not moved away
            self._quiet = True
            self.controls.time.value = min(seconds, self.controls.time.max)
            self._quiet = False

    def _say_status(self) -> None:
        if self.session is None:
            return
        stats = self.frame_stats(over_s=3.0)
        text = "" if stats["shown"] < 2 or not self.playing else (
            f"{stats['fps']:.1f} frames per s, lag {stats['lag_ms_p50']:.0f} ms"
        )
        if not self.flow.ready and time.monotonic() - self._asked_s > SILENCE_S:
            text = "the page does not answer: reload it, and run this cell again"
        if self.controls.status.value != text:
            self.controls.status.value = text

    def _say_legend(self) -> None:
        session, colouring = self._live(), self.controls.colouring.value
        unit = session.space.granule_bytes
        present = np.zeros(256, bool)
        for run in session.runs.values():
            present |= run.census.live_blocks.any(axis=0)
        rest = theme.legend_map(colouring, self.light)
        self.controls.legend.value = (
            words.keys("Block size", theme.legend_sizes(unit))
            + words.keys("Kind", theme.legend_kinds(present[: len(KINDS)]))
            + words.keys("Map", rest)
        )

    def _say_block(self) -> None:
        self._enable_by_hand()
        if self.selected is None:
            text = words.lines(["Click on a map: the block there is shown here."])
        else:
            name, granule = self.selected
            unit = self._live().space.granule_bytes
            at = f"{name}, address {words.address(granule * unit)}"
            text = words.lines([at, *self.describe(name, granule)])
        self.controls.block.value = f'<div class="potadlab-block">{text}</div>'

    def _say_log(self) -> None:
        rows = self.log or ["What is failed and claimed is told here."]
        self.controls.log.value = f'<div class="potadlab-log">{words.lines(rows)}</div>'

    def _say_trace(self) -> None:
        self._quiet = True
        name = self._live().trace.name
        self.controls.trace.value = name if name in self._bundled else OWN_FILE
        self._show_path()
        self._quiet = False

    def _show_path(self) -> None:
        own = self.controls.trace.value == OWN_FILE
        self.controls.path.layout.display = "" if own else "none"

    def _enable_by_hand(self) -> None:
        idle = self.session is not None and not self.busy
        self.controls.fail.disabled = not (idle and self.selected)
        self.controls.claim.disabled = not idle
        self.controls.undo.disabled = not (idle and self._live().added)

    # ---- widgets to all that ----

    def _connect(self) -> None:
        controls = self.controls
        clicks = {
            controls.play: lambda: self.pause() if self.playing else self.play(),
            controls.back: lambda: self.step(-1),
            controls.forward: lambda: self.step(1),
            controls.closer: lambda: self.zoom(1),
            controls.wider: lambda: self.zoom(-1),
            controls.whole: self.show_whole,
            controls.fail: self.fail,
            controls.claim: self.claim,
            controls.undo: self.undo,
        }
        for button, act in clicks.items():
            button.on_click(lambda _button, act=act: self._act(act))
        controls.time.observe(self._slide, "value")
        controls.speed.observe(lambda _change: self._act(self._respeed), "value")
        controls.colouring.observe(lambda _change: self._act(self._recolour), "value")
        controls.trace.observe(lambda _change: self._act(self._pick), "value")
        controls.path.observe(lambda change: self._act(self._open_path), "value")
        for box in controls.allocators.values():
            box.observe(lambda _change: self._act(self._choose_maps), "value")

    def _act(self, act: Callable[[], Any]) -> None:
        """What a widget asks for; an error becomes a message."""
        if self._quiet:
            return
        try:
            act()
        except Exception as error:
            self._failed(error)

    def _respeed(self) -> None:
        self._played_from = time.monotonic(), self._time_ns()

    def _recolour(self) -> None:
        self._say_legend()
        self._wanted.set()

    def _pick(self) -> None:
        self._show_path()
        if self.controls.trace.value in self._bundled:
            self.open(self.controls.trace.value)

    def _open_path(self) -> None:
        if self.controls.path.value.strip():
            self.open(Path(self.controls.path.value.strip()))

    def _choose_maps(self) -> None:
        self.pause()
        if not self.names:
            return self.say("no map chosen: tick at least one", error=True)
        self._redraw()
        self.go(self.index)
