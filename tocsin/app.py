"""The composition root: from Settings to a running App, torn down in reverse order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Concatenate, ParamSpec, TypeVar

from tocsin import __version__
from tocsin.actions.ports import Ports
from tocsin.clock import Clock, SystemClock
from tocsin.engine import standing
from tocsin.engine.definitions import Changes, Definitions, PausePort, Texts, wanted_in
from tocsin.engine.dispatcher import Dispatcher
from tocsin.engine.evaluator import Evaluator
from tocsin.engine.forgetting import forget
from tocsin.engine.garbage import uncollected
from tocsin.engine.http import HttpClient
from tocsin.engine.in_force import InForce
from tocsin.engine.ledger import Ledger
from tocsin.engine.messengers import Messengers
from tocsin.engine.performer import Performer
from tocsin.engine.ports import FoundSecrets, LogEvents, ProcessLog
from tocsin.engine.recorder import Recorder
from tocsin.engine.retention import Keep, Retention
from tocsin.engine.verdicts import Verdicts
from tocsin.engine.watcher import Watcher
from tocsin.errors import HomeInUse, Unavailable
from tocsin.flows.launch import Surroundings, forget_output
from tocsin.flows.ports import QueuePort, RunPort
from tocsin.flows.worker import Catalog, Worker
from tocsin.schemas.firing import Decision
from tocsin.schemas.moments import SECOND, Micros, duration_us
from tocsin.settings import Settings
from tocsin.store import applied, log, schema, uptime
from tocsin.store.checkpoint import Checkpointer
from tocsin.store.database import Connection, Database
from tocsin.store.files import digest_of, read_texts
from tocsin.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

LAG_READY_S = 30.0
"""A server whose judgement is later than this is not ready."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server does its work, and what is wrong with it.

    `lag_s` is how old the oldest event is that was not judged yet, in seconds; `waiting` how many events wait to be
    stored; `definitions` what is wrong with the files on disk, which are not in force as they stand then.
    """

    ready: bool
    lag_s: float
    unjudged: int
    waiting: int
    reason: str = ""
    definitions: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part of a server stands on."""

    settings: Settings
    clock: Clock
    database: Database
    writer: Writer
    definitions: Definitions


class App:
    """A running server, without the HTTP in front of it."""

    def __init__(self, ground: Ground, *, evaluator: Evaluator, dispatcher: Dispatcher, worker: Worker) -> None:
        """Keep the parts."""
        self.settings = ground.settings
        self.clock = ground.clock
        self.database = ground.database
        self.writer = ground.writer
        self.definitions = ground.definitions
        self.recorder = Recorder(ground.writer, queue_events=ground.settings.queue_events)
        self.evaluator = evaluator
        self.dispatcher = dispatcher
        self.worker = worker
        self.retention = _retention(ground, evaluator)
        self.watcher: Watcher | None = None

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query of the store in a thread. Raises Unavailable."""
        return await asyncio.to_thread(lambda: self.database.read(query, *args, **kwargs))

    async def automations(self, *, start: int = 0, limit: int | None = None) -> list[dict[str, object]]:
        """Return automations by name, in brief, from a place among them on."""
        return await self.read(standing.automations, self.definitions, start=start, limit=limit)

    async def automation(self, name: str) -> dict[str, object] | None:
        """Return one automation with what it waits for."""
        return await self.read(standing.automation, self.definitions, self.evaluator, name=name)

    async def forget(self, name: str, labels: Mapping[str, str]) -> list[Decision]:
        """Stop watching one key of an automation (law P8); return the decisions about it.

        Raises:
            NotFound, InvalidInput, Conflict: as `engine.forgetting.forget`.
        """
        await self.evaluator.settled()  # or else an event that was there before would bring it back
        return await self.writer.run(lambda tx: forget(tx, self.evaluator, name, labels=labels))

    async def flows(self) -> list[dict[str, object]]:
        """Return all flows: definition, origin, whether the schedule is paused, when it runs next."""
        return await self.read(standing.flows, self.definitions, self.evaluator)

    async def flow(self, name: str) -> dict[str, object] | None:
        """Return one flow as `flows` does."""
        return next((one for one in await self.flows() if one["name"] == name), None)

    async def load(self, path: Path) -> Changes:
        """Put the definitions of a file or a folder into force.

        Raises:
            InvalidDefinition: they are wrong; what runs is not changed.
            Conflict: a name belongs to a definition that came over the API.
        """
        with uncollected():
            texts = await asyncio.to_thread(read_texts, path)
            digest = digest_of(texts, version=__version__)
            if await self.read(applied.digest) == digest:
                return Changes([], [], [], [])
            return await self.definitions.apply_files(await asyncio.to_thread(wanted_in, texts), digest=digest)

    async def readiness(self) -> Readiness:
        """Say whether the server does its work, and how late it is."""
        head_seq, _ = await self.read(log.newest)
        progress = self.evaluator.progress
        judged_seq = progress.seq if progress is not None else 0
        lag_s = 0.0
        if judged_seq < head_seq:
            oldest = await self.read(log.after, judged_seq, limit=1)
            lag_s = max(0.0, (self.clock.now_us() - oldest[0].received_us) / SECOND) if oldest else 0.0
        ready = progress is not None and lag_s <= LAG_READY_S
        reason = "" if ready else f"judgement is {lag_s:.0f} s late"
        problem = self.watcher.problem if self.watcher is not None else ""
        return Readiness(ready, round(lag_s, 3), max(0, head_seq - judged_seq), self.recorder.waiting, reason, problem)

    async def settled(self) -> None:
        """Wait until what is in the log was judged, and what was to be done was tried; for tests."""
        await self.evaluator.settled()
        await self.dispatcher.settled()


@asynccontextmanager
async def running(
    settings: Settings, path: Path | None = None, *, clock: Clock | None = None, url: Callable[[], str] | None = None
) -> AsyncIterator[App]:
    """Run a server with the definitions at `path` (None: those of the API only).

    Raises:
        HomeInUse: another server runs on this home.
        InvalidDefinition: the definitions are wrong.
        Unavailable: the database can not be used.
    """
    wanted = None if path is None else await asyncio.to_thread(_wanted, settings, path)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.home))
        ground = await _ground(stack, settings, clock or SystemClock())
        worker = _worker(ground, path, url)
        dispatcher = await stack.enter_async_context(await _dispatcher(stack, ground))
        evaluator = _evaluator(ground, dispatcher)
        app = App(ground, evaluator=evaluator, dispatcher=dispatcher, worker=worker)
        if wanted is not None:
            await ground.definitions.apply_files(wanted[0], digest=wanted[1])
        await evaluator.start()
        stack.callback(evaluator.close)
        await worker.start()
        stack.push_async_callback(worker.stop)
        app.retention.start()
        stack.push_async_callback(app.retention.close)
        if path is not None:
            app.watcher = Watcher(path, partial(app.load, path))
            app.watcher.start()
            stack.push_async_callback(app.watcher.close)
        yield app


def _wanted(settings: Settings, path: Path) -> tuple[Texts, str] | None:
    """Return what files want to be in force, with their digest; None if it is: they need not be checked once more."""
    texts = read_texts(path)
    digest = digest_of(texts, version=__version__)
    if settings.home.exists():  # or else there was no server, and a wrong definition leaves nothing behind
        database = Database(settings.database_url())
        try:
            if database.read(applied.digest) == digest:
                return None
        except Unavailable:  # whoever opens it to serve says why
            pass
        finally:
            database.close()
    return wanted_in(texts), digest


async def _ground(stack: AsyncExitStack, settings: Settings, clock: Clock) -> Ground:
    """Open the store and read what is defined."""
    database = Database(settings.database_url(), alone=True)
    stack.callback(database.close)
    await asyncio.to_thread(schema.prepare, database)
    writer = Writer(database, clock, floor_us=await asyncio.to_thread(database.read, uptime.newest_moment))
    writer.start()
    stack.push_async_callback(asyncio.to_thread, writer.close)
    if database.is_sqlite:
        checkpointer = Checkpointer(database, writer)
        checkpointer.start()
        stack.push_async_callback(asyncio.to_thread, checkpointer.close)
    definitions = Definitions(writer, database, api_secrets=settings.api_secrets)
    await writer.run(definitions.load)
    return Ground(settings, clock, database, writer, definitions)


def _evaluator(ground: Ground, dispatcher: Dispatcher) -> Evaluator:
    settings, loop = ground.settings, asyncio.get_running_loop()
    settle_us: Micros = duration_us(settings.settle)

    def call_soon(call: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(call)

    return Evaluator(
        ground.writer,
        ground.clock,
        in_force=InForce(0, lateness_us=duration_us(settings.lateness), settle_us=settle_us),
        ledger=Ledger(blind_after_us=duration_us(settings.blind_after), settle_us=settle_us),
        verdicts=Verdicts(max_depth=settings.max_depth, dispatcher=dispatcher, call_soon=call_soon),
    )


def _retention(ground: Ground, evaluator: Evaluator) -> Retention:
    settings = ground.settings
    keep = Keep(duration_us(settings.keep_events), duration_us(settings.keep_firings), duration_us(settings.keep_runs))
    forget = partial(forget_output, settings.home)
    return Retention(ground.writer, ground.database, ground.clock, evaluator=evaluator, keep=keep, forget=forget)


def _catalog(definitions: Definitions) -> Catalog:
    def limits() -> dict[str, int]:
        return {queue.name: queue.concurrency for queue in definitions.queues()}

    return Catalog(definitions.flow, limits)


def _worker(ground: Ground, path: Path | None, url: Callable[[], str] | None) -> Worker:
    settings, definitions = ground.settings, ground.definitions
    surroundings = Surroundings(
        home=settings.home,
        folder=Path.cwd() if path is None else path if path.is_dir() else path.parent,
        environment=os.environ,
        hidden=definitions.secret_names,
        secret=FoundSecrets().resolve,
        url=url or (lambda: f"http://{settings.host}:{settings.port}"),
    )
    catalog = _catalog(definitions)
    return Worker(ground.database, ground.writer, ground.clock, catalog=catalog, surroundings=surroundings)


async def _dispatcher(stack: AsyncExitStack, ground: Ground) -> Dispatcher:
    definitions = ground.definitions
    messengers = Messengers()
    stack.callback(messengers.close)
    ports = Ports(
        http=await stack.enter_async_context(HttpClient(allow_hosts=ground.settings.allow_hosts)),
        mail=messengers,
        services=messengers,
        channels=definitions,
        secrets=FoundSecrets(),
        log=ProcessLog(),
        queues=QueuePort(lambda name: definitions.queue(name) is not None),
        runs=RunPort(_catalog(definitions)),
        automations=PausePort(definitions, "automation"),
        flows=PausePort(definitions, "flow"),
        events=LogEvents(),
    )
    jitter = Random()  # noqa: S311 - spreads retries, hides nothing
    performer = Performer(ports, clock=ground.clock, definition=definitions.automation, random=jitter)
    owner = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    return Dispatcher(performer, database=ground.database, writer=ground.writer, clock=ground.clock, owner=owner)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home directory against a second server; the lock ends with the process, however it ends.

    Raises:
        HomeInUse: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read(20).strip()
            who = f"process {owner}" if owner else "another process"
            raise HomeInUse(f"{who} already serves {home.absolute()}: stop it, or set TOCSIN_HOME") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
