"""Suite replay: the bundled traces, their bytes and lines, what reading and replaying takes."""

from pathlib import Path

import numpy as np

from .. import bundled, kinds
from ..core.lookups.heads import ENTRY_BYTES, SLOT
from ..core.metered import AVAILABLE
from ..metrics.descriptors import struct_page_bytes
from ..metrics.lines import VERBS
from ..runs import Case, count_lines, run_allocator
from ..traces import Trace, exchange
from . import allocators, whole
from .loads import WHOLE
from .measuring import Figure, Figures, Progress, ratio

_SPECS = {"potad_whole": WHOLE, "null": "null", "buddy": "buddy"}
_LINES = {"potad_whole": WHOLE, "buddy_memdesc": "buddy:descriptor=memdesc"}


def measure(programs: dict[str, Path], file: Path | None, long: bool, tell: Progress) -> Figures:
    """The suite's figures, of the bundled traces or of one file."""
    paths = bundled.datasets() if file is None else {file.name.partition(".")[0]: file}
    found: Figures = {}
    for done, (name, path) in enumerate(paths.items()):
        tell(done / len(paths), name)
        trace = Trace.read(path)
        found |= _trace(name, trace, programs)
        if long and AVAILABLE:
            tell((done + 0.5) / len(paths), f"{name}: cache lines")
            found |= lines_of(name, trace)
    found |= break_even()
    if long:
        found |= whole.measure(tell)
    return found


def _trace(name: str, trace: Trace, programs: dict[str, Path]) -> Figures:
    """ns per op from a cold start, every allocator told the same; bytes where the trace ends."""
    records = exchange.exported(trace.ops, trace.handles).records
    pages = allocators.pages_for(records)
    found = allocators.replayed(name, records, pages, programs, _SPECS)
    one, other = (f"{name}.{label}.ns_per_op" for label in ("potad_whole", "c_buddy_pcp_tails"))
    ratio(found, f"{name}.potad_whole.to_c_buddy_pcp_tails", one, other)
    return found | _sizes(name, trace)


def lines_of(name: str, trace: Trace) -> Figures:
    """Cache lines per allocation and release, all counted, told only the address; means and p99."""
    case, found = Case(trace.space, trace.ops, trace.start, trace.handles), dict[str, Figure]()
    for label, spec in _LINES.items():
        counted = count_lines(spec, case)[0]
        for verb in VERBS:
            each = counted.of(verb)
            found[f"{name}.{label}.lines_per_{verb}"] = Figure.counted(each.mean, "lines")
            found[f"{name}.{label}.lines_per_{verb}_p99"] = Figure.counted(each.p99, "lines")
    return found


def _sizes(name: str, trace: Trace) -> Figures:
    """Bytes of free structure, slots and records at the trace's end, warm if it has a snapshot."""
    case = Case(trace.space, trace.ops, trace.start, trace.handles)
    run = run_allocator(WHOLE, case, samples=2)
    blocks = int(run.census.live_blocks[-1].sum())
    live = int(run.census.live_granules[-1].sum())
    used, pages = sum(run.bytes.values()), int(np.diff(case.ranges, axis=1).sum())
    return {
        f"{name}.potad_whole.bytes_per_live_block": Figure.counted(used / blocks, "B"),
        f"{name}.potad_whole.pages_per_live_block": Figure.counted(live / blocks, "pages"),
        f"{name}.potad_whole.bytes_to_struct_page": Figure.counted(
            used / struct_page_bytes(pages), "ratio"
        ),
    }


def break_even() -> Figures:
    """From how many pages on a folio's slot and record are smaller than its struct pages.

    What a page costs in any case, a free bit and a start bit with the levels above, is taken off.
    """
    record = int(kinds.facts()["record_bytes"][kinds.KIND["folio"]])
    block = record + (ENTRY_BYTES if record else SLOT.itemsize)
    levels = sum(64.0**-level for level in range(8))
    per_page = levels / 8 + levels / 8  # node bytes above level 0 are 1/64, 1/4096 ... a page
    return {
        "bytes.break_even_pages.folio": Figure.counted(
            block / (struct_page_bytes(1) - per_page), "pages"
        )
    }
