"""Figures, tables and the page of a replay, on a trace of four ops."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

import potadlab as pl
from potadlab.core.layout import BLOCK, NONE, OP, Verb
from potadlab.report import html_page, page, table
from potadlab.report.sheet import Sheet
from potadlab.units import Space

HOSTILE = "</script><script>alert(1)</script><b>"


def four_ops() -> np.ndarray:
    """Allocate 4 KiB and 2 MiB, release the first, allocate 8 KiB; a second apart."""
    ops = np.zeros(4, OP)
    ops["time_ns"] = np.arange(4) * 1_000_000_000
    ops["verb"] = [Verb.ALLOCATE, Verb.ALLOCATE, Verb.RELEASE, Verb.ALLOCATE]
    ops["order"], ops["handle"] = [0, 9, 0, 1], [0, 1, 0, 2]
    ops["granules"] = 1 << ops["order"].astype(np.int64)
    ops["granule"] = [0, 512, NONE, 2]
    ops["into"], ops["owner"] = NONE, 0
    return ops


@pytest.fixture(scope="module")
def trace():
    return pl.Trace(
        name=HOSTILE,
        path=None,
        metadata={},
        ops=four_ops(),
        handles=3,
        owners=[HOSTILE],
        events=4,
        granule_bytes=4096,
        snapshot="",
        space=Space.ram("16MiB"),
        start=np.empty(0, BLOCK),
        boundaries_assumed=0,
        kinds_guessed=0,
    )


@pytest.fixture(scope="module")
def run(trace):
    return pl.replay(trace)


def test_figures(run):
    found = run.as_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["space"] == {"bytes": 16 << 20, "granule_bytes": 4096}
    for one in found["runs"]:
        assert one["ops"] == {"allocate": 3, "release": 1, "refused": 0}
        assert one["peak_live_bytes"] == (2 << 20) + (8 << 10)
        free = [count << order for order, count in enumerate(one["free_blocks"])]
        assert sum(free) * 4096 == (14 << 20) - (8 << 10)
        assert one["unusable_index"]["64KiB"]["end"] <= one["unusable_index"]["2MiB"]["end"]
        assert one["fragmentation_index"]["2MiB"] == -1
        assert one["blocks_available"]["1GiB"] == 0
        assert one["largest_free_bytes"] == 4096 << len(one["free_blocks"]) - 1
        assert one["spoilt_regions"] >= 0
        assert one["ns_per_op"]["best"] <= one["ns_per_op"]["median"]


def test_moments(run):
    blocks = run.at("50%")["potad"]
    assert sorted(blocks["order"].tolist()) == [0, 9]
    assert len(run.at(0)["buddy"]) == 0
    assert len(run.at(4)["recorded"]) == 2
    for wrong in ("101%", 5, -1, "soon", "nan%"):
        with pytest.raises(pl.BadSize, match="moment"):
            run.at(wrong)


def test_table_has_a_row_per_allocator_with_units(run):
    heads, rows = table.run_rows(run.session, run.times)
    assert [row[0] for row in rows] == ["potad", "buddy", "recorded"]
    first = dict(zip(heads, rows[0], strict=True))
    assert first["refused"] == "0"
    assert first["peak live"] == "2.01 MiB"
    assert "cold" in table.headline(run.session)


def test_times_need_ops(run):
    assert table.caption(run.session, {}).startswith("Open loop")
    assert table._time({}) == "-"


def test_page_escapes_names_and_fetches_nothing(run):
    text = html_page([run])
    assert text.startswith("<!doctype html>")
    assert HOSTILE not in text
    assert "<b>" not in text.split("<h1>")[1][:200]
    outside_scripts = "".join(part.split("<script")[0] for part in text.split("</script>"))
    assert "http" not in outside_scripts
    assert "src=" not in outside_scripts


@pytest.mark.parametrize("maps", [1, 3, 9, 30])
def test_page_size_is_bounded(maps):
    moments = page.moments_of(maps)
    assert 3 <= moments <= page.MOMENTS_MAX
    assert moments * maps * page._IMAGE_BYTES <= page.MAPS_BYTES_MAX or moments == 3


def test_moments_hold_start_and_end(run):
    assert page._indices(run.session, 3) == [0, 2, 4]


def test_a_page_that_fails_leaves_the_old_one(run, tmp_path, monkeypatch):
    path = tmp_path / "run.html"
    run.to_html(path)
    whole = path.read_text()
    monkeypatch.setattr("potadlab.report.run.html_page", lambda _: "a surrogate: \ud800")
    with pytest.raises(UnicodeEncodeError):
        run.to_html(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("run.html", whole)]


@pytest.mark.parametrize("name", ["x[/b]", "x[b]", "x\\", "[link=y]"])
def test_tables_show_names_as_they_are(name):
    told = io.StringIO()
    Console(file=told, width=200).print(Sheet(name, (["name"], [[name]]), name))
    assert told.getvalue().count(name) == 3


def test_default_allocators_fit_the_space(trace):
    small = pl.replay(trace, space=Space.ram("8MiB"), lookups=["heads"])
    assert small.session.names == ["potad", "buddy"]
    assert [found.lookup for found in small.latencies] == ["heads"]
