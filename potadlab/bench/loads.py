"""An allocator at work on exchange records, as the C models are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import kinds
from ..core import exchange, interface
from ..core.layout import NONE
from ..core.mapped import in_huge_pages, mapped
from ..runs import chosen
from .measuring import processor_ns

WHOLE, ALONE = "potad", "potad:records=off"
BLOCKS_AT_A_TIME, PAIRS = 128, 1 << 15  # as in c/harness.c


def told(records: np.ndarray) -> np.ndarray:
    """The records, untold kinds made folios: their blocks get a descriptor as most others do."""
    found = mapped(len(records), exchange.EXCHANGE)
    in_huge_pages((found,))
    found[:] = records
    found["kind"][found["kind"] == 0] = kinds.KIND["folio"]
    return found


class Load:
    """One allocator over a flat space, replaying the same records again and again."""

    def __init__(self, spec: str, records: np.ndarray, granules: int) -> None:
        self.state = flat(spec, granules)
        self.records, self.granules = records, granules
        self.where = mapped(int(records["id"].max(initial=0)) + 1, "i8")
        in_huge_pages((self.where,))
        self.where[:] = NONE
        self.refused = np.zeros(exchange.ORDERS, np.int64)
        exchange.replay(self.state, records[:0], self.where, self.refused)  # compiled outside
        exchange.release_rest(self.state, records[:0], self.where)

    def replay(self) -> float:
        """ns per op of one replay; what lives at its end is released outside the time."""
        ns = processor_ns(
            lambda: exchange.replay(self.state, self.records, self.where, self.refused)
        )
        exchange.release_rest(self.state, self.records, self.where)
        return ns / len(self.records)


def empty(spec: str, granules: int) -> Any:
    """The allocator of `spec` over so many granules, none of them in service."""
    return chosen(spec).new(np.array([(0, granules)]), kinds.facts())


def flat(spec: str, granules: int) -> Any:
    """The allocator of `spec` with `granules` from 0 on in service, in huge pages as the models."""
    state = empty(spec, granules)
    in_huge_pages(state)
    interface.add(state, 0, granules)
    return state


def hot_pairs(spec: str, granules: int, order: int) -> Callable[[], float]:
    """A turn: ns of allocating a block and releasing it at once."""
    state, kind = flat(spec, granules), kinds.KIND["folio"]
    exchange.hot_pairs(state, order, kind, 0)

    def turn() -> float:
        return processor_ns(lambda: exchange.hot_pairs(state, order, kind, PAIRS)) / PAIRS

    return turn


def batch_pairs(spec: str, granules: int, order: int, seed: int = 7) -> Callable[[], float]:
    """A turn: ns of a pair, 128 blocks released and allocated at a time, in random order.

    Half of the space is in blocks of the order, allocated before.
    """
    state, kind, dice = flat(spec, granules), kinds.KIND["folio"], np.random.default_rng(seed)
    pool = np.zeros((granules >> order) // 2, np.int64)
    exchange.allocate_all(state, order, kind, pool)
    assert (pool != NONE).all()

    def turn() -> float:
        ns = 0.0
        for _ in range(PAIRS // BLOCKS_AT_A_TIME):
            dice.shuffle(pool)
            batch = pool[:BLOCKS_AT_A_TIME]
            ns += processor_ns(partial(exchange.batch, state, order, kind, batch))
        return ns / PAIRS

    exchange.batch(state, order, kind, pool[:0])
    return turn
