"""What happens after a verdict: webhooks a second, and how long after its cause a webhook arrives."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.effort import Effort, at, span
from benchmarks.samples import calling, counting, jobs, singles, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row
from benchmarks.traffic import connected, post, sink

AUTOMATIONS = 1_000
PINGS = 500
FIRED = 2_000
BUSY_PER_S = 200
_PING = "ping.sent"
_WAIT_S = 120.0

BOUND_LATENCY = (
    "Bound by one commit, in which the event is stored and judged, and the way through two threads and one request"
)
BOUND_ACTING = (
    "Bound by the interpreter: half in the event loop, mostly aiohttp and filling in templates, half in the writer's"
    " thread, which stores three events and four rows for each action"
)


class Heard:
    """When each body arrived at the sink, and a way to wait for one, or for so many."""

    def __init__(self) -> None:
        """Begin with none."""
        self.at_s: dict[bytes, float] = {}
        self._changed = asyncio.Event()

    def __call__(self, body: bytes, now_s: float) -> None:
        """Note a body; the first time counts."""
        self.at_s.setdefault(body, now_s)
        self._changed.set()

    async def until(self, holds: Callable[[dict[bytes, float]], bool], *, for_s: float = _WAIT_S) -> None:
        """Wait until something holds of what was heard."""
        async with asyncio.timeout(for_s):
            while not holds(self.at_s):
                self._changed.clear()
                await self._changed.wait()


async def latency(effort: Effort, profiler: Profiler) -> list[Row]:
    """From the POST of an event to its webhook's arrival, on an idle server and on a busy one."""
    heard = Heard()
    async with _pinged(effort, heard) as server:
        count = effort.many(PINGS)
        plain = await _round_trips(heard, count)
        await _ping(server, heard, range(20))
        with profiler.watching(server.pid):
            idle = await _ping(server, heard, range(20, 20 + count))
        stop = asyncio.Event()
        others = asyncio.create_task(_trickle(server, stop))
        busy = await _ping(server, heard, range(1_000_000, 1_000_000 + count))
        stop.set()
        await others
    rows = []
    for name, found, targets in (("idle", idle, (3.0, 15.0)), (f"beside {BUSY_PER_S} events/s", busy, (None, 20.0))):
        for part, target in zip((0.5, 0.99), targets, strict=True):
            note = f"{count} events one after another; reference: a request straight to the sink"
            rows.append(Row(f"POST to webhook, {name}, p{part * 100:.0f}", at(found, part), "ms", at(plain, part), note,
                            target, BOUND_LATENCY, (at(found, 0.5), max(found))))  # fmt: skip
    return rows


async def acting(effort: Effort, profiler: Profiler) -> list[Row]:
    """Events that each fire and run one webhook action, a second."""
    heard = Heard()
    async with _pinged(effort, heard) as server:
        plain = await _flooded_sink(heard, effort.round_s)
        count, own_s, server_s = effort.many(FIRED), time.process_time(), server.cpu_s()
        rates = [await _fire(server, heard, count, number) for number in range(effort.rounds)]
        own_s, server_s = time.process_time() - own_s, server.cpu_s() - server_s
        with profiler.watching(server.pid):
            await _fire(server, heard, count, effort.rounds)
    used = [f"{1e6 * used_s / count / effort.rounds:.0f} us" for used_s in (own_s, server_s)]
    note = (
        "batches of 100 events, each fires; from the first POST to the last webhook; sender and sink use"
        f" {used[0]} of processor time an action, the server {used[1]}; reference: requests to the sink"
    )
    return [Row("fired webhook actions", sorted(rates)[len(rates) // 2], "actions/s", plain, note, 2_000,
                BOUND_ACTING, span(rates))]  # fmt: skip


@asynccontextmanager
async def _pinged(effort: Effort, heard: Heard) -> AsyncIterator[Server]:
    async with sink(heard) as port:
        home = effort.folder / f"acting-{port}"
        home.mkdir()
        automation = calling("ping", {"type": "event", "expect": _PING}, port, body="{{ event.id }}")
        async with serving(home, written(home, automations=[automation, *counting(AUTOMATIONS)])) as server:
            yield server


async def _ping(server: Server, heard: Heard, numbers: range) -> list[float]:
    """Return milliseconds from before the POST to the webhook's arrival, of one event after another."""
    client, dice, found = await connected(server), random.Random(1), []
    for number in numbers:
        name = f"ping-{number}"
        request = post("/api/events", json.dumps(_event(name)).encode())
        began_s = time.time()
        await client.request(request)
        await heard.until(partial(_has, name.encode()))
        found.append((heard.at_s[name.encode()] - began_s) * 1000)
        await asyncio.sleep(0.005 + dice.random() * 0.015)
    client.close()
    return found


def _has(body: bytes, known: dict[bytes, float]) -> bool:
    return body in known


async def _fire(server: Server, heard: Heard, count: int, turn: int) -> float:
    client = await connected(server)
    names = [f"fire-{turn}-{number}" for number in range(count)]
    began_s = time.time()
    for part in range(0, count, 100):
        events = [_event(name) for name in names[part : part + 100]]
        await client.request(post("/api/events", json.dumps(events).encode()))
    wanted = len(heard.at_s) + sum(name.encode() not in heard.at_s for name in names)
    await heard.until(lambda known: len(known) >= wanted)
    client.close()
    return count / (max(heard.at_s[name.encode()] for name in names) - began_s)


def _event(name: str) -> dict[str, Any]:
    return {"event": _PING, "id": name, "resource": {"id": "ping"}}


async def _trickle(server: Server, stop: asyncio.Event) -> None:
    """Send events that concern other automations, so many a second."""
    client = await connected(server)
    requests = singles(jobs(AUTOMATIONS))
    began_s = time.perf_counter()
    for number in itertools.count():
        if stop.is_set():
            break
        await asyncio.sleep(max(0.0, began_s + number / BUSY_PER_S - time.perf_counter()))
        await client.request(next(requests))
    client.close()


async def _round_trips(heard: Heard, count: int) -> list[float]:
    """Return milliseconds from a request to the sink until its answer: what a webhook itself takes."""
    found = []
    async with sink(heard) as port:
        client = await connected(Server("127.0.0.1", port, 0))
        for number in range(count):
            began_s = time.perf_counter()
            await client.request(post("/", f"plain-{number}".encode()))
            found.append((time.perf_counter() - began_s) * 1000)
        client.close()
    return found


async def _flooded_sink(heard: Heard, for_s: float) -> float:
    """Return requests a second to the sink on one connection, one after another."""
    async with sink(heard) as port:
        client = await connected(Server("127.0.0.1", port, 0))
        began_s, done = time.perf_counter(), 0
        while time.perf_counter() - began_s < for_s:
            await client.request(post("/", b"plain"))
            done += 1
        client.close()
    return done / for_s
