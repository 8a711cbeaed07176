"""`/api/events/stream`: live events, resumed where a stream before ended; nothing is lost to a slow client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tocsin.api import stream
from tocsin.api.asgi import Api


class Listener:
    """An ASGI client that reads a stream as it comes; `httpx` in process would wait for its end."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.ended = asyncio.Event()
        self.left = asyncio.Event()
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._text = ""

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            await self._parts.put(message["body"])
            if not message.get("more_body"):
                self.ended.set()

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return id and data of the next event."""
        async with asyncio.timeout(5):
            while "\n\n" not in self._text or self._text.startswith(":"):
                self._text = self._text.partition("\n\n")[2] if self._text.startswith(":") else self._text
                self._text += (await self._parts.get()).decode()
        event, _, self._text = self._text.partition("\n\n")
        lines = dict(line.split(": ", 1) for line in event.splitlines())
        return lines["id"], json.loads(lines["data"])


@asynccontextmanager
async def listening(api: Api, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    listener = Listener()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/events/stream",
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8710),
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(api(scope, listener.receive, listener.send))
    try:
        yield listener
    finally:
        listener.left.set()
        async with asyncio.timeout(5):
            await task


async def post(client: httpx.AsyncClient, *names: str) -> None:
    events = [{"event": name, "resource": {"id": name}, "id": name} for name in names]
    assert (await client.post("/api/events", json=events)).status_code == 202


async def test_a_stream_goes_on_where_one_before_ended_and_then_follows(api: Api, client: httpx.AsyncClient) -> None:
    await post(client, "a", "b")
    async with listening(api, last_event_id="1") as listener:
        assert await listener.next() == ("2", (await client.get("/api/events/b")).json())
        assert (listener.status, listener.headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
        await post(client, "c")
        place, event = await listener.next()
        assert (place, event["event"]) == ("3", "c")


async def test_a_stream_from_the_end_of_the_log_hears_what_comes(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_POLL_S", 60.0)
    await post(client, "old")
    async with listening(api) as listener:
        async with asyncio.timeout(5):
            while not api._bell._rung._waiters:  # noqa: ASYNC110 - nothing tells that it waits for the bell
                await asyncio.sleep(0)
        await post(client, "new")
        assert (await listener.next())[1]["event"] == "new"


async def test_a_stream_is_for_the_events_that_were_asked_for(api: Api, client: httpx.AsyncClient) -> None:
    await post(client, "table.a", "row.a", "table.b")
    async with listening(api, "event=table.*", last_event_id="0") as listener:
        assert [(await listener.next())[0] for _ in range(2)] == ["1", "3"]
    async with listening(api, "resource=row.a", last_event_id="0") as listener:
        assert (await listener.next())[0] == "2"


async def test_a_long_backlog_is_read_in_pages_without_a_gap(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_PAGE", 3)
    await post(client, *[f"e{number}" for number in range(10)])
    async with listening(api, last_event_id="0") as listener:
        assert [(await listener.next())[0] for _ in range(10)] == [str(seq) for seq in range(1, 11)]


async def test_streams_end_when_the_server_stops(api: Api, client: httpx.AsyncClient) -> None:
    await post(client, "a")
    async with listening(api, last_event_id="0") as listener:
        await listener.next()
        api.end_streams()
        async with asyncio.timeout(5):
            await listener.ended.wait()


async def test_there_is_a_bound_on_streams_and_leaving_makes_room(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    await post(client, "a")
    async with listening(api, last_event_id="0") as listener:
        await listener.next()
        answer = await client.get("/api/events/stream")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    async with listening(api, last_event_id="0") as listener:
        await listener.next()


@pytest.mark.parametrize("place", ["x", "-1", "9" * 19, "\u0663"])
async def test_a_place_that_no_stream_gave_is_refused(client: httpx.AsyncClient, place: str) -> None:
    answer = await client.get("/api/events/stream", headers={b"last-event-id": place.encode()})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")
