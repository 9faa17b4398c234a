"""The table of figures in README, from the run that is kept with the package (measured.json)."""

import json
from importlib.resources import files
from typing import Any

from ..bundled import datasets

_SYNTHETIC = "synthetic, 4,000,000 ops"
_OF_LINUX = "`c_buddy_pcp_tails`"


def measured() -> dict[str, Any]:
    """The run that README tells, as `potadlab bench --json` wrote it."""
    found: dict[str, Any] = json.loads((files(__package__) / "measured.json").read_text("utf-8"))
    return found


def _rows() -> list[tuple[str, str, str, str, str]]:
    """(what, unit, POTAD's figure, the other's, whose that is)."""
    rows = [
        (f"{_SYNTHETIC}; nothing described", "ns per op", "synthetic.potad.ns_per_op",
         "synthetic.c_buddy_pcp.ns_per_op", "`c_buddy_pcp`"),
        (f"{_SYNTHETIC}; whole", "ns per op", "synthetic.potad_whole.ns_per_op",
         "synthetic.c_buddy_pcp_tails.ns_per_op", _OF_LINUX),
    ]  # fmt: skip
    for name in datasets():
        of, to = (f"{name}.{label}.ns_per_op" for label in ("potad_whole", "c_buddy_pcp_tails"))
        rows.append((f"{name}; whole", "ns per op", of, to, _OF_LINUX))
    for what, unit in (("at once", "pair_ns"), ("128 at a time, half of memory", "batch_pair_ns")):
        of, to = (f"order9.{label}.{unit}" for label in ("potad_whole", "c_buddy_pcp_tails"))
        rows.append((f"2 MiB allocated and released, {what}; whole", "ns", of, to, _OF_LINUX))
    for words, end in (
        ("kind, order, owner", "_ns"), ("kind, order", "_ns.kind_order_only")
    ):  # fmt: skip
        for what in ("independent", "dependent"):
            of, to = (f"lookup.{name}.1e6.{what}{end}" for name in ("heads", "memmap"))
            rows.append((f"lookup of {words} in 1e6 blocks, {what}", "ns", of, to, "`memmap`"))
    of, to = (f"lookup.{name}.1e6.update_ns" for name in ("heads", "memmap"))
    rows.append(("a block stored or erased among 1e6", "ns", of, to, "`memmap`"))
    rows.append(("1.5 TiB brought into service", "us", "register.1.5TiB.us", "", ""))
    rows.append(
        ("a map of 1e6 blocks, 1024 x 512, slowest zoom", "ms", "map.1e6.slowest_ms", "", "")
    )
    return rows


def markdown(found: dict[str, Any]) -> str:
    """README's table and what it was measured on."""
    figures, machine = found["figures"], found["machine"]
    lines = ["| | unit | POTAD | other | ratio |", "|---|---|---|---|---|"]
    for what, unit, of, to, whose in _rows():
        if of not in figures:
            continue
        mine = figures[of]["median"]
        theirs = figures[to]["median"] if to in figures else None
        beside = (
            ["", ""] if theirs is None else [f"{_short(theirs)} {whose}", _short(mine / theirs)]
        )
        lines.append("| " + " | ".join([what, unit, _short(mine), *beside]) + " |")
    told = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines += ["", f"{machine['cpu']}, {machine['system']}, Python {machine['python']}; {told}; "
              f"C models by {found['c']}. Again: `{found['command']}`."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
