"""What other tools recorded -> a trace or snapshot file."""

from .memory import ImportedSnapshot
from .trace import Imported, import_file

__all__ = ["Imported", "ImportedSnapshot", "import_file"]
