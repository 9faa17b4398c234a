"""The slider for unmovable memory: its columns against `pl.age`; kept, cancelled, refused."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from loops import WAIT_S, in_loop, until
from test_ageing_ram import aged

import potadlab as pl
from potadlab import ageing_ram
from potadlab.core.ageing_ram import SAMPLE
from potadlab.dashboard import Unmovable, unmovable
from potadlab.dashboard.unmovable import LOAD
from potadlab.dashboard.work import LEFT
from potadlab.report import ageing as report
from potadlab.views import ageing_ram as view

POLICIES = ["llfree", "buddy"]
SMALL = {"turnovers": 3, "seeds": 2}


def made(policies=POLICIES, **arguments):
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Unmovable, policies, "64MiB", **SMALL | arguments).result()


def independent(percent, policies=POLICIES, seeds=2):
    shares = {"read": 0.3, "huge": 0.3, "small": 0.1, "kernel": 0.3, "unmovable": percent / 100}
    return pl.age("64MiB", policies, turnovers=3, seeds=seeds, **shares).ageing


@pytest.fixture
def widget():
    widget = made()
    yield widget
    widget.close()


def same(source, wanted):
    assert list(source.data) == list(wanted)
    for name, column in wanted.items():
        assert np.array(source.data[name]) == pytest.approx(column, nan_ok=True), name


def words(text):
    return re.sub("<[^>]*>", " ", text)


# ---- the figures -----------------------------------------------------------------------------


def test_by_share_are_the_last_turnovers_of_each_seed():
    two = aged(tried=[0, 10, 20], at_once=[0, 1, 2], compacted=[0, 4, 8], unusable=[0, 250, 750])
    samples = np.concatenate([two.samples, np.zeros((1, 3), SAMPLE)])
    samples["tried"][1], samples["at_once"][1] = [0, 10, 20], [0, 10, 20]
    samples["unusable"][1] = [0, 500, 500]
    found = {30: ageing_ram.Aged("mine", samples), 10: two}
    got = view.share_columns(found, "success")
    assert {name: column.tolist() for name, column in got.items()} == {
        "unmovable": [10, 30], "mean": [50, 75], "low": [50, 50], "high": [50, 100],
    }  # fmt: skip
    unusable = view.share_columns(found, "unusable")
    assert unusable["mean"] == pytest.approx([100 / 3, 100 / 3])
    assert not len(view.share_columns({}, "success")["mean"])
    nothing = view.share_columns({0: aged(tried=[0, 0])}, "success")
    assert np.isnan(nothing["mean"]).all()


def test_the_figures_are_those_of_age(widget):
    for percent in (10, 30):
        widget.percent.value = percent
        same(widget.over_age, view.columns(independent(percent), "success"))
    for at, name in enumerate(POLICIES):
        runs = {percent: independent(percent).runs[at] for percent in (10, 30)}
        same(widget.by_share[name], view.share_columns(runs, "success"))
        assert widget.by_share[name].data["mean"] == pytest.approx(
            [100 * runs[percent].last_success("at_once", "compacted").mean() for percent in runs]
        )
    assert widget._mark.location == 30
    told = words(widget.table.value)
    for row in report.rows(independent(30))[1]:
        assert all(cell in told for cell in row)
    assert "2 seeds" in words(widget.told.value)
    assert "kernel objects that stay 30%" in words(widget.told.value)


@pytest.mark.parametrize("measure", ["unusable", "spoilt", "migrated"])
def test_another_measure_is_of_the_same_runs(widget, measure):
    widget.measure.value = measure
    ageing = independent(10)
    same(widget.over_age, view.columns(ageing, measure))
    same(widget.by_share["buddy"], view.share_columns({10: ageing.runs[1]}, measure))
    assert [plot.yaxis.axis_label for plot in widget.plots] == [view.MEASURES[measure][1]] * 2


def test_what_was_computed_is_kept(widget, monkeypatch):
    asked = []
    age = report.age
    monkeypatch.setattr(
        report, "age", lambda *args, **more: asked.append(args[1]) or age(*args, **more)
    )
    widget.percent.value = 20
    widget.percent.value = 10
    assert asked == [POLICIES]
    same(widget.over_age, view.columns(independent(10), "success"))
    widget.policies["llfree"].value = False
    assert list(widget.by_share) == ["buddy"]
    widget.percent.value = 20
    assert asked == [POLICIES]
    widget.spec.value = "buddy:migratetypes=off"
    widget.add.click()
    assert asked == [POLICIES, ["buddy:migratetypes=off"]]
    specs = ["buddy", "buddy:migratetypes=off"]
    same(widget.over_age, view.columns(independent(20, specs), "success"))
    widget.policies["llfree"].value = True
    assert len(asked) == 2
    assert list(widget.by_share) == [*POLICIES, "buddy:migratetypes=off"]


# ---- what cannot be --------------------------------------------------------------------------


def test_what_cannot_be_is_told_in_a_line_and_all_stays(widget):
    before = dict(widget.over_age.data)
    for spec in ("nobody", "recorded", "buddy", "<img src=x>", "buddy:nothing=on", " "):
        widget.spec.value = spec
        widget.add.click()
        assert 'class="potadlab-error"' in widget.message.value, spec
        assert "<img" not in widget.message.value
        assert "\n" not in widget.message.value
    assert list(widget.policies) == POLICIES
    for box in widget.policies.values():
        box.value = False
    assert "no policy is ticked" in widget.message.value
    assert any(box.value for box in widget.policies.values()), "what is shown is ticked"
    assert widget.over_age.data.keys() >= before.keys() - {"llfree", "llfree low", "llfree high"}


def test_a_load_that_cannot_be_is_a_line_too():
    widget = made(load=ageing_ram.RamLoad(anonymous=0.5))
    widget.percent.value = 40
    assert "take at most 80% of both" in words(widget.message.value)
    assert widget.percent.value == 10, "the slider is where the figures are"
    widget.close()


def test_a_policy_that_is_not_there_is_refused_at_once():
    with pytest.raises(pl.UnknownName):
        made(["nobody"])
    with pytest.raises(pl.UnknownName, match="its own record only"):
        made(["recorded"])


# ---- work that takes time --------------------------------------------------------------------


class Gate:
    """`report.age` that waits: each share until it is let through."""

    def __init__(self, monkeypatch):
        self.begun, self.left, self._open = [], [], {}
        self._age = report.age
        monkeypatch.setattr(unmovable.report, "age", self.age)

    def age(self, space, specs, *, load, progress, **more):
        percent = round(100 * load.unmovable)
        self.begun.append(percent)
        try:
            progress(0.25, f"at {percent}")
            assert self._open.setdefault(percent, threading.Event()).wait(WAIT_S)
            progress(0.5, f"at {percent}")
        except pl.PotadError:
            self.left.append(percent)
            raise
        return self._age(space, specs, load=load, progress=progress, **more)

    def let(self, *percents):
        for percent in percents:
            self._open.setdefault(percent, threading.Event()).set()


def test_cancel_leaves_all_as_it_was(monkeypatch):
    gate = Gate(monkeypatch)

    async def act():
        gate.let(10)
        widget = Unmovable(POLICIES, "64MiB", **SMALL)
        assert widget.worker.busy, "nothing waits for it"
        await until(lambda: not widget.worker.busy)
        before = {name: list(column) for name, column in widget.over_age.data.items()}
        table = widget.table.value
        widget.percent.value = 40
        await until(lambda: gate.begun == [10, 40] and widget.progress.value == 0.25)
        assert widget.cancel.layout.display == ""
        assert "at 40 ..." in widget.message.value
        widget.cancel.click()
        assert not widget.worker.busy
        assert LEFT in widget.message.value
        assert widget.percent.value == 10
        gate.let(40)
        await until(lambda: gate.left == [40])
        await asyncio.sleep(0.05)
        same(widget.over_age, before)
        assert widget.table.value == table
        assert widget.cancel.layout.display == "none"
        assert 40 not in widget.kept["buddy"]
        widget.percent.value = 40
        await until(lambda: not widget.worker.busy)
        same(widget.over_age, view.columns(independent(40), "success"))
        widget.close()

    in_loop(act)


def test_of_quick_moves_the_latest_wins(monkeypatch):
    gate = Gate(monkeypatch)

    async def act():
        gate.let(10)
        widget = Unmovable(POLICIES, "64MiB", **SMALL)
        await until(lambda: not widget.worker.busy)
        for percent in (15, 20, 25):
            widget.percent.value = percent
        assert widget.percent.value == 25
        gate.let(25)
        await until(lambda: not widget.worker.busy)
        assert (widget.percent.value, widget._mark.location) == (25, 25)
        gate.let(15, 20)
        await until(lambda: sorted(gate.left) == sorted({*gate.begun} - {10, 25}))
        await asyncio.sleep(0.05)
        same(widget.over_age, view.columns(independent(25), "success"))
        widget.close()

    in_loop(act)


def test_work_that_is_left_begins_no_further_run(monkeypatch):
    begun, go = [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            go.set()  # what has begun ends, and makes room for what is still wanted
            super().shutdown(wait)

    def slow(*arguments):
        begun.append(arguments)
        assert go.wait(WAIT_S)
        return np.zeros(2, SAMPLE)

    def leave(_share, _what):
        raise pl.PotadError("left")

    monkeypatch.setattr(ageing_ram, "_aged", slow)
    monkeypatch.setattr(ageing_ram, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(ageing_ram, "cpu_count", lambda: 2)
    with pytest.raises(pl.PotadError, match="left"):
        pl.age("64MiB", ["llfree"], turnovers=1, seeds=64, load=LOAD, progress=leave)
    assert len(begun) <= 2
