"""The evaluator: a reader of the log that judges one shard, and stores what it judged together with how far it is.

    log --arrivals--> judge --states, firings, intents, decisions, cursor--> one transaction
    states --moments that are due--^

Rule 1: what is read, what is judged and what is stored is one transaction (law F2), and who can not move the cursor
stores nothing: that fences out whoever has lost the shard.
Rule 2: before an arrival received at r, the moments before r are judged; behind the last one those before the time of
the log. Whatever is appended later is received later: no silence is judged over the head of an event that was there
(laws O1, S1).
Rule 3: what is called before its time is stored with its time and called again. So an outage, which moves moments
(law S2), costs nothing before they are due, and then bites of a bounded size.
Rule 4: what was judged in memory is kept only if it was committed; else the next step begins from the store.
Rule 5: a stretch of the log in which nothing happened is not worth a write: the cursor is stored once in a while.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from tocsin.engine.in_force import InForce, drive_with
from tocsin.engine.ledger import Ledger
from tocsin.engine.own_events import DEFINITIONS_CHANGED
from tocsin.engine.tail import Tail
from tocsin.engine.verdicts import Verdicts, note
from tocsin.errors import JudgeFailed
from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import states
from tocsin.store.leases import LEASE_US
from tocsin.store.log import Head
from tocsin.store.postgres import take_time
from tocsin.store.states import Cursor, ShardLost
from tocsin.store.writer import Transaction
from tocsin.triggers.judge import Judgement, State

_LOG = logging.getLogger(__name__)

BATCH_EVENTS = 12_000  # as much as one append can bring, so that judging does not stay behind
BATCH_LEASED = 2_000  # where others wait for the log's head while a batch is stored
BATCH_FAILING = 16  # every failure judges the batch again: where there are more than so many, batches are short
BATCH_DUE = 1_000
CACHED_STATES = 100_000
FORGOTTEN_STATES = 1_000  # the oldest so many are dropped when there are as many too many
STORE_EVERY_US: Micros = SECOND  # so often the cursor is stored although nothing has happened


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is: judged up to this place and moment; `behind`: it has more to judge at once."""

    seq: int
    judged_us: Micros
    behind: bool
    next_us: Micros | None


class _Shorter(Exception):
    """So much of the batch fails that a shorter one is to be judged."""


class Evaluator:
    """Judges one shard, step by step, in the thread of one writer; `owner` is who has leased it, if it is leased."""

    def __init__(
        self, *, in_force: InForce, ledger: Ledger, verdicts: Verdicts, tail: Tail, owner: str | None = None
    ) -> None:
        """Prepare; nothing is read yet."""
        self.in_force = in_force
        self.shard = in_force.shard
        self._ledger = ledger
        self._verdicts = verdicts
        self._tail = tail
        self._owner = owner
        self._stored: Cursor | None = None
        self._at: Cursor | None = None
        self._stored_us: Micros = 0
        self._cache: dict[str, State | None] = {}
        self._next_us: Micros | None = None
        self._most = self._batch = BATCH_EVENTS if owner is None else min(BATCH_EVENTS, BATCH_LEASED)
        self.progress: Progress | None = None
        self.judged = 0

    def step(self, tx: Transaction) -> None:
        """Judge the next batch and what is due.

        Raises:
            ShardLost: another process has the shard, or has changed its states; nothing was stored.
        """
        tx.on_rollback(self._forget)
        head = self._ledger.look(tx, due_us=self._next_us)
        at = self._at or self._begin(tx)
        arrivals, behind = self._arrivals(tx, at.seq, head)
        until_us = arrivals[-1].received_us - 1 if behind else head.received_us - 1
        due: list[str] = []
        looked = self._next_us is not None and self._next_us <= until_us
        if looked:
            due, complete_us = states.due(
                tx.connection, self.shard, until_us=until_us, limit=BATCH_DUE, together=self.in_force.is_composite
            )
            if complete_us < until_us:
                until_us, behind = complete_us, True
                arrivals = [arrival for arrival in arrivals if arrival.received_us <= until_us]
        if arrivals or due:
            try:
                at = self._judge(tx, at, arrivals, until_us=until_us, due=due)
            except _Shorter:  # before anything was stored
                self._batch = BATCH_FAILING
                self.step(tx)
                return
        elif self._stored != at and tx.now_us - self._stored_us >= STORE_EVERY_US:
            self.flush(tx)
        if looked:  # also when nothing was due: a state that was called later would else be looked for at once, always
            self._next_us = states.next_wake(tx.connection, self.shard)
        progress = Progress(at.seq, max(at.judged_us, until_us), behind, self._next_us)
        tx.after_commit(partial(self._advance, progress, len(arrivals)))

    def flush(self, tx: Transaction) -> None:
        """Store how far the shard is. Raises ShardLost."""
        if self._at is not None:
            self._store(tx, self._at)

    def clear(self, tx: Transaction) -> None:
        """Know nothing more of the states: a unit, this one, has changed them."""
        tx.on_rollback(self._forget)
        self._forget()

    def _advance(self, progress: Progress, events: int) -> None:
        self.progress = progress
        self.judged += events

    def _begin(self, tx: Transaction) -> Cursor:
        cursor, owner = states.owned_cursor_of(tx.connection, self.shard)
        if self._owner is not None and owner != self._owner:
            raise ShardLost(f"shard {self.shard} is judged by another process")
        self._stored = self._at = cursor
        self._stored_us = tx.now_us
        take_time(tx.connection)
        self.in_force.load(tx, cursor.seq)
        self._next_us = states.next_wake(tx.connection, self.shard)
        return cursor

    def _forget(self) -> None:
        self._at = self._stored = None
        self._cache.clear()

    def _arrivals(self, tx: Transaction, after_seq: int, head: Head) -> tuple[list[Arrival], bool]:
        """Return the next arrivals, up to a change of definitions, and whether something may wait behind them.

        Behind a change there always does: what is due after it is judged by what is in force then.
        """
        if head.seq <= after_seq:
            return [], False
        found = self._tail.after(tx, after_seq, to_seq=head.seq, most=self._batch)
        for place, arrival in enumerate(found):
            if arrival.event.event == DEFINITIONS_CHANGED:
                return found[: place + 1], True
        return found, found[-1].seq < head.seq

    def _judge(
        self, tx: Transaction, at: Cursor, arrivals: Sequence[Arrival], *, until_us: Micros, due: Sequence[str]
    ) -> Cursor:
        judgement, failures = self._judged(tx, arrivals, until_us=until_us, due=due)
        after = Cursor(self.shard, arrivals[-1].seq if arrivals else at.seq, until_us, at.epoch)
        switches = bool(arrivals) and arrivals[-1].event.event == DEFINITIONS_CHANGED
        broken = [failure.state_key for failure in failures if failure.seq is None and failure.state_key is not None]
        left = set(due).difference(judgement.changed, broken)
        idle = not (judgement.changed or judgement.firings or judgement.decisions or failures or left or switches)
        if idle and tx.now_us - self._stored_us < STORE_EVERY_US:
            self._at = after
            return after
        self._store(tx, after)  # first of all: who has lost the shard learns it before anything is written
        earliest_us = self.in_force.save(tx, judgement.changed, self._ledger.outages)
        if broken:
            self.in_force.set_aside(tx, broken, self._ledger.outages)
        if left:
            states.let_sleep(tx.connection, left)
        self._verdicts.store(tx, judgement, failures, arrivals=arrivals, in_force=self.in_force)
        self._remember(judgement)
        if earliest_us is not None and (self._next_us is None or earliest_us < self._next_us):
            self._next_us = earliest_us
        if switches:
            self._switch(tx, at, after, at_us=arrivals[-1].received_us)
        self._at = after
        return after

    def _store(self, tx: Transaction, after: Cursor) -> None:
        """Move the stored cursor. Raises ShardLost."""
        assert self._stored is not None
        until_us = None if self._owner is None else tx.now_us + LEASE_US
        states.move_cursor(tx.connection, self._stored, after, leased_until_us=until_us)
        self._stored = after
        self._stored_us = tx.now_us

    def _switch(self, tx: Transaction, before: Cursor, after: Cursor, *, at_us: Micros) -> None:
        take_time(tx.connection)
        switched = self.in_force.switch(
            tx, after_seq=before.seq, to_seq=after.seq, at_us=at_us, outages=self._ledger.outages
        )
        if switched is not None:
            for key in switched.keys:
                self._cache.pop(key, None)
            note(tx, switched.closed, shard=self.shard)
            self._next_us = states.next_wake(tx.connection, self.shard)

    def _judged(
        self, tx: Transaction, arrivals: Sequence[Arrival], *, until_us: Micros, due: Sequence[str]
    ) -> tuple[Judgement, list[JudgeFailed]]:
        """Judge; what an automation can not judge is set aside for it, and the batch judged again (law S5).

        Raises:
            _Shorter: too much of the batch fails.
        """
        failures: dict[tuple[str, int | str], JudgeFailed] = {}
        while True:
            asked = self.in_force.judge.run(
                arrivals, until_us=until_us, due=due, outages=self._ledger.outages, excluded=failures.keys()
            )
            try:
                judgement = drive_with(asked, self._cache, judge=self.in_force.judge, tx=tx)
            except JudgeFailed as failure:
                self._cache.clear()
                if len(failures) >= BATCH_FAILING and len(arrivals) > BATCH_FAILING:
                    raise _Shorter from failure
                what = failure.seq if failure.seq is not None else failure.state_key
                if what is None or (failure.automation, what) in failures:
                    raise
                failures[failure.automation, what] = failure
            else:
                if not failures:
                    self._batch = min(2 * self._batch, self._most)
                return judgement, list(failures.values())

    def _remember(self, judgement: Judgement) -> None:
        self._cache.update(judgement.changed)
        if len(self._cache) > CACHED_STATES + FORGOTTEN_STATES:  # a few at a time: to drop all would hold up everybody
            for key in list(islice(self._cache, len(self._cache) - CACHED_STATES)):
                del self._cache[key]
