"""What every allocator and lookup can do.  States are NamedTuples of arrays, changed in place.

`granule` is always absolute in the space.  Refusal is a value (NONE), a fault of ours an assert.
"""

from ._jit import generic

# ---- allocators -----------------------------------------------------------------------------


@generic
def add(state, start, end):
    """Bring the granules start .. end - 1 into service, free; they were not in service."""


@generic
def adopt(state, granule, order, kind, owner):
    """Take note of a block that is live at the start; its granules are not in service as free."""


@generic
def allocate(state, order, kind, owner, granule, cpu, group):
    """Take a free block of 2**order granules; return its first granule, or NONE.

    `granule` is where the recorded kernel placed it; only `recorded` looks.  `cpu` asks; `group`
    is whom it is to lie beside, 0: no matter.
    """


@generic
def release(state, granule, cpu):
    """Give back the live block that starts at `granule`; return its order, or NONE if none does.

    PUT_OFF where it is pinned: it goes with its last pin.  HELD where pins hold a chunk of a
    claim: it stays live.
    """


@generic
def split(state, granule, order):
    """Make the live block at `granule` into blocks of 2**order; return its own order, or NONE."""


@generic
def claim(state, granules, align_order, kind, owner, moves):
    """Take `granules` in a row, aligned to 2**align_order.

    Returns (first granule or NONE, steps tried, order of its chunks, blocks moved).  moves: MOVE[];
    empty: nothing may be moved; else room for every block that can lie in the way, filled in
    address order.  Released chunk by chunk.
    """


@generic
def migrate(state, granule):
    """Move the live block that starts at `granule` elsewhere: (its new start or NONE, Outcome)."""


@generic
def holder(state, granule):
    """The live block that holds `granule`: (start, order); start is NONE if none does."""


@generic
def drain(state):
    """Give back to the free memory what front caches hold; return how many blocks."""


@generic
def pin(state, granule):
    """Let the block that holds `granule` stay where it is (get_user_pages): DONE, or ABSENT.

    IGNORED where the block has no record to count on, REFUSED where there is no room for one.
    """


@generic
def unpin(state, granule):
    """Take one pin away: (Outcome, order).

    DONE; RELEASED if a release had waited for it, then with the block's order; ABSENT if none.
    """


@generic
def fail(state, granule):
    """A granule has failed: take it out of service now or at release; return the Outcome."""


@generic
def unpoison(state, granule):
    """Bring a failed granule back into service, now (DONE) or at release (POISONED_LIVE)."""


@generic
def check(state):
    """Assert every invariant of `state`.  Slow; for tests and for the worried."""


# ---- lookups --------------------------------------------------------------------------------


@generic
def store(index, granule, order, kind, owner):
    """Make every granule of the block answer with it."""


@generic
def erase(index, granule):
    """Forget the block that starts at `granule`; return its order, or NONE if none does."""


@generic
def locate(index, granule):
    """The live block that holds `granule`: (start, order, kind, owner); start is NONE if free."""


@generic
def bytes_of(index, live_blocks, granules):
    """Bytes in use, {"lookup", "descriptors"}, with so many live blocks and granules in service."""
