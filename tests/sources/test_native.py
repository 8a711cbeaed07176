"""What a body of native events may say, and what is said about one that may not (laws E3, E4)."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.errors import InvalidEvent, NotJSON, TocsinError, TooLarge
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser

PARSER = NativeParser(Limits())
SMALL = NativeParser(Limits(event_bytes=300, batch_events=3, batch_bytes=2_000, name_chars=10, labels=2, related=1))
GOOD: dict[str, Any] = {"event": "table.updated", "resource": {"id": "table/sales"}}


def body(*changes: dict[str, Any]) -> bytes:
    """Return a JSON array of good events with these changes; a field changed to `...` is left out."""
    events = [{**GOOD, **change} for change in changes]
    return json.dumps([{key: item for key, item in event.items() if item is not ...} for event in events]).encode()


def problems(data: bytes, parser: NativeParser = PARSER) -> list[tuple[int | None, str, str]]:
    with pytest.raises(InvalidEvent) as refused:
        parser.parse(data)
    return [(problem.index, problem.field, problem.message) for problem in refused.value.problems]


def test_a_full_event_is_read_as_it_was_written() -> None:
    (event,) = PARSER.parse(
        b'{"event": "table.updated", "resource": {"id": "table/sales", "env": "prod"},'
        b' "related": [{"id": "team/growth", "role": "owner"}], "payload": {"rows": 1204},'
        b' "occurred": "2026-11-20T08:57:02Z", "id": "a", "follows": null}'
    )
    assert event.resource == {"id": "table/sales", "env": "prod"}
    assert event.related == [{"id": "team/growth", "role": "owner"}]
    assert event.payload == {"rows": 1204}
    assert event.occurred == datetime(2026, 11, 20, 8, 57, 2, tzinfo=UTC)
    assert (event.id, event.source, event.follows) == ("a", "", None)


def test_an_object_an_array_and_lines_give_the_same_events() -> None:
    one = json.dumps(GOOD).encode()
    assert PARSER.parse(one) == PARSER.parse(b" \n[" + one + b"]") == PARSER.parse_lines(b"\n" + one + b"\r\n\n")
    assert len(PARSER.parse_lines(one + b"\n" + one)) == 2
    assert PARSER.parse(b"[]") == PARSER.parse_lines(b"") == []


def test_a_byte_order_mark_is_not_part_of_the_body() -> None:
    assert PARSER.parse(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()) == PARSER.parse(json.dumps(GOOD).encode())


def test_numbers_and_booleans_in_labels_become_strings_as_json_writes_them() -> None:
    """E4."""
    (event,) = PARSER.parse(body({"resource": {"id": 7, "ok": True, "ratio": 0.5, "prefect.resource.name": "x"}}))
    assert event.resource == {"id": "7", "ok": "true", "ratio": "0.5", "name": "x"}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"event": ...}, "event", "is required"),
        ({"event": ""}, "event", "must not be empty"),
        ({"event": 7}, "event", "must be a string"),
        ({"event": "tocsin.automation.fired"}, "event", "are the engine's own"),
        ({"event": "a\0b"}, "event", "NUL"),
        ({"source": "tocsin"}, "source", "engine's own"),
        ({"resource": ...}, "resource", "is required"),
        ({"resource": "table/sales"}, "resource", "must be an object of labels"),
        ({"resource": {}}, "resource.id", "needs the label `id`"),
        ({"resource": {"id": ""}}, "resource.id", "not empty"),
        ({"resource": {"id": "a", "env": None}}, "resource", "label 'env' is null"),
        ({"resource": {"id": "a", "env": ["b"]}}, "resource", "label 'env' is a list"),
        ({"resource": {"id": "a", "env": float("inf")}}, "resource", "not a finite number"),
        ({"resource": {"id": "a\0"}}, "resource", "NUL"),
        ({"related": {}}, "related", "must be a list"),
        ({"related": [{"id": "a", "role": "b"}, {"id": "a"}]}, "related[1].role", "needs the label `role`"),
        ({"related": [{"role": "a"}]}, "related[0].id", "needs the label `id`"),
        ({"occurred": "2026-11-20T08:57:02"}, "occurred", "needs a zone"),
        ({"occurred": "yesterday"}, "occurred", "is not a time"),
        ({"occurred": 1763628000}, "occurred", "ISO 8601"),
        ({"occurred": "10000-01-01T00:00:00Z"}, "occurred", "is not a time"),
        ({"id": ""}, "id", "must not be empty"),
        ({"id": "x" * 256}, "id", "must not be longer than 255 characters"),
        ({"follows": 1}, "follows", "must be a string"),
        ({"ocurred": "2026-11-20T08:57:02Z"}, "ocurred", "did you mean `occurred`?"),
        ({"zzz": 1}, "zzz", "put what is your own into `payload`"),
        ({"payload": {"a": [1, {"b": "x\0"}]}}, "payload.a[1].b", "NUL"),
        ({"payload": {"a\0": 1}}, "payload", "NUL"),
        ({"payload": [float("nan")]}, "payload[0]", "not a finite number"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong_about_it(change: dict[str, Any], field: str, message: str) -> None:
    """E3, E4."""
    assert [(index, place) for index, place, _ in problems(body({}, change))] == [(1, field)]
    assert message in problems(body(change))[0][2]


def test_an_event_by_itself_has_the_index_of_the_first() -> None:
    assert problems(b'{"event": "a"}') == [(0, "resource", "is required")]
    assert problems(b'{"event": "tocsin.x", "resource": {"id": "a"}}')[0][:2] == (0, "event")


def test_a_number_that_overflows_is_not_kept_as_infinity() -> None:
    event = b'{"event": "a", "resource": {"id": "b"}, "payload": {"n": %s}}'
    assert problems(event % b"1e999")[0][1] == "payload.n"
    assert problems(event % (b"1" + b"0" * 400 + b".0"))[0][1] == "payload.n"
    assert PARSER.parse(event % b'"NaN, Infinity and \\\\u0000"')[0].payload == {"n": "NaN, Infinity and \\u0000"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nonsense",
        b'{"event": "a"',
        b'{"event": "a", "resource": {"id": "\\ud800"}}',
        b'{"event": "a", "resource": {"id": "\xff"}}',
        b'{"event": "a", "resource": {"id": "b"}, "payload": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"event": "a", "resource": {"id": "b"}, "payload": ' + b"1" * 5_000 + b"}",
        json.dumps(GOOD).encode("utf-16"),
    ],
)
def test_what_is_not_json_is_said_to_be_no_json(data: bytes) -> None:
    with pytest.raises(NotJSON, match="not JSON"):
        PARSER.parse(data)


@pytest.mark.parametrize("data", [b"7", b'"event"', b"null", b"[7]", b"[[]]"])
def test_json_that_is_no_event_is_refused(data: bytes) -> None:
    assert "JSON object" in problems(data)[0][2]


def test_a_broken_line_is_named_by_its_number() -> None:
    with pytest.raises(NotJSON, match=r"^line 3: "):
        PARSER.parse_lines(json.dumps(GOOD).encode() + b"\n\n{")


def test_a_wrong_line_is_named_by_its_place_among_the_events() -> None:
    with pytest.raises(InvalidEvent) as refused:
        PARSER.parse_lines(
            json.dumps(GOOD).encode() + b"\n\n" + b'{"event": "a"}\n{"event": 7, "resource": {"id": "a"}}'
        )
    assert [(problem.index, problem.field) for problem in refused.value.problems] == [(1, "resource"), (2, "event")]


def test_at_most_twenty_problems_are_listed_and_the_others_counted() -> None:
    found = problems(body(*[{"event": 7, "id": 7}] * 30))
    assert len(found) == 21
    assert found[-1] == (None, "", "and 40 more problems")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event": "x" * 11}, "event"),
        ({"resource": {"id": "a", "b": "c", "d": "e"}}, "resource"),
        ({"related": [{"id": "a", "role": "b"}] * 2}, "related"),
        ({"related": [{"id": "a", "role": "b", "c": "d"}]}, "related[0]"),
    ],
)
def test_a_limit_is_a_problem_of_its_field(change: dict[str, Any], field: str) -> None:
    good = {"event": "x" * 10, "resource": {"id": "a", "b": "c"}, "related": [{"id": "a", "role": "b"}]}
    assert len(SMALL.parse(body(good))) == 1
    assert [place for _, place, _ in problems(body({**good, **change}), SMALL)] == [field]


def test_too_much_is_refused_whatever_it_says() -> None:
    event = {"event": "a", "resource": {"id": "b"}}
    assert len(SMALL.parse(body(event, event, event))) == 3
    with pytest.raises(TooLarge, match="4 events"):
        SMALL.parse(body(event, event, event, event))
    with pytest.raises(TooLarge, match="4 events"):
        SMALL.parse_lines((json.dumps(event) + "\n").encode() * 4)
    with pytest.raises(TooLarge, match="2001 bytes"):
        SMALL.parse(b" " * 2_001)
    with pytest.raises(TooLarge, match="event 1 has"):
        SMALL.parse(body(event, {**event, "payload": "x" * 300}))


def test_the_first_and_the_last_year_are_times() -> None:
    first, last = PARSER.parse(
        body({"occurred": "0001-01-01T00:00:00+14:00"}, {"occurred": "9999-12-31T23:59:59-12:00"})
    )
    assert first.occurred is not None
    assert last.occurred is not None
    assert (first.occurred.year, last.occurred.year) == (1, 9999)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary())
@example(b"[")
@example(b"\xef\xbb\xbf")
def test_arbitrary_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    for parse in (PARSER.parse, PARSER.parse_lines):
        with contextlib.suppress(TocsinError):
            parse(data)


@given(st.fixed_dictionaries(dict.fromkeys(GOOD, JSON), optional=dict.fromkeys(["payload", "id", "occurred"], JSON)))
def test_arbitrary_json_is_kept_exactly_or_refused(event: dict[str, Any]) -> None:
    try:
        (read,) = PARSER.parse(json.dumps(event).encode())
    except (InvalidEvent, NotJSON):
        return
    written = read.model_dump_json().encode()
    assert PARSER.parse(written) == [read]
    assert read.payload == event.get("payload", {})
