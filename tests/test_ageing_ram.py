"""Memory aged in a closed loop: figures against counts by hand, the command, what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import potadlab as pl
from potadlab import cli
from potadlab.ageing_ram import ALLOCATORS, Aged, RamLoad, age_ram, watermarks
from potadlab.core.ageing_ram import SAMPLE
from potadlab.report import ageing as report
from potadlab.runs import chosen
from potadlab.units import Space
from potadlab.views import ageing_ram as view

KIB_4 = 4096


@pytest.fixture(scope="module")
def run():
    return pl.age("64MiB", ["llfree", "buddy"], turnovers=6, seeds=2, unmovable=0.05)


def aged(**counts):
    """Of one seed; counts: name -> a value for each sample."""
    samples = np.zeros((1, len(next(iter(counts.values())))), SAMPLE)
    for name, values in counts.items():
        samples[name][0] = values
    return Aged("mine", samples)


# ---- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [
        # 64 GiB and 1.5 TiB as worked out for Linux 6.12; 1 GiB and 64 MiB: 11 pageblocks, 5 %
        ("64GiB", 24969, 41746),
        ("1.5TiB", 442785, 845438),
        ("1GiB", 11 * 512 * 5 // 4, 11 * 512 * 6 // 4),
        ("64MiB", 819 + 204, 819 + 408),
    ],
)
def test_watermarks_are_linux_s(size, low, high):
    assert watermarks(Space.ram(size).granules, KIB_4) == (low, high)


def test_shares_are_of_each_turnover():
    one = aged(tried=[0, 10, 10, 30], at_once=[0, 4, 4, 9], compacted=[0, 1, 1, 11])
    assert one.success[0].tolist() == pytest.approx([np.nan, 0.5, np.nan, 0.75], nan_ok=True)
    assert one.at_once[0].tolist() == pytest.approx([np.nan, 0.4, np.nan, 0.25], nan_ok=True)


def test_the_last_five_turnovers_are_summed_up():
    one = aged(
        tried=[0, 100, 110, 120, 130, 140, 150], at_once=[0, 0, 5, 10, 15, 20, 25],
        migrated=[0, 9000, 9010, 9020, 9030, 9040, 9100],
    )  # fmt: skip
    assert one.last("migrated").tolist() == [20.0]
    assert one.last_success("at_once").tolist() == [0.5]
    assert one.last_success("at_once", "compacted").tolist() == [0.5]
    assert one.migrated[0].tolist() == [0, 9000, 10, 10, 10, 10, 60]


def test_a_run_shorter_than_that_is_summed_up_whole():
    assert aged(tried=[0, 4, 8]).last("tried").tolist() == [4.0]


def test_columns_are_mean_lowest_and_highest():
    values = np.array([[np.nan, 0.5, 1.0], [np.nan, 0.25, np.nan]])
    found = view.columns(
        SimpleNamespace(
            turnovers=np.arange(3.0), runs=[SimpleNamespace(allocator="a", success=values)]
        ),
        "success",
    )
    wanted = {
        "turnovers": [0, 1, 2],
        "a": [np.nan, 37.5, 100],
        "a low": [np.nan, 25, 100],
        "a high": [np.nan, 50, 100],
    }
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        assert found[name].tolist() == pytest.approx(column, nan_ok=True)


# ---- a run -----------------------------------------------------------------------------------


def test_the_same_seed_comes_to_the_same(run):
    again = pl.age("64MiB", ["buddy"], turnovers=6, seeds=[2], unmovable=0.05)
    assert (again.ageing.runs[0].samples[0] == run.ageing.runs[1].samples[1]).all()
    assert (run.ageing.runs[1].samples[0] != run.ageing.runs[1].samples[1]).any()


def test_all_are_asked_for_as_much(run):
    for one in run.ageing.runs:
        clock = one.samples["clock"]
        assert (clock[:, 1:] >= 16384 * np.arange(1, 7)).all()
        assert (clock[:, 1:] < 16384 * np.arange(1, 7) + 2048).all()
        assert (one.samples["refused"] == 0).all()
        assert (one.samples["reclaimed"][:, -1] > 16384).all(), "more than memory was reclaimed"


def test_groups_keep_unmovable_memory_together():
    """The objection of 2021 and its answer: fewer regions spoilt, more huge pages got."""
    specs = ["potad", "potad:groups=migratetype"]
    mixed, grouped = age_ram(Space.ram("128MiB"), specs, turnovers=8, seeds=2).runs
    assert grouped.spoilt[:, -1].max() < mixed.spoilt[:, -1].min() / 2
    got = [one.last_success("at_once", "compacted").mean() for one in (mixed, grouped)]
    assert got[0] < 0.7 < got[1]


def test_figures_for_machines(run):
    found = run.as_dict()
    json.dumps(found, allow_nan=False)
    assert found["loop"] == "closed"
    assert (found["seeds"], found["turnovers"]) == ([1, 2], [0, 1, 2, 3, 4, 5, 6])
    assert found["load"]["unmovable"] == 0.05
    assert found["watermarks_bytes"] == {"low": 1023 * KIB_4, "high": 1227 * KIB_4}
    first, samples = found["runs"][0], run.ageing.runs[0].samples
    assert (first["allocator"], first["loop"]) == ("llfree", "closed")
    assert first["options"]["children"] == "8"
    assert first["unusable_index"]["2MiB"]["mean"][0] == 0, "all is free at first"
    assert first["thp_success"]["mean"][0] is None, "nothing was asked for yet"
    assert first["blocks_available"]["2MiB"]["lowest"][0] == 32
    assert first["largest_free_bytes"]["mean"][0] == 64 << 20
    moved = np.diff(samples["migrated"], axis=1)
    assert first["pages"]["migrated"]["highest"][1:] == moved.max(axis=0).tolist()
    last = first["last"]["per_turnover"]
    cost = last["migrated"]["mean"] + last["reclaimed"]["mean"]
    assert last["cost_pages_per_turnover"]["mean"] == pytest.approx(cost)


def test_table_and_page_say_what_loop_it_is(run, tmp_path):
    heads, rows = report.rows(run.ageing)
    assert [row[0] for row in rows] == ["llfree", "buddy"]
    assert all(len(row) == len(heads) for row in rows)
    assert "closed loop" in report.headline(run.ageing)
    assert "5%" in report.caption(run.ageing)
    run.to_html(tmp_path / "aged.html")
    text = (tmp_path / "aged.html").read_text()
    assert text.count("(closed loop)") >= len(view.MEASURES)
    assert "<script src=" not in text, "nothing is fetched"


def test_progress_tells_of_each_run():
    told = []
    pl.age(
        "64MiB", ["llfree"], turnovers=1, seeds=2,
        progress=lambda share, what: told.append((share, what)),
    )  # fmt: skip
    assert told == [
        (0.0, "ageing in llfree, seed 1"), (0.5, "ageing in llfree, seed 2"), (1.0, "aged"),
    ]  # fmt: skip


# ---- what cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"space": "8MiB"}, "at least 64 MiB"),
        ({"space": Space.ram("64MiB", start="64MiB")}, "one piece from 0"),
        ({"space": Space.ram("64MiB", "2MiB")}, "less than a huge page"),
        ({"turnovers": 0}, "at least 1 of each"),
        ({"seeds": []}, "at least 1 of each"),
        ({"read": 0.9}, "add up to 1"),
        ({"unmovable": 0.6}, "at most 80%"),
        ({"unmovable": -0.1}, "at least 0"),
        ({"load": RamLoad(cpus=0)}, "at least 1"),
    ],
)
def test_a_load_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(pl.BadSize, match=said):
        pl.age(**{"space": "64MiB", "turnovers": 1, "seeds": 1, "allocators": ["null"]} | arguments)


def test_recorded_cannot_answer():
    with pytest.raises(pl.UnknownName, match="its own record only"):
        pl.age("64MiB", ["recorded"])


# ---- the command -----------------------------------------------------------------------------


def program(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["age", *arguments])
    told = capsys.readouterr()
    return stopped.value.code, told.out, told.err


def test_command(capsys, tmp_path):
    page = str(tmp_path / "a.html")
    code, out, err = program(
        capsys, "--size", "64MiB", "--turnovers", "2", "--seeds", "1", "--allocator", "llfree",
        "--unmovable", "5%", "--json", "-", "--html", page,
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert found["load"]["unmovable"] == 0.05
    assert [one["allocator"] for one in found["runs"]] == ["llfree"]
    assert "wrote" in err
    code, out, _ = program(
        capsys, "--size", "64MiB", "--turnovers", "1", "--seeds", "1", "--allocator", "llfree"
    )
    assert code == 0
    assert "closed loop" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--allocator", "nobody"], ["--allocator", "recorded"], ["--unmovable", "120%"],
        ["--unmovable", "much"], ["--turnovers", "0"], ["--size", "8MiB"], ["--size", "many"],
        ["--unmovable", "60%"], ["--json", "a", "--html", "a"],
    ],
)  # fmt: skip
def test_wrong_usage_is_told_in_a_line(capsys, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = program(capsys, *arguments)
    assert code == 2
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_the_usual_ones_are_there():
    assert not any(chosen(spec).allocator.needs_record for spec in ALLOCATORS)


def test_few_processes_killed_are_told_with_the_seeds_beside():
    found = []
    for killed in ([0, 0, 1], [0, 0, 0], [4, 5, 9]):
        samples = np.zeros((3, 2), SAMPLE)
        samples["killed"][:, -1] = killed
        found.append(Aged("mine", samples))
    heads, rows = report.rows(SimpleNamespace(runs=found))
    assert [row[heads.index("processes killed")] for row in rows] == ["0.3 (0-1)", "0", "6 (4-9)"]
