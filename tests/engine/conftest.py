"""A server on a home and a clock of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.live import Live
from tests.servers import Postgres, in_folder
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


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[str]:
    """A database with several shards."""
    with postgres.database() as url:
        database = Database(url)
        prepare(database, shards=4)
        database.close()
        yield url


@pytest.fixture
async def many(shared: str, tmp_path: Path) -> AsyncIterator[Callable[..., Live]]:
    """Makes servers on one database, with one clock."""
    made: list[Live] = []

    def make(**settings: object) -> Live:
        live = Live(tmp_path / f"home-{len(made)}", database=shared, **settings)
        if made:
            live.clock = made[0].clock
        made.append(live)
        return live

    yield make
    for live in made:
        await live.stop()
