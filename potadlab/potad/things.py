"""What the calls of an allocator in hand give back: sizes and addresses in bytes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..units import format_size


@dataclass(frozen=True)
class Block:
    """A live block, as it was handed out; after a migration `lookup` knows its new start."""

    start: int
    size: int
    order: int  # log2 of its granules
    kind: str
    owner: str
    handle: int  # names it, wherever it is
    maker: Any = field(default=None, repr=False, compare=False)  # the allocator that it is of

    @property
    def end(self) -> int:
        return self.start + self.size

    def __str__(self) -> str:
        return f"{format_size(self.size)} at {self.start:#x} ({self.kind}, {self.owner})"


@dataclass(frozen=True)
class Step:
    """One step of a claim's search: so many adjacent chunks of a size."""

    chunks: int
    chunk_bytes: int
    found: bool

    def __str__(self) -> str:
        answer = "found" if self.found else "no"
        return f"{self.chunks} x {format_size(self.chunk_bytes)}: {answer}"


@dataclass(frozen=True)
class Move:
    """A block moved out of the way of a claim, or off failing memory."""

    start: int
    to: int
    size: int
    handle: int


@dataclass(frozen=True)
class Claim:
    """Contiguous memory; its chunks stay a unit, released whole or in part."""

    start: int
    size: int
    align: int
    chunks: tuple[Block, ...]
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]  # what had to go elsewhere: the cost
    kind: str
    owner: str
    handle: int
    maker: Any = field(default=None, repr=False, compare=False)

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def moved_bytes(self) -> int:
        """The cost of migration."""
        return sum(move.size for move in self.moves)


@dataclass(frozen=True)
class Descriptor:
    """What the lookup finds for an address: the block and what its record holds."""

    start: int
    size: int
    order: int
    kind: str
    owner: str
    handle: int  # NONE where the allocator itself made the block
    pins: int
    state: int  # the kind's own word: failure.State
    poisoned: bool  # the granule asked for has failed
    record_bytes: int
    pieces: int  # blocks that share the record
    # u1[], its owner's to write; a record that is used again begins with what was left in it
    body: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Shape:
    """An allocator at a moment, kept to be drawn."""

    number: int  # how many ops were done
    words: str  # what the last one asked
    blocks: np.ndarray  # BLOCK[] in address order
    ok: bool  # it was done


@dataclass(frozen=True)
class Descriptors:
    """Bytes of descriptors by kind, and what the same memory costs with a word or page each."""

    blocks: dict[str, int]  # live blocks by kind
    records: dict[str, int]  # records in use; pieces share one
    record_bytes: dict[str, int]
    lookup_bytes: int  # entries and start bits
    slab_bytes: int  # hosted: what the records' blocks take of the space
    memmap_bytes: dict[int, int]  # bytes per page: bytes in all

    @property
    def total_bytes(self) -> int:
        """Records and lookup together: what a struct page per granule is to be compared with."""
        return sum(self.record_bytes.values()) + self.lookup_bytes

    def __str__(self) -> str:
        rows = [f"{'kind':<14}{'blocks':>12}{'records':>12}{'bytes':>12}"]
        for kind, blocks in self.blocks.items():
            size = format_size(self.record_bytes[kind])
            rows.append(f"{kind:<14}{blocks:>12,}{self.records[kind]:>12,}{size:>12}")
        rows.append(f"{'lookup':<38}{format_size(self.lookup_bytes):>12}")
        rows.append(f"{'in all':<38}{format_size(self.total_bytes):>12}")
        for each, size_bytes in self.memmap_bytes.items():
            rows.append(f"{f'{each} bytes for every page':<38}{format_size(size_bytes):>12}")
        return "\n".join(rows)
