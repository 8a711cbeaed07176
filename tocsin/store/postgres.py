"""What only PostgreSQL has: sessions to set up, connections that break, transactions that meet, a lock for one server.

Rule 1: a commit is durable only with `synchronous_commit`; where the server has it off, it is on for us (law E3).
Rule 2: when the connection breaks during a COMMIT, the server is asked afterwards what came of it (`pg_xact_status`):
nothing is stored twice because the answer was lost, and nothing acknowledged that was not stored.
Rule 3: a server that runs alone holds an advisory lock in the session that writes. It writes as long as it holds the
lock, and whoever comes next gets the lock when that session is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from tocsin.errors import HomeInUse

log = logging.getLogger(__name__)

ALONE = 0x746F6373_00000001
"""The advisory lock of the one server that runs on a database."""

CHANNEL = "tocsin"
"""The channel of PostgreSQL on which processes tell each other that there is something to do."""

MIGRATING = 0x746F6373_00000002
"""The advisory lock under which a database is migrated."""

ADDRESS_OPTIONS: dict[str, Any] = {
    "application_name": "tocsin",
    "connect_timeout": 5,
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

_LOCK_WAIT_S = 3  # the session of a server that has just ended may take a moment to be gone
_MET = {"40001", "40P01"}  # serialization failure, deadlock: the same again may well succeed


def set_up_writing(engine: Engine, *, alone: bool) -> None:
    """Have each connection commit durably; with `alone`, have it hold the lock of the one server, or be refused."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        try:
            _make_durable(connection)
            if alone:
                _take_lock(connection)
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


def _make_durable(connection: Any) -> None:
    off = connection.execute("SHOW synchronous_commit").fetchone()[0] == "off"
    if off:
        log.warning(
            "synchronous_commit is off on this server; for tocsin it is on, or else acknowledged events are lost"
        )
        connection.execute("SET synchronous_commit = on")
    if connection.execute("SHOW fsync").fetchone()[0] == "off":
        log.warning("fsync is off on this PostgreSQL server: after a crash of its machine, the database may be broken")
    connection.commit()


def _take_lock(connection: Any) -> None:
    """Hold the lock for the length of the session. Raises HomeInUse."""
    from psycopg.errors import LockNotAvailable

    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (ALONE,))
    except LockNotAvailable:
        connection.rollback()
        raise HomeInUse(
            f"{_holder(connection)} already runs on this database: stop it first, or use another database"
        ) from None
    connection.commit()


def _holder(connection: Any) -> str:
    """Return who holds the lock, as far as this role may see it."""
    row = connection.execute(
        "SELECT pid, host(client_addr), backend_start FROM pg_stat_activity JOIN pg_locks USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = datid "
        "AND datname = current_database() AND (classid::bigint << 32 | objid::bigint) = %s",
        (ALONE,),
    ).fetchone()
    if row is None or row[2] is None:
        return "another server"
    where = f"from {row[1]}" if row[1] else "on the database's machine"
    return f"another server ({where}, connected since {row[2]:%Y-%m-%d %H:%M:%S%z}, PostgreSQL process {row[0]})"


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
