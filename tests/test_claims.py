"""What the recorded kernel claimed for CMA: from text to ops, and to what allocators make of it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potadlab import Session, Space, Trace, import_file
from potadlab.core.layout import NONE, Flag, Outcome, Verb
from potadlab.errors import BadTrace
from potadlab.kinds import KIND

HEAD = "cam-9 [001] ..... 1.{:06d}: "
TEXT = [
    "mm_page_alloc: page=1 pfn=0x10 order=0 migratetype=1 gfp_flags=GFP_USER",
    "cma_alloc_start: name=linux,cma count=2048 align=8",
    "cma_alloc_busy_retry: name=linux,cma pfn=0x800 page=1 count=2048 align=8",
    "cma_alloc_finish: name=linux,cma pfn=0x900 page=1 count=2048 align=8 errorno=0",
    "cma_alloc_finish: name=linux,cma pfn=0x0 page=(null) count=100 align=8 errorno=-12",
    "cma_alloc_finish: name=linux,cma pfn=0x1500 page=1 count=100 align=8 errorno=0",
    "cma_release: name=linux,cma pfn=0x900 page=1 count=2048",
    "cma_release: name=linux,cma pfn=0x4000 page=1 count=16",
    "cma_alloc: pfn=0x4100 page=1 count=16 align=4",
    "cma_alloc: pfn=ffffffffffffffff page=(null) count=16 align=4",
    "cma_release: pfn=0x4100 page=1 count=16",
    "mm_page_free: page=1 pfn=0x10 order=0",
]
TEXT[9] = TEXT[9].replace("ffff", "0xffff", 1)


@pytest.fixture
def trace(tmp_path):
    lines = [HEAD.format(number) + line for number, line in enumerate(TEXT)]
    (tmp_path / "text").write_text("\n".join(lines))
    found = import_file(tmp_path / "text", tmp_path / "made.parquet")
    counts = found.counts
    assert (counts["claims"], counts["claims_failed"], counts["claims_released"]) == (5, 2, 3)
    assert (counts["other"], counts["damaged"]) == (2, 0)
    return Trace.read(tmp_path / "made.parquet")


def test_claims_are_ops_among_the_others(trace):
    claims = trace.ops[np.isin(trace.ops["verb"], (Verb.CLAIM, Verb.RELEASE_CLAIM))]
    found = [
        (int(op["time_ns"]) // 1000, int(op["verb"]), int(op["handle"]) - 1, int(op["granules"]))
        for op in claims
    ]
    asked, given = Verb.CLAIM, Verb.RELEASE_CLAIM
    assert found == [
        (3, asked, 0, 2048),
        (4, asked, 1, 256),  # 100 pages, rounded up to the alignment
        (4, given, 1, 256),
        (5, asked, 2, 256),
        (6, given, 0, 2048),
        (8, asked, 3, 16),
        (9, asked, 4, 16),
        (9, given, 4, 16),
        (10, given, 3, 16),
    ]
    assert claims["flags"].tolist() == [0, 0, Flag.SYNTHETIC, 0, 0, 0, 0, Flag.SYNTHETIC, 0]
    assert set(claims["granule"]) == {NONE}
    first = claims[0]
    assert (first["align_order"], first["kind"], first["cpu"]) == (8, KIND["driver"], 1)
    assert trace.owners[first["owner"]] == "cma linux,cma"
    assert trace.owners[claims[5]["owner"]] == "cma"
    assert trace.info()["claims"] == {
        **{"asked": 5, "failed": 2, "released": 2, "unseen": 1, "rounded": 2},
    }


def test_the_others_are_paired_as_without_claims(trace, tmp_path):
    table = pq.read_table(trace.path)
    pq.write_table(table.filter(pa.compute.less(table["op"], 2)), tmp_path / "without.parquet")
    without = Trace.read(tmp_path / "without.parquet")
    others = trace.ops[~np.isin(trace.ops["verb"], (Verb.CLAIM, Verb.RELEASE_CLAIM))]
    assert np.array_equal(others, without.ops)
    assert trace.counts == without.counts
    assert (trace.events, trace.info()["releases"]) == (without.events, 1)


def test_potad_serves_what_the_kernel_claimed(trace):
    session = Session(trace, ["potad", "recorded"])
    claims = session.ops["verb"] == Verb.CLAIM
    events = session.runs["potad"].events[claims]
    assert (events["outcome"] == Outcome.DONE).all()
    align = np.int64(1) << session.ops["align_order"][claims].astype(np.int64)
    assert (events["granule"] % align == 0).all()
    assert (session.runs["recorded"].events[claims]["outcome"] == Outcome.IGNORED).all()
    left = session.blocks("potad", len(session.ops))
    assert [int(block["order"]) for block in left] == [8], "the claim that was not released"


def test_a_claim_larger_than_memory_is_refused(trace):
    trace.ops["granules"][trace.ops["verb"] == Verb.CLAIM] = 1 << 30
    trace.ops["granules"][trace.ops["verb"] == Verb.RELEASE_CLAIM] = 1 << 30
    session = Session(trace, ["potad"], space=Space.ram("64MiB"))
    outcomes = session.runs["potad"].events["outcome"][trace.ops["verb"] == Verb.CLAIM]
    assert (outcomes == Outcome.REFUSED).all()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("count", None, "count of a claim"),
        ("count", 0, "count of a claim"),
        ("order", 25, "order is above 24"),
        ("pfn", 1 << 36, "pfn is beyond 2\\*\\*36"),
        ("t_ns", 0, "t_ns goes back"),
    ],
)
def test_a_claim_that_cannot_be_is_told(column, value, said, trace):
    table = pq.ParquetFile(trace.path).read()
    rows = table.to_pylist()
    rows[3][column] = value
    table = pa.Table.from_pylist(rows, table.schema)
    pq.write_table(table, trace.path)
    with pytest.raises(BadTrace, match=f"row 3: {said}"):
        Trace.read(trace.path)
