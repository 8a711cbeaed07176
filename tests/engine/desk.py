"""A dispatcher at work on a store, with doubles around it and a clock that tests turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from tests.actions.doubles import AUTOMATION, NOW, World, firing
from tocsin.engine.dispatcher import Dispatcher, Options
from tocsin.engine.performer import Job, Performer
from tocsin.schemas.event import Arrival, Event
from tocsin.schemas.moments import SECOND
from tocsin.store import firings, intents, log
from tocsin.store.database import Database
from tocsin.store.firings import Judged
from tocsin.store.intents import Intent, Order
from tocsin.store.schema import prepare
from tocsin.store.writer import Transaction, Writer

T = TypeVar("T")
OPTIONS = Options(poll_s=60.0, grace_s=5.0)


@dataclass
class Hand:
    """A clock that tests turn; monotonic time goes along."""

    us: int = NOW

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / SECOND


@dataclass
class Desk:
    """The store and what is around the dispatcher; it outlives the dispatchers that tests start and stop."""

    database: Database
    writer: Writer
    clock: Hand
    world: World = field(default_factory=World)
    starts: int = 0

    def dispatcher(self, options: Options = OPTIONS, **ports: Any) -> Dispatcher:
        """Return a dispatcher, as a process that starts makes one."""
        self.starts += 1
        made = self.world.ports
        for name, port in ports.items():
            object.__setattr__(made, name, port)
        performer = Performer(made, clock=self.clock, definition=lambda name: AUTOMATION, random=Random(7))
        return Dispatcher(
            performer, database=self.database, writer=self.writer, clock=self.clock, owner=f"start {self.starts}",
            options=options,
        )  # fmt: skip

    async def order(
        self, *specs: Mapping[str, Any], number: int = 0, to: Dispatcher | None = None, **more: Any
    ) -> list[str]:
        """Store a firing and what it asks for, as the evaluator does; `to` is handed it in memory."""
        jobs: list[Job] = []

        def unit(tx: Transaction) -> list[Intent]:
            event = Event(event="table.updated", resource={"id": "table/sales"}, id=f"e{number}")
            placed = log.append(tx, [log.Draft(event)]).arrivals
            seqs = tuple(arrival.seq for arrival in placed)
            fired = firing(number, **{"events": seqs, "trigger_event": seqs[0]} | more)
            arrivals: dict[int, Arrival] = {arrival.seq: arrival for arrival in placed}
            firings.add(tx.connection, [Judged(fired, "live", "high")], arrivals, decided_us=tx.now_us)
            actions = [(str(spec["type"]), json.dumps(spec)) for spec in specs]
            added = intents.add(tx, [Order(fired, actions)], claimed_by=to.owner if to else None)
            jobs.extend(Job(intent, fired, arrivals) for intent in added)
            return added

        added = await self.writer.run(unit)
        if to is not None:
            to.offer(jobs)
        return [intent.id for intent in added]

    def show(self, intent: str) -> dict[str, Any]:
        return self.database.read(intents.show, intent)

    def state(self, intent: str) -> str:
        return str(self.show(intent)["state"])

    def told(self) -> list[Arrival]:
        """Return the engine's own events in the log."""
        every = self.database.read(log.after, 0, limit=10_000)
        return [arrival for arrival in every if arrival.event.source == log.OWN_SOURCE]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds, at most ten seconds."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0.002)

    async def ended(self, *ids: str) -> None:
        await self.until(lambda: all(self.state(intent) not in ("waiting", "running") for intent in ids))

    async def attempted(self, intent: str, times: int) -> None:
        """Wait until so many attempts are recorded."""
        await self.until(lambda: len(self.show(intent)["history"]) >= times)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Desk]:
    """Open a store."""
    database, clock = Database(url, serves=True), Hand()
    prepare(database)
    writer = Writer(database, clock)
    writer.start()
    try:
        yield Desk(database, writer, clock)
    finally:
        await asyncio.to_thread(writer.close)
        database.close()
