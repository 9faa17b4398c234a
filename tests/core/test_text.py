"""The line scanner alone: against a slow reading of the same lines, and on any bytes."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from potadlab.core import bits, text
from potadlab.core._jit import kernel
from potadlab.core.layout import NONE
from potadlab.core.text import LINE, NOW, ODD, SPAN, Interned, Scanner, scan

ROWS, TEXTS = 64, 64


def interned(count=TEXTS):
    return Interned(np.zeros(2 * count, np.int32), np.zeros(count, SPAN), np.zeros(1, np.int64))


def scanner(rows=ROWS, tasks=0):
    now = np.zeros(1, NOW)
    now["stack"], now["last"] = NONE, NONE
    return Scanner(
        np.zeros(rows, LINE),
        np.zeros(ROWS, ODD),
        interned(),
        interned(),
        interned(tasks),
        interned(),
        np.zeros(8192, np.uint8),
        np.full((256, text.WAITING), NONE, np.int64),
        np.zeros(1, text.FIELDS),
        now,
    )


def scanned(lines, final=True, **options):
    """(the scanner, the text's array, where it stopped, where the text ends)"""
    data = b"\n" + b"".join(line + b"\n" for line in lines)
    array = np.frombuffer(data + bytes(text.SLACK), np.uint8)
    state = scanner(**options)
    return state, array, int(scan(state, array, 1, len(data), final)), len(data)


def words(table, place):
    spans = table.spans[: table.count[0]]
    return [bytes(place[span["start"] : span["end"]]) for span in spans]


EVENT = re.compile(
    rb".*?(\d+)\.(\d{1,9}): (?:kmem:)?(mm_page_alloc|mm_page_free): *(.*)", re.DOTALL
)


def slowly(line):
    """(time_ns, op, pfn, order, gfp) of an event that can be read, else None."""
    found = EVENT.fullmatch(line)
    if not found:
        return None
    seconds, decimals, name, rest = found.groups()
    fields = dict(pair.split(b"=", 1) for pair in rest.split() if b"=" in pair)
    try:
        pfn = int(fields[b"pfn"], 16 if fields[b"pfn"].startswith(b"0x") else 10)
        order = int(fields[b"order"])
    except (KeyError, ValueError):
        return None
    if not 0 <= order <= text.ORDER_MAX or pfn >= text.PFN_MAX or pfn % (1 << order):
        return None
    op = int(name == b"mm_page_free")
    if op == 0 and pfn == 0 and fields.get(b"page", b"0").strip(b"0x") == b"":
        pfn = NONE
    time_ns = int(seconds) * 10**9 + int(decimals.ljust(9, b"0"))
    return time_ns, op, pfn, order, fields.get(b"gfp_flags")


pairs = st.one_of(
    st.integers(0, 1 << 37).map(lambda pfn: b"pfn=0x%x" % (pfn & ~7)),
    st.integers(0, 1 << 37).map(lambda pfn: b"pfn=%d" % (pfn & ~7)),
    st.integers(0, 4).map(lambda order: b"order=%d" % order),
    st.sampled_from([b"order=25", b"order=", b"order=-1", b"pfn=0x", b"pfn=12z", b"pfn=0"]),
    st.sampled_from([b"page=0000", b"page=00ab", b"gfp_flags=GFP_KERNEL|__GFP_COMP", b"x=1", b"y"]),
    st.sampled_from(
        [b"gfp_flags=0x440dc0", b"gfp_flags=A", b"pfnx=3", b"xorder=1", b"migratetype=1"]
    ),
)
lines = st.tuples(
    st.sampled_from([b"task-1 [000] ..... ", b"  [001] ", b"a b-2 [3] ", b"x 1.5 [000] "]),
    st.integers(0, 10**9).map(lambda seconds: b"%d" % seconds),
    st.sampled_from([b"0", b"000001", b"123456789", b"5"]),
    st.sampled_from([b"mm_page_alloc", b"kmem:mm_page_free", b"mm_page_free", b"mm_page_freed"]),
    st.lists(pairs, max_size=6).map(b" ".join),
).map(lambda parts: b"%s%s.%s: %s: %s" % parts)


@given(st.lists(lines, max_size=20))
def test_scanning_agrees_with_a_slow_reading(some):
    state, array, stopped, end = scanned(some)
    rows, gfps = state.rows[: state.now[0]["rows"]], words(state.gfps, array)
    found = [
        (
            *(int(row[name]) for name in ("time_ns", "op", "pfn", "order")),
            None if row["gfp"] == NONE else gfps[row["gfp"]],
        )
        for row in rows
    ]
    assert found == [event for event in map(slowly, some) if event]
    assert stopped == end
    assert state.now[0]["lines"] == len(some)


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_taken_to_the_end(data, final):
    some = data.split(b"\n")
    state, _, stopped, end = scanned(some, final, tasks=TEXTS)
    assert stopped == end or not final or state.now[0]["odd"] == len(state.odd)
    assert state.now[0]["rows"] <= ROWS
    odd = state.odd[: state.now[0]["odd"]]
    assert np.all(odd["start"] <= odd["end"])


def test_it_stops_where_there_is_no_room_and_goes_on():
    line = b"[000] 1.%06d: mm_page_free: pfn=%d order=0"
    some = [line % (number, number) for number in range(1, 10)]
    state, array, stopped, end = scanned(some, rows=4)
    assert (state.now[0]["rows"], state.now[0]["lines"]) == (4, 4)
    assert bytes(array[stopped:end]).count(b"\n") == 5
    state.now["rows"] = 0
    again = scan(state, array, stopped, end, True)
    assert state.rows["pfn"].tolist() == [5, 6, 7, 8]
    assert bytes(array[again:end]).count(b"\n") == 1


def test_a_stack_that_may_go_on_is_left_for_the_next_call():
    some = [
        b"a-1 [000] 1.0: mm_page_alloc: pfn=1 order=0",
        b"a-1 [000] 1.0: <stack trace>",
        b" => __alloc_pages",
        b" => caller",
    ]
    state, array, stopped, end = scanned(some, final=False)
    assert bytes(array[stopped:end]).startswith(b"a-1 [000] 1.0: <stack trace>")
    assert state.now[0]["lines"] == 1
    assert scan(state, array, stopped, end, True) == end
    assert words(state.stacks, state.frames) == [b"__alloc_pages;caller"]
    assert state.rows[0]["stack"] == 0


def test_more_allocs_than_can_wait_lose_their_stacks_not_others():
    alloc = b"a-1 [000] 1.0: mm_page_alloc: pfn=%d order=0"
    count = text.WAITING + 2
    stacks = [b"a-1 [000] 1.0: <stack trace>", b" => alloc_pages"] * count
    state, *_ = scanned([alloc % number for number in range(1, count + 1)] + stacks)
    assert (state.rows["stack"][:count] == 0).tolist() == [False] * 2 + [True] * text.WAITING
    assert state.now[0]["stacks_lost"] == 2


@given(st.binary(min_size=8, max_size=40), st.data())
def test_words_are_read_at_any_place(data, draw):
    at = draw.draw(st.integers(0, len(data) - 8))
    array = np.frombuffer(data, np.uint8)
    assert read_word(array, at) == int.from_bytes(data[at : at + 8], "little")


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_words_are_mixed_alike_with_and_without_compilation(value, word):
    plain = getattr(bits.mixed, "plain", bits.mixed)
    expected = plain(np.uint64(value), np.uint64(word))
    assert mix(np.uint64(value), np.uint64(word)) == expected


@kernel
def read_word(array, at):
    return bits.load_word(array, at)


@kernel
def mix(value, word):
    return bits.mixed(value, word)
