"""Every allocator of the registry against the model, over every verb, with holes and odd ends."""

import random
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model import Model

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.allocators.potad import WINDOWS_TRIED
from potadlab.core.layout import MOVE, NONE, Outcome
from potadlab.core.linux.state import NO_MARKS, ORDER_MAX, wanted_type
from potadlab.core.lookups.heads import Heads, locate
from potadlab.kinds import KIND, facts

FIXED = KIND["slab"]
POTAD, BUDDY = ALLOCATORS["potad"].new, ALLOCATORS["buddy"].new
CORE = {"pcp": 0, "tails": 0, "migratetypes": 0, "watermarks": NO_MARKS}
VARIANTS = {  # every allocator of the registry, and POTAD and buddy in each of their ways
    **{name: allocator.new for name, allocator in ALLOCATORS.items()},
    "potad without front caches": partial(POTAD, caches=0),
    "potad tight": partial(POTAD, caches=0, placement="tightest"),
    "potad in groups": partial(POTAD, caches=0, groups=3, chunk_order=6),
    "potad in groups, cached, tight": partial(
        POTAD, caches=2, groups=3, placement="tightest", chunk_order=6
    ),
    "buddy, core lists": partial(BUDDY, **CORE),
    "buddy with memdesc": partial(BUDDY, descriptor="memdesc"),
    "cma of two pageblocks": partial(BUDDY, page=9, pcp=2, area=128 << 9, bit_order=1),
    "buddy of small pageblocks": partial(BUDDY, page=9, pcp=2, max_order=8),
}
LLFREE = ALLOCATORS["llfree"].new
VARIANTS |= {
    "llfree of one CPU, trees of 32": partial(LLFREE, cpus=1, children=32, tails=0),
    "llfree in groups": partial(LLFREE, cpus=2, groups=3),
}
LINUX = [
    name for name in VARIANTS if name.startswith(("buddy", "cma", "llfree"))
]  # struct page, order 10
ZONES = [(200, 453), (3, 200)]  # in order of trial; neither begins nor ends at a power of two
RANGES = [(3, 60), (64, 180), (200, 300), (310, 450)]
RECORD_BYTES, MOVABLE = facts()["record_bytes"], facts()["movable"]
KINDS = len(RECORD_BYTES)

orders, numbers = st.integers(0, 8), st.integers(0, 1 << 16)
requests = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), orders, numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("split"), numbers, orders),
        st.tuples(
            st.just("claim"), st.tuples(st.integers(1, 24), st.booleans()), st.integers(0, 5)
        ),
        st.tuples(st.just("migrate"), numbers, numbers),
        st.tuples(st.just("drain"), numbers, numbers),
        st.tuples(st.just("fail"), st.integers(0, 470), numbers),
        st.tuples(st.just("unpoison"), st.integers(0, 470), numbers),
        st.tuples(st.just("pin"), st.integers(0, 470), numbers),
        st.tuples(st.just("unpin"), st.integers(0, 470), numbers),
    ),
    max_size=80,
)


def start_of(name):
    state = VARIANTS[name](np.array(ZONES), facts())
    model = Model(ZONES)
    for start, end in RANGES:
        interface.add(state, start, end)
        model.add(start, end)
    return state, model


def is_buddy(name):
    return name.startswith(("buddy", "cma"))


def allocate(name, state, model, order, number):
    kind, owner = 2 + number % (KINDS - 2), number % 7  # 1 is poison: nobody asks for that
    groups = getattr(getattr(state, "tree", state), "groups", 4 if is_buddy(name) else 1)
    places = model.places(1 << order, 1 << order)
    wanted = places[number % len(places)] if places and number % 5 else number % 440
    group = number % groups
    granule = interface.allocate(state, order, kind, owner, wanted, number % 3, group)
    if name == "recorded":
        placed = wanted % (1 << order) == 0 and wanted in places
        assert granule == (wanted if placed else NONE)
    elif granule == NONE and name.startswith("cma") and wanted_type(state, kind, group) != 1:
        places = [place for place in places if not in_area(state, place, order)]
        assert not places, "what is not movable has no place in the area"
    else:
        assert (granule == NONE) == (not places), "refused only where there is no place"
    if granule != NONE:
        model.take(int(granule), order)
        return {int(granule): (kind, owner)}
    return {}


def claim(name, state, model, told, size, align_order, may_move):
    granules = size << align_order
    moves = np.zeros(granules + 2 if may_move else 0, MOVE)
    if state_has_area(state):
        return claim_from_area(state, model, told, granules, align_order, moves)
    start, steps, order, moved = interface.claim(state, granules, align_order, 3, 5, moves)
    if name == "recorded":
        assert (start, steps, moved) == (NONE, 0, 0)
        return {}
    largest = (granules & -granules).bit_length() - 1
    tried = [o for o in range(largest, align_order - 1, -1)]
    able = [o for o in tried if model.places(granules, 1 << o)]
    if name in LINUX:
        most = state.orders - 1 if is_buddy(name) else ORDER_MAX
        tried = [largest] if granules == 1 << largest and largest <= most else []
        able = [order for order in able if order in tried]
    if not able and may_move and name not in LINUX:
        assert steps == len(tried)
        return after_moving(model, told, granules, align_order, start, order, moves[:moved])
    assert moved == 0
    if not able:
        assert start == NONE
        assert steps == len(tried)
        return {}
    assert order == able[0]
    assert steps == tried.index(able[0]) + 1, "the first step that can"
    return take_chunks(model, start, order, granules, name not in LINUX)


def state_has_area(state):
    return getattr(state, "area_granules", 0) > 0


def in_area(state, granule, order):
    """Whether a block touches the CMA area."""
    base = int(state.area[0]["base"])
    return base < granule + (1 << order) and granule < base + int(state.area[0]["granules"])


def claim_from_area(state, model, told, granules, align_order, moves):
    """First fit over clear bits; a busy range is skipped; what lay in the way is elsewhere then."""
    found = interface.claim(state, granules, align_order, 3, 5, moves)
    start, steps, order, moved = (int(value) for value in found)
    base, end = int(state.area[0]["base"]), int(state.area[0]["base"] + state.area[0]["granules"])
    align, tried, fits = max(1 << align_order, 2), 0, NONE  # a bit is two granules
    for first in range(-(-base // align) * align, end - granules + 1, align):
        touched = range(first, first + -(-granules // 2) * 2)
        if touched.stop > end or any(model.holder(at) in model.claims for at in touched):
            continue
        tried += 1
        blocks = in_the_way(model, told, first, first + granules)
        if blocks is not None and (len(moves) or not blocks):
            fits = first
            break
    assert steps == max(tried, 1)
    if start == NONE and fits != NONE:
        assert moved < len(blocks)
        follow(model, told, moves[:moved], set())
        isolated = set(range(fits // 64 * 64, -(-(fits + granules) // 64) * 64))
        stuck = model.live[sorted(blocks)[moved]]
        places = model.places(1 << stuck, 1 << stuck)
        assert all(place in isolated for place in places), "no place for this one"
        return {}
    assert start == fits
    if start == NONE:
        assert moved == 0
        return {}
    assert {int(move["granule"]) for move in moves[:moved]} == blocks
    follow(model, told, moves[:moved], set(range(start, start + granules)))
    return take_chunks(model, start, order, granules, True)


def follow(model, told, moves, window):
    """Blocks are elsewhere, none of them in the window; what they left is free."""
    left = set()
    for move in moves:
        granule, to = int(move["granule"]), int(move["to"])
        order = model.live.pop(granule)
        assert move["order"] == order
        assert not model.row(to, 1 << order) & window
        model.take(to, order)
        told[to] = told.pop(granule)
        left |= model.row(granule, 1 << order)
    model.free |= left


def take_chunks(model, start, order, granules, together):
    model.claimed += 1
    chunks = [int(chunk) for chunk in range(start, start + granules, 1 << order)]
    for chunk in chunks:
        model.take(chunk, int(order))
        if together:
            model.claims[chunk] = f"claim {model.claimed}"
    return {chunk: (3, 5) for chunk in chunks}


def in_the_way(model, told, start, end):
    """Live blocks between start and end, None if one of them stays or a granule is no memory."""
    found = {model.holder(granule) for granule in range(start, end)} - {NONE}
    rows = set().union(*(model.row(block, 1 << model.live[block]) for block in found))
    if not set(range(start, end)) <= rows | model.free:
        return None
    if any(model.stays(block) or not MOVABLE[told[block][0]] for block in found):
        return None
    return found


def after_moving(model, told, granules, align_order, start, order, moves):
    """The window emptied is the first, from the least to move on, that surely can be."""
    windows = {
        first: in_the_way(model, told, first, first + granules)
        for low, high in model.zones
        for first in range(
            -(-low >> align_order) << align_order, high - granules + 1, 1 << align_order
        )
    }
    windows = {first: blocks for first, blocks in windows.items() if blocks is not None}
    cost = {first: sum(1 << model.live[b] for b in blocks) for first, blocks in windows.items()}
    cheaper = [first for first in cost if start == NONE or cost[first] < cost[int(start)]]
    for first in sorted(cheaper, key=cost.get)[:WINDOWS_TRIED]:
        outside = model.free - set(range(first, first + granules))
        single = all(model.live[block] == 0 for block in windows[first])
        assert not (single and len(outside) >= cost[first]), "there was room for all of them"
    if start == NONE:
        assert len(moves) == 0
        return {}
    assert {int(move["granule"]) for move in moves} == windows[int(start)]
    window = set(range(start, start + granules))
    moved = {}
    for move in moves:
        granule, to = int(move["granule"]), int(move["to"])
        assert move["order"] == model.live[granule]
        order_of = model.live.pop(granule)
        assert not model.row(to, 1 << order_of) & window
        model.take(to, order_of)
        moved[to] = told.pop(granule)
        freed = model.row(granule, 1 << order_of) - window
        model.free |= freed | (model.row(granule, 1 << order_of) & window)
    told |= moved
    return take_chunks(model, int(start), int(order), granules, True)


def migrate(name, state, model, told, granule):
    start, order = granule, model.live[granule]
    places = model.places(1 << order, 1 << order)
    to, outcome = interface.migrate(state, granule)
    if name.startswith("llfree"):
        assert (to, outcome) == (NONE, Outcome.IGNORED)
    elif model.stays(start) or not MOVABLE[told[start][0]]:
        assert (to, outcome) == (NONE, Outcome.UNMOVABLE)
    elif not places:
        assert (to, outcome) == (NONE, Outcome.REFUSED)
    else:
        assert outcome == Outcome.DONE
        assert to in places
        model.move(start, int(to))
        told[int(to)] = told.pop(start)


def check_answers(state, model, told):
    """Every granule of the space answers with its block, kind and owner, or with none."""
    heads = state.heads
    assert isinstance(heads, Heads)
    for granule in range(470):
        holder = model.holder(granule)
        start, order, kind, owner = locate(heads, granule)
        if holder != NONE:
            assert (start, order) == (holder, model.live[holder])
            assert (kind, owner) == told[holder]
        elif granule in model.failed:
            assert (start, order, kind) == (granule, 0, 1)
        else:
            assert start == NONE


def check_holders(state, model):
    """Every granule is told the live block that it is in, and its order."""
    for granule in range(470):
        start, order = interface.holder(state, granule)
        assert start == model.holder(granule)
        assert start == NONE or order == model.live[start]


def can_pin(model, told, granule):
    """POTAD counts pins on a record."""
    start = model.holder(granule)
    return start in told and RECORD_BYTES[told[start][0]] > 0


def play(name, requests):
    state, model = start_of(name)
    told = {}
    for verb, first, second in requests:
        if verb == "allocate":
            told |= allocate(name, state, model, first, second)
        elif verb == "claim":
            size, may_move = first
            told |= claim(name, state, model, told, size, second, may_move)
        elif verb == "drain":
            assert interface.drain(state) >= 0
        elif verb == "fail":
            assert interface.fail(state, first) == model.fail(first)
        elif verb == "unpoison":
            assert interface.unpoison(state, first) == model.unpoison(first)
        elif verb == "pin":
            counted = name in LINUX and "memdesc" not in name
            pinnable = counted or can_pin(model, told, first)
            if model.holder(first) in model.claims and is_buddy(name):
                pinnable = False  # CMA's memory is mapped without struct pages
            assert interface.pin(state, first) == model.pin(first, pinnable)
        elif verb == "unpin":
            assert interface.unpin(state, first) == model.unpin(first)
        elif model.live:
            granule = sorted(model.live)[first % len(model.live)]
            if verb == "migrate":
                migrate(name, state, model, told, granule)
            elif verb == "release":
                assert interface.release(state, granule, 0) == model.release(granule)
            else:
                order = min(second, model.live[granule])
                parts = range(granule, granule + (1 << model.live[granule]), 1 << order)
                whole = model.split(granule, order)
                assert interface.split(state, granule, order) == whole
                if whole != NONE:
                    told |= {part: told[granule] for part in parts}
        interface.check(state)
    check_holders(state, model)
    if name not in LINUX:
        check_answers(state, model, told)
    return state, model


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=150)
@given(requests)
def test_every_verb_does_what_the_model_does(name, requests):
    state, model = play(name, requests)
    for granule in list(model.live):
        while model.pinned(granule):
            assert interface.unpin(state, granule) == model.unpin(granule)
    for granule in list(model.live):
        assert interface.release(state, granule, 0) == model.release(granule)
        assert interface.release(state, granule, 0) == NONE, "released twice"
    for granule in list(model.failed):
        assert interface.unpoison(state, granule) == model.unpoison(granule)
    interface.check(state)
    if name != "recorded":  # all given back: what can be cut out of the ranges can be had again
        cap = ALLOCATORS["buddy"].order_max if name in LINUX else 60
        while model.free:
            order = max(o for o in range(cap + 1) if o < 9 and model.places(1 << o, 1 << o))
            model.take(int(interface.allocate(state, order, 3, 0, NONE, 0, 0)), order)
        assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == NONE


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("potad")])
@pytest.mark.parametrize("seed", range(12))
def test_a_claim_empties_the_window_with_the_least_to_move(name, seed):
    """Memory full of mostly movable blocks, then holes in it, then claims that may move."""
    dice, (state, model), told = random.Random(seed), start_of(name), {}
    movable = [kind for kind in range(2, KINDS) if MOVABLE[kind]]
    while model.places(1, 1):
        order = dice.choice([0, 0, 0, 1, 2, 3])
        kind = dice.choice(movable) if dice.random() < 0.98 else FIXED
        granule = int(interface.allocate(state, order, kind, 1, NONE, 0, 1 % state.tree.groups))
        if granule != NONE:
            model.take(granule, order)
            told[granule] = kind, 1
    for granule in dice.sample(sorted(model.live), len(model.live) // 3):
        assert interface.release(state, granule, 0) == model.release(granule)
    moved = 0
    for size, align_order in ((3, 4), (1, 5), (5, 2), (2, 4), (7, 0), (1, 6)):
        before = set(model.live)
        told |= claim(name, state, model, told, size, align_order, True)
        moved += len(before - set(model.live))
        interface.check(state)
        check_answers(state, model, told)
    assert moved > 0


@pytest.mark.parametrize("seed", range(12))
def test_cma_finds_the_first_range_that_is_not_busy(seed):
    """Movable blocks in the area, some pinned or failed; claims of every size come and go."""
    name, dice, told = "cma of two pageblocks", random.Random(seed), {}
    state, model = start_of(name)
    movable = [kind for kind in range(2, KINDS) if MOVABLE[kind]]
    for _ in range(300):
        order, kind = dice.choice([0, 0, 1, 2, 3]), dice.choice(movable)
        granule = int(interface.allocate(state, order, kind, 1, NONE, 0, 0))
        if granule != NONE:
            model.take(granule, order)
            told[granule] = kind, 1
    for granule in dice.sample(sorted(model.live), len(model.live) * 2 // 3):
        assert interface.release(state, granule, 0) == model.release(granule)
        del told[granule]
    for granule in dice.sample(sorted(model.live), 2):
        assert interface.pin(state, granule) == model.pin(granule, True)
    assert interface.fail(state, 330) == model.fail(330)
    moved = done = 0
    for turn in range(30):
        size, align_order = dice.choice([(1, 3), (3, 2), (1, 5), (5, 1), (7, 0), (2, 4), (1, 6)])
        before, claims = dict(told), model.claimed
        told |= claim(name, state, model, told, size, align_order, turn % 4 > 0)
        moved += len(before.keys() - told.keys())
        done += model.claimed - claims
        interface.check(state)
        if turn % 3 == 2 and model.claims:
            which = model.claims[dice.choice(sorted(model.claims))]
            for chunk in [at for at, of in model.claims.items() if of == which]:
                assert interface.release(state, chunk, 0) == model.release(chunk)
                del told[chunk]
    assert moved > 0
    assert 3 < done < 30, "some were served, some refused"


@pytest.mark.parametrize("name", VARIANTS)
def test_release_inside_a_block_or_of_free_memory_is_refused(name):
    state, _ = start_of(name)
    granule = int(interface.allocate(state, 3, 3, 0, 208, 0, 0))
    assert interface.release(state, granule + 1, 0) == NONE
    assert interface.release(state, 450, 0) == NONE
    assert interface.release(state, granule, 0) == 3


@pytest.mark.parametrize("name", VARIANTS)
def test_a_failed_granule_leaves_alone(name):
    state, _ = start_of(name)
    granule = int(interface.allocate(state, 4, 3, 0, 208, 0, 0))
    assert interface.fail(state, granule + 5) == Outcome.POISONED_LIVE
    assert interface.fail(state, granule + 5) == Outcome.POISONED_BEFORE
    assert interface.release(state, granule, 0) == 4
    interface.check(state)
    taken = set()
    while (found := interface.allocate(state, 0, 3, 0, _next_free(granule, taken), 0, 0)) != NONE:
        taken.add(int(found))
        if name == "recorded" and len(taken) == 15:
            break
    assert granule + 5 not in taken
    assert set(range(granule, granule + 16)) - {granule + 5} <= taken


def _next_free(granule, taken):
    return next((g for g in range(granule, granule + 16) if g not in taken and g != granule + 5), 0)


def test_a_block_moves_again_once_its_last_failed_granule_is_back():
    """One of two in words of their own is not enough."""
    state = POTAD(np.array([(0, 1024)]), facts(), caches=0)
    interface.add(state, 0, 1024)
    start = int(interface.allocate(state, 8, KIND["anon"], 0, NONE, 0, 0))
    for granule in (start + 70, start + 200):
        assert interface.fail(state, granule) == Outcome.POISONED_LIVE
    for back in (start + 200, start + 70):
        assert interface.migrate(state, start)[1] == Outcome.UNMOVABLE
        assert interface.unpoison(state, back) == Outcome.POISONED_LIVE
    to, outcome = interface.migrate(state, start)
    assert (int(to), outcome) == (256, Outcome.DONE)
    interface.check(state)


def test_of_two_windows_that_cost_alike_the_second_is_tried_where_the_first_cannot_be_emptied():
    """Pages 0 to 3 hold a pair, which has no place elsewhere; 2 to 5 hold two single pages."""
    state, moves = POTAD(np.array([(0, 12)]), facts(), caches=0), np.zeros(6, MOVE)
    for start, end in ((2, 4), (8, 9), (10, 11)):
        interface.add(state, start, end)
    for granule, order, kind in ((0, 1, "anon"), (4, 0, "anon"), (5, 0, "anon")):
        interface.adopt(state, granule, order, KIND[kind], 0)
    for granule, order in ((6, 1), (9, 0), (11, 0)):
        interface.adopt(state, granule, order, FIXED, 0)
    found = interface.claim(state, 4, 1, KIND["driver"], 0, moves)
    assert [int(value) for value in found] == [2, 2, 1, 2]
    assert moves[["granule", "to"]][:2].tolist() == [(4, 8), (5, 10)]
    interface.check(state)


def test_a_block_larger_than_the_alignment_costs_its_size_once():
    """Pages 0 to 7 hold one block of four; 4 to 11 would cost as much and come later."""
    state, moves = POTAD(np.array([(0, 24)]), facts(), caches=0), np.zeros(10, MOVE)
    for start, end in ((4, 8), (13, 14), (16, 20)):
        interface.add(state, start, end)
    for granule, order in ((0, 2), (8, 0), (9, 0), (10, 0), (11, 0), (12, 0)):
        interface.adopt(state, granule, order, KIND["anon"], 0)
    for granule, order in ((14, 1), (20, 2)):
        interface.adopt(state, granule, order, FIXED, 0)
    found = interface.claim(state, 8, 1, KIND["driver"], 0, moves)
    assert [int(value) for value in found] == [0, 3, 3, 1]
    assert moves[["granule", "to"]][0].tolist() == (0, 16)
    interface.check(state)


def test_of_a_block_that_is_cut_only_the_piece_that_failed_stays():
    state = POTAD(np.array([(0, 64)]), facts(), caches=0)
    interface.add(state, 0, 64)
    assert interface.allocate(state, 2, KIND["anon"], 0, NONE, 0, 0) == 0
    assert interface.fail(state, 1) == Outcome.POISONED_LIVE
    assert interface.split(state, 0, 0) == 2
    found = [int(interface.migrate(state, piece)[1]) for piece in range(4)]
    assert found == [Outcome.DONE, Outcome.UNMOVABLE, Outcome.DONE, Outcome.DONE]
    interface.check(state)


def test_potad_hands_out_any_power_of_two():
    state = ALLOCATORS["potad"].new(np.array([(0, 3 << 29)]), facts())
    interface.add(state, 0, 3 << 29)  # 1.5 TiB of 1 KiB granules
    assert interface.allocate(state, 30, 3, 0, NONE, 0, 0) == 0  # 1 TiB
    assert interface.allocate(state, 30, 3, 0, NONE, 0, 0) == NONE
    assert interface.allocate(state, 29, 3, 0, NONE, 0, 0) == 1 << 30
    assert interface.release(state, 0, 0) == 30
    assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == 0
    assert interface.allocate(state, 29, 3, 0, NONE, 0, 0) == 1 << 29
