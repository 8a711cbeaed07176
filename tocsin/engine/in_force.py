"""The automations that are in force at one place of the log, and the judge over them.

A change of definitions is an entry of the log. Whoever reads the log switches when it comes to that entry, so what
fires does not depend on when, or by how many processes, the log is read (laws O3, S4).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tocsin.errors import JudgeFailed
from tocsin.schemas.automation import Automation
from tocsin.schemas.firing import Decision
from tocsin.schemas.flow import Flow
from tocsin.schemas.moments import Micros
from tocsin.schemas.scheduled import automation_of as scheduled
from tocsin.schemas.scheduled import judged_name, written_name
from tocsin.schemas.trigger import DeadlineTrigger, Trigger
from tocsin.store import definitions, firings, log, states
from tocsin.store.definitions import Pause, Version
from tocsin.store.writer import Transaction
from tocsin.triggers.judge import Armed, Judge, Judgement, State, automation_of
from tocsin.triggers.machine import Outage, Outages

KINDS = ("automation", "flow")
"""The kinds of definitions that are judged: flows by their schedules."""
Asking: TypeAlias = Generator[frozenset[str], Mapping[str, State | None], Judgement]
"""The judge at work: it asks for states and in the end returns what it judged."""

_PRIMING_EVENTS = 2_000
_FEW = 500  # up to so many names are looked up by name


@dataclass(frozen=True, slots=True)
class Live:
    """What is needed of an automation in force beside the judge's plan: which version it is, and its actions.

    Many automations differ in their triggers only; those share one of these.
    """

    active_seq: int
    created_us: Micros
    mode: str
    severity: str
    actions: tuple[tuple[str, str], ...]
    actions_on_resolve: tuple[tuple[str, str], ...]


class InForce:
    """Follows the definitions along the log, for one shard; used in the writer's thread."""

    def __init__(self, shard: int, *, lateness_us: Micros, settle_us: Micros) -> None:
        """Begin with nothing in force."""
        self.shard = shard
        self._settle_us = settle_us
        self.automations: dict[str, Live] = {}
        self.judge = Judge(lateness_us=lateness_us)

    def load(self, tx: Transaction, at_seq: int) -> None:
        """Take everything that is in force for the event behind a place."""
        known = self.automations.keys()
        lives = _Lives()
        judge = self.judge.replace(armed=map(lives.take, self._found(tx, at_seq)))
        self.automations, self.judge = lives.lives, judge.replace(removed=known - lives.lives.keys())

    def switch(
        self, tx: Transaction, *, after_seq: int, to_seq: int, at_us: Micros, outages: Sequence[Outage]
    ) -> list[Decision] | None:
        """Put into force what the log's entries in (after_seq, to_seq] have changed; None when that is nothing.

        `at_us` is when the last of them was received. What keeps its windows has its wake-ups set anew, what does not
        is closed and armed from T0 on, and deadlines are primed (laws O3, S4). Returned are the decisions about windows
        that were closed.
        """
        changed = {
            judged_name(kind, name)
            for kind in KINDS
            for name in definitions.changed_names(tx.connection, kind, after_seq=after_seq, to_seq=to_seq)
        }
        if not changed:
            return None
        before = {name: self.automations[name] for name in changed if name in self.automations}
        lives, judge_before = _Lives(), self.judge
        judge = judge_before.replace(armed=map(lives.take, self._found(tx, to_seq, changed)))
        after = lives.lives
        self.automations = {name: live for name, live in self.automations.items() if name not in changed} | after
        self.judge = judge.replace(removed=before.keys() - after.keys()) if before.keys() - after.keys() else judge
        decisions: list[Decision] = []
        for name in sorted(changed):
            old, new = before.get(name), after.get(name)
            if old is not None and new is not None and _same_start(name, judge_before, self.judge):
                self._keep(tx, name, outages, since_us=new.created_us if old.active_seq != new.active_seq else None)
            else:
                decisions += self._close(tx, name, judge_before, at_us=at_us) if old is not None else []
                if new is not None:
                    self._begin(tx, name, outages, only=lives.only_names.get(name))
        return decisions

    def save(self, tx: Transaction, changed: Mapping[str, State | None], outages: Sequence[Outage]) -> Micros | None:
        """Store states; return the earliest moment at which one of them is to be looked at."""
        saved, gone, earliest = [], [], None
        shared = Outages(outages)
        for key, state in changed.items():
            if state is None:
                gone.append(key)
                continue
            automation = automation_of(key)
            wake_us = self._look_us(key, state, shared=shared, outages=outages)
            if wake_us is not None and (earliest is None or wake_us < earliest):
                earliest = wake_us
            kept = (state.oldest_seq(), state.idle_since_us)
            saved.append(states.Saved(key, automation, wake_us, state.encode(), *kept))
        states.save(tx.connection, self.shard, saved)
        states.remove(tx.connection, gone)
        return earliest

    def is_composite(self, name: str) -> bool:
        """Return whether what one moment completes of an automation is handed on, and so judged together (law C1)."""
        return name in self.judge and self.judge.root(name).level > 0

    def set_aside(self, tx: Transaction, keys: Sequence[str], outages: Sequence[Outage]) -> None:
        """Drop states that the judge can not read or call (law S5); what is watched from T0 on is so from now on."""
        states.remove(tx.connection, keys)
        for name in {automation_of(key) for key in keys} & self.automations.keys():
            armed = self.judge.arm(name, from_us=tx.now_us)
            self.save(tx, {key: armed[key] for key in keys if key in armed}, outages)

    def _look_us(self, key: str, state: State, *, shared: Outages, outages: Sequence[Outage]) -> Micros | None:
        """Return when to look at a state: an outage moves the moments of verdicts, and a pause gives none."""
        spot = self.judge.spot(key)
        if state.wake_us is None or spot is None or spot.arming.paused:
            return None
        if spot.arming.outages:
            shared = Outages((*outages, *spot.arming.outages))
        return spot.machine.moved(shared, state.wake_us)

    def _keep(self, tx: Transaction, name: str, outages: Sequence[Outage], *, since_us: Micros | None) -> None:
        """Carry an automation's windows over into a version of it, or into or out of a pause (law S4).

        A version that began at `since_us` may list new subjects, who are watched from then on.
        """
        stored = states.of_automation(tx.connection, name)
        kept = self._decoded(stored)
        for key, state in kept.items():
            if state is not None:
                self.judge.refresh(key, state)
        if since_us is not None:
            armed = self.judge.arm(name, from_us=since_us)
            kept |= {key: state for key, state in armed.items() if key not in stored}
        self.save(tx, kept, outages)

    def _close(self, tx: Transaction, name: str, judge: Judge, *, at_us: Micros) -> list[Decision]:
        """End what is open of an automation that is removed, or begins anew (law S4)."""
        firings.close_all(tx.connection, name)
        known: dict[str, State] = {}
        blobs = states.of_automation(tx.connection, name)
        for key, blob in blobs.items():
            with contextlib.suppress(JudgeFailed):
                if (state := judge.decode(key, blob)) is not None:
                    known[key] = state
        states.remove(tx.connection, blobs)
        return judge.close(known, at_us=at_us).decisions

    def _begin(self, tx: Transaction, name: str, outages: Sequence[Outage], *, only: str | None) -> None:
        """Arm an automation at its T0, and prime its deadlines (law O3), whose events have the name `only` if given."""
        kept: dict[str, State | None] = dict(self.judge.arm(name))
        self.save(tx, kept, outages)
        since_us, after_seq = self.judge.priming(name), 0
        while since_us is not None:
            part = log.since(
                tx.connection, from_us=since_us, to_seq=self.judge.root(name).arming.armed_seq, after_seq=after_seq,
                limit=_PRIMING_EVENTS, name=only,
            )  # fmt: skip
            if not part:
                break
            asked = self.judge.run(part, until_us=None, prime=name)
            judgement = drive_with(asked, kept, judge=self.judge, tx=tx)
            kept |= judgement.changed
            self.save(tx, judgement.changed, outages)
            after_seq = part[-1].seq

    def _decoded(self, blobs: Mapping[str, bytes]) -> dict[str, State | None]:
        """Return stored states; what no longer belongs to a node is to be deleted.

        What can not be read is left out, and stays for the evaluator to set aside when it comes to it (law S5).
        """
        found: dict[str, State | None] = {}
        for key, blob in blobs.items():
            with contextlib.suppress(JudgeFailed):
                found[key] = self.judge.decode(key, blob)
        return found

    def _found(self, tx: Transaction, at_seq: int, names: Collection[str] | None = None) -> Iterator[_Found]:
        """Yield what is judged behind a place of the log; only what is judged under `names`, if given."""
        pauses = self._pauses(tx, at_seq)
        few = None if names is None or len(names) > _FEW else {written_name(name) for name in names}
        for kind in KINDS:
            for version in definitions.in_force(tx.connection, at_seq=at_seq, kind=kind, names=few):
                name = judged_name(kind, version.name)
                if version.shard != self.shard or (names is not None and name not in names):
                    continue
                if (spec := _spec(version)) is not None:
                    yield version, spec, self._armed(version, spec, pauses.get(name, ()))

    def _armed(self, version: Version, spec: Automation, pauses: Sequence[Pause]) -> Armed:
        return Armed(
            name=spec.name,
            trigger=spec.trigger,
            armed_us=version.armed_us,
            armed_seq=version.armed_seq,
            paused=any(pause.to_us is None for pause in pauses),
            outages=tuple(
                Outage(pause.from_us, pause.to_us, pause.to_us + self._settle_us)
                for pause in pauses
                if pause.to_us is not None and pause.to_us > version.armed_us
            ),
        )

    def _pauses(self, tx: Transaction, at_seq: int) -> dict[str, list[Pause]]:
        """Return the pauses as they stand at a place of the log, by the name under which something is judged."""
        found: dict[str, list[Pause]] = {}
        for kind in (*KINDS, "enabled"):
            for pause in definitions.pauses_of(tx.connection, kind):
                if pause.from_seq <= at_seq:
                    over = pause.to_seq is not None and pause.to_seq <= at_seq
                    pause_then = pause if over else replace(pause, to_seq=None, to_us=None)
                    found.setdefault(judged_name(kind, pause.name), []).append(pause_then)
        return found


_Found: TypeAlias = tuple[Version, Automation, Armed]


class _Lives:
    """Collects what is kept of automations on their way to the judge; their specs are not."""

    def __init__(self) -> None:
        self.lives: dict[str, Live] = {}
        self.only_names: dict[str, str | None] = {}
        self._shared: dict[Live, Live] = {}

    def take(self, found: _Found) -> Armed:
        version, spec, armed = found
        actions, on_resolve = _written(spec.actions), _written(spec.actions_on_resolve)
        live = Live(version.active_seq, version.created_us, spec.mode, spec.severity, actions, on_resolve)
        self.lives[armed.name] = self._shared.setdefault(live, live)
        if (only := _only_name(spec.trigger)) is not None:
            self.only_names[armed.name] = only
        return armed


def _same_start(name: str, before: Judge, after: Judge) -> bool:
    """Return whether an automation still has its T0, and with it its windows (law S4)."""
    return before.root(name).arming.armed_seq == after.root(name).arming.armed_seq


def drive_with(asked: Asking, cache: dict[str, State | None], *, judge: Judge, tx: Transaction) -> Judgement:
    """Answer what the judge asks for, from the cache or the store, until it has judged."""
    try:
        wanted = next(asked)
        while True:
            missing = [key for key in wanted if key not in cache]
            for key, blob in states.load(tx.connection, missing).items():
                cache[key] = judge.decode(key, blob)
            for key in missing:
                cache.setdefault(key, None)
            wanted = asked.send({key: cache[key] for key in wanted})
    except StopIteration as judged:
        judgement: Judgement = judged.value
        return judgement


def _only_name(trigger: Trigger) -> str | None:
    """Return the one name that a deadline's events have, if it has one: its stored events are then quickly found."""
    if not isinstance(trigger, DeadlineTrigger) or len(trigger.expect) != 1 or "*" in trigger.expect[0]:
        return None
    return trigger.expect[0]


def _spec(version: Version) -> Automation | None:
    """Return what a version says is judged; None for a flow without a schedule."""
    if version.kind == "flow":
        return scheduled(Flow.model_validate_json(version.document))
    return Automation.model_validate_json(version.document)


def _written(actions: Sequence[object]) -> tuple[tuple[str, str], ...]:
    return tuple((action.type, action.model_dump_json()) for action in actions)  # type: ignore[attr-defined]
