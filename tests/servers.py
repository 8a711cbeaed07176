"""The PostgreSQL that tests run against: the one that is named, or the one on this machine, or one of our own.

`TOCSIN_TEST_POSTGRES` names a server by the URL of a role that may create databases; `private` asks for one of our own.
Without it, the server on the default port is taken when it lets `postgres` in, else a private one is started from the
programs that are installed, or can be without questions. Where there is none, its tests are left out; under `CI` they
fail.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from tests.packages import can_install, install
from tocsin.store.tables import compatibility, metadata

DEFAULT = "postgresql://postgres@127.0.0.1:5432/postgres"
PATIENCE_S = 30.0
CONNECT_S = 3

_DAYS_OF_TESTS = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname ~ '_[0-9]{8}$' AND right(relname, 8) "
    "NOT IN (SELECT to_char(now() AT TIME ZONE 'UTC' + n * interval '1 day', 'YYYYMMDD') FROM generate_series(-1, 7) n)"
)
"""Partitions of the log that tests have made, by their clocks, beside those of `prepare`."""

ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For a test of what only SQLite has: its files and its messages."""

ON_POSTGRES = pytest.mark.parametrize("url", ["postgres"], indirect=True)

BOTH = ("sqlite", "postgres")
"""What a module gives as its `DATABASES` whose tests are to run on both."""

ON_BOTH = pytest.mark.parametrize("url", BOTH, indirect=True)


def in_folder(path: Path) -> str:
    """Return the URL of the SQLite database in a folder."""
    return f"sqlite:///{path / 'tocsin.db'}"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server, by the URL of its administrator."""

    url: str

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Make a database for a test, as a copy of a template; return its URL."""
        name = f"tocsin_test_{uuid.uuid4().hex}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {_name_of(template) if template else 'template0'}")
        try:
            yield self.url_of(name)
        finally:
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def restore(self, url: str) -> None:
        """Bring a database back to where `prepare` left it, which is quicker than another one."""
        self.kick(url)
        with closing(psycopg.connect(url, connect_timeout=CONNECT_S)) as connection, connection:
            for (table,) in connection.execute(_DAYS_OF_TESTS).fetchall():
                connection.execute(f"DROP TABLE {table}")
            for table in reversed([one for one in metadata.sorted_tables if one is not compatibility]):
                connection.execute(f"DELETE FROM {table.name}")  # noqa: S608 - our own name
            connection.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
            connection.execute("INSERT INTO head (one, seq, received_us, outages) VALUES (1, 0, 0, -1)")
            connection.execute("INSERT INTO shards (shard, cursor, judged_us, epoch) VALUES (0, 0, 0, 0)")

    def url_of(self, name: str) -> str:
        """Return the URL of a database of this server."""
        address, mark, options = self.url.partition("?")
        return f"{address.rpartition('/')[0]}/{name}{mark}{options}"

    def administer(self, *statements: str) -> None:
        """Execute statements outside of a transaction."""
        with closing(psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_S)) as connection:
            for statement in statements:
                connection.execute(statement)

    def cut(self, url: str, *, off: bool = True) -> None:
        """Break all connections to a database and let nobody in; `off=False` opens it again."""
        name = _name_of(url)
        self.administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {'false' if off else 'true'}")
        if off:
            self.kick(url)

    def kick(self, url: str) -> None:
        """Break all connections to a database."""
        self.administer(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{_name_of(url)}'"  # noqa: S608
        )


def ask(url: str, query: str, *values: Any) -> list[Any]:
    """Return the rows of a query."""
    with closing(psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S)) as connection:
        return connection.execute(query, values).fetchall()


def found() -> tuple[str | None, str]:
    """Return the URL of a server that is there (None: there is none), and what to say about it."""
    named = os.environ.get("TOCSIN_TEST_POSTGRES")
    if named == "private":
        return None, "a private one, asked for by TOCSIN_TEST_POSTGRES"
    if named:
        return named, "the one that TOCSIN_TEST_POSTGRES names"
    try:
        psycopg.connect(DEFAULT, connect_timeout=CONNECT_S).close()
    except psycopg.Error:
        if programs():
            return None, "a private one, started when it is needed"
        return None, "a private one, installed when it is needed" if can_install() else "none: its tests fail"
    return DEFAULT, "the one on 127.0.0.1:5432"


def is_missing() -> bool:
    """Return whether there is no server, none can be started, and nobody insists on one."""
    return found()[0] is None and programs() is None and not can_install() and "CI" not in os.environ


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Return a server for the length of a test run."""
    url, _ = found()
    if url is not None:
        yield Postgres(url)
        return
    installed = programs()
    if installed is None and install("postgresql"):
        installed = programs()
    if installed is None:
        missing = "there is no PostgreSQL: install it (Debian: apt-get install postgresql) or set TOCSIN_TEST_POSTGRES"
        pytest.fail(missing)
    folder = tempfile.TemporaryDirectory(prefix="tocsin-postgres-", ignore_cleanup_errors=True)
    with folder as name, _private(installed, Path(name)) as made:
        yield made


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`, the newest one."""
    beside = (path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists())
    newest = sorted(beside, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    return newest[-1] if newest else Path(on_path).parent if on_path else None


@contextmanager
def _private(programs: Path, folder: Path) -> Iterator[Postgres]:
    owner = somebody(folder) if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    data, port = folder / "data", free_port()
    said = (folder / "log").open("wb")
    run: dict[str, Any] = {"stdout": said, "stderr": said, "user": owner, "cwd": folder}
    make_cluster(programs, data, **run)
    settings = ("fsync=off", "listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={folder}")
    options = [word for setting in settings for word in ("-c", setting)]
    process = subprocess.Popen([programs / "postgres", "-D", data, *options], **run)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        _wait_for(url, process, folder / "log")
        yield Postgres(url)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        said.close()


def make_cluster(programs: Path, data: Path, **run: Any) -> None:
    """Have `initdb` make the files of a server; `run` says as whom, and where its words go."""
    options = "--username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"
    subprocess.run([programs / "initdb", "--pgdata", data, *options.split()], check=True, **run)


def somebody(folder: Path) -> str:
    """Return a user who is not root, and give the folder to that user."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, name)
    return name


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    pause = Event()
    for _ in range(300):
        try:
            psycopg.connect(url, connect_timeout=CONNECT_S).close()
        except psycopg.OperationalError:
            if process.poll() is not None:
                break
            pause.wait(PATIENCE_S / 300)
        else:
            return
    raise AssertionError(f"the private PostgreSQL does not answer:\n{log.read_text()}")


def _name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
