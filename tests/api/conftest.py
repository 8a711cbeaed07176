"""The API over a running App in a home of its own, called in process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tocsin.api.asgi import Api, asgi
from tocsin.app import App, running
from tocsin.settings import Settings
from tocsin.store.database import Database
from tocsin.store.schema import prepare


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database was made once."""
    home = tmp_path_factory.mktemp("home")
    database = Database(f"sqlite:///{home / 'tocsin.db'}")
    prepare(database)
    database.close()
    return home


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", batch_events=500, batch_bytes=200_000, event_bytes=100_000)


@pytest.fixture
def definitions() -> Path | None:
    """The definitions files of the server; none unless a test says so."""
    return None


@pytest.fixture
async def app(empty_home: Path, settings: Settings, definitions: Path | None, url: str) -> AsyncIterator[App]:
    """A running App; its database is SQLite in its home, unless its module or a mark says otherwise."""
    if url.startswith("sqlite"):
        shutil.copytree(empty_home, settings.home)
    else:
        settings = settings.model_copy(update={"database": url})
    async with running(settings, definitions) as app:
        yield app


@pytest.fixture
def api(app: App) -> Api:
    return asgi(app)


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
        yield client
