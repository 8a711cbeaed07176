"""Times of the calendar (laws D1, D4, T1)."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.triggers.scenario import TRIGGER, Play, micros
from tocsin.schemas.moments import DAY, HOUR, MINUTE, SECOND, iso
from tocsin.schemas.trigger import ScheduleTrigger
from tocsin.triggers.times import Cron, Every, instant, times_of

SPRING, AUTUMN = micros("2026-03-29T00:00:00Z"), micros("2026-10-25T00:00:00Z")


def days(times: Cron, start: int, count: int) -> list[str]:
    found = []
    for _ in range(count):
        start = times.after(start)
        found.append(str(iso(start)))
    return found


def test_d4_a_skipped_time_is_due_behind_the_gap_and_a_repeated_one_once() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert days(nightly, SPRING - DAY, 3) == ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    assert days(nightly, AUTUMN - DAY, 3) == ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]


def test_d4_many_skipped_times_are_due_once() -> None:
    times = Cron("*/10 * * * *", "Europe/Berlin")
    assert days(times, SPRING + HOUR - 20 * MINUTE, 3) == [
        "2026-03-29T00:50:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Antarctica/Troll", "America/New_York", "UTC"])
def test_before_is_the_inverse_of_after_all_year(zone: str) -> None:
    times, moment = Cron("17 */5 * * *", zone), micros("2026-01-01T00:00:00Z")
    found = []
    while moment < micros("2027-01-01T00:00:00Z"):
        moment = times.after(moment)
        found.append(moment)
    fresh = Cron("17 */5 * * *", zone)
    for earlier, later in pairwise(found):
        assert fresh.before(later) == earlier
        assert fresh.before(later - 1) == earlier
        assert fresh.after(earlier) == later
    for earlier, later in reversed(list(pairwise(found))):
        assert times.before(later) == earlier


def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    times = Cron("0 9 * * *", "UTC")
    asked = [micros(f"{year}-06-01T00:00:00Z") for year in (2026, 2031, 1999, 2026, 2025)]
    assert [times.after(moment) for moment in asked] == [Cron("0 9 * * *", "UTC").after(moment) for moment in asked]
    assert [times.before(moment) for moment in asked] == [Cron("0 9 * * *", "UTC").before(moment) for moment in asked]


def test_d4_in_the_hour_that_is_repeated_the_next_time_is_behind_it() -> None:
    assert Cron("30 * * * *", "Europe/Berlin").after(AUTUMN + HOUR + 15 * MINUTE) == AUTUMN + 2 * HOUR + 30 * MINUTE


def test_an_instant_in_a_gap_is_its_end() -> None:
    local = datetime.fromisoformat("2026-03-08T02:59:00")
    assert iso(instant(local, ZoneInfo("America/New_York"))) == "2026-03-08T07:00:00Z"


def test_t1_every_counts_from_its_anchor_in_both_directions() -> None:
    assert [Every(10, 3).after(moment) for moment in (-8, -7, 3, 12, 13)] == [-7, 3, 13, 13, 23]


def schedule(**fields: object) -> ScheduleTrigger:
    trigger = TRIGGER.validate_python({"type": "schedule", **fields})
    assert isinstance(trigger, ScheduleTrigger)
    return trigger


def test_t1_a_rule_of_local_times_keeps_them_over_the_changes_of_the_clock() -> None:
    rule = schedule(rrule="FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", timezone="Europe/Berlin")
    times = times_of(rule, SPRING - DAY)
    moment, found = SPRING - DAY, []
    for _ in range(3):
        after = times.after(moment)
        assert after is not None
        moment = after
        found.append(iso(moment))
    assert found == ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    assert times.after(SPRING - DAY) == micros("2026-03-28T01:30:00Z")


def test_t1_a_rule_may_end_and_may_be_in_another_zone() -> None:
    text = "DTSTART:20260301T090000Z\nRRULE:FREQ=DAILY;COUNT=2"
    times = times_of(schedule(rrule=text), SPRING)
    assert times.after(0) == micros("2026-03-01T09:00:00Z")
    assert times.after(micros("2026-03-02T08:59:59Z")) == micros("2026-03-02T09:00:00Z")
    assert times.after(micros("2026-03-02T09:00:00Z")) is None
    play = Play({"type": "schedule", "rrule": text})
    assert play.see(until=2 * 86_400) == [(3600.0, "fired", (), None)]
    assert play.state.wake_us is None


def test_t1_an_anchor_says_where_counting_begins() -> None:
    times = times_of(schedule(every="1h", anchor="2026-01-01T00:30:00Z"), SPRING)
    assert times.after(SPRING) == SPRING + 30 * MINUTE
    assert times_of(schedule(every="1h"), SPRING + SECOND).after(SPRING + SECOND) == SPRING + HOUR + SECOND
