"""Memory that fails at random, from a seed: the ops that clicks would make, for all allocators."""

import numpy as np

from .errors import BadSize
from .session import Session

FAILURES_MAX = 1000  # in one go; each is asked of every allocator, and a release looks at all
PER_S, PER_MOPS = "per s of the trace", "per 1e6 ops"
UNITS = (PER_S, PER_MOPS)


def at_random(
    session: Session, index: int, rate: float, unit: str, seed: int, soft: bool = False
) -> list[tuple[int, np.ndarray]]:
    """Failures after the first `index` ops to the end, for `session.extend_all`.

    They come independently of each other, `rate` of them per `unit` on average, each at a granule
    that is in service then, all alike likely.  Raises BadSize for a rate that is none, or too high.
    """
    if unit not in UNITS or not 0 < rate < np.inf:
        raise BadSize(f"rate {rate:g} {unit}: take a number above 0, {' or '.join(UNITS)}")
    if seed < 0:
        raise BadSize(f"seed {seed}: take a whole number from 0 up")
    dice = np.random.default_rng(seed)
    found: list[tuple[int, np.ndarray]] = []
    for at in _moments(session, index, rate, unit, dice):
        ranges = session.in_service(session.names[0], at)
        ends = np.cumsum(ranges[:, 1] - ranges[:, 0])
        if not len(ends):
            continue
        place = int(dice.integers(ends[-1]))
        row = int(np.searchsorted(ends, place, side="right"))
        granule = int(ranges[row, 1] - (ends[row] - place))
        found.append((at + len(found), session.failure(granule, at, soft)))
    return found


def _moments(
    session: Session, index: int, rate: float, unit: str, dice: np.random.Generator
) -> list[int]:
    """How many ops are done at each failure, ascending: a Poisson process over time or ops."""
    if unit == PER_S:
        low = session.time_ns(max(index - 1, 0)) / 1e9 if index else 0.0
        high = session.time_ns(session.length) / 1e9
    else:
        low, high = index / 1e6, session.length / 1e6
    if (high - low) * rate > 2 * FAILURES_MAX:
        raise BadSize(_too_many(rate, unit))
    found, now = [], low + dice.exponential(1 / rate)
    while now < high:
        done = session.index_at(int(now * 1e9)) if unit == PER_S else int(now * 1e6)
        found.append(min(max(done, index), session.length))
        now += dice.exponential(1 / rate)
    if len(found) > FAILURES_MAX:
        raise BadSize(_too_many(rate, unit))
    return found


def _too_many(rate: float, unit: str) -> str:
    return f"rate {rate:g} {unit}: more than {FAILURES_MAX:,} failures; take a lower one"
