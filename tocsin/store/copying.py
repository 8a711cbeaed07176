"""A SQLite database is copied into an empty PostgreSQL database: all tables, on one snapshot, in one transaction.

Whatever interrupts it, there is no row in the target. Rows go in by PostgreSQL's COPY, bite by bite. What SQLite
judges in one shard is divided among those of the target, which all stand where that one stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from tocsin.errors import Conflict, TocsinError
from tocsin.schemas.identity import shard_of
from tocsin.schemas.scheduled import judged_name
from tocsin.store import locks, partitions
from tocsin.store.database import Database, unavailable
from tocsin.store.postgres import take_time
from tocsin.store.schema import NEWEST, oldest_of, prepare, version_of
from tocsin.store.tables import compatibility, days, definitions, head, metadata, processes, states
from tocsin.store.tables import shards as shards_table

_COPIED = [one for one in metadata.sorted_tables if one not in (compatibility, processes, shards_table)]
"""The others tell of the database itself, and of who runs on it."""

_DAYS = 400
_NEWEST_DAYS = select(days.c.from_us).order_by(days.c.from_us.desc()).limit(_DAYS)
"""The days that get a table each; what is older is dropped row by row."""

BITE = 5_000
"""How many rows are read at once, and told of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of a table's rows are copied."""

    table: str
    done: int
    total: int


def copy(source: Database, target: Database, *, shards: int, tell: Callable[[Progress], None]) -> dict[str, int]:
    """Copy everything; return how many rows each table had. A target that is empty gets so many shards.

    Nobody may write to the source meanwhile.

    Raises:
        TocsinError: the source is not of this version, or what arrived is not what was sent.
        Conflict: the target is not empty.
        HomeInUse: a server runs on the target.
        Unavailable: a database can not be used.
    """
    prepare(target, shards=shards)
    try:
        with source.reading.begin() as origin:
            _check_source(origin)
            partitions.make_days(target, origin.execute(_NEWEST_DAYS).scalars().all())
            with target.writing.begin() as goal:
                take_time(goal)
                _check_target(goal)
                counts = {table.name: _copy_table(origin, goal, table, tell=tell) for table in _COPIED}
                _divide(goal, origin)
                _number_on(goal)
                _compare(goal, counts)
    except DBAPIError as error:
        raise unavailable(error) from error
    return counts


def _check_source(origin: Connection) -> None:
    version = version_of(origin)
    if version is None:
        raise TocsinError("there is no tocsin database in that home: name the folder in which tocsin.db lies")
    if version != NEWEST:
        raise TocsinError(
            f"the database has version {version}, this program needs {NEWEST}: run `tocsin migrate` on it"
        )


def _check_target(goal: Connection) -> None:
    versions = range(int(oldest_of(goal)), int(NEWEST) + 1)
    locks.shut_out(goal, versions, because="it would not see what is copied")
    used = [table.name for table in _COPIED if table is not head and _count(goal, table)]
    if used:
        raise Conflict(f"the target has rows in {', '.join(used)} already: name an empty database")
    goal.execute(delete(head))


def _compare(goal: Connection, counts: dict[str, int]) -> None:
    for table in _COPIED:
        if (arrived := _count(goal, table)) != counts[table.name]:
            raise TocsinError(f"of {counts[table.name]} rows of {table.name}, {arrived} arrived: nothing was kept")


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _copy_table(origin: Connection, goal: Connection, table: Table, *, tell: Callable[[Progress], None]) -> int:
    total, done = _count(origin, table), 0
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    driver: Any = goal.connection.driver_connection
    count = _count(goal, shards_table)
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as stream:
        for rows in _bites(origin, table):
            for row in rows:
                stream.write_row(_placed(table, row, count))
            done += len(rows)
            tell(Progress(table.name, done, total))
    return total


def _bites(origin: Connection, table: Table) -> Iterator[list[Any]]:
    """Yield a table's rows in the order of its key."""
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=BITE)
    for part in origin.execute(query).partitions():
        yield list(part)


def _placed(table: Table, row: Any, count: int) -> Sequence[Any]:
    """Return a row as the target has it: in the shard that judges it there."""
    if table is definitions:
        shard = shard_of(judged_name(row.kind, row.name), count)
    elif table is states:
        shard = shard_of(row.automation, count)
    else:
        return tuple(row)
    return [shard if column is table.c.shard else value for column, value in zip(table.columns, row, strict=True)]


def _divide(goal: Connection, origin: Connection) -> None:
    """Let all shards of the target stand where the one of the source stands."""
    stood = origin.execute(select(shards_table.c.cursor, shards_table.c.judged_us)).one()
    goal.execute(update(shards_table).values(cursor=stood.cursor, judged_us=stood.judged_us))


def _number_on(goal: Connection) -> None:
    """Let the numbers that PostgreSQL gives go on behind those that were copied."""
    for table in metadata.sorted_tables:
        if "n" in table.columns:
            newest = select(func.coalesce(func.max(table.c.n), 0)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, "n")
            goal.execute(select(func.setval(sequence, newest + 1, text("false"))))
