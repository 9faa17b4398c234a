"""Synthetic workloads: the same seed the same file, whatever is asked it stays a trace."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from potadlab import BadSize, Trace, UnknownName, cli
from potadlab.core.layout import Flag, Verb
from potadlab.traces.importing.gfp import flags_of
from potadlab.units import MIB
from potadlab.workloads import USES, WORKLOADS, Load, generate

OPS, MEMORY = 6000, 16 * MIB
NAMED = ["fork-storm", "page-cache-churn", "thp-mix", "network-order3", "checkerboard"]
NAMED += ["slab-burst", "database", "steady"]


def made(folder, name, **options):
    target = folder / f"{name}.parquet"
    return generate(name, target, **{"ops": OPS, "memory_bytes": MEMORY, **options})


def test_all_that_were_promised_are_there():
    assert list(WORKLOADS) == NAMED
    for workload in WORKLOADS.values():
        for parameter in workload.parameters:
            assert f"{parameter}: " in " ".join(workload.words.split()), "document it"


@pytest.mark.parametrize("name", NAMED)
def test_each_is_a_trace_without_mismatches(name, tmp_path):
    found = made(tmp_path, name)
    trace = Trace.read(found.path)
    info = trace.info()
    assert found.counts["allocates"] == info["allocates"]
    assert 0.5 * OPS <= trace.events <= OPS
    strange = set(info["counts"]) - {"exact", "never_freed", "failed"}
    assert {name: info["counts"][name] for name in strange} == dict.fromkeys(strange, 0)
    assert (info["kinds_guessed"], info["kinds"].get("unknown", 0)) == (0, 0)
    pages = np.left_shift(1, trace.ops["order"].astype(np.int64))
    signs = np.where(trace.ops["verb"] == Verb.ALLOCATE, 1, -1)
    signs[trace.ops["verb"] == Verb.REFUSED] = 0
    live = np.cumsum(pages * signs)
    assert live.min() >= 0
    assert live.max() <= MEMORY >> 12


def test_what_each_is_about(tmp_path):
    infos = {name: Trace.read(made(tmp_path, name).path).info() for name in NAMED}
    pages = {
        name: {order: count << int(order) for order, count in info["orders"].items()}
        for name, info in infos.items()
    }
    assert infos["fork-storm"]["kinds"]["stack"] > 5
    assert infos["page-cache-churn"]["kinds"]["file"] > 0.9 * infos["page-cache-churn"]["allocates"]
    assert pages["thp-mix"]["9"] > 0.2 * sum(pages["thp-mix"].values())
    assert pages["network-order3"]["3"] > 0.9 * sum(pages["network-order3"].values())
    assert set(infos["checkerboard"]["orders"]) == {"0", "3"}
    assert infos["slab-burst"]["kinds"]["slab"] > 300
    assert len(infos["steady"]["orders"]) >= 9
    assert infos["database"]["orders"]["9"] == int(0.4 * (MEMORY >> 12)) >> 9


def test_a_checkerboard_leaves_no_room(tmp_path):
    """The larger blocks are refused though half of memory is free."""
    found = made(tmp_path, "checkerboard", ops=7000, fill=0.99)
    assert found.counts["failed"] > 100


def test_the_same_seed_the_same_file(tmp_path):
    first = made(tmp_path, "fork-storm", seed=5).path.read_bytes()
    assert made(tmp_path, "fork-storm", seed=5).path.read_bytes() == first
    assert made(tmp_path, "fork-storm", seed=6).path.read_bytes() != first
    (tmp_path / "longer").mkdir()
    longer = made(tmp_path / "longer", "fork-storm", seed=5, ops=2 * OPS).path
    paths = longer, made(tmp_path, "fork-storm", seed=5).path
    one, other = (pq.read_table(path)["pfn"].slice(0, 1000) for path in paths)
    assert one.equals(other), "more ops go on where fewer end"


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("edge", [0, 1])
def test_parameters_at_their_ends_end(name, edge, tmp_path):
    """No choice of parameters goes round for ever without asking anything."""
    usual = WORKLOADS[name].parameters
    chosen = {key: edge if isinstance(value, float) else 1 for key, value in usual.items()}
    found = made(tmp_path, name, ops=3000, **chosen)
    assert Trace.read(found.path).events > 0


def test_a_load_knows_what_is_free():
    load = Load(ops=3, pages=1024, seed=1)
    first, second = load.allocate("thp", 9), load.allocate("anon")
    assert load.free == 1024 - 513
    load.release(first)
    assert load.free == 1023
    assert load.ops()[0]["handle"].tolist() == [first, second, first]


def test_uses_are_what_linux_would_tell():
    for name, use in USES.items():
        assert use.kind != 0, name
        bit = {0: 0, 1: 8, 2: 16}[use.migratetype]
        flags, strange = flags_of(use.gfp)
        assert not strange
        assert flags & 24 == bit, f"{name}: migratetype and gfp flags say the same"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "nonesuch"}, UnknownName),
        ({"nonesuch": 1}, UnknownName),
        ({"ops": 0}, BadSize),
        ({"memory_bytes": 5 * MIB}, BadSize),
        ({"processes": 0}, BadSize),
        ({"processes": 1.5}, BadSize),
        ({"cached": 2.0}, BadSize),
        ({"cached": float("nan")}, BadSize),
        ({"processes": float("inf")}, BadSize),
    ],
)
def test_what_cannot_be_is_told(arguments, error, tmp_path):
    options = {"name": "fork-storm", "ops": 100, "memory_bytes": MEMORY} | arguments
    with pytest.raises(error):
        generate(options.pop("name"), tmp_path / "x.parquet", **options)
    assert not list(tmp_path.iterdir())


def test_the_program(tmp_path, capsys):
    target = str(tmp_path / "x.parquet")
    arguments = ["generate", "fork-storm", target, "--ops", "500", "--set", "processes=3", "--json"]
    for given, code, said in (
        (arguments, 0, '"processes": 3'),
        (["generate", "nonesuch", target], 2, "choose among fork-storm"),
        ([*arguments, "--set", "processes"], 2, "write it as processes=64"),
        (["generate", "--help"], 0, "slab-burst:"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(given)
        told = capsys.readouterr()
        assert stopped.value.code == code
        assert said in told.out + told.err
    assert json.loads(pq.read_schema(target).metadata[b"potadlab"])["seed"] == 1


def test_synthetic_ops_are_not_marked_as_repaired(tmp_path):
    trace = Trace.read(made(tmp_path, "database").path)
    assert not np.any(trace.ops["flags"] & Flag.SYNTHETIC)
