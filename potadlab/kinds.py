"""What blocks are for: one table for allocators, reports and pictures."""

from dataclasses import dataclass

import numpy as np

from .core.layout import DESCRIPTOR, KIND_FACTS, POISON


@dataclass(frozen=True)
class Kind:
    """A use of memory: its descriptor's bytes in POTAD (0: it needs no record) and its colour."""

    name: str
    record_bytes: int
    movable: bool
    colour: str  # colour-blind safe: Okabe and Ito 2008, Tol 2021 (muted)
    meaning: str


# Record bytes: sizes of Linux 6.12 (BTF of Debian's kernel) or of the published memdesc plan;
# folio 80 B (kernelnewbies MatthewWilcox/Memdescs/Path), xfs_buf 360 B (Wilcox, March 2021).
# Plain kernel pages need none (memdesc type 0, Misc), which also ends the recursion when
# records take their blocks from the space they describe.
KINDS = (
    Kind("unknown", 0, False, "#bbbbbb", "not told"),
    Kind("poison", 0, False, "#e8003c", "failed memory, out of service"),  # core: layout.POISON
    Kind("descriptor", 0, False, "#885533", "records of other blocks"),  # layout.DESCRIPTOR
    Kind("anon", 80, True, "#0072b2", "anonymous memory of processes"),
    Kind("file", 80, True, "#56b4e9", "page cache"),
    Kind("folio", 80, True, "#3a93d2", "anonymous or page cache, not told"),
    Kind("slab", 64, False, "#e69f00", "kernel objects"),
    Kind("ptdesc", 64, False, "#d55e00", "page tables"),
    Kind("buffer", 104, True, "#44aa99", "buffer heads"),
    Kind("network", 48, False, "#cc79a7", "packets"),
    Kind("pipe", 0, False, "#aa4499", "pipe buffers"),
    Kind("vmalloc", 0, False, "#999933", "vmalloc areas"),
    Kind("stack", 0, False, "#ddcc77", "kernel stacks"),
    Kind("driver", 0, False, "#882255", "device drivers"),
    Kind("xfs_buf", 360, False, "#117733", "XFS metadata buffers"),
    Kind("hugetlb", 256, True, "#332288", "hugetlb folios"),
    Kind("swap", 24, True, "#6699cc", "swap blocks"),
    Kind("kernel", 0, False, "#f0a860", "kernel, use not told"),
)
assert (KINDS[POISON].name, KINDS[DESCRIPTOR].name) == ("poison", "descriptor")
KIND = {kind.name: index for index, kind in enumerate(KINDS)}


def facts() -> np.ndarray:
    """KIND_FACTS[kind]: what core knows of each kind."""
    return np.array([(kind.record_bytes, kind.movable) for kind in KINDS], KIND_FACTS)
