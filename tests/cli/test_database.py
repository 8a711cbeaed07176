"""`tocsin migrate`, `tocsin db copy`, and a server on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoke import invoke
from tests.cli.served import serving
from tests.servers import ask, in_folder
from tocsin.store.database import Database
from tocsin.store.home import locked
from tocsin.store.schema import NEWEST, prepare

VERSION = "UPDATE alembic_version SET version_num = %s RETURNING 1"
EVENT = "service.error"


def test_an_empty_database_is_migrated_once(empty_postgres: str) -> None:
    first = invoke("migrate", "--db", empty_postgres)
    assert (first.status, first.out) == (0, f"the database was empty, now at version {NEWEST}\n"), first.err
    again = invoke("migrate", env={"TOCSIN_DATABASE": empty_postgres})
    assert (again.status, again.out) == (0, f"the database is at version {NEWEST} already\n")


def test_a_server_refuses_an_older_database_and_names_the_command(postgres_url: str, tmp_path: Path) -> None:
    ask(postgres_url, VERSION, "0000")
    try:
        done = invoke("serve", "--port", "0", env={"TOCSIN_DATABASE": postgres_url, "TOCSIN_HOME": str(tmp_path)})
    finally:
        ask(postgres_url, VERSION, NEWEST)
    assert done.status == 1
    assert "has version 0000" in done.err
    assert "run `tocsin migrate`" in done.err


def test_what_runs_on_sqlite_moves_to_postgresql(empty_postgres: str, tmp_path: Path) -> None:
    """Served from SQLite, copied, served from PostgreSQL; while a server runs there is neither a copy nor another."""
    home = tmp_path / "home"
    with serving(tmp_path) as server:
        server.run("emit", EVENT, "-r", "svc-1", "-l", "service=a", "--id", "first")
        busy = invoke("db", "copy", home, empty_postgres)
        assert busy.status == 1
        assert "already serves" in busy.err
    copied = invoke("db", "copy", home, empty_postgres)
    assert copied.status == 0, copied.err
    assert "events among them" in copied.out
    assert "events: " in copied.err
    assert "name an empty database" in invoke("db", "copy", home, empty_postgres).err
    with serving(tmp_path, TOCSIN_DATABASE=empty_postgres) as server:
        assert "first" in [one["id"] for one in server.items("events")]
        duplicate = server.run("emit", EVENT, "-r", "svc-1", "-l", "service=a", "--id", "first")
        assert "duplicate" in duplicate.lower() or len(server.items("events", "--event", EVENT)) == 1
        for number in range(2):
            server.run("emit", EVENT, "-r", "svc-1", "-l", "service=a", "--id", f"more-{number}")
        server.until(lambda: [one for one in server.items("queues") if one["paused"]])
        assert invoke("migrate", "--db", empty_postgres).out == f"the database is at version {NEWEST} already\n"
        into = invoke("db", "copy", home, empty_postgres)
        assert "runs on this database: stop it first, it would not see what is copied" in into.err


def test_a_copy_needs_a_home_with_a_database_and_goes_to_postgresql(tmp_path: Path) -> None:
    nothing = invoke("db", "copy", tmp_path, "postgresql://localhost/x")
    assert (nothing.status, nothing.out) == (1, "")
    assert f"there is no {tmp_path / 'tocsin.db'}" in nothing.err
    database = Database(in_folder(tmp_path))
    prepare(database)
    database.close()
    assert "a copy goes to PostgreSQL" in invoke("db", "copy", tmp_path, "sqlite:///other.db").err


@pytest.mark.parametrize("held", [False, True])
def test_a_home_is_migrated_while_no_server_runs_on_it(tmp_path: Path, held: bool) -> None:
    env = {"TOCSIN_HOME": str(tmp_path)}
    if held:
        with locked(tmp_path):
            assert "already serves" in invoke("migrate", env=env).err
    else:
        assert invoke("migrate", env=env).out.startswith("the database was empty")
        assert invoke("migrate", env=env).out.endswith("already\n")


def test_a_database_elsewhere_is_left_alone_while_a_server_of_another_home_runs_on_it(tmp_path: Path) -> None:
    url, env = in_folder(tmp_path), {"TOCSIN_HOME": str(tmp_path / "home")}
    assert invoke("migrate", "--db", url, env=env).status == 0
    with locked(tmp_path / "other", file=str(tmp_path / "tocsin.db")):
        for command in (
            ["migrate", "--db", url],
            ["db", "restored", "--db", url],
            ["db", "copy", tmp_path, "postgresql://h/x"],
        ):
            refused = invoke(*command, env=env)
            assert (refused.status, refused.out) == (1, "")
            assert f"already serves {tmp_path}" in refused.err


def test_doctor_says_whether_the_database_is_there_and_of_this_version(postgres_url: str, empty_postgres: str) -> None:
    def finding(url: str) -> str:
        done = invoke("doctor", "--json", env={"TOCSIN_DATABASE": url})
        return next(line for line in done.out.splitlines() if '"database"' in line)

    assert f"reachable, at version {NEWEST}" in finding(postgres_url)
    assert "reachable, empty" in finding(empty_postgres)
    away = finding("postgresql://tocsin:hunter2@127.0.0.1:1/tocsin")
    assert "connection failed" in away
    assert "hunter2" not in away
    ask(postgres_url, VERSION, "0000")
    try:
        assert "see tocsin migrate" in finding(postgres_url)
    finally:
        ask(postgres_url, VERSION, NEWEST)


def test_a_backup_is_made_while_the_server_runs_and_takes_the_place_of_no_file(tmp_path: Path) -> None:
    env, file = {"TOCSIN_HOME": str(tmp_path / "home")}, tmp_path / "copy.db"
    with serving(tmp_path) as server:
        server.run("emit", EVENT, "-r", "svc-1", "-l", "service=a", "--id", "first")
        made = invoke("db", "backup", file, env=env)
        assert made.status == 0, made.err
        assert f"{file}: {file.stat().st_size:,} bytes, the log up to event " in made.out
        again = invoke("db", "backup", file, env=env)
        assert (again.status, again.out) == (1, "")
        assert "is there already: name a new file" in again.err


def test_a_backup_needs_a_database_of_sqlite(tmp_path: Path, postgres_url: str) -> None:
    nothing = invoke("db", "backup", tmp_path / "copy.db", env={"TOCSIN_HOME": str(tmp_path)})
    assert f"there is no {tmp_path / 'tocsin.db'}: set TOCSIN_HOME" in nothing.err
    other = invoke("db", "backup", tmp_path / "copy.db", "--db", postgres_url)
    assert "PostgreSQL is backed up by its own programs: pg_dump" in other.err
    assert not (tmp_path / "copy.db").exists()
