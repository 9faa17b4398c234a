"""How everything is measured: on one core, by turns, in shuffled order, processor time, medians.

Contestants take turns within a run, so that all meet the same noise; only ratios within a run tell.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

ROUNDS, SEED = 9, 1
Turn = Callable[[], float]  # one round of a contestant: what was measured
Progress = Callable[[float, str], None]  # share done, 0 to 1, and of what


@dataclass(frozen=True)
class Figure:
    """One number of the table, and how to get it again."""

    median: float
    best: float
    unit: str

    @classmethod
    def of(cls, values: list[float], unit: str) -> "Figure":
        return cls(statistics.median(values), min(values), unit)

    @classmethod
    def counted(cls, value: float, unit: str) -> "Figure":
        """What does not vary: a count, a size, a ratio of medians."""
        return cls(value, value, unit)

    def as_dict(self) -> dict[str, float | str]:
        return {"median": _rounded(self.median), "best": _rounded(self.best), "unit": self.unit}


Figures = dict[str, Figure]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


@contextmanager
def pinned() -> Iterator[int]:
    """Keep this process, and those it starts, on one core: the last that it may use."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def alternate(
    contestants: Mapping[str, Turn], rounds: int = ROUNDS, seed: int = SEED
) -> dict[str, list[float]]:
    """What each measured in `rounds` turns; each round in an order shuffled by `seed`."""
    order, found = random.Random(seed), {name: list[float]() for name in contestants}
    for _ in range(rounds):
        for name in order.sample(list(contestants), len(contestants)):
            found[name].append(contestants[name]())
    return found


def processor_ns(work: Callable[[], object]) -> float:
    """Processor time of this thread: what others do on the core does not count."""
    before = time.thread_time_ns()
    work()
    return float(time.thread_time_ns() - before)


def ratio(figures: Figures, name: str, of: str, to: str) -> None:
    """Add the ratio of two medians, if both were measured."""
    if of in figures and to in figures:
        figures[name] = Figure.counted(figures[of].median / figures[to].median, "ratio")
