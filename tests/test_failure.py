"""Memory failure: Linux's table row by row, what POTAD adds, and what holds for all."""

import errno
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potadlab.errors import UnknownName
from potadlab.failure import (
    BY,
    EHWPOISON,
    Action,
    Failure,
    Found,
    Place,
    Result,
    State,
    Tells,
    after_telling,
    decide,
    tell_owner,
)
from potadlab.kinds import FAILURES, KIND, KINDS, Kind

FREE, CACHED, LIVE = Place.FREE, Place.CACHED, Place.LIVE
RECOVERED, DELAYED, FAILED, IGNORED = Result
D, M, S, L, U = State.DIRTY, State.MAPPED, State.SWAPCACHE, State.MLOCKED, State.UNEVICTABLE
STUCK, GONE = State.UNMAP_FAILS, State.TRUNCATED
OWNER, EIO, SIGBUS = Tells.OWNER, Tells.MAPPING, Tells.PROCESSES
NONE, TAKE_OFF, DRAIN, RELEASE = (
    Action.NONE, Action.TAKE_OFF, Action.DRAIN_AND_TAKE_OFF, Action.RELEASE,
)  # fmt: skip
SPLIT, MIGRATE, SPLIT_MOVE = Action.SPLIT_AND_RELEASE, Action.MIGRATE, Action.SPLIT_AND_MIGRATE
DISSOLVE, KEEP = Action.DISSOLVE, Action.KEEP
LRU = ("anon", "file", "shmem")


def found(place, kind=None, state=State.CLEAN, **fields):
    return Found(place, KINDS[KIND[kind]] if kind else None, state=State(state), **fields)


def live(kind, state=State.CLEAN, **fields):
    return found(LIVE, kind, state, pfn=0x1234, **fields)


# what is there | Linux's words | outcome | action | who is told; alike by "linux" and by "potad"
HARD = [
    (found(FREE), "free buddy page", RECOVERED, TAKE_OFF, ()),
    (found(FREE, "hugetlb", order=9), "free huge page", RECOVERED, DISSOLVE, ()),
    (found(FREE, poisoned=True), "already poisoned page", FAILED, NONE, ()),
    (live("anon", D | M, poisoned=True), "already poisoned page", FAILED, NONE, ()),
    (live("slab", poisoned=True, callback=True), "already poisoned page", FAILED, NONE, ()),
    # kernel memory, with nobody to tell
    (live("slab"), "get hwpoison page", IGNORED, KEEP, ()),
    (live("ptdesc"), "get hwpoison page", IGNORED, KEEP, ()),
    (live("kernel", order=4), "get hwpoison page", IGNORED, KEEP, ()),
    (live("driver"), "get hwpoison page", IGNORED, KEEP, ()),
    (live("xfs_buf", pins=1), "get hwpoison page", IGNORED, KEEP, ()),
    (live("zpdesc"), "get hwpoison page", IGNORED, KEEP, ()),
    (live("reserved"), "reserved kernel page", IGNORED, KEEP, ()),
    (live("anon", D | M, reserved=True), "reserved kernel page", IGNORED, KEEP, ()),
    (live("unknown"), "unknown page", IGNORED, KEEP, ()),
    (found(LIVE), "unknown page", IGNORED, KEEP, ()),
    # anonymous memory
    (live("anon", M), "clean LRU page", RECOVERED, RELEASE, (SIGBUS,)),
    (live("anon", D | M), "dirty LRU page", RECOVERED, RELEASE, (SIGBUS,)),
    (live("anon", D), "dirty LRU page", RECOVERED, RELEASE, ()),
    (live("anon", D | M | L), "dirty mlocked LRU page", RECOVERED, RELEASE, (SIGBUS,)),
    (live("anon", D | M, pins=1), "dirty LRU page", FAILED, KEEP, (SIGBUS,)),
    (live("anon", D | M | GONE), "dirty LRU page", RECOVERED, RELEASE, (SIGBUS,)),
    # swap cache
    (live("anon", D | S), "dirty swapcache page", DELAYED, KEEP, ()),
    (live("anon", D | S | M), "dirty swapcache page", DELAYED, KEEP, (SIGBUS,)),
    (live("anon", D | S, pins=2), "dirty swapcache page", FAILED, KEEP, ()),
    (live("anon", S), "clean swapcache page", RECOVERED, RELEASE, ()),
    (live("anon", S | M), "clean swapcache page", RECOVERED, RELEASE, ()),
    (live("anon", S, order=4), "clean swapcache page", RECOVERED, SPLIT, ()),
    (live("anon", S | L, pins=1), "clean swapcache page", FAILED, KEEP, ()),
    (live("shmem", D | S), "dirty swapcache page", DELAYED, KEEP, ()),
    (live("shmem", S), "clean swapcache page", RECOVERED, RELEASE, ()),
    # page cache
    (live("file"), "clean LRU page", RECOVERED, RELEASE, ()),
    (live("file", M), "clean LRU page", RECOVERED, RELEASE, ()),
    (live("file", D), "dirty LRU page", RECOVERED, RELEASE, (EIO,)),
    (live("file", D | M), "dirty LRU page", RECOVERED, RELEASE, (EIO, SIGBUS)),
    (live("folio", D), "dirty LRU page", RECOVERED, RELEASE, (EIO,)),
    (live("buffer"), "clean LRU page", RECOVERED, RELEASE, ()),
    (live("file", L), "clean mlocked LRU page", RECOVERED, RELEASE, ()),
    (live("file", D | L), "dirty mlocked LRU page", RECOVERED, RELEASE, (EIO,)),
    (live("file", L | U), "clean mlocked LRU page", RECOVERED, RELEASE, ()),
    (live("file", U), "clean unevictable LRU page", RECOVERED, RELEASE, ()),
    (live("file", D | U), "dirty unevictable LRU page", RECOVERED, RELEASE, (EIO,)),
    (live("file", pins=1), "clean LRU page", FAILED, KEEP, ()),
    (live("file", D, pins=1), "dirty LRU page", FAILED, KEEP, (EIO,)),
    (live("file", GONE), "already truncated LRU page", IGNORED, KEEP, ()),
    (live("file", D | M | STUCK), "unmapping failed page", FAILED, KEEP, (SIGBUS,)),
    (live("file", D | M | STUCK | GONE), "unmapping failed page", FAILED, KEEP, (SIGBUS,)),
    (live("file", STUCK), "clean LRU page", RECOVERED, RELEASE, ()),
    (live("shmem"), "clean LRU page", RECOVERED, KEEP, ()),
    (live("shmem", D | M), "dirty LRU page", RECOVERED, KEEP, (EIO, SIGBUS)),
    (live("shmem", pins=1), "clean LRU page", FAILED, KEEP, ()),
    # large folios: split first
    (live("anon", D | M, order=9), "dirty LRU page", RECOVERED, SPLIT, (SIGBUS,)),
    (live("large_folio", order=2), "clean LRU page", RECOVERED, SPLIT, ()),
    (live("anon", D | M, order=9, pins=1), "unsplit thp", FAILED, KEEP, (SIGBUS,)),
    (live("file", order=2, pins=3), "unsplit thp", FAILED, KEEP, ()),
    (live("shmem", D, order=9), "dirty LRU page", RECOVERED, KEEP, (EIO,)),
    # huge pages
    (live("hugetlb", M, order=9), "huge page", RECOVERED, DISSOLVE, (SIGBUS,)),
    (live("hugetlb", order=9), "huge page", RECOVERED, DISSOLVE, ()),
    (live("hugetlb", M, order=9, pins=1), "huge page", FAILED, KEEP, (SIGBUS,)),
    (live("hugetlb", M | STUCK, order=9), "unmapping failed page", FAILED, KEEP, (SIGBUS,)),
    # device memory
    (live("dax", M), "dax page", RECOVERED, KEEP, (SIGBUS,)),
    (live("dax", M, callback=True), "dax page", RECOVERED, KEEP, (OWNER,)),
]
SOFT = [
    (found(FREE), "free page taken off", RECOVERED, TAKE_OFF, ()),
    (found(FREE, "hugetlb", order=9), "free huge page dissolved, page taken off", RECOVERED,
     DISSOLVE, ()),
    (live("anon", D | M, poisoned=True), "page already poisoned", RECOVERED, NONE, ()),
    (found(FREE, poisoned=True), "page already poisoned", RECOVERED, NONE, ()),
    (live("file"), "invalidated", RECOVERED, RELEASE, ()),
    (live("file", order=4), "invalidated", RECOVERED, SPLIT, ()),
    (live("file", U), "invalidated", RECOVERED, RELEASE, ()),
    (live("file", M), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("file", D), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("shmem"), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("anon"), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("anon", D | M), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("anon", D | S), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("anon", D | M, order=9), "page migrated and taken off", RECOVERED, SPLIT_MOVE, ()),
    (live("anon", D | M, order=9, pins=1), "thp split failed", FAILED, NONE, ()),
    (live("anon", D | M, pins=1), "page migration failed", FAILED, NONE, ()),
    (live("file", pins=1), "page migration failed", FAILED, NONE, ()),
    (live("anon", D | M | STUCK), "page migration failed", FAILED, NONE, ()),
    (live("hugetlb", M, order=9), "hugepage migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("hugetlb", order=9, pins=1), "hugepage migration failed", FAILED, NONE, ()),
    (live("slab"), "unhandlable page.", IGNORED, NONE, ()),
    (live("ptdesc"), "unhandlable page.", IGNORED, NONE, ()),
    (live("driver"), "unhandlable page.", IGNORED, NONE, ()),
    (live("reserved"), "unhandlable page.", IGNORED, NONE, ()),
    (live("anon", D | M, reserved=True), "unhandlable page.", IGNORED, NONE, ()),
    (live("dax", M), "unhandlable page.", IGNORED, NONE, ()),
    (found(LIVE), "unhandlable page.", IGNORED, NONE, ()),
    (live("zpdesc"), "page migrated and taken off", RECOVERED, MIGRATE, ()),
    (live("zpdesc", pins=1), "page migration failed", FAILED, NONE, ()),
]  # fmt: skip
# ... and where the two differ: (what is there, soft, by, ...)
APART = [
    (found(CACHED), False, "linux", "get hwpoison page", IGNORED, NONE, ()),
    (found(CACHED), False, "potad", "free buddy page", RECOVERED, DRAIN, ()),
    (found(CACHED), True, "linux", "unhandlable page.", IGNORED, NONE, ()),
    (found(CACHED), True, "potad", "free page taken off", RECOVERED, DRAIN, ()),
    *(
        row
        for kind in ("slab", "ptdesc", "driver", "kernel", "xfs_buf", "extent_buffer", "swap")
        for row in [
            (live(kind, callback=True), False, "linux", "get hwpoison page", IGNORED, KEEP, ()),
            (live(kind, callback=True), False, "potad", f"{kind} block", DELAYED, KEEP, (OWNER,)),
        ]
    ),
    (live("slab", callback=True), True, "linux", "unhandlable page.", IGNORED, NONE, ()),
    (live("slab", callback=True), True, "potad", "slab block in use", FAILED, NONE, (OWNER,)),
    (live("zpdesc", callback=True), True, "potad", "page migrated and taken off", RECOVERED,
     MIGRATE, ()),
    (live("zpdesc", callback=True, pins=1), True, "potad", "page migration failed", FAILED, NONE,
     (OWNER,)),
    (live("reserved", callback=True), False, "potad", "reserved block", DELAYED, KEEP, (OWNER,)),
    (live("unknown", callback=True), False, "potad", "unknown block", DELAYED, KEEP, (OWNER,)),
    (live("file", D | M, callback=True), False, "linux", "dirty LRU page", RECOVERED, RELEASE,
     (EIO, SIGBUS)),
    (live("file", D | M, callback=True), False, "potad", "dirty LRU page", RECOVERED, RELEASE,
     (OWNER, EIO, SIGBUS)),
    (live("file", GONE, callback=True), False, "potad", "already truncated LRU page", IGNORED,
     KEEP, (OWNER,)),
    (live("dax", M, callback=True), False, "potad", "dax page", RECOVERED, KEEP, (OWNER,)),
]  # fmt: skip
TABLE = [
    *((row[0], False, by, *row[1:]) for row in HARD for by in BY),
    *((row[0], True, by, *row[1:]) for row in SOFT for by in BY),
    *APART,
]


def named(row):
    there, soft, by = row[:3]
    kind = there.kind.name if there.kind else ""
    facts = [there.place, kind, str(there.state), f"order {there.order}", f"pins {there.pins}"]
    facts += ["poisoned"] * there.poisoned + ["callback"] * there.callback
    return " ".join([*facts, "soft" if soft else "hard", by])


@pytest.mark.parametrize("row", TABLE, ids=named)
def test_table(row):
    there, soft, by, *expected = row
    verdict = decide(there, soft, by)
    assert [verdict.type_text, verdict.outcome, verdict.action, verdict.tells] == expected


def test_the_table_has_every_row_of_every_kind_of_memory():
    for rows in (HARD, SOFT):
        assert {row[0].row for row in rows if row[0].place == LIVE} == set(FAILURES)
    assert {row[4] for row in TABLE} == set(Result)
    assert {row[5] for row in TABLE} == set(Action)
    assert {who for row in TABLE for who in row[6]} == set(Tells)


# ---- the words and the number ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "soft", "by", "words", "number"),
    [
        (live("file", D), False, "linux",
         "Memory failure: 0x1234: recovery action for dirty LRU page: Recovered", 0),
        (live("anon", D | S), False, "linux",
         "Memory failure: 0x1234: recovery action for dirty swapcache page: Delayed", 0),
        (live("slab"), False, "linux",
         "Memory failure: 0x1234: recovery action for get hwpoison page: Ignored", errno.EBUSY),
        (live("slab", callback=True), False, "potad",
         "Memory failure: 0x1234: recovery action for slab block: Delayed", 0),
        (live("anon", poisoned=True), False, "linux",
         "Memory failure: 0x1234: recovery action for already poisoned page: Failed", EHWPOISON),
        (live("anon", poisoned=True), True, "linux",
         "Soft offline: 0x1234: page already poisoned", 0),
        (live("file"), True, "linux", "Soft offline: 0x1234: invalidated", 0),
        (live("anon", order=9, pins=1), True, "linux",
         "Soft offline: 0x1234: thp split failed", errno.EBUSY),
        (live("anon", pins=1), True, "linux",
         "Soft offline: 0x1234: page migration failed", errno.EBUSY),
        (live("slab"), True, "linux", "Memory failure: 0x1234: unhandlable page.", errno.EIO),
        (live("slab", callback=True), True, "potad", "0x1234: slab block in use", errno.EBUSY),
        (live("anon", D), True, "linux", "0x1234: page migrated and taken off", 0),
    ],
)  # fmt: skip
def test_words_are_those_that_linux_logs(there, soft, by, words, number):
    verdict = decide(there, soft, by)
    assert (verdict.words, verdict.errno) == (words, number)


def test_what_linux_logs_before_says_why():
    pinned = decide(live("anon", D, pins=2), False, "linux")
    assert pinned.cause == "Memory failure: 0x1234: dirty LRU page still referenced by 2 users"
    slab = decide(live("slab"), False, "linux")
    assert slab.cause == "Memory failure: 0x1234: unhandlable page."
    assert decide(live("slab", callback=True), False, "potad").cause == ""


@pytest.mark.parametrize("by", ["", "Linux", "xen", None])
def test_by_is_linux_or_potad(by):
    with pytest.raises(UnknownName, match="linux, potad"):
        decide(found(FREE), False, by)


# ---- what holds for all ----------------------------------------------------------------------

SOMEHOW = [
    Kind(f"{failure} {movable}", 0, movable, "", "", failure)
    for failure, movable in product(FAILURES, (False, True))
]
everything = st.builds(
    Found,
    place=st.sampled_from(Place),
    kind=st.sampled_from([None, *KINDS, *SOMEHOW]),
    order=st.integers(0, 18),
    pins=st.integers(0, 3),
    state=st.integers(0, 127).map(State),
    poisoned=st.booleans(),
    callback=st.booleans(),
    reserved=st.booleans(),
    pfn=st.integers(0, 1 << 36),
)


def every_found():
    """Each combination: kinds by row and whether they move, states with all seven flags."""
    flags = product(
        [None, *SOMEHOW], (0, 9), (0, 2), map(State, range(128)), (False, True), (False, True)
    )
    for kind, order, pins, state, callback, reserved in flags:
        yield Found(LIVE, kind, order, pins, state, callback=callback, reserved=reserved)
    for place, kind, poisoned, callback in product(
        Place, [None, *SOMEHOW], (False, True), (False, True)
    ):
        yield Found(place, kind, poisoned=poisoned, callback=callback)


def assert_holds(there, soft, by):
    verdict = decide(there, soft, by)
    assert verdict == decide(there, soft, by)
    assert verdict.type_text in verdict.words
    assert (verdict.errno == 0) == (verdict.outcome in (RECOVERED, DELAYED))
    assert list(verdict.tells) == [who for who in Tells if who in verdict.tells]
    if there.place != LIVE or there.poisoned:
        assert verdict.tells == ()  # free memory has nobody; of a failure one hears once
    if there.poisoned:
        assert verdict.action == NONE
    if by == "linux" and there.row != "dax":
        assert OWNER not in verdict.tells
    if not there.callback:
        assert OWNER not in verdict.tells
    if there.callback and by == "potad" and there.place == LIVE and not there.poisoned:
        assert OWNER in verdict.tells or (soft and verdict.outcome == RECOVERED)
    if State.MAPPED not in there.state:
        assert SIGBUS not in verdict.tells
    if soft:
        assert not {SIGBUS, EIO} & set(verdict.tells)
        assert verdict.action != KEEP
        assert (verdict.action != NONE) == (verdict.outcome == RECOVERED and not there.poisoned)
    assert_neighbours_go_on(there, soft, verdict)


def assert_neighbours_go_on(there, soft, verdict):
    """One granule of the block leaves service; nothing else is lost, but of a huge page."""
    living, taken = after(there, verdict.action)
    assert taken <= {0}
    if there.place == LIVE and there.row != "hugetlb":
        assert set(range(1, min(there.granules, 8))) <= living
    if there.place == LIVE and soft and verdict.outcome == FAILED:
        assert (living, taken) == (set(range(min(there.granules, 8))), set())
    if there.place == LIVE and there.pins and not there.poisoned:
        assert 0 in living  # whoever pins it still has it, though it may have failed


def after(there, action):
    """(granules whose content lives on somewhere, granules out of service): granule 0 fails."""
    block = set(range(min(there.granules, 8))) if there.place == LIVE else set()
    return {
        NONE: (block, set()),
        KEEP: (block, set()),
        TAKE_OFF: (block, {0}),
        DRAIN: (block, {0}),
        RELEASE: (set(), {0}),
        SPLIT: (block - {0}, {0}),
        MIGRATE: (block, {0}),
        SPLIT_MOVE: (block, {0}),
        DISSOLVE: (set(), {0}),
    }[action]


def test_every_combination_has_a_verdict():
    for there in every_found():
        for soft, by in product((False, True), BY):
            assert_holds(there, soft, by)


@given(everything, st.booleans(), st.sampled_from(BY))
def test_whatever_is_found_has_a_verdict(there, soft, by):
    assert_holds(there, soft, by)


@given(everything, st.booleans())
def test_without_owners_and_caches_potad_does_what_linux_does(there, soft):
    alone = replace(there, callback=False)
    if alone.place != CACHED:
        assert decide(alone, soft, "linux") == decide(alone, soft, "potad")


# ---- what an owner answers -------------------------------------------------------------------

HARD_SLAB = decide(live("slab", callback=True), False, "potad")
SOFT_SLAB = decide(live("slab", callback=True), True, "potad")


@pytest.mark.parametrize(
    ("verdict", "answer", "still_live", "outcome", "action", "words"),
    [
        (HARD_SLAB, None, True, DELAYED, KEEP, "slab block: Delayed"),
        (HARD_SLAB, None, False, RECOVERED, KEEP, "slab block: Recovered"),
        (HARD_SLAB, Result.FAILED, True, FAILED, KEEP, "slab block: Failed"),
        (HARD_SLAB, "recovered", True, RECOVERED, KEEP, "slab block: Recovered"),
        (HARD_SLAB, "Ignored", True, IGNORED, KEEP, "slab block: Ignored"),
        (HARD_SLAB, "Failed", False, RECOVERED, KEEP, "slab block: Recovered"),
        (HARD_SLAB, ValueError("no\nway"), True, FAILED, KEEP,
         "slab block: Failed (on_failure raised ValueError: no way)"),
        (HARD_SLAB, ValueError("after"), False, FAILED, KEEP,
         "slab block: Failed (on_failure raised ValueError: after)"),
        (HARD_SLAB, 42, True, FAILED, KEEP,
         "slab block: Failed (on_failure answered 42: return None or one of "
         "Recovered, Delayed, Failed, Ignored)"),
        (HARD_SLAB, "done", True, FAILED, KEEP,
         "slab block: Failed (on_failure answered 'done': return None or one of "
         "Recovered, Delayed, Failed, Ignored)"),
        (SOFT_SLAB, None, True, FAILED, NONE, "0x1234: slab block in use"),
        (SOFT_SLAB, None, False, RECOVERED, DRAIN, "0x1234: recovered by its owner"),
        (SOFT_SLAB, "Delayed", True, DELAYED, KEEP, "0x1234: delayed by its owner"),
        (SOFT_SLAB, "Ignored", True, IGNORED, NONE, "0x1234: ignored by its owner"),
        (SOFT_SLAB, RuntimeError("x"), True, FAILED, NONE,
         "0x1234: slab block in use (on_failure raised RuntimeError: x)"),
    ],
)  # fmt: skip
def test_what_an_owner_answers_decides(verdict, answer, still_live, outcome, action, words):
    told = after_telling(verdict, answer, still_live)
    assert (told.outcome, told.action, told.tells) == (outcome, action, (OWNER,))
    assert told.words.endswith(words)


def failure_of(verdict, **fields):
    return Failure(
        verdict.outcome, verdict.words, "slab", "cache 7", 0x1234000, 4096, 0x1234567, verdict.soft,
        "potad", verdict.tells, verdict.action, **fields,
    )  # fmt: skip


def test_an_owner_is_called_once_and_its_error_is_an_answer():
    calls = []

    def refuse(failure):
        calls.append(failure)
        raise OSError("busy")

    failure = failure_of(HARD_SLAB)
    answer = tell_owner(refuse, failure)
    assert calls == [failure]
    assert isinstance(answer, OSError)
    assert tell_owner(lambda told: told.owner, failure) == "cache 7"
    with pytest.raises(KeyboardInterrupt):
        tell_owner(interrupt, failure)


def interrupt(failure):
    raise KeyboardInterrupt


def test_a_failure_says_its_words_and_who_was_told():
    words = "Memory failure: 0x1234: recovery action for slab block: Delayed"
    assert str(failure_of(HARD_SLAB)) == f"{words}; told: owner"
    assert str(replace(failure_of(HARD_SLAB), told=())).endswith("; told: nobody")
    assert failure_of(HARD_SLAB).outcome == "Delayed"
    assert failure_of(HARD_SLAB).moved_to is None
