"""The specification in plain Python: sets of granules, a dict of live blocks."""

from dataclasses import dataclass, field

from potadlab.core.layout import HELD, NONE, PUT_OFF, Outcome


@dataclass
class Model:
    """Granules free, live or failed; zones are (start, end), blocks do not cross them."""

    zones: list[tuple[int, int]]
    free: set[int] = field(default_factory=set)
    live: dict[int, int] = field(default_factory=dict)  # first granule -> order
    failed: set[int] = field(default_factory=set)
    pins: dict[int | str, int] = field(default_factory=dict)  # by `unit`: how often
    put_off: set[int] = field(default_factory=set)  # released while pinned
    claims: dict[int, str] = field(default_factory=dict)  # chunk's first granule -> its claim
    claimed: int = 0

    def row(self, start: int, granules: int) -> set[int]:
        return set(range(start, start + granules))

    def places(self, granules: int, align: int) -> list[int]:
        """Every aligned start of a free row, within a zone."""
        return [
            start
            for low, high in self.zones
            for start in range(-(-low // align) * align, high - granules + 1, align)
            if self.row(start, granules) <= self.free
        ]

    def unit(self, start: int) -> int | str:
        """What is pinned together: a block, or all chunks of a claim."""
        return self.claims.get(start, start)

    def pinned(self, start: int) -> int:
        return self.pins.get(self.unit(start), 0)

    def add(self, start: int, end: int) -> None:
        self.free |= set(range(start, end))

    def take(self, start: int, order: int) -> None:
        row = self.row(start, 1 << order)
        assert start % (1 << order) == 0, "aligned to its size"
        assert row <= self.free, "only what is free is handed out"
        self.free -= row
        self.live[start] = order

    def release(self, start: int) -> int:
        if start in self.put_off:
            return NONE
        if self.pinned(start):
            if start in self.claims:
                return HELD
            self.put_off.add(start)
            return PUT_OFF
        order = self.live.pop(start, NONE)
        self.claims.pop(start, None)
        if order != NONE:
            self.free |= self.row(start, 1 << order) - self.failed
        return order

    def split(self, start: int, order: int) -> int:
        whole = self.live.get(start, NONE)
        if whole < order or self.pinned(start):
            return NONE
        for piece in range(start, start + (1 << whole), 1 << order):
            self.live[piece] = order
            if start in self.claims:
                self.claims[piece] = self.claims[start]
        return whole

    def holder(self, granule: int) -> int:
        for start, order in self.live.items():
            if start <= granule < start + (1 << order):
                return start
        return NONE

    def pin(self, granule: int, pinnable: bool) -> Outcome:
        start = self.holder(granule)
        if start == NONE or start in self.put_off:
            return Outcome.ABSENT
        if not pinnable:
            return Outcome.IGNORED
        self.pins[self.unit(start)] = self.pinned(start) + 1
        return Outcome.DONE

    def unpin(self, granule: int) -> tuple[Outcome, int]:
        start = self.holder(granule)
        if not self.pinned(start):
            return Outcome.ABSENT, NONE
        self.pins[self.unit(start)] -= 1
        if self.pinned(start) or start not in self.put_off:
            return Outcome.DONE, NONE
        self.put_off.remove(start)
        return Outcome.RELEASED, self.release(start)

    def stays(self, start: int) -> bool:
        """Whether a block cannot be moved, whatever its kind."""
        row = self.row(start, 1 << self.live[start])
        held = start in self.claims or start in self.put_off or self.pinned(start)
        return bool(held or row & self.failed)

    def move(self, start: int, to: int) -> None:
        """A live block is somewhere else from now on."""
        order = self.live.pop(start)
        self.free |= self.row(start, 1 << order)
        self.take(to, order)

    def fail(self, granule: int) -> Outcome:
        if granule in self.failed:
            return Outcome.POISONED_BEFORE
        if granule in self.free:
            self.free.remove(granule)
            self.failed.add(granule)
            return Outcome.POISONED_FREE
        if self.holder(granule) != NONE:
            self.failed.add(granule)
            return Outcome.POISONED_LIVE
        return Outcome.OUTSIDE

    def unpoison(self, granule: int) -> Outcome:
        if granule not in self.failed:
            return Outcome.IGNORED
        self.failed.remove(granule)
        if self.holder(granule) != NONE:
            return Outcome.POISONED_LIVE
        self.free.add(granule)
        return Outcome.DONE
