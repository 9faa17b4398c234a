"""Traces as files: `potadlab info`, `import`."""

from contextlib import ExitStack
from pathlib import Path

import click

from . import parts


@click.command()
@click.argument("file")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@parts.json_option
def info(file: str, snapshot: str | None, as_json: str | None) -> None:
    """What a trace holds: how much was asked, over how long, and what the recording missed."""
    with ExitStack() as stack:
        inputs = parts.inputs([file], snapshot)
        numbers = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        trace = parts.read(file, snapshot, False, progress)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(trace.info()))
    if not numbers:
        from rich.console import Console

        from ..report import info_table

        Console().print(info_table(trace))


@click.command(name="import")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT.parquet")
@click.option("--names", is_flag=True, help="Keep names and numbers of processes.")
@click.option("--kinds", metavar="FILE", help="Kernel functions and their kinds, to add (TOML).")
@click.option("--page", type=parts.Size(), default="4KiB", help="The recorded machine's page.")
@parts.json_option
def import_text(
    source: str, target: str, names: bool, kinds: str | None, page: int, as_json: str | None
) -> None:
    """Make recorded text a trace.

    IN is text of ftrace (trace, trace_pipe), perf script or trace-cmd report, as it is or packed
    with gzip, xz or zstd; - is standard input.
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
