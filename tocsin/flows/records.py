"""The store as the worker sees it: what it holds, and steps that are tried until they are recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.errors import IllegalTransition, Overloaded, TocsinError, Unavailable
from tocsin.schemas.moments import SECOND, Micros
from tocsin.schemas.run import Ending, Run
from tocsin.store import runs
from tocsin.store.database import Database
from tocsin.store.writer import Transaction, Unit, Writer

log = logging.getLogger(__name__)

_TRIES_IN_A_HURRY = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the worker looks for work, how long a lease lasts, and how long a process may take to end."""

    poll_s: float = 1.0
    lease_s: float = 30.0
    grace_s: float = 10.0

    @property
    def beat_s(self) -> float:
        """How often a lease is renewed."""
        return self.lease_s / 6


class Records:
    """The runs of one worker, `owner`."""

    def __init__(self, database: Database, writer: Writer, *, owner: str, lease_s: float) -> None:
        """Keep what the steps need."""
        self.owner = owner
        self.in_a_hurry = False
        self._database, self._writer = database, writer
        self._lease_us: Micros = int(lease_s * SECOND)

    async def claim(self, limits: Mapping[str, int], *, limit: int) -> list[Run]:
        """Take runs that are due."""

        def unit(tx: Transaction) -> list[Run]:
            return runs.claim(tx, owner=self.owner, limits=limits, limit=limit, lease_us=self._lease_us)

        return await self._writer.run(unit)

    async def start(self, run: Run, process: str) -> bool:
        """Record the process of a run; False if it must not begin: cancelled meanwhile, or nothing can be written."""
        try:
            await self._writer.run(lambda tx: runs.start(tx, run, process=process))
        except TocsinError as error:
            log.info("the run %s does not begin: %s", run.id, error, extra={"run": run.id, "flow": run.flow})
            return False
        return True

    async def beat(self) -> None:
        """Renew the leases."""
        await self._writer.run(lambda tx: runs.heartbeat(tx, owner=self.owner, lease_us=self._lease_us))

    async def held(self) -> list[Run]:
        """Return what all workers hold."""
        return await asyncio.to_thread(self._database.read, runs.held)

    async def finish(self, run: Run, ending: Ending, *, retry_delay_us: Micros | None = None) -> None:
        """Record how an attempt ended, and when the next one is due."""

        def unit(tx: Transaction) -> object:
            retry_at_us = None if retry_delay_us is None else tx.now_us + retry_delay_us
            return runs.finish(tx, run, ending, retry_at_us=retry_at_us)

        await self._insist(unit, run.id)

    async def release(self, run: Run) -> None:
        """Hand back a run that did not begin."""
        await self._insist(lambda tx: runs.release(tx, owner=run.owner or "", run_id=run.id), run.id)

    async def release_all(self) -> None:
        """Hand back everything that did not begin."""
        await self._insist(lambda tx: runs.release(tx, owner=self.owner), "all")

    async def _insist(self, unit: Unit[object], what: str) -> None:
        """Have the unit run, again and again while nothing can be written; in a hurry only a few times.

        What is not recorded in the end is found by the next worker, as is what a killed one leaves behind.
        """
        tries = 0
        while True:
            try:
                await self._writer.run(unit)
            except IllegalTransition as error:  # somebody else was first, and has recorded it
                log.info("%s", error)
            except (Overloaded, Unavailable) as error:
                tries += 1
                log.warning("the state of the run %s can not be recorded now: %s", what, error)
                if self.in_a_hurry and tries >= _TRIES_IN_A_HURRY:
                    return
                await asyncio.sleep(min(error.retry_after_s, 1.0 if self.in_a_hurry else 10.0))
                continue
            return
