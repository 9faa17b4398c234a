"""Memory aged alike in several allocators: what huge pages are left after so much uptime, and at
what cost.

The objection of 2021 to an allocator without grouping (grouping.py) is about uptime, so no trace
of some seconds can answer it: a load that reacts is needed, over many turnovers of memory.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isqrt
from os import cpu_count

import numpy as np

from . import runs
from .core import ageing_ram as core
from .core.interface import add
from .errors import BadSize, UnknownName
from .kinds import KIND, facts
from .units import KIB, MIB, Space

ALLOCATORS = (
    "potad",
    "potad:placement=tightest",
    "potad:groups=migratetype",
    "potad:groups=kind",
    "potad:groups=lifetime",
    "buddy",
    "buddy:migratetypes=off",
    "llfree",
    "llfree:groups=migratetype",
)
_GOT = {"success": ("at_once", "compacted"), "at_once": ("at_once",)}  # counts of what was got
LAST = 5  # turnovers at the end, over which is summed up
HUGE_BYTES = 2 * MIB
_KINDS = ("file", "anon", "anon", "ptdesc", "slab", "slab")  # of the sites of core/ageing_ram.py
_MIGRATETYPES = (1, 1, 1, 0, 0, 2)  # Linux's: unmovable, movable, reclaimable
_FILE_ORDERS = (0, 0, 0, 0, 0, 2, 2, 4)
_SLAB_ORDERS = ((0, 0, 0, 0, 0, 1, 1, 2), (0, 0, 1, 1, 2, 2, 3, 3))
_POLICIES = {
    "none": core.BY_NONE,
    "migratetype": core.BY_MIGRATETYPE,
    "linux": core.BY_MIGRATETYPE,
    "kind": core.BY_KIND,
    "lifetime": core.BY_LIFETIME,
}

Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done


@dataclass(frozen=True)
class RamLoad:
    """What is asked of memory; shares of the pages asked for add up to 1."""

    read: float = 0.5  # into the page cache
    huge: float = 0.3  # by processes, a huge page at a time
    small: float = 0.1  # by processes, single pages
    kernel: float = 0.1  # kernel objects, in bursts
    processes: int = 8
    anonymous: float = 0.3  # share of memory that processes hold
    unmovable: float = 0.1  # share of memory held by kernel objects that stay
    kept_one_in: int = 8  # of the objects of a burst: stays
    spared_one_in: int = 4  # of the page cache to be evicted: is spared, and newest again
    read_max: int = 32  # pages of a read, at most
    small_max: int = 128  # pages of a process that asks for single ones, at most
    burst: int = 32  # objects at a time
    cpus: int = 4  # in turn
    compaction: bool = True  # where a huge page is refused, a region is emptied


@dataclass(frozen=True)
class Aged:
    """What came of the load in one allocator; sample 0 is the beginning, then one a turnover."""

    allocator: str
    samples: np.ndarray  # SAMPLE[seed, sample], counts since the beginning

    def _more(self, name: str) -> np.ndarray:
        return np.diff(self.samples[name], axis=1, prepend=0)

    @property
    def success(self) -> np.ndarray:
        """f8[seed, sample]: share of huge pages asked for that were got, NaN where none was."""
        return _share(self._more("at_once") + self._more("compacted"), self._more("tried"))

    @property
    def at_once(self) -> np.ndarray:
        """f8[seed, sample]: share that was got without moving anything."""
        return _share(self._more("at_once"), self._more("tried"))

    @property
    def unusable(self) -> np.ndarray:
        """f8[seed, sample]: unusable free space index for a huge page, 0 .. 1."""
        return np.asarray(self.samples["unusable"] / 1000)

    @property
    def spoilt(self) -> np.ndarray:
        """f8[seed, sample]: regions of 2 MiB with unmovable memory beside other."""
        return np.asarray(self.samples["spoilt"], float)

    @property
    def migrated(self) -> np.ndarray:
        """f8[seed, sample]: granules moved since the sample before."""
        return np.asarray(self._more("migrated"), float)

    @property
    def reclaimed(self) -> np.ndarray:
        """f8[seed, sample]: granules of page cache evicted since the sample before."""
        return np.asarray(self._more("reclaimed"), float)

    def last(self, name: str) -> np.ndarray:
        """f8[seed]: how much a count grew in each of the last turnovers, mean."""
        first = max(self.samples.shape[1] - 1 - LAST, 0)
        counts = self.samples[name]
        return np.asarray((counts[:, -1] - counts[:, first]) / max(counts.shape[1] - 1 - first, 1))

    def last_success(self, *names: str) -> np.ndarray:
        """f8[seed]: share of huge pages got over the last turnovers; names: of counts."""
        return _share(np.sum([self.last(name) for name in names], axis=0), self.last("tried"))

    def lately(self, figure: str) -> np.ndarray:
        """f8[seed]: one of the figures above, over the last turnovers."""
        if figure in _GOT:
            return self.last_success(*_GOT[figure])
        if figure in ("migrated", "reclaimed"):
            return self.last(figure)
        return np.asarray(getattr(self, figure)[:, -LAST:].mean(axis=1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=shares, where=np.asarray(whole) > 0)


@dataclass(frozen=True)
class Ageing:
    """The same load in several allocators, once for each seed."""

    space: Space
    load: RamLoad
    seeds: tuple[int, ...]
    turnovers: np.ndarray  # f8[sample]  age: 1, as many pages as memory has were asked for
    watermarks: tuple[int, int]  # low, high; granules
    runs: tuple[Aged, ...]


def age_ram(
    space: Space,
    specs: Sequence[str] = ALLOCATORS,
    load: RamLoad | None = None,
    *,
    turnovers: int = 20,
    seeds: int | Sequence[int] = 10,
    progress: Progress | None = None,
) -> Ageing:
    """Age `space`, all of it free at first, in each allocator of `specs`, once for each seed.

    progress is told before each seed's run is waited for; what it raises ends the work there.
    Raises BadSize for memory or shares that cannot be, UnknownName for an allocator that is not
    there or has its own record only.
    """
    load = load or RamLoad()
    chosen = tuple(range(1, seeds + 1)) if isinstance(seeds, int) else tuple(seeds)
    _check(space, load, turnovers, chosen)
    low, high = watermarks(space.granules, space.granule_bytes)
    settings = _settings(space, load, low, high)
    for spec in specs:
        check(spec)
    tell = progress or (lambda share, what: None)
    jobs = [(spec, seed) for spec in dict.fromkeys(specs) for seed in chosen]
    made: dict[str, list[np.ndarray]] = {spec: [] for spec in specs}
    with ThreadPoolExecutor(cpu_count()) as pool:  # kernels hold no lock of Python's
        waiting = [
            pool.submit(_aged, space, load, settings | {"seed": seed}, spec, turnovers)
            for spec, seed in jobs
        ]
        try:
            for done, ((spec, seed), job) in enumerate(zip(jobs, waiting, strict=True)):
                tell(done / len(jobs), f"ageing in {spec}, seed {seed}")
                made[spec].append(job.result())
        except Exception:  # nobody waits for the others
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    tell(1.0, "aged")
    ages = np.arange(turnovers + 1, dtype=float)
    found = tuple(Aged(spec, np.array(samples)) for spec, samples in made.items())
    return Ageing(space, load, chosen, ages, (low, high), found)


def check(spec: str) -> None:
    """UnknownName unless a load can ask this allocator."""
    if runs.chosen(spec).allocator.needs_record:
        raise UnknownName(f"allocator {spec!r} has its own record only: a load cannot ask it")


def watermarks(granules: int, granule_bytes: int) -> tuple[int, int]:
    """Linux's low and high watermark of one zone of so many pages, in pages.

    min_free_kbytes is the root of 16 times the KiB of memory, 128 to 262144 (mm/page_alloc.c), or
    11 pageblocks, at most 5 % of memory, where huge pages are on (set_recommended_min_free_kbytes
    of mm/khugepaged.c); the steps above are a quarter of it, or 0.1 % of memory.
    """
    kib = granules * granule_bytes // KIB
    least = min(max(isqrt(16 * kib), 128), 262144) * KIB // granule_bytes
    least = max(least, min(11 * HUGE_BYTES // granule_bytes, granules // 20))
    step = max(least // 4, granules * 10 // 10000)
    return least + step, least + 2 * step


def _check(space: Space, load: RamLoad, turnovers: int, seeds: Sequence[int]) -> None:
    if space.in_service != ((0, space.granules),) or len(space.zones) != 1:
        raise BadSize(f"{space.name}: take memory in one piece from 0, as Space.ram('1GiB')")
    if HUGE_BYTES % space.granule_bytes or space.granule_bytes == HUGE_BYTES:
        raise BadSize(f"granule of {space.granule_bytes} B: take less than a huge page of 2 MiB")
    if space.bytes < 32 * HUGE_BYTES:
        raise BadSize(f"{space.name}: take at least 64 MiB, for some 2 MiB regions")
    if turnovers < 1 or not seeds:
        raise BadSize(f"{turnovers} turnovers, {len(seeds)} seeds: take at least 1 of each")
    shares = (load.read, load.huge, load.small, load.kernel)
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise BadSize(f"shares {shares} of reads, huge, small, kernel pages: they add up to 1")
    if min(load.processes, load.cpus, load.kept_one_in, load.read_max, load.small_max) < 1:
        raise BadSize(f"{load}: take at least 1 process, CPU, page, object")
    if load.spared_one_in < 2 or load.burst < 1:
        raise BadSize(f"{load}: spare one in 2 at most; take bursts of at least 1")
    if min(load.anonymous, load.unmovable) < 0:
        raise BadSize("anonymous and unmovable memory: take shares of at least 0")
    if load.anonymous + load.unmovable > 0.8:
        raise BadSize(
            f"{load.anonymous:.0%} of anonymous and {load.unmovable:.0%} of unmovable memory: "
            "take at most 80% of both, page cache must remain to be reclaimed"
        )


def _settings(space: Space, load: RamLoad, low: int, high: int) -> dict[str, int]:
    granules, huge = space.granules, HUGE_BYTES // space.granule_bytes
    objects = float(np.mean([1 << order for orders in _SLAB_ORDERS for order in orders]))
    pages = np.array([(load.read_max + 1) / 2, huge + 1, load.small_max / 2, load.burst * objects])
    chances = np.array([load.read, load.huge, load.small, load.kernel]) / pages
    upto = np.round(65536 * np.cumsum(chances) / chances.sum()).astype(int)
    return {
        "granules": granules,
        "huge_order": huge.bit_length() - 1,
        "low": low,
        "high": high,
        "cpus": load.cpus,
        "read": int(upto[0]),
        "huge": int(upto[1]),
        "small": int(upto[2]),
        "read_max": load.read_max,
        "small_max": load.small_max,
        "burst": load.burst,
        # a process grows evenly to a size of at most this: it holds a third of that on average
        "process_max": max(int(3 * load.anonymous * granules / load.processes), 1),
        "fresh_max": granules // 64,
        "kept_max": int(load.unmovable * granules),
        "kept_one_in": load.kept_one_in,
        "spared_one_in": load.spared_one_in,
        "compacting": int(load.compaction),
    }


def _aged(
    space: Space, load: RamLoad, settings: dict[str, int], spec: str, turnovers: int
) -> np.ndarray:
    """SAMPLE[turnovers + 1] of one allocator and seed."""
    chosen = runs.chosen(spec)
    state = chosen.new(np.array([(0, space.granules)], np.int64), facts())
    add(state, np.int64(0), np.int64(space.granules))
    policy = _POLICIES[chosen.grouping]
    kinds = [KIND[name] for name in _KINDS]
    orders = (_FILE_ORDERS, _SLAB_ORDERS)
    asked = settings | {"policy": policy}
    asking = core.new(asked, load.processes, kinds, _MIGRATETYPES, *orders)
    samples, free_blocks = np.zeros(turnovers + 1, core.SAMPLE), np.zeros(64, np.int64)
    for turnover in range(turnovers + 1):
        asking.now["until"] = turnover * space.granules
        core.age(state, asking)
        core.measure(asking, samples[turnover], free_blocks)
    return samples
