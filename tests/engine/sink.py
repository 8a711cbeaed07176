"""A local server that answers as tests tell it to, and remembers what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def ok(request: web.BaseRequest) -> web.Response:
    """Answer 200."""
    return web.Response(text="ok")


@dataclass
class Sink:
    """The server's address, and (idempotency key, body) of each request."""

    port: int = 0
    answer: Answer = ok
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    requests: list[web.BaseRequest] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.headers.get("Idempotency-Key", ""), body))
        self.requests.append(request)
        return await self.answer(request)

    async def hang(self, request: web.BaseRequest) -> web.Response:
        """Answer when the test releases it."""
        await self.release.wait()
        return web.Response(text="at last")


@asynccontextmanager
async def serving() -> AsyncIterator[Sink]:
    """Run a sink on a free port of the loopback interface."""
    sink = Sink()
    server = web.Server(sink.take)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sink.port = runner.addresses[0][1]
    try:
        yield sink
    finally:
        sink.release.set()
        await runner.cleanup()


@asynccontextmanager
async def raw(data: bytes, *, close: bool = True) -> AsyncIterator[int]:
    """Run a server that answers every connection with these bytes; yield its port."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        if close:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
