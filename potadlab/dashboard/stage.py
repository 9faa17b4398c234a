"""The figures on the page, and the loop that keeps their pictures at the moment asked for."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, Protocol

import ipywidgets
from bokeh.io import output_notebook
from bokeh.resources import INLINE
from jupyter_bokeh import BokehModel

from .bridge import Bridge
from .flow import Flow, Frame

MARKER_S = 0.4  # the marker costs a repaint of every figure over time, so it moves less often
WATCH_S = 0.25
SILENCE_S = 30.0  # then the page does not answer


class Canvas(Protocol):
    """Figures to put up."""

    root: Any
    names: list[str]

    @property
    def targets(self) -> list[str]: ...  # ids of the sources that the page must have
    def write(self, images: list[bytes], seconds: float | None) -> None: ...


class Painter(Protocol):
    """Makes pictures for a canvas, in a thread: one for the source of each of its names."""

    canvas: Any

    def paint(self, *moment: Any) -> Frame: ...


Change = Callable[[bytes], bytes]  # a picture to the same otherwise shown


class Figures(BokehModel):
    """A BokehModel that can be closed twice: when replaced, and again when collected."""

    def close(self) -> None:
        if self.comm is not None:
            super().close()
            self.layout.close()  # a widget of its own, which would stay


def bring_bokeh() -> None:
    """Give the page Bokeh's code, of this installation; before any figure, or it shows an error."""
    output_notebook(INLINE, hide_banner=True)


def put_beside(box: ipywidgets.HBox, plots: Iterable[Any], *flexes: str) -> None:
    """Figures share a box that wraps, none narrower than can be read; what it had is closed."""
    shown = [Figures(plot, combine_events=True) for plot in plots]
    for each, flex in zip(shown, flexes or repeat("1 1 300px"), strict=False):
        each.layout.flex, each.layout.min_width = flex, "min(100%, 300px)"
    old, box.children = box.children, shown
    for each in old:
        each.close()


def show(drawn: Any) -> Figures:
    """A Bokeh figure or layout as a widget: end a cell with it, or put it beside controls."""
    bring_bokeh()
    return Figures(drawn)


class Stage:
    """One canvas at a time, shown in `box`; `moment()` gives what to paint next."""

    def __init__(
        self,
        box: ipywidgets.VBox,
        bridge: Bridge,
        moment: Callable[[], tuple[Any, ...]],
        failed: Callable[[Exception], None],
    ) -> None:
        self.box, self.bridge = box, bridge
        self.flow = Flow(self._send)
        self.canvas: Canvas | None = None
        self.painter: Painter | None = None
        self.lively = False  # paint on and on: a trace is playing
        self.still = False  # do not paint for now: other work wants the processor
        self.seen = True  # by somebody: not in a hidden page, not scrolled away
        self.pictures: dict[str, bytes] = {}  # last of each allocator, shown until the next
        self._moment, self._failed = moment, failed
        self._wanted = asyncio.Event()
        self._painting = False
        self._changes: list[Change] = []  # since the picture that is being painted was begun
        self._paint_s = 0.0  # what painting takes of late
        self.page_ms = 0.0  # what the page takes for a frame of late
        self._missing = 0  # sources that the page cannot find
        self._marked_s = self._asked_s = 0.0
        self._model: Figures | None = None
        self._thread = ThreadPoolExecutor(1, "potadlab-paint")

    def show(self, canvas: Canvas, painter: Painter | None) -> None:
        """Put new figures up in place of the old; without a painter no picture goes to them."""
        self.flow.leave()
        self.canvas, self.painter = canvas, painter
        old, self._model = self._model, Figures(canvas.root, combine_events=True)
        self._model.layout.width = "100%"
        self.box.children = [self._model]
        if old:
            old.close()
        self._asked_s = time.monotonic()
        self.bridge.targets = canvas.targets
        self.want()

    def want(self) -> None:
        """The pictures are to show another moment."""
        if self.painter:
            self._wanted.set()

    def change(self, change: Change, show: bool = True) -> None:
        """Change the pictures, shown at once, until the next is painted; or for new figures."""
        self.pictures = {name: change(picture) for name, picture in self.pictures.items()}
        if self._painting:
            self._changes.append(change)
        for frame in (self.flow.waiting, self.flow.in_flight):  # this may be sent again
            if frame:
                frame.buffers = [change(picture) for picture in frame.buffers]
        if self.painter is None or not (show and self.flow.ready) or self._missing:
            return
        images = self.painter.canvas.images
        shown = [name for name in images if name in self.pictures]
        parts = [{"id": images[name].id, "field": "image"} for name in shown]
        self.bridge.post({"type": "write", "parts": parts}, [self.pictures[name] for name in shown])

    @property
    def settled(self) -> bool:
        """The page shows the moment asked for."""
        flow = self.flow
        waiting = self._wanted.is_set() or self._painting or flow.waiting or flow.in_flight
        return flow.ready and not waiting

    @property
    def silent(self) -> bool:
        """The page was given figures long ago and has not said that it has them."""
        late = time.monotonic() - self._asked_s > SILENCE_S
        return self.canvas is not None and not self.flow.ready and late

    def close(self) -> None:
        """Let go of the thread and of the session behind the figures."""
        self.flow.leave()
        self.canvas = self.painter = None
        self._thread.shutdown(wait=False)

    # ---- the loop ----

    async def pump(self) -> None:
        """Paint while something is wanted and at most one picture is before it."""
        while True:
            await self._wanted.wait()
            if self.still or self.canvas is None or self.flow.waiting or not self.flow.ready:
                late = self.flow.due_s() < -1.0 and self.flow.waiting  # hidden, or gone
                await asyncio.sleep(0.1 if late else 0.005)
                continue
            # painted just before the page is free: neither is kept waiting, no picture grows old
            early_s = self.flow.due_s() - 2 * self._paint_s
            if early_s > 0:
                await asyncio.sleep(early_s)
            self._wanted.clear()
            self._painting = True
            try:
                await self._paint()
            except Exception as error:
                self._failed(error)
            self._painting = False

    async def watch(self) -> None:
        """See to answers that are lost."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self.seen:
                self.flow.watch()

    async def _paint(self) -> None:
        painter = self.painter
        assert painter
        loop = asyncio.get_running_loop()
        before_s = time.monotonic()
        self._changes = []
        frame = await loop.run_in_executor(self._thread, painter.paint, *self._moment())
        self._paint_s += (time.monotonic() - before_s - self._paint_s) / 4
        for change in self._changes:  # what was painted is of before them
            frame.buffers = [change(picture) for picture in frame.buffers]
        if painter is self.painter:
            self._offer(frame, painter.canvas.names)
        if self.lively and self.seen:
            self.want()

    def _offer(self, frame: Frame, names: list[str]) -> None:
        self.pictures.update(zip(names, frame.buffers, strict=True))
        if self.lively and frame.chosen_s - self._marked_s < MARKER_S:
            frame.message["parts"].pop()
        else:
            self._marked_s = frame.chosen_s
        self.flow.offer(frame)

    # ---- to and from the page ----

    def _send(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        """By the bridge, or Bokeh's own way if the page cannot find the sources."""
        if self._missing and self.canvas:
            self.canvas.write(buffers, message["parts"][-1].get("value"))
            message, buffers = {**message, "parts": []}, []
        self.bridge.post(message, buffers)

    def ready(self, targets: list[str], missing: int) -> None:
        """The page has figures with these sources, or lacks some of them."""
        if self.canvas and targets == self.canvas.targets:
            self._missing = missing
            self.flow.greet()
            self.want()

    def shown(self, number: int, page_ms: float) -> None:
        """The page has shown a frame, `page_ms` after it came."""
        self.page_ms += (page_ms - self.page_ms) / 4
        self.flow.shown(number)

    def see(self, seen: bool) -> None:
        """Somebody looks, or nobody: then a trace that plays is not painted."""
        self.seen = seen
        if seen and self.lively:
            self.want()
