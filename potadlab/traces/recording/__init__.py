"""This machine, recorded: page allocations through tracefs, memory through /proc."""

from .machine import Memory
from .recorder import Recorded, record
from .tracefs import check

__all__ = ["Memory", "Recorded", "check", "record"]
