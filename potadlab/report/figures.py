"""The figures of a run, by the names that `potadlab replay --json` promises.

What is not measured is left out, never guessed.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.layout import Verb
from ..metrics import lines
from ..metrics.fragmentation import at_a_moment
from ..metrics.latency import Latency
from ..runs import chosen
from ..session import Session
from . import meters
from .meters import Meters

Times = dict[str, dict[str, float]]  # by allocator: {"median", "best", "null"} in ns per op


def as_dict(
    session: Session, times: Times, latencies: list[Latency], counted: Meters
) -> dict[str, Any]:
    """One replayed trace as plain numbers and names."""
    space = session.space
    off = {found.allocator: found for found in session.distances()}
    return {
        "potadlab": __version__,
        "machine": machine(),
        "loop": "open",
        "trace": session.trace.info(),
        "space": {"bytes": space.bytes, "granule_bytes": space.granule_bytes},
        "runs": [
            run_figures(session, name, times)
            | meters.figures(counted, name)
            | ({"distance": off[name].as_dict()} if name in off else {})
            for name in session.names
        ],
        "lookups": [
            lookup_figures(found) | _lookup_lines(counted, found.lookup) for found in latencies
        ],
    }


def machine() -> dict[str, Any]:
    """What the times were measured on."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy")},
    }


def _cpu() -> str:
    """The processor's name as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def run_figures(session: Session, name: str, times: Times) -> dict[str, Any]:
    """What came of one allocator; bytes and free blocks at the end of the trace."""
    run = session.runs[name]
    free_blocks = np.trim_zeros(run.census.free_blocks[-1], "b").tolist()
    end = at_a_moment(run.census.free_blocks[-1], session.space.granule_bytes)
    means = run.census.unusable_means
    return {
        "allocator": name,
        "options": chosen(name).words,
        "ops": {
            "allocate": _asked(session, Verb.ALLOCATE),
            "release": _asked(session, Verb.RELEASE),
            "refused": run.refused,
        },
        **({"ns_per_op": times[name]} if name in times else {}),
        "bytes": run.bytes,
        "free_blocks": free_blocks,
        "unusable_index": {
            size: {"mean": round(means[size], 4), "end": index}
            for size, index in end["unusable_index"].items()
        },
        **{name: end[name] for name in ("fragmentation_index", "blocks_available")},
        "largest_free_bytes": end["largest_free_bytes"],
        "spoilt_regions": int(run.census.spoilt[-1]),
        "peak_live_bytes": run.live_bytes_max,
    }


def _asked(session: Session, verb: Verb) -> int:
    return int(np.count_nonzero(session.ops["verb"] == verb))


def _lookup_lines(counted: Meters, name: str) -> dict[str, Any]:
    return lines.lookup_figures(counted.lookups[name]) if name in counted.lookups else {}


def _rounded(ns: float | None) -> float | None:
    return None if ns is None else round(ns, 2)


def lookup_figures(found: Latency) -> dict[str, Any]:
    """Of one lookup; p50 and p99 are of batches, each the mean of 16 dependent lookups.

    insert and erase are None for one that is read only.
    """
    return {
        "lookup": found.lookup,
        "blocks": found.blocks,
        "ns": {
            "independent": round(found.independent_ns, 2),
            "dependent": round(found.dependent_ns, 2),
            "p50": round(found.p50_ns, 2),
            "p99": round(found.p99_ns, 2),
            "insert": _rounded(found.insert_ns),
            "erase": _rounded(found.erase_ns),
        },
        "bytes_per_block": round(found.bytes_per_block, 2),
    }
