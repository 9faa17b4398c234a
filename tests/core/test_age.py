"""The ageing load against the same in plain Python."""

import numpy as np
import pytest

from potadlab.core import interface
from potadlab.core.ageing import BLOCKS, GRANULES, OUT, SERVED, TRIED, age
from potadlab.core.allocators import clusters
from potadlab.core.layout import KIND_FACTS, NONE

KIND, CPUS = 15, 2


def begun():
    state = clusters.new(np.array([(0, 2048)]), np.zeros(KIND + 1, KIND_FACTS), cpus=CPUS)
    interface.add(state, 0, 2048)
    return state


def slowly(state, orders, numbers, limit):
    """The load in plain Python: (blocks that are out, tried, served), by order."""
    out, held, tried, served = [], 0, [0] * 10, [0] * 10
    chance = iter(numbers)

    def swap_out(order, cpu):
        granule = int(interface.allocate(state, order, KIND, 0, NONE, cpu, 0))
        out.extend([] if granule == NONE else [(granule, order)])
        return granule != NONE

    for i, order in enumerate(orders):
        while held + (1 << order) > limit:
            chosen = next(chance) % len(out)
            granule, freed = out[chosen]
            assert interface.release(state, granule, i % CPUS) == freed
            held -= 1 << freed
            out[chosen] = out[-1]
            out.pop()
        tried[order] += 1
        if swap_out(order, i % CPUS):
            served[order] += 1
        else:
            assert all(swap_out(0, i % CPUS) for _ in range(1 << order))
        held += 1 << order
    return out, tried, served


@pytest.mark.parametrize("limit", [2048, 1500])
def test_the_kernel_does_what_plain_python_does(limit):
    random = np.random.default_rng(5)
    orders = random.choice([0, 1, 4, 7, 9], 200)
    numbers = random.integers(1 << 62, size=40_000)
    slow_state, state = begun(), begun()
    wanted, tried, served = slowly(slow_state, orders, numbers, limit)
    out, held = np.zeros(limit, OUT), np.zeros(2, np.int64)
    counts = np.zeros((10, 2), np.int64)
    used = age(state, out, held, orders[:100], numbers, limit, KIND, CPUS, counts)
    age(state, out, held, orders[100:], numbers[used:], limit, KIND, CPUS, counts)
    assert [(int(g), int(o)) for g, o in out[: held[BLOCKS]]] == wanted
    assert held[GRANULES] == sum(1 << order for _, order in wanted) <= limit
    assert list(counts[:, TRIED]) == tried
    assert list(counts[:, SERVED]) == served
    assert 0 < sum(served) < sum(tried)
    interface.check(state)
