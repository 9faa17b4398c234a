"""Views without a browser: columns written out by hand, and every figure can be drawn."""

import json
from itertools import combinations

import numpy as np
import pytest
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource
from hypothesis import given
from hypothesis import strategies as st
from made import allocate, at, claim, op, ops_of, release, space_of, split

from potadlab.core.layout import BLOCK, EVENT, Outcome, Verb
from potadlab.core.lookups import LOOKUPS, READ_ONLY
from potadlab.core.raster import FREE, HOLE, OUTSIDE, POISON
from potadlab.kinds import _OWN, KIND, KINDS
from potadlab.metrics import latency as timing
from potadlab.runs import Case, run_allocator
from potadlab.views import (
    curve,
    descriptors,
    difference,
    latency,
    orders,
    regions,
    strip,
    theme,
    timeline,
)
from potadlab.views.regions import Pixels, Window

EVERYTHING = np.array([[0, 1 << 20]], np.int64)
PAGE = 4096


def blocks(*rows):
    """BLOCK[] of (granule, order, kind)."""
    found = np.zeros(len(rows), BLOCK)
    for block, (granule, order, kind) in zip(found, rows, strict=True):
        block["granule"], block["order"], block["kind"] = granule, order, KIND[kind]
    return found


# ---- regions ----

PIXELS = Pixels(256, 200)
WIDTH, HEIGHT = PIXELS.width, PIXELS.height


def test_whole_shows_all_in_rows_of_a_power_of_two():
    window = regions.whole(6_553_600, pixels=PIXELS)
    assert window == Window(0, 128, 256, 200, pixels=PIXELS)
    assert window.end == 6_553_600
    small = regions.whole(1000, pixels=PIXELS)
    assert (small.columns, small.granules_per_cell, small.scale) == (64, 1, 4)
    assert small.end >= 1000 > small.end - small.row_granules


@pytest.mark.parametrize("granules", [1, 1000, 51_200, 51_201, 2_400_000, 3 << 30])
def test_every_zoom_keeps_its_granule_in_the_window_and_zooming_out_ends_at_the_whole(granules):
    window = regions.whole(granules, pixels=PIXELS)
    for granule in (0, granules // 3, granules - 1):
        closer = window
        for _ in range(40):
            closer = regions.zoom(closer, granule, 1, granules)
            assert closer.first <= granule < closer.end
            assert closer.first % closer.row_granules == 0
        assert (closer.columns, closer.granules_per_cell) == (32, 1)
        assert regions.zoom(closer, granule, -40, granules) == window


def test_a_pixel_names_the_granule_that_is_drawn_there():
    window = Window(first=4096, granules_per_cell=1, columns=64, rows=50, pixels=PIXELS)
    assert regions.locate(window, 0, 0) == 4096
    assert regions.locate(window, 4 * 3 + 1, 4 * 2 + 3) == 4096 + 2 * 64 + 3
    assert regions.locate(window, -1, 0) is None
    assert regions.locate(window, WIDTH, 0) is None
    x, y = regions.place(window, 4096 + 2 * 64 + 3)
    assert regions.locate(window, x, y) == 4096 + 2 * 64 + 3
    assert regions.place(window, 4095) is None


def test_pan_stops_at_both_ends():
    window = regions.zoom(regions.whole(1 << 20, pixels=PIXELS), 1 << 19, 3, 1 << 20)
    assert regions.pan(window, -10_000, 1 << 20).first == 0
    assert regions.pan(window, 10_000, 1 << 20).end == 1 << 20
    assert regions.pan(window, 2, 1 << 20).first == window.first + 2 * window.row_granules


@pytest.mark.parametrize("hilbert", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda window: regions.zoom(window, 700_000, 1, 1 << 20),
        lambda window: regions.zoom(window, 700_000, -2, 1 << 20),
        lambda window: regions.zoom(window, 700_000, 5, 1 << 20),
        lambda window: regions.pan(window, 7, 1 << 20),
        lambda window: regions.along(window, not window.hilbert),
    ],
)
def test_a_stretched_picture_shows_each_address_as_it_was_shown_before(change, hilbert):
    before = regions.zoom(regions.whole(1 << 20, hilbert, pixels=PIXELS), 700_000, 6, 1 << 20)
    assert before.scale > 1
    cells = np.random.default_rng(3).integers(2, 200, before.rows * before.columns, np.uint8)
    shown = regions.picture(before, cells)["image"][0]
    window = change(before)
    found = np.frombuffer(regions.stretched(bytes(shown), before, window), np.uint8)
    found = found.reshape(HEIGHT, WIDTH)
    known = 0
    for y in range(0, HEIGHT, window.scale):
        for x in range(0, WIDTH, window.scale):
            expected, first = 0, regions.locate(window, x, y)
            if first is not None:
                at = regions.place(before, first + window.granules_per_cell // 2)
                expected = shown[int(at[1]), int(at[0])] if at else 0
            assert (found[y : y + window.scale, x : x + window.scale] == expected).all()
            known += expected > 0
    assert known > 100


def test_a_picture_is_no_larger_than_its_frame_on_the_screen():
    assert regions.fitting(347.0, 163.5) == Pixels(256, 163)
    assert regions.fitting(512.0, 2000) == Pixels(512, 1024)
    assert regions.fitting(220, 163) == Pixels(128, 163)
    assert regions.fitting(5000, 400) == Pixels(1024, 400)
    for width, height in ((100, 163), (300, 163), (256, 5), (256, 5000)):
        assert not regions.is_pixels(width, height)
    assert regions.is_pixels(512, 400)


@pytest.mark.parametrize("granules", [1000, 1 << 20, 3 << 30])
@pytest.mark.parametrize("pixels", [Pixels(128, 150), Pixels(512, 333), Pixels(1024, 500)])
def test_in_another_size_a_window_shows_at_least_the_same_memory(granules, pixels):
    window = regions.whole(granules, pixels=PIXELS)
    for _ in range(40):
        found = regions.resized(window, pixels, granules)
        assert found.pixels == pixels
        assert found.height <= pixels.height
        assert found.first <= window.first
        assert found.end >= min(window.end, granules)
        closer = regions.zoom(found, window.first, 1, granules)
        assert closer == found or closer.end - closer.first < window.end - window.first
        window = regions.zoom(window, granules // 3, 1, granules)
    assert regions.resized(regions.whole(granules, pixels=PIXELS), pixels, granules) == (
        regions.whole(granules, pixels=pixels)
    )


def test_a_larger_picture_shows_smaller_cells():
    large = Pixels(1024, 400)
    cells = regions.whole(1 << 20, pixels=large)
    assert cells.granules_per_cell * 8 == regions.whole(1 << 20, pixels=PIXELS).granules_per_cell
    live = blocks((4096, 2, "file"))
    found = regions.columns(live, EVERYTHING, 1 << 20, PAGE, cells)["image"][0]
    assert found.shape == (400, 1024)
    assert np.count_nonzero(found == theme.FIRST_SIZE + 3) == 1


def test_showing_makes_a_block_a_good_part_of_the_map():
    window = regions.showing(500_000, 2048, 1 << 20, pixels=PIXELS)
    assert window.first <= 500_000
    assert window.end >= 502_048
    assert 8 * 2048 <= window.end - window.first <= 32 * 2048


def test_columns_are_the_dominant_size_of_each_cell():
    window = regions.whole(1 << 20, pixels=PIXELS)  # 32 granules to a cell
    cell = window.granules_per_cell
    live = blocks((0, 9, "anon"), (3 * 1024, 5, "slab"), (4096, 0, "file"))
    image = regions.columns(live, EVERYTHING, 1 << 20, PAGE, window)["image"][0]
    assert image.shape == (HEIGHT, WIDTH)
    at_2mib = theme.FIRST_SIZE + 6
    assert set(image[0, : 512 // cell]) == {at_2mib}
    assert image[0, 512 // cell] == FREE
    assert image.flat[3 * 1024 // cell] == theme.FIRST_SIZE + 4
    assert image.flat[4096 // cell] == FREE  # one page of 32: the cell is mostly free


@pytest.mark.parametrize(
    ("colouring", "expected"),
    [
        (theme.BY_SIZE, theme.FIRST_SIZE + 1),
        (theme.BY_KIND, theme.FIRST_KIND + KIND["slab"]),
        (theme.BY_USE, theme.USED_ANY),
    ],
)
def test_one_block_in_each_colouring_and_failed_memory_in_all(colouring, expected):
    window = Window(0, 1, 256, 200, pixels=PIXELS)
    live = blocks((0, 0, "slab"), (8, 3, "anon"), (11, 0, "poison"))
    ranges = np.array([[0, 100]], np.int64)
    image = regions.columns(live, ranges, 120, PAGE, window, colouring)["image"][0]
    assert image[0, 0] == expected
    assert image[0, 11] == POISON
    assert image[0, 10] == image[0, 12] != POISON
    assert (image[0, 50], image[0, 110], image[0, 130]) == (FREE, HOLE, OUTSIDE)


def test_zoomed_in_neighbours_are_parted_by_lines():
    window = Window(0, 1, 32, 25, pixels=PIXELS)  # 8 pixels to a granule
    live = blocks((0, 1, "anon"), (2, 1, "anon"))
    image = regions.columns(live, EVERYTHING, 1 << 20, PAGE, window, theme.BY_KIND)["image"][0]
    anon = theme.FIRST_KIND + KIND["anon"]
    row = image[4, :33].tolist()
    assert row == [theme.EDGE, *[anon] * 15, theme.EDGE, *[anon] * 15, FREE]
    live = blocks((0, 5, "anon"), (32, 5, "anon"))  # a row each
    image = regions.columns(live, EVERYTHING, 1 << 20, PAGE, window, theme.BY_KIND)["image"][0]
    down = image[:17, 4].tolist()
    assert down == [theme.EDGE, *[anon] * 7, theme.EDGE, *[anon] * 7, FREE]


def test_outlines_follow_rows():
    window = Window(0, 1, 256, 200, pixels=PIXELS)
    assert regions.outline(window, 10, 4) == ([10, 14, 14, 10, 10], [0, 0, 1, 1, 0])
    xs, ys = regions.outline(window, 250, 12)
    assert (xs[:2], max(ys)) == ([250, 256], 2)
    assert regions.outline(window, 60_000, 8) == ([], [])
    wide = Window(0, 4, 256, 200, pixels=PIXELS)  # a cell that is held in part is outlined, too
    assert regions.outline(wide, 0, 5) == regions.outline(wide, 3, 5) == regions.outline(wide, 0, 8)


# ---- along a Hilbert curve ----


@given(columns=st.sampled_from([2, 8, 32, 64]), rows=st.integers(1, 60))
def test_the_curve_visits_every_cell_once_and_steps_to_neighbours(columns, rows):
    path = curve.places(columns, rows)
    assert sorted(map(tuple, path.tolist())) == [
        (r, c) for r in range(rows) for c in range(columns)
    ]
    steps = np.abs(np.diff(path, axis=0))
    assert steps.max(initial=0) <= 1
    assert np.count_nonzero(steps.sum(axis=1) > 1) <= 1
    at = curve.cells(columns, rows)
    assert all(at[row, column] == cell for cell, (row, column) in enumerate(path.tolist()))


def test_along_the_curve_the_pixels_are_those_of_the_rows_elsewhere():
    rows = Window(first=0, granules_per_cell=1, columns=64, rows=50, pixels=PIXELS)
    bent = regions.along(rows, hilbert=True)
    live = blocks(*((granule, 0, "slab") for granule in range(0, 3000, 7)), (3072, 6, "anon"))
    images = [
        regions.columns(live, EVERYTHING, 1 << 20, PAGE, window, theme.BY_KIND)["image"][0]
        for window in (rows, bent)
    ]
    for granule in [*range(0, 3200, 3), 3099]:
        pixels = []
        for image, window in zip(images, (rows, bent), strict=True):
            x, y = regions.place(window, granule)
            assert regions.locate(window, x, y) == granule
            pixels.append(image[int(y), int(x)])
        assert pixels[0] == pixels[1]


def test_an_outline_along_the_curve_is_every_side_to_another_cell():
    window = Window(0, 1, 32, 25, hilbert=True, pixels=PIXELS)
    xs, ys = regions.outline(window, 5, 1)
    assert len(xs) == 4 * 3  # a cell alone has four sides, each ended by NaN
    (x, y), scale = regions.place(window, 5), window.scale
    corners = {(a, b) for a, b in zip(xs, ys, strict=True) if a == a}
    assert corners == {(x + a * scale / 2, y + b * scale / 2) for a in (-1, 1) for b in (-1, 1)}
    pair, _ = regions.outline(window, 5, 2)
    assert len(pair) == 6 * 3  # two neighbours share a side
    assert regions.outline(window, 10_000, 8) == ([], [])


# ---- by owner, group, age, failure; the worst ----


def test_blocks_by_owner_group_age_and_failure():
    live = blocks((0, 0, "slab"), (4, 2, "anon"), (6, 0, "poison"), (8, 0, "file"))
    live["owner"], live["handle"] = [2, 0, -1, -1], [0, 1, -1, 9]
    live["time_ns"] = [10**9 - 10, -1, 0, 10**9 - 10**8]
    shade = theme.Shade(10**9, np.array([1, 9, 0], np.uint8), np.array([2, 1], np.uint8))
    found = {
        by: theme.categories(live, by, PAGE, shade).tolist()
        for by in (theme.BY_OWNER, theme.BY_GROUP, theme.BY_AGE, theme.BY_FAILED)
    }
    owner, group, age = theme.FIRST_OWNER, theme.FIRST_GROUP, theme.FIRST_AGE
    assert found == {
        "owner": [owner, owner + 1, POISON, owner + theme.OTHER_OWNER],
        "group": [group + 2, group + 1, POISON, group],
        "age": [age, age + 6, POISON, age + 3],
        "failed": [theme.QUIET, theme.HURT, POISON, theme.QUIET],
    }


def test_every_index_of_a_colouring_has_its_legend_and_no_two_their_colour():
    shown = theme.palette(light=True)
    spans = {
        theme.BY_OWNER: (theme.FIRST_OWNER, theme.FIRST_GROUP),
        theme.BY_GROUP: (theme.FIRST_GROUP, theme.FIRST_AGE),
        theme.BY_AGE: (theme.FIRST_AGE, theme.QUIET),
        theme.BY_FAILED: (theme.QUIET, theme.FIRST_DIFFERENCE),
    }
    for colouring, (first, end) in spans.items():
        rows = theme.legend_of(colouring, [f"owner {n}" for n in range(theme.OWNERS_SHOWN)])
        colours = [colour for colour, _ in rows]
        assert colours == shown[first:end]
        assert len(set(colours)) == len(colours)
        assert not set(colours) & {shown[FREE], shown[HOLE], shown[POISON]}


def test_one_unmovable_page_shows_in_gigabytes_of_movable_ones_if_the_worst_is_asked_for():
    window = Window(0, 1 << 18, 256, 200, pixels=PIXELS)
    live = blocks((0, 18, "anon"), (1 << 18, 17, "anon"), (3 << 17, 0, "slab"))
    ranges = np.array([[0, 1 << 20]], np.int64)
    images = [
        regions.columns(live, ranges, 1 << 20, PAGE, window, theme.BY_KIND, worst=worst)["image"][0]
        for worst in (False, True)
    ]
    anon, slab = (theme.FIRST_KIND + KIND[name] for name in ("anon", "slab"))
    assert images[0][0, :3].tolist() == [anon, anon, FREE]
    assert images[1][0, :3].tolist() == [anon, slab, FREE]


# ---- differences ----


@given(st.data())
def test_granules_in_use_of_each_cell_are_those_that_a_twin_counts(data):
    rows, taken = [], np.zeros(4096, np.int64)
    for start, order in data.draw(
        st.lists(st.tuples(st.integers(0, 127), st.integers(0, 5)), max_size=20)
    ):
        span = slice(start << 5, (start << 5) + (1 << order))
        if not taken[span].any():
            taken[span] = 1
            rows.append((start << 5, order, "slab"))
    live = blocks(*sorted(rows))
    first, per_cell = data.draw(st.sampled_from([(0, 2), (64, 1), (32, 16), (96, 3)]))
    window = Window(first, per_cell, 32, 2, pixels=PIXELS)
    held = np.pad(taken, (0, 4096))[first : first + 64 * per_cell].reshape(64, per_cell)
    assert difference.used(live, window).tolist() == held.sum(axis=1).tolist()


def test_a_map_of_differences_says_who_has_what():
    window = Window(0, 8, 256, 200, pixels=PIXELS)
    one = blocks((0, 3, "slab"), (8, 3, "anon"), (16, 0, "anon"), (24, 2, "anon"))
    other = blocks((8, 3, "slab"), (32, 3, "slab"), (40, 1, "slab"), (48, 0, "poison"))
    ranges = np.array([[0, 64]], np.int64)
    found = difference.columns(one, other, ranges, 100, window)["image"][0][0, :14].tolist()
    both = theme.BOTH_USE
    assert found[:7] == [both + 2, both, both + 1, both + 2, both - 2, both - 1, FREE]
    assert (found[7], found[8], found[13]) == (FREE, HOLE, OUTSIDE)
    swapped = difference.columns(other, one, ranges, 100, window)["image"][0][0, :6].tolist()
    assert swapped == [2 * both - index for index in found[:6]]
    means = dict(theme.legend_difference("one", "other"))
    said = [means[theme.palette(light=True)[index]] for index in found[:6]]
    assert said == ["one only", "both", "more in one", "one only", "other only", "more in other"]


def test_labels_are_sizes_where_exact_and_addresses_elsewhere():
    across, down = regions.ticks(regions.whole(6_553_600, pixels=PIXELS), PAGE)
    assert across[WIDTH // 2] == "+64 MiB"
    assert list(down.values())[:3] == ["0", "4 GiB", "8 GiB"]
    _, down = regions.ticks(
        Window(first=32 * 1001, granules_per_cell=1, columns=32, rows=25, pixels=PIXELS), PAGE
    )
    assert all(label.startswith("0x") or "MiB" in label for label in down.values())


# ---- the strip ----


def test_the_strip_counts_allocations_by_kind_and_bin():
    ops = ops_of(
        allocate(0, kind=KIND["slab"], time_ns=1),
        allocate(1, kind=KIND["anon"], time_ns=2),
        allocate(2, kind=KIND["anon"], time_ns=10**9),
        release(0, time_ns=10**9),
    )
    found = strip.columns(ops, seconds=1.0)
    assert list(found) == ["time_s", "slab", "anon"]  # the most stands last, on top
    assert (found["anon"][0], found["anon"][-1], found["anon"].sum()) == (1, 1, 2)
    assert found["slab"].nonzero()[0].tolist() == [0]
    at_an_edge = ops_of(allocate(0, time_ns=3 * 10**9))
    found = strip.columns(at_an_edge, seconds=float(strip.BINS))
    assert next(counts for name, counts in found.items() if name != "time_s").nonzero()[0] == [3]
    assert strip.columns(ops[:0], seconds=1.0).keys() == {"time_s"}


def test_notable_ops_are_found_and_many_in_one_bin_are_one_mark():
    ops = ops_of(
        allocate(0),
        at(Verb.FAIL, 3),
        claim(1, 8, 1),
        split(0, 0, into=2),
        allocate(9),
        op(Verb.REFUSED),
        at(Verb.FAIL, 4),
    )
    events = np.zeros(len(ops), EVENT)
    events["outcome"][[2, 4, 6]] = Outcome.REFUSED
    found = strip.notable(ops, {"potad": events, "buddy": np.zeros(len(ops), EVENT)})
    assert {what: indices.tolist() for what, indices in found.items()} == {
        "refusal": [2, 4, 5],
        "failure": [1, 6],
        "claim": [2],
        "split": [3],
    }
    seconds = 6e-8
    marks = strip.marks(ops, found, seconds)
    assert marks["row"] == [0, 0, 0, 1, 1, 2, 3]
    assert marks["time_s"][:2] == pytest.approx([2e-8, 4e-8])
    assert strip.marks(ops, found, 1.0)["row"] == [0, 1, 2, 3]  # all in the first bin
    start = strip.marks(ops, {"bookmark": np.array([-1])}, seconds)  # before any op
    assert start["time_s"] == [ops["time_ns"][0] / 1e9]
    assert set(found) | {"bookmark"} == set(strip.WHAT)


# ---- over time ----


def test_the_moment_is_told_in_seconds():
    assert timeline.columns(1_500_000_000)["time_s"].tolist() == [1.5]


def test_orders_count_gib_by_class():
    free = np.zeros((2, 64), np.int64)
    free[0, 0], free[0, 9], free[1, 18] = 3, 2, 5
    found = orders.columns(np.array([0, 2_000_000_000]), free, PAGE)
    assert found["time_s"].tolist() == [0, 2]
    assert found["class1"].tolist() == [3 * 4096 / 2**30, 0]
    assert found["class6"].tolist() == [2 / 512, 0]
    assert found["class8"].tolist() == [0, 5]
    assert orders.top(found) == pytest.approx(5 * 1.05)


def test_free_memory_of_a_small_space_is_told_in_a_small_unit():
    assert [orders.unit_for(size) for size in (1 << 16, 64 << 20, 1 << 30, 3 << 39)] == [
        1 << 10, 1 << 20, 1 << 30, 1 << 30,
    ]  # fmt: skip
    free = np.array([[3]])
    found = orders.columns(np.array([0]), free, PAGE, orders.unit_for(64 << 20))
    assert found["class1"].tolist() == [3 * 4096 / 2**20]
    plot = orders.draw("free", orders.source(found), 1.0, 1.0, timeline.source(), 1 << 20)
    assert plot.yaxis[0].axis_label == "free, MiB"


def test_descriptors_leave_out_kinds_without_any_and_sum_the_others():
    live = np.zeros((2, 256), np.int64)
    live[:, KIND["anon"]], live[1, KIND["slab"]] = [2, 1], 3
    found = descriptors.columns(np.array([0, 10**9]), live, 100, 4000)
    assert descriptors.kinds(found) == ["anon", "slab"]
    anon, slab, starts = 80 + 8, 64 + 8, 64 * 64 // 8
    assert found["anon"].tolist() == [2 * anon, anon]
    assert found["total"].tolist() == [2 * anon + starts, anon + 3 * slab + starts]
    assert found["struct_page"].tolist() == [6400, 6400]
    assert np.isnan(found["slab"][0])


@pytest.mark.parametrize("granule_bytes", [4096, 65536])
def test_figure_and_table_count_the_same_bytes(granule_bytes):
    space = space_of([(0, 3000), (4000, 5000)], (0, 5000), granule_bytes=granule_bytes)
    ops = ops_of(allocate(0, 3, kind=KIND["folio"]), allocate(1, 0, kind=KIND["slab"]))
    case = Case(space, ops, np.zeros(0, BLOCK), 2)
    run = run_allocator("potad", case)
    served = int(np.diff(run.in_service(2), axis=1).sum())
    found = descriptors.columns(run.census.time_ns, run.census.live_blocks, served, space.granules)
    assert found["total"][-1] == run.bytes["descriptors"] + run.bytes["lookup"]
    assert found["struct_page"][-1] == run_allocator("buddy", case).bytes["descriptors"]


def test_latency_shares_rise_to_all():
    found = latency.columns(np.array([30.0, 10.0, 20.0, 0.0]))
    assert found["ns"].tolist() == [0.1, 10, 20, 30]
    assert found["share"].tolist() == [25, 50, 75, 100]
    assert len(latency.columns(np.arange(10_000.0))["ns"]) == 400


def test_latency_says_that_it_shows_means_of_batches():
    plot = latency.draw([Measured()])
    assert plot.xaxis.axis_label == "mean of 16 dependent lookups, ns"
    assert plot.yaxis.axis_label == "share of batches, %"
    assert "at the trace's end" in plot.title.text
    assert "no block lives" in latency.draw([]).title.text


def test_lookups_alternate_in_shuffled_order_and_medians_count(monkeypatch):
    turns = []

    def round_of(index, *_addresses):
        turns.append(type(index).__name__)
        done = turns.count(turns[-1])
        independent = [9.0, 1.0, 2.0, 3.0, 99.0][done - 1]
        ns = {"independent": independent, "dependent": 10.0 * done}
        return ns, np.full(2, float(done))

    monkeypatch.setattr(timing, "_round", round_of)
    live = blocks((0, 9, "anon"), (1024, 3, "slab"))
    memmap, heads = timing.measure(live, 4095, in_service=3000)
    rounds = [turns[at : at + 2] for at in range(0, 10, 2)]
    assert {tuple(sorted(one)) for one in rounds} == {("Heads", "Memmap")}
    assert len({tuple(one) for one in rounds}) == 2  # not always in the same order
    assert (memmap.independent_ns, memmap.dependent_ns) == (3.0, 30.0)
    assert memmap.samples_ns.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert memmap.bytes_per_block == 64 * 3000 / 2
    records_and_entries, starts = 80 + 64 + 2 * 8, 8 * (47 + 1)  # words of 3000 granules, above
    assert heads.bytes_per_block == (records_and_entries + starts) / 2


def test_no_timing_finds_in_the_caches_what_another_left(monkeypatch):
    asked = {"memmap": [], "heads": []}

    def ns(kernel, index, each, *more):
        asked["heads" if "Heads" in type(index).__name__ else "memmap"].append(each)
        return 1.0

    def samples(index, addresses):
        ns(None, index, addresses)
        return np.ones(2)

    monkeypatch.setattr(timing, "_ns", ns)
    monkeypatch.setattr(timing, "_samples_ns", samples)
    live, granules = timing.generated(5000)
    timing.measure(live, granules, lookups_timed=64, kind_order=True)
    assert len(asked["memmap"]) == len(asked["heads"]) == timing.ROUNDS * 5
    assert np.array_equal(asked["memmap"], asked["heads"])
    assert len({each.tobytes() for each in asked["memmap"]}) == timing.ROUNDS * 5
    held = np.searchsorted(live["granule"], asked["memmap"], side="right") - 1
    ends = live["granule"] + (np.int64(1) << live["order"].astype(np.int64))
    assert (np.asarray(asked["memmap"]) < ends[held]).all()


@pytest.mark.parametrize("name", LOOKUPS)
def test_every_lookup_is_measured_and_counts_its_bytes(name):
    live, granules = timing.generated(500)
    (found,) = timing.measure(
        live, granules, [name], lookups_timed=64, updates=True, kind_order=True
    )
    what = {"independent", "dependent", "kind_order_independent", "kind_order_dependent"}
    updates = set() if name in READ_ONLY else {"insert", "erase"}
    assert set(found.rounds_ns) == what | updates
    assert all(len(rounds) == timing.ROUNDS for rounds in found.rounds_ns.values())
    assert found.blocks == 500
    assert len(found.samples_ns) == timing.ROUNDS * 64 // timing.BATCH
    assert found.bytes_per_block > 0


def test_bytes_of_flat_lookups_are_by_page_and_descriptors_by_kind():
    live = blocks((0, 9, "anon"), (1024, 3, "slab"), (2048, 0, "kernel"))
    sizes = {
        found.lookup: found.bytes_per_block
        for found in timing.measure(live, 4096, list(LOOKUPS), in_service=3000, lookups_timed=16)
    }
    assert sizes["memmap"] == 64 * 3000 / 3
    assert sizes["memmap32"] == 32 * 3000 / 3
    descriptors = 80 + 64
    assert sizes["memmap16"] == (16 * 3000 + descriptors) / 3
    assert sizes["memmap8"] == (8 * 3000 + descriptors) / 3
    # two blocks in tables of 512 words, an upper table of 9 entries
    assert sizes["two-level"] == (8 * 9 + 2 * 4096 + descriptors) / 3
    # granules 0 to 511 are 8 slots of a node at shift 6; 1024 and 2048 need two below it
    assert sizes["xarray"] == (576 * 3 + descriptors) / 3
    assert sizes["maple"] == sizes["maple-gaps"] == (256 + descriptors) / 3  # a leaf is enough


def test_a_block_inside_another_is_left_out():
    live = blocks((0, 9, "anon"), (5, 0, "poison"), (512, 0, "slab"))
    (found,) = timing.measure(live, 1024, ["xarray"], lookups_timed=16)
    assert found.blocks == 2


@pytest.mark.parametrize("count", [1, 63, 5000])
def test_generated_blocks_fill_the_space_in_order(count):
    live, granules = timing.generated(count)
    sizes = np.int64(1) << live["order"].astype(np.int64)
    assert live["granule"].tolist() == [0, *np.cumsum(sizes)[:-1].tolist()]
    assert granules == sizes.sum()
    assert np.all(live["granule"] % sizes == 0)
    assert sorted(live["time_ns"].tolist()) == list(range(count))
    assert count < 5000 or 1.7 < granules / count < 2.1


def test_figures_of_lookups_have_the_names_of_bench():
    live, granules = timing.generated(100)
    measured = timing.measure(
        live, granules, ["heads", "rank"], lookups_timed=16, updates=True, kind_order=True
    )
    found = timing.figures(measured, "1e2")
    both = {
        f"lookup.{name}.1e2.{what}"
        for name in ("heads", "rank")
        for what in (
            "independent_ns", "dependent_ns", "independent_ns.kind_order_only",
            "dependent_ns.kind_order_only", "bytes_per_block",
        )
    }  # fmt: skip
    updates = {f"lookup.heads.1e2.{what}_ns" for what in ("insert", "erase", "update")}
    assert set(found) == both | updates
    insert, erase = (found[f"lookup.heads.1e2.{what}_ns"] for what in ("insert", "erase"))
    assert found["lookup.heads.1e2.update_ns"]["best"] >= (insert["best"] + erase["best"]) / 2
    assert {figure["unit"] for figure in found.values()} == {"ns", "bytes"}


class Measured:
    lookup, p50_ns, p99_ns = "heads", 12.34, 99.9
    samples_ns = np.array([10.0, 12.0, 100.0])


def test_every_curve_of_many_lookups_is_drawn_and_looks_different():
    plot = latency.draw([Measured()] * 12)
    assert len(plot.renderers) == 12
    assert len({latency.look(number) for number in range(24)}) == 24


def test_latency_says_median_and_99th():
    assert latency.label(Measured()) == "heads: p50 12.3 ns, p99 99.9 ns"


# ---- colours ----


def test_every_colour_means_one_thing():
    rows = theme.legend_map(theme.BY_USE, light=True)
    for legend in (theme.legend_sizes(PAGE), theme.legend_kinds(np.ones(len(KINDS), bool))):
        colours = [colour for colour, _ in [*legend, *rows[1:]]]
        assert len(set(colours)) == len(colours)


# Machado, Oliveira, Fernandes (IEEE TVCG 2009), severity 1, on linear RGB
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
WHITE = np.array([0.95047, 1, 1.08883])
APART = 7  # CIELAB units; about 2.3 are just noticed


def in_lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """A colour of sRGB in CIELAB, as somebody sees it."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("whose", SEEN_BY)
def test_colours_of_one_map_are_told_apart_by_everyone(whose):
    kinds = theme.legend_kinds(np.array([kind.name in _OWN for kind in KINDS]))
    for light in (True, False):
        for colouring in theme.ALL_COLOURINGS:
            own = kinds if colouring == theme.BY_KIND else theme.legend_of(colouring, ["a", "b"])
            if colouring == theme.BY_SIZE:
                own = theme.legend_sizes(4096)
            keys = [*own, *theme.legend_map(colouring, light)]
            drawn = [(label, in_lab(colour.lower(), SEEN_BY[whose])) for colour, label in keys]
            for (one, here), (other, there) in combinations(drawn, 2):
                assert np.linalg.norm(here - there) > APART, (colouring, light, one, other)


@pytest.mark.parametrize("light", [True, False])
def test_palette_has_a_colour_for_every_index(light):
    colours = theme.palette(light)
    assert len(colours) == theme.EDGE + 1
    assert colours[OUTSIDE] == theme.CLEAR
    assert len({colours[FREE], colours[HOLE], colours[POISON]}) == 3


@pytest.mark.parametrize("light", [True, False])
def test_every_figure_can_be_drawn(light):
    empty = ColumnDataSource({"xs": [], "ys": [], "colour": []})
    marks = ColumnDataSource({"x": [], "y": [], "marker": [], "colour": []})
    marker, times = timeline.source(), np.array([0, 10**9])
    live = np.ones((2, 256), np.int64)
    live[:, len(KINDS) :] = 0
    free = orders.columns(times, np.ones((2, 64), np.int64), PAGE)
    figures = [
        regions.draw("potad", regions.source(), empty, marks),
        orders.draw("free", orders.source(free), 1.0, orders.top(free), marker),
        descriptors.draw(descriptors.columns(times, live, 10**4, 10**4), 1.0, marker),
        latency.draw([Measured()]),
    ]
    regions.label(figures[0], regions.whole(1 << 20, pixels=PIXELS), PAGE)
    from bokeh.layouts import column

    for plot in figures:
        theme.dress(plot, light)
    assert "potad" in json.dumps(json_item(column(*figures)), default=str)
