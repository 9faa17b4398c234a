"""Recorded work -> OP[]: readers of traces and snapshots."""

from .snapshot import Snapshot
from .trace import Trace

__all__ = ["Snapshot", "Trace"]
