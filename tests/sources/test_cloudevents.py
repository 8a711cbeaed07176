"""CloudEvents 1.0 in binary, structured and batched mode become the same event."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InvalidEvent, NotJSON, TocsinError
from tocsin.schemas.event import Event
from tocsin.sources import cloudevents
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request

PARSER = NativeParser(Limits())
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop/berlin",
    "type": "com.acme.order.paid",
    "subject": "order/7",
    "time": "2026-11-20T08:57:02Z",
    "customer": "ada",
}
DATA = {"total": 12.5}
EXPECTED = Event.model_validate_json(
    json.dumps(
        {
            "event": "com.acme.order.paid",
            "source": "/shop/berlin",
            "id": "e1",
            "resource": {"source": "/shop/berlin", "customer": "ada", "id": "order/7"},
            "occurred": "2026-11-20T08:57:02Z",
            "payload": DATA,
        }
    )
)


def structured(item: object, media_type: str = cloudevents.STRUCTURED) -> list[Event]:
    headers = {"content-type": f"{media_type}; charset=utf-8"}
    return cloudevents.parse(Request(source="", body=json.dumps(item).encode(), headers=headers), PARSER)[0]


def binary(attributes: dict[str, str], body: bytes, content_type: str = "application/json") -> list[Event]:
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return cloudevents.parse(Request(source="", body=body, headers={**headers, "content-type": content_type}), PARSER)[
        0
    ]


def test_all_three_modes_give_the_same_event() -> None:
    item = {**ATTRIBUTES, "datacontenttype": "application/json", "data": DATA}
    assert structured(item) == [EXPECTED]
    assert structured([item, item], cloudevents.BATCHED) == [EXPECTED, EXPECTED]
    assert binary(ATTRIBUTES, json.dumps(DATA).encode()) == [EXPECTED]
    assert structured([], cloudevents.BATCHED) == []


def test_without_a_subject_the_event_is_about_its_source() -> None:
    (event,) = structured({name: value for name, value in ATTRIBUTES.items() if name != "subject"})
    assert (event.resource["id"], event.payload) == ("/shop/berlin", {})


def test_extensions_become_labels_and_headers_are_percent_decoded() -> None:
    (event,) = structured(
        {**ATTRIBUTES, "partition": 3, "sampled": True, "dataschema": "https://a.example", "gone": None}
    )
    assert event.resource["partition"] == "3"
    assert event.resource["sampled"] == "true"
    assert event.resource["dataschema"] == "https://a.example"
    assert "gone" not in event.resource
    (event,) = binary({**ATTRIBUTES, "customer": "Gr%C3%BC%20n"}, b"")
    assert event.resource["customer"] == "Grü n"


@pytest.mark.parametrize(
    ("body", "content_type", "payload"),
    [
        (b"[1]", "application/vnd.acme+json", [1]),
        (b"<a/>", "application/xml", "<a/>"),
        (b"\xff\x00", "application/octet-stream", {"data_base64": "/wA="}),
        (b"\x00\x01\x02", "application/octet-stream", {"data_base64": "AAEC"}),
        (b"", "application/json", {}),
    ],
)
def test_data_of_any_type_is_kept(body: bytes, content_type: str, payload: object) -> None:
    assert binary(ATTRIBUTES, body, content_type)[0].payload == payload
    if body:
        encoded = {"data_base64": base64.b64encode(body).decode(), "datacontenttype": content_type}
        assert structured({**ATTRIBUTES, **encoded})[0].payload == payload


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"id": None}, "id", "is required"),
        ({"id": 7}, "id", "must be a string"),
        ({"source": ""}, "source", "is required"),
        ({"source": "tocsin"}, "source", "engine's own"),
        ({"type": None}, "type", "is required"),
        ({"type": "tocsin.x"}, "type", "engine's own"),
        ({"specversion": "0.3"}, "specversion", "only '1.0' is known"),
        ({"time": "yesterday"}, "time", "is not a time"),
        ({"subject": "a\0"}, "resource", "NUL"),
        ({"extra": []}, "resource", "label 'extra' is a list"),
    ],
)
def test_a_wrong_attribute_is_named_as_cloudevents_names_it(change: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        structured([ATTRIBUTES, {**ATTRIBUTES, **change}], cloudevents.BATCHED)
    (problem,) = refused.value.problems
    assert (problem.index, problem.field) == (1, field)
    assert message in problem.message


def test_what_is_no_cloudevent_is_refused() -> None:
    for item, media_type in [({}, cloudevents.BATCHED), (7, cloudevents.STRUCTURED), ([7], cloudevents.BATCHED)]:
        with pytest.raises(InvalidEvent):
            structured(item, media_type)
    with pytest.raises(NotJSON):
        structured({**ATTRIBUTES, "data_base64": "?"})
    with pytest.raises(NotJSON):
        binary(ATTRIBUTES, b"{")


def test_a_request_is_recognised_by_its_content_type_or_its_headers() -> None:
    assert cloudevents.is_cloudevent("application/cloudevents+json", {})
    assert cloudevents.is_cloudevent("application/cloudevents-batch+json", {})
    assert cloudevents.is_cloudevent("application/json", {b"ce-specversion": b"1.0"})
    assert not cloudevents.is_cloudevent("application/json", {})


@given(
    st.binary(),
    st.dictionaries(st.sampled_from([*ATTRIBUTES, "extra"]), st.text(st.characters(codec="latin-1"))),
    st.sampled_from([cloudevents.STRUCTURED, cloudevents.BATCHED, "application/json", "text/plain", ""]),
)
def test_nothing_raises_anything_but_our_errors(body: bytes, attributes: dict[str, str], content_type: str) -> None:
    with contextlib.suppress(TocsinError):
        binary(attributes, body, content_type)


@given(
    st.dictionaries(
        st.sampled_from([*ATTRIBUTES, "data", "data_base64"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()),
    )
)
def test_no_structured_event_raises_anything_but_our_errors(item: dict[str, Any]) -> None:
    with contextlib.suppress(TocsinError):
        structured({**ATTRIBUTES, **item})


# The extension "Distributed Tracing"

TRACES = [f"00-{digit * 32}-{digit * 16}-01" for digit in "ab"]


def batch(*traces: str | None) -> tuple[list[Event], str | None]:
    """Return what comes of a batch of CloudEvents with these traces."""
    items = [
        {"specversion": "1.0", "id": f"e{n}", "source": "/s", "type": "t"}
        | ({} if one is None else {"traceparent": one})
        for n, one in enumerate(traces)
    ]
    headers = {"content-type": cloudevents.BATCHED}
    return cloudevents.parse(Request(source="", body=json.dumps(items).encode(), headers=headers), PARSER)


def test_a_traceparent_is_no_label() -> None:
    (event,), trace = batch(TRACES[0])
    assert "traceparent" not in event.resource
    assert trace == TRACES[0]


def test_events_of_one_batch_share_a_trace_or_have_none() -> None:
    assert batch(TRACES[0], TRACES[0])[1] == TRACES[0]
    assert batch(*TRACES)[1] is None
    assert batch(None, TRACES[0])[1] is None
    assert batch(None)[1] is None
