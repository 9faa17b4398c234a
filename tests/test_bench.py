"""What `potadlab bench` says, not how long it takes: names, units, answers of the C models."""

import json
from dataclasses import replace

import numpy as np
import pytest

from potadlab import bench, bundled
from potadlab.bench import allocators, baseline, loads, measuring, page, shown, traces
from potadlab.bench.measuring import Figure
from potadlab.bench.table import table
from potadlab.cli import main
from potadlab.core import interface
from potadlab.core.metered import AVAILABLE
from potadlab.errors import BadTrace, PotadError
from potadlab.traces import Trace, exchange, generate
from potadlab.views import speed

needs_cc = pytest.mark.skipif(baseline.compiler() is None, reason="no C compiler is here")


@pytest.fixture(scope="module")
def programs():
    with baseline.built() as found:
        yield found


def test_contestants_take_turns_in_another_order_each_round():
    turns = []
    found = measuring.alternate(
        {name: lambda name=name: turns.append(name) or len(turns) for name in "abc"}, rounds=6
    )
    rounds = [turns[at : at + 3] for at in range(0, 18, 3)]
    assert all(sorted(one) == list("abc") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert all(len(values) == 6 for values in found.values())


def test_figures_are_medians_and_ratios_of_them():
    figures = {"a": Figure.of([5.0, 1.0, 9.0], "ns"), "b": Figure.of([2.0, 2.5, 2.5], "ns")}
    measuring.ratio(figures, "a over b", "a", "b")
    measuring.ratio(figures, "a over c", "a", "c")
    assert figures["a"].as_dict() == {"median": 5.0, "best": 1.0, "unit": "ns"}
    assert figures["a over b"].median == 2.0
    assert "a over c" not in figures


def test_one_core_while_it_measures_and_all_as_before_afterwards():
    os = measuring.os
    before = os.sched_getaffinity(0)
    with measuring.pinned() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_a_subject_stands_together_with_ratios_to_its_first():
    figures = {
        "synthetic.one.ns_per_op": Figure(10, 9, "ns"),
        "lookup.heads.1e6.update_ns": Figure(7, 7, "ns"),
        "synthetic.two.ns_per_op": Figure(25, 24, "ns"),
    }
    shown = table(figures, "again: potadlab bench")
    columns = [list(column.cells) for column in shown.columns]
    assert columns[0] == ["lookup.heads.1e6.update_ns", *sorted(figures)[1:]]
    assert columns[4] == ["", "1.00", "2.50"]


# ---- C models -------------------------------------------------------------------------------


@needs_cc
def test_c_models_end_as_they_began_and_refuse_nothing_that_fits(programs):
    records = generate.steady(20_000, 1 << 16)
    with baseline.models(programs, records, 1 << 16) as models:
        assert set(models) == set(baseline.MODELS)
        for name, model in models.items():
            for _ in range(2):
                ns, refused = model.replay()
                assert ns > 0
                assert refused == 0
            assert model.pairs(9)[0] >= 0
            assert model.end() == (0 if name == "c_null" else (1 << 16) >> 10)


@needs_cc
def test_a_c_model_without_room_refuses_as_our_own_does(programs):
    records = np.zeros(3, exchange.EXCHANGE)
    records["id"], records["order"] = range(3), 10
    with baseline.models(programs, records, 2 << 10) as models:
        assert models["c_buddy_pcp_tails"].replay()[1] == 1
    load = loads.Load("buddy", loads.told(records), 2 << 10)
    load.replay()
    assert load.refused[10] == 1


@needs_cc
def test_a_c_model_that_ends_is_told(programs):
    with baseline.models(programs, generate.steady(100, 1 << 10), 1 << 10) as models:
        models["c_buddy"].stop()
        with pytest.raises(PotadError, match="the C model stopped"):
            models["c_buddy"].replay()


def test_no_compiler_is_told(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(PotadError, match="no C compiler"), baseline.built():
        pass


# ---- suites ---------------------------------------------------------------------------------


def test_core_has_the_promised_names(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "small.bin", tmp_path / "figures.json"
    exchange.write(generate.steady(400, 1 << 10), path)
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    monkeypatch.setattr(allocators, "_registering", dict)
    monkeypatch.setattr(allocators, "_threads", lambda records: {})
    with pytest.raises(SystemExit) as end:
        main(["bench", "views", "--json", str(out)])
    assert end.value.code == 0
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "versions", "command", "c", "figures"}
    assert found["command"] == "potadlab bench views"
    assert {"map.1e6.whole_ms", "map.1e6.slowest_ms"} == set(found["figures"])
    measured = allocators.measure({}, exchange.read(path), False, lambda share, what: None)
    assert {
        "synthetic.potad.ns_per_op", "synthetic.potad_whole.ns_per_op",
        "synthetic.null.ns_per_op", "order9.potad_whole.pair_ns",
    } <= set(measured)  # fmt: skip
    assert all(figure.unit in ("ns", "allocations") for figure in measured.values())


@pytest.mark.skipif(not AVAILABLE, reason="lines can be counted in compiled kernels only")
def test_lines_are_figures_too():
    trace = Trace.read(bundled.dataset("thp_split"))
    found = traces.lines_of("thp_split", replace(trace, ops=trace.ops[:2000]))
    assert set(found) == {
        f"thp_split.{label}.lines_per_{what}"
        for label in ("potad_whole", "buddy_memdesc")
        for what in ("allocate", "allocate_p99", "release", "release_p99")
    }
    assert all(figure.unit == "lines" and figure.median >= 2 for figure in found.values())


def test_descriptors_are_smaller_than_struct_pages_on_every_trace():
    """As it was counted in the run that is kept; and from how many pages on."""
    figures = shown.measured()["figures"]
    for name in bundled.datasets():
        assert figures[f"{name}.potad_whole.bytes_to_struct_page"]["median"] < 1, name
    assert traces.break_even()["bytes.break_even_pages.folio"].median == pytest.approx(
        (80 + 8) / (64 - 16 / 63), rel=1e-3
    )


def test_an_unknown_suite_is_wrong_usage():
    with pytest.raises(SystemExit) as end:
        main(["bench", "speed"])
    assert end.value.code == 2
    with pytest.raises(PotadError, match="core, lookup, replay, views"):
        bench.run(["speed"])


def test_records_off_takes_none_and_answers_alike():
    ends = []
    for spec in (loads.ALONE, loads.WHOLE):
        load = loads.Load(spec, loads.told(generate.steady(2000, 1 << 13)), 1 << 13)
        load.replay()
        interface.check(load.state)
        live = int(load.state.heads.arenas["fresh"].sum())
        ends.append((load.refused.tolist(), load.state.tree.nodes.tobytes()))
        assert (live > 0) == (spec == loads.WHOLE)
    assert ends[0] == ends[1], "records are no matter of placement"


# ---- the page -------------------------------------------------------------------------------

FIGURES = {
    "grow.1.5TiB.potad_whole.ns_per_op": Figure(9, 8, "ns"),
    "grow.8GiB.potad_whole.ns_per_op": Figure(7, 6, "ns"),
    "grow.8GiB.null.ns_per_op": Figure(1, 1, "ns"),
    "fill.90.potad_whole.ns_per_op": Figure(30, 29, "ns"),
    "fill.10.potad_whole.ns_per_op": Figure(14, 13, "ns"),
    "lookup.heads.1e6.independent_ns": Figure(20, 19, "ns"),
    "lookup.memmap.1e6.independent_ns": Figure(25, 22, "ns"),
    "lookup.heads.1e6.independent_ns.kind_order_only": Figure(15, 14, "ns"),
    "<threads>.control": Figure(1.0, 1.0, "ratio"),
}


def test_growth_and_filling_stand_in_order_of_what_grows():
    assert speed.series(FIGURES, speed.GROWTH) == {
        "potad_whole": {"x": [float(8 << 30), float(3 << 39)], "median": [7, 9], "best": [6, 8]},
        "null": {"x": [float(8 << 30)], "median": [1], "best": [1]},
    }
    filled = {"x": [10.0, 90.0], "median": [14, 30], "best": [13, 29]}
    assert speed.series(FIGURES, speed.FILLING) == {"potad_whole": filled}
    assert speed.series({}, speed.GROWTH) == {}


def test_a_subject_has_its_contestants_the_fastest_last_and_so_on_top():
    assert speed.subjects(FIGURES) == {
        "lookup, independent_ns": {
            "who": ["memmap.1e6", "heads.1e6"], "median": [25, 20], "best": [22, 19],
        }
    }  # fmt: skip


def test_the_page_holds_every_figure_and_needs_no_network():
    made = page.html_page(bench.Bench(FIGURES, 1, "cc <12>", "potadlab bench core --c"))
    for words in ("How it grows", "1.5 TiB", "lookup, independent_ns", "&lt;threads&gt;.control",
                  "cc &lt;12&gt;", "<td>25</td>"):  # fmt: skip
        assert words in made, words
    assert "measures them" not in made
    assert "<script src=" not in made
    assert "<link" not in made
    bare = page.html_page(bench.Bench({}, 1, "not asked for", "potadlab bench views"))
    assert "potadlab bench core` measures them" in bare


def test_page_and_figures_need_a_file_each(tmp_path, capsys):
    out = str(tmp_path / "one")
    with pytest.raises(SystemExit) as end:
        main(["bench", "views", "--html", out, "--json", out])
    assert end.value.code == 2
    assert "a file each" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"PAR1 and no more", b""])
def test_a_damaged_file_is_one_line_and_leaves_no_page(tmp_path, capsys, content):
    path, out = tmp_path / "damaged.parquet", tmp_path / "out.html"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as end:
        main(["bench", "core", "--trace", str(path), "--html", str(out)])
    told = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 1
    assert len(told) == 1
    assert "damaged.parquet" in told[0]
    assert not out.exists()


def test_two_threads_are_shown_beside_a_control(monkeypatch):
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    found = allocators._threads(generate.steady(2000, 1 << 13))
    if len(allocators._cores()) < 2:
        assert found == {}
    else:
        assert set(found) == {
            f"threads.{name}{of}" for name in ("two_over_one", "control") for of in ("", ".clock")
        }
        assert all(figure.unit == "ratio" and figure.best > 0 for figure in found.values())


# ---- export ---------------------------------------------------------------------------------


def test_a_trace_becomes_a_file_for_c_and_is_read_again(tmp_path, capsys):
    out = tmp_path / "ops.bin"
    with pytest.raises(SystemExit) as end:
        main(["export", "thp_split", str(out)])
    assert end.value.code == 0
    told = capsys.readouterr().out
    records = exchange.read(out)
    assert f"{len(records):,} records" in told
    again = Trace.read(out)
    assert again.events == len(records) == len(again.ops)
    trace = Trace.read(bundled.dataset("thp_split"), cold=True)
    allocates = trace.ops[trace.ops["verb"] == 0]
    assert again.ops["order"][again.ops["verb"] == 0].tolist() == allocates["order"].tolist()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "0 bytes"),
        (b"1234567", "7 bytes"),
        (bytes([0, 0, 1, 0, 0, 0, 0, 0]), "record 0: bytes 2 and 3"),
        (bytes([1, 0, 0, 0, 0, 0, 0, 0]), "record 0: write op 0"),
        (bytes(8) + bytes([3, 0, 0, 0, 1, 0, 0, 0]), "record 1: write op 0"),
    ],
)
def test_a_bad_exchange_file_is_told_in_one_line(tmp_path, content, told):
    path = tmp_path / "ops.bin"
    path.write_bytes(content)
    with pytest.raises(BadTrace, match=told):
        Trace.read(path)


def test_an_exchange_file_has_a_name_that_is_known(tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["export", "thp_split", str(tmp_path / "ops.dat")])
    assert end.value.code == 2


# ---- README ---------------------------------------------------------------------------------


def test_readme_tells_the_run_that_is_kept():
    root = bundled.folder("datasets").parent
    told = (root / "README.md").read_text(encoding="utf-8")
    assert shown.markdown(shown.measured()) in told, "put in what shown.markdown makes of it"


def test_the_run_that_is_kept_has_the_promised_figures():
    figures = shown.measured()["figures"]
    promised = [
        "synthetic.potad.ns_per_op", "synthetic.potad_whole.ns_per_op", "synthetic.null.ns_per_op",
        "order9.potad_whole.pair_ns", "lookup.heads.1e6.independent_ns",
        "lookup.heads.1e6.dependent_ns", "lookup.heads.1e6.update_ns", "register.1.5TiB.us",
        "start.warm_s", "threads.two_over_one", "threads.control", "memory.12M.peak_over_size",
        "import.4M.s",
        *(f"{name}.potad_whole.ns_per_op" for name in bundled.datasets()),
    ]  # fmt: skip
    assert not set(promised) - set(figures)
    assert all(set(figure) == {"median", "best", "unit"} for figure in figures.values())
