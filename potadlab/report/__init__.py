"""What a replay came to: for the terminal, for machines, and as a page to send to someone."""

from .ageing import AgedRun, age
from .claims import claim_table
from .page import html_page
from .run import Progress, Run, replay
from .table import difference_table, info_table

__all__ = [
    "AgedRun", "Progress", "Run", "age", "claim_table", "difference_table", "html_page",
    "info_table", "replay",
]  # fmt: skip
