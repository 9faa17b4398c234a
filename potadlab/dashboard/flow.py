"""One frame at a time: the browser is sent the next one when it has shown the last.

    browser   ready ............. shown 1 ....... shown 2
    kernel          frame 1 ............. frame 2 ...

A frame offered meanwhile waits; a newer one takes its place.  Messages sent before the page
listens are lost, so nothing is sent before `ready`; if an answer is lost, the watchdog sends the
frame anew, less and less often, because a page that is hidden does not answer.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PATIENCE_S = 2.0  # until a frame is sent anew; doubles each time
PATIENCE_S_MAX = 60.0
_KEPT = 600  # frames in the statistics


@dataclass
class Frame:
    """What one picture takes: a message and its buffers, and when its moment was chosen."""

    message: dict[str, Any]
    buffers: list[bytes]
    chosen_s: float
    number: int = 0
    sent_s: float = 0.0


@dataclass
class Flow:
    """The protocol; `send(message, buffers)` takes a frame to the browser."""

    send: Callable[[dict[str, Any], list[bytes]], None]
    clock: Callable[[], float] = time.monotonic
    ready: bool = False
    in_flight: Frame | None = None
    waiting: Frame | None = None
    sent: int = 0
    answered: int = 0
    flight_s: float = 0.0  # what an answer takes of late
    replaced: int = 0
    resent: int = 0
    _numbers: int = 0
    _patience_s: float = PATIENCE_S
    _shown: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def offer(self, frame: Frame) -> None:
        """Send the frame as soon as the browser is free; it replaces one that waits."""
        self.replaced += self.waiting is not None
        self.waiting = frame
        self._advance()

    def greet(self) -> None:
        """The page (again) listens; what was in flight was for a page that is gone."""
        if self.waiting is None:
            self.waiting = self.in_flight
        self.ready, self.in_flight, self._patience_s = True, None, PATIENCE_S
        self._advance()

    def leave(self) -> None:
        """The figures are about to change: nothing goes out before the next `greet`."""
        self.ready, self.in_flight, self.waiting = False, None, None

    def shown(self, number: int) -> None:
        """The browser has shown a frame; answers to older ones count for nothing."""
        if self.in_flight is None or self.in_flight.number != number:
            return
        self.answered += 1
        frame, now = self.in_flight, self.clock()
        self.flight_s += (now - frame.sent_s - self.flight_s) / 4
        self._shown.append((now, now - frame.chosen_s, now - frame.sent_s))
        self.in_flight, self._patience_s = None, PATIENCE_S
        self._advance()

    def watch(self) -> None:
        """Send the frame in flight anew if its answer is overdue, a newer one if there is."""
        if self.in_flight is None or self.clock() - self.in_flight.sent_s < self._patience_s:
            return
        self.resent += 1
        self._patience_s = min(2 * self._patience_s, PATIENCE_S_MAX)
        self.waiting = self.waiting or self.in_flight
        self.in_flight = None
        self._advance()

    def due_s(self) -> float:
        """Seconds until the answer is expected; below 0 if it is late or none is awaited."""
        if self.in_flight is None:
            return -1.0
        return self.in_flight.sent_s + self.flight_s - self.clock()

    def _advance(self) -> None:
        if not self.ready or self.in_flight is not None or self.waiting is None:
            return
        frame, self.waiting = self.waiting, None
        self._numbers += 1
        frame.number, frame.sent_s = self._numbers, self.clock()
        self.in_flight = frame
        self.sent += 1
        self.send({**frame.message, "number": frame.number}, frame.buffers)

    def forget(self) -> None:
        """Begin the statistics anew."""
        self._shown.clear()

    def stats(self, over_s: float = 1e9) -> dict[str, float]:
        """Counts, and of the frames shown in the last `over_s`: fps, lag and flight in ms.

        Lag: from choosing the moment to the browser's answer, painting included; flight: from
        sending.  fps is NaN below two frames.
        """
        now = self.clock()
        kept = np.array([row for row in self._shown if now - row[0] <= over_s]).reshape(-1, 3)
        many = len(kept) > 1
        spent = kept[-1, 0] - kept[0, 0] if many else 0.0
        lag, flight = 1e3 * kept[:, 1], 1e3 * kept[:, 2]
        return {
            "sent": self.sent,
            "answered": self.answered,
            "shown": len(kept),
            "replaced": self.replaced,
            "resent": self.resent,
            "fps": (len(kept) - 1) / spent if spent > 0 else float("nan"),
            "lag_ms_p50": float(np.percentile(lag, 50)) if len(kept) else float("nan"),
            "lag_ms_p95": float(np.percentile(lag, 95)) if len(kept) else float("nan"),
            "lag_ms_worst": float(lag.max()) if len(kept) else float("nan"),
            "flight_ms_p50": float(np.percentile(flight, 50)) if len(kept) else float("nan"),
            "flight_ms_p95": float(np.percentile(flight, 95)) if len(kept) else float("nan"),
        }
