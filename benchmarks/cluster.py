"""Servers with roles of their own on one database, perhaps with a bus in front, as a user starts them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Server, serving
from benchmarks.stores import Postgres, Redis
from benchmarks.traffic import connected
from tocsin.settings import Settings

STREAM: str = Settings.model_fields["bus_stream"].default
_READY = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n"
_POLL_S = 0.02

Layout = Mapping[str, str]
"""The processes by name, each with its roles as `TOCSIN_ROLES` names them; the first one takes requests."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What runs."""

    postgres: Postgres
    redis: Redis | None
    servers: Mapping[str, Server]
    judges: Sequence[str]

    @property
    def door(self) -> Server:
        """The server that takes requests."""
        return next(iter(self.servers.values()))

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time that each process has used, in seconds; the databases, too."""
        used = {name: server.cpu_s() for name, server in self.servers.items()}
        used["PostgreSQL"] = self.postgres.cpu_s()
        if self.redis is not None:
            used["Redis"] = self.redis.cpu_s()
        return used

    async def judged(self) -> None:
        """Wait until everything that was taken is in the log, and judged by all."""
        while True:
            if self.redis is None or await self.redis.recorded(STREAM):
                break
            await asyncio.sleep(_POLL_S)
        for name in self.judges:
            client = await connected(self.servers[name])
            while True:
                with suppress(RuntimeError):  # one that is late says so with a 503
                    if not json.loads(await client.request(_READY))["unjudged"]:
                        break
                await asyncio.sleep(_POLL_S)
            client.close()


@asynccontextmanager
async def cluster(
    folder: Path, definitions: Path, layout: Layout, *, postgres: Postgres, redis: Redis | None, **settings: str
) -> AsyncIterator[Cluster]:
    """Run a process for each name of the layout until the block ends; all are ready when this yields."""
    shared = {"database": postgres.url} | ({"bus": redis.url} if redis else {}) | settings
    servers: dict[str, Server] = {}
    async with AsyncExitStack() as stack:
        for name, roles in layout.items():
            path = definitions if "api" in roles else None
            made = serving(folder / name, path, roles=roles, **shared)
            servers[name] = await stack.enter_async_context(made)
        yield Cluster(postgres, redis, servers, [name for name, roles in layout.items() if "evaluator" in roles])
