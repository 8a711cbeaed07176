"""A SQLite database is copied into an empty PostgreSQL database: all tables, on one snapshot, in one transaction.

Whatever interrupts it, the target is as empty as before. Rows go in by PostgreSQL's COPY, bite by bite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, text
from sqlalchemy.exc import DBAPIError

from tocsin.errors import Conflict, TocsinError
from tocsin.store.database import Database, unavailable
from tocsin.store.schema import NEWEST, prepare, version_of
from tocsin.store.tables import head, metadata, shards

BITE = 5_000
"""How many rows are read at once, and told of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of a table's rows are copied."""

    table: str
    done: int
    total: int


def copy(source: Database, target: Database, *, tell: Callable[[Progress], None]) -> dict[str, int]:
    """Copy everything; return how many rows each table has. Nobody may write to the source meanwhile.

    Raises:
        TocsinError: the source is not of this version, or what arrived is not what was sent.
        Conflict: the target is not empty.
        Unavailable: a database can not be used.
    """
    prepare(target)
    try:
        with source.reading.begin() as origin, target.writing.begin() as goal:
            _check(origin, goal)
            counts = {table.name: _copy_table(origin, goal, table, tell=tell) for table in metadata.sorted_tables}
            _number_on(goal)
            for table in metadata.sorted_tables:
                if (arrived := _count(goal, table)) != counts[table.name]:
                    raise TocsinError(
                        f"of {counts[table.name]} rows of {table.name}, {arrived} arrived: nothing was kept"
                    )
    except DBAPIError as error:
        raise unavailable(error) from error
    return counts


def _check(origin: Connection, goal: Connection) -> None:
    version = version_of(origin)
    if version is None:
        raise TocsinError("there is no tocsin database in that home: name the folder in which tocsin.db lies")
    if version != NEWEST:
        raise TocsinError(
            f"the database has version {version}, this program needs {NEWEST}: run `tocsin migrate` on it"
        )
    used = [table.name for table in metadata.sorted_tables if table not in (head, shards) and _count(goal, table)]
    if used:
        raise Conflict(f"the target has rows in {', '.join(used)} already: name an empty database")
    for table in (head, shards):  # one row each, from its beginning
        goal.execute(delete(table))


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _copy_table(origin: Connection, goal: Connection, table: Table, *, tell: Callable[[Progress], None]) -> int:
    total, done = _count(origin, table), 0
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    driver: Any = goal.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as stream:
        for rows in _bites(origin, table):
            for row in rows:
                stream.write_row(row)
            done += len(rows)
            tell(Progress(table.name, done, total))
    return total


def _bites(origin: Connection, table: Table) -> Iterator[list[Any]]:
    """Yield a table's rows in the order of its key."""
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=BITE)
    for part in origin.execute(query).partitions():
        yield list(part)


def _number_on(goal: Connection) -> None:
    """Let the numbers that PostgreSQL gives go on behind those that were copied."""
    for table in metadata.sorted_tables:
        if "n" in table.columns:
            newest = select(func.coalesce(func.max(table.c.n), 0)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, "n")
            goal.execute(select(func.setval(sequence, newest + 1, text("false"))))
