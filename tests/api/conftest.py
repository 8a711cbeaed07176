"""The API over a small App, called in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.doubles import FakeApp
from tocsin.api.asgi import Api, asgi
from tocsin.settings import Settings


@pytest.fixture
def settings() -> Settings:
    return Settings(batch_events=500, batch_bytes=200_000, event_bytes=100_000)


@pytest.fixture
def app(tmp_path: Path, settings: Settings) -> Iterator[FakeApp]:
    app = FakeApp(tmp_path, settings)
    yield app
    app.close()


@pytest.fixture
def api(app: FakeApp) -> Api:
    return asgi(app)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
        yield client
