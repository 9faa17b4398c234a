"""HIGHATOMIC reserves: pageblocks kept for requests of order > 0 that may not wait.

`reserve_highatomic_pageblock`, `unreserve_highatomic_pageblock`.  Such a request is told by its
group (1 + HIGHATOMIC) and counts as one below the low watermark only, as in the slow path.  Nobody
reclaims here, so all that is reserved is given up before anything is refused, where Linux keeps one
pageblock until reclaim has failed for long.
"""

import numpy as np

from .._jit import kernel
from ..bits import align_down
from ..layout import NONE
from .lists import cut_free, list_of, move_block
from .state import HIGHATOMIC, PCP_TYPES, type_of


@kernel
def reserve(state, zone, granule):
    """Keep the pageblock that has served a request, up to 1 % of the zone, in whole pageblocks."""
    own, size = state.zones[zone], np.int64(1) << state.block_order
    share = own["managed"] // 100
    if share < size or own["reserved"] >= (share + size - 1) // size * size:
        return
    start, before = align_down(granule, state.block_order), type_of(state, granule)
    if before < PCP_TYPES and own["start"] <= start and start + size <= own["end"]:
        move_block(state, zone, start, before, np.int64(HIGHATOMIC))
        own["reserved"] += size


@kernel
def unreserve(state, migratetype):
    """Give up the first reserved pageblock that has free memory; False if there is none."""
    for zone in range(len(state.zones)):
        for order in range(state.orders):
            granule = np.int64(list_of(state, zone, order, HIGHATOMIC)["first"])
            if granule != NONE:
                start, size = align_down(granule, state.block_order), np.int64(1)
                cut_free(state, zone, start)
                move_block(state, zone, start, np.int64(HIGHATOMIC), migratetype)
                state.zones[zone]["reserved"] -= size << state.block_order
                return True
    return False
