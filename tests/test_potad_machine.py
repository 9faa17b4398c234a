"""POTAD in the hand against a slow model: every verb, granules of 512 B, holes and odd ends.

The model knows sets of granules and what was promised for each block; it never looks inside.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import potadlab as pl
from potadlab.errors import PotadError
from potadlab.failure import Place, Result
from potadlab.kinds import KIND, KINDS

UNIT = 512
RANGES = [(3, 60), (64, 180), (200, 301)]  # granules
SPACE = pl.Space.ranges([(low * UNIT, high * UNIT) for low, high in RANGES], granule=UNIT)
SERVED = {granule for low, high in RANGES for granule in range(low, high)}
SOME_KINDS = ("anon", "file", "slab", "xfs_buf", "pipe", "driver", "hugetlb")
WAYS = [
    {}, {"caches": "on"}, {"placement": "tightest"}, {"groups": "migratetype", "caches": "on"},
    {"groups": "kind"}, {"groups": "lifetime"}, {"hosted": True}, {"hosted": True, "caches": "on"},
]  # fmt: skip
granules = st.integers(0, 310)


class PotadMachine(RuleBasedStateMachine):
    """blocks: handle -> (first granule, granules, kind, owner); claims likewise, with chunks."""

    @initialize(way=st.sampled_from(WAYS))
    def begin(self, way):
        self.potad = pl.Potad(SPACE, **way)
        self.hosted = bool(way.get("hosted"))
        self.blocks, self.objects, self.claims = {}, {}, {}
        self.failed, self.pins, self.heard = set(), {}, []
        self.count = 0

    # ---- what the model knows ----

    def row(self, handle):
        first, size, *_ = self.blocks[handle]
        return set(range(first, first + size))

    def holder(self, granule):
        return next((handle for handle in self.blocks if granule in self.row(handle)), None)

    def descriptors(self):
        """Granules that hold records, by the allocator's own word (hosted only)."""
        live = self.potad.blocks()
        slabs = live[live["kind"] == KIND["descriptor"]]
        return {
            granule
            for block in slabs
            for granule in range(block["granule"], block["granule"] + (1 << block["order"]))
        }

    def free(self):
        used = {granule for handle in self.blocks for granule in self.row(handle)}
        return SERVED - used - self.failed - self.descriptors()

    def refuses(self, call, *errors):
        """The call raises one of these, and nothing changed."""
        before = self.seen()
        with pytest.raises(errors):
            call()
        assert self.seen() == before

    def seen(self):
        live = self.potad.blocks()
        live = live[live["kind"] != KIND["descriptor"]]  # empty slabs may have gone
        return live[["granule", "order", "kind", "handle"]].tolist()

    def some(self, number, among):
        return sorted(among)[number % len(among)] if among else None

    # ---- asking ----

    @rule(order=st.integers(0, 7), kind=st.sampled_from(SOME_KINDS), cpu=st.integers(0, 3))
    def allocate(self, order, kind, cpu):
        self.count += 1
        owner, free, slabs = f"owner {self.count}", self.free(), self.descriptors()
        heard = self.heard
        try:
            block = self.potad.allocate(UNIT << order, kind, owner, cpu, on_failure=heard.append)
        except pl.OutOfSpace:
            starts = range(0, 302, 1 << order)
            room = [s for s in starts if set(range(s, s + (1 << order))) <= free]
            assert self.hosted or not room, "refused though there is room"
            return
        first = block.start // UNIT
        assert first % (1 << order) == 0
        assert set(range(first, first + (1 << order))) <= free | slabs
        self.blocks[block.handle] = first, 1 << order, kind, owner
        self.objects[block.handle] = block

    @rule(number=st.integers(0, 1 << 16))
    def release(self, number):
        handle = self.some(number, self.objects)
        if handle is None:
            return
        block, kind = self.objects[handle], KINDS[KIND[self.blocks[handle][2]]]
        if self.pins.get(handle) and kind.pinned_release == "refused":
            return self.refuses(lambda: self.potad.release(block), pl.Pinned)
        gone = self.potad.release(block)
        assert gone == (not self.pins.get(handle))
        del self.objects[handle]
        if gone:
            del self.blocks[handle]
            self.refuses(lambda: self.potad.release(block), pl.NotLive)

    @rule(number=st.integers(0, 1 << 16), smaller=st.integers(1, 3))
    def split(self, number, smaller):
        handle = self.some(number, self.objects)
        if handle is None or self.blocks[handle][1] >> smaller == 0:
            return
        first, size, kind, owner = self.blocks[handle]
        piece = size >> smaller
        if self.pins.get(handle):
            call = lambda: self.potad.split(self.objects[handle], piece * UNIT)  # noqa: E731
            return self.refuses(call, pl.Pinned)
        pieces = self.potad.split(self.objects.pop(handle), piece * UNIT)
        del self.blocks[handle]
        assert [one.start // UNIT for one in pieces] == list(range(first, first + size, piece))
        for one in pieces:
            self.blocks[one.handle] = one.start // UNIT, piece, kind, owner
            self.objects[one.handle] = one

    @rule(size=st.integers(1, 12), align_order=st.integers(0, 4), migrate=st.booleans())
    def claim(self, size, align_order, migrate):
        align, free = 1 << align_order, self.free() | self.descriptors()  # empty slabs go first
        before = dict(self.blocks)
        self.count += 1
        try:
            claim = self.potad.claim(
                size * align * UNIT, align * UNIT, f"claim {self.count}", "driver", migrate
            )
        except pl.OutOfSpace:
            starts = range(0, 302, align)
            room = [s for s in starts if set(range(s, s + size * align)) <= free]
            assert self.hosted or not room, "given up though there is room"
            return
        for move in claim.moves:
            first, granules, kind, owner = self.blocks[move.handle]
            assert first * UNIT == move.start
            assert KINDS[KIND[kind]].movable
            assert not self.pins.get(move.handle)
            assert not self.row(move.handle) & self.failed
            self.blocks[move.handle] = move.to // UNIT, granules, kind, owner
        start = claim.start // UNIT
        window = set(range(start, start + size * align))
        assert start % align == 0
        assert window <= free | {g for h in before for g in range(before[h][0], sum(before[h][:2]))}
        assert not any(window & self.row(handle) for handle in self.blocks)
        self.blocks[claim.handle] = start, size * align, "driver", claim.owner
        self.claims[claim.handle] = claim

    @rule(number=st.integers(0, 1 << 16))
    def release_claim(self, number):
        handle = self.some(number, self.claims)
        if handle is not None:
            self.potad.release(self.claims.pop(handle))
            del self.blocks[handle]

    @rule(number=st.integers(0, 1 << 16))
    def migrate(self, number):
        handle = self.some(number, self.objects)
        if handle is None:
            return
        _, size, kind, owner = self.blocks[handle]
        stays = self.pins.get(handle) or self.row(handle) & self.failed
        if stays or not KINDS[KIND[kind]].movable:
            return self.refuses(lambda: self.potad.migrate(self.objects[handle]), pl.Pinned)
        free = self.free() | self.descriptors()
        try:
            move = self.potad.migrate(self.objects[handle])
        except pl.OutOfSpace:
            return
        assert set(range(move.to // UNIT, move.to // UNIT + size)) <= free
        self.blocks[handle] = move.to // UNIT, size, kind, owner

    # ---- pinning ----

    @rule(granule=granules)
    def pin(self, granule):
        handle = self.holder(granule)
        call = lambda: self.potad.pin(granule * UNIT)  # noqa: E731
        if granule not in SERVED:
            return self.refuses(call, pl.BadAddress)
        waits = handle is not None and handle not in self.objects and handle not in self.claims
        if handle is None or waits:
            return self.refuses(call, pl.NotLive)
        if not KINDS[KIND[self.blocks[handle][2]]].record_bytes:
            return self.refuses(call, pl.NoDescriptor)
        try:
            call()
        except pl.OutOfSpace:
            assert self.hosted
            return
        self.pins[handle] = self.pins.get(handle, 0) + 1

    @rule(granule=granules)
    def unpin(self, granule):
        handle = self.holder(granule)
        if not self.pins.get(handle):
            return self.refuses(lambda: self.potad.unpin(granule * UNIT), PotadError)
        gone = self.potad.unpin(granule * UNIT)
        self.pins[handle] -= 1
        assert gone == (self.pins[handle] == 0 and handle not in self.objects)
        if gone:
            del self.blocks[handle]

    # ---- failing ----

    @rule(granule=granules, soft=st.booleans(), by=st.sampled_from(["linux", "potad"]))
    def fail(self, granule, soft, by):
        call = lambda: self.potad.fail(granule * UNIT + 5, soft, by)  # noqa: E731
        if granule not in SERVED:
            return self.refuses(call, pl.BadAddress)
        handle, heard, again = self.holder(granule), len(self.heard), granule in self.failed
        place = Place.LIVE if handle is not None else Place.FREE
        slab = granule in self.descriptors()
        failure = call()
        assert len(self.heard) - heard <= (place == Place.LIVE and by == "potad")
        if again:
            assert (failure.outcome, failure.action) == (
                (Result.RECOVERED if soft else Result.FAILED),
                "none",
            )
            return
        self.follow(handle, granule, failure)
        if failure.action != "none":
            self.failed.add(granule)
        elif not slab and place == Place.FREE:
            assert self.potad.lookup(granule * UNIT) is None

    def follow(self, handle, granule, failure):
        """What became of the block that held it, as `failure.action` says."""
        if handle is None or failure.action in ("none", "keep", "take off"):
            return
        _first, size, kind, owner = self.blocks[handle]
        if failure.action in ("release", "dissolve"):
            del self.blocks[handle], self.objects[handle]
        elif failure.action == "migrate":
            self.blocks[handle] = failure.moved_to // UNIT, size, kind, owner
        else:
            self.cut(handle, granule, failure)

    def cut(self, handle, granule, failure):
        """Pieces have handles of their own; the failed one is gone, or has moved."""
        first, size, kind, owner = self.blocks.pop(handle)
        del self.objects[handle]
        at, granules_left = first, set(range(first, first + size)) - {granule}
        moved = {failure.moved_to // UNIT} if failure.moved_to is not None else set()
        while granules_left | moved:
            at = min(granules_left | moved)
            found = self.potad.lookup(at * UNIT)
            pieces = found.size // UNIT
            assert (found.start // UNIT, found.kind, found.owner) == (at, kind, owner)
            self.blocks[found.handle] = at, pieces, kind, owner
            self.objects[found.handle] = self.potad.block(found.handle)
            moved -= {at}
            granules_left -= set(range(at, at + pieces))

    @rule(granule=granules)
    def unpoison(self, granule):
        call = lambda: self.potad.unpoison(granule * UNIT)  # noqa: E731
        if granule not in SERVED:
            return self.refuses(call, pl.BadAddress)
        if granule not in self.failed:
            return self.refuses(call, pl.NotLive)
        inside = self.holder(granule) is not None or granule in self.descriptors()
        assert call() == (not inside)
        self.failed.remove(granule)

    @rule()
    def drain(self):
        self.potad.drain()

    # ---- what holds after each step ----

    @invariant()
    def every_byte_answers(self):
        if not hasattr(self, "potad"):
            return
        self.potad.check()
        slabs = self.descriptors()
        for granule in sorted(SERVED)[:: 7 if len(self.blocks) % 2 else 5]:
            found, handle = self.potad.lookup(granule * UNIT + 100), self.holder(granule)
            if handle is not None:
                _, _, kind, owner = self.blocks[handle]
                assert (found.handle, found.kind, found.owner) == (handle, kind, owner)
                assert found.pins == self.pins.get(handle, 0)
                assert found.poisoned == (granule in self.failed)
            elif granule in slabs:
                assert found.kind == "descriptor"
            elif granule in self.failed:
                assert found.kind == "poison"
            else:
                assert found is None

    def teardown(self):
        """What was done by hand, replayed, ends with the same blocks."""
        if not hasattr(self, "potad") or self.hosted:  # which no spec says
            return
        session = pl.Session(self.potad.trace(), [self.potad.spec])
        fields = ["granule", "order", "kind", "owner", "handle"]
        again = session.blocks(self.potad.spec, session.length)
        assert again[fields].tolist() == self.potad.blocks()[fields].tolist()


TestPotadMachine = PotadMachine.TestCase
TestPotadMachine.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
