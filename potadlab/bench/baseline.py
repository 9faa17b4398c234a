"""The C models, built where a C compiler is and driven round by round.

Their sources lie in `c/`: a harness, the model of Linux's buddy allocator, an allocator that does
nothing.  They replay the same exchange file on the same core, by turns with the others.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import PotadError
from ..traces import exchange

MODELS = {  # name: what the C compiler is told
    "c_null": ['-DALLOCATOR="null.h"'],
    "c_buddy": ['-DALLOCATOR="buddy.h"'],
    "c_buddy_pcp": ['-DALLOCATOR="buddy.h"', "-DPER_CPU=1"],
    "c_buddy_pcp_tails": ['-DALLOCATOR="buddy.h"', "-DPER_CPU=1", "-DTAILS=1"],
}
_FLAGS = ["-std=gnu11", "-O3", "-march=native"]


def compiler() -> str | None:
    """The C compiler: $CC, else cc; None if there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


class Model:
    """A C model at work on one exchange file."""

    def __init__(self, program: Path, trace: Path, pages: int) -> None:
        self._process = subprocess.Popen(
            [program, trace, str(pages)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, line: str) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().split()
        except (BrokenPipeError, ValueError):  # it has ended
            answer = []
        if not answer:
            raise PotadError(f"the C model stopped at {line!r}: is there memory for it?")
        return [float(word) for word in answer]

    def replay(self) -> tuple[float, int]:
        """(ns per op, allocations refused) of one replay; all is released afterwards."""
        ns, refused = self._ask("replay")
        return ns, int(refused)

    def pairs(self, order: int) -> tuple[float, float]:
        """ns of an allocate and a release: one block at once; 128 at a time from half of memory."""
        hot, batches = self._ask(f"pairs {order}")
        return hot, batches

    def end(self) -> int:
        """How many blocks of the largest order are free, nothing being live."""
        return int(self._ask("end")[0])

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def built() -> Iterator[dict[str, Path]]:
    """The programs by model, in a temporary folder; raises PotadError where they do not build."""
    cc = compiler()
    if cc is None:
        raise PotadError("no C compiler (cc) is here: install one, or set CC to its name")
    with TemporaryDirectory() as folder, as_file(files(__package__) / "c") as sources:
        programs = {}
        for name, told in MODELS.items():
            programs[name] = Path(folder) / name
            made = subprocess.run(
                [cc, *_FLAGS, *told, sources / "harness.c", "-o", programs[name]],
                capture_output=True,
                text=True,
            )
            if made.returncode:
                first = (made.stderr.strip().splitlines() or ["no message"])[0]
                raise PotadError(f"{cc} does not build the C models: {first}")
        yield programs


@contextmanager
def models(
    programs: dict[str, Path], records: np.ndarray, pages: int
) -> Iterator[dict[str, Model]]:
    """Every model, ready to replay EXCHANGE[] in so many pages."""
    with ExitStack() as stack:
        trace = Path(stack.enter_context(TemporaryDirectory())) / "ops.bin"
        exchange.write(records, trace)
        found = {}
        for name, program in programs.items():
            found[name] = Model(program, trace, pages)
            stack.callback(found[name].stop)
        yield found
