"""The dashboard: a session, a moment, a window; and what each widget does to them.

A widget never changes a state: it moves the moment, or adds an op to the session.  Long work
(reading, replaying) runs in a thread; the page goes on.
"""

import asyncio
import html
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import ipywidgets as widgets

from ..core._jit import CACHE_DIR
from ..core.allocators import usual
from ..errors import Cancelled, NotLive
from ..metrics.latency import Latency
from ..session import Session, end_of_service
from ..traces import Trace
from ..views import regions
from . import words
from .adding import Adding
from .canvas import POISON_COLOUR, STRIP, Canvas
from .claiming import Claiming
from .comparing import SHOWN_MAX, Comparing
from .controls import FASTEST, FASTEST_PICTURES, SLIDER_STEPS, Controls
from .counting import Counting
from .describing import Describing
from .failing import Failing
from .keeping import Keeping
from .looking import Looking
from .maps import Mark, Shape
from .moments import Moments
from .opening import Opening
from .painter import Painter
from .panel import Panel
from .parts import on_clicks
from .seeking import Seeker, place
from .telling import CHOSEN, CLAIMED, LOG_LINES, Telling
from .work import LEFT, Worker

SHOWN = ("potad", "buddy")
STATUS_S = 0.4  # text and slider follow a playing trace this often; maps as fast as they can
# a digest of the sources names the folder, so it holds nothing before the first run
_COMPILED = any(CACHE_DIR.rglob("*.nbc"))
KEYS = [" ", "ArrowRight", "ArrowLeft", "+", "=", "-", "Escape", "Home", "End", *"0123456789bnp"]
_WORDS = (
    "Maps of memory. Keys: space plays and pauses, arrows step an op (with Shift 1000), "
    "plus and minus zoom, 0 to 9 jump to tenths of the time, Home and End to its ends, n and p to "
    "the next and the previous of what is chosen to jump to, b sets a bookmark, Escape drops the "
    "selection."
)
_FIRST = "click on a map, or zoom by wheel"
_MANY_OPS = 1000


Moment = tuple[int, regions.Window, str, bool]  # ops done, what is shown, how; the worst


class Part(Protocol):
    """What stands in a tab: `opened` for other ops, `moved` for another moment, in front only.

    `close` lets go of threads, and of what is large: the page keeps its widgets, and they it.
    """

    title: str
    root: widgets.Widget

    def opened(self) -> None: ...
    def moved(self) -> None: ...
    def close(self) -> None: ...


class Dashboard(Panel):
    """Memory of a recorded machine in several allocators, to play, to fail and to claim from.

    `trace`: a Trace, a path, or the name of a bundled one.  Show it by ending a cell with it.
    """

    def __init__(
        self,
        trace: "Trace | str | Path" = "compile_redis",
        allocators: Sequence[str] | None = None,
        shown: Sequence[str] = SHOWN,
    ) -> None:
        super().__init__()
        self.session: Session | None = None
        self.index = 0
        self.playing = False
        self.measured: list[Latency] = []
        self.log: list[str] = []
        self._played_from = (0.0, 0)  # clock in s, time_ns
        self._set_s = 0.0  # where we put the slider
        self._moved_s = 0.0  # when the slider was last moved by hand
        names = tuple(usual() if allocators is None else allocators)
        self.opening, self.adding = Opening(self, names), Adding(self)
        self.telling = Telling(self)
        self._begin(names, [name for name in names if name in shown] or names[:2])
        self.open(trace)

    def _begin(self, names: Sequence[str], shown: Sequence[str]) -> None:
        self.controls = Controls(self.opening.bundled, names, shown)
        self._set_stage(self.controls.figures)
        self.bridge.hot_keys, self.bridge.words = KEYS, _WORDS
        self.bridge.linked = True
        self.seeker, self.moments = Seeker(self), Moments(self)
        self.worker = Worker(self._set_busy, self._failed)
        finding = (*self.seeker.widgets, *self.moments.widgets)
        self.comparing = Comparing(self)
        self.keeping = Keeping(self)
        self.describing, self.looking = Describing(self), Looking(self)
        self.counting = Counting(self)
        cost = (self.describing, self.looking, self.counting)
        self.failing, self.claiming = Failing(self), Claiming(self)
        by_hand = (self.failing, self.claiming)
        self.parts: tuple[Part, ...] = (self.comparing, *cost, *by_hand, self.keeping)
        tabs = [(part.title, part.root) for part in self.parts]
        self.root = self.controls.layout(finding, tabs, self.bridge)
        self._connect()
        self._enable_by_hand()
        self.telling.block()
        self.telling.log()
        for work in (self.stage.pump(), self.stage.watch(), self._follow()):
            self.worker.spawn(work)

    def close(self) -> None:
        """Stop for good; the last pictures stay on the page."""
        if not self._closed:
            self._closed, self.playing = True, False
            self.worker.close()
            self.stage.close()
            for part in self.parts:
                part.close()
            self.controls.enable(False)
            self.controls.show_work(False)
            self.session, self.measured = None, []
            self.adding.close()

    # ---- work that takes time ----

    @property
    def busy(self) -> bool:
        """A trace is being read or replayed."""
        return self.worker.busy

    def _work(self, what: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if self.busy:
            return self.say("still at work: wait for it to end", error=True)
        self.pause()
        self.worker.do(what, work, then)

    def change(
        self, what: str, work: Callable[[Session], Any], then: Callable[[Any], None]
    ) -> None:
        """Work that changes the session: done to a copy, which takes its place at the end."""
        fresh = self._live().copy()

        def take(done: Any) -> None:
            self.session = fresh
            then(done)

        self._work(what, lambda: work(fresh), take)

    def _failed(self, error: Exception) -> None:
        super()._failed(error)
        self.opening.say()

    def _set_busy(self, busy: bool, what: str) -> None:
        self.stage.still = busy
        self.controls.enable(not busy and self.session is not None)
        for widget in self.controls.files:
            widget.disabled = busy
        self._enable_by_hand()
        self.controls.show_work(busy)
        self.say(what)

    def cancel(self) -> None:
        """Stop the work that goes on; all is as it was before."""
        self.worker.leave()

    def _progress(self, share: float, what: str) -> None:
        """Called from the thread; where someone has pressed Cancel, the work ends here."""
        if self.worker.left:
            raise Cancelled(LEFT)
        self.worker.from_thread(self._show_progress, share, what)

    def _show_progress(self, share: float, what: str) -> None:
        if self.busy:
            self.controls.progress.value = share
            hint = "" if _COMPILED else ", compiling what is needed (only the first time)"
            self.say(f"{what}{hint} ...")

    def say(self, text: str, error: bool = False) -> None:
        """The message line."""
        mark = ' class="potadlab-error"' if error else ""
        self.controls.message.value = f"<span{mark}>{html.escape(text)}</span>"

    # ---- another session ----

    def open(self, trace: "Trace | str | Path") -> None:
        """Read and replay a trace (object, path or bundled name); on an error keep the last.

        A session's file, or a link, opens what was looked at.
        """
        self.opening.open(trace)

    def _show(self, loaded: tuple[Session, list[Latency]]) -> None:
        self.session, self.measured = loaded
        self.selected, self.index = None, 0
        self.seeker.opened()
        self.moments.opened()
        self.adding.opened()
        end = end_of_service(self.session)
        self.window = regions.whole(end, self.controls.lie.value, self.screen.pixels)
        self.opening.say()
        self.opening.show_path()
        self.controls.enable(True)
        self.controls.offer_sizes(self.session.space.granule_bytes)
        self._set_slider_range()
        for name, box in self.controls.allocators.items():
            box.layout.display = "" if name in self.session.names else "none"
        self._replayed_anew(0)
        name = self.session.trace.name
        self._note([f"opened {name}: what is failed and claimed in it is told above this line"])
        self.say(f"{name}: {self.session.length:,} ops, ready to play; {_FIRST}")

    def _replayed_anew(self, index: int) -> None:
        """The session has other ops: all that was drawn and told of it is made anew."""
        self.index = min(index, self._live().length)
        for part in self.parts:
            part.opened()
        self._redraw()
        self.go(index)

    def offer_map(self, name: str, shown: bool) -> None:
        """A box to tick for the map of an allocator that has joined."""
        if name in self.controls.allocators:
            box, quiet, self._quiet = self.controls.allocators[name], self._quiet, True
            box.value, box.layout.display, self._quiet = shown, "", quiet
        else:
            self.controls.add_allocator(name, shown)
            self._watch_box(name)

    def _live(self) -> Session:
        if self.session is None:
            raise NotLive("no trace is open: open one first")
        return self.session

    def _painter(self) -> Painter:
        assert isinstance(self.stage.painter, Painter)
        return self.stage.painter

    def _canvas(self) -> Canvas:
        assert isinstance(self.stage.canvas, Canvas)
        return self.stage.canvas

    @property
    def names(self) -> list[str]:
        """Allocators whose maps are shown."""
        boxes = self.controls.allocators
        return [name for name in self._live().names if name in boxes and boxes[name].value]

    def _redraw_here(self) -> None:
        """New figures at the same moment."""
        if self.session:
            self.pause()
            self._redraw()
            self.go(self.index)

    def _redraw(self) -> None:
        """New figures: for another session, other maps, or a run that has changed."""
        assert self.window
        canvas = Canvas(
            self._live(),
            self.names,
            self.measured,
            self.bridge.key,
            self.light,
            self.stage.pictures,
            self.comparing.difference.value,
            self.screen,
        )
        self._make_room(canvas)
        canvas.label(self.window)
        canvas.note(self.moments.found())
        self.stage.show(canvas, Painter(canvas))
        self.telling.legend()
        self._mark()

    @property
    def front(self) -> Part | None:
        """What stands in the tab that is in front; the first tab holds no part."""
        at = self.controls.tabs.selected_index
        return self.parts[at - 1] if at else None

    def _make_room(self, canvas: Canvas) -> None:
        """For the part in front, which goes with the maps; a picture to keep is of everything."""
        room = self.front not in (None, self.keeping)
        canvas.make_room(room)
        self.controls.leave_room(room)

    # ---- the page ----

    def _moment(self) -> Moment:
        """What to paint next."""
        if self.playing:
            self._advance()
        assert self.window
        return self.index, self.window, self.controls.colouring.value, self.controls.worst.value

    async def _follow(self) -> None:
        """Keep text and slider near the pictures."""
        while True:
            await asyncio.sleep(STATUS_S)
            self.opening.follow()
            if self.playing:
                self._advance()  # also while nobody sees the pictures
                self._say_moment()
            self.telling.status()

    def _resized(self) -> None:
        if self.stage.canvas:
            self._redraw()

    def _dress(self) -> None:
        if self.stage.canvas:
            self._canvas().dress(self.light)
            self.telling.legend()
            self._say_part()

    def frame_stats(self, over_s: float = 1e9) -> dict[str, float]:
        """Frames sent and shown, fps and lag in ms: of all, or of the last `over_s` seconds."""
        return self.stage.flow.stats(over_s)

    # ---- the moment ----

    def go(self, index: int) -> None:
        """Show the moment after `index` ops."""
        self.index = min(max(index, 0), self._live().length)
        self._played_from = time.monotonic(), self._time_ns()
        self._say_moment()
        self._mark()
        self.stage.want()

    def _time_ns(self) -> int:
        return self._live().time_ns(max(self.index - 1, 0)) if self.index else 0

    def play(self) -> None:
        """Go on from this moment, from the start if this is the end."""
        if self.session is None or self.busy:
            return
        if self.index >= self.session.length:
            self.go(0)
        self.playing = self.stage.lively = True
        self._played_from = time.monotonic(), self._time_ns()
        self.controls.play.description, self.controls.play.icon = "Pause", "pause"
        self.stage.flow.forget()
        self._clear_marks()
        self.stage.want()

    def pause(self) -> None:
        if not self.playing:
            return
        self.playing = self.stage.lively = False
        self.controls.play.description, self.controls.play.icon = "Play", "play"
        self._say_moment()
        self._mark()
        self.stage.want()

    def step(self, ops: int) -> None:
        """So many ops on, or back."""
        self.pause()
        self.go(self.index + ops)

    def _advance(self) -> None:
        """The moment that the clock has come to."""
        session, (clock_s, from_ns) = self._live(), self._played_from
        if self.controls.speed.value == FASTEST:
            from_ns += session.time_ns(session.length) // FASTEST_PICTURES
            clock_s = time.monotonic()
            self._played_from = clock_s, from_ns
        time_ns = from_ns + (time.monotonic() - clock_s) * self.controls.speed.value * 1e9
        self.index = max(session.index_at(int(time_ns)), self.index)
        if self.index >= session.length:
            self.pause()

    def _slide(self, change: Any) -> None:
        slider = self.controls.time
        if self.session is None or abs(change["new"] - self._set_s) < slider.step / 2:
            return  # the page answers a value that we set with one rounded to a step
        self._moved_s, self._set_s = time.monotonic(), math.inf
        at_end = change["new"] > slider.max - slider.step / 2  # steps are not exact
        index = self.session.index_at(round(change["new"] * 1e9))
        self.go(self.session.length if at_end else index)

    def _set_slider(self, seconds: float) -> None:
        slider, self._quiet = self.controls.time, True
        self._set_s = min(round(seconds / slider.step) * slider.step, slider.max)
        slider.value = self._set_s
        self._quiet = False

    def _set_slider_range(self) -> None:
        seconds = max(self._live().time_ns(self._live().length) / 1e9, 1e-6)
        self._set_slider(0)
        self._quiet = True
        clock, step = self._live().clock, seconds / SLIDER_STEPS
        self.controls.time.max = seconds
        self.controls.time.step = step if clock.timed else math.ceil(step)  # whole ops
        self.controls.tell_clock(clock)
        self._quiet = False

    def _hear_link(self, message: dict[str, Any]) -> None:
        self.opening.link = str(message["query"])  # followed once nothing else is at work

    def _hear_address(self, message: dict[str, Any]) -> None:
        self.keeping.linked(str(message["url"])[:8000], message["copied"] is True)

    def _hear_upload(self, message: dict[str, Any]) -> None:
        self.keeping.take(message)

    def _hear_picture(self, message: dict[str, Any]) -> None:
        made = bytes(message["buffers"][0]) if message["buffers"] else b""
        self.keeping.picture(str(message["form"]), made, str(message["error"]))

    def _end(self) -> int:
        self._live()
        return self._painter().end

    def _looked(self) -> None:
        assert self.window
        self._canvas().label(self.window)
        self._mark()

    def _show_place(self, granule: int, size: int) -> None:
        """Move the window to so many granules, if it does not show them well."""
        assert self.window
        self._look(place(self.window, granule, size, self._end()))

    def _pressed(self, key: str, shift: bool) -> None:
        if self.session is None or self.busy:
            return
        if key == " ":
            self.pause() if self.playing else self.play()
        elif key in ("ArrowRight", "ArrowLeft"):
            many = _MANY_OPS if shift else 1
            self.step(many if key == "ArrowRight" else -many)
        elif key in ("Home", "End"):
            self.pause()
            self.go(0 if key == "Home" else self.session.length)
        elif key.isdigit():
            end_ns = self.session.time_ns(self.session.length)
            self.go(self.session.index_at(end_ns * int(key) // 10) if key != "0" else 0)
        elif key in "np":
            self.moments.jump(1 if key == "n" else -1)
        elif key == "b":
            self.moments.bookmark()
        elif key == "Escape":
            self.selected = None
            self.seeker.drop()
        else:
            super()._pressed(key, shift)

    def _hear_pointer(self, message: dict[str, Any]) -> None:
        if message["map"] != STRIP:
            return super()._hear_pointer(message)
        if self.session and not self.busy:
            self.pause()
            self.go(self.session.index_at(int(float(message["x"]) * 1e9)))

    def _pointer_panstart(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        if not self.seeker.begins(self._under(x, y), bool(message.get("shift"))):
            super()._pointer_panstart(name, x, y, message)

    def _pointer_pan(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        if not self.seeker.reaches(self._under(x, y)):
            super()._pointer_pan(name, x, y, message)

    def _pointer_panend(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        self.seeker.ends()
        super()._pointer_panend(name, x, y, message)

    # ---- the block under the pointer, and the chosen one ----

    def _tip(self, name: str, granule: int) -> list[str]:
        """Lines on the cell that holds a granule, and on what a click there chooses."""
        assert self.window
        if pair := self._pair(name):
            return [line for one in pair for line in (f"{one}:", *self._tip(one, granule))]
        wide = self.window.granules_per_cell
        cell = self._painter().cell(name, self.index, granule // wide * wide, wide)
        if not cell.blocks and not cell.failed:
            return [self._address(cell.granule), *words.cell(cell)]
        count = words.cell(cell) if wide > 1 else []
        return [*count, f"{self._address(cell.granule)}:", *self.describe(name, cell.granule)]

    def _address(self, granule: int) -> str:
        return words.address(granule * self._live().space.granule_bytes)

    def describe(self, name: str, granule: int) -> list[str]:
        """Lines on what is at the address of a granule."""
        session = self._live()
        found = session.describe(name, self.index, granule)
        if found is None:
            return words.cell(self._painter().cell(name, self.index, granule, 1))
        at_bytes = granule * session.space.granule_bytes
        return words.descriptor(found, at_bytes, self._time_ns(), session.clock)

    def _tapped(self, name: str, granule: int) -> None:
        assert self.window
        self.pause()
        name = (self._pair(name) or (name,))[0]
        wide = self.window.granules_per_cell
        self.choose(name, self._painter().cell(name, self.index, granule, wide).granule)

    def _pair(self, name: str) -> tuple[str, str] | None:
        """The two allocators of a map of differences."""
        return self._canvas().pair if name not in self._live().names else None

    def choose(self, name: str, granule: int) -> None:
        """Pause, and show the block that holds a granule."""
        self.pause()
        self.selected = name, granule
        self._mark()
        where = f"{self._address(granule)} in {name} after op {self.index:,}"
        self.say(f"{where}: {self.describe(name, granule)[0]}")

    # ---- what people add ----

    def fail(self) -> None:
        """The memory at the chosen address fails, in every allocator."""
        self.adding.fail()

    def claim(self) -> None:
        """Claim the size at the alignment that are picked, in every allocator."""
        self.adding.claim()

    def undo(self) -> None:
        """Back to the run without what was added last."""
        self.adding.undo()

    def _note(self, lines: list[str]) -> None:
        self.log = [*lines, *self.log][:LOG_LINES]
        self.telling.log()

    # ---- what is marked and said ----

    def _mark(self) -> None:
        """Describe and outline the chosen block, outline claims, mark failed granules."""
        if self.stage.canvas is None or self.window is None or self.playing:
            return
        canvas = self._canvas()
        self._enable_by_hand()
        self.telling.block()
        self._say_part()
        for name in canvas.names:
            canvas.mark(name, self.window, self._shapes(name), self._points(name))

    def _clear_marks(self) -> None:
        if self.stage.canvas and self.window:
            for name in self._canvas().names:
                self._canvas().mark(name, self.window, [], self._points(name))

    def _come(self) -> None:
        """Another tab is in front."""
        if self.stage.canvas:
            self._make_room(self._canvas())
        self._say_part()

    def _say_part(self) -> None:
        """The part whose tab is in front follows the moment; the others when they are called."""
        front = self.front
        if front and self.session and not self.busy and not self.playing:
            front.moved()

    def _shapes(self, name: str) -> list[Shape]:
        session, unit = self._live(), self._live().space.granule_bytes
        if name not in session.names:
            return self.seeker.shapes()
        shapes = [(*place, CLAIMED) for place in self.adding.places(name)]
        shapes += [*self.seeker.shapes(), *self.claiming.shapes(name)]
        if self.selected and self.selected[0] == name:
            found = session.describe(name, self.index, self.selected[1])
            if found:
                shapes.append((found.start_bytes // unit, 1 << found.order, CHOSEN))
        return shapes

    def _points(self, name: str) -> list[Mark]:
        if name not in self._live().names:
            return []
        marks = self.seeker.marks(name)
        marks += [(at, "inverted_triangle", CLAIMED) for at, _ in self.adding.places(name)]
        if self.selected:
            here = self.selected[0] == name  # else: where it would be, if addresses were alike
            marks.append((self.selected[1], "circle" if here else "circle_dot", CHOSEN))
        failed = self._live().runs[name].poison(self.index)
        return [*marks, *((int(granule), "diamond", POISON_COLOUR) for granule in failed)]

    def _say_moment(self) -> None:
        self.telling.moment()
        if time.monotonic() - self._moved_s > 0.5:  # a hand on the slider is not moved away
            self._set_slider(self._time_ns() / 1e9)

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
            controls.open: self.opening.open_path,
            controls.cancel: self.cancel,
        }
        on_clicks(self._act, clicks)
        controls.time.observe(lambda change: self._act(lambda: self._slide(change)), "value")
        controls.speed.observe(lambda _change: self._act(self._respeed), "value")
        controls.colouring.observe(lambda _change: self._act(self._recolour), "value")
        controls.worst.observe(lambda _change: self._act(self._recolour), "value")
        controls.lie.observe(lambda _change: self._act(self._lay), "value")
        controls.trace.observe(lambda _change: self._act(self.opening.pick), "value")
        controls.path.observe(lambda _change: self._act(self.opening.open_path), "value")
        for name in controls.allocators:
            self._watch_box(name)
        controls.tabs.observe(lambda _change: self._act(self._come), "selected_index")

    def _watch_box(self, name: str) -> None:
        box = self.controls.allocators[name]
        box.observe(lambda change: self._act(lambda: self._choose_maps(change["owner"])), "value")

    def _respeed(self) -> None:
        self._played_from = time.monotonic(), self._time_ns()

    def _recolour(self) -> None:
        self.telling.legend()
        self.stage.want()

    def _lay(self) -> None:
        if self.window:
            self._look(regions.along(self.window, self.controls.lie.value))

    def _choose_maps(self, box: Any) -> None:
        self.pause()
        if not 0 < len(self.names) <= SHOWN_MAX:  # the last map stays, a fifth has no room
            self._quiet = True
            box.value = not box.value
            self._quiet = False
            return
        self._redraw()
        self.go(self.index)
