"""What people look for on a map: an address, a range, a kind, an owner; and what a range holds."""

from dataclasses import dataclass

import numpy as np

from ..errors import BadSize
from ..kinds import KIND, KINDS
from ..potad.reckoning import gaps
from ..units import format_size, parse_size
from . import words

KINDS_NAMED = 6  # of a range, the rest in one


@dataclass(frozen=True)
class Sought:
    """What a text asks for: granules [low, high), one granule, or blocks by a word."""

    low: int = -1
    high: int = -1
    word: str = ""


def read(text: str, granule_bytes: int) -> Sought:
    """What is sought: "0x12340", "4GiB", "4GiB-5GiB" (both ends), else a kind or part of an owner.

    Raises BadSize for a number that is none, or a range that ends before it begins.
    """
    text = text.strip()
    if not text[:1].isdigit():
        return Sought(word=text)
    ends = [part.strip() for part in text.replace("..", "-").split("-")]
    if len(ends) > 2:
        raise BadSize(f"range {text!r}: write it as 4GiB-5GiB or 0x1000-0x8000")
    low, *rest = [_address(end) // granule_bytes for end in ends]
    if not rest:
        return Sought(low, low + 1)
    if rest[0] <= low:
        raise BadSize(f"range {text!r} ends before it begins")
    return Sought(low, rest[0])


def _address(text: str) -> int:
    if text[:2].lower() != "0x":
        return parse_size(text)
    try:
        return int(text, 16)
    except ValueError:
        raise BadSize(f"address {text!r} is not understood: write 0x1a21c0000 or 6GiB") from None


def matching(blocks: np.ndarray, owners: list[str], word: str) -> np.ndarray:
    """i8[] granules of the BLOCK[] of this kind, else of owners whose name has the word in it."""
    if word in KIND:
        return blocks["granule"][blocks["kind"] == KIND[word]]
    sought = word.casefold()
    found = [number for number, name in enumerate(owners) if sought in name.casefold()]
    return blocks["granule"][np.isin(blocks["owner"], found)]


@dataclass(frozen=True)
class Held:
    """What granules [low, high) hold; all but `blocks` and `by_kind` in granules."""

    size: int
    blocks: int
    by_kind: list[tuple[str, int, int]]  # kind, blocks, granules; the most first
    free: int
    largest_free: int  # in a row
    outside: int  # not in service
    failed: int


def held(blocks: np.ndarray, ranges: np.ndarray, low: int, high: int) -> Held:
    """Of BLOCK[] in address order, failed granules included, and ranges in service (i8[n, 2])."""
    poison = KIND["poison"]
    failed = blocks["granule"][blocks["kind"] == poison]
    live = blocks[blocks["kind"] != poison]
    ends = live["granule"] + np.left_shift(np.int64(1), live["order"].astype(np.int64))
    reach = (ends > low) & (live["granule"] < high)
    sizes = np.minimum(ends[reach], high) - np.maximum(live["granule"][reach], low)
    kinds = live["kind"][reach]
    counts = np.bincount(kinds, minlength=256)
    sums = np.bincount(kinds, sizes, minlength=256).astype(np.int64)
    present = sorted(np.flatnonzero(counts), key=lambda kind: -sums[kind])
    everywhere = np.array(gaps(blocks, ranges, [(0, max(high, 1 << 62))])).reshape(-1, 2)
    free = np.maximum(np.diff(np.clip(everywhere, low, high), axis=1), 0)
    served = int(np.diff(np.clip(ranges, low, high), axis=1).sum())
    return Held(
        size=high - low,
        blocks=len(kinds),
        by_kind=[(KINDS[kind].name, int(counts[kind]), int(sums[kind])) for kind in present],
        free=int(free.sum()),
        largest_free=int(free.max(initial=0)),
        outside=high - low - served,
        failed=int(np.count_nonzero((failed >= low) & (failed < high))),
    )


def told(name: str, found: Held, granule_bytes: int) -> str:
    """A line on what a range holds in one allocator."""
    size = lambda granules: format_size(granules * granule_bytes)  # noqa: E731
    kinds = [f"{kind} {size(many)} in {count:,}" for kind, count, many in found.by_kind]
    if len(kinds) > KINDS_NAMED:
        rest = sum(many for _, _, many in found.by_kind[KINDS_NAMED:])
        kinds = [*kinds[:KINDS_NAMED], f"others {size(rest)}"]
    parts = [f"{found.blocks:,} blocks" + (f" ({', '.join(kinds)})" if kinds else "")]
    parts.append(f"free {size(found.free)}, at most {size(found.largest_free)} in a row")
    if found.failed:
        parts.append(f"failed {size(found.failed)}")
    if found.outside:
        parts.append(f"out of service {size(found.outside)}")
    return f"{name}: {'; '.join(parts)}"


def heading(low: int, high: int, granule_bytes: int) -> str:
    """The line above those."""
    ends = (words.address(end * granule_bytes) for end in (low, high))
    return f"range {' to '.join(ends)}, {format_size((high - low) * granule_bytes)}:"
