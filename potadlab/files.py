"""Files that appear under their name when they are whole, and not before."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


class Draft:
    """A file beside `path` that takes its place when kept; a device or pipe is written to.

    Text, unless `binary`.  Raises OSError if it cannot be written.
    """

    def __init__(self, path: Path, binary: bool = False) -> None:
        self._path = path.resolve()  # a link stays a link
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._sweep()
        straight = path.exists() and not path.is_file()
        self._place = path if straight else self._part
        self.file: IO[Any] = (
            self._place.open("wb") if binary else self._place.open("w", encoding="utf-8")
        )

    def _sweep(self) -> None:
        """Remove what writers of this file left when they were killed."""
        theirs = re.compile(rf"\.{re.escape(self._path.name)}\.(\d+)\.part")
        with suppress(OSError):
            for name in os.listdir(self._path.parent):
                writer = theirs.fullmatch(name)
                if writer and not Path(f"/proc/{writer[1]}").exists():
                    (self._path.parent / name).unlink()

    def keep(self) -> None:
        """What was written now stands under the name, also if the machine stops."""
        self.file.flush()
        if self._place == self._part:
            os.fsync(self.file.fileno())
        self.file.close()
        if self._place == self._part:
            self._part.replace(self._path)

    def drop(self) -> None:
        """Leave what stood under the name before; after `keep` this does nothing."""
        with suppress(OSError):
            self.file.close()
        self._part.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Make this the content of the file, or leave the file as it was."""
    draft = Draft(path, binary=isinstance(content, bytes))
    try:
        draft.file.write(content)
        draft.keep()
    finally:
        draft.drop()
