"""Memory maps of real x86 machines: boot logs and /proc/iomem, and the one that is bundled."""

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made import made

from potadlab import bundled
from potadlab.errors import BadSize, BadSpace
from potadlab.units import GIB, KIB, MIB, TIB, Space, Zone

# a virtual machine's boot, as its kernel printed it
BOOT_LOG = """\
[    0.000000] Linux version 6.18.0 (builder@builder) #1 SMP
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000bfffcfff] usable
[    0.000000] BIOS-e820: [mem 0x00000000bfffd000-0x00000000bfffffff] ACPI NVS
[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000063fffffff] usable
[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
[    0.000000] last_pfn = 0x640000 max_arch_pfn = 0x400000000
"""
# the same since Linux 7.0: other names, and gaps
RENAMED = """\
BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff]  System RAM
BIOS-e820: [gap 0x00000000000a0000-0x00000000000fffff]
BIOS-e820: [mem 0x0000000000100000-0x00000000bfffcfff]  System RAM
BIOS-e820: [mem 0x00000000bfffd000-0x00000000bfffffff]  device reserved
BIOS-e820: [mem 0x0000000100000000-0x000000063fffffff]  System RAM
"""
IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
000a0000-000bffff : PCI Bus 0000:00
00100000-bfffcfff : System RAM
  01000000-01ffffff : System RAM
    01000000-01e00fff : Kernel code
c0000000-febfffff : PCI Bus 0000:00
100000000-63fffffff : System RAM
"""
IN_SERVICE = ((0, 159), (256, 0xBFFFD), (1 << 20, 0x640000))
ZONES = (Zone("Normal", 1 << 20, 0x640000), Zone("DMA32", 4096, 1 << 20), Zone("DMA", 0, 4096))


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "machine.log"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("text", [BOOT_LOG, RENAMED, BOOT_LOG.replace("\n", "\r\n")])
def test_a_boot_log_is_read(written, text):
    space = Space.memory_map(written(text))
    assert space == Space("machine", 4096, IN_SERVICE, ZONES)


def test_a_log_with_other_prefixes_is_read(written):
    lines = [line.partition("] ")[2] for line in BOOT_LOG.splitlines()]
    for prefix in ("", "Mar  1 12:00:00 host kernel: ", "[Tue Mar 21 09:40:00 2023] "):
        text = "\n".join(prefix + line for line in lines)
        assert Space.memory_map(str(written(text))).in_service == IN_SERVICE


def test_iomem_is_read_at_its_top_level(written):
    space = Space.memory_map(written(IOMEM))
    assert space.in_service == ((1, 159), *IN_SERVICE[1:])
    assert space.zones == ZONES


def test_memory_shrinks_to_whole_granules(written):
    sectors = Space.memory_map(written(BOOT_LOG), 512)
    assert sectors.in_service == tuple((start * 8, end * 8) for start, end in IN_SERVICE)
    assert sectors.bytes == Space.memory_map(written(BOOT_LOG)).bytes
    large = Space.memory_map(written(BOOT_LOG), "2MiB")
    assert large.in_service == ((1, 0x5FF), (0x800, 0x3200))
    assert large.zones == (Zone("Normal", 2048, 12800), Zone("DMA32", 8, 2048), Zone("DMA", 0, 8))
    gib = Space.memory_map(written(BOOT_LOG), "1GiB")
    assert gib.in_service == ((1, 2), (4, 25))
    assert gib.zones == (Zone("Normal", 4, 25), Zone("DMA32", 0, 4))


def test_zones_without_memory_are_left_out(written):
    large = Space.memory_map(written("100000000-1ffffffff : System RAM\n"))
    assert large.zones == (Zone("Normal", 1 << 20, 1 << 21),)
    small = Space.memory_map(written("00100000-00ffffff : System RAM\n"))
    assert small.zones == (Zone("DMA", 0, 4096),)
    middle = Space.memory_map(written("00100000-7fffffff : System RAM\n"))
    assert middle.zones == (Zone("DMA32", 4096, 1 << 19), Zone("DMA", 0, 4096))


LINE = "BIOS-e820: [mem 0x{:016x}-0x{:016x}] usable\n".format


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"machine\.log: tells of no memory: give a boot log with lines as 'BIOS-e820: \[mem"),
        ("hello\n", "tells of no memory"),
        (b"\xff\xfe\x00", "tells of no memory"),
        (LINE(0, 0xFFF).replace("usable", "reserved"), "tells of no memory"),
        ("\n" + LINE(0, 0xFFF)[:40], "machine.log, line 2: is no whole line of a memory map"),
        (" BIOS-e820: 0000000000000000 - 000000000009f800 (usable)", "line 1: is no whole line"),
        (LINE(4096, 0xFFF), "line 1: ends below its start"),
        (LINE(0, 0xFFFF) + "x\n" + LINE(0x8000, 0x1FFFF), "line 3: begins below .* one map only"),
        (LINE(0x10000, 0x1FFFF) + LINE(0, 0xFFFF), "line 2: begins below"),
        ("00000000-00000000 : System RAM\n" * 3, "line 1: every address is 0: .* as root"),
        (LINE(1, 4096), "machine.log: no memory holds a whole granule of 4 KiB"),
        (
            LINE(0, (1 << 64) - 1),
            "machine.log: memory ends beyond all memory that granules of 4 KiB",
        ),
    ],
)
def test_a_map_that_cannot_be_read_says_where_and_what_to_do(written, text, words):
    with pytest.raises(BadSpace, match=words) as refused:
        Space.memory_map(written(text))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "memory map 'nowhere': no such file, and bundled is only superdome_flex"),
        ("folder/nowhere", "folder/nowhere: cannot be read: No such file"),
        (Path(__file__).parent, "tests: cannot be read: Is a directory"),
        ("a\0b", "cannot be read|no such file"),
        (5, "memory map 5: give a file, or one of superdome_flex"),
        (None, "memory map None: give a file"),
    ],
)
def test_a_map_that_is_not_there_is_told(source, words):
    with pytest.raises(BadSpace, match=words):
        Space.memory_map(source)
    with pytest.raises(BadSize, match="granule 3: take"):
        Space.memory_map(source, 3)


def test_the_current_folder_never_shadows_a_bundled_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("superdome_flex").write_text(LINE(0, 0xFFFF))
    assert Space.memory_map("superdome_flex").bytes > TIB
    assert Space.memory_map(Path("superdome_flex")).bytes == 64 * KIB


# ---- properties ------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 1 << 50), min_size=2, max_size=20, unique=True).map(sorted),
    st.integers(9, 30),
    st.booleans(),
)
def test_maps_keep_all_whole_pages(tmp_path_factory, points, order, iomem):
    assume(points[:2] != [0, 1])  # how /proc/iomem looks to all but root
    ranges = list(zip(points[::2], points[1::2], strict=False))
    line = "{:08x}-{:08x} : System RAM\n".format if iomem else LINE
    path = tmp_path_factory.mktemp("maps") / "map.txt"
    path.write_text("".join(line(start, end - 1) for start, end in ranges))
    unit = max(1 << order, 4096)
    whole = [(-(-start // unit) * unit, end // unit * unit) for start, end in ranges]
    wanted = sum(max(0, end - start) for start, end in whole)
    if wanted == 0 or max(end for start, end in whole if start < end) >> order > 1 << 38:
        with pytest.raises(BadSpace):
            Space.memory_map(path, 1 << order)
        return
    space = Space.memory_map(path, 1 << order)
    assert space.bytes == wanted
    assert all(before[1] < after[0] for before, after in pairwise(space.in_service))
    in_zones = [
        (max(start, zone.start), min(end, zone.end))
        for start, end in space.in_service
        for zone in space.zones
    ]
    assert sum(max(0, end - start) for start, end in in_zones) << order == wanted
    assert all(after.end <= before.start for before, after in pairwise(space.zones))


numbers = st.integers(0, 1 << 64).map("{:x}".format)
lines = st.one_of(
    st.text(),
    st.builds("BIOS-e820: [mem 0x{}-0x{}] usable".format, numbers, numbers),
    st.builds("{}-{} : System RAM".format, numbers, numbers),
    st.sampled_from(BOOT_LOG.splitlines() + IOMEM.splitlines()),
)


@given(st.lists(lines, max_size=5), st.sampled_from(["512", "4KiB", "1GiB"]))
def test_any_text_gives_a_space_or_a_line(tmp_path_factory, texts, granule):
    path = tmp_path_factory.mktemp("maps") / "map.txt"
    path.write_text("\n".join(texts), encoding="utf-8", errors="replace")
    space, words = made(lambda: Space.memory_map(path, granule))
    assert "\n" not in words
    assert space is None or 0 < space.bytes <= space.granules * space.granule_bytes


# ---- the bundled machine ---------------------------------------------------------------------


def holds_aligned(ranges, size):
    """Whether a naturally aligned block of `size` bytes lies in one of the ranges."""
    return any(-(-start // size) * size + size <= end for start, end in ranges)


def largest_run(ranges, align):
    """Bytes of the largest run that begins and ends at multiples of `align`."""
    return max(end // align * align - -(-start // align) * align for start, end in ranges)


def bytes_of(space):
    return [
        (start * space.granule_bytes, end * space.granule_bytes) for start, end in space.in_service
    ]


def test_bundled_maps_name_their_source():
    assert list(bundled.memory_maps()) == ["superdome_flex"]
    readme = (bundled.folder("datasets") / "README.md").read_text()
    for path in bundled.memory_maps().values():
        first = path.read_text().partition("\n")[0]
        assert first.startswith("# ")
        assert "https://" in first
        assert first.split()[-1] in readme, "its source stands in the README too"
        assert path.name in readme
        assert hashlib.sha256(path.read_bytes()).hexdigest() in readme


def test_a_real_machine_of_one_and_a_half_tib_has_no_aligned_tib():
    space = Space.memory_map("superdome_flex")
    ranges = bytes_of(space)
    assert [zone.name for zone in space.zones] == ["Normal", "DMA32", "DMA"]
    assert 1.47 * TIB < space.bytes < 1.48 * TIB
    assert not any(start < MIB and end > 640 * KIB for start, end in ranges), "the legacy hole"
    assert not any(start < 4 * GIB and end > 3 * GIB for start, end in ranges), "the PCI hole"
    assert ranges[-1][1] < 2 * TIB, "cut off"
    assert not holds_aligned(ranges, TIB)


def test_there_not_even_a_claim_of_a_tib_can_be_had():
    """Its firmware keeps the end of each node's memory: eight runs, none of a TiB."""
    ranges = bytes_of(Space.memory_map("superdome_flex"))
    assert largest_run(ranges, GIB) == 188 * GIB
    assert holds_aligned(ranges, 64 * GIB)
    assert not holds_aligned(ranges, 128 * GIB)


def test_where_firmware_keeps_nothing_between_a_tib_is_a_claim():
    """The usual layout of x86, by hand: memory below the PCI hole, the rest from 4 GiB on."""
    space = Space.ranges([(0, "640KiB"), ("1MiB", "2GiB"), ("4GiB", "1538GiB")])
    assert space.bytes == 3 * TIB // 2 - 384 * KIB
    assert not holds_aligned(bytes_of(space), TIB)
    assert largest_run(bytes_of(space), GIB) == 1534 * GIB
    assert holds_aligned(bytes_of(Space.ram("1.5TiB")), TIB), "on a flat space it is a block"
