"""gfp flags as text, by name or number, to bits.

The bits are those of Linux 6.12 to 6.18 (include/linux/gfp_types.h): in a file that tells names
they are what we give them, in one that tells numbers they are taken as they are.
"""

BITS = {
    **{0: "DMA", 1: "HIGHMEM", 2: "DMA32", 3: "MOVABLE", 4: "RECLAIMABLE", 5: "HIGH", 6: "IO"},
    **{7: "FS", 8: "ZERO", 10: "DIRECT_RECLAIM", 11: "KSWAPD_RECLAIM", 12: "WRITE"},
    **{13: "NOWARN", 14: "RETRY_MAYFAIL", 15: "NOFAIL", 16: "NORETRY", 17: "MEMALLOC"},
    **{18: "COMP", 19: "NOMEMALLOC", 20: "HARDWALL", 21: "THISNODE", 22: "ACCOUNT"},
    **{23: "ZEROTAGS", 24: "NO_OBJ_EXT"},
}
_MASK = 0xFFFF_FFFF
_BIT = {name: 1 << bit for bit, name in BITS.items()}


def _of(*names: str) -> int:
    return sum(_BIT[name] for name in names)


_RECLAIM = _of("DIRECT_RECLAIM", "KSWAPD_RECLAIM")
_KERNEL = _RECLAIM | _of("IO", "FS")
_HIGHUSER = _KERNEL | _of("HARDWALL", "HIGHMEM")
_HUGE_LIGHT = _HIGHUSER & ~_RECLAIM | _of("MOVABLE", "COMP", "NOMEMALLOC", "NOWARN")
_SETS = {
    "GFP_ATOMIC": _of("HIGH", "KSWAPD_RECLAIM"),
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | _of("ACCOUNT"),
    "GFP_NOWAIT": _of("KSWAPD_RECLAIM", "NOWARN"),  # the latter since 6.9
    "GFP_NOIO": _RECLAIM,
    "GFP_NOFS": _RECLAIM | _of("IO"),
    "GFP_USER": _KERNEL | _of("HARDWALL"),
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_HIGHUSER_MOVABLE": _HIGHUSER | _of("MOVABLE"),
    "GFP_TRANSHUGE_LIGHT": _HUGE_LIGHT,
    "GFP_TRANSHUGE": _HUGE_LIGHT | _of("DIRECT_RECLAIM"),
    "GFP_TEMPORARY": _KERNEL | _of("RECLAIMABLE"),  # before 4.14
    "__GFP_RECLAIM": _RECLAIM,
    "__GFP_WAIT": _RECLAIM,  # before 4.4
    "__GFP_ATOMIC": _of("HIGH"),  # before 6.3
    "__GFP_REPEAT": _of("RETRY_MAYFAIL"),  # before 4.13
    "none": 0,
}
# Names of bits that have gone, or whose place depends on the configuration.
_NO_BIT = {
    *("COLD", "NOTRACK", "OTHER_NODE", "CMA", "NOLOCKDEP", "SKIP_ZERO", "SKIP_KASAN"),
    *("SKIP_KASAN_POISON", "SKIP_KASAN_UNPOISON", "NOACCOUNT", "UNMAPPED"),
}


def flags_of(text: str) -> tuple[int, list[str]]:
    """(bits, names that nobody knows) of "GFP_KERNEL|__GFP_ZERO", "0x440dc0" or a mixture."""
    flags, strange = 0, []
    for part in text.split("|"):
        value = _SETS.get(part)
        if value is None:
            name = part.removeprefix("__").removeprefix("GFP_")  # before 4.6: GFP_ZERO
            value = _BIT.get(name, 0 if name in _NO_BIT else None)
        if value is None:
            value = _number(part)
        if value is None:
            strange.append(part)
        flags |= value or 0
    return flags & _MASK, strange


def is_number(text: str) -> bool:
    """Whether flags are told as a number, whose bits are those of the recorded kernel."""
    return _number(text) is not None


def _number(text: str) -> int | None:
    try:
        return int(text, 0 if text[:2].lower() == "0x" else 10) if text.isascii() else None
    except ValueError:
        return None
