"""A bus behind Sentinel and on a cluster: the same events come through."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.engine.bus.desk import PATIENCE_S, Desk
from tests.engine.live import event
from tests.redis_servers import Redis, private_redis
from tests.servers import free_port

DATABASES = ("postgres",)


@dataclass
class Behind(Redis):
    """What is reached by one address, and looked at by another."""

    plain: str = ""

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.plain, socket_timeout=5)


def says(port: int, words: str, *command: str) -> bool:
    """Return whether a server answers with these words in it."""
    try:
        with closing(redis.Redis(port=port)) as client:
            return words in str(client.execute_command(*command))  # type: ignore[no-untyped-call]
    except redis.RedisError:
        return False


def clear_away() -> None:
    """Collect the connections by which a client has found the right server: it leaves them to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def come_through(desk: Desk) -> None:
    """Publish and record."""
    publisher, intake = await desk.publisher(), await desk.intake()
    requests = [publisher.record([event(id=str(number))]) for number in range(300)]
    await asyncio.gather(*requests)
    arrivals = await desk.until_recorded(300)
    assert [placed.event.id for placed in arrivals] == [str(number) for number in range(300)]
    assert (publisher.problem, intake.problem) == ("", "")
    figures = await publisher.figures()
    assert figures.length >= 0


async def test_a_cluster_carries_the_bus(url: str) -> None:
    with private_redis("--cluster-enabled", "yes") as server:
        assert says(server.port, "", "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        behind = Behind(f"redis+cluster://127.0.0.1:{server.port}", server.url)
        async with Desk(behind, "bus", url) as desk:
            await desk.until(lambda: says(server.port, "cluster_state:ok", "CLUSTER", "INFO"))
            await come_through(desk)
    clear_away()


@contextmanager
def sentinel_of(port: int, folder: Path) -> Iterator[int]:
    """Run a sentinel that watches a Redis under the name `bus`; return its port."""
    own = free_port()
    file = folder / "sentinel.conf"
    file.write_text(f"port {own}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor bus 127.0.0.1 {port} 1\n")
    process = subprocess.Popen(["redis-server", file, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        yield own
    finally:
        process.kill()
        process.wait(PATIENCE_S)


async def test_sentinel_is_asked_where_the_bus_is(url: str, tmp_path: Path) -> None:
    with private_redis() as server, sentinel_of(server.port, tmp_path) as port:
        behind = Behind(f"redis+sentinel://127.0.0.1:{port}/bus", server.url)
        async with Desk(behind, "bus", url) as desk:
            asked = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bus")
            await desk.until(lambda: says(port, str(server.port), *asked))
            await come_through(desk)
    clear_away()
