"""Recorded work -> OP[]: readers of traces and snapshots, importers of what tools print."""

from .importing import import_file
from .snapshot import Snapshot
from .trace import Trace

__all__ = ["Snapshot", "Trace", "import_file"]
