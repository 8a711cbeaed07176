"""One attempt at one intent: its condition, its handler, its time limit, and what follows from a failure."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache, partial
from random import Random
from typing import Any, TypeVar

from pydantic import TypeAdapter

from tocsin.actions.call import Call, scrub
from tocsin.actions.handlers import HANDLERS
from tocsin.actions.notification import send_together
from tocsin.actions.ports import AddressRefused, Details, Ports, Unit
from tocsin.actions.targets import target
from tocsin.clock import Clock
from tocsin.errors import ActionFailed, Overloaded, TocsinError, Unavailable
from tocsin.schemas.action import Action, AnyAction, Retry, SendNotification
from tocsin.schemas.event import Arrival
from tocsin.schemas.expression import Expression, compile_expression
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import SECOND, Micros, duration_us, iso, span
from tocsin.store.intents import Attempt, AttemptOutcome, Intent, IntentState

T = TypeVar("T")
log = logging.getLogger(__name__)

_SPECS: TypeAdapter[AnyAction] = TypeAdapter(Action)
_KNOWN_SPECS = 2_000
_BREATH = 100  # after so many conditions others have their turn


@dataclass(frozen=True, slots=True)
class Job:
    """An intent with the firing it answers to and, of the firing's events, those that are still kept."""

    intent: Intent
    firing: Firing
    arrivals: Mapping[int, Arrival]


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt that has ended, in whatever way; with a `unit`, one that succeeds when the unit is committed."""

    attempt: Attempt
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    spec: AnyAction
    condition: Expression | None


class Performer:
    """Performs jobs through the table of handlers. `definition` returns an automation as it is written, or None."""

    def __init__(
        self, ports: Ports, *, clock: Clock, definition: Callable[[str], Mapping[str, Any] | None], random: Random
    ) -> None:
        """Prepare; `random` spreads retries."""
        self._ports = ports
        self._clock = clock
        self._definition = definition
        self._random = random
        self._prepare = lru_cache(_KNOWN_SPECS)(_prepared)

    def target(self, job: Job) -> str:
        """Return the name of what the job's effect meets, for example `host/example.org:443`."""
        try:
            return target(self._prepare(job.intent.spec).spec, self._call(job, attempt=0))
        except Exception:  # noqa: BLE001 - performing it will meet the same fault, and say so in its record
            return "own"

    async def perform(self, job: Job, *, began_us: Micros) -> Done:
        """Attempt the effect; a failure is the attempt's outcome and is not raised."""
        call = self._call(job, attempt=job.intent.attempts + 1)
        try:
            prepared = self._prepare(job.intent.spec)
            if skipped := self._skipped(prepared, call, began_us=began_us):
                return Done(skipped)
            result = await _within(prepared.spec.timeout, HANDLERS[type(prepared.spec)](prepared.spec, call), call)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes the outcome of its attempt
            return Done(self.failed(job, error, began_us=began_us, call=call))
        unit, details = (result, {}) if callable(result) else (None, result)
        return Done(self._succeeded(call, {**details, **call.noted()}, began_us=began_us), unit)

    async def perform_together(self, jobs: Sequence[Job], *, began_us: Micros) -> list[Attempt]:
        """Attempt the notifications of jobs as one; return an attempt for each, in their order.

        The first leads: the effect is attempted under its key and tried again as it says. Those whose condition does
        not hold are left out.
        """
        ended: dict[str, Attempt] = {}
        told: list[tuple[SendNotification, Call]] = []
        for number, job in enumerate(jobs):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            call = self._call(job, attempt=job.intent.attempts + 1)
            try:
                prepared = self._prepare(job.intent.spec)
                assert isinstance(prepared.spec, SendNotification)
                if skipped := self._skipped(prepared, call, began_us=began_us):
                    ended[job.intent.id] = skipped
                else:
                    told.append((prepared.spec, call))
            except Exception as error:  # noqa: BLE001 - as in `perform`
                ended[job.intent.id] = self.failed(job, error, began_us=began_us, call=call)
        if not told:
            return [ended[job.intent.id] for job in jobs]
        leader = self._call(jobs[0], attempt=jobs[0].intent.attempts + 1)
        try:
            details = await _within(max(spec.timeout for spec, _ in told), send_together(told, leader), leader)
            attempt = self._succeeded(leader, details, began_us=began_us)
        except Exception as error:  # noqa: BLE001 - as in `perform`
            attempt = self.failed(jobs[0], error, began_us=began_us, call=leader)
            if attempt.state is IntentState.WAITING:
                ended.pop(leader.key, None)  # whatever became of it: it has to lead the others again
        return [ended.get(job.intent.id) or replace(attempt, intent=job.intent.id) for job in jobs]

    def failed(self, job: Job, error: Exception, *, began_us: Micros, call: Call | None = None) -> Attempt:
        """Return the attempt that failed with this error: to be tried again, or a dead letter."""
        failure = _failure(error, job)
        retry, failures = self._retry(job), job.intent.attempts + 1
        detail: dict[str, Any] = {"error": str(failure)} | ({} if call is None else call.noted())
        if failure.permanent or failures >= retry.attempts:
            detail["final"] = "a retry can not help" if failure.permanent else f"all {failures} attempts failed"
            state, not_before_us = IntentState.DEAD, 0
        else:
            wait_us = backoff_us(retry, failures, random=self._random, asked_s=failure.retry_after_s)
            not_before_us = self._clock.now_us() + wait_us
            state, detail["retry_at"] = IntentState.WAITING, iso(not_before_us)
        revealed = frozenset() if call is None else call.revealed
        return Attempt(job.intent.id, state, AttemptOutcome.FAILED, began_us, self._clock.now_us(),
                       scrub(detail, revealed), not_before_us)  # fmt: skip

    def interrupted(self, job: Job, *, began_us: Micros) -> Attempt:
        """Return the attempt that a stop interrupted: whether its effect arrived is not known, it is made again."""
        now_us = self._clock.now_us()
        detail = {"error": "the server stopped: it is not known whether the effect arrived"}
        outcome = AttemptOutcome.INTERRUPTED
        return Attempt(job.intent.id, IntentState.WAITING, outcome, began_us, now_us, detail, now_us)

    def _skipped(self, prepared: _Prepared, call: Call, *, began_us: Micros) -> Attempt | None:
        condition = prepared.condition
        if condition is None or condition.holds(call.facts()):
            return None
        detail = {"skipped": f"the condition {condition.text!r} does not hold"}
        return Attempt(call.key, IntentState.SKIPPED, None, began_us, self._clock.now_us(), detail)

    def _succeeded(self, call: Call, details: Details, *, began_us: Micros) -> Attempt:
        ended_us, detail = self._clock.now_us(), scrub(details, call.revealed)
        return Attempt(call.key, IntentState.SUCCEEDED, AttemptOutcome.SUCCEEDED, began_us, ended_us, detail)

    def _call(self, job: Job, *, attempt: int) -> Call:
        return Call(
            key=job.intent.id, attempt=attempt, now_us=self._clock.now_us(), firing=job.firing, arrivals=job.arrivals,
            automation=partial(self._definition, job.firing.automation), ports=self._ports,
        )  # fmt: skip

    def _retry(self, job: Job) -> Retry:
        try:
            return self._prepare(job.intent.spec).spec.retry
        except ValueError:
            return Retry(attempts=1)


def _prepared(spec: str) -> _Prepared:
    action = _SPECS.validate_json(spec)
    return _Prepared(action, None if action.condition is None else compile_expression(action.condition))


async def _within(most: timedelta, effect: Awaitable[T], call: Call) -> T:
    try:
        async with asyncio.timeout(most.total_seconds()) as call.limit:
            return await effect
    except TimeoutError:
        raise ActionFailed(f"no answer within {span(duration_us(most))}") from None


def backoff_us(retry: Retry, failures: int, *, random: Random, asked_s: float | None) -> Micros:
    """Return how long to wait after so many failures: exponential, with full jitter, at least what the target asked.

    What the target asks for counts up to `max_delay`, which its author gave as the longest wait.
    Source: "Exponential Backoff And Jitter", Marc Brooker, AWS Architecture Blog, 2015.
    """
    most_us = duration_us(retry.max_delay)
    ceiling_us = min(most_us, duration_us(retry.delay) << min(failures - 1, 40))
    asked_us = 0 if asked_s is None else min(most_us, int(asked_s * SECOND))
    return max(asked_us, int(random.uniform(0, ceiling_us)))


def _failure(error: Exception, job: Job) -> ActionFailed:
    """Say what an error means for the attempt; a text that is not ours may hold a secret, so it stays out."""
    match error:
        case ActionFailed():
            return error
        case Unavailable() | Overloaded():
            return ActionFailed(str(error), retry_after_s=error.retry_after_s)
        case TocsinError() | AddressRefused():
            return ActionFailed(str(error), permanent=True)
        case _:
            frames = "".join(traceback.format_tb(error.__traceback__))
            ids = {"automation": job.intent.automation, "firing": job.intent.firing, "intent": job.intent.id}
            says = "action %s (%s) met an unexpected %s\n%s"
            log.error(says, job.intent.id, job.intent.type, type(error).__name__, frames, extra=ids)
            return ActionFailed(f"an unexpected {type(error).__name__}: the server's log says where")
