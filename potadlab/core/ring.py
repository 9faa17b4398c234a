"""Pages of Linux's trace ring buffer, as `trace_pipe_raw` gives them, to LINE[].

A page is {u64 time, u64 commit, data}: `commit` has the bytes of data in its low 30 bits, and bit
31 if events were lost before it.  An event is a word {type_len 5, time_delta 27} and what
follows: 1..28 are so many words of data, 0 has the length in the next word, 29 is padding, 30 is
more of the delta, 31 a time.  Data begin with the event's number (u16) and, at 4, the process.
Sources: tracefs, events/header_page and events/header_event; where the fields of an event lie is
told by the `format` file of each.  Little-endian machines only.

One kernel for all: times go on inside a page only, so a page is decoded on its own.  Stacks follow
their event (see text.py).  `task` is the number of the process, `gfp` the flags themselves.
"""

from typing import NamedTuple

import numpy as np

from ._jit import inlined, kernel, state
from .bits import load_word, mixed
from .layout import NONE
from .text import COUNT_MAX, NOT_TOLD, ORDER_MAX, PFN_MAX, Interned, Op, intern, serve, wait

HEADER_BYTES = 16
SLACK = 16  # words of eight bytes are read
EVENT_BYTES = 16  # a page holds at most one event that makes a row in so many bytes

FIELD = ("pfn", "order", "gfp", "migratetype", "count", "align", "error", "name")
FORMAT = np.dtype(  # where in its data an event has what; NONE: it has none
    [("number", "i4"), ("op", "i4"), *((name, "i4") for name in FIELD), ("pfn_bytes", "i4")]
)
STACK = 100  # `op` of kernel stacks: `count` is where their length is, `pfn` where they begin

RING = np.dtype(
    [
        ("rows", "i8"),
        ("words", "i8"),  # of the buffer, in use
        ("events", "i8"),  # of ours
        ("lost", "i8"),  # pages before which events were lost
        ("other", "i8"),  # events that are none of ours
        ("stacks", "i8"),
        ("stacks_lost", "i8"),  # whose alloc is not there
        ("strange", "i8"),  # events that cannot be: a bad order, pfn or length
        ("failed", "i8"),
    ]
)


@state
class Ring(NamedTuple):
    """The state between calls; the caller empties `rows` and `words`."""

    formats: np.ndarray  # FORMAT
    rows: np.ndarray  # LINE
    stacks: Interned  # spans are places in `words`
    areas: Interned
    words: np.ndarray  # u8: addresses of stacks, names eight bytes a word
    waiting: np.ndarray  # i8[WAITING]: rows without stack, the newest first
    now: np.ndarray  # RING[1]


_COMMIT = np.uint64((1 << 30) - 1)
_LOST = np.uint64(1 << 31)
_LOW_16, _LOW_32 = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_TYPE, _ZERO, _TO_HASH = np.uint64(31), np.uint64(0), np.uint64(2)
_PADDING, _EXTEND, _STAMP = np.int64(29), np.int64(30), np.int64(31)
_HIGH_BITS = np.int64(0x1F) << 58  # of a time: a stamp has 59 bits


@kernel
def decode(ring, data, pages, page_bytes, cpu):
    """Take whole pages from the front of `data`; return how many, fewer if the arrays are full.

    data: u1[pages * page_bytes + SLACK].
    """
    taken = 0
    while taken < pages and _room(ring, page_bytes):
        _page(ring, data, np.int64(taken) * page_bytes, page_bytes, cpu)
        taken += 1
    return taken


@kernel
def _room(ring, page_bytes):
    """Whether what a page more may hold fits everywhere."""
    now, events = ring.now[0], page_bytes // EVENT_BYTES
    return (
        now["rows"] + events <= len(ring.rows)
        and now["words"] + page_bytes // 8 <= len(ring.words)
        and ring.stacks.count[0] + events <= len(ring.stacks.spans)
        and ring.areas.count[0] + events <= len(ring.areas.spans)
    )


@kernel
def _page(ring, data, page, page_bytes, cpu):
    time_ns = np.int64(load_word(data, page))
    commit = load_word(data, page + 8)
    ring.now[0]["lost"] += commit & _LOST != _ZERO
    at = page + HEADER_BYTES
    end = min(at + np.int64(commit & _COMMIT), page + page_bytes)
    while at + 4 <= end:
        word = load_word(data, at)
        kind, delta = np.int64(word & _TYPE), np.int64((word & _LOW_32) >> np.uint64(5))
        more = np.int64(word >> np.uint64(32))
        time_ns += delta
        if kind == _PADDING:
            if delta == 0:  # the rest of the page
                return
            at += more + 4
        elif kind >= _EXTEND:
            if kind == _EXTEND:
                time_ns += more << 27
            else:
                time_ns = (time_ns - delta) & _HIGH_BITS << 1 | more << 27 | delta
            at += 8
        else:
            begin = at + 4 if kind else at + 8
            at = at + 4 + (kind << 2 if kind else more)
            if at > end or at <= begin:
                ring.now[0]["strange"] += 1
                return
            _event(ring, data, begin, at, time_ns, cpu)


@inlined
def _event(ring, data, begin, end, time_ns, cpu):
    """Take an event whose data lie in [begin, end)."""
    number = np.int64(load_word(data, begin) & _LOW_16)
    for place in range(len(ring.formats)):
        if ring.formats[place]["number"] == number:
            if ring.formats[place]["op"] == STACK:
                _stack(ring, data, begin, end, ring.formats[place])
            else:
                _row(ring, data, begin, end, time_ns, cpu, ring.formats[place])
            return
    ring.now[0]["other"] += 1


@inlined
def _field(data, begin, end, place):
    """A field of 32 bits; NONE if there is none."""
    if place == NONE or begin + place + 4 > end:
        return np.int64(NONE)
    return np.int64(load_word(data, begin + place) & _LOW_32)


@inlined
def _pfn(data, begin, end, form):
    """The page frame number; all ones become NONE."""
    place = begin + form["pfn"]
    word = load_word(data, place)
    if form["pfn_bytes"] == 4:
        word &= _LOW_32
        return np.int64(NONE) if word == _LOW_32 else np.int64(word)
    return np.int64(word) if word < np.uint64(1 << 62) else np.int64(NONE)


@inlined
def _row(ring, data, begin, end, time_ns, cpu, form):
    now, op = ring.now[0], np.int64(form["op"])
    row = ring.rows[now["rows"]]
    pfn = _pfn(data, begin, end, form)
    asks = op == np.int64(Op.ALLOC) or op == np.int64(Op.CLAIM)
    order, count = _field(data, begin, end, form["order"]), np.int64(0)
    if op >= np.int64(Op.CLAIM):
        count = _field(data, begin, end, form["count"])
        order = np.int64(0)
        if op == np.int64(Op.CLAIM):
            order = _field(data, begin, end, form["align"])
            error = _field(data, begin, end, form["error"])
            if error > 0:
                pfn = np.int64(NONE)
    failed = asks and pfn == NONE
    if not _can_be(op, pfn, order, count, failed):
        now["strange"] += 1
        return
    row["time_ns"] = time_ns
    row["pfn"] = pfn
    row["count"] = count
    row["gfp"] = np.int64(NONE)
    row["stack"] = NONE
    row["area"] = NONE
    row["migratetype"] = NOT_TOLD
    row["op"] = op
    row["order"] = order
    row["cpu"] = cpu & 255
    row["task"] = _field(data, begin, end, 4)
    if op == np.int64(Op.ALLOC):
        row["gfp"] = _field(data, begin, end, form["gfp"])
        row["migratetype"] = _field(data, begin, end, form["migratetype"]) & 255
        wait(ring.waiting, 0, now["rows"])
    elif op >= np.int64(Op.CLAIM) and form["name"] != NONE:
        row["area"] = _name(ring, data, begin, end, form)
    now["failed"] += failed
    now["events"] += 1
    now["rows"] += 1


@inlined
def _can_be(op, pfn, order, count, failed):
    if order < 0 or order > ORDER_MAX:
        return False
    if op >= np.int64(Op.CLAIM):
        return count > 0 and count < COUNT_MAX and (failed or (pfn >= 0 and pfn + count <= PFN_MAX))
    return failed or (pfn >= 0 and pfn < PFN_MAX and pfn & ((np.int64(1) << order) - 1) == 0)


@kernel
def _name(ring, data, begin, end, form):
    """The number of a claim's area; the field tells length and place of a text."""
    told = _field(data, begin, end, form["name"])
    length, place = told >> 16, begin + (told & 0xFFFF)
    length = max(min(length, end - place), np.int64(0))
    return _intern(ring, ring.areas, data, place, length)


@kernel
def _stack(ring, data, begin, end, form):
    """Give the stack to the newest alloc that waits."""
    now = ring.now[0]
    now["stacks"] += 1
    place = begin + form["pfn"]
    length = min(_field(data, begin, end, form["count"]) << 3, end - place)
    while length >= 8 and load_word(data, place + length - 8) == _ALL:
        length -= 8  # unused places
    row = serve(ring.waiting, 0)
    if row == NONE:
        now["stacks_lost"] += 1
    elif length >= 8:
        ring.rows[row]["stack"] = _intern(ring, ring.stacks, data, place, length & ~np.int64(7))


@kernel
def _intern(ring, table, data, place, length):
    """The number of so many bytes; those that are new are kept in `words`."""
    now, value = ring.now[0], _ZERO
    start = now["words"]
    at = start
    for byte in range(0, length, 8):
        word = load_word(data, place + byte)
        left = length - byte
        if left < 8:
            word &= (np.uint64(1) << np.uint64(left << 3)) - np.uint64(1)
        value = mixed(value, word)
        ring.words[at] = word
        at += 1
    known = table.count[0]
    number = intern(table, np.int64(value >> _TO_HASH), start, at)
    if table.count[0] > known:
        now["words"] = at
    return number
