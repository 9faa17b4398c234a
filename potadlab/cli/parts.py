"""What commands share: arguments, files that appear when they are whole, a progress bar."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import BadSize, PotadError
from ..files import Draft
from ..units import parse_size

if TYPE_CHECKING:
    from ..report import Progress
    from ..traces import Trace


class Size(click.ParamType):
    """A size such as 8GiB, in bytes."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return parse_size(value)
        except BadSize as error:
            self.fail(str(error), param, ctx)


class Numbers(click.ParamType):
    """Whole numbers with commas between, such as 1,2,8, each once, in their order."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(int(part) for part in value.split(",")))
        except ValueError:
            self.fail(f"{value!r}: write whole numbers with commas between, as 1,2,8", param, ctx)


_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Duration(click.ParamType):
    """A time such as 30s, 500ms or 2m, in seconds."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        told = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|min|m|h|)\s*", str(value))
        if told is None:
            self.fail(f"{value!r} is no time: write it as 30s, 500ms or 2m", param, ctx)
        return float(told[1]) * _SECONDS[told[2]]


json_option = click.option(
    "--json",
    "as_json",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the counts for machines; standard output if no FILE is named.",
)


def json_text(found: Any) -> str:
    return json.dumps(found, indent=1) + "\n"


def read(name: str, snapshot: str | None, cold: bool, progress: "Progress") -> "Trace":
    from ..traces import Trace

    return Trace.read(find(name), snapshot=snapshot, cold=cold, progress=progress)


def find(name: str) -> Path:
    """The bundled trace of this name (no folder, no suffix), else the file of this name."""
    path = Path(name)
    if path.suffix or path.name != name:
        return path
    from ..bundled import datasets

    return datasets().get(name, path)


def inputs(names: Sequence[str], snapshot: str | None) -> list[Path]:
    """Every file that reading these traces may read."""
    from ..traces.snapshot import find as find_beside

    paths = [find(name) for name in names]
    beside = [find_beside(path) for path in paths]
    return [*paths, *filter(None, beside), *map(Path, filter(None, [snapshot]))]


@contextmanager
def output(name: str, inputs: Sequence[Path] = ()) -> Iterator[IO[str]]:
    """A text file that appears under its name only when it is whole; "-" is standard output.

    Raises PotadError at once if it could not be written, or is one of the inputs.
    """
    if name == "-":
        yield sys.stdout
        return
    check_target(name, inputs)
    with told(name):
        draft = Draft(Path(name))
    try:
        yield draft.file
        with told(name):
            draft.keep()
    finally:
        draft.drop()


def check_target(name: str, inputs: Sequence[Path]) -> None:
    """Raises PotadError where a file to write is read too, or is a folder."""
    path = Path(name)
    if any(path.resolve() == other.resolve() for other in inputs):
        raise PotadError(f"{name}: is also read; choose another file to write")
    if path.is_dir():
        raise PotadError(f"{name}: is a folder; choose a file to write")


@contextmanager
def told(name: str) -> Iterator[None]:
    """A failure to write becomes one line that names the file."""
    try:
        yield
    except BrokenPipeError:  # the reader has enough
        raise
    except OSError as error:
        folder = Path(name).parent
        if isinstance(error, FileNotFoundError) and not folder.exists():
            raise PotadError(f"{name}: there is no folder {folder}: make it first") from error
        said = error.strerror or str(error)
        raise PotadError(f"{name}: cannot be written ({said}); choose another file") from error


def put(file: IO[str], name: str, text: str) -> None:
    with told(name):
        file.write(text)
        file.flush()


@contextmanager
def progress() -> Iterator["Progress"]:
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


def show(*tables: Any) -> None:
    """Print tables, as wide as the terminal or $COLUMNS says."""
    from rich.console import Console

    from ..report.sheet import WIDTH

    console = Console()
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = WIDTH  # a file or pipe has no edge to wrap at
    for place, table in enumerate(tables):
        if place:
            console.print()
        console.print(table)


def compile_core(traces: Sequence[str] = ()) -> None:
    """Compile once per machine; `traces` that are none at all are told before."""
    from .. import warm
    from ..traces import exchange, parquet

    if warm.missing():
        for path in map(find, traces):
            if path.suffix == exchange.SUFFIX:
                exchange.read(path)
            else:
                parquet.read(path, parquet.TRACE, "trace")
        click.echo("compiling the allocator core (once per machine) ...", err=True)
        with progress() as tell:
            warm.compile_all(tell)
