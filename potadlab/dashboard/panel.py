"""What every widget with figures shares: the page's messages, a window on memory, one per cell."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets
from IPython import get_ipython

from ..errors import PotadError
from ..views import regions
from .bridge import Bridge
from .maps import SMALL, Screen, height_for
from .stage import Stage, bring_bokeh
from .work import Worker


class Panel(ABC):
    """Figures on a page, shown by ending a cell with it; a second run of the cell replaces it.

    A subclass says what to paint, what a place on a figure is, and what a click there does.
    """

    root: ipywidgets.Widget
    bridge: Bridge
    stage: Stage
    worker: Worker

    def __init__(self) -> None:
        self.window: regions.Window | None = None
        self.selected: tuple[str, int] | None = None  # allocator, granule
        self.light = True
        self.screen = SMALL
        self._dragged: tuple[int, float] | None = None  # first granule and y at the drag's start
        self._quiet = False  # a widget is moved by us, not by hand
        self._closed = False
        replace_in_cell(self)

    def _set_stage(self, box: ipywidgets.VBox) -> None:
        """Make ready to show figures in `box`."""
        bring_bokeh()
        self.bridge = Bridge(uuid.uuid4().hex, self._hear)
        self.stage = Stage(box, self.bridge, self._moment, self._failed)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.root._repr_mimebundle_(**options)

    @abstractmethod
    def close(self) -> None:
        """Stop for good; the last pictures stay on the page."""

    @abstractmethod
    def _moment(self) -> tuple[Any, ...]:
        """What to paint next."""

    @abstractmethod
    def _end(self) -> int:
        """End of what a window may show, in granules."""

    @abstractmethod
    def _looked(self) -> None:
        """The window was moved: label and mark what is in it."""

    @abstractmethod
    def _resized(self) -> None:
        """Maps are to be of another size: put new figures up."""

    @abstractmethod
    def _dress(self) -> None:
        """The page has another theme."""

    @abstractmethod
    def _tip(self, name: str, granule: int) -> list[str]:
        """Lines on what is at a granule of a figure."""

    @abstractmethod
    def _tapped(self, name: str, granule: int) -> None:
        """A click on a granule of a figure."""

    @abstractmethod
    def say(self, text: str, error: bool = False) -> None:
        """The message line."""

    # ---- what goes wrong ----

    def _failed(self, error: Exception) -> None:
        """One line in the page; the panel goes on with what it had."""
        self.say(one_line(error), error=True)

    def _act(self, act: Callable[[], Any]) -> None:
        """What a widget asks for; an error becomes a message."""
        self.worker.in_loop(lambda: self._do(act))

    def _do(self, act: Callable[[], Any]) -> None:
        if not (self._quiet or self._closed):
            act()

    # ---- the page ----

    def _hear(self, message: dict[str, Any]) -> None:
        """What the page says: ready, shown, theme, pointer."""
        self.worker.in_loop(lambda: self._heard(message))

    def _heard(self, message: dict[str, Any]) -> None:
        if not self._closed:
            getattr(self, f"_hear_{message['type']}")(message)

    def _hear_ready(self, message: dict[str, Any]) -> None:
        self._hear_theme(message)
        self.stage.ready(message["targets"], int(message["missing"]))

    def _hear_shown(self, message: dict[str, Any]) -> None:
        self.stage.shown(int(message["number"]), float(message.get("page_ms", 0)))

    def _hear_seen(self, message: dict[str, Any]) -> None:
        self.stage.see(message["seen"] is True)

    def _hear_size(self, message: dict[str, Any]) -> None:
        """How large a map's frame and the page are, in pixels of the screen."""
        width, height, page_height = (
            float(message[name]) for name in ("width", "height", "page_height")
        )
        map_height = height_for(page_height)
        grows = map_height - self.screen.map_height  # the frame does, too
        screen = Screen(regions.fitting(width, height + grows), map_height)
        if self.window and not self.screen.serves(screen):
            before = self.window
            self.screen = screen
            self.window = window = regions.resized(before, screen.pixels, self._end())
            self.stage.change(lambda shown: regions.stretched(shown, before, window), show=False)
            self._resized()

    def _hear_theme(self, message: dict[str, Any]) -> None:
        if bool(message["light"]) != self.light:
            self.light = bool(message["light"])
            self._dress()

    def _hear_key(self, message: dict[str, Any]) -> None:
        self._pressed(str(message["key"]), bool(message["shift"]))

    def _pressed(self, key: str, shift: bool) -> None:
        """A key of `bridge.hot_keys`."""
        if key in "+=-":
            self.zoom(-1 if key == "-" else 1)

    def _hear_pointer(self, message: dict[str, Any]) -> None:
        getattr(self, f"_pointer_{message['what']}")(
            str(message["map"]), float(message["x"]), float(message["y"]), message
        )

    # ---- the window ----

    def zoom(self, steps: int, granule: int | None = None) -> None:
        """Closer (or wider, below 0) around a granule, the chosen one or the middle."""
        end = self._end()
        assert self.window
        if granule is None:
            middle = (self.window.first + self.window.end) // 2
            granule = self.selected[1] if self.selected else middle
        self._look(regions.zoom(self.window, granule, steps, end))

    def show_whole(self) -> None:
        """All memory again."""
        hilbert = self.window is not None and self.window.hilbert
        self._look(regions.whole(self._end(), hilbert, self.screen.pixels))

    def _look(self, window: regions.Window) -> None:
        if window != self.window and self.stage.canvas:
            before, self.window = self.window, window
            if before:
                self.stage.change(lambda picture: regions.stretched(picture, before, window))
            self._looked()
            self.stage.want()

    def _pointer_wheel(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        if granule is not None and self.window and message["delta"]:
            self.zoom(int(message["delta"]), granule)

    def _pointer_panstart(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        if self.window:
            self._dragged = self.window.first, y

    def _pointer_pan(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        if self._dragged and self.window:
            first, from_y = self._dragged
            rows = round((from_y - y) / self.window.scale)
            moved = first // self.window.row_granules + rows
            rows = moved - self.window.first // self.window.row_granules
            self._look(regions.pan(self.window, rows, self._end()))

    def _pointer_panend(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        self._dragged = None

    def _pointer_hover(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        lines = [] if granule is None else self._tip(name, granule)
        self.bridge.post({"type": "tip", "lines": lines}, [])

    def _pointer_tap(self, name: str, x: float, y: float, message: dict[str, Any]) -> None:
        granule = self._under(x, y)
        if granule is not None:
            self._tapped(name, granule)

    def _under(self, x: float, y: float) -> int | None:
        """The granule at a point of a figure."""
        return regions.locate(self.window, x, y) if self.window else None


def one_line(error: Exception) -> str:
    """An error as people are told it; what is no fault of theirs has its type before it."""
    text = " ".join(str(error).split())
    known = isinstance(error, PotadError | OSError)
    return text if known else f"{type(error).__name__}: {text}"


class Closable(Protocol):
    def close(self) -> None: ...


_of_cell: dict[str, tuple[str, list[Closable]]] = {}  # which run of it, and what that made


def replace_in_cell(panel: Closable) -> None:
    """Close the panels that an earlier run of the same cell left behind."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    parent = kernel.get_parent() if kernel else {}
    cell = parent.get("metadata", {}).get("cellId", "")
    if not cell:
        return
    run = parent.get("header", {}).get("msg_id", "")
    before, made = _of_cell.get(cell, ("", []))
    if before != run:
        for each in made:
            each.close()
        made = []
    _of_cell[cell] = run, [*made, panel]
