"""What holds for all tests: how properties are tested, and the databases that stores are opened on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import redis_servers
from tests.redis_servers import Redis, redis_server
from tests.servers import Postgres, found, in_folder, is_missing, postgres_server
from tocsin.store.database import Database
from tocsin.store.schema import prepare

# No deadline: a slow machine must not fail a property. The blob reproduces what a property found.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


def pytest_report_header() -> str:
    """Say which servers tests run against."""
    return f"postgresql: {found()[1]}; redis: {redis_servers.found()[1]}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module on each of its `DATABASES`, unless a test names its own."""
    databases = getattr(metafunc.module, "DATABASES", ())
    chosen = any("url" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if databases and not chosen and "url" in metafunc.fixturenames:
        metafunc.parametrize("url", databases, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs PostgreSQL or Redis where there is none."""
    needing = [
        item
        for item in items
        if (_needs_postgres(item) and is_missing()) or (_needs_redis(item) and redis_servers.is_missing())
    ]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def _needs_postgres(item: pytest.Item) -> bool:
    """Return whether a test uses the server itself, or a parameter that is a database of it."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    used = parameters.get("url") == "postgres" or "postgres" in getattr(item, "fixturenames", ())
    return used or "tests/faults" in item.path.as_posix()


def _needs_redis(item: pytest.Item) -> bool:
    """Return whether a test uses the server, or lies where all do."""
    return "redis_url" in getattr(item, "fixturenames", ()) or any(
        folder in item.path.as_posix() for folder in ("tests/engine/bus", "tests/faults")
    )


@pytest.fixture(scope="session")
def redis_url() -> Iterator[Redis]:
    """A Redis server that keeps what it answers."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def prepared_postgres(postgres: Postgres) -> Iterator[str]:
    """A database with our tables, which one test after the other uses."""
    with postgres.database() as url:
        database = Database(url)
        prepare(database)
        database.close()
        yield url


@pytest.fixture
def postgres_url(postgres: Postgres, prepared_postgres: str) -> Iterator[str]:
    """A database as new, with our tables in it."""
    yield prepared_postgres
    postgres.restore(prepared_postgres)


@pytest.fixture
def empty_postgres(postgres: Postgres) -> Iterator[str]:
    """A database of a test's own, with nothing in it."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of a test: SQLite, unless its module or a mark says otherwise."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return in_folder(tmp_path)
    made: str = request.getfixturevalue("postgres_url")
    return made
