"""Reading traces: against the counts of another implementation, and a slow model of the rules."""

import hashlib
import json
import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab import bundled
from potadlab.core import pairing
from potadlab.core.layout import NONE, OP, Flag, Verb
from potadlab.core.pairing import FRAME, Role, Rows, Runs
from potadlab.errors import BadTrace, UnknownName
from potadlab.kinds import KIND
from potadlab.traces import Snapshot, Trace
from potadlab.traces.purpose import Kinds, flag_names
from potadlab.traces.start import blocks_of, ranges_of
from potadlab.traces.trace import count_classes

FAILED = (1 << 64) - 1

# ---- the rules, slowly ----------------------------------------------------------------------

ORDER_MAX = 4
GRANULES = 64
FREE, FRESH, OUT, LIVE = Role.FREE, Role.FRESH, Role.OUT, Role.SINGLES


class Model:
    """The classes as the importer's rules state them: sets of granules, no handles, no ops."""

    def __init__(self, roles):
        self.roles = roles  # of each granule
        self.block = {}  # granule: the block as it was allocated
        self.seen = set()
        self.blocks = []
        self.live_peak = 0
        self.counts = dict.fromkeys(count_classes(np.zeros(0, OP), 0), 0)

    def play(self, op, granule, order):
        span = range(granule, granule + (1 << order))
        if granule == NONE:
            self.counts["failed"] += 1
            return
        if op == 0:
            self.alloc(span)
        else:
            self.counts[self.free(span, order)] += 1
        self.seen.update(span)
        self.live_peak = max(self.live_peak, len(self.block))

    def alloc(self, span):
        covered = {id(block): block for block in map(self.block.get, span) if block}
        self.counts["lost_free"] += bool(covered)
        for block in covered.values():
            self.leave(block, set(block["left"]))
        block = {"order": len(span).bit_length() - 1, "left": set(span)}
        self.blocks.append(block)
        self.block.update(dict.fromkeys(span, block))

    def leave(self, block, granules):
        block["left"] -= granules
        for granule in granules:
            del self.block[granule]

    def free(self, span, order):
        blocks = [self.block.get(granule) for granule in span]
        if not any(blocks):
            return self.free_dead(span, order)
        one = all(block is blocks[0] for block in blocks)
        whole = one and blocks[0]["order"] == order
        for granule in span:
            if granule in self.block:
                self.leave(self.block[granule], {granule})
        return "exact" if whole else "split" if one else "corrupt"

    def free_dead(self, span, order):
        if self.seen & set(span):
            return "untraced_reused"
        roles = {self.roles[granule] for granule in span}
        if roles == {FRESH} and order == ORDER_MAX:
            return "memory_added"
        return "untraced_unseen" if roles <= {FREE, FRESH} else "live_at_start"

    def end(self):
        self.counts["never_freed"] = sum(1 for block in self.blocks if block["left"])
        return self.counts, self.live_peak


class Ground:
    """Replays ops at their recorded places on sets; asserts that each is possible."""

    def __init__(self, ranges, start):
        self.service = {granule for begin, end in ranges for granule in range(begin, end)}
        self.block, self.taken = {}, set()
        for block in start:
            self.place(int(block["handle"]), int(block["granule"]), int(block["order"]))

    def place(self, handle, granule, order):
        span = set(range(granule, granule + (1 << order)))
        assert handle not in self.block, "a handle names one block"
        assert span <= self.service, "a block lies in service"
        assert not span & self.taken, "live blocks do not overlap"
        self.block[handle] = granule, order
        self.taken |= span

    def remove(self, handle, order):
        granule, held = self.block.pop(handle)
        assert held == order
        self.taken -= set(range(granule, granule + (1 << order)))
        return granule

    def play(self, op):
        granule, order, handle = int(op["granule"]), int(op["order"]), int(op["handle"])
        if op["verb"] == Verb.ALLOCATE:
            self.place(handle, granule, order)
        elif op["verb"] == Verb.RELEASE:
            assert self.remove(handle, order) == granule
        elif op["verb"] == Verb.SPLIT:
            held = self.block[handle][1]
            assert self.remove(handle, held) == granule
            for piece in range(1 << (held - order)):
                self.place(int(op["into"]) + piece, granule + (piece << order), order)
        elif op["verb"] == Verb.ADD_MEMORY:
            span = set(range(granule, granule + int(op["granules"])))
            assert not span & self.service
            self.service |= span


@st.composite
def events(draw):
    """(op, granule, order): random, so most are mismatches of some class."""
    order = draw(st.integers(0, ORDER_MAX))
    granule = draw(st.integers(0, (GRANULES >> order) - 1)) << order
    op = draw(st.sampled_from([0, 0, 1, 1, 1]))
    if op == 0 and draw(st.integers(0, 19)) == 0:
        granule = NONE
    return op, granule, order


roles = st.lists(
    st.sampled_from([FREE, FREE, LIVE, Role.WHOLES, FRESH, OUT]), min_size=4, max_size=4
)


def rows_of(rows):
    ops, granules, orders = (np.array(column) for column in zip(*rows, strict=True))
    count = len(rows)
    zeros = np.zeros(count, np.uint8)
    return Rows(
        np.arange(count) * 10,
        ops.astype(np.uint8),
        granules.astype(np.int64),
        orders.astype(np.uint8),
        zeros,
        zeros,
        zeros + np.uint8(KIND["folio"]),
        np.zeros(count, np.int32),
    )


def runs_of(roles):
    size = GRANULES // len(roles)
    starts = np.arange(len(roles) + 1) * size
    return Runs(starts, np.array(roles, np.uint8), np.zeros(len(roles), np.uint8))


def paired(rows, roles):
    runs, frames = runs_of(roles), np.zeros(GRANULES, FRAME)
    ops, handles = pairing.pair(rows_of(rows), runs, frames, ORDER_MAX)
    start, assumed = blocks_of(ops, runs, frames, ORDER_MAX, handles)
    return ops, handles, ranges_of(runs, frames), start, assumed


@pytest.mark.core
@given(st.lists(events(), min_size=1, max_size=120), roles)
def test_pairing_agrees_with_the_model(rows, roles):
    ops, handles, *_ = paired(rows, roles)
    model = Model(np.repeat(roles, GRANULES // len(roles)).tolist())
    for row in rows:
        model.play(*row)
    assert (count_classes(ops, handles), pairing.lives(ops, handles)[1]) == model.end()
    assert np.all(np.diff(ops["time_ns"]) >= 0)


@pytest.mark.core
@given(st.lists(events(), min_size=1, max_size=120), roles)
def test_ops_replay_at_their_recorded_places(rows, roles):
    ops, handles, ranges, start, _ = paired(rows, roles)
    ground = Ground(ranges, start)
    for op in ops:
        ground.play(op)
    used = [*ops["handle"], *start["handle"]]
    assert max(used) < handles + len(start)
    assert np.all(np.diff(start["granule"]) > 0)


@pytest.mark.core
@given(st.lists(events(), min_size=1, max_size=60), roles)
def test_the_start_is_what_events_and_snapshot_say(rows, roles):
    _, _, ranges, start, assumed = paired(rows, roles)
    service = {granule for begin, end in ranges for granule in range(begin, end)}
    live = {g + i for g, order in start[["granule", "order"]].tolist() for i in range(1 << order)}
    touched = {g + i for _, g, order in rows if g != NONE for i in range(1 << order)}
    for granule in set(range(GRANULES)) - touched:
        role = roles[granule * len(roles) // GRANULES]
        assert (granule in live) == (role in (LIVE, Role.WHOLES))
        assert (granule in service) == (role not in (FRESH, OUT))
    assert assumed <= len(start)


def verbs(ops):
    return [
        (Verb(op["verb"]).name, int(op["handle"]), int(op["granule"]), int(op["flags"]))
        for op in ops
    ]


SYNTHETIC, PIECE, LOST = Flag.SYNTHETIC, Flag.PIECE, Flag.LOST_FREE


@pytest.mark.core
def test_a_block_is_split_at_its_first_partial_free_and_its_pieces_again():
    ops, handles, *_ = paired([(0, 8, 3), (1, 12, 2), (1, 8, 0), (1, 10, 1)], [FREE] * 4)
    assert verbs(ops) == [
        ("ALLOCATE", 0, 8, 0),
        ("SPLIT", 0, 8, PIECE | SYNTHETIC),  # to order 2: handles 1, 2
        ("RELEASE", 2, 12, PIECE),
        ("SPLIT", 1, 8, PIECE | SYNTHETIC),  # to order 0: handles 3 .. 6
        ("RELEASE", 3, 8, PIECE),
        ("RELEASE", 5, 10, PIECE),  # one free of two pieces
        ("RELEASE", 6, 11, PIECE | SYNTHETIC),
    ]
    assert ops["into"].tolist() == [-1, 1, -1, 3, -1, -1, -1]
    assert handles == 7
    assert count_classes(ops, handles)["split"] == 3
    assert count_classes(ops, handles)["never_freed"] == 1


@pytest.mark.core
def test_an_alloc_over_live_blocks_tells_of_lost_frees():
    rows = [(0, 0, 2), (1, 0, 0), (0, 4, 0), (0, 0, 3), (1, 0, 3)]
    ops, handles, *_ = paired(rows, [FREE] * 4)
    assert verbs(ops)[4:] == [
        ("RELEASE", 2, 1, LOST | SYNTHETIC | PIECE),
        ("RELEASE", 3, 2, LOST | SYNTHETIC | PIECE),
        ("RELEASE", 4, 3, LOST | SYNTHETIC | PIECE),
        ("RELEASE", 5, 4, LOST | SYNTHETIC),
        ("ALLOCATE", 6, 0, 0),
        ("RELEASE", 6, 0, 0),
    ]
    counts = count_classes(ops, handles)
    assert (counts["lost_free"], counts["exact"], counts["never_freed"]) == (1, 1, 0)


@pytest.mark.core
def test_an_untraced_alloc_is_put_in_before_its_free():
    ops, *_ = paired([(1, 4, 1), (1, 4, 1)], [FREE] * 4)
    assert verbs(ops) == [
        ("ALLOCATE", 0, 4, SYNTHETIC),
        ("RELEASE", 0, 4, Flag.UNTRACED_UNSEEN),
        ("ALLOCATE", 1, 4, SYNTHETIC),
        ("RELEASE", 1, 4, Flag.UNTRACED_REUSED),
    ]
    assert ops["time_ns"].tolist() == [0, 0, 10, 10]
    assert ops["owner"].tolist() == [NONE] * 4
    assert set(ops["kind"].tolist()) == {KIND["unknown"]}


@pytest.mark.core
def test_memory_is_added_once_and_corrupt_frees_release_what_lives():
    ops, *_ = paired([(1, 48, 4), (0, 48, 0), (1, 48, 1), (0, NONE, 3)], [FREE, FREE, FREE, FRESH])
    assert verbs(ops) == [
        ("ADD_MEMORY", NONE, 48, Flag.MEMORY_ADDED),
        ("ALLOCATE", 0, 48, 0),
        ("RELEASE", 0, 48, Flag.CORRUPT),
        ("REFUSED", NONE, NONE, 0),
    ]
    assert ops["granules"].tolist() == [16, 1, 1, 8]


# ---- the bundled traces ---------------------------------------------------------------------

# Counts of an independent implementation (C++) of the same rules.
COLUMNS = (
    *("allocates", "releases", "exact", "live_at_start", "memory_added", "untraced_unseen"),
    *("untraced_reused", "split", "lost_free", "never_freed", "peak_live_pages"),
)
GOLDEN = {
    "compile_redis": (633490, 516510, 507268, 8978, 0, 12, 252, 0, 1, 126221, 141450),
    "fileio_memcg": (476003, 423997, 414938, 9026, 32, 1, 0, 0, 0, 61065, 113897),
    "nginx_wrk": (513534, 752818, 511133, 240052, 0, 14, 1619, 0, 99, 2302, 20764),
    "numpy_thp": (115089, 98886, 60318, 38375, 128, 0, 65, 0, 1, 54770, 237902),
    "redis_bgsave": (644866, 505134, 421139, 83494, 96, 404, 1, 0, 0, 223727, 242481),
    "thp_split": (61182, 196695, 58271, 26285, 0, 5, 6, 112128, 0, 2692, 157532),
}
ORDERS = {
    "compile_redis": {0: 632801, 1: 315, 2: 110, 3: 214, 4: 4, 9: 46},
    "fileio_memcg": {
        **{0: 447477, 1: 7584, 2: 5748, 3: 2370, 4: 12552, 5: 33},
        **{6: 95, 7: 21, 8: 33, 9: 90},
    },
    "nginx_wrk": {0: 50004, 1: 12451, 2: 62, 3: 450930, 4: 58, 5: 29},
    "numpy_thp": {0: 108874, 1: 3, 2: 6, 3: 2, 8: 4180, 9: 2024},
    "redis_bgsave": {0: 572940, 1: 2195, 2: 66798, 3: 2912, 4: 1, 9: 20},
    "thp_split": {0: 58830, 1: 9, 2: 258, 3: 2, 4: 128, 6: 32, 8: 1268, 9: 655},
}


@cache
def bundled_trace(name):
    return Trace.read(bundled.dataset(name))


@pytest.mark.parametrize("name", GOLDEN)
def test_counts_are_the_golden_ones(name):
    info = bundled_trace(name).info()
    flat = {**info, **info["counts"]}
    assert {column: flat[column] for column in COLUMNS} == dict(
        zip(COLUMNS, GOLDEN[name], strict=True)
    )
    assert info["orders"] == {str(order): count for order, count in ORDERS[name].items()}
    assert (flat["corrupt"], flat["failed"], flat["lost_events"]) == (0, 0, 0)
    assert info["events"] == info["allocates"] + info["releases"]
    assert sum(info["kinds"].values()) == info["allocates"] == info["kinds_guessed"]
    assert info == json.loads(json.dumps(info))


@pytest.mark.parametrize("name", [*GOLDEN, "mixed_owners"])
def test_a_bundled_trace_replays_at_its_recorded_places(name):
    trace = bundled_trace(name)
    free, unserved = b"\1", b"\0"
    state = bytearray(trace.space.granules)  # 0 out of service, 1 free, 2 live
    for begin, end in trace.space.in_service:
        state[begin:end] = free * (end - begin)
    sizes = np.int64(1) << trace.start["order"].astype(np.int64)
    ends = trace.start["granule"] + sizes
    assert np.all(trace.start["granule"][1:] >= ends[:-1])
    block = dict(zip(trace.start["handle"].tolist(), sizes.tolist(), strict=True))
    assert len(block) == len(trace.start)
    starts = np.repeat(trace.start["granule"] - np.cumsum(sizes) + sizes, sizes)
    live = starts + np.arange(len(starts))
    view = np.frombuffer(state, np.uint8)
    assert np.all(view[live] == 1)
    view[live] = 2
    absent = 0
    fields = ("verb", "handle", "granule", "order", "into")
    for verb, handle, granule, order, into in zip(
        *(trace.ops[field].tolist() for field in fields), strict=True
    ):
        size, stretch = 1 << order, slice(granule, granule + (1 << order))
        if verb == Verb.ALLOCATE:
            assert state[stretch] == free * size
            state[stretch] = b"\2" * size
            block[handle] = size
        elif verb == Verb.RELEASE:
            if handle not in block:
                absent += 1
                continue
            assert block.pop(handle) == size
            assert state[stretch] == b"\2" * size
            state[stretch] = free * size
        elif verb == Verb.SPLIT:
            pieces = block.pop(handle) // size
            block.update(dict.fromkeys(range(into, into + pieces), size))
        else:
            assert verb == Verb.ADD_MEMORY
            assert state[stretch] == unserved * size
            state[stretch] = free * size
    # without a snapshot the start is cold: what was alive then is not there
    assert absent == (0 if trace.snapshot else trace.counts["live_at_start"])
    assert max(block) < trace.handles


def test_a_cold_start_has_the_same_ops_and_no_blocks():
    warm = bundled_trace("thp_split")
    cold = Trace.read(bundled.dataset("thp_split"), cold=True)
    assert np.array_equal(warm.ops, cold.ops)
    assert (len(cold.start), cold.boundaries_assumed) == (0, 0)
    assert warm.space == cold.space
    assert warm.snapshot == "thp_split.before.parquet"


def test_the_recorded_machine_has_its_holes():
    space = bundled_trace("compile_redis").space
    assert [zone.name for zone in space.zones] == ["Normal", "DMA32", "DMA"]
    ranges = set(space.in_service)
    assert (15464, 0xC0000) in ranges  # up to the PCI hole
    assert (0x100000, 2457600) in ranges  # sections above are not initialised yet


def test_stacks_tell_kinds_and_owners():
    trace = bundled_trace("mixed_owners")
    info = trace.info()
    assert info["kinds_guessed"] == 0
    assert info["kinds"] == {
        **{"anon": 123390, "file": 164913, "slab": 8393, "ptdesc": 5118},
        **{"network": 12003, "pipe": 318481, "kernel": 1763},
    }
    pipe = next(op for op in trace.ops if op["kind"] == KIND["pipe"])
    assert "anon_pipe_write" in trace.owners[pipe["owner"]]
    assert (trace.snapshot, len(trace.start)) == ("", 0)


def test_the_innermost_function_that_decides_wins():
    common, kind_of_stack = "__alloc_frozen_pages_noprof;alloc_pages_mpol;", Kinds.read().of_stack
    assert kind_of_stack(common + "pte_alloc_one;do_anonymous_page;handle_mm_fault") == "ptdesc"
    assert kind_of_stack(common + "allocate_slab;___slab_alloc;skb_page_frag_refill") == "slab"
    assert kind_of_stack(common + "vma_alloc_folio_noprof;do_wp_page.isra.0") == "anon"
    assert kind_of_stack(common + "something_new") is None


def test_flags_have_the_names_of_the_file():
    assert flag_names(0b1011, {"0": "DMA", "3": "MOVABLE"}) == "DMA|MOVABLE|0x2"
    assert flag_names(0, {}) == "no flags"


def test_the_readme_of_the_datasets_names_every_file():
    folder = bundled.folder("datasets")
    text = (folder / "README.md").read_text()
    for file in folder.glob("*.parquet"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {file.name} |"))
        assert hashlib.sha256(file.read_bytes()).hexdigest() in row
        assert f"{file.stat().st_size:,}" in row


def test_bundled_files_are_found_by_name():
    assert {*GOLDEN, "mixed_owners"} == set(bundled.datasets())
    with pytest.raises(UnknownName, match="no bundled dataset 'nothing': there is compile_redis"):
        bundled.dataset("nothing")


# ---- files ----------------------------------------------------------------------------------

TRACE_TYPES = {
    **{"t_ns": pa.int64(), "cpu": pa.uint8(), "op": pa.uint8(), "pfn": pa.uint64()},
    **{"order": pa.uint8(), "migratetype": pa.uint8(), "gfp_flags": pa.uint32()},
}


def write_trace(path, rows, metadata=None, **columns):
    """rows: (op, pfn, order); other columns are made up, or given."""
    ops, pfns, orders = zip(*rows, strict=True) if rows else ((), (), ())
    count = len(rows)
    made = {"t_ns": range(count), "cpu": [0] * count, "op": ops, "pfn": pfns, "order": orders}
    made |= {"migratetype": [0 if op == 0 else 255 for op in ops], "gfp_flags": [0] * count}
    table = pa.table(
        {name: pa.array(list(made[name]), kind) for name, kind in TRACE_TYPES.items()}
        | {name: pa.array(values) for name, values in columns.items()}
    )
    if metadata is not None:
        table = table.replace_schema_metadata({"potadlab": json.dumps(metadata)})
    pq.write_table(table, path)
    return path


def write_snapshot(path, runs, **metadata):
    """runs: (start_pfn, npages, kind)."""
    names, kinds = ("start_pfn", "npages", "kind"), (pa.uint64(), pa.uint32(), pa.uint8())
    columns = zip(names, zip(*runs, strict=True), kinds, strict=True)
    table = pa.table({name: pa.array(list(values), kind) for name, values, kind in columns})
    pq.write_table(table.replace_schema_metadata({"potadlab": json.dumps(metadata)}), path)
    return path


def test_a_snapshot_beside_the_trace_makes_the_start(tmp_path):
    rows = [(0, 0x105, 0), (1, 0x110, 2), (1, 0x400, 10), (0, 0x400, 0), (1, 0x108, 0)]
    path = write_trace(
        tmp_path / "t.parquet", rows, {"zones": {"A": [0x100, 0x120], "B": [0x120, 0x1000]}}
    )
    runs = [
        *[(0x100, 5, 2), (0x105, 1, 0), (0x106, 3, 3), (0x109, 3, 1), (0x10C, 4, 8)],
        *[(0x110, 8, 14), (0x118, 16, 6), (0x400, 0x400, 16), (0x800, 2, 11)],
    ]
    (tmp_path / "snapshots").mkdir()
    write_snapshot(tmp_path / "snapshots" / "t.before.parquet", runs)
    trace = Trace.read(path)
    blocks = trace.start[["granule", "order", "kind"]].tolist()
    slab, anon, file, kernel = (KIND[name] for name in ("slab", "anon", "file", "kernel"))
    assert blocks == [
        *[(0x100, 2, slab), (0x104, 0, slab)],  # greedy
        *[(0x106, 0, anon), (0x107, 0, anon), (0x108, 0, anon)],  # the last as it is freed
        *[(0x110, 2, kernel), (0x114, 2, kernel)],  # freed as order 2; the rest greedy
        *[(0x118, 3, file), (0x120, 3, file)],  # no block crosses zones
    ]
    assert trace.boundaries_assumed == 5
    assert trace.space.in_service == ((0x100, 0x10C), (0x110, 0x128))
    assert trace.start["handle"][[4, 5]].tolist() == trace.ops["handle"][[4, 1]].tolist()
    assert sorted(trace.start["handle"]) == [1, 3, *range(4, 11)]  # 0 and 2 are the allocs'
    assert trace.handles == 11
    assert set(trace.start["time_ns"].tolist()) == {-1}
    assert {trace.owners[owner] for owner in trace.start["owner"]} == {"before the recording"}
    counts = trace.counts
    assert (counts["live_at_start"], counts["memory_added"]) == (2, 1)


def test_without_snapshot_and_zones_the_space_ends_at_a_gib(tmp_path):
    trace = Trace.read(write_trace(tmp_path / "t.parquet", [(1, 0x40000, 3), (0, 5, 0)]))
    assert trace.space.in_service == ((0, 0x80000),)
    assert trace.counts["live_at_start"] == 1
    assert trace.info()["duration_s"] is None, "two events within a ns are not timed"


def test_markers_are_skipped_and_failed_allocs_kept(tmp_path):
    rows = [(2, 3, 0), (0, FAILED, 4), (5, 0, 0), (0, 8, 1), (1, 8, 1)]
    trace = Trace.read(write_trace(tmp_path / "t.parquet", rows, {"dropped_events": 7}))
    assert trace.ops["verb"].tolist() == [Verb.REFUSED, Verb.ALLOCATE, Verb.RELEASE]
    assert trace.ops["time_ns"].tolist() == [0, 2, 3]
    info = trace.info()
    assert (info["events"], info["allocates"], info["releases"]) == (3, 1, 1)
    assert (info["counts"]["failed"], info["counts"]["lost_events"]) == (1, 7)


def test_rows_far_apart_cost_only_what_they_touch(tmp_path):
    far = (1 << 36) - 1024
    trace = Trace.read(write_trace(tmp_path / "t.parquet", [(0, far, 10), (0, 0, 0), (1, far, 0)]))
    assert trace.space.granules == 1 << 36
    assert trace.counts["split"] == 1


def test_a_stack_without_a_known_function_leaves_a_guess(tmp_path):
    path = write_trace(
        tmp_path / "t.parquet",
        [(0, 0, 0), (0, 1, 0), (1, 0, 0)],
        {"gfp_bits": {"3": "MOVABLE"}},
        stack=["novel;entry", None, None],
        migratetype=pa.array([1, 1, 255], pa.uint8()),
        gfp_flags=pa.array([8, 8, 0], pa.uint32()),
    )
    trace = Trace.read(path)
    assert trace.info()["kinds"] == {"folio": 2}
    assert trace.kinds_guessed == 2
    owners = [trace.owners[owner] if owner != NONE else None for owner in trace.ops["owner"]]
    assert owners == ["novel;entry", "MOVABLE", None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("encoded", [False, True])
def test_stacks_are_text_of_any_width(tmp_path, kind, encoded):
    stacks = pa.array(["allocate_slab;new_slab", None], kind)
    path = write_trace(
        tmp_path / "t.parquet", GOOD, stack=stacks.dictionary_encode() if encoded else stacks
    )
    assert KIND["slab"] in Trace.read(path).ops["kind"]


def test_progress_is_told(tmp_path):
    told = []
    Trace.read(
        write_trace(tmp_path / "t.parquet", [(0, 0, 0)]), progress=lambda *words: told.append(words)
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


GOOD = [(0, 8, 3), (1, 8, 3)]


def missing(tmp_path):
    return tmp_path / "gone.parquet"


def directory(tmp_path):
    return tmp_path


def text(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text("page=0 pfn=0x1cff58 order=2\n" * 100)
    return path


def no_bytes(tmp_path):
    path = tmp_path / "t.parquet"
    path.touch()
    return path


def truncated(tmp_path):
    path = write_trace(tmp_path / "t.parquet", GOOD * 1000)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def damaged(tmp_path):
    path = write_trace(tmp_path / "t.parquet", [(0, pfn, 0) for pfn in range(5000)])
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)
    return path


def other_columns(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"t_ns": [1, 2], "address": [3, 4]}), path)
    return path


def a_snapshot(tmp_path):
    return write_snapshot(tmp_path / "s.parquet", [(0, 16, 1)])


def text_column(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, pfn=["0x8", "0x8"])


def float_column(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, t_ns=[0.5, 1.5])


def negative_pfn(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, pfn=[8, -8])


def missing_value(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, pfn=[8, None])


def numbers_as_stacks(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, stack=[1, 2])


def no_events(tmp_path):
    return write_trace(tmp_path / "t.parquet", [])


def markers_only(tmp_path):
    return write_trace(tmp_path / "t.parquet", [(2, 0, 0), (3, 0, 0)])


def absurd_pfn(tmp_path):
    return write_trace(tmp_path / "t.parquet", [*GOOD, (0, 1 << 40, 0)])


def free_of_nowhere(tmp_path):
    return write_trace(tmp_path / "t.parquet", [*GOOD, (1, FAILED, 0)])


def absurd_order(tmp_path):
    return write_trace(tmp_path / "t.parquet", [*GOOD, (0, 0, 64)])


def misaligned(tmp_path):
    return write_trace(tmp_path / "t.parquet", [*GOOD, (0, 9, 1)])


def unsorted(tmp_path):
    return write_trace(tmp_path / "t.parquet", [*GOOD, (2, 0, 0), (0, 0, 0)], t_ns=[5, 9, 9, 8])


def beyond_the_zones(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"zones": {"DMA": [1, 8]}})


def malformed_zones(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"zones": {"DMA": [100, 8]}})


def malformed_metadata(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, ["zones"])


def a_later_format(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"format": "potadlab-page-trace-9"})


def absurd_page_shift(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"page_shift": "12"})


def a_bit_without_a_name(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"gfp_bits": {"0": 5}})


def a_bit_beyond_all(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"gfp_bits": {"9" * 30: "IO"}})


def endless_zones(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"zones": {"DMA": [0, float("inf")]}})


def a_format_that_is_a_list(tmp_path):
    return write_trace(tmp_path / "t.parquet", GOOD, {"format": []})


def a_column_twice(tmp_path):
    path = write_trace(tmp_path / "t.parquet", GOOD)
    table = pq.read_table(path)
    pq.write_table(table.append_column("pfn", table.column("pfn")), path)
    return path


BAD = {
    missing: "no such file",
    directory: "is a directory",
    text: "cannot be read as Parquet",
    no_bytes: "cannot be read as Parquet",
    truncated: "cannot be read as Parquet",
    damaged: "cannot be read as Parquet",
    other_columns: "no column cpu, op, pfn, order",
    a_snapshot: "is a snapshot, not a trace",
    text_column: "column pfn is string: rewrite it as uint64",
    float_column: "column t_ns is double: rewrite it as int64",
    negative_pfn: "column pfn: .*rewrite it as uint64",
    missing_value: "row 1: pfn is missing",
    numbers_as_stacks: "column stack is int64",
    no_events: "holds 0 allocs and frees",
    markers_only: "holds 0 allocs and frees",
    absurd_pfn: r"row 2: pfn is beyond 2\*\*36",
    free_of_nowhere: r"row 2: pfn is beyond 2\*\*36",
    absurd_order: "row 2: order is above",
    misaligned: "row 2: pfn is not aligned",
    unsorted: "row 3: t_ns goes back",
    beyond_the_zones: "event 0: pfn 0x8 lies beyond the zones",
    malformed_zones: "metadata zones",
    malformed_metadata: "metadata key potadlab is no JSON object",
    a_later_format: "format 'potadlab-page-trace-9'",
    absurd_page_shift: "metadata page_shift '12'",
    a_bit_without_a_name: "metadata gfp_bits",
    a_bit_beyond_all: "metadata gfp_bits",
    endless_zones: "metadata zones",
    a_format_that_is_a_list: r"format \[\] is no trace",
    a_column_twice: "column pfn is there twice",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_files_are_told_in_one_line(make, tmp_path):
    path = make(tmp_path)
    with pytest.raises(BadTrace, match=re.escape(f"{path}: ") + BAD[make]) as told:
        Trace.read(path)
    problem, *remedy = str(told.value).removeprefix(f"{path}: ").rsplit(": ", 1)
    assert problem
    assert remedy
    assert "\n" not in str(told.value)


BAD_SNAPSHOTS = {
    "a trace": (lambda path: write_trace(path, GOOD), "is a trace, not a snapshot"),
    "no runs": (
        lambda path: pq.write_table(
            pa.table({name: pa.array([], pa.uint32()) for name in ("start_pfn", "npages", "kind")}),
            path,
        ),
        "holds no runs",
    ),
    "overlap": (lambda path: write_snapshot(path, [(0, 9, 1), (8, 1, 2)]), "row 1: the run begins"),
    "absurd": (lambda path: write_snapshot(path, [(1 << 60, 9, 1)]), "row 0: the run is beyond"),
    "foreign": (
        lambda path: write_snapshot(path, [(0, 9, 1)], zones={"DMA": [0, 128]}),
        "its zones are not those of",
    ),
    "missing": (lambda path: path, "no such file"),
}


@pytest.mark.parametrize("case", BAD_SNAPSHOTS)
def test_bad_snapshots_are_told_in_one_line(case, tmp_path):
    make, words = BAD_SNAPSHOTS[case]
    path = tmp_path / "s.parquet"
    make(path)
    trace = write_trace(tmp_path / "t.parquet", GOOD, {"zones": {"DMA": [0, 256]}})
    with pytest.raises(BadTrace, match=re.escape(f"{path}: ") + words) as told:
        Trace.read(trace, snapshot=path)
    assert "\n" not in str(told.value)


def test_a_snapshot_tells_its_pages_by_kind(tmp_path):
    path = write_snapshot(
        tmp_path / "s.parquet", [(0, 9, 1), (9, 7, 3)], kinds={"1": "buddy (free)"}
    )
    assert Snapshot.read(path).info() == {"runs": 2, "pages": {"buddy (free)": 9, "kind 3": 7}}
