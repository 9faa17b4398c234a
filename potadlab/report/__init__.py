"""What a replay came to: for the terminal, for machines, and as a page to send to someone."""

from .ageing import AgedRun, age
from .page import html_page
from .run import Progress, Run, replay
from .table import difference_table, info_table

__all__ = [
    "AgedRun", "Progress", "Run", "age", "difference_table", "html_page", "info_table", "replay",
]  # fmt: skip
