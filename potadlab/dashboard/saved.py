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
from ..core.layout import NONE, OP, Flag, Verb
from ..errors import BadTrace
from ..files import write
from ..kinds import KIND, KINDS
from ..session import Session, put_in

SUFFIX = ".session.json"
BYTES_MAX = 16 << 20
FORMAT = 1
_NUMBERS = ("time_ns", "granule", "granules", "handle", "into", "flags", "order", "align_order")
_ADDED_MAX = 100_000
_LOG_LINES, _LOG_LETTERS = 200, 1000
_CLAIM_MAX = 1 << 21  # granules; what is offered may be more than there is
_VERBS = (Verb.FAIL, Verb.CLAIM)  # that are added by hand


@dataclass(frozen=True)
class Saved:
    """What a file says; `view` is what the dashboard makes of it."""

    trace: str | Path
    ops: int  # of the trace alone
    allocators: list[str]
    added: list[dict[str, Any]]
    view: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def joined(self) -> list[bool]:
        """Of each added op, whether it came together with the one before."""
        return [number > 0 and op.get("joined") is True for number, op in enumerate(self.added)]


def save(path: Path, session: Session, view: dict[str, Any], log: list[str]) -> None:
    """Write the session; OSError where that cannot be."""
    made = {
        "potadlab": __version__,
        "session": FORMAT,
        "trace": _trace(path, session),
        "allocators": session.names,
        "added": [
            _plain(session, index, op) | {"joined": joined}
            for (index, op), joined in zip(session.by_hand(), session.joined(), strict=True)
        ],
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
            [str(line)[:_LOG_LETTERS] for line in found["log"][:_LOG_LINES]],
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
    found: list[tuple[int, np.ndarray]] = []
    claims = 0
    for number, plain in enumerate(saved.added):
        try:
            found.append(_op(session, plain, session.length + number, session.handles + claims))
            claims += found[-1][1]["verb"] == Verb.CLAIM
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            told = " ".join(str(error).split())[:80]
            raise BadTrace(f"{path}: added op {number}: {type(error).__name__}: {told}") from None
    if (np.diff(put_in(session.ops, found)["time_ns"]) < 0).any():
        raise BadTrace(f"{path}: an added op is of another time than the ops around it")
    return found


def _op(
    session: Session, plain: dict[str, Any], length: int, handle: int
) -> tuple[int, np.ndarray]:
    """`handle`: what a claim is to have, as none has it yet; kernels trust what they are given."""
    index, op = int(plain["after"]), np.zeros(1, OP)[0]
    if not 0 <= index <= length:
        raise ValueError(f"after {index} ops, of {length}")
    for name in _NUMBERS:
        op[name] = int(plain[name])
    op["verb"], op["kind"] = Verb[plain["verb"]], KIND[plain["kind"]]
    if op["verb"] not in _VERBS:
        raise ValueError(f"{plain['verb']}: not added by hand")
    claims, end = op["verb"] == Verb.CLAIM, session.space.granules
    wanted = {
        "handle": (handle, handle) if claims else (NONE, NONE),
        "granule": (NONE, NONE) if claims else (0, end - 1),
        "granules": (1, max(end, _CLAIM_MAX) if claims else 1),
        "align_order": (0, max(end, _CLAIM_MAX).bit_length() if claims else 0),
        "order": (0, 0),
        "into": (NONE, NONE),
        "time_ns": (0, session.time_ns(session.length)),
    }
    for name, (low, high) in wanted.items():
        if not low <= int(op[name]) <= high:
            raise ValueError(f"{name} {int(op[name])}")
    if int(op["flags"]) & ~(Flag.BY_HAND | Flag.MAY_MIGRATE):
        raise ValueError(f"flags {int(op['flags'])}")
    op["owner"], op["migratetype"] = NONE, 255
    if plain["owner"] is not None:
        owner = str(plain["owner"])
        if owner not in session.owners:
            session.owners.append(owner)
        op["owner"] = session.owners.index(owner)
    return index, op
