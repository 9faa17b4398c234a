"""An allocator of one's own, registered: judged, replayed, aged and shown like the others."""

import importlib.util
import os
import random
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from loops import WAIT_S
from made import allocate, ops_of, release, space_of, split

import potadlab as pl
from potadlab import bundled
from potadlab.core import allocators
from potadlab.core.layout import BLOCK, NONE, Outcome
from potadlab.kinds import facts
from potadlab.runs import Case, run_allocator
from potadlab.traces import Trace

EXAMPLE = bundled.examples()["first_fit"]


@pytest.fixture(scope="module")
def first_fit():
    """The example, as a notebook imports its copy."""
    spec = importlib.util.spec_from_file_location("first_fit", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["first_fit"] = module
    spec.loader.exec_module(module)
    pl.Allocator.register("first_fit", module.new, words="first_fit looks from the start")
    yield module
    del allocators.ALLOCATORS["first_fit"], sys.modules["first_fit"]
    allocators._OWN.remove("first_fit")


def test_the_lowest_place_that_can_serve(first_fit):
    """Against a row of bools, over two zones and a hole."""
    dice, zones = random.Random(1), [(64, 128), (0, 64)]
    state = first_fit.new(np.array(zones), facts())
    free, live = np.zeros(128, bool), {}
    for start, end in ((3, 60), (64, 128)):
        pl.interface.add(state, start, end)
        free[start:end] = True
    for _ in range(600):
        if live and dice.random() < 0.45:
            granule = dice.choice(list(live))
            order = live.pop(granule)
            assert pl.interface.release(state, granule, 0) == order
            free[granule : granule + (1 << order)] = True
            continue
        order = dice.choice([0, 0, 1, 2, 3, 5])
        able = np.flatnonzero(free.reshape(-1, 1 << order).all(axis=1))
        wanted = int(able[0]) << order if len(able) else NONE
        granule = int(pl.interface.allocate(state, order, 3, 0, NONE, 0, 0))
        assert granule == wanted
        if granule != NONE:
            free[granule : granule + (1 << order)] = False
            live[granule] = order
    assert pl.interface.release(state, 2, 0) == NONE


def test_it_is_in_every_table_without_being_named(first_fit, tmp_path):
    trace = Trace.read(bundled.dataset("thp_split"))
    small = Trace(**{**vars(trace), "ops": trace.ops[:3000]})
    run = pl.replay(small, ["first_fit"], lookups=["heads"])
    assert "first_fit looks from the start" in run.table().caption
    found = run.as_dict()["runs"][0]
    assert found["allocator"] == "first_fit"
    assert found["bytes"]["free_structure"] == small.space.granules * 2 + 8 * 64 + 16 * len(
        small.space.zones
    )
    assert found["ops"]["refused"] == 0
    run.to_html(tmp_path / "run.html")
    assert "map of first_fit" in (tmp_path / "run.html").read_text()
    assert len(run.at("100%")["first_fit"]) > 1000
    assert allocators.usual()[-1] == "first_fit"
    assert "first_fit" in pl.Allocator.names()


def test_it_is_aged(first_fit):
    run = pl.age("64MiB", ["first_fit"], turnovers=2, seeds=1)
    assert run.ageing.runs[0].samples["refused"].max() == 0
    assert run.as_dict()["runs"][0]["options"] == {}


def test_verbs_it_has_not_are_answered_as_such(first_fit):
    space = space_of([(0, 16)], (0, 16))
    ops = ops_of(allocate(0, 2), split(0, 0, into=4), release(0, 2), release(0, 2))
    run = run_allocator("first_fit", Case(space, ops, np.zeros(0, BLOCK), 8), check_end=True)
    outcomes = [Outcome.DONE, Outcome.ABSENT, Outcome.DONE, Outcome.ABSENT]
    assert run.events["outcome"].tolist() == outcomes


class Half(NamedTuple):
    nothing: np.ndarray


def half(zones: np.ndarray, kinds: np.ndarray) -> Half:
    return Half(np.zeros(1))


@pytest.mark.parametrize(
    ("name", "new", "said"),
    [
        ("potad", half, "there already"),
        ("null", half, "there already"),
        ("Mine!", half, "small letters"),
        ("mine", half, "Half has no add"),
        ("mine", lambda zones, kinds: None, "write `def new"),
        ("mine", None, "cannot be read"),
    ],
)
def test_what_cannot_be_registered_is_told(name, new, said):
    before = dict(allocators.ALLOCATORS)
    with pytest.raises(pl.BadAllocator, match=said):
        pl.Allocator.register(name, new)
    assert before == allocators.ALLOCATORS


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import first_fit, numpy as np, potadlab as pl
from potadlab.core.layout import EVENT, MOVE, NONE, OP
from potadlab.core.replay import replay
pl.Allocator.register("mine", first_fit.new)
state = first_fit.new(np.array([(0, 64)]), np.zeros(1))
pl.interface.add(state, 0, 64)
ops, events = np.zeros(1, OP), np.zeros(1, EVENT)
ops["order"] = 2
where = np.full(1, NONE, np.int64)
ranges = np.array([(0, 64)])
replay(state, ops, np.zeros(1, np.uint8), where, events, np.zeros(0, MOVE), ranges, ranges)
print(where[0])
"""


def test_an_edit_is_seen_by_the_next_process(tmp_path):
    """Numba would find the replay compiled for the class as it was before (numba/numba#1833)."""
    source, place = EXAMPLE.read_text(), tmp_path / "first_fit.py"
    environment = {**os.environ, "POTADLAB_CACHE": str(tmp_path / "cache")}
    found = []
    for text in (source, source.replace("return best", "return best + 16")):
        place.write_text(text)
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 0, done.stderr
        found.append(int(done.stdout))
    assert found == [0, 16]
    kept = [path.name for path in (tmp_path / "cache").rglob("*._run-*.nbc")]
    assert not kept, "what was compiled for a stranger is not kept"
