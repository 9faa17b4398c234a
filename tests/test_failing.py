"""Failed memory in an allocator: the table is carried out, one granule leaves, one is told once."""

import pytest

import potadlab as pl
from potadlab import kinds
from potadlab.failure import Action, Result, State

PAGE = 4096
KEPT = "kept"  # the block lives on with its failed granule
GONE = "gone"  # the block is gone
PIECES = "pieces"  # the block is cut, the rest of it lives
MOVED = "moved"

# (kind, size, state, pinned, soft, by) -> (outcome, what became of the block, how often it is told)
ROWS = {
    "anon, one page": (("anon", 1, State.MAPPED, 0, False, "linux"), ("Recovered", GONE, 0)),
    "anon, told too": (("anon", 1, State.MAPPED, 0, False, "potad"), ("Recovered", GONE, 1)),
    "clean cache": (("file", 1, State.CLEAN, 0, False, "linux"), ("Recovered", GONE, 0)),
    "dirty cache": (("file", 1, State.DIRTY, 0, False, "potad"), ("Recovered", GONE, 1)),
    "large folio": (("anon", 8, State.MAPPED, 0, False, "linux"), ("Recovered", PIECES, 0)),
    "large, in halves": (("anon", 8, State.MAPPED, 0, False, "potad"), ("Recovered", PIECES, 1)),
    "pinned folio": (("anon", 8, State.MAPPED, 1, False, "linux"), ("Failed", KEPT, 0)),
    "pinned huge page": (("hugetlb", 8, State.MAPPED, 1, False, "linux"), ("Failed", KEPT, 0)),
    "pinned page": (("anon", 1, State.MAPPED, 2, False, "linux"), ("Failed", KEPT, 0)),
    "dirty swap cache": (
        ("anon", 1, State.DIRTY | State.SWAPCACHE, 0, False, "linux"), ("Delayed", KEPT, 0)),
    "slab": (("slab", 2, State.CLEAN, 0, False, "linux"), ("Ignored", KEPT, 0)),
    "slab, told": (("slab", 2, State.CLEAN, 0, False, "potad"), ("Delayed", KEPT, 1)),
    "page table": (("ptdesc", 1, State.CLEAN, 0, False, "linux"), ("Ignored", KEPT, 0)),
    "driver": (("driver", 4, State.CLEAN, 0, False, "linux"), ("Ignored", KEPT, 0)),
    "driver, told": (("driver", 4, State.CLEAN, 0, False, "potad"), ("Delayed", KEPT, 1)),
    "xfs_buf, told": (("xfs_buf", 4, State.CLEAN, 0, False, "potad"), ("Delayed", KEPT, 1)),
    "hugetlb": (("hugetlb", 8, State.MAPPED, 0, False, "linux"), ("Recovered", GONE, 0)),
    "soft, clean cache": (("file", 1, State.CLEAN, 0, True, "linux"), ("Recovered", GONE, 0)),
    "soft, in use": (("anon", 1, State.MAPPED, 0, True, "potad"), ("Recovered", MOVED, 0)),
    "soft, large folio": (("anon", 4, State.MAPPED, 0, True, "linux"), ("Recovered", PIECES, 0)),
    "soft, pinned": (("anon", 1, State.MAPPED, 1, True, "linux"), ("Failed", KEPT, 0)),
    "soft, slab": (("slab", 1, State.CLEAN, 0, True, "linux"), ("Ignored", KEPT, 0)),
}  # fmt: skip


def free_bytes(allocator):
    live = allocator.blocks()
    poisoned = {int(granule) for granule in live["granule"][live["kind"] == 1]}
    used = set()
    for block in live:
        first = int(block["granule"])
        used |= set(range(first, first + (1 << int(block["order"]))))
    return (allocator.space.granules - len(used | poisoned)) * PAGE


@pytest.mark.parametrize(
    ("name", "maker"),
    [(name, pl.Potad) for name in ROWS]
    + [(name, pl.Buddy) for name, ((*_, by), _) in ROWS.items() if by == "linux"],
)
def test_the_table_is_carried_out(name, maker):
    (kind, pages, state, pins, soft, by), (outcome, becomes, told) = ROWS[name]
    potad, heard = maker(pl.Space.ram("256KiB")), []
    neighbour = potad.allocate(PAGE, "anon", "neighbour")
    block = potad.allocate(pages * PAGE, kind, "me", on_failure=heard.append)
    if kinds.facts()["record_bytes"][kinds.KIND[kind]]:
        potad.mark(block, state)
    for _ in range(pins):
        potad.pin(block)
    bad = block.start + (pages // 2) * PAGE + 17
    failure = potad.fail(bad, soft=soft, by=by)
    assert failure.outcome == outcome
    assert (failure.kind, failure.owner) == (kind, "me")
    assert len(heard) == told, "told exactly once, or not at all"
    potad.check()
    assert potad.lookup(neighbour.start).owner == "neighbour"
    found = potad.lookup(bad)
    if becomes == KEPT:
        assert (found.handle, found.size) == (block.handle, block.size)
        for _ in range(pins):
            potad.unpin(block)
        potad.release(block)
    elif becomes == GONE:
        assert found is None or found.kind == "poison"
    elif becomes == MOVED:
        assert potad.lookup(failure.moved_to).handle == block.handle
        potad.release(block)
    else:
        others = [potad.lookup(block.start + i * PAGE) for i in range(pages)]
        assert sum(other.owner == "me" for other in others) == pages - 1
        for start in sorted({other.start for other in others if other.owner == "me"}):
            potad.release(start)
        if failure.moved_to is not None:
            potad.release(failure.moved_to)
    refused = failure.action == Action.NONE
    lost = 0 if refused else 1
    assert free_bytes(potad) == potad.space.bytes - PAGE - lost * PAGE, "one page alone is lost"
    if lost:
        assert potad.unpoison(bad) is True
    assert free_bytes(potad) == potad.space.bytes - PAGE
    potad.check()


def test_free_memory_fails_and_comes_back():
    potad = pl.Potad(pl.Space.ram("64KiB"))
    failure = potad.fail("36KiB")
    assert failure.words == ("Memory failure: 0x9: recovery action for free buddy page: Recovered")
    assert (failure.kind, failure.told) == ("free", ())
    assert potad.lookup("36KiB").kind == "poison"
    assert potad.largest_free_bytes == 32 << 10
    assert potad.fail("36KiB").outcome == Result.FAILED, "already poisoned"
    assert potad.unpoison("36KiB") is True
    with pytest.raises(pl.NotLive, match="nothing has failed"):
        potad.unpoison("36KiB")
    assert potad.largest_free_bytes == 64 << 10
    with pytest.raises(pl.BadAddress):
        potad.fail("64KiB")
    with pytest.raises(pl.UnknownName, match="linux, potad"):
        potad.fail(0, by="windows")


def test_an_owner_that_lets_go_recovers_and_its_neighbours_go_on():
    potad = pl.Potad(pl.Space.ram("64KiB"))
    block = potad.allocate(
        "16KiB", "xfs_buf", "log", on_failure=lambda failure: potad.release(block)
    )
    failure = potad.fail(block.start + 5000)
    assert (failure.outcome, failure.told) == (Result.RECOVERED, ("owner",))
    assert potad.lookup(0) is None
    assert potad.lookup(PAGE).kind == "poison"
    assert potad.allocate("8KiB").start == 8192


@pytest.mark.parametrize(("by", "left"), [("linux", [1, 1, 1, 1, 1, 1, 1]), ("potad", [4, 1, 2])])
def test_linux_cuts_a_folio_into_pages_and_potad_in_halves(by, left):
    potad = pl.Potad(pl.Space.ram("64KiB"))
    folio = potad.allocate("32KiB", "anon", "me")
    potad.mark(folio, State.MAPPED)
    potad.fail(folio.start + 5 * PAGE, by=by)
    live = potad.blocks()
    assert (1 << live["order"][live["kind"] != 1].astype(int)).tolist() == left


def test_what_its_owner_lets_go_of_in_time_is_taken_out():
    """Soft: at once where the owner released it, at release where it promised to."""
    potad = pl.Potad(pl.Space.ram("64KiB"))
    block = potad.allocate(
        "16KiB", "xfs_buf", "log", on_failure=lambda failure: potad.release(block)
    )
    failure = potad.fail(block.start + PAGE, soft=True)
    assert (failure.outcome, failure.action) == (Result.RECOVERED, Action.DRAIN_AND_TAKE_OFF)
    assert potad.lookup(PAGE).kind == "poison"
    kept = potad.allocate("8KiB", "xfs_buf", "log", on_failure=lambda failure: "Delayed")
    failure = potad.fail(kept, soft=True)
    assert (failure.outcome, failure.action) == (Result.DELAYED, Action.KEEP)
    assert potad.lookup(kept).poisoned
    assert potad.release(kept) is True
    assert potad.lookup(kept.start).kind == "poison"
    assert potad.lookup(kept.start + PAGE) is None


@pytest.mark.parametrize("maker", [pl.Potad, pl.Buddy])
def test_pieces_are_their_owners_and_marked_as_the_block_was(maker):
    allocator, heard = maker(pl.Space.ram("64KiB")), []
    block = allocator.allocate("8KiB", "anon", "me", on_failure=heard.append)
    allocator.mark(block, State.DIRTY | State.MAPPED)
    for piece in allocator.split(block, PAGE):
        assert allocator.lookup(piece).state == State.DIRTY | State.MAPPED
        allocator.fail(piece, by="potad")
        assert heard.pop().start == piece.start
    assert not heard


def test_an_owner_that_breaks_is_told_of_in_the_words():
    potad = pl.Potad(pl.Space.ram("64KiB"))

    def broken(failure):
        raise RuntimeError("no log left")

    block = potad.allocate("4KiB", "driver", "gpu", on_failure=broken)
    failure = potad.fail(block)
    assert failure.outcome == Result.FAILED
    assert "no log left" in failure.words
    potad.check()
    assert potad.lookup(0).poisoned


def test_a_kind_tells_all_its_owners():
    with kinds.restored():
        heard = []
        pl.Kind.register("camera", descriptor_bytes=96, on_failure=heard.append)
        potad = pl.Potad(pl.Space.ram("64KiB"))
        block = potad.allocate("8KiB", "camera", "front")
        potad.split(block, "4KiB")
        potad.fail(block.start + PAGE)
        assert [(one.owner, one.kind, one.start) for one in heard] == [("front", "camera", PAGE)]


def test_what_a_front_cache_holds_is_taken_out_by_potad_alone():
    potad = pl.Potad(pl.Space.ram("64KiB"), caches="on")
    block = potad.allocate(PAGE, "anon")
    potad.release(block)
    ignored = potad.fail(block.start, by="linux")
    assert (ignored.outcome, ignored.action) == (Result.IGNORED, Action.NONE)
    assert potad.lookup(block.start) is None
    assert potad.fail(block.start).outcome == Result.RECOVERED
    assert potad.lookup(block.start).kind == "poison"
    potad.check()


def test_nothing_can_move_where_nothing_is_free():
    potad = pl.Potad(pl.Space.ram("16KiB"))
    blocks = [potad.allocate(PAGE, "anon") for _ in range(4)]
    for block in blocks:
        potad.mark(block, State.MAPPED)
    failure = potad.fail(blocks[1], soft=True)
    assert (failure.outcome, failure.action) == (Result.FAILED, Action.NONE)
    assert "migration failed" in failure.words
    assert not potad.lookup(blocks[1].start).poisoned


@pytest.mark.parametrize("by", ["linux", "potad"])
@pytest.mark.parametrize("maker", [pl.Potad, pl.Buddy])
def test_a_large_folio_is_not_cut_for_a_page_that_cannot_move(maker, by):
    full, heard = maker(pl.Space.ram("16KiB")), []
    folio = full.allocate("16KiB", "anon", "me", on_failure=heard.append)
    full.mark(folio, State.MAPPED | State.DIRTY)
    failure = full.fail(folio.start + PAGE, soft=True, by=by)
    assert (failure.outcome, failure.action, failure.moved_to) == ("Failed", "none", None)
    assert "page migration failed" in failure.words
    assert len(heard) == (by == "potad"), "it may succeed if the owner lets go"
    assert full.lookup(0).handle == folio.handle
    assert len(full.trace().ops) == 1
    assert full.release(folio) is True


def test_a_huge_page_with_a_failed_page_in_it_does_not_move():
    potad = pl.Potad(pl.Space.ram("256KiB"))
    huge = potad.allocate("32KiB", "hugetlb", "me")
    potad.pin(huge)
    assert potad.fail(huge.start + PAGE).action == Action.KEEP
    potad.unpin(huge)
    failure = potad.fail(huge.start + 2 * PAGE, soft=True)
    assert (failure.outcome, failure.action) == (Result.FAILED, Action.NONE)
    assert potad.lookup(huge.start).handle == huge.handle


@pytest.mark.parametrize("by", ["linux", "potad"])
def test_a_folio_of_a_terabyte_is_cut_into_few_blocks(by):
    potad = pl.Potad(pl.Space.ram("1.5TiB"))
    guest = potad.allocate("1TiB", "anon", "guest")
    at = (700 << 30) + 5 * PAGE
    assert potad.fail(at, by=by).action == Action.SPLIT_AND_RELEASE
    assert potad.lookup(at).kind == "poison"
    assert potad.lookup(at - PAGE).owner == potad.lookup(at + PAGE).owner == "guest"
    assert potad.lookup(guest.start).size == 512 << 30
    assert potad.lookup(at - PAGE).size == PAGE
    assert len(potad.blocks()) < 600


def test_a_block_that_moved_fails_where_it_lies():
    potad = pl.Potad(pl.Space.ram("64KiB"))
    low, block = potad.allocate(PAGE, "anon", "low"), potad.allocate(PAGE, "anon", "me")
    potad.release(low)
    potad.migrate(block)
    other = potad.allocate(PAGE, "slab", "other")
    assert other.start == block.start, "where it lay before"
    assert potad.lookup(block).owner == "me"
    assert potad.fail(block).owner == "me"
    assert not potad.lookup(other).poisoned
    with pytest.raises(pl.NotLive, match="another allocator's"):
        pl.Potad(potad.space).fail(other)


def test_a_claim_is_not_cut():
    potad = pl.Potad(pl.Space.ram("64KiB"))
    claim = potad.claim("16KiB", "4KiB", owner="camera", kind="anon")
    failure = potad.fail(claim.start + PAGE)
    assert failure.outcome == Result.FAILED
    assert potad.lookup(claim.start).size == 16384
    potad.release(claim)
    assert potad.lookup(claim.start + PAGE).kind == "poison"


def test_the_buddy_does_what_linux_does():
    buddy = pl.Buddy(pl.Space.ram("64KiB"))
    block = buddy.allocate("16KiB", "anon", "me")
    assert buddy.fail(block.start + PAGE).outcome == Result.RECOVERED
    assert [buddy.lookup(i * PAGE).kind for i in range(4)] == ["anon", "poison", "anon", "anon"]
    slab = buddy.allocate(PAGE, "slab", "dentry", on_failure=lambda failure: None)
    assert buddy.fail(slab).outcome == Result.IGNORED
    buddy.check()


def test_the_buddy_counts_pins_and_keeps_marks():
    buddy = pl.Buddy(pl.Space.ram("64KiB"))
    block = buddy.allocate("16KiB", "file", "me")
    buddy.mark(block, State.DIRTY | State.MAPPED)
    buddy.pin(block)
    assert (buddy.lookup(0).pins, buddy.lookup(0).state) == (1, State.DIRTY | State.MAPPED)
    assert "unsplit thp: Failed" in buddy.fail(block).words
    assert buddy.lookup(0).poisoned
    buddy.unpin(block)
    pieces = buddy.split(block, "8KiB")
    assert buddy.lookup(pieces[1]).state == State.DIRTY | State.MAPPED
    assert "mapping (EIO)" in buddy.fail(pieces[1]).told
    moved = buddy.migrate(buddy.allocate(PAGE, "anon", "task"))
    assert buddy.lookup(moved.to).owner == "task"
    with pytest.raises(pl.Pinned, match="slab does not move"):
        buddy.migrate(buddy.allocate(PAGE, "slab", "dentry"))
    buddy.check()
