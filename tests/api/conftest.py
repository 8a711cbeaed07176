"""The API over a small App, called in process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.doubles import FakeApp
from tocsin.api.asgi import Api, asgi
from tocsin.settings import Settings
from tocsin.store.database import Database
from tocsin.store.schema import prepare


@pytest.fixture
def settings() -> Settings:
    return Settings(batch_events=500, batch_bytes=200_000, event_bytes=100_000)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database was made once."""
    home = tmp_path_factory.mktemp("home")
    database = Database(f"sqlite:///{home / 'tocsin.db'}")
    prepare(database)
    database.close()
    return home


@pytest.fixture
def app(tmp_path: Path, empty_home: Path, settings: Settings) -> Iterator[FakeApp]:
    shutil.copytree(empty_home, tmp_path, dirs_exist_ok=True)
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
