"""The worker: takes runs that are due, follows each to its end, and buries those whose worker is gone.

Rule 1: what a run is in the store comes first: a process begins after its start is durable, and a run has ended when
its process has.
Rule 2: one loop claims, keeps the leases and looks for what others left behind; each run has a task of its own.
Rule 3: a process that lives keeps its runs. Only of a worker on another machine, which can not be seen, the lease
decides; when it comes back it learns from its leases what it has lost, and ends that without a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping

from tocsin.clock import Clock
from tocsin.errors import TocsinError
from tocsin.flows import endings
from tocsin.flows.course import Course
from tocsin.flows.launch import Surroundings
from tocsin.flows.processes import Fate, Process, end, fate, identify, orphans
from tocsin.flows.records import Pace, Records
from tocsin.schemas.flow import Flow
from tocsin.schemas.run import DEFAULT_QUEUE, Run, RunState
from tocsin.store.database import Database
from tocsin.store.writer import Fresh, Writer

log = logging.getLogger(__name__)

RUNS_MAX = 32
"""The most runs that one worker follows at the same time, whatever the queues allow."""

_NEWS = frozenset({"flow-run.pending", "queue.resumed"})  # the events after which there may be something to claim


class Catalog:
    """What is declared now: flows by name, and the concurrency of queues."""

    def __init__(self, flow: Callable[[str], Flow | None], concurrency: Callable[[], Mapping[str, int]] = dict) -> None:
        """Keep the two look-ups; the default queue runs as many at once as there are processors, at least two."""
        self.flow = flow
        self._concurrency = concurrency
        self._default = max(2, os.cpu_count() or 1)

    def limits(self) -> dict[str, int]:
        """Return the concurrency of every queue; `DEFAULT_QUEUE` stands for those that are not declared."""
        return {DEFAULT_QUEUE: self._default, **self._concurrency()}


class Worker:
    """Runs flows on this machine, as many at once as their queues allow and at most `RUNS_MAX`."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        clock: Clock,
        *,
        catalog: Catalog,
        surroundings: Surroundings,
        pace: Pace | None = None,
    ) -> None:
        """Prepare the worker.

        Raises:
            TocsinError: this process can not be named, so its runs could not be found again.
        """
        me = identify(os.getpid())
        if me is None:
            raise TocsinError("this process is not in the list of processes: neither /proc nor `ps` shows it")
        self._pace = pace or Pace()
        self._records = Records(database, writer, owner=str(me), lease_s=self._pace.lease_s)
        self._writer, self._clock, self._catalog, self._surroundings = writer, clock, catalog, surroundings
        self._courses: dict[str, Course] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wakeup = asyncio.Event()
        self._stopping = self._closing = False
        self._beat_due_s = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many runs are followed now."""
        return len(self._courses)

    async def start(self) -> None:
        """Begin to work."""
        self._loop = asyncio.get_running_loop()
        self._writer.on_fresh.append(self._hear)
        self._serving = asyncio.create_task(self._serve(), name="flows worker")

    async def stop(self, *, grace_s: float = 10.0) -> None:
        """Begin nothing more, give what runs `grace_s` to finish, end the rest, hand back what has not begun."""
        self._stopping = True
        for course in self._courses.values():
            course.may_begin = False
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace_s)
        self._records.in_a_hurry = True
        for course in self._courses.values():
            course.tell(endings.STOPPED)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._closing = True
        self.wake()
        if self._serving is not None:
            await self._serving
        await self._records.release_all()

    def wake(self) -> None:
        """Look for work now, not only at the next poll; may be called from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is over, and the work with it
                self._loop.call_soon_threadsafe(self._wakeup.set)

    def _hear(self, news: list[Fresh]) -> None:
        if any(arrival.event.event in _NEWS for fresh in news for arrival in fresh.arrivals):
            self.wake()

    async def _serve(self) -> None:
        while not self._closing:
            self._wakeup.clear()
            try:
                await self._beat()
                await self._look()
                await self._claim()
            except TocsinError as error:
                log.warning("runs can not be taken now: %s", error)
            except Exception:  # whatever it is, runs that wait are looked for again
                log.exception("runs can not be taken now")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), self._pace.poll_s)

    async def _claim(self) -> None:
        room = RUNS_MAX - len(self._courses)
        if self._stopping or room <= 0:
            return
        for run in await self._records.claim(self._catalog.limits(), limit=room):
            if not self._stopping:  # else it is handed back at the end of `stop`
                course = self._course(run)
                self._courses[_key(run)] = course
                self._follow(run, course.go())

    def _course(self, run: Run) -> Course:
        return Course(
            run,
            self._catalog.flow(run.flow),
            surroundings=self._surroundings,
            records=self._records,
            grace_s=self._pace.grace_s,
        )

    def _follow(self, run: Run, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"run {run.id}")
        self._tasks[_key(run)] = task
        task.add_done_callback(lambda done: self._left(_key(run), done))

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:  # or else it was handed back, and taken again before this was heard of
            del self._tasks[key]
            self._courses.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the run %s could not be followed", key, exc_info=error)
        self._wakeup.set()

    async def _beat(self) -> None:
        """Renew the leases, when it is time to."""
        now_s = self._clock.monotonic_s()
        if self._courses and now_s >= self._beat_due_s:
            await self._records.beat()
            self._beat_due_s = now_s + self._pace.beat_s

    async def _look(self) -> None:
        """Learn which runs are to be ended, and bury what others left behind."""
        courses = list(self._courses.values())
        held = {_key(run): run for run in await self._records.held()}
        for course in courses:
            run = held.get(_key(course.run))
            if run is None or run.owner != self._records.owner:
                course.tell(None)
            elif run.cancelled_by is not None:
                course.tell(endings.cancelled(run.cancelled_by))
        for key, run in held.items():
            if not self._stopping and key not in self._tasks and self._is_abandoned(run):
                self._follow(run, self._bury(run))

    def _is_abandoned(self, run: Run) -> bool:
        if run.owner == self._records.owner:  # it was taken, and did not begin
            return True
        match fate(Process.parse(run.owner or "")):
            case Fate.GONE:
                return True
            case Fate.ALIVE:
                return False
            case Fate.UNSEEN:
                return (run.leased_until_us or 0) < self._clock.now_us()

    async def _bury(self, run: Run) -> None:
        """Hand back a run that had not begun; end what is left of one that had, and record that."""
        if run.state is RunState.CLAIMED:
            await self._records.release(run)
            return
        if run.process is not None:
            process = Process.parse(run.process)
            await end(lambda: orphans(process, run.id), grace_s=self._pace.grace_s)
        await self._records.finish(run, endings.abandoned(run))


def _key(run: Run) -> str:
    return f"{run.id}, attempt {run.attempt}"
