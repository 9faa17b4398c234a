"""Keep and share: the session in a file, the view as a picture, the run as one page."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ..errors import BadTrace
from ..files import write
from ..report.page import html_page
from ..report.run import Run
from ..session import Session, end_of_service
from ..units import MIB, format_size
from ..views import regions
from . import links, saved, words
from .comparing import SHOWN_MAX
from .controls import FASTEST, SPEEDS
from .parts import button, html, on_clicks, row
from .uploading import BYTES_MAX, Upload

if TYPE_CHECKING:
    from .lab import Dashboard

BEFORE = ".before.parquet"
PICTURE_BYTES_MAX = 64 * MIB
_SHARED = (
    "Files are written beside this notebook. A session holds the ops added by hand, the moment, "
    "the zoom and the bookmarks, no trace: who opens it needs the trace too. The page opens "
    "without a server or a network. A trace of yours may be dropped anywhere on the dashboard, its "
    ".before.parquet with it."
)


class Keeping:
    """The tab of that name."""

    title = "Keep"

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.name = widgets.Text(
            placeholder="name of the file",
            description="Name",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="260px", flex="0 0 auto"),
        )
        self.save = button("floppy-o", "write the session", "Save session", "130px")
        self.open = button("folder-open", "open the session of this name", "Open session", "130px")
        self.png = button("picture-o", "write the figures as a picture", "PNG", "70px")
        self.svg = button("picture-o", "write the figures as a drawing", "SVG", "70px")
        self.page = button("file-code-o", "write the run as one HTML page", "HTML page", "110px")
        self.link = button("link", "the address that opens this moment", "Link", "74px")
        self.address = widgets.Text(
            placeholder="a link to this moment; or paste one here, then Enter",
            continuous_update=False,
            layout=widgets.Layout(flex="1 1 300px", width="auto"),
        )
        self.address.tooltip = "a link to this moment"
        most = format_size(BYTES_MAX)
        self.upload = button("upload", f"a .parquet trace, at most {most}", "My trace ...", "120px")
        self._coming = Upload(self._ask, self._came)
        self.told = html(words.lines([_SHARED]), width="100%")
        first = row(self.name, self.save, self.open, self.png, self.svg, self.page)
        first.layout.flex_flow = "row wrap"
        self.root = widgets.VBox([first, row(self.upload, self.link, self.address), self.told])
        acts = {
            self.save: self.save_session,
            self.open: self.open_session,
            self.png: lambda: self.ask_picture("png"),
            self.svg: lambda: self.ask_picture("svg"),
            self.page: self.write_page,
            self.link: self.write_link,
            self.upload: self.pick,
        }
        on_clicks(board._act, acts)
        self.address.observe(lambda _change: board._act(self.follow), "value")

    def opened(self) -> None:
        """The name follows the trace, made safe for a file."""
        plain = re.sub(r"[^\w.-]+", "_", self._board._live().trace.name)[:80].strip(".") or "trace"
        self.name.value = plain

    def moved(self) -> None: ...

    def close(self) -> None:
        self._coming.drop()

    def path(self, suffix: str) -> Path:
        """Where a file of this name goes: beside the notebook, unless the name has a folder."""
        name = self.name.value.strip()
        if not name:
            raise BadTrace("write a name for the file first")
        return Path(name if name.endswith(suffix) else name + suffix).expanduser()

    def _done(self, path: Path) -> None:
        self.told.value = words.lines([f"written: {path}", _SHARED])
        self._board.say(f"written: {path}")

    # ---- sessions ----

    def view(self) -> dict[str, Any]:
        """What is looked at, in plain numbers and names."""
        board, controls = self._board, self._board.controls
        window = board.window
        assert window
        return {
            "index": board.index,
            "first": window.first,
            "columns": window.columns,
            "granules_per_cell": window.granules_per_cell,
            "width": window.pixels.width,
            "height": window.pixels.height,
            "hilbert": window.hilbert,
            "colouring": controls.colouring.value,
            "worst": controls.worst.value,
            "speed": controls.speed.value,
            "shown": board.names,
            "difference": board.comparing.difference.value,
            "selected": board.selected,
            "range": board.seeker.range,
            "bookmarks": board.moments.bookmarks,
            "sort": board.moments.what.value,
        }

    def save_session(self) -> None:
        board, path = self._board, self.path(saved.SUFFIX)
        saved.save(path, board._live(), self.view(), board.log)
        self._done(path)

    def open_session(self) -> None:
        self._board.open(self.path(saved.SUFFIX))

    def named(self, path: Path) -> None:
        """The name that a session was opened by, so that it is saved there again."""
        self.name.value = str(path).removesuffix(saved.SUFFIX)

    def write_link(self) -> None:
        """A link to what is looked at; the page completes it and answers to `linked`."""
        query = links.write(self._board._live(), self.view())
        self._write_address(f"?{query}")
        self._board.bridge.post({"type": "address", "query": query}, [])

    def linked(self, url: str, copied: bool) -> None:
        """The page's whole address for the link."""
        self._write_address(url)
        where = "copied" if copied else "copy it from its field"
        self._board.say(f"a link to this moment: {where}; it opens where such a lab runs")

    def _write_address(self, text: str) -> None:
        board, board._quiet = self._board, True
        self.address.value = text
        board._quiet = False

    def follow(self) -> None:
        """Open the link that was pasted."""
        text = self.address.value.strip()
        if not links.is_link(text):
            raise BadTrace("this is no link: one has ?potadlab= in it")
        self._board.open(text)

    def show(self, found: saved.Saved) -> None:
        """Look at what a session looked at; what does not fit is left as it is."""
        board, controls, view = self._board, self._board.controls, found.view
        seen = seen_in(board._live(), view)
        board._quiet = True
        for widget, value in (
            (controls.colouring, view.get("colouring")),
            (controls.lie, view.get("hilbert")),
            (board.moments.what, view.get("sort")),
        ):
            offered = (one[1] if isinstance(one, tuple) else one for one in widget.options)
            if value in list(offered):
                widget.value = value
        if view.get("speed") in (*SPEEDS, FASTEST):
            controls.speed.value = view["speed"]
        controls.worst.value = view.get("worst") is True
        for name, box in controls.allocators.items():
            box.value = name in seen.shown
        pairs = {value for _, value in board.comparing.difference.options}
        board.comparing.choose(seen.difference if seen.difference in pairs else None)
        board._quiet = False
        if seen.bookmarks is not None:
            board.moments.bookmarks = seen.bookmarks
        board.window = regions.resized(seen.window, board.screen.pixels, board._end())
        board.selected, board.seeker.range = seen.selected, seen.range
        board._redraw()
        board.go(seen.index)
        board._note(found.log)

    # ---- pictures and pages ----

    def ask_picture(self, form: str) -> None:
        """Let the page make a picture of the figures; it comes back to `picture`."""
        self.path(f".{form}")  # a name, before the page is asked
        caption, keys = self._board.telling.caption()
        message = {"type": "picture", "form": form, "caption": caption, "keys": keys}
        self._board.bridge.post(message, [])
        self._board.say(f"the page draws the {form.upper()} ...")

    def picture(self, form: str, made: bytes, error: str) -> None:
        """What the page has made."""
        if form not in ("png", "svg"):
            return
        if len(made) > PICTURE_BYTES_MAX:
            most = format_size(PICTURE_BYTES_MAX)
            error = f"the page made {format_size(len(made))}, more than {most}"
        if error or not made:
            return self._board.say(f"no {form.upper()}: {error or 'nothing came'}", error=True)
        path = self.path(f".{form}")
        write(path, made)
        self._done(path)

    def write_page(self) -> None:
        """The whole run, with maps of several moments, as one page."""
        board, path = self._board, self.path(".html")
        run = Run(board._live(), board.comparing.times(), board.measured)

        def work() -> Path:
            page = html_page([run], progress=board._progress)
            board._progress(1.0, "writing the page")
            write(path, page)
            return path

        board._work("writing the page", work, self._done)

    # ---- a trace from elsewhere ----

    def pick(self) -> None:
        """Let the page ask for a file."""
        self._board.bridge.post({"type": "pick", "accept": ".parquet"}, [])

    def take(self, message: dict[str, Any]) -> None:
        """A piece of a file that was picked, or dropped on the page."""
        board = self._board
        if board.busy:
            self._coming.drop()
            return board.say("still at work: wait for it to end, then give the file", error=True)
        self._coming.piece(message)

    def _ask(self, offset: int) -> None:
        of = self._coming
        self._board.say(f"{of.name}: {format_size(of.come)} of {format_size(of.size)}")
        self._board.bridge.post({"type": "more", "offset": offset}, [])

    def _came(self, path: Path) -> None:
        """The memory before a trace waits for the trace."""
        if path.name.endswith(BEFORE):
            self._board.say(f"kept: {path}; now its trace")
            self._board.bridge.post({"type": "next"}, [])
        else:
            self._board.open(path)


@dataclass(frozen=True)
class Seen:
    """What was looked at, as far as it fits a session."""

    index: int
    window: regions.Window
    shown: list[str]
    difference: tuple[str, ...]
    selected: tuple[str, int] | None
    range: tuple[int, int] | None
    bookmarks: list[int] | None  # None: not told


def seen_in(session: Session, view: dict[str, Any]) -> Seen:
    """What a view says, which anyone may have written; BadTrace for one that is none."""
    try:
        return _seen_in(session, view)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadTrace(f"what it looks at is not understood: {error}") from None


def _seen_in(session: Session, view: dict[str, Any]) -> Seen:
    end, length = end_of_service(session), session.length
    names = ("first", "columns", "granules_per_cell")
    first, columns, per_cell = (int(view[name]) for name in names)
    width, height = int(view.get("width", 256)), int(view.get("height", 200))  # of old: so large
    if not regions.is_pixels(width, height):
        raise ValueError(f"no map has {width} x {height} pixels")
    pixels = regions.Pixels(width, height)
    told = _listed(view.get("shown"))
    span = [int(one) for one in _listed(view.get("range"))]
    fits = len(span) == 2 and 0 <= span[0] < span[1] <= 2 * end
    selected, chosen = None, _listed(view.get("selected"))
    if len(chosen) == 2 and chosen[0] in session.names:
        selected = str(chosen[0]), min(max(int(chosen[1]), 0), end - 1)
    marked = [int(one) for one in _listed(view.get("bookmarks"))]
    return Seen(
        index=min(max(int(view["index"]), 0), length),
        window=regions.window_of(first, columns, per_cell, view["hilbert"] is True, end, pixels),
        shown=[name for name in session.names if name in told][:SHOWN_MAX] or session.names[:2],
        difference=tuple(map(str, _listed(view.get("difference")))),
        selected=selected,
        range=(span[0], span[1]) if fits else None,
        bookmarks=[at for at in marked if 0 <= at <= length] if "bookmarks" in view else None,
    )


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else []
