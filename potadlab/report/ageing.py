"""Memory aged in a closed loop: the comparison as a table, for machines, and as a page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.resources import Resources

from .. import __version__, ageing_ram
from ..ageing_ram import ALLOCATORS, LAST, Aged, RamLoad
from ..core.allocators import own
from ..files import write
from ..runs import chosen
from ..units import Space, format_size
from ..views import ageing_ram as view
from ..views import theme
from . import figures, page
from .sheet import Rows, Sheet, html_table

Progress = Callable[[float, str], None]  # share done, 0 to 1, and of what
LOOP = "closed"
_COUNTS = ("tried", "at_once", "compacted", "migrated", "reclaimed", "killed", "refused")


@dataclass(frozen=True)
class AgedRun:
    """The same load in several allocators, with its figures; `ageing` holds every sample."""

    ageing: ageing_ram.Ageing

    def table(self) -> Any:
        """One row per allocator: a table that a terminal and a notebook show."""
        return Sheet(headline(self.ageing), rows(self.ageing), caption(self.ageing))

    def as_dict(self) -> dict[str, Any]:
        """The object of `potadlab age --json`."""
        return as_dict(self.ageing)

    def to_html(self, path: str | Path) -> None:
        """Write a page that opens without a server."""
        write(Path(path), self.html())

    def html(self) -> str:
        """The page, as text."""
        return html_page(self.ageing)


def age(
    space: Space | str | int = "1GiB",
    allocators: Sequence[str] = (),
    *,
    turnovers: int = 20,
    seeds: int | Sequence[int] = 10,
    load: RamLoad | None = None,
    progress: Progress | None = None,
    **shares: Any,
) -> AgedRun:
    """Age memory in `allocators` (none named: the usual ones) with a load that reacts.

    space: memory in one piece, or its size; shares: fields of RamLoad that differ from the usual,
    such as unmovable=0.2.  Raises BadSize, UnknownName.
    """
    memory = space if isinstance(space, Space) else Space.ram(space)
    made = load or RamLoad(**shares)
    names = tuple(allocators) or (*ALLOCATORS, *own())
    return AgedRun(
        ageing_ram.age_ram(memory, names, made, turnovers=turnovers, seeds=seeds, progress=progress)
    )


def headline(ageing: ageing_ram.Ageing) -> str:
    size = format_size(ageing.space.bytes)
    return (
        f"{size} aged for {ageing.turnovers[-1]:g} turnovers, {len(ageing.seeds)} seeds; "
        "closed loop: the load reacts to what it is given"
    )


def rows(ageing: ageing_ram.Ageing) -> Rows:
    """One row per allocator, over the last turnovers; lowest to highest of the seeds beside."""
    heads = [
        "allocator", "huge pages got", "at once", "unusable for 2 MiB", "spoilt regions",
        "pages moved a turnover", "pages reclaimed a turnover", "processes killed",
    ]  # fmt: skip
    return heads, [_row(run) for run in ageing.runs]


def _row(run: Aged) -> list[str]:
    return [
        run.allocator,
        _spread(100 * run.lately("success"), "%"),
        _spread(100 * run.lately("at_once"), "%"),
        _spread(100 * run.lately("unusable"), "%"),
        *(_spread(run.lately(name)) for name in ("spoilt", "migrated", "reclaimed")),
        _spread(run.samples["killed"][:, -1]),
    ]


def _spread(values: np.ndarray, unit: str = "") -> str:
    if np.isnan(values).all():
        return "-"
    low, mean, high = np.nanmin(values), np.nanmean(values), np.nanmax(values)
    few = 1 if 0 < mean < 1 and not unit else 0  # a mean of counts
    one = f"{mean:,.{few}f}{unit}"
    return one if round(low) == round(high) else f"{one} ({low:,.0f}-{high:,.0f})"


def caption(ageing: ageing_ram.Ageing) -> str:
    """How to read the columns, and what was asked."""
    load, space = ageing.load, ageing.space
    regions = space.bytes // ageing_ram.HUGE_BYTES
    low, high = (format_size(mark * space.granule_bytes) for mark in ageing.watermarks)
    moved = "a region is emptied" if load.compaction else "nothing is moved"
    return (
        f"Mean of the seeds over the last {min(LAST, len(ageing.turnovers) - 1)} turnovers "
        "(lowest to highest). "
        f"Asked for: {load.read:.0%} page cache, {load.huge:.0%} by huge pages, "
        f"{load.small:.0%} single pages of processes, {load.kernel:.0%} kernel objects. "
        f"Processes hold about {load.anonymous:.0%} of memory, kernel objects that stay "
        f"{load.unmovable:.0%}, page cache the rest but for {low} to {high}. "
        f"Where a huge page is refused, {moved}; after that it falls back to single pages. "
        f"Spoilt: of {regions} regions of 2 MiB, those with unmovable memory beside other. "
        "A page moved and a page reclaimed cost the same: one each."
    )


def as_dict(ageing: ageing_ram.Ageing) -> dict[str, Any]:
    space = ageing.space
    low, high = ageing.watermarks
    return {
        "potadlab": __version__,
        "machine": figures.machine(),
        "loop": LOOP,
        "space": {"bytes": space.bytes, "granule_bytes": space.granule_bytes},
        "load": asdict(ageing.load),
        "watermarks_bytes": {
            "low": low * space.granule_bytes,
            "high": high * space.granule_bytes,
        },
        "seeds": list(ageing.seeds),
        "turnovers": ageing.turnovers.tolist(),
        "runs": [_run_dict(run, space.granule_bytes) for run in ageing.runs],
    }


def _run_dict(run: Aged, granule_bytes: int) -> dict[str, Any]:
    """Curves by age, one value a turnover, and what the last turnovers came to."""
    last = {
        "thp_success": _numbers(run.lately("success")),
        "thp_at_once": _numbers(run.lately("at_once")),
        "unusable_index": _numbers(run.lately("unusable")),
        "cost_pages_per_turnover": _numbers(run.last("migrated") + run.last("reclaimed")),
    } | {name: _numbers(run.last(name)) for name in _COUNTS}
    largest = granule_bytes * np.exp2(np.maximum(run.samples["largest_order"], 0))
    return {
        "allocator": run.allocator,
        "options": chosen(run.allocator).words,
        "loop": LOOP,
        "thp_success": _curve(run.success),
        "thp_at_once": _curve(run.at_once),
        "unusable_index": {"2MiB": _curve(run.unusable)},
        "fragmentation_index": {"2MiB": _curve(run.samples["fragmentation"] / 1000)},
        "blocks_available": {"2MiB": _curve(run.samples["available"])},
        "largest_free_bytes": _curve(np.where(run.samples["largest_order"] < 0, 0, largest)),
        "spoilt_regions": _curve(run.spoilt),
        "pages": {"migrated": _curve(run.migrated), "reclaimed": _curve(run.reclaimed)},
        "last": {"turnovers": min(LAST, run.samples.shape[1] - 1), "per_turnover": last},
    }


def _curve(values: np.ndarray) -> dict[str, list[float | None]]:
    """Mean, lowest and highest of the seeds at each age; null where nothing was measured."""
    found: dict[str, list[float | None]] = {"mean": [], "lowest": [], "highest": []}
    for at in range(values.shape[1]):
        told = values[:, at][~np.isnan(values[:, at])]
        ends = (told.mean(), told.min(), told.max()) if len(told) else (None, None, None)
        for name, end in zip(found, ends, strict=True):
            found[name].append(None if end is None else round(float(end), 4))
    return found


def _numbers(values: np.ndarray) -> dict[str, float | None]:
    curve = _curve(np.asarray(values, float)[:, None])
    return {name: one[0] for name, one in curve.items()}


def html_page(ageing: ageing_ram.Ageing) -> str:
    """Table and figures on a page without a server or a network."""
    plots = {name: view.draw(ageing, name)[0] for name in view.MEASURES}
    for plot in plots.values():
        theme.dress(plot, light=True)
    script, divs = components(plots)
    body = _SECTION.format(
        headline=escape(headline(ageing)),
        rows=html_table(rows(ageing)),
        caption=escape(caption(ageing)),
        figures="".join(page.card(div) for div in divs.values()),
        script=script,
    )
    return page.whole(
        f"{format_size(ageing.space.bytes)} aged",
        f"memory in use for long, {format_size(ageing.space.bytes)}",
        Resources(mode="inline", components=["bokeh"]).render(),
        body,
    )


_SECTION = """<section>
<h2>{headline}</h2>
{rows}
<p class="note">{caption}</p>
<p class="note">A line is the mean of the seeds, its band goes from the lowest to the highest.</p>
<div class="cards">{figures}</div>
{script}
</section>"""
