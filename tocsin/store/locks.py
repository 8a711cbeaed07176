"""The advisory locks of PostgreSQL by which servers, migrations and copies keep out of each other's way.

Rule 1: a server holds the lock of the revision that its code is of, shared with other servers, in each session that
writes. It writes as long as it holds it; when its session breaks, it asks again, and is refused if the database has
become one that its code does not know.
Rule 2: who changes a database in a way that servers of some revisions would not survive takes the locks of those
revisions for itself, for one transaction, or is refused.
Source: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from tocsin.errors import HomeInUse, TocsinError
from tocsin.store.tables import NEWEST

MIGRATING = 0x746F6373_00000002
"""The lock under which a database is migrated."""

PARTITIONING = 0x746F6373_00000003
"""The lock under which partitions of the log are made and dropped."""

SERVING = 0x746F6373_00010000
"""With a revision added: the lock of the servers whose code is of that revision."""

_ENDING_TRIES = 20
_WAIT_S = 3  # what takes them for itself does so for a moment


def serve(connection: Any) -> None:
    """Hold the lock of this program's revision for the length of a session of psycopg's.

    Raises:
        HomeInUse: the database is being changed in a way for which no server may run.
        TocsinError: the database does not work with this program any more.
    """
    from psycopg.errors import LockNotAvailable

    connection.execute(f"SET LOCAL lock_timeout = '{_WAIT_S}s'")
    try:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (SERVING + int(NEWEST),))
    except LockNotAvailable:
        connection.rollback()
        raise HomeInUse("the database is being migrated or copied into: try again when that has ended") from None
    if connection.execute("SELECT to_regclass('compatibility')").fetchone()[0] is not None:
        row = connection.execute("SELECT oldest FROM compatibility").fetchone()
        if row is not None and row[0] > NEWEST:
            raise TocsinError(
                f"the database needs a program of version {row[0]} at least, and this one knows {NEWEST}: "
                "install the newer tocsin"
            )
    connection.commit()


def hold_for_migration(connection: Connection) -> None:
    """Wait until nobody else migrates this database; nobody does until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})


def shut_out(connection: Connection, revisions: Iterable[int], *, because: str) -> None:
    """Let no server of these revisions on the database until the transaction ends.

    Raises:
        HomeInUse: one of them runs.
    """
    for revision in revisions:
        key = {"key": SERVING + revision}
        for _ in range(_ENDING_TRIES):  # the session of a server that has just ended may take a moment to be gone
            if connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key).scalar_one():
                break
            connection.execute(text("SELECT pg_sleep(0.05)"))
        else:
            raise HomeInUse(f"{_holder(connection, key['key'])} runs on this database: stop it first, {because}")


def _holder(connection: Connection, key: int) -> str:
    """Return who holds a lock, as far as this role may see it."""
    row = connection.execute(_HOLDER, {"key": key}).first()
    if row is None or row[2] is None:
        return "a server"
    where = f"from {row[1]}" if row[1] else "on the database's machine"
    return f"a server ({where}, connected since {row[2]:%Y-%m-%d %H:%M:%S%z}, PostgreSQL process {row[0]})"


_HOLDER = text(
    "SELECT pid, host(client_addr), backend_start FROM pg_stat_activity JOIN pg_locks USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = datid "
    "AND datname = current_database() AND (classid::bigint << 32 | objid::bigint) = :key ORDER BY backend_start"
)
