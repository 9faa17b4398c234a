"""potadlab: a visual lab for POTAD, the Power Of Two Allocator with Descriptor.

The names below are loaded on first use: `import potadlab` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    BadAddress,
    BadAllocator,
    BadKind,
    BadSize,
    BadSpace,
    BadSwap,
    BadTrace,
    CannotRecord,
    NoDescriptor,
    NotLive,
    OutOfSpace,
    Pinned,
    PotadError,
    UnknownName,
)

if TYPE_CHECKING:
    from . import dashboard as lab
    from .ageing import age_swap
    from .bundled import datasets, examples
    from .core import interface
    from .kinds import Kind
    from .own import Allocator
    from .potad import Buddy, Potad
    from .report import age, replay
    from .session import Session
    from .swap import SwapFile
    from .traces import Snapshot, Trace, import_file
    from .traces.recording import record
    from .units import Space
    from .workloads import generate

__version__ = "0.1.0"

__all__ = [
    "Allocator",
    "BadAddress",
    "BadAllocator",
    "BadKind",
    "BadSize",
    "BadSpace",
    "BadSwap",
    "BadTrace",
    "Buddy",
    "CannotRecord",
    "Kind",
    "NoDescriptor",
    "NotLive",
    "OutOfSpace",
    "Pinned",
    "Potad",
    "PotadError",
    "Session",
    "Snapshot",
    "Space",
    "SwapFile",
    "Trace",
    "UnknownName",
    "age",
    "age_swap",
    "datasets",
    "examples",
    "generate",
    "import_file",
    "inlined",
    "interface",
    "kernel",
    "lab",
    "record",
    "replay",
]

_LAZY = {  # name: where it stands; no attribute means the module itself
    "Allocator": ("potadlab.own", "Allocator"),
    "Buddy": ("potadlab.potad", "Buddy"),
    "Kind": ("potadlab.kinds", "Kind"),
    "Potad": ("potadlab.potad", "Potad"),
    "Session": ("potadlab.session", "Session"),
    "Snapshot": ("potadlab.traces", "Snapshot"),
    "Space": ("potadlab.units", "Space"),
    "SwapFile": ("potadlab.swap", "SwapFile"),
    "Trace": ("potadlab.traces", "Trace"),
    "age": ("potadlab.report", "age"),
    "age_swap": ("potadlab.ageing", "age_swap"),
    "datasets": ("potadlab.bundled", "datasets"),
    "generate": ("potadlab.workloads", "generate"),
    "examples": ("potadlab.bundled", "examples"),
    "import_file": ("potadlab.traces", "import_file"),
    "inlined": ("potadlab.core._jit", "inlined"),
    "interface": ("potadlab.core.interface", None),
    "kernel": ("potadlab.core._jit", "kernel"),
    "lab": ("potadlab.dashboard", None),
    "record": ("potadlab.traces.recording", "record"),
    "replay": ("potadlab.report", "replay"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'potadlab' has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = import_module(module_name)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
