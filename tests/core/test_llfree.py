"""LLFree by hand: where its search goes, what a reservation holds, what a huge block costs."""

import random

import numpy as np
import pytest

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS, llfree
from potadlab.core.allocators.llfree import WHOLE
from potadlab.core.layout import NONE, Outcome
from potadlab.kinds import facts

TREE = 4096  # granules of 8 children
UNMOVABLE, MOVABLE = 1, 2  # groups, as grouping by migratetype counts them


def made(free, trees=24, **options):
    """An allocator of so many trees; free: tree -> how many of its granules are in service."""
    state = llfree.new(np.array([(0, trees * TREE)]), facts(), **{"cpus": 1} | options)
    for tree, granules in free.items():
        interface.add(state, tree * TREE, tree * TREE + granules)
    return state


def get(state, order=0, cpu=0, group=0):
    return int(interface.allocate(state, order, 3, 0, NONE, cpu, group))


def tree_of(granule):
    return granule // TREE


def test_each_order_has_its_place_below():
    state = made({0: TREE}, 1)
    found = [get(state, order) for order in (0, 0, 6, 0, 7, 8, 9, 10)]
    # the word used last is where small orders begin: the second word is full, so 128
    assert found == [0, 1, 64, 128, 256, 512, 1024, 2048]
    assert state.children.tolist() == [512 - 195, 256, WHOLE, 512, WHOLE, WHOLE, 512, 512]
    assert state.locals["free"].tolist() == [TREE - 1987]
    assert state.trees["free"].tolist() == [0]
    interface.check(state)
    for granule in found:
        interface.release(state, granule, 0)
    assert state.children.tolist() == [512] * 8
    interface.check(state)


def test_a_huge_block_is_a_counter_until_a_piece_of_it_goes():
    state = made({0: TREE}, 1)
    huge = get(state, 9)
    bits = state.bits[huge // 64 : huge // 64 + 8]
    assert state.children[huge // 512] == WHOLE
    assert (bits == np.uint64(0xFFFF_FFFF_FFFF_FFFF)).all(), "its line of bits is left alone"
    assert interface.split(state, huge, 3) == 9
    assert interface.release(state, huge + 64, 0) == 3
    assert state.children[huge // 512] == 8
    assert bits.tolist() == [0, 0xFF, 0, 0, 0, 0, 0, 0]
    interface.check(state)


def test_a_pair_of_children_is_aligned():
    state = made({}, 1)
    interface.add(state, 512, 512 * 5)  # children 1, 2, 3, 4: only 2 and 3 are a pair
    assert get(state, 10) == 1024
    assert get(state, 10) == NONE
    assert get(state, 9) == 512


@pytest.mark.parametrize(
    ("free", "places"),
    [
        ({0: 0, 12: 1000, 10: TREE}, [12]),  # partly used before free
        ({0: 0, 12: 1000, 10: TREE, 21: 5}, [21] * 5 + [12]),  # nearby before all, however little
        ({0: 0, 13: 200, 10: TREE}, [10]),  # free before nearly full
        ({0: 0, 13: 200, 10: 3500, 11: 3072}, [11]),  # three quarters free is partly used still
        ({0: 0, 4: 8, 13: 300}, [13]),  # the sixth nearby tree is 21: 4 is not among them
        ({0: 0, 3: 200, 4: 200}, [3]),  # else the nearest first
        ({0: 3, 1: 2, 23: 1}, [0, 0, 0, 23, 1, 1, NONE]),  # left and right by turns
    ],
)
def test_trees_are_searched_in_this_order(free, places):
    state = made(free)
    found = [get(state) for _ in places]
    assert [tree_of(granule) if granule != NONE else NONE for granule in found] == places
    interface.check(state)


def test_a_tree_too_fragmented_is_left_for_another():
    state = made({0: TREE, 1: TREE}, 2)
    small = [get(state) for _ in range(TREE)]
    assert {tree_of(granule) for granule in small} == {0}
    for granule in small[::2]:
        interface.release(state, granule, 0)
    assert state.locals["free"].tolist() == [TREE // 2]
    assert tree_of(get(state, 1)) == 1
    assert state.trees["free"].tolist() == [TREE // 2, 0], "what it had goes back"
    assert state.trees["reserved"].tolist() == [0, 1]
    interface.check(state)


def test_cpus_begin_apart_and_share_at_the_end():
    state = made({0: TREE, 1: TREE}, 2, cpus=2)
    assert [tree_of(get(state, 0, cpu)) for cpu in (0, 1, 0, 1)] == [0, 1, 0, 1]
    while get(state, 0, 0) != NONE:
        pass
    interface.check(state)
    assert state.children.sum() == 0, "the other CPU's tree was taken too"


def test_what_others_release_into_a_reserved_tree_is_taken_back_when_needed():
    state = made({0: TREE}, 1, cpus=2)
    small = [get(state, 0, 0) for _ in range(TREE)]
    for granule in small[:3]:
        interface.release(state, granule, 1)
    assert (state.locals["free"].tolist(), state.trees["free"].tolist()) == ([0, 0], [3])
    assert get(state, 0, 0) in small[:3]
    assert (state.locals["free"].tolist(), state.trees["free"].tolist()) == ([2, 0], [0])


def test_releases_in_a_row_reserve_their_tree():
    state = made({0: TREE, 1: TREE}, 2)
    small = [get(state) for _ in range(TREE + 1)]
    assert state.locals["tree"].tolist() == [1]
    for granule in small[:300]:  # 256 free granules are a sixteenth
        interface.release(state, granule, 0)
        enough = granule >= 255
        assert state.locals["tree"].tolist() == [0 if enough else 1]
    assert state.trees["free"].tolist() == [0, TREE - 1]
    interface.check(state)


@pytest.mark.parametrize("failed", [False, True])
def test_four_releases_in_a_row_are_needed(failed):
    """Whether or not memory has failed elsewhere."""
    state = made({0: TREE, 1: TREE}, 2)
    if failed:
        assert interface.fail(state, 2 * TREE - 1) == Outcome.POISONED_FREE
    words = [get(state, 6) for _ in range(TREE // 64 + 1)]
    trees = []
    for granule in words[:5]:  # four of them free a sixteenth
        interface.release(state, granule, 0)
        trees.append(int(state.locals["tree"][0]))
    assert trees == [1, 1, 1, 1, 0]
    interface.release(state, words[-1], 0)
    assert state.locals["freed_tree"].tolist() == [1], "counted anew"
    assert state.locals["frees"].tolist() == [1]


def test_a_tree_that_is_free_as_a_whole_is_of_no_group():
    state = made({0: TREE, 1: TREE}, 2, groups=3)
    granule = get(state, 0, 0, UNMOVABLE)
    assert sorted(state.trees["group"].tolist()) == [NONE, llfree.FIXED]
    interface.release(state, granule, 0)
    interface.drain(state)
    assert state.trees["group"].tolist() == [NONE, NONE]
    assert state.trees["free"].tolist() == [TREE, TREE]


def test_groups_have_trees_of_their_own():
    state = made({0: TREE, 1: TREE, 2: TREE, 3: TREE}, 4, groups=3)
    fixed = tree_of(get(state, 0, 0, UNMOVABLE))
    movable = tree_of(get(state, 0, 0, MOVABLE))
    huge = tree_of(get(state, 9, 0, MOVABLE))
    assert len({fixed, movable, huge}) == 3
    rest = [tree_of(get(state, 0, 0, UNMOVABLE)) for _ in range(2 * TREE)]
    assert set(rest[: TREE - 1]) == {fixed}
    left = ({0, 1, 2, 3} - {fixed, movable, huge}).pop()
    assert set(rest[TREE - 1 : 2 * TREE - 1]) == {left}, "a free tree before another group's"
    assert rest[-1] in (movable, huge), "another group's before none"
    interface.check(state)


def test_it_takes_an_eighth_of_a_byte_and_little_more_for_each_granule():
    state = llfree.new(np.array([(0, 1 << 24)]), facts())  # 64 GiB
    sizes = ALLOCATORS["llfree"].bytes_of(state, 0, 1 << 24)
    assert sizes["free_structure"] == (1 << 24) // 8 + 2 * (1 << 15) + 4 * (1 << 12) + 8 * 64
    assert sizes["descriptors"] == 64 << 24


@pytest.mark.parametrize("groups", [1, 3])
def test_many_trees_against_a_set(groups):
    """Refused only where there is no place, never one granule twice, over five trees and a bit."""
    dice, end = random.Random(groups), 5 * TREE + 700
    state = llfree.new(np.array([(300, end)]), facts(), cpus=3, groups=groups)
    interface.add(state, 300, end)
    free, live = np.zeros(end + 1024, bool), {}
    free[300:end] = True
    for turn in range(6000):
        if live and dice.random() < (0.3 if turn % 2000 < 1500 else 0.8):
            granule = dice.choice(list(live))
            order = live.pop(granule)
            assert interface.release(state, granule, dice.randrange(4)) == order
            free[granule : granule + (1 << order)] = True
        else:
            order = min(int(dice.expovariate(0.4)), 10)
            granule = get(state, order, dice.randrange(4), dice.randrange(4))
            rows = free[: end >> order << order].reshape(-1, 1 << order)
            assert (granule == NONE) == (not rows.all(axis=1).any())
            if granule != NONE:
                assert granule % (1 << order) == 0
                assert free[granule : granule + (1 << order)].all()
                free[granule : granule + (1 << order)] = False
                live[granule] = order
    interface.check(state)
