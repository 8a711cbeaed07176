"""The log on PostgreSQL lies in partitions by `received`, one a day (UTC), so that what is old is dropped whole.

Rule 1: days are made ahead. What is received on a day that has no partition goes into the rest, where it is found as
well and is dropped row by row; a day of which rows lie there is not made any more.
Rule 2: a day goes in three steps: its partitions are taken out of the log, then its identities are dropped in bites,
then its tables. Each step can be begun again; what was taken out is found by its name.
Rule 3: nobody is held up. The lock on the log is asked for with a short patience, and asked for again later: who reads
the log for an hour (a dump does) delays the dropping, not the log.

SQLite has no partitions: there, the log is one table, which is its own rest.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tocsin.schemas.moments import DAY, SECOND, Micros
from tocsin.store.database import Database, unavailable
from tocsin.store.locks import PARTITIONING
from tocsin.store.tables import arrival_decisions, events

log = logging.getLogger(__name__)

DAYS_AHEAD = 7
PARTED = (arrival_decisions.name, events.name)
"""The tables in partitions, in the order in which their days are taken out."""

REST, GONE = "rest", "gone"
"""What the names of the other tables end and begin with: of the rest, and of what was taken out."""

LOCK_WAIT_MS, TRIES, AGAIN_S = 200, 10, 0.5
"""How long a lock on the log is waited for (who comes behind waits as long), how often, and the pause in between."""

_LOCK_NOT_AVAILABLE, _CHECK_VIOLATION = "55P03", "23514"


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the log, which is a table."""

    table: str
    from_us: Micros
    to_us: Micros


def days(connection: Connection) -> list[Day]:
    """Return the days of the log that have a table, the oldest first."""
    if connection.dialect.name == "sqlite":
        return []
    return sorted(_days(connection, events.name), key=lambda day: day.from_us)


def rest(connection: Connection) -> str:
    """Return the table of what is in no day: in SQLite, the log."""
    return events.name if connection.dialect.name == "sqlite" else f"{events.name}_{REST}"


def taken_out(connection: Connection) -> list[str]:
    """Return the tables of days that were taken out of the log and are still there, those of events last."""
    if connection.dialect.name == "sqlite":
        return []
    pattern = f"^{GONE}_({'|'.join(PARTED)})_[0-9]{{8}}$"
    return list(connection.execute(_TAKEN_OUT, {"pattern": pattern}).scalars())


def has_events(table: str) -> bool:
    """Return whether a table that was taken out is one of events."""
    return table.startswith(f"{GONE}_{events.name}_")


def make_ahead(database: Database, *, now_us: Micros, days: int = DAYS_AHEAD) -> int:
    """Make the partitions of a day and of some days behind it, as far as they are missing; return how many were made.

    Raises:
        Unavailable: the database can not be used.
    """
    first = now_us // DAY
    return make_days(database, [day * DAY for day in range(first, first + days + 1)])


def make_days(database: Database, wanted_us: Iterable[Micros]) -> int:
    """Make the partitions of the days of these moments, as far as they are missing; return how many were made.

    Raises:
        Unavailable: the database can not be used.
    """
    if database.is_sqlite:
        return 0
    wanted = [(table, day * DAY) for day in sorted({one // DAY for one in wanted_us}) for table in PARTED]
    try:
        with database.writing.begin() as connection:
            there = {(table, day.from_us) for table in PARTED for day in _days(connection, table)}
        missing = [one for one in wanted if one not in there]
        return sum(patiently(database, partial(_make, table=table, from_us=from_us)) or 0 for table, from_us in missing)
    except DBAPIError as error:
        raise unavailable(error) from error


def take_out(database: Database, day: Day) -> bool:
    """Take a day out of the log; return False when others do not let go of the log, or do the same already.

    Raises:
        Unavailable: the database can not be used.
    """
    try:
        done = all(patiently(database, partial(_detach, table=table, from_us=day.from_us)) for table in PARTED)
    except DBAPIError as error:
        raise unavailable(error) from error
    if not done:
        log.warning("%s is old, and stays for now: a transaction that does not end holds the log", day.table)
    return done


def drop(database: Database, table: str) -> None:
    """Drop the table of a day that was taken out; if its lock is not to be had, it stays for the next time.

    Raises:
        Unavailable: the database can not be used.
    """
    try:
        patiently(database, partial(_drop, table=table))
    except DBAPIError as error:
        raise unavailable(error) from error


def patiently(database: Database, change: Callable[[Connection], int | None]) -> int | None:
    """Change the schema in a short transaction of its own; return None when its locks were not to be had.

    What `change` does is done by one process at a time. Raises DBAPIError.
    """
    for turn in range(TRIES):
        if turn:
            threading.Event().wait(AGAIN_S)
        try:
            with database.writing.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({PARTITIONING})")
                return change(connection)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
    return None


def _make(connection: Connection, *, table: str, from_us: Micros) -> int:
    """Make one partition; return how many were made."""
    name, to_us = f"{table}_{_date(from_us)}", from_us + DAY
    exists, taken = connection.execute(
        text(
            f"SELECT to_regclass(:name) IS NOT NULL, EXISTS (SELECT FROM {table}_{REST} "  # noqa: S608 - our own names
            "WHERE received_us >= :from_us AND received_us < :to_us)"
        ),
        {"name": name, "from_us": from_us, "to_us": to_us},
    ).one()
    if exists or taken:
        return 0
    # A table that is attached holds up nobody who writes; CREATE TABLE ... PARTITION OF would.
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(
                f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from_us}) TO ({to_us})"
            )
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CHECK_VIOLATION:
            raise
        connection.exec_driver_sql(f"DROP TABLE {name}")  # a row came into the rest in between
        return 0
    return 1


def _detach(connection: Connection, *, table: str, from_us: Micros) -> int:
    for day in _days(connection, table):
        if day.from_us == from_us:
            connection.exec_driver_sql(f"ALTER TABLE {table} DETACH PARTITION {day.table}")
            connection.exec_driver_sql(f"ALTER TABLE {day.table} RENAME TO {GONE}_{day.table}")
            log.info("taken out of the log: %s", day.table)
    return 1


def _drop(connection: Connection, *, table: str) -> int:
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    return 1


def _days(connection: Connection, table: str) -> Iterator[Day]:
    for name, bound in connection.execute(_PARTITIONS, {"table": table}).all():
        if found := _BOUND.search(bound):
            yield Day(name, int(found[1]), int(found[2]))


def _date(from_us: Micros) -> str:
    return f"{datetime.fromtimestamp(from_us // SECOND, UTC):%Y%m%d}"


_BOUND = re.compile(r"FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)")
_PARTITIONS = text(
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = to_regclass(:table)"
)
_TAKEN_OUT = text(
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname ~ :pattern "
    "AND pg_table_is_visible(oid) ORDER BY relname"
)
