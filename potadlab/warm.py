"""Compile what the lab uses, once per machine, with something to look at meanwhile."""

from collections.abc import Callable

import numpy as np

from . import bundled
from .core._jit import CACHE_DIR
from .core.allocators import ALLOCATORS
from .core.raster import USED, rasterise
from .metrics import latency
from .runs import Case, replay_seconds, run_allocator
from .traces.trace import Trace

Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done
_DONE = CACHE_DIR / "complete"
_OPS = 2000  # enough to pass every kernel; what is compiled does not depend on it


def missing() -> bool:
    """Whether this version has not been compiled on this machine yet."""
    return not _DONE.exists()


def compile_all(progress: Progress | None = None) -> None:
    """Run the whole way once on a little of a bundled trace, so that every kernel is compiled."""
    tell = progress or (lambda share, what: None)
    steps = len(ALLOCATORS) + 3
    tell(0.0, "compiling: reading traces")
    trace = Trace.read(bundled.dataset("thp_split"))
    case = Case(trace.space, trace.ops[:_OPS], trace.start, trace.handles)
    for done, name in enumerate(ALLOCATORS):
        tell((done + 1) / steps, f"compiling: {name}")
        run_allocator(name, case, samples=2)
    tell(1 - 2 / steps, "compiling: lookups")
    replay_seconds("null", case)
    latency.measure(trace.start[:1000], trace.space.granules, lookups_timed=1 << 10)
    tell(1 - 1 / steps, "compiling: the map")
    categories = np.full(len(trace.start), USED, np.uint8)
    rasterise(trace.start, categories, case.ranges, trace.space.granules, 0, 256, 8, 8)
    _DONE.touch()
    tell(1.0, "compiled")
