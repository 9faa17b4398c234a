"""A claim's steps as a table, the same rows wherever they are shown."""

from typing import Any

from ..claiming import TRIES_MAX, Answer
from ..traces import Trace
from ..units import format_size
from .sheet import Rows, Sheet

_SHOWN = 6  # of many ranges in vain, so many first ones and the last


def claim_rows(answers: list[Answer]) -> Rows:
    """A row per step; a long search is cut in its middle, and says so."""
    heads = ["allocator", "may move", "step", "asked for", "at", "came of it"]
    rows = []
    for one in answers:
        name = one.allocator.partition(":")[0]
        first = [name, "yes" if one.may_move else "no"]
        told = list(enumerate(one.tries, start=1))
        cut = len(told) - _SHOWN - 1
        if cut > 1:
            told = [*told[:_SHOWN], *told[-1:]]
        for step, tried in told:
            size = f"{tried.chunks:,} x {format_size(tried.chunk_bytes)}"
            at = "" if tried.start_bytes is None else f"{tried.start_bytes:#x}"
            rows.append([*first, f"{step:,}", size, at, tried.words])
            first = ["", ""]
            if cut > 1 and step == _SHOWN:
                rows.append(["", "", "...", f"{cut:,} more", "", "busy too"])
        at = "" if one.start_bytes is None else f"{one.start_bytes:#x}"
        rows.append([*first, "", "", at, _end(one)])
    return heads, rows


def _end(one: Answer) -> str:
    """The last line of an allocator: given or given up, and what it cost."""
    if not one.tries and one.area is None:
        return "given up: the space has no room for the area"
    if not one.tries:
        return "given up: no range of this size in the area"
    found = "given up" if one.start_bytes is None else "given"
    cost = f"{one.moved_blocks:,} blocks moved, {format_size(one.moved_bytes)} copied"
    vain = f"{one.in_vain:,} in vain" + (" or more" if len(one.tries) == TRIES_MAX else "")
    return f"{found}; {vain}; {cost}"


def claim_table(
    trace: Trace, index: int, size_bytes: int, align_bytes: int, answers: list[Answer]
) -> Any:
    """The claim in each allocator, step by step."""
    told = trace.clock.told(trace.ops[index - 1]["time_ns"] if index else 0)
    at = "".join(f" ({one})" for one in told)
    area = next((one.area for one in answers if one.area), None)
    title = (
        f"{trace.name} after {index:,} of {len(trace.ops):,} ops{at}: "
        f"{format_size(size_bytes)} in a row, at {format_size(align_bytes)}"
    )
    caption = "potad: free chunks anywhere, then the window with the least to move. " + (
        f"cma: first fit in its area, {format_size(area[1] - area[0])} at {area[0]:#x}; what "
        "cannot move makes a range busy, and the next one is tried."
        if area
        else "cma: there is no room for its area."
    )
    return Sheet(title, claim_rows(answers), caption, turns=False, left=(0, 5))
