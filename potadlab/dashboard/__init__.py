"""The lab in a notebook: `Dashboard(trace)`, `Hand(potad, buddy)` by hand, `show(figure)`.

`Lines(trace)` asks allocators side by side and shows the cache lines that each touches;
`Unmovable(policies)` ages memory with a slider for the share of it that may not move.
`Memory(snapshot)` is a machine's memory on the map, `Live()` this machine as it runs.
"""

from .asking import Lines
from .hand import Hand
from .lab import Dashboard
from .live import Live, Memory
from .stage import show
from .unmovable import Unmovable

__all__ = ["Dashboard", "Hand", "Lines", "Live", "Memory", "Unmovable", "show"]
