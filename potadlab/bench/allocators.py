"""Suite core: allocators on the synthetic load and on one order, growth, filling, threads."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Barrier

import numpy as np

from .. import kinds
from ..core import exchange
from ..core.allocators import ALLOCATORS
from ..core.interface import add
from ..traces import generate
from ..traces.exchange import PAGE_BYTES, space_for
from . import baseline
from .loads import ALONE, WHOLE, Load, batch_pairs, empty, flat, hot_pairs, told
from .measuring import Figure, Figures, Progress, Turn, alternate, processor_ns, ratio

GIB_PAGES = (1 << 30) // PAGE_BYTES
TIB_AND_A_HALF = 3 << 39
SIZES = {"1GiB": 1, "8GiB": 8, "64GiB": 64, "512GiB": 512, "1.5TiB": 1536}
FILLED = (10, 50, 75, 90, 99)  # percent
HUGE_ORDER = 9  # 2 MiB of 4 KiB pages
_OF_OTHERS = [name for name in ALLOCATORS if name != "potad" and not ALLOCATORS[name].needs_record]
_SPECS = {"potad": ALONE, "potad_whole": WHOLE, "null": "null"} | {n: n for n in _OF_OTHERS}


def measure(
    programs: dict[str, Path], file: np.ndarray | None, long: bool, tell: Progress
) -> Figures:
    """The suite's figures; `file`: EXCHANGE[] in place of the synthetic load."""
    records = generate.steady() if file is None else file
    tell(0.0, "synthetic load")
    found = replayed("synthetic", records, pages_for(records), programs)
    for one, other in (("potad", "c_buddy_pcp"), ("potad_whole", "c_buddy_pcp_tails")):
        of, to = (f"synthetic.{label}.ns_per_op" for label in (one, other))
        ratio(found, f"synthetic.{one}.to_{other}", of, to)
    tell(0.4, "order 9")
    found |= _order9(records, programs)
    tell(0.6, "registering 1.5 TiB")
    found |= _registering()
    tell(0.7, "two threads")
    found |= _threads(records)
    if long:
        tell(0.8, "growth")
        found |= _growth() | _filling()
    return found


def pages_for(records: np.ndarray) -> int:
    """Of the space that these records are replayed in: 8 GiB, or what their peak needs."""
    sizes = np.int64(1) << records["order"].astype(np.int64)
    peak = int(np.cumsum(np.where(records["op"] == 0, sizes, -sizes)).max())
    return space_for(peak).granules


def replayed(
    name: str,
    records: np.ndarray,
    pages: int,
    programs: dict[str, Path],
    specs: dict[str, str] = _SPECS,
) -> Figures:
    """NAME.CONTESTANT.ns_per_op of each allocator and C model on the same records, by turns."""
    known = told(records)
    loads = {label: Load(spec, known, pages) for label, spec in specs.items()}
    turns: dict[str, Turn] = {label: load.replay for label, load in loads.items()}
    with ExitStack() as stack:
        models = stack.enter_context(baseline.models(programs, records, pages)) if programs else {}
        refused = dict.fromkeys(models, 0)
        for label, model in models.items():
            turns[label] = _turn(model, refused, label)
        for turn in turns.values():
            turn()  # what is touched first is not timed
        for load in loads.values():
            load.refused[:] = 0
        refused.update(dict.fromkeys(refused, 0))
        timed = alternate(turns)
        refused |= {label: int(load.refused.sum()) for label, load in loads.items()}
    found = {f"{name}.{label}.ns_per_op": Figure.of(ns, "ns") for label, ns in timed.items()}
    for label, count in refused.items():
        if count:  # a fast refusal is no speed
            rounds = len(timed[label])
            found[f"{name}.{label}.refused"] = Figure.counted(count / rounds, "allocations")
    return found


def _turn(model: baseline.Model, refused: dict[str, int], label: str) -> Turn:
    def turn() -> float:
        ns, count = model.replay()
        refused[label] += count
        return ns

    return turn


def _order9(records: np.ndarray, programs: dict[str, Path]) -> Figures:
    """A pair at once (hot), and in batches out of half of 8 GiB, as c/harness.c does both."""
    pages, specs = 8 * GIB_PAGES, {"potad_whole": WHOLE, "null": "null"}
    hot = {label: hot_pairs(spec, pages, HUGE_ORDER) for label, spec in specs.items()}
    batch = {"potad_whole": batch_pairs(WHOLE, pages, HUGE_ORDER)}
    timed = [alternate(hot), alternate(batch)]
    if programs:
        few = records[: 1 << 10]
        with baseline.models(programs, few, pages) as models:
            for label, both in alternate_pairs(models).items():
                for of, ns in zip(timed, both, strict=True):
                    of[label] = ns
    found: Figures = {}
    for unit, of in zip(("pair_ns", "batch_pair_ns"), timed, strict=True):
        found |= {f"order9.{label}.{unit}": Figure.of(ns, "ns") for label, ns in of.items()}
    return found


def alternate_pairs(
    models: dict[str, baseline.Model],
) -> dict[str, tuple[list[float], list[float]]]:
    """(hot, batch) of each C model, by turns."""
    found = {label: (list[float](), list[float]()) for label in models}

    def turn(label: str) -> Turn:
        def pairs() -> float:
            both = models[label].pairs(HUGE_ORDER)
            for of, ns in zip(found[label], both, strict=True):
                of.append(ns)
            return both[0]

        return pairs

    alternate({label: turn(label) for label in models})
    return found


def _registering() -> Figures:
    """1.5 TiB of 4 KiB granules brought into service; what is reserved, not touched, is free."""
    granules = TIB_AND_A_HALF // PAGE_BYTES
    flat(WHOLE, granules)
    us, resident = [], []
    for _ in range(9):
        state, before = empty(WHOLE, granules), _resident_bytes()
        us.append(processor_ns(partial(add, state, 0, granules)) / 1e3)
        resident.append(float(max(_resident_bytes() - before, 0)))
    return {
        "register.1.5TiB.us": Figure.of(us, "us"),
        "register.1.5TiB.resident_bytes": Figure.of(resident, "B"),
    }


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * PAGE_BYTES


def _threads(records: np.ndarray) -> Figures:
    """Two replays in two threads, a core each, against one: kernels hold no lock of Python's.

    The slower thread's time with the other beside it, over the slower core's alone: of the
    processor, and on the clock, where all else that runs on the machine counts too.  `control` does
    sums only: what two threads cost there, the machine costs (cores that are one core's siblings).
    """
    cores = _cores()
    if len(cores) < 2:
        return {}
    known, pages = told(records), pages_for(records)
    replays = [Load(WHOLE, known, pages).replay for _ in range(2)]
    sums = partial(exchange.arithmetic, 10 * len(records))
    work: dict[str, list[Callable[[], object]]] = {
        "two_over_one": [*replays],
        "control": [sums] * 2,
    }
    clock = {name: list[float]() for name in work}
    with _thread_on(cores[-1]) as one, _thread_on(cores[-2]) as other:
        pools = one, other
        turns = {
            name: partial(_two_over_one, each, pools, clock[name]) for name, each in work.items()
        }
        for turn in turns.values():
            turn()
        for times in clock.values():
            times.clear()
        processor = alternate(turns)
    return {
        f"threads.{name}{of}": Figure.of(ratios[name], "ratio")
        for of, ratios in (("", processor), (".clock", clock))
        for name in work
    }


def _two_over_one(
    work: list[Callable[[], object]], pools: tuple[ThreadPoolExecutor, ...], clock: list[float]
) -> float:
    """The ratio of processor time; that of the clock is appended."""
    pairs = list(zip(pools, work, strict=True))
    alone = [pool.submit(_times, each, Barrier(1)).result() for pool, each in pairs]
    both = Barrier(2)
    together = [job.result() for job in [pool.submit(_times, each, both) for pool, each in pairs]]
    processor, elapsed = (
        max(times[i] for times in together) / max(times[i] for times in alone) for i in range(2)
    )
    clock.append(elapsed)
    return processor


def _times(work: Callable[[], object], begin: Barrier) -> tuple[float, float]:
    """Seconds of this thread's processor time, and of the clock, from when all have come."""
    begin.wait()
    clock, processor = time.perf_counter(), time.thread_time()
    work()
    return time.thread_time() - processor, time.perf_counter() - clock


def _thread_on(core: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, initializer=_keep_to, initargs=(core,))


def _keep_to(core: int) -> None:
    os.sched_setaffinity(0, {core})


def _cores() -> list[int]:
    """That this process may use; not only the one that it is kept to while it measures."""
    with ThreadPoolExecutor(1, initializer=_keep_to_all) as pool:
        return pool.submit(lambda: sorted(os.sched_getaffinity(0))).result()


def _keep_to_all() -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # those that there are


# ---- how it grows ---------------------------------------------------------------------------


_GROWN = {"potad_whole": WHOLE, "null": "null"}


def _growth() -> Figures:
    """The same load in ever larger spaces: what grows is the tree's height."""
    records = told(generate.steady(allocations=1 << 18, granules=GIB_PAGES))
    turns = {
        f"grow.{size}.{label}.ns_per_op": Load(spec, records, gib * GIB_PAGES).replay
        for size, gib in SIZES.items()
        for label, spec in _GROWN.items()
    }
    for turn in turns.values():
        turn()
    return {name: Figure.of(ns, "ns") for name, ns in alternate(turns).items()}


def _filling() -> Figures:
    """8 GiB in use to so many percent, in blocks of one page; then pages at random."""
    turns = {
        f"fill.{percent}.{label}.ns_per_op": _filled(spec, percent)
        for percent in FILLED
        for label, spec in _GROWN.items()
    }
    for turn in turns.values():
        turn()
    return {name: Figure.of(ns, "ns") for name, ns in alternate(turns).items()}


def _filled(spec: str, percent: int, seed: int = 3) -> Turn:
    pages, kind, dice = 8 * GIB_PAGES, kinds.KIND["folio"], np.random.default_rng(seed)
    state, pool = flat(spec, pages), np.zeros(pages * percent // 100, np.int64)
    exchange.allocate_all(state, 0, kind, pool)
    dice.shuffle(pool)
    exchange.churn(state, kind, pool, np.zeros(0, np.int64))

    def turn() -> float:
        chosen = dice.integers(0, len(pool), 1 << 17)
        return processor_ns(lambda: exchange.churn(state, kind, pool, chosen)) / (2 * len(chosen))

    return turn
