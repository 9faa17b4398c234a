"""One contiguous claim at a moment of a trace: POTAD's steps and CMA's search, side by side.

Each is asked twice: with nothing moved, and with what is movable out of the way.  What moving
costs is told as blocks and bytes copied, and as ranges that were tried in vain.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .core.layout import NONE, OP, Flag, Outcome, Verb
from .errors import BadSize
from .kinds import KIND, KINDS
from .runs import Case, Run, chosen, run_allocator, state_after
from .traces.trace import Trace
from .units import format_size

TRIES_MAX = 255  # EVENT has a byte for how many there were


@dataclass(frozen=True)
class Try:
    """One step of a claim: what was looked for, or at, and what came of it."""

    chunks: int
    chunk_bytes: int
    start_bytes: int | None  # CMA: the range; POTAD: where it was found
    done: bool
    words: str


@dataclass(frozen=True)
class Answer:
    """What came of the claim in one allocator."""

    allocator: str
    may_move: bool
    start_bytes: int | None
    area: tuple[int, int] | None  # CMA: bytes, start and end
    tries: list[Try]
    moved_blocks: int
    moved_bytes: int

    @property
    def done(self) -> bool:
        return self.start_bytes is not None

    @property
    def in_vain(self) -> int:
        """CMA's retries: ranges tried before the one that it got."""
        return sum(not one.done for one in self.tries)

    def as_dict(self) -> dict[str, Any]:
        """The object of `potadlab claim --json`."""
        return asdict(self) | {"done": self.done, "in_vain": self.in_vain}


def claim_at(
    trace: Trace, index: int, size_bytes: int, align_bytes: int, area: str = "256MiB"
) -> list[Answer]:
    """Claim contiguous memory after the first `index` ops, in POTAD and in CMA with such an area.

    Raises BadSize for a size that is no multiple of a power-of-two alignment, UnknownName for an
    area that cannot be.
    """
    unit = trace.granule_bytes
    align = align_bytes // unit
    if align_bytes % unit or align < 1 or align & (align - 1):
        raise BadSize(f"alignment {format_size(align_bytes)}: take a power of two from {unit} B up")
    if size_bytes <= 0 or size_bytes % align_bytes:
        raise BadSize(
            f"size {format_size(size_bytes)}: take a multiple of the alignment, "
            f"{format_size(align_bytes)}"
        )
    specs = ("potad", f"cma:area={area}")
    for spec in specs:
        chosen(spec)
    asked = size_bytes // unit, align.bit_length() - 1
    return [
        _answer(spec, _case(trace, index, *asked, may_move), *asked, may_move)
        for spec in specs
        for may_move in (False, True)
    ]


def _case(trace: Trace, index: int, granules: int, align_order: int, may_move: bool) -> Case:
    op = np.zeros(1, OP)
    op["verb"], op["granules"], op["align_order"] = Verb.CLAIM, granules, align_order
    op["granule"], op["into"], op["owner"], op["migratetype"] = NONE, NONE, NONE, 255
    op["handle"], op["kind"] = trace.handles, KIND["driver"]
    op["flags"] = Flag.BY_HAND | (Flag.MAY_MIGRATE if may_move else 0)
    if index:
        op["time_ns"] = trace.ops[index - 1]["time_ns"]
    ops = np.concatenate([trace.ops[:index], op])
    return Case(trace.space, ops, trace.start, trace.handles + 1)


def _answer(spec: str, case: Case, granules: int, align_order: int, may_move: bool) -> Answer:
    run, unit = run_allocator(spec, case, samples=2), case.space.granule_bytes
    event, moves = run.events[-1], run.moves[run.moves["op"] == len(case.ops) - 1]
    start = int(event["granule"])
    area = None
    if spec.startswith("cma"):
        state = state_after(spec, case)
        base, size = int(state.area[0]["base"]), int(state.area[0]["granules"])
        area = (base * unit, (base + size) * unit) if size else None
        tries = list(_ranges(run, state, granules, align_order, may_move)) if size else []
    else:
        tries = list(_steps(event, granules, unit, len(moves)))
    return Answer(
        allocator=spec,
        may_move=may_move,
        start_bytes=start * unit if event["outcome"] == Outcome.DONE else None,
        area=area,
        tries=tries,
        moved_blocks=len(moves),
        moved_bytes=int((np.int64(1) << moves["order"].astype(np.int64)).sum()) * unit,
    )


# ---- POTAD ----------------------------------------------------------------------------------


def _steps(event: np.void, granules: int, unit: int, moved: int) -> Iterator[Try]:
    """One chunk, two of half the size, ...; at last the window that was emptied."""
    largest, tried = (granules & -granules).bit_length() - 1, int(event["steps"])
    done = event["outcome"] == Outcome.DONE
    start = int(event["granule"]) * unit if done else None
    for place in range(tried):
        order, last = largest - place, done and moved == 0 and place == tried - 1
        words = "found" if last else "not so many free in a row"
        yield Try(granules >> order, unit << order, start if last else None, last, words)
    if moved:
        order = int(event["order"])
        words = f"emptied: {moved:,} blocks moved away"
        yield Try(granules >> order, unit << order, start, True, words)


# ---- CMA ------------------------------------------------------------------------------------


def _ranges(run: Run, state: Any, granules: int, align_order: int, may_move: bool) -> Iterator[Try]:
    """The ranges that the search looked at, in its order, and why it went on."""
    event, unit = run.events[-1], run.case.space.granule_bytes
    done, live = event["outcome"] == Outcome.DONE, run.live(len(run.case.ops) - 1)
    looked = _places(state, granules, align_order, int(event["granule"]) if done else NONE)
    for start, _ in zip(looked, range(int(event["steps"])), strict=False):
        if done and start == event["granule"]:
            yield Try(1, granules * unit, start * unit, True, "free now: found")
            return
        words = _why(live, start, granules, unit, may_move)
        yield Try(1, granules * unit, start * unit, False, words)


def _places(state: Any, granules: int, align_order: int, own: int) -> Iterator[int]:
    """Aligned starts of clear bits, as they were before the claim at `own`."""
    area = state.area[0]
    base, end, bit = int(area["base"]), int(area["base"] + area["granules"]), 1 << area["bit_order"]
    claimed = state.claimed.astype(bool)
    if own != NONE:
        claimed[own - base : own - base + granules] = False
    align = max(1 << align_order, int(bit))
    for start in range(-(-base // align) * align, end - granules + 1, align):
        if not claimed[start - base : start - base + -(-granules // bit) * bit].any():
            yield start


def _why(live: np.ndarray, start: int, granules: int, unit: int, may_move: bool) -> str:
    """What was in the way of a range."""
    after = live["granule"] + (np.int64(1) << live["order"].astype(np.int64))
    inside = live[(live["granule"] < start + granules) & (after > start)]
    stays = inside[[not KINDS[kind].movable for kind in inside["kind"]]] if len(inside) else inside
    if len(stays):
        first = stays[0]
        return f"busy: {KINDS[first['kind']].name} at {int(first['granule']) * unit:#x} stays"
    if may_move:
        return "busy: pinned or failed memory, or no place to move to"
    used = format_size(int((np.int64(1) << inside["order"].astype(np.int64)).sum()) * unit)
    return f"busy: {len(inside):,} blocks ({used}) would have to move"
