"""Notifications of failed memory: who was told, what was done, what came of it."""

from collections.abc import Iterable
from typing import Protocol


class Told(Protocol):
    """What is needed of a failure in one allocator."""

    @property
    def allocator(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def handle(self) -> int: ...
    @property
    def start_bytes(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def soft(self) -> bool: ...
    @property
    def result(self) -> str: ...
    @property
    def told(self) -> tuple[str, ...]: ...
    @property
    def done(self) -> str: ...
    @property
    def linux(self) -> str: ...
    @property
    def words(self) -> str: ...


Columns = dict[str, list]


def columns(failures: Iterable[tuple[int, float, Iterable[Told]]]) -> Columns:
    """A row for each failure and allocator; failures: (op, time in s, what came of it in each).

    number counts failures from 1; addresses and sizes in bytes; outcome: in Linux's words, "not
    asked" where the granule is not in service.
    """
    found: Columns = {name: [] for name in (
        "number", "op", "time_s", "address", "how", "allocator", "kind", "start_bytes",
        "size_bytes", "owner", "told", "done", "outcome", "linux", "words",
    )}  # fmt: skip
    for number, (op, time_s, told) in enumerate(failures, start=1):
        for one in told:
            row = (
                number, op, time_s, one.address, "soft" if one.soft else "hard", one.allocator,
                one.kind, one.start_bytes, one.size_bytes, one.owner,
                ", ".join(one.told) or "nobody", one.done, one.result or "not asked",
                one.linux or "not asked", one.words,
            )  # fmt: skip
            for column, value in zip(found.values(), row, strict=True):
                column.append(value)
    return found
