"""This machine: `potadlab record`, `snapshot`."""

from contextlib import ExitStack
from pathlib import Path

import click

from ..errors import PotadError
from . import parts


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("target", metavar="OUT.parquet", required=False)
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--for", "seconds", type=parts.Duration(), help="How long, such as 30s or 2m.")
@click.option("--owners", is_flag=True, help="Record the kernel's call stacks: who allocates.")
@click.option("--names", is_flag=True, help="Keep names and numbers of processes.")
@click.option(
    "--buffer",
    type=parts.Size(),
    help="Ring buffer of each CPU, such as 64MiB.  [default: a sixteenth of free memory, for all]",
)
@click.option("--script", is_flag=True, help="Print a recorder in plain shell, for other devices.")
@parts.json_option
def record(
    target: str | None,
    command: tuple[str, ...],
    seconds: float | None,
    owners: bool,
    names: bool,
    buffer: int | None,
    script: bool,
    as_json: str | None,
) -> None:
    """Record this machine's page allocations, as root.

    For a time (--for), while a command runs (-- make -j2), or until Ctrl-C.  The memory before and
    after is written beside it.  Names of processes are left out unless you ask for them.
    """
    if script:
        from ..traces.recording.script import SCRIPT

        click.echo(SCRIPT, nl=False)
        return
    if target is None:
        raise click.UsageError("name a file to write: potadlab record OUT.parquet --for 30s")
    if not target.endswith(".parquet"):  # most likely a command, and the file was forgotten
        raise click.UsageError(
            f"{target}: the file to write comes first and ends in .parquet: "
            "potadlab record OUT.parquet -- COMMAND"
        )
    if seconds == 0 or (buffer is not None and not 64 << 10 <= buffer <= 1 << 36):
        raise click.UsageError("--for is more than 0s, --buffer 64KiB to 64GiB for each CPU")
    parts.check_target(target, [])
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..traces.recording import record as recorded

        with parts.told(target):
            found = recorded(target, seconds, command, owners, names, buffer, progress)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
    if as_json != "-":
        for line in found.words():
            click.echo(line, err=bool(command))
    if found.exit_code:
        how = "with" if found.exit_code > 0 else "by signal"
        raise PotadError(
            f"{command[0]}: ended {how} {abs(found.exit_code)}; {target} is written all the same"
        )


@click.command()
@click.argument("target", metavar="OUT.parquet")
@parts.json_option
def snapshot(target: str, as_json: str | None) -> None:
    """What this machine's memory is used for, page by page, as root.

    A replay can start from it (replay --snapshot), and the map shows it (pl.lab.Memory).
    """
    parts.check_target(target, [])
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..traces import Snapshot
        from ..traces.recording import Memory

        memory = Memory.now(progress, mapped=True)
        with parts.told(target):
            memory.write(Path(target))
        found = Snapshot.read(target)
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.info()))
    if as_json != "-":
        for line in found.words():
            click.echo(line)
