"""A machine as it runs, without one: a stream of made-up events, and what is told of it."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import WAIT_S

import potadlab as pl
from potadlab.core.layout import NONE
from potadlab.core.text import LINE
from potadlab.dashboard.live import Live, Memory, categories
from potadlab.errors import BadTrace, CannotRecord, PotadError
from potadlab.kinds import KIND
from potadlab.traces import Snapshot, parquet
from potadlab.traces.importing.gfp import flags_of
from potadlab.traces.recording import machine, watch
from potadlab.traces.recording.watch import FREE, OUT, Watch
from potadlab.traces.snapshot import runs_of
from potadlab.views import live as views
from potadlab.views import orders, regions

PAGES = 256
ANON = flags_of("GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP")[0]
STACKS = ["do_anonymous_page;handle_mm_fault", "allocate_slab;ext4_alloc_inode", "mystery"]


def row(time_ns, op, pfn, order=0, stack=NONE, task=7):
    made = np.zeros(1, LINE)[0]
    made["time_ns"], made["op"], made["pfn"], made["order"] = time_ns, op, pfn, order
    made["stack"], made["task"], made["area"] = stack, task, NONE
    made["gfp"], made["migratetype"] = (ANON, 1) if op == 0 else (NONE, 255)
    return made


class Events:
    """In place of a Stream and its instance: what `then` holds comes with the next look."""

    def __init__(self):
        self.then, self.lost, self.now = [], 0, 10**9
        self.stacks = SimpleNamespace(texts=list(STACKS))
        self.areas = SimpleNamespace(texts=[])
        self.cpus, self.clock = 1, "mono"
        self.counts = {"stacks": 0, "stacks_lost": 0, "strange": 0}

    def take(self, final=False):
        rows, self.then = np.array(self.then, LINE), []
        return rows, True

    def comms(self):
        return {7: "seven", 8: "<b>eight</b>"}

    def stats(self):
        return {"lost": self.lost}

    def now_ns(self):
        return self.now


def watching(kinds=None, owners=False, **metadata):
    """(a Watch over made-up events, the events)"""
    events = Events()
    memory = machine.Memory(
        np.ones(PAGES, np.uint8) if kinds is None else np.array(kinds, np.uint8),
        {"page_shift": 12, "zones": {"Normal": [0, PAGES]}, **metadata},
    )
    made = Watch(owners=owners)
    made._instance = events
    made._stack = SimpleNamespace(close=lambda: None)
    made.begin(memory, events)
    return made, events


def look(made, events, *rows, seconds=1.0):
    events.then += rows
    events.now += int(seconds * 1e9)
    return made.step()


# ---- what is kept up ------------------------------------------------------------------------


def test_frames_follow_events():
    made, events = watching([11] * 8 + [2] * 8 + [1] * (PAGES - 16))
    assert made.frames[:20].tolist() == [OUT] * 8 + [KIND["slab"]] * 8 + [FREE] * 4
    assert look(made, events, row(1, 0, 32, 2), row(2, 1, 8), row(3, 0, NONE, 9)) == 3
    assert made.frames[32:36].tolist() == [KIND["anon"]] * 4
    assert made.frames[8] == FREE
    pages = made.pages_by_kind()
    assert (pages[KIND["anon"]], pages[OUT], pages[KIND["slab"]]) == (4, 8, 7)
    assert made.allocated[KIND["anon"]] == 4
    assert made.events == 3


def test_what_happened_while_the_memory_was_read_comes_first():
    """The memory is rewound, then the events are carried out: in the end it is as read."""
    events = Events()
    events.then = [row(1, 0, 4), row(2, 1, 5)]
    made = Watch()
    made._instance, made._stack = events, SimpleNamespace(close=lambda: None)
    made.begin(machine.Memory(np.array([3, 1, 1, 1, 3, 1, 1, 1], np.uint8), {}), events)
    assert made.memory.kinds.tolist() == [3, 1, 1, 1, 1, 0, 1, 1]
    assert made.frames[[4, 5]].tolist() == [KIND["anon"], FREE]
    assert made.zones == {"memory": (0, 8)}


def test_kinds_and_owners_come_from_stacks_where_there_are_any():
    made, events = watching(owners=True)
    look(made, events, row(1, 0, 0, stack=1), row(2, 0, 1, stack=2), row(3, 0, 2, 3, stack=0))
    assert made.frames[:3].tolist() == [KIND["slab"], KIND["anon"], KIND["anon"]]
    assert made.top(2) == [("do_anonymous_page;handle_mm_fault", 0.8), ("ext4_alloc_inode", 0.1)]


def test_owners_are_processes_otherwise_and_those_who_stop_are_forgotten():
    made, events = watching()
    look(made, events, row(1, 0, 0, 4, task=7), row(2, 0, 16, 2, task=8), row(3, 1, 0, 4, task=9))
    assert made.top(9) == [("seven", 0.8), ("<b>eight</b>", 0.2)]
    for _ in range(60):
        look(made, events, row(1, 0, 0, task=8), seconds=3)
    assert [name for name, _ in made.top(9)] == ["<b>eight</b>"]


def test_owners_stay_few(monkeypatch):
    monkeypatch.setattr(watch, "_OWNERS", 5)
    made, events = watching()
    monkeypatch.setattr(watch, "comm_of", str)
    for time in range(40):
        look(made, events, *(row(1, 0, 0, task=100 * time + pid) for pid in range(9)), seconds=3)
    assert len(made.asked) <= 5 + 2 * 9
    assert len(made.rates) <= watch.RATES_S / 3 + 2


def test_loss_is_counted_when_it_happens():
    made, events = watching()
    events.lost = 5
    look(made, events)
    events.lost = 12
    look(made, events)
    look(made, events)
    assert made.lost == 12
    assert [one.lost for one in made.rates][-3:] == [5, 7, 0]


def test_who_watches_is_told_apart():
    made, events = watching()
    look(made, events, row(1, 0, 0, task=os.getpid()), row(2, 0, 1, task=8), row(3, 1, 0, task=8))
    assert made.rates[-1].own == 1


def test_free_blocks_are_those_of_the_frames():
    made, events = watching()
    assert made.free_blocks()[8] == 1
    look(made, events, row(1, 0, 0))
    assert made.free_blocks().tolist() == [1] * 8 + [0] * 3


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 31), st.integers(0, 3), st.integers(-1, 2)),
        max_size=40,
    ),
    st.integers(1, 7),
)
def test_any_events_in_any_portions(actions, portion):
    made, events = watching(owners=True)
    wanted = [FREE] * PAGES
    kinds = [KIND["anon"], KIND["slab"], KIND["anon"], KIND["anon"]]  # the last: no stack
    for at in range(0, len(actions), portion):
        here = actions[at : at + portion]
        rows = [
            row(time, int(freed), place << order, order, NONE if freed else stack)
            for time, (freed, place, order, stack) in enumerate(here)
        ]
        look(made, events, *rows)
    for freed, place, order, stack in actions:
        block = slice(place << order, (place + 1) << order)
        wanted[block] = [FREE if freed else kinds[stack]] * (1 << order)
    assert made.frames.tolist() == wanted
    assert sum(one.allocs + one.frees for one in made.rates) == len(actions)


# ---- recording ------------------------------------------------------------------------------


def test_what_is_recorded_from_some_moment_on_is_a_warm_trace(tmp_path):
    made, events = watching([3] * 4 + [5] * 4 + [16] * 8 + [1] * (PAGES - 16))
    look(made, events, row(1, 0, 64), row(2, 1, 0))
    target = tmp_path / "made.parquet"
    made.record(target)
    assert made.recording == target
    look(made, events, row(5, 1, 64), row(6, 0, 128, 1), row(7, 1, 1))
    events.lost = 4
    output = made.finish()
    assert made.recording is None
    assert output.counts["lost_events"] == 4
    trace = pl.Trace.read(target)
    assert (trace.events, trace.counts["lost_events"], trace.snapshot) == (
        3,
        4,
        "made.before.parquet",
    )
    assert trace.counts["live_at_start"] == 2
    before = pl.Snapshot.read(output.beside["before"])
    kinds = np.repeat(before.kind, before.end - before.start).tolist()
    assert kinds[:16] == [1, 3, 3, 3, 5, 5, 5, 5] + [16] * 8
    assert kinds[64] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "made.after.parquet",
        "made.before.parquet",
        "made.parquet",
    ]


def test_a_recording_of_nothing_leaves_nothing(tmp_path):
    made, events = watching()
    made.record(tmp_path / "made.parquet")
    with pytest.raises(CannotRecord, match="nothing was recorded"):
        made.finish()
    assert made.recording is None
    assert not list(tmp_path.iterdir())
    made.record(tmp_path / "made.parquet")
    look(made, events, row(1, 0, 0))
    made.close()
    assert not list(tmp_path.iterdir())


# ---- pictures -------------------------------------------------------------------------------


def test_rates_by_hand():
    found = views.rates(
        np.array([0.2, 0.4, 0.9, 1.2]), np.array([1, 2, 4, 8]), np.zeros(4), np.zeros(4), 1.3
    )
    assert found["time_s"].tolist() == pytest.approx([-1.05, -0.55])
    assert found["allocs"].tolist() == [6.0, 8.0]


def test_only_the_last_minute_is_shown():
    at_s = np.arange(0, 200, 0.5) + 0.1
    ones = np.ones(len(at_s))
    found = views.rates(at_s, ones, ones, ones, 200.0)
    assert len(found["time_s"]) == 120
    assert found["frees"].tolist() == [2.0] * 120
    assert found["time_s"].min() >= -60


def test_free_memory_counts_back_from_now():
    found = views.free(np.array([1.0, 3.0]), np.array([[0] * 10 + [256], [0] * 11]), 4096, 4.0)
    assert found["time_s"].tolist() == [-3.0, -1.0]
    assert sum(found[name][0] for name in orders.NAMES) == 1.0


def made_panel(make):
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


@pytest.fixture
def shown():
    made, events = watching([11] * 16 + [1] * (PAGES - 16))
    panel = made_panel(lambda: Live(watch=made))
    yield panel, made, events
    panel.close()


def test_the_widget_shows_what_happens(shown):
    panel, made, events = shown
    events.then = [row(1, 0, 64, 5, task=8)]
    events.now += 2 * 10**9
    panel.step()
    assert "1 events in all" in panel.status.value
    assert "none lost" in panel.status.value
    assert "<td>anon</td><td>128 KiB</td><td>128 KiB</td>" in panel.kinds.value
    assert "&lt;b&gt;eight&lt;/b&gt;" in panel.asking.value, "names are escaped"
    assert panel.describe(64)[0] == "page 0x40 at 0x40000: anon"
    assert panel.describe(3)[0].endswith("out of service")
    assert panel.describe(PAGES) == ["beyond the memory"]
    now, asked = np.zeros((2, 256), np.int64)
    now[KIND["anon"]], asked[KIND["anon"]] = 2, 3
    panel._say_kinds(now, asked)
    assert "<td>anon</td><td>8 KiB</td><td>12 KiB</td>" in panel.kinds.value
    frame = panel.stage.painter.paint(panel.window)
    image = regions.image_of(frame.buffers[0], regions.SMALL)
    table = categories()
    scale = panel.window.scale
    cells = image[: panel.window.height : scale, ::scale].reshape(-1)
    assert cells.tolist() == table[made.frames].tolist()
    events.lost = 3
    panel.step()
    assert "3 lost" in panel.status.value


def press(panel):
    """Record, or Stop, and what it brings."""
    panel.record.click()
    panel._thread.submit(lambda: None).result()


def test_the_button_records(shown, tmp_path):
    panel, _, events = shown
    panel.target.value = "nonsense"
    panel.record.click()
    assert "something.parquet" in panel.message.value
    panel.target.value = str(tmp_path / "made.parquet")
    press(panel)
    assert panel.record.description == "Stop"
    assert "recording to" in panel.message.value
    events.then = [row(1, 0, 64)]
    panel.step()
    press(panel)
    assert panel.record.description == "Record"
    assert "1 allocs" in panel.message.value
    assert pl.Trace.read(tmp_path / "made.parquet").events == 1


def test_each_recording_is_of_a_name_of_its_own_and_ends_once(shown, tmp_path, monkeypatch):
    panel, _, events = shown
    monkeypatch.chdir(tmp_path)
    for number, pages in enumerate((1, 2)):
        now = f"recorded-00000{number}.parquet"
        monkeypatch.setattr("potadlab.dashboard.live._suggestion", lambda now=now: now)
        press(panel)
        events.then = [row(1, 0, 64 + place) for place in range(pages)]
        panel.step()
        asked = threading.Event()
        panel._thread.submit(asked.wait, WAIT_S)  # it is still busy with something
        panel.record.click()
        assert panel.record.disabled
        asked.set()
        panel._thread.submit(lambda: None).result()
        assert not panel.record.disabled
        assert f"{pages} allocs" in panel.message.value
    for number, pages in enumerate((1, 2)):
        assert pl.Trace.read(f"recorded-00000{number}.parquet").events == pages


def test_a_machine_that_cannot_be_recorded_is_told_in_the_page(monkeypatch):
    def refuse(self, tell=None):
        raise CannotRecord("recording needs root")

    monkeypatch.setattr(Watch, "open", refuse)
    panel = made_panel(Live)
    assert "recording needs root" in panel.message.value
    assert panel.record.disabled
    panel.close()


def test_a_snapshot_is_shown(tmp_path):
    kinds = np.array([3] * 10 + [1] * 20 + [10] * 2 + [8] * 32, np.uint8)
    parquet.write_snapshot(tmp_path / "now.parquet", runs_of(kinds), {})
    panel = made_panel(lambda: Memory(tmp_path / "now.parquet"))
    assert "<td>anon</td><td>40 KiB</td>" in panel.kinds.value
    assert "<td>free</td><td>80 KiB</td>" in panel.kinds.value
    assert panel.describe(30)[0].endswith("poison")
    panel.zoom(1)
    panel._tapped("now", 3)
    assert "page 0x3 at 0x3000: anon" in panel.message.value
    panel.close()
    with pytest.raises(PotadError, match="no such file"):
        Memory(tmp_path / "nonesuch.parquet")


def test_a_snapshot_beyond_what_a_map_shows_is_one_line():
    far = np.array([1 << 36])
    snapshot = Snapshot(Path("far.parquet"), {}, far, far + 1, np.array([3], np.uint8))
    with pytest.raises(BadTrace, match=r"far.parquet: ends at page 0x1000000001"):
        Memory(snapshot)
