"""The allocators, by the name people give, and what each can be told.

A spec is a name, or a name with options: "potad:placement=tightest,caches=off".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import interface, tree
from .._jit import kernel
from ..layout import NONE
from ..linux import memdesc
from ..linux.pages import FRAME
from ..linux.state import ALL_MARKS, NO_MARKS, ORDER_MAX, ZONE_MARKS
from ..lookups.heads import lookup_bytes
from ..meter import Guard, Part
from . import buddy, llfree, null, potad, recorded

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
    claims_ranges: bool = False  # a step of a claim is a range that was tried
    claim_refused: str = "no free block of this size"
    claim_untried: str = "it has no claims"
    cpus: str = ""  # the option that says how many CPUs have something of their own
    # which arrays the lock of a zone guards; one not named: whenever it is written
    guards: Mapping[str, Guard] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()  # arrays of the model's own, which what it models has not
    parts: Mapping[str, Part] = field(
        default_factory=dict
    )  # what arrays are for; else what is free


@dataclass(frozen=True)
class Chosen:
    """An allocator with a word for each of its options."""

    spec: str
    name: str
    words: dict[str, str]

    @property
    def allocator(self) -> Allocator:
        return _known()[self.name]

    @property
    def order_max(self) -> int | None:
        """To which it merges free memory; None: as far as it goes."""
        told = self.words.get("max_order")
        return self.allocator.order_max if told is None else int(told)

    @property
    def grouping(self) -> str:
        """By what ops are told whom to lie beside (`potadlab/grouping.py`)."""
        told = "linux" if self.words.get("migratetypes") == "on" else "none"
        return self.words.get("groups", told)

    def new(self, zones: np.ndarray, kinds: np.ndarray, **more: Any) -> Any:
        """A state over `zones` with nothing in service."""
        values = self.allocator.options
        options = {option: values[option][word] for option, word in self.words.items()}
        return self.allocator.new(zones, kinds, **(options | more))

    def for_cpus(self, cpus: int) -> dict[str, int]:
        """What `new` is to be told for so many CPUs; nothing where none has anything of its own."""
        option = self.allocator.cpus
        if option and self.allocator.options[option][self.words[option]]:
            return {option: cpus}
        return {}


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
    zones = state.tree.zones
    return {"free_structure": free_structure} | lookup_bytes(state.heads, live_blocks, zones)


def _bytes_of_linux(state: Any, live_blocks: int, granules: int) -> dict[str, int]:
    """Linux's struct page is all three in one, and stands under descriptors."""
    return {"free_structure": 0, "descriptors": granules * FRAME.itemsize, "lookup": 0}


def _bytes_of_buddy(state: Any, live_blocks: int, granules: int) -> dict[str, int]:
    """List heads, per-CPU lists, 4 bits for each pageblock; and struct page, or memdescs."""
    heads = state.lists.nbytes + state.pcps.nbytes + state.pcp_lists.nbytes
    if isinstance(state.pages, memdesc.Memdescs):
        found = memdesc.bytes_of(state.pages, granules)
    else:
        found = _bytes_of_linux(state, live_blocks, granules)
    return found | {"free_structure": heads + (granules >> state.block_order) // 2}


# POTAD's lock is that of the free tree, start bits and arenas.  A block's own entry and record are
# its taker's; a CPU's front caches and magazines are its own.
_POTAD_GUARDS = {
    **dict.fromkeys(("tree.words", "tree.nodes"), Guard.ALWAYS),
    **dict.fromkeys(("heads.slots", "heads.records", "heads.bodies"), Guard.NEVER),
    **dict.fromkeys(("stacks", "heads.magazines"), Guard.NEVER),
}
# zone->lock is held from the first write of a list head or zone counter to the last; watermarks
# are read without it, pages before and after are the caller's, per-CPU lists the CPU's
_BUDDY_GUARDS = dict.fromkeys(("pages", "pcps", "pcp_lists"), Guard.NEVER)
# what Linux has not: types told from the start, tables of kinds
_BUDDY_UNCOUNTED = ("votes", "counts", "kind_types", "pages.kind_movable")
# an entry leads to kind, order and owner; a record is what the kind needs besides
_POTAD_PARTS = {
    **dict.fromkeys(("heads.arenas", "heads.records", "heads.freed"), Part.DESCRIPTOR),
    **dict.fromkeys(("heads.bodies", "heads.slabs", "heads.magazines"), Part.DESCRIPTOR),
    "heads": Part.LOOKUP,
}
_BUDDY_PARTS = {
    "pages.frames": Part.PAGE,
    "pages.words": Part.WORD,
    **dict.fromkeys(("pages.arenas", "pages.records"), Part.DESCRIPTOR),
}
_LOCK_FREE = dict.fromkeys(llfree.LlfreeState._fields[:6], Guard.NEVER)  # all its arrays

_BUDDY = {
    "pcp": {"on": buddy.CPUS, "off": 0},
    "tails": {"on": 1, "off": 0},
    "migratetypes": {"on": 1, "off": 0},
    "watermarks": {"zones": ZONE_MARKS, "on": ALL_MARKS, "off": NO_MARKS},
    "max_order": {str(order): order for order in (10, *range(10), 11, 12, 13)},
    "descriptor": {"page": "page", "memdesc": "memdesc"},
    "highatomic": {"on": 1, "off": 0},
    "boost": {"off": 0, "on": 1},
    "page": {"4KiB": 12, "16KiB": 14, "64KiB": 16, "8KiB": 13, "512B": 9},
}
_AREAS = {f"{mib}MiB": mib << 20 for mib in (256, 2, 4, 8, 16, 32, 64, 128, 512)} | {
    f"{gib}GiB": gib << 30 for gib in (1, 2, 4, 8)
}

ALLOCATORS = {
    "potad": Allocator(
        potad.new,
        _bytes_of_potad,
        "potad has per-CPU front caches for orders 0 to 3 and 2 MiB",
        {
            "caches": {"on": potad.CPUS, "off": 0},
            "placement": {"lowest": "lowest", "tightest": "tightest"},
            "groups": {"none": 0, "migratetype": 3, "kind": GROUPS_MAX, "lifetime": 4},
            "records": {"on": True, "off": False},
        },
        claims_move=True,
        claim_refused="given up: not as many free chunks in a row, down to the alignment",
        cpus="caches",
        guards=_POTAD_GUARDS,
        parts=_POTAD_PARTS,
    ),
    "buddy": Allocator(
        buddy.new,
        _bytes_of_buddy,
        "buddy is Linux 6.12's: per-CPU lists, compound tails, migratetypes, unless told off",
        _BUDDY,
        order_max=ORDER_MAX,
        claim_untried="not tried: the buddy core gives one block, a power of two of at most 4 MiB",
        cpus="pcp",
        guards=_BUDDY_GUARDS,
        uncounted=_BUDDY_UNCOUNTED,
        parts=_BUDDY_PARTS,
    ),
    "cma": Allocator(
        buddy.new,
        _bytes_of_buddy,
        "cma is buddy with one CMA area, which movable memory uses meanwhile",
        {
            "area": _AREAS,
            "bit_order": {str(order): order for order in range(10)},
            **_BUDDY,
            "migratetypes": {"on": 1},
        },
        order_max=ORDER_MAX,
        claims_ranges=True,
        claim_refused="given up: each range of the area is claimed, or holds what cannot move",
        claim_untried="not tried: there is no room for the area",
        cpus="pcp",
        guards=_BUDDY_GUARDS,
        uncounted=_BUDDY_UNCOUNTED,
        parts=_BUDDY_PARTS,
    ),
    "llfree": Allocator(
        llfree.new,
        llfree.bytes_of,
        "llfree is a single-threaded model of LLFree, over Linux's struct page with compound tails",
        {
            "children": {"8": 8, "32": 32},
            "cpus": {"8": 8, "1": 1, "32": 32},
            "groups": {"none": 1, "migratetype": 3},
            "tails": {"on": 1, "off": 0},
        },
        order_max=llfree.ORDER_MAX,
        claim_untried="not tried: LLFree gives one block, a power of two of at most 4 MiB",
        cpus="cpus",
        guards=_LOCK_FREE,
        parts={"frames": Part.PAGE},
    ),
    "recorded": Allocator(
        recorded.new,
        _bytes_of_linux,
        "recorded is the recorded kernel's own placement",
        order_max=ORDER_MAX,
        needs_record=True,
        claim_untried="a record cannot answer a claim",
        guards=_POTAD_GUARDS,
        parts=_POTAD_PARTS,
    ),
}
USUAL = ("potad", "buddy", "recorded")  # where nobody names any, with those registered
_NEEDED = (interface.add, interface.adopt, interface.allocate, interface.release)
_OWN: list[str] = []


def own() -> tuple[str, ...]:
    """The allocators that were registered."""
    return tuple(_OWN)


def usual() -> tuple[str, ...]:
    """The allocators where nobody names any."""
    return (*USUAL, *_OWN)


def register(name: str, allocator: Allocator, state: type) -> None:
    """Add an allocator of somebody's own, or put it in the place of the one before.

    state: the class of its states.  Verbs that it has not are answered as such.  ValueError: a name
    of ours, or a verb that is needed is missing.
    """
    if name in _known() and name not in _OWN:
        raise ValueError(f"allocator {name!r} is there already: choose another name")
    for verb in _NEEDED:
        if state not in verb.implementations:
            raise ValueError(
                f"allocator {name!r}: {state.__name__} has no {verb.__name__}: register one with "
                f"@pl.interface.{verb.__name__}.register over @pl.kernel"
            )
    for verb, lacking in _LACKING.items():
        verb.implementations.setdefault(state, lacking)
    ALLOCATORS[name] = allocator
    if name not in _OWN:
        _OWN.append(name)


@kernel
def _no_split(state, granule, order):
    return np.int64(NONE)


_LACKING = {interface.split: _no_split} | {
    verb: verb.implementations[null.NullState]
    for verb in (
        interface.claim, interface.migrate, interface.holder, interface.drain, interface.pin,
        interface.unpin, interface.fail, interface.unpoison, interface.check,
    )
}  # fmt: skip
# the harness, timed beside them
NULL = Allocator(null.new, _bytes_of_linux, "null answers at once")
