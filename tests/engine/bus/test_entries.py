"""What is read from entries: events of ours and of others, beats, and whatever else somebody has written there."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from faststream.redis.parser import BinaryMessageFormatV1
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.live import event
from tocsin.engine.bus.entries import BEAT, EVENTS, Entry, headers_of, read_entry, written
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser

ID = b"1763700000123-4"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NATIVE = {"event": "table.updated", "resource": {"id": "table/sales"}}
PARSER = NativeParser(Limits(batch_events=3, labels=5))


def packed(body: bytes, headers: dict[str, Any] | None = None) -> dict[bytes, bytes]:
    """Return the fields that FastStream writes."""
    coded = asyncio.run(BinaryMessageFormatV1.encode(message=body, reply_to=None, headers=headers, correlation_id="c"))
    return {b"__data__": coded}


def read(fields: dict[bytes, bytes] | None) -> Entry:
    return read_entry(ID, fields, PARSER)


def reason(fields: dict[bytes, bytes] | None) -> str:
    entry = read(fields)
    assert entry.refused is not None
    assert entry.events == []
    return entry.refused.reason


def test_what_a_publisher_writes_is_read_as_it_was() -> None:
    events = [
        event(id="a", payload={"deep": [1, {"ü": None}]}),
        event("other", id="b", source="shop", occurred=datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)),
    ]
    entry = read(packed(written(events), headers_of(EVENTS, TRACE)))
    assert (entry.events, entry.trace, entry.time_us) == (events, TRACE, 1763700000123_000)


def test_a_publishers_limits_are_not_those_of_the_recorder() -> None:
    events = [event(id=str(number)) for number in range(10)]
    assert len(read(packed(written(events), headers_of(EVENTS))).events) == 10


def test_a_beat_says_only_its_time() -> None:
    entry = read(packed(b"", headers_of(BEAT)))
    assert (entry.events, entry.refused, entry.time_us) == ([], None, 1763700000123_000)


@pytest.mark.parametrize(
    "fields",
    [
        {b"data": json.dumps(NATIVE).encode()},
        {b"data": json.dumps([NATIVE]).encode()},
        packed(json.dumps(NATIVE).encode()),
        {b"__data__": json.dumps(NATIVE).encode()},
        {b"__data__": json.dumps({"data": json.dumps(NATIVE), "headers": {}}).encode()},
    ],
)
def test_anybody_may_add_a_native_event_and_a_repeat_of_the_entry_has_the_same_id(fields: dict[bytes, bytes]) -> None:
    (first,), (again,) = read(fields).events, read(fields).events
    assert (first.event, first.resource, first.id) == ("table.updated", {"id": "table/sales"}, again.id)
    assert first.id is not None
    (other,) = read_entry(b"1763700000123-5", fields, PARSER).events
    assert other.id != first.id


def test_events_of_one_entry_without_ids_get_different_ones_and_given_ones_stay() -> None:
    body = json.dumps([NATIVE, NATIVE, NATIVE | {"id": "mine"}]).encode()
    entry = read({b"data": body, b"traceparent": TRACE.encode()})
    ids = [one.id for one in entry.events]
    assert (len(set(ids)), ids[2], entry.trace) == (3, "mine", TRACE)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (None, "has no field `data`"),
        ({}, "has no field `data` with a JSON event, but nothing"),
        ({b"order": b"1", b"\xff": b"2"}, r"but 'order', '\\xff'"),
        ({b"data": b"\xff\xfe"}, "JSON"),
        ({b"data": b"no json"}, "JSON"),
        ({b"data": b"[" * 100_000}, "JSON"),
        ({b"data": b'{"event": "x"}'}, "resource"),
        ({b"data": json.dumps(NATIVE | {"event": "tocsin.automation.fired"}).encode()}, "engine's own"),
        ({b"data": json.dumps([NATIVE] * 4).encode()}, "at most 3"),
        (packed(b"[]", {"tocsin": "events/2"}), "newer recorder"),
        (packed(b"[1]", headers_of(EVENTS)), "not what it says"),
        (packed(written([event()]), headers_of(EVENTS)), "not what it says"),
        (packed(written([event("tocsin.x", id="a")]), headers_of(EVENTS)), "not what it says"),
        (packed(b"\xff", headers_of(EVENTS)), "not what it says"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason_and_kept(fields: dict[bytes, bytes] | None, why: str) -> None:
    assert why in reason(fields)
    refused = read(fields).refused
    assert refused is not None
    if fields and b"data" in fields:
        assert refused.body == fields[b"data"]


def test_an_own_event_that_is_deeper_than_the_parser_goes_is_read() -> None:
    body = (
        '[{"event":"e","resource":{"id":"r"},"id":"a","occurred":"2026-01-01T00:00:00Z","payload":'
        + "[" * 215
        + "]" * 215
        + "}]"
    )
    assert [one.id for one in read(packed(body.encode(), headers_of(EVENTS))).events] == ["a"]


@given(
    st.dictionaries(
        st.sampled_from([b"data", b"__data__", b"traceparent", b"x"]) | st.binary(max_size=4),
        st.binary(max_size=60)
        | st.binary(max_size=30).map(lambda tail: b"\x89BIN\r\n\x1a\n\x00\x01" + tail)
        | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
                       | st.dictionaries(st.sampled_from(["data", "headers", "event", "resource", "id"]), inner),
                       max_leaves=8).map(lambda value: json.dumps(value).encode()),
        max_size=4,
    )
)  # fmt: skip
def test_nothing_that_stands_in_a_stream_makes_reading_raise(fields: dict[bytes, bytes]) -> None:
    entry = read(fields)
    assert entry.events or entry.refused is not None or entry.time_us == 1763700000123_000


def test_e3_what_nobody_foresaw_sets_an_entry_aside_and_what_is_not_its_fault_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = packed(written([event(id="1")]), headers_of(EVENTS))

    def failing(error: BaseException) -> None:
        def fail(body: bytes) -> None:
            raise error

        monkeypatch.setattr("tocsin.engine.bus.entries._read", fail)

    failing(ZeroDivisionError())
    assert reason(ours) == "could not be read, see the log"
    failing(MemoryError())
    with pytest.raises(MemoryError):
        read(ours)
