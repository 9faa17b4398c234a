"""POTAD in the hand, and Linux's buddy beside it."""

import numpy as np

from ..core import blocks, tree
from ..core.interface import locate
from ..core.layout import BLOCK, DESCRIPTOR, NONE
from ..core.linux import pages
from ..core.lookups import heads
from ..errors import NoDescriptor
from ..kinds import KINDS, Kind
from ..units import PAGE_BYTES, Space, format_size
from .allocator import Allocator
from .things import Descriptor, Descriptors

WORD_BYTES = (64, 32, 16, 8)  # struct page, the interim page, Wilcox's of 2024, memdesc


class Buddy(Allocator):
    """Linux's buddy allocator over a space."""

    def __init__(
        self,
        space: Space,
        *,
        pcp: str = "off",
        tails: str = "on",
        migratetypes: str = "off",
        watermarks: str = "zones",
    ) -> None:
        """Each "on" or "off": per-CPU lists, compound tails, grouping by migratetype; watermarks
        choose the "zones" only, or ("on") refuse below min.  As set, every split and merge shows.

        Raises UnknownName for other words.
        """
        told = {"pcp": pcp, "tails": tails, "migratetypes": migratetypes, "watermarks": watermarks}
        super().__init__(space, "buddy:" + ",".join(f"{name}={told[name]}" for name in told))

    def is_cached(self, granule: int) -> bool:
        head = int(pages.head_of(self._state.pages, granule))
        return head != NONE and bool(pages.use_of(self._state.pages, head) == pages.CACHED)


class Potad(Allocator):
    """POTAD over a space: any power of two, a descriptor for each block, a lookup for any byte."""

    def __init__(
        self,
        space: Space,
        *,
        placement: str = "lowest",
        groups: str = "none",
        caches: str = "off",
        hosted: bool = False,
        fails_as: str = "potad",
    ) -> None:
        """placement: "lowest" or "tightest"; groups: "none", "migratetype", "kind", "lifetime";
        caches: "on" for front caches per CPU; hosted: descriptors take their memory from the space;
        fails_as: "potad" tells the owners of all failed memory, "linux" whom Linux tells.

        Raises UnknownName for other words.
        """
        spec = f"potad:placement={placement},groups={groups},caches={caches}"
        super().__init__(space, spec, fails_as, hosted=space.granule_bytes if hosted else 0)

    def _lookup(self, granule: int) -> Descriptor | None:
        start, order, kind, owner = (int(found) for found in locate(self._state.heads, granule))
        if start == NONE:
            return None
        unit, found = self.space.granule_bytes, KINDS[kind]
        index = self._state.heads
        at = heads.head_at(index, start)
        pins, pieces = int(heads.pins(index, at)), int(heads.pieces(index, at))
        state = int(index.slots[at]["state"])
        word = int(self._state.poison[granule >> 6])
        return Descriptor(
            start * unit, unit << order, order, found.name, self.owner(owner),
            self._at.get(start, NONE), pins, state, bool(word >> (granule & 63) & 1),
            found.record_bytes, pieces, self._body(start),
        )  # fmt: skip

    def _withheld(self, size: int, kind: Kind) -> str:
        return (
            f"no room for the descriptor of {kind.name} memory beside {format_size(size)}: "
            "release something, or take a kind without one, such as kernel"
        )

    def is_cached(self, granule: int) -> bool:
        return bool(blocks.is_cached(self._state, granule))

    def _record_number(self, start: int) -> int:
        """Index in `records` of the block that starts there, or NONE."""
        index = self._state.heads
        entry = index.slots[heads.head_at(index, start)]["entry"]
        return int(heads.record_at(index, entry))

    def _body(self, start: int) -> np.ndarray | None:
        """The kind's own bytes of the record, to read and write."""
        index = self._state.heads
        entry = index.slots[heads.head_at(index, start)]["entry"]
        first, size = (int(found) for found in heads.body_at(index, entry))
        return index.bodies[first : first + size] if size else None

    def _live(self) -> np.ndarray:
        live = np.concatenate([np.zeros(0, BLOCK), *map(self._listed, self._served.tolist())])
        handles = np.array([self._at.get(int(granule), NONE) for granule in live["granule"]])
        live["handle"] = handles
        live["time_ns"] = [self._born[h][2] if h in self._born else 0 for h in handles]
        return live

    def _listed(self, served: list[int]) -> np.ndarray:
        count = blocks.list_live(self._state, served[0], served[1], np.zeros(0, BLOCK))
        live = np.zeros(count, BLOCK)
        blocks.list_live(self._state, served[0], served[1], live)
        return live

    @property
    def largest_free_bytes(self) -> int:
        if self._state.cpus:  # what front caches hold goes back to the tree when it is wanted
            return super().largest_free_bytes
        parts = len(self._zones) * self._state.tree.groups
        order = max(int(tree.largest(self._state.tree, part)) for part in range(parts))
        return 0 if order == NONE else self.space.granule_bytes << order

    def _write_state(self, start: int, handle: int, state: int) -> None:
        if self._record_number(start) == NONE:
            raise NoDescriptor(
                f"the block at {self._hex(start)} has no descriptor to write on: mark memory of a "
                "kind that has one (anon, file, slab, ...)"
            )
        index = self._state.heads
        index.slots[heads.head_at(index, start)]["state"] = state

    def descriptors(self) -> Descriptors:
        """Bytes and counts of descriptors by kind, and the same memory's cost per page."""
        live = self.blocks()
        counts = np.bincount(live["kind"], minlength=len(KINDS))
        index = self._state.heads
        records, sizes = heads.live_records(index), index.arenas["record_bytes"]
        present = np.flatnonzero(counts.astype(bool) | (records > 0)).tolist()
        lookup = heads.lookup_bytes(index, len(live), self._state.tree.zones)["lookup"]
        slabs = live[live["kind"] == DESCRIPTOR]
        slab_granules = int((np.int64(1) << slabs["order"].astype(np.int64)).sum())
        pages = self.space.bytes // PAGE_BYTES
        return Descriptors(
            {KINDS[kind].name: int(counts[kind]) for kind in present},
            {KINDS[kind].name: int(records[kind]) for kind in present},
            {KINDS[kind].name: int(records[kind] * sizes[kind]) for kind in present},
            lookup,
            slab_granules * self.space.granule_bytes,
            {each: pages * each for each in WORD_BYTES},
        )

    @property
    def stolen(self) -> int:
        """Blocks that a group took from another's chunk."""
        return int(self._state.counts[blocks.STOLEN])

    @property
    def changed(self) -> int:
        """Chunks that changed their group for it."""
        return int(self._state.counts[blocks.CHANGED])
