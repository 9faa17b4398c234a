"""Columns of what descriptors, lookups and ops cost, by hand; and text that stays text."""

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from bokeh.embed import json_item

from potadlab.kinds import KIND, KINDS, facts
from potadlab.metrics.descriptors import start_bits_bytes
from potadlab.metrics.lines import Touched
from potadlab.views import latency, lines, theme, timeline, touched, whatif

MIB = 1 << 20


def counts(**kinds):
    """i8[kind] of blocks by name."""
    found = np.zeros(len(KINDS), np.int64)
    for name, many in kinds.items():
        found[KIND[name]] = many
    return found


# ---- descriptors, and what if they were other -------------------------------------------------

LIVE = np.stack([counts(anon=0, pipe=1 << 16), counts(anon=1 << 20, pipe=1 << 16)])


def over_time(record_bytes):
    return whatif.columns(np.array([0, 3 * 10**9]), LIVE, record_bytes, 1 << 20, 1 << 21)


def test_bytes_by_kind_over_time_beside_a_word_for_every_page():
    found = over_time(facts()["record_bytes"])
    start = start_bits_bytes(1 << 21) / MIB
    assert {name: column.tolist() for name, column in found.items()} == {
        "time_s": [0, 3],
        "anon": [0, 88],  # 80 and an entry of 8
        "pipe": [1, 1],  # a slot of 16
        "start bits": [start, start],
        "64 B per page": [64, 64],
        "32 B per page": [32, 32],
        "16 B per page": [16, 16],
        "8 B per page": [8, 8],
        "8 B and descriptors": [8, 88],
    }
    assert whatif.stacked(found) == ["anon", "pipe", "start bits"]


@pytest.mark.parametrize(
    ("record", "mib"), [(0, 16), (8, 16), (16, 24), (24, 32), (360, 368), (512, 520)]
)
def test_what_if_a_record_were_of_another_size(record, mib):
    record_bytes = facts()["record_bytes"].copy()
    record_bytes[KIND["anon"]] = record
    found = over_time(record_bytes)
    assert found["anon"].tolist() == [0, mib]
    assert found["pipe"].tolist() == [1, 1]
    assert found["8 B and descriptors"].tolist() == [8, 8 + record]


def test_bars_are_of_one_moment_the_most_first():
    found = whatif.bars(counts(anon=2, slab=10, pipe=1), facts()["record_bytes"])
    assert found["kind"] == ["slab", "anon", "pipe"]
    assert found["blocks"] == [10, 2, 1]
    assert found["each_bytes"] == [72, 88, 16]
    assert found["mib"] == [720 / MIB, 176 / MIB, 16 / MIB]
    assert found["words"][0] == "10 x 72 B = 720 B"
    assert found["colour"][2] == theme.kind_colour(KIND["pipe"])
    assert whatif.bars(counts(), facts()["record_bytes"])["kind"] == []


def test_axes_hold_all_that_is_drawn():
    found = over_time(facts()["record_bytes"])
    highest = max(found["8 B and descriptors"].max(), 89 + found["start bits"][0], 64)
    assert whatif.top(found) == pytest.approx(1.05 * highest)


# ---- lookups ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    lookup: str
    samples_ns: np.ndarray = field(repr=False)
    blocks: int = 10
    p50_ns: float = 5.0
    p99_ns: float = 50.0


def test_a_histogram_counts_every_batch_once():
    many = Measured("many", np.array([1.0, 1.0, 4.0, 30.0, 1e9]))
    few = Measured("few", np.full(8, 4.0))
    found = latency.histogram([many, few], bins=10)
    low, high = latency.bounds([many, few])
    assert found["left"][0] == pytest.approx(low)
    assert found["right"][-1] == pytest.approx(high)
    assert found["left"][1:] == pytest.approx(found["right"][:-1])
    ratios = found["right"] / found["left"]
    assert ratios == pytest.approx(np.full(10, ratios[0]))
    for name, one in (("share0", many), ("share1", few)):
        slow = np.zeros(10)
        for sample in one.samples_ns:
            inside = [at for at in range(10) if found["left"][at] <= sample < found["right"][at]]
            slow[inside[0] if inside else -1] += 100 / len(one.samples_ns)
        assert found[name] == pytest.approx(slow)


def test_curves_over_populations_stand_in_their_order():
    samples = np.ones(3)
    found = latency.by_population(
        [Measured("b", samples, 100, 7.0, 8.0), Measured("a", samples, 10), Measured("b", samples)]
    )
    assert found == {
        "a": {"blocks": [10], "p50": [5.0], "p99": [50.0]},
        "b": {"blocks": [10, 100], "p50": [5.0, 7.0], "p99": [50.0, 8.0]},
    }


# ---- lines ------------------------------------------------------------------------------------


def test_lines_over_time_are_means_by_structure():
    found = lines.over_time(
        np.array([0, 10**9, 4 * 10**9, 5 * 10**9]),
        np.array([1, 0, 100]),
        {
            "words": np.array([4, 0, 300]),
            "nodes": np.array([2, 0, 700]),
            "rare": np.array([1, 0, 1]),
            "never": np.zeros(3, int),
        },
    )
    assert {name: column.tolist() for name, column in found.items()} == {
        "time_s": [0.5, 2.5, 4.5],
        "width_s": [1, 3, 1],
        "ops": [1, 0, 100],
        "nodes": [2, 0, 7],
        "words": [4, 0, 3],
        "others": [1, 0, 0.01],
    }
    assert lines.stacked(found) == ["nodes", "words", "others"]
    assert lines.top(found) == pytest.approx(10.01)


def test_without_ops_there_are_no_lines():
    found = lines.over_time(np.array([0, 1]), np.zeros(1, int), {"words": np.zeros(1, int)})
    assert lines.stacked(found) == []
    assert lines.top(found) == 0


TOUCHED = [
    Touched("slots", 1234, True, True, False),
    Touched("<b>words</b>", 0, True, False, True),
    Touched("slots", 7, False, True, True),
]


def test_touched_lines_in_the_order_of_first_touches():
    found = touched.columns(TOUCHED)
    assert found == {
        "at": [1, 2, 3],
        "structure": ["slots", "<b>words</b>", "slots"],
        "line": [1234, 0, 7],
        "how": ["rw", "r", "w"],
        "locked": [False, True, True],
    }
    assert touched.summary(found) == "3 lines, 2 written, 2 under the lock"
    assert touched.by_structure(found) == {"slots": [0, 2], "<b>words</b>": [1]}
    assert touched.summary(touched.columns([])) == "0 lines, 0 written"


def test_a_card_lights_up_line_by_line_and_names_are_text():
    card = touched.draw("<script>alert(1)</script>", touched.columns(TOUCHED), ["<img src=x>"])
    assert "<script" not in card
    assert "<img" not in card
    assert "<b>words" not in card
    delays = dict(re.findall(r'animation-delay:([\d.]+)s" title="number (\d)', card))
    assert delays == {"0.000": "1", "0.250": "2", "0.500": "3"}
    assert "line 1,234 of slots, read and written" in card
    assert card.count("potadlab-line-locked") == 2


def test_of_very_many_lines_the_first_are_shown_and_all_light_up_in_time():
    many = [Touched("frames", at, False, True, False) for at in range(512)]
    card = touched.draw("buddy", touched.columns(many))
    assert card.count("<small>") == touched.CELLS_MAX
    assert f"and {512 - touched.CELLS_MAX} more" in card
    assert max(map(float, re.findall(r"animation-delay:([\d.]+)s", card))) < touched.LIGHT_S_MAX


def test_running_means():
    assert touched.means([4, 6, 2]) == [4, 5, 4]
    assert touched.draw_means("Allocate", {"potad": [], "buddy": []}) == ""
    drawn = touched.draw_means("Allocate", {"<i>": [4, 6, 2], "buddy": [9]})
    assert "<i>:" not in drawn
    assert "running mean of lines per op: &lt;i&gt; 4.00, buddy 9.00" in drawn
    (points, _) = re.findall(r'points="([^"]*)"', drawn)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights[0] == heights[2] > heights[1]  # up is less in SVG


def test_labels_of_populations_do_not_stand_on_each_other():
    counts = (10_000, 100_000, 503_001, 1_000_000)
    plot = latency.draw_populations([Measured("one", np.ones(2), each) for each in counts])
    labels = plot.xaxis[0].major_label_overrides
    assert [labels[each] for each in counts] == ["10,000", "100,000", "503,001", ""]


def test_every_figure_can_be_drawn():
    marker = timeline.source
    found = over_time(facts()["record_bytes"])
    measured = [Measured("one", np.array([1.0, 2.0])), Measured("two", np.array([3.0]), 100)]
    stretch = lines.over_time(np.array([0, 10]), np.ones(1, int), {"words": np.ones(1, int)})
    plots = [
        whatif.draw(found, 3.0, marker())[0],
        whatif.draw_bars(whatif.bars(counts(anon=1), facts()["record_bytes"]))[0],
        latency.draw_histogram(measured),
        latency.draw_histogram([]),
        latency.draw_populations(measured),
        lines.draw_over_time("potad", stretch, 1.0, 2.0, marker()),
    ]
    for plot in plots:
        theme.dress(plot, light=False)
        assert json_item(plot)["doc"]
