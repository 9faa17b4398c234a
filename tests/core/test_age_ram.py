"""The load that reacts, driven by hand: each thing it asks, against sets of what lives."""

import numpy as np
import pytest

from potadlab.core import ageing_ram as core
from potadlab.core import interface
from potadlab.core._jit import DISABLED
from potadlab.core.ageing_ram import FILE, HUGE, NOW, SAMPLE, answer, ask, check, measure
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import NONE, Verb
from potadlab.kinds import facts

GRANULES, HUGE_ORDER = 2048, 5
REGION = 1 << HUGE_ORDER
SETTINGS = {
    "granules": GRANULES, "huge_order": HUGE_ORDER, "low": 80, "high": 120, "cpus": 3, "seed": 1,
    "policy": 0, "read": 40000, "huge": 46000, "small": 52000, "read_max": 16, "small_max": 20,
    "burst": 8, "process_max": 400, "fresh_max": 60, "kept_max": 100, "kept_one_in": 6,
    "spared_one_in": 4, "compacting": 1,
}  # fmt: skip
KINDS, TYPES = (4, 3, 3, 7, 6, 6), (1, 1, 1, 0, 0, 2)
FILE_ORDERS, SLAB_ORDERS = (0, 0, 0, 0, 0, 1, 1, 2), ((0, 0, 0, 0, 0, 1, 1, 2),) * 2


def load_of(processes=4, **more):
    return core.new(SETTINGS | more, processes, KINDS, TYPES, FILE_ORDERS, SLAB_ORDERS)


class Hand:
    """An allocator of plain sets: the lowest place, but for what `refuses` says."""

    def __init__(self, load, refuses=lambda order: False):
        self.load, self.refuses = load, refuses
        self.free = np.ones(GRANULES, bool)
        self.live: dict[int, int] = {}
        self.asked: list[tuple[int, int]] = []  # verb, order

    def wanted_order(self):
        now = self.load.now[0]
        if now["phase"] == core.MOVE:
            return int(self.load.blocks[now["block"]]["order"])
        return int(now["order"])

    def allocate(self, order):
        if self.refuses(order):
            return NONE
        rows = self.free.reshape(-1, 1 << order).all(axis=1)
        if not rows.any():
            return NONE
        granule = int(np.argmax(rows)) << order
        self.free[granule : granule + (1 << order)] = False
        self.live[granule] = order
        return granule

    def step(self):
        """One verb; False once the clock has come to its end."""
        verb = ask(self.load)
        if verb == Verb.ALLOCATE:
            order = self.wanted_order()
            self.asked.append((int(verb), order))
            answer(self.load, np.int64(self.allocate(order)))
        elif verb == Verb.RELEASE:
            granule = int(self.load.now[0]["granule"])
            order = self.live.pop(granule)  # KeyError: it never lived
            self.free[granule : granule + (1 << order)] = True
            self.asked.append((int(verb), order))
        else:
            assert verb in (Verb.DRAIN, NONE)
        return verb != NONE

    def until(self, turnovers, seen=lambda: None):
        self.load.now["until"] = turnovers * GRANULES
        while self.step():
            seen()


def sample_of(load):
    row, free_blocks = np.zeros(1, SAMPLE), np.zeros(64, np.int64)
    measure(load, row[0], free_blocks)
    return row[0], free_blocks


def test_what_it_believes_is_what_lives():
    load = load_of()
    hand, held = Hand(load), []

    def same():
        now = load.now[0]
        known = {int(granule) for granule in np.flatnonzero(load.at)}
        held.append(int(now["held"]))
        if held[-1] == 0 and now["phase"] not in (core.MOVE, core.MOVED, core.HELD):
            assert known == set(hand.live)
            assert now["free"] == hand.free.sum()

    hand.until(6, same)
    check(load)
    assert max(held) > 0, "nothing was held back while a region was emptied"
    now = load.now[0]
    assert now["migrated"] > 0
    assert now["reclaimed"] > 0
    assert now["clock"] >= 6 * GRANULES
    assert now["killed"] == now["refused"] == 0
    assert now["tried"] >= now["at_once"] + now["compacted"] > 0


def test_memory_is_full_of_page_cache_down_to_the_watermark():
    load = load_of()
    hand, least = Hand(load), []
    hand.until(1)
    hand.until(5, lambda: least.append(int(load.now[0]["free"])))
    assert min(least) >= SETTINGS["low"] - REGION  # moving takes a region more for a while
    files = [b for b in load.blocks[load.at[load.at > 0] - 1] if b["site"] == FILE]
    assert sum(1 << int(b["order"]) for b in files) > GRANULES // 4


def test_kernel_objects_stay_as_many_as_told():
    load = load_of()
    Hand(load).until(12)
    now = load.now[0]
    assert now["kept_granules"] == pytest.approx(SETTINGS["kept_max"], abs=60)
    kept = load.blocks[load.kept[: now["kept"]]]
    assert sum(1 << int(order) for order in kept["order"]) == now["kept_granules"]
    ages = now["clock"] - kept["born"]
    assert ages.max() > 4 * GRANULES, "some have been there for long"


def test_huge_pages_refused_fall_back_to_single_ones():
    load = load_of()
    hand = Hand(load, refuses=lambda order: order == HUGE_ORDER)
    hand.until(12)
    now = load.now[0]
    assert now["at_once"] == now["compacted"] == 0
    assert now["tried"] > 20
    assert now["put_off_shift"] == 0, "a region was emptied each time: compaction did not fail"
    assert hand.asked.count((int(Verb.ALLOCATE), 0)) > REGION * now["tried"]
    check(load)


def test_compaction_that_fails_is_put_off_longer_each_time():
    """Every region has a kernel object that stays; 1, 2, 4 ... 64 requests go by in between."""
    load = load_of(kept_one_in=1, kept_max=600, fresh_max=8, read=20000, huge=30000, small=31000)
    hand, put_off, fails = Hand(load), [], []

    def seen():
        now = load.now[0]
        if fails[-1:] != [int(now["put_off_shift"])]:
            fails.append(int(now["put_off_shift"]))
        put_off.append(int(now["put_off"]))

    hand.until(40, seen)
    assert max(fails) == 6
    assert max(put_off) == 64
    check(load)


def test_without_compaction_nothing_moves():
    load = load_of(compacting=0)
    Hand(load).until(6)
    assert load.now[0]["migrated"] == load.now[0]["compacted"] == 0
    assert load.now[0]["tried"] > 0


def test_out_of_memory_the_largest_process_goes():
    load = load_of(1, process_max=10**9, read=1000, huge=2000, small=65000)
    Hand(load).until(4)
    assert load.now[0]["killed"] > 0
    assert load.now[0]["refused"] == 0
    check(load)


def test_an_allocator_that_refuses_everything_is_not_asked_for_ever():
    load = load_of()
    hand = Hand(load, refuses=lambda order: True)
    load.now["until"] = 1
    for _ in range(10_000):
        hand.step()
    assert load.now[0]["refused"] > 0
    assert not hand.live


def test_measured_as_counted_by_hand():
    """Four regions: a fixed granule in the first, the third movable, the last whole and fixed."""
    load = load_of(granules=4 * REGION)
    now = load.now[0]
    for site, granule, order in ((4, 3, 0), (HUGE, 2 * REGION, 5), (3, 3 * REGION, 5)):
        now["phase"], now["site"], now["order"], now["left"] = core.WANT, site, order, 1
        now["process"] = NONE if site == 4 else 0
        answer(load, np.int64(granule))
    row, free_blocks = sample_of(load)
    # free: 0-2, 4-31 and 32-63
    assert free_blocks[:7].tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert row["free"] == 63
    assert (row["spoilt"], row["fixed"]) == (1, 33)
    assert (row["available"], row["largest_order"]) == (1, 5)
    assert row["unusable"] == 31 * 1000 // 63
    assert row["fragmentation"] == -1000
    check(load)


def test_measured_as_recounted():
    load = load_of()
    hand = Hand(load)
    for turnover in range(1, 5):
        hand.until(turnover)
        row, free_blocks = sample_of(load)
        free, found = hand.free.copy(), []
        for order in range(10, -1, -1):
            whole = free.reshape(-1, 1 << order).all(axis=1)
            found.append(int(whole.sum()))
            free &= ~np.repeat(whole, 1 << order)
        assert free_blocks[:11].tolist() == found[::-1]
        fixed = np.zeros(GRANULES // REGION, int)
        for index in load.at[load.at > 0] - 1:
            block = load.blocks[index]
            if TYPES[block["site"]] != 1:
                fixed[block["granule"] // REGION] += 1 << int(block["order"])
        assert row["spoilt"] == np.count_nonzero((fixed > 0) & (fixed < REGION))
        assert row["fixed"] == fixed.sum()
        assert row["fixed"] > 0


@pytest.mark.parametrize(("policy", "groups"), [(0, {0}), (1, {1, 2, 3}), (2, {4, 5, 7, 8})])
def test_groups_are_those_of_the_policy(policy, groups):
    load = load_of(policy=policy)
    assert {int(core._group(load, site)) for site in range(core.SITES)} == groups


def test_lifetimes_are_learnt():
    load = load_of(policy=core.BY_LIFETIME)
    assert {int(core._group(load, site)) for site in range(core.SITES)} == {4}, "none has gone yet"
    Hand(load).until(8)
    means = load.sites["mean_log2"]
    assert means[core.SLAB] < means[FILE]
    for site in (core.SLAB, FILE):
        group = 1 + np.searchsorted(np.log2([GRANULES / 64, GRANULES]), means[site], "right")
        assert int(core._group(load, site)) == group < 4


@pytest.mark.parametrize("name", [name for name in ALLOCATORS if name != "recorded"])
def test_every_allocator_is_aged_by_the_same_verbs(name):
    """And the same seed does the same again."""
    found = []
    for seed in (1, 1, 2):
        load = load_of(seed=seed)
        state = ALLOCATORS[name].new(np.array([(0, GRANULES)]), facts())
        interface.add(state, 0, GRANULES)
        load.now["until"] = (2 if DISABLED else 10) * GRANULES
        core.age(state, load)
        check(load)
        interface.check(state)
        found.append(load.now.tolist())
        index = NOW.names.index("reclaimed")
        assert found[-1][0][index] > 0
    assert found[0] == found[1] != found[2]
