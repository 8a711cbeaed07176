"""Laws D1, D4, T1: due times at the edges of the calendar, for `deadline` and `schedule` alike, in several zones.

Each case gives the local time by cron, the zone, a stretch of days, and the instants in UTC that are due in it. They
were worked out by hand from the zones' rules: when clocks are set, a skipped local time is due at the first instant
after the gap, and a repeated one is due once, the first time.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from tocsin.testing import simulate

CASES = {
    "Berlin, 02:30 is skipped": (
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", "2026-03-30T12:00Z"),
        ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"],
    ),
    "Berlin, 02:30 comes twice": (
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-26T12:00Z"),
        ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
    ),
    "New York, 02:30 is skipped": (
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", "2026-03-09T12:00Z"),
        ["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
    ),
    "New York, 01:30 comes twice": (
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", "2026-11-02T12:00Z"),
        ["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
    ),
    "Lord Howe, half an hour is skipped": (
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00Z", "2026-10-04T20:00Z"),
        ["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
    ),
    "Lord Howe, half an hour comes twice": (
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00Z", "2026-04-05T20:00Z"),
        ["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
    ),
    "Cairo, the first hour of a day is skipped": (
        ("30 0 * * *", "Africa/Cairo", "2026-04-23T00:00Z", "2026-04-25T12:00Z"),
        ["2026-04-23T22:00Z", "2026-04-24T21:30Z"],
    ),
    "Cairo, the last hour of a day comes twice": (
        ("30 23 * * *", "Africa/Cairo", "2026-10-29T00:00Z", "2026-10-31T00:00Z"),
        ["2026-10-29T20:30Z", "2026-10-30T21:30Z"],
    ),
    "Kolkata, leap day": (
        ("0 12 29 2 *", "Asia/Kolkata", "2027-06-01T00:00Z", "2028-12-31T00:00Z"),
        ["2028-02-29T06:30Z"],
    ),
    "Apia, the first of March after a leap day": (
        ("0 0 29,1 2,3 *", "Pacific/Apia", "2028-02-27T00:00Z", "2028-03-02T00:00Z"),
        ["2028-02-28T11:00Z", "2028-02-29T11:00Z"],
    ),
}


@pytest.mark.parametrize(("when", "expected"), CASES.values(), ids=CASES.keys())
def test_a_schedule_fires_at_each_due_time_and_at_no_other(when: tuple[str, ...], expected: list[str]) -> None:
    """Law T1 with D4."""
    cron, zone, since, until = when
    trigger = {"type": "schedule", "cron": cron, "timezone": zone}
    fired = simulate({"name": "one", "trigger": trigger}, [], since=since, until=until)
    assert [one.at for one in fired] == [datetime.fromisoformat(moment) for moment in expected]


@pytest.mark.parametrize(("when", "expected"), CASES.values(), ids=CASES.keys())
def test_a_deadline_is_missed_at_each_due_time_and_at_no_other(when: tuple[str, ...], expected: list[str]) -> None:
    """Laws D1, D2 with D4."""
    cron, zone, since, until = when
    trigger = {"type": "deadline", "expect": "x", "due": cron, "timezone": zone}
    fired = simulate({"name": "one", "trigger": trigger}, [], since=since, until=until)
    assert [(one.verdict, one.due) for one in fired] == [
        ("missed", datetime.fromisoformat(moment)) for moment in expected
    ]


@pytest.mark.parametrize(("when", "expected"), CASES.values(), ids=CASES.keys())
def test_an_event_right_at_a_due_time_meets_it(when: tuple[str, ...], expected: list[str]) -> None:
    """Law D1: up to and including D."""
    cron, zone, since, until = when
    trigger = {"type": "deadline", "expect": "x", "due": cron, "timezone": zone}
    events = [{"event": "x", "resource": {"id": "a"}, "occurred": f"{moment[:-1]}:00Z"} for moment in expected]
    assert simulate({"name": "one", "trigger": trigger}, events, since=since, until=until) == []
