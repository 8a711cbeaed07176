"""A bus behind Sentinel, on a cluster and over TLS: the same events come through."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import redis
import trustme
from redis.crc import key_slot

from tests.engine.bus.desk import PATIENCE_S, Desk
from tests.engine.live import event
from tests.redis_servers import Redis, private_redis
from tests.servers import free_port
from tocsin.errors import Unavailable

DATABASES = ("postgres",)
SLOTS = (("0", "5460"), ("5461", "10922"), ("10923", "16383"))


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


async def test_a_cluster_of_several_nodes_carries_the_bus(url: str) -> None:
    """The address names nodes that do not have the stream, too."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(private_redis("--cluster-enabled", "yes")) for _ in range(3)]
        for node, (first, last) in zip(nodes, SLOTS, strict=True):
            assert says(node.port, "", "CLUSTER", "ADDSLOTSRANGE", first, last)
            assert says(node.port, "", "CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
        owner = nodes[next(n for n, (first, last) in enumerate(SLOTS) if int(first) <= key_slot(b"bus") <= int(last))]
        names = ",".join(f"127.0.0.1:{node.port}" for node in nodes if node is not owner)
        async with Desk(Behind(f"redis+cluster://{names}", owner.url), "bus", url) as desk:
            for node in nodes:
                await desk.until(partial(says, node.port, "cluster_state:ok", "CLUSTER", "INFO"))
                await desk.until(partial(says, node.port, "cluster_known_nodes:3", "CLUSTER", "INFO"))
            await come_through(desk)
    clear_away()


async def test_tls_carries_the_bus_where_the_certificate_is_known(url: str, tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    names = {"tls-cert-file": "server.pem", "tls-key-file": "server.pem", "tls-ca-cert-file": "authority.pem"}
    files = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    with private_redis("--tls-port", str(port), "--tls-auth-clients", "no", *files) as server:
        stranger = Behind(f"rediss://localhost:{port}/0", server.url)
        async with Desk(stranger, "bus", url) as desk:
            with pytest.raises(Unavailable, match="certificate"):
                await desk.publisher()
        known = Behind(f"{stranger.url}?ssl_ca_certs={tmp_path / 'authority.pem'}", server.url)
        async with Desk(known, "bus", url) as desk:
            await come_through(desk)


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
