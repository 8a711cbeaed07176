"""What is asked for at every step is looked up, however much is stored: never a scan of a whole table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, Executable
from sqlalchemy.sql.compiler import SQLCompiler

from tocsin.store import intents, log, schema, states
from tocsin.store.database import Database


@pytest.mark.parametrize(
    "query",
    [states._NEXT, states._DUE, states._MOVE, log._AFTER, intents._NEXT_DUE],
    ids=["next wake", "due", "cursor", "arrivals", "next intent"],
)
def test_nothing_is_scanned_at_every_step(tmp_path: Path, query: Executable) -> None:
    database = Database(f"sqlite:///{tmp_path / 'tocsin.db'}")
    schema.prepare(database)
    plan = database.read(_plan, query)
    database.close()
    assert plan
    assert [step for step in plan if not re.match("SEARCH .* USING .*(INDEX|PRIMARY KEY)", step)] == []


def _plan(connection: Connection, query: Executable) -> list[str]:
    compiled = query.compile(dialect=connection.dialect)  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    values = tuple(0 for _ in compiled.positiontup or ())
    return [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
