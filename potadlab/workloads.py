"""Named synthetic workloads, from a seed: what a machine would ask, as a trace file.

Each is a function that asks and gives back in a `Load`, most of them for ever; the load ends it
after so many ops.  Where blocks lie is what `buddy` (Linux's, as modelled here) makes of the
requests, so that the file has page frame numbers as a recording has; what buddy refuses stands
there as failed.  A workload is open loop: it does not know what was refused.
"""

import inspect
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .core.layout import BLOCK, NONE, OP, Outcome, Verb
from .core.text import LINE, NOT_TOLD, Op
from .errors import BadSize, PotadError, UnknownName
from .kinds import KIND
from .runs import Case, events_of
from .traces import parquet
from .traces.filling import MIGRATETYPES, Filler
from .traces.generate import steady as steady_records
from .traces.importing import gfp
from .traces.purpose import Kinds
from .traces.trace import Progress
from .units import MIB, PAGE_BYTES, Space, format_size

OPS = 400_000
MEMORY_BYTES = 256 * MIB
CPUS = 4
_OPS_MAX = 100_000_000
_GAP_NS = 2_000  # mean time between ops, as in the bundled recordings at work
_PAGES_MAX = 1 << 28


@dataclass(frozen=True)
class Use:
    """What a request is for, as Linux would tell it."""

    stack: str
    gfp: str
    migratetype: int  # Linux's number: 0 unmovable, 1 movable, 2 reclaimable

    @property
    def kind(self) -> int:
        return KIND[Kinds.read().of_stack(self.stack) or "unknown"]


_UNMOVABLE, _MOVABLE, _RECLAIMABLE = 0, 1, 2
USES = {
    "anon": Use("do_anonymous_page", "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP", _MOVABLE),
    "thp": Use("do_huge_pmd_anonymous_page", "GFP_TRANSHUGE|__GFP_ZERO", _MOVABLE),
    "file": Use("page_cache_ra_unbounded", "GFP_HIGHUSER_MOVABLE|__GFP_COMP", _MOVABLE),
    "buffers": Use("shmem_alloc_folio", "GFP_HIGHUSER_MOVABLE|__GFP_COMP", _MOVABLE),
    "page table": Use("pte_alloc_one", "GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP", _UNMOVABLE),
    "inode": Use("allocate_slab;fat_alloc_inode", "GFP_NOFS|__GFP_RECLAIMABLE", _RECLAIMABLE),
    "slab": Use("allocate_slab;kmalloc", "GFP_KERNEL|__GFP_NORETRY|__GFP_COMP", _UNMOVABLE),
    "stack": Use("dup_task_struct", "GFP_KERNEL_ACCOUNT|__GFP_ZERO", _UNMOVABLE),
    "network": Use("skb_page_frag_refill", "GFP_ATOMIC|__GFP_COMP|__GFP_NORETRY", _UNMOVABLE),
}
_NUMBERS = {name: number for number, name in enumerate(USES)}


class _Enough(Exception):
    """The load has as many ops as were wanted."""


class Load:
    """Takes what a workload asks; `random` is its only source of chance."""

    def __init__(self, ops: int, pages: int, seed: int) -> None:
        self.pages, self.free = pages, pages  # of the memory; not in use
        self.random = random.Random(f"potadlab {seed}")
        self.cpu = 0
        self.wanted, self._time_ns, self._blocks = ops, 0, 0
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._size: dict[int, tuple[int, int]] = {}  # order and use of live blocks

    def chance(self, share: float) -> bool:
        """True so often."""
        return self.random.random() < share

    def below(self, end: int) -> int:
        """A number from 0 on, below `end`."""
        return int(self.random.random() * end)

    def around(self, mean: float) -> int:
        """A number of at least 1 with this mean, exponentially distributed."""
        return max(round(self.random.expovariate(1 / mean)), 1)

    def wait(self, ms: float) -> None:
        """So much time passes."""
        self._time_ns += int(ms * 1e6)

    def allocate(self, use: str, order: int = 0) -> int:
        """The handle of a new block."""
        handle = self._blocks
        self._blocks += 1
        self._size[handle] = order, _NUMBERS[use]
        self.free -= 1 << order
        self._add(Verb.ALLOCATE, handle, order, _NUMBERS[use])
        return handle

    def release(self, handle: int) -> None:
        order, use = self._size.pop(handle)
        self.free += 1 << order
        self._add(Verb.RELEASE, handle, order, use)

    def release_all(self, handles: list[int]) -> None:
        for handle in handles:
            self.release(handle)

    def _add(self, verb: int, handle: int, order: int, use: int) -> None:
        if len(self._rows) == self.wanted:
            raise _Enough
        self._time_ns += round(self.random.expovariate(1 / _GAP_NS))
        self._rows.append((self._time_ns, verb, handle, order, use, self.cpu))

    def ops(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(OP[], numbers of uses, handles)."""
        table = np.array(self._rows, np.int64).reshape(-1, 6)
        ops = np.zeros(len(table), OP)
        for name in ("granule", "into", "owner"):
            ops[name] = NONE
        for column, name in enumerate(("time_ns", "verb", "handle", "order")):
            ops[name] = table[:, column]
        ops["granules"] = np.int64(1) << table[:, 3]
        uses = list(USES.values())
        ops["kind"] = np.array([use.kind for use in uses], np.uint8)[table[:, 4]]
        ops["migratetype"] = np.array([use.migratetype for use in uses], np.uint8)[table[:, 4]]
        ops["cpu"] = table[:, 5]
        return ops, table[:, 4], self._blocks


Run = Callable[..., None]


@dataclass(frozen=True)
class Workload:
    """A function of a Load, its name, what it is and its parameters with their usual values."""

    name: str
    run: Run
    words: str
    parameters: dict[str, float]


WORKLOADS: dict[str, Workload] = {}


def workload(run: Run) -> Run:
    """Enter a function in the table: its name, docstring and keyword arguments describe it."""
    named = run.__name__.replace("_", "-")
    arguments = list(inspect.signature(run).parameters.values())[1:]
    parameters = {argument.name: argument.default for argument in arguments}
    WORKLOADS[named] = Workload(named, run, inspect.getdoc(run) or "", parameters)
    return run


# ---- the workloads --------------------------------------------------------------------------


@workload
def fork_storm(load: Load, processes: int = 48, pages: int = 250, cached: float = 0.2) -> None:
    """Short processes, as of a build: a stack, page tables, anon pages; all given back at once.

    processes: alive at a time; pages: anon pages of each, in the mean; cached: share of processes
    that leave a file's pages behind in the page cache.
    """
    alive: deque[list[int]] = deque()
    cache: deque[int] = deque()
    while True:
        load.cpu = load.below(CPUS)
        mine = [load.allocate("stack", 2), *(load.allocate("page table") for _ in range(8))]
        for _ in range(min(load.around(pages), load.free // 2)):
            mine.append(load.allocate("anon"))
        alive.append(mine)
        if load.chance(cached):
            cache.extend(load.allocate("file") for _ in range(load.around(16)))
        while len(alive) > processes or (alive and load.free < load.pages // 16):
            at = load.below(len(alive))
            alive.rotate(-at)
            load.release_all(alive.popleft())
        while cache and load.free < load.pages // 8:
            load.release(cache.popleft())


@workload
def page_cache_churn(
    load: Load, fill: float = 0.92, large: float = 0.3, kernel: float = 0.02, hot: float = 0.15
) -> None:
    """Reading more files than fit: the page cache fills memory and is reclaimed, oldest first.

    fill: share of memory where reclaim begins; large: share of folios of 16 to 64 KiB; kernel:
    share of requests that are slab and stay long; hot: share of folios that are used again.
    """
    cache: deque[int] = deque()
    kept: deque[int] = deque()
    while True:
        load.cpu = load.below(CPUS)
        for _ in range(load.around(32)):  # readahead
            if load.chance(kernel):
                kept.append(load.allocate("slab", load.below(4)))
                if load.chance(0.9) and len(kept) > 50:
                    kept.rotate(load.below(len(kept)))
                    load.release(kept.popleft())
            cache.append(load.allocate("file", 2 + load.below(3) if load.chance(large) else 0))
        again = len(cache)  # all are hot: the oldest goes
        while load.free < (1 - fill) * load.pages and cache:
            folio = cache.popleft()
            if again > 0 and load.chance(hot):
                again -= 1
                cache.append(folio)
            else:
                load.release(folio)


@workload
def thp_mix(load: Load, huge: float = 0.5, fill: float = 0.8, lives_ms: int = 400) -> None:
    """Programs that use huge pages beside programs that do not.

    huge: share of anon memory asked for in blocks of 2 MiB; fill: share of memory in use; lives_ms:
    how long a program lives, in the mean.
    """
    programs: list[list[int]] = []
    while True:
        load.cpu = load.below(CPUS)
        mine, use_huge = [], load.chance(huge)
        wanted = min(load.around(4096), int(load.free * 0.5))
        for _ in range(wanted // 512 if use_huge else wanted):
            mine.append(load.allocate("thp", 9) if use_huge else load.allocate("anon"))
        mine += [load.allocate("page table") for _ in range(max(wanted // 512, 1))]
        programs.append(mine)
        load.wait(load.random.expovariate(1 / lives_ms) / 8)
        while programs and load.free < (1 - fill) * load.pages:
            load.release_all(programs.pop(load.below(len(programs))))


@workload
def network_order3(
    load: Load, in_flight: int = 2000, slow: float = 0.02, small: float = 0.1
) -> None:
    """Sockets that send from fragments of 32 KiB, most of them given back at once.

    in_flight: blocks in use, in the mean; slow: share that a slow receiver holds a long time;
    small: share of single pages among them.
    """
    soon: deque[int] = deque()
    late: deque[int] = deque()
    while True:
        load.cpu = load.below(CPUS)
        for _ in range(load.around(16)):
            block = load.allocate("network", 0 if load.chance(small) else 3)
            (late if load.chance(slow) else soon).append(block)
        while len(soon) > in_flight or load.free < load.pages // 8:
            if not soon:
                break
            soon.rotate(-load.below(min(len(soon), 64)))  # nearly in order
            load.release(soon.popleft())
        while len(late) > in_flight // 2:
            late.rotate(-load.below(len(late)))
            load.release(late.popleft())


@workload
def checkerboard(load: Load, fill: float = 0.9, order: int = 3, rounds: int = 4) -> None:
    """Every other page is given back, then larger blocks are asked for: the worst there is.

    fill: share of memory filled with single pages; order: of the blocks asked for; rounds: how
    often before all is given back.
    """
    while True:
        singles = [load.allocate("anon") for _ in range(int(load.free * fill))]
        for _ in range(rounds):
            load.release_all(singles[::2])
            singles = singles[1::2]
            load.wait(10)
            large = [load.allocate("slab", order) for _ in range(load.free >> order + 1)]
            load.wait(10)
            load.release_all(large)
        load.release_all(singles)


@workload
def slab_burst(
    load: Load, burst: float = 0.4, left: float = 0.04, cache: float = 0.5, wanted: int = 32
) -> None:
    """The argument of 2021: a burst of inodes takes the page cache's memory and leaves few behind.

    burst: share of memory the slabs of inodes grow to; left: share of them that stay, anywhere;
    cache: share of memory the page cache has before; wanted: blocks of 2 MiB asked for after.
    """
    files: deque[int] = deque()
    stayed: deque[int] = deque()
    while True:
        load.cpu = load.below(CPUS)
        while load.free > (1 - cache) * load.pages:
            files.append(load.allocate("file"))
        load.wait(50)
        inodes: list[int] = []
        while len(inodes) * 4 < burst * load.pages:  # slabs of four pages, as fat_inode_cache
            while load.free < load.pages // 16 and files:
                load.release(files.popleft())
            inodes.append(load.allocate("inode", 2))
        load.wait(50)
        for slab in inodes:
            if load.chance(left):
                stayed.append(slab)
            else:
                load.release(slab)
        huge = [load.allocate("thp", 9) for _ in range(min(wanted, load.free >> 10))]
        load.wait(50)
        load.release_all(huge)
        while len(stayed) * 4 > load.pages // 10:
            load.release(stayed.popleft())


@workload
def database(
    load: Load, buffers: float = 0.4, connections: int = 100, sort_pages: int = 2000
) -> None:
    """A database: shared buffers for good, connections, sorts, and a log through the page cache.

    buffers: share of memory that is shared buffers; connections: at a time; sort_pages: of the
    memory of a sort, in the mean.
    """
    for _ in range(int(buffers * load.pages) >> 9):
        load.allocate("buffers", 9)
    alive: deque[list[int]] = deque()
    log: deque[int] = deque()
    while True:
        load.cpu = load.below(CPUS)
        if load.chance(0.05):
            mine = [load.allocate("stack", 2), load.allocate("slab", 3)]
            mine += [load.allocate("page table") for _ in range(20)]
            alive.append(mine + [load.allocate("anon") for _ in range(load.around(200))])
        while len(alive) > connections or (alive and load.free < load.pages // 16):
            alive.rotate(-load.below(len(alive)))
            load.release_all(alive.popleft())
        if load.chance(0.3):
            pages = min(load.around(sort_pages), load.free // 4)
            load.release_all([load.allocate("anon") for _ in range(pages)])
        log.extend(load.allocate("file", 2) for _ in range(load.around(8)))
        load.release_all([load.allocate("network", 0) for _ in range(load.around(6))])
        while load.free < load.pages // 8 and log:
            load.release(log.popleft())


@workload
def steady(load: Load) -> None:
    """The load of the published comparison: it fills 75 % of memory, goes on at 68 to 80 %, drains.

    Orders 0 to 10, most of them single pages; `potadlab bench` measures with it.
    """
    records = steady_records(load.wanted // 2 + 1, load.pages, 1 + load.below(1 << 31))
    handles: dict[int, int] = {}
    orders = ("anon", "anon", "slab", "network", *5 * ("file",), "thp", "buffers")
    for op, order, block in records[["op", "order", "id"]].tolist():
        if op == 0:
            handles[block] = load.allocate(orders[order], order)
        else:
            load.release(handles.pop(block))


# ---- to a file ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Generated:
    """What was made."""

    path: Path
    workload: str
    seed: int
    parameters: dict[str, float]
    counts: dict[str, int]
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """For `generate --json`."""
        return {**vars(self), "path": str(self.path)}

    def words(self) -> list[str]:
        """What people should know, a line each."""
        counts = self.counts
        chosen = "".join(f", {name}={value:g}" for name, value in self.parameters.items())
        return [
            f"{self.path}: {counts['allocates']:,} allocs and {counts['releases']:,} frees "
            f"in {self.duration_s:.3f} s; {self.workload}, seed {self.seed}{chosen}",
            f"{counts['failed']:,} allocs found no place in buddy, and stand as failed",
        ]


def generate(
    name: str,
    target: str | Path,
    seed: int = 1,
    ops: int = OPS,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
    **parameters: float,
) -> Generated:
    """Make a workload of this name a trace file: the same seed and parameters, the same file.

    Raises UnknownName (of a workload or parameter), BadSize, PotadError; OSError where the file
    cannot be written.
    """
    chosen = _chosen(name, parameters)
    if not 1 <= ops <= _OPS_MAX:
        raise BadSize(f"{ops} ops: take 1 to {_OPS_MAX:,}")
    pages = memory_bytes // PAGE_BYTES
    if pages % 1024 or not 16 * MIB <= memory_bytes <= _PAGES_MAX * PAGE_BYTES:
        raise BadSize(f"memory of {format_size(memory_bytes)}: take 16 MiB to 1 TiB, whole 4 MiB")
    tell = progress or (lambda share, what: None)
    tell(0.0, f"asking as {name} does")
    load = Load(ops, pages, seed)
    with suppress(_Enough):
        WORKLOADS[name].run(load, **chosen)
    asked, uses, handles = load.ops()
    tell(0.5, "finding places in buddy")
    space = Space.ram(memory_bytes, granule=PAGE_BYTES)
    case = Case(space, asked, np.zeros(0, BLOCK), handles)
    rows, flags = _rows(asked, uses, events_of("buddy", case), handles)
    tell(0.8, "writing")
    target = Path(target)
    with parquet.TraceWriter(target) as writer:
        filler = Filler(writer, Kinds.read())
        filler.stacks.take([use.stack for use in USES.values()])
        filler.write(rows, flags)
        counts = filler.counts()
        zones = {"Normal": [0, pages]}
        told = {"workload": name, "seed": seed, "parameters": chosen, "zones": zones}
        writer.keep(filler.metadata() | _metadata(target) | told)
    tell(1.0, "made")
    return Generated(target, name, seed, chosen, counts, filler.duration_s)


def _chosen(name: str, given: dict[str, float]) -> dict[str, float]:
    """All parameters of a workload.  Raises UnknownName, BadSize."""
    if name not in WORKLOADS:
        raise UnknownName(f"no workload {name!r} is there: choose among {', '.join(WORKLOADS)}")
    usual = WORKLOADS[name].parameters
    for key, value in given.items():
        if key not in usual:
            raise UnknownName(f"{name} has no {key!r}: choose among {', '.join(usual)}")
        whole = isinstance(usual[key], int)
        least, most = (1, 1_000_000) if whole else (0, 1)
        if not least <= value <= most or (whole and value != int(value)):
            kind = "a whole number of 1 to 1,000,000" if whole else "a share of 0 to 1"
            raise BadSize(f"{name}: {key}={value:g}: take {kind}")
    kinds = {key: type(usual[key]) for key in usual}
    return {key: kinds[key](given.get(key, value)) for key, value in usual.items()}


def _rows(
    ops: np.ndarray, uses: np.ndarray, events: np.ndarray, handles: int
) -> tuple[np.ndarray, np.ndarray]:
    """(LINE[], gfp flags) of what was asked, at the places it got."""
    allocates = ops["verb"] == Verb.ALLOCATE
    served = events["outcome"] == Outcome.DONE
    place = np.full(handles, NONE, np.int64)
    place[ops["handle"][allocates]] = np.where(served, events["granule"], NONE)[allocates]
    rows = np.zeros(len(ops), LINE)
    rows["time_ns"], rows["pfn"] = ops["time_ns"], place[ops["handle"]]
    rows["op"] = np.where(allocates, Op.ALLOC, Op.FREE)
    rows["order"], rows["cpu"] = ops["order"], ops["cpu"]
    rows["migratetype"] = np.where(allocates, ops["migratetype"], NOT_TOLD)
    rows["stack"] = np.where(allocates, uses, NONE)
    rows["area"] = rows["task"] = NONE
    numbers = np.array([gfp.flags_of(use.gfp)[0] for use in USES.values()], np.uint32)
    flags = np.where(allocates, numbers[uses], 0).astype(np.uint32)
    kept = allocates | (rows["pfn"] != NONE)  # nobody gives back what he did not get
    if not kept.any():
        raise PotadError("nothing was asked: take more ops")
    return rows[kept], flags[kept]


def _metadata(target: Path) -> dict[str, Any]:
    return {
        "name": target.name.removesuffix(".parquet"),
        "recorded": "generated; places are those of buddy",
        "clock": "made up",
        "page_shift": PAGE_BYTES.bit_length() - 1,
        "cpus": CPUS,
        "gfp_bits": {str(bit): name for bit, name in gfp.BITS.items()},
        "migratetype": MIGRATETYPES,
        "dropped_events": 0,
    }
