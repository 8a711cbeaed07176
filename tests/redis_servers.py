"""A Redis for tests: the one that is named, the default one if its settings fit, or a private one.

`TOCSIN_TEST_REDIS` is its URL, or `private`. What kills, freezes or fills it always takes a private one of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest
import redis

from tests.packages import can_install, install
from tests.servers import free_port

DEFAULT = "redis://127.0.0.1:6379/15"
STRICT = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
PATIENCE_S = 20.0
MISSING = "there is no redis-server: install it (Debian: apt-get install redis-server) or set TOCSIN_TEST_REDIS"


@dataclass
class Redis:
    """A server, by its URL."""

    url: str

    def client(self) -> redis.Redis:
        """Return a client; it connects when it is used."""
        return redis.Redis.from_url(self.url, socket_timeout=5)

    @contextmanager
    def stream(self) -> Iterator[str]:
        """Return the name of a stream that nobody else uses; it is deleted in the end."""
        name = f"tocsin-test-{uuid.uuid4().hex}"
        try:
            yield name
        finally:
            with closing(self.client()) as client:
                client.delete(name)


@dataclass
class PrivateRedis(Redis):
    """A server that a test may kill and start again; its files stay."""

    folder: Path = field(default_factory=Path)
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.partition("?")[0].rpartition(":")[2].partition("/")[0])

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("redis-server")
        if program is None and install("redis-server"):
            program = shutil.which("redis-server")
        if program is None:
            pytest.fail(MISSING)
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        with (self.folder / "redis.log").open("ab") as said:
            self.process = subprocess.Popen([program, *settings, *self.arguments], stdout=said, stderr=said)
        pause = Event()
        for _ in range(400):
            try:
                with closing(self.client()) as client:
                    client.ping()
            except redis.RedisError:
                if self.process.poll() is not None:
                    break
                pause.wait(PATIENCE_S / 400)
            else:
                return
        raise AssertionError(f"the private Redis does not answer:\n{(self.folder / 'redis.log').read_text()}")

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


@contextmanager
def private_redis(*arguments: str, strict: bool = True) -> Iterator[PrivateRedis]:
    """Run a server of its own, which syncs each write to its file if it is `strict`."""
    with tempfile.TemporaryDirectory(prefix="tocsin-redis-", ignore_cleanup_errors=True) as name:
        settings = [word for one, value in STRICT.items() for word in (f"--{one}", value)] if strict else []
        url = f"redis://127.0.0.1:{free_port()}/0"
        server = PrivateRedis(url, Path(name), [*settings, *arguments])
        try:
            server.start()
            yield server
        finally:
            server.kill()


def found() -> tuple[str | None, str]:
    """Return the URL of a server that is there and fits (None: there is none), and what to say about it."""
    named = os.environ.get("TOCSIN_TEST_REDIS")
    if named == "private":
        return None, "a private one, asked for by TOCSIN_TEST_REDIS"
    if named:
        return named, "the one that TOCSIN_TEST_REDIS names"
    if _fits(DEFAULT):
        return DEFAULT, "the one on 127.0.0.1:6379"
    if shutil.which("redis-server"):
        return None, "a private one, started when it is needed"
    return None, "a private one, installed when it is needed" if can_install() else "none: its tests fail"


def is_missing() -> bool:
    """Return whether there is no server, none can be started, and nobody insists on one."""
    there = shutil.which("redis-server") is not None or can_install()
    return found()[0] is None and not there and "CI" not in os.environ


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Return a server for the length of a test run."""
    url, _ = found()
    if url is not None:
        yield Redis(url)
        return
    with private_redis() as made:
        yield made


def _fits(url: str) -> bool:
    """Return whether a server answers and keeps what it answers."""
    try:
        with closing(redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)) as client:
            return all(client.config_get(name).get(name) == value for name, value in STRICT.items())
    except redis.RedisError:
        return False
