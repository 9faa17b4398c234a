"""Swap devices of one size, aged alike: how many folios still find a block of their own order.

Linux counts the same as swpout and swpout_fallback (hugepages-*kB/stats): a folio for which there
is no block is split and goes out page by page.  Before Linux 6.12 nearly all did so after a few
hours of use, though many slots were free (Chris Li, "mTHP swap allocator base on swap cluster
order", 14 June 2024).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from . import runs
from .core import allocators
from .core.ageing import BLOCKS, GRANULES, OUT, SERVED, TRIED, age
from .core.allocators import clusters
from .core.interface import add
from .errors import BadSize, UnknownName
from .kinds import KIND, facts
from .units import Space

CLUSTERS = allocators.Allocator(
    clusters.new, clusters.bytes_of, "clusters are Linux 6.12's", order_max=clusters.ORDER_MAX
)
ALLOCATORS = ("potad", "clusters")
MIX = {0: 1.0, 2: 1.0, 4: 1.0, 9: 1.0}  # pages of 4 KiB, folios of 16 KiB, 64 KiB and 2 MiB
ORDER_MAX = clusters.ORDER_MAX
_NUMBER_MAX = 1 << 62

_Maker = tuple[Callable[..., Any], Callable[[Any, int, int], dict[str, int]]]  # new, bytes_of
Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done


@dataclass(frozen=True)
class Aged:
    """What came of the load in one allocator; sample 0 is the filling of an empty device."""

    allocator: str
    tried: np.ndarray  # i8[sample, order]  folios (swpout and swpout_fallback)
    served: np.ndarray  # i8[sample, order]  in a block of their own (swpout)
    held: float  # share of the slots that were in use at the end
    bytes_per_slot: float  # of metadata at the end, as of Linux 6.12 for `clusters`

    @property
    def success(self) -> np.ndarray:
        """f8[sample, order]: the share of folios served, NaN where none was tried."""
        shares = np.full(self.tried.shape, np.nan)
        return np.divide(self.served, self.tried, out=shares, where=self.tried > 0)


@dataclass(frozen=True)
class Ageing:
    """The same load in several allocators."""

    space: Space
    fill: float  # share of the slots that are in use, once filled
    orders: tuple[int, ...]  # of the mix, ascending
    turnovers: np.ndarray  # f8[sample]  age at its end; 1: as much as fits went out
    runs: tuple[Aged, ...]


def age_swap(
    space: Space,
    fill: float = 0.9,
    *,
    mix: Mapping[int, float] = MIX,
    turnovers: int = 20,
    cpus: int = 4,
    names: Sequence[str] = ALLOCATORS,
    seed: int = 1,
    progress: Progress | None = None,
) -> Ageing:
    """Fill the slots of `space` to the share `fill`; free at random and refill, `turnovers` times.

    mix: order of folio -> share of the pages that go out in such folios.  All allocators are asked
    for the same folios, by `cpus` CPUs in turn; each block that is out is as likely to be freed as
    any.  Raises BadSize if such a load cannot be, UnknownName for an allocator that is not here.
    """
    limit = _limit(space, fill, mix)
    if not (_whole(turnovers, 0) and _whole(cpus, 1) and _whole(seed, 0)):
        raise BadSize(
            f"turnovers {turnovers}, {cpus} CPUs, seed {seed}: take whole numbers of at least 0, "
            "1 and 0"
        )
    names = (names,) if isinstance(names, str) else names
    if not names:
        raise UnknownName(f"no allocator chosen: choose among {', '.join(ALLOCATORS)}")
    makers = {name: _maker(name) for name in names}
    tell = progress or (lambda share, what: None)
    made = []
    for done, (name, maker) in enumerate(makers.items()):
        tell(done / len(makers), f"ageing in {name}")
        load = _Load(space, limit, dict(mix), turnovers, cpus, np.random.default_rng(seed))
        made.append(load.aged(name, maker))
    tell(1.0, "aged")
    ages = np.arange(turnovers + 1, dtype=float)
    return Ageing(space, fill, tuple(sorted(mix)), ages, tuple(made))


def _limit(space: Space, fill: float, mix: Mapping[int, float]) -> int:
    """Slots that may be in use; raises BadSize."""
    if not isinstance(space, Space):
        raise BadSize(f"{space!r} is no space: give one, as Space.ram('1GiB')")
    if not isinstance(fill, Real) or not 0 < fill <= 1:
        raise BadSize(f"fill {fill}: take a share of the slots above 0, at most 1")
    orders = list(mix) if isinstance(mix, Mapping) else []
    if not orders or not all(_whole(order, 0) and order <= ORDER_MAX for order in orders):
        raise BadSize(f"mix {mix}: take orders from 0 to {ORDER_MAX}, of at least one folio")
    shares = list(mix.values())
    if not all(isinstance(share, Real) and 0 <= share < np.inf for share in shares) or not sum(
        shares
    ):
        raise BadSize(f"mix {mix}: take shares of at least 0 that are not all 0")
    limit = int(fill * space.bytes // space.granule_bytes)
    if limit < 1 << max(mix):
        need = 1 << max(mix)
        raise BadSize(f"fill {fill} of {space.name} is {limit} slots: one folio takes {need}")
    return limit


def _whole(number: object, least: int) -> bool:
    return isinstance(number, Integral) and number >= least  # type: ignore[operator]


def _maker(spec: str) -> _Maker:
    """Raises UnknownName."""
    if spec == "clusters":
        return CLUSTERS.new, CLUSTERS.bytes_of
    chosen = runs.chosen(spec)
    if chosen.allocator.needs_record:
        raise UnknownName(f"allocator {spec!r} has its own record only: take potad or clusters")
    return chosen.new, chosen.allocator.bytes_of


@dataclass(frozen=True)
class _Load:
    """What all allocators are given."""

    space: Space
    limit: int  # slots that may be in use
    mix: dict[int, float]
    turnovers: int
    cpus: int
    random: np.random.Generator

    def aged(self, name: str, maker: _Maker) -> Aged:
        """What comes of it in a new allocator."""
        new, bytes_of = maker
        state, limit = new(self._zones(), facts()), self.limit
        for start, end in self.space.in_service:
            add(state, start, end)
        out, held = np.zeros(limit, OUT), np.zeros(2, np.int64)
        counts = np.zeros((self.turnovers + 1, ORDER_MAX + 1, 2), np.int64)
        for sample in counts:
            orders = _folios(self.mix, limit, self.random)
            # it frees as many pages as it brings, but for the folios at its ends
            numbers = self.random.integers(_NUMBER_MAX, size=limit + (4 << ORDER_MAX))
            age(state, out, held, orders, numbers, limit, KIND["swap"], self.cpus, sample)
        chosen, slots = sorted(self.mix), self.space.bytes // self.space.granule_bytes
        return Aged(
            name,
            counts[:, chosen, TRIED],
            counts[:, chosen, SERVED],
            float(held[GRANULES]) / slots,
            sum(bytes_of(state, int(held[BLOCKS]), slots).values()) / slots,
        )

    def _zones(self) -> np.ndarray:
        return np.array([(zone.start, zone.end) for zone in self.space.zones], np.int64)


def _folios(mix: dict[int, float], pages: int, random: np.random.Generator) -> np.ndarray:
    """i8[]: orders of the folios of one turnover, at random, of at least so many pages in all."""
    orders = np.array(sorted(mix), np.int64)
    chances = np.array([mix[order] / (1 << order) for order in orders])
    chances /= chances.sum()
    drawn = random.choice(orders, size=pages, p=chances)  # each has a page at least
    enough = int(np.searchsorted(np.cumsum(1 << drawn), pages)) + 1
    return drawn[:enough]
