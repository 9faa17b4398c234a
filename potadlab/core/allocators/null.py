"""The harness alone: an allocator that does nothing, to time what replaying itself costs."""

from typing import NamedTuple

import numpy as np

from .. import interface
from .._jit import kernel, state
from ..layout import NONE, Outcome


@state
class NullState(NamedTuple):
    nothing: np.ndarray


def new(zones: np.ndarray, kinds: np.ndarray) -> NullState:
    """It has nothing to set up."""
    return NullState(np.zeros(1, np.int64))


@interface.add.register
@kernel
def add(state: NullState, start, end):
    pass


@interface.adopt.register
@kernel
def adopt(state: NullState, granule, order, kind, owner):
    pass


@interface.allocate.register
@kernel
def allocate(state: NullState, order, kind, owner, granule, cpu, group):
    return np.int64(0)


@interface.release.register
@kernel
def release(state: NullState, granule, cpu):
    return np.int64(0)


@interface.split.register
@kernel
def split(state: NullState, granule, order):
    return np.int64(order)


@interface.claim.register
@kernel
def claim(state: NullState, granules, align_order, kind, owner, moves):
    return np.int64(NONE), np.int64(0), np.int64(0), np.int64(0)


@interface.migrate.register
@kernel
def migrate(state: NullState, granule):
    return np.int64(NONE), np.int64(Outcome.IGNORED)


@interface.holder.register
@kernel
def holder(state: NullState, granule):
    return np.int64(NONE), np.int64(0)


@interface.drain.register
@kernel
def drain(state: NullState):
    return np.int64(0)


@interface.pin.register
@kernel
def pin(state: NullState, granule):
    return np.int64(Outcome.IGNORED)


@interface.unpin.register
@kernel
def unpin(state: NullState, granule):
    return np.int64(Outcome.IGNORED), np.int64(NONE)


@interface.fail.register
@kernel
def fail(state: NullState, granule):
    return np.int64(Outcome.IGNORED)


@interface.unpoison.register
@kernel
def unpoison(state: NullState, granule):
    return np.int64(Outcome.IGNORED)


@interface.check.register
@kernel
def check(state: NullState):
    pass
