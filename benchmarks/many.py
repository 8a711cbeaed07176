"""Very many automations: how long it takes to load them, to change one, and what an event notices of the others."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.effort import Effort, at
from benchmarks.samples import counting, jobs, rich, singles, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row
from benchmarks.traffic import Client, connected, request

FEW = 10
MANY = 100_000
CHANGES = 100
EVENTS = 2_000
_EVENTS_PER_CHANGE = 5

BOUNDS = {
    "change": "Bound by the commits, three for a change, and by checking and reading the definition",
    "event": "Bound by the commit, as with few automations; the first event that concerns one compiles it",
    "load": "Half of it YAML and checking, a third the database and its indexes, the rest the index of triggers",
    "restart": "Bound by reading the texts, twice, and by putting a sketch of each trigger into the index",
}


async def changing(effort: Effort, profiler: Profiler) -> list[Row]:
    """Change one automation among very many, and send single events meanwhile; beside a server with ten."""
    count = effort.many(MANY)
    async with AsyncExitStack() as stack:
        servers = []
        for name, size in (("few", FEW), ("many", count)):
            home = effort.folder / name
            home.mkdir()
            servers.append(await stack.enter_async_context(serving(home, written(home, automations=counting(size)))))
        await _alternate(servers, effort.many(CHANGES) // 4, changes=True, jobs_of=(FEW, count))
        with profiler.watching(servers[1].pid):
            changes, beside = await _alternate(servers, effort.many(CHANGES), changes=True, jobs_of=(FEW, count))
        _, events = await _alternate(
            servers, effort.many(EVENTS) // _EVENTS_PER_CHANGE, changes=False, jobs_of=(FEW, count)
        )
    rows = []
    for name, bound, (few, many), targets in (
        ("PUT of one automation", "change", changes, (50.0, 100.0)),
        ("single events between changes", "event", beside, (None, None)),
        ("single events", "event", events, (None, None)),
    ):
        for part, target in zip((0.5, 0.99), targets, strict=True):
            note = f"beside {count:,} automations, one after another; reference: beside {FEW}, in turn"
            rows.append(Row(f"{name}, p{part * 100:.0f}", at(many, part), "ms", at(few, part), note, target,
                            BOUNDS[bound], (at(many, 0.5), max(many))))  # fmt: skip
    return rows


async def loading(effort: Effort, profiler: Profiler) -> list[Row]:
    """Seconds and memory of a server that loads very many automations, and of one that finds them unchanged."""
    count = effort.many(MANY)
    rows = []
    for kind, made, targets in (("short", counting, (30.0, 10.0, 600.0)), ("rich", rich, (60.0, 15.0, 600.0))):
        home = effort.folder / kind
        home.mkdir()
        definitions = written(home, automations=made(count))
        alone_s = await _started(effort.folder / f"{kind}-empty", None)
        first_s, again_s = await _started(home, definitions), await _started(home, definitions)
        async with serving(home, definitions) as server:
            resident_mb = server.rss_mb()
        note = f"{count:,} {kind} automations, {definitions.stat().st_size / 1e6:.0f} MB of YAML"
        rows += [
            Row(f"first start, {kind}", first_s, "s", alone_s, f"{note}; reference: an empty home", targets[0],
                BOUNDS["load"]),
            Row(f"restart, {kind}", again_s, "s", alone_s, f"{note}, unchanged; reference: an empty home", targets[1],
                BOUNDS["restart"]),
            Row(f"memory after a restart, {kind}", resident_mb, "MB", None, note, targets[2], "Mostly texts"),
        ]  # fmt: skip
    return rows


async def _started(home: Path, definitions: Path | None) -> float:
    began_s = time.perf_counter()
    async with serving(home, definitions):
        return time.perf_counter() - began_s


async def _alternate(
    servers: list[Server], rounds: int, *, changes: bool, jobs_of: tuple[int, int]
) -> tuple[list[list[float]], list[list[float]]]:
    """Do the same on each server in turn: a slow stretch of the machine meets both. Return milliseconds by server."""
    clients = [await connected(server) for server in servers]
    events = [singles(jobs(count, seed=3)) for count in jobs_of]
    took: tuple[list[list[float]], list[list[float]]] = ([[], []], [[], []])
    for number in range(max(1, rounds)):
        for place, client in enumerate(clients):
            if changes:
                change = asyncio.create_task(_timed(client, _put(number)))
                other = await connected(servers[place])
                took[1][place] += await _some(other, events[place])
                other.close()
                took[0][place].append(await change)
            else:
                took[1][place] += await _some(client, events[place])
    for client in clients:
        client.close()
    return took


async def _some(client: Client, events: Iterator[bytes]) -> list[float]:
    return [await _timed(client, event) for event in itertools.islice(events, _EVENTS_PER_CHANGE)]


async def _timed(client: Client, asked: bytes) -> float:
    began_s = time.perf_counter()
    await client.request(asked)
    return (time.perf_counter() - began_s) * 1000


def _put(number: int) -> bytes:
    """Return a request that defines, or changes, one of a few automations of the API's own."""
    (definition,) = counting(1)
    more: dict[str, Any] = {"name": f"changed-{number % 10}", "description": f"change {number}"}
    return request("PUT", f"/api/automations/{more['name']}", json.dumps(definition | more).encode())
