"""Which version a database has, and bringing it up to the one that this program needs.

Rule 1: expand, then contract. A revision adds what the next program needs while programs of the version before go on;
what only those need is taken away by a later revision. So a database has two numbers: its revision, and the oldest
revision whose programs work with it.
Rule 2: a step is a short transaction of its own. It waits a moment for its locks and tries again, so that servers that
run meanwhile are not held up.
Rule 3: every server holds the lock of its revision (`store.locks`). A step that contracts takes the locks of those that
it would break, or is refused while one of them runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from tocsin.errors import TocsinError, Unavailable
from tocsin.store import locks, partitions
from tocsin.store import postgres as server
from tocsin.store.database import Database, unavailable
from tocsin.store.tables import NEWEST, NOBODY_YET, compatibility, head
from tocsin.store.tables import shards as shards_table

__all__ = ["NEWEST", "migrate", "oldest_of", "prepare", "version_of"]

log = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("migrations")
LOCK_WAIT_MS, TRIES, AGAIN_S = 500, 60, 0.5
"""How long a step waits for its locks (who comes behind waits as long), how often, and the pause in between."""

_BUSY = {"55P03", "40P01"}  # a lock is not to be had; two that wait for each other


def version_of(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return version


def oldest_of(connection: Connection) -> str:
    """Return the oldest revision whose programs work with a database that is not empty."""
    oldest: str = connection.execute(text("SELECT oldest FROM compatibility")).scalar_one()
    return oldest


def prepare(database: Database, *, shards: int = 1) -> None:
    """Create the schema of an empty database; bring a SQLite database up to this version.

    An empty PostgreSQL database divides its automations among so many shards from then on; SQLite has one.

    Raises:
        TocsinError: a newer version of the program made the database and it does not work with this one any more, or
            it is a PostgreSQL database of an older version.
        Unavailable: the database can not be used.
    """
    _bring_up(database, migrate=database.is_sqlite, count=1 if database.is_sqlite else shards)
    _make_days(database)


def migrate(database: Database, *, shards: int = 1, tell: Callable[[str], None] = log.info) -> str | None:
    """Bring a database up to this version; return the revision that it had before (None: it was empty).

    Servers of the version before may run on PostgreSQL meanwhile. `tell` is told of every step.

    Raises:
        TocsinError: as `prepare`, or a server runs that a step would break.
        Unavailable: the database can not be used, or does not let go of its locks.
    """
    try:
        with database.reading.connect() as connection:
            before = version_of(connection)
        if database.is_sqlite or before is None or before > NEWEST:
            _bring_up(database, migrate=True, count=1 if database.is_sqlite else shards)
        else:
            for script in _steps(before):
                _take(database, script, tell=tell)
    except DBAPIError as error:
        raise unavailable(error) from error
    _make_days(database)
    return before


def _bring_up(database: Database, *, migrate: bool, count: int) -> None:
    try:
        with database.writing.begin() as connection:
            if not database.is_sqlite:
                locks.hold_for_migration(connection)
            before = version_of(connection)
            if before != NEWEST and not _runs_on(connection, before, migrate=migrate):
                _upgrade(connection, "head")
                if before is None:
                    _fill(connection, count)
                log.info("the database is at version %s", NEWEST)
    except DBAPIError as error:
        raise unavailable(error) from error


def _runs_on(connection: Connection, version: str | None, *, migrate: bool) -> bool:
    """Return whether a database of another version is used as it is. Raises TocsinError if it can not be used."""
    if version is None:
        return False
    if version > NEWEST:
        oldest = oldest_of(connection)
        if oldest <= NEWEST:
            log.info("the database is at version %s, which works with programs of this one, %s", version, NEWEST)
            return True
        raise TocsinError(
            f"the database has version {version}, which works with programs from version {oldest} on, "
            f"this program knows {NEWEST}: install the newer tocsin"
        )
    if not migrate:
        raise TocsinError(
            f"the database has version {version}, this program needs {NEWEST}: make a backup, then run `tocsin migrate`"
        )
    return False


def _fill(connection: Connection, count: int) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(head).values(one=1, seq=0, received_us=0, outages=NOBODY_YET))
    for number in range(count):
        connection.execute(dialect.insert(shards_table).values(shard=number, cursor=0, judged_us=0, epoch=0))


def _make_days(database: Database) -> None:
    """Have partitions for the log from today on, by the database's clock or that of the log."""
    if not database.is_sqlite:
        with database.writing.begin() as connection:
            received_us: int = connection.execute(text("SELECT received_us FROM head")).scalar_one()
            now_us = server.now_us(connection)
        partitions.make_ahead(database, now_us=max(now_us, received_us))


# Steps of PostgreSQL


def _take(database: Database, script: Any, *, tell: Callable[[str], None]) -> None:
    """Take one step. Raises DBAPIError, TocsinError, Unavailable."""
    for turn in range(TRIES):
        if turn:
            threading.Event().wait(AGAIN_S)
        try:
            with database.writing.begin() as connection:
                locks.hold_for_migration(connection)
                if (version_of(connection) or "") >= script.revision:
                    return  # another process took it
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
                broken = range(int(oldest_of(connection)), int(script.module.oldest))
                because = f"version {script.revision} of the database would break it"
                locks.shut_out(connection, broken, because=because)
                _upgrade(connection, script.revision)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _BUSY:
                raise
        else:
            contracted = f"; programs before version {script.module.oldest} do not work any more" if broken else ""
            tell(f"version {script.revision}: {script.doc}{contracted}")
            return
    raise Unavailable(
        f"version {script.revision} needs a moment in which nobody holds the tables that it changes, and found none: "
        "end long transactions (pg_stat_activity tells them), then run `tocsin migrate` again"
    )


def _steps(before: str) -> list[Any]:
    """Return the revisions behind one, the next one first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config()).iterate_revisions("head", before)
    return list(reversed(list(scripts)))


def _upgrade(connection: Connection, to: str) -> None:
    # Alembic is loaded only when there is something to migrate: it costs a quarter of a second.
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    oldest = ScriptDirectory.from_config(config).get_revision(to).module.oldest
    if not connection.execute(update(compatibility).values(oldest=oldest)).rowcount:
        connection.execute(compatibility.insert().values(one=1, oldest=oldest))


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config
