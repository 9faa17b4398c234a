"""The lab in a notebook: `Dashboard(trace)`, `Hand(potad, buddy)` by hand, `show(figure)`.

`Lines(trace)` asks allocators side by side and shows the cache lines that each touches.
`Memory(snapshot)` is a machine's memory on the map, `Live()` this machine as it runs.
"""

from .asking import Lines
from .hand import Hand
from .lab import Dashboard
from .live import Live, Memory
from .stage import show

__all__ = ["Dashboard", "Hand", "Lines", "Live", "Memory", "show"]
