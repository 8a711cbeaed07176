"""A clock that stands still until it is turned."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.schemas.moments import SECOND, Micros, duration_us, parse_duration, to_micros


class ManualClock:
    """A `Clock` whose time a test sets; its monotonic time goes along, and never back."""

    def __init__(self, now: datetime | Micros = 0) -> None:
        """Start at a moment: a datetime with a zone, or microseconds since the Unix epoch."""
        self._now_us = to_micros(now) if isinstance(now, datetime) else now
        self._monotonic_us: Micros = 0

    def now_us(self) -> Micros:
        """Return the moment to which the clock was turned."""
        return self._now_us

    def monotonic_s(self) -> float:
        """Return the seconds by which the clock was advanced."""
        return self._monotonic_us / SECOND

    def advance(self, by: timedelta | str | float) -> None:
        """Turn the clock forward, by a timedelta, `"5m"` or seconds."""
        length_us = duration_us(parse_duration(by))
        self._now_us += length_us
        self._monotonic_us += length_us

    def set(self, now: datetime | Micros) -> None:
        """Set the wall time, back too, as an administrator may; monotonic time is not touched."""
        self._now_us = to_micros(now) if isinstance(now, datetime) else now
