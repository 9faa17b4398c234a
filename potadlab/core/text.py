"""Lines that ftrace, perf and trace-cmd print of the page allocator, to LINE[].

    task-0  [001] .....  3118.754300: mm_page_free: page=00000000d9ff0b8f pfn=0x271f04 order=0
    task  0 [001]  2216.435394832: kmem:mm_page_alloc: pfn=0x2c5e3f order=0 gfp_flags=0x440dc0
    inst:  <idle>-0  [000]  2272.161555: mm_page_alloc:     page=0x256dd9 pfn=0x256dd9 order=0 ...

What counts is the stamp (digits, dot, digits, colon), the name after it, `key=value` in any order,
and `[cpu]` somewhere before the stamp; columns, prefixes, flags and unknown keys do not.  Lines of
call stacks are taken too.  What is none of that is ODD, for slower eyes.

`text` holds whole lines between two newlines, one before the first line: no loop looks at its
index; it goes on for SLACK bytes, because words of eight bytes are read.  Texts that repeat (gfp
flags, stacks, tasks) are interned by a hash of 54 bits or more.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from ._jit import inlined, kernel, state
from .bits import load_word, mixed, trailing_zeros
from .layout import NONE

LINE = np.dtype(
    [  # one event
        ("time_ns", "i8"),
        ("pfn", "i8"),  # NONE: the alloc or claim failed
        ("count", "i8"),  # claims: granules; else 0
        ("gfp", "i4"),  # number of an interned text, NONE if there is none; so are the next three
        ("stack", "i4"),
        ("task", "i4"),
        ("area", "i4"),  # claims: the name of the CMA area
        ("op", "u1"),  # Op
        ("order", "u1"),  # claims: log2 of the alignment
        ("cpu", "u1"),
        ("migratetype", "u1"),  # 255 if not told
    ],
    align=True,
)
SPAN = np.dtype([("hash", "i8"), ("start", "i8"), ("end", "i8")])  # an interned text
ODD = np.dtype([("start", "i8"), ("end", "i8"), ("line", "i8"), ("reason", "u1")])
NOW = np.dtype(  # where the scanner stands, and what it counted
    [
        ("lines", "i8"),
        ("rows", "i8"),
        ("odd", "i8"),
        ("frames", "i8"),  # bytes of the buffer in use
        ("stack", "i8"),  # where in it the open stack begins, NONE if none is open
        ("stack_line", "i8"),  # what it takes to read the open stack again: its first line, ...
        ("stack_text", "i8"),  # ... and where that is
        ("stack_cpu", "i8"),  # NONE: of `last`
        ("last", "i8"),  # row of the last event, NONE if it was of no interest
        ("hash", "i8"),  # of the open stack
        ("batched", "i8"),
        ("below", "i8"),  # events below the per-CPU lists
        ("other", "i8"),
        ("cpu_max", "i8"),
        ("no_cpu", "i8"),
        ("stacks", "i8"),
        ("stacks_lost", "i8"),  # of an alloc that nobody saw
    ]
)


class Op(IntEnum):
    """What an event is; the numbers of a trace file's column `op`."""

    ALLOC = 0
    FREE = 1
    CLAIM = 6  # cma_alloc_finish
    RELEASE_CLAIM = 7  # cma_release


class Reason(IntEnum):
    """Why a line is odd."""

    NO_EVENT = 0
    STAMP = 1
    PFN = 2
    ORDER = 3
    ALIGNMENT = 4
    COUNT = 5


FIELDS = np.dtype(  # what a line says; NONE is not said
    [
        *((name, "i8") for name in ("pfn", "order", "migratetype", "count")),
        ("null", "u1"),  # page= is no page
        ("error", "u1"),
    ]
)


@state
class Interned(NamedTuple):
    """Texts by number, in order of appearance."""

    slots: np.ndarray  # i4, a power of two: number + 1, 0 is empty
    spans: np.ndarray  # SPAN, half as many
    count: np.ndarray  # i8[1]


@state
class Scanner(NamedTuple):
    """The state between calls; the caller empties `rows`, `odd` and `frames`."""

    rows: np.ndarray  # LINE
    odd: np.ndarray  # ODD
    gfps: Interned
    areas: Interned
    tasks: Interned  # of no slots: not wanted
    stacks: Interned  # spans are places in `frames`
    frames: np.ndarray  # u1: stacks as "innermost;...;outermost"
    waiting: np.ndarray  # i8[256, WAITING]: rows of allocs without stack by cpu, the newest first
    fields: np.ndarray  # FIELDS[1]
    now: np.ndarray  # NOW[1]


SLACK = 16
WAITING = 4  # an alloc may be interrupted by others; more than a few deep is a lost stack
ORDER_MAX = 24  # 64 GiB of 4 KiB pages; pairing visits each granule of a block
PFN_MAX = 1 << 36  # 256 TiB of 4 KiB pages, more than x86's 46 bits of physical address
COUNT_MAX = 1 << 31
NOT_TOLD = 255
_SECONDS_MAX = 9_000_000_000  # of 64 bits of nanoseconds
_GOOD = np.int64(-1)
_BAD_STAMP, _BAD_PFN, _BAD_ORDER = (
    np.int64(Reason.STAMP),
    np.int64(Reason.PFN),
    np.int64(Reason.ORDER),
)
_BAD_ALIGNMENT, _BAD_COUNT = np.int64(Reason.ALIGNMENT), np.int64(Reason.COUNT)
_NO_EVENT = np.int64(Reason.NO_EVENT)
_SATURATED = np.int64(1) << 58
_NEWLINE, _SPACE, _COLON, _DOT, _EQUALS = 10, 32, 58, 46, 61
_HASH_MASK = (np.int64(1) << 54) - 1  # times 257 it still fits


def _hash_of(word: bytes) -> int:
    value = 0
    for byte in word:
        value = (value * 257 + byte) & int(_HASH_MASK)
    return value


_ALLOC = _hash_of(b"mm_page_alloc")
_FREE, _FREE_OLD = _hash_of(b"mm_page_free"), _hash_of(b"mm_page_free_direct")  # before 3.3
_BATCHED, _BATCHED_OLD = _hash_of(b"mm_page_free_batched"), _hash_of(b"mm_pagevec_free")
_BELOW_1 = _hash_of(b"mm_page_alloc_zone_locked")
_BELOW_2 = _hash_of(b"mm_page_pcpu_drain")
_BELOW_3 = _hash_of(b"mm_page_alloc_extfrag")
_STACK, _USER_STACK = _hash_of(b"kernel_stack"), _hash_of(b"user_stack")  # trace-cmd
_CLAIM, _CLAIM_OLD = _hash_of(b"cma_alloc_finish"), _hash_of(b"cma_alloc")  # before 5.11
_UNCLAIM = _hash_of(b"cma_release")


def _word_of(key: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(key, "little"))


_PAGE, _PFN, _ORDER = _word_of(b"page="), _word_of(b"pfn="), _word_of(b"order=")
_MIGRATET, _YPE = _word_of(b"migratet"), _word_of(b"ype=")
_GFP_FLAG, _S = _word_of(b"gfp_flag"), _word_of(b"s=")
_COUNT, _ALIGN = _word_of(b"count="), _word_of(b"align=")
_ERRORNO, _NAME = _word_of(b"errorno="), _word_of(b"name=")
_FIRST_2, _FIRST_4 = np.uint64((1 << 16) - 1), np.uint64((1 << 32) - 1)
_FIRST_5, _FIRST_6 = np.uint64((1 << 40) - 1), np.uint64((1 << 48) - 1)
_ALL_95, _ALL_127, _ALL_128 = (_word_of(bytes([byte] * 8)) for byte in (95, 127, 128))
_ZERO, _ONE, _TO_HASH = np.uint64(0), np.uint64(1), np.uint64(2)


@kernel
def scan(scanner, text, start, end, final):
    """Take the lines of text[start:end]; return where the first one not taken begins.

    It stops early where the scanner's arrays are full.  A stack that may go on after `end` is left
    for the next call unless `final`.
    """
    now = scanner.now[0]
    at = np.int64(start)
    while at < end and _room(scanner):
        at = _line(scanner, text, at)
        now["lines"] += 1
    if now["stack"] != NONE and final and at >= end:
        _close_stack(scanner)
    elif now["stack"] != NONE:
        at = now["stack_text"]
        now["lines"] = now["stack_line"]
        now["frames"] = now["stack"]
        now["stack"] = NONE
    return at


@inlined
def _room(scanner):
    """Whether a line more fits everywhere."""
    now = scanner.now[0]
    return (
        now["rows"] < len(scanner.rows)
        and now["odd"] < len(scanner.odd)
        and scanner.gfps.count[0] < len(scanner.gfps.spans)
        and scanner.areas.count[0] < len(scanner.areas.spans)
        and (len(scanner.tasks.spans) == 0 or scanner.tasks.count[0] < len(scanner.tasks.spans))
        and scanner.stacks.count[0] < len(scanner.stacks.spans)
    )


@inlined
def _line(scanner, text, line):
    """Take one line; return where the next begins."""
    first = line
    while text[first] <= _SPACE and text[first] != _NEWLINE:
        first += 1
    if text[first] == _NEWLINE:
        _end_of_event(scanner)  # perf: after a stack
        return first + 1
    if text[first] == _EQUALS and text[first + 1] == 62:  # "=>"
        return _frame(scanner, text, line, first + 2)
    colon, dot = _stamp(text, first)
    if dot == NONE:  # `colon` is the line's end
        return _no_event(scanner, text, line, first, colon)
    if scanner.now[0]["stack"] != NONE:
        _close_stack(scanner)
    return _stamped(scanner, text, line, first, colon, dot)


# ---- the parts of a line --------------------------------------------------------------------


@inlined
def _is_digit(byte):
    return byte >= 48 and byte <= 57


@inlined
def _step(value, byte):
    return (value * 257 + np.int64(byte)) & _HASH_MASK


@inlined
def _line_end(text, at):
    while text[at] != _NEWLINE:
        at += 1
    return at


@inlined
def _stamp(text, at):
    """Places of the colon that ends "seconds.decimals:" and of its dot; (line's end, NONE)."""
    while text[at] != _NEWLINE:
        if text[at] == _COLON and _is_digit(text[at - 1]) and text[at + 1] <= _SPACE:
            dot = at - 1
            while _is_digit(text[dot]):
                dot -= 1
            if text[dot] == _DOT and at - dot <= 10 and _is_digit(text[dot - 1]):
                return at, dot
        at += 1
    return at, np.int64(NONE)


@inlined
def _time(text, colon, dot):
    """(nanoseconds, where the stamp begins); NONE where the seconds are absurd."""
    begin = dot - 1
    while _is_digit(text[begin - 1]):
        begin -= 1
    seconds, decimals = np.int64(0), np.int64(0)
    for at in range(begin, dot):
        seconds = min(seconds * 10 + (np.int64(text[at]) - 48), np.int64(_SECONDS_MAX))
    for at in range(dot + 1, dot + 10):
        decimals *= 10
        if at < colon:
            decimals += np.int64(text[at]) - 48
    if seconds == _SECONDS_MAX:
        return np.int64(NONE), begin
    return seconds * 1_000_000_000 + decimals, begin


@inlined
def _cpu(text, at):
    """(cpu, where its column begins) of the "[cpu]" before `at`; flags may stand between."""
    begin = at
    for _ in range(3):
        while text[at - 1] <= _SPACE and text[at - 1] != _NEWLINE:
            at -= 1
        if text[at - 1] == 93:  # "]"
            at -= 2
            cpu, scale = np.int64(0), np.int64(1)
            while _is_digit(text[at]) and scale < 1000000:
                cpu += (np.int64(text[at]) - 48) * scale
                scale *= 10
                at -= 1
            if text[at] == 91 and scale > 1:  # "["
                return cpu, at
            return np.int64(NONE), begin
        while text[at - 1] > _SPACE:
            at -= 1
        if _is_digit(text[at]):
            return _cpu_and_flags(text, at, begin)
    return np.int64(NONE), begin


@kernel
def _cpu_and_flags(text, at, begin):
    """As `_cpu`, of "1d..3." (trace-cmd report -l); a process's "12" or "12/12" is none."""
    cpu, column = np.int64(0), at
    while _is_digit(text[at]) and at < column + 6:
        cpu = cpu * 10 + (np.int64(text[at]) - 48)
        at += 1
    if text[at] <= _SPACE or text[at] == 47:  # "/"
        return np.int64(NONE), begin
    return cpu, column


@inlined
def _event(text, at):
    """(hash of the event's name, where its fields begin) after a stamp; NONE if there is none."""
    while text[at] == _SPACE or text[at] == 9:
        at += 1
    while _is_digit(text[at]):  # perf's period
        at += 1
    while text[at] == _SPACE:
        at += 1
    value = np.int64(0)
    while text[at] > _SPACE:
        if text[at] != _COLON:
            value = _step(value, text[at])
        elif text[at + 1] <= _SPACE:
            return value, at + 1
        else:
            value = np.int64(0)  # that was the subsystem
        at += 1
    return np.int64(NONE), at


@inlined
def _blanks(word):
    """The high bit of each byte that is white space or less; no byte's sum reaches the next."""
    return ~((word & _ALL_127) + _ALL_95 | word) & _ALL_128


@inlined
def _end_of_word(text, at):
    """Where the next white space stands."""
    blanks = _blanks(load_word(text, at))
    while blanks == _ZERO:
        at += 8
        blanks = _blanks(load_word(text, at))
    return at + (trailing_zeros(blanks) >> 3)


@inlined
def _word(text, at):
    """(hash, end) of the text up to white space, eight bytes at a time."""
    value, word = _ZERO, load_word(text, at)
    blanks = _blanks(word)
    while blanks == _ZERO:
        value = mixed(value, word)
        at += 8
        word = load_word(text, at)
        blanks = _blanks(word)
    bytes_left = trailing_zeros(blanks) >> 3
    word &= (_ONE << np.uint64(bytes_left << 3)) - _ONE
    return np.int64(mixed(value, word) >> _TO_HASH), at + bytes_left


@inlined
def _number(text, at):
    """(value, end): decimal, or hexadecimal after 0x; NONE if it is no number, never above 2**58.

    All ones, which Linux means by "none", is above any limit.
    """
    value, base = np.int64(0), np.int64(10)
    if text[at] == 48 and text[at + 1] | 32 == 120:  # "0x"
        base = np.int64(16)
        at += 2
    good = text[at] > _SPACE
    while text[at] > _SPACE:
        digit = np.int64(text[at]) - 48
        if base == 16 and digit > 9:
            digit = (np.int64(text[at]) | 32) - 87
            good &= digit > 9
        good &= digit >= 0 and digit < base
        value = min(value * base + digit, _SATURATED)
        at += 1
    return value if good else np.int64(NONE), at


@inlined
def _is_null(text, at):
    """Whether page= says no page: 0, 0x0, (nil), (null), zeros."""
    if text[at] == 40:  # "("
        return text[at + 1] == 110  # "n"
    while text[at] == 48 or text[at] == 120:
        at += 1
    return text[at] <= _SPACE


@inlined
def intern(interned, value, start, end):
    """The number of the text of this hash, a new one if it is not known."""
    mask = len(interned.slots) - 1
    slot = (value ^ (value >> 20)) & mask
    while interned.slots[slot] != 0:
        number = np.int64(interned.slots[slot]) - 1
        if interned.spans[number]["hash"] == value:
            return number
        slot = (slot + 1) & mask
    number = interned.count[0]
    interned.count[0] += 1
    interned.slots[slot] = number + 1
    span = interned.spans[number]
    span["hash"] = value
    span["start"] = start
    span["end"] = end
    return number


# ---- events ---------------------------------------------------------------------------------


@inlined
def _stamped(scanner, text, line, first, colon, dot):
    """A line with a stamp: an event that counts, one that does not, or the head of a stack."""
    now = scanner.now[0]
    now["last"] = NONE
    event, at = _event(text, colon + 1)
    op = _op_of(event)
    if op != NONE:
        end = _read_fields(scanner, text, at, op)
        return _take(scanner, text, line, first, colon, dot, end, op)
    if event == _STACK or (event == NONE and _is_stack(text, colon)):
        _, begin = _time(text, colon, dot)
        cpu, _ = _cpu(text, begin)
        _open_stack(scanner, line, max(cpu, np.int64(0)) & 255)
    else:
        _count(now, event)
    return _line_end(text, at) + 1


@inlined
def _op_of(event):
    if event == _ALLOC:
        return np.int64(Op.ALLOC)
    if event in (_FREE, _FREE_OLD):
        return np.int64(Op.FREE)
    if event in (_CLAIM, _CLAIM_OLD):
        return np.int64(Op.CLAIM)
    if event == _UNCLAIM:
        return np.int64(Op.RELEASE_CLAIM)
    return np.int64(NONE)


@inlined
def _count(now, event):
    """Count an event that makes no row."""
    if event in (_BATCHED, _BATCHED_OLD):
        now["batched"] += 1
    elif event in (_BELOW_1, _BELOW_2, _BELOW_3):
        now["below"] += 1
    elif event != _USER_STACK:
        now["other"] += 1


@inlined
def _is_stack(text, colon):
    """Whether "<stack trace" follows the stamp; "<user stack trace>" is not meant."""
    at = colon + 1
    while text[at] == _SPACE:
        at += 1
    return text[at] == 60 and text[at + 1] == 115  # "<s"


@inlined
def _read_fields(scanner, text, at, op):
    """Read the line's key=value to `fields`, flags and names to the next row; returns its end."""
    fields, row = scanner.fields[0], scanner.rows[scanner.now[0]["rows"]]
    fields["pfn"] = NONE
    fields["order"] = NONE
    fields["migratetype"] = NONE
    fields["count"] = NONE
    fields["null"] = 1
    fields["error"] = 0
    row["gfp"] = NONE
    row["area"] = NONE
    while text[at] != _NEWLINE:
        if text[at] <= _SPACE:
            at += 1
        else:
            at = _read_pair(scanner, fields, row, text, at, op)
    return at


@inlined
def _read_pair(scanner, fields, row, text, at, op):
    """Read a key=value that counts; returns where it ends."""
    word, rest = load_word(text, at), load_word(text, at + 8)
    if word & _FIRST_4 == _PFN:
        fields["pfn"], at = _number(text, at + 4)
    elif word & _FIRST_5 == _PAGE:
        fields["null"] = _is_null(text, at + 5)
    elif word & _FIRST_6 == _ORDER:
        fields["order"], at = _number(text, at + 6)
    elif word == _MIGRATET and rest & _FIRST_4 == _YPE:
        fields["migratetype"], at = _number(text, at + 12)
    elif word == _GFP_FLAG and rest & _FIRST_2 == _S:
        value, end = _word(text, at + 10)
        row["gfp"] = intern(scanner.gfps, value, at + 10, end)
        at = end
    elif op >= np.int64(Op.CLAIM):
        at = _read_claim_pair(scanner, fields, row, text, at)
    return _end_of_word(text, at)


@kernel
def _read_claim_pair(scanner, fields, row, text, at):
    word = load_word(text, at)
    if word & _FIRST_6 == _COUNT:
        fields["count"], at = _number(text, at + 6)
    elif word & _FIRST_6 == _ALIGN:
        fields["order"], at = _number(text, at + 6)
    elif word == _ERRORNO:
        error, at = _number(text, at + 8)
        fields["error"] = error != 0
    elif word & _FIRST_5 == _NAME:
        value, end = _word(text, at + 5)
        row["area"] = intern(scanner.areas, value, at + 5, end)
        at = end
    return at


@inlined
def _take(scanner, text, line, first, colon, dot, end, op):
    """Make the fields a row, or the line ODD; returns where the next line begins."""
    now, fields = scanner.now[0], scanner.fields[0]
    row = scanner.rows[now["rows"]]
    time_ns, begin = _time(text, colon, dot)
    cpu, begin = _cpu(text, begin)
    failed = _has_failed(fields, op)
    if op == np.int64(Op.RELEASE_CLAIM):
        fields["order"] = 0
    reason = _fault(fields, op, failed, time_ns)
    if reason != _GOOD:
        _note_odd(scanner, line, end, reason)
        return end + 1
    row["time_ns"] = time_ns
    row["pfn"] = np.int64(NONE) if failed else fields["pfn"]
    row["count"] = fields["count"] if op >= np.int64(Op.CLAIM) else np.int64(0)
    row["order"] = fields["order"]
    row["op"] = op
    told = op == np.int64(Op.ALLOC) and fields["migratetype"] >= 0
    row["migratetype"] = fields["migratetype"] & 255 if told else np.int64(NOT_TOLD)
    now["no_cpu"] += cpu == NONE
    cpu = max(cpu, np.int64(0))
    now["cpu_max"] = max(now["cpu_max"], cpu)
    row["cpu"] = cpu & 255
    row["stack"] = NONE
    row["task"] = _task(scanner.tasks, text, first, begin)
    now["last"] = now["rows"]
    if op == np.int64(Op.ALLOC):
        wait(scanner.waiting, cpu & 255, now["rows"])
    now["rows"] += 1
    return end + 1


@inlined
def _has_failed(fields, op):
    """Whether an alloc or claim got nothing: Linux prints no page and 0, or all ones, or why."""
    asks = op == np.int64(Op.ALLOC) or op == np.int64(Op.CLAIM)
    none = fields["null"] == 1 and fields["pfn"] == 0
    return asks and (none or fields["pfn"] == _SATURATED or fields["error"] == 1)


@inlined
def _fault(fields, op, failed, time_ns):
    """Why the line cannot be a row, or _GOOD."""
    pfn, order, count = fields["pfn"], fields["order"], np.int64(1)
    if op >= np.int64(Op.CLAIM):
        count = fields["count"]
    if time_ns == NONE:
        return _BAD_STAMP
    if count <= 0 or count >= COUNT_MAX:
        return _BAD_COUNT
    if order < 0 or order > ORDER_MAX:
        return _BAD_ORDER
    if failed:
        return _GOOD
    if pfn < 0 or pfn + count > PFN_MAX:
        return _BAD_PFN
    if op <= np.int64(Op.FREE) and pfn & ((np.int64(1) << order) - 1) != 0:
        return _BAD_ALIGNMENT
    return _GOOD


@inlined
def _task(tasks, text, first, end):
    """The number of the text before the cpu, NONE if names are not wanted."""
    if len(tasks.slots) == 0:
        return np.int64(NONE)
    value = np.int64(0)
    for at in range(first, end):
        value = _step(value, text[at])
    return intern(tasks, value, first, end)


@kernel
def _note_odd(scanner, start, end, reason):
    now = scanner.now[0]
    odd = scanner.odd[now["odd"]]
    odd["start"] = start
    odd["end"] = end
    odd["line"] = now["lines"] + 1
    odd["reason"] = reason
    now["odd"] += 1


# ---- stacks ---------------------------------------------------------------------------------


@inlined
def wait(waiting, cpu, row):
    """An alloc of `cpu` waits for its stack: the newest gets the next one (traces: LIFO)."""
    for place in range(WAITING - 1, 0, -1):
        waiting[cpu, place] = waiting[cpu, place - 1]
    waiting[cpu, 0] = row


@kernel
def serve(waiting, cpu):
    """The newest alloc of `cpu` that waits for a stack, which no longer waits; or NONE."""
    row = waiting[cpu, 0]
    for place in range(WAITING - 1):
        waiting[cpu, place] = waiting[cpu, place + 1]
    waiting[cpu, WAITING - 1] = NONE
    return row


@kernel
def _open_stack(scanner, line, cpu):
    """The frames that follow are of the newest alloc on `cpu`; NONE: of the last event."""
    now = scanner.now[0]
    now["stack"] = now["frames"]
    now["stack_cpu"] = cpu
    now["stack_text"] = line
    now["stack_line"] = now["lines"]
    now["hash"] = 0


@kernel
def _frame(scanner, text, line, at):
    """Take " => function+0x12/0x34 (address)"; without a head before it, it is of no interest."""
    now = scanner.now[0]
    while text[at] == _SPACE:
        at += 1
    if now["stack"] != NONE:
        _add_frame(scanner, text, at)
    return _line_end(text, at) + 1


@kernel
def _end_of_event(scanner):
    _close_stack(scanner)
    scanner.now[0]["last"] = NONE


@kernel
def _no_event(scanner, text, line, first, end):
    """Take "address function+0x12 (object)" of perf; all else is ODD."""
    now = scanner.now[0]
    at = first
    while _is_digit(text[at]) or (text[at] | 32 >= 97 and text[at] | 32 <= 102):
        at += 1
    if first == line or at - first < 4 or text[at] != _SPACE:
        _end_of_event(scanner)
        _note_odd(scanner, line, end, _NO_EVENT)
        return end + 1
    while text[at] == _SPACE:
        at += 1
    if now["last"] != NONE and _in_kernel(text, first, end):
        if now["stack"] == NONE:
            _open_stack(scanner, line, np.int64(NONE))
        _add_frame(scanner, text, at)
    return end + 1


@kernel
def _in_kernel(text, first, end):
    """Whether a frame of perf is the kernel's: its address is high, or its object stands in []."""
    if text[first] | 32 == 102 and text[first + 15] > _SPACE:  # "f", of 16 digits
        return True
    while text[end - 1] <= _SPACE:
        end -= 1
    in_process = text[end - 4] == 115 and text[end - 3] == 111  # "[vdso])"
    return text[end - 1] == 41 and text[end - 2] == 93 and not in_process  # "])"


@kernel
def _add_frame(scanner, text, at):
    """Append the function's name to the open stack."""
    now = scanner.now[0]
    place, value = now["frames"], now["hash"]
    if place > now["stack"]:
        scanner.frames[place] = 59  # ";"
        place += 1
    while text[at] > _SPACE and text[at] != 43:  # "+"
        scanner.frames[place] = text[at] if text[at] != 59 else 44
        value = _step(value, text[at])
        place += 1
        at += 1
    now["hash"] = _step(value, 59)
    now["frames"] = place


@kernel
def _close_stack(scanner):
    """Intern the open stack and give it to its alloc."""
    now = scanner.now[0]
    start, end = now["stack"], now["frames"]
    if start == NONE:
        return
    now["stack"] = NONE
    now["stacks"] += 1
    row = now["last"]
    if now["stack_cpu"] != NONE:
        row = NONE
        if _is_of_alloc(scanner.frames, start, end):
            row = serve(scanner.waiting, now["stack_cpu"])
            now["stacks_lost"] += row == NONE
    if row != NONE and end > start and scanner.rows[row]["op"] == 0:
        scanner.rows[row]["stack"] = intern(scanner.stacks, now["hash"], start, end)
    now["frames"] = end


@kernel
def _is_of_alloc(frames, start, end):
    """Whether "alloc" and then "page" stand in one of the four innermost functions.

    Where every event has a stack, those of frees and of other events are none of an alloc.
    """
    seen, functions = False, 0
    for at in range(start, end - 3):
        if frames[at] == 59:
            seen = False
            functions += 1
            if functions == 4:
                return False
        elif _stands(frames, at, 97, 108, 108, 111):  # "allo"
            seen = True
        elif seen and _stands(frames, at, 112, 97, 103, 101):  # "page"
            return True
    return False


@inlined
def _stands(frames, at, first, second, third, fourth):
    return (
        frames[at] == first
        and frames[at + 1] == second
        and frames[at + 2] == third
        and frames[at + 3] == fourth
    )
