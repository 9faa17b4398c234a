"""Moments worth a look: jumps to refusals, failures, claims, splits; bookmarks; the strip."""

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from ..views import strip
from . import words
from .parts import button, choice, on_clicks

if TYPE_CHECKING:
    from .lab import Dashboard


class Moments:
    """What is notable in the session of a dashboard, and the way there."""

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self.bookmarks: list[int] = []  # how many ops were done
        self.what = choice(list(strip.WHAT), "refusal", "to", "110px")
        self.back = button("angle-double-left", "to the one before")
        self.on = button("angle-double-right", "to the next")
        self.mark = button("bookmark", "bookmark this moment, or take its bookmark away")
        clicks = {
            self.back: lambda: self.jump(-1),
            self.on: lambda: self.jump(1),
            self.mark: self.bookmark,
        }
        on_clicks(board._act, clicks)

    @property
    def widgets(self) -> tuple[widgets.Widget, ...]:
        return self.what, self.back, self.on, self.mark

    def opened(self) -> None:
        """Another session."""
        self.bookmarks = []

    def shifted(self, index: int, ops: int) -> None:
        """So many ops came (or, below 0, went) at an index."""
        self.bookmarks = [at + ops if at > index else at for at in self.bookmarks]

    def found(self) -> dict[str, np.ndarray]:
        """i8[] indices of ops, by what they are."""
        session = self._board._live()
        events = {name: session.runs[name].events for name in session.names}
        marked = np.array(sorted(self.bookmarks), np.int64) - 1  # after an op
        return {**strip.notable(session.ops, events), "bookmark": marked}

    def jump(self, direction: int) -> None:
        """To the moment after the next one of what is chosen, or after the one before."""
        board, what = self._board, self.what.value
        board.pause()
        moments = self.found()[what] + 1
        if direction > 0:
            left = moments[moments > board.index][:1]
        else:
            left = moments[moments < board.index][-1:]
        if not len(left):
            side = "after" if direction > 0 else "before"
            return board.say(f"no {what} {side} this moment ({len(moments):,} in all)", error=True)
        board.go(int(left[0]))
        number = int(np.searchsorted(moments, left[0])) + 1
        board.say(f"{what} {number:,} of {len(moments):,}")

    def bookmark(self) -> None:
        """A bookmark here, or none any more."""
        board = self._board
        at = board.index
        board.pause()
        board._live()
        if at in self.bookmarks:
            self.bookmarks.remove(at)
        else:
            self.bookmarks.append(at)
        board._canvas().note(self.found())
        board.say(words.many(len(self.bookmarks), "bookmark"))
