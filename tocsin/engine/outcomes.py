"""What came of attempts, on its way into the store: many outcomes share one transaction and one commit.

An outcome is kept until it is durable, however long the database is away; what it stands for stays held meanwhile,
so memory is bounded by what the dispatcher may hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from tocsin.actions.ports import Unit
from tocsin.errors import Conflict, Overloaded, Unavailable
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import intents
from tocsin.store.histogram import SECONDS, Histogram
from tocsin.store.intents import Attempt, Intent, IntentState
from tocsin.store.log import OWN_SOURCE, Draft, append
from tocsin.store.writer import Transaction, Writer

log = logging.getLogger(__name__)

_BATCH = 500
_LOGGED = 10  # of so many in a batch a line each says that they have failed for good
_TOLD = {IntentState.SUCCEEDED: "tocsin.action.succeeded", IntentState.DEAD: "tocsin.action.failed"}


class NotOurs(Conflict):
    """The lease has ended and somebody else has the intent now; nothing was done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt at an intent of a firing."""

    intent: Intent
    firing: Firing
    attempt: Attempt


class Recorded(Protocol):
    """Is told the ids of intents whose outcome is durable, and whether some of them are to be claimed `again`."""

    def __call__(self, ids: Sequence[str], *, again: bool) -> None: ...


class Outcomes:
    """Stores outcomes for one owner, in batches; `recorded` is told what was.

    For those who watch: how many attempts `ended` how, by (type of action, outcome), and how long they took in seconds.
    """

    def __init__(self, writer: Writer, *, owner: str, recorded: Recorded) -> None:
        """Prepare; `run` does the work."""
        self._writer = writer
        self._owner = owner
        self._recorded = recorded
        self._waiting: list[Outcome] = []
        self._put_off: dict[str, Micros] = {}
        self._most = _BATCH
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.seconds = Histogram(SECONDS)

    def put(self, outcome: Outcome) -> None:
        """Have an outcome stored with the next batch."""
        self._waiting.append(outcome)
        self._changed()

    def put_off(self, intent: str, *, until_us: Micros) -> None:
        """Have an intent that was not attempted given back, to be claimed again from a moment on."""
        self._put_off[intent] = until_us
        self._changed()

    def _changed(self) -> None:
        self._some.set()
        self._none.clear()

    async def run(self) -> None:
        """Store batches until cancelled."""
        while True:
            await self._some.wait()
            batch, later = self._waiting[: self._most], dict(self._put_off)
            try:
                await self._writer.run(partial(self._write, batch, later))
            except Exception as error:  # noqa: BLE001 - nothing may end this loop: what is held would stay held
                await self._try_again(error)
                continue
            self._most = min(_BATCH, self._most * 2)
            self._count(batch)
            del self._waiting[: len(batch)]
            self._put_off = {intent: at_us for intent, at_us in self._put_off.items() if intent not in later}
            again = bool(later) or any(outcome.attempt.state is IntentState.WAITING for outcome in batch)
            self._recorded([*(outcome.intent.id for outcome in batch), *later], again=again)
            if not self._waiting and not self._put_off:
                self._some.clear()
                self._none.set()

    async def _try_again(self, error: Exception) -> None:
        """Wait; then fewer at once and the first one last, so that one that can not be stored holds up no other."""
        expected = isinstance(error, Unavailable | Overloaded)
        log.warning("%d outcomes of actions are not stored yet: %s", len(self._waiting), error,
                    exc_info=None if expected else error)  # fmt: skip
        self._most = max(1, self._most // 2)
        self._waiting = self._waiting[1:] + self._waiting[:1]
        await asyncio.sleep(error.retry_after_s if isinstance(error, Unavailable | Overloaded) else 1.0)

    def _count(self, batch: Sequence[Outcome]) -> None:
        for one in batch:
            self.ended[one.intent.type, _came_to(one.attempt)] += 1
            self.seconds.add((one.attempt.ended_us - one.attempt.started_us) / SECOND)
        dead = [one for one in batch if one.attempt.state is IntentState.DEAD]
        for one in dead[:_LOGGED]:
            log.warning("an action has failed for good: %s", one.attempt.detail.get("error", ""), extra=_ids(one))
        if len(dead) > _LOGGED:
            log.warning("%d more actions have failed for good at the same time", len(dead) - _LOGGED)

    async def settled(self) -> None:
        """Wait until everything that was put is durable."""
        await self._none.wait()

    async def perform(self, unit: Unit, outcome: Outcome) -> None:
        """Run an effect inside our own database and store its outcome in the same transaction: exactly once.

        Raises:
            NotOurs: somebody else has the intent now.
            TocsinError: what the unit raises; nothing of it was kept.
        """
        await self._writer.run(partial(self._perform, unit, outcome))
        self._count([outcome])
        self._recorded([outcome.intent.id], again=False)

    def _perform(self, unit: Unit, outcome: Outcome, tx: Transaction) -> None:
        if not intents.holds(tx, outcome.intent.id, owner=self._owner):
            raise NotOurs("the lease of the action has ended: somebody else performs it")
        details = {**unit(tx), **outcome.attempt.detail}
        self._write([replace(outcome, attempt=replace(outcome.attempt, detail=details))], {}, tx)

    def _write(self, batch: Sequence[Outcome], later: Mapping[str, Micros], tx: Transaction) -> None:
        mine = intents.record(tx, [outcome.attempt for outcome in batch], owner=self._owner)
        intents.put_off(tx, later, owner=self._owner)
        ended = [outcome for outcome in batch if outcome.attempt.state in _TOLD and outcome.intent.id in mine]
        told = [_told(outcome) for outcome in ended]
        if told:
            append(tx, told)


def _ids(outcome: Outcome) -> dict[str, str]:
    """Return what a line of the log says about whose outcome it is."""
    intent = outcome.intent
    return {"automation": intent.automation, "firing": intent.firing, "intent": intent.id, "type": intent.type}


def _came_to(attempt: Attempt) -> str:
    """Return `succeeded`, `skipped`, `dead`, `failed` (it is tried again) or `interrupted` (likewise)."""
    return str(attempt.outcome or attempt.state) if attempt.state is IntentState.WAITING else str(attempt.state)


def _told(outcome: Outcome) -> Draft:
    """Return the engine's own event about an intent that has ended; it carries its chain on (law F5)."""
    intent, attempt, firing = outcome.intent, outcome.attempt, outcome.firing
    event = Event(
        event=_TOLD[attempt.state],
        resource={"id": f"action/{intent.id}", "type": intent.type, "automation": intent.automation},
        related=[
            {"id": f"automation/{intent.automation}", "role": "automation"},
            {"id": f"firing/{intent.firing}", "role": "firing"},
        ],
        payload={"attempts": intent.attempts + 1, "position": intent.position, "detail": dict(attempt.detail)},
        source=OWN_SOURCE,
    )
    return Draft(event, (*firing.chain, intent.automation))
