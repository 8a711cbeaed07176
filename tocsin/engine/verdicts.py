"""What a judgement leaves: firings, the intents to act on them, decisions, and the engine's own events (law F2)."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from tocsin.engine import own_events
from tocsin.engine.in_force import InForce
from tocsin.engine.performer import Job
from tocsin.engine.stored import Live
from tocsin.engine.together import leaders
from tocsin.engine.tracing import Tracing
from tocsin.errors import JudgeFailed
from tocsin.schemas import trace
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision, Firing, Outcome, Verdict
from tocsin.schemas.moments import Micros
from tocsin.store import firings, intents, log
from tocsin.store.firings import Judged
from tocsin.store.intents import Order
from tocsin.store.log import Draft
from tocsin.store.writer import Transaction
from tocsin.triggers.judge import Judgement
from tocsin.triggers.keys import state_key

_LOG = logging.getLogger(__name__)


class Takes(Protocol):
    """The dispatcher, as far as it is known here."""

    owner: str

    def room(self) -> int: ...

    def offer(self, jobs: Sequence[Job]) -> None: ...

    def nudge(self) -> None: ...


class Verdicts:
    """Stores what was judged; called in the writer's thread, in the evaluator's transaction.

    For those who watch: how many firings there were by (verdict, mode), and how often there was `trouble`: a `loop`
    that was stopped (law F5), or an `error` because an automation could not judge something (law S5).
    """

    def __init__(
        self, *, max_depth: int, dispatcher: Takes, call_soon: Callable[[Callable[[], None]], None],
        tracing: Tracing | None = None,
    ) -> None:  # fmt: skip
        """Keep law F5's bound, who performs, how to call into the event loop, and where spans go."""
        self._max_depth = max_depth
        self._dispatcher = dispatcher
        self._call_soon = call_soon
        self._tracing = tracing
        self.fired: Counter[tuple[str, str]] = Counter()
        self.trouble: Counter[str] = Counter()

    def store(
        self,
        tx: Transaction,
        judgement: Judgement,
        failures: Sequence[JudgeFailed],
        *,
        arrivals: Sequence[Arrival],
        in_force: InForce,
    ) -> None:
        """Store everything that a judgement of a shard says."""
        automations = in_force.automations
        decisions: list[Decision] = list(judgement.decisions)
        drafts: list[Draft] = []
        said = {one.id: one for one in judgement.firings}  # law F1: one that is said twice is one
        kept = [one for one in said.values() if not self._is_loop(one, decisions, drafts)]
        if kept:
            self._fire(tx, kept, arrivals=arrivals, automations=automations, decisions=decisions, drafts=drafts)
        for failure in failures:
            self._set_aside(failure, decisions, drafts, now_us=tx.now_us)
        if decisions:
            note(tx, decisions, shard=in_force.shard, arrivals=arrivals)
        if drafts:
            log.append(tx, drafts)
        if failures or len(kept) < len(said):
            tx.after_commit(partial(self.trouble.update, loop=len(said) - len(kept), error=len(failures)))

    def _fire(
        self,
        tx: Transaction,
        kept: Sequence[Firing],
        *,
        arrivals: Sequence[Arrival],
        automations: Mapping[str, Live],
        decisions: list[Decision],
        drafts: list[Draft],
    ) -> None:
        judged = [Judged(one, automations[one.automation].mode, automations[one.automation].severity) for one in kept]
        known = {arrival.seq: arrival for arrival in arrivals}
        missing = {seq for one in kept for seq in one.events if seq not in known}
        if missing:
            known |= log.by_seq(tx.connection, missing)
        new = firings.add(tx.connection, judged, known, decided_us=tx.now_us)
        orders: list[Order] = []
        for one in judged:
            firing, live = one.firing, automations[one.firing.automation]
            if firing.id not in new:
                continue
            drafts.append(own_events.fired(firing, severity=one.severity, mode=one.mode))
            if one.mode == "shadow":
                decisions.append(_decision(firing, Outcome.SHADOW, "shadow: nothing is performed"))
            else:
                resolved = firing.verdict is Verdict.RESOLVED
                orders.append(Order(firing, live.actions_on_resolve if resolved else live.actions))
        self._order(tx, orders, known)
        tx.after_commit(partial(self._told, [one for one in judged if one.firing.id in new], known, tx.now_us))

    def _told(self, new: Sequence[Judged], known: Mapping[int, Arrival], decided_us: Micros) -> None:
        """Count firings that are durable, and let them be seen."""
        for one in new:
            firing = one.firing
            self.fired[firing.verdict, one.mode] += 1
            if _LOG.isEnabledFor(logging.DEBUG):
                _LOG.debug("%s: %s", firing.verdict, firing.reason, extra=_ids(firing))
            if self._tracing is not None:
                cause = known.get(firing.trigger_event or 0)
                began_us = decided_us if cause is None else cause.received_us
                span = trace.of_firing(firing, known)
                ids = {"tocsin.automation": firing.automation, "tocsin.firing.id": firing.id}
                if cause is not None:
                    ids["tocsin.event.id"] = cause.event.id or ""
                origin = None if cause is None else trace.read(cause.trace)
                self._tracing.judged(span, origin, began_us=began_us, ids=ids | {"tocsin.verdict": str(firing.verdict)})

    def _order(self, tx: Transaction, orders: Sequence[Order], known: Mapping[int, Arrival]) -> None:
        """Store intents; those that the dispatcher has room for are its own from the start, and handed to it."""
        led = leaders(orders)
        wanted = sum(len(order.actions) for order in orders) - len(led)
        if not wanted:
            return
        mine = wanted <= self._dispatcher.room()
        added = intents.add(tx, orders, claimed_by=self._dispatcher.owner if mine else None, leaders=led)
        if not mine:
            tx.after_commit(lambda: self._call_soon(self._dispatcher.nudge))
            return
        by_id = {order.firing.id: order.firing for order in orders}
        jobs = []
        for intent in added:
            firing = by_id[intent.firing]
            jobs.append(Job(intent, firing, {seq: known[seq] for seq in firing.events if seq in known}))
        tx.after_commit(lambda: self._call_soon(lambda: self._dispatcher.offer(jobs)))

    def _is_loop(self, firing: Firing, decisions: list[Decision], drafts: list[Draft]) -> bool:
        """Stop an automation that has led to itself too often (law F5)."""
        if firing.chain.count(firing.automation) < self._max_depth:
            return False
        says = "stopped: it has led to itself {0} times"
        decisions.append(_decision(firing, Outcome.LOOP, says, self._max_depth))
        drafts.append(own_events.loop_stopped(firing, most=self._max_depth))
        says = "the automation %r was stopped: it has led to itself %d times"
        _LOG.warning(says, firing.automation, self._max_depth, extra=_ids(firing))
        return True

    def _set_aside(
        self, failure: JudgeFailed, decisions: list[Decision], drafts: list[Draft], *, now_us: Micros
    ) -> None:
        what = f"event {failure.seq}" if failure.seq is not None else "state"
        says = "set aside, the judge failed: {0}"
        decisions.append(
            Decision(failure.automation, "", {}, Outcome.ERROR, now_us, failure.seq, None, says, (str(failure),))
        )
        drafts.append(own_events.failed(failure.automation, what=what, reason=str(failure)))
        ids = {"automation": failure.automation, "seq": failure.seq}
        _LOG.error("the automation %r could not judge %s: %s", failure.automation, what, failure, exc_info=failure,
                   extra=ids)  # fmt: skip


def _ids(firing: Firing) -> dict[str, object]:
    """Return what a line of the log says about whose firing it is."""
    return {"automation": firing.automation, "firing": firing.id, "seq": firing.trigger_event}


def _decision(firing: Firing, outcome: Outcome, says: str, *args: object) -> Decision:
    return Decision(
        firing.automation,
        firing.node,
        firing.labels,
        outcome,
        firing.at_us,
        firing.trigger_event,
        firing.id,
        says,
        args,
    )


def note(tx: Transaction, decisions: Sequence[Decision], *, shard: int, arrivals: Sequence[Arrival] = ()) -> None:
    """Store a shard's decisions: those of an arrival together, those of moments, and errors, in rows of their own.

    A key that was forgotten leaves no open miss. `arrivals` are those that were judged; others are looked up.
    """
    riding: dict[int, list[Decision]] = {}
    alone = []
    for decision in decisions:
        if decision.seq is not None:
            riding.setdefault(decision.seq, []).append(decision)
        if decision.seq is None or decision.outcome is Outcome.ERROR:
            alone.append((decision.automation, decision.at_us, decision.seq, json.dumps(decision)))
    if forgotten := [one for one in decisions if one.outcome is Outcome.FORGOTTEN]:
        firings.close_keys(tx.connection, [state_key(*one[:2], list(one.labels.values())) for one in forgotten])
    if riding:
        received = {one.seq: one.received_us for one in arrivals}
        missing = log.by_seq(tx.connection, riding.keys() - received.keys())
        received |= {seq: one.received_us for seq, one in missing.items()}
        rows = [(seq, received[seq], json.dumps(some).encode()) for seq, some in riding.items() if seq in received]
        log.note_decisions(tx.connection, shard, rows)
    firings.note(tx.connection, alone)
