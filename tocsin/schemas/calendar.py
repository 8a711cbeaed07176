"""Times that come again: cron expressions, recurrence rules and time zones, checked as they are read (laws D1, T1)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError
from dateutil.rrule import rrulestr
from pydantic import AfterValidator

_CHECKED_FROM = datetime(2024, 1, 1, tzinfo=UTC)
_FORM = 'write five fields, minute hour day month weekday: "0 9 * * 1-5"'


@lru_cache(maxsize=1_024)
def cron(text: str) -> str:
    """Check a cron expression of five fields, or an alias such as `@daily`; return it with single spaces.

    Raises:
        ValueError: it is not one, is random (`R`), or is never due.
    """
    fields = text.split()
    tidy = " ".join(fields)
    if len(fields) != 5 and not tidy.startswith("@"):
        raise ValueError(f"{text!r} has {len(fields)} fields: {_FORM}")
    if any(field[:1] in ("R", "r", "H", "h") for field in fields[:5]):
        raise ValueError(f"{text!r} is random: a trigger needs fixed times; {_FORM}")
    try:
        croniter(tidy, _CHECKED_FROM).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError(f"{text!r} is never due: there is no such date; {_FORM}") from None
    except (CroniterError, KeyError) as error:
        raise ValueError(f"{text!r} is not a cron expression ({error}): {_FORM}") from None
    return tidy


def zone(name: str) -> str:
    """Check that there is a time zone of this name.

    Raises:
        ValueError: there is none.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}: write UTC or a name such as Europe/Berlin") from None
    return name


def recurrence(text: str) -> str:
    """Check a recurrence rule of RFC 5545, with or without its own DTSTART.

    Raises:
        ValueError: it is not one.
    """
    try:
        parse_recurrence(text, _CHECKED_FROM)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{text!r} is not a recurrence rule ({error}): write FREQ=DAILY;BYHOUR=9;BYMINUTE=0") from None
    return text.strip()


def parse_recurrence(text: str, start: datetime) -> Any:
    """Return the `dateutil` rule or rule set of a text; `start`, with a zone, applies when it has no DTSTART."""
    return rrulestr(text, dtstart=start)


Cron = Annotated[str, AfterValidator(cron)]
Zone = Annotated[str, AfterValidator(zone)]
Recurrence = Annotated[str, AfterValidator(recurrence)]
