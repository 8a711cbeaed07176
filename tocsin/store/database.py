"""Opening a database: SQLite in WAL mode on one machine, PostgreSQL for many; readers apart from the one writer."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tocsin.errors import TocsinError, Unavailable
from tocsin.store import postgres

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
_POOL: Mapping[str, Any] = MappingProxyType({"max_overflow": 8, "pool_timeout": 10})
_USE = "use sqlite:///PATH or postgresql://USER@HOST/NAME"


class Database:
    """A database by URL: `sqlite:///path` or `postgresql://...`."""

    def __init__(self, url: str, *, serves: bool = False) -> None:
        """Prepare the engines; nothing is opened yet.

        With `serves`, what writes to PostgreSQL holds the lock of a server (`store.locks`). SQLite files are guarded by
        a lock beside them (`store.home`).

        Raises:
            TocsinError: the URL is not one of SQLite or PostgreSQL, or the driver is not installed.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise TocsinError(f"the address of the database is none: {_USE}") from None
        backend = parsed.get_backend_name()
        if backend not in {"sqlite", "postgresql", "postgres"}:
            raise TocsinError(f"{parsed.render_as_string()!r}: {_USE}")
        self.token = uuid.uuid4().hex
        """By this a process knows what it has told itself."""
        self.is_sqlite = backend == "sqlite"
        self.url = parsed if self.is_sqlite else parsed.set(drivername="postgresql+psycopg")
        if self.is_sqlite:
            self.writing = self._sqlite(_WRITER_PRAGMAS, begin="BEGIN IMMEDIATE", pool_size=1)
            self.reading = self._sqlite(_READER_PRAGMAS, begin="BEGIN", pool_size=4)
            return
        # What the URL says in its query wins.
        options = postgres.ADDRESS_OPTIONS.items()
        self._arguments = {name: value for name, value in options if name not in self.url.query}
        self.writing, self.reading = self._postgres(pool_size=2), self._postgres(pool_size=4, pool_pre_ping=True)
        postgres.set_up_writing(self.writing, serves=serves)
        postgres.set_up_reading(self.reading)

    def _sqlite(self, pragmas: tuple[str, ...], *, begin: str, pool_size: int) -> Engine:
        arguments: dict[str, Any] = {"check_same_thread": False, "timeout": 5}
        engine = create_engine(self.url, pool_size=pool_size, connect_args=arguments, **_POOL)

        @event.listens_for(engine, "connect")
        def _configure(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # transactions are begun below, by name
            for pragma in _PRAGMAS + pragmas:
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _postgres(self, **pool: Any) -> Engine:
        try:
            return create_engine(self.url, connect_args=self._arguments, **_POOL, **pool)
        except ModuleNotFoundError as error:
            raise TocsinError("PostgreSQL needs its driver: pip install 'tocsin[postgres]'") from error

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

    def listening(self) -> Any:
        """Return a connection of psycopg's of its own, in which every statement is a transaction (PostgreSQL only)."""
        import psycopg

        arguments: Mapping[str, Any] = self.writing.dialect.create_connect_args(self.url)[1]
        return psycopg.connect(**(self._arguments | dict(arguments)), autocommit=True)

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
