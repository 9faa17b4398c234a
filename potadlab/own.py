"""An allocator of one's own, beside the others in every table and picture."""

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from .core import allocators
from .errors import BadAllocator

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


class Allocator:
    """The allocators that reports, the dashboard and the commands' Python twins know."""

    @staticmethod
    def register(
        name: str,
        new: Callable[..., Any],
        *,
        words: str = "",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        order_max: int | None = None,
        bytes_of: Callable[[Any, int, int], dict[str, int]] | None = None,
    ) -> None:
        """Let `name` be an allocator in this process; again: the newer one takes its place.

        new(zones, kinds, **options) returns its state, a NamedTuple of arrays that the return
        annotation names; the verbs of `pl.interface` are registered for that class, at least add,
        adopt, allocate and release.  words: how it is set, in a clause, for captions.  options:
        name -> word -> value for `new`, the first word is usual.  order_max: of the largest block
        that it merges free memory to.  bytes_of(state, live blocks, granules) -> bytes of
        free_structure, descriptors, lookup; all arrays of the state count as the first where it is
        not given.  Raises BadAllocator.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadAllocator(
                f"allocator {name!r}: take up to 31 small letters, digits, - and _, a letter first"
            )
        state = _state_of(name, new)
        made = allocators.Allocator(
            new,
            bytes_of or _all_arrays,
            words or f"{name} is registered here",
            {option: dict(values) for option, values in (options or {}).items()},
            order_max=order_max,
        )
        try:
            allocators.register(name, made, state)
        except ValueError as error:
            raise BadAllocator(str(error)) from None

    @staticmethod
    def names() -> list[str]:
        """All that are there, registered ones last."""
        return list(allocators.ALLOCATORS)


def _state_of(name: str, new: Callable[..., Any]) -> type:
    """The class of its state; raises BadAllocator."""
    try:
        state = signature(new, eval_str=True).return_annotation
    except (TypeError, ValueError, NameError) as error:
        raise BadAllocator(f"allocator {name!r}: new cannot be read ({error})") from None
    if not (isinstance(state, type) and issubclass(state, tuple) and hasattr(state, "_fields")):
        raise BadAllocator(
            f"allocator {name!r}: write `def new(zones, kinds) -> State`, State a NamedTuple"
        )
    return state


def _all_arrays(state: Any, live_blocks: int, granules: int) -> dict[str, int]:
    return {"free_structure": _bytes(state), "descriptors": 0, "lookup": 0}


def _bytes(part: Any) -> int:
    if isinstance(part, tuple):
        return sum(map(_bytes, part))
    return int(getattr(part, "nbytes", 0))
