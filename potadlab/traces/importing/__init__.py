"""Recorded text -> a trace file: what ftrace, perf script and trace-cmd report print."""

from .trace import Imported, import_trace

__all__ = ["Imported", "import_trace"]
