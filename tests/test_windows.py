"""Where a claim looks: columns worked out by hand, and a slow count of every window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import blocks_of

from potadlab.core.layout import NONE, POISON
from potadlab.kinds import KIND, facts
from potadlab.views import claims, failures, windows

ANON, SLAB = KIND["anon"], KIND["slab"]
MOVABLE = facts()["movable"] != 0
RANGES = np.array([(0, 30), (32, 64)], np.int64)
ZONES = np.array([(16, 64), (0, 16)], np.int64)  # in order of trial


def look(blocks, granules, order, nearest=16):
    return windows.columns(blocks, RANGES, ZONES, MOVABLE, granules, order, nearest)


def test_windows_of_a_step_by_hand():
    """8 granules at 4: from 0, 4, 8 in the lower zone; from 16, 20 and 32 to 56 above."""
    blocks = blocks_of(
        (1, 0, 0, ANON, 0), (9, 0, 1, SLAB, 0), (22, 1, 2, ANON, 0), (34, 0, 3, ANON, 0),
        (38, 1, 4, ANON, 0), (43, 0, NONE, POISON, NONE), (56, 3, 5, ANON, 0),
    )  # fmt: skip
    found = look(blocks, 8, 2)
    assert (found.order, found.chunks) == (2, 2)
    assert found.count == 3 + 2 + 7
    assert found.free == 2  # 44 and 48
    assert found.movable == 6  # 0, 16, 20, 32, 52 (all of the block from 56), 56
    assert found.start.tolist() == [44, 48, 0, 16, 20, 32, 52, 56, 40, 4, 8, 36]
    assert found.moving.tolist() == [0, 0, 1, 2, 2, 3, 8, 8, 0, 0, 0, 2]
    assert found.staying.tolist() == [0] * 8 + [1] * 4
    assert look(blocks, 8, 2, nearest=3).start.tolist() == [44, 48, 0]
    assert windows.inside(blocks, 36, 8)["granule"].tolist() == [38, 43]
    assert windows.inside(blocks, 60, 2)["granule"].tolist() == [56]


def test_nothing_lives_and_nothing_fits():
    found = look(blocks_of(), 16, 3)
    assert (found.count, found.free, found.movable) == (4, 4, 0)
    assert look(blocks_of(), 64, 6).count == 0


kinds = st.sampled_from((ANON, SLAB, POISON))
rows = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 3), kinds))


@given(rows, st.integers(1, 5), st.integers(0, 3))
def test_every_window_counted_one_by_one(rows, size, order):
    taken, live = set(), []
    for granule, wide, kind in rows:
        wide = 0 if kind == POISON else wide
        start = granule >> wide << wide
        cells = set(range(start, start + (1 << wide)))
        if not cells & taken:
            taken |= cells
            live.append((start, wide, len(live), kind, 0))
    blocks, granules = blocks_of(*sorted(live)), size << order
    expected = []
    for low, high in ZONES.tolist():
        for start in range(low, high - granules + 1):
            inside = set(range(start, start + granules))
            served = all(any(a <= one < b for a, b in RANGES.tolist()) for one in inside)
            if start % (1 << order) or not served:
                continue
            touched = [
                (kind, set(range(at, at + (1 << wide))))
                for at, wide, _, kind, _ in live
                if set(range(at, at + (1 << wide))) & inside
            ]
            moving = sum(len(cells) for kind, cells in touched if kind == ANON)
            staying = sum(len(cells & inside) for kind, cells in touched if kind != ANON)
            expected.append((start, moving, staying))
    found = look(blocks, granules, order, nearest=1000)
    assert found.count == len(expected)
    assert found.free == sum(moving + staying == 0 for _, moving, staying in expected)
    assert found.movable == sum(moving > 0 and staying == 0 for _, moving, staying in expected)
    expected.sort(key=lambda one: (one[2], one[1]))
    told = zip(found.start.tolist(), found.moving.tolist(), found.staying.tolist(), strict=True)
    assert list(told) == expected


class Surveyed:
    allocator, may_move = "cma:area=64MiB", True
    size_bytes = np.array([1 << 20, 2 << 20, 4 << 20])
    done = np.array([[True, True], [True, False], [False, False]])
    moved_bytes = np.array([[0, 1 << 20], [3 << 20, 5 << 20], [0, 9 << 20]])  # some in vain
    in_vain = np.array([[0, 4], [2, 9], [7, 7]])


def test_the_curve_by_size():
    found = claims.columns(Surveyed)
    assert list(found) == ["size_bytes", "success_percent", "copied_mib", "in_vain"]
    assert found["size_bytes"].tolist() == [1 << 20, 2 << 20, 4 << 20]
    assert found["success_percent"].tolist() == [100, 50, 0]
    np.testing.assert_equal(found["copied_mib"], [0.5, 3, np.nan])
    np.testing.assert_equal(found["in_vain"], [2, 2, np.nan])
    assert claims.name(Surveyed) == "cma, may migrate"
    drawn = claims.draw([Surveyed])
    assert [plot.yaxis.axis_label for plot in drawn] == [
        "of the moments, %", "MiB, mean", "ranges or steps, mean",
    ]  # fmt: skip


class Heard:
    allocator, kind, owner, handle = "potad", "slab", "<b>me</b>", 3
    start_bytes, size_bytes, address, soft = 8192, 8192, 12288, False
    result, told, done, linux, words = "Delayed", ("owner",), "taken off at release", "Ignored", "w"


class Outside(Heard):
    allocator, kind, owner = "buddy", "free", "nobody"
    soft, result, told, done, linux = True, "", (), "nothing", ""


def test_notifications_as_columns():
    found = failures.columns([(7, 0.5, [Heard, Outside]), (9, 1.5, [Heard])])
    assert found["number"] == [1, 1, 2]
    assert found["op"] == [7, 7, 9]
    assert found["time_s"] == [0.5, 0.5, 1.5]
    assert found["how"] == ["hard", "soft", "hard"]
    assert found["told"] == ["owner", "nobody", "owner"]
    assert found["outcome"] == ["Delayed", "not asked", "Delayed"]
    assert found["linux"] == ["Ignored", "not asked", "Ignored"]
    one = {name: column[0] for name, column in found.items()}
    assert one == {
        "number": 1, "op": 7, "time_s": 0.5, "address": 12288, "how": "hard",
        "allocator": "potad", "kind": "slab", "start_bytes": 8192, "size_bytes": 8192,
        "owner": "<b>me</b>", "told": "owner", "done": "taken off at release",
        "outcome": "Delayed", "linux": "Ignored", "words": "w",
    }  # fmt: skip
    assert all(column == [] for column in failures.columns([]).values())


@pytest.mark.parametrize("order", [0, 3])
def test_a_window_of_one_chunk(order):
    found = look(blocks_of((0, 0, 0, SLAB, 0)), 1 << order, order, nearest=1)
    assert found.chunks == 1
    assert found.start.tolist() == [16], "zones in order of trial"
