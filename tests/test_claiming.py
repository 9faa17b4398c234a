"""One claim in POTAD and in CMA, on a trace of a few ops whose answers follow by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from potadlab.bundled import datasets
from potadlab.claiming import claim_at, survey
from potadlab.core.layout import BLOCK, NONE, OP, Flag, Verb
from potadlab.errors import BadSize, UnknownName
from potadlab.kinds import KIND
from potadlab.report import claim_table
from potadlab.report.claims import claim_rows
from potadlab.runs import Case, outcomes_of
from potadlab.traces import Trace
from potadlab.units import MIB, Space

PAGE = 4096
BLOCK_GRANULES = 512


def trace_of(live):
    """Eight pageblocks; `live`: (granule, order, kind) at the start; one op."""
    start = np.zeros(len(live), BLOCK)
    for block, (granule, order, kind) in zip(start, live, strict=True):
        block["granule"], block["order"], block["kind"] = granule, order, KIND[kind]
    start["handle"], start["owner"] = 1 + np.arange(len(live)), NONE
    ops = np.zeros(1, OP)
    ops["verb"], ops["kind"], ops["granules"] = Verb.ALLOCATE, KIND["ptdesc"], 1
    ops["granule"], ops["into"], ops["owner"], ops["migratetype"] = 0, NONE, NONE, 255
    return Trace(
        name="few", path=None, metadata={}, ops=ops, handles=1 + len(live), owners=[], events=1,
        granule_bytes=PAGE, snapshot="", space=Space.ram("16MiB"), start=start,
        boundaries_assumed=0, kinds_guessed=0,
    )  # fmt: skip


FULL = [(at, 0, "anon") for at in range(1024, 4096)]  # all but the lowest 4 MiB


def test_both_find_free_memory():
    answers = claim_at(trace_of([]), 1, 2 * MIB, MIB, area="8MiB")
    assert [(one.allocator, one.may_move) for one in answers] == [
        ("potad", False), ("potad", True), ("cma:area=8MiB", False), ("cma:area=8MiB", True),
    ]  # fmt: skip
    for one in answers:
        assert one.done
        assert one.in_vain == 0
        assert (one.moved_blocks, one.moved_bytes) == (0, 0)
    assert [one.start_bytes for one in answers[:2]] == [2 * MIB] * 2, "the lowest is in use"
    assert answers[2].area == (8 * MIB, 16 * MIB)
    assert answers[2].start_bytes == 8 * MIB


def test_a_full_area_gives_only_what_may_move():
    potad, moved, cma, emptied = claim_at(trace_of(FULL), 1, 2 * MIB, MIB, area="8MiB")
    assert potad.start_bytes == moved.start_bytes == 2 * MIB, "free, outside of the area"
    assert not cma.done
    assert [one.start_bytes for one in cma.tries] == [8 * MIB + at * MIB for at in range(7)]
    assert cma.tries[0].words == "busy: 512 blocks (2 MiB) would have to move"
    assert emptied.start_bytes == 8 * MIB
    assert (emptied.in_vain, emptied.moved_blocks, emptied.moved_bytes) == (0, 512, 2 * MIB)


def test_what_stays_makes_ranges_busy():
    """A page table at 8 MiB + 1.5 MiB: the ranges from +0 and +1 MiB hold it.

    Some more of them lie below, so that the area is the upper half.
    """
    fixed = {2048 + 384, 1100, 1101}
    live = [(at, 0, "ptdesc" if at in fixed else "anon") for at in range(1024, 4096)]
    trace = trace_of(live)
    answer = claim_at(trace, 1, 2 * MIB, MIB, area="8MiB")[3]
    assert answer.area == (8 * MIB, 16 * MIB)
    assert answer.start_bytes == 10 * MIB
    assert answer.in_vain == 2
    stays = f"busy: ptdesc at {(2048 + 384) * PAGE:#x} stays"
    assert [one.words for one in answer.tries] == [stays, stays, "emptied: 512 blocks moved away"]


def test_potads_steps_end_with_the_emptied_window():
    live = [(at, 0, "anon") for at in range(256, 4096, 2)]  # every other page from 1 MiB up
    answer = claim_at(trace_of(live), 1, 4 * MIB, 2 * MIB, area="8MiB")[1]
    assert [(one.chunks, one.done) for one in answer.tries] == [(1, False), (2, False), (2, True)]
    assert answer.start_bytes == 2 * MIB, "a page table lies in the window from 0"
    assert answer.moved_blocks == 512


def test_no_room_for_the_area():
    answers = claim_at(trace_of([]), 0, MIB, MIB, area="32MiB")
    assert answers[2].area is None
    assert not answers[2].done
    assert answers[0].done
    assert claim_rows(answers)[1][-1][-1] == "given up: the space has no room for the area"


def test_a_claim_larger_than_the_area():
    answers = claim_at(trace_of([]), 0, 4 * MIB, MIB, area="2MiB")
    assert answers[0].done
    assert (answers[2].area, answers[2].tries) == ((14 * MIB, 16 * MIB), [])
    assert claim_rows(answers)[1][-1][-1] == "given up: no range of this size in the area"


@pytest.mark.parametrize(
    ("size", "align", "what"),
    [(3 * MIB, 2 * MIB, "multiple"), (MIB, 1000, "alignment"), (MIB, 3 * PAGE, "power of two")],
)
def test_sizes_that_cannot_be(size, align, what):
    with pytest.raises(BadSize, match=what):
        claim_at(trace_of([]), 0, size, align)


def test_an_area_that_cannot_be():
    with pytest.raises(UnknownName, match="area"):
        claim_at(trace_of([]), 0, MIB, MIB, area="3MiB")


def test_the_table_cuts_a_long_search_in_its_middle():
    trace = trace_of(FULL)
    answers = claim_at(trace, 1, 64 << 10, 64 << 10, area="8MiB")
    table = claim_table(trace, 1, 64 << 10, 64 << 10, answers)
    cells = [cell for row in table.rows[1] for cell in row]
    assert len(answers[2].tries) == 128
    assert "121 more" in cells
    assert any(cell.startswith("given up; 128 in vain") for cell in cells)


def test_the_command(capsys, tmp_path):
    from potadlab import cli

    file = tmp_path / "claim.json"
    small = str(datasets()["thp_split"])
    asked = ["claim", small, "--size", "8MiB", "--align", "1MiB", "--at", "1%"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*asked, "--json", str(file)])
    assert stopped.value.code == 0
    found = json.loads(file.read_text())
    assert (found["size_bytes"], found["align_bytes"]) == (8 * MIB, MIB)
    assert len(found["claims"]) == 4
    potad, _, _, cma = found["claims"]
    assert potad["done"]
    assert cma["area"][1] - cma["area"][0] == 256 * MIB
    assert cma["in_vain"] == sum(not one["done"] for one in cma["tries"])
    for wrong, code in ((["--at", "soon"], 2), (["--cma", "7MiB"], 2)):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*asked, *wrong])
        assert stopped.value.code == code
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_replay_takes_the_area_of_cma(capsys):
    from potadlab import cli

    small = str(datasets()["thp_split"])
    for wrong, said in (
        (["--cma", "8MiB"], "add --allocator cma"),
        (["--allocator", "cma", "--cma", "7MiB"], "area"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["replay", small, *wrong])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_a_survey_by_size_and_way():
    """Every other page from 4 MiB up: what lies below is free, so 4 MiB are had, 8 MiB are not.

    With moving, 8 MiB are emptied; CMA's area is the upper half.
    """
    live = [(at, 0, "anon") for at in range(1024, 4096, 2)]
    trace = trace_of(live)
    trace.ops["verb"], trace.ops["kind"] = Verb.DRAIN, 0
    case = Case(trace.space, trace.ops, trace.start, trace.handles)
    sizes = [2 * MIB, 4 * MIB, 8 * MIB]
    shares = []
    found = survey(case, sizes, MIB, 1, area="8MiB", progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert [(one.allocator, one.may_move) for one in found] == [
        ("potad", False), ("potad", True), ("cma:area=8MiB", False), ("cma:area=8MiB", True),
    ]  # fmt: skip
    for one, wanted in zip(found, ([1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]), strict=True):
        assert one.size_bytes.tolist() == sizes
        assert one.index.tolist() == [1]
        asked = [claim_at(trace, 1, size, MIB, area="8MiB") for size in sizes]
        way = (one.allocator, one.may_move)
        answers = [a for each in asked for a in each if (a.allocator, a.may_move) == way]
        assert one.done[:, 0].tolist() == [answer.done for answer in answers]
        assert one.moved_bytes[:, 0].tolist() == [answer.moved_bytes for answer in answers]
        assert one.in_vain[:, 0].tolist() == [answer.in_vain for answer in answers]
        assert one.done[:, 0].tolist() == wanted, one.allocator


def test_a_survey_counts_what_its_claims_move_and_nothing_else():
    """A soft failure before the claims moves a block of 4 MiB."""
    trace = trace_of([(2048, 10, "anon")])
    fail, ops = np.zeros(1, OP), trace.ops
    fail["verb"], fail["flags"] = Verb.FAIL, Flag.MAY_MIGRATE
    fail["granule"], fail["into"], fail["owner"], fail["migratetype"] = 2100, NONE, NONE, 255
    ops = np.concatenate([ops, fail, ops, ops])
    ops["handle"] = [3, 0, 4, 5]
    case = Case(trace.space, ops, trace.start, 6)
    for one in survey(case, [MIB], MIB, 2, area="4MiB"):
        assert outcomes_of(one.allocator, case)[1]["op"].tolist() == [1], "the failure moved it"
        assert one.done.tolist() == [[True, True]]
        assert one.moved_bytes.tolist() == [[0, 0]]
        assert one.in_vain.tolist() == [[0, 0]]


def test_failed_memory_in_the_way_is_said_to_be_that():
    trace = trace_of([(at, 0, "ptdesc") for at in range(1024)])  # so that the area lies above
    fail = np.zeros(1, OP)
    fail["verb"], fail["granule"], fail["into"] = Verb.FAIL, 2100, NONE
    fail["owner"], fail["migratetype"] = NONE, 255
    failed = replace(trace, ops=np.concatenate([trace.ops, fail]))
    for answer in claim_at(failed, 2, 2 * MIB, MIB, area="8MiB")[2:]:
        assert answer.tries[0].words == "busy: failed memory lies there"
        assert answer.tries[1].words == "free now: found"


def test_a_survey_of_no_moments():
    trace = trace_of([])
    with pytest.raises(BadSize, match="0 moments"):
        survey(Case(trace.space, trace.ops, trace.start, trace.handles), [MIB], MIB, 0)
