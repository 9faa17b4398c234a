"""Any bytes give BadTrace or a trace: never another exception, never a trace that cannot be read.

POTADLAB_INPUTS=200000 tries more than the tests do every day.
"""

import gzip
import lzma
import os
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potadlab import BadTrace, import_file
from potadlab.traces import Snapshot, parquet
from potadlab.traces.importing import ImportedSnapshot, trace

DATA = Path(__file__).parent / "data"
INPUTS = int(os.environ.get("POTADLAB_INPUTS", "1500"))
SEED = 20261122
LINES = 30
WORDS = [
    *(b"mm_page_alloc: mm_page_free: kmem: <stack trace> => page= pfn= order= [000] 1.5:".split()),
    *(b"migratetype= gfp_flags= GFP_KERNEL| 0x 0xffffffffffffffff 18446744073709551615".split()),
    *(b"cma_alloc_finish: cma_release: count= align= errorno= name= -1".split()),
    *(b"CPU:1 [LOST 7 EVENTS] CPU:1 [LOST EVENTS]".split()),
    *(b"# ( ) /* */ | -0 .999999999: 99999999999.0: \x00 \xff \r \t \n = : . ; + $".split(b" ")),
    *(b"ffffffff81000000 ([kernel.kallsyms]) ([vdso]) kernel_stack: 0d..2.".split()),
]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Every input crosses borders of pieces, where most can go wrong; and is quick."""
    monkeypatch.setattr(trace, "PIECE_BYTES", 1500)
    monkeypatch.setattr("potadlab.traces.importing.lines.HELD", 8)


def outcome(data: bytes, source: Path, names: bool) -> str:
    """Import, and read what came of it: "a trace", or "refused"."""
    target = source.with_name("made.parquet")
    source.write_bytes(data)
    try:
        found = import_file(source, target, names)
    except BadTrace as error:
        refusal = str(error)
    else:
        check(target, found)
        target.unlink()
        return "a trace"
    assert "\n" not in refusal
    assert not target.exists()
    return "refused"


def check(target: Path, found) -> None:
    """The file holds what was counted, in order of time, and no row that a reader refuses."""
    if isinstance(found, ImportedSnapshot):
        assert Snapshot.read(target).info()["runs"] == found.counts["runs"]
        return
    table, metadata = parquet.read(target, parquet.TRACE, "trace")
    columns = parquet.columns(target, table, parquet.TRACE)
    asked = found.counts["allocates"] + found.counts["failed"]
    assert np.count_nonzero(columns["op"] == 0) == asked
    assert np.count_nonzero(columns["op"] == 1) == found.counts["releases"]
    assert len(table) == metadata["events"]
    assert np.all(np.diff(columns["t_ns"]) >= 0)
    order, pfn = columns["order"].astype(np.uint64), columns["pfn"]
    good = (pfn < 1 << 36) & (pfn % (np.uint64(1) << order) == 0) | (columns["op"] >= 6)
    assert np.all((pfn == (1 << 64) - 1) | good)
    assert np.all(order <= 24)


@settings(max_examples=100)
@given(st.binary(max_size=4000))
def test_any_bytes(tmp_path_factory, data):
    outcome(data, tmp_path_factory.mktemp("any") / "text", False)


DUMP_WORDS = [
    *(
        b"Page allocated via order 0, 99, mask\nPFN 0x 0x100 65536 type\n alloc_pages+0x1".split(
            b" "
        )
    ),
    *(b"Node 0, zone Normal DMA type 1 7 512 0 0 0 999999999999999 Number of blocks\n".split(b" ")),
    *(
        b"Page block order: 9\nPages per block: \n\n \n \x00\x00\x00\x00\x00\x00\x00\x00".split(
            b" "
        )
    ),
]


@settings(max_examples=300)
@given(
    st.sampled_from(
        [b"Page allocated via order ", b"Page block order: 9\n", b"Node 0, zone x 1 1\n"]
    ),
    st.lists(st.sampled_from([*DUMP_WORDS, b"\n"]), max_size=60),
)
def test_any_dump(tmp_path_factory, start, words):
    outcome(start + b" ".join(words), tmp_path_factory.mktemp("dump") / "text", False)


@settings(max_examples=100)
@given(st.lists(st.integers(0, (1 << 43) - 1), max_size=200), st.binary(max_size=9))
def test_any_flags(tmp_path_factory, words, rest):
    data = bytes(64) + b"".join(word.to_bytes(8, "little") for word in words) + rest
    outcome(data, tmp_path_factory.mktemp("flags") / "text", False)


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*WORDS, b" ", b" ", b"\n"]), max_size=200), st.booleans())
def test_any_words(tmp_path_factory, words, names):
    outcome(b" ".join(words), tmp_path_factory.mktemp("words") / "text", names)


def excerpts() -> list[list[bytes]]:
    texts = []
    for path in sorted(DATA.glob("*.txt.?z")):
        with {".gz": gzip, ".xz": lzma}[path.suffix].open(path) as file:
            texts.append(file.read().splitlines(keepends=True))
    return texts


def mutated(lines: list[bytes], chance: random.Random) -> bytes:
    """Some lines of an excerpt with bytes changed, words put in, lines cut, twice or missing."""
    start = chance.randrange(max(len(lines) - LINES, 1))
    text = lines[start : start + LINES] * chance.choice([1, 1, 1, 8])
    for _ in range(chance.choice([0, 1, 1, 1, 2, 5, 20])):
        at, what = chance.randrange(len(text)), chance.randrange(6)
        line = bytearray(text[at] or b"\n")
        place = chance.randrange(len(line))
        if what == 0:
            line[place] = chance.randrange(256)
        elif what == 1:
            line[place:place] = chance.choice(WORDS)
        elif what == 2:
            del line[place : place + chance.randrange(20)]
        elif what == 3:
            line = bytearray(text[chance.randrange(len(text))])
        elif what == 4:
            line[place:] = b""
        else:
            line[place:place] = chance.choice(WORDS) * chance.choice([2, 40])
        text[at] = bytes(line)
    whole = b"".join(text)
    if chance.random() < 0.02:
        whole = gzip.compress(whole)[: -chance.randrange(1, 40)]
    return whole


def test_mutated_real_text(tmp_path):
    chance = random.Random(SEED)
    texts = excerpts()
    outcomes = {"a trace": 0, "refused": 0}
    for _ in range(INPUTS):
        data = mutated(chance.choice(texts), chance)
        outcomes[outcome(data, tmp_path / "text", chance.random() < 0.3)] += 1
    assert min(outcomes.values()) > INPUTS // 20, outcomes


def test_mutated_packed_text(tmp_path):
    """The bytes of a packed file, and those of a trace file where text is wanted."""
    chance = random.Random(SEED)
    packed = [path.read_bytes() for path in sorted(DATA.glob("*.txt.*"))]
    for _ in range(INPUTS // 50):
        data = bytearray(chance.choice(packed)[: chance.choice([200, 3000, 100_000])])
        for _ in range(chance.choice([0, 1, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        outcome(bytes(data), tmp_path / "text", False)


def test_what_is_made_here_can_be_told_apart(tmp_path):
    """The check would see a wrong row."""
    import_file(sorted(DATA.glob("*.gz"))[0], tmp_path / "made.parquet")
    found = import_file(sorted(DATA.glob("*.gz"))[0], tmp_path / "made.parquet")
    table = pq.read_table(tmp_path / "made.parquet")
    pq.write_table(table.slice(1), tmp_path / "made.parquet")
    with pytest.raises((AssertionError, KeyError)):
        check(tmp_path / "made.parquet", found)
