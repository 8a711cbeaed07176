"""Events a second: in batches and alone, with few automations and with many, through HTTP and without."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from benchmarks.effort import Effort, alternate, middle, span
from benchmarks.reference import Storing
from benchmarks.samples import BATCH, batches, counting, jobs, singles, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row
from benchmarks.traffic import flood
from tocsin.app import App, running
from tocsin.settings import Settings
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser

AUTOMATIONS = 1_000
MANY = 100_000
SENDERS = 4
SINGLE_SENDERS = 16

_ORDERED = (
    "Bound by the one writer's thread: SQLite's inserts take a quarter of its time, its commits a quarter, making rows"
    " and ids a quarter, judging a fifth; parsing takes half as much, and waits for the same interpreter's lock"
)
BOUNDS = {
    "ordered": _ORDERED,
    "random": "Bound as above, and each event writes a page of the index of identities for itself",
    "in process": "Bound by the interpreter's lock, which parsing and the writer's thread share",
    "many": "Bound as with few: an event costs what the automations cost that it matches, however many there are",
    "single": "Bound by the commit, seven tenths of the writer's time; the event loop has its turn while that waits for"
    " the disk, and spends half of it in uvloop and uvicorn",
}

_BATCHES = "HTTP, batches of 500 on 4 connections, 1 event in 5 counts for one of 1,000 automations"


async def batched(effort: Effort, profiler: Profiler) -> list[Row]:
    """Batches of events, with ids that are ordered and random ones, beside the bare storing of the same."""
    async with AsyncExitStack() as stack:
        measurements = {}
        for kind, random_ids in (("ordered", False), ("random", True)):
            server = await stack.enter_async_context(_grown(effort, f"batch-{kind}", random_ids=random_ids))
            measurements[kind] = partial(_flooded, effort, server, random_ids=random_ids)
            storing = _storing(effort, f"stored-{kind}", random_ids=random_ids)
            stack.callback(storing.close)
            measurements[f"bare {kind}"] = partial(_stored, effort, storing, random_ids=random_ids)
            if profiler.wanted:
                with profiler.watching(server.pid):
                    await measurements[kind]()
        app = await stack.enter_async_context(_in_process(effort))
        measurements["in process"] = partial(_recorded, effort, app)
        found = await alternate(effort, measurements)
    grown = f"log grown to {effort.grown:,} events"
    return [
        Row("judged and stored, ids of the server", middle(found["ordered"]), "events/s", middle(found["bare ordered"]),
            f"{_BATCHES}; {grown}", 30_000, BOUNDS["ordered"], span(found["ordered"])),
        Row("judged and stored, random ids", middle(found["random"]), "events/s", middle(found["bare random"]),
            f"the same with uuid4 ids from the sender; {grown}", 20_000, BOUNDS["random"], span(found["random"])),
        Row("judged and stored, in process", middle(found["in process"]), "events/s", middle(found["bare ordered"]),
            "parsed, recorded and judged without HTTP, log not grown", None, BOUNDS["in process"],
            span(found["in process"])),
    ]  # fmt: skip


async def many(effort: Effort, profiler: Profiler) -> list[Row]:
    """The same with very many automations, beside the same with ten."""
    async with AsyncExitStack() as stack:
        measurements = {}
        for name, count in (("few", 10), ("many", effort.many(MANY))):
            server = await stack.enter_async_context(_serving(effort, f"many-{name}", automations=count))
            # The same events for both, of which those of the ten jobs match in both.
            measurements[name] = partial(_flooded, effort, server, automations=10)
            await measurements[name]()
        if profiler.wanted:
            with profiler.watching(server.pid):
                await measurements["many"]()
        found = await alternate(effort, measurements)
    note = f"{effort.many(MANY):,} automations beside 10, each event matches at most one"
    return [Row("the same with 100,000 automations", middle(found["many"]), "events/s", middle(found["few"]), note,
                0.8 * middle(found["few"]), BOUNDS["many"], span(found["many"]))]  # fmt: skip


async def alone(effort: Effort, profiler: Profiler) -> list[Row]:
    """Single events on 16 connections, each durable when it is answered."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_grown(effort, "single"))
        storing = _storing(effort, "stored-single")
        stack.callback(storing.close)

        async def measured() -> float:
            requests = _prepared(singles(jobs(AUTOMATIONS)), int(effort.round_s * 12_000))
            return await flood(server, requests, connections=SINGLE_SENDERS, for_s=effort.round_s)

        if profiler.wanted:
            with profiler.watching(server.pid):
                await measured()
        found = await alternate(effort, {"single": measured, "bare": partial(_stored, effort, storing, size=16)})
    note = "one event a request, 16 keep-alive connections, durable when answered; reference: commits of 16 rows"
    return [Row("single events", middle(found["single"]), "requests/s", middle(found["bare"]), note, 8_000,
                BOUNDS["single"], span(found["single"]))]  # fmt: skip


# Servers and references


@asynccontextmanager
async def _serving(effort: Effort, name: str, *, automations: int = AUTOMATIONS) -> AsyncIterator[Server]:
    home = effort.folder / name
    home.mkdir()
    async with serving(home, written(home, automations=counting(automations))) as server:
        yield server


@asynccontextmanager
async def _grown(effort: Effort, name: str, *, random_ids: bool = False) -> AsyncIterator[Server]:
    async with _serving(effort, name) as server:
        requests = itertools.islice(batches(jobs(AUTOMATIONS, seed=7, random_ids=random_ids)), effort.grown // BATCH)
        await flood(server, requests, connections=SENDERS, for_s=600)
        yield server


def _storing(effort: Effort, name: str, *, random_ids: bool = False) -> Storing:
    storing = Storing(effort.folder / f"{name}.db")
    bodies = _bodies(random_ids=random_ids, size=BATCH, seed=7)
    for batch in itertools.islice(bodies, effort.grown // BATCH):
        storing.store(batch)
    return storing


@asynccontextmanager
async def _in_process(effort: Effort) -> AsyncIterator[App]:
    home = effort.folder / "in-process"
    home.mkdir()
    settings = Settings(home=home, log_level="error")
    async with running(settings, written(home, automations=counting(AUTOMATIONS))) as app:
        yield app


# One round each


def _prepared(requests: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Make so many requests before the clock runs."""
    return iter(list(itertools.islice(requests, count)))


def _bodies(*, random_ids: bool, size: int, seed: int) -> Iterator[list[bytes]]:
    events = jobs(AUTOMATIONS, seed=seed, random_ids=random_ids)
    while True:
        yield [json.dumps(event).encode() for event in itertools.islice(events, size)]


async def _flooded(
    effort: Effort, server: Server, *, random_ids: bool = False, automations: int = AUTOMATIONS
) -> float:
    events = jobs(automations, seed=time.time_ns(), random_ids=random_ids)
    requests = _prepared(batches(events), max(10, int(effort.round_s * 50_000 / BATCH)))
    return BATCH * await flood(server, requests, connections=SENDERS, for_s=effort.round_s)


async def _stored(effort: Effort, storing: Storing, *, random_ids: bool = False, size: int = BATCH) -> float:
    bodies = list(
        itertools.islice(
            _bodies(random_ids=random_ids, size=size, seed=time.time_ns()), int(effort.round_s * 60_000 / size)
        )
    )
    return await asyncio.to_thread(storing.rate, iter(bodies), for_s=effort.round_s)


async def _recorded(effort: Effort, app: App) -> float:
    parser = NativeParser(Limits())
    events = jobs(AUTOMATIONS, seed=time.time_ns())
    bodies = [
        json.dumps(list(itertools.islice(events, BATCH))).encode() for _ in range(int(effort.round_s * 50_000 / BATCH))
    ]
    left, judged_before, began_s = iter(bodies), app.shards.judged, time.perf_counter()

    async def send() -> None:
        while time.perf_counter() - began_s < effort.round_s and (body := next(left, None)) is not None:
            await app.recorder.record(parser.parse(body))

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    await app.shards.settled()
    return (app.shards.judged - judged_before) / (time.perf_counter() - began_s)
