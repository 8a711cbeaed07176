"""Databases are created and brought up to date; what is newer, in use or no database is refused."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from tests.store.starting import start_at_once
from tocsin.errors import TocsinError, Unavailable
from tocsin.store import database as database_module
from tocsin.store import log, schema, states
from tocsin.store.database import Database
from tocsin.store.tables import NOBODY_YET, metadata


def database_in(path: Path) -> Database:
    return Database(f"sqlite:///{path / 'tocsin.db'}")


def test_the_migrations_make_exactly_the_tables_that_are_written_down(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    schema.prepare(database)
    with database.reading.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []
    database.close()


def test_the_tables_made_by_migrations_are_those_that_the_metadata_makes(tmp_path: Path) -> None:
    """What a comparison does not see: the order of columns, rows without an id, conditions of indexes."""
    migrated, made = Database(f"sqlite:///{tmp_path / 'one.db'}"), Database(f"sqlite:///{tmp_path / 'two.db'}")
    schema.prepare(migrated)
    with made.writing.begin() as connection:
        metadata.create_all(connection)
    found = migrated.read(_definitions)
    assert found.pop("alembic_version", None) is not None
    assert found == made.read(_definitions)
    migrated.close()
    made.close()


def _definitions(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {row.name: re.sub(r"[\s\"]+", " ", row.sql).strip() for row in rows}


def test_the_program_needs_the_newest_revision() -> None:
    versions = Path(schema.__file__).with_name("migrations") / "versions"
    revisions = {
        re.search(r'^revision.*= "(\w+)"', file.read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for file in versions.glob("*.py")
    }
    assert max(revisions) == schema.NEWEST


def test_a_database_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    assert database.read(schema.version_of) is None
    schema.prepare(database)
    before = database.read(_definitions)
    schema.prepare(database)
    assert database.read(_definitions) == before
    assert database.read(log.newest) == (0, 0, NOBODY_YET)
    assert database.read(states.cursor_of, 0) == states.Cursor(0, 0, 0, 0)
    assert database.read(schema.version_of) == schema.NEWEST
    database.close()


def test_two_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    assert start_at_once(lambda: database_in(tmp_path), count=2) == []


def test_a_database_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    schema.prepare(database)
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    schema.prepare(database)  # as long as it says that it works with programs of this version
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE compatibility SET oldest = '9998'"))
    with pytest.raises(TocsinError, match=r"has version 9999, .* from version 9998 on, .*: install the newer tocsin"):
        schema.prepare(database)
    assert database.read(schema.version_of) == "9999"
    database.close()


def test_what_is_no_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tocsin.db").write_text("this is a letter to my mother, not a database\n" * 100)
    database = database_in(tmp_path)
    with pytest.raises(Unavailable, match=r"^the database refused: file is not a database$"):
        schema.prepare(database)
    database.close()


def test_a_database_that_another_process_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_PRAGMAS", ("journal_mode=WAL", "busy_timeout=20"))
    other = sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    database = database_in(tmp_path)
    with pytest.raises(Unavailable, match="another process holds the database"):
        schema.prepare(database)
    other.execute("ROLLBACK")
    schema.prepare(database)
    database.close()
    other.close()


def test_other_databases_are_refused_without_their_password() -> None:
    with pytest.raises(TocsinError, match=r"use sqlite:///PATH or postgresql://") as refused:
        Database("mysql://u:hunter2@db/tocsin")
    assert "hunter2" not in str(refused.value)


def test_readers_can_not_write(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    schema.prepare(database)
    with pytest.raises(Unavailable, match="readonly"):
        database.read(lambda connection: connection.execute(text("DELETE FROM head")))
    with pytest.raises(Unavailable, match="no such table"):
        database.read(lambda connection: connection.execute(text("SELECT * FROM nowhere WHERE secret = 'x'")))
    database.close()


def test_a_database_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'tocsin.db'}")
    with pytest.raises(Unavailable, match="unable to open database file"):
        database.read(log.newest)
    database.close()
