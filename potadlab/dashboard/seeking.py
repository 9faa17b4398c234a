"""Finding on the maps: an address, a range, blocks by kind or owner; selecting a range by hand."""

import time
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ..errors import BadSize
from ..views import regions
from . import finding, words
from .maps import Mark, Shape
from .parts import button

if TYPE_CHECKING:
    from .lab import Dashboard

RANGE_COLOUR, MATCH_COLOUR = "#009e73", "#0072b2"
MATCHES_MARKED = 300
_DRAWN_S = 0.1  # while dragging, an outline at most this often


class Seeker:
    """What is sought on the maps of a dashboard, and the range that is selected."""

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.range: tuple[int, int] | None = None  # granules
        self._word = ""
        self._from: int | None = None  # where a drag began
        self._drawn_s = 0.0
        self.text = widgets.Text(
            placeholder="address, range, kind or owner",
            description="Find",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="250px", flex="0 0 auto"),
        )
        self.next = button("search", "find it, then the next one")
        self.select = widgets.ToggleButton(
            False,
            icon="crop",
            tooltip="dragging selects a range (or hold Shift); a click ends it",
            layout=widgets.Layout(width="34px", flex="0 0 auto", padding="0 4px"),
        )
        self.next.on_click(lambda _button: board._act(self.find))
        self.text.on_msg(self._entered)

    @property
    def widgets(self) -> tuple[widgets.Widget, ...]:
        return self.text, self.next, self.select

    def _entered(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("event") == "submit":
            self._board._act(self.find)

    def opened(self) -> None:
        """Another session: nothing is sought in it yet."""
        self.range, self._word = None, ""

    # ---- finding ----

    def find(self) -> None:
        """Go to what the text asks for; for a kind or an owner, to the next after the chosen."""
        board = self._board
        session = board._live()
        board.pause()
        sought = finding.read(self.text.value, session.space.granule_bytes)
        if sought.word:
            return self._next(sought.word)
        if not self.text.value.strip():
            raise BadSize("nothing to find: write an address, a range, a kind or an owner")
        self._word = ""
        end = board._end()
        if not 0 <= sought.low < end:
            beyond = words.address(end * session.space.granule_bytes)
            raise BadSize(f"{self.text.value.strip()}: memory ends at {beyond}")
        high = min(sought.high, end)
        self.range = (sought.low, high) if high - sought.low > 1 else None
        board._show_place(sought.low, high - sought.low)
        if self.range:
            board._mark()
            return board.say(finding.heading(*self.range, session.space.granule_bytes))
        board.choose(self._map(), sought.low)

    def _map(self) -> str:
        board = self._board
        chosen = board.selected[0] if board.selected else ""
        return chosen if chosen in board.names else board.names[0]

    def matches(self, name: str) -> np.ndarray:
        """i8[] granules of the blocks that the last word asked for."""
        session = self._board._live()
        if not self._word:
            return np.zeros(0, np.int64)
        blocks = session.blocks(name, self._board.index)
        return finding.matching(blocks, session.owners, self._word)

    def _next(self, word: str) -> None:
        board, name = self._board, self._map()
        self._word = word
        found = self.matches(name)
        if not len(found):
            board._mark()
            return board.say(f"no block of kind or owner {word!r} in {name} now", error=True)
        after = board.selected[1] if board.selected and board.selected[0] == name else -1
        at = int(np.searchsorted(found, after, side="right")) % len(found)
        board._show_place(int(found[at]), 1)
        board.choose(name, int(found[at]))
        board.say(f"{word}: {at + 1:,} of {len(found):,} blocks in {name}, marked by triangles")

    # ---- a range by hand ----

    def begins(self, granule: int | None, shift: bool) -> bool:
        """A drag begins here: whether it selects."""
        self._from = granule if shift or self.select.value else None
        return self._from is not None

    def reaches(self, granule: int | None) -> bool:
        """The drag has come here; False if it selects nothing."""
        if self._from is None:
            return False
        window = self._board.window
        if granule is not None and window:
            low, high = sorted((self._from, granule))
            self.range = low, high + window.granules_per_cell
            if time.monotonic() - self._drawn_s > _DRAWN_S:
                self._drawn_s = time.monotonic()
                self._board._mark()
        return True

    def ends(self) -> None:
        """The drag is over."""
        if self._from is not None:
            self._from = None
            self._board._mark()

    def drop(self) -> None:
        """Select nothing, seek nothing."""
        self.range, self._word = None, ""
        self._board._mark()

    # ---- what is shown ----

    def shapes(self) -> list[Shape]:
        return [(self.range[0], self.range[1] - self.range[0], RANGE_COLOUR)] if self.range else []

    def marks(self, name: str) -> list[Mark]:
        found = self.matches(name)
        window = self._board.window
        assert window
        seen = found[(found >= window.first) & (found < window.end)][:MATCHES_MARKED]
        return [(int(granule), "triangle", MATCH_COLOUR) for granule in seen]

    def lines(self) -> list[str]:
        """What the selected range holds, in every allocator that is shown."""
        if self.range is None:
            return []
        board = self._board
        session, (low, high) = board._live(), self.range
        unit = session.space.granule_bytes
        rows = [finding.heading(low, high, unit)]
        for name in board.names:
            blocks = session.blocks(name, board.index)
            found = finding.held(blocks, session.in_service(name, board.index), low, high)
            rows.append(finding.told(name, found, unit))
        return rows


def place(window: regions.Window, granule: int, size: int, end: int) -> regions.Window:
    """A window with these granules in it: this one if it shows them well, else one around them."""
    inside = window.first <= granule and granule + size <= window.end
    if inside and window.granules_per_cell <= size:
        return window
    return regions.showing(granule, size, end, window.hilbert, window.pixels)
