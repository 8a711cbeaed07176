"""An App that is only as large as the API needs, and a client that calls it in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from tocsin.api.asgi import asgi
from tocsin.errors import TocsinError
from tocsin.schemas.event import Event
from tocsin.settings import Settings


@dataclass(frozen=True)
class FakeReceipt:
    accepted: int
    duplicates: int
    ids: list[str]


@dataclass
class FakeRecorder:
    """Keeps events in memory, and refuses when it was told to."""

    kept: list[Event] = field(default_factory=list)
    trouble: TocsinError | None = None

    async def record(self, events: Sequence[Event]) -> FakeReceipt:
        if self.trouble is not None:
            raise self.trouble
        known = {(event.source, event.id) for event in self.kept if event.id}
        self.kept += [event for event in events if (event.source, event.id) not in known]
        duplicates = sum((event.source, event.id) in known for event in events)
        return FakeReceipt(len(events), duplicates, [event.id or "made" for event in events])


@dataclass
class FakeApp:
    settings: Settings = field(
        default_factory=lambda: Settings(batch_events=500, batch_bytes=200_000, event_bytes=100_000)
    )
    recorder: FakeRecorder = field(default_factory=FakeRecorder)


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
async def client(app: FakeApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
        yield client
