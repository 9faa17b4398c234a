"""The lab in a notebook: `Dashboard(trace)`."""

from .lab import Dashboard

__all__ = ["Dashboard"]
