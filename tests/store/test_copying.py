"""A SQLite database is copied into PostgreSQL whole, and a server goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Table, delete, func, insert, select, text, update

from tests.flows.opened import Opened
from tests.servers import in_folder
from tocsin.errors import Conflict, TocsinError
from tocsin.schemas.event import Event
from tocsin.store import copying, log
from tocsin.store import states as states_module
from tocsin.store.copying import Progress, copy
from tocsin.store.database import Connection, Database
from tocsin.store.tables import arrival_decisions, head, runs, shards
from tocsin.store.writer import Transaction


@pytest.fixture
def url(tmp_path: Path) -> str:
    return in_folder(tmp_path)


@pytest.fixture
def target(postgres_url: str) -> Iterator[Database]:
    made = Database(postgres_url)
    yield made
    made.close()


def fill(store: Opened) -> None:
    """Store rows in all tables, with something in every column, and holes in the numbers."""

    def unit(tx: Transaction) -> None:
        for table in copying._COPIED:
            tx.connection.execute(delete(table))
            for number in (30,) if table is head else (*range(1, 25), 30):
                tx.connection.execute(insert(table).values(row_of(table, number)))
        tx.connection.execute(update(shards).values(cursor=29, judged_us=28))

    store.do(unit)


def row_of(table: Table, number: int) -> dict[str, object]:
    values: dict[type, object] = {
        int: number,
        str: f"ä{number}\\\t\n\\N",
        bool: number % 2 == 0,
        bytes: bytes(range(256)),
    }
    return {column.name: values[column.type.python_type] for column in table.columns}


def everything(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    rows = {}
    for table in copying._COPIED:
        query = select(table).order_by(*table.primary_key.columns)
        rows[table.name] = [
            tuple(value for name, value in row._mapping.items() if name != "shard" or table is arrival_decisions)
            for row in connection.execute(query)
        ]
    return rows


def test_everything_arrives_and_numbers_go_on(store: Opened, target: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BITE", 10)
    fill(store)
    told: list[Progress] = []
    counts = copy(store.database, target, shards=1, tell=told.append)
    assert target.read(everything) == store.read(everything)
    assert target.read(states_module.cursor_of, 0) == states_module.Cursor(0, 29, 28, 0)
    assert (counts["events"], counts["firings"], counts["head"]) == (25, 25, 1)
    assert [(one.done, one.total) for one in told if one.table == "events"] == [(10, 25), (20, 25), (25, 25)]
    with Opened(target.url.render_as_string(hide_password=False)) as copied:
        appended = copied.do(lambda tx: log.append(tx, [log.Draft(Event(event="a", resource={"id": "x"}))]))
        assert appended.arrivals[0].seq == 31
        assert copied.read(log.by_seq, [31]).keys() == {31}
        again = row_of(runs, 31)
        del again["n"]
        copied.do(lambda tx: tx.connection.execute(insert(runs).values(again)))
        assert copied.read(lambda it: it.execute(select(func.max(runs.c.n))).scalar()) == 31


def test_a_target_that_has_rows_is_refused_and_left_alone(store: Opened, target: Database) -> None:
    fill(store)
    copy(store.database, target, shards=1, tell=lambda _: None)
    before = target.read(everything)
    with pytest.raises(Conflict, match=r"the target has rows in .*events.*: name an empty database"):
        copy(store.database, target, shards=1, tell=lambda _: None)
    assert target.read(everything) == before


def test_a_copy_that_is_interrupted_leaves_nothing(store: Opened, target: Database) -> None:
    fill(store)
    before = target.read(everything)

    def interrupt(progress: Progress) -> None:
        if progress.table == "identities":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(store.database, target, shards=1, tell=interrupt)
    assert target.read(everything) == before


def test_a_source_of_another_version_is_refused(store: Opened, target: Database) -> None:
    store.do(lambda tx: tx.connection.execute(text("UPDATE alembic_version SET version_num = '0000'")))
    with pytest.raises(TocsinError, match=r"has version 0000, this program needs \d+: run `tocsin migrate`"):
        copy(store.database, target, shards=1, tell=lambda _: None)
    store.do(lambda tx: tx.connection.execute(text("DROP TABLE alembic_version")))
    with pytest.raises(TocsinError, match="there is no tocsin database in that home"):
        copy(store.database, target, shards=1, tell=lambda _: None)
