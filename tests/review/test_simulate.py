"""The public doubles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from tocsin.clock import Clock
from tocsin.errors import InvalidDefinition, InvalidEvent
from tocsin.schemas.event import Event
from tocsin.schemas.moments import SECOND
from tocsin.testing import ManualClock, simulate

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
BEAT = {"event": "beat", "resource": {"id": "a"}, "occurred": "2026-03-02T09:00:00Z", "id": "1"}
SILENT = {"trigger": {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "5m"}}


def test_an_automation_is_simulated_without_a_server() -> None:
    (missed,) = simulate(SILENT, [BEAT], until="2026-03-02T09:05:00Z")
    assert (missed.verdict, missed.at, missed.due) == (
        "missed",
        NINE + timedelta(minutes=5),
        NINE + timedelta(minutes=5),
    )
    assert (missed.labels, missed.events, missed.automation) == ({"id": "a"}, ("1",), "automation")


def test_events_may_be_models_and_automations_yaml() -> None:
    text = "automations: [{name: a, trigger: {expect: beat}}, {name: b, enabled: false, trigger: {expect: beat}}]"
    event = Event(event="beat", resource={"id": "a"}, occurred=NINE, id="1")
    assert [(one.automation, one.at) for one in simulate(text, [event])] == [("a", NINE)]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidDefinition):
        simulate("automations: [{name: a}]", [])
    with pytest.raises(ValidationError):
        simulate({"trigger": {}}, [])
    with pytest.raises(InvalidEvent, match="events:1:1: occurred: is required"):
        simulate(SILENT, [{"event": "beat", "resource": {"id": "a"}}])
    with pytest.raises(ValidationError, match="timezone"):
        simulate(SILENT, [BEAT], until="2026-03-02T09:05:00")


def test_a_manual_clock_stands_still_until_it_is_turned() -> None:
    clock: Clock = ManualClock(NINE)
    assert isinstance(clock, ManualClock)
    before_us, before_s = clock.now_us(), clock.monotonic_s()
    assert clock.now_us() == before_us
    clock.advance("5m")
    clock.advance(timedelta(seconds=1))
    assert (clock.now_us() - before_us, clock.monotonic_s() - before_s) == (301 * SECOND, 301)
    clock.set(NINE)
    assert (clock.now_us(), clock.monotonic_s() - before_s) == (before_us, 301)
    with pytest.raises(ValueError, match="out of range"):
        clock.advance(-1)
