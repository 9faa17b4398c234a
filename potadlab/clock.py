"""How the moments of a trace are named: in seconds, or in ops where it tells no times."""

from dataclasses import dataclass

import numpy as np

# What an op takes where no times are told: all that reckons in seconds reckons in ops.
OP_NS = 10**9


@dataclass(frozen=True)
class Clock:
    """The unit of moments, and what an axis of them is called."""

    unit: str
    axis: str
    timed: bool  # else `counted` ops

    def told(self, time_ns: float, digits: int = 3) -> list[str]:
        """The time of a moment, to be joined to the number of its op; none where none is told."""
        return [f"{time_ns / 1e9:.{digits}f} {self.unit}"] if self.timed else []

    def lasted(self, time_ns: int) -> str:
        """How long something took."""
        seconds = time_ns / 1e9
        if not self.timed:
            return f"{seconds:,.0f} op{'' if time_ns == OP_NS else 's'}"
        if seconds >= 1:
            return f"{seconds:.3f} s"
        return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


SECONDS = Clock("s", "time, s", timed=True)
OPS = Clock("ops", "ops done", timed=False)


def clock_of(time_ns: np.ndarray) -> Clock:
    """OPS where ops would follow each other within less than a ns, which no machine can do."""
    return SECONDS if time_ns.max(initial=0) >= max(len(time_ns), 1) else OPS


def counted(ops: np.ndarray) -> np.ndarray:
    """OP[] of a trace that tells no times: after so many ops it is so many times OP_NS."""
    ops = ops.copy()
    ops["time_ns"] = OP_NS * np.arange(1, len(ops) + 1)
    return ops
