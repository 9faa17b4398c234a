"""What the dashboard says beside its pictures: legend, moment, cost, the chosen block, the log."""

import time
from typing import TYPE_CHECKING

import numpy as np

from ..kinds import KINDS
from ..views import theme
from . import words
from .seeking import RANGE_COLOUR

if TYPE_CHECKING:
    from .lab import Dashboard

CHOSEN, CLAIMED = "#111111", "#d000d0"
LOG_LINES = 200
_OUTLINES = [
    (CLAIMED, "claim"),
    (RANGE_COLOUR, "range"),
    (CHOSEN, "chosen block (dot: the address)"),
]
_NAME_LETTERS = 80  # of the trace, in the caption of a picture
_OWNER_LETTERS = 36  # of a name in the legend


class Telling:
    """The words of a dashboard; all that a trace brings is escaped."""

    def __init__(self, board: "Dashboard") -> None:
        self._board = board
        self._spent = (0.0, 0.0)  # clock and processor time in s, when last looked at

    def moment(self) -> None:
        """Where in the trace this is."""
        board = self._board
        session = board._live()
        ends = session.clock.told(session.time_ns(session.length))
        times = [f"{now} of {ends[0]}" for now in session.clock.told(board._time_ns(), 6)]
        board.controls.now.value = ", ".join([*times, f"op {board.index:,} of {session.length:,}"])

    def status(self) -> None:
        """What playing costs, or that nobody sees it."""
        board, share = self._board, self._cpu()
        if board.session is None:
            return
        stats, text = board.frame_stats(over_s=3.0), ""
        if stats["shown"] > 1 and board.playing:
            text = (
                f"{stats['fps']:.1f} frames per s, lag {stats['lag_ms_p50']:.0f} ms; "
                f"{share:.0%} of a processor, page {board.stage.page_ms:.0f} ms"
            )
        if board.stage.silent:
            text = "the page does not answer: reload it, and run this cell again"
        if board.controls.status.value != text:
            board.controls.status.value = text

    def _cpu(self) -> float:
        """Share of a processor that this process used since the last call."""
        (wall_s, cpu_s), now = self._spent, (time.monotonic(), time.process_time())
        self._spent = now
        return (now[1] - cpu_s) / max(now[0] - wall_s, 1e-9)

    def caption(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Of a picture to keep: lines on what it shows, and (colour, label) of the maps' cells."""
        board = self._board
        session, window, colouring = board._live(), board.window, board.controls.colouring.value
        assert window
        unit, index = session.space.granule_bytes, board.index
        start, end = (words.address(granule * unit) for granule in (window.first, window.end))
        name = words.short(session.trace.name, _NAME_LETTERS)
        by = f"{colouring}, the worst in a cell" if board.controls.worst.value else colouring
        after = f"{name} after op {index:,} of {session.length:,}"
        lines = [
            ", ".join([after, *session.clock.told(board._time_ns(), 6)])
            + (f"; {words.many(session.added, 'op')} added by hand" if session.added else ""),
            f"{start} to {end}, coloured by {by}",
        ]
        legend = dict(self._legend())
        shown = [colouring.capitalize(), "Map"]
        if colouring == theme.BY_SIZE:
            shown = ["Block size", "Map"]
        return lines, [key for title in shown for key in legend.get(title, [])]

    def legend(self) -> None:
        """What every colour on the maps is."""
        titles = self._legend()
        whole = self._owners()
        self._board.controls.legend.value = "".join(
            words.keys(title, rows, whole=whole) for title, rows in titles
        ) + words.keys("Outline", _OUTLINES, "box-shadow:0 0 0 1px #fff;border:2px solid ")

    def _owners(self) -> dict[str, str]:
        """Of each owner with a colour, by how it is cut for the legend, the whole name."""
        names = self._board._painter().shades.names
        return dict(zip(words.apart(names, _OWNER_LETTERS), names, strict=True))

    def _legend(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Titles, and (colour, label) of what belongs to each."""
        board = self._board
        session, colouring = board._live(), board.controls.colouring.value
        unit = session.space.granule_bytes
        present = np.zeros(256, bool)
        for run in session.runs.values():
            present |= run.census.live_blocks.any(axis=0)
        rest = theme.legend_map(colouring, board.light)
        own = theme.legend_of(colouring, list(self._owners()), session.clock)
        pair = board._canvas().pair
        if pair:
            rest = [*rest, *theme.legend_difference(*pair)]
        return [
            ("Block size", theme.legend_sizes(unit)),
            *([(colouring.capitalize(), own)] if own else []),
            ("Map", rest),
            ("Kind", theme.legend_kinds(present[: len(KINDS)])),
        ]

    def block(self) -> None:
        """The block at the chosen address, and the range that is selected."""
        board = self._board
        rows = board.seeker.lines() if board.session else []
        if board.selected:
            name, granule = board.selected
            title = f"{name}, at {board._address(granule)}, after op {board.index:,}:"
            rows = [title, *board.describe(name, granule), *rows]
        text = words.lines(rows or ["Click on a map: the block there is shown here."])
        board.controls.block.value = f'<div class="potadlab-block">{text}</div>'

    def log(self) -> None:
        """What was failed and claimed, the newest first."""
        rows = self._board.log or ["What is failed and claimed is told here."]
        self._board.controls.log.value = f'<div class="potadlab-log">{words.lines(rows)}</div>'
