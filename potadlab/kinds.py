"""What blocks are for: one table for allocators, reports and pictures, and it grows.

A kind's number is its place in the table, which never changes; core knows numbers only.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Integral
from reprlib import repr as shortened
from typing import Any

import numpy as np

from .core.layout import DESCRIPTOR, KIND_FACTS, POISON
from .core.lookups.heads import HEADER_BYTES
from .errors import BadKind

KINDS_MAX = 256  # an entry has 8 bits for it (core/lookups/heads.py)
RECORD_BYTES_MIN = HEADER_BYTES  # owner, state, pieces, pins
RECORD_BYTES_MAX = 1 << 16
FAILURES = ("anon", "file", "shmem", "hugetlb", "kernel", "driver", "dax", "reserved", "none")
PINNED_RELEASES = ("deferred", "refused")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WORDS = {"free", "time_s", "total", "struct_page"}  # said of memory without a kind, of sums


@dataclass(frozen=True)
class Kind:
    """A use of memory: its descriptor's bytes in POTAD (0: it needs no record) and its colour."""

    name: str
    record_bytes: int
    movable: bool
    colour: str  # colour-blind safe: Okabe and Ito 2008, Tol 2021 (muted, light)
    meaning: str
    failure: str = "driver"  # one of FAILURES: which rows of failure.py's table it takes
    pinned_release: str = (
        "deferred"  # releasing a pinned block waits for its last pin, or "refused"
    )
    on_failure: Callable[[Any], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def migratetype(self) -> int:
        """Linux's, of a request that tells none: 0 unmovable, 1 movable, 2 reclaimable.

        Slab counts as reclaimable: most of it is dentries and inodes (87 % where compile_redis was
        recorded, nr_slab_reclaimable).
        """
        return 2 if self.name == "slab" else int(self.movable)

    @classmethod
    def register(
        cls,
        name: str,
        descriptor_bytes: int = 360,
        movable: bool = False,
        on_failure: Callable[[Any], Any] | None = None,
        colour: str | None = None,
        meaning: str = "",
        failure: str = "driver",
        pinned_release: str = "deferred",
    ) -> "Kind":
        """Add a kind of one's own to the table, for allocators that are made from now on.

        on_failure(failure) is told of failed memory, once; failure.after_telling says what its
        answer does.  Again with the same facts: callback, colour and meaning are replaced.  Raises
        BadKind for a name or facts that cannot be, other facts than before, a table that is full.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _WORDS:
            raise BadKind(
                f"kind {_said(name)}: take up to 31 letters, digits and underscores, "
                f"a letter first, and none of {', '.join(sorted(_WORDS))}"
            )
        _check_facts(name, descriptor_bytes, movable, failure, pinned_release)
        _check_looks(name, colour, meaning, on_failure)
        kind = cls(
            name, int(descriptor_bytes), bool(movable), colour or "", meaning or "registered",
            failure, pinned_release, on_failure,
        )  # fmt: skip
        with _lock:
            return _enter(kind)


# Record bytes: sizes of Linux 6.12 (BTF of Debian's kernel) or of the published memdesc plan;
# folio 80 B, 112 B with the fields of large ones (kernelnewbies MatthewWilcox/Memdescs/Path),
# xfs_buf 360 B (Wilcox, March 2021; it covers 512 to 65536 B) and 376 B (6.12), zpdesc 64 B (6.14).
# Plain kernel pages need none (memdesc type 0, Misc), which also ends the recursion when
# records take their blocks from the space they describe.
KINDS = [  # by number; it grows
    Kind("unknown", 0, False, "#bbbbbb", "not told", "none"),
    Kind("poison", 0, False, "#e8003c", "failed memory, out of service", "none"),  # layout.POISON
    Kind("descriptor", 0, False, "#1a1a40", "records of other blocks", "kernel"),  # .DESCRIPTOR
    Kind("anon", 80, True, "#0072b2", "anonymous memory of processes", "anon"),
    Kind("file", 80, True, "#56b4e9", "page cache", "file"),
    Kind("folio", 80, True, "#3a93d2", "anonymous or page cache, not told", "file"),
    Kind("slab", 64, False, "#e69f00", "kernel objects", "kernel", "refused"),
    Kind("ptdesc", 64, False, "#d55e00", "page tables", "kernel", "refused"),
    Kind("buffer", 104, True, "#c8f0c0", "buffer heads", "file"),
    Kind("network", 48, False, "#cc79a7", "packets", "kernel"),
    Kind("pipe", 0, False, "#aa4499", "pipe buffers", "kernel"),
    Kind("vmalloc", 0, False, "#999933", "vmalloc areas", "kernel"),
    Kind("stack", 0, False, "#ddcc77", "kernel stacks", "kernel"),
    Kind("driver", 0, False, "#882255", "device drivers", "driver"),
    Kind("xfs_buf", 360, False, "#117733", "XFS metadata buffers", "driver"),
    Kind("hugetlb", 256, True, "#332288", "hugetlb folios", "hugetlb"),
    Kind("swap", 24, True, "#6699cc", "swap blocks", "driver", "refused"),
    Kind("kernel", 0, False, "#f0a860", "kernel, use not told", "kernel"),
    Kind("page", 64, False, "#9988ee", "pages that keep a struct page", "kernel"),
    Kind("large_folio", 112, True, "#1f4e9c", "folios of several pages, not told", "file"),
    Kind("shmem", 80, True, "#88ccee", "shared memory and tmpfs", "shmem"),
    Kind("xfs_buf_6_12", 376, False, "#5da271", "XFS metadata buffers of Linux 6.12", "driver"),
    Kind("extent_buffer", 240, False, "#5533cc", "btrfs metadata buffers", "driver"),
    Kind("zpdesc", 64, True, "#bbcc33", "compressed pages (zsmalloc)", "driver"),
    Kind("net_iov", 48, False, "#ee99cc", "device memory for packets", "driver"),
    Kind("dax", 64, False, "#661100", "persistent memory, mapped directly", "dax"),
    Kind("reserved", 0, False, "#6b5b73", "reserved by kernel or firmware", "reserved"),
]
assert (KINDS[POISON].name, KINDS[DESCRIPTOR].name) == ("poison", "descriptor")
_SPARE = (  # for registered kinds without a colour, in turn; Tol 2021, light and bright
    "#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#99ddff", "#44bb99", "#228833", "#ccbb44",
    "#66ccee", "#004488", "#997700", "#ee7733",
)  # fmt: skip
KIND = {kind.name: number for number, kind in enumerate(KINDS)}
_OWN = frozenset(KIND)
_lock = threading.Lock()


def facts() -> np.ndarray:
    """KIND_FACTS[kind]: what core knows of each kind."""
    told = [(kind.record_bytes, kind.movable, kind.migratetype) for kind in KINDS]
    return np.array(told, KIND_FACTS)


@contextmanager
def restored() -> Iterator[None]:
    """Leave the table as it was: for tests.  Nothing made inside may be used afterwards."""
    before = list(KINDS)
    try:
        yield
    finally:
        with _lock:
            KINDS[:] = before
            KIND.clear()
            KIND.update((kind.name, number) for number, kind in enumerate(KINDS))


# ---- what is registered, checked -------------------------------------------------------------


def _enter(kind: Kind) -> Kind:
    number = KIND.get(kind.name, len(KINDS))
    if kind.name in _OWN:
        raise BadKind(f"kind {kind.name} is one of potadlab's own: take another name")
    if number == KINDS_MAX:
        raise BadKind(
            f"kind {kind.name}: all {KINDS_MAX} kinds are taken: use one that is registered, "
            "or start Python anew"
        )
    known = KINDS[number] if number < len(KINDS) else None
    if known is not None and _facts_of(known) != _facts_of(kind):
        raise BadKind(
            f"kind {kind.name} is registered with {_facts_of(known)}: register it with these "
            "again, or take another name"
        )
    if not kind.colour:
        kind = replace(kind, colour=known.colour if known else _spare_colour())
    KINDS[number:] = [kind, *KINDS[number + 1 :]]
    KIND[kind.name] = number  # after the table has it: who finds the number finds the kind
    return kind


def _spare_colour() -> str:
    """The first that nothing has; when all are in use, in turn."""
    used = {kind.colour for kind in KINDS}
    turn = (len(KINDS) - len(_OWN)) % len(_SPARE)
    return next((colour for colour in _SPARE if colour not in used), _SPARE[turn])


def _facts_of(kind: Kind) -> str:
    return (
        f"descriptor_bytes={kind.record_bytes}, movable={kind.movable}, "
        f"failure={kind.failure!r}, pinned_release={kind.pinned_release!r}"
    )


def _said(given: object) -> str:
    """What was given, in one line, shortened."""
    return " ".join(shortened(given).split())


def _check_facts(
    name: str, descriptor_bytes: object, movable: object, failure: object, pinned_release: object
) -> None:
    whole = isinstance(descriptor_bytes, Integral) and not isinstance(descriptor_bytes, bool)
    size = int(descriptor_bytes) if whole else -1  # type: ignore[call-overload]
    if size != 0 and not RECORD_BYTES_MIN <= size <= RECORD_BYTES_MAX:
        raise BadKind(
            f"kind {name}: descriptor_bytes {_said(descriptor_bytes)}: take 0 for none, or "
            f"{RECORD_BYTES_MIN} (the header) to {RECORD_BYTES_MAX}"
        )
    if not isinstance(movable, bool | np.bool_):
        raise BadKind(f"kind {name}: movable {_said(movable)}: take True or False")
    if not isinstance(failure, str) or failure not in FAILURES:
        raise BadKind(f"kind {name}: failure {_said(failure)}: take one of {', '.join(FAILURES)}")
    if not isinstance(pinned_release, str) or pinned_release not in PINNED_RELEASES:
        raise BadKind(
            f"kind {name}: pinned_release {_said(pinned_release)}: take "
            f"{' or '.join(PINNED_RELEASES)}"
        )


def _check_looks(name: str, colour: object, meaning: object, on_failure: object) -> None:
    if colour is not None and not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
        raise BadKind(f"kind {name}: colour {_said(colour)}: write it as #3a93d2, or leave it out")
    if colour is not None and str(colour).lower() == KINDS[POISON].colour:
        raise BadKind(f"kind {name}: {colour} is the colour of failed memory: take another")
    if not isinstance(meaning, str) or not (meaning.isprintable() and len(meaning) <= 200):
        raise BadKind(f"kind {name}: meaning {_said(meaning)}: write one line of text")
    if on_failure is not None and not callable(on_failure):
        raise BadKind(
            f"kind {name}: on_failure {_said(on_failure)}: give a function of one failure"
        )
