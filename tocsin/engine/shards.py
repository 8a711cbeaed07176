"""The shards that this process judges: it leases them, has each of them step, and knows when to look again.

    appended here ──▶ tail ─┐
    told by others ─────────┼─▶ step: one unit of the writer for all shards
    a moment is due ────────┘

On SQLite there is one shard and one process, and steps run behind appends in the same commit. On PostgreSQL shards are
divided among the processes that judge, and steps have a writer of their own, so that nobody waits to append.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from tocsin.clock import Clock
from tocsin.engine.evaluator import Evaluator, Progress
from tocsin.engine.repeating import Repeating
from tocsin.engine.tail import Tail
from tocsin.errors import Overloaded, TocsinError, Unavailable
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import leases, processes, states
from tocsin.store.leases import LEASE_US
from tocsin.store.states import ShardLost
from tocsin.store.writer import Fresh, Transaction, Writer

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""There is a step at least so often: whatever was missed is found then."""

_LATE_S = 0.05  # what is due, but not for the log yet, whose time somebody else moves, is looked for so often
_TEND_S = LEASE_US / SECOND / 5


@dataclass(frozen=True, slots=True)
class Judging:
    """How a process judges.

    `owner` leases shards under this name (None: all shards are its own), through the writer `leasing`, which is not
    kept by a long step from renewing them; `make` makes the evaluator of a shard;
    `beat` moves the time of the log, where this process receives and does not do it as it judges; it `waits` for
    others to move it where it does not receive.
    """

    make: Callable[[int], Evaluator]
    tail: Tail
    owner: str | None = None
    leasing: Writer | None = None
    beat: Callable[[], Future[Micros]] | None = None
    waits: bool = False


class Shards:
    """Judges as many shards as are this process's share; its methods are called in the event loop."""

    def __init__(self, writer: Writer, clock: Clock, judging: Judging) -> None:
        """Prepare; nothing is read yet."""
        self._writer = writer
        self._clock = clock
        self._judging = judging
        self._evaluators: dict[int, Evaluator] = {}
        self._changing = threading.RLock()
        self._newest_seq = 0
        self._steps: deque[Callable[[Transaction], None]] = deque()
        self._failed = self._apart = self._again = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._tending = Repeating(self._tend, every_s=_TEND_S, trouble="the leases of shards are not renewed")
        self._judged_before = 0

    @property
    def progress(self) -> Progress | None:
        """How far this process is with its shards, the last of them; None while it has none, or has not begun."""
        found = [evaluator.progress for evaluator in list(self._evaluators.values())]
        known = [one for one in found if one is not None]
        if not known or len(known) < len(found):
            return None
        wakes = [one.next_us for one in known if one.next_us is not None]
        return Progress(
            min(one.seq for one in known),
            min(one.judged_us for one in known),
            any(one.behind for one in known),
            min(wakes) if wakes else None,
        )

    @property
    def owned(self) -> list[int]:
        """The shards that this process judges."""
        return sorted(self._evaluators)

    @property
    def judged(self) -> int:
        """How many events were judged; once for each shard."""
        return self._judged_before + sum(evaluator.judged for evaluator in list(self._evaluators.values()))

    async def start(self) -> None:
        """Judge what waits, then go on by itself."""
        if self._judging.owner is None:
            self._have(set(range(await self._writer.run(lambda tx: states.count_shards(tx.connection)))))
            await self._writer.run(self._step)
            self._writer.follower = self._step
        else:
            await self._tend()
            await self._writer.run(self._step)
            self._tending.start()
        self._plan()

    async def close(self) -> None:
        """Begin no further steps, and hand back what is leased."""
        self._closing = True
        self._writer.follower = None
        if self._timer is not None:
            self._timer.cancel()
        await self._tending.close()
        with contextlib.suppress(TocsinError):  # then leases end by themselves, and what is not stored is judged again
            await self._writer.run(self._flush)
            if self._judging.owner is not None and self._judging.leasing is not None:
                # Behind whatever renewal is under way there; all that are leased, also those that it has just taken.
                owner = self._judging.owner
                await self._judging.leasing.run(lambda tx: leases.release(tx, None, owner=owner))

    def hear(self, fresh: list[Fresh]) -> None:
        """Take what was appended in this process; called in the thread of a writer, after the commit."""
        self._judging.tail.hear(fresh)
        self._newest_seq = max(self._newest_seq, fresh[-1].arrivals[-1].seq)
        self._loop.call_soon_threadsafe(self._plan)

    def nudge(self) -> None:
        """Have a step made soon."""
        if self._closing or not self._evaluators:
            return
        if self._steps:  # they may have looked at the log already
            self._again = True
            return
        # Who is behind steps in transactions that are short, each over one shard: others wait for the log's head.
        leased = self._judging.owner is not None
        behind = leased and (self.progress is None or self.progress.behind)
        apart = self._apart or behind
        self._steps += [partial(self._step_one, shard) for shard in self.owned] if apart else [self._step]
        self._apart = False
        self._go()

    def take(self) -> None:
        """See whether there are shards to take: some may have become free."""
        self._tending.soon()

    async def settled(self) -> None:
        """Wait until everything that is in the log, and due by now, was judged in the shards of this process.

        Raises:
            Unavailable: the store can not write now.
        """
        while not self._closing:
            if self._judging.beat is not None:
                await asyncio.wrap_future(self._judging.beat())
            await self._writer.run(self._step)
            if self._plan():
                await self._writer.run(self._flush)
                return

    # In the event loop

    def _go(self) -> None:
        """Have the first of the steps made that wait."""
        try:
            future = self._writer.submit(self._steps[0])
        except (Unavailable, Overloaded):
            self._steps.clear()
            self._look_in(LOOK_S)
            return
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._stepped, done.exception()))

    def _stepped(self, error: BaseException | None) -> None:
        self._steps.popleft()
        if error is not None:
            expected = isinstance(error, Unavailable | Overloaded)
            log.error("judging failed, it is tried again: %s", error, exc_info=None if expected else error)
            self._failed = True
            self._apart = not expected and len(self._evaluators) > 1  # one of the shards is the culprit
            if expected:
                self._steps.clear()
        if self._steps:
            self._go()
        elif self._failed:
            self._failed = self._again = False
            self._look_in(LOOK_S)
        elif self._again:
            self._again = False
            self.nudge()
        else:
            self._plan()

    def _plan(self) -> bool:
        """Have the next step made when there is something to do; return whether all that was there is judged."""
        progress = self.progress
        if progress is None:
            self._look_in(LOOK_S)
            return not self._evaluators
        self._judging.tail.passed(progress.seq)
        if progress.behind or self._newest_seq > progress.seq:
            self.nudge()
            return False
        wait_s = LOOK_S
        if progress.next_us is not None:
            # One microsecond later the moment itself is in the past, and may be judged.
            until_s = (progress.next_us + 1 - self._clock.now_us()) / SECOND
            wait_s = _LATE_S if until_s <= 0 and self._judging.waits else min(wait_s, until_s)
        self._look_in(max(wait_s, 0.001))
        return True

    def _look_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closing:
            self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        """Step; when a moment is due, move the log's time beyond it before."""
        progress, beat = self.progress, self._judging.beat
        due = progress is not None and progress.next_us is not None and progress.next_us < self._clock.now_us()
        if beat is None or not due:
            self.nudge()
            return
        try:
            future = beat()
        except (Unavailable, Overloaded):
            self._look_in(LOOK_S)
            return
        future.add_done_callback(lambda _done: self._loop.call_soon_threadsafe(self.nudge))

    async def _tend(self) -> None:
        assert self._judging.leasing is not None
        before = self.owned
        mine, share = await self._judging.leasing.run(self._renew)
        if extra := sorted(mine)[share:]:
            await self._writer.run(partial(self._give, extra))
        self._have(mine.difference(extra))
        if self.owned != before:
            log.info("judges the shards %s", ", ".join(map(str, self.owned)) or "of nobody: others have them all")
            self.nudge()

    # In the thread of the writer

    def _step(self, tx: Transaction) -> None:
        for shard in self.owned:
            self._step_one(shard, tx)

    def _step_one(self, shard: int, tx: Transaction) -> None:
        evaluator = self._evaluators.get(shard)
        if evaluator is None:
            return
        try:
            evaluator.step(tx)
        except ShardLost:  # before anything was stored: its states were changed by others, or it is somebody else's now
            evaluator.clear(tx)
            try:
                evaluator.step(tx)
            except ShardLost as lost:
                log.warning("%s: it is left to that one", lost)
                self._drop(shard)

    def _flush(self, tx: Transaction) -> None:
        for evaluator in list(self._evaluators.values()):
            with contextlib.suppress(ShardLost):
                evaluator.flush(tx)

    def _give(self, shards: Sequence[int], tx: Transaction) -> None:
        """Hand shards to others, as far as they are judged."""
        for shard in shards:
            if (evaluator := self._evaluators.get(shard)) is not None:  # another thread may drop it meanwhile
                with contextlib.suppress(ShardLost):
                    evaluator.flush(tx)
        leases.release(tx, shards, owner=self._judging.owner or "")
        tx.after_commit(lambda: self._have(self._evaluators.keys() - set(shards)))

    # In the thread of the writer through which leases are renewed

    def _renew(self, tx: Transaction) -> tuple[set[int], int]:
        """Renew leases, and take what is free; return the shards that are leased, and how many are a fair share."""
        owner = self._judging.owner or ""
        alive = processes.live(tx.connection, since_us=tx.now_us - LEASE_US)
        others = sum("evaluator" in process.roles and process.name != owner for process in alive)
        share = -(-states.count_shards(tx.connection) // (others + 1))
        return leases.tend(tx, owner=owner, most=share), share

    # In any thread: another mapping takes the place of the one that others may be looking at

    def _have(self, shards: set[int]) -> None:
        with self._changing:
            for shard in self._evaluators.keys() - shards:
                self._drop(shard)
            for shard in sorted(shards - self._evaluators.keys()):
                self._evaluators = {**self._evaluators, shard: self._judging.make(shard)}

    def _drop(self, shard: int) -> None:
        with self._changing:
            if shard in self._evaluators:
                self._judged_before += self._evaluators[shard].judged
                self._evaluators = {other: kept for other, kept in self._evaluators.items() if other != shard}
