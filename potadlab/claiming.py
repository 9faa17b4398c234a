"""One contiguous claim at a moment of a trace: POTAD's steps and CMA's search, side by side.

Each is asked twice: with nothing moved, and with what is movable out of the way.  What moving
costs is told as blocks and bytes copied, and as ranges that were tried in vain.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .core.layout import NONE, OP, Flag, Outcome, Verb
from .errors import BadSize
from .kinds import KIND, KINDS
from .runs import Case, Run, chosen, outcomes_of, run_allocator, state_after
from .traces.trace import Trace
from .units import format_size

Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done


def _silent(share: float, what: str) -> None:
    """Nobody wants to know."""


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
    case = Case(trace.space, trace.ops, trace.start, trace.handles)
    return ask(case, index, size_bytes, align_bytes, area).answers


@dataclass(frozen=True)
class Asked:
    """A claim at a moment: the answers, and what was there before it."""

    index: int
    size_bytes: int
    align_bytes: int
    answers: list[Answer]
    before: dict[str, np.ndarray]  # by allocator: BLOCK[], failed granules included
    ranges: np.ndarray  # i8[n, 2] granules in service


def ask(
    case: Case,
    index: int,
    size_bytes: int,
    align_bytes: int,
    area: str = "256MiB",
    progress: Progress = _silent,
) -> Asked:
    """Claim after the first `index` ops of a case, in each allocator without and with moving.

    Raises what `claim_at` does.
    """
    granules, align_order = _asked(case, size_bytes, align_bytes)
    specs = _specs(area)
    answers, before, ranges = [], {}, case.ranges
    ways = [(spec, may_move) for spec in specs for may_move in (False, True)]
    for done, (spec, may_move) in enumerate(ways):
        progress(done / len(ways), f"claiming in {spec}")
        one = _case(case, index, granules, align_order, may_move)
        answer, run = _answer(spec, one, granules, align_order, may_move)
        answers.append(answer)
        if not may_move:
            before[spec], ranges = run.blocks(index), run.in_service(index)
    return Asked(index, size_bytes, align_bytes, answers, before, ranges)


def _specs(area: str) -> tuple[str, str]:
    specs = "potad", f"cma:area={area}"
    for spec in specs:
        chosen(spec)
    return specs


def _asked(case: Case, size_bytes: int, align_bytes: int) -> tuple[int, int]:
    """(granules, log2 of the alignment in granules)."""
    unit = case.space.granule_bytes
    align = align_bytes // unit
    if align_bytes % unit or align < 1 or align & (align - 1):
        raise BadSize(f"alignment {format_size(align_bytes)}: take a power of two from {unit} B up")
    if size_bytes <= 0 or size_bytes % align_bytes:
        raise BadSize(
            f"size {format_size(size_bytes)}: take a multiple of the alignment, "
            f"{format_size(align_bytes)}"
        )
    return size_bytes // unit, align.bit_length() - 1


def _op(verb: Verb, granules: int, handle: int, time_ns: int) -> np.ndarray:
    op = np.zeros(1, OP)
    op["verb"], op["granules"], op["handle"], op["time_ns"] = verb, granules, handle, time_ns
    op["granule"], op["into"], op["owner"], op["migratetype"] = NONE, NONE, NONE, 255
    op["kind"], op["flags"] = KIND["driver"], Flag.BY_HAND
    return op


def _case(case: Case, index: int, granules: int, align_order: int, may_move: bool) -> Case:
    time_ns = int(case.ops[index - 1]["time_ns"]) if index else 0
    op = _op(Verb.CLAIM, granules, case.handles, time_ns)
    op["align_order"] = align_order
    op["flags"] = Flag.BY_HAND | (Flag.MAY_MIGRATE if may_move else 0)
    return replace(case, ops=np.concatenate([case.ops[:index], op]), handles=case.handles + 1)


# ---- over a whole trace ---------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """Claims of several sizes at several moments, in one allocator, in one way."""

    allocator: str
    may_move: bool
    size_bytes: np.ndarray  # i8[size]
    index: np.ndarray  # i8[moment]  ops done
    done: np.ndarray  # bool[size, moment]
    moved_bytes: np.ndarray  # i8[size, moment]
    in_vain: np.ndarray  # i8[size, moment]  ranges or steps tried before


def survey(
    case: Case,
    sizes: Sequence[int],
    align_bytes: int,
    moments: int,
    area: str = "256MiB",
    progress: Progress = _silent,
) -> list[Survey]:
    """What comes of claims over the whole trace, by size; each is given back at once.

    sizes: bytes, ascending; moments: how many, evenly over the ops.  Each size and way is a replay
    of its own; in it, what an earlier claim has moved stays moved.  Raises what `claim_at` does.
    """
    asked = [_asked(case, size, align_bytes) for size in sizes]
    if moments < 1:
        raise BadSize(f"{moments} moments: take one or more")
    at = np.unique(np.linspace(0, len(case.ops), moments + 1).astype(np.int64)[1:])
    ways = [(spec, may_move) for spec in _specs(area) for may_move in (False, True)]
    found = []
    for way, (spec, may_move) in enumerate(ways):
        rows = []
        for number, (granules, align_order) in enumerate(asked):
            share = (way + number / len(asked)) / len(ways)
            size = format_size(granules * case.space.granule_bytes)
            progress(share, f"claiming {size} in {spec}")
            rows.append(_claimed_at(spec, case, at, granules, align_order, may_move))
        done, moved, in_vain = (np.array(part) for part in zip(*rows, strict=True))
        found.append(Survey(spec, may_move, np.array(sizes), at, done, moved, in_vain))
    return found


def _claimed_at(
    spec: str, case: Case, at: np.ndarray, granules: int, align_order: int, may_move: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(done, bytes moved, tried in vain) of a claim after each of so many ops."""
    pairs = []
    for number, index in enumerate(at.tolist()):
        claim = _case(case, index, granules, align_order, may_move).ops[-1:].copy()
        claim["handle"] += number
        handle, time_ns = int(claim["handle"][0]), int(claim["time_ns"][0])
        pairs += [claim, _op(Verb.RELEASE_CLAIM, granules, handle, time_ns)]
    ops = np.insert(case.ops, np.repeat(at, 2), np.concatenate(pairs))
    places = at + 2 * np.arange(len(at))
    events, moves = outcomes_of(spec, replace(case, ops=ops, handles=case.handles + len(at)))
    done = events["outcome"][places] == Outcome.DONE
    moves = moves[np.isin(moves["op"], places)]  # not of what else moves: soft failures, claims
    sizes = np.int64(case.space.granule_bytes) << moves["order"].astype(np.int64)
    which = np.searchsorted(places, moves["op"])
    moved = np.bincount(which, sizes, minlength=len(at)).astype(np.int64)
    emptied = spec.startswith("potad") & (moved > 0)
    return done, moved, events["steps"][places] - (done & ~emptied)


def _answer(
    spec: str, case: Case, granules: int, align_order: int, may_move: bool
) -> tuple[Answer, Run]:
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
    answer = Answer(
        allocator=spec,
        may_move=may_move,
        start_bytes=start * unit if event["outcome"] == Outcome.DONE else None,
        area=area,
        tries=tries,
        moved_blocks=len(moves),
        moved_bytes=int((np.int64(1) << moves["order"].astype(np.int64)).sum()) * unit,
    )
    return answer, run


# ---- POTAD ----------------------------------------------------------------------------------


def _steps(event: np.void, granules: int, unit: int, moved: int) -> Iterator[Try]:
    """One chunk, two of half the size, ...; at last the window that was emptied."""
    largest, tried = (granules & -granules).bit_length() - 1, int(event["steps"])
    done = bool(event["outcome"] == Outcome.DONE)
    start = int(event["granule"]) * unit if done else None
    for place in range(tried):
        order, last = largest - place, done and moved == 0 and place == tried - 1
        words = "found" if last else "not so many free in a row"
        yield Try(granules >> order, unit << order, start if last else None, last, words)
    if moved:
        order = int(event["order"])
        words = f"emptied: {_blocks(moved)} moved away"
        yield Try(granules >> order, unit << order, start, True, words)


# ---- CMA ------------------------------------------------------------------------------------


def _ranges(run: Run, state: Any, granules: int, align_order: int, may_move: bool) -> Iterator[Try]:
    """The ranges that the search looked at, in its order, and why it went on."""
    event, unit = run.events[-1], run.case.space.granule_bytes
    done, live = bool(event["outcome"] == Outcome.DONE), run.live(len(run.case.ops) - 1)
    looked = _places(state, granules, align_order, int(event["granule"]) if done else NONE)
    for start, _ in zip(looked, range(int(event["steps"])), strict=False):
        if done and start == event["granule"]:
            moved = int(np.count_nonzero(run.moves["op"] == len(run.case.ops) - 1))
            words = f"emptied: {_blocks(moved)} moved away" if moved else "free now: found"
            yield Try(1, granules * unit, start * unit, True, words)
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
    if not len(inside):
        return "busy: failed memory lies there"
    if may_move:
        return "busy: pinned or failed memory, or no place to move to"
    used = format_size(int((np.int64(1) << inside["order"].astype(np.int64)).sum()) * unit)
    return f"busy: {_blocks(len(inside))} ({used}) would have to move"


def _blocks(count: int) -> str:
    return f"{count:,} block{'' if count == 1 else 's'}"
