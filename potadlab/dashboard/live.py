"""A machine's own memory: `Memory` shows a snapshot on the map, `Live` this machine as it runs."""

import asyncio
import html as escaping
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from bokeh.layouts import column, row

from ..core import usage
from ..core.raster import FREE, HOLE
from ..errors import BadTrace, CannotRecord, PotadError
from ..kinds import KIND, KINDS
from ..traces import Snapshot
from ..traces.recording.recorder import Output
from ..traces.recording.watch import FREE as FREE_FRAME
from ..traces.recording.watch import OUT, Watch, codes_of
from ..units import format_size
from ..views import live, orders, regions, theme
from . import words
from .flow import Frame
from .maps import Maps
from .panel import Panel
from .parts import box, button, html, on_clicks
from .parts import row as across
from .work import Worker

STEP_S = 0.2  # between looks at the ring buffers
COUNT_S = 1.0  # between counts of all frames
_TOP = 8  # owners told
_PAGES_MAX = 1 << 31  # a byte for each
_NAME = "this machine"
_CHOSEN = "#d81b60"


class FramesPainter:
    """Paints a byte per frame; runs in a thread, while the frames go on changing."""

    def __init__(self, canvas: Maps, frames: np.ndarray) -> None:
        self.canvas, self._frames = canvas, frames
        self._categories, self._counts = categories(), np.zeros(256, np.int64)

    def paint(self, window: regions.Window) -> Frame:
        chosen_s = time.monotonic()
        pixels = np.zeros(window.rows * window.columns, np.uint8)
        usage.cells(
            self._frames, self._categories, window.first, window.granules_per_cell,
            self._counts, pixels,
        )  # fmt: skip
        image = regions.picture(window, pixels)["image"][0]
        name = self.canvas.names[0]
        parts = [{"id": self.canvas.images[name].id, "field": "image"}]
        return Frame({"type": "frame", "parts": parts}, [image.tobytes()], chosen_s)


def categories() -> np.ndarray:
    """u1[256]: palette index of a frame's byte."""
    table = np.minimum(theme.FIRST_KIND + np.arange(256), theme.FURTHER_KINDS).astype(np.uint8)
    table[KIND["poison"]] = usage.POISON
    table[FREE_FRAME], table[OUT] = FREE, HOLE
    return table


class Memory(Panel):
    """The memory of a machine, of a snapshot file, by what each page is used for.

    Show it by ending a cell with it.  Raises BadTrace.
    """

    def __init__(self, snapshot: str | Path | Snapshot) -> None:
        found = snapshot if isinstance(snapshot, Snapshot) else Snapshot.read(snapshot)
        end = int(found.end[-1])
        if end > _PAGES_MAX:
            raise BadTrace(f"{found.path}: ends at page {end:#x}, a map shows {_PAGES_MAX:#x}")
        kinds = np.full(end, 11, np.uint8)  # no page
        for start, end, kind in zip(found.start, found.end, found.kind, strict=True):
            kinds[start:end] = kind
        super().__init__()
        self._prepare(found.path.name.removesuffix(".parquet"), codes_of(kinds))
        self.page_bytes = 1 << int(found.metadata.get("page_shift", 12))
        self._put_up()
        self._count()

    def _prepare(self, name: str, frames: np.ndarray) -> None:
        self.name, self.frames = name, frames
        self.closer = button("search-plus", "zoom in on the middle")
        self.wider = button("search-minus", "zoom out")
        self.whole = button("arrows-alt", "show all memory")
        self.legend, self.message = html(), html(flex="1 1 120px")
        self.kinds = html(width="100%")
        self.figures = widgets.VBox(layout=widgets.Layout(width="100%", min_height="210px"))
        self._set_stage(self.figures)
        self.worker = Worker(lambda _busy, _what: None, self._failed)

    def _put_up(self) -> None:
        """The page's parts, and the first figures."""
        self.window = regions.whole(len(self.frames))
        self.root = widgets.VBox(
            [
                widgets.HTML(words.STYLE, layout=widgets.Layout(display="none")),
                *self._parts(),
                self.bridge,
            ],
            layout=widgets.Layout(width="100%"),
        )
        self.root.add_class("potadlab")
        for work in (self.stage.pump(), self.stage.watch()):
            self.worker.spawn(work)
        clicks = {
            self.closer: lambda: self.zoom(1),
            self.wider: lambda: self.zoom(-1),
            self.whole: self.show_whole,
        }
        on_clicks(self._act, clicks)
        self._redraw()

    def _parts(self) -> list[widgets.Widget]:
        seeing = widgets.HBox([self.closer, self.wider, self.whole])
        return [
            across(seeing, self.legend, self.message, flex_flow="row wrap"),
            self.figures,
            box("Used for", [], self.kinds, width="100%"),
        ]

    def _canvas(self) -> Maps:
        return Maps([self.name], self.page_bytes, self.bridge.key, self.stage.pictures, self.screen)

    def _redraw(self) -> None:
        self.canvas = self._canvas()
        self.canvas.dress(self.light)
        self._looked()
        self.stage.show(self.canvas, FramesPainter(self.canvas, self.frames))

    def close(self) -> None:
        """Stop for good; the last pictures stay on the page."""
        if not self._closed:
            self._closed = True
            self.worker.close()
            self.stage.close()

    def _moment(self) -> tuple[Any, ...]:
        return (self.window,)

    def _end(self) -> int:
        return len(self.frames)

    def _looked(self) -> None:
        assert self.window
        self.canvas.label(self.window)
        marks = [(self.selected[1], "circle", _CHOSEN)] if self.selected else []
        self.canvas.mark(self.name, self.window, [], marks)

    def _resized(self) -> None:
        self._redraw()

    def _dress(self) -> None:
        self._redraw()
        self._count()

    def _tip(self, name: str, granule: int) -> list[str]:
        return self.describe(granule)

    def _tapped(self, name: str, granule: int) -> None:
        self.selected = name, granule
        self._looked()
        self.say("; ".join(self.describe(granule)))

    def say(self, text: str, error: bool = False) -> None:
        said = escaping.escape(text)
        self.message.value = f'<span class="potadlab-error">{said}</span>' if error else said

    def describe(self, granule: int) -> list[str]:
        """Lines on the page frame there, and on the cell of the map around it."""
        assert self.window
        if granule >= len(self.frames):
            return ["beyond the memory"]
        wide = self.window.granules_per_cell
        first = granule // wide * wide
        here = np.bincount(self.frames[first : first + wide], minlength=256)
        most = np.argsort(-here, kind="stable")[:3]
        shares = ", ".join(
            f"{word(int(code))} {format_size(int(here[code]) * self.page_bytes)}"
            for code in most
            if here[code]
        )
        at = f"page {granule:#x} at {words.address(granule * self.page_bytes)}"
        return [f"{at}: {word(int(self.frames[granule]))}", f"around it: {shares}"]

    def _count(self) -> None:
        """Bring the table of kinds to what the frames hold."""
        counts = np.zeros(256, np.int64)
        usage.census(self.frames, counts)
        self._say_kinds(counts, None)

    def _say_kinds(self, pages: np.ndarray, asked: np.ndarray | None) -> None:
        used = [int(code) for code in np.argsort(-pages[:OUT], kind="stable") if pages[code]]
        used = [code for code in used if code < len(KINDS)]
        present = np.zeros(len(KINDS), bool)
        present[used] = True
        rows = theme.legend_kinds(present) + theme.legend_map(theme.BY_KIND, self.light)
        self.legend.value = words.keys("Kinds", rows)
        heads = ["", "now", *(["allocated since"] if asked is not None else [])]
        cells = []
        for code in [*used, FREE_FRAME]:
            told = [pages] if asked is None or code == FREE_FRAME else [pages, asked]
            sizes = [int(of[code]) * self.page_bytes for of in told]
            cells.append([word(code), *map(format_size, sizes)])
        self.kinds.value = table(heads, cells)


def word(code: int) -> str:
    """What a frame's byte says."""
    if code == FREE_FRAME:
        return "free"
    return "out of service" if code == OUT else KINDS[code].name


def table(heads: list[str], rows: list[list[str]]) -> str:
    """As HTML; every text is escaped."""
    head = "".join(f"<th>{escaping.escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaping.escape(text)}</td>" for text in cells) + "</tr>"
        for cells in rows
    )
    return f'<table class="potadlab-numbers"><tr>{head}</tr>{body}</table>'


class LiveCanvas(Maps):
    """The map, and what goes on beside it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rates = live.empty(("allocs", "frees", "lost"))
        self.free = live.empty(orders.NAMES)
        self.over_time = live.draw_rates(self.rates), live.draw_free(self.free)
        beside = column(*self.over_time, sizing_mode="stretch_width")
        self.root = row(self.maps[self.names[0]], beside, sizing_mode="stretch_width")

    def dress(self, light: bool) -> None:
        super().dress(light)
        for plot in self.over_time:
            theme.dress(plot, light)


class Live(Memory):
    """This machine's page allocations as they happen: map by kind, rates, free blocks, who asks.

    Needs root and tracefs; without them it says what is missing.  `owners` records call stacks:
    who asks is then a kernel function instead of a process, and costs the machine more.  Nothing
    is written unless *Record* is pressed, and names of processes never.
    """

    def __init__(self, owners: bool = False, watch: Watch | None = None) -> None:
        Panel.__init__(self)
        self._watch = watch or Watch(owners=owners)
        self._free: deque[tuple[float, np.ndarray]] = deque()
        self._counted_s = 0.0
        self._thread = ThreadPoolExecutor(1, "potadlab-live")
        self.record = button("circle", "write what happens from now on", "Record", "90px")
        self._suggested = _suggestion()
        self.target = widgets.Text(
            self._suggested,
            description="to",
            continuous_update=False,
            layout=widgets.Layout(width="260px", flex="0 0 auto"),
            style={"description_width": "initial"},
        )
        self.status, self.asking = html(width="100%"), html(width="100%")
        missing = ""
        try:
            self._watch.frames.size or self._watch.open()
        except CannotRecord as error:
            missing = str(error)
        frames = np.zeros(1, np.uint8) if missing else self._watch.frames
        self._prepare(_NAME, frames)
        self.page_bytes = 4096 if missing else self._watch.page_bytes
        self._put_up()
        if missing:
            self.record.disabled = True
            self.say(missing, error=True)
            return
        self.record.on_click(lambda _: self._act(self._toggle))
        self._show()
        self.worker.spawn(self._go_on())

    def _parts(self) -> list[widgets.Widget]:
        seeing = widgets.HBox([self.closer, self.wider, self.whole])
        return [
            across(self.record, self.target, seeing, self.legend, flex_flow="row wrap"),
            across(self.status, self.message, flex_flow="row wrap"),
            self.figures,
            across(
                box("Used for", [], self.kinds, width="40%"),
                box("Who asks, of late", [], self.asking, width="55%"),
                align_items="flex-start",
                flex_flow="row wrap",
            ),
        ]

    def _canvas(self) -> Maps:
        given = [self.name], self.page_bytes, self.bridge.key, self.stage.pictures
        return LiveCanvas(*given, self.screen)

    def close(self) -> None:
        """Stop for good, and remove the tracing instance."""
        if not self._closed:
            super().close()
            self._thread.submit(self._watch.close)
            self._thread.shutdown(wait=True)

    # ---- as it happens ----------------------------------------------------------------------

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            try:
                await loop.run_in_executor(self._thread, self._watch.step)
                self._show()
            except Exception as error:
                self._failed(error)
            await asyncio.sleep(STEP_S)

    def step(self) -> None:
        """Look once, at once; where no event loop does so."""
        self._watch.step()
        self._show()

    def _show(self) -> None:
        watch = self._watch
        if watch.now_s - self._counted_s >= COUNT_S or not self._free:
            self._counted_s = watch.now_s
            self._free.append((watch.now_s, watch.free_blocks()))
            while self._free[0][0] < watch.now_s - live.SECONDS:
                self._free.popleft()
            self._say_kinds(watch.pages_by_kind(), watch.allocated)
            rows = [
                [words.short(_function(name), 90), f"{share:.0%}"]
                for name, share in watch.top(_TOP)
            ]
            heads = ["function" if watch.owners else "process", "of pages"]
            self.asking.value = table(heads, rows)
            self._fill()
        self._say_status()
        self.stage.want()

    def _fill(self) -> None:
        """The figures over time."""
        watch, canvas = self._watch, self.canvas
        assert isinstance(canvas, LiveCanvas)
        told = [(one.at_s, one.allocs, one.frees, one.lost) for one in list(watch.rates)]
        at_s, allocs, frees, lost = np.array(told, np.float64).reshape(-1, 4).T
        canvas.rates.data = _lists(live.rates(at_s, allocs, frees, lost, watch.now_s))
        when_s, blocks = zip(*self._free, strict=True)
        found = live.free(np.array(when_s), np.array(blocks), self.page_bytes, watch.now_s)
        canvas.free.data = _lists(found)

    def _say_status(self) -> None:
        watch = self._watch
        late = [one for one in watch.rates if one.at_s > watch.now_s - 2]
        seconds = sum(one.seconds for one in late) or 1.0
        events = sum(one.allocs + one.frees for one in late)
        pages = sum(one.pages for one in late)
        own = sum(one.own for one in late) / max(events, 1)
        said = [
            f"{watch.now_s:.0f} s",
            f"{events / seconds:,.0f} events/s ({own:.0%} by the lab itself)",
            f"{format_size(round(pages * watch.page_bytes / seconds))}/s allocated",
            f"{watch.events:,} events in all",
        ]
        lost = f"{watch.lost:,} lost" if watch.lost else "none lost"
        style = ' class="potadlab-error"' if watch.lost else ""
        self.status.value = (
            f'<span class="potadlab-status">{", ".join(said)}, <span{style}>{lost}</span></span>'
        )

    # ---- recording --------------------------------------------------------------------------

    def _toggle(self) -> None:
        if self._watch.recording:
            return self._in_thread(self._watch.finish, self._finished)
        if self.target.value == self._suggested:  # the one before may have that name
            self.target.value = self._suggested = _suggestion()
        target = Path(self.target.value).expanduser()
        if target.suffix != ".parquet":
            raise PotadError(f"{target}: name it something.parquet")
        self.say(f"reading the memory as it is, then recording to {target}")
        begin = lambda: self._watch.record(target)  # noqa: E731
        self._in_thread(begin, lambda _done: self.say(f"recording to {target}"))

    def _in_thread(self, act: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Where the watch is; the button waits."""
        self.record.disabled = True
        tell = lambda done: self.worker.in_loop(lambda: self._done(done, then))  # noqa: E731
        self._thread.submit(act).add_done_callback(tell)

    def _done(self, done: Future[Any], then: Callable[[Any], None]) -> None:
        on = self._watch.recording
        self.record.description, self.record.icon = ("Stop", "stop") if on else ("Record", "circle")
        self.record.disabled = False
        then(done.result())

    def _finished(self, output: Output) -> None:
        counts = output.counts
        self.say(
            f"{output.target}: {counts['allocates']:,} allocs, {counts['releases']:,} frees, "
            f"{counts['lost_events']:,} lost; the memory before and after beside it"
        )


def _suggestion() -> str:
    return time.strftime("recorded-%H%M%S.parquet")


def _function(name: str) -> str:
    """The first functions of a stack."""
    return " < ".join(name.split(";")[:3])


def _lists(columns: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in columns.items()}
