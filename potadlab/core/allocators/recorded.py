"""`recorded`: no allocator, but where the recorded kernel put each block.  The ground truth.

A block goes where its op says; a place that is taken, failed or out of service is refused.  It
cannot react, so a claim is not its business.
"""

import numpy as np

from .. import blocks, interface, tree
from .._jit import inlined, kernel
from ..layout import NONE


class RecordedState(blocks.Blocks):
    """Blocks, placed by the recorded kernel."""


blocks.register(RecordedState)


def new(zones: np.ndarray, kinds: np.ndarray) -> RecordedState:
    """A record over `zones` with nothing in service."""
    return blocks.new(RecordedState, zones, kinds)


@interface.allocate.register
@inlined
def allocate(state: RecordedState, order, kind, owner, granule, cpu, group):
    zone = tree.zone_of(state.tree, granule) if granule != NONE else np.int64(NONE)
    misaligned = granule & ((np.int64(1) << order) - 1) != 0
    if zone == NONE or misaligned or tree.free_order(state.tree, zone, granule) < order:
        return np.int64(NONE)
    tree.enter(state.tree, zone, granule, order)
    blocks.take(state, zone, granule, order, kind, owner)
    return granule


@interface.claim.register
@kernel
def claim(state: RecordedState, granules, align_order, kind, owner, moves):
    return np.int64(NONE), np.int64(0), np.int64(0), np.int64(0)
