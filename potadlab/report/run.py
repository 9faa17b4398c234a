"""A trace replayed on several allocators, and the lookups over what lives at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.allocators import ALLOCATORS, usual
from ..core.lookups import LOOKUPS
from ..errors import BadSize, UnknownName
from ..files import write
from ..metrics import latency
from ..metrics.latency import Latency
from ..metrics.lines import Saving, savings
from ..session import Session, check_memory
from ..traces import Trace
from ..units import Space
from ..views import distance, timeline
from ..virtual import CPUS_MAX, space_of
from . import figures, meters, table, timing
from .meters import Meters
from .page import html_page

# those that answer for a live allocator and differ in kind, not in a frame's size
USUAL_LOOKUPS = ("memmap", "two-level", "xarray", "maple", "heads")
ALL = "all"

Progress = Callable[[float, str], None]  # share done, 0 to 1, and of what


@dataclass(frozen=True)
class Run:
    """A replayed trace with its figures; `session` holds every moment of it."""

    session: Session
    times: figures.Times
    latencies: list[Latency]
    meters: Meters = field(default_factory=Meters)

    def as_dict(self) -> dict[str, Any]:
        """The object of `potadlab replay --json`."""
        return figures.as_dict(self.session, self.times, self.latencies, self.meters)

    def table(self) -> Any:
        """The comparison, one row per allocator: a table that a terminal and a notebook show."""
        return table.run_table(self.session, self.times)

    def lookup_table(self) -> Any | None:
        """The lookups' latencies, one row each; None if none was measured."""
        if not self.latencies:
            return None
        return table.lookup_table(self.latencies, self.meters.lookups)

    def lines_table(self) -> Any | None:
        """Cache lines per op, one row per allocator; None if they were not counted."""
        return table.lines_table(self.meters) if self.meters.runs else None

    def orders_tables(self) -> list[Any]:
        """Whose lines an op touches, by block size: a table for each allocator."""
        return table.orders_sheets(self.meters, self.session.space.granule_bytes)

    def savings_tables(self) -> list[Any]:
        """What each allocator saves against Linux's buddy, by block size and by what saves it."""
        return table.savings_sheets(self.meters, self.session.space.granule_bytes)

    def savings(self, name: str, against: str = "buddy") -> dict[str, dict[int, Saving]]:
        """Lines per op saved, by verb and order: `.lines`, of it `.allocator` and `.descriptor`.

        Raises UnknownName where one of them was not counted.
        """
        for wanted in (name, against):
            if wanted not in self.meters.runs:
                there = ", ".join(self.meters.runs) or "none: replay with lines=True"
                raise UnknownName(f"lines of {wanted!r} were not counted: there are {there}")
        return savings(self.meters.runs[name], self.meters.runs[against])

    def cpus_table(self) -> Any | None:
        """What virtual CPUs cost each other; None if none was asked for."""
        return table.cpus_table(self.meters) if self.meters.virtual else None

    def distance_table(self) -> Any | None:
        """How far each allocator is from the recorded placement; None without `recorded`."""
        return table.distance_table(self.session) if self.session.distances() else None

    def distance_figures(self) -> list[Any]:
        """The same over time and by block size, as Bokeh figures; none without `recorded`."""
        session = self.session
        found = session.distances()
        if not found:
            return []
        seconds, marker = (
            max(session.time_ns(session.length) / 1e9, 1e-9),
            timeline.source(clock=session.clock),
        )
        return [
            distance.draw(found, seconds, marker),
            distance.draw_sizes(found, session.space.granule_bytes),
        ]

    def at(self, moment: str | int) -> dict[str, np.ndarray]:
        """BLOCK[] of each allocator after `moment` ops, or at a share of them such as "50%"."""
        index = index_of(moment, self.session.length)
        return {name: self.session.blocks(name, index) for name in self.session.names}

    def to_html(self, path: str | Path) -> None:
        """Write a page that opens without a server."""
        write(Path(path), html_page([self]))


def replay(
    trace: Trace,
    allocators: Sequence[str] = (),
    *,
    lookups: Sequence[str] = (),
    space: Space | None = None,
    lines: bool = False,
    cpus: Sequence[int] = (),
    cpu_ops: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Replay `trace` on `allocators` (none named: all that can); time them and `lookups`.

    None named: the usual ones; "all": every one.  lines: count cache lines in replays of their own
    (the first on a machine compiles half a minute for each allocator).  cpus: and on so many
    virtual CPUs, the first `cpu_ops` ops of each (None: all); raises BadSize for a number that is
    not within 1 to 64, BadSpace where their memory together is more than this machine can model.
    """
    check_cpus(cpus)
    tell = progress or (lambda share, what: None)
    chosen = tuple(dict.fromkeys(allocators)) or _default_allocators(space)
    for number in cpus:
        check_memory(space_of(space or trace.space, number), chosen)
    session = Session(trace, chosen, space=space, progress=tell)
    times = timing.measure(session, tell)
    tell(1.0, "timing lookups")
    named = _named(lookups)
    latencies = _measured(session, named)
    counted = meters.measure(session, named, cpus, tell, cpu_ops) if lines or cpus else Meters()
    return Run(session, times, latencies, counted)


def check_cpus(cpus: Sequence[int]) -> None:
    """Raises BadSize for a number of virtual CPUs that cannot be had."""
    for number in cpus:
        if not 1 <= number <= CPUS_MAX:
            raise BadSize(f"{number} virtual CPUs: take 1 to {CPUS_MAX}")


def _measured(session: Session, lookups: tuple[str, ...]) -> list[Latency]:
    """Lookups of the blocks that live at the end, failed granules left out."""
    first = session.names[0]
    blocks = session.runs[first].live(session.length)
    served = int(np.diff(session.in_service(first, session.length), axis=1).sum())
    granules = session.space.granules
    return latency.measure(blocks, granules, lookups, in_service=served, updates=True)


def _named(lookups: Sequence[str]) -> tuple[str, ...]:
    """Those named, each once; none named: the usual ones; "all": every one."""
    if ALL in lookups:
        return tuple(LOOKUPS)
    return tuple(dict.fromkeys(lookups)) or USUAL_LOOKUPS


def _default_allocators(space: Space | None) -> tuple[str, ...]:
    """The usual ones; `recorded` is at home in the recorded machine's memory only."""
    return tuple(name for name in usual() if not (space and ALLOCATORS[name].needs_record))


def index_of(moment: str | int, length: int) -> int:
    """Ops before a moment; raises BadSize for one that is not within the run."""
    text = str(moment).strip()
    try:
        index = float(text[:-1]) / 100 * length if text.endswith("%") else int(text)
    except ValueError:
        index = -1
    if not 0 <= index <= length:  # nor for nan
        raise BadSize(f"moment {moment!r}: write 0% to 100%, or a number of ops up to {length}")
    return round(index)
