"""Sizes as people write them, and spaces."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made

from potadlab.errors import BadSize, BadSpace
from potadlab.units import (
    GIB,
    GRANULES_MAX,
    KIB,
    MIB,
    TIB,
    Space,
    Zone,
    format_size,
    is_power_of_two,
    parse_size,
)

PIB = 1 << 50


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512B", 512),
        ("360 b", 360),
        ("4KiB", 4 * KIB),
        ("4k", 4 * KIB),
        ("4KB", 4 * KIB),  # powers of two, as kernel people mean them
        ("8M", 8 * MIB),
        ("8 MiB", 8 * MIB),
        ("  8mib\t", 8 * MIB),
        ("1.5TiB", 3 * TIB // 2),
        ("0.5KiB", 512),
        ("2.0 GiB", 2 * GIB),
        ("3p", 3 * PIB),
        ("0", 0),
        ("007", 7),
        (8388608, 8 * MIB),
        (1.5 * TIB, 3 * TIB // 2),
        (np.int64(512), 512),
        (np.float64(2.0), 2),
    ],
)
def test_sizes_are_understood(text, size):
    parsed = parse_size(text)
    assert parsed == size
    assert isinstance(parsed, int)


@pytest.mark.parametrize(
    "text",
    ["", " ", "MiB", "-1", "-4KiB", "8 MiBs", "8 Mi B", "1,5GiB", "1e6", "0x10", "1.", ".5K"],
)
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(BadSize, match=r"1\.5TiB") as refused:
        parse_size(text)
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("thing", [None, b"4KiB", float("nan"), float("inf"), 1j, [4096], Space])
def test_what_is_neither_text_nor_number_is_refused(thing):
    with pytest.raises(BadSize, match=r"is not understood: write it as .* 1\.5TiB") as refused:
        parse_size(thing)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["0.5", "1.3KiB", "0.0001KiB", "1.00001 MiB", 0.5])
def test_parts_of_a_byte_are_refused(text):
    with pytest.raises(BadSize, match="whole number of bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["4096PiB", "9" * 400, "1" + "0" * 5000, "9" * 90 + "p", 1 << 62, -(1 << 62), 1e300],
)
def test_sizes_beyond_all_memory_are_refused_in_a_short_line(text):
    with pytest.raises(BadSize, match="4096PiB") as refused:
        parse_size(text)
    assert len(str(refused.value)) < 120


def test_a_number_of_thousands_of_digits_is_refused_in_a_short_line():
    for number in (10**5000, -(10**5000)):
        with pytest.raises(BadSize, match="size of so many digits is beyond all memory"):
            parse_size(number)


def test_the_largest_size_is_exact():
    assert parse_size(str((1 << 62) - 1)) == (1 << 62) - 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (360, "360 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (4096, "4 KiB"),
        (2 * MIB, "2 MiB"),
        (100 * MIB + MIB // 2, "100 MiB"),
        (1000 * MIB, "1000 MiB"),
        (24 * GIB, "24 GiB"),
        (3 * TIB // 2, "1.5 TiB"),
        (TIB + TIB // 8, "1.12 TiB"),
        (4096 * PIB, "4096 PiB"),
        (-2 * MIB, "-2 MiB"),
        (2.5, "2.5 B"),
    ],
)
def test_sizes_are_written(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"), [(MIB - 1, "1 MiB"), (GIB - 1, "1 GiB"), (1023 * KIB, "1023 KiB")]
)
def test_a_size_that_rounds_up_to_the_next_unit_takes_it(size, text):
    assert format_size(size) == text


@given(st.integers(0, 61))
def test_powers_of_two_come_back(order):
    assert parse_size(format_size(1 << order)) == 1 << order


@given(st.integers(0, PIB))
def test_whole_bytes_are_exact(size):
    assert parse_size(str(size)) == size
    assert parse_size(f"{size} KiB") == size * 1024


@given(st.integers(-10, 1 << 62))
def test_powers_of_two(number):
    assert is_power_of_two(number) == (number > 0 and number.bit_count() == 1)


def test_ram_is_one_flat_range():
    ram = Space.ram("8MiB")
    assert ram == Space("8 MiB", 4096, ((0, 2048),), (Zone("RAM", 0, 2048),))
    assert (ram.granules, ram.bytes) == (2048, 8 * MIB)


def test_ram_of_sectors():
    ram = Space.ram("1.5TiB", granule=512)
    assert (ram.granules, ram.granule_bytes, ram.bytes) == (3 << 30, 512, 3 * TIB // 2)
    assert Space.ram("4KiB").granules == 1


def test_ram_can_begin_anywhere():
    ram = Space.ram("1GiB", start="4GiB")
    assert ram.in_service == ((1 << 20, 5 << 18),)
    assert ram.zones == (Zone("RAM", 1 << 20, 5 << 18),)
    assert (ram.granules, ram.bytes) == (5 << 18, GIB)


@pytest.mark.parametrize("order", range(9, 31))
def test_a_granule_is_any_power_of_two_from_a_sector_to_a_gib(order):
    ram = Space.ram("3TiB", granule=1 << order)
    assert (ram.granule_bytes, ram.granules) == (1 << order, 3 * TIB >> order)


@pytest.mark.parametrize(
    ("size", "granule", "start", "words"),
    [
        ("8MiB", "3KiB", 0, "granule 3KiB: take a power of two from 512 B to 1 GiB"),
        ("8MiB", "256", 0, "granule 256: take"),
        ("8MiB", "2GiB", 0, "granule 2GiB: take"),
        ("8MiB", 0, 0, "granule 0: take"),
        ("8MiB", "3 \n KiB", 0, "granule 3 KiB: take"),
        ("6KiB", "4KiB", 0, "space 6KiB: take a multiple of the granule, 4KiB"),
        ("2KiB", "4KiB", 0, "space 2KiB: take a multiple"),
        ("0", "4KiB", 0, "space 0: take a multiple"),
        (-4096, "4KiB", 0, "space -4096: take a multiple"),
        ("8KiB", "4KiB", "2KiB", "start 2KiB: take a multiple of the granule, 4KiB"),
        ("8KiB", "4KiB", -4096, "start -4096: take a multiple"),
        (
            "2PiB",
            "4KiB",
            0,
            "space 2PiB from 0 ends beyond .* 4 KiB can count: end at 1 PiB or below, or",
        ),
        (
            "512",
            512,
            "128TiB",
            "space 512 from 128TiB .* 128 TiB or below, or take a larger granule",
        ),
        ("3000PiB", "1GiB", "3000PiB", "end at 4096 PiB or below$"),
        ("much", "4KiB", 0, "size 'much' is not understood"),
        (None, "4KiB", 0, "size None is not understood"),
    ],
)
def test_a_ram_that_cannot_be_says_what_can(size, granule, start, words):
    with pytest.raises(BadSize, match=words) as refused:
        Space.ram(size, granule, start)
    assert "\n" not in str(refused.value)


def test_a_space_counts_what_is_in_service():
    zones = (Zone("Normal", 16, 100), Zone("DMA", 1, 16))
    space = Space("holes", 4096, ((1, 8), (20, 50)), zones)
    assert (space.granules, space.bytes) == (100, 37 * 4096)
    with pytest.raises(AttributeError):
        space.name = "frozen"


# ---- ranges ----------------------------------------------------------------------------------


def test_ranges_have_holes_and_ends_that_are_no_power_of_two():
    space = Space.ranges([("4KiB", "636KiB"), ("1MiB", 3 * GIB), ("4GiB", "5.5GiB")])
    assert space.in_service == ((1, 159), (256, 3 << 18), (1 << 20, 11 << 17))
    assert space.zones == (Zone("RAM", 1, 11 << 17),)
    assert (space.name, space.granule_bytes) == ("4.5 GiB", 4096)
    assert space.bytes == 632 * KIB + 3 * GIB - MIB + 3 * GIB // 2


def test_ranges_that_touch_are_one():
    assert Space.ranges([(0, 512), (512, 1024), (2048, 2560)], 512).in_service == ((0, 2), (4, 5))


def test_zones_stand_in_the_order_of_trial():
    zones = [("slow", "1GiB", "3GiB"), ("fast", 0, "1GiB")]
    space = Space.ranges([("512MiB", "2GiB")], "1MiB", zones)
    assert space.zones == (Zone("slow", 1024, 3072), Zone("fast", 0, 1024))
    assert space.in_service == ((512, 2048),)
    assert space.granules == 3072


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([], "ranges: there is none: write"),
        (5, r"ranges 5: write \[\(start, end\), ...\]"),
        ("4GiB", "ranges '4GiB': write"),
        ([5], "range 5: write"),
        (["ab"], "range 'ab': write"),
        ([(0, 4096, 8192)], r"range \(0, 4096, 8192\): write"),
        ([(4096, 4096)], "range 4096 to 4096 is empty: begin at 0 or above, and end above"),
        ([("2GiB", "1GiB")], "range 2GiB to 1GiB is empty"),
        ([(-4096, 4096)], "range -4096 to 4096 is empty"),
        ([(0, "6KiB")], "range 0 to 6KiB: take multiples of the granule, 4 KiB"),
        ([("2KiB", "8KiB")], "range 2KiB to 8KiB: take multiples"),
        ([("8KiB", "16KiB"), (0, "4KiB")], "range 0 to 4KiB begins below .* 8KiB to 16KiB: write"),
        ([(0, "8KiB"), ("4KiB", "16KiB")], "range 4KiB to 16KiB begins below"),
        ([(0, "1PiB"), ("1PiB", "1025TiB")], "range 1PiB to 1025TiB ends beyond all memory"),
    ],
)
def test_ranges_that_cannot_be_say_what_can(ranges, words):
    with pytest.raises(BadSpace, match=words):
        Space.ranges(ranges)


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        ([], "zones: there is none"),
        ([("low", 0)], r"zone \('low', 0\): write \[\(name, start, end\), ...\]"),
        ([(7, 0, "1GiB")], "zone 7: its name is text"),
        ([("low", 0, 0)], "zone 'low' 0 to 0 is empty"),
        ([("low", 0, "1000B")], "zone 'low' 0 to 1000B: take multiples"),
        (
            [("high", "8KiB", "1GiB"), ("low", 0, "12KiB")],
            "zones 'low' and 'high' overlap at 0x2000",
        ),
        ([("low", 0, "16KiB")], "0x4000 lies in a range but in no zone"),
        ([("low", 0, "8KiB"), ("high", "12KiB", "1GiB")], "0x2000 lies in a range but in no zone"),
    ],
)
def test_zones_that_cannot_be_say_what_can(zones, words):
    with pytest.raises(BadSpace, match=words):
        Space.ranges([("4KiB", "32KiB")], zones=zones)


@pytest.mark.parametrize("wrong", [[("much", 0)], [(0, None)], [(0, "0.5")]])
def test_what_is_no_size_in_a_range_is_a_bad_size(wrong):
    with pytest.raises(BadSize):
        Space.ranges(wrong)


# ---- several spaces --------------------------------------------------------------------------


def test_spaces_join_in_the_order_given():
    far, near = Space.ram("1GiB", start="1TiB"), Space.ranges([("1MiB", "2MiB"), ("4MiB", "6MiB")])
    both = Space.join(far, near)
    assert both.zones == (Zone("RAM", 1 << 28, 1025 << 18), Zone("RAM", 256, 1536))
    assert both.in_service == ((256, 512), (1024, 1536), (1 << 28, 1025 << 18))
    assert both.name == "1 GiB + 3 MiB"
    assert both.granules == 1025 << 18
    assert Space.join(near, far).zones == both.zones[::-1]
    assert Space.join(near) == near


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        ([], "join: give one or more spaces"),
        ([Space.ram("1GiB"), "1GiB"], "join: give one or more spaces"),
        (
            [Space.ram("1GiB"), Space.ram("2GiB", 512, "4GiB")],
            "1 GiB has granules of 4 KiB, 2 GiB of 512 B: make both with the same granule",
        ),
        (
            [Space.ram("1GiB"), Space.ram("3GiB", start="4GiB"), Space.ram("2GiB", start="6GiB")],
            r"3 GiB \(zone RAM\) and 2 GiB \(zone RAM\) overlap at 0x180000000: let one begin",
        ),
    ],
)
def test_spaces_that_cannot_be_joined_say_why(spaces, words):
    with pytest.raises(BadSpace, match=words):
        Space.join(*spaces)


# ---- properties ------------------------------------------------------------------------------

edges = st.lists(st.integers(0, GRANULES_MAX), min_size=2, max_size=16, unique=True).map(sorted)


def pairs_of(points):
    return list(zip(points[::2], points[1::2], strict=False))


def in_order(ranges):
    """Ascending, disjoint, not touching."""
    return all(start < end for start, end in ranges) and all(
        before[1] < after[0] for before, after in pairwise(ranges)
    )


def held(space):
    """Granules of the ranges that its zones hold, each zone counted by itself."""
    return sum(
        max(0, min(end, zone.end) - max(start, zone.start))
        for start, end in space.in_service
        for zone in space.zones
    )


@given(edges, st.integers(9, 23))
def test_ranges_hold_what_was_given(points, order):
    ranges = pairs_of(points)
    space = Space.ranges([(start << order, end << order) for start, end in ranges], 1 << order)
    assert space.in_service == tuple(ranges)
    assert space.bytes == sum(end - start for start, end in ranges) << order
    assert held(space) == space.bytes >> order
    assert space.granules == ranges[-1][1]


@given(edges, edges, st.randoms())
def test_zones_hold_all_ranges_or_are_refused(points, borders, random):
    zones = [Zone(f"zone {start}", start, end) for start, end in pairs_of(borders)]
    random.shuffle(zones)
    given_zones = [(zone.name, zone.start * 512, zone.end * 512) for zone in zones]
    ranges = pairs_of(points)
    inside = all(
        sum(max(0, min(end, zone.end) - max(start, zone.start)) for zone in zones) == end - start
        for start, end in ranges
    )
    ranges_bytes = [(start * 512, end * 512) for start, end in ranges]
    if inside:
        assert Space.ranges(ranges_bytes, 512, given_zones).zones == tuple(zones)
    else:
        with pytest.raises(BadSpace, match="in no zone"):
            Space.ranges(ranges_bytes, 512, given_zones)


@given(edges, st.data())
def test_a_space_in_parts_joins_to_the_whole(points, data):
    ranges = pairs_of(points)
    cut = data.draw(st.permutations(ranges))
    parts = [Space.ranges([(start * 512, end * 512)], 512) for start, end in cut]
    space = Space.join(*parts)
    assert space.in_service == tuple(ranges)
    assert in_order(space.in_service)
    assert [(zone.start, zone.end) for zone in space.zones] == cut
    assert space.bytes == sum(part.bytes for part in parts) == held(space) * 512
    with pytest.raises(BadSpace, match="overlap"):
        Space.join(*parts, parts[0])


sizes = st.one_of(
    st.integers(), st.floats(), st.text(), st.none(), st.sampled_from(["0", "4KiB", "1TiB", 4096])
)


@given(sizes, sizes, sizes)
def test_any_sizes_give_a_space_or_a_line(size, granule, start):
    for make in (
        lambda: Space.ram(size, granule, start),
        lambda: Space.ranges([(start, size)], granule),
        lambda: Space.ranges([(start, size), (size, granule)], zones=[(size, start, granule)]),
    ):
        space, words = made(make)
        assert "\n" not in words
        assert space is None or held(space) * space.granule_bytes == space.bytes > 0
