"""Bringing a database up to this version of the program."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from tocsin.errors import TocsinError
from tocsin.store.database import Database, unavailable
from tocsin.store.postgres import MIGRATING
from tocsin.store.tables import head, shards

log = logging.getLogger(__name__)

NEWEST = "0001"
"""The revision that this program needs; a test holds it against the versions there are."""


def version_of(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return version


def prepare(database: Database, *, shards: int = 1) -> None:
    """Create the schema of an empty database; bring a SQLite database up to this version.

    An empty PostgreSQL database divides its automations among so many shards from then on; SQLite has one.

    Raises:
        TocsinError: the database was written by a newer version, or is a PostgreSQL database of an older one.
        Unavailable: the database can not be used.
    """
    _bring_up(database, migrate=database.is_sqlite, count=1 if database.is_sqlite else shards)


def migrate(database: Database, *, shards: int = 1) -> str | None:
    """Bring a database up to this version; return the revision that it had before (None: it was empty).

    Raises:
        TocsinError, Unavailable: as `prepare`.
    """
    return _bring_up(database, migrate=True, count=1 if database.is_sqlite else shards)


def _bring_up(database: Database, *, migrate: bool, count: int) -> str | None:
    try:
        with database.writing.begin() as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
            before = version_of(connection)
            if before != NEWEST:
                _check(before, migrate=migrate)
                _fill(connection, count if before is None else 0)
            return before
    except DBAPIError as error:
        raise unavailable(error) from error


def _check(version: str | None, *, migrate: bool) -> None:
    if version is None:
        return
    if version > NEWEST:
        raise TocsinError(f"the database has version {version}, this program knows {NEWEST}: install the newer tocsin")
    if not migrate:
        raise TocsinError(
            f"the database has version {version}, this program needs {NEWEST}: make a backup, then run `tocsin migrate`"
        )


def _fill(connection: Connection, count: int) -> None:
    _upgrade(connection)
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first_row = dialect.insert(head).values(one=1, seq=0, received_us=0, outages=0)
    connection.execute(first_row.on_conflict_do_nothing())
    for number in range(count):
        connection.execute(dialect.insert(shards).values(shard=number, cursor=0, judged_us=0, epoch=0))
    log.info("the database is at version %s", NEWEST)


def _upgrade(connection: Connection) -> None:
    # Alembic is loaded only when there is something to migrate: it costs a quarter of a second.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
