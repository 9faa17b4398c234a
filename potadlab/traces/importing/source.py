"""Bytes of a file or of standard input, unpacked where they are packed, and how far we are."""

import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ...errors import BadTrace

STANDARD_INPUT = "-"
_PEEK_BYTES = 4096

# How a file begins: what unpacks it.
_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
}
# How a file begins that is no text: what to do instead.
_BINARY = {
    b"\x17\x08\x44tracing": "is trace-cmd's own format: give what `trace-cmd report -t` prints",
    b"PERFILE2": "is perf's own format: give what `perf script --ns` prints",
    b"PAR1": "is a trace or snapshot already: give it to the other commands as it is",
}


class Source:
    """What is read once, from front to back."""

    def __init__(self, name: str, file: BinaryIO, bytes_total: int) -> None:
        self.name = name
        self.cut_short = False  # a packed file ended in the middle, as that of a killed recorder
        self._total = bytes_total  # 0: not known
        self._packed = _Counted(file)
        self._file: Any = io.BufferedReader(self._packed, 1 << 20)
        self.start = self._packed.head
        for magic, unpack in _PACKED.items():
            if self.start.startswith(magic):
                self._file = io.BufferedReader(_Unpacked(self, unpack(self._file)), 1 << 16)
                self.start = self._file.peek(_PEEK_BYTES)[:_PEEK_BYTES]
        for magic, remedy in _BINARY.items():
            if self.start.startswith(magic):
                raise BadTrace(f"{name}: {remedy}")

    def readinto(self, room: memoryview) -> int:
        """Fill as much of `room` as there is; 0 at the end.  Raises BadTrace."""
        try:
            return self._file.readinto(room)
        except OSError as error:
            raise BadTrace(
                f"{self.name}: cannot be read ({error.strerror or error}): copy it again"
            ) from None

    def share(self) -> float:
        """How much of the file is read, 0 to 1; 0 where nobody knows."""
        return min(self._packed.count / self._total, 1.0) if self._total else 0.0


class _Counted(io.RawIOBase):
    """A file that counts what was read of it; `head` is how it begins, also of a slow pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self.count = 0
        self.head = b""
        self._file = file
        while len(self.head) < _PEEK_BYTES and (more := file.read(_PEEK_BYTES - len(self.head))):
            self.head += more
        self._left = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        if self._left:
            data, self._left = self._left[: len(room)], self._left[len(room) :]
            room[: len(data)] = data
            return len(data)
        count = self._file.readinto(room)  # type: ignore[attr-defined]  # all binary files have it
        self.count += count or 0
        return count or 0


class _Unpacked(io.RawIOBase):
    """What a decompressor gives; a packed file that ends early ends, one that is broken is told."""

    def __init__(self, source: Source, file: Any) -> None:
        self._source = source
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        try:
            data = self._file.read(len(room))
        except EOFError:
            self._source.cut_short = True
            return 0
        except (OSError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            if "ended" in str(error).lower() or "truncated" in str(error).lower():
                self._source.cut_short = True
                return 0
            said = " ".join(str(error).split())[:80]
            raise BadTrace(
                f"{self._source.name}: does not unpack ({said}): copy it again"
            ) from None
        room[: len(data)] = data
        return len(data)


@contextmanager
def opened(name: str | Path) -> Iterator[Source]:
    """The file of this name, or standard input for "-".  Raises BadTrace."""
    if str(name) == STANDARD_INPUT:
        yield _source("standard input", sys.stdin.buffer, 0)
        return
    with _open(name) as file:
        yield _source(str(name), file, os.fstat(file.fileno()).st_size)


def _source(name: str, file: BinaryIO, bytes_total: int) -> Source:
    try:
        return Source(name, file, bytes_total)
    except OSError as error:
        raise BadTrace(f"{name}: cannot be read ({error.strerror or error})") from None


def _open(name: str | Path) -> BinaryIO:
    try:
        return open(name, "rb", buffering=0)
    except IsADirectoryError:
        raise BadTrace(f"{name}: is a directory: give the text's file") from None
    except FileNotFoundError:
        raise BadTrace(f"{name}: no such file: give the text that was recorded") from None
    except OSError as error:
        raise BadTrace(f"{name}: cannot be read ({error.strerror or error})") from None
