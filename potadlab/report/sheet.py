"""A table that is cut nowhere: in a terminal, a file, a notebook, on a page.

As it is where it fits, heads on several lines; else turned, a column for each row; else turned and
in pieces below one another.  A spec such as `buddy:pcp=off,tails=off` is broken after its commas.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape as html_escape

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDTH = 100  # where there is no edge to wrap at
_HEAD = 8  # a head on several lines is no narrower
_BOUNDLESS = 1 << 20

Rows = tuple[list[str], list[list[str]]]  # heads; one row of cells each


@dataclass(frozen=True)
class Sheet:
    """Rows of cells under heads, with a title above and a caption below.

    turns: whether rows may become columns; where not, long cells are wrapped between words.  left:
    places of the columns that begin at their left edge.
    """

    title: str
    rows: Rows
    caption: str = ""
    turns: bool = True
    left: tuple[int, ...] = (0,)

    @property
    def row_count(self) -> int:
        return len(self.rows[1])

    def tables(self, width: int) -> list[Table]:
        """What is shown one below the other so that nothing is wider than `width`."""
        if not self.turns:
            return [_table(self.rows, left=self.left)]
        turned = _turned(self.rows)
        for rows in (self.rows, turned):
            for table in (_table(rows), _table(rows, wrap_heads=True)):
                if _width(table) <= width:
                    return [table]
        return list(_pieces(turned, width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="italic")
        yield from self.tables(options.max_width)
        if self.caption:
            yield Text(self.caption, style="dim")

    def __str__(self) -> str:
        told = io.StringIO()
        Console(file=told, width=WIDTH, color_system=None).print(self)
        return told.getvalue()

    def _repr_html_(self) -> str:
        """As a notebook shows it: wider than its cell, it scrolls."""
        title, caption = html_escape(self.title), html_escape(self.caption)
        table = html_table(self.rows).replace("<table>", '<table style="white-space: nowrap">', 1)
        return f'<p><i>{title}</i></p><div style="overflow-x: auto">{table}</div><p>{caption}</p>'


def _turned(rows: Rows) -> Rows:
    """Each row as a column; its first cell is the head."""
    heads, cells = rows
    return (
        [*heads[:1], *(row[0] for row in cells)],
        [[head, *(row[place] for row in cells)] for place, head in enumerate(heads) if place],
    )


def _pieces(rows: Rows, width: int) -> Iterator[Table]:
    """As many columns beside the first as fit, and again; one at least."""
    first, end = 1, len(rows[0])
    while first < end:
        last = first + 1
        shown = _some(rows, first, last)
        while last < end and _width(wider := _some(rows, first, last + 1)) <= width:
            last, shown = last + 1, wider
        yield shown
        first = last


def _some(rows: Rows, first: int, last: int) -> Table:
    heads, *cells = [[row[0], *row[first:last]] for row in (rows[0], *rows[1])]
    return _table((heads, cells), wrap_heads=True)


def _width(table: Table) -> int:
    """Columns of text that it takes if no cell is wrapped."""
    console = Console(width=_BOUNDLESS, color_system=None)
    return Measurement.get(console, console.options, table).maximum


def _table(rows: Rows, wrap_heads: bool = False, left: tuple[int, ...] = (0,)) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, head in enumerate(rows[0]):
        widest = max((len(cells[place]) for cells in rows[1]), default=0)
        told = _wrapped(head, max(widest, _HEAD)) if wrap_heads else head
        justify: JustifyMethod = "left" if place in left else "right"
        table.add_column(escape(told), justify=justify, overflow="fold")
    for cells in rows[1]:
        table.add_row(*map(escape, cells))
    return table


def _wrapped(head: str, width: int) -> str:
    """A head on lines of `width`, or as long as its longest part: words, and a spec's options."""
    parts = re.findall(r"[^\s:,]*[:,]|[^\s:,]+", head)
    width, lines = max(width, *map(len, parts)) if parts else width, [""]
    for part in re.findall(r"\s*(?:[^\s:,]*[:,]|[^\s:,]+)", head):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part if lines[-1] else part.strip()
    return "\n".join(lines)


def html_table(rows: Rows) -> str:
    heads, lines = rows
    top = "".join(f"<th>{html_escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in lines
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
