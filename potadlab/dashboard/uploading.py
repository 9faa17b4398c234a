"""A trace from the reader's own disk: picked or dropped on the page, it comes in pieces.

    page     piece 0 ......... piece 1 ......... piece 2
    kernel            more 1 ........... more 2 ......... opened

In pieces because the connection to a kernel closes on a message of more than 10 MiB; one at a time,
so that a large file holds up nothing else.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BadTrace
from ..files import Draft
from ..units import MIB, format_size

BYTES_MAX = 64 * MIB
_MAGIC = b"PAR1"
_SUFFIX = ".parquet"
_NAME_LETTERS = 80


class Upload:
    """One file at a time; `ask(offset)` wants the piece from there, `done(path)` has it all."""

    def __init__(self, ask: Callable[[int], None], done: Callable[[Path], None]) -> None:
        self._ask, self._done = ask, done
        self._draft: Draft | None = None
        self._path = Path()
        self.name, self.size, self.come = "", 0, 0

    def piece(self, message: dict[str, Any]) -> None:
        """A piece from the page; BadTrace, and nothing kept, for what is no trace of ours."""
        try:
            self._piece(message)
        except BaseException:
            self.drop()
            raise

    def _piece(self, message: dict[str, Any]) -> None:
        offset, content = int(message["offset"]), bytes(message["buffers"][0])
        if offset == 0:
            self._begin(str(message["name"]), int(message["size"]), content)
        if self._draft is None or offset != self.come:
            return  # of a file that was refused, or given up for another
        self._draft.file.write(content)
        self.come += len(content)
        if self.come > self.size or (not content and self.come < self.size):
            raise BadTrace(f"{self.name}: it changed while it was read; give it again")
        if self.come < self.size:
            return self._ask(self.come)
        draft, self._draft = self._draft, None
        draft.keep()
        self._done(self._path)

    def _begin(self, name: str, size: int, content: bytes) -> None:
        self.drop()
        name = re.sub(r"[^\w.-]+", "_", Path(name).name)[-_NAME_LETTERS:]
        if size > BYTES_MAX:
            most = format_size(BYTES_MAX)
            raise BadTrace(f"{name}: {format_size(size)}, more than {most}: copy it to this folder")
        if not name.endswith(_SUFFIX) or content[: len(_MAGIC)] != _MAGIC:
            raise BadTrace(f"{name}: no Parquet file; see `potadlab import`")
        self.name, self.size, self.come = name, size, 0
        self._path = Path(f"uploaded_{name}")
        self._draft = Draft(self._path, binary=True)

    def drop(self) -> None:
        """Forget what has come so far."""
        draft, self._draft = self._draft, None
        if draft:
            draft.drop()
