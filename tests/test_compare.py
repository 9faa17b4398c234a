"""The comparison: which is better, with which spread, as text and as Markdown."""

import numpy as np
import pytest
from made import allocate, blocks_of, claim, ops_of, release, space_of

from potadlab.report import compare
from potadlab.report.compare import Metric
from potadlab.session import Session
from potadlab.traces.trace import Trace

PLAIN = "{:.0f}".format


def test_the_lower_or_the_higher_is_better_and_alike_is_none():
    assert Metric("x", {"potad": 1, "buddy": 2}, PLAIN).best() == {"potad": "*"}
    assert Metric("x", {"potad": 1, "buddy": 2}, PLAIN, high=True).best() == {"buddy": "*"}
    assert Metric("x", {"potad": 2, "buddy": 2}, PLAIN).best() == {}
    two = Metric("x", {"potad": 1, "buddy": 1, "llfree": 3}, PLAIN)
    assert two.best() == {"potad": "*", "buddy": "*"}
    assert Metric("x", {"potad": 5, "buddy": None}, PLAIN).best() == {}
    assert Metric("x", {"potad": 5, "buddy": 6, "recorded": 1}, PLAIN).best() == {"potad": "*"}


def test_a_median_is_no_verdict_where_rounds_overlap():
    rounds = {"potad": [10.0, 11.0, 15.0], "buddy": [14.0, 16.0, 17.0]}
    found, _ = compare._times(rounds)
    assert found.values == {"potad": 11.0, "buddy": 16.0}
    assert found.best() == {"potad": "~"}
    clear, harness = compare._times({**rounds, "potad": [10.0, 11.0, 13.0], "null": [5.0]})
    assert harness.values == {"potad": 5.0, "buddy": 5.0}
    assert clear.best() == {"potad": "*"}
    assert compare.spreads(clear) == {"potad": "10.0-13.0", "buddy": "14.0-17.0"}


@pytest.fixture(scope="module")
def session():
    """1024 granules, of which 512 free ones in a row remain; two allocators answer."""
    ops = ops_of(*(allocate(n, 6) for n in range(8)), release(3, 6), claim(9, 512, 9))
    trace = Trace(
        "a|b<script>", None, {}, ops, 10, [], 10, 4096, "", space_of([(0, 1024)], (0, 1024)),
        blocks_of(), 0, 0,
    )  # fmt: skip
    return Session(trace, ["potad:caches=off", "buddy"])


def test_metrics_of_a_moment_are_those_of_its_blocks(session):
    found = {metric.name: metric for metric in compare.metrics(session, 8)}
    for name in session.names:
        live = session.blocks(name, 8)
        taken = np.zeros(1024, bool)
        for block in live:
            taken[block["granule"] : block["granule"] + (1 << block["order"])] = True
        usable = sum(not taken[first : first + 512].any() for first in (0, 512)) * 512
        free = np.count_nonzero(~taken)
        largest = max(
            (
                1 << order
                for order in range(11)
                for first in range(0, 1024, 1 << order)
                if not taken[first : first + (1 << order)].any()
            ),
            default=0,
        )
        assert found["largest free block now"].values[name] == 4096 * largest
        assert found["unusable for 2 MiB, now"].values[name] == pytest.approx(1 - usable / free)
    refused = found["requests refused"].values
    assert refused == {name: session.runs[name].refused for name in session.names}
    whole = found["all three"].values["buddy"]
    assert whole == sum(session.runs["buddy"].bytes.values())
    assert found["lookup"].best() == {}  # buddy's is in its struct page: only the sum is judged
    assert found["all three"].best() == {"potad:caches=off": "*"}


def test_text_fits_80_columns_and_markdown_has_no_markup_from_names(session):
    rounds = {"potad:caches=off": [10.0, 12.0], "buddy": [20.0, 22.0], "null": [5.0, 5.0]}
    found = compare.metrics(session, 4, rounds)
    text = compare.as_text(session, found, 4)
    assert max(map(len, text.splitlines())) <= 80
    assert "11.0*" in text
    assert "10.0-12.0" in text
    assert "op 4" in text
    markdown = compare.as_markdown(session, found, 4)
    assert "a\\|b&lt;script&gt;" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {len(row.replace("\\|", "").split("|")) for row in rows} == {5}
    assert len(rows) == len(found) + 1 + 2


def test_no_two_names_are_cut_to_the_same(session):
    specs = ["buddy:pcp=on,tails=off", "buddy:pcp=on,tails=on", "potad"]
    several = Session(session.trace, specs)
    text = compare.as_text(several, compare.metrics(several, 4), 4)
    assert max(map(len, text.splitlines())) <= 80
    assert all(spec in text.split() for spec in specs)
    assert [line.split()[:1] for line in text.splitlines()].count(["metric"]) == 2
