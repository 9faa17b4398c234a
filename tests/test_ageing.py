"""Swap devices aged: what is counted, where the answer is known, and the picture of it."""

import json

import numpy as np
import pytest
from bokeh.embed import json_item

from potadlab.ageing import ALLOCATORS, Aged, Ageing, age_swap
from potadlab.errors import BadSize, UnknownName
from potadlab.units import Space
from potadlab.views import ageing as view

SMALL = Space.ram("8MiB")  # 2048 slots, 4 clusters


@pytest.mark.parametrize("order", [0, 2, 9])
def test_folios_of_one_size_always_find_a_block(order):
    found = age_swap(SMALL, 1.0, mix={order: 1}, turnovers=4)
    for run in found.runs:
        assert (run.success == 1).all()
        assert run.held == 1.0
        assert run.tried.sum() == 5 * 2048 >> order


def test_large_folios_do_not_find_a_block_among_small_ones():
    """Filled with pages, one in 16 of them freed at a time: no 16 free ones lie in a row."""
    found = age_swap(Space.ram("16MiB"), 1.0, mix={0: 15, 4: 1}, turnovers=3)
    for run in found.runs:
        assert (run.success[:, 0] == 1).all(), "a page always finds a slot while one is free"
        assert run.success[-1, 1] < 0.2


def test_every_allocator_is_asked_for_the_same():
    found = age_swap(SMALL, 0.8, turnovers=5, seed=3)
    potad, linux = found.runs
    assert (potad.allocator, linux.allocator) == ALLOCATORS == ("potad", "clusters")
    assert (potad.tried == linux.tried).all()
    assert (potad.tried > 0).any(axis=0).all()
    assert (linux.served <= linux.tried).all()
    pages = potad.tried @ (1 << np.array(found.orders))
    assert ((pages >= int(0.8 * 2048)) & (pages < int(0.8 * 2048) + 512)).all(), "a turnover"
    for run in found.runs:
        assert 0.8 - 512 / 2048 < run.held <= 0.8
    assert found.orders == (0, 2, 4, 9)
    assert list(found.turnovers) == [0, 1, 2, 3, 4, 5]


def test_the_same_seed_gives_the_same():
    first, again, other = (age_swap(SMALL, 0.9, turnovers=3, seed=seed) for seed in (7, 7, 8))
    for number in range(2):
        assert (first.runs[number].served == again.runs[number].served).all()
    assert (first.runs[0].tried != other.runs[0].tried).any()


def test_the_mix_is_of_pages():
    found = age_swap(Space.ram("64MiB"), 0.5, mix={0: 3, 4: 1}, turnovers=1, names=["potad"])
    pages = found.runs[0].tried.sum(axis=0) * [1, 16]
    assert pages[1] / pages.sum() == pytest.approx(0.25, abs=0.05)


def test_linux_pays_three_bytes_and_a_share_of_a_cluster():
    found = age_swap(SMALL, 0.5, turnovers=0, names=["clusters"])
    assert found.runs[0].bytes_per_slot == 1 + 2 + 24 / 512


def test_progress_is_told():
    told = []
    age_swap(SMALL, 0.5, turnovers=0, progress=lambda share, what: told.append((share, what)))
    assert told == [(0.0, "ageing in potad"), (0.5, "ageing in clusters"), (1.0, "aged")]


@pytest.mark.parametrize("fill", [0, -1, 1.01, float("nan"), "half"])
def test_a_fill_that_cannot_be_is_refused(fill):
    with pytest.raises(BadSize, match="take a share of the slots above 0, at most 1"):
        age_swap(SMALL, fill)


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        ({}, "of at least one folio"),
        ({10: 1}, "take orders from 0 to 9"),
        ({1.5: 1}, "take orders from 0 to 9"),
        ([0], "take orders from 0 to 9"),
        ({0: "all"}, "shares of at least 0"),
        ({-1: 1}, "take orders from 0 to 9"),
        ({0: -1, 2: 2}, "shares of at least 0"),
        ({0: 0}, "not all 0"),
        ({0: float("nan")}, "shares of at least 0"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(mix, said):
    with pytest.raises(BadSize, match=said):
        age_swap(SMALL, mix=mix)


def test_a_device_smaller_than_a_folio_is_refused():
    with pytest.raises(BadSize, match=r"fill 0\.5 of 2 MiB is 256 slots: one folio takes 512"):
        age_swap(Space.ram("2MiB"), 0.5)
    with pytest.raises(BadSize, match="turnovers -1"):
        age_swap(SMALL, turnovers=-1)
    with pytest.raises(BadSize, match="0 CPUs"):
        age_swap(SMALL, cpus=0)
    with pytest.raises(BadSize, match="seed -1"):
        age_swap(SMALL, seed=-1)
    with pytest.raises(BadSize, match=r"turnovers 1\.5"):
        age_swap(SMALL, turnovers=1.5)
    with pytest.raises(BadSize, match="'8MiB' is no space"):
        age_swap("8MiB")


def test_an_allocator_that_is_not_here_is_refused():
    with pytest.raises(UnknownName, match="allocator 'slob' is not there"):
        age_swap(SMALL, names=["slob"])
    with pytest.raises(UnknownName, match="no allocator chosen"):
        age_swap(SMALL, names=[])
    with pytest.raises(
        UnknownName, match="'recorded' has its own record only: take potad or clust"
    ):
        age_swap(SMALL, names=["recorded"])


def test_an_allocator_may_have_options():
    specs = ["potad:placement=lowest", "potad:placement=tightest,caches=off"]
    lowest, tightest = age_swap(SMALL, names=specs, turnovers=3, fill=0.95).runs
    assert [lowest.allocator, tightest.allocator] == specs
    assert (lowest.served != tightest.served).any()


# ---- the picture --------------------------------------------------------------------------------


def aged(fill, *served):
    """A comparison of two orders over two samples, alike in both allocators but for `served`."""
    tried = np.array([[4, 0], [8, 2]])
    runs = tuple(
        Aged(name, tried, np.array(row), fill, 3.0)
        for name, row in zip(ALLOCATORS, served, strict=True)
    )
    return Ageing(SMALL, fill, (0, 4), np.array([0.0, 1.0]), runs)


HALF = aged(0.5, [[4, 0], [6, 1]], [[4, 0], [8, 0]])
MOST = aged(0.9, [[4, 0], [8, 2]], [[2, 0], [0, 0]])


def same(found, wanted):
    assert list(found) == list(wanted)
    for key, values in wanted.items():
        np.testing.assert_array_equal(found[key], values)


def test_columns_over_age():
    nan = np.nan
    wanted = {
        "turnovers": [0, 1],
        "potad, order 0": [100, 75],
        "potad, order 4": [nan, 50],
        "clusters, order 0": [100, 100],
        "clusters, order 4": [nan, 0],
    }
    same(view.columns(HALF), wanted)


def test_columns_over_fill_are_those_of_the_last_turnover():
    wanted = {
        "fill": [50, 90],
        "potad, order 0": [75, 100],
        "potad, order 4": [50, 100],
        "clusters, order 0": [100, 0],
        "clusters, order 4": [0, 0],
    }
    same(view.columns_by_fill([HALF, MOST]), wanted)


def test_every_line_is_drawn_and_named():
    plot = view.draw(HALF)
    assert json.dumps(json_item(plot))
    words = [item.label.value for item in plot.legend[0].items]
    assert words == [
        "4 KiB, potad (3 B of metadata per slot)",
        "64 KiB, potad (3 B of metadata per slot)",
        "4 KiB, clusters (3 B of metadata per slot)",
        "64 KiB, clusters (3 B of metadata per slot)",
    ]
    looks = {(line.glyph.line_color, tuple(line.glyph.line_dash)) for line in plot.renderers}
    assert len(looks) == 4
    assert json.dumps(json_item(view.draw_by_fill([HALF, MOST])))


def test_a_comparison_of_one_moment_can_be_drawn():
    assert json.dumps(json_item(view.draw(age_swap(SMALL, 0.5, turnovers=0))))
