"""What a failed address asks for, done: the table of `failure`, carried out by an allocator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..core.layout import NONE
from ..errors import OutOfSpace
from ..failure import (
    Action,
    Failure,
    Found,
    Place,
    State,
    Tells,
    Verdict,
    after_telling,
    decide,
    not_moved,
    tell_owner,
)
from ..kinds import KIND, KINDS
from ..units import PAGE_BYTES
from .things import Descriptor

_NOW = (Action.TAKE_OFF, Action.DRAIN_AND_TAKE_OFF, Action.KEEP)
_MOVES = (Action.MIGRATE, Action.SPLIT_AND_MIGRATE)
_AT_ONCE = 512  # granules that Linux cuts in one go: no folio of its is larger than 2 MiB
_SPLITS = (Action.SPLIT_AND_RELEASE, Action.SPLIT_AND_MIGRATE)


def fail(allocator: Any, granule: int, address: int, soft: bool, by: str) -> Failure:
    """Carry out what `failure.decide` says; the owner, if it is told, is told once, afterwards."""
    held = allocator._lookup(granule)
    live = held if held is not None and held.kind != "poison" else None
    found = _found(allocator, granule, address, live)
    verdict = decide(found, soft, by)
    if live is not None and verdict.action in _MOVES and not _can_move(allocator, live, verdict):
        verdict = not_moved(found, by)
    try:
        moved_to = _act(allocator, granule, live, verdict, by)
    except OutOfSpace:  # free, but below a watermark
        verdict, moved_to = not_moved(found, by), None
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


def _can_move(allocator: Any, live: Descriptor, verdict: Verdict) -> bool:
    """Whether there is room for the block, or for the granule that is cut out of it.

    Linux cuts first, and leaves it cut where that granule finds no room then.
    """
    unit = allocator.space.granule_bytes
    if verdict.action == Action.SPLIT_AND_MIGRATE:
        return bool(allocator.largest_free_bytes >= unit)
    whole = not any(live.start <= failed * unit < live.end for failed in allocator._poisoned)
    return bool(whole and allocator.largest_free_bytes >= live.size)


def _act(
    allocator: Any, granule: int, live: Descriptor | None, verdict: Verdict, by: str
) -> int | None:
    """Do what the verdict says; where the block, or what is cut out of it, moved to."""
    action, unit, moved_to = verdict.action, allocator.space.granule_bytes, None
    if action in _SPLITS and live is not None:
        _split_down(allocator, granule, live, by)
    if action in _MOVES and live is not None:
        moved_to = allocator.migrate(granule * unit if action in _SPLITS else live.start).to
    if action != Action.NONE:
        allocator.take_off(granule)
    if action in (Action.RELEASE, Action.DISSOLVE) and live is not None:
        allocator.release(live.start)
    elif action == Action.SPLIT_AND_RELEASE:
        allocator.release(granule * unit)
    return moved_to


def _split_down(allocator: Any, granule: int, live: Descriptor, by: str) -> None:
    """Until the granule is a block of its own: at once, as Linux, or in halves, as POTAD can."""
    unit = allocator.space.granule_bytes
    start, size = live.start, live.size
    while size > unit:
        at_once = by == "linux" and size <= _AT_ONCE * unit
        size = unit if at_once else size // 2
        allocator.split(start, size)
        start += (granule * unit - start) // size * size


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
