"""Opening: a trace, a saved session, a link; what stands in the menu of traces."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bundled import datasets
from ..errors import BadTrace, PotadError
from ..metrics.latency import Latency, measure
from ..session import Session
from ..traces import Trace
from . import links, saved
from .controls import OWN_FILE
from .keeping import seen_in

if TYPE_CHECKING:
    from .lab import Dashboard

Opened = tuple[Session, list[Latency]]


class Opening:
    """How a dashboard comes to its session; on an error, or Cancel, it keeps the last."""

    def __init__(self, board: "Dashboard", allocators: Sequence[str]) -> None:
        self._board, self._allocators = board, tuple(allocators)
        self.bundled = datasets()
        self.link = ""  # that the page was opened by, until it is followed

    def open(self, trace: "Trace | str | Path") -> None:
        """Read and replay a trace (object, path or bundled name), or what was saved, or a link."""
        board = self._board
        if links.is_link(trace):
            return self._open_link(str(trace))
        name = trace if isinstance(trace, str | Path) else trace.name
        if isinstance(trace, str | Path) and str(trace).endswith(saved.SUFFIX):
            path = Path(trace).expanduser()

            def show(loaded: tuple[saved.Saved, Opened]) -> None:
                self._show_saved(loaded)
                board.keeping.named(path)

            load = lambda: self._load_saved(saved.read(path), name)  # noqa: E731
            return board._work(f"opening {name}", load, show)
        board._work(f"opening {name}", lambda: self._load(trace), board._show)

    def follow(self) -> None:
        """Open what the page was opened by, once nothing else is at work."""
        if self.link and not self._board.busy:
            link, self.link = self.link, ""
            self._board._act(lambda: self.open(link))

    def _open_link(self, link: str) -> None:
        board = self._board
        try:
            found, session = links.read(link), board.session
            if session and not board.busy and links.is_of(session, found):
                _check_view(session, found, "this link")
                board.pause()
                board.keeping.show(found)
                return board.say("opened the link: another moment of the same trace")
        except PotadError as error:
            return board._failed(error)
        load = lambda: self._load_saved(found, "this link")  # noqa: E731
        board._work("opening the link", load, self._show_saved)

    # ---- in a thread ----

    def _load_saved(self, found: saved.Saved, whose: Path | str) -> tuple[saved.Saved, Opened]:
        if str(found.trace) not in self.bundled and not Path(found.trace).is_file():
            raise BadTrace(f"{whose}: its trace {found.trace} is no file that is here")
        session = self._replayed(found.trace, found.allocators)
        added = saved.ops_of(session, found, whose)
        if added:
            session.extend_all(added, joined=found.joined)
        _check_view(session, found, whose)
        return found, (session, _measured(session))

    def _load(self, trace: "Trace | str | Path") -> Opened:
        session = self._replayed(trace, self._allocators)
        self._board._progress(1.0, "measuring lookups")
        return session, _measured(session)

    def _replayed(self, trace: "Trace | str | Path", allocators: Sequence[str]) -> Session:
        progress = self._board._progress
        if isinstance(trace, str | Path):
            path = self.bundled.get(str(trace)) or Path(trace).expanduser()
            trace = Trace.read(path, progress=progress)
        return Session(trace, allocators, progress=progress)

    # ---- and shown ----

    def _show_saved(self, loaded: tuple[saved.Saved, Opened]) -> None:
        found, opened = loaded
        for name in opened[0].names:
            self._board.offer_map(name, False)
        self._board._show(opened)
        self._board.keeping.show(found)

    def say(self) -> None:
        """The menu names what is shown; a name in a file's metadata may be anyone's."""
        board = self._board
        board._quiet = True
        path = board.session.trace.path if board.session else None
        shown = path.resolve() if path else None
        names = [name for name, file in self.bundled.items() if file.resolve() == shown]
        board.controls.trace.value = (names or [OWN_FILE])[0] if board.session else None
        board._quiet = False
        if board.controls.trace.value == OWN_FILE:
            self.show_path()

    def show_path(self) -> None:
        """A path is written where the trace is none of ours."""
        own = self._board.controls.trace.value == OWN_FILE
        for widget in (self._board.controls.path, self._board.controls.open):
            widget.layout.display = "" if own else "none"

    def pick(self) -> None:
        """What was picked in the menu."""
        self.show_path()
        if self._board.controls.trace.value in self.bundled:
            self.open(self._board.controls.trace.value)

    def open_path(self) -> None:
        """The file at the path that was written."""
        path = self._board.controls.path.value.strip()
        if path and not self._board.busy:  # a click on Open ends typing, which has begun to open it
            self.open(Path(path))


def _check_view(session: Session, found: saved.Saved, whose: Path | str) -> None:
    """BadTrace, before anything is changed, for a view that cannot be looked at."""
    try:
        seen_in(session, found.view)
    except BadTrace as error:
        raise BadTrace(f"{whose}: {error}") from None


def _measured(session: Session) -> list[Latency]:
    """Lookups of the blocks that live at the end, failed granules left out."""
    first = session.names[0]
    blocks = session.runs[first].live(session.length)
    served = int(np.diff(session.in_service(first, session.length), axis=1).sum())
    return measure(blocks, session.space.granules, in_service=served)
