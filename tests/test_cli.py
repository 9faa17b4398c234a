"""The program as people type it: what it prints, what it writes, how it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loops import WAIT_S

from potadlab import cli, warm
from potadlab.bundled import datasets
from potadlab.cli import parts
from potadlab.errors import BadTrace

SMALL = str(datasets()["thp_split"])


@pytest.fixture
def potadlab(capsys):
    """Run the program in this process: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(list(arguments))
        told = capsys.readouterr()
        return stopped.value.code, told.out, told.err

    return run


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """One replay of a bundled trace, as a process of its own: output, JSON, page."""
    folder = tmp_path_factory.mktemp("replayed")
    command = [
        sys.executable,
        "-m",
        "potadlab",
        "replay",
        SMALL,
        "--html",
        "run.html",
        "--json",
        "run.json",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "run.json").read_text()), (folder / "run.html").read_text()


@pytest.fixture
def compiled():
    """What the first start does is done, and says nothing more."""
    if warm.missing():
        warm.compile_all()


# ---- what everyone tries first ---------------------------------------------------------------


def test_version(potadlab):
    code, out, _ = potadlab("--version")
    assert (code, out) == (0, "potadlab, version 0.1.0\n")


@pytest.mark.parametrize("command", ["replay", "info", "lab"])
def test_help(potadlab, command):
    code, out, _ = potadlab(command, "--help")
    assert code == 0
    assert f"Usage: potadlab {command}" in out


def test_import_and_help_load_nothing_heavy():
    code = """
import sys, potadlab, potadlab.cli
try: potadlab.cli.main(["--help"])
except SystemExit: pass
sys.exit(" ".join({"numba", "numpy", "bokeh", "pyarrow", "jupyterlab"} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lazy_names():
    import potadlab as pl

    assert pl.Trace.__name__ == "Trace"
    assert issubclass(pl.BadTrace, pl.PotadError)
    assert {"Space", "replay", "lab"} <= set(dir(pl))
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = pl.nonesuch


# ---- wrong usage: exit 2 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", SMALL, "--nonesuch"],
        ["replay", SMALL, "--space", "much"],
        ["replay", SMALL, "--space", "0"],
        ["replay", SMALL, "--space", "9" * 400],
        ["replay", SMALL, "--space", "8192PiB"],
        ["replay", SMALL, "--html", "one", "--json", "one"],
        ["replay", SMALL, "--html", "one", "--json", "./one"],
        ["replay", SMALL, "--allocator", "nonesuch"],
        ["replay", SMALL, "--lookup", "nonesuch"],
        ["replay", SMALL, "--cold", "--snapshot", "x"],
        ["replay", SMALL, "--cpus", "1,2,"],
        ["replay", SMALL, "--cpus", "65"],
        ["replay", SMALL, "--cpus", "2", "--no-lines"],
        ["replay", SMALL, "--allocator", "recorded", "--space", "8GiB"],
        ["lab", "--port", "0"],
        ["info"],
        ["nonesuch"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_wrong_usage(potadlab, arguments, monkeypatch):
    monkeypatch.setattr(parts, "read", lambda *_: pytest.fail("began to work"))
    code, out, err = potadlab(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


# ---- bad input: exit 1, one line -------------------------------------------------------------


def missing(folder: Path) -> None:
    pass


def missing_trace() -> None:
    raise BadTrace("x.parquet: no such file")


def text(path: Path) -> None:
    path.write_text("bash-1234 [000] mm_page_alloc: page=0x0 pfn=1\n")


def nothing(path: Path) -> None:
    path.touch()


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), path)


def truncated(path: Path) -> None:
    whole = Path(SMALL).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def no_rows(path: Path) -> None:
    pq.write_table(pq.read_table(SMALL).slice(0, 0), path)


def folder_instead(path: Path) -> None:
    path.mkdir()


def far_pfns(path: Path) -> None:
    table = pq.read_table(SMALL)
    place = table.schema.get_field_index("pfn")
    far = pa.array(np.full(len(table), 1 << 52, np.uint64)).cast(table.schema.field("pfn").type)
    pq.write_table(table.set_column(place, table.schema.field("pfn"), far), path)


BAD = [missing, text, nothing, other_columns, truncated, no_rows, folder_instead, far_pfns]


@pytest.mark.parametrize("make", BAD)
@pytest.mark.parametrize("command", ["info", "replay"])
def test_bad_input(potadlab, tmp_path, compiled, command, make):
    path = tmp_path / "bad.parquet"
    make(path)
    code, out, err = potadlab(command, str(path))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1, err
    assert "bad.parquet" in err
    assert "unexpected" not in err


@pytest.mark.parametrize("make", [missing, text, other_columns, truncated])
def test_bad_snapshot(potadlab, tmp_path, make):
    path = tmp_path / "bad.before.parquet"
    make(path)
    code, _, err = potadlab("info", SMALL, "--snapshot", str(path))
    assert code == 1
    assert err.count("\n") == 1
    assert "bad.before.parquet" in err


@pytest.mark.parametrize("make", [missing, text, other_columns])
def test_bad_input_is_told_before_compiling(potadlab, tmp_path, monkeypatch, make):
    monkeypatch.setattr(warm, "missing", lambda: True)
    monkeypatch.setattr(warm, "compile_all", lambda _: pytest.fail("began to compile"))
    path = tmp_path / "bad.parquet"
    make(path)
    code, _, err = potadlab("replay", str(path))
    assert (code, err.count("\n")) == (1, 1)


def test_what_is_compiled_says_so(potadlab, monkeypatch):
    monkeypatch.setattr(warm, "missing", lambda: True)
    monkeypatch.setattr(warm, "compile_all", lambda tell: tell(0.5, "compiling: potad"))
    monkeypatch.setattr(parts, "read", lambda *_: missing_trace())
    _, _, err = potadlab("replay", SMALL)
    assert err.startswith("compiling the allocator core (once per machine) ...\n")


def test_space_too_small(potadlab, compiled):
    code, _, err = potadlab("replay", SMALL, "--space", "64KiB")
    assert code == 1
    assert err.splitlines()[-1].startswith("potadlab: ")
    assert "64 KiB" in err
    assert "unexpected" not in err


def test_a_fault_of_ours_is_one_line_too(potadlab, monkeypatch):
    monkeypatch.setattr(parts, "read", lambda *_: 1 / 0)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    code, _, err = potadlab("info", SMALL)
    assert (code, err.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in err
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", SMALL])


# ---- output files ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_unwritable_output_is_told_before_the_work(potadlab, tmp_path, monkeypatch, option):
    monkeypatch.setattr(parts, "read", lambda *_: pytest.fail("began to work"))
    for place in (tmp_path / "no" / "such" / "folder", tmp_path):
        code, _, err = potadlab("replay", SMALL, option, str(place))
        assert (code, err.count("\n")) == (1, 1)
        assert str(place) in err


def test_failed_work_leaves_the_old_output(potadlab, tmp_path):
    page = tmp_path / "run.html"
    page.write_text("the old one")
    code, _, _ = potadlab("replay", str(tmp_path / "missing.parquet"), "--html", str(page))
    assert code == 1
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("run.html", "the old one")
    ]


def test_an_input_is_never_overwritten(potadlab, tmp_path):
    trace = tmp_path / "mine.parquet"
    trace.write_bytes(Path(SMALL).read_bytes())
    for arguments in (["info", str(trace), "--json"], ["replay", str(trace), "--html"]):
        code, _, err = potadlab(*arguments, str(trace))
        assert code == 1
        assert "mine.parquet" in err
        assert trace.read_bytes() == Path(SMALL).read_bytes()


def test_a_snapshot_found_beside_its_trace_is_never_overwritten(potadlab, tmp_path):
    trace, beside = tmp_path / "mine.parquet", tmp_path / "mine.before.parquet"
    trace.write_bytes(Path(SMALL).read_bytes())
    before = Path(SMALL).with_suffix(".before.parquet").read_bytes()
    beside.write_bytes(before)
    for arguments in (["info", str(trace), "--json"], ["replay", str(trace), "--html"]):
        code, _, err = potadlab(*arguments, str(beside))
        assert code == 1
        assert "mine.before.parquet: is also read" in err
        assert beside.read_bytes() == before


@pytest.mark.parametrize("suffix", [".parquet", ".before.parquet"])
def test_a_bundled_trace_is_never_overwritten(potadlab, tmp_path, monkeypatch, suffix):
    for name in ("mine.parquet", "mine.before.parquet"):
        (tmp_path / name).write_text("bundled")
    monkeypatch.setattr("potadlab.bundled.folder", lambda _: tmp_path)
    written = tmp_path / f"mine{suffix}"
    code, _, err = potadlab("info", "mine", "--json", str(written))
    assert code == 1
    assert "is also read" in err
    assert written.read_text() == "bundled"


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    os.mkfifo(tmp_path / "pipe")
    with parts.output(str(tmp_path / "link")) as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with parts.output(str(tmp_path / "pipe")) as file:
        file.write("told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "there"]


# ---- info ------------------------------------------------------------------------------------


def test_info(potadlab):
    code, out, err = potadlab("info", SMALL)
    assert (code, err) == (0, "")
    assert "thp_split" in out
    assert "allocates" in out


@pytest.mark.parametrize("arguments", [["--json", "-"], ["--json"]])
def test_info_json(potadlab, arguments):
    code, out, _ = potadlab("info", SMALL, *arguments)
    found = json.loads(out)
    assert code == 0
    promised = (
        "events allocates releases counts peak_live_pages duration_s orders kinds kinds_guessed"
    )
    assert set(promised.split()) <= set(found)


def test_a_bundled_trace_by_name(potadlab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = json.loads(potadlab("info", "thp_split", "--json", "-")[1])
    by_file = json.loads(potadlab("info", SMALL, "--json", "-")[1])
    assert by_name == by_file


def test_the_current_folder_never_shadows_a_bundled_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thp_split").touch()
    assert parts.find("thp_split") == Path(SMALL)
    assert parts.find("./thp_split") == Path("./thp_split")
    assert parts.find("thp_split.parquet") == Path("thp_split.parquet")
    assert parts.find("nonesuch") == Path("nonesuch")


@pytest.mark.parametrize("name", ["x[/b]", "[bold]", "x\\"])
def test_progress_shows_any_name(monkeypatch, capsys, name):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with parts.progress() as tell:
        tell(0.5, f"drawing {name}")
    assert f"drawing {name}" in capsys.readouterr().err


# ---- replay ----------------------------------------------------------------------------------


def test_replay_table(replayed):
    done, _, _ = replayed
    for word in ("potad", "buddy", "recorded", "refused", "warm", "thp_split.before.parquet", "ns"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


def test_replay_json_has_the_promised_keys(replayed):
    found = replayed[1]
    assert set(found) == {"potadlab", "machine", "loop", "trace", "space", "runs", "lookups"}
    assert found["loop"] == "open"
    assert set(found["space"]) == {"bytes", "granule_bytes"}
    assert [run["allocator"] for run in found["runs"]] == ["potad", "buddy", "recorded"]
    for run in found["runs"]:
        assert {
            "options",
            "ops",
            "ns_per_op",
            "free_blocks",
            "unusable_index",
            "peak_live_bytes",
        } <= set(run)
        assert set(run["ops"]) == {"allocate", "release", "refused"}
        assert run["ops"]["refused"] == 0
        assert set(run["ns_per_op"]) <= {"median", "best", "null"}
        assert set(run["unusable_index"]["2MiB"]) == {"mean", "end"}
        assert all(isinstance(count, int) for count in run["free_blocks"])
    for run in found["runs"][:2]:  # `recorded` is no allocator, so it has no lines
        assert {"lines", "misses", "transfers"} <= set(run)
        assert set(run["lines"]["release"]) == {"mean", "p50", "p99", "written"}
        assert run["lines"]["allocate"]["mean"] >= run["lines"]["allocate"]["written"] > 0
    usual = ["memmap", "two-level", "xarray", "maple", "heads"]
    assert [row["lookup"] for row in found["lookups"]] == usual
    for row in found["lookups"]:
        assert set(row["ns"]) == {"independent", "dependent", "p50", "p99", "insert", "erase"}
        assert row["lines"] >= 1
        assert row["blocks"] > 0


def test_replay_json_to_standard_output(potadlab):
    code, out, _ = potadlab(
        "replay",
        SMALL,
        "--allocator",
        "potad",
        "--lookup",
        "heads",
        "--cold",
        "--no-lines",
        "--json",
        "-",
    )
    found = json.loads(out)
    assert code == 0
    assert [run["allocator"] for run in found["runs"]] == ["potad"]
    assert [row["lookup"] for row in found["lookups"]] == ["heads"]
    assert found["trace"]["start_blocks"] == 0


def test_several_traces(potadlab, tmp_path):
    other = tmp_path / "other.parquet"
    other.write_bytes(Path(SMALL).read_bytes())
    page = tmp_path / "both.html"
    code, out, _ = potadlab(
        "replay",
        SMALL,
        str(other),
        "--allocator",
        "potad",
        "--no-lines",
        "--html",
        str(page),
        "--json",
        "-",
    )
    assert code == 0
    assert len(json.loads(out)) == 2
    assert page.stat().st_size < 16 << 20


def test_page_is_self_contained(replayed):
    page = replayed[2]
    assert page.startswith("<!doctype html>")
    assert len(page) < 16 << 20
    for fetching in ("<link", " src=", "@import"):
        assert fetching not in page.replace("data:", "")[:4000]
    assert "thp_split" in page


def test_page_escapes_what_a_trace_says(potadlab, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    trace, page = tmp_path / "mine.parquet", tmp_path / "run.html"
    table = pq.read_table(SMALL)
    metadata = {key: value for key, value in (table.schema.metadata or {}).items()}
    named = {key: name_in(value, hostile) for key, value in metadata.items()}
    pq.write_table(table.replace_schema_metadata(named), trace)
    chosen = ("--allocator", "potad", "--no-lines")
    code, _, err = potadlab("replay", str(trace), *chosen, "--html", str(page))
    assert code == 0, err
    assert hostile not in page.read_text()


def name_in(value: bytes, name: str) -> bytes:
    """Metadata in which every text has become `name`, where it is a JSON object."""
    try:
        told = json.loads(value)
    except ValueError:
        return value
    if not isinstance(told, dict):
        return value
    return json.dumps({**told, "name": name, "kernel": name, "workload": name}).encode()
