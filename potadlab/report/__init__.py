"""What a replay came to: for the terminal, for machines, and as a page to send to someone."""

from .page import html_page
from .run import Progress, Run, replay
from .table import info_table

__all__ = ["Progress", "Run", "html_page", "info_table", "replay"]
