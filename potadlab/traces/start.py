"""The recorded machine at the start: its zones, what of them was in service, what was alive.

Two sources: the first event of each granule, which decides, and a snapshot for all others.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..core import pairing
from ..core.layout import BLOCK, Flag
from ..core.pairing import Rows, Runs
from ..core.text import PFN_MAX
from ..errors import BadTrace
from ..units import GIB, Zone, end_of
from .snapshot import Snapshot


def zones_of(
    path: Path, metadata: dict[str, Any], rows: Rows, before: Snapshot | None
) -> tuple[Zone, ...]:
    """The trace's zones, else the snapshot's, else one from 0 to the last granule's GiB.

    In order of trial: from the top down, as Linux's zonelist.
    Raises BadTrace where a row lies outside of them, or the snapshot is another machine's.
    """
    told = _told_zones(path, metadata)
    theirs = _told_zones(before.path, before.metadata) if before else ()
    if before and told and theirs and told != theirs:
        raise BadTrace(
            f"{before.path}: its zones are not those of {path}: give its own with --snapshot, "
            "or move this one away"
        )
    zones = told or theirs
    if zones:
        _check_inside(path, rows, zones)
        return zones
    end = int((rows.pfn + (1 << rows.order.astype(np.int64))).max())
    end = max(end, int(before.end[-1]) if before else 1)
    whole = GIB >> int(metadata.get("page_shift", 12))
    return (Zone("RAM", 0, -(-end // whole) * whole),)


def _told_zones(path: Path, metadata: dict[str, Any]) -> tuple[Zone, ...]:
    """Zones of a file's metadata, {name: [start, end)} in granules, the highest first.

    Empty ones are left out.
    """
    try:
        zones = [Zone(name, *map(int, edges)) for name, edges in metadata["zones"].items()]
    except KeyError:
        return ()
    except (AttributeError, OverflowError, TypeError, ValueError):
        zones = [Zone("malformed", -1, 0)]
    zones = sorted((zone for zone in zones if zone.start != zone.end), key=lambda zone: zone.start)
    edges = [edge for zone in zones for edge in (zone.start, zone.end)]
    if edges != sorted(edges) or (edges and not 0 <= edges[0] <= edges[-1] <= PFN_MAX):
        raise BadTrace(f"{path}: metadata zones: write name: [first page, end], not overlapping")
    return tuple(reversed(zones))


def _check_inside(path: Path, rows: Rows, zones: tuple[Zone, ...]) -> None:
    """Each block lies in one zone."""
    size = 1 << rows.order.astype(np.int64)
    outside = rows.pfn >= 0
    for zone in zones:
        outside &= (rows.pfn < zone.start) | (rows.pfn + size > zone.end)
    if outside.any():
        at = int(np.argmax(outside))
        raise BadTrace(
            f"{path}: event {at}: pfn {int(rows.pfn[at]):#x} lies beyond the zones that the "
            f"metadata tells (up to {end_of(zones):#x}): correct the zones, or leave them out"
        )


def ranges_of(runs: Runs, frames: np.ndarray) -> tuple[tuple[int, int], ...]:
    """What is in service at the start, (start, end) in granules, ascending."""
    edges = np.empty(int(pairing.service_edges(runs, frames, np.empty(0, np.int64))), np.int64)
    pairing.service_edges(runs, frames, edges)
    return tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def blocks_of(
    ops: np.ndarray, runs: Runs, frames: np.ndarray, order_max: int, handles: int
) -> tuple[np.ndarray, int]:
    """BLOCK[] alive at the start, and how many of them have assumed boundaries.

    Blocks that are released later keep that release's handle, place and order; the others get
    handles from `handles` on.  Owner 0 owns all.
    """
    count, assumed = pairing.start_blocks(runs, frames, order_max, handles, np.empty(0, BLOCK))
    blocks = np.empty(count, BLOCK)
    pairing.start_blocks(runs, frames, order_max, handles, blocks)
    freed = np.empty(np.count_nonzero(ops["flags"] & Flag.LIVE_AT_START), BLOCK)
    pairing.freed_blocks(ops, runs, freed)
    freed = freed[np.argsort(freed["granule"])]
    places = np.searchsorted(blocks["granule"], freed["granule"])
    return np.insert(blocks, places, freed), int(assumed)
