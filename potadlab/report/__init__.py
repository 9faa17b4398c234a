"""What a replay came to: for the terminal, for machines, and as a page to send to someone."""

from .ageing import AgedRun, age
from .page import html_page
from .run import Progress, Run, replay
from .table import info_table

__all__ = ["AgedRun", "Progress", "Run", "age", "html_page", "info_table", "replay"]
