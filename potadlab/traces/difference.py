"""Two recordings beside each other: before a patch and after it, one load and another."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.layout import Flag, Verb
from ..errors import BadTrace
from ..kinds import KINDS
from .snapshot import Snapshot
from .trace import Trace

_OWNERS = 5  # whose pages differ most
_FRAMES = 3  # of a stack, innermost first
_STACKS = (
    "{} has call stacks and {} has none: kinds are told by stacks or guessed from flags, and "
    "owners are left out."
)
_HUGE = 9  # order of 2 MiB of 4 KiB pages
CAPTION = "Pages are of the recorded machine. Times are of allocs whose free was recorded too."


@dataclass(frozen=True)
class Row:
    """One quantity of both; None where it is not known."""

    what: str
    values: tuple[float | None, float | None]

    @property
    def ratio(self) -> float | None:
        first, second = self.values
        return None if first is None or second is None or not first else second / first

    @property
    def ratio_words(self) -> str:
        return "" if self.ratio is None else f"{self.ratio:.3g}"


@dataclass(frozen=True)
class Difference:
    """Rows of two traces; what only one of them has counts as 0 in the other."""

    names: tuple[str, str]
    rows: list[Row]
    caption: str = CAPTION

    @classmethod
    def of(cls, first: Trace, second: Trace) -> "Difference":
        found = [quantities(trace) for trace in (first, second)]
        names = [*found[0], *(name for name in found[1] if name not in found[0])]
        rows = [_row(name, found) for name in sorted(names, key=_place)]
        stacks = [_has_stacks(trace) for trace in (first, second)]
        if stacks[0] == stacks[1]:
            return cls((first.name, second.name), [*rows, *_owners(first, second)])
        told = _STACKS.format(*("AB" if stacks[0] else "BA"))
        return cls((first.name, second.name), rows, f"{CAPTION} {told}")

    def as_dict(self) -> dict[str, Any]:
        """For `diff --json`."""
        rows = [
            {"what": row.what, "a": row.values[0], "b": row.values[1], "ratio": row.ratio}
            for row in self.rows
        ]
        return {"a": self.names[0], "b": self.names[1], "caption": self.caption, "rows": rows}


_GROUPS = ("", "allocs of order", "pages of kind", "life", "at the end")


def _place(name: str) -> tuple[int, int]:
    group = max(place for place, start in enumerate(_GROUPS) if name.startswith(start))
    order = int(name.rpartition(" ")[2]) if name.startswith("allocs of order") else 0
    return group, order


def _row(name: str, found: list[dict[str, float | None]]) -> Row:
    counted = name.startswith(_GROUPS[1:3])
    first, second = (one.get(name, 0 if counted else None) for one in found)
    return Row(name, (first, second))


def quantities(trace: Trace) -> dict[str, float | None]:
    """What is compared, by name."""
    info = trace.info()
    seconds = info["duration_s"]
    repaired = ("untraced_unseen", "untraced_reused", "lost_free", "corrupt")
    counts = info["counts"]
    asked = _asked(trace)
    pages = np.left_shift(1, asked["order"].astype(np.int64))
    found: dict[str, float | None] = {
        "seconds": seconds,
        "events per second": trace.events / seconds if seconds else None,
        "allocs": info["allocates"],
        "frees": info["releases"],
        "pages allocated": int(pages.sum()),
        "pages allocated per second": float(pages.sum() / seconds) if seconds else None,
        "peak of live pages": info["peak_live_pages"],
        "blocks never freed": counts["never_freed"],
        "allocs that failed": counts["failed"],
        "events lost": counts["lost_events"],
        "events repaired": sum(counts[name] for name in repaired),
    }
    for order, count in info["orders"].items():
        found[f"allocs of order {order}"] = count
    by_kind = np.bincount(asked["kind"], pages)
    for kind in np.flatnonzero(by_kind):
        found[f"pages of kind {KINDS[kind].name}"] = int(by_kind[kind])
    return found | _lives(trace) | _end(trace)


def _asked(trace: Trace) -> np.ndarray:
    ops = trace.ops
    return ops[(ops["verb"] == Verb.ALLOCATE) & (ops["flags"] & Flag.SYNTHETIC == 0)]


def _lives(trace: Trace) -> dict[str, float | None]:
    """How long blocks lived, of those whose both ends were recorded."""
    ops = trace.ops
    born = np.full(trace.handles, -1, np.int64)
    asked = _asked(trace)
    born[asked["handle"]] = asked["time_ns"]
    freed = ops[(ops["verb"] == Verb.RELEASE) & (ops["flags"] == 0)]
    lives = freed["time_ns"] - born[freed["handle"]]
    lives = lives[born[freed["handle"]] >= 0]
    if not len(lives):
        return {}
    halves = np.percentile(lives, [50, 99]) / 1e6
    return {"life of half the blocks, ms": float(halves[0]), "life of 99 %, ms": float(halves[1])}


def _end(trace: Trace) -> dict[str, float | None]:
    """Free memory in the snapshot after the recording, where there is one."""
    if trace.path is None:
        return {}
    path = trace.path.with_name(trace.path.name.removesuffix(".parquet") + ".after.parquet")
    if not path.is_file():
        return {}
    try:
        after = Snapshot.read(path)
    except BadTrace:
        return {}
    free, large = after.free_pages(_HUGE)
    return {
        "at the end: free pages": free,
        "at the end: share of them in blocks of 2 MiB or more": large / free if free else None,
    }


def _has_stacks(trace: Trace) -> bool:
    """Whether call stacks tell kinds and owners, else flags: the names are others then."""
    return trace.kinds_guessed < len(_asked(trace))


def _owners(first: Trace, second: Trace) -> list[Row]:
    """Pages by owner, of those that differ most: who allocates more, or less."""
    both = [_by_owner(trace) for trace in (first, second)]
    names = set(both[0]) | set(both[1])
    far = sorted(names, key=lambda name: (-abs(both[1].get(name, 0) - both[0].get(name, 0)), name))
    return [
        Row(f"pages by {name}", (both[0].get(name, 0), both[1].get(name, 0)))
        for name in far[:_OWNERS]
    ]


def _by_owner(trace: Trace) -> dict[str, int]:
    asked = _asked(trace)
    asked = asked[asked["owner"] >= 0]
    pages = np.bincount(asked["owner"], np.left_shift(1, asked["order"].astype(np.int64)))
    found: dict[str, int] = {}
    for owner in np.flatnonzero(pages):
        frames = trace.owners[owner].split(";")
        name = " < ".join(frames[:_FRAMES])
        found[name] = found.get(name, 0) + int(pages[owner])
    return found
