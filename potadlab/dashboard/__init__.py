"""The lab in a notebook: `Dashboard(trace)`, `Hand(potad, buddy)` by hand, `show(figure)`.

`Memory(snapshot)` is a machine's memory on the map, `Live()` this machine as it runs.
"""

from .hand import Hand
from .lab import Dashboard
from .live import Live, Memory
from .stage import show

__all__ = ["Dashboard", "Hand", "Live", "Memory", "show"]
