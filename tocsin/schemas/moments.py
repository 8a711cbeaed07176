"""Moments and durations: ISO 8601 and short forms outside, whole microseconds since the Unix epoch inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer

Micros: TypeAlias = int
"""A moment (since 1970-01-01T00:00Z) or a length of time, in microseconds."""

SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_LONGEST = timedelta(days=36_525)
_SHORT = re.compile(r"(?:(\d+(?:\.\d+)?)w)?(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?"
                    r"(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")  # fmt: skip
_ISO = re.compile(r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
                  r"(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?")  # fmt: skip


def to_micros(moment: datetime) -> Micros:
    """Return the moment in microseconds since the Unix epoch; the datetime must have a zone."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def from_micros(moment_us: Micros) -> datetime:
    """Return the moment as a datetime in UTC; what lies outside of the years 1 to 9999 is clamped to them."""
    return EPOCH + timedelta(microseconds=min(max(moment_us, _FIRST), _LAST))


def iso(moment_us: Micros | None) -> str | None:
    """Return the moment as ISO 8601 in UTC with a `Z`, or None for None."""
    return None if moment_us is None else from_micros(moment_us).isoformat().replace("+00:00", "Z")


def span(duration_us: Micros) -> str:
    """Return a length of time as people write it: `90s` is `1m30s`; units that are zero are left out."""
    rest, parts = abs(duration_us), []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1000), ("us", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if duration_us < 0 else "") + ("".join(parts) or "0s")


def parse_duration(value: object) -> timedelta:
    """Read `90s`, `10m`, `1h30m`, `2d`, ISO 8601 (`PT10M`) or a number of seconds.

    Raises:
        ValueError: it is none of these, negative, or longer than a hundred years.
    """
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_not_a_duration(value))
    else:
        try:
            length = timedelta(seconds=float(value))
        except (OverflowError, ValueError):
            length = _from_text(str(value))
    if not timedelta(0) <= length <= _LONGEST:
        raise ValueError(f"{value!r} is out of range: a duration is from 0 to 36525 days")
    return length


def _from_text(text: str) -> timedelta:
    short, iso_form = _SHORT.fullmatch(text.strip()), _ISO.fullmatch(text.strip())
    found = short or iso_form
    if found is None or not any(found.groups()):
        raise ValueError(_not_a_duration(text))
    weeks, days, hours, minutes, seconds, *millis = (float(part or 0) for part in found.groups())
    try:
        return timedelta(
            weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=sum(millis)
        )
    except OverflowError:
        raise ValueError(f"{text!r} is out of range: a duration is from 0 to 36525 days") from None


def _not_a_duration(value: object) -> str:
    return f"{value!r} is not a duration: write 90s, 10m, 1h30m, 2d, PT10M or a number of seconds"


def duration_us(length: timedelta) -> Micros:
    """Return a length of time in microseconds."""
    return length // timedelta(microseconds=1)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str | float),
    PlainSerializer(lambda length: span(duration_us(length)), return_type=str),
]
"""A pydantic field that reads every form of `parse_duration` and writes the short one."""
