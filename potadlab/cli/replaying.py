"""`potadlab replay`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UnknownName
from ..units import Space
from . import parts

if TYPE_CHECKING:
    from ..report import Run


@click.command()
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option(
    "--allocator",
    "allocators",
    multiple=True,
    metavar="NAME",
    help="potad, buddy, recorded (the default), cma, llfree, ...; once for each wanted.",
)
@click.option(
    "--lookup",
    "lookups",
    multiple=True,
    metavar="NAME",
    help="Such as xarray; once for each wanted, or all.  [default: one of each sort]",
)
@click.option(
    "--space", type=parts.Size(), help="Replay in flat memory of this size, such as 8GiB."
)
@click.option("--cma", metavar="SIZE", help="Area of the allocator cma.  [default: 256MiB]")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@click.option("--cold", is_flag=True, help="Begin with all memory free.")
@click.option(
    "--lines/--no-lines",
    default=True,
    show_default=True,
    help="Count cache lines too; the first time, each allocator is compiled once more for it.",
)
@click.option(
    "--cpus",
    type=parts.Numbers(),
    default=(),
    help="Count them on so many virtual CPUs too, each with a copy of the trace: 1,2,8,32.",
)
@click.option(
    "--cpu-ops",
    type=click.IntRange(1),
    metavar="COUNT",
    help="Only the first ops of each copy.  [default: all; some minutes for 32 CPUs]",
)
@click.option("--html", metavar="FILE", help="Write a page that opens without a server.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write figures for machines; - is standard output."
)
def replay(
    traces: tuple[str, ...],
    allocators: tuple[str, ...],
    lookups: tuple[str, ...],
    space: int | None,
    cma: str | None,
    snapshot: str | None,
    cold: bool,
    lines: bool,
    cpus: tuple[int, ...],
    cpu_ops: int | None,
    html: str | None,
    json_file: str | None,
) -> None:
    """Replay traces on each allocator and compare.

    TRACE is a file, or the name of a bundled trace such as compile_redis.  The start is warm where
    a snapshot is found (NAME.before.parquet beside NAME.parquet): every allocator begins with the
    recorded machine's live memory.
    """
    if cold and snapshot:
        raise click.UsageError("--cold and --snapshot exclude each other")
    if html and json_file and Path(html).resolve() == Path(json_file).resolve():
        raise click.UsageError("--html and --json need a file each")
    if cma:
        if "cma" not in allocators:
            raise click.UsageError("--cma is the size of cma's area: add --allocator cma")
        allocators = tuple(f"cma:area={cma}" if name == "cma" else name for name in allocators)
    if cpus and not lines:
        raise click.UsageError("--cpus counts lines: leave --no-lines out")
    if cpu_ops and not cpus:
        raise click.UsageError("--cpu-ops says how many ops of virtual CPUs: add --cpus 1,2,8,32")
    flat = None if space is None else Space.ram(space)
    _check_names(allocators, lookups, flat)
    _check_cpus(cpus)
    inputs = parts.inputs(traces, snapshot)
    with ExitStack() as stack:  # an output that cannot be written is told before the work
        page = stack.enter_context(parts.output(html, inputs)) if html else None
        numbers = stack.enter_context(parts.output(json_file, inputs)) if json_file else None
        parts.compile_core(traces)
        progress = stack.enter_context(parts.progress())
        from .. import report

        runs = []
        for name in traces:
            trace = parts.read(name, snapshot, cold, progress)
            run = report.replay(
                trace,
                allocators,
                lookups=lookups,
                space=flat,
                lines=lines,
                cpus=cpus,
                cpu_ops=cpu_ops,
                progress=progress,
            )
            runs.append(run)
        if page and html:
            parts.put(page, html, report.html_page(runs, progress))
        if numbers and json_file:
            found = [run.as_dict() for run in runs]
            parts.put(numbers, json_file, parts.json_text(found[0] if len(found) == 1 else found))
    if "-" not in (html, json_file):
        _show(runs)
    if html and html != "-":
        click.echo(f"wrote {html}: open it in a browser", err=True)


def _check_names(
    allocators: tuple[str, ...], lookups: tuple[str, ...], space: Space | None
) -> None:
    """Raises UsageError, before any work, for a name that is not there or cannot serve."""
    from ..core.lookups import LOOKUPS
    from ..runs import chosen

    try:
        wanted = [chosen(spec).allocator for spec in allocators]
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    for name in lookups:
        if name not in (*LOOKUPS, "all"):
            raise click.UsageError(f"no {name!r} is there: choose among {', '.join(LOOKUPS)}, all")
    if space and any(allocator.needs_record for allocator in wanted):
        raise click.UsageError("recorded needs the recorded machine's memory: leave --space out")


def _check_cpus(cpus: tuple[int, ...]) -> None:
    """Raises UsageError, before any work, for a number that cannot be had."""
    from ..virtual import CPUS_MAX

    for number in cpus:
        if not 1 <= number <= CPUS_MAX:
            raise click.UsageError(f"--cpus {number}: take 1 to {CPUS_MAX}")


def _show(runs: "list[Run]") -> None:
    for run in runs:
        by_size = run.savings_tables() + run.orders_tables()
        shown = run.table(), run.lines_table(), *by_size, run.cpus_table(), run.distance_table()
        parts.show(*filter(None, [*shown, run.lookup_table()]))
