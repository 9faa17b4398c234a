"""A swap file as a space: its slots are granules, and POTAD hands them out.

As the sketch has it (Wilcox, addendum of 29 March 2021, lkml 2103.3/07080): swap registers the
space of its file and allocates powers of two from it.  The file is Linux's own, as mkswap makes it;
pages are really written to it and read back.
"""

import fcntl
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from uuid import UUID

from .errors import BadSize, BadSwap, NotLive, OutOfSpace
from .potad import Block, Potad
from .units import Space, Zone, format_size, parse_size

SWAPS = Path("/proc/swaps")
PAGE_SIZES = (
    4 << 10,
    8 << 10,
    16 << 10,
    64 << 10,
)  # the header does not say, the magic's place does
MAGIC = b"SWAPSPACE2"  # the last bytes of the first page
# union swap_header of include/linux/swap.h: after 1024 bytes for the boot loader, and before the
# bad pages, 117 words of padding
_INFO = struct.Struct("3I16s16s")
_INFO_AT, _BAD_PAGES_AT = 1024, 1536


@dataclass(frozen=True)
class Header:
    """What the first page of a swap file says."""

    page_bytes: int
    version: int
    last_page: int
    bad_pages: tuple[int, ...]  # as listed
    uuid: UUID
    label: str
    byte_order: str  # "little" or "big"

    @classmethod
    def read(cls, page: bytes, source: str) -> "Header":
        """The header at the beginning of `page`, in either byte order.

        Raises BadSwap, which names `source`, for what Linux refuses (read_swap_header and
        setup_swap_map_and_extents of mm/swapfile.c).
        """
        page_bytes = _page_bytes(page, source)
        mark, version, last_page, bad_count, uuid, label = _unpack_info(page, source)
        room = (page_bytes - len(MAGIC) - _BAD_PAGES_AT) // 4
        if bad_count > room:
            raise BadSwap(f"{source}: {bad_count} bad pages, where the header has room for {room}")
        if last_page == 0:
            raise BadSwap(f"{source}: an empty swap area: make it anew with mkswap")
        bad_pages = struct.unpack_from(f"{mark}{bad_count}I", page, _BAD_PAGES_AT)
        for bad_page in bad_pages:
            if not 0 < bad_page <= last_page:
                raise BadSwap(f"{source}: bad page {bad_page}: pages are 1 to {last_page}")
        if len(set(bad_pages)) == last_page:
            raise BadSwap(f"{source}: every page is bad: make it anew with mkswap")
        name = label.split(b"\0")[0].decode(errors="replace")
        order = "little" if mark == "<" else "big"
        return cls(page_bytes, version, last_page, bad_pages, UUID(bytes=uuid), name, order)

    @property
    def space(self) -> Space:
        """The slots, but for slot 0, which is this header, and the bad ones."""
        end, start, ranges = self.last_page + 1, 1, []
        for bad_page in sorted({*self.bad_pages, end}):
            if start < bad_page:
                ranges.append((start, bad_page))
            start = bad_page + 1
        name = self.label or f"swap of {format_size(end * self.page_bytes)}"
        return Space(name, self.page_bytes, tuple(ranges), (Zone("swap", 0, end),))


def _page_bytes(page: bytes, source: str) -> int:
    for size in PAGE_SIZES:
        if page[size - len(MAGIC) : size] == MAGIC:
            return size
    raise BadSwap(f"{source}: not a swap file, no {MAGIC.decode()} ends its first page: use mkswap")


def _unpack_info(page: bytes, source: str) -> tuple[str, int, int, int, bytes, bytes]:
    """("<" or ">", version, last_page, nr_badpages, uuid, label), this machine's order first."""
    marks = "<>" if sys.byteorder == "little" else "><"
    for mark in marks:
        info = struct.unpack_from(mark + _INFO.format, page, _INFO_AT)
        if info[0] == 1:
            return (mark, *info)
    (version,) = struct.unpack_from(marks[0] + "I", page, _INFO_AT)
    raise BadSwap(f"{source}: swap version {version} is not known: make it with mkswap, version 1")


@dataclass(frozen=True)
class Piece:
    """A block of slots with its part of the data; in bytes of the file."""

    start: int
    size: int
    checksum: int  # zlib.crc32


@dataclass(frozen=True, eq=False)
class Swapped:
    """Data that is out: the handle to bring it back with."""

    owner: str
    size: int
    pieces: tuple[Piece, ...]


class SwapFile:
    """A swap file or device, of which POTAD hands out the slots and which holds real pages.

    Its slots are written, never its header, and no other SwapFile may open it meanwhile.  Unlike
    Linux's it may have holes.  allow_bad_pages: take a regular file with bad pages, which Linux
    refuses.  After `swapoff`, and at the end of a `with`, every call raises BadSwap; the latter
    forgets what is still out.  Raises BadSwap if it cannot be opened, is in use, or is no swap.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_bad_pages: bool = False) -> None:
        self.path = _path(path)
        self._file: io.FileIO | None = _opened(self.path)
        try:
            self.header = _checked_header(self._file, str(path), allow_bad_pages)
            self.space = self.header.space
            self.potad = Potad(self.space)
        except BaseException:
            self._file.close()
            raise
        self._out: dict[Swapped, list[Block]] = {}

    @classmethod
    def make(
        cls,
        path: str | os.PathLike[str],
        size: str | int,
        *,
        page: str | int = "4KiB",
        label: str = "",
    ) -> "SwapFile":
        """A new file of `size`, made a swap file by mkswap, and opened.

        Raises BadSwap if there is such a file already, no mkswap, or mkswap refuses; BadSize for a
        size that is none.  What was begun is gone then.
        """
        size_bytes, page_bytes, path = parse_size(size), parse_size(page), _path(path)
        program = shutil.which("mkswap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise BadSwap(f"{path}: mkswap is not on this machine: install util-linux")
        _make_empty(path, size_bytes)
        try:
            _mkswap(program, path, "--pagesize", str(page_bytes), "--label", str(label))
            return cls(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @property
    def page_bytes(self) -> int:
        return self.header.page_bytes

    def swap_out(self, data: bytes | bytearray | memoryview, owner: str = "unknown") -> Swapped:
        """Store `data`, whole pages, in blocks of powers of two: the largest that are free first.

        Raises BadSize if it is no bytes or no whole number of pages, OutOfSpace if so many are not
        free, BadSwap if the file cannot be written; nothing is out then.
        """
        self._fd()
        whole = _bytes_of(data)
        if len(whole) == 0 or len(whole) % self.page_bytes:
            page = format_size(self.page_bytes)
            raise BadSize(f"{len(whole)} bytes are not swapped out: take whole pages of {page}")
        blocks = self._allocate(len(whole), owner)
        try:
            pieces = self._store(blocks, whole)
        except BaseException:
            self._release(blocks)
            raise
        swapped = Swapped(owner, len(whole), pieces)
        self._out[swapped] = blocks
        return swapped

    def swap_in(self, swapped: Swapped) -> bytes:
        """The data, read and verified; it stays out until `free`.

        Raises NotLive if it is not out here, BadSwap if the file cannot be read or was changed.
        """
        self._fd()
        self._blocks_of(swapped)
        return b"".join(self._load(piece) for piece in swapped.pieces)

    def free(self, swapped: Swapped) -> None:
        """Give the slots back.  Raises NotLive if it is not out here."""
        self._fd()
        self._release(self._blocks_of(swapped))
        del self._out[swapped]

    def swapoff(self) -> dict[Swapped, bytes]:
        """Bring back all that is still out, and let the file go.

        Raises BadSwap if the file cannot be read or was changed; it stays in use then.
        """
        self._fd()
        brought = {swapped: self.swap_in(swapped) for swapped in self._out}
        for swapped in brought:
            self.free(swapped)
        self._let_go()
        return brought

    def __enter__(self) -> "SwapFile":
        self._fd()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _fd(self) -> int:
        if self._file is None:
            raise BadSwap(f"{self.path}: swapped off: open it anew")
        return self._file.fileno()

    def _blocks_of(self, swapped: Swapped) -> list[Block]:
        blocks = self._out.get(swapped) if isinstance(swapped, Swapped) else None
        if blocks is None:
            raise NotLive(f"{self.path}: this is not out here: freed before, or another file's")
        return blocks

    def _allocate(self, size: int, owner: str) -> list[Block]:
        """Blocks of `size` bytes in all, none larger than the one before."""
        blocks: list[Block] = []
        left = size
        while left:
            block_bytes = min(1 << left.bit_length() - 1, self.potad.largest_free_bytes)
            if block_bytes == 0:
                self._release(blocks)
                asked, free = format_size(size), format_size(size - left)
                raise OutOfSpace(f"{self.path}: {asked} asked for, {free} free: free some first")
            blocks.append(self.potad.allocate(block_bytes, kind="swap", owner=owner))
            left -= block_bytes
        return blocks

    def _release(self, blocks: list[Block]) -> None:
        for block in blocks:
            self.potad.release(block)

    def _store(self, blocks: list[Block], data: memoryview) -> tuple[Piece, ...]:
        pieces, done = [], 0
        for block in blocks:
            part = data[done : done + block.size]
            self._write(part, block.start)
            pieces.append(Piece(block.start, block.size, zlib.crc32(part)))
            done += block.size
        return tuple(pieces)

    def _write(self, part: memoryview, start: int) -> None:
        assert start >= self.page_bytes, "never the header"
        done = 0
        while done < len(part):
            try:
                done += os.pwrite(self._fd(), part[done:], start + done)
            except OSError as error:
                slot = (start + done) // self.page_bytes
                raise BadSwap(f"{self.path}: slot {slot}: {error.strerror}") from error

    def _load(self, piece: Piece) -> bytes:
        found = bytearray()
        place = (
            f"{self.path}: slot {piece.start // self.page_bytes}, byte {piece.start} of the file"
        )
        while len(found) < piece.size:
            try:
                part = os.pread(self._fd(), piece.size - len(found), piece.start + len(found))
            except OSError as error:
                raise BadSwap(f"{place}: {error.strerror}") from error
            if not part:
                raise BadSwap(f"{place}: the file ends: someone cut it short")
            found += part
        if zlib.crc32(found) != piece.checksum:
            size = format_size(piece.size)
            raise BadSwap(f"{place}: the {size} there are not what was swapped out: changed since")
        return bytes(found)


def _path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise BadSwap(f"{path!r}: give the path of a swap file")
    return Path(path)


def _bytes_of(data: bytes | bytearray | memoryview) -> memoryview:
    """The data, byte by byte; raises BadSize."""
    try:
        return memoryview(data).cast("B")
    except TypeError as error:
        raise BadSize(f"{type(data).__name__} is not swapped out: take bytes in a row") from error


def _make_empty(path: Path, size_bytes: int) -> None:
    """A new file of zeros, for its owner alone; raises BadSwap, and leaves none then."""
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except (OSError, ValueError) as error:
        raise _cannot_be_made(path, error) from error
    try:
        os.truncate(file, size_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _cannot_be_made(path, error) from error
    finally:
        os.close(file)


def _cannot_be_made(path: Path, error: OSError | ValueError) -> BadSwap:
    words = error.strerror if isinstance(error, OSError) else error
    return BadSwap(f"{path}: cannot be made: {words}")


def _mkswap(program: str, path: Path, *options: str) -> None:
    """Raises BadSwap, with the program's last line, if it fails."""
    command = [program, *options, os.path.abspath(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or f"{program}: failed").splitlines()[-1]
        raise BadSwap(f"{path}: {said}")


def _opened(path: Path) -> io.FileIO:
    """The file, for reading and writing, locked; raises BadSwap."""
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise BadSwap(f"{path}: neither a file nor a block device")
        file = path.open("r+b", buffering=0)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise BadSwap(f"{path}: cannot be opened: {words}") from error
    try:
        if _swapped_on(os.fstat(file.fileno())):
            raise BadSwap(f"{path}: this machine swaps to it: swapoff first")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadSwap(f"{path}: another SwapFile, or a program, has locked it") from error
    except BaseException:
        file.close()
        raise
    return file


def _swapped_on(found: os.stat_result) -> bool:
    """Whether the machine swaps to this very file or device."""
    text = ""
    with suppress(OSError):  # no such list: nothing is swapped on
        text = SWAPS.read_text(errors="surrogateescape")
    for line in text.splitlines()[1:]:
        name = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split()[0])
        with suppress(OSError):
            used = os.stat(name)
            device = stat.S_ISBLK(used.st_mode) and stat.S_ISBLK(found.st_mode)
            if os.path.samestat(used, found) or (device and used.st_rdev == found.st_rdev):
                return True
    return False


def _checked_header(file: io.FileIO, source: str, allow_bad_pages: bool) -> Header:
    """The header, if the file is what it says; raises BadSwap."""
    header = Header.read(_first_bytes(file, source), source)
    pages = os.lseek(file.fileno(), 0, os.SEEK_END) // header.page_bytes
    if header.last_page + 1 > pages:
        raise BadSwap(f"{source}: {pages} pages, where its header says {header.last_page + 1}")
    is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    if header.bad_pages and is_file and not allow_bad_pages:
        bad = len(header.bad_pages)
        raise BadSwap(f"{source}: {bad} bad pages in a regular file, which Linux refuses")
    return header


def _first_bytes(file: io.FileIO, source: str) -> bytes:
    try:
        return os.pread(file.fileno(), max(PAGE_SIZES), 0)
    except OSError as error:
        raise BadSwap(f"{source}: cannot be read: {error.strerror}") from error
