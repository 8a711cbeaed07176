"""Senders and a sink over raw sockets: as little work for each request as Python can do, to leave the cores to the
server that is measured."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from benchmarks.server import Server

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_READY = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n"
_POLL_S = 0.005
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def post(path: str, body: bytes) -> bytes:
    """Return a POST request as bytes."""
    return request("POST", path, body)


def request(method: str, path: str, body: bytes) -> bytes:
    """Return a request with a JSON body as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}".encode() + _END + body


class _Messages:
    """Cuts a stream into HTTP messages with a Content-Length."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (head, body) of each message that is complete."""
        data = self._data + data if self._data else data
        while (end := data.find(_END)) >= 0:
            found = _LENGTH.search(data, 0, end)
            stop = end + len(_END) + (int(found[1]) if found else 0)
            if len(data) < stop:
                break
            yield data[:end], data[end + len(_END) : stop]
            data = data[stop:]
        self._data = data


class Client(asyncio.Protocol):
    """One keep-alive connection. `request` may be called again before the answer came: answers keep their order."""

    def __init__(self) -> None:
        self._messages = _Messages()
        self._waiting: deque[asyncio.Future[bytes]] = deque()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def request(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the future gives the body of the answer, or raises when it is not a 2xx."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        for head, body in self._messages.feed(data):
            answer = self._waiting.popleft()
            if head[9:10] == b"2":
                answer.set_result(body)
            else:
                answer.set_exception(RuntimeError(f"refused: {head[:60]!r} {body[:500]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(exc or ConnectionError("the server closed the connection"))

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return bool(self._transport.is_closing())

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


async def connected(server: Server) -> Client:
    """Return a connection to a server."""
    _, client = await asyncio.get_running_loop().create_connection(Client, server.host, server.port)
    return client


async def judged(server: Server) -> None:
    """Wait until everything that the server has taken was judged."""
    client = await connected(server)
    while True:
        # A server that is late says so with a 503.
        with suppress(RuntimeError):
            if not json.loads(await client.request(_READY))["unjudged"]:
                break
        await asyncio.sleep(_POLL_S)
    client.close()


async def flood(server: Server, requests: Iterator[bytes], *, connections: int, for_s: float) -> float:
    """Send requests on so many connections, each when the one before was answered; return requests a second, until
    the last was judged."""
    clients = [await connected(server) for _ in range(connections)]
    began_s = time.perf_counter()

    async def drain(client: Client) -> int:
        done = 0
        while time.perf_counter() - began_s < for_s and (request := next(requests, None)) is not None:
            await client.request(request)
            done += 1
        return done

    try:
        done = sum(await asyncio.gather(*map(drain, clients)))
        await judged(server)
        return done / (time.perf_counter() - began_s)
    finally:
        for client in clients:
            client.close()


class Sink(asyncio.Protocol):
    """Answers 200 to every request and tells `heard` its body and when it was complete."""

    def __init__(self, heard: Callable[[bytes, float], None]) -> None:
        self._messages = _Messages()
        self._heard = heard

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now_s = time.time()
        for _, body in self._messages.feed(data):
            self._transport.write(_OK)
            self._heard(body, now_s)


@asynccontextmanager
async def sink(heard: Callable[[bytes, float], None]) -> AsyncIterator[int]:
    """Run a sink; yield its port."""
    server = await asyncio.get_running_loop().create_server(lambda: Sink(heard), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
