"""What the dashboard says, as HTML; every name from a trace is escaped."""

from collections.abc import Mapping
from html import escape
from types import MappingProxyType

from ..claiming import TRIES_MAX
from ..clock import SECONDS, Clock
from ..core.layout import Outcome
from ..session import Claimed, Descriptor, Told
from ..units import format_size
from .painter import Cell


def keys(
    title: str,
    rows: list[tuple[str, str]],
    style: str = "background:",
    whole: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """A legend: boxes with labels, their colours put to use as `style` says.

    whole: of labels that are cut, all of it, for who points at them.
    """
    boxes = "".join(
        f'<span class="potadlab-key" title="{escape(whole.get(label, ""))}">'
        f'<i style="{style}{colour}"></i>{escape(label)}</span>'
        for colour, label in rows
    )
    return f'<span class="potadlab-keys"><b>{escape(title)}</b>{boxes}</span>'


def address(value: int) -> str:
    return f"{value:#x}"


def descriptor(
    found: Descriptor, at_bytes: int, started_ns: int, clock: Clock = SECONDS
) -> list[str]:
    """Lines on the block at an address: size, kind, start, owner, handle, age, record, failure.

    started_ns: time since the recording began; an older block was there before.
    """
    if found.kind == "poison":
        return [f"failed: {format_size(found.size_bytes)} out of service"]
    older = found.age_ns > started_ns or found.owner == "before the recording"
    since = "older than the recording" if older else f"age {clock.lasted(found.age_ns)}"
    start = f", from {address(found.start_bytes)}" if found.start_bytes != at_bytes else ""
    lines = [
        f"block of {format_size(found.size_bytes)}, {found.kind}{start}",
        f"owner: {short(found.owner)}",
        f"handle {found.handle}, {since}, {record(found.record_bytes)}",
    ]
    return [*lines, "its granule at this address has failed"] if found.poisoned else lines


def cell(found: Cell) -> list[str]:
    """A line on the cell of a map: how much it is, and what is in it."""
    counts = [(found.blocks, "block"), (found.failed, "failed granule")]
    held = [f"{many:,} {what}{'s' if many > 1 else ''}" for many, what in counts if many]
    rest = "free" if found.in_service else "out of service"
    return [f"{format_size(found.size_bytes)} here: {', '.join(held) or rest}"]


def record(record_bytes: int) -> str:
    return f"{format_size(record_bytes)} descriptor" if record_bytes else "no record"


def short(owner: str, length: int = 200) -> str:
    """Owners may be whole call stacks."""
    return owner if len(owner) <= length else owner[: length - 1] + "…"


def apart(owners: list[str], length: int) -> list[str]:
    """The same of several, of which those that begin alike show their ends too."""
    cut, half = [short(owner, length) for owner in owners], (length - 1) // 2
    return [
        one if cut.count(one) == 1 else f"{owner[: length - 1 - half]}…{owner[-half:]}"
        for one, owner in zip(cut, owners, strict=True)
    ]


def lines(texts: list[str]) -> str:
    return "".join(f"<div>{escape(text)}</div>" for text in texts)


def told(granule_bytes: int, found: list[Told]) -> list[str]:
    """Lines of the log about a failed address: each allocator's owner and outcome."""
    soft = "softly " if any(one.soft for one in found) else ""
    rows = [f"{soft}failed {address(granule_bytes)}:"]
    for one in found:
        held = (
            f"{one.kind}, owner {short(one.owner, 80)}, {format_size(one.size_bytes)} "
            f"at {address(one.start_bytes)}"
            if one.handle >= 0
            else one.kind
        )
        outcome = one.outcome.name.lower().replace("_", " ")
        rows.append(f"  {one.allocator}: {held}; {outcome}: {one.words}")
    return rows


def claimed(asked: str, found: list[Claimed]) -> list[str]:
    """Lines of the log about a claim: the steps each allocator tried, and the place."""
    rows = [f"claim of {asked}:"]
    for one in found:
        if one.allocator == "recorded" and one.outcome == Outcome.IGNORED:
            rows.append("  recorded: cannot answer, it is a recording")
            continue
        place = f" at {address(one.start_bytes)}" if one.start_bytes is not None else ""
        steps = "; ".join(
            f"{step.chunks} x {format_size(step.chunk_bytes)}: {'found' if step.found else 'no'}"
            for step in one.steps
        )
        if one.ranges:
            more = " or more" if one.ranges == TRIES_MAX else ""
            ranges = "range" if one.ranges == 1 else "ranges"
            steps = f"{one.ranges}{more} {ranges} of {format_size(one.size_bytes)}"
        tried = f"; tried {steps}" if steps and one.outcome != Outcome.IGNORED else ""
        cost = f"; {moved(one.moved_blocks, one.moved_bytes)}" if one.moved_blocks else ""
        rows.append(f"  {one.allocator}: {one.words}{place}{tried}{cost}")
    return rows


def moved(blocks: int, size_bytes: int) -> str:
    """What a claim has cost."""
    return f"{many(blocks, 'block')} moved out of the way, {format_size(size_bytes)} copied"


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


STYLE = """<style>
.potadlab { color: var(--jp-ui-font-color1, #222); }
.potadlab .widget-html-content { line-height: 1.35; font-size: 12px; min-width: 0;
  overflow-wrap: break-word; }
.potadlab .widget-label { font-size: 12px; }
.potadlab-keys { display: inline-block; margin-right: 18px; line-height: 17px; }
.potadlab-keys b, .potadlab-key { margin-right: 9px; }
.potadlab-key { white-space: nowrap; }
.potadlab-key i { display: inline-block; width: 11px; height: 11px; margin-right: 4px;
  border: 1px solid #8888; vertical-align: -1px; }
.potadlab-drop { outline: 3px dashed var(--jp-brand-color1, #1976d2); outline-offset: -3px; }
.potadlab .lm-TabBar-content { flex-wrap: wrap; }
.potadlab .lm-TabBar-tab { flex: 0 1 auto !important; min-width: max-content !important; }
.potadlab-error { color: var(--jp-error-color1, #c00); font-weight: 600; }
.potadlab-log { height: 124px; overflow-y: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: 11px; line-height: 1.35; border: 1px solid var(--jp-border-color2, #ccc);
  padding: 2px 6px; }
.potadlab-block { height: 124px; overflow-y: auto; overflow-wrap: anywhere; }
.potadlab-numbers { border-collapse: collapse; font-size: 12px; line-height: 1.35; }
.potadlab-numbers td, .potadlab-numbers th { padding: 1px 10px 1px 2px; text-align: left;
  font-weight: normal; font-variant-numeric: tabular-nums; }
.potadlab-numbers th { color: var(--jp-ui-font-color2, #666); }
.potadlab-steps td:nth-child(-n+5) { white-space: nowrap; }
.potadlab-better { font-weight: 700; }
.potadlab-better::before { content: "\\25B8 "; }
.potadlab-paste textarea { font-family: var(--jp-code-font-family, monospace); font-size: 11px;
  white-space: pre; height: 100%; }
.potadlab-panes { display: flex; flex-wrap: wrap; gap: 8px; margin: 2px 0 6px; }
.potadlab-pane { flex: 1 1 340px; border: 1px solid var(--jp-border-color2, #ccc);
  padding: 2px 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
.potadlab-told { max-height: 230px; overflow: auto; }
.potadlab-told td { vertical-align: top; }
.potadlab-told td:nth-last-child(5) { overflow-wrap: anywhere; min-width: 130px; }
.potadlab-status { font-variant-numeric: tabular-nums; }
</style>"""
