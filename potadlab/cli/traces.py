"""Traces as files: `potadlab info`, `import`, `cut`, `diff`."""

from contextlib import ExitStack
from pathlib import Path

import click

from . import parts


@click.command()
@click.argument("file")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@parts.json_option
def info(file: str, snapshot: str | None, as_json: str | None) -> None:
    """What a trace or snapshot holds: how much, over how long, what the recording missed."""
    from ..traces import Snapshot, parquet

    inputs = parts.inputs([file], snapshot)
    if parquet.is_snapshot(parts.find(file)):
        memory = Snapshot.read(parts.find(file))
        if as_json:
            with parts.output(as_json, inputs) as numbers:
                parts.put(numbers, as_json, parts.json_text(memory.info()))
        else:
            click.echo("\n".join(memory.words()))
        return
    with ExitStack() as stack:
        told = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        trace = parts.read(file, snapshot, False, progress)
        if told and as_json:
            parts.put(told, as_json, parts.json_text(trace.info()))
    if not told:
        from ..report import info_table

        parts.show(info_table(trace))


@click.command(name="import")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT.parquet")
@click.option("--names", is_flag=True, help="Keep names and numbers of processes.")
@click.option("--kinds", metavar="FILE", help="Kernel functions and their kinds, to add (TOML).")
@click.option(
    "--page",
    type=parts.Size(),
    default="4KiB",
    show_default=True,
    help="The recorded machine's page.",
)
@parts.json_option
def import_text(
    source: str, target: str, names: bool, kinds: str | None, page: int, as_json: str | None
) -> None:
    """Make recorded text a trace, or a dump of memory a snapshot.

    IN is text of ftrace (trace, trace_pipe), perf script or trace-cmd report, or a dump of
    kpageflags, page_owner, buddyinfo or pagetypeinfo; as it is or packed with gzip, xz or zstd; -
    is standard input.
    """
    inputs = [Path(name) for name in (source, kinds) if name and name != "-"]
    parts.check_target(target, inputs)
    if page < 512 or page > 2 << 20 or page & (page - 1):
        raise click.UsageError("--page is a power of two of 512 B to 2 MiB, such as 16KiB")
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..traces import import_file

        with parts.told(target):
            found = import_file(source, target, names, kinds, page, progress)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
    if as_json != "-":
        for line in found.words():
            click.echo(line)


@click.command()
@click.argument("trace")
@click.argument("target", metavar="OUT.parquet")
@click.option("--from", "from_s", type=parts.Duration(), default="0s", help="Begin, such as 2s.")
@click.option("--to", "to_s", type=parts.Duration(), help="End, such as 5s.  [default: its end]")
@parts.json_option
def cut(trace: str, target: str, from_s: float, to_s: float | None, as_json: str | None) -> None:
    """Cut a window of a trace.

    Times count from the trace's first event.  Where the memory at its start is known, that at the
    window's beginning is written beside the target.
    """
    if to_s is not None and to_s <= from_s:
        raise click.UsageError("--to is to be later than --from")
    inputs = parts.inputs([trace], None)
    parts.check_target(target, inputs)
    parts.check_target(target.removesuffix(".parquet") + ".before.parquet", inputs)
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..traces.cutting import cut as cut_out

        with parts.told(target):
            found = cut_out(parts.find(trace), from_s, to_s, Path(target), progress)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
    if as_json != "-":
        for line in found.words():
            click.echo(line)


@click.command()
@click.argument("first", metavar="TRACE")
@click.argument("second", metavar="TRACE")
@parts.json_option
def diff(first: str, second: str, as_json: str | None) -> None:
    """Compare two recordings in one table, as of before and after a patch."""
    inputs = parts.inputs([first, second], None)
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..traces.difference import Difference

        both = [parts.read(name, None, False, progress) for name in (first, second)]
        found = Difference.of(*both)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
    if not numbers:
        from ..report import difference_table

        parts.show(difference_table(found))
