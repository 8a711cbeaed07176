"""The only place that asks what time it is.

Everything else is given a `Clock`, or a moment. A moment inside the engine is a whole number of microseconds since
1970-01-01T00:00Z (`Micros`); monotonic time, for measuring how long something took, is in seconds.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time: the system, or a clock that a test turns by hand."""

    def now_us(self) -> int:
        """Return the present moment in microseconds since the Unix epoch."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_us(self) -> int:
        """Return the wall time in microseconds since the Unix epoch; it may step back when the machine is set."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Return the machine's monotonic time in seconds."""
        return time.monotonic()


class FollowingClock:
    """A clock that is set from time to time, and goes on steadily in between.

    Processes on several machines so agree on one clock, the database's: a machine whose own wall clock is wrong, or is
    stepped, does no harm.
    """

    def __init__(self, own: Clock) -> None:
        """Begin with the machine's own time."""
        self._own = own
        self._set = (own.now_us(), own.monotonic_s())

    def follow(self, now_us: int) -> None:
        """Go on from this moment, in microseconds since the Unix epoch; from any thread."""
        self._set = (now_us, self._own.monotonic_s())

    def now_us(self) -> int:
        """Return the present moment in microseconds since the Unix epoch."""
        then_us, then_s = self._set
        return then_us + int((self._own.monotonic_s() - then_s) * 1_000_000)

    def monotonic_s(self) -> float:
        """Return the machine's monotonic time in seconds."""
        return self._own.monotonic_s()
