"""Ops, blocks and spaces made by hand, for tests."""

import numpy as np

from potadlab.core.layout import BLOCK, NONE, OP, Verb
from potadlab.errors import BadSize, BadSpace
from potadlab.kinds import KIND
from potadlab.traces import Trace
from potadlab.units import Space, Zone


def op(verb, handle=NONE, order=0, **fields):
    """One OP[]; what is not said is NONE or 0, `granules` is that of the order."""
    made = np.zeros(1, OP)[0]
    made["verb"], made["handle"], made["order"] = verb, handle, order
    made["granule"], made["into"], made["owner"], made["migratetype"] = NONE, NONE, NONE, 255
    made["granules"] = 1 << order
    for field, value in fields.items():
        made[field] = value
    return made


def ops_of(*ops):
    """OP[] of these ops, 10 ns apart unless they say when."""
    made = np.array(list(ops), OP)
    if not made["time_ns"].any():
        made["time_ns"] = np.arange(len(ops)) * 10
    return made


def allocate(handle, order=0, **fields):
    return op(Verb.ALLOCATE, handle, order, **fields)


def release(handle, order=0, **fields):
    return op(Verb.RELEASE, handle, order, **fields)


def split(handle, order, into):
    return op(Verb.SPLIT, handle, order, into=into)


def claim(handle, granules, align_order, **fields):
    return op(Verb.CLAIM, handle, granules=granules, align_order=align_order, **fields)


def release_claim(handle, granules):
    return op(Verb.RELEASE_CLAIM, handle, granules=granules)


def at(verb, granule, granules=1):
    """FAIL, UNPOISON, ADD_MEMORY: a granule, no handle."""
    return op(verb, granule=granule, granules=granules)


def blocks_of(*rows):
    """BLOCK[] of (granule, order, handle, kind, owner); they were there before the recording."""
    made = np.zeros(len(rows), BLOCK)
    for block, (granule, order, handle, kind, owner) in zip(made, rows, strict=True):
        block["granule"], block["order"], block["handle"] = granule, order, handle
        block["kind"], block["owner"], block["time_ns"] = kind, owner, -1
    return made


def space_of(ranges, *zones, granule_bytes=4096):
    """A space of these ranges; zones as (start, end), in order of trial."""
    named = tuple(Zone(f"zone {number}", *zone) for number, zone in enumerate(zones))
    return Space("made by hand", granule_bytes, tuple(ranges), named)


def made(make):
    """(what `make` gives, ""), or (None, what it says of a size or a space that cannot be)."""
    try:
        return make(), ""
    except (BadSize, BadSpace) as refused:
        return None, str(refused)


STACK = "xfs_buf_get_map;<img src=x onerror=alert(1)>"


def pages_in_use():
    """16 MiB of which each MiB has one page in use: movable at the even ones, else an xfs_buf."""
    start = np.zeros(16, BLOCK)
    start["granule"], start["handle"] = np.arange(16) * 256 + 7, np.arange(16)
    start["kind"] = [KIND["anon" if at in range(8, 16) else "xfs_buf"] for at in range(16)]
    start["owner"], start["time_ns"] = 0, -1
    ops = np.zeros(40, OP)
    ops["verb"], ops["time_ns"] = Verb.DRAIN, np.arange(40) * 100_000_000
    ops["granule"], ops["into"], ops["owner"], ops["handle"] = NONE, NONE, NONE, NONE
    return Trace(
        name="by hand", path=None, metadata={}, ops=ops, handles=16, owners=[STACK], events=40,
        granule_bytes=4096, snapshot="", space=Space.ram("16MiB"), start=start,
        boundaries_assumed=0, kinds_guessed=0,
    )  # fmt: skip
