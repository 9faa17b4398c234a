"""What is sought on a map, and what a range of it holds: by hand, and against a twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import allocate, blocks_of, ops_of, space_of, split

from potadlab.core.layout import POISON
from potadlab.dashboard import finding
from potadlab.dashboard.shades import Shades
from potadlab.errors import BadSize
from potadlab.kinds import KIND
from potadlab.session import Session
from potadlab.traces.trace import Trace
from potadlab.views import theme

PAGE = 4096
SLAB, ANON = KIND["slab"], KIND["anon"]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0x1a21c0000", 0x1A21C0, 0x1A21C1),
        (" 4GiB ", 1 << 20, (1 << 20) + 1),
        ("4GiB-5GiB", 1 << 20, 5 << 18),
        ("0x1000 .. 0x8000", 1, 8),
        ("8193", 2, 3),
    ],
)
def test_addresses_and_ranges_are_read(text, low, high):
    assert finding.read(text, PAGE) == finding.Sought(low, high)


@pytest.mark.parametrize("text", ["0x", "0xzz", "4GiB-3GiB", "5 apples", "1-2-3", "4GiB-4GiB"])
def test_what_is_no_address_is_said_in_one_line(text):
    with pytest.raises(BadSize) as told:
        finding.read(text, PAGE)
    assert text.split("-")[0][:4] in str(told.value)
    assert "\n" not in str(told.value)


def test_words_are_kinds_or_parts_of_owners():
    assert finding.read("slab", PAGE) == finding.Sought(word="slab")
    live = blocks_of((0, 0, 0, SLAB, 0), (4, 2, 1, ANON, 1), (8, 0, 2, SLAB, -1))
    owners = ["Redis-Server", "slabinfo"]
    assert finding.matching(live, owners, "slab").tolist() == [0, 8]  # a kind's name first
    assert finding.matching(live, owners, "redis").tolist() == [0]
    assert finding.matching(live, owners, "info").tolist() == [4]
    assert finding.matching(live, owners, "nobody").tolist() == []


def test_a_range_by_hand():
    live = blocks_of((0, 2, 0, ANON, 0), (5, 0, -1, POISON, -1), (8, 1, 1, SLAB, 0))
    found = finding.held(live, np.array([[0, 16]]), 2, 20)
    assert found.by_kind == [("anon", 1, 2), ("slab", 1, 2)]
    assert (found.blocks, found.failed, found.outside) == (2, 1, 4)
    assert (found.free, found.largest_free) == (1 + 2 + 6, 6)
    assert finding.told("potad", found, PAGE) == (
        "potad: 2 blocks (anon 8 KiB in 1, slab 8 KiB in 1); free 36 KiB, at most 24 KiB in a row; "
        "failed 4 KiB; out of service 16 KiB"
    )


@given(st.data())
def test_a_range_adds_up(data):
    """Every granule of a range is a block's, free, failed or out of service."""
    places = data.draw(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), max_size=8))
    taken, rows = set(), []
    for start, order in places:
        granule = start << order
        span = set(range(granule, granule + (1 << order)))
        if granule + (1 << order) <= 64 and not span & taken:
            taken |= span
            rows.append((granule, order, len(rows), data.draw(st.sampled_from([SLAB, ANON])), 0))
    failed = data.draw(st.sets(st.integers(0, 63), max_size=3))
    rows += [(granule, 0, -1, POISON, -1) for granule in failed]
    live = blocks_of(*sorted(rows, key=lambda row: (row[0], row[3] == POISON)))
    low = data.draw(st.integers(0, 62))
    high = data.draw(st.integers(low + 1, 70))
    found = finding.held(live, np.array([[0, 64]]), low, high)
    inside = set(range(low, min(high, 64)))
    free = inside - taken - failed
    assert sum(many for _, _, many in found.by_kind) == len(inside & taken)
    spans = [(row[0], row[0] + (1 << row[1])) for row in rows if row[3] != POISON]
    assert found.blocks == sum(1 for start, end in spans if end > low and start < high)
    assert found.blocks == sum(count for _, count, _ in found.by_kind)
    assert (found.free, found.failed) == (len(free), len(inside & failed))
    assert found.outside == max(high - 64, 0)
    runs = [sum(1 for _ in iter_run(free, at)) for at in free]
    assert found.largest_free == max(runs, default=0)


def test_what_a_range_holds_is_told_by_kind_and_the_rest_in_one():
    names = ["anon", "file", "slab", "ptdesc", "buffer", "network", "pipe", "stack"]
    kinds = [(name, number + 1, 100 - 10 * number) for number, name in enumerate(names)]
    found = finding.Held(4096, 36, kinds, free=32, largest_free=16, outside=8, failed=1)
    assert finding.told("potad", found, PAGE) == (
        "potad: 36 blocks (anon 400 KiB in 1, file 360 KiB in 2, slab 320 KiB in 3, "
        "ptdesc 280 KiB in 4, buffer 240 KiB in 5, network 200 KiB in 6, others 280 KiB); "
        "free 128 KiB, at most 64 KiB in a row; failed 4 KiB; out of service 32 KiB"
    )


def iter_run(free, at):
    while at in free:
        yield at
        at += 1


def test_owners_are_ranked_by_what_they_ask_for_and_pieces_keep_their_group():
    ops = ops_of(
        allocate(1, 2, owner=1, kind=SLAB, migratetype=1),
        allocate(2, 3, owner=0, kind=ANON),
        allocate(3, 0, owner=1, kind=ANON, migratetype=2),
        split(1, 0, into=4),
    )
    start = blocks_of((0, 0, 0, SLAB, -1))
    space = space_of([(0, 64)], (0, 64))
    owners = ["small", "smaller", "silent"]
    trace = Trace("by hand", None, {}, ops, 8, owners, 4, PAGE, "", space, start, 0, 0)
    shades = Shades(Session(trace, ["potad"]))
    assert shades.names == ["small", "smaller"]
    shade = shades.at("potad", 3, theme.BY_GROUP)
    assert shade.now_ns == 20
    assert shade.owners.tolist() == [0, 1, theme.OTHER_OWNER]
    assert shade.groups.tolist() == [0, 1, 1, 2, 1, 1, 1, 1]
    assert shades.at("potad", 0, theme.BY_GROUP).now_ns == 0
