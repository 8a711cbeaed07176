"""The automations that are in force at one place of the log, and the judge over them.

A change of definitions is an entry of the log. Whoever reads the log switches when it comes to that entry, so what
fires does not depend on when, or by how many processes, the log is read (laws O3, S4).

Rule 1: what is in force is replaced as a whole, and the old is put back when the transaction that switched is undone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tocsin.engine.stored import KINDS, Found, Live, Reader
from tocsin.errors import JudgeFailed
from tocsin.schemas.firing import Decision
from tocsin.schemas.moments import Micros
from tocsin.schemas.scheduled import judged_name
from tocsin.store import definitions, firings, log, states
from tocsin.store.definitions import Version
from tocsin.store.writer import Transaction
from tocsin.triggers.forking import ForkingDict
from tocsin.triggers.judge import Armed, Judge, Judgement, State, automation_of
from tocsin.triggers.machine import Outage, Outages

Asking: TypeAlias = Generator[frozenset[str], Mapping[str, State | None], Judgement]
"""The judge at work: it asks for states and in the end returns what it judged."""

_LOG = logging.getLogger(__name__)
_PRIMING_EVENTS = 2_000
_ARMED_STATES = 1_000  # so many are stored at once


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch has done: the decisions about windows that were closed, and the keys of all states it changed."""

    closed: list[Decision]
    keys: AbstractSet[str]


class InForce:
    """Follows the definitions along the log, for one shard; used in the writer's thread.

    `same` is `Reader`'s.
    """

    def __init__(
        self, shard: int, *, lateness_us: Micros, settle_us: Micros, same: Callable[[Version], str] | None = None
    ) -> None:
        """Begin with nothing in force."""
        self.shard = shard
        self.automations: ForkingDict[Live] = ForkingDict()
        self.judge = Judge(lateness_us=lateness_us)
        self._reader = partial(Reader, settle_us=settle_us, same=same or (lambda version: version.document))
        self._at_seq: int | None = None

    def load(self, tx: Transaction, at_seq: int) -> None:
        """Take everything that is in force for the event behind a place, unless it is known already."""
        if self._at_seq is not None:
            between = {"after_seq": min(self._at_seq, at_seq), "to_seq": max(self._at_seq, at_seq)}
            if not definitions.changed_or_paused(tx.connection, **between):
                self._at_seq = at_seq
                return
        taken = _Taken(self.judge, ForkingDict())
        gone = set(self.automations)
        taken.take(self._reader().found(tx.connection, at_seq=at_seq, shard=self.shard), gone)
        self.automations, self.judge, self._at_seq = taken.lives, taken.judge, at_seq

    def switch(
        self, tx: Transaction, *, after_seq: int, to_seq: int, at_us: Micros, outages: Sequence[Outage]
    ) -> Switched | None:
        """Put into force what the log's entries in (after_seq, to_seq] have changed; None when that is nothing.

        `at_us` is when the last of them was received. What keeps its windows has its wake-ups set anew, what does not
        is closed and armed from T0 on, and deadlines are primed (laws O3, S4).
        """
        tx.on_rollback(partial(self._put_back, self.automations, self.judge, self._at_seq))
        self._at_seq = to_seq
        changed = {
            judged_name(kind if kind == "flow" else "automation", name)
            for kind, name in definitions.changed_or_paused(tx.connection, after_seq=after_seq, to_seq=to_seq)
            if kind in (*KINDS, "enabled")
        }
        before, judge_before = self.automations, self.judge
        taken = _Taken(self.judge, self.automations.copy())
        found = self._reader().found(tx.connection, at_seq=to_seq, shard=self.shard, names=changed) if changed else ()
        taken.take(found, {name for name in changed if name in before})
        ours = sorted(name for name in changed if name in before or name in taken.lives)
        if not ours:
            return None
        self.automations, self.judge = taken.lives, taken.judge
        decisions: list[Decision] = []
        touched: set[str] = set()
        begun: list[str] = []
        for name in ours:
            old, new = before.get(name), taken.lives.get(name)
            if old is not None and new is not None and _same_start(name, judge_before, self.judge):
                since_us = new.created_us if old.active_seq != new.active_seq else None
                touched |= self._keep(tx, name, outages, since_us=since_us)
                continue
            if old is not None:
                closed = self._close(tx, name, judge_before, at_us=at_us)
                decisions += closed.decisions
                touched |= closed.changed.keys()
            if new is not None:
                begun.append(name)
        touched |= self._begin(tx, begun, outages, only=taken.only)
        return Switched(decisions, touched)

    def _put_back(self, automations: ForkingDict[Live], judge: Judge, at_seq: int | None) -> None:
        """Undo a switch; of several that are undone together the first is called first, and the others change nothing.

        What is older than what is in force now has been put back already.
        """
        if at_seq is None or self._at_seq is None or at_seq <= self._at_seq:
            self.automations, self.judge, self._at_seq = automations, judge, at_seq

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
        with contextlib.suppress(JudgeFailed):  # it is set aside when it is called
            return name in self.judge and self.judge.root(name).level > 0
        return False

    def set_aside(self, tx: Transaction, keys: Sequence[str], outages: Sequence[Outage]) -> None:
        """Drop states that the judge can not read or call (law S5); what is watched from T0 on is so from now on."""
        states.remove(tx.connection, keys)
        for name in {automation_of(key) for key in keys} & self.automations.keys():
            with contextlib.suppress(JudgeFailed):
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

    def _keep(
        self, tx: Transaction, name: str, outages: Sequence[Outage], *, since_us: Micros | None
    ) -> AbstractSet[str]:
        """Carry an automation's windows over into a version of it, or into or out of a pause (law S4).

        Returned are the keys of the states that it changes. A version that began at `since_us` may list new subjects,
        who are watched from then on.
        """
        stored = states.of_automation(tx.connection, name)
        kept = self._decoded(stored)
        for key, state in kept.items():
            if state is not None:
                self.judge.refresh(key, state)
        if since_us is not None:
            with contextlib.suppress(JudgeFailed):
                armed = self.judge.arm(name, from_us=since_us)
                kept |= {key: state for key, state in armed.items() if key not in stored}
        self.save(tx, kept, outages)
        return kept.keys()

    def _close(self, tx: Transaction, name: str, judge: Judge, *, at_us: Micros) -> Judgement:
        """End what is open of an automation that is removed, or begins anew (law S4)."""
        firings.close_all(tx.connection, name)
        known: dict[str, State] = {}
        blobs = states.of_automation(tx.connection, name)
        for key, blob in blobs.items():
            with contextlib.suppress(JudgeFailed):
                if (state := judge.decode(key, blob)) is not None:
                    known[key] = state
        states.remove(tx.connection, blobs)
        judgement = judge.close(known, at_us=at_us)
        judgement.changed.update(dict.fromkeys(blobs))
        return judgement

    def _begin(
        self, tx: Transaction, names: Iterable[str], outages: Sequence[Outage], *, only: Mapping[str, str]
    ) -> set[str]:
        """Arm automations at their T0, and prime their deadlines (law O3); `only` are the names of some's events."""
        waiting: dict[str, State | None] = {}
        begun: set[str] = set()
        for name in names:
            try:
                kept: dict[str, State | None] = dict(self.judge.arm(name))
                since_us = self.judge.priming(name)
            except JudgeFailed as failed:  # a later version has stored it: every event that may concern it says so
                _LOG.error("%r is not judged here: %s", name, failed)
                continue
            if since_us is not None:
                try:
                    self._prime(tx, name, kept, since_us=since_us, only=only.get(name))
                except JudgeFailed as failed:  # what comes is judged all the same (law S5)
                    _LOG.error("%r begins without what is stored: %s", name, failed, exc_info=failed)
                    kept = dict(self.judge.arm(name))
            waiting |= kept
            begun |= kept.keys()
            if len(waiting) >= _ARMED_STATES:
                self.save(tx, waiting, outages)
                waiting = {}
        self.save(tx, waiting, outages)
        return begun

    def _prime(
        self, tx: Transaction, name: str, kept: dict[str, State | None], *, since_us: Micros, only: str | None
    ) -> None:
        """Count stored events for the deadlines of an automation, into the states that it begins with."""
        after_seq, to_seq = 0, self.judge.arming(name).armed_seq
        while part := log.since(
            tx.connection, from_us=since_us, to_seq=to_seq, after_seq=after_seq, limit=_PRIMING_EVENTS, name=only
        ):
            asked = self.judge.run(part, until_us=None, prime=name)
            kept |= drive_with(asked, kept, judge=self.judge, tx=tx).changed
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


class _Taken:
    """What is in force in the making; `only` as `Found` has it, by name."""

    def __init__(self, judge: Judge, lives: ForkingDict[Live]) -> None:
        self.judge = judge
        self.lives = lives
        self.only: dict[str, str] = {}

    def take(self, found: Iterable[Found], gone: set[str]) -> None:
        """Put into force what is found, and out of force what of `gone` is not."""

        def armed() -> Iterable[Armed]:
            for one in found:
                name = one.armed.name
                self.lives[name] = one.live
                if one.only is not None:
                    self.only[name] = one.only
                gone.discard(name)
                yield one.armed

        judge = self.judge.replace(armed=armed())
        for name in gone:
            self.lives.pop(name, None)
        self.judge = judge.replace(removed=gone) if gone else judge


def _same_start(name: str, before: Judge, after: Judge) -> bool:
    """Return whether an automation still has its T0, and with it its windows (law S4)."""
    return before.arming(name).armed_seq == after.arming(name).armed_seq


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
