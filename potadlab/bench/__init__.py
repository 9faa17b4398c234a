"""`potadlab bench`: every figure that README tells, measured again.

Suites: core (allocators), lookup, replay (bundled traces), views (maps).  What takes minutes is
measured in suites that are asked for by name.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import PotadError
from ..report.figures import machine
from ..traces import Trace, exchange
from . import allocators, baseline, lookups, maps, traces
from .measuring import Figure, Figures, Progress, pinned
from .table import table

__all__ = ["SUITES", "Bench", "Figure", "run"]

SUITES = ("core", "lookup", "replay", "views")
_VERSIONS = ("numba", "llvmlite", "numpy", "pyarrow")


@dataclass(frozen=True)
class Bench:
    """What was measured in one run."""

    figures: Figures
    core: int  # on which it ran
    c: str  # the C compiler of the models, or why there are none
    command: str  # to repeat it

    def as_dict(self) -> dict[str, Any]:
        """The object of `potadlab bench --json`."""
        return {
            "machine": machine(),
            "versions": versions(),
            "command": self.command,
            "c": self.c,
            "figures": {name: figure.as_dict() for name, figure in sorted(self.figures.items())},
        }

    def table(self) -> Any:
        """For a terminal."""
        return table(self.figures, f"core {self.core}; C: {self.c}; again: {self.command}")

    def html(self) -> str:
        """A page of `potadlab bench --html`."""
        from .page import html_page

        return html_page(self)


def versions() -> dict[str, str]:
    from .. import __version__

    return {"potadlab": __version__} | {name: version(name) for name in _VERSIONS}


def run(
    suites: Sequence[str] = (),
    trace: str | Path | None = None,
    c: bool = False,
    command: str = "potadlab bench",
    progress: Progress | None = None,
) -> Bench:
    """Measure the suites (none named: all, but for what takes minutes) on one core.

    trace: a trace or exchange file, in place of the synthetic load and of the bundled traces.
    c: the C models too; without a compiler they are left out, and `Bench.c` says so.  Raises
    PotadError where they do not build.
    """
    tell = progress or (lambda share, what: None)
    path = None if trace is None else Path(trace)
    wanted = list(suites) or list(SUITES)
    found: Figures = {}
    with ExitStack() as stack:
        programs, told = _c_models(stack) if c else ({}, "not asked for")
        core = stack.enter_context(pinned())
        for done, suite in enumerate(wanted):
            part = _Part(tell, done, len(wanted), suite)
            found |= _suite(suite, path, programs, bool(suites), part)
    return Bench(found, core, told, command)


@dataclass(frozen=True)
class _Part:
    """Progress within one suite of several."""

    tell: Progress
    done: int
    suites: int
    suite: str

    def __call__(self, share: float, what: str) -> None:
        self.tell((self.done + share) / self.suites, f"{self.suite}: {what}")


def _c_models(stack: ExitStack) -> tuple[dict[str, Path], str]:
    compiler = baseline.compiler()
    if compiler is None:
        return {}, "no C compiler is here"
    return stack.enter_context(baseline.built()), Path(compiler).name


def _suite(
    suite: str, path: Path | None, programs: dict[str, Path], long: bool, tell: Progress
) -> Figures:
    if suite == "core":
        return allocators.measure(programs, None if path is None else _records(path), long, tell)
    if suite == "lookup":
        return lookups.measure(tell)
    if suite == "replay":
        return traces.measure(programs, path, long, tell)
    if suite == "views":
        return maps.measure(tell)
    raise PotadError(f"suite {suite!r}: choose among {', '.join(SUITES)}")


def _records(path: Path) -> Any:
    if path.suffix == exchange.SUFFIX:
        return exchange.read(path)
    trace = Trace.read(path)
    return exchange.exported(trace.ops, trace.handles).records
