"""A PostgreSQL and a Redis of our own, set as in production, and what they have used: they are measured, too."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import redis
import redis.asyncio

from tocsin.engine.bus.channel import Channel

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 30.0
_LOOK_S = 0.05
_POSTGRES = {
    "listen_addresses": "127.0.0.1", "max_connections": "200", "shared_buffers": "512MB", "max_wal_size": "4GB",
    "wal_compression": "lz4", "random_page_cost": "1.1", "shared_preload_libraries": "pg_stat_statements",
    "autovacuum_naptime": "15s", "autovacuum_vacuum_cost_limit": "2000",
}  # fmt: skip
_REDIS = {
    "bind": "127.0.0.1", "save": "", "appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no",
    "auto-aof-rewrite-percentage": "0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server; its database is new."""

    url: str
    pid: int
    data: Path

    def ask(self, query: LiteralString) -> list[Any]:
        """Return the rows of a query."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            return connection.execute(query).fetchall()

    def cpu_s(self) -> float:
        """Return the processor time of all of the server's processes, also of those that have ended."""
        return _used_s(self.pid, children_too=True) + sum(map(_used_s, _children(self.pid)))

    def wal_bytes(self) -> int:
        """Return how much has been written to the write-ahead log so far."""
        return int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def table_bytes(self) -> dict[str, int]:
        """Return the size of each table with its indexes; partitions count for their table."""
        query = """
            SELECT coalesce(pg_partition_root(c.oid), c.oid)::regclass::text, sum(pg_total_relation_size(c.oid))::bigint
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') GROUP BY 1 ORDER BY 2 DESC"""
        return dict(self.ask(query))

    def statements(self) -> int:
        """Return how many statements were executed so far."""
        return int(self.ask("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements")[0][0])

    def wal_files_bytes(self) -> int:
        """Return how large the files of the write-ahead log are."""
        return int(self.ask("SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()")[0][0])


@dataclass(frozen=True, slots=True)
class Redis:
    """A server that answers when a write is on its disk."""

    url: str
    pid: int

    def info(self) -> dict[str, Any]:
        """Return what it says of itself."""
        with closing(redis.Redis.from_url(self.url)) as client:
            return dict(client.info("everything"))

    def cpu_s(self) -> float:
        """Return its processor time."""
        return _used_s(self.pid)

    async def recorded(self, stream: str) -> bool:
        """Return whether everything in a stream was delivered and acknowledged."""
        client = redis.asyncio.Redis.from_url(self.url)
        try:
            figures = await Channel(client, stream).figures()
        finally:
            await client.aclose()
        return figures.pending == figures.unread == 0

    def entries(self, stream: str) -> int:
        """Return how many entries are in a stream."""
        with closing(redis.Redis.from_url(self.url)) as client:
            return int(client.xlen(stream))


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """Run a PostgreSQL in a folder.

    Raises:
        SystemExit: it is not installed.
    """
    where = _programs()
    data, port = folder / "postgres", _free_port()
    data.mkdir()
    options: dict[str, Any] = {"cwd": data, "user": _somebody(data, folder)}
    with (folder / "postgres.log").open("ab") as said:
        initdb = [where / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        await asyncio.to_thread(subprocess.run, initdb, check=True, stdout=said, stderr=said, **options)
        settings = _POSTGRES | {"port": str(port), "unix_socket_directories": str(data)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with _running([str(where / "postgres"), "-D", str(data), *words], said, **options) as process:
            await _until(lambda: psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close())
            made = Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres", process.pid, data)
            with closing(psycopg.connect(made.url, autocommit=True)) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
            yield made


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[Redis]:
    """Run a Redis in a folder.

    Raises:
        SystemExit: it is not installed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("this row needs Redis: install it (Debian: apt-get install redis-server)")
    place = folder / "redis"
    place.mkdir()
    settings = _REDIS | {"port": str(_free_port()), "dir": str(place)}
    url = f"redis://127.0.0.1:{settings['port']}/0"
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with (folder / "redis.log").open("ab") as said, _running([program, *words], said) as process:
        await _until(lambda: redis.Redis.from_url(url).ping())
        yield Redis(url, process.pid)


@contextmanager
def _running(command: list[str], said: Any, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=said, stderr=said, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_READY_S)


async def _until(succeeds: Any) -> None:
    """Try until it raises no more of what a server raises that is not there yet."""
    async with asyncio.timeout(_READY_S):
        while True:
            try:
                await asyncio.to_thread(succeeds)
            except (psycopg.OperationalError, redis.RedisError):
                await asyncio.sleep(_LOOK_S)
            else:
                return


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise SystemExit("this row needs PostgreSQL: install it (Debian: apt-get install postgresql)")
    return found[-1] if found else Path(str(on_path)).parent


def _somebody(data: Path, folder: Path) -> str | None:
    """Return a user who is not root and owns the data now; PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    shutil.chown(data, name)
    for parent in (folder, *folder.parents):  # who it is now has to come through
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    return name


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def _used_s(pid: int, *, children_too: bool = False) -> float:
    """Return the processor time of a process; `children_too`: also that of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(field) for field in fields[11 : 15 if children_too else 13]) / _TICKS


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
