"""What a backtest is about: when it begins, when it ends, and what it remembers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from tocsin.errors import InvalidEvent
from tocsin.review.backtest import Stretch, backtest, document, needed_from
from tocsin.review.history import History
from tocsin.schemas.automation import Automation
from tocsin.schemas.moments import DAY, SECOND, Micros, to_micros


def us(clock: str) -> Micros:
    return to_micros(datetime.fromisoformat(f"2026-03-02T{clock}Z"))


def line(clock: str, event: str = "x", **labels: str) -> bytes:
    moment = f"2026-03-02T{clock}Z"
    return json.dumps({"event": event, "resource": {"id": "a", **labels}, "occurred": moment, "id": clock}).encode()


def said(trigger: dict[str, Any], lines: Iterable[bytes], stretch: Stretch | None = None) -> list[dict[str, Any]]:
    history = History(lines, file="events.jsonl")
    automation = Automation.model_validate({"name": "a", "trigger": trigger})
    return [document(one, history) for one in backtest([automation], history, stretch or Stretch())]


SILENCE = {"type": "absence", "expect": "x", "for_each": ["id"], "within": "10m"}
BY_NINE = {"type": "deadline", "expect": "x", "due": "0 9 * * *"}


def test_a_line_of_output_is_as_promised() -> None:
    (fired,) = said({"expect": "x", "for_each": ["id"]}, [line("08:00:00")])
    assert fired.pop("reason")
    assert fired == {
        "at": "2026-03-02T08:00:00Z", "automation": "a", "verdict": "fired", "labels": {"id": "a"},
        "events": ["08:00:00"], "due": None,
    }  # fmt: skip


def test_silence_is_judged_up_to_the_last_event_and_what_is_due_then_too() -> None:
    assert said(SILENCE, [line("08:00:00"), line("08:09:59", "other")]) == []
    (missed,) = said(SILENCE, [line("08:00:00"), line("08:10:00", "other")])
    assert (missed["verdict"], missed["at"]) == ("missed", "2026-03-02T08:10:00Z")


def test_until_goes_on_behind_the_last_event_and_stops_in_front_of_later_ones() -> None:
    beats = [line("08:00:00"), line("08:05:00"), line("09:00:00")]
    assert said(SILENCE, beats, Stretch(until_us=us("08:14:59"))) == []
    (missed,) = said(SILENCE, beats, Stretch(until_us=us("08:15:00")))
    assert missed["due"] == "2026-03-02T08:15:00Z"
    assert len(said(SILENCE, beats[:1], Stretch(until_us=us("12:00:00")))) == 1


def test_automations_are_armed_at_since_and_judge_what_arrives_from_then_on() -> None:
    """O3."""
    counting = {"expect": "x", "threshold": 2, "within": "1h"}
    lines = [line("08:00:00"), line("08:10:00"), line("08:20:00")]
    assert [one["events"] for one in said(counting, lines)] == [["08:00:00", "08:10:00"]]
    since = Stretch(since_us=us("08:10:00"))
    assert [one["events"] for one in said(counting, lines, since)] == [["08:10:00", "08:20:00"]]
    assert said(counting, lines, Stretch(since_us=us("08:10:01"))) == []


def test_a_deadline_is_primed_with_what_came_before_since() -> None:
    """O3."""
    lines = [line("08:00:00"), line("09:30:00", "other")]
    assert said(BY_NINE, lines, Stretch(since_us=us("08:30:00"))) == []
    assert len(said(BY_NINE, lines[1:], Stretch(since_us=us("08:30:00")))) == 1


def test_what_primes_a_deadline_is_asked_for_too() -> None:
    """O3: the window of 09:00 is open at T0, and began when the one before ended."""
    automations = [Automation.model_validate({"name": kind, "trigger": kind_trigger})
                   for kind, kind_trigger in (("silence", SILENCE), ("deadline", BY_NINE))]  # fmt: skip
    since_us = us("08:30:00")
    assert needed_from(automations[:1], since_us) == since_us
    assert needed_from(automations, since_us) <= us("09:00:00") - DAY


def test_silence_alone_is_judged_when_since_and_until_say_from_when_to_when() -> None:
    stretch = Stretch(since_us=us("08:00:00"), until_us=us("10:00:00"))
    assert [one["due"] for one in said(BY_NINE, [], stretch)] == ["2026-03-02T09:00:00Z"]
    assert said(BY_NINE, []) == []


def test_the_default_lateness_is_a_setting() -> None:
    """R3: a kept event is forgotten once the newest of K is `max(W, lateness)` ahead of it."""
    counting = {"expect": "x", "threshold": 2, "within": "10s"}
    late = json.loads(line("08:00:05")) | {"received": "2026-03-02T08:00:31Z"}
    lines = [line("08:00:00"), line("08:00:30"), json.dumps(late).encode()]
    assert [one["events"] for one in said(counting, lines)] == [["08:00:00", "08:00:05"]]
    assert said(counting, lines, Stretch(lateness_us=SECOND)) == []


def test_many_events_are_judged_in_batches_as_they_would_be_one_by_one() -> None:
    counting = {"expect": "x", "for_each": ["k"], "threshold": 5, "within": "2m"}
    clocks = [f"{8 + n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}" for n in range(3_000)]
    lines = [line(clock, k=str(n % 7)) for n, clock in enumerate(clocks)]
    fired = said(counting, lines)
    assert len(fired) == len({tuple(one["events"]) for one in fired})
    assert [one["at"] for one in fired] == sorted(one["at"] for one in fired)
    apart = [one for k in range(7) for one in said(counting, [text for n, text in enumerate(lines) if n % 7 == k])]
    assert sorted(map(str, fired)) == sorted(map(str, apart))


def test_progress_is_told_after_each_batch() -> None:
    told: list[tuple[int, Micros]] = []
    history = History([line(f"08:{n // 60:02}:{n % 60:02}") for n in range(2_500)], file="events.jsonl")
    automation = Automation.model_validate({"name": "a", "trigger": {"expect": "never"}})
    assert list(backtest([automation], history, Stretch(), progress=lambda *one: told.append(one))) == []
    assert told == [(2_000, us("08:33:19")), (2_500, us("08:41:39"))]


def test_a_wrong_line_stops_the_backtest_where_it_stands() -> None:
    with pytest.raises(InvalidEvent, match=r"events\.jsonl:2:1: event: is required"):
        said({"expect": "x"}, [line("08:00:00"), b'{"resource": {"id": "a"}}'])
