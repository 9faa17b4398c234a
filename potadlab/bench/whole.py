"""What a user waits for: memory of a long trace, reading, importing, starting."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

from .measuring import Figure, Figures, Progress

_STARTED = "compile_redis"  # the trace that is started on
_EVENTS, _ROWS, _LINES = 12_000_000, 4_000_000, 1_000_000


def measure(tell: Progress) -> Figures:
    """All of it; minutes, most of them compiling for the cold start."""
    tell(0.7, "starting")
    found = _started()
    tell(0.8, f"{_EVENTS:,} events through three allocators")
    found |= _memory()
    tell(0.9, f"importing {_ROWS:,} rows and {_LINES:,} lines")
    return found | _imported()


# ---- starting -------------------------------------------------------------------------------


def _started() -> Figures:
    """Warm: a new process, until the first event of a trace is there; cold: all is compiled."""
    first = f"from potadlab.bench.whole import first_event; first_event({_STARTED!r})"
    _python(first)
    warm = [_seconds(lambda: _python(first)) for _ in range(5)]
    with TemporaryDirectory() as folder:
        compiled = "from potadlab.warm import compile_all; compile_all()"
        cold = _seconds(lambda: _python(compiled, POTADLAB_CACHE=folder))
    return {
        "start.warm_s": Figure.of(warm, "s"),
        "start.cold_s": Figure.counted(cold, "s"),
    }


def first_event(name: str) -> None:
    """Do as `potadlab replay NAME` does, until the first op is done."""
    from ..cli import parts  # its imports count
    from ..runs import Case, begun
    from .loads import WHOLE

    trace = parts.read(name, None, False, lambda share, what: None)
    case = Case(trace.space, trace.ops[:1], trace.start, trace.handles)
    from ..runs import replay_seconds

    assert begun and replay_seconds(WHOLE, case) >= 0


def _python(code: str, **more: str) -> str:
    """What a new Python prints that runs `code`, on all cores."""
    made = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
    )
    return made.stdout


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


# ---- memory ---------------------------------------------------------------------------------


def _memory() -> Figures:
    """Peak memory of a process, less what it had before the trace was there, over OP[]'s size."""
    told = "from potadlab.bench.whole import peak_over_size as f; print(f())"
    return {"memory.12M.peak_over_size": Figure.counted(float(_python(told)), "ratio")}


def peak_over_size(events: int = _EVENTS) -> float:
    """Replay so many events in three allocators, as `potadlab replay` does; peak over the trace."""
    from ..session import Session

    short = synthetic_trace(1 << 12)
    Session(short, ("potad", "buddy", "llfree"))  # compiled before
    before = _resident_max()
    trace = synthetic_trace(events)
    Session(trace, ("potad", "buddy", "llfree"))
    return (_resident_max() - before) / trace.ops.nbytes


def _resident_max() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
