"""What is measured, and what C programs are given: `potadlab bench`, `export`."""

from contextlib import ExitStack
from pathlib import Path

import click

from . import parts

_SUITES = ("core", "lookup", "replay", "views")


@click.command()
@click.argument("suites", metavar="[SUITE]...", nargs=-1, type=click.Choice(_SUITES))
@click.option("--trace", metavar="FILE", help="In place of the synthetic load and bundled traces.")
@click.option("--c", "c", is_flag=True, help="Build C models of Linux's buddy and take turns.")
@parts.json_option
@click.option("--html", metavar="FILE", help="Write a page that opens without a server.")
def bench(
    suites: tuple[str, ...], trace: str | None, c: bool, as_json: str | None, html: str | None
) -> None:
    """Measure on one core: core (allocators), lookup, replay (bundled traces), views.

    Without a SUITE all of them, but for what takes minutes (growth, memory of long traces, imports,
    starts).  Times are processor time, medians of rounds in shuffled order; null is the harness.
    """
    if html and as_json and Path(html).resolve() == Path(as_json).resolve():
        raise click.UsageError("--html and --json need a file each")
    command = " ".join(["potadlab bench", *suites, *(["--trace", trace] if trace else [])])
    with ExitStack() as stack:
        paths = parts.inputs([trace], None) if trace else []
        numbers = stack.enter_context(parts.output(as_json, paths)) if as_json else None
        page = stack.enter_context(parts.output(html, paths)) if html else None
        progress = stack.enter_context(parts.progress())
        from ..bench import run

        found = run(suites, paths[0] if paths else None, c, command + " --c" * c, progress)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
        if page and html:
            parts.put(page, html, found.html())
    if "-" not in (html, as_json):
        parts.show(found.table())
    if html and html != "-":
        click.echo(f"wrote {html}: open it in a browser", err=True)


@click.command()
@click.argument("trace", metavar="TRACE")
@click.argument("target", metavar="OUT.bin")
def export(trace: str, target: str) -> None:
    """Write a trace's ops for C programs: {u8 op, u8 order, u16 0, u32 id} each.

    op 0 allocates 2**order pages and calls the block id, 1 releases it.  Such a file is read
    wherever a trace is.
    """
    if Path(target).suffix != ".bin":
        raise click.UsageError(f"{target}: name it OUT.bin, so that it is known when it is read")
    parts.check_target(target, parts.inputs([trace], None))
    with parts.progress() as progress:
        found = parts.read(trace, None, True, progress)
    from ..traces import exchange

    exported = exchange.exported(found.ops, found.handles)
    with parts.told(target):
        exchange.write(exported.records, Path(target))
    click.echo(f"{target}: {exported.words()}")
