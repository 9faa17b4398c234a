"""Importing recorded text: real excerpts, each variation by hand, damage, pieces, kill -9."""

import gzip
import json
import lzma
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loops import WAIT_S

from potadlab import Trace, cli, import_file
from potadlab.bundled import dataset
from potadlab.errors import BadTrace, PotadError, UnknownName
from potadlab.traces.importing import gfp, trace
from potadlab.traces.importing.gfp import BITS, flags_of
from potadlab.traces.purpose import Kinds

DATA = Path(__file__).parent / "data"
EXCERPTS = sorted(DATA.glob("*.txt.*"))
FAILED = (1 << 64) - 1
ALLOC = "page=00000000e43d2bc7 pfn=0x1841b0 order=2 migratetype=1 gfp_flags=GFP_USER|__GFP_COMP"
USER = flags_of("GFP_USER|__GFP_COMP")[0]
EVENT = {"cpu": 1, "op": 0, "pfn": 0x1841B0, "order": 2, "migratetype": 1, "gfp_flags": USER}
FREE = "task-7 [000] ..... 3.000000: mm_page_free: page=00000000e43d2bc7 pfn=0x40 order=0\n"


@pytest.fixture
def made(tmp_path):
    """Import text (or bytes): (what was counted, rows as dicts, the file)."""

    def make(text, **options):
        source, target = tmp_path / "source.txt", tmp_path / "made.parquet"
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        found = import_file(source, target, **options)
        return found, pq.ParquetFile(target).read().to_pylist(), target

    return make


def unpacked(path: Path) -> bytes:
    if path.suffix == ".zst":
        return pa.CompressedInputStream(str(path), "zstd").read()
    return {".gz": gzip, ".xz": lzma}[path.suffix].open(path).read()


# ---- real text ------------------------------------------------------------------------------

SIMPLE = re.compile(r"\[(\d+)\].* (\d+)\.(\d{6}): +(?:kmem:)?mm_page_(alloc|free): +(.*)")


def simply(text: str) -> list[tuple]:
    """What the excerpts say, read by a rule that knows no more than they need."""
    rows = []
    for found in filter(None, map(SIMPLE.search, text.splitlines())):
        cpu, seconds, micros, verb, rest = found.groups()
        fields = dict(pair.split("=") for pair in rest.split())
        flags = flags_of(fields["gfp_flags"])[0] if verb == "alloc" else 0
        stamp, pfn = int(seconds) * 10**9 + int(micros) * 1000, int(fields["pfn"], 16)
        migratetype = int(fields.get("migratetype", 255))
        op, order = int(verb == "free"), int(fields["order"])
        rows.append((stamp, int(cpu), op, pfn, order, migratetype, flags))
    return rows


@pytest.mark.parametrize("path", EXCERPTS, ids=lambda path: path.name)
def test_real_text_is_read_as_it_stands(path, tmp_path):
    found = import_file(path, tmp_path / "made.parquet")
    table = pq.read_table(tmp_path / "made.parquet").to_pylist()
    said = [tuple(row.values())[:7] for row in table]
    assert said == simply(unpacked(path).decode())
    assert found.counts["damaged"] == 0
    assert found.counts["allocates"] + found.counts["releases"] == len(said)
    trace_ = Trace.read(tmp_path / "made.parquet")
    assert (trace_.events, trace_.kinds_guessed) == (len(said), found.counts["kinds_guessed"])


def test_two_tools_that_tell_the_same_events_give_the_same_trace(tmp_path):
    formats, tables = [], []
    for name in ("report", "ftrace"):
        target = tmp_path / f"{name}.parquet"
        formats.append(import_file(DATA / f"same_events.{name}.txt.xz", target).format)
        tables.append(pq.read_table(target).replace_schema_metadata(None))
    assert formats == ["trace-cmd report", "ftrace"]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == 6209


@pytest.mark.parametrize("name", ["compile_redis", "owners"])
def test_text_gives_what_a_reader_of_the_ring_buffer_gave(name, tmp_path):
    bundled = pq.read_table(dataset({"owners": "mixed_owners"}.get(name, name)))
    packed = DATA / f"{name}.ftrace.txt.{'gz' if name == 'compile_redis' else 'xz'}"
    import_file(packed, tmp_path / "made.parquet")
    ours = pq.read_table(tmp_path / "made.parquet")
    theirs = bundled.slice(0, len(ours))
    assert len(ours) > 100
    since = ours["t_ns"].to_numpy() - ours["t_ns"][0].as_py()
    assert np.abs(since - theirs["t_ns"].to_numpy()).max() < 1000, "text has microseconds"
    for column in ("cpu", "op", "pfn", "order", "migratetype", "gfp_flags"):
        assert ours[column].equals(theirs[column]), column
    if name == "owners":  # of the last alloc the excerpt holds half a stack
        assert ours["stack"].to_pylist()[:-1] == theirs["stack"].to_pylist()[:-1]


def test_events_lost_by_the_recorder_are_told(tmp_path):
    found = import_file(DATA / "trace_pipe_lost.txt.gz", tmp_path / "made.parquet")
    lines = unpacked(DATA / "trace_pipe_lost.txt.gz").decode()
    told = list(map(int, re.findall(r"LOST (\d+)", lines)))
    assert len(told) >= 5
    assert (found.counts["lost_events"], found.counts["losses"]) == (sum(told), len(told))
    assert Trace.read(tmp_path / "made.parquet").counts["lost_events"] == sum(told)


# ---- each variation -------------------------------------------------------------------------

VARIATIONS = {
    "ftrace": f"   task-12   [001] d..3.   2.000500: mm_page_alloc: {ALLOC}",
    "no flags column": f"   task-12   [001]   2.000500: mm_page_alloc: {ALLOC}",
    "tgid": f"   task-12   (   99) [001] .....   2.000500: mm_page_alloc: {ALLOC}",
    "no tgid known": f"   task-12   (-----) [001] .....   2.000500: mm_page_alloc: {ALLOC}",
    "idle": f"  <idle>-0     [001] dNs4.   2.000500: mm_page_alloc: {ALLOC}",
    "no name known": f"   <...>-2275  [001] ....   2.000500: mm_page_alloc: {ALLOC}",
    "dashes": f" kworker/u8:3-fl-12 [001] .....   2.000500: mm_page_alloc: {ALLOC}",
    "spaces": f" Web Content 1: x-12 [001] .....   2.000500: mm_page_alloc: {ALLOC}",
    "brackets": f" [000] x [7]-12 [001] .....   2.000500: mm_page_alloc: {ALLOC}",
    "no name": f"[001] 2.000500: mm_page_alloc: {ALLOC}",
    "nanoseconds": f"  task-12 [001] 2.000500000: mm_page_alloc: {ALLOC}",
    "milliseconds": f"  task-12 [001] 2.0005: mm_page_alloc: {ALLOC}",
    "perf": f"task    12 [001]     2.000500: kmem:mm_page_alloc: {ALLOC}",
    "perf -F": f"[001]     2.000500000: kmem:mm_page_alloc: {ALLOC}",
    "perf with a period": f"task 12/12 [001]  2.000500:          1 kmem:mm_page_alloc: {ALLOC}",
    "perf with misc": f"task 12 [001] K 2.000500:   kmem:mm_page_alloc: {ALLOC}",
    "trace-cmd": f"  task-12    [001]  2.000500: mm_page_alloc:        {ALLOC}",
    "trace-cmd instance": f"pot1:    task-12    [001]  2.000500: mm_page_alloc:      {ALLOC}",
    "trace-cmd -l": f"    task-12      1d..3.  2.000500: mm_page_alloc:        {ALLOC}",
    "function_graph": f" 2.000500 |   1)               |  /* mm_page_alloc: {ALLOC} */",
    "tabs and return": f"task-12\t[001]\t.....\t2.000500:\tmm_page_alloc:\t{ALLOC}\r",
    "other order": "task-12 [001] 2.000500: mm_page_alloc: pfn=0x1841b0 order=2 "
    "gfp_flags=GFP_USER|__GFP_COMP migratetype=1",
    "decimal pfn": "task-12 [001] .... 2.000500: mm_page_alloc: page=00000000d2be5665 pfn=1589680 "
    "order=2 migratetype=1 nr_free=3650 gfp_flags=GFP_USER|__GFP_COMP",
    "raw flags": f"task-12 [001] 2.000500: mm_page_alloc: pfn=0x1841b0 order=2 migratetype=1 "
    f"gfp_flags={USER:#x} extra",
    "decimal flags": f"task-12 [001] 2.000500: mm_page_alloc: pfn=0x1841b0 order=2 migratetype=1 "
    f"gfp_flags={USER}",
    "GFP_ without underscores": f"task-12 [001] 2.000500: mm_page_alloc: "
    f"{ALLOC.replace('__GFP', 'GFP')}",
    "flags as name and rest": f"task-12 [001] 2.000500: mm_page_alloc: "
    f"{ALLOC.replace('__GFP_COMP', '0x40000')}",
    "no blank before a key": f"task-12 [001] 2.000500: mm_page_alloc: migratetype=9=1 {ALLOC}",
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_each_variation_is_the_same_event(name, made):
    found, rows, _ = made(VARIATIONS[name] + "\n" + FREE)
    expected = EVENT | {"t_ns": 2_000_500_000}
    assert {key: rows[0][key] for key in expected} == expected
    assert (len(rows), found.counts["damaged"]) == (2, 0)


@pytest.mark.parametrize(
    ("line", "op", "pfn"),
    [
        ("mm_page_free: page=(ptrval) pfn=0x40 order=3", 1, 0x40),
        ("mm_page_free_direct: page=ffffea00 pfn=64 order=3", 1, 64),
        ("mm_page_free: page=0000000012345678 pfn=0 order=3", 1, 0),
        ("mm_page_alloc: page=0000000000000000 pfn=0 order=3 migratetype=1 gfp_flags=0", 0, FAILED),
        ("mm_page_alloc: page=(nil) pfn=0x0 order=3 migratetype=1", 0, FAILED),
        ("mm_page_alloc: page=(null) pfn=0x0 order=3 migratetype=1", 0, FAILED),
        ("mm_page_alloc: pfn=0xffffffffffffffff order=3 migratetype=1", 0, FAILED),
        ("mm_page_alloc: pfn=18446744073709551615 order=3 migratetype=1", 0, FAILED),
        ("mm_page_alloc: page=00000000d2be5665 pfn=0x0 order=3 migratetype=1", 0, 0),
    ],
)
def test_frees_and_failures(line, op, pfn, made):
    found, rows, target = made(f"task-1 [000] ..... 1.000000: {line}\n" + FREE)
    assert (rows[0]["op"], rows[0]["pfn"], rows[0]["order"]) == (op, pfn, 3)
    assert found.counts["failed"] == int(pfn == FAILED) == Trace.read(target).counts["failed"]


def test_what_is_no_alloc_or_free_is_left_out_and_counted(made):
    head = "task-1 [000] ..... 1.000000: "
    below = "page=0 pfn=0x40 order=0 migratetype=1 percpu_refill=1"
    others = [
        ("batched", "mm_page_free_batched: page=0 pfn=0x40 order=0"),
        ("batched", "mm_pagevec_free: page=0 pfn=0x40 order=0 cold=0"),
        ("below", f"mm_page_alloc_zone_locked: {below}"),
        ("below", f"mm_page_pcpu_drain: {below}"),
        ("below", "mm_page_alloc_extfrag: page=0 pfn=0x40 alloc_order=0 fallback_order=10"),
        ("other", "kmem_cache_alloc: call_site=x ptr=0 bytes_req=1"),
        ("other", "sched_switch: prev_comm=x prev_pid=1 ==> next_comm=1.5: mm_page_alloc: x=1"),
        ("other", "do_page_fault <-exc_page_fault"),
        ("other", "1 cycles:  ffffffff81 x"),
    ]
    text = "".join(f"{head}{line}\n" for _, line in others) + FREE
    found, rows, _ = made(text)
    assert len(rows) == 1
    assert {name: found.counts[name] for name in ("batched", "below", "other")} == {
        **{"batched": 2, "below": 3},
        "other": 4,
    }


def test_lines_of_the_tools_are_no_damage(made):
    lines = """# tracer: nop
# entries-in-buffer/entries-written: 10/25   #P:2
# os release : 6.1.0-28-amd64
cpus=2
version = 7
CPU 1 is empty
CPU:0 [LOST 3 EVENTS]
CPU:1 [7 EVENTS DROPPED]
CPU:1 [LOST EVENTS]
 0)   0.512 us    |    _raw_spin_lock();
 1.500000 |   1)   task-1   |   0.512 us    |    _raw_spin_lock();

"""
    found, rows, target = made(lines + FREE)
    assert (found.counts["damaged"], len(rows)) == (0, 1)
    assert (found.counts["lost_events"], found.counts["losses"]) == (15, 3), "the greater of both"
    metadata = json.loads(pq.ParquetFile(target).metadata.metadata[b"potadlab"])
    assert metadata["kernel"] == "6.1.0-28-amd64"
    assert metadata["format"] == "potadlab-page-trace-1"


def test_cpus_above_255_and_none_at_all(made):
    text = FREE.replace("[000]", "[300]") + FREE.replace("[000]", "")
    found, rows, target = made(text)
    assert [row["cpu"] for row in rows] == [300 % 256, 0]
    assert found.counts["no_cpu"] == 1
    assert json.loads(pq.ParquetFile(target).metadata.metadata[b"potadlab"])["cpus"] == 301


# ---- order ----------------------------------------------------------------------------------


def frees(*stamps):
    return "".join(
        FREE.replace("3.000000", f"{stamp:.6f}").replace("0x40", f"{place + 1:#x}")
        for place, stamp in enumerate(stamps)
    )


def test_equal_stamps_keep_the_order_of_lines_and_late_ones_find_their_place(made):
    found, rows, _ = made(frees(1.0, 1.0, 1.5, 1.2, 1.2, 1.0))
    assert [row["pfn"] for row in rows] == [1, 2, 6, 4, 5, 3]
    assert found.counts["went_back"] == 0


def test_what_comes_too_late_takes_the_time_of_the_one_before(made, monkeypatch):
    monkeypatch.setattr("potadlab.traces.importing.lines.HELD", 4)
    monkeypatch.setattr(trace, "PIECE_BYTES", 400)
    found, rows, target = made(frees(*[1.0 + place / 1000 for place in range(50)], 1.0))
    assert found.counts["went_back"] == 1
    assert rows[-1]["t_ns"] > 1_040_000_000
    assert {row["pfn"] for row in rows} == set(range(1, 52))
    assert Trace.read(target).events == 51


# ---- stacks ---------------------------------------------------------------------------------

FTRACE_STACKS = """\
 a-1 [000] ..... 1.000001: mm_page_alloc: page=0 pfn=0x1 order=0 migratetype=1 gfp_flags=GFP_KERNEL
 b-2 [001] ..... 1.000002: mm_page_alloc: page=0 pfn=0x2 order=0 migratetype=1 gfp_flags=GFP_KERNEL
 a-1 [000] d.h1. 1.000003: mm_page_alloc: page=0 pfn=0x3 order=0 migratetype=1 gfp_flags=GFP_KERNEL
 a-1 [000] d.h1. 1.000004: mm_page_free: page=0 pfn=0x9 order=0
 a-1 [000] d.h1. 1.000004: <stack trace>
 => trace_event_raw_event_mm_page_alloc
 => __alloc_pages_noprof
 => irq
 a-1 [000] ..... 1.000005: <user stack trace>
 =>  <00007f0000000000>
 b-2 [001] ..... 1.000006: <stack trace>
 => trace_event_raw_event_mm_page_alloc
 => __alloc_pages_noprof
 => other_cpu
CPU:0 [LOST 1 EVENTS]
 a-1 [000] ..... 1.000006: <stack trace>
 => __free_pages
 => of_a_free
 a-1 [000] ..... 1.000007: <stack trace>
 => __alloc_pages_noprof+0x12/0x345
 => task (ffffffff81234567)
 a-1 [000] ..... 1.000008: kernel_stack:         <stack trace >
 => __alloc_pages_noprof
 => nobody
"""
PERF_STACKS = """\
task  1 [000]  1.000001: kmem:mm_page_alloc: page=0x1 pfn=0x1 order=0 migratetype=1 gfp_flags=0
\tffffffff812a1b2c __alloc_pages+0x1c2 ([kernel.kallsyms])
\tffffffff812a1b2d irq+0x1 ([kernel.kallsyms])
\t    7f3a2b1c0d0e malloc+0x1e (/home-of-someone/secret/libc.so.6)

task  2 [001]  1.000002: kmem:mm_page_free: page=0x9 pfn=0x9 order=0
\tffffffff812a1b2c __free_pages+0x1c2 ([kernel.kallsyms])

task  2 [001]  1.000003: kmem:mm_page_alloc: page=0x2 pfn=0x2 order=0 migratetype=1 gfp_flags=0
        ffffffffc0a1b2c3 [unknown] ([kernel.kallsyms])
        ffffffff812a1b2c __alloc_pages ([kernel.kallsyms])
        ffffffffc0a1b2c3 other_cpu ([virtio_net])
            7ffd00001234 __vdso_gettimeofday ([vdso])

task  2 [001]  1.000004: sched:sched_switch: prev=1
\tffffffff812a1b2c __schedule+0x1c2 ([kernel.kallsyms])
"""


def test_stacks_of_ftrace_go_to_the_newest_alloc_of_their_cpu(made):
    found, rows, _ = made(FTRACE_STACKS)
    assert {row["pfn"]: row["stack"] for row in rows} == {
        **{1: "__alloc_pages_noprof;task", 2: "__alloc_pages_noprof;other_cpu"},
        **{3: "__alloc_pages_noprof;irq", 9: None},
    }
    assert (found.counts["stacks_lost"], found.counts["damaged"]) == (1, 0)


def test_stacks_of_perf_follow_their_event_and_show_no_process(made):
    found, rows, target = made(PERF_STACKS)
    assert {row["pfn"]: row["stack"] for row in rows} == {
        **{1: "__alloc_pages;irq", 2: "__alloc_pages;other_cpu", 9: None},
    }
    assert found.counts["damaged"] == 0
    assert b"secret" not in target.read_bytes()


@pytest.mark.parametrize("bytes_", [300, 331, 500, 1000, 4096])
@pytest.mark.parametrize("name", ["ftrace stacks", "perf stacks", "variations", "owners"])
def test_pieces_of_any_length_give_the_same_trace(name, bytes_, made, monkeypatch):
    text = {
        "ftrace stacks": FTRACE_STACKS,
        "perf stacks": PERF_STACKS,
        "variations": "\n".join(VARIATIONS.values()),
        "owners": unpacked(DATA / "owners.ftrace.txt.xz").decode()[:40_000],
    }[name]
    whole, rows, _ = made(text)
    monkeypatch.setattr(trace, "PIECE_BYTES", bytes_)
    pieces, again, _ = made(text)
    if name == "owners" and bytes_ < 1000:  # a stack longer than the piece is cut
        rows, again = ([{**row, "stack": ""} for row in one] for one in (rows, again))
    assert again == rows
    assert pieces.counts["lines"] == whole.counts["lines"] == len(text.splitlines())


@pytest.mark.parametrize("stacks", [FTRACE_STACKS, PERF_STACKS], ids=["ftrace", "perf"])
def test_rows_that_were_written_leave_the_stacks_of_the_others_in_place(stacks, made, monkeypatch):
    text = "".join(stacks.replace(" 1.0000", f" {number}.0000") for number in range(1, 60))
    _, rows, _ = made(text)
    assert sum(row["stack"] is not None for row in rows) == 59 * stacks.count("_alloc: ")
    monkeypatch.setattr("potadlab.traces.importing.lines.HELD", 16)
    monkeypatch.setattr(trace, "PIECE_BYTES", 1700)
    assert made(text)[1] == rows


def test_tables_grow_with_the_texts_they_hold(made):
    alloc = "a-{0} [000] ..... 1.{0:06d}: mm_page_alloc: pfn={0} order=0 gfp_flags={0:#x}\n"
    stack = "a-{0} [000] ..... 1.{0:06d}: <stack trace>\n => alloc_pages\n => caller_{0}\n"
    text = "".join((alloc + stack).format(number) for number in range(1, 3000))
    _, rows, _ = made(text, names=True)
    assert [row["gfp_flags"] for row in rows] == list(range(1, 3000))
    assert [row["stack"] for row in rows] == [f"alloc_pages;caller_{n}" for n in range(1, 3000)]
    assert [row["task"] for row in rows] == [f"a-{n}" for n in range(1, 3000)]


# ---- names ----------------------------------------------------------------------------------


def test_processes_are_named_only_if_asked(made):
    text = "\n".join(VARIATIONS.values()) + "\n"
    for name in ("task", "kworker", "Web Content"):
        assert name.encode() not in made(text)[2].read_bytes()
    _, rows, target = made(text, names=True)
    tasks = [row["task"] for row in rows]
    expected = {"dashes": "kworker/u8:3-fl-12", "spaces": "x-12", "idle": "<idle>-0"}
    expected |= {"brackets": "[000] x [7]-12", "perf": "task-12", "trace-cmd instance": "task-12"}
    expected |= {"perf with a period": "task-12", "tgid": "task-12", "no name": None}
    places = list(VARIATIONS)
    del expected["spaces"]
    assert {name: tasks[places.index(name)] for name in expected} == expected
    assert "task-12" in Trace.read(target).owners


# ---- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("task-1 [000] ..... 1.0: mm_page_free: page=0 pfn=0x40", "order= is missing"),
        ("task-1 [000] ..... 1.0: mm_page_free: page=0 order=0", "pfn= is missing"),
        ("task-1 [000] ..... 1.0: mm_page_free: pfn=0x4z order=0", "pfn= is missing"),
        ("task-1 [000] ..... 1.0: mm_page_free: pfn=0x1000000000 order=0", "beyond 2**36"),
        ("task-1 [000] ..... 1.0: mm_page_free: pfn=0x41 order=1", "not aligned"),
        ("task-1 [000] ..... 1.0: mm_page_free: pfn=0x40 order=25", "above 24"),
        ("task-1 [000] ..... 99999999999.0: mm_page_free: pfn=0x40 order=0", "beyond 292 years"),
        ("task-1 [000] ..... 123456: mm_page_free: pfn=0x40 order=0", "no stamp in seconds"),
        (" 1)               |  /* mm_page_free: pfn=0x40 order=0 */", "no stamp in seconds"),
        ("\0\1\2\377 what is this", "no event can be read"),
        ("x" * 5000, "no event can be read"),
    ],
)
def test_a_damaged_line_is_counted_and_told(line, what, made):
    good = FREE * 150
    found, rows, _ = made(good + line + "\n" + good)
    told = found.damaged_lines
    assert (found.counts["damaged"], len(rows)) == (1, 300)
    assert told[0][0] == 151
    assert what in told[0][1]
    assert f"line 151: {told[0][1]}" in found.words()


def test_only_the_first_damaged_lines_are_told(made):
    found, _, _ = made(FREE * 2000 + "damaged\n" * 20)
    assert found.counts["damaged"] == 20
    assert [line for line, _ in found.damaged_lines] == [2001, 2002, 2003, 2004, 2005]


def test_more_than_one_percent_is_an_error(made, tmp_path):
    made(FREE * 99 + "damaged\n")
    (tmp_path / "made.parquet").unlink()
    with pytest.raises(BadTrace, match=r"source.txt: line 99: no event can be read; so 2 of 100"):
        made(FREE * 98 + "damaged\n" * 2)
    assert list(tmp_path.iterdir()) == [tmp_path / "source.txt"], "nothing half-written is left"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# tracer: nop\n", "a-1 [0] 1.0: sched_switch: x=1\n"]
)
def test_no_event_at_all_says_what_is_needed(text, made):
    with pytest.raises(BadTrace, match="holds no page allocation or free: give text with mm_page"):
        made(text)


@pytest.mark.parametrize(
    ("start", "remedy"),
    [
        (b"\x17\x08\x44tracing6", "trace-cmd report"),
        (b"PERFILE2", "perf script"),
        (b"PAR1", "alre"),
    ],
)
def test_other_formats_are_told_from_their_first_bytes(start, remedy, made):
    with pytest.raises(BadTrace, match=remedy):
        made(start + bytes(1000))
    with pytest.raises(BadTrace, match=remedy):
        made(gzip.compress(start + bytes(1000)))


def test_a_packed_file_that_ends_early_gives_what_was_there(made, tmp_path):
    packed = gzip.compress(frees(*range(1, 2000)).encode())
    found, rows, _ = made(packed[: len(packed) // 2])
    assert found.cut_short
    assert 100 < len(rows) < 1999
    assert found.counts["damaged"] <= 1


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_a_packed_file_that_is_broken_is_told(kind, made):
    text = frees(*range(1, 2000)).encode()
    packed = {
        "gzip": gzip.compress,
        "xz": lzma.compress,
        "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    }[kind](text)
    assert len(made(packed)[1]) == 1999
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    with pytest.raises(BadTrace, match=r"source.txt: "):
        made(bytes(broken))


def test_a_last_line_without_its_end_counts(made):
    assert len(made(FREE + FREE.rstrip())[1]) == 2


# ---- the file -------------------------------------------------------------------------------


def test_kill_at_any_moment_leaves_the_old_file(tmp_path):
    source, target = tmp_path / "pipe", tmp_path / "made.parquet"
    os.mkfifo(source)
    target.write_bytes(b"what stood there before")
    program = [sys.executable, "-m", "potadlab", "import", str(source), str(target)]
    process = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    with source.open("wb") as pipe:
        for _ in range(20):
            pipe.write(FREE.encode() * 10_000)
        parts = list(tmp_path.glob(".made.parquet.*.part"))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(parts) == 1, "it was in the middle"
    assert target.read_bytes() == b"what stood there before"


def test_nothing_is_left_where_the_target_cannot_be_written(made, tmp_path):
    (tmp_path / "source.txt").write_text(FREE)
    with pytest.raises(OSError, match="No such file"):
        import_file(tmp_path / "source.txt", tmp_path / "nowhere" / "made.parquet")


def test_metadata_says_how_it_was_recorded(made):
    found, _, target = made(VARIATIONS["ftrace"] + "\n" + FREE, page_bytes=16384)
    trace_ = Trace.read(target)
    assert (trace_.granule_bytes, trace_.name) == (16384, "made")
    metadata = trace_.metadata
    assert metadata["recorded"] == "text of ftrace"
    assert metadata["clock"] == "not told (microsecond stamps)"
    assert metadata["potadlab"]
    assert metadata["gfp_bits"] == {str(bit): name for bit, name in BITS.items()}
    assert metadata["duration_s"] == found.duration_s == pytest.approx(0.9995)
    assert metadata["import"]["lines"] == 2


# ---- flags ----------------------------------------------------------------------------------


def test_flags_are_those_of_the_bundled_traces():
    metadata = json.loads(
        pq.ParquetFile(dataset("compile_redis")).read().schema.metadata[b"potadlab"]
    )
    assert metadata["gfp_bits"] == {str(bit): name for bit, name in BITS.items()}
    for text, flags in {
        "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP": 0x140DCA,
        "GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP": 0x440DC0,
        "GFP_NOWAIT": 0x2800,
        "GFP_TRANSHUGE_LIGHT": 0xC20CA | 0x100000,
        "none": 0,
        "0x140dca": 0x140DCA,
        "__GFP_CMA|__GFP_COLD": 0,
    }.items():
        assert flags_of(text) == (flags, []), text
    assert flags_of("GFP_KERNEL|__GFP_MINE|0x") == (0xCC0, ["__GFP_MINE", "0x"])
    assert gfp.is_number("0x12")
    assert not gfp.is_number("GFP_KERNEL")


# ---- kinds ----------------------------------------------------------------------------------

STACKS = {
    "do_anonymous_page;handle_mm_fault": "anon",
    "__folio_alloc_noprof;page_cache_ra_order;filemap_get_pages": "file",
    "__filemap_get_folio;ext4_da_write_begin": "file",
    "pte_alloc_one;do_anonymous_page": "ptdesc",
    "allocate_slab;___slab_alloc;alloc_buffer_head;page_cache_ra_order": "slab",
    "skb_page_frag_refill;tcp_sendmsg_locked": "network",
    "anon_pipe_write;vfs_write": "pipe",
    "vm_area_alloc_pages;__vmalloc_node_range_noprof;bpf_prog_alloc": "vmalloc",
    "vm_area_alloc_pages;__vmalloc_node_range;alloc_thread_stack_node;dup_task_struct": "stack",
    "dma_direct_alloc;snd_dma_alloc_pages": "driver",
    "xfs_buf_alloc_pages;xfs_buf_get_map": "xfs_buf",
    "alloc_fresh_hugetlb_folio;hugetlb_sysctl": "hugetlb",
    "zs_malloc;zram_bvec_write": "swap",
    "__read_swap_cache_async;swapin_readahead;do_swap_page": "anon",
    "pcpu_populate_chunk;pcpu_alloc": "kernel",
    "__get_free_pages;pgd_alloc;mm_init": "ptdesc",
    "something_new;something_else": None,
}


@pytest.mark.parametrize("stack", STACKS)
def test_stacks_tell_kinds(stack):
    common = "__alloc_frozen_pages_noprof;alloc_pages_mpol;alloc_pages_noprof;"
    assert Kinds.read().of_stack(common + stack) == STACKS[stack]
    assert Kinds.read().of_stack(common + stack.replace(";", ".isra.0;")) == STACKS[stack]


def test_the_owner_is_the_first_function_that_says_something():
    owner_of = Kinds.read().owner_of
    common = "__alloc_frozen_pages_noprof;alloc_pages_mpol;allocate_slab;___slab_alloc;"
    assert (
        owner_of(common + "__slab_alloc.isra.0;kmem_cache_alloc_noprof;alloc_inode;x")
        == "alloc_inode;x"
    )
    assert owner_of("alloc_pages;do_wp_page;handle_mm_fault") == "do_wp_page;handle_mm_fault"
    assert owner_of("alloc_pages;alloc_page") == "alloc_pages;alloc_page"


def test_bundled_stacks_nearly_all_tell_a_kind():
    trace_ = Trace.read(dataset("mixed_owners"))
    assert trace_.kinds_guessed <= 0.01 * trace_.info()["allocates"]


def test_a_guess_from_flags_agrees_with_the_stacks(tmp_path):
    told = Trace.read(dataset("mixed_owners"))
    table = pq.read_table(dataset("mixed_owners")).drop_columns("stack")
    pq.write_table(table, tmp_path / "guess.parquet")
    guessed = Trace.read(tmp_path / "guess.parquet")
    both = told.ops["kind"] == guessed.ops["kind"]
    asked = (told.ops["verb"] == 0) & (told.ops["flags"] == 0)
    assert np.mean(both[asked]) > 0.96
    assert guessed.kinds_guessed == np.count_nonzero(asked)


OWN = """
[kinds]
driver = ["my_driver_*", "page_cache_ra_order"]
[[guess]]
with = "MOVABLE"
kind = "hugetlb"
"""


def test_a_table_of_the_user_goes_first_and_stays_with_the_file(made, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    kinds = Kinds.read(own)
    assert kinds.of_stack("alloc_pages;my_driver_probe") == "driver"
    assert kinds.of_stack("alloc_pages;page_cache_ra_order;filemap_read") == "driver"
    assert kinds.of_stack("alloc_pages;do_anonymous_page") == "anon"
    assert Kinds.read().of_stack("alloc_pages;page_cache_ra_order") == "file"
    text = VARIATIONS["ftrace"].replace("GFP_USER", "GFP_HIGHUSER_MOVABLE") + "\n"
    for options, kind in (({}, "folio"), ({"kinds": own}, "hugetlb")):
        target = made(text, **options)[2]
        assert Trace.read(target).info()["kinds"] == {kind: 1}
    assert Trace.read(made(text)[2], kinds=own).info()["kinds"] == {"hugetlb": 1}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("[kinds]\nnothing = ['x']", UnknownName, "no kind 'nothing': choose among unknown"),
        ("[kinds", PotadError, "is no TOML"),
        ("[colours]\nx = 1", PotadError, "'colours' is no table known here"),
        ("[kinds]\nanon = 'x'", PotadError, "lists of text"),
        ("[[guess]]\nwith = 'X'", PotadError, "each guess needs a kind"),
        ("[[guess]]\nwith = 1\nkind = 'anon'", PotadError, "flags of a guess"),
        ("[migratetype]\nx = 'anon'", PotadError, "migratetype needs numbers"),
        ("[beats]\nstack = [1]", PotadError, "lists of text"),
        ("[migratetype]\n1 = 2", UnknownName, "no kind 2"),
    ],
)
def test_a_table_that_is_wrong_is_told(text, error, said, tmp_path):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(error, match=re.escape(said)):
        Kinds.read(tmp_path / "own.toml")


# ---- the program ----------------------------------------------------------------------------


def test_the_program_says_what_was_made(tmp_path, capsys):
    target = tmp_path / "made.parquet"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["import", str(DATA / "compile_redis.ftrace.txt.gz"), str(target)])
    out, err = capsys.readouterr()
    assert (stopped.value.code, err) == (0, "")
    assert out.startswith(f"{target}: ")
    assert "mm_page_free_batched left out: they repeat a free" in out


def test_the_program_reads_standard_input_and_writes_json(tmp_path):
    program = [sys.executable, "-m", "potadlab", "import", "-", "made.parquet", "--json", "-"]
    packed = (DATA / "perf.txt.zst").read_bytes()
    done = subprocess.run(program, cwd=tmp_path, input=packed, capture_output=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["format"] == "perf script"
    assert told["counts"]["lines"] == 1200
    assert Trace.read(tmp_path / "made.parquet").events == 1200


def test_a_slow_pipe_is_known_by_its_first_bytes_too(tmp_path):
    program = [sys.executable, "-m", "potadlab", "import", "-", "made.parquet"]
    process = subprocess.Popen(program, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    packed = gzip.compress(frees(1, 2, 3).encode())
    for byte in packed[:9]:
        process.stdin.write(bytes([byte]))
        process.stdin.flush()
    out, _ = process.communicate(packed[9:])
    assert process.returncode == 0
    assert b"0 allocs and 3 frees" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.txt", "made.parquet"], 1, "nowhere.txt: no such file"),
        (["/proc/self/mem", "made.parquet"], 1, "/proc/self/mem: cannot be read"),
        ([".", "made.parquet"], 1, ".: is a directory"),
        (["in.txt", "in.txt"], 1, "in.txt: is also read"),
        (["in.txt", "nowhere/made.parquet"], 1, "there is no folder nowhere: make it first"),
        (["in.txt", "."], 1, ".: is a folder"),
        (["in.txt", "made.parquet", "--page", "5000"], 2, "--page is a power of two"),
        (["in.txt", "made.parquet", "--kinds", "none.toml"], 1, "none.toml: cannot be read"),
    ],
)
def test_the_program_fails_in_one_line(arguments, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text(FREE)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["import", *arguments])
    err = capsys.readouterr().err
    assert stopped.value.code == code
    assert said in err
    assert not Path("made.parquet").exists()
