"""`POST /api/events`: what is taken, what is refused, and that nothing is kept of what is refused (law E3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.reading import kept
from tocsin.api import bodies
from tocsin.app import App
from tocsin.errors import Overloaded, TocsinError, Unavailable
from tocsin.store import log

GOOD: dict[str, Any] = {"event": "table.updated", "resource": {"id": "table/sales"}, "id": "a"}
ONE = json.dumps(GOOD).encode()


async def test_an_event_is_answered_with_what_became_of_it(client: httpx.AsyncClient, app: App) -> None:
    answer = await client.post("/api/events", json=GOOD)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "ids": ["a"]})
    assert [event.id for event in await kept(app)] == ["a"]


async def test_a_repeated_event_is_accepted_and_counted_as_a_duplicate(client: httpx.AsyncClient) -> None:
    """E2."""
    await client.post("/api/events", json=GOOD)
    answer = await client.post("/api/events", json=[GOOD, {**GOOD, "id": "b"}])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "duplicates": 1, "ids": ["a", "b"]})


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/x-ndjson; charset=utf-8"])
async def test_lines_are_taken_when_the_content_type_says_so(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/api/events", content=ONE + b"\n" + ONE, headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)


async def test_nothing_is_kept_of_a_batch_with_one_wrong_event(client: httpx.AsyncClient, app: App) -> None:
    """E3."""
    answer = await client.post("/api/events", json=[GOOD, {**GOOD, "resource": {"id": ""}}, {**GOOD, "event": 1}])
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "[1] resource.id: needs the label `id`, not empty (and 1 more)",
        "errors": [
            {"index": 1, "field": "resource.id", "message": "needs the label `id`, not empty"},
            {"index": 2, "field": "event", "message": "must be a string"},
        ],
    }
    assert await kept(app) == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"event": "a", "resource": {"id": "\\udc00"}}', 400, "other half"),
        (b'{"event": "a", "resource": {"id": "b"}, "payload": ' + b"[" * 9_999 + b"]" * 9_999 + b"}", 400, "recursion"),
        (b"7", 422, "JSON object"),
        (b"[" + b",".join([ONE] * 501) + b"]", 413, "501 events"),
        (b" " * 200_001, 413, "larger than 200000 bytes"),
        (b'{"event": "a", "resource": {"id": "b"}, "payload": "' + b"x" * 100_000 + b'"}', 413, "event 0 has"),
        (b'{"event": "a", "resource": {"id": "\\u0000"}}', 422, "NUL"),
        (b'{"event": "a", "resource": {"id": "b"}, "payload": 1e999}', 422, "finite"),
        (b'{"event": "a", "resource": {"id": "b"}, "occurred": "2026-11-20T08:57:02"}', 422, "zone"),
        (b'{"event": "tocsin.automation.fired", "resource": {"id": "b"}}', 422, "engine's own"),
        (b'{"event": "a", "resource": {"id": "b"}, "payloat": 1}', 422, "did you mean `payload`?"),
    ],
)
async def test_a_bad_body_is_refused_in_words(
    client: httpx.AsyncClient, app: App, body: bytes, status: int, says: str
) -> None:
    answer = await client.post("/api/events", content=body)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert await kept(app) == []


@pytest.mark.parametrize("occurred", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2999-01-01T00:00:00Z"])
async def test_any_time_with_a_zone_is_taken(client: httpx.AsyncClient, occurred: str) -> None:
    """E1: nothing happens after it was received; an event from the future is judged as of now."""
    assert (await client.post("/api/events", json={**GOOD, "occurred": occurred})).status_code == 202


async def test_a_body_in_chunks_is_read_up_to_the_limit_and_no_further(client: httpx.AsyncClient, app: App) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 50_000

    answer = await client.post("/api/events", content=endless())
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert sent < 10


async def test_a_body_that_announces_too_much_is_refused_unread(client: httpx.AsyncClient) -> None:
    for length in ("200001", "9" * 30):
        answer = await client.post("/api/events", content=ONE, headers={"content-length": length})
        assert answer.status_code == 413


async def test_a_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/events", content=ONE, headers={"content-encoding": "gzip"})
    assert (answer.status_code, "Content-Encoding" in answer.json()["error"]) == (415, True)


async def test_a_body_that_does_not_arrive_is_given_up(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.01)

    async def hanging() -> AsyncIterator[bytes]:
        yield ONE
        await asyncio.Event().wait()

    answer = await client.post("/api/events", content=hanging())
    assert (answer.status_code, await kept(app)) == (408, [])


@pytest.mark.parametrize(
    ("trouble", "status", "wait"),
    [
        (Overloaded("too much is waiting", retry_after_s=0.2), 429, "1"),
        (Unavailable("the disk is full", retry_after_s=30), 503, "30"),
    ],
)
async def test_an_overloaded_server_says_when_to_come_back(
    client: httpx.AsyncClient,
    app: App,
    monkeypatch: pytest.MonkeyPatch,
    trouble: TocsinError,
    status: int,
    wait: str,
) -> None:
    monkeypatch.setattr(app.recorder, "record", AsyncMock(side_effect=trouble))
    answer = await client.post("/api/events", json=GOOD)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, wait)
    assert answer.json() == {"error": str(trouble), "errors": []}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(body=st.binary(max_size=200), content_type=st.sampled_from(["application/json", "application/x-ndjson", ""]))
async def test_no_body_makes_the_server_fail(client: httpx.AsyncClient, body: bytes, content_type: str) -> None:
    answer = await client.post("/api/events", content=body, headers={"content-type": content_type})
    assert answer.status_code < 500


TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("headers", "kept_trace"),
    [
        ({"traceparent": TRACE}, TRACE),
        ({"traceparent": "nonsense"}, None),
        ({}, None),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "a", "ce-traceparent": TRACE}, TRACE),
    ],
)
async def test_the_trace_of_a_request_is_kept_with_its_events(
    client: httpx.AsyncClient, app: App, headers: dict[str, str], kept_trace: str | None
) -> None:
    answer = await client.post("/api/events", json={"event": "a", "resource": {"id": "b"}}, headers=headers)
    assert answer.status_code == 202
    (placed,) = [one for one in await app.read(log.after, 0, limit=9) if one.event.source != log.OWN_SOURCE]
    assert placed.trace == kept_trace
