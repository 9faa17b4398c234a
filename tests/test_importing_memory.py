"""Dumps of memory to snapshots: each kind of page, each live block, as many free ones as told."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from potadlab import BadTrace, Trace, cli, import_file
from potadlab.bundled import dataset
from potadlab.core.bits import largest_order
from potadlab.traces import Snapshot
from potadlab.traces.importing.memory import kinds_of_flags

DATA = Path(__file__).parent / "data"
OWNERS = """\
Page allocated via order 0, mask 0x140dca(GFP_HIGHUSER_MOVABLE), pid 7, tgid 7 (x), ts 9 ns
PFN 0x100 type Movable Block 0 type Movable Flags 0x1(locked|node=0|zone=1)
 post_alloc_hook+0x12/0x34
 __alloc_pages+0x12/0x34
 do_anonymous_page+0x12/0x34

Page allocated via order 2, mask 0x2800(GFP_NOWAIT), pid 7, tgid 7 (someone-named), ts 9 ns
PFN 260 type Unmovable Block 0 type Movable Flags 0x1()
 allocate_slab.isra.0+0x12/0x34
 skb_page_frag_refill+0x12/0x34
Page has been migrated, last migrate reason: compaction
Charged to memcg /a/path

Page allocated via order 1, mask 0x0(), pid 7, tgid 7 (x), ts 9 ns
PFN 0x10c type Unmovable Block 0 type Unmovable Flags 0x1()
 something_new+0x1/0x2

Page allocated via order 0, mask 0x0(), pid 7, tgid 7 (x), ts 9 ns
PFN 0x10d type Unmovable Block 0 type Unmovable Flags 0x1()
 lies_inside_the_one_before+0x1/0x2

Page allocated via order 3, mask 0x0(), pid 7, tgid 7 (x), ts 9 ns
PFN 0x101 type Unmovable Block 0 type Unmovable Flags 0x1()

Page allocated via order 0, mask 0x0(), pid 7, tgid 7 (x), ts 9 ns
PFN 0x20000 type Unmovable Block 0 type Unmovable Flags 0x1()
 do_wp_page+0x1/0x2
"""


@pytest.fixture
def made(tmp_path):
    """Import a dump: (what was counted, runs as tuples, the file)."""

    def make(data):
        source, target = tmp_path / "dump", tmp_path / "made.parquet"
        source.write_bytes(data if isinstance(data, bytes) else data.encode())
        found = import_file(source, target)
        return found, runs_of(Snapshot.read(target)), target

    return make


def runs_of(snapshot):
    columns = (snapshot.start, snapshot.end, snapshot.kind)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def free_counts(runs, orders):
    """Free runs, joined, as Linux's free lists: greedy aligned blocks, the largest first."""
    counts, free = [0] * orders, []
    for start, end, kind in runs:
        if kind == 1 and free and free[-1][1] == start:
            free[-1] = free[-1][0], end
        elif kind == 1:
            free.append((start, end))
    for start, end in free:
        while start < end:
            order = min(int(largest_order(np.int64(start), np.int64(end - start))), orders - 1)
            counts[order] += 1
            start += 1 << order
    return counts


# ---- kpageflags -----------------------------------------------------------------------------

LRU, ANON, HEAD, TAIL = 1 << 5, 1 << 12, 1 << 15, 1 << 16
WORDS = [
    (0, 0),
    (1 << 10, 1),
    (1 << 7 | HEAD, 2),
    (LRU | ANON | 1 << 11, 3),
    (LRU | 1 << 2, 4),
    (LRU | ANON | HEAD | 1 << 22, 5),
    (ANON | TAIL, 5),
    (LRU | HEAD, 6),
    (1 << 26, 7),
    (1 << 32, 8),
    (1 << 23, 9),
    (1 << 19 | LRU | ANON, 10),
    (1 << 20, 11),
    (1 << 17 | HEAD, 12),
    (1 << 21 | LRU | ANON, 13),
    (HEAD, 14),
    (TAIL | 1 << 3, 14),
    (1 << 3, 15),
    (1 << 24, 17),
]


def test_flags_tell_kinds_of_pages():
    words, kinds = (np.array(column) for column in zip(*WORDS, strict=True))
    assert kinds_of_flags(words.astype(np.uint64)).tolist() == kinds.tolist()


def test_kpageflags_become_runs_whatever_the_pieces(made, monkeypatch):
    chance = np.random.default_rng(3)
    words = np.array([word for word, _ in WORDS], np.uint64)
    flags = np.repeat(words[chance.integers(0, len(words), 300)], chance.integers(1, 9, 300))
    flags[:64] = 1 << 10
    for bytes_ in (1 << 20, 1000, 8, 20):
        monkeypatch.setattr("potadlab.traces.importing.memory._READ_BYTES", bytes_)
        found, runs, target = made(flags.tobytes() + b"cut")
        kinds = np.concatenate([np.full(end - start, kind) for start, end, kind in runs])
        assert kinds.tolist() == kinds_of_flags(flags).tolist()
        assert runs[0][0] == 0
        assert all(one[1] == two[0] and one[2] != two[2] for one, two in pairwise(runs))
    assert found.counts["pages"] == len(flags)
    assert Snapshot.read(target).info()["pages"]["buddy (free)"] == np.count_nonzero(kinds == 1)


# ---- page_owner -----------------------------------------------------------------------------


def test_page_owner_tells_each_live_block(made):
    found, runs, target = made(OWNERS)
    assert runs == [
        (0x100, 0x101, 3),
        (0x101, 0x104, 1),
        (0x104, 0x108, 2),
        (0x108, 0x10C, 1),
        (0x10C, 0x10E, 14),
        (0x20000, 0x20001, 3),
    ]
    assert found.format == "page_owner"
    assert (found.counts["damaged"], found.counts["overlaps"]) == (1, 1)
    assert b"someone" not in target.read_bytes()


def test_a_trace_can_begin_with_it(made):
    _, _, target = made(OWNERS)
    trace = Trace.read(dataset("mixed_owners"), snapshot=target)
    assert {0x100, 0x104, 0x10C} <= set(trace.start["granule"].tolist())


# ---- buddyinfo, pagetypeinfo ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["buddyinfo", "pagetypeinfo"])
def test_as_many_free_blocks_of_each_order_as_told(name, tmp_path):
    found = import_file(DATA / f"{name}.txt", tmp_path / "made.parquet")
    snapshot = Snapshot.read(tmp_path / "made.parquet")
    told = {line.split()[3]: line.split()[4:] for line in (DATA / "buddyinfo.txt").open()}
    sums = [sum(map(int, column)) for column in zip(*told.values(), strict=True)]
    assert free_counts(runs_of(snapshot), len(sums)) == sums
    assert snapshot.metadata["places"] == "assumed"
    assert snapshot.metadata["buddyinfo"] == {
        f"node 0 {zone}": list(map(int, counts)) for zone, counts in told.items()
    }
    assert "their places are assumed" in found.words()[1]
    if name == "pagetypeinfo":
        assert found.counts["pages"] >= (8 + 1528 + 2752) * 512


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Page block order: 9\nPages per block: 512\n", "holds no page of pagetypeinfo"),
        ("Node 0, zone Normal 999999999999 0 0\n", "more memory than any machine has"),
        ("Page allocated via order 99, mask\nPFN 0x1 type\n\n", "holds no page of page_owner"),
    ],
)
def test_a_dump_that_says_nothing_is_told(text, said, made):
    with pytest.raises(BadTrace, match=said):
        made(text)


def test_the_program_makes_snapshots_too(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["import", str(DATA / "pagetypeinfo.txt"), str(tmp_path / "made.parquet")])
    assert stopped.value.code == 0
    assert "a snapshot of" in capsys.readouterr().out
