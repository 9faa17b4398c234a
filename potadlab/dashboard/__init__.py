"""The lab in a notebook: `Dashboard(trace)`, `Hand(potad, buddy)` for allocators by hand.

`Memory(snapshot)` is a machine's memory on the map, `Live()` this machine as it runs.
"""

from .hand import Hand
from .lab import Dashboard
from .live import Live, Memory

__all__ = ["Dashboard", "Hand", "Live", "Memory"]
