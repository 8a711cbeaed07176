"""What those who watch a process are told: whether it is ready, what is wrong, what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Protocol

from tocsin.clock import Clock
from tocsin.engine.diagnosis import Finding, diagnose
from tocsin.engine.dispatcher import Dispatcher
from tocsin.engine.readiness import Inside, Readiness, readiness_of
from tocsin.engine.recorder import Records
from tocsin.engine.shards import Shards
from tocsin.engine.watcher import Watcher
from tocsin.errors import Unavailable
from tocsin.schemas.moments import Micros
from tocsin.store import vitals
from tocsin.store.database import Database
from tocsin.store.vitals import Vitals
from tocsin.store.writer import Writer

Trouble = Callable[[], str]
"""Returns why a part does not do its work now, empty while it does."""


class Watched(Protocol):
    """A process, as far as it is watched."""

    @property
    def roles(self) -> Collection[str]: ...

    clock: Clock
    database: Database
    writer: Writer
    judging: Writer
    recorder: Records
    shards: Shards
    dispatcher: Dispatcher
    watcher: Watcher | None


class Watch:
    """Looks at a process and at its database; its methods are called in the event loop.

    `trouble` are those who say why a part does not work; whoever adds a part adds one.
    """

    def __init__(self, process: Watched, *, blind_after_us: Micros) -> None:
        """Keep the process, and law S2's bound."""
        self._process = process
        self._blind_after_us = blind_after_us
        self._seen: Vitals | None = None
        self._seen_s = float("-inf")
        self._looking = asyncio.Lock()
        self.trouble: list[Trouble] = [lambda: process.writer.trouble]
        if process.judging is not process.writer:
            self.trouble.append(lambda: process.judging.trouble)
        if "dispatcher" in process.roles:
            self.trouble.append(lambda: process.dispatcher.trouble)

    async def look(self, *, most_s: float = 0.0) -> Vitals:
        """Return a look at the database; one that is at most `most_s` seconds old will do. Raises Unavailable."""
        async with self._looking:
            now_s = self._process.clock.monotonic_s()
            if self._seen is None or now_s - self._seen_s > most_s or not most_s:
                self._seen = await asyncio.to_thread(self._look)
                self._seen_s = now_s
            return self._seen

    def _look(self) -> Vitals:
        process = self._process
        progress, owned = process.shards.progress, len(process.shards.owned)
        judged_seq = progress.seq if progress is not None else 0
        if self._seen is not None and owned < len(self._seen.shards):
            judged_seq = 0  # others judge, too: what is stored says how far they are
        seen = process.database.read(vitals.look, now_us=process.clock.now_us(), judged_seq=judged_seq)
        if judged_seq and owned < len(seen.shards):  # this was the first look
            seen = process.database.read(vitals.look, now_us=process.clock.now_us())
        return seen

    def inside(self) -> Inside:
        """Return what the process knows of itself."""
        process = self._process
        return Inside(
            roles=process.roles,
            progress=process.shards.progress,
            waiting=process.recorder.waiting,
            trouble=tuple(ask() for ask in self.trouble),
            blind_after_us=self._blind_after_us,
            definitions=process.watcher.problem if process.watcher is not None else "",
        )

    async def readiness(self) -> Readiness:
        """Say whether the process does its work, and how late it is."""
        try:
            seen = await self.look()
        except Unavailable as error:
            inside = self.inside()
            return Readiness(False, 0.0, 0, inside.waiting, str(error), inside.definitions, [str(error)])
        return readiness_of(seen, self.inside())

    async def diagnosis(self) -> list[Finding]:
        """Say what is wrong with all processes that share the database, and with the parts of this one."""
        seen = await self.look()
        here = [Finding("here", reason, ok=False) for reason in self.inside().trouble if reason]
        shared = not self._process.database.is_sqlite
        return [*diagnose(seen, blind_after_us=self._blind_after_us, shared=shared), *here]

    def detail(self) -> dict[str, Any]:
        """Return what the process says of itself to those who look at the database only."""
        process = self._process
        lanes = process.dispatcher.lanes().values()
        return {
            "waiting": process.recorder.waiting,
            "shards": process.shards.owned,
            "actions": {"running": sum(one[0] for one in lanes), "waiting": sum(one[1] for one in lanes)},
            "trouble": [reason for ask in self.trouble if (reason := ask())],
        }
