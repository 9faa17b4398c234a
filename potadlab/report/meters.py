"""Cache lines of a comparison: each allocator, each lookup, and N virtual CPUs where asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import virtual
from ..core.metered import AVAILABLE
from ..metrics import lines
from ..metrics.lines import VERBS, Lines, LookupLines
from ..runs import chosen, count_lines
from ..session import Session

RIVAL = "buddy"  # however it is set


@dataclass(frozen=True)
class Meters:
    """By allocator or lookup; empty where it was left off."""

    runs: dict[str, Lines] = field(default_factory=dict)
    virtual: dict[str, dict[int, Lines]] = field(default_factory=dict)  # by number of CPUs
    lookups: dict[str, LookupLines] = field(default_factory=dict)
    cpu_ops: int | None = None  # of each virtual CPU; None: all

    def rivals(self, name: str) -> list[str]:
        """Those of Linux's buddy that an allocator is compared with; of two, the later one is."""
        buddies = [other for other in self.runs if chosen(other).name == RIVAL]
        return buddies[: buddies.index(name)] if name in buddies else buddies


def measure(
    session: Session,
    lookups: Sequence[str],
    cpus: Sequence[int],
    progress: Callable[[float, str], None],
    cpu_ops: int | None = None,
) -> Meters:
    """Meter every allocator of the session, each op's lines put into its events; and the lookups.

    Empty under NUMBA_DISABLE_JIT=1.  What only records (`recorded`) has no lines of an allocator.
    """
    if not AVAILABLE:
        return Meters()
    runs: dict[str, Lines] = {}
    copies: dict[str, dict[int, Lines]] = {}
    names = [name for name in session.names if not chosen(name).allocator.needs_record]
    for done, name in enumerate(names):
        progress(done / len(names), f"counting the lines of {name}")
        case = session.runs[name].case
        runs[name], events = count_lines(name, case)
        session.runs[name].events["lines"] = events["lines"]
        if cpus:
            copies[name] = virtual.count(name, case, cpus, cpu_ops, progress)
    progress(1.0, "counting the lines of lookups")
    blocks = session.runs[session.names[0]].live(session.length)
    found = lines.of_lookups(blocks, session.space.granules, lookups)
    return Meters(runs, copies, found, cpu_ops)


def figures(meters: Meters, name: str) -> dict[str, Any]:
    """What `--json` says of one allocator."""
    found = lines.figures(meters.runs[name]) if name in meters.runs else {}
    saved = [
        {"against": other} | lines.saving_figures(meters.runs[name], meters.runs[other])
        for other in (meters.rivals(name) if found else ())
    ]
    found |= {"saves": saved} if saved else {}
    cpus = meters.virtual.get(name, {})
    if not cpus:
        return found
    return found | {"virtual_cpus": [{"cpus": n} | _on_cpus(each) for n, each in cpus.items()]}


def _on_cpus(found: Lines) -> dict[str, Any]:
    every = lines.figures(found)
    means = {verb: every["lines"][verb]["mean"] for verb in VERBS}
    return {"lines": means, **{what: every[what] for what in ("misses", "transfers", "locked")}}
