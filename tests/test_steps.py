"""The picture of steps: columns by hand in both allocators, and what holds for any two rows."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import potadlab as pl
from potadlab.core.layout import BLOCK, NONE
from potadlab.core.raster import FREE, HOLE, POISON
from potadlab.kinds import KIND
from potadlab.views import steps, theme

PAGE = 4096
SMALL = pl.Space.ram("64KiB", granule="4KiB")
SIZE_4, SIZE_8 = theme.FIRST_SIZE + 1, theme.FIRST_SIZE + 2
BOTH = pytest.mark.parametrize("make", [pl.Potad, pl.Buddy])


def rows(*made):
    """BLOCK[] of (granule, order, kind, owner)."""
    found = np.zeros(len(made), BLOCK)
    for block, (granule, order, kind, owner) in zip(found, made, strict=True):
        block["granule"], block["order"] = granule, order
        block["kind"], block["owner"] = KIND[kind], owner
    return found


def step(blocks, number=1, words="an op", ok=True):
    return SimpleNamespace(number=number, words=words, blocks=blocks, ok=ok)


def columns(history, ranges=((0, 16),), granules=16, **options):
    served = np.array(ranges, np.int64)
    return steps.columns(history, served, granules, PAGE, None, **options)


def split_and_merge(make):
    """An allocator that has split 64 KiB, taken 8 KiB whole and merged 4 + 4 KiB."""
    allocator = make(SMALL)
    first = allocator.allocate("4KiB", kind="anon", owner="me")
    allocator.allocate("8KiB", kind="slab", owner="you")
    allocator.release(first)
    return allocator


def columns_of(allocator):
    return steps.columns(
        allocator.history, allocator.in_service(), 16, PAGE, allocator.order_max, allocator.owners
    )


# ---- written out by hand ----


@BOTH
def test_blocks_of_each_row(make):
    found = columns_of(split_and_merge(make))["blocks"]
    drawn = list(zip(found["left"], found["right"], found["category"], found["label"], strict=True))
    assert drawn == [
        (0, 16, FREE, "64 KiB"),
        (0, 1, SIZE_4, "4"),
        (1, 2, FREE, "4"),
        (2, 4, FREE, "8 KiB"),
        (4, 8, FREE, "16 KiB"),
        (8, 16, FREE, "32 KiB"),
        (0, 1, SIZE_4, "4"),
        (1, 2, FREE, "4"),
        (2, 4, SIZE_8, "8 KiB you"),
        (4, 8, FREE, "16 KiB"),
        (8, 16, FREE, "32 KiB"),
        (0, 2, FREE, "8 KiB"),
        (2, 4, SIZE_8, "8 KiB you"),
        (4, 8, FREE, "16 KiB"),
        (8, 16, FREE, "32 KiB"),
    ]
    assert found["top"] == [0, *[1] * 5, *[2] * 5, *[3] * 4]
    assert found["bottom"] == [0.42, *[1.42] * 5, *[2.42] * 5, *[3.42] * 4]
    assert found["x"][:3] == [8, 0.5, 1.5]
    assert found["y"][:2] == pytest.approx([0.21, 1.21])


@BOTH
def test_words_of_each_row(make):
    found = columns_of(split_and_merge(make))["words"]
    assert found["text"] == [
        "0  nothing yet",
        "1  allocate 4 KiB (anon, me); split 64 KiB: 32 + 16 + 8 + 4 | 4 taken",
        "2  allocate 8 KiB (slab, you)",
        "3  release 4 KiB at 0x0; merged 4 + 4 -> 8 KiB",
    ]
    assert found["x"] == [0] * 4
    assert found["y"] == pytest.approx([-0.135, 0.555, 1.555, 2.555])
    assert found["refused"] == [0] * 4


@BOTH
def test_trees_between_rows(make):
    found = columns_of(split_and_merge(make))["trees"]
    one, two, three, four = 0.72875, 0.80625, 0.88375, 0.96125
    assert found["xs"] == [
        [8, 8],
        [4, 4, 12, 12],
        [2, 2, 6, 6],
        [1, 1, 3, 3],
        [0.5, 0.5, 1.5, 1.5],
        [1, 1],
        [0.5, 0.5, 1.5, 1.5],
    ]
    expected = [
        [0.42, one],  # from the block above
        [two, one, one, 1],
        [three, two, two, 1],
        [four, three, three, 1],
        [1, four, four, 1],
        [3, 2.845],  # from the block below
        [2.42, 2.845, 2.845, 2.42],
    ]
    assert [len(line) for line in found["ys"]] == [len(line) for line in expected]
    for line, by_hand in zip(found["ys"], expected, strict=True):
        assert line == pytest.approx(by_hand)


@pytest.mark.parametrize(("make", "granule"), [(pl.Potad, 0), (pl.Buddy, 2)])
def test_the_lowest_hole_is_filled_by_potad_and_the_latest_by_buddy(make, granule):
    allocator = make(SMALL)
    first, _, third, _ = [allocator.allocate("4KiB", owner=name) for name in "abcd"]
    allocator.release(first)
    allocator.release(third)
    allocator.allocate("4KiB", owner="e")
    found = columns_of(allocator)["blocks"]
    last = [at for at, top in enumerate(found["top"]) if top == 7]
    live = [found["left"][at] for at in last if found["category"][at] != FREE]
    assert live == sorted([1, 3, granule])
    assert [found["right"][last[-2]], found["right"][last[-1]]] == [8, 16]


def test_a_row_with_a_hole_a_zone_border_and_failed_granules():
    blocks = rows((0, 1, "anon", 0), (1, 0, "poison", -1), (5, 0, "poison", -1))
    found = columns([step(blocks)], ((0, 6), (6, 8), (12, 16)), owners=["me"])["blocks"]
    drawn = list(zip(found["left"], found["right"], found["category"], found["label"], strict=True))
    assert drawn == [
        (8, 12, HOLE, "out of service"),
        (0, 2, SIZE_8, "8 KiB me"),
        (2, 4, FREE, "8 KiB"),
        (4, 5, FREE, "4"),
        (5, 6, POISON, "x"),
        (6, 8, FREE, "8 KiB"),  # a zone of its own: no buddy of 4 and 5
        (12, 16, FREE, "16 KiB"),
        (1, 2, POISON, "x"),  # on top of the block that holds it
    ]


def test_free_memory_merges_to_the_largest_order_and_not_beyond():
    free = steps.pieces(rows(), np.array([[1, 16]]), order_max=2)
    assert [piece[:2] for piece in free] == [(1, 0), (2, 1), (4, 2), (8, 2), (12, 2)]


def test_what_becomes_of_a_block_in_words():
    def said(before, after, granule_bytes=PAGE):
        return steps.between(before, after, np.array([[0, 16]]), granule_bytes, None)

    whole, split = rows((0, 2, "anon", 0)), rows(*((at, 0, "anon", 0) for at in range(4)))
    failed, inside = rows((0, 0, "poison", -1)), rows((0, 2, "anon", 0), (1, 0, "poison", -1))
    assert said(whole, split) == "split 16 KiB: 4 + 4 + 4 + 4"
    assert said(split, whole) == "merged 4 + 4 + 4 + 4 -> 16 KiB taken"
    assert said(split, split[1:]) == ""
    assert said(split[1:2], split[:0]) == "merged 4 + 4 + 8 + 16 + 32 -> 64 KiB"
    assert said(rows(), failed) == "split 64 KiB: 32 + 16 + 8 + 4 | 4 failed"
    assert said(inside, inside[1:]) == "split 16 KiB: 8 + 4 | 4 failed"
    assert said(whole, split[2:]) == "split 16 KiB: 8 | 4 + 4 kept"
    assert said(rows(), failed, 512) == "split 8 KiB: 4 + 2 + 1 + 0.5 | 0.5 failed"


def test_a_refused_step_says_so_and_long_names_are_cut():
    long = "allocate 64 KiB (" + "x" * 100
    found = columns([step(rows(), 3, long, ok=False)])["words"]
    assert found["refused"] == [1]
    assert found["text"][0].startswith("refused: allocate 64 KiB (xxx")
    assert found["text"][0].endswith("x…")
    assert len(found["text"][0]) <= steps._LETTERS


def test_colours_by_kind_and_by_use():
    history = [step(rows((0, 4, "slab", 0)))]
    assert columns(history, colouring=theme.BY_KIND)["blocks"]["category"] == [
        theme.FIRST_KIND + KIND["slab"]
    ]
    assert columns(history, colouring=theme.BY_USE)["blocks"]["category"] == [theme.USED_ANY]


def test_more_than_64_granules_are_refused_in_one_line():
    columns([step(rows())], ((0, 64),), 64)
    with pytest.raises(pl.BadSpace, match=r"65 granules of 4 KiB: .* up to 64.* map") as refused:
        columns([step(rows())], ((0, 65),), 65)
    assert "\n" not in str(refused.value)


def test_a_point_names_the_granule_of_its_row():
    assert [steps.locate(x, 2.1, 16) for x in (-0.1, 0, 3.9, 15.99, 16)] == [None, 0, 3, 15, None]
    assert steps.locate(3, 2.5, 16) is None
    assert steps.locate(3, -0.2, 16) is None
    assert steps.outline(4, 2, 3) == ([4, 6, 6, 4, 4], [3, 3, 3.42, 3.42, 3])


@pytest.mark.parametrize("light", [True, False])
def test_the_figure_has_colours_for_all_that_columns_name(light):
    data = steps.sources()
    plot = steps.draw("potad", data, 16, PAGE, 4)
    for part, found in columns_of(split_and_merge(pl.Potad)).items():
        assert set(found) == set(data[part].data)
        data[part].data = found
    steps.dress(plot, light)
    glyph = plot.select_one({"name": "blocks"}).glyph
    colours = glyph.fill_color.transform.palette
    assert colours[FREE] == theme.look(light).free
    assert colours[SIZE_4] == theme.SIZES[1].colour
    inks = plot.select_one({"name": "labels"}).glyph.text_color.transform.palette
    assert inks[SIZE_4] == "#000000"  # yellow
    assert inks[theme.FIRST_SIZE + 8] == "#ffffff"  # nearly black


# ---- any two rows ----


@st.composite
def row_of(draw, ranges):
    """BLOCK[]: any aligned blocks in the ranges, some failed."""
    found = []
    waiting = [piece for start, end in ranges for piece in steps.aligned(start, end)]
    while waiting:
        granule, order = waiting.pop()
        what = draw(st.sampled_from(["split", "split", "free", "anon", "slab", "poison"]))
        if what == "split" and order:
            half = 1 << (order - 1)
            waiting += [(granule, order - 1), (granule + half, order - 1)]
        elif what in ("anon", "slab") or (what == "poison" and order == 0):
            found.append((granule, order, what, 0))
            if what != "poison" and draw(st.integers(0, 7)) == 0:
                found.append((granule + (1 << order) - 1, 0, "poison", -1))
    return rows(*sorted(found, key=lambda block: block[0]))


RANGES = [((0, 16),), ((1, 16),), ((0, 7), (7, 64)), ((3, 20), (32, 61)), ((0, 64),)]
TWO_ROWS = st.sampled_from(RANGES).flatmap(
    lambda ranges: st.tuples(st.just(ranges), row_of(ranges), row_of(ranges))
)


def covered(found):
    return [granule for piece in found for granule in range(piece.granule, piece.end)]


@given(TWO_ROWS, st.sampled_from([None, 2, 10]))
def test_pieces_tile_the_space_and_free_ones_are_the_largest(made, order_max):
    ranges, blocks, _ = made
    found = steps.pieces(blocks, np.array(ranges), order_max)
    assert covered(found) == [granule for low, high in ranges for granule in range(low, high)]
    assert all(piece.granule % (1 << piece.order) == 0 for piece in found)
    free = {(piece.granule, piece.order) for piece in found if piece.at == NONE}
    for granule, order in free:
        one_range = any(
            low <= granule & ~(1 << order) and (granule | (1 << order)) + (1 << order) <= high
            for low, high in ranges
        )
        if one_range and (order_max is None or order < order_max):
            assert (granule ^ (1 << order), order) not in free


@given(TWO_ROWS)
def test_a_change_is_one_block_and_the_parts_that_tile_it(made):
    ranges, *both = made
    before, after = (steps.pieces(blocks, np.array(ranges), None) for blocks in both)
    found = steps.changes(before, after)
    for change in found:
        assert min(len(change.before), len(change.after)) == 1 < len(change.parts)
        assert covered(change.parts) == covered([change.whole])
    left = [piece[:2] for piece in before if piece not in [p for c in found for p in c.before]]
    right = [piece[:2] for piece in after if piece not in [p for c in found for p in c.after]]
    assert left == right


@given(TWO_ROWS)
def test_the_words_add_up(made):
    ranges, *both = made
    for text in filter(None, steps.between(*both, np.array(ranges), PAGE, None).split("; ")):
        split = re.fullmatch(r"split ([\d.]+) KiB: (.*)", text)
        merged = re.fullmatch(r"merged (.*) -> ([\d.]+) KiB( taken)?", text)
        whole = split[1] if split else merged[2]
        parts = re.findall(r"[\d.]+", split[2] if split else merged[1])
        assert float(whole) == sum(map(float, parts))
        assert len(parts) > 1


@given(TWO_ROWS)
def test_every_tree_hangs_between_its_block_and_its_parts(made):
    ranges, *both = made
    served = np.array(ranges)
    found = columns([step(blocks) for blocks in both], ranges, ranges[-1][1])
    drawn = steps.changes(*(steps.pieces(blocks, served, None) for blocks in both))
    halvings = sum(len(change.parts) - 1 for change in drawn)
    assert len(found["trees"]["xs"]) == halvings + len(drawn)
    ends = [
        (x, y)
        for xs, ys in zip(found["trees"]["xs"], found["trees"]["ys"], strict=True)
        for x, y in ((xs[0], ys[0]), (xs[-1], ys[-1]))
        if y in (steps._BAR, 1.0)
    ]
    middles = []
    for change in drawn:
        upper, lower = (change.before, change.after)
        middles += [((piece.granule + piece.end) / 2, steps._BAR) for piece in upper]
        middles += [((piece.granule + piece.end) / 2, 1.0) for piece in lower]
    assert sorted(ends) == sorted(middles)
