"""Linux's buddy by hand: small cases whose answers follow from mm/page_alloc.c."""

import random

import numpy as np
import pytest

from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import NONE, OP, PUT_OFF, Outcome
from potadlab.core.linux import lists, memdesc, percpu
from potadlab.core.linux.pages import CACHED, TAIL_MAPPING
from potadlab.core.linux.state import (
    ALL_MARKS,
    HIGHATOMIC,
    MOVABLE,
    NO_MARKS,
    ONLINE,
    PCP_LISTS,
    RECLAIMABLE,
    UNMOVABLE,
    boost_marks,
    type_of,
)
from potadlab.grouping import groups_of
from potadlab.kinds import KIND, facts

ANON, SLAB, PTDESC = KIND["anon"], KIND["slab"], KIND["ptdesc"]
PLAIN = {"pcp": 0, "tails": 0, "migratetypes": 0, "watermarks": NO_MARKS}
TYPED = PLAIN | {"migratetypes": 1}


def made(end, zones=None, **options):
    """A buddy over [0, end), all of it free."""
    state = ALLOCATORS["buddy"].new(np.array(zones or [(0, end)]), facts(), **options)
    if zones is None:
        interface.add(state, 0, end)
    return state


def ask(state, order, kind=ANON, cpu=0, group=0):
    return int(interface.allocate(state, order, kind, 0, NONE, cpu, group))


def blocks(state, order, migratetype=MOVABLE, zone=0):
    """First granules of a free list, from its head."""
    found, granule = [], int(lists.list_of(state, zone, order, migratetype)["first"])
    while granule != NONE:
        found.append(granule)
        granule = int(state.pages.frames[granule]["next"])
    return found


def cached(state, order, migratetype=MOVABLE, zone=0, cpu=0):
    """First granules of a per-CPU list, from its head."""
    at = (zone * state.cpus + cpu) * PCP_LISTS + percpu.index_of(order, migratetype)
    found, granule = [], int(state.pcp_lists[at]["first"])
    while granule != NONE:
        found.append(granule)
        granule = int(state.pages.frames[granule]["next"])
    return found


# ---- core lists -----------------------------------------------------------------------------


def test_fresh_memory_is_served_from_its_lowest_address():
    """__free_pages_core gives it to the tails of the lists."""
    state = made(4096, **PLAIN)
    assert [ask(state, 10) for _ in range(4)] == [0, 1024, 2048, 3072]
    assert ask(state, 10) == NONE


def test_expand_puts_upper_halves_at_the_heads_and_buddies_merge():
    state = made(2048, zones=[(0, 2048)], **PLAIN)
    interface.add(state, 0, 1024)
    assert ask(state, 0) == 0
    assert [blocks(state, order) for order in range(11)] == [[1 << o] for o in range(10)] + [[]]
    assert ask(state, 0) == 1
    assert ask(state, 1) == 2
    assert interface.release(state, 1, 0) == 0  # its buddy, 0, is live: no merge
    assert blocks(state, 0) == [1]
    assert interface.release(state, 0, 0) == 0  # merges to [0, 2), stops at live [2, 4)
    assert blocks(state, 0) == []
    assert blocks(state, 1) == [0]
    assert interface.release(state, 2, 0) == 1  # all merge to the one block of order 10
    assert [len(blocks(state, order)) for order in range(11)] == [0] * 10 + [1]


def test_a_free_block_goes_to_the_tail_if_its_merge_is_likely():
    """buddy_merge_likely: the buddy of the block that it would make is free."""
    state = made(16, **PLAIN)
    for granule in range(16):
        assert ask(state, 0) == granule
    for granule in (6, 7):  # [6, 8) is free, order 1
        interface.release(state, granule, 0)
    interface.release(state, 12, 0)
    interface.release(state, 9, 0)
    assert blocks(state, 0) == [9, 12], "the last one first"
    interface.release(state, 4, 0)  # with 5 it makes [4, 6), whose buddy [6, 8) is free
    assert blocks(state, 0) == [9, 12, 4]
    interface.release(state, 5, 0)
    assert blocks(state, 0) == [9, 12]
    assert blocks(state, 2) == [4]


def test_zones_do_not_merge_and_are_tried_in_order():
    state = made(0, zones=[(8, 16), (0, 8)], **PLAIN)
    interface.add(state, 0, 16)
    assert blocks(state, 3, zone=0) == [8]
    assert blocks(state, 3, zone=1) == [0]
    assert [ask(state, 3) for _ in range(3)] == [8, 0, NONE]


@pytest.mark.parametrize("max_order", [3, 8, 11])
def test_max_order_is_as_told(max_order):
    state = made(1 << 12, **PLAIN | {"max_order": max_order})
    assert ask(state, max_order + 1) == NONE
    assert [ask(state, max_order) for _ in range(2)] == [0, 1 << max_order]
    for granule in (0, 1 << max_order):
        assert interface.release(state, granule, 0) == max_order
    assert len(blocks(state, max_order)) == 1 << (12 - max_order)


# ---- migratetypes ---------------------------------------------------------------------------


def test_an_empty_type_claims_the_largest_block_of_another():
    """From order 9 up the pageblocks are retagged and the rest is the new type's."""
    state = made(2048, **TYPED)
    assert ask(state, 0, PTDESC) == 0
    assert [type_of(state, granule) for granule in (0, 512, 1024)] == [0, 0, 1]
    assert blocks(state, 9, UNMOVABLE) == [512]
    assert blocks(state, 8, UNMOVABLE) == [256]
    assert blocks(state, 10, MOVABLE) == [1024]
    assert ask(state, 0, ANON) == 1024, "movable stays with its own"
    assert ask(state, 0, SLAB) == 512, "reclaimable takes from unmovable first"
    assert type_of(state, 512) == RECLAIMABLE
    interface.check(state)


def half_full(live, kind=ANON):
    """One pageblock, `live` granules of it live from its start, the last 16 free at least."""
    state = made(512, **TYPED)
    for _ in range(live):
        ask(state, 0, kind)
    return state


def test_a_block_is_claimed_if_half_of_it_is_free_or_alike():
    """try_to_claim_block: 256 granules free, none of the live ones unmovable: claimed, to tails."""
    state = half_full(256)
    assert blocks(state, 8) == [256]
    assert ask(state, 0, PTDESC) == 256
    assert type_of(state, 0) == UNMOVABLE
    assert [len(blocks(state, order, UNMOVABLE)) for order in range(9)] == [1] * 8 + [0]
    interface.check(state)


def test_a_block_is_stolen_where_claiming_does_not_pay():
    """257 movable granules live: 255 free, none alike; the rest stays movable's."""
    state = half_full(257)
    assert ask(state, 0, PTDESC) == 257, "the smallest block is stolen"
    assert type_of(state, 0) == MOVABLE
    assert all(not blocks(state, order, UNMOVABLE) for order in range(10))
    assert blocks(state, 0) == []
    assert ask(state, 0, ANON) == 258
    interface.check(state)


def test_unmovable_memory_that_is_there_counts_as_alike():
    """100 page tables and 157 movable: 255 free and 100 alike are enough."""
    state = half_full(100, PTDESC)  # they claim the pageblock
    for _ in range(157):
        ask(state, 0, ANON)  # stolen from it, or claimed back
    before = type_of(state, 0)
    assert before == MOVABLE, "255 or more were free or movable: claimed back at the first"
    assert ask(state, 0, PTDESC) == 257
    assert type_of(state, 0) == UNMOVABLE


def test_movable_does_not_claim_small_blocks():
    """should_try_claim_block: below half the pageblock's order only for the other types."""
    state = made(512, **TYPED)
    taken = [ask(state, 0, PTDESC) for _ in range(512)]
    for granule in taken[:8]:
        interface.release(state, granule, 0)
    assert blocks(state, 3, UNMOVABLE) == [0]
    assert ask(state, 0, ANON) == 0
    assert type_of(state, 0) == UNMOVABLE
    for granule in taken[256:]:  # order 8: enough free, and large enough
        interface.release(state, granule, 0)
    assert ask(state, 0, ANON) == 1, "all of the pageblock's free pieces are movable's now"
    assert type_of(state, 0) == MOVABLE
    assert blocks(state, 8) == [256]


def test_movable_does_not_claim_for_a_single_page():
    """All of the pageblock is alike, but the block is of order 0: stolen, and the type stays."""
    state = made(512, **TYPED)
    for _ in range(512):
        ask(state, 0, ANON)
    state.types[0] = UNMOVABLE ^ MOVABLE
    interface.release(state, 5, 0)
    assert ask(state, 0, ANON) == 5
    assert type_of(state, 0) == UNMOVABLE


def test_several_zones_claim_whole_pageblocks_before_they_steal():
    """ALLOC_NOFRAGMENT: the upper zone has single free pages, the lower one a whole pageblock."""
    state = made(0, zones=[(512, 1024), (0, 512)], **TYPED)
    interface.add(state, 0, 1024)
    upper = [ask(state, 0, ANON) for _ in range(512)]
    assert upper == list(range(512, 1024))
    interface.release(state, 600, 0)
    assert ask(state, 0, PTDESC) == 0
    assert type_of(state, 0) == UNMOVABLE
    assert ask(state, 8, PTDESC) == 256
    for _ in range(255):
        ask(state, 0, PTDESC)
    assert ask(state, 0, PTDESC) == 600, "nothing else is left"


def test_unlike_pageblocks_merge_and_take_one_type():
    state = made(1024, **TYPED)
    low = ask(state, 9, PTDESC)  # claims both
    high = ask(state, 9, PTDESC)
    state.types[1] = 0  # MOVABLE is kept as 0
    interface.release(state, low, 0)
    interface.release(state, high, 0)
    assert blocks(state, 10, MOVABLE) == [0]
    assert [type_of(state, granule) for granule in (0, 512)] == [MOVABLE, MOVABLE]
    interface.check(state)


def test_the_start_tells_the_types_of_pageblocks():
    """Most of what lives in it; a tie is movable."""
    state = made(0, zones=[(0, 2048)], **TYPED)
    for granule, kind in ((0, PTDESC), (512, SLAB), (1024, PTDESC), (1025, ANON)):
        interface.adopt(state, granule, 0, kind, 0)
    for start, end in ((1, 512), (513, 1024), (1026, 2048)):
        interface.add(state, start, end)
    assert ask(state, 0, ANON) == 1026
    assert [type_of(state, start) for start in (0, 512, 1024, 1536)] == [0, 2, 1, 1]
    assert ask(state, 0, PTDESC) == 1
    assert ask(state, 0, SLAB) == 513
    interface.check(state)


# ---- per-CPU lists --------------------------------------------------------------------------


def test_batch_and_high_are_those_of_a_recorded_zone():
    """zoneinfo where compile_redis was recorded: three zones, two CPUs, managed as given here."""
    state = ALLOCATORS["buddy"].new(
        np.array([(1048576, 6553600), (4096, 1048576), (1, 4096)]), facts()
    )
    for zone, managed in zip(state.zones, (1409024, 772915, 3840), strict=True):
        zone["managed"] = managed
    ask(state, 0, cpu=1)
    assert state.zones["batch"].tolist() == [63, 63, 1]
    assert state.zones["high_min"].tolist() == [6806, 3733, 18]
    assert state.zones["high_max"].tolist() == [88064, 48307, 240]
    reserve = np.array([0, 5504, 8523])  # protection, on top of the marks
    assert (state.zones["min"] - reserve).tolist() == [10891, 5974, 29]
    assert (state.zones["low"] - reserve).tolist() == [13613, 7467, 36]


def test_a_refill_takes_a_batch_and_doubles_it():
    """63 pages, then 126; they are handed out in rising order, as a split block gives them."""
    state = made(1 << 20, migratetypes=0)
    assert [ask(state, 0) for _ in range(63)] == list(range(63))
    assert cached(state, 0) == []
    assert ask(state, 0) == 63
    assert len(cached(state, 0)) == 125
    assert interface.release(state, 10, 0) == 0
    assert cached(state, 0)[0] == 10, "the head of the list, and the next to go"
    assert state.pages.frames[10]["use"] == CACHED
    assert ask(state, 0) == 10
    assert ask(state, 3) == 192, "orders above 0: batch >> order"
    assert cached(state, 3) == [200 + 8 * i for i in range(6)]


def test_each_cpu_and_type_has_a_list_of_its_own():
    state = made(1 << 20)
    assert ask(state, 0, ANON, cpu=0) == 0
    assert ask(state, 0, ANON, cpu=1) == 63
    assert state.counts[ONLINE] == 2
    assert ask(state, 0, PTDESC, cpu=1) == 1024, "a pageblock of its own, claimed by the refill"
    assert ask(state, 0, ANON, cpu=1, group=1 + UNMOVABLE) == 1025, "as the request says"


def test_too_many_go_back_from_the_tail():
    """high is reached: as many as were freed in a row, at least a batch, leave high - batch."""
    state = made(1 << 20, migratetypes=0)
    high_min = 100  # a low watermark of 400 and four CPUs, say
    taken = [ask(state, 0) for _ in range(2000)]
    pcp = state.pcps[0]
    interface.drain(state)
    assert pcp["count"] == 0
    state.zones[0]["high_min"] = state.zones[0]["high_max"] = high_min
    pcp["high"], pcp["free_count"] = high_min, 0
    for granule in taken[0:99]:
        interface.release(state, granule, 0)
    assert pcp["count"] == 99
    interface.release(state, taken[99], 0)
    assert pcp["count"] == 100 - 63, "clamp(free_count 100, batch 63, high - batch 37)"
    assert cached(state, 0)[0] == taken[99]
    assert cached(state, 0)[-1] == taken[63], "the oldest went"


def test_a_list_is_not_longer_than_its_share_once_more_cpus_are_there():
    state = made(1 << 14, migratetypes=0)
    taken = [ask(state, 0) for _ in range(3000)]
    assert state.pcps[0]["high"] > 256
    ask(state, 0, cpu=7)
    assert state.zones[0]["high_max"] == (1 << 14) // 8 // 8
    assert state.pcps["high"][:7].tolist() == [256] + [127] * 6, "low 819 + 204, of 8"
    for granule in taken:
        interface.release(state, granule, 0)
    assert state.pcps[0]["count"] <= 256


def test_freed_high_orders_go_back_at_once():
    """free_high: a batch has been freed without an allocation, and the last was one too."""
    state = made(1 << 20, migratetypes=0)
    taken = [ask(state, 3) for _ in range(64)]
    interface.drain(state)
    state.pcps[0]["free_count"] = 0
    for granule in taken[:8]:
        interface.release(state, granule, 0)
    assert state.pcps[0]["count"] == 64, "free_count was 56 before the eighth: not yet"
    interface.release(state, taken[8], 0)
    assert state.pcps[0]["count"] == 0


def test_less_than_a_batch_of_high_orders_stays():
    """PCPF_FREE_HIGH_BATCH: however much was freed before, less than a batch is kept."""
    state = made(1 << 20, migratetypes=0)
    taken = [ask(state, 3) for _ in range(64)]
    interface.drain(state)
    pcp = state.pcps[0]
    pcp["free_count"] = 1000
    for granule in taken[:7]:
        interface.release(state, granule, 0)
    assert pcp["count"] == 56
    interface.release(state, taken[7], 0)
    assert pcp["count"] == 0, "64 are a batch of 63"


def test_a_page_goes_back_to_the_type_that_its_pageblock_has():
    state = made(1024)
    page = ask(state, 0, PTDESC)
    state.types[page >> 9] = RECLAIMABLE ^ MOVABLE
    interface.release(state, page, 0)
    assert cached(state, 0, RECLAIMABLE) == [page]


def test_huge_pages_have_a_list_and_order_four_has_none():
    state = made(1 << 14, migratetypes=0)
    huge = ask(state, 9)
    interface.release(state, huge, 0)
    assert cached(state, 9)[0] == huge
    some = ask(state, 4)
    interface.release(state, some, 0)
    assert state.pages.frames[some]["use"] != CACHED


def test_nothing_is_refused_while_a_list_holds_it():
    state = made(64, migratetypes=0)
    taken = [ask(state, 0) for _ in range(64)]
    for granule in taken:
        interface.release(state, granule, granule % 3)
    assert ask(state, 6) == 0
    interface.check(state)


# ---- compound tails -------------------------------------------------------------------------


def test_tails_name_their_head_and_are_cleared():
    state = made(16, migratetypes=0, pcp=0)
    block = ask(state, 2)
    tails = state.pages.frames[block + 1 : block + 4]
    assert tails["mapping"].tolist() == [TAIL_MAPPING] * 3
    assert tails["next"].tolist() == [block + 1] * 3
    assert state.pages.frames[block]["mapping"] == 0
    interface.split(state, block, 1)
    assert state.pages.frames["mapping"][block : block + 4].tolist() == [0, TAIL_MAPPING] * 2
    assert state.pages.frames["next"][[block + 1, block + 3]].tolist() == [block + 1, block + 3]
    interface.release(state, block, 0)
    interface.release(state, block + 2, 0)
    assert not state.pages.frames["mapping"].any()


def test_without_tails_none_is_touched():
    state = made(1024, **PLAIN)
    interface.release(state, ask(state, 9), 0)
    assert not state.pages.frames["mapping"].any()


# ---- watermarks -----------------------------------------------------------------------------


def test_the_low_watermark_sends_to_the_next_zone():
    """Upper zone of 4096 granules: min 204, low 255 of 10240 and 5 %; order 0, no lists."""
    options = PLAIN | {"watermarks": 1}
    state = made(0, zones=[(6144, 10240), (0, 6144)], **options)
    interface.add(state, 0, 10240)
    places = [ask(state, 0) for _ in range(4096)]
    low = int(state.zones[0]["low"])
    assert low == 512 * 4096 // 10240 + 512 * 4096 // 10240 // 4
    assert places[: 4096 - low] == list(range(6144, 10240 - low))
    assert places[4096 - low] == 0, "then the lower zone"


def test_below_min_ordinary_requests_are_refused_if_told():
    state = made(10240, **PLAIN | {"watermarks": ALL_MARKS})
    served = 0
    while ask(state, 0) != NONE:
        served += 1
    assert served == 10240 - int(state.zones[0]["min"])
    assert int(state.zones[0]["min"]) == 512, "5 % of 10240; huge pages would want 5632"
    interface.check(state)


def test_a_large_request_needs_a_large_block_above_the_mark():
    state = made(10240, **PLAIN | {"watermarks": ALL_MARKS})
    while ask(state, 10) != NONE:
        pass
    assert state.zones[0]["free"] >= 1024, "one is left for those who may go below"


# ---- reserves and boosts --------------------------------------------------------------------

ATOMIC = 1 + HIGHATOMIC  # the group of a request that must not wait


def short(**options):
    """128 pageblocks, in use up to the min watermark: 3276 granules, 5 %, are free at the end."""
    state = made(1 << 16, **TYPED | {"watermarks": ALL_MARKS} | options)
    for order in (8, 0):
        while ask(state, order) != NONE:
            pass
    return state


def reserved(state):
    """Pageblocks of the type, and the count that the zone keeps of their granules."""
    types = [int(type_of(state, block << 9)) for block in range(1 << 7)]
    return types.count(HIGHATOMIC), int(state.zones[0]["reserved"])


def test_a_request_that_must_not_wait_goes_below_min_and_its_pageblock_is_kept():
    """min 3276 (5 %), of which ALLOC_MIN_RESERVE leaves a half and ALLOC_NON_BLOCK 3/4 of that."""
    state = short()
    least = int(state.zones[0]["min"])
    assert least == 65536 // 20 == state.zones[0]["free"]
    assert ask(state, 1) == NONE, "an ordinary request"
    first = ask(state, 1, group=ATOMIC)
    assert first == 122 * 512, "from a pageblock of its own: what is free begins at 62260"
    assert reserved(state) == (1, 512)
    assert type_of(state, first) == HIGHATOMIC
    assert ask(state, 0, group=ATOMIC) == NONE, "a single page is none of high order"
    interface.check(state)
    served = 2
    while ask(state, 1, group=ATOMIC) != NONE:
        served += 2
    half = least - least // 2
    mark = half - half // 4
    assert least - served - 1 <= mark < least - served + 1, "the next one would not be above it"
    assert reserved(state) == (2, 1024), "1 % of 65536 granules: 655, in whole pageblocks"
    interface.check(state)


def test_what_is_reserved_is_no_fallback_and_counts_for_no_other():
    state = short()
    ask(state, 1, group=ATOMIC)
    kept = int(state.zones[0]["highatomic"])
    assert kept > 0
    state.zones[0]["min"] = 0
    taken = {ask(state, 0, PTDESC) for _ in range(int(state.zones[0]["free"]) - kept)}
    assert NONE not in taken
    assert {int(type_of(state, granule)) for granule in taken} <= {UNMOVABLE, MOVABLE}
    assert reserved(state) == (1, 512)
    assert ask(state, 3, group=ATOMIC) != NONE, "it is there for the next one"


def test_reserves_are_given_up_before_anything_is_refused():
    state = short()
    ask(state, 1, group=ATOMIC)
    state = state._replace(watermarks=NO_MARKS)
    served = 0
    while ask(state, 0, PTDESC) != NONE:
        served += 1
    assert state.zones[0]["free"] == 0
    assert reserved(state) == (0, 0)
    interface.check(state)


def test_two_reserved_pageblocks_that_merged_are_given_up_one_by_one():
    state = made(1 << 16, **TYPED | {"watermarks": NO_MARKS})
    taken = [ask(state, 9) for _ in range(128)]
    for block in (0, 1):
        state.types[taken[block] >> 9] = HIGHATOMIC ^ MOVABLE
        interface.release(state, taken[block], 0)
    state.zones[0]["reserved"] = 1024
    assert blocks(state, 10, HIGHATOMIC) == [0]
    assert ask(state, 9) == 0
    assert reserved(state) == (1, 512)
    assert blocks(state, 9, HIGHATOMIC) == [512]
    interface.check(state)


def test_without_reserves_it_is_an_ordinary_request():
    state = short(highatomic=0)
    assert ask(state, 1, group=ATOMIC) == NONE
    state = made(1 << 16, **TYPED)
    assert type_of(state, ask(state, 1, group=ATOMIC)) == UNMOVABLE, "and the kernel's own"


def test_nothing_is_reserved_above_the_low_watermark_nor_in_a_small_zone():
    state = made(1 << 16, **TYPED | {"watermarks": ALL_MARKS})
    assert ask(state, 1, group=ATOMIC) != NONE
    assert reserved(state) == (0, 0)
    small = made(1 << 14, **TYPED | {"watermarks": ALL_MARKS})
    while ask(small, 0) != NONE:
        pass
    assert ask(small, 1, group=ATOMIC) != NONE
    assert small.zones[0]["reserved"] == 0, "1 % is less than a pageblock"


def test_a_claim_of_less_than_a_pageblock_boosts_the_marks():
    """By 512 granules each time, up to 150 % of high; a drain, as kswapd, takes it back."""
    state = made(8192, **TYPED | {"boost": 1})
    for _ in range(8192 - 256):
        ask(state, 0)
    own = state.zones[0]
    before = own[["min", "low", "high"]].tolist()
    assert before == (409, 511, 613)  # 5 % of 8192; a quarter more for each
    ask(state, 0, PTDESC)
    assert own["boost"] == 512
    assert own[["min", "low", "high"]].tolist() == (921, 1023, 613)
    for kind in (SLAB, PTDESC, SLAB):
        ask(state, 7, kind)
    assert own["boost"] == 613 * 3 // 2
    interface.drain(state)
    assert own["boost"] == 0
    assert own[["min", "low", "high"]].tolist() == before


def test_boosts_are_off_unless_asked_for_and_in_a_small_zone():
    for size, options in ((8192, {}), (2047, {"boost": 1})):
        state = made(size, **TYPED | options)
        for _ in range(size - 256):
            ask(state, 0)
        ask(state, 0, PTDESC)
        assert state.zones[0]["boost"] == 0


def test_a_boost_sends_to_the_next_zone_but_a_single_page_ignores_it_at_min():
    options = TYPED | {"watermarks": ALL_MARKS, "boost": 1}
    state = made(0, zones=[(8192, 16384), (0, 8192)], **options)
    interface.add(state, 0, 16384)
    ask(state, 0)
    own, other = state.zones
    boost_marks(state, 0)
    own["low"] = own["free"] + 1
    assert ask(state, 0) < 8192, "below low here"
    other["low"] = other["free"] + 1
    own["min"] = own["free"] + own["boost"] - 1
    other["min"] = other["free"] + 1
    assert ask(state, 1) == NONE
    assert ask(state, 0) >= 8192


@pytest.mark.parametrize("seed", range(4))
def test_reserves_and_boosts_keep_every_invariant(seed):
    """Two zones of 100 pageblocks of 64, nearly full, all sorts of requests; every block apart."""
    dice, half = random.Random(seed), 100 * 64
    options = {"page": 9, "pcp": 2 * (seed % 2), "boost": 1, "watermarks": 1 + seed // 2}
    state = made(0, zones=[(half, 2 * half), (0, half)], **options)
    interface.add(state, 0, 2 * half)
    live, used, most = [], set(), 0
    for turn in range(4000):
        if turn % 500 == 499:
            interface.check(state)
            interface.drain(state)
        group, order = dice.choice([0, 1, 2, 3, ATOMIC, ATOMIC]), dice.choice([0, 0, 1, 2, 3, 4])
        found = ask(state, order, dice.choice([ANON, SLAB, PTDESC]), turn % 2, group)
        own = set(range(found, found + (1 << order))) if found != NONE else set()
        assert not own & used
        used |= own
        if own:
            live.append(found)
        while live and (found == NONE or len(used) > 2 * half - 600):
            gone = live.pop(dice.randrange(len(live)))
            used -= set(range(gone, gone + (1 << interface.release(state, gone, turn % 2))))
            found = 0
        most = max(most, int(state.zones["reserved"].sum()))
    assert most > 0
    interface.check(state)
    for granule in live:
        interface.release(state, granule, 0)
    interface.check(state)


def test_a_type_tells_what_must_not_wait():
    """Linux's HighAtomic; to an allocator without reserves it is the kernel's own."""
    ops = np.zeros(4, OP)
    ops["migratetype"] = 0, 1, HIGHATOMIC, 255
    ops["kind"] = SLAB
    assert groups_of(ops, "linux", 0).tolist() == [1, 2, ATOMIC, 1]
    assert groups_of(ops, "migratetype", 0).tolist() == [1, 2, 1, 1]


def test_failed_memory_in_a_per_cpu_list_leaves_service():
    state = made(64, migratetypes=0)
    page = ask(state, 0)
    interface.release(state, page, 0)
    assert interface.fail(state, page) == Outcome.POISONED_FREE
    assert interface.fail(state, page) == Outcome.POISONED_BEFORE
    assert page not in [ask(state, 0) for _ in range(63)]
    assert ask(state, 0) == NONE


# ---- memdesc --------------------------------------------------------------------------------


def described(**options):
    return made(64, **PLAIN | {"descriptor": "memdesc"} | options)


def test_each_page_has_a_word_and_the_block_a_record():
    state = described()
    words, arena = state.pages.words, state.pages.arenas[ANON]
    first, second = ask(state, 2), ask(state, 1)
    assert arena["words"] * 8 == 80, "a folio"
    assert arena["live"] == 2
    assert len({int(word) >> 18 for word in words[first : first + 4]}) == 1, "the same record"
    assert int(words[second]) >> 18 != int(words[first]) >> 18
    assert memdesc.bytes_of(state.pages, 64) == {"descriptors": 160, "lookup": 512}
    interface.release(state, first, 0)
    assert arena["live"] == 1
    assert not words[first + 1 : first + 4].any(), "no free page leads to a record"
    assert int(words[ask(state, 0)]) >> 18 == 0, "the last one that was freed is taken first"


def test_plain_kernel_pages_have_no_record():
    state = described()
    page = ask(state, 0, KIND["pipe"])
    assert memdesc.bytes_of(state.pages, 64)["descriptors"] == 0
    assert interface.pin(state, page) == Outcome.IGNORED
    folio = ask(state, 0)
    assert interface.pin(state, folio) == Outcome.DONE
    assert interface.release(state, folio, 0) == PUT_OFF
    assert interface.unpin(state, folio) == (Outcome.RELEASED, 0)


def test_pieces_have_records_of_their_own():
    state = described()
    block = ask(state, 3)
    assert interface.split(state, block, 1) == 3
    assert state.pages.arenas[ANON]["live"] == 4
    for piece in range(block, block + 8, 2):
        assert interface.release(state, piece, 0) == 1
    assert state.pages.arenas[ANON]["live"] == 0
    interface.check(state)


def test_memdesc_changes_no_place():
    """What allocates and what describes are independent: the same places with either."""
    both = [made(4096, descriptor=word) for word in ("page", "memdesc")]
    for turn in range(200):
        places = {ask(state, turn % 5, (ANON, PTDESC, SLAB)[turn % 3], turn % 2) for state in both}
        assert len(places) == 1
        if turn % 3 == 0:
            granule = places.pop()
            assert len({int(interface.release(state, granule, 1)) for state in both}) == 1


def test_a_space_that_the_links_do_not_reach_is_refused():
    with pytest.raises(MemoryError, match="links"):
        ALLOCATORS["buddy"].new(np.array([(0, 1 << 29)]), facts(), descriptor="memdesc")
