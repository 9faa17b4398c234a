"""What a user waits for: memory of a long trace, reading, importing, starting."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from ..core import exchange as kernels
from ..core.layout import NONE
from ..traces import Trace, exchange, generate, import_file
from ..traces.parquet import TOLD_SOMETIMES, TRACE, TraceWriter
from . import loads
from .measuring import Figure, Figures, Progress

# as `potadlab replay compile_redis` begins, until the first op is done
_FIRST_EVENT = """
from potadlab.cli import parts, replaying
from potadlab.runs import Case, replay_seconds
trace = parts.read("compile_redis", None, False, lambda share, what: None)
replay_seconds("potad", Case(trace.space, trace.ops[:1], trace.start, trace.handles))
"""
_COMPILED = "from potadlab.warm import compile_all; compile_all()"
_EVENTS, _ROWS, _LINES = 12_000_000, 4_000_000, 1_000_000
_THREE = ("potad", "buddy", "llfree")


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
    _python(_FIRST_EVENT)
    warm = [_seconds(lambda: _python(_FIRST_EVENT)) for _ in range(5)]
    with TemporaryDirectory() as folder:
        cold = _seconds(lambda: _python(_COMPILED, POTADLAB_CACHE=folder))
    return {
        "start.warm_s": Figure.of(warm, "s"),
        "start.cold_s": Figure.counted(cold, "s"),
    }


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

    with TemporaryDirectory() as folder:
        path = Path(folder) / "steady.bin"
        exchange.write(generate.steady(1 << 10), path)
        Session(Trace.read(path), _THREE)  # compiled before
        exchange.write(generate.steady(events // 2), path)
        before = _resident_max()
        trace = Trace.read(path)
        Session(trace, _THREE)
    return (_resident_max() - before) / trace.ops.nbytes


def _resident_max() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---- importing ------------------------------------------------------------------------------


def _imported() -> Figures:
    """A Parquet file to OP[], and the text of ftrace to a Parquet file; both of the steady load."""
    with TemporaryDirectory() as folder:
        parquet, text = Path(folder) / "steady.parquet", Path(folder) / "steady.txt"
        rows = _rows(_ROWS)
        with TraceWriter(parquet) as writer:
            writer.write(rows)
            writer.keep({})
        text.write_text(_lines(rows, _LINES), encoding="ascii")
        Trace.read(parquet)
        read = [_seconds(lambda: Trace.read(parquet)) for _ in range(3)]
        out = Path(folder) / "imported.parquet"
        import_file(text, out)
        lines = [_LINES / _seconds(lambda: import_file(text, out)) for _ in range(3)]
    return {
        "import.4M.s": Figure.of(read, "s"),
        "import.text.lines_per_s": Figure(sorted(lines)[1], max(lines), "lines/s"),
    }


def _rows(count: int) -> dict[str, Any]:
    """The columns of a trace file: the steady load where POTAD places it, a microsecond an op."""
    records = loads.told(generate.steady(count // 2))
    load = loads.Load(loads.WHOLE, records, generate.STEADY_GRANULES)
    places = np.zeros(count, np.int64)
    kernels.replay_places(load.state, records, load.where, places)
    assert (places != NONE).all()
    numbers = {
        "t_ns": np.arange(count) * kernels.NS_PER_OP,
        "op": records["op"],
        "pfn": places,
        "order": records["order"],
        "migratetype": np.where(records["op"] == 0, 1, 255),
    }
    none = {name: pa.nulls(count, kind) for name, kind in TOLD_SOMETIMES.items()}
    return none | {
        name: pa.array(numbers.get(name, np.zeros(count)).astype(kind.to_pandas_dtype()))
        for name, kind in TRACE.items()
    }


def _lines(rows: dict[str, Any], count: int) -> str:
    """The first rows as ftrace writes them."""
    columns = (rows[name][:count].to_pylist() for name in ("t_ns", "op", "pfn", "order"))
    flags = "migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP"
    events = ("mm_page_alloc: page=%016x pfn=0x%x order=%d " + flags,
              "mm_page_free: page=%016x pfn=0x%x order=%d")  # fmt: skip
    lines = [
        f"            task-1       [000] ..... {100 + t_ns // 10**9}.{t_ns // 1000 % 10**6:06}: "
        + events[op] % (pfn, pfn, order)
        for t_ns, op, pfn, order in zip(*columns, strict=True)
    ]
    return "# tracer: nop\n#\n" + "\n".join(lines) + "\n"
