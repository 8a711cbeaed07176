"""Two versions of the program on one PostgreSQL database: the older one works on while the newer one migrates it.

The newer version is made here: revision 0002 expands, 0003 contracts. The older one is this program, in a process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any

import psycopg
import pytest

from tests.cli.served import serving
from tests.servers import ask
from tocsin.errors import HomeInUse, TocsinError, Unavailable
from tocsin.store import schema
from tocsin.store.database import Database

EXPAND = '''"""The severity of events, and where they came from."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, oldest = "0002", "0001", "0001"


def upgrade() -> None:
    for table in ("events", "firings", "intents", "states"):
        op.add_column(table, sa.Column("shade", sa.Text(), nullable=True))
    op.create_table("places", sa.Column("n", sa.Integer(), primary_key=True))
'''
CONTRACT = '''"""Firings without a mode."""

from alembic import op

revision, down_revision, oldest = "0003", "0002", "0002"


def upgrade() -> None:
    op.drop_column("firings", "mode")
'''
REVISIONS = {"0002": EXPAND, "0003": CONTRACT}
Become = Callable[[str], Database]


def prepared(url: str) -> None:
    """Have a database of this version."""
    database = Database(url)
    schema.prepare(database)
    database.close()


@pytest.fixture
def become(empty_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have this process be of a newer version; returns the database as that version opens it."""
    opened: list[Database] = []

    def become(newest: str) -> Database:
        folder = tmp_path / f"migrations-{newest}"
        shutil.copytree(schema.FOLDER, folder)
        for revision, text in REVISIONS.items():
            if revision <= newest:
                (folder / "versions" / f"v{revision}.py").write_text(text)
        monkeypatch.setattr(schema, "FOLDER", folder)
        monkeypatch.setattr(schema, "NEWEST", newest)
        opened.append(Database(empty_postgres))
        return opened[-1]

    yield become
    for database in opened:
        database.close()


def test_a_server_works_on_while_the_next_version_expands_its_database_and_keeps_it_from_contracting(
    become: Become, empty_postgres: str, tmp_path: Path
) -> None:
    def works(server: Any, prefix: str) -> None:
        """Append, judge, act."""
        for number in range(3):
            server.run("emit", "service.error", "-r", "s", "-l", f"service={prefix}", "--id", f"{prefix}-{number}")
        fired = server.until(lambda: [one for one in server.items("firings") if one["labels"] == {"service": prefix}])
        assert fired[0]["events"] == [f"{prefix}-{number}" for number in range(3)]
        acted = (
            "SELECT 1 FROM intents JOIN firings ON firings.id = intents.firing "
            "WHERE intents.state = 'succeeded' AND firings.labels LIKE %s"
        )
        server.until(lambda: ask(empty_postgres, acted, f"%{prefix}%"))

    with serving(tmp_path, TOCSIN_DATABASE=empty_postgres) as server:
        works(server, "before")
        said: list[str] = []
        assert schema.migrate(become("0002"), tell=said.append) == "0001"
        assert said == ["version 0002: The severity of events, and where they came from."]
        works(server, "expanded")
        newer = become("0003")
        with pytest.raises(HomeInUse, match=r"a server \(.*\) runs on .*, version 0003 of the database would break it"):
            schema.migrate(newer)
        assert newer.read(schema.version_of) == "0002"
        works(server, "refused")
    with serving(tmp_path, TOCSIN_DATABASE=empty_postgres) as server:  # it also starts on what is newer
        works(server, "restarted")
    said.clear()
    assert schema.migrate(newer, tell=said.append) == "0002"
    assert said == ["version 0003: Firings without a mode.; programs before version 0002 do not work any more"]


def test_a_server_of_the_version_before_does_not_start_on_a_database_that_was_contracted(
    become: Become, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate(become("0003"))
    monkeypatch.undo()
    older = Database(empty_postgres, serves=True)
    with pytest.raises(TocsinError, match="install the newer tocsin"):
        schema.prepare(older)
    older.close()


def test_a_step_waits_for_its_moment_and_holds_nobody_up(
    become: Become, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long reader delays the step; who comes behind the step waits for its patience, not for the reader."""
    prepared(empty_postgres)
    database = become("0002")
    monkeypatch.setattr(schema, "LOCK_WAIT_MS", 50)
    monkeypatch.setattr(schema, "AGAIN_S", 0.05)
    tried, done = Signal(), []
    take = schema._upgrade

    def noticed(*arguments: Any) -> None:
        tried.set()
        take(*arguments)

    monkeypatch.setattr(schema, "_upgrade", noticed)
    with psycopg.connect(empty_postgres) as reader:
        reader.execute("SELECT count(*) FROM events")
        migrating = Thread(target=lambda: done.append(schema.migrate(database)))
        migrating.start()
        assert tried.wait(20)
        with psycopg.connect(empty_postgres, options="-c lock_timeout=10s") as other:
            other.execute("SELECT count(*) FROM events")  # it would wait for ever behind a step without patience
        assert ask(empty_postgres, "SELECT version_num FROM alembic_version") == [("0001",)]
    migrating.join(30)
    assert done == ["0001"]
    assert database.read(schema.version_of) == "0002"


def test_a_step_that_never_finds_its_moment_says_so(
    become: Become, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(empty_postgres)
    database = become("0002")
    for name, value in (("LOCK_WAIT_MS", 10), ("AGAIN_S", 0.01), ("TRIES", 3)):
        monkeypatch.setattr(schema, name, value)
    with psycopg.connect(empty_postgres) as reader:
        reader.execute("SELECT count(*) FROM events")
        with pytest.raises(Unavailable, match="version 0002 needs a moment in which nobody holds the tables"):
            schema.migrate(database)
    assert database.read(schema.version_of) == "0001"
