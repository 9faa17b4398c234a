"""The table of kinds: what stands in it, and how it grows."""

import re
import threading
import time

import numpy as np
import pytest
from made import allocate, ops_of, space_of

from potadlab import kinds
from potadlab.core import interface
from potadlab.core.allocators import ALLOCATORS
from potadlab.core.layout import BLOCK, DESCRIPTOR, POISON
from potadlab.core.lookups import heads
from potadlab.core.raster import POISON as POISON_INDEX
from potadlab.errors import BadKind, PotadError
from potadlab.kinds import FAILURES, KIND, KINDS, PINNED_RELEASES, Kind, facts, restored
from potadlab.metrics.descriptors import descriptor_bytes
from potadlab.runs import Case, run_allocator
from potadlab.views import descriptors, theme

SIZES = {  # x86-64 bytes of Linux 6.12, or of the plan; the sketch's two stand out
    "page": 64, "anon": 80, "file": 80, "folio": 80, "shmem": 80, "large_folio": 112, "slab": 64,
    "ptdesc": 64, "xfs_buf": 360, "xfs_buf_6_12": 376, "extent_buffer": 240, "buffer": 104,
    "zpdesc": 64, "net_iov": 48, "network": 48, "swap": 24, "hugetlb": 256, "dax": 64,
    "unknown": 0, "poison": 0, "descriptor": 0, "pipe": 0, "vmalloc": 0, "stack": 0, "driver": 0,
    "kernel": 0, "reserved": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _table_as_it_was():
    with restored():
        yield


def blocks(*numbers):
    found = np.zeros(len(numbers), BLOCK)
    found["kind"], found["granule"] = numbers, np.arange(len(numbers))
    return found


# ---- what stands in it -----------------------------------------------------------------------


def test_the_catalogue_has_the_sizes_of_linux_and_of_the_plan():
    assert {kind.name: kind.record_bytes for kind in KINDS} == SIZES
    assert (KIND["unknown"], KIND["poison"], KIND["descriptor"]) == (0, POISON, DESCRIPTOR)
    assert KINDS[KIND["xfs_buf"]].name == "xfs_buf"


def test_core_is_told_the_size_and_whether_it_moves():
    told = facts()
    assert told["record_bytes"].tolist() == [kind.record_bytes for kind in KINDS]
    assert [kind.name for kind in KINDS if told["movable"][KIND[kind.name]]] == [
        "anon", "file", "folio", "buffer", "hugetlb", "swap", "large_folio", "shmem", "zpdesc",
    ]  # fmt: skip


def test_every_kind_has_rows_of_the_table_of_failure_and_says_what_a_pin_does():
    assert {kind.failure for kind in KINDS} == set(FAILURES)
    refused = {kind.name for kind in KINDS if kind.pinned_release == "refused"}
    assert refused == {"slab", "ptdesc", "swap"}
    assert {kind.pinned_release for kind in KINDS} == set(PINNED_RELEASES)


# ---- registering -----------------------------------------------------------------------------


def test_a_registered_kind_is_one_of_the_table():
    before = len(KINDS)
    kind = Kind.register("mybuf", descriptor_bytes=360, movable=True, meaning="buffers of mine")
    assert KIND["mybuf"] == before == len(KINDS) - 1
    assert KINDS[before] is kind
    assert (kind.record_bytes, kind.movable, kind.failure) == (360, True, "driver")
    assert facts()[before].tolist() == (360, 1, 1)  # movable: of the migratetype of that name


def test_a_cell_run_twice_replaces_callback_and_looks():
    first = Kind.register("mybuf", on_failure=lambda failure: 1)
    again = Kind.register("mybuf", on_failure=lambda failure: 2, meaning="better said")
    assert KINDS[KIND["mybuf"]] is again
    assert (first.on_failure(None), again.on_failure(None)) == (1, 2)
    assert (again.colour, again.meaning) == (first.colour, "better said")
    assert [kind.name for kind in KINDS].count("mybuf") == 1
    assert Kind.register("mybuf").on_failure is None
    assert Kind.register("mybuf", colour="#123456").colour == "#123456"


@pytest.mark.parametrize(
    "other",
    [
        {"descriptor_bytes": 376},
        {"movable": True},
        {"failure": "file"},
        {"pinned_release": "refused"},
    ],
)
def test_the_same_name_with_other_facts_is_refused(other):
    kind = Kind.register("mybuf")
    with pytest.raises(BadKind, match=r"descriptor_bytes=360, movable=False.*another name"):
        Kind.register("mybuf", **other)
    assert KINDS[KIND["mybuf"]] is kind


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "slab"}, "potadlab's own"),
        ({"name": "unknown"}, "potadlab's own"),
        ({"name": ""}, "letters"),
        ({"name": "two words"}, "letters"),
        ({"name": "9lives"}, "letters"),
        ({"name": "line\nbreak"}, "letters"),
        ({"name": "mybuf\n"}, "letters"),
        ({"name": "x" * 32}, "up to 31"),
        ({"name": "<img src=x onerror=hit()>"}, "letters"),
        ({"name": "a&lt;b"}, "letters"),
        ({"colour": '#123456"><script>'}, "#3a93d2"),
        ({"name": "total"}, "none of free"),
        ({"name": "struct_page"}, "none of free"),
        ({"name": 7}, "letters"),
        ({"name": None}, "letters"),
        ({"descriptor_bytes": 15}, "0 for none, or 16"),
        ({"descriptor_bytes": 65537}, "to 65536"),
        ({"descriptor_bytes": -1}, "0 for none"),
        ({"descriptor_bytes": "360"}, "0 for none"),
        ({"descriptor_bytes": 360.0}, "0 for none"),
        ({"descriptor_bytes": False}, "0 for none"),
        ({"movable": "no"}, "True or False"),
        ({"failure": "lru"}, "one of anon, file"),
        ({"failure": ["anon"]}, "one of anon, file"),
        ({"pinned_release": "later"}, "deferred or refused"),
        ({"colour": "red"}, "#3a93d2"),
        ({"colour": "#E8003C"}, "colour of failed memory"),
        ({"colour": 3}, "#3a93d2"),
        ({"meaning": "two\nlines"}, "one line"),
        ({"meaning": None}, "one line"),
        ({"on_failure": "callback"}, "a function"),
    ],
)
def test_what_cannot_be_a_kind_is_refused_in_one_line(asked, said):
    before, names = list(KINDS), dict(KIND)
    with pytest.raises(BadKind, match=re.escape(said)) as refused:
        Kind.register(**{"name": "mybuf", **asked})
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, PotadError)
    assert (before, names) == (list(KINDS), dict(KIND))


@pytest.mark.parametrize("size", [0, 16, 65536, np.int64(48)])
def test_sizes_that_can_be(size):
    assert Kind.register("mybuf", descriptor_bytes=size).record_bytes == size


def test_256_kinds_and_no_more():
    room = 256 - len(KINDS)
    made = [Kind.register(f"kind{number}") for number in range(room)]
    assert len(KINDS) == 256
    with pytest.raises(BadKind, match="all 256 kinds"):
        Kind.register("onemore")
    assert Kind.register("kind0") == made[0]


def test_many_threads_at_once_lose_nothing(monkeypatch):
    together = threading.Barrier(4)

    def slowly():
        time.sleep(1e-4)  # between finding the number and entering the kind: all come here at once
        return "#123456"

    def register(first):
        together.wait()
        for number in range(first, first + 50):
            Kind.register(f"kind{number}")

    monkeypatch.setattr(kinds, "_spare_colour", slowly)
    threads = [threading.Thread(target=register, args=(first,)) for first in (0, 0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {kind.name for kind in KINDS[len(SIZES) :]} == {f"kind{n}" for n in range(150)}
    assert len(KINDS) == len(KIND) == len(SIZES) + 150
    assert all(KINDS[number].name == name for name, number in KIND.items())


def test_what_was_registered_can_be_taken_out_again():
    with restored():
        Kind.register("mybuf")
    assert "mybuf" not in KIND
    assert len(KINDS) == len(KIND) == len(SIZES)


# ---- all that shows kinds follows ------------------------------------------------------------


def test_colours_of_registered_kinds_are_their_own():
    for number in range(30):
        Kind.register(f"kind{number}")
    colours = [kind.colour for kind in KINDS]
    first = len(SIZES) + 12
    assert len(set(colours[:first])) == first
    assert colours.count(KINDS[POISON].colour) == 1
    assert set(colours[first:]) <= set(colours[len(SIZES) : first])


def test_maps_legends_and_lines_follow_the_table():
    ours = KIND[Kind.register("mybuf", colour="#123456").name]
    found = theme.categories(blocks(0, POISON, ours, 255), theme.BY_KIND, 4096)
    none = theme.FIRST_KIND  # 255 is no kind: unknown
    assert found.tolist() == [none, POISON_INDEX, theme.FIRST_KIND + ours, none]
    assert theme.palette(light=True)[found[2]] == "#123456"
    assert ("#123456", "mybuf") in theme.legend_kinds(np.ones(256, bool))
    live = np.zeros((1, 256), np.int64)
    live[0, ours] = 3
    columns = descriptors.columns(np.zeros(1, np.int64), live, 10, 10)
    assert columns["mybuf"].tolist() == [3 * (360 + 8)]
    assert descriptor_bytes(live)[0, ours] == 3 * 368


def test_kinds_beyond_the_palette_share_one_colour():
    while len(KINDS) < 256:
        Kind.register(f"kind{len(KINDS)}")
    found = theme.categories(blocks(*range(2, 256)), theme.BY_KIND, 4096)
    own = theme.FURTHER_KINDS - theme.FIRST_KIND
    assert found[: own - 2].tolist() == list(range(theme.FIRST_KIND + 2, theme.FURTHER_KINDS))
    assert set(found[own - 2 :].tolist()) == {theme.FURTHER_KINDS}
    assert theme.EDGE not in found
    palette, legend = theme.palette(light=False), theme.legend_kinds(np.ones(256, bool))
    assert len(palette) == 256
    shown = [palette[index] for index in found]
    assert shown == [colour for colour, name in legend if name != "unknown"]


@pytest.mark.parametrize("colouring", theme.COLOURINGS)
def test_a_growing_table_moves_no_other_index(colouring):
    before = theme.palette(light=True), theme.categories(blocks(0, 1, 7), colouring, 4096).tolist()
    Kind.register("mybuf")
    after = theme.palette(light=True)
    assert theme.categories(blocks(0, 1, 7), colouring, 4096).tolist() == before[1]
    changed = [index for index in range(256) if before[0][index] != after[index]]
    assert changed == [theme.FIRST_KIND + KIND["mybuf"]]


def test_an_allocator_made_afterwards_keeps_descriptors_of_a_registered_kind():
    ours = KIND[Kind.register("mybuf", descriptor_bytes=1000, movable=True).name]
    case = Case(
        space_of([(0, 512)], (0, 512)), ops_of(allocate(0, 3, kind=ours)), np.zeros(0, BLOCK), 1
    )
    assert run_allocator("potad", case).bytes["descriptors"] == 1000
    state = ALLOCATORS["potad"].new(np.array([(0, 512)]), facts(), caches=0)
    interface.add(state, 0, 512)
    granule = interface.allocate(state, 3, ours, 5, -1, 0, 0)
    assert heads.locate(state.heads, granule + 7) == (granule, 3, ours, 5)
