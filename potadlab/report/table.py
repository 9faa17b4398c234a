"""The figures as tables: the same rows for the terminal, the notebook and the page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.allocators import ALLOCATORS
from ..core.layout import Flag
from ..metrics.latency import BATCH, Latency
from ..metrics.latency import ROUNDS as LOOKUP_ROUNDS
from ..metrics.lines import (
    PARTS,
    VERBS,
    Lines,
    LookupLines,
    PartLines,
    Saving,
    VerbLines,
    saving,
    savings,
)
from ..runs import chosen
from ..session import Session
from ..traces import Trace
from ..traces.difference import Difference
from ..units import format_size
from . import figures
from .meters import Meters
from .sheet import Rows, Sheet
from .timing import ROUNDS

_OPEN_LOOP = "Open loop: the trace asks the same of all, whatever they answer."
_BYTES = "Bytes at the end; Linux's struct page is free structure, descriptor and lookup in one."
LOOKUP_CAPTION = (
    "Random addresses in the blocks live at the trace's end. "
    f"independent, dependent: per lookup, median of {LOOKUP_ROUNDS} rounds. "
    f"batch p50, p99: of means of {BATCH} dependent lookups. "
    "insert, erase: of random blocks, none waiting for another. "
    "lines: distinct cache lines of a lookup."
)

LINES_TITLE = "Cache lines of 64 bytes, per op"
_LINES = (
    "allocate / release, means over the ops that were done, descriptor and lookup entry included. "
    "missed: in a simulated cache of 1 MiB, 16 ways, empty at the start. fetched: lines that "
    "another CPU has written since this one had them. locked: ops that take the zone's lock; lines "
    "touched under it."
)
CPUS_TITLE = "As many virtual CPUs, each with a copy of the trace, in one memory"
_CPUS = (
    " of each copy, a little later than the one before; memory all free at the start, as many "
    "times as large. lines: all that an op touches."
)
ORDERS_CAPTION = (
    "allocate / release. allocator: free lists, caches, trees, and the pages of other blocks that "
    "lists lead through. descriptor: what the kind needs besides its entry; of struct page, the "
    "block's first. lookup: what leads there from an address; of struct page, the tails."
)
SAVINGS_CAPTION = (
    "allocate / release. descriptor: with the lookup, as struct page is both. Negative: it costs "
    "more. all: as often as the trace asks for each size."
)

DISTANCE_TITLE = "Against the recorded kernel's own placement"
DISTANCE_CAPTION = (
    "Share of free memory that stands in blocks of another size than in the record, over time and "
    "at the end; beside it, how far the record moved from its own start (mean). By size: percent "
    "more free than in the record, at the end."
)


def headline(session: Session) -> str:
    """What was replayed, where, from which start."""
    trace, space = session.trace, session.space
    memory = format_size(space.bytes)
    made = int(np.count_nonzero(session.ops["flags"] & Flag.SYNTHETIC))
    ops = f"{session.length:,} ops" + (f" ({made:,} made by the import)" if made else "")
    return f"{trace.name}: {ops} in {memory}; start {start_of(session)}"


def start_of(session: Session) -> str:
    """Warm with which snapshot, or cold, and what of it is assumed."""
    trace = session.trace
    if not len(session.start):
        return "cold: all memory free; releases of older blocks are counted, not done"
    assumed = trace.boundaries_assumed
    return f"warm from {trace.snapshot}: {len(session.start):,} blocks live" + (
        f" ({assumed:,} with assumed edges)" if assumed else ""
    )


def run_rows(session: Session, times: figures.Times) -> Rows:
    """One row per allocator, units included."""
    heads = [
        "allocator", "allocated", "released", "refused", "ns per op", "free structure",
        "descriptors", "lookup", "unusable for 2 MiB", "largest free", "peak live",
    ]  # fmt: skip
    found = [figures.run_figures(session, name, times) for name in session.names]
    return heads, [_run_row(each, session.space.granule_bytes) for each in found]


def _run_row(found: dict[str, Any], granule_bytes: int) -> list[str]:
    sizes = found.get("bytes", {})
    largest = max(
        (order for order, count in enumerate(found["free_blocks"]) if count), default=None
    )
    return [
        found["allocator"],
        *(f"{found['ops'][verb]:,}" for verb in ("allocate", "release", "refused")),
        _time(found.get("ns_per_op", {})),
        *(_size(sizes.get(part)) for part in ("free_structure", "descriptors", "lookup")),
        f"{found['unusable_index']['2MiB']['end']:.1%}",
        "none" if largest is None else format_size(granule_bytes << largest),
        format_size(found["peak_live_bytes"]),
    ]


def _time(ns: dict[str, float]) -> str:
    return f"{ns['median']:.1f} ({ns['best']:.1f})" if ns else "-"


def caption(session: Session, times: figures.Times) -> str:
    """How to read the columns."""
    null = [f"{ns['null']:.1f}" for ns in times.values()][:1]
    timed = [
        f"ns per op: median of {ROUNDS} rounds (best); {ns} of it is the harness." for ns in null
    ]
    return " ".join([*timed, _OPEN_LOOP, _set(session), _BYTES])


def _set(session: Session) -> str:
    """How each allocator is set, in a sentence."""
    names = dict.fromkeys(chosen(spec).name for spec in session.names)
    return "; ".join(ALLOCATORS[name].words for name in names) + "."


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_size(size_bytes)


def _ns(ns: float | None) -> str:
    return "-" if ns is None else f"{ns:.1f}"


def lookup_rows(latencies: list[Latency], lines: dict[str, LookupLines]) -> Rows:
    heads = [
        "lookup", "live blocks", "independent ns", "dependent ns", "batch p50 ns",
        "batch p99 ns", "insert ns", "erase ns", "bytes per block", "lines",
    ]  # fmt: skip
    rows = [
        [
            found.lookup,
            f"{found.blocks:,}",
            f"{found.independent_ns:.1f}",
            f"{found.dependent_ns:.1f}",
            f"{found.p50_ns:.1f}",
            f"{found.p99_ns:.1f}",
            _ns(found.insert_ns),
            _ns(found.erase_ns),
            f"{found.bytes_per_block:.1f}",
            f"{lines[found.lookup].lookup:.2f}" if found.lookup in lines else "-",
        ]
        for found in latencies
    ]
    return heads, rows


def lines_rows(meters: Meters) -> Rows:
    """One row per allocator."""
    heads = [
        "allocator", "lines", "p99", "written", "missed", "fetched", "ops locked", "lines locked",
    ]  # fmt: skip
    return heads, [[name, *_line_cells(found)] for name, found in meters.runs.items()]


def _line_cells(found: Lines) -> list[str]:
    both = found.allocate, found.release
    return [
        " / ".join(f"{each.mean:.2f}" for each in both),
        " / ".join(f"{each.p99:.0f}" for each in both),
        " / ".join(f"{each.written:.2f}" for each in both),
        " / ".join(f"{each.misses:.2f}" for each in both),
        " / ".join(f"{each.transfers:.2f}" for each in both),
        " / ".join(f"{each.locked_ops:.0%}" for each in both),
        " / ".join(f"{each.locked:.2f}" for each in both),
    ]


def cpus_rows(meters: Meters) -> Rows:
    """One row per allocator and number of CPUs."""
    heads = ["allocator", "CPUs", "lines", "fetched", "ops locked", "lines locked"]
    found = [
        [name, str(cpus), *(_line_cells(each)[place] for place in (0, 4, 5, 6))]
        for name, by_cpus in meters.virtual.items()
        for cpus, each in by_cpus.items()
    ]
    return heads, found


def cpus_caption(meters: Meters) -> str:
    """Of which ops."""
    which = "All ops" if meters.cpu_ops is None else f"The first {meters.cpu_ops:,} ops"
    return which + _CPUS


def orders_title(name: str) -> str:
    return f"Cache lines by block size: {name}"


def orders_rows(found: Lines, granule_bytes: int) -> Rows:
    """One row per block size, then all: whose lines an op touches."""
    heads = ["size", "ops", "lines", *PARTS]
    both = [found.of(verb) for verb in VERBS]
    rows = [
        [size, *_part_cells([each.by_order.get(order) for each in both])]
        for order, size in _sizes(both, granule_bytes)
    ]
    return heads, [*rows, ["all", *_part_cells([each.whole for each in both])]]


def _sizes(both: Sequence[VerbLines], granule_bytes: int) -> list[tuple[int, str]]:
    orders = sorted(set().union(*(each.by_order for each in both)))
    return [(order, format_size(granule_bytes << order)) for order in orders]


def _part_cells(both: Sequence[PartLines | None]) -> list[str]:
    return [
        _pair([None if each is None else float(each.ops) for each in both], "{:,.0f}"),
        _pair([None if each is None else each.mean for each in both]),
        *(_pair([None if each is None else each.parts[part] for each in both]) for part in PARTS),
    ]


def _pair(values: Sequence[float | None], write: str = "{:.2f}") -> str:
    return " / ".join("-" if value is None else write.format(value) for value in values)


def savings_title(name: str, against: str) -> str:
    return f"Cache lines per op that {name} saves against {against}"


def savings_rows(found: Lines, against: Lines, granule_bytes: int) -> Rows:
    """One row per block size, then all: how many, by the allocator and by the descriptor."""
    heads = ["size", "saved", "by the allocator", "by the descriptor"]
    saved = savings(found, against)
    both = [found.of(verb) for verb in VERBS]
    rows = [
        [size, *_saving_cells([saved[verb].get(order) for verb in VERBS])]
        for order, size in _sizes(both, granule_bytes)
    ]
    whole = [saving(found.of(verb).whole, against.of(verb).whole) for verb in VERBS]
    return heads, [*rows, ["all", *_saving_cells(whole)]]


def _saving_cells(both: Sequence[Saving | None]) -> list[str]:
    return [
        _pair([None if each is None else getattr(each, what) for each in both], "{:+.2f}")
        for what in ("lines", "allocator", "descriptor")
    ]


def lines_caption(meters: Meters) -> str:
    """How to read the columns, and what was cut short."""
    cut = {name: found.cut for name, found in meters.runs.items() if found.cut}
    told = "".join(f" {name}: {ops:,} ops touch more than was kept." for name, ops in cut.items())
    return _LINES + told


def distance_rows(session: Session) -> Rows:
    """One row per allocator: how far from the record, and in which sizes at the end."""
    found = session.distances()
    orders = found[0].signed.shape[1] if found else 0
    sizes = [format_size(session.space.granule_bytes << order) for order in range(orders)]
    heads = ["allocator", "mean", "worst", "end", "the record moved", *sizes]
    return heads, [
        [
            one.allocator,
            *(f"{share:.2%}" for share in (one.mean, one.worst, one.end, one.moved_mean)),
            *(f"{100 * more:+.2f}" for more in one.signed[-1]),
        ]
        for one in found
    ]


def distance_table(session: Session) -> Sheet:
    return Sheet(DISTANCE_TITLE, distance_rows(session), DISTANCE_CAPTION)


def run_table(session: Session, times: figures.Times) -> Sheet:
    return Sheet(headline(session), run_rows(session, times), caption(session, times))


def lookup_table(latencies: list[Latency], lines: dict[str, LookupLines]) -> Sheet:
    title = "From an address to kind, order and owner"
    return Sheet(title, lookup_rows(latencies, lines), LOOKUP_CAPTION)


def lines_table(meters: Meters) -> Sheet:
    return Sheet(LINES_TITLE, lines_rows(meters), lines_caption(meters))


def cpus_table(meters: Meters) -> Sheet:
    return Sheet(CPUS_TITLE, cpus_rows(meters), cpus_caption(meters))


def orders_sheets(meters: Meters, granule_bytes: int) -> list[Sheet]:
    """One for each allocator; the last has the caption."""
    sheets = [
        Sheet(orders_title(name), orders_rows(found, granule_bytes))
        for name, found in meters.runs.items()
    ]
    return [*sheets[:-1], *(replace(last, caption=ORDERS_CAPTION) for last in sheets[-1:])]


def savings_sheets(meters: Meters, granule_bytes: int) -> list[Sheet]:
    """One for each allocator and each of Linux's buddy before it; the last has the caption."""
    runs = meters.runs
    sheets = [
        Sheet(savings_title(name, other), savings_rows(runs[name], runs[other], granule_bytes))
        for name in runs
        for other in meters.rivals(name)
    ]
    return [*sheets[:-1], *(replace(last, caption=SAVINGS_CAPTION) for last in sheets[-1:])]


def info_table(trace: Trace) -> Sheet:
    """What `potadlab info` prints: one line per count, in the words of its JSON."""
    found = trace.info()
    rows = [[name, str(value)] for name, value in _flat(found)]
    title = f"{trace.name}: {trace.events:,} events"
    return Sheet(title, (["count", "value"], rows), turns=False)


def difference_table(found: Difference) -> Sheet:
    """What `potadlab diff` prints."""
    rows = [
        [one.what, *(_number(value) for value in one.values), one.ratio_words] for one in found.rows
    ]
    names = (f"{found.names[0]} (A)", f"{found.names[1]} (B)")
    title = f"{names[0]} and {names[1]}"
    return Sheet(title, (["", "A", "B", "B / A"], rows), found.caption, turns=False)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def _flat(found: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Nested names as "above.name"."""
    flat: list[tuple[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{above}{name}.")
        else:
            flat.append((f"{above}{name}", f"{value:,}" if isinstance(value, int) else value))
    return flat
