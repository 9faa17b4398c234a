"""What a replay came to: for the terminal, for machines, and as a page to send to someone."""

from .page import html_page
from .run import Progress, Run, replay
from .table import difference_table, info_table

__all__ = ["Progress", "Run", "difference_table", "html_page", "info_table", "replay"]
