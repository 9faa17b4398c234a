"""Swap files as mkswap makes them: headers read or refused, data verified on its way out and in."""

import errno
import os
import shutil
import struct
import subprocess
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potadlab import swap
from potadlab.errors import BadSize, BadSwap, NotLive, OutOfSpace
from potadlab.swap import Header, SwapFile

PAGE = 4096
ID = "a2b5d6e0-1234-4cde-8f01-23456789abcd"
VERSION, LAST_PAGE, BAD_COUNT, BAD_PAGES = 1024, 1028, 1032, 1536  # where they stand in a header


def mkswap(path, pages, page=PAGE, label=None):
    """A file of util-linux, which every Linux has: these tests are not skipped."""
    program = shutil.which("mkswap", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "mkswap is not here: install util-linux"
    path.write_bytes(bytes(pages * page))
    path.chmod(0o600)
    named = ["--label", label] if label else []
    command = [program, "--pagesize", str(page), "--uuid", ID, *named, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def mkswaps_bytes(tmp_path_factory):
    """16 pages as mkswap left them."""
    return mkswap(tmp_path_factory.mktemp("made") / "swap", 16).read_bytes()


@pytest.fixture
def path(tmp_path, mkswaps_bytes):
    made = tmp_path / "swap.img"
    made.write_bytes(mkswaps_bytes)
    return made


def patch(path, at, *numbers, order="<"):
    """Write these u32 into the file."""
    whole = bytearray(path.read_bytes())
    struct.pack_into(f"{order}{len(numbers)}I", whole, at, *numbers)
    path.write_bytes(whole)


def swap_bytes(path):
    """The header as a machine of the other byte order has it: its words turned, its text not."""
    whole = bytearray(path.read_bytes())
    info = struct.unpack_from("<3I", whole, VERSION)
    bad_pages = struct.unpack_from(f"<{info[2]}I", whole, BAD_PAGES)
    struct.pack_into(">3I", whole, VERSION, *info)
    struct.pack_into(f">{info[2]}I", whole, BAD_PAGES, *bad_pages)
    path.write_bytes(whole)


# ---- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [4 << 10, 8 << 10, 16 << 10, 64 << 10])
def test_what_mkswap_made_is_read(tmp_path, page):
    with SwapFile(mkswap(tmp_path / "swap", 20, page, "camera swap")) as found:
        assert found.header == Header(page, 1, 19, (), UUID(ID), "camera swap", "little")
        assert found.space.name == "camera swap"
        assert found.space.granule_bytes == page
        assert found.space.in_service == ((1, 20),), "slot 0 is the header"
        assert found.space.granules == 20
        assert found.space.bytes == 19 * page


def test_a_label_may_fill_its_field_and_may_be_missing(tmp_path):
    with SwapFile(mkswap(tmp_path / "full", 16, label="sixteen letters!"[:15])) as found:
        assert found.header.label == "sixteen letters"
    whole = bytearray((tmp_path / "full").read_bytes())
    whole[1052:1068] = b"sixteen letters!"
    assert Header.read(bytes(whole), "here").label == "sixteen letters!"
    with SwapFile(mkswap(tmp_path / "none", 16)) as found:
        assert (found.header.label, found.space.name) == ("", "swap of 64 KiB")


def test_the_other_byte_order_is_read(path):
    patch(path, BAD_COUNT, 2)
    patch(path, BAD_PAGES, 3, 9)
    swap_bytes(path)
    with SwapFile(path, allow_bad_pages=True) as found:
        assert found.header == Header(PAGE, 1, 15, (3, 9), UUID(ID), "", "big")


def test_bad_pages_are_out_of_service(path):
    patch(path, BAD_COUNT, 5)
    patch(path, BAD_PAGES, 15, 1, 7, 8, 7)
    with SwapFile(path, allow_bad_pages=True) as found:
        assert found.header.bad_pages == (15, 1, 7, 8, 7)
        assert found.space.in_service == ((2, 7), (9, 15))
    with pytest.raises(BadSwap, match=r"swap\.img: 5 bad pages in a regular file, which Linux ref"):
        SwapFile(path)


def test_as_many_bad_pages_as_the_header_has_room_for(tmp_path):
    path = mkswap(tmp_path / "swap", 700)
    patch(path, BAD_COUNT, 637)
    patch(path, BAD_PAGES, *range(1, 638))
    with SwapFile(path, allow_bad_pages=True) as found:
        assert found.space.in_service == ((638, 700),)
    patch(path, BAD_COUNT, 638)
    with pytest.raises(BadSwap, match="638 bad pages, where the header has room for 637"):
        SwapFile(path, allow_bad_pages=True)


REFUSED = [
    ("version 2", [(VERSION, [2])], "swap version 2 is not known: make it with mkswap"),
    ("version 0", [(VERSION, [0])], "swap version 0 is not known"),
    ("empty", [(LAST_PAGE, [0])], "an empty swap area"),
    ("longer than the file", [(LAST_PAGE, [16])], "16 pages, where its header says 17"),
    ("the longest", [(LAST_PAGE, [0xFFFFFFFF])], "16 pages, where its header says 4294967296"),
    ("too many bad", [(BAD_COUNT, [638])], "room for 637"),
    ("bad header", [(BAD_COUNT, [1])], "bad page 0: pages are 1 to 15"),
    ("bad beyond", [(BAD_COUNT, [1]), (BAD_PAGES, [16])], "bad page 16: pages are 1 to 15"),
    ("all bad", [(BAD_COUNT, [15]), (BAD_PAGES, range(1, 16))], "every page is bad"),
    ("no magic", [(PAGE - 8, [0])], "not a swap file, no SWAPSPACE2 ends its first page"),
]


@pytest.mark.parametrize(("words", "patches", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_linux_refuses_is_refused_in_one_line(path, words, patches, said):
    for at, numbers in patches:
        patch(path, at, *numbers)
    before = path.read_bytes()
    with pytest.raises(BadSwap, match=said) as refused:
        SwapFile(path, allow_bad_pages=True)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 1, 1024, 4095, 4096, 2 * 4096 - 1, 15 * 4096, 16 * 4096 - 1])
def test_a_file_cut_short_is_refused(path, size):
    os.truncate(path, size)
    with pytest.raises(BadSwap):
        SwapFile(path)


def test_what_is_no_file_is_refused(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "/dev/null"):
        with pytest.raises(BadSwap, match="neither a file nor a block device"):
            SwapFile(tmp_path / name)
    with pytest.raises(BadSwap, match=r"nowhere: cannot be opened: No such file or directory"):
        SwapFile(tmp_path / "nowhere")
    with pytest.raises(BadSwap, match="cannot be opened: embedded null byte"):
        SwapFile("swap\0")


def test_what_the_machine_swaps_to_is_refused(tmp_path, path, monkeypatch):
    used = path.rename(tmp_path / "my swap")
    listed = tmp_path / "swaps"
    listed.write_text(
        "Filename\tType\tSize\tUsed\tPriority\n"
        "/dev/gone partition 8 0 -2\n"
        f"{tmp_path}/my\\040swap file 64 0 -3\n"
    )
    with SwapFile(used):
        pass
    monkeypatch.setattr(swap, "SWAPS", listed)
    with pytest.raises(BadSwap, match="my swap: this machine swaps to it: swapoff first"):
        SwapFile(used)


def test_a_file_is_opened_once(path):
    locked = pytest.raises(BadSwap, match="another SwapFile, or a program, has locked it")
    with SwapFile(path), locked:
        SwapFile(path)
    SwapFile(path).swapoff()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=9000))
def test_any_bytes_are_refused_or_taken(tmp_path, whole):
    taken_or_refused(tmp_path / "any", whole)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(256, 400), st.integers(0, 20) | st.integers(0, 2**32 - 1))),
    st.integers(0, 20),
    st.booleans(),
)
def test_any_header_is_refused_or_taken(tmp_path, mkswaps_bytes, words, pages, turned):
    """mkswap's header with other words in it, in a file of another size."""
    whole = bytearray(mkswaps_bytes)
    for at, word in words:
        struct.pack_into(">I" if turned else "<I", whole, 4 * at, word)
    taken_or_refused(tmp_path / "any", bytes(whole[: pages * PAGE]))


def opened(path):
    """None where it is refused."""
    with suppress(BadSwap):
        return SwapFile(path, allow_bad_pages=True)


def taken_or_refused(path, whole):
    path.write_bytes(whole)
    found = opened(path)
    if found is None:
        return
    with found:
        assert 0 < found.space.granules * found.page_bytes <= len(whole)
        assert 0 not in [start for start, _ in found.space.in_service]
        assert found.swap_in(found.swap_out(bytes(found.page_bytes))) == bytes(found.page_bytes)


# ---- data ---------------------------------------------------------------------------------------


def pages_of(count, page=PAGE, seed=1):
    """Pages that differ from each other and from zero."""
    return b"".join(bytes([1 + (seed + number) % 255]) * page for number in range(count))


def slots(swapped, page=PAGE):
    """(first slot, slots) of each piece."""
    return [(piece.start // page, piece.size // page) for piece in swapped.pieces]


def test_pages_go_out_in_powers_of_two_the_largest_first(path):
    with SwapFile(path) as file:
        data = pages_of(7)
        out = file.swap_out(data, owner="editor")
        assert slots(out) == [(4, 4), (2, 2), (1, 1)]
        assert (out.owner, out.size) == ("editor", 7 * PAGE)
        whole = path.read_bytes()
        assert whole[4 * PAGE : 8 * PAGE] == data[: 4 * PAGE]
        assert whole[2 * PAGE : 4 * PAGE] == data[4 * PAGE : 6 * PAGE]
        assert whole[PAGE : 2 * PAGE] == data[6 * PAGE :]
        assert file.swap_in(out) == file.swap_in(out) == data


@pytest.mark.parametrize(
    ("freed", "found"),
    [
        ([1, 2, 3, 6, 7, 8, 9, 14, 15], {2: 2, 6: 2, 8: 2, 14: 2}),  # none of 8, none of 4
        ([4, 5, 6, 7, 8, 9, 14, 15], {4: 4, 8: 2, 14: 2}),
        ([1, 4, 5, 7, 9, 11, 13, 15], {4: 2, 1: 1, 7: 1, 9: 1, 11: 1, 13: 1, 15: 1}),
    ],
)
def test_a_block_that_is_not_free_is_made_of_halves(path, freed, found):
    with SwapFile(path) as file:
        single = {}
        for seed in range(15):
            out = file.swap_out(pages_of(1, seed=seed))
            single[slots(out)[0][0]] = out
        for slot in freed:
            file.free(single[slot])
        out = file.swap_out(pages_of(8))
        assert dict(slots(out)) == found
        assert [size for _, size in slots(out)] == sorted(found.values(), reverse=True)
        assert file.swap_in(out) == pages_of(8)


def test_what_finds_no_room_changes_nothing(path):
    with SwapFile(path) as file:
        first = file.swap_out(pages_of(3))
        before = path.read_bytes()
        with pytest.raises(OutOfSpace, match=r"52 KiB asked for, 48 KiB free: free some first"):
            file.swap_out(pages_of(13))
        assert path.read_bytes() == before
        second = file.swap_out(pages_of(12, seed=9))
        with pytest.raises(OutOfSpace, match=r"4 KiB asked for, 0 B free"):
            file.swap_out(pages_of(1))
        assert file.swap_in(first) + file.swap_in(second) == pages_of(3) + pages_of(12, seed=9)
        file.potad.check()


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE + 1])
def test_only_whole_pages_go_out(path, size):
    with SwapFile(path) as file, pytest.raises(BadSize, match="take whole pages of 4 KiB"):
        file.swap_out(bytes(size))


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(bytes(2 * PAGE))[::2]])
def test_what_is_no_bytes_in_a_row_does_not_go_out(path, data):
    with SwapFile(path) as file, pytest.raises(BadSize, match="take bytes in a row"):
        file.swap_out(data)


@pytest.mark.parametrize("what", ["text", [1], None])
def test_what_is_no_swapped_data_is_refused(path, what):
    with SwapFile(path) as file:
        for call in (file.swap_in, file.free):
            with pytest.raises(NotLive, match="not out here"):
                call(what)


@pytest.mark.parametrize("path", [None, 5, ["swap"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(BadSwap, match="give the path of a swap file"):
        SwapFile(path)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(data).cast("I")])
def test_any_bytes_go_out(path, kind):
    with SwapFile(path) as file:
        assert file.swap_in(file.swap_out(kind(pages_of(2)))) == pages_of(2)


def test_a_byte_changed_behind_its_back_is_found(path):
    with SwapFile(path) as file:
        out = file.swap_out(pages_of(7))
        at = 5 * PAGE + 17  # in the piece at slot 4
        with path.open("r+b") as raw:
            raw.seek(at)
            raw.write(b"\0")
        said = r"swap\.img: slot 4, byte 16384 of the file: the 16 KiB there are not what was swapp"
        with pytest.raises(BadSwap, match=said):
            file.swap_in(out)
        with pytest.raises(BadSwap, match=said):
            file.swapoff()
        file.free(out)
        assert file.swapoff() == {}


def test_a_file_cut_short_behind_its_back_is_found(path):
    with SwapFile(path) as file:
        out = file.swap_out(pages_of(15))
        os.truncate(path, 9 * PAGE)
        with pytest.raises(BadSwap, match=r"slot 8, byte 32768 of the file: the file ends"):
            file.swap_in(out)


def test_a_write_that_fails_leaves_nothing_out(path, monkeypatch):
    with SwapFile(path) as file:
        write, calls = os.pwrite, []

        def full(fd, data, at):
            calls.append(at)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data, at)

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(BadSwap, match=r"swap\.img: slot 2: No space left on device"):
            file.swap_out(pages_of(7))
        monkeypatch.undo()
        assert file.swap_in(file.swap_out(pages_of(15))) == pages_of(15), "all slots are free again"


def test_a_read_that_fails_says_where(path, monkeypatch):
    with SwapFile(path) as file:
        out = file.swap_out(pages_of(1))

        def broken(fd, size, at):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(BadSwap, match=r"slot 1, byte 4096 of the file: Input/output error"):
            file.swap_in(out)


def test_a_file_system_may_take_and_give_a_part_at_a_time(path, monkeypatch):
    write, read = os.pwrite, os.pread
    with SwapFile(path) as file:
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:1000], at))
        monkeypatch.setattr(os, "pread", lambda fd, size, at: read(fd, min(size, 3000), at))
        assert file.swap_in(file.swap_out(pages_of(7))) == pages_of(7)


def test_what_is_not_out_here_is_refused(tmp_path, path, mkswaps_bytes):
    other = tmp_path / "other.img"
    other.write_bytes(mkswaps_bytes)
    with SwapFile(path) as file, SwapFile(other) as second:
        out, foreign = file.swap_out(pages_of(1)), second.swap_out(pages_of(1))
        file.free(out)
        for wrong in (out, foreign):
            for call in (file.free, file.swap_in):
                with pytest.raises(NotLive, match=r"swap\.img: this is not out here"):
                    call(wrong)
        assert second.swap_in(foreign) == pages_of(1)


def test_swapoff_brings_all_back_and_ends_it(path):
    file = SwapFile(path)
    first, second = file.swap_out(pages_of(3)), file.swap_out(pages_of(6, seed=7))
    gone = file.swap_out(pages_of(1))
    file.free(gone)
    assert file.swapoff() == {first: pages_of(3), second: pages_of(6, seed=7)}
    calls = [file.swapoff, file.__enter__, lambda: file.swap_out(pages_of(1))]
    calls += [lambda: file.swap_in(first), lambda: file.free(first)]
    for call in calls:
        with pytest.raises(BadSwap, match=r"swap\.img: swapped off: open it anew"):
            call()
    SwapFile(path).swapoff()


def test_the_end_of_with_lets_the_file_go(path):
    with SwapFile(path) as file:
        file.swap_out(pages_of(1))
    with pytest.raises(BadSwap):
        file.swap_out(pages_of(1))
    SwapFile(path).swapoff()


def in_service(ranges):
    return {slot for start, end in ranges for slot in range(start, end)}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100 pages of 4 KiB, five of them bad, filled with a pattern beyond the header."""
    path = mkswap(tmp_path_factory.mktemp("large") / "swap", 100)
    patch(path, BAD_COUNT, 5)
    patch(path, BAD_PAGES, 1, 40, 41, 77, 99)
    return path.read_bytes()[:PAGE] + pages_of(99, seed=50)


requests = st.lists(
    st.tuples(st.sampled_from(["out", "out", "in", "free"]), st.integers(1, 40)), max_size=60
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests)
def test_data_is_what_a_dict_would_have_kept(tmp_path, large, requests):
    path = tmp_path / "swap"
    path.write_bytes(large)
    kept, free = {}, 94
    with SwapFile(path, allow_bad_pages=True) as file:
        good = in_service(file.space.in_service)
        for seed, (verb, number) in enumerate(requests):
            if verb == "out" and number > free:
                with pytest.raises(OutOfSpace):
                    file.swap_out(pages_of(number))
            elif verb == "out":
                kept[file.swap_out(pages_of(number, seed=seed))] = pages_of(number, seed=seed)
                free -= number
            elif kept:
                chosen = list(kept)[number % len(kept)]
                assert file.swap_in(chosen) == kept[chosen]
                if verb == "free":
                    file.free(chosen)
                    free += len(kept.pop(chosen)) // PAGE
            held = [slot for out in kept for row in slots(out) for slot in range(*span(row))]
            assert len(held) == len(set(held)) == 94 - free
            assert set(held) <= good
            file.potad.check()
        assert file.swapoff() == kept
    after = path.read_bytes()
    assert len(after) == len(large)
    for slot in {0, *range(100)} - good:
        assert after[slot * PAGE : (slot + 1) * PAGE] == large[slot * PAGE : (slot + 1) * PAGE]


def span(row):
    start, count = row
    assert count & (count - 1) == 0, "a power of two"
    assert start % count == 0, "aligned to its size"
    return start, start + count


def test_data_goes_out_to_pages_of_64_kib(tmp_path):
    page = 64 << 10
    with SwapFile(mkswap(tmp_path / "swap", 16, page)) as file:
        out = file.swap_out(pages_of(5, page))
        assert slots(out, page) == [(4, 4), (1, 1)]
        assert file.swap_in(out) == pages_of(5, page)


# ---- making one ---------------------------------------------------------------------------------


def test_a_new_file_is_made_and_opened(tmp_path):
    with SwapFile.make(tmp_path / "swap", "2MiB", page="64KiB", label="camera") as file:
        assert (file.header.page_bytes, file.header.last_page) == (64 << 10, 31)
        assert file.space.name == "camera"
        assert (tmp_path / "swap").stat().st_mode & 0o777 == 0o600
        data = pages_of(2, 64 << 10)
        assert file.swap_in(file.swap_out(data)) == data


def test_what_is_there_is_not_made_anew(path):
    before = path.read_bytes()
    with pytest.raises(BadSwap, match=r"swap\.img: cannot be made: File exists"):
        SwapFile.make(path, "64KiB")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("size", "page"),
    [("4KiB", "4KiB"), (0, "4KiB"), ("64KiB", 1000), (-4096, "4KiB"), ("4000PiB", "4KiB")],
)
def test_what_mkswap_refuses_is_not_left_behind(tmp_path, size, page):
    with pytest.raises(BadSwap, match=r"/swap: (\S*mkswap: |cannot be made: )") as refused:
        SwapFile.make(tmp_path / "swap", size, page=page)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "swap").exists()


def test_without_mkswap_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(BadSwap, match="mkswap is not on this machine: install util-linux"):
        SwapFile.make(tmp_path / "swap", "1MiB")
    assert not (tmp_path / "swap").exists()


def test_a_name_that_looks_as_an_option_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SwapFile.make("-x", "256KiB", label="--help") as file:
        assert (file.path.name, file.header.label) == ("-x", "--help")
