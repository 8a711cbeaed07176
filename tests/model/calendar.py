"""When a cron expression is due in a time zone: laws D1, D4, T1."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from croniter import croniter


def cron_times(expression: str, zone: str, *, after: datetime) -> Iterator[datetime]:
    """The moments in UTC behind `after`, one by one.

    A local time that daylight saving skips is due at the first instant after the gap, a repeated one
    the first time only (law D4).
    """
    place = ZoneInfo(zone)
    # Earlier than asked for: no clock is changed by more than that.
    local = croniter(expression, (after.astimezone(place) - timedelta(hours=3)).replace(tzinfo=None))
    last = after
    while True:
        at = instant(local.get_next(datetime), place)
        if at > last:
            last = at
            yield at


def last_cron_time(expression: str, zone: str, *, before: datetime) -> datetime:
    """The newest of these moments that is earlier than `before`."""
    for days in (0.01, 1, 8, 32, 400, 1500):
        times = cron_times(expression, zone, after=before - timedelta(days=days))
        found = None
        for at in times:
            if at >= before:
                break
            found = at
        if found is not None:
            return found
    raise ValueError(f"{expression!r} is due less than once in four years")


@cache
def instant(local: datetime, place: ZoneInfo) -> datetime:
    """A local time as an instant: the first of two, the end of the gap for none (law D4)."""
    for minutes in range(24 * 60):
        there = (local + timedelta(minutes=minutes)).replace(tzinfo=place, fold=0)
        if there.astimezone(UTC).astimezone(place).replace(tzinfo=None) == there.replace(tzinfo=None):
            return there.astimezone(UTC)
    raise ValueError(f"{place} has no day {local:%Y-%m-%d}")
