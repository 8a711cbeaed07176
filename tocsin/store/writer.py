"""The one writer: a thread in which units of work share a group commit.

Rule 1: whatever writes is a unit, a function of a `Transaction`; nothing else begins a transaction that writes.
Rule 2: a unit that raises is undone alone; the others of its group are committed.
Rule 3: a unit may be run again when its group could not be committed, so it changes nothing outside of its
transaction except through `after_commit`, or undoes it in `on_rollback`.
Rule 4: time never goes back in here. When the wall clock does, the writer's time goes on at half speed until the wall
has caught up, so that deadlines are judged late rather than never.
Rule 5: behind the units of a group that has appended events, the `follower` is run in the same transaction. Where that
does harm, the group is committed without it.
Rule 6: a group whose connection breaks is run again, and a unit that gets in the way of another process, too. When the
COMMIT itself was cut off, the database is asked what came of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tocsin.clock import Clock, FollowingClock
from tocsin.errors import Overloaded, Unavailable
from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import SECOND, Micros, span
from tocsin.store import postgres
from tocsin.store.database import Database, unavailable
from tocsin.store.histogram import SECONDS, UNITS, Histogram

T = TypeVar("T")
log = logging.getLogger(__name__)

GROUP_UNITS = 256
NEVER_BLIND_US: Micros = 1 << 62
FOLLOW_EVERY_S = 0.2
"""How often a clock that follows the database's is set."""
WAITING_UNITS = 20_000
TRIES = 3
"""How often a group is begun whose connection breaks, or a unit that gets in the way of another process."""
ASK_TIMES, ASK_EVERY_S = 50, 0.2
"""How often, and how many seconds apart, the database is asked about a commit whose answer was lost."""


class Signal(StrEnum):
    """What processes tell each other: that there is something new, for those who look for it."""

    LOG = "log"
    INTENTS = "intents"
    RUNS = "runs"
    DEFINITIONS = "definitions"
    SHARDS = "shards"


@dataclass(slots=True, frozen=True)
class Fresh:
    """Events that were just appended, right behind the place `after_seq`."""

    after_seq: int
    arrivals: list[Arrival]


@dataclass(slots=True)
class Transaction:
    """What a unit works with: a connection, the writer's time, and what its group has appended so far.

    `receives` says whether this process can take events, so that the time of the log is its own; a gap in that time
    longer than `blind_after_us` is an outage (law S2). `told` is of what other processes are told after the commit.
    """

    connection: Connection
    now_us: Micros
    fresh: list[Fresh]
    receives: bool = True
    blind_after_us: Micros = NEVER_BLIND_US
    told: set[Signal] = field(default_factory=set)
    committed: list[Callable[[], None]] = field(default_factory=list)
    rolled_back: list[Callable[[], None]] = field(default_factory=list)

    def tell(self, signal: Signal) -> None:
        """Have every process that listens hear it after the commit; see `store.signals`."""
        self.told.add(signal)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` run in the writer's thread once the group is durable."""
        self.committed.append(call)

    def on_rollback(self, call: Callable[[], None]) -> None:
        """Have `call` run in the writer's thread when what the unit did is undone."""
        self.rolled_back.append(call)


Unit = Callable[[Transaction], T]


@dataclass(slots=True)
class _Task(Generic[T]):
    unit: Unit[T]
    future: Future[T]
    result: T | None = None
    error: BaseException | None = None
    tx: Transaction | None = None


class Writer:
    """The thread that writes; `submit` from any thread, `run` from the event loop.

    For those who watch: how many groups it has committed, how long they took in seconds, how many units each had, how
    many events were appended, and why the newest group was not stored, if the database is to blame (`trouble`).
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        floor_us: Micros = 0,
        blind_after_us: Micros = NEVER_BLIND_US,
        receives: bool = True,
    ) -> None:
        """Prepare the thread; `floor_us` is the newest moment that the database knows; the others: `Transaction`."""
        self._database = database
        self._clock = clock
        self._following = clock if isinstance(clock, FollowingClock) else None
        self._followed_s = float("-inf")
        self._blind_after_us = blind_after_us
        self._receives = receives
        self._last_us, self._last_s = floor_us, clock.monotonic_s()
        self._set_back = False
        self._waiting: deque[_Task[Any]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="tocsin-writer", daemon=True)
        self._connection: Connection | None = None
        self.on_fresh: list[Callable[[list[Fresh]], None]] = []
        self.follower: Unit[None] | None = None
        self.commits = 0
        self.events = 0
        self.seconds = Histogram(SECONDS)
        self.units = Histogram(UNITS)
        self.trouble = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, unit: Unit[T]) -> Future[T]:
        """Queue a unit; the future is resolved after the commit.

        Raises:
            Unavailable: the writer is closing.
            Overloaded: too many units wait.
        """
        task: _Task[T] = _Task(unit, Future())
        with self._changed:
            if self._closing:
                raise Unavailable("the server is stopping")
            if len(self._waiting) >= WAITING_UNITS:
                raise Overloaded("too much is waiting to be written")
            self._waiting.append(task)
            if len(self._waiting) == 1:
                self._changed.notify()
        return task.future

    @property
    def waiting(self) -> int:
        """How many units wait; one that is being written does not."""
        return len(self._waiting)

    async def run(self, unit: Unit[T]) -> T:
        """Queue a unit and wait until it is durable; what it raises is raised here."""
        return await asyncio.wrap_future(self.submit(unit))

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    break
                group = [self._waiting.popleft() for _ in range(min(GROUP_UNITS, len(self._waiting)))]
            self._commit_group(group, follower=self.follower)
        self._disconnect()

    def _commit_group(self, group: list[_Task[Any]], *, follower: Unit[None] | None = None, tries: int = TRIES) -> None:
        fresh: list[Fresh] = []
        told: set[Signal] = set()
        tasks = list(group)
        began_s = self._clock.monotonic_s()
        try:
            transaction = self._connect().begin()
            self._follow(transaction.connection)
        except Exception as error:  # noqa: BLE001 - no unit has run: none of them is the culprit
            self._disconnect()
            self._refuse(group, error)
            return
        name: str | None = None
        try:
            with transaction:
                shared = Transaction(transaction.connection, 0, fresh, self._receives, self._blind_after_us, told)
                for task in group:
                    self._run_unit(task, shared, alone=len(group) == 1)
                if fresh and follower is not None:
                    tasks.append(_Task(follower, Future()))
                    self._run_unit(tasks[-1], shared, alone=False)
                if transaction.is_active and not self._database.is_sqlite:
                    if fresh:
                        told.add(Signal.LOG)
                    postgres.tell(transaction.connection, told, by=self._database.token)
                    name = postgres.transaction_id(transaction.connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, this thread goes on
            committed = False if name is None else self._was_committed(name, error)
            if not committed:
                self._undo(tasks, error)
                if committed is None:
                    self._refuse(
                        group, Unavailable("the database broke off and does not say what it stored: try again")
                    )
                else:
                    self._again(group, error, follower=follower if len(tasks) > len(group) else None, tries=tries - 1)
                return
        self._count(len(group), fresh, began_s=began_s)
        self._answer(tasks, fresh)

    def _count(self, units: int, fresh: list[Fresh], *, began_s: float) -> None:
        self.commits += 1
        self.trouble = ""
        self.units.add(units)
        self.seconds.add(self._clock.monotonic_s() - began_s)
        self.events += sum(len(part.arrivals) for part in fresh)

    def _run_unit(self, task: _Task[Any], shared: Transaction, *, alone: bool) -> None:
        """Run a unit, `alone` in its transaction or not. Raises DBAPIError when the transaction as a whole is lost."""
        connection, fresh = shared.connection, shared.fresh
        if not alone:
            connection.exec_driver_sql("SAVEPOINT unit")
        known = len(fresh)
        task.tx = tx = replace(shared, now_us=self._now_us(), committed=[], rolled_back=[])
        try:
            task.result = task.unit(tx)
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - its own fault: undone alone, told to who asked
            del fresh[known:]
            if alone:
                connection.rollback()
            else:
                connection.exec_driver_sql("ROLLBACK TO unit")
            task.error, task.tx = error, None
            self._call(tx.rolled_back)
        if not alone:
            connection.exec_driver_sql("RELEASE unit")

    def _again(self, group: list[_Task[Any]], error: Exception, *, follower: Unit[None] | None, tries: int) -> None:
        """Go on with a group that was undone: as it is, one by one, or not at all."""
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        alone = len(group) == 1 and follower is None
        if tries and (lost or (alone and isinstance(error, DBAPIError) and postgres.have_met(error))):
            self._commit_group(group, follower=follower, tries=tries)
        elif alone:
            self._refuse(group, error)
        else:  # one of them may be the culprit: each gets a transaction of its own
            for task in group:
                self._commit_group([task])

    def _was_committed(self, name: str, error: Exception) -> bool | None:
        """Return what came of a commit that has failed; None when nobody answers."""
        if not (isinstance(error, DBAPIError) and error.connection_invalidated):
            return False
        for _ in range(ASK_TIMES):
            self._disconnect()
            try:
                with self._connect().begin() as transaction:
                    fate = postgres.fate(transaction.connection, name)
            except (DBAPIError, Unavailable):
                fate = None
            if fate is not None:
                return fate
            self._pause.wait(ASK_EVERY_S)
        return None

    def _undo(self, group: list[_Task[Any]], error: Exception) -> None:
        if self._database.is_sqlite or not isinstance(error, DBAPIError) or error.connection_invalidated:
            self._disconnect()
        for task in group:
            if task.tx is not None:
                self._call(task.tx.rolled_back)
            task.tx = task.result = task.error = None

    def _refuse(self, group: list[_Task[Any]], error: Exception) -> None:
        refusal: Exception = error
        if isinstance(error, DBAPIError):
            refusal = unavailable(error)
            refusal.__cause__ = error
        log.warning("%d units of work were not stored: %s", len(group), refusal)
        if isinstance(refusal, Unavailable):
            self.trouble = str(refusal)
        for task in group:
            task.error = refusal
        self._answer(group, [])

    def _answer(self, group: list[_Task[Any]], fresh: list[Fresh]) -> None:
        for task in group:
            if task.tx is not None:
                self._call(task.tx.committed)
        if fresh:
            for listener in self.on_fresh:
                self._call([lambda listener=listener: listener(fresh)])  # type: ignore[misc]
        for task in group:
            if not task.future.set_running_or_notify_cancel():
                continue
            if task.error is None:
                task.future.set_result(task.result)
            else:
                task.future.set_exception(task.error)

    def _call(self, calls: list[Callable[[], None]]) -> None:
        for call in calls:
            try:
                call()
            except Exception:  # the commit stands, and others are to be told of it
                log.exception("a callback of the writer failed")

    def _connect(self) -> Connection:
        if self._connection is None or self._connection.invalidated:
            self._connection = self._database.writing.connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _follow(self, connection: Connection) -> None:
        """Set a clock that follows the database's, from time to time."""
        if self._following is not None and self._clock.monotonic_s() - self._followed_s >= FOLLOW_EVERY_S:
            self._following.follow(postgres.now_us(connection))
            self._followed_s = self._clock.monotonic_s()

    def _now_us(self) -> Micros:
        wall_us, steady_s = self._clock.now_us(), self._clock.monotonic_s()
        if wall_us < self._last_us:
            if self._last_us - wall_us > SECOND and not self._set_back:
                self._set_back = True
                log.warning("the clock was set back by %s: time goes on at half speed until it has caught up, and "
                            "what is due comes late", span(self._last_us - wall_us))  # fmt: skip
            wall_us = self._last_us + int((steady_s - self._last_s) * SECOND / 2)
        elif self._set_back:
            self._set_back = False
            log.info("the clock has caught up")
        self._last_us, self._last_s = wall_us, steady_s
        return wall_us
