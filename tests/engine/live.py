"""A whole server on a virtual clock, which tests start and stop on the same home as often as they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Connection, select

from tocsin.app import App, running
from tocsin.engine.entries import wanted_of
from tocsin.engine.evaluator import Evaluator
from tocsin.engine.recorder import Receipt
from tocsin.schemas.document import Document, load
from tocsin.schemas.event import Arrival, Event
from tocsin.schemas.firing import Decision, Firing
from tocsin.schemas.moments import SECOND, Micros
from tocsin.settings import Settings
from tocsin.store import firings, log
from tocsin.store.database import Database
from tocsin.store.tables import decisions as decisions_table
from tocsin.store.tables import firings as firings_table
from tocsin.testing import ManualClock

P = ParamSpec("P")
T = TypeVar("T")

T0: Micros = 1_772_438_400 * SECOND
"""2026-03-02T08:00:00Z, a Monday."""

NEVER_BLIND = "36500d"


def event(name: str = "a", resource: str = "x", **more: Any) -> Event:
    """Return an event."""
    return Event.model_validate({"event": name, "resource": {"id": resource}} | more)


def automation(trigger: Mapping[str, Any], name: str = "one", **more: Any) -> dict[str, Any]:
    """Return an automation as it is written in a file."""
    return {"name": name, "trigger": dict(trigger), "actions": [{"type": "log"}]} | more


def document(*automations: Mapping[str, Any], **sections: Any) -> Document:
    """Return a document of definitions, read as from a file."""
    return load({"test.yaml": json.dumps({"automations": automations, **sections})})


def put_to_sleep(app: App, patched: pytest.MonkeyPatch) -> None:
    """Have the evaluator judge when it is told to, and neither by itself nor behind what is appended."""
    patched.setattr(app.shards, "nudge", lambda: None)
    patched.setattr(app.writer, "follower", None)


def evaluator_of(app: App) -> Evaluator:
    """Return the evaluator of the one shard that there is."""
    (evaluator,) = app.shards._evaluators.values()
    return evaluator


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no signal
            await asyncio.sleep(0.01)


class Live:
    """A server by turns: its home and its clock stay while it is stopped and started again."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.clock = ManualClock(T0)
        self.settings: dict[str, Any] = {"blind_after": NEVER_BLIND} | settings
        self._stack: AsyncExitStack | None = None
        self._app: App | None = None

    @property
    def app(self) -> App:
        assert self._app is not None, "the server is not running"
        return self._app

    @property
    def running(self) -> bool:
        return self._app is not None

    async def start(self, *automations: Mapping[str, Any]) -> App:
        """Start the server; with `automations`, put them into force as a file says them."""
        self._stack = AsyncExitStack()
        settings = Settings(home=self.home, **self.settings)
        self._app = await self._stack.enter_async_context(running(settings, None, clock=self.clock))
        if automations:
            await self.apply(*automations)
        return self._app

    async def stop(self) -> None:
        stack, self._stack, self._app = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def restart(self) -> App:
        await self.stop()
        return await self.start()

    async def apply(self, *automations: Mapping[str, Any], **sections: Any) -> dict[str, list[str]]:
        """Put into force what files say now; return what changed."""
        return (await self.app.definitions.apply_files(wanted_of(document(*automations, **sections)))).document()

    async def send(self, *events: Event, at_s: float | None = None) -> Receipt:
        """Record events in one request, at a moment given in seconds from the start."""
        self.turn(at_s)
        return await self.app.recorder.record(events)

    async def settle(self, at_s: float | None = None) -> None:
        """Wait until everything up to a moment was judged; what is due at the moment itself is, too."""
        self.turn(at_s)
        self.clock.set(self.clock.now_us() + 1)
        await self.app.shards.settled()

    def turn(self, at_s: float | None) -> None:
        """Turn the clock to a moment given in seconds from the start; never back."""
        if at_s is not None:
            self.clock.advance(max(0, T0 + round(at_s * SECOND) - self.clock.now_us()) / SECOND)

    # What is in the store

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query, also while the server is stopped."""
        if self._app is not None:
            return self._app.database.read(query, *args, **kwargs)
        database = Database(Settings(home=self.home, **self.settings).database_url())
        try:
            return database.read(query, *args, **kwargs)
        finally:
            database.close()

    def log(self) -> list[Arrival]:
        """Return the whole log."""
        return self.read(log.after, 0, limit=100_000)

    def told(self, name: str) -> list[Arrival]:
        """Return the engine's own events of a name."""
        return [placed for placed in self.log() if placed.event.event == name]

    def firings(self) -> list[Firing]:
        """Return all firings in the order in which they were stored."""
        query = select(firings_table).order_by(firings_table.c.n)
        return self.read(lambda connection: [firings.read_firing(row) for row in connection.execute(query)])

    def fired(self) -> list[tuple[float, str, dict[str, str]]]:
        """Return (seconds from the start, verdict, labels) of each firing."""
        return [((one.at_us - T0) / SECOND, one.verdict.value, one.labels) for one in self.firings()]

    def decisions(self) -> list[Decision]:
        """Return all decisions: those that ride with an event, then those of moments."""
        riding = [self.read(log.decisions_of, placed.seq) for placed in self.log()]
        query = select(decisions_table.c.document).order_by(decisions_table.c.n)
        alone = self.read(lambda connection: list(connection.execute(query).scalars()))
        return [*flat(riding), *(Decision(*json.loads(text)) for text in alone)]

    def outcomes(self) -> list[str]:
        """Return the outcomes of all decisions."""
        return [str(decision.outcome) for decision in self.decisions()]


def flat(lists: Iterable[Iterable[T]]) -> list[T]:
    """Return the items of all lists."""
    return [item for items in lists for item in items]
