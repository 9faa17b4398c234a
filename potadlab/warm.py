"""Compile what the lab uses, once per machine, with something to look at meanwhile."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from . import bundled
from .core._jit import CACHE_DIR, DISABLED
from .core.allocators import USUAL
from .core.raster import USED, rasterise
from .metrics import latency
from .runs import Case, replay_seconds, run_allocator
from .traces.trace import Trace

Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done
_DONE = CACHE_DIR / "complete"
_OPS = 2000  # enough to pass every kernel; what is compiled does not depend on it
_REST = "lookups and the map"


def missing() -> bool:
    """Whether this version has not been compiled on this machine yet."""
    return not DISABLED and not _DONE.exists()


def compile_all(progress: Progress | None = None) -> None:
    """Run the usual way once on a little of a bundled trace, so that its kernels are compiled.

    Those of other allocators are compiled when somebody asks for one.

    Numba compiles one kernel at a time in a process, so each part has a process of its own, as
    many at once as there are processors.
    """
    tell = progress or (lambda share, what: None)
    parts = [*USUAL, _REST]
    tell(0.0, f"compiling: {', '.join(parts)}")
    _read()  # compiled once, for all
    fresh = multiprocessing.get_context("spawn")  # no threads of this process are carried along
    workers = min(len(parts), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=fresh) as pool:
        waiting = {pool.submit(_compile_part, part): part for part in parts}
        for done, finished in enumerate(as_completed(list(waiting)), start=1):
            finished.result()
            left = ", ".join(part for job, part in waiting.items() if not job.done())
            tell(done / len(parts), f"compiling: {left}" if left else "compiled")
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    _DONE.touch()


def _read() -> Trace:
    return Trace.read(bundled.dataset("thp_split"))


def _compile_part(part: str) -> None:
    trace = _read()
    case = Case(trace.space, trace.ops[:_OPS], trace.start, trace.handles)
    if part in USUAL:
        run_allocator(part, case, samples=2)
        return
    replay_seconds("null", case)
    latency.measure(trace.start[:1000], trace.space.granules, lookups_timed=1 << 10)
    categories = np.full(len(trace.start), USED, np.uint8)
    rasterise(trace.start, categories, case.ranges, trace.space.granules, 0, 256, 8, 8)
