"""What a failed address asks for, done: the table of `failure`, carried out by an allocator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..core.layout import NONE
from ..errors import OutOfSpace, Pinned
from ..failure import (
    Action,
    Failure,
    Found,
    Place,
    Result,
    State,
    Tells,
    Verdict,
    after_telling,
    decide,
    tell_owner,
)
from ..kinds import KIND, KINDS
from ..units import PAGE_BYTES
from .things import Descriptor

_NOW = (Action.TAKE_OFF, Action.DRAIN_AND_TAKE_OFF, Action.KEEP)
_SPLITS = (Action.SPLIT_AND_RELEASE, Action.SPLIT_AND_MIGRATE)


def fail(allocator: Any, granule: int, address: int, soft: bool, by: str) -> Failure:
    """Carry out what `failure.decide` says; the owner, if it is told, is told once, afterwards."""
    held = allocator._lookup(granule)
    live = held if held is not None and held.kind != "poison" else None
    found = _found(allocator, granule, address, live)
    verdict = decide(found, soft, by)
    verdict, moved_to = _act(allocator, granule, live, verdict, by)
    failure = _failure(allocator, granule, address, live, verdict, by, moved_to)
    callback = allocator.callback(live) if Tells.OWNER in verdict.tells else None
    if callback is None or live is None:
        return failure
    answer = tell_owner(callback, failure)
    final = after_telling(verdict, answer, allocator._where[live.handle] != NONE)
    if soft and final.action in _NOW and final.action != verdict.action:
        allocator.take_off(granule)
    return replace(failure, outcome=final.outcome, words=final.words, action=final.action)


def _found(allocator: Any, granule: int, address: int, live: Descriptor | None) -> Found:
    poisoned = granule in allocator._poisoned
    pfn = address // PAGE_BYTES
    if live is None:
        place = Place.CACHED if allocator.is_cached(granule) else Place.FREE
        return Found(place, poisoned=poisoned, pfn=pfn)
    callback: Callable[[Failure], Any] | None = allocator.callback(live)
    # a chunk of a claim cannot go or be cut alone: as if somebody held it
    pins = max(live.pins, 1) if live.handle in allocator._claims else live.pins
    return Found(
        Place.LIVE, KINDS[KIND[live.kind]], live.order, pins, State(live.state), poisoned,
        callback is not None, pfn=pfn,
    )  # fmt: skip


def _act(
    allocator: Any, granule: int, live: Descriptor | None, verdict: Verdict, by: str
) -> tuple[Verdict, int | None]:
    """(the verdict, which fails where nothing can move; where the block moved to)."""
    action, moved_to = verdict.action, None
    if action in _SPLITS and live is not None:
        _split_down(allocator, granule, live, by)
    if action in (Action.MIGRATE, Action.SPLIT_AND_MIGRATE) and live is not None:
        start = granule if action in _SPLITS else live.start // allocator.space.granule_bytes
        try:
            moved_to = allocator.migrate(start * allocator.space.granule_bytes).to
        except (OutOfSpace, Pinned):
            text = verdict.type_text.replace("migrated and taken off", "migration failed")
            failed = replace(verdict, outcome=Result.FAILED, action=Action.NONE, type_text=text)
            return failed, None
    if action != Action.NONE:
        allocator.take_off(granule)
    if action in (Action.RELEASE, Action.DISSOLVE) and live is not None:
        allocator.release(live.start)
    elif action == Action.SPLIT_AND_RELEASE:
        allocator.release(granule * allocator.space.granule_bytes)
    return verdict, moved_to


def _split_down(allocator: Any, granule: int, live: Descriptor, by: str) -> None:
    """Until the granule is a block of its own: at once, as Linux, or in halves, as POTAD can."""
    unit = allocator.space.granule_bytes
    start, size = live.start, live.size
    if by == "linux" and size > unit:
        allocator.split(start, unit)
        return
    while size > unit:
        size //= 2
        allocator.split(start, size)
        start += size if granule * unit >= start + size else 0


def _failure(
    allocator: Any, granule: int, address: int, live: Descriptor | None, verdict: Verdict,
    by: str, moved_to: int | None,
) -> Failure:  # fmt: skip
    unit = allocator.space.granule_bytes
    return Failure(
        outcome=verdict.outcome, words=verdict.words, kind=live.kind if live else "free",
        owner=live.owner if live else "nobody", start=live.start if live else granule * unit,
        size=live.size if live else unit, address=address, soft=verdict.soft, by=by,
        told=tuple(verdict.tells), action=verdict.action, moved_to=moved_to,
    )  # fmt: skip
