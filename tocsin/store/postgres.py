"""What only PostgreSQL has: sessions to set up, connections that break, transactions that meet.

Rule 1: a commit is durable only with `synchronous_commit`; where the server has it off, it is on for us (law E3).
Rule 2: when the connection breaks during a COMMIT, the server is asked afterwards what came of it (`pg_xact_status`):
nothing is stored twice because the answer was lost, and nothing acknowledged that was not stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from tocsin.errors import Overloaded, Unavailable
from tocsin.store import locks

log = logging.getLogger(__name__)

CHANNEL = "tocsin"
"""The channel of PostgreSQL on which processes tell each other that there is something to do."""

ADDRESS_OPTIONS: dict[str, Any] = {
    "application_name": "tocsin",
    "connect_timeout": 5,
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

# Who is stopped in the middle of a transaction holds the log's head, and everybody up: PostgreSQL ends its session, and
# what it wanted is run again when it goes on. A machine that is gone is noticed as soon.
_SESSION = (
    "SET idle_in_transaction_session_timeout = '5s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 4",
    "SET tcp_user_timeout = '20s'",
)
_MET = {"40001", "40P01"}  # serialization failure, deadlock: the same again may well succeed
_OF_VALUES = {"22", "23", "54"}  # classes: data exception, integrity constraint violation, program limit exceeded


def set_up_writing(engine: Engine, *, serves: bool) -> None:
    """Have each connection commit durably; with `serves`, have it hold the lock of a server, or be refused."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        try:
            _make_durable(connection)
            if serves:
                locks.serve(connection)
        except BaseException:
            connection.close()
            raise


def set_up_reading(engine: Engine) -> None:
    """Have each transaction read one snapshot, and write nothing."""
    from psycopg import IsolationLevel

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True


def take_time(connection: Connection) -> None:
    """Let this transaction be idle for longer than a few seconds: much is to be read in between."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _make_durable(connection: Any) -> None:
    for setting in _SESSION:
        connection.execute(setting)
    off = connection.execute("SHOW synchronous_commit").fetchone()[0] == "off"
    if off:
        log.warning(
            "synchronous_commit is off on this server; for tocsin it is on, or else acknowledged events are lost"
        )
        connection.execute("SET synchronous_commit = on")
    if connection.execute("SHOW fsync").fetchone()[0] == "off":
        log.warning("fsync is off on this PostgreSQL server: after a crash of its machine, the database may be broken")
    connection.commit()


def now_us(connection: Connection) -> int:
    """Return the moment by the server's clock, in microseconds since the Unix epoch."""
    found: int = connection.exec_driver_sql(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    ).scalar_one()
    return found


def tell(connection: Connection, signals: Iterable[str], *, by: str) -> None:
    """Tell every process that listens on `CHANNEL`, after the commit; `by` is who tells it."""
    for signal in signals:
        said = {"channel": CHANNEL, "said": f"{signal} {by}"}
        connection.exec_driver_sql("SELECT pg_notify(%(channel)s, %(said)s)", said)


def have_met(error: DBAPIError) -> bool:
    """Return whether transactions got in each other's way, so that the same may succeed when it is tried again."""
    return getattr(error.orig, "sqlstate", None) in _MET


def is_of_values(error: Exception) -> bool:
    """Return whether what was to be stored is at fault, so that it will never be; not the state of the database.

    `error` is what the writer has raised. A full disk, a database that only reads, or a missing right are no faults of
    what is stored, however often it fails.
    """
    if not isinstance(error, Unavailable | Overloaded):
        return True  # the unit itself has raised it
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    about = str(getattr(cause.orig, "sqlstate", None) or "")[:2]
    return about in _OF_VALUES if about else isinstance(cause, DataError | IntegrityError)


def transaction_id(connection: Connection) -> str | None:
    """Return by what name to ask for the fate of this transaction; None when it has written nothing."""
    found: str | None = connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text").scalar()
    return found


def fate(connection: Connection, transaction: str) -> bool | None:
    """Return whether a transaction whose connection broke was committed; None while that is not decided."""
    query = "SELECT pg_xact_status(%(name)s::xid8)"
    return {"committed": True, "aborted": False}.get(
        connection.exec_driver_sql(query, {"name": transaction}).scalar_one()
    )
