"""Every allocator of the registry against the model, over every verb, with holes and odd ends."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model import Model

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS, ORDERS_MAX
from potadlab.core.allocators.buddy import ORDER_MAX
from potadlab.core.layout import NONE, Outcome
from potadlab.core.lookups.heads import Heads, locate
from potadlab.metrics.descriptors import record_bytes_of_kinds

POTAD = ALLOCATORS["potad"]
VARIANTS = {  # every allocator of the registry, and POTAD in each of its ways
    **ALLOCATORS,
    "potad without front caches": partial(POTAD, cpus=0),
    "potad tight": partial(POTAD, cpus=0, tight=True),
    "potad in groups": partial(POTAD, cpus=0, groups=3, chunk_order=6),
    "potad in groups, cached, tight": partial(POTAD, cpus=2, groups=3, tight=True, chunk_order=6),
}
ZONES = [(200, 453), (3, 200)]  # in order of trial; neither begins nor ends at a power of two
RANGES = [(3, 60), (64, 180), (200, 300), (310, 450)]
RECORD_BYTES = record_bytes_of_kinds()
KINDS = len(RECORD_BYTES)

orders, numbers = st.integers(0, 8), st.integers(0, 1 << 16)
requests = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), orders, numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("release"), numbers, numbers),
        st.tuples(st.just("split"), numbers, orders),
        st.tuples(st.just("claim"), st.integers(1, 24), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 470), numbers),
        st.tuples(st.just("unpoison"), st.integers(0, 470), numbers),
        st.tuples(st.just("pin"), st.integers(0, 470), numbers),
        st.tuples(st.just("unpin"), st.integers(0, 470), numbers),
    ),
    max_size=80,
)


def start_of(name):
    state = VARIANTS[name](np.array(ZONES), record_bytes_of_kinds())
    model = Model(ZONES)
    for start, end in RANGES:
        interface.add(state, start, end)
        model.add(start, end)
    return state, model


def allocate(name, state, model, order, number):
    kind, owner = 2 + number % (KINDS - 2), number % 7  # 1 is poison: nobody asks for that
    groups = state.tree.groups if hasattr(state, "tree") else 1
    places = model.places(1 << order, 1 << order)
    wanted = places[number % len(places)] if places and number % 5 else number % 440
    granule = interface.allocate(state, order, kind, owner, wanted, number % 3, number % groups)
    if name == "recorded":
        placed = wanted % (1 << order) == 0 and wanted in places
        assert granule == (wanted if placed else NONE)
    else:
        assert (granule == NONE) == (not places), "refused only where there is no place"
    if granule != NONE:
        model.take(int(granule), order)
        return {int(granule): (kind, owner)}
    return {}


def claim(name, state, model, size, align_order):
    granules = size << align_order
    start, steps, order = interface.claim(state, granules, align_order, 3, 5)
    if name == "recorded":
        assert (start, steps) == (NONE, 0)
        return {}
    largest = (granules & -granules).bit_length() - 1
    tried = [o for o in range(largest, align_order - 1, -1)]
    able = [o for o in tried if model.places(granules, 1 << o)]
    if name == "buddy":
        tried = [largest] if granules == 1 << largest and largest <= ORDER_MAX else []
        able = [order for order in able if order in tried]
    if not able:
        assert start == NONE
        assert steps == len(tried)
        return {}
    assert order == able[0]
    assert steps == tried.index(able[0]) + 1, "the first step that can"
    for chunk in range(start, start + granules, 1 << order):
        model.take(int(chunk), int(order))
    return {int(chunk): (3, 5) for chunk in range(start, start + granules, 1 << order)}


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


def can_pin(model, told, pieces, granule):
    """POTAD counts pins on a record of the block's own."""
    start = model.holder(granule)
    return start in told and start not in pieces and RECORD_BYTES[told[start][0]] > 0


def play(name, requests):
    state, model = start_of(name)
    told, pieces = {}, set()  # pieces: first granules of blocks that share a record
    for verb, first, second in requests:
        if verb == "allocate":
            told |= (allocated := allocate(name, state, model, first, second))
            pieces -= set(allocated)
        elif verb == "claim":
            told |= (claimed := claim(name, state, model, first, second))
            pieces |= set(claimed)
        elif verb == "fail":
            assert interface.fail(state, first) == model.fail(first)
        elif verb == "unpoison":
            assert interface.unpoison(state, first) == model.unpoison(first)
        elif verb == "pin":
            pinnable = name == "buddy" or can_pin(model, told, pieces, first)
            assert interface.pin(state, first) == model.pin(first, pinnable)
        elif verb == "unpin":
            assert interface.unpin(state, first) == model.unpin(first)
        elif model.live:
            granule = sorted(model.live)[first % len(model.live)]
            if verb == "release":
                assert interface.release(state, granule, 0) == model.release(granule)
            else:
                order = min(second, model.live[granule])
                parts = range(granule, granule + (1 << model.live[granule]), 1 << order)
                whole = model.split(granule, order)
                assert interface.split(state, granule, order) == whole
                if whole != NONE:
                    told |= {part: told[granule] for part in parts}
                    pieces |= set(parts)
        interface.check(state)
    if name != "buddy":
        check_answers(state, model, told)
    return state, model


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=150)
@given(requests)
def test_every_verb_does_what_the_model_does(name, requests):
    state, model = play(name, requests)
    for granule in [g for g, pins in model.pins.items() for _ in range(pins)]:
        assert interface.unpin(state, granule) == model.unpin(granule)
    for granule in list(model.live):
        assert interface.release(state, granule, 0) == model.release(granule)
        assert interface.release(state, granule, 0) == NONE, "released twice"
    for granule in list(model.failed):
        assert interface.unpoison(state, granule) == model.unpoison(granule)
    interface.check(state)
    if name != "recorded":  # all given back: what can be cut out of the ranges can be had again
        cap = ORDERS_MAX.get(name, 60)
        while model.free:
            order = max(o for o in range(cap + 1) if o < 9 and model.places(1 << o, 1 << o))
            model.take(int(interface.allocate(state, order, 3, 0, NONE, 0, 0)), order)
        assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == NONE


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


def test_potad_hands_out_any_power_of_two():
    state = ALLOCATORS["potad"](np.array([(0, 3 << 29)]), record_bytes_of_kinds())
    interface.add(state, 0, 3 << 29)  # 1.5 TiB of 1 KiB granules
    assert interface.allocate(state, 30, 3, 0, NONE, 0, 0) == 0  # 1 TiB
    assert interface.allocate(state, 30, 3, 0, NONE, 0, 0) == NONE
    assert interface.allocate(state, 29, 3, 0, NONE, 0, 0) == 1 << 30
    assert interface.release(state, 0, 0) == 30
    assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == 0
    assert interface.allocate(state, 29, 3, 0, NONE, 0, 0) == 1 << 29


def test_buddy_serves_fresh_memory_from_its_lowest_address():
    """__free_pages_core gives it to the tails of the lists."""
    state = ALLOCATORS["buddy"](np.array([(0, 4096)]), record_bytes_of_kinds())
    interface.add(state, 0, 4096)
    places = [interface.allocate(state, 10, 3, 0, NONE, 0, 0) for _ in range(4)]
    assert places == [0, 1024, 2048, 3072]


def test_buddy_expands_and_merges_as_linux():
    """Worked by hand from mm/page_alloc.c: expand puts the upper halves at the heads."""
    state = ALLOCATORS["buddy"](np.array([(0, 2048)]), record_bytes_of_kinds())
    interface.add(state, 0, 1024)
    areas = state.areas
    assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == 0
    assert [int(a["first"]) for a in areas[:11]] == [1 << o for o in range(10)] + [NONE]
    assert interface.allocate(state, 0, 3, 0, NONE, 0, 0) == 1
    assert interface.allocate(state, 1, 3, 0, NONE, 0, 0) == 2
    assert interface.release(state, 1, 0) == 0  # its buddy, 0, is live: no merge
    assert areas[0]["first"] == 1
    assert areas[0]["blocks"] == 1
    assert interface.release(state, 0, 0) == 0  # merges to [0, 2), stops at live [2, 4)
    assert areas[0]["blocks"] == 0
    assert areas[1]["first"] == 0
    assert interface.release(state, 2, 0) == 1  # all merge to the one block of order 10
    assert [int(a["blocks"]) for a in areas[:11]] == [0] * 10 + [1]
