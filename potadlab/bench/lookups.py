"""Suite lookup: from an address to kind, order and owner, over a million blocks."""

from ..core.lookups import LOOKUPS
from ..metrics import latency
from .measuring import Figure, Figures, Progress, ratio

BLOCKS, SIZE = 10**6, "1e6"


def measure(tell: Progress) -> Figures:
    """Of every lookup, by turns; and POTAD's against memmap, which returns the same."""
    blocks, granules = latency.generated(BLOCKS)
    tell(0.2, f"{len(LOOKUPS)} lookups")
    timed = latency.measure(
        blocks, granules, tuple(LOOKUPS), lookups_timed=1 << 20, updates=True, kind_order=True
    )
    found = {name: Figure(**figure) for name, figure in latency.figures(timed, SIZE).items()}
    for what in ("independent", "dependent"):
        one, other = (f"lookup.{name}.{SIZE}.{what}_ns" for name in ("heads", "memmap"))
        ratio(found, f"lookup.heads.{SIZE}.{what}_to_memmap", one, other)
    return found
