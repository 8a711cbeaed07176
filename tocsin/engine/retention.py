"""Retention: what is old is dropped while the server runs, a bite at a time, and nothing that is still needed.

Events, with their identities (law E2), stay while an open window or an action that has not ended needs them, and until
they were judged. Firings stay while they are open misses, or something is still to be done about them. The states of
keys at which nothing is open go when the identities of their time do (law P8).

Rule 1: a bite is a unit of the writer like any other, and waits until nothing else does, but not for ever.
Rule 2: what is needed is looked up once, before the first bite; events can come to be needed only by being needed
already, or as priming reads them (law O3), which bears what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from typing import TypeVar

from tocsin.clock import Clock
from tocsin.engine.repeating import Repeating
from tocsin.engine.shards import Shards
from tocsin.engine.stored import Judges
from tocsin.errors import JudgeFailed
from tocsin.schemas.moments import Micros
from tocsin.store import partitions, retention, states
from tocsin.store.database import Connection, Database
from tocsin.store.retention import BITE, Bite, OldPart
from tocsin.store.writer import Transaction, Writer
from tocsin.triggers.judge import automation_of

W = TypeVar("W")
T = TypeVar("T")

log = logging.getLogger(__name__)

_LOOK_S = 0.02
_PATIENT_BITES = 50  # behind so many it hurries, twice as much each time: who is always busy must not grow for ever
_DECODED = 500  # the automations of so many states are compiled at once


@dataclass(frozen=True, slots=True)
class Keep:
    """How long events, firings and runs are kept."""

    events_us: Micros
    firings_us: Micros
    runs_us: Micros

    @property
    def longest_us(self) -> Micros:
        """How long anything is kept."""
        return max(self.events_us, self.firings_us, self.runs_us)


@dataclass(frozen=True, slots=True)
class Pace:
    """When it begins and how often it comes again, how long it rests between bites and waits for a quiet moment."""

    first_s: float = 60.0
    every_s: float = 600.0
    rest_s: float = 0.05
    patience_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Swept:
    """How much was dropped; `history` is what was in force, paused or up."""

    events: int
    firings: int
    decisions: int
    refusals: int
    runs: int
    states: int
    history: int


_USUAL = Pace()


class Retention:
    """Drops what is old; created, started and closed in the event loop. `forget` deletes what runs left on disk."""

    def __init__(
        self, writer: Writer, database: Database, clock: Clock, *, shards: Shards, judges: Judges, keep: Keep,
        forget: Callable[[Sequence[str]], None], pace: Pace = _USUAL,
    ) -> None:  # fmt: skip
        """Prepare; nothing is dropped yet."""
        self._writer = writer
        self._database = database
        self._clock = clock
        self._shards = shards
        self._judges = judges
        self._keep = keep
        self._forget = forget
        self._pace = pace
        self._sweeping = Repeating(
            self._sweep_ours, first_s=pace.first_s, every_s=pace.every_s, trouble="what is old is not dropped now"
        )

    def start(self) -> None:
        """Sweep from time to time until it is closed."""
        self._sweeping.start()

    async def close(self) -> None:
        """Stop; what a bite has begun is ended."""
        await self._sweeping.close()

    async def sweep(self) -> Swept:
        """Drop everything that is old now and that nothing needs.

        Raises:
            Unavailable, Overloaded: the store can not be read or written now; what was dropped so far stays so.
        """
        now_us, keep = self._clock.now_us(), self._keep
        # States first: what only they needed can then go at once.
        idle = await self._states(now_us - keep.events_us)
        return Swept(
            events=await self._events(now_us - keep.events_us),
            firings=await self._bites(partial(retention.drop_firings, before_us=now_us - keep.firings_us)),
            decisions=await self._bites(partial(retention.drop_decisions, before_us=now_us - keep.firings_us)),
            refusals=await self._bites(partial(retention.drop_refusals, before_us=now_us - keep.events_us)),
            runs=await self._runs(now_us - keep.runs_us),
            states=idle,
            history=await self._bite(retention.drop_history, now_us - keep.longest_us),
        )

    async def _sweep_ours(self) -> None:
        if 0 not in self._shards.owned:  # of several processes, the one that judges this shard sweeps
            return
        swept = asdict(await self.sweep())
        if any(swept.values()):
            log.info("dropped what is old: %s", ", ".join(f"{n} {what}" for what, n in swept.items() if n))

    async def _events(self, before_us: Micros) -> int:
        def look_up(connection: Connection) -> tuple[list[OldPart], set[int]]:
            old = retention.old_parts(connection, before_us=before_us)
            return old, _needed(connection, self._judges, max(part.to_seq for part in old)) if old else set()

        await asyncio.to_thread(partitions.make_ahead, self._database, now_us=self._clock.now_us())
        dropped = await self._taken_out()
        old, needed = await asyncio.to_thread(self._database.read, look_up)
        for part in old:
            if part.day is None or part.has_any(needed):
                dropped += await self._bites(partial(retention.drop_events, old=part, spared=needed))
            else:
                await asyncio.to_thread(partitions.take_out, self._database, part.day)
        for day in await asyncio.to_thread(self._database.read, retention.empty_days, before_us=before_us):
            await asyncio.to_thread(partitions.take_out, self._database, day)
        return dropped + await self._taken_out()

    async def _taken_out(self) -> int:
        """Drop the days that were taken out of the log, by this sweep or one that was interrupted."""
        dropped = 0
        for table in await asyncio.to_thread(self._database.read, partitions.taken_out):
            if partitions.has_events(table):
                dropped += await self._bites(partial(retention.drop_identities, taken_out=table))
            await asyncio.to_thread(partitions.drop, self._database, table)
        return dropped

    async def _states(self, before_us: Micros) -> int:
        def drop(tx: Transaction, keys: Sequence[str]) -> int:
            states.bump(tx.connection, states.shards_of(tx.connection, keys))  # who judges them reads them anew
            return retention.drop_states(tx, keys, before_us=before_us)

        return await self._listed(partial(retention.idle_states, before_us=before_us), drop)

    async def _runs(self, before_us: Micros) -> int:
        # The files go first: what is left when the server dies in between is found again by the row.
        look_up = partial(retention.old_runs, before_us=before_us)
        return await self._listed(look_up, retention.drop_runs, first=self._forget)

    async def _listed(
        self,
        look_up: Callable[[Connection], list[str]],
        drop: Callable[[Transaction, Sequence[str]], int],
        *,
        first: Callable[[Sequence[str]], None] | None = None,
    ) -> int:
        """Drop what is looked up, in bites, until nothing more is found or can be dropped."""
        total, dropped = 0, 1
        while dropped and (found := await asyncio.to_thread(self._database.read, look_up)):
            dropped = 0
            for start in range(0, len(found), BITE):
                part = found[start : start + BITE]
                if first is not None:
                    await asyncio.to_thread(first, part)
                dropped += await self._bite(drop, part)
            total += dropped
        return total

    async def _bites(self, drop: Callable[[Transaction, int], Bite]) -> int:
        dropped, place = 0, 0
        for bites in count():
            bite = await self._bite(drop, place, haste=2 ** (bites // _PATIENT_BITES))
            dropped += bite.dropped
            if bite.place is None:
                break
            place = bite.place
        return dropped

    async def _bite(self, drop: Callable[[Transaction, W], T], what: W, *, haste: float = 1) -> T:
        """Have a unit run when nothing else waits, or when that has taken too long; with `haste`, not so long."""
        await asyncio.sleep(self._pace.rest_s / haste)
        left_s = self._pace.patience_s / haste
        while left_s > 0 and self._is_busy():
            await asyncio.sleep(_LOOK_S)
            left_s -= _LOOK_S
        return await self._writer.run(lambda tx: drop(tx, what))

    def _is_busy(self) -> bool:
        progress = self._shards.progress
        return self._writer.waiting > 0 or progress is None or progress.behind


def _needed(connection: Connection, judges: Judges, to_seq: int) -> set[int]:
    """Return the places of events that must stay, whatever their age; later ones than `to_seq` may be among them."""
    needed = retention.events_of_intents(connection)
    needing = iter(retention.states_needing(connection, to_seq=to_seq))
    while part := list(islice(needing, _DECODED)):
        judge = judges.over(connection, {automation_of(key) for key, _, _ in part})
        for key, first_seq, blob in part:
            try:
                state = judge.decode(key, blob)
            except JudgeFailed:
                needed.add(first_seq)
                continue
            if state is not None:
                needed |= state.seqs()
    return needed
