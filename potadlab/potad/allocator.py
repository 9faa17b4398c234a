"""What any allocator can do in the hand: ask, give back, look up; errors say what would work."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from .. import kinds
from ..core.fold import holds
from ..core.interface import check
from ..core.layout import (
    BLOCK,
    CLAIMED,
    DESCRIPTOR,
    EVENT,
    MOVE,
    NONE,
    OP,
    POISON,
    Flag,
    Outcome,
    Verb,
)
from ..core.mapped import mapped
from ..core.replay import begin, replay
from ..errors import (
    BadAddress,
    BadKind,
    BadSize,
    BadSpace,
    NoDescriptor,
    NotLive,
    OutOfSpace,
    Pinned,
    UnknownName,
)
from ..failure import BY, Failure
from ..grouping import groups_of
from ..kinds import KIND, KINDS
from ..runs import chosen
from ..traces.trace import Trace
from ..units import Size, Space, format_size, is_power_of_two, parse_size
from . import failing, reckoning
from .things import Block, Claim, Descriptor, Move, Shape, Step

HISTORY_GRANULES = 64  # spaces up to this size keep what lived after each op, to draw it
PIECES_MAX = 1 << 20  # blocks that one call makes: each has a handle
STATE_MAX = (1 << 31) - 1  # of the word in a descriptor
_OWN = (POISON, DESCRIPTOR)  # kinds that the allocator alone gives
_DONE = (Outcome.DONE, Outcome.PUT_OFF, Outcome.RELEASED)
_FAILED = (Outcome.POISONED_FREE, Outcome.POISONED_LIVE)


class Allocator:
    """An allocator over a space; every call is an op, and what fails leaves all as it was."""

    def __init__(self, space: Space, spec: str, fails_as: str = "linux", **options: Any) -> None:
        if not isinstance(space, Space):
            raise BadSpace(f"{space!r} is no space: give one, as Space.ram('64KiB')")
        self.space, self.spec, self.fails_as = space, spec, fails_as
        _check_by(fails_as)
        self._chosen = chosen(spec)
        self.order_max = self._chosen.order_max
        told = self._chosen.words
        self._caches = "on" in (told.get("caches"), told.get("pcp"))
        zones = np.array([(zone.start, zone.end) for zone in space.zones], np.int64)
        served = np.array(space.in_service, np.int64).reshape(-1, 2)
        try:
            self._state = self._chosen.new(zones, kinds.facts(), **options)
        except (MemoryError, OSError) as error:
            raise BadSpace(
                f"{spec}: no addresses for the tables of {space.name}: take a smaller space, a "
                "larger granule, or register no kinds of large descriptors"
            ) from error
        self._zones, self._served = zones, served
        self._kinds = len(KINDS)
        self._where = np.full(64, NONE, np.int64)
        self._handles = 0
        self._ops: list[np.void] = []
        self._orders: dict[int, int] = {}  # of blocks and chunks, by handle
        self._at: dict[int, int] = {}  # handle of each block and chunk, by first granule
        self._born: dict[int, tuple[int, int, int]] = {}  # kind, owner and time, by handle
        self._claims: dict[int, Claim] = {}
        self._callbacks: dict[int, Callable[[Failure], Any]] = {}
        self._pins: dict[int, int] = {}  # by handle
        self._marks: dict[int, int] = {}  # by handle, where there are no descriptors to write on
        self._poisoned: set[int] = set()
        self._owner_numbers: dict[str, int] = {}
        self.owners: list[str] = []
        self.history: list[Shape] = []
        self._listeners: list[Callable[[Allocator], None]] = []
        begin(self._state, served, np.zeros(0, BLOCK), self._where)
        self._remember("nothing yet", True)

    def __repr__(self) -> str:
        live = f"{self.live_bytes:,} B live in {len(self._at):,} blocks"
        largest = format_size(self.largest_free_bytes)
        return f"<{self.spec} over {self.space.name}: {live}, largest free block {largest}>"

    # ---- asking -----------------------------------------------------------------------------

    def allocate(
        self,
        size: Size,
        kind: str = "kernel",
        owner: str = "nobody",
        cpu: int = 0,
        on_failure: Callable[[Failure], Any] | None = None,
    ) -> Block:
        """A block of `size` bytes, a power of two, aligned to itself.

        on_failure: called, once for each, when its memory fails; None: its kind's.  Raises BadSize,
        UnknownName for the kind or CPU, BadKind for what cannot be called, OutOfSpace with the
        largest block that is free.
        """
        order, number = self._order_of(size), self._kind(kind)
        _check_cpu(cpu)
        if on_failure is not None and not callable(on_failure):
            raise BadKind(f"on_failure {on_failure!r}: give a function of one failure")
        words = f"allocate {format_size(parse_size(size))} ({kind}, {owner})"
        handle = self._new_handles(1)
        event, _ = self._do(
            Verb.ALLOCATE, words, owner, handle=handle, order=order, granules=1 << order,
            kind=number, cpu=cpu,
        )  # fmt: skip
        if event["outcome"] == Outcome.REFUSED:
            raise OutOfSpace(self._refused(order, KINDS[number]))
        if on_failure is not None:
            self._callbacks[handle] = on_failure
        return self._block(int(event["granule"]), order, kind, str(owner), handle)

    def claim(
        self,
        size: Size,
        align: Size | None = None,
        owner: str = "nobody",
        kind: str = "driver",
        migrate: bool = False,
    ) -> Claim:
        """Contiguous memory of a size that is a multiple of its alignment: CMA's job.

        One chunk, then two adjacent ones of half the size, and so on down to the alignment, then
        give up; with `migrate`, the window with the least movable memory in the way is emptied
        then, or the next cheapest if what lies there finds no other place.  `align` None: the
        largest power of two that divides the size.  Raises BadSize, UnknownName, OutOfSpace with
        the steps that were tried.
        """
        granules, align_order = self._claim_size(size, align)
        number = self._kind(kind)
        words = f"claim {format_size(granules * self.space.granule_bytes)} ({kind}, {owner})"
        handle = self._new_handles(1)
        event, moved = self._do(
            Verb.CLAIM, words, owner, handle=handle, granules=granules, align_order=align_order,
            kind=number, flags=Flag.BY_HAND | (Flag.MAY_MIGRATE if migrate else 0),
        )  # fmt: skip
        steps = self._steps(granules, event, moved)
        if event["granule"] == NONE:
            raise OutOfSpace(self._claim_refused(granules, align_order, steps, migrate))
        owner = str(owner)
        unit, order, chunk = self.space.granule_bytes, int(event["order"]), int(event["granule"])
        chunks = range(chunk, chunk + granules, 1 << order)
        self._claims[handle] = Claim(
            chunk * unit, granules * unit, unit << align_order,
            tuple(self._block(chunk, order, kind, owner, handle) for chunk in chunks), steps,
            self._moves(moved), kind, owner, handle, self,
        )  # fmt: skip
        return self._claims[handle]

    def release(self, what: "Block | Claim | Size", cpu: int = 0) -> bool:
        """Give back a block, a claim, or a chunk of one; True if it went, False if a pin delays it.

        Raises NotLive for what is not live or no start of a block, Pinned where the kind refuses,
        UnknownName for the CPU.
        """
        _check_cpu(cpu)
        if isinstance(what, Claim):
            return self._release_claim(what, None)
        granule, handle = self._find(what)
        if handle in self._claims:
            return self._release_claim(self._claims[handle], granule)
        self._refuse_if_pinned(granule)
        order = self._orders[handle]
        words = f"release {format_size(self.space.granule_bytes << order)} at {self._hex(granule)}"
        event, _ = self._do(Verb.RELEASE, words, handle=handle, order=order, cpu=cpu)
        if event["outcome"] == Outcome.PUT_OFF:
            return False
        if event["outcome"] != Outcome.DONE:
            raise NotLive(f"the block at {self._hex(granule)} waits for its last pin already")
        return True

    def split(self, block: "Block | Claim | Size", size: Size) -> list[Block]:
        """Make a block into blocks of `size`, which share its descriptor; each is released alone.

        Raises BadSize, NotLive, Pinned.
        """
        granule, handle = self._find(block)
        order, whole = self._order_of(size), self._orders.get(handle, NONE)
        if handle in self._claims:
            raise BadSize(f"{self._hex(granule)} is a chunk of a claim: release the chunk whole")
        if order > whole:
            have = format_size(self.space.granule_bytes << whole)
            raise BadSize(f"split of {have} into {size}: take {have} or less")
        _check_pieces(f"split into {size}", 1 << (whole - order))
        into = self._new_handles(1 << (whole - order))
        words = f"split {format_size(self.space.granule_bytes << whole)} into {size}"
        found = self._lookup(granule)
        event, _ = self._do(
            Verb.SPLIT, words, handle=handle, order=order, into=into, granules=1 << order
        )
        if event["outcome"] != Outcome.DONE or found is None:
            raise Pinned(f"the block at {self._hex(granule)} is pinned: unpin it, then split it")
        return [
            self._block(granule + (i << order), order, found.kind, found.owner, into + i)
            for i in range(1 << (whole - order))
        ]

    def pin(self, address: "Block | Claim | Size") -> None:
        """get_user_pages: let the block that holds a byte stay where it is, until `unpin`.

        Raises BadAddress, NotLive, NoDescriptor where its kind has none, OutOfSpace for a hosted
        arena without room for one.
        """
        granule, start, handle = self._holder(address)
        event, _ = self._do(Verb.PIN, f"pin {self._hex(granule)}", **self._offset(granule, handle))
        if event["outcome"] == Outcome.IGNORED:
            raise NoDescriptor(
                f"the block at {self._hex(start)} has no descriptor to count pins on: pin memory "
                "of a kind that has one (anon, file, slab, ...)"
            )
        if event["outcome"] == Outcome.REFUSED:
            raise OutOfSpace(f"no room for a descriptor of its own: {self._what_is_free()}")
        if event["outcome"] == Outcome.ABSENT:
            raise NotLive(f"the block at {self._hex(start)} was released; it goes with its pins")

    def unpin(self, address: "Block | Claim | Size") -> bool:
        """Take a pin away; True if a release had waited for it, and the block is gone now.

        Raises BadAddress, NotLive where there is no pin.
        """
        granule, start, handle = self._holder(address)
        words = f"unpin {self._hex(granule)}"
        event, _ = self._do(Verb.UNPIN, words, **self._offset(granule, handle))
        if event["outcome"] == Outcome.ABSENT:
            raise NotLive(f"the block at {self._hex(start)} has no pin")
        return bool(event["outcome"] == Outcome.RELEASED)

    def migrate(self, block: "Block | Claim | Size") -> Move:
        """Move a block elsewhere; its handle, owner and descriptor stay.

        Raises NotLive, Pinned (also for what is not movable), OutOfSpace.
        """
        granule, handle = self._find(block)
        order, kind = self._orders.get(handle, 0), KINDS[self._born[handle][0]]
        if not kind.movable:
            raise Pinned(f"the block at {self._hex(granule)} stays: {kind.name} does not move")
        words = f"migrate {self._hex(granule)}"
        event, moved = self._do(Verb.MIGRATE, words, handle=handle, order=order)
        if event["outcome"] == Outcome.REFUSED:
            raise OutOfSpace(f"nowhere to move to: {self._what_is_free()}")
        if event["outcome"] != Outcome.DONE:
            raise Pinned(
                f"the block at {self._hex(granule)} stays: pinned, in a claim, or failed in part"
            )
        return self._moves(moved)[0]

    def drain(self) -> None:
        """Give back what front caches hold."""
        self._do(Verb.DRAIN, "drain")

    # ---- failing ----------------------------------------------------------------------------

    def fail(
        self, address: "Block | Claim | Size", soft: bool = False, by: str | None = None
    ) -> Failure:
        """Memory at an address fails, or (soft) is to be taken out before it does.

        by: "linux" does what Linux 6.12 does, "potad" tells owners too; None: as this allocator was
        made.  The granule alone leaves service, until `unpoison`.  Raises BadAddress, UnknownName.
        """
        granule, at = self._granule(address), self._address(address)
        return failing.fail(self, granule, at, soft, self.fails_as if by is None else by)

    def unpoison(self, address: "Block | Claim | Size") -> bool:
        """Bring a failed granule back; True if it is free now, False if its block still has it.

        Raises BadAddress, NotLive where nothing has failed.
        """
        granule = self._granule(address)
        event, _ = self._do(Verb.UNPOISON, f"unpoison {self._hex(granule)}", granule=granule)
        if event["outcome"] == Outcome.IGNORED:
            raise NotLive(f"nothing has failed at {self._hex(granule)}")
        return bool(event["outcome"] == Outcome.DONE)

    def take_off(self, granule: int) -> None:
        """Let a granule leave service: now if it is free, else when its block is released."""
        self._do(Verb.FAIL, f"{self._hex(granule)} fails", granule=granule)

    def mark(self, address: "Block | Claim | Size", state: int) -> None:
        """Write the state word of a block's descriptor (failure.State): dirty, mapped, ...

        Raises BadAddress, NotLive, NoDescriptor where its kind has none, UnknownName for no state.
        """
        _, start, handle = self._holder(address)
        if not isinstance(state, Integral) or not 0 <= state <= STATE_MAX:
            raise UnknownName(f"state {state!r}: take flags of failure.State, as State.DIRTY")
        self._write_state(start, handle, int(state))

    def _write_state(self, start: int, handle: int, state: int) -> None:
        self._marks[handle] = state

    def is_cached(self, granule: int) -> bool:
        """Whether it is free, in a front cache."""
        return False

    def callback(self, found: Descriptor | None) -> Callable[[Failure], Any] | None:
        """Who is to be told of a block's failed memory."""
        if found is None:
            return None
        own = self._callbacks.get(found.handle)
        return own or KINDS[KIND[found.kind]].on_failure

    # ---- what is there ----------------------------------------------------------------------

    def block(self, handle: int) -> Block:
        """The live block of a handle, where it is now; raises NotLive."""
        known = isinstance(handle, Integral) and 0 <= handle < self._handles
        granule = int(self._where[handle]) if known else NONE
        if granule < 0:
            raise NotLive(f"no live block has the handle {handle}")
        kind, owner, _ = self._born[handle]
        return self._block(
            granule, self._orders[handle], KINDS[kind].name, self.owner(owner), handle
        )

    def lookup(self, address: "Block | Claim | Size") -> Descriptor | None:
        """The descriptor of the live block that holds a byte; None if the byte is free.

        A failed granule in no block has one of kind "poison".  Raises BadAddress outside of what is
        in service, NotLive for a block of another allocator.
        """
        return self._lookup(self._granule(address))

    def _lookup(self, granule: int) -> Descriptor | None:
        live, unit, poisoned = self._live(), self.space.granule_bytes, granule in self._poisoned
        at = holds(live, granule)
        if at == NONE:
            gone = Descriptor(
                granule * unit, unit, 0, KINDS[POISON].name, "nobody", NONE, 0, 0, True, 0, 1
            )
            return gone if poisoned else None
        block, handle = live[at], int(live[at]["handle"])
        kind = KINDS[block["kind"]]
        return Descriptor(
            int(block["granule"]) * unit, unit << int(block["order"]), int(block["order"]),
            kind.name, self.owner(int(block["owner"])), handle, self._pins.get(handle, 0),
            self._marks.get(handle, 0), poisoned, kind.record_bytes, 1,
        )  # fmt: skip

    def owner(self, number: int) -> str:
        """The name behind an owner's number."""
        return self.owners[number] if 0 <= number < len(self.owners) else "nobody"

    def blocks(self) -> np.ndarray:
        """What lives and what has failed: BLOCK[] in address order; time_ns counts ops."""
        live = self._live()
        stand = set(live["granule"][live["kind"] == POISON].tolist())
        poison = np.zeros(len(self._poisoned - stand), BLOCK)
        poison["granule"], poison["kind"] = sorted(self._poisoned - stand), POISON
        poison["handle"] = poison["owner"] = NONE
        both = np.concatenate([live, poison])
        return both[np.argsort(both["granule"], kind="stable")]

    def _live(self) -> np.ndarray:
        """BLOCK[] of the live blocks, in address order."""
        live = np.zeros(len(self._at), BLOCK)
        live["granule"] = np.fromiter(self._at, np.int64, len(self._at))
        live["handle"] = np.fromiter(self._at.values(), np.int64, len(self._at))
        live = live[np.argsort(live["granule"])]
        for block in live:
            born = self._born[int(block["handle"])]
            block["order"] = self._order_at(int(block["granule"]))
            block["kind"], block["owner"], block["time_ns"] = born
        return live

    def in_service(self) -> np.ndarray:
        """i8[n, 2]: ranges of granules in service, ascending."""
        return self._served

    @property
    def live_bytes(self) -> int:
        """Bytes in live blocks."""
        granules = sum(1 << self._order_at(granule) for granule in self._at)
        return granules * self.space.granule_bytes

    @property
    def largest_free_bytes(self) -> int:
        """Bytes of the largest block that can be had at once; 0 if nothing is free."""
        order = reckoning.largest_free_order(
            self.blocks(), self._served, self._zone_ends(), self.order_max
        )
        return 0 if order is None else self.space.granule_bytes << order

    def _zone_ends(self) -> list[tuple[int, int]]:
        return [(zone.start, zone.end) for zone in self.space.zones]

    def check(self) -> None:
        """Assert every invariant of the allocator's state.  Slow."""
        check(self._state)

    def on_change(self, callback: "Callable[[Allocator], None]") -> Callable[[], None]:
        """Call `callback(self)` after every op; returns what ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def trace(self, name: str = "by hand") -> Trace:
        """All that was asked, as a trace, to be replayed in other allocators."""
        ops = np.array(self._ops, OP) if self._ops else np.zeros(0, OP)
        return Trace(
            name=name, path=None, metadata={}, ops=ops, handles=self._handles,
            owners=list(self.owners), events=len(ops), granule_bytes=self.space.granule_bytes,
            snapshot="", space=self.space, start=np.zeros(0, BLOCK), boundaries_assumed=0,
            kinds_guessed=0,
        )  # fmt: skip

    # ---- doing ------------------------------------------------------------------------------

    def _do(
        self, verb: Verb, words: str, owner: str | None = None, **fields: Any
    ) -> tuple[np.void, np.ndarray]:
        """(event, moves) of one op; only what was done is kept."""
        ops = np.zeros(1, OP)
        op = ops[0]
        op["verb"], op["flags"], op["time_ns"] = verb, Flag.BY_HAND, len(self._ops)
        op["granule"] = op["handle"] = op["into"] = op["owner"] = NONE
        op["granules"], op["migratetype"] = 1, 255
        if owner is not None:  # a new name is kept with what was done
            op["owner"] = self._owner_numbers.get(str(owner), len(self.owners))
        for field, value in fields.items():
            op[field] = value
        may_move = int(op["flags"]) & Flag.MAY_MIGRATE or verb == Verb.MIGRATE
        moves = mapped(int(op["granules"]) + 2 if may_move else 1, MOVE)
        events, groups = np.zeros(1, EVENT), self._group_of(ops)
        moved = replay(
            self._state, ops, groups, self._where, events, moves, self._served, self._zones
        )
        done = int(events[0]["outcome"]) in (*_DONE, *_FAILED) and not (
            verb == Verb.UNPOISON and int(events[0]["outcome"]) == Outcome.IGNORED
        )
        if done:
            self._ops.append(ops[0])
            if op["owner"] == len(self.owners):
                self._owner_numbers[str(owner)] = len(self.owners)
                self.owners.append(str(owner))
            for move in moves[:moved]:
                self._at[int(move["to"])] = self._at.pop(int(move["granule"]))
            self._note(ops[0], events[0])
        elif events[0]["outcome"] == Outcome.REFUSED and self._caches:
            self._keep_drained(op)
        self._remember(words, done)
        return events[0], moves[:moved]

    def _keep_drained(self, refused: np.void) -> None:
        """What is refused leaves one trace: the front caches were given back for it on the way."""
        ops, none = np.zeros(1, OP), np.zeros(0, MOVE)
        ops[0] = refused
        ops[0]["verb"], ops[0]["owner"], ops[0]["handle"] = Verb.DRAIN, NONE, NONE
        ops[0]["flags"], ops[0]["time_ns"] = Flag.BY_HAND, len(self._ops)
        events, groups = np.zeros(1, EVENT), np.zeros(1, np.uint8)
        replay(self._state, ops, groups, self._where, events, none, self._served, self._zones)
        self._ops.append(ops[0])

    def _note(self, op: np.void, event: np.void) -> None:
        """Keep the books: which block begins where, and by which handle it goes."""
        verb, outcome, handle = op["verb"], event["outcome"], int(op["handle"])
        granule, order = int(event["granule"]), int(event["order"])
        if verb in (Verb.ALLOCATE, Verb.CLAIM):
            self._handles = handle + 1
            self._born[handle] = int(op["kind"]), int(op["owner"]), len(self._ops)
            self._orders[handle] = order
            for chunk in range(granule, granule + int(op["granules"]), 1 << order):
                self._at[chunk] = handle
        elif verb == Verb.SPLIT:
            del self._at[granule]
            pieces = 1 << (order - int(op["order"]))
            self._handles = int(op["into"]) + pieces
            for piece in range(pieces):
                first, into = granule + (piece << int(op["order"])), int(op["into"]) + piece
                self._at[first], self._orders[into] = into, int(op["order"])
                self._born[into] = self._born[handle]
                self._hand_on(handle, into)
        elif verb == Verb.RELEASE_CLAIM and outcome == Outcome.DONE:
            for chunk in range(granule, granule + int(op["granules"]), 1 << order):
                del self._at[chunk]
        elif outcome == Outcome.RELEASED or (verb == Verb.RELEASE and outcome == Outcome.DONE):
            del self._at[granule]
            self._pins.pop(handle, None)
        elif verb in (Verb.PIN, Verb.UNPIN):
            self._pins[handle] = self._pins.get(handle, 0) + (1 if verb == Verb.PIN else -1)
        elif verb == Verb.FAIL:
            self._poisoned.add(granule)
        elif verb == Verb.UNPOISON:
            self._poisoned.discard(granule)

    def _hand_on(self, handle: int, into: int) -> None:
        """Let a piece know whom to tell, and its state, as the block did."""
        if handle in self._callbacks:
            self._callbacks[into] = self._callbacks[handle]
        if handle in self._marks:
            self._marks[into] = self._marks[handle]

    def _group_of(self, ops: np.ndarray) -> np.ndarray:
        by = self._chosen.grouping
        if by != "lifetime":  # which is learnt from all that went before
            return groups_of(ops, by, len(self._where))
        return groups_of(np.array([*self._ops, ops[0]], OP), by, len(self._where))[-1:]

    def _remember(self, words: str, done: bool) -> None:
        if self.space.granules <= HISTORY_GRANULES:
            self.history.append(Shape(len(self._ops), words, self.blocks(), done))
        for listener in list(self._listeners):
            listener(self)

    def _new_handles(self, count: int) -> int:
        """The first of so many new handles, which are taken by an op that is done."""
        while self._handles + count > len(self._where):
            more = np.full(len(self._where), NONE, np.int64)
            self._where = np.concatenate([self._where, more])
        return self._handles

    # ---- claims -----------------------------------------------------------------------------

    def _claim_size(self, size: Size, align: Size | None) -> tuple[int, int]:
        """(granules, log2 of the alignment in granules)."""
        unit, size_bytes = self.space.granule_bytes, parse_size(size)
        if align is None and (size_bytes <= 0 or size_bytes % unit):
            raise BadSize(f"claim of {size}: take a multiple of the granule, {format_size(unit)}")
        align_bytes = size_bytes & -size_bytes if align is None else parse_size(align)
        if not is_power_of_two(align_bytes) or align_bytes < unit:
            raise BadSize(f"alignment {align}: take a power of two of at least {format_size(unit)}")
        if size_bytes <= 0 or size_bytes % align_bytes:
            raise BadSize(
                f"claim of {size} at {align}: take a multiple of the alignment, "
                f"{format_size(max(align_bytes, size_bytes // align_bytes * align_bytes))}"
            )
        granules = size_bytes // unit
        most = max(zone.end - zone.start for zone in self.space.zones)
        if granules > most:
            most_bytes = format_size(most * unit)
            raise OutOfSpace(
                f"claim of {size}: the largest zone of {self.space.name} has {most_bytes}"
            )
        _check_pieces(f"claim of {size}", granules // (granules & -granules))
        return granules, (align_bytes // unit).bit_length() - 1

    def _steps(self, granules: int, event: np.void, moved: np.ndarray) -> tuple[Step, ...]:
        """The steps tried; after a migration none of them was found."""
        largest, unit = (granules & -granules).bit_length() - 1, self.space.granule_bytes
        last = int(event["steps"]) - 1
        found = event["granule"] != NONE and not len(moved)
        return tuple(
            Step(granules >> (largest - i), unit << (largest - i), bool(found and i == last))
            for i in range(last + 1)
        )

    def _claim_refused(
        self, granules: int, align_order: int, steps: tuple[Step, ...], migrate: bool
    ) -> str:
        unit, how = self.space.granule_bytes, self._chosen.allocator
        size, align = format_size(granules * unit), format_size(unit << align_order)
        said = ["; ".join(map(str, steps)) or how.claim_untried]
        if how.claims_move:
            empty = "and no window could be emptied"
            said.append(empty if migrate else "with migrate=True movable memory goes")
        row = reckoning.longest_row(self.blocks(), self._served, self._zone_ends(), align_order)
        if row and how.claims_move:
            said.append(f"at this alignment {format_size(row * unit)} lie free in a row")
        return f"claim of {size} at {align}: {'; '.join([*said, self._what_is_free()])}"

    def _moves(self, moved: np.ndarray) -> tuple[Move, ...]:
        unit = self.space.granule_bytes
        return tuple(
            Move(
                int(move["granule"]) * unit, int(move["to"]) * unit,
                unit << int(move["order"]), int(move["handle"]),
            )
            for move in moved
        )  # fmt: skip

    def _release_claim(self, claim: Claim, granule: int | None) -> bool:
        """All of a claim that is left, or the chunk at `granule`."""
        unit, order = self.space.granule_bytes, self._orders.get(claim.handle, 0)
        first, left = claim.start // unit, self._chunks_left(claim)
        whole = granule is None and len(left) == len(claim.chunks)
        self._refuse_if_pinned(left[0])
        for chunk in [first] if whole else left if granule is None else [granule]:
            count = claim.size // unit if whole else 1 << order
            words = f"release {format_size(count * unit)} of the claim at {claim.start:#x}"
            event, _ = self._do(
                Verb.RELEASE_CLAIM, words, handle=claim.handle, granules=count,
                granule=NONE if whole else chunk - first,
            )  # fmt: skip
            if event["outcome"] == Outcome.PUT_OFF:
                return False
            if event["outcome"] != Outcome.DONE:
                raise Pinned(f"the claim at {claim.start:#x} is pinned: unpin it first")
        return True

    def _chunks_left(self, claim: Claim) -> list[int]:
        """First granules of the chunks that live, at least one; raises NotLive."""
        unit = self.space.granule_bytes
        starts = [chunk.start // unit for chunk in claim.chunks]
        left = [start for start in starts if self._at.get(start) == claim.handle]
        if claim.maker is not self or not left:
            raise NotLive(f"the claim at {claim.start:#x} is not live here: released before")
        return left

    # ---- finding ----------------------------------------------------------------------------

    def _address(self, what: "Block | Claim | Size") -> int:
        """A byte; of a block where it lies now, or lay when it was released."""
        if not isinstance(what, Block | Claim):
            return parse_size(what)
        if what.maker is not self:
            raise NotLive(f"{what} is another allocator's: ask that one")
        granule = int(self._where[what.handle])
        return what.start if granule < 0 else granule * self.space.granule_bytes

    def _granule(self, address: "Block | Claim | Size") -> int:
        """The granule in service that holds an address; raises BadAddress."""
        value = self._address(address)
        granule = value // self.space.granule_bytes
        inside = (self._served[:, 0] <= granule) & (granule < self._served[:, 1])
        if not inside.any():
            ends = ", ".join(
                f"{start * self.space.granule_bytes:#x}-{end * self.space.granule_bytes - 1:#x}"
                for start, end in self._served.tolist()[:4]
            )
            raise BadAddress(f"address {value:#x} is not in service: {self.space.name} has {ends}")
        return int(granule)

    def _find(self, what: "Block | Claim | Size") -> tuple[int, int]:
        """(first granule, handle) of a live block, given as such or by its first byte."""
        if isinstance(what, Claim):
            return self._chunks_left(what)[0], what.handle
        if isinstance(what, Block):
            if what.maker is not self:
                raise NotLive(f"the block {what} is another allocator's: give it back there")
            granule = int(self._where[what.handle])
            granule = what.start // self.space.granule_bytes if granule <= CLAIMED else granule
            if granule == NONE or self._at.get(granule) != what.handle:
                raise NotLive(f"the block {what} is not live: it was released before")
            return granule, what.handle
        granule = self._granule(what)
        if granule in self._at and parse_size(what) % self.space.granule_bytes == 0:
            return granule, self._at[granule]
        found = self._lookup(granule)
        if found is not None and found.handle != NONE:
            raise NotLive(
                f"{parse_size(what):#x} is inside the block of {format_size(found.size)} at "
                f"{found.start:#x}: give that address"
            )
        raise NotLive(f"no live block is at {parse_size(what):#x}: {_why_not(found)}")

    def _holder(self, address: "Block | Claim | Size") -> tuple[int, int, int]:
        """(granule, first granule, handle) of the live block that holds an address."""
        if isinstance(address, Block | Claim):
            granule, handle = self._find(address)
            return granule, granule, handle
        granule = self._granule(address)
        found = self._lookup(granule)
        start = NONE if found is None else found.start // self.space.granule_bytes
        if start not in self._at:
            raise NotLive(f"no live block holds {self._hex(granule)}: {_why_not(found)}")
        return granule, start, self._at[start]

    def _offset(self, granule: int, handle: int) -> dict[str, Any]:
        """How an op names a granule of a block or claim."""
        first = int(self._where[handle])
        first = CLAIMED - first if first <= CLAIMED else first
        return {"handle": handle, "granule": granule - first}

    def _refuse_if_pinned(self, granule: int) -> None:
        found = self._lookup(granule)
        if found and found.pins and KINDS[KIND[found.kind]].pinned_release == "refused":
            raise Pinned(
                f"the block at {self._hex(granule)} has {found.pins} pins, and {found.kind} "
                "memory is not released while pinned: unpin it first"
            )

    # ---- words and numbers ------------------------------------------------------------------

    def _order_of(self, size: Size) -> int:
        size_bytes, unit = parse_size(size), self.space.granule_bytes
        if not is_power_of_two(size_bytes) or size_bytes < unit:
            above = max(1 << max(size_bytes - 1, 0).bit_length(), unit)
            raise BadSize(
                f"size {size}: take a power of two of at least {format_size(unit)}, such as "
                f"{format_size(above)}; or claim what is no power of two"
            )
        order = (size_bytes // unit).bit_length() - 1
        if self.order_max is not None and order > self.order_max:
            most = format_size(unit << self.order_max)
            raise BadSize(f"size {size}: {self._chosen.name} hands out at most {most}")
        return order

    def _order_at(self, granule: int) -> int:
        return self._orders[self._at[granule]]

    def _kind(self, kind: str) -> int:
        if not isinstance(kind, str) or KIND.get(kind, POISON) in _OWN:
            known = ", ".join(name for name, number in KIND.items() if number not in _OWN)
            raise UnknownName(f"kind {kind!r} is not to be had: choose among {known}")
        if KIND[kind] >= self._kinds:
            raise UnknownName(f"kind {kind!r} is younger than this allocator: make another one")
        return KIND[kind]

    def _block(self, granule: int, order: int, kind: str, owner: str, handle: int) -> Block:
        unit = self.space.granule_bytes
        return Block(granule * unit, unit << order, order, kind, owner, handle, self)

    def _hex(self, granule: int) -> str:
        return f"{granule * self.space.granule_bytes:#x}"

    def _refused(self, order: int, kind: kinds.Kind) -> str:
        size = self.space.granule_bytes << order
        if size <= self.largest_free_bytes:
            return self._withheld(size, kind)
        return f"no free block of {format_size(size)}: {self._what_is_free()}"

    def _withheld(self, size: int, kind: kinds.Kind) -> str:
        """Why what is free is not given."""
        return f"{format_size(size)} would go below the watermark: release something first"

    def _what_is_free(self) -> str:
        """For a refusal: what would have worked."""
        largest = self.largest_free_bytes
        if largest == 0:
            return "nothing is free: release something first"
        return f"the largest free block has {format_size(largest)}"


def _check_by(by: str) -> None:
    if by not in BY:
        raise UnknownName(f"failure by {by!r}: take one of {', '.join(BY)}")


def _check_cpu(cpu: object) -> None:
    if not isinstance(cpu, Integral) or not 0 <= cpu < 256:  # type: ignore[operator]
        raise UnknownName(f"cpu {cpu!r} is not there: take a number from 0 to 255")


def _check_pieces(what: str, pieces: int) -> None:
    if pieces > PIECES_MAX:
        raise BadSize(
            f"{what}: {pieces:,} blocks at once: take sizes that make {PIECES_MAX:,} or less"
        )


def _why_not(found: Descriptor | None) -> str:
    """Why no live block of a caller's is there."""
    if found is None:
        return "it is free"
    return "it is failed" if found.kind == KINDS[POISON].name else "it holds descriptors"
