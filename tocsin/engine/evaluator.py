"""The evaluator: a reader of the log that judges, and stores what it judged together with how far it is.

    log --arrivals--> judge --states, firings, intents, decisions, cursor--> one transaction
    states --moments that are due--^

Rule 1: everything happens in a unit of the writer: what is read, what is judged and what is stored is one transaction
(law F2), and who can not move the cursor stores nothing.
Rule 2: before an arrival received at r, the moments before r are judged; behind the last one those before now. Now is
the writer's time, and whatever is appended later is received later: no silence is judged over the head of an event
that was there (laws O1, S1).
Rule 3: what is called before its time is stored with its time and called again. So an outage, which moves moments
(law S2), costs nothing before they are due, and then bites of a bounded size.
Rule 4: what was judged in memory is kept only if it was committed; else the next step begins from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tocsin.clock import Clock
from tocsin.engine.in_force import InForce, drive_with
from tocsin.engine.ledger import Ledger
from tocsin.engine.own_events import DEFINITIONS_CHANGED
from tocsin.engine.verdicts import Verdicts, note
from tocsin.errors import JudgeFailed, Overloaded, TocsinError, Unavailable
from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import log, retention, states
from tocsin.store.states import Cursor
from tocsin.store.writer import Fresh, Transaction, Writer
from tocsin.triggers.judge import Judgement, State

_LOG = logging.getLogger(__name__)

BATCH_EVENTS = 12_000  # as much as one append can bring, so that judging does not stay behind
READ_EVENTS = 4_000
BATCH_FAILING = 16  # every failure judges the batch again: where there are more than so many, batches are short
BATCH_DUE = 1_000
HANDED_OVER_MAX = 20_000  # events kept in memory for the next steps; beyond, the log is read
CACHED_STATES = 100_000
LOOK_S = 1.0  # the ledger is touched at least so often


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
    """Judges one shard, step by step; created and closed in the event loop, stepping in the writer's thread."""

    def __init__(
        self, writer: Writer, clock: Clock, *, in_force: InForce, ledger: Ledger, verdicts: Verdicts, shard: int = 0
    ) -> None:
        """Prepare; nothing is read yet."""
        self._writer = writer
        self._clock = clock
        self._shard = shard
        self._in_force = in_force
        self._ledger = ledger
        self._verdicts = verdicts
        self._cursor: Cursor | None = None
        self._cache: dict[str, State | None] = {}
        self._next_us: Micros | None = None
        self._handed: deque[Fresh] = deque()
        self._handed_events = 0
        self._newest_seq = 0
        self._batch = BATCH_EVENTS
        self._queued = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.progress: Progress | None = None
        self.judged = 0

    @property
    def in_force(self) -> InForce:
        """The automations in force, for those who explain."""
        return self._in_force

    async def start(self) -> None:
        """Load what is in force and judge what waits, then go on by itself."""
        self._writer.on_fresh.append(self._hand_over)
        await self._writer.run(self._step)
        self._writer.follower = self._step
        self._plan()

    def close(self) -> None:
        """Begin no further steps."""
        self._closing = True
        self._writer.follower = None
        if self._timer is not None:
            self._timer.cancel()

    def nudge(self) -> None:
        """Have a step made soon; called in the event loop."""
        if self._queued or self._closing:
            return
        self._queued = True
        try:
            future = self._writer.submit(self._step)
        except (Unavailable, Overloaded):
            self._queued = False
            self._look_in(LOOK_S)
            return
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._stepped, done.exception()))

    async def settled(self) -> None:
        """Wait until everything that is in the log, and due by now, was judged.

        Raises:
            Unavailable: the store can not write now.
        """
        while not self._closing:
            await self._writer.run(self._step)
            if self._plan():
                return

    def drop(self, tx: Transaction, keys: Iterable[str]) -> None:
        """Know nothing more of states that a unit has deleted; called in that unit."""
        tx.on_rollback(self._forget)
        for key in keys:
            self._cache.pop(key, None)

    # In the event loop

    def _stepped(self, error: BaseException | None) -> None:
        self._queued = False
        if error is None:
            self._plan()
            return
        trace = None if isinstance(error, TocsinError) else error
        _LOG.error("judging failed, it is tried again: %s", error, exc_info=trace)
        self._look_in(LOOK_S)

    def _plan(self) -> bool:
        """Have the next step made when there is something to do; return whether all that was there is judged."""
        progress = self.progress
        if progress is None or progress.behind or self._newest_seq > progress.seq:
            self.nudge()
            return False
        wait_s = LOOK_S
        if progress.next_us is not None:
            # One microsecond later the moment itself is in the past, and may be judged (rule 2).
            wait_s = min(wait_s, (progress.next_us + 1 - self._clock.now_us()) / SECOND)
        self._look_in(max(wait_s, 0.001))
        return True

    def _look_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closing:
            self._timer = self._loop.call_later(wait_s, self.nudge)

    # In the writer's thread

    def _hand_over(self, fresh: list[Fresh]) -> None:
        for part in fresh:
            self._handed.append(part)
            self._handed_events += len(part.arrivals)
        self._newest_seq = fresh[-1].arrivals[-1].seq
        while self._handed_events > HANDED_OVER_MAX:
            self._handed_events -= len(self._handed.popleft().arrivals)
        self._loop.call_soon_threadsafe(self._plan)

    def _step(self, tx: Transaction) -> None:
        """Judge the next batch and what is due; the unit of all of this module's work."""
        tx.on_rollback(self._forget)
        cursor = self._cursor or self._begin(tx)
        if outage := self._ledger.touch(tx, judged_us=cursor.judged_us):
            _LOG.warning("nothing could be received for %.0f s: silence in that time ends `unknown`",
                         (outage.end_us - outage.start_us) / SECOND)  # fmt: skip
        arrivals, behind = self._arrivals(tx, cursor.seq)
        until_us = arrivals[-1].received_us - 1 if behind else tx.now_us - 1
        due: list[str] = []
        looked = self._next_us is not None and self._next_us <= until_us
        if looked:
            due, complete_us = states.due(
                tx.connection, self._shard, until_us=until_us, limit=BATCH_DUE, together=self._in_force.is_composite
            )
            if complete_us < until_us:
                until_us, behind = complete_us, True
                arrivals = [arrival for arrival in arrivals if arrival.received_us <= until_us]
        if arrivals or due:
            try:
                cursor = self._judge(tx, cursor, arrivals, until_us=until_us, due=due)
            except _Shorter:  # before anything was stored
                self._batch = BATCH_FAILING
                self._step(tx)
                return
        if looked:  # also when nothing was due: a state that was called later would else be looked for at once, always
            self._next_us = states.next_wake(tx.connection, self._shard)
        progress = Progress(cursor.seq, max(cursor.judged_us, until_us), behind, self._next_us)
        tx.after_commit(partial(self._advance, progress, len(arrivals)))

    def _advance(self, progress: Progress, events: int) -> None:
        self.progress = progress
        self.judged += events

    def _begin(self, tx: Transaction) -> Cursor:
        self._cursor = cursor = states.cursor_of(tx.connection, self._shard)
        self._in_force.load(tx, cursor.seq)
        self._next_us = states.next_wake(tx.connection, self._shard)
        return cursor

    def _forget(self) -> None:
        self._cursor = None
        self._cache.clear()

    def drop_idle(self, tx: Transaction, keys: Sequence[str], before_us: Micros) -> int:
        """Drop states in which nothing was open since before a moment (law P8); return how many were."""
        for key in keys:
            self._cache.pop(key, None)
        return retention.drop_states(tx, keys, before_us=before_us)

    def _arrivals(self, tx: Transaction, after_seq: int) -> tuple[list[Arrival], bool]:
        """Return the next arrivals, up to a change of definitions, and whether something may wait behind them.

        Behind a change there always does: what is due after it is judged by what is in force then.
        """
        head_seq = tx.fresh[-1].arrivals[-1].seq if tx.fresh else log.newest(tx.connection)[0]
        if head_seq == after_seq:
            return [], False
        most = min(self._batch, READ_EVENTS)
        found = self._from_memory(tx, after_seq) or log.after(tx.connection, after_seq, limit=most)
        for place, arrival in enumerate(found):
            if arrival.event.event == DEFINITIONS_CHANGED:
                return found[: place + 1], True
        return found, found[-1].seq < head_seq

    def _from_memory(self, tx: Transaction, after_seq: int) -> list[Arrival]:
        """Return up to about a batch of the arrivals right behind a place, if they are still in memory."""
        found: list[Arrival] = []
        place = after_seq
        while self._handed and self._handed[0].arrivals[-1].seq <= after_seq:
            self._handed_events -= len(self._handed.popleft().arrivals)
        for part in (*self._handed, *tx.fresh):
            if part.arrivals[-1].seq <= place:
                continue
            if part.after_seq <= place:
                found += [one for one in part.arrivals if one.seq > place] if part.after_seq < place else part.arrivals
                place = found[-1].seq
            if part.after_seq > place or len(found) >= self._batch:
                break
        return found[: self._batch]

    def _judge(
        self, tx: Transaction, cursor: Cursor, arrivals: Sequence[Arrival], *, until_us: Micros, due: Sequence[str]
    ) -> Cursor:
        judgement, failures = self._judged(tx, arrivals, until_us=until_us, due=due)
        after = Cursor(self._shard, arrivals[-1].seq if arrivals else cursor.seq, until_us, cursor.epoch)
        earliest_us = self._in_force.save(tx, judgement.changed, self._ledger.outages)
        broken = [failure.state_key for failure in failures if failure.seq is None and failure.state_key is not None]
        if broken:
            self._in_force.set_aside(tx, broken, self._ledger.outages)
        if left := set(due).difference(judgement.changed, broken):
            states.let_sleep(tx.connection, left)
        self._verdicts.store(tx, judgement, failures, arrivals=arrivals, automations=self._in_force.automations)
        states.move_cursor(tx.connection, cursor, after)
        self._remember(judgement)
        if earliest_us is not None and (self._next_us is None or earliest_us < self._next_us):
            self._next_us = earliest_us
        if arrivals and arrivals[-1].event.event == DEFINITIONS_CHANGED:
            self._switch(tx, cursor, after, at_us=arrivals[-1].received_us)
        self._cursor = after
        return after

    def _switch(self, tx: Transaction, before: Cursor, after: Cursor, *, at_us: Micros) -> None:
        closed = self._in_force.switch(
            tx, after_seq=before.seq, to_seq=after.seq, at_us=at_us, outages=self._ledger.outages
        )
        if closed is not None:
            self._cache.clear()
            note(tx, closed)
            self._next_us = states.next_wake(tx.connection, self._shard)

    def _judged(
        self, tx: Transaction, arrivals: Sequence[Arrival], *, until_us: Micros, due: Sequence[str]
    ) -> tuple[Judgement, list[JudgeFailed]]:
        """Judge; what an automation can not judge is set aside for it, and the batch judged again (law S5).

        Raises:
            _Shorter: too much of the batch fails.
        """
        failures: dict[tuple[str, int | str], JudgeFailed] = {}
        while True:
            asked = self._in_force.judge.run(
                arrivals, until_us=until_us, due=due, outages=self._ledger.outages, excluded=failures.keys()
            )
            try:
                judgement = drive_with(asked, self._cache, judge=self._in_force.judge, tx=tx)
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
                    self._batch = min(2 * self._batch, BATCH_EVENTS)
                return judgement, list(failures.values())

    def _remember(self, judgement: Judgement) -> None:
        if len(self._cache) > CACHED_STATES:
            self._cache.clear()
        else:
            self._cache.update(judgement.changed)
