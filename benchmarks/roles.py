"""What an event costs where: processor time of each process, statements, bytes in PostgreSQL and in Redis."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster import STREAM, Cluster, Layout, cluster
from benchmarks.effort import Effort
from benchmarks.ingest import AUTOMATIONS, SENDERS, SINGLE_SENDERS
from benchmarks.samples import BATCH, batches, calling, counting, jobs, singles, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.stores import Redis, postgres, redis_server
from benchmarks.table import Row
from benchmarks.traffic import connected, flood, post, sink

IDLE_S = 10.0
BACKLOG = 200
ALONE: Layout = {"all roles": "api,recorder,evaluator,dispatcher,worker"}
DIRECT: Layout = {name: name for name in ("api", "evaluator", "dispatcher", "worker")}
BUS: Layout = {name: name for name in ("api", "recorder", "evaluator", "dispatcher", "worker")}
MODES: dict[str, tuple[Layout, bool]] = {
    "one process": (ALONE, False),
    "roles": (DIRECT, False),
    "bus": (BUS, True),
}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one kind: so many events each, on so many connections; `actions` of them lead to a webhook."""

    name: str
    make: Callable[[], Iterator[bytes]]
    events: int
    connections: int
    a_second: int
    note: str


def _orders() -> Iterator[bytes]:
    """Return endless requests with one event each, every one of which fires."""
    run = f"{time.time_ns():x}"
    for number in itertools.count():
        event = {"event": "order.placed", "resource": {"id": f"order/{run}-{number}", "env": "prod"}}
        yield post("/api/events", json.dumps(event).encode())


def loads() -> tuple[Load, ...]:
    """Return what is measured."""
    return (
        Load("batches", lambda: batches(jobs(AUTOMATIONS, seed=time.time_ns())), BATCH, SENDERS, 60,
             "batches of 500 on 4 connections, 1 event in 5 counts for one of 1,000 automations"),
        Load("singles", lambda: singles(jobs(AUTOMATIONS, seed=time.time_ns())), 1, SINGLE_SENDERS, 8_000,
             "the same events one by one on 16 connections"),
        Load("webhooks", _orders, 1, SINGLE_SENDERS, 3_000,
             "one by one, and each event fires and has one webhook called"),
    )  # fmt: skip


async def roles(effort: Effort, profiler: Profiler) -> list[Row]:
    """What an event costs in each process, with roles divided and not, with a bus and without."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        heard: list[float] = []
        port = await stack.enter_async_context(sink(lambda _, now_s: heard.append(now_s)))
        automations = [
            *counting(effort.many(AUTOMATIONS)),
            calling("orders", {"expect": "order.placed"}, port, body=""),
        ]
        definitions = written(effort.folder, automations=automations)
        alone = await _on_sqlite(effort, definitions, heard)
        for mode, (layout, with_bus) in MODES.items():
            place = effort.folder / mode.replace(" ", "-")
            place.mkdir()
            async with _running(place, definitions, layout, with_bus=with_bus) as running:
                rows += await _grown(effort, mode, running)
                for load in loads():
                    rows += await _spent(effort, mode, running, load, heard=heard, alone=alone[load.name])
                rows += await _idle(effort, mode, running)
                if running.redis is not None:
                    rows.append(await _backlog(effort, running, running.redis))
    return rows


@asynccontextmanager
async def _running(folder: Path, definitions: Path, layout: Layout, *, with_bus: bool) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(postgres(folder))
        bus = await stack.enter_async_context(redis_server(folder)) if with_bus else None
        made = cluster(folder, definitions, layout, postgres=database, redis=bus)
        yield await stack.enter_async_context(made)


# One measurement


class Counted:
    """Requests that are counted as they are taken."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.count += 1
        return next(self._requests)


async def _sent(effort: Effort, load: Load, server: Server, for_s: float) -> tuple[int, float]:
    """Send for some seconds; return how many events that were, and how long it took until the last was answered."""
    ready = itertools.islice(load.make(), max(10, int(for_s * load.a_second)))
    requests = Counted(iter(list(ready)))
    began_s = time.perf_counter()
    await flood(server, requests, connections=load.connections, for_s=for_s)
    return requests.count * load.events, time.perf_counter() - began_s


async def _quiet(heard: list[float]) -> None:
    """Wait until no webhook has come for a while."""
    before = -1
    while before != len(heard):
        before = len(heard)
        await asyncio.sleep(1.5)


async def _grown(effort: Effort, mode: str, running: Cluster) -> list[Row]:
    """Grow the log: an empty table flatters every database; return what an event takes there."""
    load = loads()[0]
    requests = itertools.islice(load.make(), max(1, effort.grown // BATCH))
    before = await asyncio.to_thread(running.postgres.table_bytes)
    await flood(running.door, requests, connections=SENDERS, for_s=600)
    await running.judged()
    await asyncio.sleep(2)
    after = await asyncio.to_thread(running.postgres.table_bytes)
    count = max(1, effort.grown // BATCH) * BATCH
    note = f"with indexes, after {count:,} events in batches of 500"
    grown = {name: (size - before.get(name, 0)) / count for name, size in after.items()}
    rows = [Row(f"{mode}: disk, all tables", sum(grown.values()), "bytes/event", None, note)]
    return rows + [Row(f"{mode}: disk, {name}", size, "bytes/event") for name, size in grown.items() if size >= 1]


async def _spent(
    effort: Effort, mode: str, running: Cluster, load: Load, *, heard: list[float], alone: float
) -> list[Row]:
    database = running.postgres
    cpu_s, statements, wal = running.cpu_s(), database.statements(), database.wal_bytes()
    redis_before = running.redis.info() if running.redis else {}
    count, took_s = await _sent(effort, load, running.door, effort.rounds * effort.round_s)
    await running.judged()
    if load.name == "webhooks":
        await _quiet(heard)
    used = {name: 1e6 * (value - cpu_s[name]) / count for name, value in running.cpu_s().items()}
    of, note = f"{mode}, {load.name}", f"processor time; {load.note}; reference: one process on SQLite"
    rows = [
        Row(f"{of}: all processes", sum(used.values()), "us/event", alone, note),
        *(Row(f"{of}: {name}", value, "us/event") for name, value in used.items()),
        Row(f"{of}: taken and answered", count / took_s, "events/s", None, "while sender, servers and databases share"
            " the machine"),
        Row(f"{of}: statements executed", (database.statements() - statements) / count, "each event"),
        Row(f"{of}: write-ahead log", (database.wal_bytes() - wal) / count, "bytes/event"),
    ]  # fmt: skip
    if running.redis is not None:
        after = running.redis.info()
        grown = (after["aof_current_size"] - redis_before["aof_current_size"]) / count
        rows.append(Row(f"{of}: append-only file of Redis", grown, "bytes/event"))
    return rows


async def _on_sqlite(effort: Effort, definitions: Path, heard: list[float]) -> dict[str, float]:
    """Return the processor time of an event in one process on SQLite, by load."""
    found = {}
    async with serving(effort.folder / "sqlite", definitions) as server:
        await flood(server, itertools.islice(loads()[0].make(), max(1, effort.grown // BATCH)), connections=SENDERS,
                    for_s=600)  # fmt: skip
        for load in loads():
            before_s = server.cpu_s()
            count, _ = await _sent(effort, load, server, effort.rounds * effort.round_s)
            await _quiet(heard)
            found[load.name] = 1e6 * (server.cpu_s() - before_s) / count
    return found


async def _idle(effort: Effort, mode: str, running: Cluster) -> list[Row]:
    """What it costs to do nothing."""
    for_s = max(1.0, IDLE_S * min(1.0, effort.scale))
    await asyncio.sleep(for_s / 2)
    database = running.postgres
    cpu_s, statements, wal = running.cpu_s(), database.statements(), database.wal_bytes()
    await asyncio.sleep(for_s)
    used = {name: 1e3 * (value - cpu_s[name]) / for_s for name, value in running.cpu_s().items()}
    connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tocsin'"
    return [
        *(Row(f"{mode}, idle: {name}", value, "ms/s") for name, value in used.items()),
        *(Row(f"{mode}, idle: memory of {name}", server.rss_mb(), "MB") for name, server in running.servers.items()),
        Row(f"{mode}, idle: statements", (database.statements() - statements) / for_s, "a second"),
        Row(f"{mode}, idle: write-ahead log", (database.wal_bytes() - wal) / for_s, "bytes/s"),
        Row(f"{mode}, idle: connections", float(database.ask(connections)[0][0]), "in all"),
    ]


async def _backlog(effort: Effort, running: Cluster, bus: Redis) -> Row:
    """How much of Redis's memory an event takes that waits: the recorder is stopped."""
    recorder = running.servers["recorder"].pid
    os.kill(recorder, signal.SIGSTOP)
    try:
        before = bus.info()["used_memory"]
        count = effort.many(BACKLOG)
        await _published(running.door, itertools.islice(batches(jobs(AUTOMATIONS, seed=1)), count))
        grown = bus.info()["used_memory"] - before
    finally:
        os.kill(recorder, signal.SIGCONT)
    await running.judged()
    note = f"{count * BATCH:,} events in batches of 500, {bus.entries(STREAM):,} entries left in the end"
    return Row("bus: memory of Redis for what waits", grown / (count * BATCH), "bytes/event", None, note)


async def _published(server: Server, requests: Iterator[bytes]) -> None:
    client = await connected(server)
    for request in requests:
        await client.request(request)
    client.close()
