"""Memory failure: what is to be done for an address, by what lives there.  No allocator in it.

`by="linux"` is the table of Linux 6.12 (mm/memory-failure.c: memory_failure, soft_offline_page,
error_states).  `by="potad"` adds what a descriptor with an owner makes possible: owners of slab,
page tables, driver and other kernel memory are told through their kind's `on_failure`, where Linux
ignores the failure and tells nobody; and what a front cache holds is drained and taken out.

Not in the table: what Linux tells apart only while it races with others ("high-order kernel page")
or leaves to the machine (panic, filters, a process that has just read the failed memory).
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntFlag, StrEnum
from typing import Any

from .errors import UnknownName
from .kinds import Kind

BY = ("linux", "potad")
EHWPOISON = 133  # include/uapi/asm-generic/errno.h; Python names it since 3.14
_LRU = ("anon", "file", "shmem")  # rows of memory that Linux can take back
_LOGGED = {  # of soft offline; at other successes Linux prints nothing
    "page already poisoned", "invalidated", "thp split failed", "page migration failed",
    "page isolation failed", "hugepage migration failed", "hugepage isolation failed",
}  # fmt: skip


class State(IntFlag):
    """What a descriptor's `state` word says of its memory; the last two to try the whole table."""

    CLEAN = 0
    DIRTY = 1
    MAPPED = 2  # in page tables of processes
    SWAPCACHE = 4
    MLOCKED = 8
    UNEVICTABLE = 16
    UNMAP_FAILS = 32  # its mappings cannot be undone
    TRUNCATED = 64  # it left its file meanwhile


class Place(StrEnum):
    """Where an address is found."""

    FREE = "free"  # with a kind of failure "hugetlb": in the pool of free huge pages
    CACHED = "cached"  # free, in a front cache: no reference, and in no free list
    LIVE = "live"


class Result(StrEnum):
    """What came of it, as Linux prints it (enum mf_result)."""

    RECOVERED = "Recovered"
    DELAYED = "Delayed"  # will be dealt with later
    FAILED = "Failed"
    IGNORED = "Ignored"  # cannot be dealt with


class Action(StrEnum):
    """What the allocator is to do; never more than one granule leaves service."""

    NONE = "none"
    TAKE_OFF = "take off"  # the free granule leaves service
    DRAIN_AND_TAKE_OFF = "drain and take off"  # out of the front caches first
    RELEASE = "release"  # the block, a single granule, is given up and leaves service
    SPLIT_AND_RELEASE = "split and release"  # into granules; the failed one leaves, the others live
    MIGRATE = "migrate"  # the block moves, then the granule leaves service
    SPLIT_AND_MIGRATE = "split and migrate"  # into granules; the failed one moves and leaves
    DISSOLVE = "dissolve"  # a huge page is given up; all but the granule is free again
    KEEP = "keep"  # failed in place; it leaves service at release


class Tells(StrEnum):
    """Who is told; nobody where none of them is."""

    OWNER = "owner"
    MAPPING = "mapping (EIO)"
    PROCESSES = "processes (SIGBUS)"


@dataclass(frozen=True)
class Found:
    """What is at an address that fails."""

    place: Place
    kind: Kind | None = None
    order: int = 0  # log2 of its granules; above 0, one that Linux can take back is a large folio
    pins: int = 0
    state: State = State.CLEAN
    poisoned: bool = False  # the granule has failed before
    callback: bool = False  # somebody is to be told: the kind has an `on_failure`
    reserved: bool = False  # by kernel or firmware, whatever its kind
    pfn: int = 0  # of the address: / 4096

    @property
    def granules(self) -> int:
        return 1 << self.order

    @property
    def row(self) -> str:
        """Which rows of the table serve: the kind's `failure`."""
        if self.reserved:
            return "reserved"
        return self.kind.failure if self.kind else "none"


@dataclass(frozen=True)
class Verdict:
    """What the table says of a failed address."""

    outcome: Result
    type_text: str  # Linux's words for what it met (MF_MSG_...), or of soft offline
    action: Action
    tells: tuple[Tells, ...]
    pfn: int
    soft: bool
    cause: str = ""  # what Linux logs before, for a hard failure
    refusal: int = errno.EBUSY
    note: str = ""  # what an owner's `on_failure` did wrong

    @property
    def errno(self) -> int:
        """What Linux's function returns, as a positive number: 0 when Recovered or Delayed."""
        done = self.outcome in (Result.RECOVERED, Result.DELAYED)
        return 0 if done else self.refusal

    @property
    def words(self) -> str:
        """The line that Linux logs; of a soft offline that it says nothing of, a line of ours."""
        note = f" ({self.note})" if self.note else ""
        line = f"{self.pfn:#x}: {self.type_text}{note}"
        if not self.soft:
            action = f"recovery action for {self.type_text}: {self.outcome}"
            return f"Memory failure: {self.pfn:#x}: {action}{note}"
        if self.type_text == "unhandlable page.":
            return f"Memory failure: {line}"
        return f"Soft offline: {line}" if self.type_text in _LOGGED else line


@dataclass(frozen=True)
class Failure:
    """A failed address: what came of it, and who was told.  Addresses and sizes in bytes."""

    outcome: Result
    words: str
    kind: str  # "free" where nothing lived
    owner: str
    start: int  # of the block, or of the granule where nothing lived
    size: int
    address: int
    soft: bool
    by: str
    told: tuple[str, ...]  # Tells; empty: nobody
    action: Action
    moved_to: int | None = None  # where the block, or its failed granule's content, lives now

    def __str__(self) -> str:
        return f"{self.words}; told: {', '.join(self.told) or 'nobody'}"


def decide(found: Found, soft: bool, by: str) -> Verdict:
    """What is to be done for an address that fails, or (soft) is to be taken out in time.

    by: "linux", or "potad" with what it adds.  Raises UnknownName for another.
    """
    if by not in BY:
        raise UnknownName(f"failure by {by!r}: take one of {', '.join(BY)}")
    verdict = (_soft if soft else _hard)(found, by)
    return _with_owner(verdict, found, by)


def not_moved(found: Found, by: str) -> Verdict:
    """The verdict of a soft offline where memory found nowhere to move to."""
    return _with_owner(_refused(found, f"{_page(found)} migration failed"), found, by)


def tell_owner(on_failure: Callable[[Failure], Any], failure: Failure) -> Any:
    """Tell an owner; its answer, or the exception that it raised, is for `after_telling`."""
    try:
        return on_failure(failure)
    except Exception as error:
        return error


def after_telling(verdict: Verdict, answer: Any, still_live: bool) -> Verdict:
    """The verdict after an owner was told, by what it answered and whether its block still lives.

    An exception: Failed, with its text.  A block that was released: Recovered.  None: the verdict
    stands (Delayed: it leaves service at release).  A Result or its name: that.  Anything else:
    Failed.  A soft offline has failed nothing yet, so what was released is taken out now, and what
    the owner takes on itself leaves at release.
    """
    if isinstance(answer, BaseException):
        said = " ".join(f"{type(answer).__name__}: {answer}".split())
        return replace(verdict, outcome=Result.FAILED, note=f"on_failure raised {said}")
    if not still_live:
        action = Action.DRAIN_AND_TAKE_OFF if verdict.soft else verdict.action
        return _answered(verdict, Result.RECOVERED, action)
    if answer is None:
        return verdict
    outcome = _outcome_named(answer)
    if outcome is None:
        said = " ".join(repr(answer).split())[:80]
        names = ", ".join(Result)
        note = f"on_failure answered {said}: return None or one of {names}"
        return replace(verdict, outcome=Result.FAILED, note=note)
    promised = verdict.soft and outcome in (Result.RECOVERED, Result.DELAYED)
    return _answered(verdict, outcome, Action.KEEP if promised else verdict.action)


def _answered(verdict: Verdict, outcome: Result, action: Action) -> Verdict:
    """With what the owner made of it; the words of a soft offline say so, since Linux has none."""
    text = verdict.type_text
    if verdict.soft and outcome != verdict.outcome:
        text = f"{outcome.lower()} by its owner"
    return replace(verdict, outcome=outcome, action=action, type_text=text)


def _outcome_named(answer: Any) -> Result | None:
    names = {outcome.casefold(): outcome for outcome in Result}
    return names.get(answer.casefold()) if isinstance(answer, str) else None


# ---- hard -----------------------------------------------------------------------------------


def _hard(found: Found, by: str) -> Verdict:
    """In the order in which memory_failure tests."""
    if found.poisoned:
        again = _line(found, "already poisoned page", Result.FAILED, Action.NONE)
        return replace(again, refusal=EHWPOISON)
    if found.place == Place.FREE:
        if found.row == "hugetlb":
            return _line(found, "free huge page", Result.RECOVERED, Action.DISSOLVE)
        return _line(found, "free buddy page", Result.RECOVERED, Action.TAKE_OFF)
    if found.place == Place.CACHED:
        if by == "potad":
            return _line(found, "free buddy page", Result.RECOVERED, Action.DRAIN_AND_TAKE_OFF)
        # no reference and in no free list: get_any_page gives up after three tries
        return _unhandlable(found, Action.NONE)
    if found.row in _LRU:
        return _lru(found)
    return {"hugetlb": _huge, "dax": _dax}.get(found.row, _ignored)(found)


def _line(
    found: Found,
    type_text: str,
    outcome: Result,
    action: Action,
    *tells: Tells,
    cause: str = "",
) -> Verdict:
    return Verdict(outcome, type_text, action, tells, found.pfn, soft=False, cause=cause)


def _unhandlable(found: Found, action: Action) -> Verdict:
    cause = f"Memory failure: {found.pfn:#x}: unhandlable page."
    return _line(found, "get hwpoison page", Result.IGNORED, action, cause=cause)


def _ignored(found: Found) -> Verdict:
    """Kernel memory: PG_hwpoison is set, so it does not come back at release, and that is all."""
    if found.row == "reserved":
        return _line(found, "reserved kernel page", Result.IGNORED, Action.KEEP)
    if found.row == "none":
        return _line(found, "unknown page", Result.IGNORED, Action.KEEP)
    return _unhandlable(found, Action.KEEP)


def _dax(found: Found) -> Verdict:
    """The device's memory_failure op tells the holder (fsdax: the file system), else processes."""
    tells = (Tells.OWNER,) if found.callback else _processes(found)
    return _line(found, "dax page", Result.RECOVERED, Action.KEEP, *tells)


def _huge(found: Found) -> Verdict:
    tells = _processes(found)
    if _cannot_unmap(found):
        return _line(found, "unmapping failed page", Result.FAILED, Action.KEEP, *tells)
    if found.pins:
        return _referenced(found, "huge page", *tells)
    return _line(found, "huge page", Result.RECOVERED, Action.DISSOLVE, *tells)


def _lru(found: Found) -> Verdict:
    """Anonymous memory and page cache, as hwpoison_user_mappings and error_states see them."""
    if found.order > 0 and found.pins:
        return _line(found, "unsplit thp", Result.FAILED, Action.KEEP, *_processes(found))
    if _cannot_unmap(found):
        tells = _processes(found)
        return _line(found, "unmapping failed page", Result.FAILED, Action.KEEP, *tells)
    swapped = State.SWAPCACHE in found.state
    if State.TRUNCATED in found.state and found.row != "anon" and not swapped:
        return _line(found, "already truncated LRU page", Result.IGNORED, Action.KEEP)
    text, tells = _lru_text(found.state), _lru_tells(found)
    if found.pins:
        return _referenced(found, text, *tells)
    if swapped and State.DIRTY in found.state:
        return _line(found, text, Result.DELAYED, Action.KEEP, *tells)  # killed at swap-in
    if found.row == "shmem" and not swapped:
        return _line(found, text, Result.RECOVERED, Action.KEEP, *tells)  # later reads fail
    action = Action.SPLIT_AND_RELEASE if found.order > 0 else Action.RELEASE
    return _line(found, text, Result.RECOVERED, action, *tells)


def _referenced(found: Found, type_text: str, *tells: Tells) -> Verdict:
    """An extra reference keeps the page (has_extra_refcount)."""
    users = f"{type_text} still referenced by {found.pins} users"
    cause = f"Memory failure: {found.pfn:#x}: {users}"
    return _line(found, type_text, Result.FAILED, Action.KEEP, *tells, cause=cause)


def _lru_text(state: State) -> str:
    """The first match of error_states."""
    dirt = "dirty" if State.DIRTY in state else "clean"
    if State.SWAPCACHE in state:
        return f"{dirt} swapcache page"
    if State.MLOCKED in state:
        return f"{dirt} mlocked LRU page"
    return f"{dirt} {'unevictable ' if State.UNEVICTABLE in state else ''}LRU page"


def _lru_tells(found: Found) -> tuple[Tells, ...]:
    """Processes lose what is dirty or anonymous; a clean copy is read again from file or swap."""
    dirty, swapped = State.DIRTY in found.state, State.SWAPCACHE in found.state
    if found.row == "anon" or swapped:
        return _processes(found) if dirty or not swapped else ()
    return (Tells.MAPPING, *_processes(found)) if dirty else ()


def _processes(found: Found) -> tuple[Tells, ...]:
    return (Tells.PROCESSES,) if State.MAPPED in found.state else ()


def _cannot_unmap(found: Found) -> bool:
    return State.MAPPED in found.state and State.UNMAP_FAILS in found.state


# ---- soft -----------------------------------------------------------------------------------


def _soft(found: Found, by: str) -> Verdict:
    """Nobody is killed: soft_offline_page and soft_offline_in_use_page."""
    if found.poisoned:
        return _offline(found, "page already poisoned", Action.NONE)
    if found.place == Place.FREE and found.row == "hugetlb":
        return _offline(found, "free huge page dissolved, page taken off", Action.DISSOLVE)
    if found.place == Place.FREE:
        return _offline(found, "free page taken off", Action.TAKE_OFF)
    if found.place == Place.CACHED and by == "potad":
        return _offline(found, "free page taken off", Action.DRAIN_AND_TAKE_OFF)
    if found.place == Place.CACHED or not _soft_handlable(found):
        text, ignored = "unhandlable page.", Result.IGNORED
        return Verdict(ignored, text, Action.NONE, (), found.pfn, True, refusal=errno.EIO)
    return _soft_in_use(found)


def _soft_handlable(found: Found) -> bool:
    """HWPoisonHandlable: pages on the LRU lists, and what else can move."""
    if found.row in ("kernel", "driver"):
        return found.kind is not None and found.kind.movable
    return found.row in (*_LRU, "hugetlb")


def _soft_in_use(found: Found) -> Verdict:
    assert found.kind is not None
    page = _page(found)
    large = found.row in _LRU and found.order > 0
    if large and found.pins:
        return _refused(found, "thp split failed")
    if found.pins or _cannot_unmap(found):
        return _refused(found, f"{page} migration failed")
    busy = State.DIRTY | State.MAPPED | State.SWAPCACHE
    if found.row == "file" and not found.state & busy:
        return _offline(found, "invalidated", Action.SPLIT_AND_RELEASE if large else Action.RELEASE)
    if not found.kind.movable:
        return _refused(found, f"{page} isolation failed")
    action = Action.SPLIT_AND_MIGRATE if large else Action.MIGRATE
    return _offline(found, f"{page} migrated and taken off", action)


def _page(found: Found) -> str:
    return "hugepage" if found.row == "hugetlb" else "page"


def _offline(found: Found, type_text: str, action: Action) -> Verdict:
    return Verdict(Result.RECOVERED, type_text, action, (), found.pfn, soft=True)


def _refused(found: Found, type_text: str) -> Verdict:
    return Verdict(Result.FAILED, type_text, Action.NONE, (), found.pfn, soft=True)


# ---- what POTAD adds --------------------------------------------------------------------------


def _with_owner(verdict: Verdict, found: Found, by: str) -> Verdict:
    """Live memory with somebody to tell: the owner knows of each failure once.

    What Linux ignores is then the owner's to deal with.  A soft offline that succeeds loses
    nothing, so nobody needs to know; one that is refused may succeed if the owner lets go.
    """
    told = by == "potad" and found.callback and found.place == Place.LIVE and not found.poisoned
    if not told or (verdict.soft and verdict.outcome == Result.RECOVERED):
        return verdict
    if Tells.OWNER not in verdict.tells:
        verdict = replace(verdict, tells=(Tells.OWNER, *verdict.tells))
    if verdict.outcome != Result.IGNORED or found.row in _LRU:
        return verdict
    block = f"{found.kind.name if found.kind else 'unknown'} block"
    if verdict.soft:
        text = f"{block} in use"
        return replace(verdict, outcome=Result.FAILED, type_text=text, refusal=errno.EBUSY)
    return replace(verdict, outcome=Result.DELAYED, type_text=block, cause="")
