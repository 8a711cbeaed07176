"""The dispatcher: has every intent performed, at least once, and its outcome recorded (laws F2, F4).

    evaluator --offer--> lanes --> performer --> outcomes --> store
                           ^                        |
    store --claim----------+          retries, put off

Rule 1: an intent is held from its claim until its outcome is durable; what is held, followers apart, is bounded by
`capacity`.
Rule 2: what finds its lane full goes back to the store for about as long as the lane would have kept it waiting.
Rule 3: retries wait in the store, never in memory, so that a restart forgets none.
It decides nothing about whether to act: silences, rates, loops and shadow were judged before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from tocsin.clock import Clock
from tocsin.engine.lanes import Lanes
from tocsin.engine.outcomes import NotOurs, Outcome, Outcomes
from tocsin.engine.performer import Job, Performer
from tocsin.engine.repeating import Repeating
from tocsin.engine.tracing import Tracing
from tocsin.errors import Overloaded, Unavailable
from tocsin.schemas import trace
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import intents
from tocsin.store.database import Database
from tocsin.store.intents import LEASE_US, Attempt, AttemptOutcome, Intent, IntentState
from tocsin.store.writer import Transaction, Writer

log = logging.getLogger(__name__)

_STUMBLED_S = 5.0  # the wait after an error that nobody expected
_SCARCE = 4  # room is scarce when less than this part of the capacity is free
_ADOPTED = 500  # so many followers are looked up at once
_PUT_OFF_S = (0.05, 30.0)  # the least and the most that an intent is put off when its lane is full


@dataclass(frozen=True, slots=True)
class Options:
    """How much the dispatcher does at once.

    It holds at most `capacity` intents, followers apart. A `width` is how many effects on one target run at once: on a
    host, on a channel, inside our own database. `poll_s` is how often it looks for what other processes have stored;
    `grace_s` how long running effects may go on at a stop.
    """

    capacity: int = 1_000
    width_host: int = 16
    width_channel: int = 4
    width_own: int = 64
    poll_s: float = 1.0
    grace_s: float = 10.0

    def width(self, target: str) -> int:
        """Return how many effects on a target run at once."""
        kind = target.partition("/")[0]
        return {"host": self.width_host, "channel": self.width_channel}.get(kind, self.width_own)


_USUAL = Options()


class Dispatcher:
    """Claims intents, performs them and records what came of it; an asynchronous context manager.

    Every method is called in the event loop; from the writer's thread use `loop.call_soon_threadsafe`. `trouble` is why
    nothing can be claimed now, empty while it can.
    """

    def __init__(
        self, performer: Performer, *, database: Database, writer: Writer, clock: Clock, owner: str,
        options: Options = _USUAL, tracing: Tracing | None = None,
    ) -> None:  # fmt: skip
        """Prepare; `owner` names this process and its start, and is never used again by another."""
        self.owner = owner
        self.trouble = ""
        self._tracing = tracing
        self._performer = performer
        self._database = database
        self._writer = writer
        self._clock = clock
        self._options = options
        self._held: set[str] = set()
        self._wake = asyncio.Event()
        self.outcomes = Outcomes(writer, owner=owner, recorded=self._recorded)
        self._lanes: Lanes[Job] = Lanes(self._work, clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._tending = Repeating(
            self.tend, every_s=LEASE_US / SECOND / 3, trouble="the leases of actions are not renewed"
        )
        self._idle = asyncio.Event()
        self._idle.set()

    # For the evaluator and the API

    def room(self) -> int:
        """Return how many intents could be held beside those that are; below 1, none should be offered.

        There is none before it begins and after it ends: it may be another process that performs.
        """
        return self._options.capacity - len(self._held) if self._tasks else 0

    def offer(self, jobs: Sequence[Job]) -> None:
        """Take intents that were stored as claimed by `owner`, with what they answer to, after their commit."""
        for job in jobs:
            self._hold(job)
            self._enter(job)

    def nudge(self) -> None:
        """Look for intents that are due: some were stored, released or redriven."""
        self._wake.set()

    async def retry(self, intent: str) -> dict[str, Any]:
        """Redrive an intent now, with all of its retries. Raises NotFound, IllegalTransition."""
        shown = await self._writer.run(lambda tx: intents.retry(tx, intent))
        self.nudge()
        return shown

    async def discard(self, intent: str, reason: str) -> dict[str, Any]:
        """Give up on a waiting intent or a dead letter. Raises NotFound, IllegalTransition."""
        return await self._writer.run(lambda tx: intents.discard(tx, intent, reason))

    async def settled(self) -> None:
        """Wait until nothing is held: every effect was performed or put off, and its outcome is durable."""
        await self._idle.wait()

    def lanes(self) -> dict[str, tuple[int, int]]:
        """Return (running, waiting) of each target in use."""
        return self._lanes.sizes()

    # From claim to outcome

    async def _claim_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait_s = await self._claim()
                self.trouble = ""
            except (Unavailable, Overloaded) as error:
                wait_s = error.retry_after_s
                self.trouble = f"actions can not be claimed: {error}"
            except Exception as error:
                log.exception("actions can not be claimed")
                wait_s = _STUMBLED_S
                self.trouble = f"actions can not be claimed: an unexpected {type(error).__name__}"
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()

    async def _claim(self) -> float:
        """Claim what is due and there is room for; return how many seconds to wait before looking again."""
        if self.room() < self._options.capacity // _SCARCE:
            for job in self._lanes.excess(self.room()):
                self._put_off(job, self._performer.target(job))
        room = self.room()
        if room < 1:
            return self._options.poll_s
        due_us = await asyncio.to_thread(self._database.read, intents.next_due)
        away_s = self._options.poll_s if due_us is None else (due_us - self._clock.now_us()) / SECOND
        if away_s > 0:
            return min(away_s, self._options.poll_s)
        claimed = await self._writer.run(lambda tx: intents.claim(tx, owner=self.owner, limit=room))
        fresh = [intent for intent in claimed if intent.id not in self._held]
        try:
            found, arrivals = await asyncio.to_thread(self._database.read, intents.subjects, fresh)
        except Unavailable:
            now_us = self._clock.now_us()
            for intent in fresh:
                self.outcomes.put_off(intent.id, until_us=now_us + SECOND)
            raise
        self.offer([Job(intent, found[intent.firing], arrivals) for intent in fresh if intent.firing in found])
        if orphans := [intent for intent in fresh if intent.firing not in found]:
            await self._writer.run(partial(_bury, orphans, self.owner))
        return 0 if claimed else _PUT_OFF_S[0]

    def _enter(self, job: Job) -> None:
        target = self._performer.target(job)
        if self._lanes.put(target, job, width=self._options.width(target), free=self.room()):
            return
        self._put_off(job, target)

    def _put_off(self, job: Job, target: str) -> None:
        least_s, most_s = _PUT_OFF_S
        wait_s = min(max(self._lanes.wait_s(target), least_s), most_s)
        self.outcomes.put_off(job.intent.id, until_us=self._clock.now_us() + int(wait_s * SECOND))

    async def _work(self, job: Job) -> None:
        if job.intent.followers:
            await self._perform_together(job)
        else:
            await self._perform(job)

    async def _perform(self, job: Job) -> None:
        began_us = self._clock.now_us()
        try:
            done = await self._performer.perform(job, began_us=began_us)
        except asyncio.CancelledError:
            self._interrupted([job], began_us)
            raise
        outcome = Outcome(job.intent, job.firing, done.attempt)
        if done.unit is None:
            self._span(job, done.attempt)
            self.outcomes.put(outcome)
            return
        try:
            await asyncio.shield(self.outcomes.perform(done.unit, outcome))
            self._span(job, done.attempt)
        except NotOurs:
            self._recorded([job.intent.id], again=False)
        except (Unavailable, Overloaded) as error:  # it is not the action's fault, and costs it no retry
            self.outcomes.put_off(job.intent.id, until_us=self._clock.now_us() + int(error.retry_after_s * SECOND))
        except Exception as error:  # noqa: BLE001 - whatever the unit raised becomes the outcome of the attempt
            attempt = self._performer.failed(job, error, began_us=began_us)
            self._span(job, attempt)
            self.outcomes.put(Outcome(job.intent, job.firing, attempt))

    def _span(self, job: Job, attempt: Attempt) -> None:
        if self._tracing is None or attempt.outcome is None:
            return
        intent, judged = job.intent, trace.of_firing(job.firing, job.arrivals)
        ids = {"tocsin.automation": intent.automation, "tocsin.firing.id": intent.firing, "tocsin.intent.id": intent.id,
               "tocsin.action.type": intent.type, "tocsin.action.outcome": str(attempt.outcome)}  # fmt: skip
        if (cause := job.arrivals.get(job.firing.trigger_event or 0)) is not None:
            ids["tocsin.event.id"] = cause.event.id or ""
        self._tracing.acted(
            trace.of_attempt(judged, intent.id, intent.attempts + 1), judged, ids=ids,
            between_us=(attempt.started_us, attempt.ended_us), failed=attempt.outcome is AttemptOutcome.FAILED,
        )  # fmt: skip

    async def _perform_together(self, leader: Job) -> None:
        """Perform a job with all that wait for it, as one effect (law S2)."""
        try:
            jobs = [leader, *await self._followers(leader)]
        except (Unavailable, Overloaded) as error:
            self.outcomes.put_off(leader.intent.id, until_us=self._clock.now_us() + int(error.retry_after_s * SECOND))
            return
        began_us = self._clock.now_us()
        try:
            attempts = await self._performer.perform_together(jobs, began_us=began_us)
        except asyncio.CancelledError:
            self._interrupted(jobs, began_us)
            raise
        self._span(leader, attempts[0])
        # The leader's comes last: while it is not recorded, the others can be adopted again.
        for job, attempt in zip(reversed(jobs), reversed(attempts), strict=True):
            self.outcomes.put(Outcome(job.intent, job.firing, attempt))

    async def _followers(self, leader: Job) -> list[Job]:
        adopted = await self._writer.run(lambda tx: intents.adopt(tx, leader.intent.id, owner=self.owner))
        jobs: list[Job] = []
        for start in range(0, len(adopted), _ADOPTED):
            part = adopted[start : start + _ADOPTED]
            found, arrivals = await asyncio.to_thread(self._database.read, intents.subjects, part)
            jobs += [Job(intent, found[intent.firing], arrivals) for intent in part if intent.firing in found]
        for job in jobs:
            self._hold(job)
        return jobs

    def _interrupted(self, jobs: Sequence[Job], began_us: Micros) -> None:
        """Keep that a stop came while an effect was under way."""
        for job in jobs:
            self.outcomes.put(Outcome(job.intent, job.firing, self._performer.interrupted(job, began_us=began_us)))

    def _hold(self, job: Job) -> None:
        self._held.add(job.intent.id)
        self._idle.clear()

    def _recorded(self, ids: Sequence[str], *, again: bool) -> None:
        starved = self.room() < 1
        for intent in ids:
            self._held.discard(intent)
        if not self._held:
            self._idle.set()
        if again or starved:
            self._wake.set()

    # Beginning and end

    async def __aenter__(self) -> Self:
        """Take back what a process that is gone has held, then begin."""
        await self._writer.run(partial(_reclaim, owner=self.owner, alone=self._database.is_sqlite))
        for work in (self.outcomes.run, self._claim_forever):
            self._tasks.append(asyncio.create_task(work()))
        self._tending.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Claim nothing more, let running effects go on for `grace_s`, record outcomes, and give back the rest."""
        recording, claiming = self._tasks
        self._tasks = []
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        await self._lanes.stop(self._options.grace_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace_s):
                await self.outcomes.settled()
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        await self._tending.close()
        with contextlib.suppress(Unavailable, Overloaded):  # then the leases end by themselves
            await self._writer.run(lambda tx: intents.release(tx, owner=self.owner))

    async def tend(self) -> None:
        """Renew the leases of what is held, and take back what others lost."""
        held = list(self._held)

        def unit(tx: Transaction) -> int:
            intents.renew(tx, held, owner=self.owner)
            return intents.reclaim(tx, owner=self.owner)

        if await self._writer.run(unit):
            self.nudge()


def _reclaim(tx: Transaction, *, owner: str, alone: bool) -> int:
    return intents.reclaim(tx, owner=owner, alone=alone)


def _bury(orphans: Sequence[Intent], owner: str, tx: Transaction) -> None:
    """End intents whose firing is gone: there is nothing left that they could tell."""
    detail = {"error": "the firing that this action answers to is no longer kept"}
    ends = [Attempt(intent.id, IntentState.DEAD, None, tx.now_us, tx.now_us, detail) for intent in orphans]
    intents.record(tx, ends, owner=owner)
