"""Sizes as people write them, and spaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab.errors import BadSize
from potadlab.units import GIB, KIB, MIB, TIB, Space, Zone, format_size, is_power_of_two, parse_size

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


@pytest.mark.parametrize("text", ["0.5", "1.3KiB", "0.0001KiB", "1.00001 MiB"])
def test_parts_of_a_byte_are_refused(text):
    with pytest.raises(BadSize, match="whole number of bytes"):
        parse_size(text)


@pytest.mark.parametrize("text", ["4096PiB", "9" * 400, "1" + "0" * 5000, "9" * 90 + "p", 1 << 62])
def test_sizes_beyond_all_memory_are_refused_in_a_short_line(text):
    with pytest.raises(BadSize, match="4096PiB") as refused:
        parse_size(text)
    assert len(str(refused.value)) < 120


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


@pytest.mark.parametrize(
    ("size", "granule", "words"),
    [
        ("8MiB", "3KiB", "granule 3KiB: take a power of two of at least 512 B"),
        ("8MiB", "256", "granule 256: take"),
        ("8MiB", 0, "granule 0: take"),
        ("6KiB", "4KiB", "space 6KiB: take a multiple of the granule, 4KiB"),
        ("2KiB", "4KiB", "space 2KiB: take a multiple"),
        ("0", "4KiB", "space 0: take a multiple"),
        (-4096, "4KiB", "space -4096: take a multiple"),
        ("much", "4KiB", "size 'much' is not understood"),
    ],
)
def test_a_ram_that_cannot_be_says_what_can(size, granule, words):
    with pytest.raises(BadSize, match=words):
        Space.ram(size, granule)


def test_a_space_counts_what_is_in_service():
    zones = (Zone("DMA", 1, 16), Zone("Normal", 16, 100))
    space = Space("holes", 4096, ((1, 8), (20, 50)), zones)
    assert (space.granules, space.bytes) == (100, 37 * 4096)
    with pytest.raises(AttributeError):
        space.name = "frozen"
