"""A server on a home and a clock of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.live import Live
from tests.servers import in_folder
from tocsin.store.database import Database
from tocsin.store.schema import prepare


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database was made once."""
    home = tmp_path_factory.mktemp("home")
    database = Database(in_folder(home))
    prepare(database)
    database.close()
    return home


@pytest.fixture
async def live(url: str, empty_home: Path, tmp_path: Path) -> AsyncIterator[Live]:
    """A server that is not started yet; whatever a test leaves running is stopped."""
    home = tmp_path / "home"
    if url.startswith("sqlite"):
        shutil.copytree(empty_home, home)
        live = Live(home)
    else:
        live = Live(home, database=url)
    yield live
    await live.stop()
