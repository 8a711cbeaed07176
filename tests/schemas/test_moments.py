"""Moments and durations: every spelling in, one spelling out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tocsin.schemas.identity import uuid7
from tocsin.schemas.moments import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Duration,
    duration_us,
    from_micros,
    iso,
    parse_duration,
    span,
    to_micros,
)

LONGEST = timedelta(days=36_525)
DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("1h30m", 5_400), ("2d", 172_800), ("1w", 604_800), ("250ms", 0.25),
        ("1m1ms", 60.001),
        ("1.5h", 5_400), ("PT10M", 600), ("P1DT2H", 93_600), ("P2W", 1_209_600), ("PT0.5S", 0.5), (90, 90),
        (0.25, 0.25),
        ("90", 90), ("1e3", 1_000), (" 5s ", 5), ("0s", 0), (0, 0), (timedelta(hours=1), 3_600),
        ("36525d", 36_525 * 86_400),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_every_spelling(written: Any, seconds: float) -> None:
    assert parse_duration(written) == timedelta(seconds=seconds)
    assert DURATION.validate_python(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "s",
        "P",
        "PT",
        "10x",
        "5s3m",
        "-5s",
        "1h-3m",
        "soon",
        "nan",
        "inf",
        True,
        None,
        [],
        {},
        -1,
        "PT-5S",
        "P1M",
        "10 m",
    ],
)
def test_what_is_not_a_duration_is_refused_with_an_example(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: write 90s|is out of range"):
        parse_duration(wrong)


@pytest.mark.parametrize("wrong", ["36526d", 1e300, 10**400, "1e400", "9999999999999999999d", timedelta(-1)])
def test_a_duration_out_of_range_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"out of range|is not a duration"):
        parse_duration(wrong)


@given(st.timedeltas(timedelta(0), LONGEST))
def test_a_duration_comes_back_from_its_short_form(length: timedelta) -> None:
    written = span(duration_us(length))
    if not written.endswith("us"):
        assert parse_duration(written) == length
        assert DURATION.dump_python(length) == written


def test_a_length_of_time_is_written_as_people_write_it() -> None:
    assert [span(value) for value in (0, 90 * SECOND, DAY + HOUR, -MINUTE, 1_500, 7)] == [
        "0s", "1m30s", "1d1h", "-1m", "1ms500us", "7us",
    ]  # fmt: skip


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - given a zone
def test_a_moment_comes_back_from_microseconds(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
    assert datetime.fromisoformat(str(iso(to_micros(moment)))) == moment


def test_moments_are_written_in_utc_with_a_z() -> None:
    berlin = datetime(2026, 3, 2, 9, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert iso(to_micros(berlin)) == "2026-03-02T08:00:00.000005Z"
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(None) is None


def test_moments_outside_of_the_calendar_are_clamped() -> None:
    assert iso(-(1 << 62)) == "0001-01-01T00:00:00Z"
    assert iso(1 << 62) == "9999-12-31T23:59:59.999999Z"


def test_a_duration_that_is_wrong_is_a_validation_error() -> None:
    with pytest.raises(ValidationError, match="is not a duration"):
        DURATION.validate_python("soon")


@given(st.lists(st.integers(0, (1 << 48) * 1_000 - 1), min_size=2, max_size=5))
def test_ids_are_version_7_and_in_the_order_of_time(moments: list[int]) -> None:
    ids = [uuid7(moment) for moment in sorted(set(moments))]
    assert ids == sorted(ids)
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert [UUID(one).int >> 80 for one in ids] == [moment // 1_000 for moment in sorted(set(moments))]


def test_ids_of_the_same_moment_differ() -> None:
    assert len({uuid7(5) for _ in range(1_000)}) == 1_000
