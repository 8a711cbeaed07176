"""Times that come again, as moments: cron in a zone, every so often, recurrence rules (laws D4, T1).

Local times that daylight saving skips are due at the first instant after the gap; those that it repeats are due
once, the first time. Cron is evaluated on local times without a zone, by croniter, and each result is then placed
in the zone; that keeps both rules in one function, `instant`.

Rule 1: how local times become moments is decided in this file.
Rule 2: what is asked for again is remembered, within limits; the answers never depend on what was asked before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from croniter import croniter

from tocsin.schemas.calendar import parse_recurrence
from tocsin.schemas.moments import Micros, duration_us, from_micros, to_micros
from tocsin.schemas.trigger import ScheduleTrigger

_REMEMBERED = 4_096
_NEARBY = 64
_LARGEST_SHIFT = timedelta(hours=3)


class Times(Protocol):
    """Moments in order, without end in either direction unless a rule gives one."""

    def after(self, moment_us: Micros) -> Micros | None:
        """Return the first one later than a moment."""
        ...


def instant(local: datetime, zone: ZoneInfo) -> Micros:
    """Return when a local time comes: the first time if it comes twice, behind the gap if it never does (law D4)."""
    first = local.replace(tzinfo=zone, fold=0)
    moment = first.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local:
        return to_micros(moment)
    low, high = local.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return to_micros(high)


class Cron:
    """The times of a cron expression in a zone."""

    def __init__(self, expression: str, zone: str) -> None:
        self._expression = expression
        self._zone = ZoneInfo(zone)
        self._known: list[Micros] = []

    def after(self, moment_us: Micros) -> Micros:
        """Return the first time later than a moment."""
        known = self._around(moment_us)
        return known[bisect_right(known, moment_us)]

    def before(self, moment_us: Micros) -> Micros:
        """Return the last time earlier than a moment."""
        known = self._around(moment_us)
        return known[bisect_left(known, moment_us) - 1]

    def _around(self, moment_us: Micros) -> list[Micros]:
        """Return times without a gap, the first of them earlier and the last of them later than a moment."""
        known = self._known
        reach_us = _NEARBY * (known[-1] - known[0]) // len(known) if known else 0
        if not known or len(known) > _REMEMBERED or not known[0] - reach_us <= moment_us <= known[-1] + reach_us:
            known = self._known = [self._next(moment_us)]
        while known[0] >= moment_us:
            known.insert(0, self._previous(known[0]))
        while known[-1] <= moment_us:
            known.append(self._next(known[-1]))
        return known

    def _next(self, moment_us: Micros) -> Micros:
        times = croniter(self._expression, self._local(moment_us))
        while (found := instant(times.get_next(datetime), self._zone)) <= moment_us:
            pass
        return found

    def _previous(self, moment_us: Micros) -> Micros:
        times = croniter(self._expression, self._local(moment_us) + _LARGEST_SHIFT)
        while (found := instant(times.get_prev(datetime), self._zone)) >= moment_us:
            pass
        return found

    def _local(self, moment_us: Micros) -> datetime:
        return from_micros(moment_us).astimezone(self._zone).replace(tzinfo=None)


class Every:
    """Times that are equally far apart."""

    def __init__(self, every_us: Micros, anchor_us: Micros) -> None:
        self._every_us = every_us
        self._anchor_us = anchor_us

    def after(self, moment_us: Micros) -> Micros:
        """Return the first time later than a moment."""
        return self._anchor_us + ((moment_us - self._anchor_us) // self._every_us + 1) * self._every_us


class Rule:
    """The times of a recurrence rule (RFC 5545). A rule without a DTSTART starts at T0."""

    def __init__(self, text: str, zone: str, start_us: Micros) -> None:
        self._zone = ZoneInfo(zone)
        self._rule = parse_recurrence(text, from_micros(start_us).astimezone(self._zone).replace(microsecond=0))
        self._coming: Iterator[datetime] = iter(self._rule)
        self._last_us: Micros | None = None
        self._next_us: Micros | None = None

    def after(self, moment_us: Micros) -> Micros | None:
        """Return the first time later than a moment, or None when the rule has ended."""
        if self._last_us is None or moment_us < self._last_us:
            self._coming = iter(self._rule)
            self._next_us = self._take()
        while self._next_us is not None and self._next_us <= moment_us:
            self._next_us = self._take()
        self._last_us = moment_us
        return self._next_us

    def _take(self) -> Micros | None:
        found = next(self._coming, None)
        if found is None:
            return None
        zone = found.tzinfo if isinstance(found.tzinfo, ZoneInfo) else None
        if found.tzinfo is not None and zone is None:
            return to_micros(found)
        return instant(found.replace(tzinfo=None), zone or self._zone)


def times_of(trigger: ScheduleTrigger, armed_us: Micros) -> Times:
    """Return the times of a schedule that became active at T0 (law T1)."""
    if trigger.cron is not None:
        return Cron(trigger.cron, trigger.timezone)
    if trigger.rrule is not None:
        return Rule(trigger.rrule, trigger.timezone, armed_us)
    assert trigger.every is not None, "a definition with none is refused"
    anchor_us = armed_us if trigger.anchor is None else to_micros(trigger.anchor)
    return Every(duration_us(trigger.every), anchor_us)
