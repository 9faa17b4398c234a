"""Whether what came of each op may have come of it: the model, fed with events."""

from collections import namedtuple

from model import Model

from potadlab.core.layout import CLAIMED, EVENT, HELD, NONE, OP, PUT_OFF, Flag, Outcome, Verb
from potadlab.kinds import facts

Op, Event = namedtuple("Op", OP.names), namedtuple("Event", EVENT.names)  # quicker than np.void
_NAMES = [verb.name.lower() for verb in Verb]


def pairs(ops, events):
    """(Op, Event) of each op."""
    return zip(map(Op._make, ops.tolist()), map(Event._make, events.tolist()), strict=True)


class Judge:
    """Follows ops and events; raises AssertionError at the first that cannot be.

    linux: as an allocator over struct page does it, with orders up to 10, one block a claim.
    """

    def __init__(self, zones, ranges, linux=False):
        self.model, self.facts, self.linux = Model(zones), facts(), linux
        self.where: dict[int, int] = {}  # handle -> first granule
        self.claims: dict[int, list[int]] = {}  # handle -> its chunks
        self.told: dict[int, int] = {}  # first granule -> kind
        for start, end in ranges:
            self.model.add(start, end)

    def see(self, op, event, moves):
        """moves: those of this op."""
        getattr(self, f"_{_NAMES[op.verb]}")(op, event, moves)

    def _allocate(self, op, event, moves):
        order = op.order
        if event.outcome == Outcome.REFUSED:
            assert not self.model.places(1 << order, 1 << order), "refused though there is room"
            return
        granule = event.granule
        self._placed(granule, order)
        self.where[op.handle], self.told[granule] = granule, op.kind

    def _placed(self, granule, order):
        assert any(low <= granule < high for low, high in self.model.zones)
        self.model.take(granule, order)

    def _release(self, op, event, moves):
        granule = self.where.get(op.handle, NONE)
        if granule == NONE or granule in self.model.put_off:
            assert event.outcome == Outcome.ABSENT
            return
        found = self.model.release(granule)
        if found == PUT_OFF:
            assert event.outcome == Outcome.PUT_OFF
            return
        assert (event.outcome, event.granule, event.order) == (0, granule, found)
        del self.where[op.handle], self.told[granule]

    def _split(self, op, event, moves):
        granule, order = self.where.get(op.handle, NONE), op.order
        whole = self.model.split(granule, order) if granule != NONE else NONE
        if granule in self.model.put_off:
            whole = NONE
        if whole == NONE:
            assert event.outcome == Outcome.ABSENT
            return
        assert (event.outcome, event.granule, event.order) == (0, granule, whole)
        kind = self.told[granule]
        del self.where[op.handle]
        for place in range(1 << (whole - order)):
            piece = granule + (place << order)
            self.where[op.into + place], self.told[piece] = piece, kind

    def _claim(self, op, event, moves):
        granules, align_order = op.granules, op.align_order
        largest = (granules & -granules).bit_length() - 1
        tried = list(range(largest, align_order - 1, -1))
        if self.linux:  # one block or nothing
            tried = [largest] if granules == 1 << largest and largest <= 10 else []
            if not tried:
                assert event.outcome == Outcome.IGNORED
                return
        able = [order for order in tried if self.model.places(granules, 1 << order)]
        if able:
            assert event.order == able[0], "the first step that can"
            assert event.steps == tried.index(able[0]) + 1
            assert len(moves) == 0
        else:
            assert event.steps == len(tried)
            if event.outcome == Outcome.REFUSED:
                assert len(moves) == 0, "given up, with all as it was"
                return
            assert len(moves) > 0
            self._moved(moves, event.granule, granules)
        assert event.outcome == Outcome.DONE
        start, order = event.granule, event.order
        assert start % (1 << align_order) == 0
        self.model.claimed += 1
        self.claims[op.handle] = []
        for chunk in range(start, start + granules, 1 << order):
            self._placed(chunk, order)
            if not self.linux:
                self.model.claims[chunk] = f"claim {self.model.claimed}"
            self.told[chunk] = op.kind
            self.claims[op.handle].append(chunk)

    def _moved(self, moves, start, granules):
        """Only what may move was moved, out of the window, and all that lay in it."""
        window, freed = set(range(start, start + granules)), set()
        names = {granule: handle for handle, granule in self.where.items()}
        for move in moves:
            granule, to, order = int(move["granule"]), int(move["to"]), int(move["order"])
            assert self.model.live.pop(granule) == order
            assert granule not in self.model.claims
            assert not self.model.pinned(granule)
            row = self.model.row(granule, 1 << order)
            assert row & window
            assert not row & self.model.failed
            assert not self.model.row(to, 1 << order) & window
            kind = self.told.pop(granule)
            assert self.facts["movable"][kind]
            self.model.take(to, order)
            self.told[to] = kind
            assert names[granule] == move["handle"]
            self.where[names[granule]] = to
            freed |= row
        self.model.free |= freed
        assert window <= self.model.free

    def _release_claim(self, op, event, moves):
        chunks = self.claims.get(op.handle)
        if chunks is None:
            assert event.outcome == Outcome.ABSENT
            return
        found = {self.model.release(chunk) for chunk in chunks}
        if found == {HELD}:
            assert event.outcome == Outcome.PINNED
            return
        if self.linux and found in ({PUT_OFF}, {NONE}):  # NONE: put off before
            assert event.outcome == (Outcome.PUT_OFF if found == {PUT_OFF} else Outcome.ABSENT)
            return
        assert HELD not in found
        assert NONE not in found
        assert event.outcome == Outcome.DONE
        for chunk in self.claims.pop(op.handle):
            del self.told[chunk]

    def _fail(self, op, event, moves):
        if op.flags & Flag.MAY_MIGRATE:
            return self._fail_softly(op, event, moves)
        assert event.outcome == self.model.fail(op.granule)

    def _fail_softly(self, op, event, moves):
        """What can move leaves; what cannot stays, and nothing has failed."""
        start = self.model.holder(op.granule)
        if start == NONE:
            assert event.outcome == self.model.fail(op.granule)
            return
        if self.linux:
            assert event.outcome == Outcome.IGNORED
            return
        if self.model.stays(start) or not self.facts["movable"][self.told[start]]:
            assert event.outcome == Outcome.UNMOVABLE
            return
        size = 1 << self.model.live[start]
        if event.outcome == Outcome.REFUSED:
            assert not self.model.places(size, size)
            return
        (move,) = moves
        to = int(move["to"])
        assert (int(move["granule"]), 1 << int(move["order"])) == (start, size)
        assert to in self.model.places(size, size)
        assert self.where[int(move["handle"])] == start
        self.model.move(start, to)
        self.where[int(move["handle"])], self.told[to] = to, self.told.pop(start)
        assert event.outcome == self.model.fail(op.granule) == Outcome.POISONED_FREE

    def _unpoison(self, op, event, moves):
        assert event.outcome == self.model.unpoison(op.granule)

    def _named(self, op):
        handle, offset = op.handle, max(op.granule, 0)
        first = self.claims[handle][0] if handle in self.claims else self.where.get(handle, NONE)
        return first if first == NONE else first + offset

    def _pin(self, op, event, moves):
        granule = self._named(op)
        holder = self.model.holder(granule)
        told = holder != NONE and self.facts["record_bytes"][self.told[holder]] > 0
        can = holder != NONE and (self.linux or told)
        assert event.outcome == self.model.pin(granule, can)

    def _unpin(self, op, event, moves):
        granule = self._named(op)
        outcome, order = self.model.unpin(granule)
        assert event.outcome == outcome
        if outcome == Outcome.RELEASED:
            assert event.order == order
            one = self.where if op.handle in self.where else self.claims
            start = one.pop(op.handle)
            del self.told[start if one is self.where else start[0]]

    def _migrate(self, op, event, moves):
        handle = op.handle
        granule = self.where.get(handle, NONE)
        if handle in self.claims:
            assert event.outcome == Outcome.UNMOVABLE
        elif granule == NONE:
            assert event.outcome == Outcome.ABSENT
        elif self.linux:
            assert event.outcome == Outcome.IGNORED
        elif self.model.stays(granule) or not self.facts["movable"][self.told[granule]]:
            assert event.outcome == Outcome.UNMOVABLE
        else:
            size = 1 << self.model.live[granule]
            if event.outcome == Outcome.REFUSED:
                assert not self.model.places(size, size)
                return
            to = event.granule
            assert [(int(m["granule"]), int(m["to"])) for m in moves] == [(granule, to)]
            assert to in self.model.places(size, size)
            self.model.move(granule, to)
            self.where[handle], self.told[to] = to, self.told.pop(granule)

    def _drain(self, op, event, moves):
        pass

    def agrees(self, where):
        """Every handle names what the model has, and nothing else is named."""
        named = {handle: granule for handle, granule in enumerate(where.tolist()) if granule >= 0}
        claimed = {h: CLAIMED - g for h, g in enumerate(where.tolist()) if g <= CLAIMED}
        assert named == self.where
        assert claimed == {handle: chunks[0] for handle, chunks in self.claims.items()}
