"""A moment as a link: trace, allocators, moment, zoom, colours as the query of the lab's address.

It is for people to pass on, so it is read as what anyone may have written: plain numbers and names,
bounded, and one line about whatever is not understood.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ..bundled import datasets
from ..errors import BadTrace, PotadError
from ..session import Session
from ..traces import Trace
from ..views import theme
from .saved import Saved

MARK = "potadlab"  # the first parameter: which trace
LENGTH_MAX = 4000
ALLOCATORS_MAX = 8
_NUMBERS = {  # what the link calls it: what a view does
    "at": "index",
    "first": "first",
    "columns": "columns",
    "cell": "granules_per_cell",
}
_PIXELS = ("width", "height")  # of a map; without them, as the first maps had
_NUMBER_MAX = 1 << 62
_LIES = {"rows": False, "hilbert": True}


def write(session: Session, view: dict[str, Any]) -> str:
    """The query of a link; raises PotadError where no link can say it.

    `view`: as a saved session has it.
    """
    if session.added:
        raise PotadError("a link holds no ops added by hand: save the session, it holds them")
    found: list[tuple[str, Any]] = [(MARK, name_of(session.trace))]
    found += [("of", name) for name in session.names]
    found += [("show", name) for name in view["shown"]]
    found += [("ops", len(session.trace.ops))]
    found += [(key, view[name]) for key, name in _NUMBERS.items()]
    found += [(name, view[name]) for name in _PIXELS]
    found += [("lie", "hilbert" if view["hilbert"] else "rows"), ("colour", view["colouring"])]
    found += [("worst", 1)] if view["worst"] else []
    found += [("minus", name) for name in view["difference"] or ()]
    if view["selected"]:
        found += [("chosen", view["selected"][0]), ("granule", view["selected"][1])]
    return urlencode(found, safe="/:=,")


def name_of(trace: Trace) -> str:
    """A bundled name, else a path, from here if it is below; raises PotadError without one."""
    if trace.path is None:
        raise PotadError("a link names a file, and this trace was made in Python: write it first")
    path = trace.path.resolve()
    for name, file in datasets().items():
        if file.resolve() == path:
            return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def is_link(text: object) -> bool:
    """Whether this is meant as one, and not as a name or a path."""
    return isinstance(text, str) and re.search(rf"(^|[?&]){MARK}=", text) is not None


def read(query: str) -> Saved:
    """What a link says, as a saved session does; BadTrace, in one line, for one that is none."""
    try:
        return _read(query)
    except (KeyError, ValueError) as error:
        told = " ".join(str(error).split())[:80]
        raise BadTrace(f"this link is not understood ({told}): the moment is as it was") from None


def _read(query: str) -> Saved:
    query = query_of(query)
    if len(query) > LENGTH_MAX:
        raise ValueError(f"{len(query):,} letters, at most {LENGTH_MAX:,}")
    told: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, max_num_fields=100):
        told.setdefault(name, []).append(value)
    of = told.get("of", [])
    if not 0 < len(of) <= ALLOCATORS_MAX:
        raise ValueError(f"{len(of)} allocators, it takes 1 to {ALLOCATORS_MAX}")
    ops = _number("ops", told)
    view: dict[str, Any] = {
        **{name: _number(key, told) for key, name in _NUMBERS.items()},
        **{name: _number(name, told) for name in _PIXELS if name in told},
        "hilbert": _LIES[told["lie"][-1]],
        "colouring": told["colour"][-1],
        "worst": "worst" in told,
        "shown": told.get("show", []),
        "difference": told.get("minus", []),
    }
    if view["colouring"] not in theme.ALL_COLOURINGS:
        raise ValueError(f"colour={view['colouring'][:30]}")
    if view["index"] > ops:
        raise ValueError(f"at op {view['index']:,} of {ops:,}")
    if "chosen" in told:
        view["selected"] = told["chosen"][-1], _number("granule", told)
    return Saved(_trace(told[MARK][-1]), ops, of, [], view)


def is_of(session: Session, found: Saved) -> bool:
    """Whether a link only asks for another moment of this session."""
    if session.added or session.trace.path is None or session.names != found.allocators:
        return False
    return (str(found.trace), found.ops) == (name_of(session.trace), session.length)


def query_of(link: str) -> str:
    """What stands behind the address, if one is there; without a token."""
    found = link.strip().partition("#")[0].rpartition("?")[2]
    return "&".join(one for one in found.split("&") if not one.startswith("token="))


def _number(key: str, told: dict[str, list[str]]) -> int:
    text = told[key][-1]
    if not (text.isascii() and text.isdigit()) or int(text) > _NUMBER_MAX:
        raise ValueError(f"{key}={text[:30]}: a whole number is wanted")
    return int(text)


def _trace(name: str) -> str | Path:
    """A bundled name, else a file that is there; no device, no pipe."""
    if name in datasets():
        return name
    path = Path(name)
    if not path.is_file():
        raise BadTrace(f"this link is of {name[:200]!r}: there is no such trace here")
    return path
