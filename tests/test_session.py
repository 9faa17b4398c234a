"""A session: what lives at a moment, what a click does, and the way back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import allocate, blocks_of, ops_of, release, space_of, split

from potadlab import bundled
from potadlab.core.layout import NONE, OP, POISON, Flag, Outcome, Verb
from potadlab.errors import BadSize, BadSpace, UnknownName
from potadlab.kinds import KIND
from potadlab.session import Session, Step
from potadlab.traces import Trace
from potadlab.units import Space

ALL = ["potad", "buddy", "recorded"]
PAGE = 4096
FOLIO, SLAB, KERNEL = KIND["folio"], KIND["slab"], KIND["kernel"]
DONE, REFUSED, IGNORED, ABSENT = (
    Outcome.DONE,
    Outcome.REFUSED,
    Outcome.IGNORED,
    Outcome.ABSENT,
)


def small_trace():
    """64 pages, 4 of them live at the start; in every allocator the blocks lie alike."""
    ops = ops_of(
        allocate(1, 3, granule=8, kind=SLAB, owner=1, time_ns=10),
        allocate(2, 0, granule=4, kind=KERNEL, owner=2, time_ns=20),
        release(0, 2, granule=0, time_ns=20),
        release(1, 3, granule=8, time_ns=30),
        allocate(3, 3, granule=8, kind=FOLIO, owner=1, time_ns=40),
        split(3, 1, into=4),
        release(5, 1, granule=10, time_ns=60),
        allocate(8, 1, granule=10, kind=FOLIO, owner=2, time_ns=70),
    )
    ops["time_ns"][5] = 50
    return Trace(
        name="small",
        path=None,
        metadata={},
        ops=ops,
        handles=9,
        owners=["before the recording", "first", "second"],
        events=7,
        granule_bytes=PAGE,
        snapshot="",
        space=space_of([(0, 64)], (0, 64)),
        start=blocks_of((0, 2, 0, FOLIO, 0)),
        boundaries_assumed=0,
        kinds_guessed=0,
    )


@pytest.fixture
def session():
    return Session(small_trace())


def granules(session, name, index):
    blocks = session.blocks(name, index)
    return blocks[["granule", "order", "handle"]].tolist()


def outcomes(session, name):
    return session.runs[name].events["outcome"].tolist()


# ---- moments ---------------------------------------------------------------------------------


def test_moments_are_numbers_of_ops(session):
    assert session.length == 8
    assert [session.time_ns(index) for index in range(9)] == [10, 20, 20, 30, 40, 50, 60, 70, 70]
    assert [session.index_at(t) for t in (0, 9, 10, 19, 20, 29, 70, 1000)] == [
        0,
        0,
        1,
        1,
        3,
        3,
        8,
        8,
    ]
    for index in range(1, 9):
        assert session.index_at(session.time_ns(index - 1)) >= index


def test_blocks_of_a_moment(session):
    assert session.names == ALL
    assert granules(session, "recorded", 0) == [(0, 2, 0)]
    assert granules(session, "recorded", 2) == [(0, 2, 0), (4, 0, 2), (8, 3, 1)]
    assert granules(session, "recorded", 8) == [
        (4, 0, 2),
        (8, 1, 4),
        (10, 1, 8),
        (12, 1, 6),
        (14, 1, 7),
    ]
    assert granules(session, "potad", 2) == granules(session, "buddy", 2)
    assert session.in_service("potad", 8).tolist() == [[0, 64]]
    for name in ALL:
        assert outcomes(session, name) == [DONE] * 8


@pytest.mark.parametrize("name", ALL)
def test_a_descriptor_tells_all_of_its_block(session, name):
    found = session.describe(name, 2, 15)
    assert (found.start_bytes, found.size_bytes, found.order) == (8 * PAGE, 8 * PAGE, 3)
    assert (found.kind, found.owner, found.handle) == ("slab", "first", 1)
    assert (found.age_ns, found.record_bytes, found.poisoned) == (10, 64, False)
    for granule in (5, 7, 16, 63, 64, 1 << 40):
        assert session.describe(name, 2, granule) is None
    assert session.describe(name, 0, 8) is None
    before = session.describe(name, 1, 3)
    assert (before.start_bytes, before.owner, before.kind) == (0, "before the recording", "folio")
    assert before.age_ns > session.time_ns(0), "older than the recording"


def test_a_piece_is_as_its_whole(session):
    found = session.describe("recorded", 7, 12)
    assert (found.handle, found.order, found.kind, found.owner) == (6, 1, "folio", "first")
    assert found.age_ns == 60 - 40  # since the whole was allocated


def test_an_owner_without_a_name(session):
    assert session.owner(NONE) == session.owner(3) == "not told"
    assert session.owner(2) == "second"


# ---- fail ------------------------------------------------------------------------------------


def test_a_failed_granule_of_a_live_block_tells_its_owner(session):
    told = session.fail(9, 1)
    assert [t.allocator for t in told] == ALL
    for t in told:
        assert t.outcome == Outcome.POISONED_LIVE
        assert (t.owner, t.kind, t.handle) == ("first", "slab", 1)
        assert (t.start_bytes, t.size_bytes) == (8 * PAGE, 8 * PAGE)
    linux = "Memory failure: 0x9: recovery action for get hwpoison page: Ignored; told: nobody"
    assert {t.allocator: t.words for t in told} == {
        "potad": "Memory failure: 0x9: recovery action for slab block: Delayed; told: owner",
        "buddy": linux,
        "recorded": linux,
    }
    op = session.ops[1]
    assert (op["verb"], op["granule"], op["time_ns"]) == (Verb.FAIL, 9, 10)
    assert op["flags"] == Flag.BY_HAND
    assert (session.length, session.added) == (9, 1)


@pytest.mark.parametrize("name", ALL)
def test_a_failed_granule_leaves_service_at_release_and_its_neighbours_go_on(session, name):
    session.fail(9, 1)
    assert granules(session, name, 2) == [(0, 2, 0), (8, 3, 1), (9, 0, NONE)]
    assert session.describe(name, 2, 9).poisoned
    assert session.describe(name, 2, 9).kind == "slab"
    assert not session.describe(name, 2, 9 + 7)
    assert session.describe(name, 1, 9).poisoned is False  # not yet failed
    alone = session.describe(name, 5, 9)  # after the block was released
    assert (alone.kind, alone.size_bytes, alone.owner) == ("poison", PAGE, "nobody")
    assert session.describe(name, 5, 8) is None
    for index in range(6, 10):
        live = [b for b in session.blocks(name, index) if b["kind"] != POISON]
        assert all(not b["granule"] <= 9 < b["granule"] + (1 << b["order"]) for b in live)


def test_later_ops_are_replayed(session):
    """Where Linux put the next block, a granule has failed: the record refuses, others go on."""
    session.fail(9, 1)
    assert outcomes(session, "recorded")[2:] == [DONE] * 3 + [REFUSED, ABSENT, ABSENT, DONE]
    assert granules(session, "recorded", 9) == [(4, 0, 2), (9, 0, NONE), (10, 1, 8)]
    for name in ("potad", "buddy"):
        assert outcomes(session, name)[2:] == [DONE] * 7
        assert session.runs[name].refused == 0


@pytest.mark.parametrize(
    ("granule", "outcome", "words"),
    [
        (40, Outcome.POISONED_FREE, "free buddy page: Recovered; told: nobody"),
        (64, Outcome.OUTSIDE, "not in service"),
        (1 << 40, Outcome.OUTSIDE, "not in service"),
    ],
)
def test_a_failure_that_concerns_nobody(session, granule, outcome, words):
    for t in session.fail(granule, 3):
        assert (t.outcome, t.owner, t.kind, t.handle) == (outcome, "nobody", "free", NONE)
        assert (t.start_bytes, t.size_bytes) == (granule * PAGE, PAGE)
        assert words in t.words


def test_a_second_failure_says_so(session):
    session.fail(9, 1)
    for t in session.fail(9, 3):
        assert t.outcome == Outcome.POISONED_BEFORE
        assert "already poisoned page: Failed; told: nobody" in t.words
    assert session.added == 2
    assert session.runs["potad"].poison(session.length).tolist() == [9]


@pytest.mark.parametrize("index", [0, 3, 8])
def test_an_op_goes_in_where_it_was_asked(session, index):
    untouched = session.ops.copy()
    session.fail(50, index)
    assert session.ops["verb"].tolist().index(Verb.FAIL) == index
    assert np.array_equal(np.delete(session.ops, index), untouched)
    assert np.all(np.diff(session.ops["time_ns"]) >= 0)
    assert len(session.trace.ops) == 8, "the trace is as it was"


# ---- claim -----------------------------------------------------------------------------------


def test_a_claim_lists_its_steps(session):
    """Free after 2 ops: 5..8 and 16..64."""
    potad, buddy, recorded = session.claim(48, 2, 2, owner="camera")
    assert (potad.outcome, potad.start_bytes, potad.size_bytes) == (DONE, 16 * PAGE, 48 * PAGE)
    assert potad.chunk_bytes == 16 * PAGE
    assert potad.steps == [Step(3, 16 * PAGE, True)]
    assert (buddy.outcome, buddy.start_bytes, buddy.steps) == (IGNORED, None, [])
    assert "4 MiB" in buddy.words
    assert (recorded.outcome, recorded.start_bytes, recorded.steps) == (IGNORED, None, [])
    assert len({potad.words, buddy.words, recorded.words}) == 3
    found = session.describe("potad", 3, 63)
    assert (found.owner, found.kind, found.handle) == ("camera", "driver", 9)
    assert found.size_bytes == 16 * PAGE
    assert session.handles == 10
    assert outcomes(session, "potad") == [DONE] * 9


def test_a_claim_goes_down_until_it_finds(session):
    """Free 33..44: no aligned row of 8, but two of 4 side by side."""
    session.claim(16, 4, 2)  # takes 16..32
    session.fail(32, 3)
    session.claim(16, 4, 4)  # takes 48..64
    session.fail(44, 5)
    potad, *_ = session.claim(8, 1, 6)
    assert potad.start_bytes == 36 * PAGE
    assert potad.steps == [Step(1, 8 * PAGE, False), Step(2, 4 * PAGE, True)]
    assert (potad.size_bytes, potad.chunk_bytes) == (8 * PAGE, 4 * PAGE)


def cma_trace(granules):
    """Memory with a granule that stays every 256."""
    start = [(at, 0, number, SLAB, 0) for number, at in enumerate(range(0, granules, 256))]
    return replace(
        small_trace(), ops=ops_of(allocate(50, kind=SLAB)), handles=51,
        space=space_of([(0, granules)], (0, granules)), start=blocks_of(*start),
    )  # fmt: skip


def test_a_claim_of_cma_counts_the_ranges_it_tried():
    """Its steps are ranges: they are no chunks, and there may be more than a size has halves."""
    session = Session(cma_trace(2048), ["cma:area=4MiB"])
    (found,) = session.claim(2, 0, 1)
    assert (found.outcome, found.ranges, found.steps) == (DONE, 2, [])
    assert found.start_bytes == 1025 * PAGE, "the first granule of the area stays"
    (found,) = session.claim(256, 0, 1)
    assert (found.outcome, found.ranges, found.steps) == (REFUSED, 255, [])
    (found,) = Session(cma_trace(512), ["cma:area=4MiB"]).claim(2, 0, 1)
    assert (found.outcome, found.ranges) == (IGNORED, 0)
    assert found.words == "not tried: there is no room for the area"


def test_a_claim_that_finds_nothing_gives_up(session):
    potad, buddy, _ = session.claim(64, 3, 2)
    assert (potad.outcome, potad.start_bytes) == (REFUSED, None)
    assert potad.steps == [Step(1 << i, 64 * PAGE >> i, False) for i in range(4)]
    assert "given up" in potad.words
    assert "no free block" in buddy.words
    assert session.runs["potad"].refused == 1
    assert session.describe("potad", 3, 40) is None


def test_a_claim_of_a_fragmented_space_takes_smaller_chunks(session):
    """5, 6, 7 are free: one chunk of two pages; once 6 has failed, no two pages in a row."""
    session.claim(48, 4, 2)
    potad, *_ = session.claim(2, 0, 3)  # 5..8 are left: [6, 8) is aligned
    assert (potad.start_bytes, potad.steps) == (6 * PAGE, [Step(1, 2 * PAGE, True)])
    session.undo()
    session.fail(6, 3)
    potad, *_ = session.claim(2, 0, 4)
    assert (potad.outcome, potad.steps) == (
        REFUSED,
        [Step(1, 2 * PAGE, False), Step(2, PAGE, False)],
    )


@pytest.mark.parametrize(("size", "align_order"), [(0, 0), (-8, 1), (6, 2), (1, 1)])
def test_a_claim_of_a_wrong_size_is_refused_and_changes_nothing(session, size, align_order):
    runs, owners = session.runs, list(session.owners)
    with pytest.raises(BadSize, match="multiple of the alignment"):
        session.claim(size, align_order, 2, owner="camera")
    assert session.runs is runs
    assert session.owners == owners
    assert session.added == 0


# ---- back, and elsewhere ---------------------------------------------------------------------


def test_undo_goes_back_to_the_very_run(session):
    def seen():
        events = {name: run.events.tolist() for name, run in session.runs.items()}
        return session.ops.tolist(), session.handles, session.added, events

    first = seen()
    session.fail(9, 1)
    second = seen()
    session.claim(16, 4, 3)
    assert session.added == 2
    assert session.undo()
    assert seen() == second
    assert session.undo()
    assert seen() == first
    assert session.undo() is False
    assert seen() == first
    assert granules(session, "potad", 8) == granules(Session(session.trace), "potad", 8)


def test_what_is_not_there_is_told(session):
    before = session.ops
    for moment in (-1, session.length + 1):
        with pytest.raises(BadSize, match="moment"):
            session.fail(9, moment)
    with pytest.raises(BadSize, match="multiple"):
        session.claim(0, -1, 1)
    assert session.ops is before


def test_an_allocator_named_twice_is_replayed_once():
    assert Session(small_trace(), ["potad", "potad"]).names == ["potad"]


def test_an_allocator_that_is_not_there():
    for names in (["potad", "slob"], []):
        with pytest.raises(UnknownName, match="choose among potad, buddy"):
            Session(small_trace(), names)


def test_progress_is_told():
    told = []
    Session(small_trace(), ["buddy", "potad"], progress=lambda share, what: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1], len(told)) == (0, 1, 3)


def test_a_space_of_ones_own_starts_empty():
    session = Session(small_trace(), ["potad", "buddy"], space=Space.ram("256KiB"))
    assert granules(session, "potad", 0) == []
    assert outcomes(session, "potad") == [DONE, DONE, ABSENT, *[DONE] * 5]
    assert granules(session, "potad", 1) == [(0, 3, 1)]


def test_what_cannot_be_replayed_says_why():
    trace = small_trace()
    for names in (ALL, ["recorded"]):
        with pytest.raises(BadSpace, match="recorded machine"):
            Session(trace, names, space=Space.ram("256KiB"))
    with pytest.raises(BadSpace, match=r"small: at its peak the trace holds 36 KiB.*16 KiB"):
        Session(trace, ["potad"], space=Space.ram("16KiB"))
    with pytest.raises(BadSpace, match=r"36 KiB.*more than the space of 32 KiB"):
        Session(trace, ["potad"], space=Space.ram("32KiB"))
    assert Session(trace, ["potad"], space=space_of([(0, 9)], (0, 9))).length == 8, "36 KiB do"
    with pytest.raises(BadSpace, match=r"granule 512 B: the trace small counts 4 KiB"):
        Session(trace, ["potad"], space=Space.ram("256KiB", granule=512))


# ---- a recorded trace ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded():
    return Session(Trace.read(bundled.dataset("thp_split")))


@pytest.fixture
def untouched(recorded):
    yield recorded
    while recorded.undo():
        pass


def test_a_huge_page_that_fails_in_the_middle(untouched):
    """Failed while live: its owner is told; in the end its page is out of service alone."""
    session, events_before = untouched, untouched.runs["potad"].events
    ops, events = session.ops, session.runs["recorded"].events
    huge = np.flatnonzero((ops["verb"] == Verb.ALLOCATE) & (ops["order"] == 9))[0]
    start, index = int(events[huge]["granule"]), int(huge) + 1
    told = {t.allocator: t for t in session.fail(start + 77, index)}["recorded"]
    assert told.outcome == Outcome.POISONED_LIVE
    assert (told.start_bytes, told.size_bytes) == (start * PAGE, 512 * PAGE)
    assert told.handle == ops[huge]["handle"]
    assert told.owner == session.owner(int(ops[huge]["owner"]))
    for name in ALL:
        blocks = session.blocks(name, session.length)
        poison = blocks[blocks["kind"] == POISON]
        assert poison["granule"].tolist() == [start + 77]
        assert np.all(np.diff(blocks["granule"]) >= 0)
    for name in ("potad", "buddy"):
        assert session.runs[name].refused == 0
    assert session.undo()
    assert np.array_equal(session.runs["potad"].events, events_before)


def test_a_camera_claims_8_mib_at_1_mib(untouched):
    index = untouched.length // 2
    potad, buddy, recorded = untouched.claim(2048, 8, index, owner="camera")
    assert potad.outcome == DONE
    assert potad.start_bytes % (1 << 20) == 0
    assert potad.steps[-1].found
    assert potad.size_bytes == potad.steps[-1].chunks * potad.steps[-1].chunk_bytes == 8 << 20
    assert (buddy.outcome, recorded.outcome) == (IGNORED, IGNORED)
    for granule in (potad.start_bytes // PAGE, potad.start_bytes // PAGE + 2047):
        assert untouched.describe("potad", index, granule) is None, "it was free"
        assert untouched.describe("potad", index + 1, granule).owner == "camera"


def test_every_block_is_described_as_it_is(untouched):
    index = untouched.length * 2 // 3
    for name in ALL:
        blocks = untouched.blocks(name, index)
        for block in blocks[:: len(blocks) // 40]:
            last = int(block["granule"]) + (1 << int(block["order"])) - 1
            found = untouched.describe(name, index, last)
            assert found.start_bytes == block["granule"] * PAGE
            assert (found.handle, found.order) == (block["handle"], block["order"])


# ---- soft failures ---------------------------------------------------------------------------


def test_a_soft_failure_moves_what_can_move_and_leaves_what_cannot(session):
    """Granule 1 is in a folio of 4 pages, 9 in a slab of 8; 40 is free."""
    moved = session.fail(1, 1, soft=True)
    assert session.ops[1]["flags"] == Flag.BY_HAND | Flag.MAY_MIGRATE
    for told in moved:
        assert (told.outcome, told.kind, told.soft) == (Outcome.POISONED_FREE, "folio", True)
        assert (told.result, told.told, told.done) == (
            "Recovered", (), "block moved, then taken off"
        )  # fmt: skip
        assert told.words == (
            f"Soft offline: 0x1: invalidated; told: nobody; moved to {told.moved_to_bytes:#x}"
        )
        after = session.describe(told.allocator, 2, told.moved_to_bytes // PAGE)
        assert (after.handle, after.size_bytes) == (0, 4 * PAGE)
        assert session.describe(told.allocator, 2, 0) is None, "the rest of it is free"
        assert session.describe(told.allocator, 2, 1).kind == "poison"
    for told in session.fail(9, 2, soft=True):
        assert told.outcome == Outcome.UNMOVABLE
        assert (told.linux, told.linux_told) == ("Ignored", ())
        assert told.linux_words == "Memory failure: 0x9: unhandlable page."
        potad = told.allocator == "potad"
        assert told.result == ("Failed" if potad else "Ignored")
        assert told.told == (("owner",) if potad else ())
        assert not session.describe(told.allocator, 3, 9).poisoned
    for told in session.fail(40, 3, soft=True):
        assert (told.outcome, told.kind, told.done) == (
            Outcome.POISONED_FREE, "free", "taken off"
        )  # fmt: skip
    for told in session.fail(40, 4, soft=True):
        assert (told.outcome, told.done) == (Outcome.POISONED_BEFORE, "nothing")
        assert "already poisoned" in told.words
    for told in session.fail(64, 5, soft=True):
        assert (told.outcome, told.result, told.linux) == (Outcome.OUTSIDE, "", "")
    assert session.failures().tolist() == [1, 2, 3, 4, 5]
    for _ in range(5):
        assert session.undo()
    assert [outcomes(session, name) for name in ALL] == [[DONE] * 8] * 3


def test_a_hard_failure_in_a_block_that_then_looks_bad(session):
    """What holds failed memory stays where it is, as Linux says of a poisoned page."""
    session.fail(1, 1)
    for told in session.fail(2, 2, soft=True):
        assert told.outcome == Outcome.UNMOVABLE
        assert "migration failed" in told.words
    for told in session.fail(1, 3, soft=True):
        assert "already poisoned" in told.words


def test_a_claim_that_may_migrate_tells_its_cost(session):
    """A failed page leaves one window of 56 pages, and the folio of 4 lies in it."""
    session.fail(60, 0)
    plain = {one.allocator: one for one in session.claim(56, 3, 1)}
    assert plain["potad"].outcome == Outcome.REFUSED
    assert session.undo()
    moved = {one.allocator: one for one in session.claim(56, 3, 1, migrate=True)}
    assert session.ops[1]["flags"] == Flag.BY_HAND | Flag.MAY_MIGRATE
    potad = moved["potad"]
    assert (potad.outcome, potad.start_bytes) == (DONE, 0)
    assert (potad.moved_blocks, potad.moved_bytes) == (1, 4 * PAGE)
    assert [step.found for step in potad.steps] == [False]
    assert (moved["buddy"].moved_blocks, moved["buddy"].moved_bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=12), st.data())
def test_many_ops_go_in_where_they_would_one_after_the_other(added, data):
    ops = np.zeros(8, OP)
    ops["granule"] = np.arange(8)
    session = Session.__new__(Session)
    session.ops, session.handles, session._added = ops, 3, []
    session._replay = lambda made, handles: vars(session).update(ops=made, handles=handles)
    steps, states = [], [ops]
    for number, (place, claims) in enumerate(added):
        op = np.zeros(1, OP)[0]
        op["granule"], op["handle"] = 100 + number, 3 + number if claims else -1
        index = place % (len(states[-1]) + 1)
        steps.append((index, op))
        states.append(np.insert(states[-1], index, op))
    joined = [number > 0 and data.draw(st.booleans()) for number in range(len(steps))]
    first = data.draw(st.integers(0, len(steps)))
    session.extend_all(steps[:first], joined=joined[:first])
    session.extend_all(steps[first:], joined=[False, *joined[first + 1 :]][: len(steps) - first])
    assert np.array_equal(session.ops, states[-1])
    assert session.ops["granule"][session.places_by_hand()].tolist() == [
        100 + number for number in range(len(steps))
    ]
    assert [index for index, _ in session.by_hand()] == [index for index, _ in steps]
    left = len(steps)
    while session.undo():
        left -= 1
        while left and session_joined(joined, first, left):
            left -= 1
        assert np.array_equal(session.ops, states[left])
    assert left == 0
    assert session.handles == 3


def session_joined(joined, first, at):
    """Whether the op at a place went in with the one before it."""
    return joined[at] and at != first
