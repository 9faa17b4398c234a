"""One experiment: a trace, some allocators, and what people add by hand.

Nothing changes a state from outside: `fail` and `claim` add an op at a moment, and everything is
replayed with it in every allocator.  The same ops give the same events, so `undo` takes the op out
and replays: no run has to be kept (one of a million ops and blocks is over 500 MB).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .clock import Clock, counted
from .core.allocators import ALLOCATORS, usual
from .core.fold import holds
from .core.layout import NONE, OP, Flag, Outcome, Verb
from .errors import BadSize, BadSpace, UnknownName
from .failure import Action, Found, Place, Verdict, decide, not_moved
from .kinds import KIND, KINDS
from .metrics.distance import Distance, distance
from .runs import Case, chosen, run_allocator
from .traces.trace import Trace
from .units import KIB, PAGE_BYTES, Space, format_size

Progress = Callable[[float, str], None]  # share done, 0 to 1; what is being done


@dataclass(frozen=True)
class Descriptor:
    """What an allocator knows of the block that holds an address."""

    start_bytes: int
    size_bytes: int
    order: int
    kind: str
    owner: str
    handle: int
    age_ns: int  # since it was allocated; for a block of the start, a little over the time so far
    record_bytes: int
    poisoned: bool


@dataclass(frozen=True)
class Told:
    """What came of a failed address in one allocator, and who would be told."""

    allocator: str
    outcome: Outcome
    words: str  # Linux's line (failure.decide), and who is told
    kind: str
    owner: str
    handle: int
    start_bytes: int
    size_bytes: int
    address: int = 0  # bytes
    soft: bool = False  # about to fail: what can move is moved away first
    result: str = ""  # Recovered, Delayed, Failed or Ignored; "" where the table was not asked
    told: tuple[str, ...] = ()  # failure.Tells; empty: nobody
    done: str = ""  # with the memory
    moved_to_bytes: int | None = None
    linux: str = ""  # the result that Linux has for the same block
    linux_words: str = ""  # its line
    linux_told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of a claim: so many adjacent chunks of a size."""

    chunks: int
    chunk_bytes: int
    found: bool


@dataclass(frozen=True)
class Claimed:
    """What came of a claim in one allocator."""

    allocator: str
    outcome: Outcome
    start_bytes: int | None
    size_bytes: int
    chunk_bytes: int
    steps: list[Step]
    words: str
    ranges: int = 0  # tried in place of steps, one after the other (CMA); 255: or more
    moved_blocks: int = 0  # out of its way
    moved_bytes: int = 0


@dataclass(frozen=True)
class _Added:
    """An op added by hand: where it stands, how many handles there were before, and whether it
    came together with the one before, so that it goes with it too.
    """

    index: int
    handles: int
    joined: bool = False


_DECIDED = (  # by the table of failure
    Outcome.POISONED_FREE, Outcome.POISONED_LIVE, Outcome.POISONED_BEFORE, Outcome.UNMOVABLE,
    Outcome.REFUSED,
)  # fmt: skip
_NOT_FAILED = {
    Outcome.OUTSIDE: "not in service here: a hole, or memory not yet added",
    Outcome.IGNORED: "nothing was done",
}
_GIVEN_UP = (Action.RELEASE, Action.SPLIT_AND_RELEASE, Action.DISSOLVE)


class Session:
    """A trace replayed in several allocators (None: the usual ones), at every moment of it.

    A moment is an index: how many ops have been done.  Raises UnknownName for an allocator that
    is not there, BadSpace for a space the trace cannot be replayed in.
    """

    def __init__(
        self,
        trace: Trace,
        allocators: Sequence[str] | None = None,
        *,
        space: Space | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.trace = trace
        self.names = list(dict.fromkeys(usual() if allocators is None else allocators))
        self.owners = list(trace.owners)
        self.space = space or trace.space
        self.start = trace.start if space is None else trace.start[:0]
        self.progress: Progress = progress or (lambda share, what: None)
        _check_names(self.names)
        _check_space(trace, self.space, self.names, space is not None)
        self._added: list[_Added] = []
        self._replay(trace.ops, trace.handles)

    def _replay(self, ops: np.ndarray, handles: int) -> None:
        ops = ops if self.clock.timed else counted(ops)
        case = Case(self.space, ops, self.start, handles)
        runs = {}
        for done, name in enumerate(self.names):
            self.progress(done / len(self.names), f"replaying in {name}")
            try:
                runs[name] = run_allocator(name, case)
            except (MemoryError, OSError) as error:
                size = format_size(self.space.granules * self.space.granule_bytes)
                raise BadSpace(
                    f"{name}: no memory for the tables of a space up to {size}: take a smaller one"
                ) from error
        self.progress(1.0, "replayed")
        self.ops, self.handles, self.runs = ops, handles, runs

    def copy(self) -> "Session":
        """The same, to be changed apart: neither sees what is done to the other from now on."""
        other = copy.copy(self)
        other.owners, other._added = list(self.owners), list(self._added)
        return other

    def join(self, name: str) -> None:
        """Replay in one more allocator, ops added by hand included; UnknownName, BadSpace."""
        if name in self.names:
            return
        _check_names([name])
        _check_space(self.trace, self.space, [name], self.space != self.trace.space)
        self.progress(0.0, f"replaying in {name}")
        case = Case(self.space, self.ops, self.start, self.handles)
        self.runs = {**self.runs, name: run_allocator(name, case)}
        self.names = [*self.names, name]
        self.progress(1.0, "replayed")

    # ---- moments ----

    @property
    def length(self) -> int:
        """How many ops there are."""
        return len(self.ops)

    @property
    def clock(self) -> Clock:
        """How moments are named; OPS: `time_ns` counts ops, each OP_NS long."""
        return self.trace.clock

    def time_ns(self, index: int) -> int:
        """When op `index` is asked, since the start of the recording; for the end, the last."""
        return int(self.ops["time_ns"][min(index, self.length - 1)]) if self.length else 0

    def index_at(self, time_ns: int) -> int:
        """How many ops have been done by then."""
        return int(np.searchsorted(self.ops["time_ns"], time_ns, side="right"))

    # ---- what is there ----

    def blocks(self, name: str, index: int) -> np.ndarray:
        """What lives after `index` ops: BLOCK[] in address order, failed granules included."""
        return self.runs[name].blocks(index)

    def in_service(self, name: str, index: int) -> np.ndarray:
        """i8[n, 2]: ranges of granules in service after `index` ops."""
        return self.runs[name].in_service(index)

    def describe(self, name: str, index: int, granule: int) -> Descriptor | None:
        """What holds `granule` after `index` ops, None if it is free or out of service."""
        run, unit = self.runs[name], self.space.granule_bytes
        live, poisoned = run.live(index), granule in run.poison(index)
        at = holds(live, granule)
        if at == NONE:
            return self._poisoned(granule) if poisoned else None
        block = live[at]
        order, kind = int(block["order"]), KINDS[block["kind"]]
        return Descriptor(
            start_bytes=int(block["granule"]) * unit,
            size_bytes=unit << order,
            order=order,
            kind=kind.name,
            owner=self.owner(int(block["owner"])),
            handle=int(block["handle"]),
            age_ns=self.time_ns(max(index - 1, 0)) - int(block["time_ns"]),
            record_bytes=kind.record_bytes,
            poisoned=poisoned,
        )

    def _poisoned(self, granule: int) -> Descriptor:
        unit = self.space.granule_bytes
        return Descriptor(granule * unit, unit, 0, "poison", "nobody", NONE, 0, 0, True)

    def owner(self, number: int) -> str:
        """The name or stack behind an owner's number."""
        return self.owners[number] if 0 <= number < len(self.owners) else "not told"

    # ---- ops added by hand ----

    def fail(self, granule: int, index: int, soft: bool = False) -> list[Told]:
        """Let a granule fail after `index` ops; what came of it and who was told, by allocator.

        soft: it is about to fail, so that what can move is moved away first (soft offline).
        Raises BadSize for a moment that is not there.
        """
        self._check_moment(index)
        self.extend(self.failure(granule, index, soft), index)
        return self.told(index)

    def failure(self, granule: int, index: int, soft: bool) -> np.ndarray:
        """The op of a granule that fails after `index` ops."""
        op = self._op(Verb.FAIL, index)
        op["granule"] = granule
        op["flags"] |= Flag.MAY_MIGRATE if soft else 0
        return op

    def failures(self) -> np.ndarray:
        """i8[]: which ops are failures."""
        return np.flatnonzero(self.ops["verb"] == Verb.FAIL)

    def told(self, index: int) -> list[Told]:
        """What came of the failure that is op `index`, and who was told, by allocator."""
        op = self.ops[index]
        granule, soft = int(op["granule"]), bool(int(op["flags"]) & Flag.MAY_MIGRATE)
        return [self._told(name, granule, index, soft) for name in self.names]

    def _told(self, name: str, granule: int, index: int, soft: bool) -> Told:
        unit, run = self.space.granule_bytes, self.runs[name]
        held = self.describe(name, index, granule)
        outcome = Outcome(int(run.events[index]["outcome"]))
        before = granule in run.poison(index)
        move = run.moves[run.moves["op"] == index][:1]
        moved_to = int(move[0]["to"]) * unit if len(move) else None
        words, verdict, linux = _failure_words(name, outcome, held, granule * unit, soft, before)
        return Told(
            allocator=name,
            outcome=outcome,
            words=words + ("" if moved_to is None else f"; moved to {moved_to:#x}"),
            kind=held.kind if held else "free",
            owner=held.owner if held else "nobody",
            handle=held.handle if held else NONE,
            start_bytes=held.start_bytes if held else granule * unit,
            size_bytes=held.size_bytes if held else unit,
            address=granule * unit,
            soft=soft,
            result=verdict.outcome if verdict else "",
            told=verdict.tells if verdict else (),
            done=_done(outcome, verdict, len(move) > 0),
            moved_to_bytes=moved_to,
            linux=linux.outcome if linux else "",
            linux_words=linux.words if linux else "",
            linux_told=linux.tells if linux else (),
        )

    def claim(
        self,
        granules: int,
        align_order: int,
        index: int,
        owner: str = "by hand",
        migrate: bool = False,
    ) -> list[Claimed]:
        """Claim `granules` in a row, aligned to 2**align_order, after `index` ops, everywhere.

        migrate: movable memory in the way may be moved.  Raises BadSize unless the size is a
        multiple of the alignment, and the moment is there.
        """
        self._check_moment(index)
        align = 1 << max(align_order, 0)
        if granules <= 0 or granules % align:
            unit = self.space.granule_bytes
            size, alignment = format_size(granules * unit), format_size(align * unit)
            raise BadSize(f"claim of {size} at {alignment}: take a multiple of the alignment")
        if owner not in self.owners:
            self.owners.append(owner)
        op = self._op(Verb.CLAIM, index)
        op["granules"], op["align_order"], op["handle"] = granules, align_order, self.handles
        op["owner"], op["kind"] = self.owners.index(owner), KIND["driver"]
        op["flags"] |= Flag.MAY_MIGRATE if migrate else 0
        self.extend(op, index)
        return [self._claimed(name, granules, align_order, index) for name in self.names]

    def _claimed(self, name: str, granules: int, align_order: int, index: int) -> Claimed:
        event, unit = self.runs[name].events[index], self.space.granule_bytes
        outcome, tried = Outcome(int(event["outcome"])), int(event["steps"])
        order = (granules & -granules).bit_length() - 1
        done = outcome == Outcome.DONE
        moves = self.runs[name].moves[self.runs[name].moves["op"] == index]
        found = done and not len(moves)  # else all steps were in vain, and a window was emptied
        by_range = chosen(name).allocator.claims_ranges
        steps = [
            Step(granules >> (order - i), unit << (order - i), found and i == tried - 1)
            for i in range(0 if by_range else tried)
        ]
        return Claimed(
            allocator=name,
            outcome=outcome,
            start_bytes=int(event["granule"]) * unit if done else None,
            size_bytes=granules * unit,
            chunk_bytes=unit << int(event["order"]),
            steps=steps,
            words=_claim_words(name, outcome),
            ranges=tried if by_range else 0,
            moved_blocks=len(moves),
            moved_bytes=int((np.int64(unit) << moves["order"].astype(np.int64)).sum()),
        )

    # ---- against the truth ----

    def distances(self) -> list[Distance]:
        """How far each allocator's free memory is from that of `recorded`, by order, over time.

        Empty where `recorded` is not among them, or alone.
        """
        recorded = [name for name in self.names if chosen(name).allocator.needs_record]
        if not recorded:
            return []
        truth = self.runs[recorded[0]].census.free_blocks
        order_max = chosen(recorded[0]).order_max or len(truth[0]) - 1
        found = {name: self.runs[name].census for name in self.names if name not in recorded}
        return [
            distance(name, census.time_ns, census.free_blocks, truth, order_max)
            for name, census in found.items()
        ]

    def _check_moment(self, index: int) -> None:
        if not 0 <= index <= self.length:
            raise BadSize(f"moment {index}: take a number of ops from 0 to {self.length}")

    def _op(self, verb: Verb, index: int) -> np.ndarray:
        op = np.zeros(1, OP)[0]
        op["verb"], op["flags"] = verb, Flag.BY_HAND
        op["time_ns"] = self.time_ns(max(index - 1, 0))
        op["granule"], op["handle"], op["into"], op["owner"] = NONE, NONE, NONE, NONE
        op["granules"], op["migratetype"] = 1, 255
        return op

    def extend(self, op: np.ndarray, index: int) -> None:
        """Put an op in after the first `index` ops and replay all."""
        added = _Added(index, self.handles)
        ops = np.insert(self.ops, index, op)
        self._replay(ops, max(self.handles, int(op["handle"]) + 1))
        self._added.append(added)

    def extend_all(
        self,
        ops: Sequence[tuple[int, np.ndarray]],
        together: bool = False,
        joined: Sequence[bool] | None = None,
    ) -> None:
        """Put ops in one after the other, each after so many as there then are; replay once.

        together: `undo` takes them all out at once; joined: each that goes with the one before.
        """
        handles, added = self.handles, []
        for number, (index, op) in enumerate(ops):
            follows = number > 0 and together if joined is None else joined[number]
            added.append(_Added(index, handles, follows))
            handles = max(handles, int(op["handle"]) + 1)
        self._replay(put_in(self.ops, ops), handles)
        self._added = [*self._added, *added]

    def joined(self) -> list[bool]:
        """Of each op that `by_hand` gives, whether it goes with the one before."""
        return [added.joined for added in self._added]

    def by_hand(self) -> list[tuple[int, np.ndarray]]:
        """What `extend_all` takes to come to these ops from the untouched run."""
        added = zip(self._added, self.places_by_hand(), strict=True)
        return [(one.index, self.ops[at]) for one, at in added]

    def places_by_hand(self) -> np.ndarray:
        """i8[]: which ops were added by hand, in the order in which they were."""
        return _places([one.index for one in self._added])

    def undo(self) -> bool:
        """Take what was added last by hand out again and replay; False if there is nothing."""
        if not self._added:
            return False
        first = len(self._added) - 1
        while first and self._added[first].joined:
            first -= 1
        ops = np.delete(self.ops, self.places_by_hand()[first:])
        self._replay(ops, self._added[first].handles)
        self._added = self._added[:first]
        return True

    @property
    def added(self) -> int:
        """How many ops were added by hand and can be undone."""
        return len(self._added)


def put_in(ops: np.ndarray, added: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    """OP[]: `ops` and those put in one after the other, each after so many as there then are."""
    places = _places([index for index, _ in added])
    order = np.argsort(places)
    values = np.array([added[at][1] for at in order], OP)
    return np.insert(ops, places[order] - np.arange(len(order)), values)


def _places(indices: Sequence[int]) -> np.ndarray:
    """i8[]: where ops stand that were put in one after the other, when the last one is."""
    places = np.zeros(len(indices), np.int64)
    for number, index in enumerate(indices):
        places[:number] += places[:number] >= index
        places[number] = index
    return places


def _failure_words(
    name: str,
    outcome: Outcome,
    held: Descriptor | None,
    at_bytes: int,
    soft: bool,
    before: bool,
) -> tuple[str, Verdict | None, Verdict | None]:
    """What potad, or Linux, makes of it and who is told; the verdict; Linux's on the same block.

    A trace tells neither pins nor what is dirty or mapped, and goes on as it was recorded: the
    block stays until its release.  All owners under potad are taken to listen.
    """
    if outcome not in _DECIDED:
        return _NOT_FAILED.get(outcome, outcome.name.lower()), None, None
    live = outcome != Outcome.POISONED_FREE or soft
    live = live and held is not None and held.handle != NONE
    kind, order = (KINDS[KIND[held.kind]], held.order) if live and held else (None, 0)
    found = Found(
        Place.LIVE if live else Place.FREE, kind, order, callback=live, pfn=at_bytes // PAGE_BYTES,
        poisoned=before or outcome == Outcome.POISONED_BEFORE,
    )  # fmt: skip
    by = "potad" if chosen(name).name == "potad" else "linux"
    verdict, linux = decide(found, soft, by), decide(found, soft, "linux")
    if outcome in (Outcome.REFUSED, Outcome.UNMOVABLE) and verdict.action != Action.NONE:
        verdict = not_moved(found, by)  # no room elsewhere, or failed memory in the block
    stays = "; the trace keeps the block until its release" if verdict.action in _GIVEN_UP else ""
    words = f"{verdict.words}; told: {', '.join(verdict.tells) or 'nobody'}"
    return words + (stays if not soft else ""), verdict, linux


def _done(outcome: Outcome, verdict: Verdict | None, moved: bool) -> str:
    """What was done with the memory here, in a clause."""
    if verdict is None:
        return "nothing"
    if moved:
        return "block moved, then taken off"
    if outcome == Outcome.POISONED_FREE:
        return "taken off"
    if outcome == Outcome.POISONED_LIVE:
        return "taken off at release"
    return "nothing"


def _claim_words(name: str, outcome: Outcome) -> str:
    if outcome == Outcome.DONE:
        return "found"
    allocator = chosen(name).allocator
    return allocator.claim_untried if outcome == Outcome.IGNORED else allocator.claim_refused


def check_memory(space: Space, names: Sequence[str]) -> None:
    """Raises BadSpace where the tables of struct page would not fit this machine's memory.

    Every free block of MAX_PAGE_ORDER touches a page of them, and a quarter of one of the census.
    """
    granules = space.bytes // space.granule_bytes
    orders_max = [chosen(name).order_max for name in names]
    blocks = sum(granules >> order for order in orders_max if order is not None)
    needed = blocks * 5 * KIB
    try:
        told = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()
    except OSError:
        return
    if told and needed > int(told[0]) * KIB // 2:
        raise BadSpace(
            f"a space of {format_size(space.bytes)}: {', '.join(names)} would need about "
            f"{format_size(needed)} of this machine's memory: take a smaller space, or potad alone"
        )


def _check_names(names: list[str]) -> None:
    for name in names:
        chosen(name)
    if not names:
        raise UnknownName(f"no allocator chosen: choose among {', '.join(ALLOCATORS)}")


def _check_space(trace: Trace, space: Space, names: list[str], custom: bool) -> None:
    if space.granule_bytes != trace.granule_bytes:
        have, want = format_size(space.granule_bytes), format_size(trace.granule_bytes)
        raise BadSpace(f"granule {have}: the trace {trace.name} counts {want}; take that")
    check_memory(space, names)
    if not custom:
        return
    if any(chosen(name).allocator.needs_record for name in names):
        raise BadSpace(
            f"`recorded` needs the recorded machine ({format_size(trace.space.bytes)}): "
            "leave the space out, or leave `recorded` out"
        )
    peak = trace.info()["peak_live_pages"] * trace.granule_bytes
    if peak > space.bytes:
        raise BadSpace(
            f"{trace.path or trace.name}: at its peak the trace holds {format_size(peak)}, "
            f"more than the space of {format_size(space.bytes)}: take a larger space"
        )


def end_of_service(session: Session) -> int:
    """End of what is ever in service, in granules: maps stop there."""
    ranges = [session.in_service(name, session.length) for name in session.names]
    return max(int(found[:, 1].max(initial=1)) for found in ranges)
