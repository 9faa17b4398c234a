"""The lab in a notebook: `Dashboard(trace)`, `Hand(potad, buddy)` by hand, `show(figure)`."""

from .hand import Hand
from .lab import Dashboard
from .stage import show

__all__ = ["Dashboard", "Hand", "show"]
