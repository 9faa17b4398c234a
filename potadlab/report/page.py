"""One HTML page that opens without a server or a network: figures, maps at several moments, tables.

The more maps there are, the fewer moments of each, down to three: up to 40 maps of all traces
together its images stay within MAPS_BYTES_MAX, and each further one adds three.  The page says how
many moments it shows.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.embed import components
from bokeh.models import ColumnDataSource, CustomJS, Slider
from bokeh.resources import Resources

from .. import __version__
from ..metrics.lines import VERBS
from ..session import Session, end_of_service
from ..views import (
    descriptors,
    distance,
    fragmentation,
    latency,
    lines,
    orders,
    regions,
    sharing,
    theme,
    timeline,
)
from . import figures, table
from .meters import Meters
from .sheet import html_table

if TYPE_CHECKING:
    from .run import Run

MAPS_BYTES_MAX = 8 << 20  # all images of a page together, as text (four thirds of the bytes)
MOMENTS_MAX, MOMENTS_MIN = 40, 3
_IMAGE_BYTES = regions.SMALL.width * regions.SMALL.height * 4 // 3


def html_page(runs: "Sequence[Run]", progress: Callable[[float, str], None] | None = None) -> str:
    """The page of one or several runs, as text."""
    tell = progress or (lambda share, what: None)
    sections = []
    moments = moments_of(sum(len(run.session.names) for run in runs))
    for done, run in enumerate(runs):
        tell(done / len(runs), f"drawing {run.session.trace.name}")
        sections.append(_section(run, moments))
    title = ", ".join(run.session.trace.name for run in runs)
    head = Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).render()
    return whole(title, f"a replay of {title}", head, "\n".join(sections))


def whole(title: str, headline: str, head: str, body: str) -> str:
    """A page of this body; title and headline are plain text."""
    foot = escape(_foot())
    return _PAGE.format(
        title=escape(title), headline=escape(headline), head=head, body=body, foot=foot
    )


def moments_of(maps: int) -> int:
    """How many moments each of so many maps shows: what MAPS_BYTES_MAX holds, at least 3."""
    room = MAPS_BYTES_MAX // (_IMAGE_BYTES * max(maps, 1))
    return int(np.clip(room, MOMENTS_MIN, MOMENTS_MAX))


def _foot() -> str:
    told = ", ".join(f"{name} {value}" for name, value in figures.machine().items())
    return f"potadlab {__version__}; measured on: {told}"


def _section(run: "Run", moments: int) -> str:
    """One trace: tables, maps with their slider, figures."""
    session = run.session
    indices = _indices(session, moments)
    maps, frames = _maps(session, indices)
    marker = timeline.source(session.time_ns(0), session.clock)
    others = dict(_figures(run, marker))
    for plot in [*maps.values(), *others.values()]:
        theme.dress(plot, light=True)
    plots = {"slider": _slider(session, indices, frames, marker), **maps, **others}
    script, divs = components(plots)
    return _SECTION.format(
        headline=escape(table.headline(session)),
        runs=html_table(table.run_rows(session, run.times)),
        caption=escape(table.caption(run.session, run.times)),
        more=_more_tables(run),
        moments=len(indices),
        legend=_keys(_legend(session)),
        kinds=_keys(_kinds(session)),
        slider=divs["slider"],
        maps="".join(card(divs[name]) for name in maps),
        figures="".join(card(divs[name]) for name in others),
        distances=_distances(session),
        lookup_note=escape(table.LOOKUP_CAPTION),
        lookups=html_table(table.lookup_rows(run.latencies, run.meters.lookups)),
        script=script,
    )


def _distances(session: Session) -> str:
    """The table of distances from the record, where there is one."""
    if not session.distances():
        return ""
    return (
        f"<h3>{escape(table.DISTANCE_TITLE)}</h3>\n"
        f'<p class="note">{escape(table.DISTANCE_CAPTION)}</p>\n'
        + html_table(table.distance_rows(session))
    )


def _indices(session: Session, moments: int) -> list[int]:
    """Ops done at moments evenly spaced in time, the start and the end among them."""
    times = np.linspace(session.time_ns(0), session.time_ns(session.length), moments)[1:-1]
    inner = [session.index_at(int(time)) for time in times]
    return sorted({0, *inner, session.length})


def _maps(session: Session, indices: list[int]) -> tuple[dict[str, Any], list[ColumnDataSource]]:
    """A map per allocator, and per map its frames and the image that shows one of them."""
    window = regions.whole(end_of_service(session))
    maps, frames = {}, []
    for name in session.names:
        shown = regions.source()
        images = [_image(session, name, index, window) for index in indices]
        shown.data = {**shown.data, "image": images[:1]}
        kept = ColumnDataSource({"image": images})
        plot = regions.draw(name, shown, *_nothing_marked())
        regions.label(plot, window, session.space.granule_bytes)
        plot.name = f"map of {name}"
        maps[plot.name] = plot
        frames += [shown, kept]
    return maps, frames


def _image(session: Session, name: str, index: int, window: regions.Window) -> np.ndarray:
    space = session.space
    blocks, ranges = session.blocks(name, index), session.in_service(name, index)
    end = end_of_service(session)
    made = regions.columns(blocks, ranges, end, space.granule_bytes, window)
    return made["image"][0]


def _nothing_marked() -> tuple[ColumnDataSource, ColumnDataSource]:
    outlines = ColumnDataSource({"xs": [], "ys": [], "colour": []})
    marks = ColumnDataSource({"x": [], "y": [], "marker": [], "colour": []})
    return outlines, marks


def _slider(
    session: Session, indices: list[int], frames: list[ColumnDataSource], marker: ColumnDataSource
) -> Slider:
    """Moves every map of the trace, and the marker, to one moment, in the page itself."""
    seconds = [session.time_ns(index) / 1e9 for index in indices]
    told = [
        ", ".join([*session.clock.told(at * 1e9), f"after {index:,} ops"])
        for at, index in zip(seconds, indices, strict=True)
    ]
    slider = Slider(
        start=0,
        end=max(len(indices) - 1, 1),
        value=0,
        step=1,
        show_value=False,
        title=told[0],
        sizing_mode="stretch_width",
    )
    arguments = {"frames": frames, "marker": marker, "seconds": seconds, "told": told}
    slider.js_on_change("value", CustomJS(args=arguments, code=_SHOW_MOMENT))
    return slider


def _figures(run: "Run", marker: ColumnDataSource) -> Iterator[tuple[str, Any]]:
    """Free memory by block size of each allocator, descriptor bytes, lookup latency."""
    session = run.session
    granule_bytes, unit = session.space.granule_bytes, orders.unit_for(session.space.bytes)
    seconds = max(session.time_ns(session.length) / 1e9, 1e-9)
    found = {
        name: orders.columns(one.census.time_ns, one.census.free_blocks, granule_bytes, unit)
        for name, one in session.runs.items()
    }
    top = max(map(orders.top, found.values()))
    for name, free in found.items():
        title = f"Free memory by block size: {name}"
        yield title, orders.draw(title, orders.source(free), seconds, top, marker, unit)
    off = session.distances()
    if off:
        yield "distance", distance.draw(off, seconds, marker)
        yield "distance by size", distance.draw_sizes(off, granule_bytes)
    broken = {
        name: fragmentation.columns(
            one.census.time_ns, one.census.free_blocks, one.census.spoilt, granule_bytes
        )
        for name, one in session.runs.items()
    }
    for measure in fragmentation.MEASURES:
        yield measure, fragmentation.draw(measure, broken, seconds, marker)
    yield "descriptors", descriptors.draw(_descriptor_columns(session), seconds, marker)
    if run.latencies:
        yield "latency", latency.draw(run.latencies)
    yield from _line_figures(run.meters, granule_bytes)


def _line_figures(found: Meters, granule_bytes: int) -> Iterator[tuple[str, Any]]:
    """How many lines ops touch, in which structures, and what virtual CPUs cost each other."""
    for verb in VERBS if found.runs else ():
        counts = {name: each.of(verb).counts for name, each in found.runs.items()}
        title = f"Cache lines of an {verb}" if verb == "allocate" else f"Cache lines of a {verb}"
        yield title, lines.draw(title, counts)
    if found.runs:
        split = {
            f"{name}, {verb}": each.of(verb).by_array
            for name, each in found.runs.items()
            for verb in VERBS
        }
        yield "structures", lines.draw_structures("Cache lines by structure", split)
        for verb in VERBS:
            title = f"Cache lines by block size, {verb}"
            shown = lines.by_size(verb, found.runs, granule_bytes)
            yield title, lines.draw_structures(title, shown, lines.SHOWN)
    if found.virtual:
        yield "fetched", _sharing(found, "Lines fetched from another CPU, per op", "transfers")
        yield "locked", _sharing(found, "Lines touched under the lock, per op", "locked")


def _sharing(found: Meters, title: str, what: str) -> Any:
    """Over the number of virtual CPUs, the mean of all ops."""
    values = {
        name: {cpus: each.per_op(what) for cpus, each in by_cpus.items()}
        for name, by_cpus in found.virtual.items()
    }
    return sharing.draw(title, "lines per op", values)


def _more_tables(run: "Run") -> str:
    """Tables of lines and virtual CPUs, where they were counted."""
    found, parts = run.meters, []
    if found.runs:
        told = escape(table.lines_caption(found))
        parts += [f"<h3>{table.LINES_TITLE}</h3>", html_table(table.lines_rows(found))]
        parts += [f'<p class="note">{told}</p>']
    if found.virtual:
        parts += [f"<h3>{table.CPUS_TITLE}</h3>", html_table(table.cpus_rows(found))]
        parts += [f'<p class="note">{escape(table.cpus_caption(found))}</p>']
    unit = run.session.space.granule_bytes
    for sheet in (*table.savings_sheets(found, unit), *table.orders_sheets(found, unit)):
        parts += [f"<h3>{escape(sheet.title)}</h3>", html_table(sheet.rows)]
        parts += [f'<p class="note">{escape(sheet.caption)}</p>'] if sheet.caption else []
    return "\n".join(parts)


def _descriptor_columns(session: Session) -> dict[str, np.ndarray]:
    """The same live blocks need the same descriptors, whatever allocator placed them."""
    counted = session.runs[session.names[0]].census
    ranges = session.in_service(session.names[0], session.length)
    granules = int(np.diff(ranges, axis=1).sum())
    end = session.space.granules
    return descriptors.columns(counted.time_ns, counted.live_blocks, granules, end)


def _legend(session: Session) -> list[tuple[str, str]]:
    sizes = theme.legend_sizes(session.space.granule_bytes)
    return sizes + theme.legend_map(theme.BY_SIZE, light=True)


def _kinds(session: Session) -> list[tuple[str, str]]:
    counted = session.runs[session.names[0]].census
    return theme.legend_kinds(np.any(counted.live_blocks, axis=0))


def _keys(rows: list[tuple[str, str]]) -> str:
    """(colour, label) rows as a legend."""
    return " ".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(label)}</span>'
        for colour, label in rows
    )


def card(div: str) -> str:
    return f'<div class="card">{div}</div>'


_SHOW_MOMENT = """
const at = Math.min(cb_obj.value, told.length - 1);
for (let i = 0; i < frames.length; i += 2) {
  const [shown, kept] = [frames[i], frames[i + 1]];
  shown.data = {...shown.data, image: [kept.data.image[at]]};
}
marker.data = {time_s: [seconds[at]]};
cb_obj.title = told[at];
"""

_SECTION = """<section>
<h2>{headline}</h2>
{runs}
<p class="note">{caption}</p>
{more}
<h3>Memory over time</h3>
<p class="note">{moments} moments, evenly spaced in time; each pixel shows the size of the blocks
that hold most of it. Addresses run along the rows.</p>
<p>{legend}</p>
{slider}
<div class="cards">{maps}</div>
<p class="note">The red line is the moment of the maps; sizes have the colours above. By kind: a
record and a lookup entry for each live block (the table counts records in use: pieces of a split
block share one, blocks in front caches keep theirs); their sum with the start bits, against Linux's
struct page for all memory in service.</p>
<p>{kinds}</p>
<div class="cards">{figures}</div>
{distances}
<h3>From an address to kind, order and owner</h3>
<p class="note">{lookup_note}</p>
{lookups}
{script}
</section>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} - potadlab</title>
<style>
body {{ font: 14px/1.45 system-ui, sans-serif; color: #222; max-width: 1280px; margin: 0 auto;
  padding: 0 16px 32px; }}
h1 {{ font-size: 20px; }} h2 {{ font-size: 17px; margin-top: 28px; }} h3 {{ font-size: 15px; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ text-align: right; padding: 3px 10px; border-bottom: 1px solid #ddd;
  white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
.note {{ color: #555; margin: 4px 0; }}
.cards {{ display: grid; gap: 8px 16px;
  grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); }}
.card {{ min-width: 0; }}
.key {{ white-space: nowrap; margin-right: 12px; }}
.key i {{ display: inline-block; width: 12px; height: 12px; margin-right: 5px;
  border: 1px solid #999; vertical-align: -1px; }}
</style>
{head}
</head>
<body>
<h1>potadlab: {headline}</h1>
{body}
<p class="note">{foot}</p>
</body>
</html>
"""
