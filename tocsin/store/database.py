"""Opening a database: SQLite in WAL mode on one machine, PostgreSQL for many; readers apart from the one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tocsin.errors import TocsinError, Unavailable

__all__ = ["Connection", "Database", "unavailable"]

P = ParamSpec("P")
T = TypeVar("T")

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "temp_store=MEMORY",
    "journal_size_limit=67108864",
)
# A checkpoint in the middle of a commit costs tens of milliseconds: the checkpointer makes them from a thread of its
# own, and this bound (in pages of 4 kB) is for when it can not keep up.
_WRITER_PRAGMAS = ("wal_autocheckpoint=20000", "cache_size=-65536")
_READER_PRAGMAS = ("query_only=ON", "cache_size=-8192")


class Database:
    """A database by URL: `sqlite:///path` or `postgresql://...`."""

    def __init__(self, url: str) -> None:
        """Prepare the engines; nothing is opened yet.

        Raises:
            TocsinError: the URL is not one of SQLite or PostgreSQL.
        """
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            raise TocsinError(f"{parsed.render_as_string()!r}: use sqlite:///PATH or postgresql://USER@HOST/NAME")
        self.url = parsed.set(drivername="postgresql+psycopg") if backend == "postgresql" else parsed
        self.is_sqlite = backend == "sqlite"
        self.writing = self._engine(_WRITER_PRAGMAS, begin="BEGIN IMMEDIATE", pool_size=1)
        self.reading = self._engine(_READER_PRAGMAS, begin="BEGIN", pool_size=4)

    def _engine(self, pragmas: tuple[str, ...], *, begin: str, pool_size: int) -> Engine:
        sqlite_arguments: dict[str, Any] = {"connect_args": {"check_same_thread": False, "timeout": 5}}
        engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=8,
            pool_timeout=10,
            **(sqlite_arguments if self.is_sqlite else {}),
        )
        if self.is_sqlite:

            @event.listens_for(engine, "connect")
            def _configure(connection: sqlite3.Connection, _record: object) -> None:
                connection.isolation_level = None  # transactions are begun below, by name
                for pragma in _PRAGMAS + pragmas:
                    connection.execute(f"PRAGMA {pragma}")

            @event.listens_for(engine, "begin")
            def _begin(connection: Connection) -> None:
                connection.exec_driver_sql(begin)

        return engine

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query on a short connection of its own, on one snapshot of the data; call it from a thread.

        Raises:
            Unavailable: the database can not be read now.
        """
        try:
            with self.reading.begin() as connection:
                return query(connection, *args, **kwargs)
        except DBAPIError as error:
            raise unavailable(error) from error
        except PoolTimeout as error:
            raise Unavailable("too many queries of the database run at once: try again") from error

    def close(self) -> None:
        """Close all connections."""
        self.reading.dispose()
        self.writing.dispose()


def unavailable(error: DBAPIError) -> Unavailable:
    """Say in one sentence what the database refused, without the statement and its values."""
    reason = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
    if "disk is full" in reason or "No space left" in reason:
        return Unavailable(
            f"the disk is full ({reason}): make room, nothing was kept of this request", retry_after_s=30
        )
    if isinstance(error, OperationalError) and "locked" in reason:
        return Unavailable(f"another process holds the database ({reason}): try again")
    return Unavailable(f"the database refused: {reason}")
