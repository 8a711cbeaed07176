"""The publisher: events go into the stream, many requests in one round trip, and are answered when they are safe there.

Rule 1: one entry a request, so it is in the stream as a whole or not at all (law E3).
Rule 2: an answer follows Redis's own, and what strict durability asks for after it. What is in doubt is refused; who
repeats it under the same ids doubles nothing (law E2).
Rule 3: nothing waits without a bound: not for room in the stream, not for an answer.
Rule 4: while nothing else is published, an entry says every 0.2 s that something could have been (law S2). A full
stream gets none: what is refused could not be received.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from tocsin.clock import Clock
from tocsin.engine.bus.address import ANSWER_S, Address
from tocsin.engine.bus.channel import BUS_ERRORS, Channel, Figures, away
from tocsin.engine.bus.durability import Waits, waits_for
from tocsin.engine.bus.entries import BEAT, EVENTS, headers_of, written
from tocsin.engine.recorder import Receipt
from tocsin.errors import Overloaded, TocsinError, Unavailable
from tocsin.schemas.event import Event, identified
from tocsin.schemas.identity import uuid7s
from tocsin.schemas.moments import SECOND, span

log = logging.getLogger(__name__)

BEAT_EVERY_S = 0.2
GROUP_REQUESTS, GROUP_BYTES = 256, 4 << 20
"""How many requests, or bytes of them, share a round trip."""
VERIFY_EVERY_S = 10.0
"""How often Redis's settings are looked at again, in seconds; also after each new connection and each failure."""
SKEW_US = 2 * SECOND
"""How far Redis's clock may be from ours before somebody is told."""
ROUND_S = ANSWER_S + 3.0
"""How long one round may take in all, in seconds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait: `entries` in the stream, `events` in this process; and who must have an entry."""

    entries: int
    events: int
    strict: bool = True
    replicas: int = 0


@dataclass(slots=True, eq=False)
class _Request:
    body: bytes
    headers: dict[str, str]
    name: str
    events: int
    answer: asyncio.Future[None]


class Publisher:
    """Takes events as the recorder does; its methods are called in the event loop."""

    def __init__(self, address: Address, clock: Clock, *, stream: str, bounds: Bounds) -> None:
        """Keep where the stream is, and how much may wait; nothing is opened yet."""
        self._address = address
        self._clock = clock
        self._stream = stream
        self._bounds = bounds
        self._connects = 0
        options = {} if address.hosts == () or address.kind == "redis+cluster" else {"redis_connect_func": self._greet}
        self._broker = address.broker(**options)
        self._client: Any = None
        self._queue: deque[_Request] = deque()
        self._wanted = asyncio.Event()
        self._waiting = 0
        self._length = 0
        self._waits: Waits | None = None
        self._verified = (-1, float("-inf"))
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.accepted = 0
        self.problem = ""

    @property
    def waiting(self) -> int:
        """How many events wait to be published."""
        return self._waiting

    async def start(self) -> None:
        """Connect, and look whether Redis keeps what it answers.

        Raises:
            Unavailable: it does not answer.
            TocsinError: it may lose what it has answered, and durability is strict.
        """
        try:
            async with asyncio.timeout(ROUND_S):
                self._client = await self._broker.connect()
                await self._verify()
                self._length = await self._client.xlen(self._stream)
        except BaseException as error:
            await self._broker.stop()
            if isinstance(error, BUS_ERRORS):
                raise away(str(self._address), error) from None
            raise
        self._task = asyncio.create_task(self._serve(), name="tocsin-bus-publisher")

    async def close(self) -> None:
        """Publish what waits, then disconnect."""
        if self._closing:
            return
        self._closing = True
        self._wanted.set()
        if self._task is not None:
            await self._task
        await self._broker.stop()

    async def record(self, events: Sequence[Event], *, trace: str | None = None) -> Receipt:
        """Publish the events of one request, all or none of them; they are safe in Redis when this returns.

        What was a duplicate is found out later, when they are recorded, so nobody is told (`duplicates` is None).

        Raises:
            Overloaded: the stream is full, or too much waits here; nothing was kept.
            Unavailable: Redis is away, or it is in doubt what it kept: try again under the same ids.
        """
        if not events:
            return Receipt(0, None, [])
        if self._closing:
            raise Unavailable("the server is stopping")
        if self._length + len(self._queue) >= self._bounds.entries:
            raise Overloaded(f"the bus is full ({self._length} entries wait to be recorded): send later")
        if self._waiting + len(events) > self._bounds.events and self._waiting:
            raise Overloaded(f"{self._waiting} events wait for the bus: send slower")
        named = self._named(events)
        ids = [event.id or "" for event in named]
        answer = asyncio.get_running_loop().create_future()
        request = _Request(written(named), headers_of(EVENTS, trace), ids[0], len(named), answer)
        self._waiting += len(named)
        try:
            self._queue.append(request)
            self._wanted.set()
            await answer
        finally:
            self._waiting -= len(named)
        self.accepted += len(named)
        return Receipt(len(named), None, ids)

    async def figures(self) -> Figures:
        """Return how much is in the stream. Raises Unavailable."""
        try:
            async with asyncio.timeout(ROUND_S):
                return await Channel(self._client, self._stream).figures()
        except BUS_ERRORS as error:
            raise away(str(self._address), error) from None

    def _named(self, events: Sequence[Event]) -> Sequence[Event]:
        if all(event.id is not None for event in events):
            return events
        fresh = uuid7s(self._clock.now_us(), len(events))
        return [event if event.id is not None else identified(event, next(fresh)) for event in events]

    async def _serve(self) -> None:
        """Publish what waits, or a beat; until it is closed."""
        while self._queue or not self._closing:
            if not self._queue:
                self._wanted.clear()
                try:
                    async with asyncio.timeout(BEAT_EVERY_S):
                        await self._wanted.wait()
                except TimeoutError:
                    pass
                else:
                    await asyncio.sleep(0)  # requests that have arrived by now are read first, and share the round
            group = self._take()
            if not group and self._closing:
                return
            try:
                async with asyncio.timeout(ROUND_S):
                    await self._round(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told, and this goes on
                self._refuse(group, error)
            else:
                self._answer(group)

    def _take(self) -> list[_Request]:
        group: list[_Request] = []
        size = 0
        while self._queue and len(group) < GROUP_REQUESTS and size < GROUP_BYTES:
            request = self._queue.popleft()
            if not request.answer.done():  # its sender has gone
                group.append(request)
                size += len(request.body)
        return group

    async def _round(self, group: list[_Request]) -> None:
        """Publish requests, or a beat, and make sure that they are safe; any error means that it is in doubt."""
        waits = await self._verify()
        pipe = self._client.pipeline(transaction=False)
        for request in group:
            await self._add(pipe, request.body, request.headers, name=request.name)
        beats = not group and self._length < self._bounds.entries
        if beats:
            await self._add(pipe, b"", headers_of(BEAT), name="beat")
        asked = waits.command() if group or beats else None
        if asked is not None:
            pipe.execute_command(*asked, **self._where())
        pipe.xlen(self._stream)
        cluster = isinstance(self._client, RedisCluster)
        # In a cluster, what was sent to the wrong node is in doubt: the question behind it went there, too.
        options = {"allow_redirections": False} if cluster else {}
        answers = await pipe.execute(raise_on_error=False, **options)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if asked is not None and (missing := waits.missing(answers[-2])):
            raise RedisError(missing)
        self._length = int(answers[-1])
        await self._verify()  # of who has answered: it may have been restarted since with other settings

    async def _add(self, pipe: Any, body: bytes, headers: dict[str, str], *, name: str) -> None:
        await self._broker.publish(body, stream=self._stream, headers=headers, correlation_id=name, pipeline=pipe)

    def _where(self) -> dict[str, Any]:
        if not isinstance(self._client, RedisCluster):
            return {}
        return {"target_nodes": self._client.get_node_from_key(self._stream)}

    async def _greet(self, connection: Any) -> None:
        """Count connections: behind a new one there may be another Redis than before."""
        self._connects += 1
        await connection.on_connect()

    async def _verify(self) -> Waits:
        """Return what must be asked for after a write; look again where a connection is new, or some time has passed.

        Raises:
            TocsinError: Redis may lose what it answers, and durability is strict.
            RedisError, OSError: it does not answer.
        """
        now_s = self._clock.monotonic_s()
        connects, at_s = self._verified
        if self._waits is not None and connects == self._connects and now_s - at_s < VERIFY_EVERY_S:
            return self._waits
        shown, bounds = str(self._address), self._bounds
        while True:
            connects = self._connects
            waits = await waits_for(self._client, shown, strict=bounds.strict, replicas=bounds.replicas)
            if connects == self._connects:
                break
        if connects != self._verified[0]:
            await self._compare_clocks()
        self._waits, self._verified = waits, (self._connects, now_s)
        return waits

    async def _compare_clocks(self) -> None:
        seconds, micros = await self._client.time(**self._where())
        ahead_us = seconds * SECOND + micros - self._clock.now_us()
        if abs(ahead_us) > SKEW_US:
            log.warning("the clock of the bus at %s is %s %s ours: set both by NTP, or deadlines are late",
                        self._address, span(abs(ahead_us)), "ahead of" if ahead_us > 0 else "behind")  # fmt: skip

    def _answer(self, group: list[_Request]) -> None:
        if self.problem:
            log.info("the bus at %s takes events again", self._address)
            self.problem = ""
        for request in group:
            if not request.answer.done():
                request.answer.set_result(None)

    def _refuse(self, group: list[_Request], error: Exception) -> None:
        refusal: TocsinError = error if isinstance(error, TocsinError) else away(str(self._address), error)
        if not isinstance(error, (TocsinError, *BUS_ERRORS)):
            log.error("the bus could not be written to", exc_info=error)
        if not self.problem:
            log.warning("events are refused: %s", refusal)
        self.problem = str(refusal)
        self._waits = None  # who answers next is asked anew
        if not isinstance(refusal, Unavailable):
            refusal = Unavailable(self.problem)
        for request in group:
            if not request.answer.done():
                request.answer.set_exception(refusal)
