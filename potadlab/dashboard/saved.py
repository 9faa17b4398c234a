"""A session in a file: which trace, the ops added by hand, and what was looked at.  JSON, no code.

It holds no trace: that lies beside it, or is bundled.  So the file is small, can be read by eye,
and opens the same moment at the same zoom wherever the trace is.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..bundled import datasets
from ..core.layout import NONE, OP, Verb
from ..errors import BadTrace
from ..files import write
from ..kinds import KIND, KINDS
from ..session import Session

SUFFIX = ".session.json"
BYTES_MAX = 16 << 20
FORMAT = 1
_NUMBERS = ("time_ns", "granule", "granules", "handle", "into", "flags", "order", "align_order")
_ADDED_MAX = 100_000


@dataclass(frozen=True)
class Saved:
    """What a file says; `view` is what the dashboard makes of it."""

    trace: str | Path
    ops: int  # of the trace alone
    allocators: list[str]
    added: list[dict[str, Any]]
    view: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def save(path: Path, session: Session, view: dict[str, Any], log: list[str]) -> None:
    """Write the session; OSError where that cannot be."""
    made = {
        "potadlab": __version__,
        "session": FORMAT,
        "trace": _trace(path, session),
        "allocators": session.names,
        "added": [_plain(session, index, op) for index, op in session.by_hand()],
        "view": view,
        "log": log,
    }
    write(path, json.dumps(made, indent=1) + "\n")


def _trace(path: Path, session: Session) -> dict[str, Any]:
    trace = session.trace
    found: dict[str, Any] = {"name": trace.name, "ops": len(trace.ops)}
    if trace.path is None:
        return found
    for name, file in datasets().items():
        if file.resolve() == trace.path.resolve():
            return {**found, "bundled": name}
    place = os.path.relpath(trace.path.resolve(), path.resolve().parent)
    return {**found, "path": place}


def _plain(session: Session, index: int, op: np.ndarray) -> dict[str, Any]:
    numbers = {name: int(op[name]) for name in _NUMBERS}
    owner = int(op["owner"])
    return {
        "after": index,
        "verb": Verb(int(op["verb"])).name,
        "kind": KINDS[int(op["kind"])].name,
        "owner": session.owners[owner] if 0 <= owner < len(session.owners) else None,
        **numbers,
    }


def read(path: Path) -> Saved:
    """What a file says; BadTrace, in one line, for one that is no session."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise BadTrace(f"{path}: larger than any session of ours; save it again")
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["session"] != FORMAT:
            raise BadTrace(f"{path}: of another version; this one reads format {FORMAT}")
        trace = found["trace"]
        return Saved(
            _place(path, trace),
            int(trace["ops"]),
            [str(name) for name in found["allocators"]],
            [dict(op) for op in found["added"][:_ADDED_MAX]],
            dict(found["view"]),
            [str(line) for line in found["log"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())[:80]
        raise BadTrace(f"{path}: is no saved session ({type(error).__name__}: {told})") from None


def _place(path: Path, trace: dict[str, Any]) -> str | Path:
    if "bundled" in trace:
        return str(trace["bundled"])
    if "path" not in trace:
        raise BadTrace(f"{path}: its trace was made in Python and is in no file; make it again")
    return path.parent / str(trace["path"])


def ops_of(session: Session, saved: Saved, path: Path | str) -> list[tuple[int, np.ndarray]]:
    """The added ops, for `session.extend_all`; BadTrace where they do not fit the trace."""
    if saved.ops != len(session.trace.ops):
        raise BadTrace(
            f"{path}: was saved with {saved.ops:,} ops, {session.trace.name} has "
            f"{len(session.trace.ops):,}: take the trace that it was saved with"
        )
    found = []
    for number, plain in enumerate(saved.added):
        try:
            found.append(_op(session, plain, session.length + number))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            told = " ".join(str(error).split())[:80]
            raise BadTrace(f"{path}: added op {number}: {type(error).__name__}: {told}") from None
    return found


def _op(session: Session, plain: dict[str, Any], length: int) -> tuple[int, np.ndarray]:
    index, op = int(plain["after"]), np.zeros(1, OP)[0]
    if not 0 <= index <= length:
        raise ValueError(f"after {index} ops, of {length}")
    for name in _NUMBERS:
        op[name] = int(plain[name])
    op["verb"], op["kind"] = Verb[plain["verb"]], KIND[plain["kind"]]
    if not -1 <= int(op["handle"]) <= session.handles + length:
        raise ValueError(f"handle {int(op['handle'])}")
    op["owner"], op["migratetype"] = NONE, 255
    if plain["owner"] is not None:
        owner = str(plain["owner"])
        if owner not in session.owners:
            session.owners.append(owner)
        op["owner"] = session.owners.index(owner)
    return index, op
