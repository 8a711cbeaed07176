"""Publishers and intakes of one stream and one database, by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Any, Self

from tests.redis_servers import Redis
from tocsin.clock import SystemClock
from tocsin.engine.bus.address import Address, address_of
from tocsin.engine.bus.intake import Intake, Name
from tocsin.engine.bus.publisher import Bounds, Publisher
from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import SECOND
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.store import log
from tocsin.store.database import Database
from tocsin.store.writer import Writer

PATIENCE_S = 60.0
BLIND_AFTER_US = 3 * SECOND


@dataclass
class Recording:
    """An intake with a writer of its own, as another process would have."""

    intake: Intake
    database: Database
    writer: Writer

    async def close(self) -> None:
        await self.intake.close()
        await asyncio.to_thread(self.writer.close)
        self.database.close()


class Desk:
    """What a test of the bus works with; what it has started is stopped in the end."""

    def __init__(self, server: Redis, stream: str, database: str) -> None:
        self.server = server
        self.stream = stream
        self._url = database
        self._stack = AsyncExitStack()
        self._names = iter(range(1_000))

    @property
    def address(self) -> Address:
        return address_of(self.server.url)

    async def publisher(self, *, entries: int = 10_000, events: int = 50_000, strict: bool = True) -> Publisher:
        """Start a publisher."""
        bounds = Bounds(entries=entries, events=events, strict=strict)
        publisher = Publisher(self.address, SystemClock(), stream=self.stream, bounds=bounds)
        await publisher.start()
        self._stack.push_async_callback(publisher.close)
        return publisher

    def recording(self, *, claim_after_s: float = 10.0) -> Recording:
        """Return an intake that is not started."""
        database = Database(self._url)
        writer = Writer(database, SystemClock(), receives=False, blind_after_us=BLIND_AFTER_US)
        writer.start()
        name = Name(self.stream, f"recorder-{next(self._names)}")
        intake = Intake(self.address, writer, name=name, parser=NativeParser(Limits()), claim_after_s=claim_after_s)
        recording = Recording(intake, database, writer)
        self._stack.push_async_callback(recording.close)
        return recording

    async def intake(self, *, claim_after_s: float = 10.0) -> Intake:
        """Start an intake."""
        intake = self.recording(claim_after_s=claim_after_s).intake
        await intake.start()
        return intake

    def add(self, fields: dict[Any, Any]) -> str:
        """Add an entry as somebody else would; return its id."""
        with closing(self.server.client()) as client:
            entry: Any = client.xadd(self.stream, fields)
        return str(entry.decode())

    def add_event(self, **event: Any) -> str:
        """Add a native event as somebody else would; return the id of the entry."""
        return self.add({"data": json.dumps(event)})

    async def read(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a query of the store."""
        return await asyncio.to_thread(self._read, query, *args, **kwargs)

    def _read(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        database = Database(self._url)
        try:
            return database.read(query, *args, **kwargs)
        finally:
            database.close()

    async def arrivals(self, *, own: bool = False) -> list[Arrival]:
        """Return what is in the log, with our own events or without."""
        found: list[Arrival] = await self.read(log.after, 0, limit=1_000_000)
        return [placed for placed in found if own or placed.event.source != log.OWN_SOURCE]

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds; `holds` may be a coroutine function."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = holds()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(0.02)

    async def until_recorded(self, count: int) -> list[Arrival]:
        """Wait until so many events of others are in the log; return them."""

        async def there() -> bool:
            return len(await self.arrivals()) >= count

        await self.until(there)
        return await self.arrivals()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
