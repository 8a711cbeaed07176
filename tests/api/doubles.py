"""A small App over a real store: no judge and no dispatcher, definitions in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tocsin.clock import SystemClock
from tocsin.errors import Conflict, InvalidDefinition, NotFound, Problem, TocsinError
from tocsin.schemas.document import Document
from tocsin.schemas.event import Event
from tocsin.schemas.flow import Flow, Queue
from tocsin.schemas.source import AnySource
from tocsin.settings import Settings
from tocsin.store.database import Database
from tocsin.store.log import Appended, Draft, append
from tocsin.store.writer import Transaction, Writer

T = TypeVar("T")


@dataclass(frozen=True)
class FakeReceipt:
    accepted: int
    duplicates: int
    ids: list[str]


@dataclass
class FakeRecorder:
    """Appends to the log, or refuses when it was told to."""

    writer: Writer
    kept: list[Event] = field(default_factory=list)
    trouble: TocsinError | None = None

    async def record(self, events: Sequence[Event]) -> FakeReceipt:
        if self.trouble is not None:
            raise self.trouble

        def unit(tx: Transaction) -> Appended:
            return append(tx, [Draft(event) for event in events])

        appended = await self.writer.run(unit)
        self.kept += [arrival.event for arrival in appended.arrivals]
        return FakeReceipt(len(events), appended.duplicates, appended.ids)


@dataclass
class FakeDefinitions:
    """Automations in a dict; those named `from-file*` belong to files."""

    document: Document = field(default_factory=Document)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def source(self, name: str) -> AnySource | None:
        return next((source for source in self.document.sources if source.name == name), None)

    def flow(self, name: str) -> Flow | None:
        return next((flow for flow in self.document.flows if flow.name == name), None)

    def queue(self, name: str) -> Queue | None:
        return next((queue for queue in self.document.queues if queue.name == name), None)

    async def automations(self) -> list[dict[str, Any]]:
        return list(self.known.values())

    async def put(self, kind: str, name: str, spec: Any) -> None:
        self._own(name)
        if "trigger" not in spec:
            raise InvalidDefinition([Problem("is required", field="trigger")])
        self.known[name] = {"kind": kind, "definition": {**spec, "name": name}, "origin": "api", "paused": False}

    async def delete(self, kind: str, name: str) -> None:
        self._own(name)
        del self._find(name)["kind"]
        del self.known[name]

    async def pause(self, kind: str, name: str) -> None:
        self._find(name)["paused"] = True

    async def resume(self, kind: str, name: str) -> None:
        self._find(name)["paused"] = False

    def _own(self, name: str) -> None:
        if name.startswith("from-file"):
            raise Conflict(f"{name!r} comes from a file: change it there")

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.known:
            raise NotFound(f"there is no automation {name!r}")
        return self.known[name]


@dataclass(frozen=True)
class FakeReadiness:
    ready: bool
    lag_s: float = 0.0


class FakeApp:
    """Everything that the API asks of an App."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.database = Database(f"sqlite:///{home / 'tocsin.db'}")
        self.writer = Writer(self.database, self.clock)
        self.writer.start()
        self.recorder = FakeRecorder(self.writer)
        self.definitions = FakeDefinitions()
        self.ready = True

    async def read(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(self.database.read, query, *args, **kwargs)

    async def readiness(self) -> FakeReadiness:
        return FakeReadiness(self.ready)

    def close(self) -> None:
        self.writer.close()
        self.database.close()
