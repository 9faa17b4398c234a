"""The allocators, by the name people give, and what each can be told.

A spec is a name, or a name with options: "potad:placement=tightest,caches=off".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import tree
from ..lookups.heads import lookup_bytes
from . import buddy, null, potad, recorded

GROUPS_MAX = 64  # of the grouping by kind; further kinds share the last


@dataclass(frozen=True)
class Allocator:
    """How to make one, and what reports must know of it."""

    new: Callable[..., Any]  # new(zones, kinds, **options)
    # (state, live blocks, granules in service) -> bytes of free_structure, descriptors, lookup
    bytes_of: Callable[[Any, int, int], dict[str, int]]
    words: str  # how it is set, in a clause
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # the first word is usual
    order_max: int | None = None  # to which it merges free memory
    needs_record: bool = False  # it is at home in the recorded machine's memory only
    claims_move: bool = False  # a claim may move what is in its way
    claim_refused: str = "no free block of this size"
    claim_untried: str = "it has no claims"


@dataclass(frozen=True)
class Chosen:
    """An allocator with a word for each of its options."""

    spec: str
    name: str
    words: dict[str, str]

    @property
    def allocator(self) -> Allocator:
        return _known()[self.name]

    def new(self, zones: np.ndarray, kinds: np.ndarray, **more: Any) -> Any:
        """A state over `zones` with nothing in service."""
        values = self.allocator.options
        options = {option: values[option][word] for option, word in self.words.items()}
        return self.allocator.new(zones, kinds, **options, **more)


def choose(spec: str) -> Chosen:
    """The allocator and options that `spec` names; ValueError: what is wrong and what there is."""
    name, _, rest = spec.partition(":")
    if name not in _known():
        raise ValueError(f"allocator {name!r} is not there: choose among {', '.join(ALLOCATORS)}")
    options = _known()[name].options
    words = {option: next(iter(values)) for option, values in options.items()}
    for part in filter(None, rest.split(",")):
        option, _, word = part.partition("=")
        if option not in options:
            there = ", ".join(options) or "none"
            raise ValueError(f"{name} has no option {option!r}: there are {there}")
        if word not in options[option]:
            there = ", ".join(options[option])
            raise ValueError(f"{name}: {option} is one of {there}, not {word!r}")
        words[option] = word
    return Chosen(spec, name, words)


def _known() -> dict[str, Allocator]:
    return {**ALLOCATORS, "null": NULL}


def _bytes_of_potad(state: Any, live_blocks: int, granules: int) -> dict[str, int]:
    free_structure = tree.tree_bytes(state.tree)
    return {"free_structure": free_structure} | lookup_bytes(state.heads, live_blocks)


def _bytes_of_linux(state: Any, live_blocks: int, granules: int) -> dict[str, int]:
    """Linux's struct page is all three in one, and stands under descriptors."""
    return {"free_structure": 0, "descriptors": granules * buddy.FRAME.itemsize, "lookup": 0}


ALLOCATORS = {
    "potad": Allocator(
        potad.new,
        _bytes_of_potad,
        "potad has per-CPU front caches for orders 0 to 3",
        {
            "caches": {"on": potad.CPUS, "off": 0},
            "placement": {"lowest": "lowest", "tightest": "tightest"},
            "groups": {"none": 0, "migratetype": 3, "kind": GROUPS_MAX, "lifetime": 4},
        },
        claims_move=True,
        claim_refused="given up: not as many free chunks in a row, down to the alignment",
    ),
    "buddy": Allocator(
        buddy.new,
        _bytes_of_linux,
        "buddy is Linux's core lists without per-CPU lists, compound tails and migratetypes",
        order_max=buddy.ORDER_MAX,
        claim_untried="not tried: the buddy core gives one block, a power of two of at most 4 MiB",
    ),
    "recorded": Allocator(
        recorded.new,
        _bytes_of_linux,
        "recorded is the recorded kernel's own placement",
        order_max=buddy.ORDER_MAX,
        needs_record=True,
        claim_untried="a record cannot answer a claim",
    ),
}
# the harness, timed beside them
NULL = Allocator(null.new, _bytes_of_linux, "null answers at once")
