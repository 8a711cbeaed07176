"""Silence at scale: very many keys that are armed, due at one moment, or overdue after an outage of a day."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from benchmarks.acting import Heard
from benchmarks.effort import Effort, at, middle, span
from benchmarks.samples import calling, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.silence import WITHIN_S, beat, heartbeat
from benchmarks.table import Row
from benchmarks.traffic import sink
from tocsin.app import running
from tocsin.clock import SystemClock
from tocsin.schemas.event import Event
from tocsin.schemas.moments import DAY, SECOND, Micros
from tocsin.settings import Settings
from tocsin.store.database import Database
from tocsin.store.tables import firings

FEW = 10_000
MANY = 1_000_000
CROWD = 100_000
DUE = 1_000
SPREAD_S = 5
IDLE_S = 5.0
WATCH = {"type": "absence", "expect": "host.heartbeat", "for_each": ["id"], "within": f"{WITHIN_S}s", "lateness": "0s"}

BOUND_ARMED = (
    "What is armed is rows of the store and one indexed number; memory holds the newest 100,000 states at most"
)
BOUND_VERDICTS = "Bound by the writer's thread: a state, a firing, an intent, a decision and an event for each verdict"
BOUND_ALERTS = "Bound by how many actions the server performs a second"
BOUND_OUTAGE = "Bound by the verdicts: notifications of one moment are sent as one"


class Told(Heard):
    """What arrived, and how often in all: whatever is told twice is counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __call__(self, body: bytes, now_s: float) -> None:
        self.count += 1
        super().__call__(body, now_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a home: how many of each, of how many keys, and when the last was given."""

    verdicts: dict[str, int]
    keys: int
    last_us: Micros

    @classmethod
    def read(cls, home: Path) -> Judged:
        """Read what a server, which has stopped, left behind."""

        def query(connection: Connection) -> Judged:
            counts = connection.execute(select(firings.c.verdict, func.count()).group_by(firings.c.verdict))
            keys = select(func.count(firings.c.state_key.distinct()), func.max(firings.c.decided_us))
            return cls({row[0]: row[1] for row in counts}, *connection.execute(keys).one())

        database = Database(Settings(home=home).database_url())
        try:
            return database.read(query)
        finally:
            database.close()


# Armed


async def armed(effort: Effort, profiler: Profiler) -> list[Row]:
    """A million keys armed, beside ten thousand on another server, in turn: memory, and what a verdict costs."""
    async with AsyncExitStack() as stack:
        servers = []
        for keys in (effort.many(FEW), effort.many(MANY)):
            told = Told()
            server, _ = await stack.enter_async_context(_watching(effort, told, f"armed-{keys}"))
            await beat(server, {f"armed/{number}": time.time() for number in range(keys)})
            servers.append(_Armed(server, told))
        for turn in range(effort.rounds):
            for one in servers:
                await one.measure(turn, keys=effort.many(DUE), profiler=profiler)
    few, many = servers
    note = f"{effort.many(MANY):,} keys armed, beside {effort.many(FEW):,} on another server"
    due = f"{note}; in each round {effort.many(DUE):,} of them due within {SPREAD_S} s, each with a webhook"
    return [
        Row("memory, 1,000,000 keys armed", many.rss_mb, "MB", few.rss_mb, note, None, BOUND_ARMED),
        Row("processor time of a verdict, 1,000,000 keys armed", middle(many.verdict_ms), "ms", middle(few.verdict_ms),
            due, None, BOUND_ARMED, span(many.verdict_ms)),
        *(Row(f"deadline to alert, 1,000,000 keys armed, p{part * 100:.0f}", at(many.late_ms, part), "ms",
              at(few.late_ms, part), due, target, BOUND_ALERTS, (at(many.late_ms, 0.5), max(many.late_ms)))
          for part, target in ((0.5, 50.0), (0.99, 250.0))),
    ]  # fmt: skip


class _Armed:
    """A server with keys that are armed, and what was measured of it."""

    def __init__(self, server: Server, told: Told) -> None:
        self._server = server
        self._told = told
        self.rss_mb = 0.0
        self.verdict_ms: list[float] = []
        self.late_ms: list[float] = []

    async def measure(self, turn: int, *, keys: int, profiler: Profiler) -> None:
        """Have more keys, due soon, and see what their verdicts cost."""
        first_s = time.time() + 2 + IDLE_S
        dice = random.Random(turn)
        due_s = {f"due/{turn}/{number}": first_s + dice.random() * SPREAD_S for number in range(keys)}
        await beat(self._server, {key: moment_s - WITHIN_S for key, moment_s in due_s.items()})
        idle_s = await _used_s(self._server, IDLE_S)
        await asyncio.sleep(max(0.0, first_s - time.time()))
        before_s = self._server.cpu_s()
        with profiler.watching(self._server.pid):
            await self._told.until(lambda known: len(known) >= keys * (turn + 1))
        used_s = self._server.cpu_s() - before_s - idle_s * (time.time() - first_s)
        self.rss_mb = self._server.rss_mb()
        self.verdict_ms.append(1000 * used_s / keys)
        self.late_ms += _late_ms(self._told, due_s)


async def _used_s(server: Server, for_s: float) -> float:
    """Return the processor time that an idle server uses in a second."""
    before_s = server.cpu_s()
    await asyncio.sleep(for_s)
    return (server.cpu_s() - before_s) / for_s


def _late_ms(told: Told, due_s: dict[str, float]) -> list[float]:
    return [(told.at_s[key.encode()] - moment_s) * 1000 for key, moment_s in due_s.items()]


# Due at one moment


async def due(effort: Effort, profiler: Profiler) -> list[Row]:
    """Very many keys of one automation that are due at one moment."""
    rows = []
    keys = effort.many(FEW)
    verdicts_s, alerts_s = await _deadlines(effort, profiler, keys=keys)
    note = f"{keys:,} keys of one `deadline`, none of them seen; each missed once, and told once"
    rows.append(Row("10,000 deadlines, to the last verdict", verdicts_s, "s", None, note, 10, BOUND_VERDICTS))
    rows.append(Row("10,000 deadlines, to the last alert", alerts_s, "s", None, note, 10, BOUND_ALERTS))
    keys = effort.many(CROWD)
    verdicts_s, alerts_s = await _heartbeats(effort, profiler, keys=keys)
    note = f"{keys:,} keys of one `absence`, last seen at one moment; each missed once, and told once"
    rows.append(Row("100,000 heartbeats, to the last verdict", verdicts_s, "s", None, note, None, BOUND_VERDICTS))
    rows.append(Row("100,000 heartbeats, to the last alert", alerts_s, "s", None, note, None, BOUND_ALERTS))
    return rows


async def _deadlines(effort: Effort, profiler: Profiler, *, keys: int) -> tuple[float, float]:
    # A minute of the clock is the least that cron can say; the server has at least a quarter of one to start in.
    due_s = (int(time.time() + 15) // 60 + 1) * 60
    at_due = time.gmtime(due_s)
    trigger = {"type": "deadline", "expect": "table.updated", "for_each": ["id"], "window": "1h", "timezone": "UTC",
               "due": f"{at_due.tm_min} {at_due.tm_hour} * * *",
               "subjects": [f"due/{number}" for number in range(keys)]}  # fmt: skip
    told = Told()
    async with _watching(effort, told, "deadlines", trigger=trigger) as (server, home):
        with profiler.watching(server.pid):
            await told.until(lambda known: len(known) >= keys, for_s=600)
        await asyncio.sleep(1)
    return _checked(told, home, keys=keys, due_s=due_s)


async def _heartbeats(effort: Effort, profiler: Profiler, *, keys: int) -> tuple[float, float]:
    told = Told()
    async with _watching(effort, told, "heartbeats") as (server, home):
        due_s = time.time() + 10 + keys / 2_000
        await beat(server, {f"due/{number}": due_s - WITHIN_S for number in range(keys)})
        if time.time() > due_s:
            raise RuntimeError("this machine is too slow: the keys were due before all of them were armed")
        with profiler.watching(server.pid):
            await told.until(lambda known: len(known) >= keys, for_s=600)
        await asyncio.sleep(1)
    return _checked(told, home, keys=keys, due_s=due_s)


def _checked(told: Told, home: Path, *, keys: int, due_s: float) -> tuple[float, float]:
    """Return when the last verdict was given and the last alert arrived, in seconds from what was due."""
    judged = Judged.read(home)
    if (judged.verdicts, judged.keys, told.count, len(told.at_s)) != ({"missed": keys}, keys, keys, keys):
        raise RuntimeError(f"of {keys} keys, {judged} were judged and {len(told.at_s)} told in {told.count} alerts")
    return judged.last_us / SECOND - due_s, max(told.at_s.values()) - due_s


# After an outage


class Yesterday(SystemClock):
    """The clock of the machine, a day ago."""

    def now_us(self) -> Micros:
        return super().now_us() - DAY


async def outage(effort: Effort, profiler: Profiler) -> list[Row]:
    """A server that comes back after a day, with very many keys overdue: what people are told, and when."""
    keys, settle_s, told = effort.many(FEW), 5, Told()
    home = effort.folder / "outage"
    home.mkdir()
    async with sink(told) as port:
        channel = {"name": "oncall", "type": "webhook", "url": f"http://127.0.0.1:{port}/"}
        automation = {
            "name": "silent",
            "trigger": WATCH,
            "actions": [{"type": "send-notification", "channel": "oncall"}],
        }
        definitions = written(home, automations=[automation], channels=[channel])
        await _yesterday(home, definitions, (heartbeat(f"host/{n}", time.time() - DAY / SECOND) for n in range(keys)))
        async with serving(home, definitions, settle=f"{settle_s}s") as server:
            back_s = time.time()
            with profiler.watching(server.pid):
                await told.until(lambda known: _spoken_for(known) >= keys)
            await asyncio.sleep(2)
    judged = Judged.read(home)
    if judged.verdicts != {"unknown": keys} or _spoken_for(told.at_s) != keys:
        raise RuntimeError(f"of {keys} keys, {judged} were judged and {_spoken_for(told.at_s)} told of")
    note = f"{keys:,} keys overdue, each `unknown`; they settle {settle_s} s after the server is back"
    after_s = max(told.at_s.values()) - back_s - settle_s
    return [
        Row("a day's outage, requests to the channel", told.count, "requests", None, note, 10, BOUND_OUTAGE),
        Row("a day's outage, settled to the last notification", after_s, "s", None, note, 10, BOUND_OUTAGE),
    ]


async def _yesterday(home: Path, definitions: Path, events: Iterable[dict[str, Any]]) -> None:
    """Have a server take events a day ago, and stop."""
    async with running(Settings(home=home, log_level="error"), definitions, clock=Yesterday()) as app:
        for part in iter(lambda: list(itertools.islice(events, 500)), []):
            await app.recorder.record([Event.model_validate_json(json.dumps(event)) for event in part])
        await app.shards.settled()


def _spoken_for(bodies: Iterable[bytes]) -> int:
    """Return how many keys notifications are about."""
    return sum(json.loads(body).get("count", 1) for body in bodies)


@asynccontextmanager
async def _watching(
    effort: Effort, told: Told, name: str, *, trigger: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Server, Path]]:
    """Run a server that tells each silent key to a sink, by a webhook of its own; yield it and its home."""
    home = effort.folder / name
    home.mkdir()
    async with sink(told) as port:
        automation = calling("silent", trigger or WATCH, port, body="{{ labels.id }}")
        async with serving(home, written(home, automations=[automation])) as server:
            yield server, home
