"""The program `potadlab`: what people type, and how it answers.

Exit 0 fine, 1 bad input or failed work (one line on standard error), 2 wrong usage.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from . import __version__
from .errors import BadSize, PotadError, UnknownName
from .files import Draft
from .units import Space, parse_size

if TYPE_CHECKING:
    from .report import Progress, Run
    from .traces import Trace

DEBUG = "POTADLAB_DEBUG"


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit; no traceback unless POTADLAB_DEBUG is set."""
    try:
        code = program.main(arguments, prog_name="potadlab", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (UnknownName, BadSize) as error:  # only arguments can hold a wrong name or size
        _fail(error, str(error), 2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        _fail(error, "stopped", 130)
    except PotadError as error:
        _fail(error, str(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = " ".join(str(error).split()) or "no more is known"
        _fail(error, f"unexpected {type(error).__name__}: {said} (set {DEBUG}=1 to see where)", 1)


def _fail(error: BaseException, line: str, code: int) -> None:
    if os.environ.get(DEBUG):
        raise error
    click.echo(f"potadlab: {line}", err=True)
    sys.exit(code)


class Size(click.ParamType):
    """A size such as 8GiB, in bytes."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return parse_size(value)
        except BadSize as error:
            self.fail(str(error), param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="potadlab")
def program() -> None:
    """A visual lab for POTAD, the Power Of Two Allocator with Descriptor.

    It replays recorded traces of real kernels on POTAD and on Linux's buddy allocator, and shows
    what comes of it. Begin with `potadlab lab`.
    """


@program.command()
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option(
    "--allocator",
    "allocators",
    multiple=True,
    metavar="NAME",
    help="potad, buddy or recorded; once for each wanted.  [default: all that can]",
)
@click.option(
    "--lookup",
    "lookups",
    multiple=True,
    metavar="NAME",
    help="memmap or heads; once for each wanted.  [default: all]",
)
@click.option("--space", type=Size(), help="Replay in flat memory of this size, such as 8GiB.")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@click.option("--cold", is_flag=True, help="Begin with all memory free.")
@click.option("--html", metavar="FILE", help="Write a page that opens without a server.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write figures for machines; - is standard output."
)
def replay(
    traces: tuple[str, ...],
    allocators: tuple[str, ...],
    lookups: tuple[str, ...],
    space: int | None,
    snapshot: str | None,
    cold: bool,
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
    flat = None if space is None else Space.ram(space)
    _check_names(allocators, lookups, flat)
    inputs = _inputs(traces, snapshot)
    with ExitStack() as stack:  # an output that cannot be written is told before the work
        page = stack.enter_context(output(html, inputs)) if html else None
        numbers = stack.enter_context(output(json_file, inputs)) if json_file else None
        _compile(traces)
        progress = stack.enter_context(_progress())
        from . import report

        runs = []
        for name in traces:
            trace = _read(name, snapshot, cold, progress)
            run = report.replay(trace, allocators, lookups=lookups, space=flat, progress=progress)
            runs.append(run)
        if page and html:
            _put(page, html, report.html_page(runs, progress))
        if numbers and json_file:
            found = [run.as_dict() for run in runs]
            _put(numbers, json_file, _json(found[0] if len(found) == 1 else found))
    if "-" not in (html, json_file):
        _show(runs)
    if html and html != "-":
        click.echo(f"wrote {html}: open it in a browser", err=True)


def _check_names(
    allocators: tuple[str, ...], lookups: tuple[str, ...], space: Space | None
) -> None:
    """Raises UsageError, before any work, for a name that is not there or cannot serve."""
    from .core.lookups import LOOKUPS
    from .runs import chosen

    try:
        wanted = [chosen(spec).allocator for spec in allocators]
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    for name in lookups:
        if name not in LOOKUPS:
            raise click.UsageError(f"no {name!r} is there: choose among {', '.join(LOOKUPS)}")
    if space and any(allocator.needs_record for allocator in wanted):
        raise click.UsageError("recorded needs the recorded machine's memory: leave --space out")


def _json(found: Any) -> str:
    return json.dumps(found, indent=1) + "\n"


def _show(runs: "list[Run]") -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or pipe has no edge to wrap at
    for run in runs:
        console.print(run.table())
        for latencies in filter(None, [run.lookup_table()]):
            console.print()
            console.print(latencies)


@program.command()
@click.argument("file")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@click.option(
    "--json",
    "as_json",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the counts for machines; standard output if no FILE is named.",
)
def info(file: str, snapshot: str | None, as_json: str | None) -> None:
    """What a trace holds: how much was asked, over how long, and what the recording missed."""
    with ExitStack() as stack:
        inputs = _inputs([file], snapshot)
        numbers = stack.enter_context(output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(_progress())
        trace = _read(file, snapshot, False, progress)
        if numbers and as_json:
            _put(numbers, as_json, _json(trace.info()))
    if not numbers:
        from rich.console import Console

        from .report import info_table

        Console().print(info_table(trace))


@program.command(name="import")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT.parquet")
@click.option("--names", is_flag=True, help="Keep names and numbers of processes.")
@click.option("--kinds", metavar="FILE", help="Kernel functions and their kinds, to add (TOML).")
@click.option("--page", type=Size(), default="4KiB", help="The recorded machine's page.")
@click.option(
    "--json",
    "as_json",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the counts for machines; standard output if no FILE is named.",
)
def import_text(
    source: str, target: str, names: bool, kinds: str | None, page: int, as_json: str | None
) -> None:
    """Make recorded text a trace.

    IN is text of ftrace (trace, trace_pipe), perf script or trace-cmd report, as it is or packed
    with gzip, xz or zstd; - is standard input.
    """
    inputs = [Path(name) for name in (source, kinds) if name and name != "-"]
    _check_target(target, inputs)
    if page < 512 or page > 2 << 20 or page & (page - 1):
        raise click.UsageError("--page is a power of two of 512 B to 2 MiB, such as 16KiB")
    with ExitStack() as stack:
        numbers = stack.enter_context(output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(_progress())
        from .traces import import_file

        with _told(target):
            found = import_file(source, target, names, kinds, page, progress)
        if numbers and as_json:
            _put(numbers, as_json, _json(found.as_dict()))
    if as_json != "-":
        for line in found.words():
            click.echo(line)


@program.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on localhost.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def lab(port: int | None, no_browser: bool) -> None:
    """Open the lab: JupyterLab on the dashboard, with a recorded trace loaded."""
    from .launch import open_lab

    _compile()  # here, where it can be watched, and not in the notebook
    open_lab(port, browser=not no_browser)


def _read(name: str, snapshot: str | None, cold: bool, progress: "Progress") -> "Trace":
    from .traces import Trace

    return Trace.read(_find(name), snapshot=snapshot, cold=cold, progress=progress)


def _find(name: str) -> Path:
    """The bundled trace of this name (no folder, no suffix), else the file of this name."""
    path = Path(name)
    if path.suffix or path.name != name:
        return path
    from .bundled import datasets

    return datasets().get(name, path)


def _inputs(names: Sequence[str], snapshot: str | None) -> list[Path]:
    """Every file that reading these traces may read."""
    from .traces.snapshot import find

    paths = [_find(name) for name in names]
    beside = [find(path) for path in paths]
    return [*paths, *filter(None, beside), *map(Path, filter(None, [snapshot]))]


@contextmanager
def output(name: str, inputs: Sequence[Path] = ()) -> Iterator[IO[str]]:
    """A text file that appears under its name only when it is whole; "-" is standard output.

    Raises PotadError at once if it could not be written, or is one of the inputs.
    """
    if name == "-":
        yield sys.stdout
        return
    _check_target(name, inputs)
    with _told(name):
        draft = Draft(Path(name))
    try:
        yield draft.file
        with _told(name):
            draft.keep()
    finally:
        draft.drop()


def _check_target(name: str, inputs: Sequence[Path]) -> None:
    """Raises PotadError where a file to write is read too, or is a folder."""
    path = Path(name)
    if any(path.resolve() == other.resolve() for other in inputs):
        raise PotadError(f"{name}: is also read; choose another file to write")
    if path.is_dir():
        raise PotadError(f"{name}: is a folder; choose a file to write")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """A failure to write becomes one line that names the file."""
    try:
        yield
    except BrokenPipeError:  # the reader has enough
        raise
    except OSError as error:
        said = error.strerror or str(error)
        raise PotadError(f"{name}: cannot be written ({said}); choose another file") from error


def _put(file: IO[str], name: str, text: str) -> None:
    with _told(name):
        file.write(text)
        file.flush()


@contextmanager
def _progress() -> Iterator["Progress"]:
    """A progress bar on standard error: call it with the share done and of what."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a trace may have any name
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, what: bar.update(task, description=what, completed=share)


def _compile(traces: Sequence[str] = ()) -> None:
    """Compile once per machine; `traces` that are none at all are told before."""
    from . import warm
    from .traces import parquet

    if warm.missing():
        for name in traces:
            parquet.read(_find(name), parquet.TRACE, "trace")
        click.echo("compiling the allocator core (once per machine) ...", err=True)
        with _progress() as tell:
            warm.compile_all(tell)
