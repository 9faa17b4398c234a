"""What each alloc was for: told by its call stack where one was recorded, else guessed from flags.

What a function means is data: `kinds.toml`, and a file of the user's in the same form.
"""

import re
import tomllib
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..core.layout import NONE
from ..errors import BadTrace, PotadError, UnknownName
from ..kinds import KIND, KINDS

BEFORE = "before the recording"  # owner 0: of the start's blocks
_TABLES = {"kinds": dict, "beats": dict, "plumbing": dict, "guess": list, "migratetype": dict}


class Guess(NamedTuple):
    """Flags that must be set, flags that must not, and the kind they mean."""

    having: frozenset[str]
    lacking: frozenset[str]
    kind: str


class Kinds:
    """The table of kernel functions; `tables` are parsed files, the first that tells decides."""

    def __init__(self, tables: Iterable[dict[str, Any]]) -> None:
        self._kind_of: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern, str]] = []
        self._guesses: list[Guess] = []
        self._by_migratetype: dict[int, str] = {}
        self._beats: dict[str, set[str]] = {}
        dull: list[str] = []
        for table in tables:
            self._add(table)
            dull += table.get("plumbing", {}).get("functions", [])
        self._dull = re.compile("|".join(map(translate, dull)) or "(?!)")
        self._known: dict[str, str | None] = {}

    @classmethod
    def read(cls, file: str | Path | None = None, more: dict[str, Any] | None = None) -> "Kinds":
        """The package's table; before it `more`, and before that the user's file.

        Raises PotadError, UnknownName for a kind that is none.
        """
        own = [table for table in (file and read_table(file), more) if table]
        return cls([*own, _packaged()]) if own else _of_package()

    def _add(self, table: dict[str, Any]) -> None:
        for kind, names in table.get("kinds", {}).items():
            for name in names:
                if "*" in name:
                    self._patterns.append((re.compile(translate(name)), kind))
                else:
                    self._kind_of.setdefault(name, kind)
        for kind, beaten in table.get("beats", {}).items():
            self._beats.setdefault(kind, set()).update(beaten)
        for guess in table.get("guess", []):
            having, lacking = (_names(guess.get(key, "")) for key in ("with", "without"))
            self._guesses.append(Guess(having, lacking, guess["kind"]))
        for number, kind in table.get("migratetype", {}).items():
            self._by_migratetype.setdefault(int(number), kind)

    def of_stack(self, stack: str) -> str | None:
        """Kind told by a stack (functions, innermost first, ";" between), None if none decides."""
        told = None
        for kind in filter(None, map(self._of_function, map(_plain, stack.split(";")))):
            if told is None or told in self._beats.get(kind, ()):
                told = kind
        return told

    def _of_function(self, function: str) -> str | None:
        if function not in self._known:
            fits = (kind for pattern, kind in self._patterns if pattern.match(function))
            self._known[function] = self._kind_of.get(function) or next(fits, None)
        return self._known[function]

    def owner_of(self, stack: str) -> str:
        """The stack from its first informative function on: that is the owner, the rest the way."""
        functions = stack.split(";")
        told = (at for at, name in enumerate(functions) if not self._dull.match(_plain(name)))
        return ";".join(functions[next(told, 0) :])

    def of_flags(self, names: frozenset[str], migratetype: int) -> str:
        """Kind guessed from the names of gfp flags, else from Linux's migratetype."""
        for guess in self._guesses:
            if guess.having <= names and not guess.lacking & names:
                return guess.kind
        return self._by_migratetype.get(migratetype, "kernel")


def _names(flags: str) -> frozenset[str]:
    return frozenset(filter(None, flags.split("|")))


def _plain(function: str) -> str:
    """Without what compilers and the profiling of allocations add to a name."""
    return function.split(".")[0].removesuffix("_noprof")


def read_table(file: str | Path) -> dict[str, Any]:
    """A table in the form of kinds.toml, checked.  Raises PotadError, UnknownName."""
    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise PotadError(
            f"{file}: cannot be read ({error.strerror}): give a table of kinds"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PotadError(
            f"{file}: is no TOML ({error}): write it as potadlab's kinds.toml"
        ) from None
    return check_table(file, table)


def check_table(place: str | Path, table: Any) -> dict[str, Any]:
    """The table, if it has the form of kinds.toml.  Raises PotadError, UnknownName."""
    remedy = "write it as potadlab's kinds.toml"
    if not isinstance(table, dict):
        raise PotadError(f"{place}: is no table of kinds: {remedy}")
    for key, value in table.items():
        if key not in _TABLES or not isinstance(value, _TABLES[key]):
            raise PotadError(f"{place}: {key!r} is no table known here: {remedy}")
    plumbing = table.get("plumbing", {})
    lists = [*table.get("kinds", {}).values(), *table.get("beats", {}).values(), *plumbing.values()]
    if not all(isinstance(names, list) and all(map(_is_text, names)) for names in lists):
        raise PotadError(f"{place}: functions are to be lists of text: {remedy}")
    guesses = table.get("guess", [])
    if not all(isinstance(guess, dict) and _is_text(guess.get("kind")) for guess in guesses):
        raise PotadError(f"{place}: each guess needs a kind: {remedy}")
    if not all(_is_text(guess.get(key, "")) for guess in guesses for key in ("with", "without")):
        raise PotadError(f"{place}: flags of a guess are to be text: {remedy}")
    if not all(number.isdecimal() for number in table.get("migratetype", {})):
        raise PotadError(f"{place}: migratetype needs numbers: {remedy}")
    _check_kinds(place, table)
    return table


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _check_kinds(place: str | Path, table: dict[str, Any]) -> None:
    used = [
        *table.get("kinds", {}),
        *table.get("beats", {}),
        *table.get("migratetype", {}).values(),
    ]
    for kind in [*used, *(guess["kind"] for guess in table.get("guess", []))]:
        if kind not in KIND:
            known = ", ".join(one.name for one in KINDS)
            raise UnknownName(f"{place}: no kind {kind!r}: choose among {known}")


@cache
def _packaged() -> dict[str, Any]:
    return tomllib.loads(files("potadlab.traces").joinpath("kinds.toml").read_text("utf-8"))


@cache
def _of_package() -> Kinds:
    return Kinds([_packaged()])


class Purposes(NamedTuple):
    """Of each row; frees have kind 0 (unknown) and owner NONE."""

    kind: np.ndarray  # u1
    owner: np.ndarray  # i4, index in owners
    owners: list[str]
    guessed: int  # allocs whose kind no stack told


def flag_names(flags: int, bits: dict[str, str]) -> str:
    """gfp flags as "HIGHMEM|MOVABLE", by the trace's table of bits; hex for those without name."""
    names = [name for bit, name in bits.items() if flags >> int(bit) & 1]
    rest = flags & ~sum(1 << int(bit) for bit in bits)
    return "|".join(names + [f"{rest:#x}"] * bool(rest)) or "no flags"


def purposes(
    path: Path, table: pa.Table, columns: dict[str, np.ndarray], bits: Any, kinds: Kinds
) -> Purposes:
    """Kind and owner of each row of a trace.  Raises BadTrace if the stacks are not text.

    The owner is told by the stack, else by the task, else by the gfp flags.
    """
    alloc = columns["op"] == 0
    kind = np.zeros(len(alloc), np.uint8)
    owner = np.full(len(alloc), NONE, np.int32)
    owners = {BEFORE: 0}
    guess = alloc
    stacks, tasks = _texts(path, table, "stack"), _texts(path, table, "task")
    if stacks is not None:
        kind = _told(stacks, alloc, lambda text: KIND[kinds.of_stack(text) or "unknown"], 0)
        owner = _told(stacks, alloc, lambda text: _number(owners, kinds.owner_of(text)), NONE)
        guess = alloc & (kind == KIND["unknown"])
    if tasks is not None:
        by_task = _told(tasks, alloc, lambda text: _number(owners, text), NONE)
        owner = np.where(owner == NONE, by_task, owner)
    kind = kind.astype(np.uint8)
    owner = owner.astype(np.int32)
    kind[guess] = _by_flags(columns, guess, bits, owners, owner, kinds)
    return Purposes(kind, owner, list(owners), int(np.count_nonzero(guess)))


def _number(owners: dict[str, int], owner: str) -> int:
    return owners.setdefault(owner, len(owners))


def _texts(path: Path, table: pa.Table, name: str) -> pa.DictionaryArray | None:
    if name not in table.column_names:
        return None
    texts = table.column(name)
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        texts = texts.dictionary_encode()
    values = texts.type.value_type if pa.types.is_dictionary(texts.type) else None
    if values not in (pa.string(), pa.large_string()):
        raise BadTrace(f"{path}: column {name} is {texts.type}: rewrite it as text or drop it")
    return texts.unify_dictionaries().combine_chunks()


def _told(texts: pa.DictionaryArray, alloc: np.ndarray, number: Any, missing: int) -> np.ndarray:
    """What `number` makes of each alloc's text; `missing` where there is none."""
    numbers = [
        number(text) if text is not None else missing for text in texts.dictionary.to_pylist()
    ]
    index = texts.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
    return np.array([*numbers, missing])[np.where(alloc, index, len(numbers))]


def _by_flags(
    columns: dict[str, np.ndarray],
    rows: np.ndarray,
    bits: Any,
    owners: dict[str, int],
    owner: np.ndarray,
    kinds: Kinds,
) -> np.ndarray:
    """Kinds guessed for `rows` (a mask); names an owner for those of them that have none."""
    classes = columns["gfp_flags"][rows].astype(np.uint64) << np.uint64(8)
    encoded = pa.array(classes | columns["migratetype"][rows]).dictionary_encode()
    values, index = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    nameless = owner[rows] == NONE
    used = set(np.unique(index[nameless]).tolist())
    names = [flag_names(value >> 8, bits) for value in values]
    numbers = [_number(owners, name) if at in used else NONE for at, name in enumerate(names)]
    owner[rows] = np.where(nameless, np.array(numbers, np.int32)[index], owner[rows])
    guessed = [
        KIND[kinds.of_flags(_names(name), value & 255)]
        for name, value in zip(names, values, strict=True)
    ]
    return np.array(guessed, np.uint8)[index]
