"""A PostgreSQL and a Redis of our own, which can be killed, frozen and started again on the same data.

They lose nothing by SIGKILL: what the kernel has taken is in their files. PostgreSQL runs without fsync, which only
matters when the machine itself goes down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.crash.child import die_with_parent
from tests.packages import install
from tests.servers import CONNECT_S, make_cluster, programs, somebody

ANSWER_S = 60.0
LOOK_S = 0.02
QUIET_PORTS = range(12_000, 32_000)


class Broken(Exception):
    """One of our own servers does not start."""


def quiet_port() -> int:
    """Return a free port that no outgoing connection is given: who is begun again finds it free."""
    for _ in range(100):
        port = secrets.choice(QUIET_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise Broken("there is no free port between 12000 and 32000")


class Store(ABC):
    """A server process in a folder of its own, on a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        """Prepare the folder."""
        self.folder = folder
        self.port = quiet_port()
        folder.mkdir(parents=True)
        self._owner = somebody(folder) if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server can be talked to."""

    async def start(self) -> None:
        """Start the server, again if need be, and wait until it answers."""
        async with asyncio.timeout(ANSWER_S):
            while True:
                if self._process is None or self._process.poll() is not None:
                    self._process = self._begin()
                if await asyncio.to_thread(self.answers):
                    return
                await asyncio.sleep(LOOK_S)

    def _begin(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as said:
            options: dict[str, Any] = {"stdout": said, "stderr": said, "user": self._owner, "cwd": self.folder}
            return subprocess.Popen(self._command(), preexec_fn=die_with_parent, **options)  # noqa: PLW1509

    async def kill(self) -> None:
        """Kill the server and all that belongs to it, and wait until they are gone."""
        for pid in self._family():
            _send(pid, signal.SIGKILL)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    def freeze(self) -> None:
        """Have the server stand still, with all connections open."""
        for pid in self._family():
            _send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have the server go on."""
        for pid in self._family():
            _send(pid, signal.SIGCONT)

    def _family(self) -> list[int]:
        if self._process is None or self._process.poll() is not None:
            return []
        pid = self._process.pid
        listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
        return [pid, *map(int, listed.split())]


class Postgres(Store):
    """A PostgreSQL server."""

    def __init__(self, folder: Path) -> None:
        """Make the cluster."""
        super().__init__(folder)
        found = programs()
        if found is None and install("postgresql"):
            found = programs()
        if found is None:
            raise Broken("there is no PostgreSQL: install it (Debian: apt-get install postgresql)")
        self._programs = found
        with (folder / "log").open("ab") as said:
            make_cluster(found, folder / "data", stdout=said, stderr=said, user=self._owner, cwd=folder)

    def _command(self) -> list[str]:
        settings = (
            "fsync=off", "full_page_writes=off", "max_connections=300", "shared_buffers=64MB", "max_wal_size=256MB",
            "listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}",
        )  # fmt: skip
        options = [word for setting in settings for word in ("-c", setting)]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def _begin(self) -> subprocess.Popen[bytes]:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # its process is gone, see `kill`
        return super()._begin()

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database, by another port if it is reached by a detour."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def answers(self) -> bool:
        """Return whether a query is answered."""
        try:
            self.administer("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def administer(self, *statements: str) -> None:
        """Execute statements outside of a transaction."""
        address = self.url("postgres")
        with closing(psycopg.connect(address, autocommit=True, connect_timeout=CONNECT_S)) as connection:
            for statement in statements:
                connection.execute(statement)


class Redis(Store):
    """A Redis server that answers when a write is in its file."""

    def __init__(self, folder: Path) -> None:
        """Find the program."""
        super().__init__(folder)
        program = shutil.which("redis-server")
        if program is None and install("redis-server"):
            program = shutil.which("redis-server")
        if program is None:
            raise Broken("there is no redis-server: install it (Debian: apt-get install redis-server)")
        self._program = program

    def _command(self) -> list[str]:
        settings = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "yes",
            "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "aof-load-truncated": "yes",
        }  # fmt: skip
        return [self._program, *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]

    def url(self, *, port: int | None = None) -> str:
        """Return its URL, by another port if it is reached by a detour."""
        return f"redis://127.0.0.1:{port or self.port}/0"

    def answers(self) -> bool:
        """Return whether it has loaded its data and answers."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a client; it connects when it is used."""
        return redis.Redis(port=self.port, socket_timeout=CONNECT_S)


@dataclass(frozen=True)
class Stores:
    """Both servers."""

    postgres: Postgres
    redis: Redis


@asynccontextmanager
async def stores() -> AsyncIterator[Stores]:
    """Run a PostgreSQL and a Redis as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="tocsin-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - the user that PostgreSQL runs as has to come through
        postgres = await asyncio.to_thread(Postgres, folder / "postgres")  # to install it would take a while
        made = Stores(postgres, await asyncio.to_thread(Redis, folder / "redis"))
        try:
            await made.postgres.start()
            await made.redis.start()
            yield made
        finally:
            await made.postgres.kill()
            await made.redis.kill()


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
