"""Pages of the trace ring buffer: written by a model of Linux's format, read by the kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab.core import ring
from potadlab.core.layout import NONE
from potadlab.core.ring import FORMAT, RING, STACK, Ring
from potadlab.core.text import LINE, SPAN, WAITING, Interned, Op

PAGE = 512  # small: what crosses pages is crossed often
ALLOC, FREE, CLAIM, UNCLAIM, KERNEL_STACK, OTHER = 653, 655, 700, 701, 4, 9
FORMATS = np.array(
    [
        (ALLOC, Op.ALLOC, 8, 16, 24, 32, -1, -1, -1, -1, 8),
        (FREE, Op.FREE, 8, 16, -1, -1, -1, -1, -1, -1, 8),
        (CLAIM, Op.CLAIM, 16, -1, -1, -1, 24, 28, 32, 8, 8),
        (UNCLAIM, Op.RELEASE_CLAIM, 16, -1, -1, -1, 24, -1, -1, 8, 8),
        (KERNEL_STACK, STACK, 16, -1, -1, -1, 8, -1, -1, -1, 64),
    ],
    FORMAT,
)
ALL = (1 << 64) - 1


def table(room: int) -> Interned:
    return Interned(np.zeros(2 * room, np.int32), np.zeros(room, SPAN), np.zeros(1, np.int64))


def fresh(room: int = 4096) -> Ring:
    return Ring(
        FORMATS,
        np.zeros(room, LINE),
        table(room),
        table(room),
        np.zeros(room, np.uint64),
        np.full((1, WAITING), NONE, np.int64),
        np.zeros(1, RING),
    )


def common(number: int, pid: int) -> bytes:
    return number.to_bytes(2, "little") + bytes(2) + pid.to_bytes(4, "little")


def word(value: int, size: int = 8) -> bytes:
    return (value % (1 << 8 * size)).to_bytes(size, "little")


def alloc(pfn, order=0, gfp=0xCC0, migratetype=1, pid=7) -> bytes:
    return (
        common(ALLOC, pid) + word(pfn) + word(order) + word(gfp) + word(migratetype, 4) + bytes(4)
    )


def free(pfn, order=0, pid=7) -> bytes:
    return common(FREE, pid) + word(pfn) + word(order, 4)


def stack(*addresses) -> bytes:
    return common(KERNEL_STACK, 7) + word(len(addresses)) + b"".join(map(word, addresses))


def claim(pfn, count, align=0, error=0, name=b"cma") -> bytes:
    place = 36 + (len(name) + 1 << 16)
    numbers = word(pfn) + word(count, 4) + word(align, 4) + word(error, 4)
    return common(CLAIM, 7) + word(place, 4) + bytes(4) + numbers + name + b"\0"


def pages_of(events: list[tuple[int, bytes]], how: int = 0) -> bytes:
    """Events (time, data) as Linux lays them out; `how` varies what it may vary."""
    pages, page, last = [], b"", 0

    def close() -> None:
        nonlocal page
        if page:
            rest = PAGE - len(page)
            fill = word(29, 4) + word(rest - 8, 4) if how % 2 and rest >= 12 else b""
            length = len(page) - 16
            page = page[:8] + word(length | (how & 2) << 30) + page[16:] + fill
            pages.append(page.ljust(PAGE, b"\xee" if how % 3 else b"\0"))
        page = b""

    for time_ns, data in events:
        padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
        big = len(padded) > 28 * 4
        need = len(padded) + 16
        if not page or len(page) + need > PAGE:
            close()
            page, last = word(time_ns) + word(0), time_ns
        delta = time_ns - last
        if how % 5 == 1:  # an event that was given up: its time counts
            page += word(29 | min(delta, 5) << 5, 4) + word(4, 4) if delta else b""
            delta -= min(delta, 5)
        if delta >> 27:
            page += word(30 | (delta & (1 << 27) - 1) << 5, 4) + word(delta >> 27, 4)
            delta = 0
        page += word((0 if big else len(padded) // 4) | delta << 5, 4)
        page += (word(len(padded) + 4, 4) if big else b"") + padded
        last = time_ns
    close()
    return b"".join(pages)


def decoded(events, how: int = 0, state: Ring | None = None) -> Ring:
    data = pages_of(events, how)
    state = state or fresh()
    taken, pages = 0, len(data) // PAGE
    text = np.frombuffer(data + bytes(ring.SLACK), np.uint8)
    taken = ring.decode(state, text, pages, PAGE, 1)
    assert taken == pages
    return state


def rows(state: Ring) -> np.ndarray:
    return state.rows[: state.now["rows"][0]]


def words_of(state: Ring, number: int) -> list[int]:
    span = state.stacks.spans[number]
    return state.words[span["start"] : span["end"]].tolist()


def test_by_hand():
    state = decoded(
        [
            (10**12, alloc(0x1841B0, 2, 0xCC0, 1, 77)),
            (10**12 + 5, free(0x1841B0, 2)),
            (10**12 + 5 + (3 << 27), alloc(ALL, 9)),
            (10**12 + 6 + (3 << 27), common(OTHER, 1) + bytes(200)),
        ]
    )
    first, second, third = rows(state)
    assert first["time_ns"] == 10**12
    assert (first["pfn"], first["order"], first["gfp"], first["task"]) == (0x1841B0, 2, 0xCC0, 77)
    assert (first["migratetype"], first["cpu"], first["op"]) == (1, 1, Op.ALLOC)
    assert (second["time_ns"], second["op"], second["gfp"]) == (10**12 + 5, Op.FREE, NONE)
    assert (third["time_ns"], third["pfn"]) == (10**12 + 5 + (3 << 27), NONE)
    now = state.now[0]
    assert (now["events"], now["other"], now["failed"], now["strange"]) == (3, 1, 1, 0)


def test_a_time_that_is_told_whole():
    """type_len 31: 59 bits, the high ones are those of the page."""
    time_ns = (3 << 59) + 12345
    at = time_ns & (1 << 59) - 1
    page = word((3 << 59) + 7) + word(0)
    page += word(31 | (at & (1 << 27) - 1) << 5, 4) + word(at >> 27, 4)
    page += word(4 | 0 << 5, 4)[:4] + b""
    event = free(64)
    page = page[:-4] + word(len(event) // 4, 4) + event
    page = page[:8] + word(len(page) - 16) + page[16:]
    state = fresh()
    data = np.frombuffer(page.ljust(PAGE, b"\0") + bytes(ring.SLACK), np.uint8)
    assert ring.decode(state, data, 1, PAGE, 0) == 1
    assert rows(state)["time_ns"].tolist() == [time_ns]


def test_stacks_go_to_the_newest_alloc():
    """An interrupt's alloc and stack come between an alloc and its own."""
    state = decoded(
        [
            (1, alloc(1)),
            (2, alloc(2)),
            (3, stack(20, 21)),
            (4, stack(10, 11, ALL)),
            (5, stack(30)),
            (6, free(2)),
            (7, alloc(3)),
            (8, stack(20, 21)),
        ]
    )
    numbers = rows(state)["stack"].tolist()
    assert [words_of(state, number) for number in numbers if number >= 0] == [
        [10, 11],
        [20, 21],
        [20, 21],
    ]
    assert numbers[0] == 1
    assert numbers[1] == numbers[3] == 0
    assert (state.now["stacks"][0], state.now["stacks_lost"][0]) == (4, 1)


def test_claims():
    state = decoded([(1, claim(512, 100, 4)), (2, claim(512, 100, 4, 12)), (3, claim(0, 0))])
    got = rows(state)
    assert got["op"].tolist() == [Op.CLAIM] * 2
    assert got["pfn"].tolist() == [512, NONE]
    assert got["count"].tolist() == [100, 100]
    assert got["order"].tolist() == [4, 4]
    assert state.now["strange"][0] == 1
    span = state.areas.spans[got["area"][0]]
    assert state.words[span["start"] : span["end"]].tobytes().rstrip(b"\0") == b"cma"


@pytest.mark.parametrize(
    "event", [alloc(3, 1), alloc(0, 60), alloc(1 << 40), free(ALL), free(1 << 36)]
)
def test_what_cannot_be_is_counted_and_left_out(event):
    state = decoded([(1, event), (2, free(8, 3))])
    assert rows(state)["pfn"].tolist() == [8]
    assert state.now["strange"][0] == 1


def test_full_arrays_stop_before_a_page_and_go_on_later():
    events = [(at, free(at)) for at in range(500)]
    data = pages_of(events)
    pages, taken, seen = len(data) // PAGE, 0, []
    state = fresh(2 * PAGE // ring.EVENT_BYTES)
    while taken < pages:
        text = np.frombuffer(data[taken * PAGE :] + bytes(ring.SLACK), np.uint8)
        step = ring.decode(state, text, pages - taken, PAGE, 0)
        assert 0 < step < pages
        taken += step
        seen += rows(state)["pfn"].tolist()
        state.now["rows"] = 0
    assert seen == list(range(500))


EVENT = st.one_of(
    st.builds(alloc, st.integers(0, 2**36 - 1), st.just(0), st.integers(0, 2**27)),
    st.builds(free, st.integers(0, 2**36 - 1)),
    st.builds(lambda n: stack(*range(1, n + 1)), st.integers(1, 40)),
    st.builds(lambda n: common(OTHER, 3) + bytes(n), st.integers(0, 150)),
)
GAP = st.one_of(st.integers(0, 50), st.integers(0, 1 << 30))


@settings(max_examples=60)
@given(st.lists(st.tuples(GAP, EVENT), max_size=80), st.integers(0, 29))
def test_every_layout_gives_the_events(gaps, how):
    times = np.cumsum([gap for gap, _ in gaps], dtype=np.int64).tolist()
    events = [(10**15 + at, data) for at, (_, data) in zip(times, gaps, strict=True)]
    state = decoded(events, how)
    wanted = [
        (at, int.from_bytes(data[8:16], "little"))
        for at, data in events
        if int.from_bytes(data[:2], "little") in (ALLOC, FREE)
    ]
    got = rows(state)
    assert list(zip(got["time_ns"].tolist(), got["pfn"].tolist(), strict=True)) == wanted
    assert state.now["strange"][0] == 0
    pages = len(pages_of(events, how)) // PAGE
    assert state.now["lost"][0] == (pages if how & 2 else 0)


@settings(max_examples=150)
@given(st.lists(st.binary(min_size=0, max_size=PAGE), min_size=1, max_size=3), st.booleans())
def test_any_bytes(parts, shaped):
    """Nothing is written or read beyond an array (make test-checked would tell)."""
    pages = []
    for part in parts:
        page = part.ljust(PAGE, b"\x04")
        if shaped:  # a length that lets the events be read
            page = page[:8] + word(PAGE - 16) + page[16:]
        pages.append(page)
    state = fresh(1024)
    text = np.frombuffer(b"".join(pages) + bytes(ring.SLACK), np.uint8)
    assert ring.decode(state, text, len(pages), PAGE, 0) == len(pages)
    got = rows(state)
    assert np.all((got["pfn"] == NONE) | (got["pfn"] < 1 << 36))
    assert np.all(got["order"] <= 24)
