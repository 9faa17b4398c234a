"""POTAD's front caches and groups, by hand: which block comes back, and where it lies."""

import numpy as np
import pytest

from potadlab.core import blocks, interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import BLOCK, MOVE, NONE, PUT_OFF, Outcome
from potadlab.core.lookups.heads import MAGAZINE, live_records, locate, record_at
from potadlab.kinds import KIND, facts

FOLIO, KERNEL = KIND["folio"], KIND["kernel"]
CHUNK = 512


def potad(granules, **options):
    state = ALLOCATORS["potad"].new(np.array([(0, granules)]), facts(), **options)
    interface.add(state, 0, granules)
    return state


def allocate(state, order=0, kind=FOLIO, cpu=0, group=0):
    return int(interface.allocate(state, order, kind, 7, NONE, cpu, group))


def test_the_block_released_last_comes_back_first_on_its_cpu():
    state = potad(4096, caches=2)
    first, second = allocate(state), allocate(state)
    for granule in (first, second):
        assert interface.release(state, granule, 0) == 0
        assert locate(state.heads, granule)[0] == NONE, "a cached block is free to the lookup"
        assert interface.release(state, granule, 0) == NONE, "and cannot be released again"
    assert [allocate(state), allocate(state)] == [second, first]
    interface.release(state, first, 1)
    assert allocate(state, cpu=0) != first, "the other CPU has it"
    assert allocate(state, cpu=1) == first
    interface.check(state)


def test_a_cached_block_keeps_its_record_for_its_kind():
    state = potad(4096, caches=1)
    granule = allocate(state)
    interface.release(state, granule, 0)
    fresh = int(state.heads.arenas[FOLIO]["fresh"])
    assert allocate(state) == granule
    assert int(state.heads.arenas[FOLIO]["fresh"]) == fresh
    interface.release(state, granule, 0)
    assert allocate(state, kind=KERNEL) == granule
    assert tuple(locate(state.heads, granule)) == (granule, 0, KERNEL, 7)
    assert live_records(state.heads)[FOLIO] == 0, "another kind gives the record back"


def test_a_run_waits_without_slots_and_is_free_to_all_who_ask():
    state = potad(128, caches=1)
    assert [allocate(state, order=1) for _ in range(2)] == [0, 2], "the lowest first"
    assert int(state.heads.starts[0]).bit_count() == 32, "the word came from the tree as one"
    assert np.flatnonzero(state.heads.slots["entry"][:128]).tolist() == [0, 2]
    for granule in (4, 5):
        assert locate(state.heads, granule)[0] == NONE
        assert interface.release(state, granule, 0) == NONE
        assert interface.pin(state, granule) == Outcome.ABSENT
        assert interface.migrate(state, granule) == (NONE, Outcome.ABSENT)
        assert interface.split(state, granule, 0) == NONE
        assert blocks.is_cached(state, granule)
    assert not any(blocks.is_cached(state, granule) for granule in (0, 3, 64))
    out = np.zeros(9, BLOCK)
    assert blocks.list_live(state, 0, 128, out) == 2
    interface.check(state)
    assert interface.drain(state) == 30
    assert int(state.heads.starts[0]).bit_count() == 2
    assert allocate(state, order=6) == 64
    interface.check(state)


def test_a_granule_of_a_run_that_fails_is_found_there():
    state = potad(128, caches=1)
    allocate(state, order=1)
    assert interface.fail(state, 5) == Outcome.POISONED_FREE
    interface.check(state)
    assert 4 not in {allocate(state, order=1) for _ in range(62)}
    assert allocate(state, order=1) == NONE


def test_what_lies_in_a_magazine_of_another_cpu_is_nobodys_loss():
    """A thousand blocks of a kind find a record each, whatever the CPUs keep for later."""
    state = potad(1024, caches=2)
    for cpu in (0, 1):
        assert interface.release(state, allocate(state, cpu=cpu), cpu) == 0
        assert allocate(state, kind=KERNEL, cpu=cpu) != NONE, "its record stays in the magazine"
    assert live_records(state.heads).sum() == 0
    taken = [allocate(state, cpu=1) for _ in range(1022)]
    assert NONE not in taken
    assert live_records(state.heads)[FOLIO] == 1022
    numbers = {int(state.heads.slots["entry"][granule]) >> 32 for granule in taken}
    assert len(numbers) == 1022, "no record is two blocks'"


def test_what_a_full_magazine_hands_back_is_the_next_ones():
    """Sixty records go to a magazine of fifteen, again and again; none is lost, none is two's."""
    state = potad(1024, caches=1)
    for kind in (FOLIO, KERNEL) * 4 + (FOLIO,):
        taken = [allocate(state, kind=kind) for _ in range(60)]
        if kind == FOLIO:
            entries = state.heads.slots["entry"][taken]
            assert len(set((entries >> np.uint64(32)).tolist())) == 60
            assert live_records(state.heads)[FOLIO] == 60
        for granule in taken:
            interface.release(state, granule, 0)
    assert int(state.heads.arenas[FOLIO]["fresh"]) <= 60 + MAGAZINE
    interface.check(state)


def test_records_of_changing_kinds_go_round_in_the_magazines():
    state = potad(1024, caches=1)
    kinds = (FOLIO, KERNEL, KIND["anon"], KIND["slab"])
    for turn in range(200):
        granules = [allocate(state, kind=kinds[(turn + i) % 4]) for i in range(20)]
        for granule in granules:
            interface.release(state, granule, 0)
    held = [int(arena["fresh"]) for arena in state.heads.arenas[list(kinds)]]
    assert max(held) <= 20 + 2 * MAGAZINE, "they are used again"
    interface.check(state)


def test_what_a_block_was_marked_with_does_not_come_back():
    state = potad(4096, caches=1)
    granule = allocate(state)
    state.heads.slots[granule]["state"] = 5
    interface.release(state, granule, 0)
    assert allocate(state) == granule
    assert int(state.heads.slots[granule]["state"]) == 0


def test_the_caches_are_drained_before_anything_is_refused():
    state = potad(1024, caches=4)
    taken = [allocate(state, cpu=i % 4) for i in range(1024)]
    assert sorted(taken) == list(range(1024))
    assert allocate(state) == NONE
    for i, granule in enumerate(taken):
        interface.release(state, granule, i % 4)
    assert int(interface.claim(state, 1024, 10, FOLIO, 7, np.zeros(0, MOVE))[0]) == 0, (
        "a claim sees them too"
    )
    interface.check(state)


@pytest.mark.parametrize(("order", "most"), [(0, 396), (1, 204), (2, 108), (3, 60), (9, 23)])
def test_a_cache_holds_so_many_and_no_more(order, most):
    state, held = potad(64 * CHUNK, caches=1), []
    stack = min(order, blocks.SMALL_ORDERS) * blocks.STACK_WORDS
    for granule in [allocate(state, order) for _ in range(2 * most)]:
        interface.release(state, granule, 0)
        count = int(state.stacks[stack])  # in the upper end, and 256 times those below
        held.append(count % 256 + count // 256)
    assert max(held) == most
    interface.check(state)


def test_no_two_blocks_have_the_same_record_whatever_went_through_a_magazine():
    state = potad(4096, caches=1)
    for kind in (FOLIO, KERNEL, FOLIO):
        taken = [allocate(state, kind=kind) for _ in range(5 * MAGAZINE)]
        if kind == FOLIO:
            entries = [state.heads.slots[granule]["entry"] for granule in taken]
            assert len({int(record_at(state.heads, entry)) for entry in entries}) == len(taken)
            assert live_records(state.heads)[FOLIO] == len(taken)
        for granule in taken:
            interface.release(state, granule, 0)
    interface.check(state)


def test_of_more_than_a_cache_holds_the_oldest_go_and_the_newest_come_back_first():
    state = potad(4096, caches=1)
    taken = [allocate(state) for _ in range(1024)]
    for granule in taken:
        assert interface.release(state, granule, 0) == 0
    interface.check(state)
    assert [allocate(state) for _ in range(200)] == taken[:-201:-1]
    interface.check(state)
    rest = [allocate(state) for _ in range(4096 - 200)]
    assert sorted(rest + taken[-200:]) == list(range(4096))


def test_a_granule_that_fails_in_a_cache_never_comes_back():
    state = potad(1024, caches=1)
    granule = allocate(state, order=2)
    interface.release(state, granule, 0)
    assert interface.fail(state, granule + 1) == Outcome.POISONED_FREE
    interface.check(state)
    assert granule + 1 not in {allocate(state) for _ in range(1023)}
    assert allocate(state) == NONE


def test_groups_keep_to_their_own_chunks():
    state = potad(8 * CHUNK, caches=0, groups=2)
    ones = {allocate(state, group=1) // CHUNK for _ in range(CHUNK)}
    twos = {allocate(state, group=2) // CHUNK for _ in range(CHUNK)}
    assert len(ones) == len(twos) == 1
    assert ones != twos
    assert state.counts.tolist() == [0, 0]


def test_a_wholly_free_chunk_returns_to_the_pool():
    state = potad(2 * CHUNK, caches=0, groups=2)
    granule = allocate(state, group=1)
    assert allocate(state, order=10) == NONE
    interface.release(state, granule, 0)
    assert allocate(state, order=10) == 0


def test_a_group_without_room_steals_and_a_half_free_chunk_changes_group():
    state = potad(CHUNK, caches=0, groups=2)
    mine = [allocate(state, group=1) for _ in range(CHUNK // 4)]
    assert allocate(state, group=2) not in mine
    assert state.counts.tolist() == [1, 1], "three quarters were free: the chunk changed"
    assert int(state.chunk_groups[0]) == 2
    for _ in range(CHUNK // 2):
        allocate(state, group=2)
    assert state.counts[blocks.STOLEN] == 1
    allocate(state, group=1)
    assert state.counts.tolist() == [2, 1], "less than half was free: stolen, the group stays"
    interface.check(state)


@pytest.mark.parametrize(("free", "changed"), [(CHUNK // 2 - 1, 0), (CHUNK // 2, 1)])
def test_half_a_chunk_is_enough_to_change_its_group(free, changed):
    state = potad(CHUNK, caches=0, groups=2)
    for _ in range(CHUNK):
        allocate(state, group=1)
    for granule in range(free):
        interface.release(state, granule, 0)
    assert allocate(state, group=2) == 0
    assert state.counts.tolist() == [1, changed]


def test_the_largest_free_block_of_another_group_is_stolen():
    state = potad(2 * CHUNK, caches=0, groups=3)
    mine = [allocate(state, group=1 + place // CHUNK) for place in range(2 * CHUNK)]
    assert mine == list(range(2 * CHUNK))
    for granule in (*range(8), *range(CHUNK, CHUNK + 16)):
        interface.release(state, granule, 0)
    assert allocate(state, group=3) == CHUNK, "16 in a row, where group 1 has 8"


def test_a_chunk_that_a_claim_emptied_comes_back_to_the_pool():
    state = potad(2 * CHUNK, caches=0, groups=2)
    assert allocate(state, group=1) == 0
    assert allocate(state, kind=KERNEL, group=2) == CHUNK
    found = interface.claim(state, CHUNK, 9, FOLIO, 7, np.zeros(CHUNK + 2, MOVE))
    assert (int(found[0]), int(found[3])) == (0, 1), "the page of group 1 went to the other chunk"
    assert interface.release(state, 0, 0) == 9
    interface.check(state)
    assert allocate(state, order=9) == 0


def test_tight_breaks_the_smaller_free_block():
    granules = 1 << 14  # children of 4096 at the top
    ways = ("lowest", "tightest")
    loose, tight = (potad(granules, caches=0, placement=placement) for placement in ways)
    for state in (loose, tight):
        kept = [allocate(state, order=12) for _ in range(4)]
        interface.release(state, kept[0], 0)  # 4096 in a row
        interface.split(state, kept[3], 6)
        interface.release(state, kept[3], 0)  # 64 in a row, further up
    assert allocate(loose) == 0
    assert allocate(tight) == kept[3]


def test_a_pinned_block_goes_with_its_last_pin():
    state = potad(1024, caches=1)
    granule = allocate(state, order=4)
    assert [interface.pin(state, granule + 3) for _ in range(2)] == [Outcome.DONE] * 2
    assert interface.split(state, granule, 0) == NONE, "as Linux cannot split a pinned folio"
    assert interface.release(state, granule, 0) == PUT_OFF
    assert interface.unpin(state, granule) == (Outcome.DONE, NONE)
    assert tuple(locate(state.heads, granule + 3)) == (granule, 4, FOLIO, 7)
    assert interface.unpin(state, granule + 15) == (Outcome.RELEASED, 4)
    assert locate(state.heads, granule + 3)[0] == NONE
    assert interface.unpin(state, granule) == (Outcome.ABSENT, NONE)
