"""The lab in a notebook: `Dashboard(trace)`, and `Hand(potad, buddy)` for allocators by hand."""

from .hand import Hand
from .lab import Dashboard

__all__ = ["Dashboard", "Hand"]
