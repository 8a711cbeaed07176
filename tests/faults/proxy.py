"""A TCP proxy that stands in for the network between two processes: it passes, delays, holds, cuts or loses answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

CHUNK = 1 << 16


class Weather(StrEnum):
    """What the network does.

    `cut`: connections break, new ones are refused. `hold`: nothing gets through, nobody is told. `deaf`: what is asked
    gets through, the answers do not. `lag`: everything takes its time. What was held gets through when it is clear
    again, unless the connection is cut before.
    """

    CLEAR = "clear"
    CUT = "cut"
    HOLD = "hold"
    DEAF = "deaf"
    LAG = "lag"


LAG_S = 0.03


@dataclass(eq=False)
class _Link:
    """One connection: both of its sides."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter

    def abort(self) -> None:
        for side in (self.near, self.far):
            side.transport.abort()


class Proxy:
    """Forwards connections to a port of this machine; `change` says how."""

    def __init__(self, target: int) -> None:
        """Keep the port; `open` begins to listen."""
        self._target = target
        self._weather = Weather.CLEAR
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def change(self, weather: Weather) -> None:
        """Have the network do this from now on."""
        self._weather = weather
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if weather is Weather.CUT:
            self.drop()

    def drop(self) -> None:
        """Break all connections, and whatever they hold is lost."""
        for link in list(self._links):
            link.abort()

    async def close(self) -> None:
        """Break all connections and listen no more."""
        if self._server is not None:
            self._server.close()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._weather is not Weather.CUT:
                await self._connect(reader, writer)
        except asyncio.CancelledError:  # by `close`; the task is asyncio's, which would complain
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        asking = asyncio.create_task(self._pump(reader, far_writer, answers=False))
        answering = asyncio.create_task(self._pump(far_reader, writer, answers=True))
        try:
            await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            while self._weather in (Weather.HOLD, Weather.DEAF):  # nor does the other side hear of an end
                await self._changed.wait()
            await asyncio.wait((asking, answering), timeout=LAG_S * 2)
        finally:
            for pump in (asking, answering):
                pump.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            link.abort()
            self._links.discard(link)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._weather is Weather.LAG:
                    await asyncio.sleep(LAG_S)
                while self._holds(answers=answers):
                    await self._changed.wait()
                writer.write(data)
                await writer.drain()

    def _holds(self, *, answers: bool) -> bool:
        return self._weather is Weather.HOLD or (answers and self._weather is Weather.DEAF)


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """Have a proxy in front of a port as long as the context lasts."""
    proxy = Proxy(target)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
