"""An ordeal: emitters send, things go wrong, everything heals, comes to rest and is asked to stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.crash.senders import Event, at_work
from tests.engine.sink import Sink, serving
from tests.faults.calamities import happen
from tests.faults.emitters import Emitter, Sent
from tests.faults.field import Field, prepared
from tests.faults.plan import Mode, Plan
from tests.faults.processes import Host
from tests.faults.records import is_at_rest
from tests.faults.stores import Redis, Stores
from tocsin.store.database import Database

ANSWER_S = 60.0
REST_S = 90.0
REST_CONTROL_S = 10.0
LOOK_S = 0.1
MINUTE_S = 60
CLOSE_S = 4.0
"""Nothing is asked to stop when a due time is less than this ahead or behind."""

STREAM = "tocsin:events"


@dataclass
class Ordeal:
    """What happened, seen from outside."""

    plan: Plan
    database: str
    ran: Path
    sent: Sent
    logs: list[Path]
    happened: list[str]
    ends: Counter[str] = field(default_factory=Counter)
    delivered: list[tuple[str, bytes]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    rested: bool = False
    statuses: dict[str, int | None] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    surprises: dict[str, list[int]] = field(default_factory=dict)
    took_s: float = 0.0


class Stream:
    """The bus's stream, for those who write to it by themselves."""

    def __init__(self, server: Redis) -> None:
        """Keep the server."""
        self._client = server.client()

    async def put(self, events: Sequence[Event]) -> bool:
        """Append an entry with these events; return whether the stream took it."""
        try:
            await asyncio.to_thread(self._client.xadd, STREAM, {"data": json.dumps(events)})
        except redis.RedisError:
            return False
        return True


async def suffer(
    plan: Plan, folder: Path, *, stores: Stores, host: Host, tell: Callable[[str], None] = lambda text: None
) -> Ordeal:
    """Let everything happen that is planned; return what was seen.

    Raises:
        Stuck: something neither got on nor ended.
    """
    began_s = time.monotonic()
    await asyncio.to_thread(stores.postgres.administer, f"CREATE DATABASE {plan.database} TEMPLATE template0")
    async with serving() as sink, prepared(plan, folder, stores, host=host) as scene:
        ordeal = Ordeal(
            plan, scene.url, scene.ran, Sent(), [one.log for one in scene.processes.values()],
            [str(one) for one in plan.calamities()], ends=scene.ends,
        )  # fmt: skip
        await _begin(scene, sink)
        tell("begun")
        async with _kept_alive(scene):
            async with at_work(_crowd(ordeal, scene), finish_s=ANSWER_S) as ordeal.unanswered:
                await asyncio.gather(*(happen(calamity, scene) for calamity in plan.calamities()))
                await scene.heal()
                tell("healed")
            tell("all is sent")
            ordeal.rested = await _rest(ordeal)
            tell("at rest" if ordeal.rested else "no rest")
        await _stop(ordeal, scene)
        ordeal.delivered = list(sink.seen)
    ordeal.took_s = time.monotonic() - began_s
    return ordeal


async def _begin(scene: Field, sink: Sink) -> None:
    """Begin with the first process, which fills the database; the others follow when it is defined what to do."""
    if scene.plan.mode is Mode.BUS:
        await asyncio.to_thread(scene.stores.redis.client().flushall)
    first, *others = sorted(scene.processes.values(), key=lambda process: "api" not in process.roles)
    scene.define(sink)
    await scene.host.begin(first, scene.plan.last_life())
    await scene.is_ready(first)
    await asyncio.gather(*(scene.begin(process) for process in others))


@asynccontextmanager
async def _kept_alive(scene: Field) -> AsyncIterator[None]:
    keeping = asyncio.create_task(scene.keep_alive())
    try:
        yield
        if keeping.done():
            keeping.result()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def _crowd(ordeal: Ordeal, scene: Field) -> list[Emitter]:
    bus = Stream(scene.stores.redis) if scene.plan.mode is Mode.BUS else None
    return [
        Emitter(f"e{number}", scene.plan.random(f"emitter {number}"), fronts=scene.fronts, sent=ordeal.sent, bus=bus)
        for number in range(scene.plan.emitters)
    ]


async def _rest(ordeal: Ordeal) -> bool:
    """Wait until nothing is left to be judged or done, and no due time is near; return whether that came."""
    database = Database(ordeal.database)
    until_s = time.monotonic() + (REST_S if ordeal.plan.control == "-" else REST_CONTROL_S)
    try:
        while time.monotonic() < until_s:
            if await asyncio.to_thread(database.read, is_at_rest) and not _is_due():
                return True
            await asyncio.sleep(LOOK_S)
    finally:
        database.close()
    return False


def _is_due() -> bool:
    """Return whether the beginning of a minute is near, at which deadlines are due."""
    second = time.time() % MINUTE_S
    return second < CLOSE_S / 2 or second > MINUTE_S - CLOSE_S


async def _stop(ordeal: Ordeal, scene: Field) -> None:
    found = await asyncio.gather(*(scene.host.stop(process) for process in scene.processes.values()))
    ordeal.statuses = dict(zip(scene.processes, found, strict=True))
    ordeal.stuck = [process.name for process in scene.processes.values() if process.stuck]
    ordeal.surprises = {name: process.surprises for name, process in scene.processes.items() if process.surprises}
