"""Time per op of each allocator: several rounds, in an order shuffled by seed, the harness beside.

Open loop: the trace asks the same whatever an allocator answers.
"""

import random
import statistics
from collections.abc import Callable

from ..runs import replay_seconds
from ..session import Session

NULL = "null"  # answers at once: what remains is the harness
ROUNDS = 5


def measure(
    session: Session, progress: Callable[[float, str], None], rounds: int = ROUNDS, seed: int = 1
) -> dict[str, dict[str, float]]:
    """ns per op of each allocator, as {"median", "best", "null"}; empty for a trace without ops."""
    return summary(session, in_rounds(session, progress, rounds, seed))


def summary(session: Session, ns: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of the rounds of `in_rounds`, what `measure` tells."""
    return {
        name: {
            "median": round(statistics.median(ns[name]), 2),
            "best": round(min(ns[name]), 2),
            "null": round(statistics.median(ns[NULL]), 2),
        }
        for name in session.names
        if name in ns
    }


def in_rounds(
    session: Session, progress: Callable[[float, str], None], rounds: int = ROUNDS, seed: int = 1
) -> dict[str, list[float]]:
    """ns per op in each round, of each allocator and the harness; empty for a trace without ops."""
    if not session.length:
        return {}
    names = [*session.names, NULL]
    case = session.runs[session.names[0]].case
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(seed)
    for done in range(rounds):
        progress(done / rounds, f"timing, round {done + 1} of {rounds}")
        for name in order.sample(names, len(names)):
            seconds[name].append(replay_seconds(name, case))
    return {
        name: [each * 1e9 / session.length for each in found] for name, found in seconds.items()
    }
