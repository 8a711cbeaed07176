"""Long runs at half of the most that a system takes: what grows that should not?

One process on SQLite, or divided roles on PostgreSQL with a bus in front. Events are kept for a tenth of a run, so that
what is deleted keeps up with what comes, or is seen not to.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cluster import STREAM, Cluster, Layout, cluster
from benchmarks.ingest import AUTOMATIONS
from benchmarks.roles import Counted
from benchmarks.samples import calling, counting, job, written
from benchmarks.server import Server, serving
from benchmarks.stores import postgres, redis_server
from benchmarks.traffic import Client, connected, flood, judged, post, sink

BATCH = 100
SENDERS = 4
HOSTS = 500
SILENT_AFTER_S = 30
SAMPLES = 60
CALIBRATED_S = 10.0
LAYOUT: Layout = {
    "api": "api", "recorder": "recorder", "evaluator-1": "evaluator", "evaluator-2": "evaluator",
    "dispatcher": "dispatcher", "worker": "worker",
}  # fmt: skip
Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """What was watched of a system, in the order of time."""

    system: str
    said: str
    samples: list[Sample]

    def text(self) -> str:
        """Return a table: each value at the start, in the middle and at the end, and the most of all."""
        first, middle, last = (self.samples[place] for place in (0, len(self.samples) // 2, -1))
        lines = [f"{self.system}: {self.said}", f"  {'':<40}{'start':>14}{'middle':>14}{'end':>14}{'most':>14}"]
        for name in self.samples[-1]:
            most = max(sample.get(name, 0.0) for sample in self.samples)
            values = (first.get(name, 0.0), middle.get(name, 0.0), last[name], most)
            lines.append(f"  {name:<40}" + "".join(f"{value:>14,.1f}" for value in values))
        return "\n".join(lines)


@dataclass(slots=True)
class Sent:
    """What senders have done so far, and what the sink has heard."""

    events: int = 0
    refused: int = 0
    late: int = 0
    orders: set[bytes] = field(default_factory=set)
    heard: set[bytes] = field(default_factory=set)
    repeated: int = 0

    def hear(self, body: bytes, _now_s: float) -> None:
        """Note a webhook; each order is to be told once."""
        self.repeated += body in self.heard
        self.heard.add(body)


async def soak(folder: Path, *, systems: Sequence[str], minutes: float) -> list[Trend]:
    """Run systems one after the other, each for so many minutes; return what became of them."""
    trends = []
    for system in systems:
        name, running = SYSTEMS[system]
        place = folder / system
        place.mkdir()
        sent = Sent()
        async with sink(sent.hear) as port:
            definitions = written(place, automations=_automations(port))
            async with running(place, definitions, max(10, int(minutes * 60 / 10))) as made:
                trends.append(await _watched(name, made, sent, for_s=minutes * 60))
        print(trends[-1].text(), flush=True)
    return trends


# What is run


@dataclass(frozen=True, slots=True)
class System:
    """Where it takes requests, how it looks now, and how to wait until all that it took is judged."""

    door: Server
    look: Callable[[], Sample]
    settled: Callable[[], Awaitable[None]]


def _automations(port: int) -> list[dict[str, Any]]:
    silent = {"type": "absence", "expect": "host.beat", "for_each": ["id"], "within": f"{SILENT_AFTER_S}s"}
    return [
        *counting(AUTOMATIONS),
        calling("orders", {"expect": "order.placed"}, port, body="{{ event.resource.id }}"),
        {"name": "silent", "trigger": silent, "actions": [{"type": "log"}]},
    ]


@asynccontextmanager
async def _sqlite(folder: Path, definitions: Path, keep_s: int) -> AsyncIterator[System]:
    home = folder / "home"

    async with serving(home, definitions, keep_events=f"{keep_s}s", keep_firings=f"{keep_s}s") as server:

        def look() -> Sample:
            files = {f"{path.name}, MB": path.stat().st_size / 1e6 for path in sorted(home.glob("tocsin.db*"))}
            return _of("server", server) | files

        yield System(server, look, partial(judged, server))


@asynccontextmanager
async def _shared(folder: Path, definitions: Path, keep_s: int) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(postgres(folder))
        bus = await stack.enter_async_context(redis_server(folder))
        kept = {"keep_events": f"{keep_s}s", "keep_firings": f"{keep_s}s"}
        made = cluster(folder, definitions, LAYOUT, postgres=database, redis=bus, **kept)
        running: Cluster = await stack.enter_async_context(made)

        def look() -> Sample:
            found: Sample = {}
            for name, server in running.servers.items():
                found |= _of(name, server)
            tables = database.table_bytes()
            found["all tables, MB"] = sum(tables.values()) / 1e6
            found |= {f"table {name}, MB": size / 1e6 for name, size in tables.items() if size > 1e6}
            found["write-ahead log, written, MB"] = database.wal_bytes() / 1e6
            found["write-ahead log, files, MB"] = database.wal_files_bytes() / 1e6
            info = bus.info()
            found["Redis, memory, MB"] = info["used_memory"] / 1e6
            found["Redis, append-only file, MB"] = info["aof_current_size"] / 1e6
            found["Redis, entries in the stream"] = bus.entries(STREAM)
            return found

        yield System(running.door, look, running.judged)


SYSTEMS: dict[str, tuple[str, Callable[[Path, Path, int], AbstractAsyncContextManager[System]]]] = {
    "sqlite": ("SQLite, one process", _sqlite),
    "bus": ("PostgreSQL and a bus, six processes", _shared),
}


def _of(name: str, server: Server) -> Sample:
    place = Path(f"/proc/{server.pid}")
    return {
        f"{name}, memory, MB": server.rss_mb(),
        f"{name}, file handles": len(os.listdir(place / "fd")),  # noqa: PTH208 - a count is all that is wanted
        f"{name}, threads": len(os.listdir(place / "task")),  # noqa: PTH208
    }


# What is sent


def _requests() -> Iterator[tuple[bytes, bytes]]:
    """Return endless orders, each with the batch that it is in; jobs and the heartbeats of hosts are its neighbours."""
    dice = random.Random(time.time_ns())
    run = f"{time.time_ns():x}"
    for number in itertools.count():
        events = [job(dice.randrange(5 * AUTOMATIONS), dice) for _ in range(BATCH - 4)]
        events += [{"event": "host.beat", "resource": {"id": f"host/{dice.randrange(HOSTS)}"}} for _ in range(3)]
        order = f"order/{run}-{number}"
        events.append({"event": "order.placed", "resource": {"id": order}})
        yield order.encode(), post("/api/events", json.dumps(events).encode())


async def _most(system: System, *, for_s: float) -> float:
    """Return how many events a second are judged when as many are sent as are taken."""
    requests = Counted(one for _, one in _requests())
    began_s = time.perf_counter()
    await flood(system.door, requests, connections=SENDERS, for_s=for_s)
    await system.settled()
    return requests.count * BATCH / (time.perf_counter() - began_s)


async def _watched(name: str, system: System, sent: Sent, *, for_s: float) -> Trend:
    door, look = system.door, system.look
    most = await _most(system, for_s=min(CALIBRATED_S, for_s / 10))
    rate = most / 2
    samples: list[Sample] = []
    began_s = time.perf_counter()
    senders = [asyncio.create_task(_send(door, sent, every_s=SENDERS * BATCH / rate)) for _ in range(SENDERS)]
    try:
        for number in range(SAMPLES):
            await asyncio.sleep(max(0.0, began_s + (number + 1) * for_s / SAMPLES - time.perf_counter()))
            ready = await asyncio.to_thread(_ready, door)
            samples.append({
                "events sent": sent.events, "events a second since the start":
                sent.events / (time.perf_counter() - began_s), "requests refused": sent.refused,
                "lag of judgement, s": ready["lag_s"], "webhooks heard": len(sent.heard),
            } | await asyncio.to_thread(look))  # fmt: skip
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    missing = len(await _missing(sent))
    said = (
        f"{for_s / 60:.1f} minutes at {rate:,.0f} events/s, half of {most:,.0f}; {len(sent.orders):,} orders answered,"
        f" {missing} of them not told, {sent.repeated} told twice; {sent.late} requests sent late"
    )
    return Trend(name, said, samples)


async def _send(door: Server, sent: Sent, *, every_s: float) -> None:
    """Send a request every so many seconds; who is behind by more than a second lets that pass."""
    client, requests = await connected(door), _requests()
    try:
        next_s = time.perf_counter() + random.random() * every_s
        while True:
            await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
            if time.perf_counter() - next_s > 1.0:
                sent.late += 1
                next_s = time.perf_counter()
            next_s += every_s
            if client.is_closed:  # it was idle for longer than the server keeps it
                client = await connected(door)
            await _post(client, *next(requests), sent)
    finally:
        client.close()


async def _post(client: Client, order: bytes, request: bytes, sent: Sent) -> None:
    try:
        await client.request(request)
    except RuntimeError:
        sent.refused += 1
        await asyncio.sleep(0.5)
    else:
        sent.events += BATCH
        sent.orders.add(order)


async def _missing(sent: Sent) -> set[bytes]:
    """Wait until no webhook comes any more; return the orders of which none has told."""
    before = -1
    while before != len(sent.heard):
        before = len(sent.heard)
        await asyncio.sleep(5)
    return sent.orders - sent.heard


def _ready(server: Server) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/readyz", timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:  # it is late, and says how much
        return dict(json.load(error))
