"""The allocators, by the name people give: name -> new(zones, record_bytes)."""

from .. import tree
from ..blocks import Blocks
from ..lookups.heads import lookup_bytes
from . import buddy, null, potad, recorded

ALLOCATORS = {"potad": potad.new, "buddy": buddy.new, "recorded": recorded.new}
NULL = null.new  # the harness, timed beside them
# how each is set here: what a reader must know to compare them
OPTIONS = {
    "potad": {"front_caches_cpus": potad.CPUS, "groups": 0, "placement": "lowest"},
    "buddy": {"per_cpu_lists": False, "compound_tails": False, "migratetypes": False},
    "recorded": {},
}
# the largest order to which an allocator merges free memory, where there is one
ORDERS_MAX = {"buddy": buddy.ORDER_MAX, "recorded": buddy.ORDER_MAX}


def bytes_of(name: str, state, live_blocks: int, granules: int) -> dict[str, int]:
    """Bytes of `free_structure`, `descriptors` and `lookup` for `granules` in service.

    Linux's struct page is all three in one, and stands under descriptors; `recorded` is the
    recorded kernel's, so it is counted alike.
    """
    if isinstance(state, Blocks) and name == "potad":
        return {"free_structure": tree.tree_bytes(state.tree)} | lookup_bytes(
            state.heads, live_blocks
        )
    return {"free_structure": 0, "descriptors": granules * buddy.FRAME.itemsize, "lookup": 0}
