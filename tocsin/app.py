"""The composition root: from Settings to a running App, torn down in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from tocsin import __version__
from tocsin.actions.ports import Ports
from tocsin.clock import Clock, FollowingClock, SystemClock
from tocsin.engine import standing
from tocsin.engine.definitions import Definitions, PausePort
from tocsin.engine.dispatcher import Dispatcher
from tocsin.engine.entries import Changes, Texts, wanted_in
from tocsin.engine.evaluator import Evaluator
from tocsin.engine.forgetting import forget
from tocsin.engine.garbage import uncollected
from tocsin.engine.heartbeat import Heartbeat
from tocsin.engine.http import HttpClient
from tocsin.engine.in_force import InForce
from tocsin.engine.ledger import Ledger
from tocsin.engine.messengers import Messengers
from tocsin.engine.performer import Performer
from tocsin.engine.ports import FoundSecrets, LogEvents, ProcessLog
from tocsin.engine.presence import Presence
from tocsin.engine.readiness import Readiness
from tocsin.engine.recorder import Beat, Recorder, Records
from tocsin.engine.retention import Keep, Retention
from tocsin.engine.shards import Judging, Shards
from tocsin.engine.stored import Judges
from tocsin.engine.tail import Tail
from tocsin.engine.tracing import Tracing, tracing_of
from tocsin.engine.verdicts import Verdicts
from tocsin.engine.watch import Watch
from tocsin.engine.watcher import Watcher, signature
from tocsin.errors import Unavailable
from tocsin.flows.launch import Surroundings, forget_output
from tocsin.flows.ports import QueuePort, RunPort
from tocsin.flows.worker import Catalog, Worker
from tocsin.schemas.firing import Decision
from tocsin.schemas.moments import SECOND, Micros, duration_us
from tocsin.settings import ROLES, Settings
from tocsin.sources.native import NativeParser
from tocsin.store import applied, log, schema
from tocsin.store.checkpoint import Checkpointer
from tocsin.store.database import Connection, Database
from tocsin.store.files import digest_of, read_texts
from tocsin.store.home import locked
from tocsin.store.processes import BEAT_S, Process
from tocsin.store.signals import Listener
from tocsin.store.writer import Fresh, Signal, Writer

if TYPE_CHECKING:
    from tocsin.engine.bus.intake import Intake
    from tocsin.engine.bus.publisher import Publisher

P = ParamSpec("P")
T = TypeVar("T")

_FORGET_TRIES, _FORGET_AGAIN_S = 20, 0.2


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part of a server stands on.

    `judging` is the writer of those who judge: on PostgreSQL one of its own, so that nobody waits for it to append.
    `name` is the process's, never used again by another.
    """

    settings: Settings
    clock: Clock
    database: Database
    writer: Writer
    judging: Writer
    definitions: Definitions
    name: str
    tracing: Tracing | None

    @property
    def receives(self) -> bool:
        """Whether this process takes events into the log itself, so that the time of the log is its to move."""
        return "api" in self.settings.roles and self.settings.bus is None


class App:
    """A running server, without the HTTP in front of it. All parts are there; those of its roles are at work."""

    def __init__(
        self, ground: Ground, *, shards: Shards, verdicts: Verdicts, dispatcher: Dispatcher, worker: Worker
    ) -> None:
        """Keep the parts."""
        self.settings = ground.settings
        self.roles = ground.settings.roles
        self.name = ground.name
        self.clock = ground.clock
        self.database = ground.database
        self.writer = ground.writer
        self.judging = ground.judging
        self.definitions = ground.definitions
        self.recorder: Records = Recorder(ground.writer, queue_events=ground.settings.queue_events)
        self.shards = shards
        self.verdicts = verdicts
        self.tracing = ground.tracing
        self.dispatcher = dispatcher
        self.worker = worker
        self.judges = _judges(ground.settings)
        self.retention = _retention(ground, shards, self.judges)
        self.watcher: Watcher | None = None
        self.watch = Watch(self, blind_after_us=duration_us(ground.settings.blind_after))
        self.heartbeat: Heartbeat | None = None
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.publisher: Publisher | None = None
        self.intake: Intake | None = None
        self.on_log: list[Callable[[], None]] = []
        for writer in {ground.writer, ground.judging}:
            writer.on_fresh.append(self._appended)

    def _appended(self, fresh: list[Fresh]) -> None:
        """Hand over what this process has appended; in the thread of a writer."""
        if "evaluator" in self.roles:
            self.shards.hear(fresh)
        for call in self.on_log:
            call()

    def hear(self, signal: Signal | None) -> None:
        """Look for what other processes have done: what a signal says, or everything."""
        if signal in (Signal.LOG, None):
            self.shards.nudge()
            for call in self.on_log:
                call()
        if signal in (Signal.INTENTS, None):
            self.dispatcher.nudge()
        if signal in (Signal.RUNS, None):
            self.worker.wake()
        if signal in (Signal.SHARDS, None):
            self.shards.take()
        if signal in (Signal.DEFINITIONS, None):
            self.definitions.look()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query of the store in a thread. Raises Unavailable."""
        return await asyncio.to_thread(lambda: self.database.read(query, *args, **kwargs))

    async def automations(self, *, start: int = 0, limit: int | None = None) -> list[dict[str, object]]:
        """Return automations by name, in brief, from a place among them on."""
        return await self.read(standing.automations, self.definitions, start=start, limit=limit)

    async def automation(self, name: str) -> dict[str, object] | None:
        """Return one automation with what it waits for."""
        return await self.read(standing.automation, self.definitions, self.judges, name=name)

    async def forget(self, name: str, labels: Mapping[str, str]) -> list[Decision]:
        """Stop watching one key of an automation (law P8); return the decisions about it.

        Raises:
            NotFound, InvalidInput, Conflict, Unavailable: as `engine.forgetting.forget`.
        """
        after_seq = (await self.read(log.newest)).seq
        await self.shards.settled()
        unit = partial(forget, judges=self.judges, name=name, labels=labels, after_seq=after_seq)
        for _ in range(_FORGET_TRIES):
            with contextlib.suppress(Unavailable):  # another process judges it, and is not there yet
                return await self.writer.run(unit)
            await asyncio.sleep(_FORGET_AGAIN_S)
        return await self.writer.run(unit)

    async def flows(self) -> list[dict[str, object]]:
        """Return all flows: definition, origin, whether the schedule is paused, when it runs next."""
        return await self.read(standing.flows, self.definitions, self.judges)

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
        return await self.watch.readiness()

    async def settled(self) -> None:
        """Wait until what is in the log was judged, and what was to be done was tried; for tests."""
        await self.shards.settled()
        await self.dispatcher.settled()


@asynccontextmanager
async def running(
    settings: Settings, path: Path | None = None, *, clock: Clock | None = None, url: Callable[[], str] | None = None
) -> AsyncIterator[App]:
    """Run a server with the definitions at `path` (None: those of the API only).

    Raises:
        HomeInUse: another server runs on this home, or on this SQLite file.
        InvalidDefinition: the definitions are wrong.
        Unavailable: the database can not be used.
    """
    seen = [] if path is None else await asyncio.to_thread(signature, path)  # before they are read: an edit is not lost
    wanted = None if path is None else await asyncio.to_thread(_wanted, settings, path)
    async with AsyncExitStack() as stack:
        ground = await _ground(stack, settings, clock)
        worker = _worker(ground, path, url)
        dispatcher = await _dispatcher(stack, ground)
        beat = Beat(ground.writer)
        verdicts = _verdicts(ground, dispatcher)
        shards = _shards(ground, verdicts, beat)
        app = App(ground, shards=shards, verdicts=verdicts, dispatcher=dispatcher, worker=worker)
        if wanted is not None:
            await ground.definitions.apply_files(wanted[0], digest=wanted[1])
        await _begin(stack, app, beat)
        if path is not None:
            app.watcher = Watcher(path, partial(app.load, path), seen=seen)
            app.watcher.start()
            stack.push_async_callback(app.watcher.close)
        yield app


async def _begin(stack: AsyncExitStack, app: App, beat: Beat) -> None:
    """Set the parts of the process's roles to work, each after those that it hands something to."""
    shared = not app.database.is_sqlite
    if app.settings.bus is not None:
        await _board(stack, app)
    presence = Presence(app.writer, _process(app), every_s=BEAT_S if shared else 5 * BEAT_S, detail=app.watch.detail)
    await presence.start()
    stack.push_async_callback(presence.close)
    if "dispatcher" in app.roles:
        await stack.enter_async_context(app.dispatcher)
    if shared and "api" in app.roles and app.settings.bus is None:
        beat.start()
        stack.push_async_callback(beat.close)
    if "evaluator" in app.roles:
        await app.shards.start()
        stack.push_async_callback(app.shards.close)
        app.retention.start()
        stack.push_async_callback(app.retention.close)
    if "worker" in app.roles:
        await app.worker.start()
        stack.push_async_callback(app.worker.stop)
    if shared:
        app.definitions.start()
        stack.push_async_callback(app.definitions.close)
        loop = asyncio.get_running_loop()

        def heard(signal: Signal | None) -> None:
            loop.call_soon_threadsafe(app.hear, signal)

        listener = Listener(app.database, heard)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.close)
    if (check := app.settings.heartbeat_url) is not None:
        http = await stack.enter_async_context(HttpClient())
        every_s = duration_us(app.settings.heartbeat_every) / SECOND
        app.heartbeat = Heartbeat(http, check.get_secret_value(), every_s=every_s, ready=app.watch.readiness)
        app.heartbeat.start()
        stack.push_async_callback(app.heartbeat.close)


async def _board(stack: AsyncExitStack, app: App) -> None:
    """Take events to the bus instead of the log, and record what is on it, as far as that is this process's role."""
    from tocsin.engine.bus.opening import intake_of, publisher_of

    if "api" in app.roles:
        app.recorder = app.publisher = publisher_of(app.settings, app.clock)
        await app.publisher.start()
        stack.push_async_callback(app.publisher.close)
        app.watch.trouble.append(lambda: app.publisher.problem if app.publisher is not None else "")
    if "recorder" in app.roles:
        parser = NativeParser(app.settings.limits())
        app.intake = intake_of(app.settings, app.writer, parser=parser, process=app.name)
        await app.intake.start()
        stack.push_async_callback(app.intake.close)
        app.watch.trouble.append(lambda: app.intake.problem if app.intake is not None else "")
        app.intake.failure.add_done_callback(partial(_fail, app))


def _fail(app: App, failure: asyncio.Future[str]) -> None:
    if not failure.cancelled() and not app.failed.done():
        app.failed.set_result(failure.result())


def _process(app: App) -> Process:
    roles = tuple(role for role in ROLES if role in app.roles)
    bus = None
    if app.settings.bus is not None:
        from tocsin.engine.bus.opening import shown

        bus = f"{shown(app.settings)} {app.settings.bus_stream}"
    return Process(app.name, roles, platform.node(), os.getpid(), __version__, bus=bus)


def _wanted(settings: Settings, path: Path) -> tuple[Texts, str] | None:
    """Return what files want to be in force, with their digest; None if it is: they need not be checked once more."""
    texts = read_texts(path)
    digest = digest_of(texts, version=__version__)
    if (
        settings.database or settings.home.exists()
    ):  # or else there was no server, and a wrong definition leaves nothing behind
        database = Database(settings.database_url())
        try:
            if database.read(applied.digest) == digest:
                return None
        except Unavailable:  # whoever opens it to serve says why
            pass
        finally:
            database.close()
    return wanted_in(texts), digest


async def _ground(stack: AsyncExitStack, settings: Settings, clock: Clock | None) -> Ground:
    """Open the store and read what is defined; without a clock, take the machine's, or PostgreSQL's."""
    database = Database(settings.database_url(), serves=True)
    if database.is_sqlite:
        stack.enter_context(locked(settings.home, file=database.url.database))
    stack.callback(database.close)
    await asyncio.to_thread(schema.prepare, database, shards=settings.shards)
    if clock is None:
        clock = SystemClock() if database.is_sqlite else FollowingClock(SystemClock())
    floor_us = (await asyncio.to_thread(database.read, log.newest)).received_us if database.is_sqlite else 0
    made = partial(
        Writer, database, clock, floor_us=floor_us, blind_after_us=duration_us(settings.blind_after),
        receives="api" in settings.roles and settings.bus is None,
    )  # fmt: skip
    writer = made()
    judging = writer if database.is_sqlite else made()
    for one in (judging, writer) if judging is not writer else (writer,):
        one.start()
        stack.push_async_callback(asyncio.to_thread, one.close)
    if database.is_sqlite:
        checkpointer = Checkpointer(database, writer)
        checkpointer.start()
        stack.push_async_callback(asyncio.to_thread, checkpointer.close)
    definitions = Definitions(writer, api_secrets=settings.api_secrets)
    await writer.run(definitions.load)
    name = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    tracing = tracing_of(os.environ, clock, version=__version__, process=name)
    if tracing is not None:
        stack.push_async_callback(asyncio.to_thread, tracing.close)
    return Ground(settings, clock, database, writer, judging, definitions, name, tracing)


def _verdicts(ground: Ground, dispatcher: Dispatcher) -> Verdicts:
    loop = asyncio.get_running_loop()

    def call_soon(call: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(call)

    return Verdicts(
        max_depth=ground.settings.max_depth, dispatcher=dispatcher, call_soon=call_soon, tracing=ground.tracing
    )


def _shards(ground: Ground, verdicts: Verdicts, beat: Beat) -> Shards:
    settings, shared = ground.settings, not ground.database.is_sqlite
    settle_us: Micros = duration_us(settings.settle)
    ledger = Ledger(settle_us=settle_us, beats=not shared)
    tail = Tail()

    def make(shard: int) -> Evaluator:
        in_force = InForce(
            shard, lateness_us=duration_us(settings.lateness), settle_us=settle_us, same=ground.definitions.text
        )
        return Evaluator(
            in_force=in_force, ledger=ledger, verdicts=verdicts, tail=tail, owner=ground.name if shared else None
        )

    judging = Judging(
        make,
        tail,
        owner=ground.name if shared else None,
        leasing=ground.writer if shared else None,
        beat=beat.now if shared and ground.receives else None,
        waits=shared and not ground.receives,
    )
    return Shards(ground.judging, ground.clock, judging)


def _judges(settings: Settings) -> Judges:
    return Judges(lateness_us=duration_us(settings.lateness), settle_us=duration_us(settings.settle))


def _retention(ground: Ground, shards: Shards, judges: Judges) -> Retention:
    settings = ground.settings
    keep = Keep(duration_us(settings.keep_events), duration_us(settings.keep_firings), duration_us(settings.keep_runs))
    forget = partial(forget_output, settings.home)
    return Retention(
        ground.writer, ground.database, ground.clock, shards=shards, judges=judges, keep=keep, forget=forget
    )


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
        url=lambda: settings.url or (url() if url else f"http://{settings.host}:{settings.port}"),
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
    return Dispatcher(
        performer, database=ground.database, writer=ground.writer, clock=ground.clock, owner=ground.name,
        tracing=ground.tracing,
    )  # fmt: skip
