"""Recorded events as arrivals."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tocsin.errors import InvalidEvent
from tocsin.review.history import History
from tocsin.schemas.moments import MINUTE, SECOND, to_micros

NINE = to_micros(datetime.fromisoformat("2026-03-02T09:00:00Z"))


def line(**fields: Any) -> bytes:
    return json.dumps({"event": "x", "resource": {"id": "a"}, **fields}).encode()


def at(seconds: int) -> str:
    return f"2026-03-02T09:{seconds // 60:02}:{seconds % 60:02}Z"


def history(*lines: bytes) -> History:
    return History(lines, file="events.jsonl")


def test_an_event_is_received_when_it_occurred_unless_the_line_says_otherwise() -> None:
    first, second = history(line(occurred=at(0)), line(occurred=at(1), received=at(30)))
    assert (first.time_us, first.received_us) == (NINE, NINE)
    assert (second.time_us, second.received_us) == (NINE + SECOND, NINE + 30 * SECOND)


def test_a_received_that_goes_back_is_lifted_to_that_of_the_line_before() -> None:
    """E1."""
    _, late = history(line(occurred=at(60)), line(occurred=at(10)))
    assert (late.time_us, late.received_us) == (NINE + 10 * SECOND, NINE + MINUTE)


def test_what_occurs_after_it_was_received_occurred_when_it_was_received() -> None:
    """E1."""
    (only,) = history(line(occurred=at(60), received=at(10)))
    assert only.time_us == only.received_us == NINE + 10 * SECOND


def test_an_identity_is_judged_once_and_belongs_to_its_source() -> None:
    """E2."""
    past = history(
        line(occurred=at(0), id="1"), line(occurred=at(1), id="1"), line(occurred=at(2), id="1", source="shop"),
        line(occurred=at(3)), line(occurred=at(3)),
    )  # fmt: skip
    assert [one.seq for one in past] == [1, 2, 3, 4]
    assert [past.id_of(seq) for seq in (1, 2, 3, 4)] == ["1", "1", "line-4", "line-5"]
    assert past.duplicates == 1
    assert len(past) == 4


def test_what_the_api_lists_is_taken_as_it_is() -> None:
    (only,) = history(line(occurred=at(0), received=at(1), seq=981, source="", follows=None, related=[], payload={}))
    assert (only.seq, only.received_us) == (1, NINE + SECOND)


def test_empty_lines_do_not_count() -> None:
    assert [one.seq for one in history(b"\n", line(occurred=at(0)), b"  \r\n", line(occurred=at(0)))] == [1, 2]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (line(), "events.jsonl:2:1: occurred: is required here, or `received`: a recorded event needs a time"),
        (b'{"event": "x"}', "events.jsonl:2:1: resource: is required"),
        (line(occurred="2026-03-02T09:00:00"), "events.jsonl:2:1: occurred: needs a zone"),
        (line(occurred=at(0), resorce={}), "events.jsonl:2:1: resorce: is not a field of an event: did you mean"),
        (b'{"event": "x", }', "events.jsonl:2:16: the line is not JSON: trailing comma"),
        (b"\xff\xfe", "events.jsonl:2:1: the line is not JSON"),
    ],
)
def test_a_line_that_is_wrong_is_named(bad: bytes, complaint: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        list(history(line(occurred=at(0)), bad))
    assert str(refused.value.problems[0]).startswith(complaint)
