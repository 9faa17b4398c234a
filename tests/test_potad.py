"""POTAD and the buddy in the hand: what is given back, what is refused and with which words."""

import numpy as np
import pytest

import potadlab as pl
from potadlab.core.layout import BLOCK, NONE, Verb
from potadlab.errors import PotadError
from potadlab.potad import Block, reckoning

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def potad():
    return pl.Potad(pl.Space.ram("64KiB"))


@pytest.fixture(params=[pl.Potad, pl.Buddy])
def any_one(request):
    return request.param(pl.Space.ram("64KiB"))


def shape(allocator):
    """All that a caller can see."""
    live = allocator.blocks()
    state = live[["granule", "order", "kind", "owner", "handle"]].tolist()
    trace = allocator.trace()
    told = len(trace.ops), trace.handles, trace.owners, allocator.owners
    return state, allocator.largest_free_bytes, allocator.live_bytes, *told


def test_a_block_is_found_from_each_of_its_bytes(any_one):
    block = any_one.allocate("8KiB", kind="anon", owner="me")
    assert (block.size, block.order, block.kind, block.owner) == (8192, 1, "anon", "me")
    for address in (block.start, block.start + 1, block.start + 8191):
        found = any_one.lookup(address)
        assert (found.start, found.size, found.kind, found.owner) == (
            block.start,
            8192,
            "anon",
            "me",
        )
    assert any_one.lookup(block.end) is None
    assert any_one.release(block) is True
    assert any_one.lookup(block.start) is None
    assert any_one.largest_free_bytes == 64 * KIB


WRONG = {  # the call, its error, and what it must say
    "a list for a kind": (lambda a, b: a.allocate("4KiB", ["anon"]), pl.UnknownName, "anon"),
    "descriptors asked for": (
        lambda a, b: a.allocate("4KiB", "descriptor"), pl.UnknownName, "descriptor"),
    "no such CPU": (lambda a, b: a.allocate("4KiB", cpu=256), pl.UnknownName, "0 to 255"),
    "no CPU, released": (lambda a, b: a.release(b, cpu=-1), pl.UnknownName, "0 to 255"),
    "nobody to call": (
        lambda a, b: a.allocate("4KiB", on_failure="me"), pl.BadKind, "function of one failure"),
    "no state": (lambda a, b: a.mark(b, "dirty"), pl.UnknownName, "State.DIRTY"),
    "mark of free memory": (lambda a, b: a.mark(0xC000, 1), pl.NotLive, "free"),
    "failure by nobody": (lambda a, b: a.fail(b, by=""), pl.UnknownName, "linux, potad"),
    "no handle": (lambda a, b: a.block("a"), pl.NotLive, "handle a"),
    "no power of two": (lambda a, b: a.allocate("6KiB"), pl.BadSize, "6KiB.*power of two.*8 KiB"),
    "smaller than a granule": (lambda a, b: a.allocate(512), pl.BadSize, "at least 4 KiB"),
    "no size": (lambda a, b: a.allocate("much"), pl.BadSize, "not understood"),
    "nothing": (lambda a, b: a.allocate(0), pl.BadSize, "power of two"),
    "kind unknown": (lambda a, b: a.allocate("4KiB", "teapot"), pl.UnknownName, "teapot.*anon"),
    "poison asked for": (lambda a, b: a.allocate("4KiB", kind="poison"), pl.UnknownName, "poison"),
    "more than is free": (lambda a, b: a.allocate("64KiB"), pl.OutOfSpace, "64 KiB.*32 KiB"),
    "double release": (lambda a, b: a.release(b), pl.NotLive, "released before"),
    "inside a block": (lambda a, b: a.release(b.start + 4096), pl.NotLive, "inside.*8 KiB at 0x0"),
    "inside a granule": (lambda a, b: a.release(b.start + 1), pl.NotLive, "inside"),
    "free memory": (lambda a, b: a.release(0xC000), pl.NotLive, "0xc000.*free"),
    "outside": (lambda a, b: a.release("1MiB"), pl.BadAddress, "0x100000.*0x0-0xffff"),
    "outside, looked up": (lambda a, b: a.lookup(64 * KIB), pl.BadAddress, "not in service"),
    "below all": (lambda a, b: a.lookup(-1), pl.BadAddress, "not in service"),
    "another's block": (
        lambda a, b: a.release(pl.Potad(a.space).allocate("4KiB")), pl.NotLive, "another"),
    "alignment above the size": (lambda a, b: a.claim("8KiB", "16KiB"), pl.BadSize, "multiple"),
    "alignment no power": (lambda a, b: a.claim("24KiB", "12KiB"), pl.BadSize, "power of two"),
    "claim of no multiple": (lambda a, b: a.claim("12KiB", "8KiB"), pl.BadSize, "multiple.*8 KiB"),
    "claim of nothing": (lambda a, b: a.claim(0, "4KiB"), pl.BadSize, "claim"),
    "alignment 0": (lambda a, b: a.claim("8KiB", 0), pl.BadSize, "alignment 0:.*4 KiB"),
    "claim of half a granule": (lambda a, b: a.claim("6KiB"), pl.BadSize, "claim of 6KiB.*4 KiB"),
    "claim beyond all": (
        lambda a, b: a.claim("4000PiB", "4KiB", migrate=True), pl.OutOfSpace, "64 KiB"),
    "new owner refused": (lambda a, b: a.claim("64KiB", owner="you"), pl.OutOfSpace, "32 KiB"),
    "split into more": (lambda a, b: a.split(b, "16KiB"), pl.BadSize, "8 KiB or less"),
    "pin of free memory": (lambda a, b: a.pin(0xC000), pl.NotLive, "free"),
    "unpin without a pin": (lambda a, b: a.unpin(b), pl.NotLive, "no pin"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_what_would_work_and_changes_nothing(any_one, name):
    block, (call, error, words) = any_one.allocate("8KiB", "anon", "me"), WRONG[name]
    assert block.start == 0
    if name == "double release":
        any_one.release(block)
    before = shape(any_one)
    with pytest.raises(error, match=words) as told:
        call(any_one, block)
    assert "\n" not in str(told.value)
    assert isinstance(told.value, PotadError)
    assert shape(any_one) == before
    any_one.check()


def test_what_is_failed_or_holds_descriptors_is_not_called_free(any_one):
    any_one.fail(0)
    for call in (any_one.release, any_one.pin, any_one.migrate):
        with pytest.raises(pl.NotLive, match="it is failed"):
            call(0)
    hosted = pl.Potad(pl.Space.ram("64KiB"), hosted=True)
    hosted.allocate("4KiB", "anon")
    (slab,) = (at for at in (0, 4096) if hosted.lookup(at).kind == "descriptor")
    for call in (hosted.release, hosted.pin, hosted.split, hosted.migrate):
        with pytest.raises(pl.NotLive, match="it holds descriptors"):
            call(slab, *["4KiB"] * (call == hosted.split))


def test_a_claim_may_be_given_wherever_a_block_may(potad):
    claim = potad.claim("16KiB", "4KiB", owner="camera", kind="anon")
    potad.pin(claim)
    assert potad.lookup(claim).pins == 1
    potad.unpin(claim)
    potad.mark(claim, 1)
    assert potad.lookup(claim.end - 1).state == 1
    with pytest.raises(pl.Pinned, match="in a claim"):
        potad.migrate(claim)
    with pytest.raises(pl.BadSize, match="chunk of a claim"):
        potad.split(claim, "4KiB")
    assert potad.fail(claim).owner == "camera"
    potad.release(claim)
    with pytest.raises(pl.NotLive, match="released before"):
        potad.pin(claim)


def test_a_block_is_not_cut_into_more_pieces_than_can_be_told():
    potad = pl.Potad(pl.Space.ram("1.5TiB"))
    guest = potad.allocate("1TiB")
    with pytest.raises(pl.BadSize, match=r"268,435,456 blocks at once"):
        potad.split(guest, "4KiB")
    with pytest.raises(pl.BadSize, match=r"blocks at once"):
        potad.claim((256 << 30) + 4096, "4KiB")
    assert len(potad.split(guest, "512GiB")) == 2


def test_what_front_caches_hold_can_be_had():
    potad = pl.Potad(pl.Space.ram("64KiB"), caches="on")
    for block in [potad.allocate("4KiB") for _ in range(16)]:
        potad.release(block)
    assert potad.largest_free_bytes == 64 * KIB
    assert potad.allocate("64KiB").start == 0


def test_pieces_share_a_descriptor_and_go_one_by_one(potad):
    block = potad.allocate("16KiB", "anon", "me")
    pieces = potad.split(block, "4KiB")
    assert [piece.start for piece in pieces] == [0, 4096, 8192, 12288]
    assert potad.lookup(pieces[3].start).pieces == 4
    assert potad.descriptors().records["anon"] == 1
    potad.release(pieces[1])
    assert potad.lookup(pieces[0].start).pieces == 3
    with pytest.raises(pl.NotLive):
        potad.release(block)
    for piece in (pieces[0], pieces[2], pieces[3]):
        potad.release(piece)
    assert potad.largest_free_bytes == 64 * KIB
    assert potad.descriptors().total_bytes == potad.descriptors().lookup_bytes


def test_a_pinned_block_waits_for_its_last_pin(any_one):
    block = any_one.allocate("8KiB", "anon", "me")
    any_one.pin(block.start + 5000)
    any_one.pin(block)
    with pytest.raises(pl.Pinned):
        any_one.split(block, "4KiB")
    assert any_one.release(block) is False
    with pytest.raises(pl.NotLive, match="waits"):
        any_one.release(block)
    assert any_one.unpin(block.start) is False
    assert any_one.unpin(block.start) is True
    assert any_one.lookup(block.start) is None


def test_what_moves_keeps_what_its_descriptor_says(potad):
    block = potad.allocate("8KiB", "anon", "me")
    potad.mark(block, 3)
    potad.lookup(block).body[:] = 9
    moved = potad.migrate(block)
    found = potad.lookup(moved.to)
    assert (found.start, found.owner, found.state, found.handle) == (
        moved.to,
        "me",
        3,
        block.handle,
    )
    assert (found.body == 9).all()
    assert potad.lookup(moved.start) is None


def test_pins_are_counted_on_the_descriptor(potad):
    block = potad.allocate("8KiB", "anon", "me")
    potad.pin(block)
    assert potad.lookup(block.start).pins == 1
    with pytest.raises(pl.Pinned, match="stays"):
        potad.migrate(block)
    plain = potad.allocate("4KiB", "pipe")
    with pytest.raises(pl.NoDescriptor, match="no descriptor"):
        potad.pin(plain)


def test_a_pinned_piece_counts_alone(potad):
    first, second = potad.split(potad.allocate("8KiB", "anon", "me"), "4KiB")
    potad.pin(first)
    assert (potad.lookup(first.start).pins, potad.lookup(second.start).pins) == (1, 0)
    assert potad.lookup(first.start).owner == potad.lookup(second.start).owner == "me"
    assert potad.release(second) is True
    assert potad.release(first) is False


def test_a_piece_that_is_pinned_keeps_the_state_and_the_body_of_its_descriptor(potad):
    block = potad.allocate("8KiB", "xfs_buf", "log")
    potad.mark(block, 3)
    potad.lookup(block).body[:] = 7
    first, second = potad.split(block, "4KiB")
    potad.pin(first)
    assert potad.descriptors().records["xfs_buf"] == 2
    for piece in (first, second):
        found = potad.lookup(piece)
        assert (found.owner, found.state) == ("log", 3)
        assert (found.body == 7).all()
    potad.unpin(first)
    assert potad.release(second) is potad.release(first) is True
    assert potad.descriptors().total_bytes == potad.descriptors().lookup_bytes, "both records went"


def test_what_is_free_ends_at_the_border_of_a_zone():
    none, served = np.zeros(0, BLOCK), np.array([(0, 16)])
    zones = [(8, 16), (0, 8)]
    assert reckoning.gaps(none, served, zones) == [(0, 8), (8, 16)]
    assert reckoning.largest_free_order(none, served, zones) == 3
    assert reckoning.longest_row(none, served, zones, 0) == 8


SKETCH = {  # MiB of 16 that are taken: (chunks' size, start) in MiB, steps
    (): (8, 0, 1),
    (0,): (8, 8, 1),
    (0, 15): (4, 4, 2),
    (0, 1, *range(10, 16)): (2, 2, 3),
    (0, *range(9, 16)): (1, 1, 4),
}


def mebibytes_taken(taken):
    """16 MiB of which these are taken."""
    potad = pl.Potad(pl.Space.ram("16MiB", granule="64KiB"))
    for place, block in enumerate([potad.allocate("1MiB") for _ in range(16)]):
        if place not in taken:
            potad.release(block)
    return potad


@pytest.mark.parametrize("taken", SKETCH)
def test_the_sketch_of_2021_literally(taken):
    """8 MB at 1 MB alignment: one chunk, two adjacent 4 MB, 4 x 2 MB, 8 x 1 MB."""
    chunk, start, steps = SKETCH[taken]
    claim = mebibytes_taken(taken).claim("8MiB", "1MiB", owner="camera")
    assert (claim.start, claim.size) == (start * MIB, 8 * MIB)
    assert [each.start for each in claim.chunks] == [
        place * MIB for place in range(start, start + 8, chunk)
    ]
    tried = [(1, 8), (2, 4), (4, 2), (8, 1)][:steps]
    assert [(step.chunks, step.chunk_bytes // MIB) for step in claim.steps] == tried
    assert [step.found for step in claim.steps] == [False] * (steps - 1) + [True]
    assert claim.maker.lookup(claim.end - 1).owner == "camera"


def test_then_it_gives_up():
    with pytest.raises(pl.OutOfSpace, match=r"1 x 8 MiB: no; 2 x 4 .* 8 x 1 MiB: no;.*4 MiB"):
        mebibytes_taken((0, 8)).claim("8MiB", "1MiB")


def test_a_claim_is_released_whole_or_in_part(potad):
    potad.allocate("4KiB")
    claim = potad.claim("24KiB", "8KiB", owner="camera")
    potad.release(claim.chunks[1])
    assert potad.lookup(claim.chunks[1].start) is None
    assert potad.lookup(claim.chunks[0].start).owner == "camera"
    with pytest.raises(pl.NotLive):
        potad.release(claim.chunks[1])
    potad.release(claim)
    assert potad.lookup(claim.start) is None
    with pytest.raises(pl.NotLive, match="released before"):
        potad.release(claim)
    assert potad.descriptors().blocks == {"kernel": 1}


def test_a_claim_that_is_pinned_stays_whole():
    potad = pl.Potad(pl.Space.ram("64KiB"))
    claim = potad.claim("16KiB", "4KiB", owner="camera", kind="anon")
    potad.pin(claim.start + 10000)
    with pytest.raises(pl.Pinned):
        potad.release(claim)
    assert potad.lookup(claim.start).pins == 1
    potad.unpin(claim.start)
    potad.release(claim)
    assert potad.largest_free_bytes == 64 * KIB


def test_migration_empties_the_cheapest_window_and_tells_its_cost(potad):
    movable = [potad.allocate("4KiB", "anon", f"task {i}") for i in range(16)]
    for block in movable[::2]:
        potad.release(block)
    fixed = potad.allocate("4KiB", "slab", "dentry")  # the lowest free page: 0
    with pytest.raises(pl.OutOfSpace, match=r"1 x 16 KiB: no; 2 x 8 KiB: no; 4 x 4 KiB: no"):
        potad.claim("16KiB", "4KiB")
    claim = potad.claim("16KiB", "4KiB", owner="camera", migrate=True)
    assert fixed.start == 0
    assert fixed.start not in range(claim.start, claim.end)
    assert claim.moved_bytes == 8 * KIB
    assert not any(step.found for step in claim.steps)
    for move in claim.moves:
        found = potad.lookup(move.to)
        assert (found.handle, found.kind) == (move.handle, "anon")
    owners = {potad.lookup(m.to).owner for m in claim.moves}
    assert owners == {b.owner for b in movable if b.handle in {m.handle for m in claim.moves}}
    for move in claim.moves:  # a block is its handle, wherever it lies
        assert potad.release(movable[move.handle]) is True


def test_the_next_cheapest_window_is_emptied_where_the_cheapest_cannot_be():
    """Four pages in a row find no place among single pages; the single pages do beside them."""
    potad = pl.Potad(pl.Space.ram("128KiB"))
    potad.allocate("16KiB", "anon", "in a row")
    for block in [potad.allocate("4KiB", "anon") for _ in range(28)]:
        if block.start >> 12 not in (17, 21, 25, 29, 31):
            potad.release(block)
    claim = potad.claim("64KiB", "64KiB", migrate=True)
    assert (claim.start, claim.moved_bytes) == (64 * KIB, 20 * KIB)
    assert potad.lookup(0).owner == "in a row"
    potad.check()


def test_pinned_and_unmovable_memory_is_respected(potad):
    blocks = [potad.allocate("4KiB", "anon") for _ in range(16)]
    for block in blocks[1::2]:
        potad.release(block)
    for block in blocks[::2]:
        potad.pin(block)
    with pytest.raises(pl.OutOfSpace, match="no window could be emptied"):
        potad.claim("16KiB", "4KiB", migrate=True)
    potad.unpin(blocks[0])
    potad.unpin(blocks[2])
    assert potad.claim("16KiB", "4KiB", migrate=True).start == 0


def test_a_terabyte_of_a_flat_machine_and_what_an_x86_one_has():
    flat = pl.Potad(pl.Space.ram("1.5TiB"))
    guest = flat.allocate("1TiB", kind="folio", owner="guest 7")
    assert flat.lookup(guest.start + 12345).owner == "guest 7"
    flat.release(guest)
    flat.allocate("4KiB")
    with pytest.raises(pl.OutOfSpace, match=r"1 TiB.*largest free block has 512 GiB"):
        flat.allocate("1TiB")
    holes = pl.Space.ranges([("4KiB", "640KiB"), ("1MiB", "3GiB"), ("4GiB", "1538GiB")])
    usual = pl.Potad(holes)
    with pytest.raises(pl.OutOfSpace, match="largest free block has 512 GiB"):
        usual.allocate("1TiB")
    claim = usual.claim("1TiB", align="1GiB", owner="guest 7")
    assert (claim.start, claim.steps[-1].found) == (512 << 30, True)


def test_granules_of_512_bytes_over_three_terabytes():
    potad = pl.Potad(pl.Space.ram("3TiB", granule=512))
    blocks = [potad.allocate("1TiB"), potad.allocate("1TiB"), potad.allocate("512GiB")]
    last = potad.allocate(512, "xfs_buf", "log")
    assert [block.start >> 30 for block in blocks] == [0, 1024, 2048]
    assert potad.lookup(last.start).record_bytes == 360
    top = potad.claim("256GiB", "1GiB", owner="top")
    assert top.end == 3 << 40
    assert potad.lookup((3 << 40) - 1).owner == "top"


def test_descriptors_by_kind_against_a_word_per_page():
    potad = pl.Potad(pl.Space.ram("16MiB"))
    for _ in range(10):
        potad.allocate("4KiB", "anon")
    potad.allocate("64KiB", "xfs_buf")
    potad.allocate("4KiB", "kernel")
    found = potad.descriptors()
    assert found.blocks == {"anon": 10, "xfs_buf": 1, "kernel": 1}
    assert found.records == {"anon": 10, "xfs_buf": 1, "kernel": 0}
    assert found.record_bytes == {"anon": 800, "xfs_buf": 360, "kernel": 0}
    assert found.memmap_bytes == {64: 262144, 32: 131072, 16: 65536, 8: 32768}
    assert "xfs_buf" in str(found)


def test_the_body_of_a_descriptor_is_the_owners_to_write(potad):
    block = potad.allocate("4KiB", "xfs_buf", "log")
    body = potad.lookup(block.start).body
    assert len(body) == 360 - 16
    body[:4] = (1, 2, 3, 4)
    assert potad.lookup(block.start + 100).body[:4].tolist() == [1, 2, 3, 4]
    assert potad.lookup(potad.allocate("4KiB", "kernel").start).body is None


def test_hosted_descriptors_lie_in_the_space_itself():
    potad = pl.Potad(pl.Space.ram("64KiB"), hosted=True)
    blocks = []
    while potad.largest_free_bytes:
        blocks.append(potad.allocate("4KiB", "anon"))
    found = potad.descriptors()
    assert len(blocks) == 15
    assert found.slab_bytes == 4096
    assert potad.lookup(0).kind in ("anon", "descriptor")
    for block in blocks:
        potad.release(block)
    assert potad.allocate("64KiB", "kernel").start == 0


def test_a_refusal_for_want_of_a_descriptor_says_so():
    potad = pl.Potad(pl.Space.ram("4KiB"), hosted=True)
    with pytest.raises(pl.OutOfSpace, match=r"descriptor of anon memory.*such as kernel"):
        potad.allocate("4KiB", "anon")
    assert potad.allocate("4KiB", "kernel").start == 0


def test_a_refused_claim_says_how_much_lies_in_a_row(potad):
    potad.allocate("4KiB")
    with pytest.raises(pl.OutOfSpace, match="at this alignment 56 KiB lie free in a row"):
        potad.claim("64KiB", "8KiB")
    assert potad.claim("56KiB", "8KiB").start == 8192
    buddy = pl.Buddy(potad.space)
    with pytest.raises(pl.OutOfSpace, match="one block, a power of two") as told:
        buddy.claim("24KiB", "8KiB")
    assert "migrate=True" not in str(told.value)


def test_groups_keep_apart_and_stealing_is_counted():
    potad = pl.Potad(pl.Space.ram("4MiB"), groups="migratetype")
    slab, anon = potad.allocate("4KiB", "slab"), potad.allocate("4KiB", "anon")
    assert slab.start >> 21 != anon.start >> 21
    assert (potad.stolen, potad.changed) == (0, 0)
    while potad.stolen == 0:
        potad.allocate("4KiB", "slab")
    assert potad.changed == 1, "nearly all of the other chunk was free"
    with pytest.raises(pl.UnknownName, match="groups is one of none"):
        pl.Potad(potad.space, groups="colour")


def test_what_was_done_by_hand_is_a_trace(any_one):
    block = any_one.allocate("8KiB", "anon", "me")
    any_one.split(block, "4KiB")
    with pytest.raises(pl.OutOfSpace):
        any_one.allocate("64KiB")
    trace = any_one.trace()
    assert [Verb(op["verb"]) for op in trace.ops] == [Verb.ALLOCATE, Verb.SPLIT]
    again = pl.replay(trace, ["potad", "buddy"])
    assert [len(live) for live in again.at("100%").values()] == [2, 2]


def test_each_op_of_a_small_space_is_remembered_and_told(any_one):
    seen = []
    stop = any_one.on_change(lambda a: seen.append(len(a.history)))
    any_one.allocate("8KiB", "anon", "me")
    with pytest.raises(pl.OutOfSpace):
        any_one.allocate("64KiB")
    stop()
    any_one.drain()
    assert seen == [2, 3]
    assert [shape.ok for shape in any_one.history] == [True, True, False, True]
    assert "8 KiB" in any_one.history[1].words
    assert any_one.history[1].blocks["granule"].tolist() == [0]
    assert pl.Potad(pl.Space.ram("1MiB")).history == []


def test_several_allocators_at_once_know_nothing_of_each_other():
    one, other = pl.Potad(pl.Space.ram("64KiB")), pl.Potad(pl.Space.ram("64KiB"))
    one.allocate("64KiB", owner="a")
    assert other.lookup(0) is None
    both = pl.Potad(pl.Space.join(pl.Space.ram("64KiB"), pl.Space.ram("64KiB", start="1MiB")))
    assert [both.allocate("64KiB").start for _ in range(2)] == [0, MIB]


def test_a_space_is_asked_for():
    with pytest.raises(pl.BadSpace, match=r"'64KiB' is no space.*Space.ram"):
        pl.Potad("64KiB")


def test_an_owner_may_be_any_object(potad):
    assert potad.lookup(potad.allocate("4KiB", owner=7)).owner == "7"
    assert potad.owners == ["7"]


def test_a_block_says_what_it_is(potad):
    block = potad.allocate("8KiB", "anon", "me")
    assert str(block) == "8 KiB at 0x0 (anon, me)"
    assert isinstance(block, Block)
    assert "largest free block 32 KiB" in repr(potad)
    assert potad.lookup(block.start).handle == block.handle != NONE
    assert np.array_equal(potad.in_service(), [[0, 16]])


def test_what_a_refusal_drained_is_kept_for_the_replay():
    potad = pl.Potad(pl.Space.ram("64KiB"), caches="on")
    potad.release(potad.allocate("4KiB"))
    with pytest.raises(pl.OutOfSpace):
        [potad.allocate("64KiB") for _ in range(2)]
    assert [int(op["verb"]) for op in potad.trace().ops][-1] == Verb.DRAIN
    potad.check()


def test_chunks_of_an_emptied_window_go_back_one_by_one():
    """Words below a free extent are not written when it is taken whole; its chunks are smaller."""
    potad = pl.Potad(pl.Space.ram("1MiB"))
    pages = [potad.allocate("4KiB", "anon") for _ in range(256)]
    for page in pages[:128] + pages[129:]:
        potad.release(page)
    claim = potad.claim("640KiB", align="128KiB", migrate=True)
    assert (claim.start, len(claim.moves), len(claim.chunks)) == (0, 1, 5)
    potad.release(claim.chunks[0])
    potad.check()
    assert potad.allocate("128KiB", "anon").start == 0
    others = {chunk.start for chunk in claim.chunks[1:]}
    assert not others & {potad.allocate("128KiB", "anon").start for _ in range(2)}
