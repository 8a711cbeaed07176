"""The recorder: events become durable, many requests in one append and one commit (law E3).

Whoever takes events also moves the time of the log while none come, so that silence can be judged (law S1).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from tocsin.engine.repeating import Repeating
from tocsin.errors import Overloaded, TocsinError
from tocsin.schemas.event import Event
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store.log import Draft, advance, append, newest
from tocsin.store.writer import Transaction, Writer

_APPEND_EVENTS = 2_000  # an append takes requests until it has as many events


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one request: how many events are in the log now, how many of them were known, and all ids."""

    accepted: int
    duplicates: int | None
    ids: list[str]


class Records(Protocol):
    """What makes events durable: the log itself, or a bus in front of it."""

    accepted: int

    @property
    def waiting(self) -> int: ...

    async def record(self, events: Sequence[Event], *, trace: str | None = None) -> Receipt: ...


@dataclass(slots=True, eq=False)
class _Request:
    drafts: list[Draft]
    answer: asyncio.Future[Receipt]
    receipt: Receipt | None = None


@dataclass(slots=True, eq=False)
class _Gathering:
    """Requests that share an append; closed when the writer begins with it."""

    requests: list[_Request] = field(default_factory=list)
    events: int = 0
    closed: bool = False


class Recorder:
    """Appends events to the log; its methods are called in the event loop."""

    def __init__(self, writer: Writer, *, queue_events: int) -> None:
        """Keep the writer, and how many events may wait for it."""
        self._writer = writer
        self._most = queue_events
        self._waiting = 0
        self._gathering: _Gathering | None = None
        self._lock = threading.Lock()
        self.accepted = 0
        self.duplicates = 0

    @property
    def waiting(self) -> int:
        """How many events wait to be appended."""
        return self._waiting

    async def record(self, events: Sequence[Event], *, trace: str | None = None) -> Receipt:
        """Append the events of one request, all or none of them; they are durable when this returns.

        `trace` is the W3C `traceparent` of the request.

        Raises:
            Overloaded: too many events wait; nothing was kept.
            Unavailable: the store can not write now; nothing was kept.
        """
        if not events:
            return Receipt(0, 0, [])
        if self._waiting + len(events) > self._most and self._waiting:
            raise Overloaded(f"{self._waiting} events wait to be stored: send slower")
        request = _Request([Draft(event, trace=trace) for event in events], asyncio.get_running_loop().create_future())
        self._waiting += len(events)
        try:
            self._gather(request)
            receipt = await request.answer
        finally:
            self._waiting -= len(events)
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates or 0
        return receipt

    def _gather(self, request: _Request) -> None:
        with self._lock:
            gathering = self._gathering
            if gathering is not None and not gathering.closed and gathering.events < _APPEND_EVENTS:
                gathering.requests.append(request)
                gathering.events += len(request.drafts)
                return
            self._gathering = gathering = _Gathering([request], len(request.drafts))
        # At the end of this turn of the loop: requests that have arrived by now are read first, and share the append.
        asyncio.get_running_loop().call_soon(self._send, gathering)

    def _send(self, gathering: _Gathering) -> None:
        loop = asyncio.get_running_loop()
        try:
            future = self._writer.submit(partial(self._append, gathering))
        except TocsinError as error:
            gathering.closed = True
            _tell(gathering, error)
            return
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._answer, gathering, done))

    def _append(self, gathering: _Gathering, tx: Transaction) -> None:
        """The unit: append everything at once, then tell which part of it is whose."""
        with self._lock:
            gathering.closed = True
        drafts = [draft for request in gathering.requests for draft in request.drafts]
        appended = append(tx, drafts)
        new = {(placed.event.source, placed.event.id) for placed in appended.arrivals} if appended.duplicates else None
        start = 0
        for request in gathering.requests:
            stop = start + len(request.drafts)
            ids = appended.ids[start:stop]
            known = 0
            if new is not None:
                for draft, one in zip(request.drafts, ids, strict=True):
                    identity = (draft.event.source, one)
                    known += identity not in new
                    new.discard(identity)  # a second one in the same append is a duplicate
            request.receipt = Receipt(len(ids), known, ids)
            start = stop

    def _answer(self, gathering: _Gathering, done: Future[None]) -> None:
        gathering.closed = True  # also where the writer could not begin: what joined until now is answered here
        error = done.exception()
        if error is not None and not isinstance(error, TocsinError) and len(gathering.requests) > 1:
            for request in gathering.requests:  # one of them may be the culprit: each is appended by itself
                self._send(_Gathering([request], len(request.drafts), closed=True))
            return
        _tell(gathering, error)


def _tell(gathering: _Gathering, error: BaseException | None) -> None:
    for request in gathering.requests:
        if request.answer.done():
            continue
        if error is not None:
            request.answer.set_exception(error)
        elif request.receipt is not None:
            request.answer.set_result(request.receipt)


BEAT_S = 0.2
"""How often the time of the log is moved while nothing is appended, in seconds."""


class Beat:
    """Moves the time of the log while nothing is appended; where several processes share a log, for all of them."""

    def __init__(self, writer: Writer, *, every_s: float = BEAT_S) -> None:
        """Prepare."""
        self._writer = writer
        self._every_s = every_s
        self._beating = Repeating(self._beat, every_s=every_s, first_s=0, trouble="the time of the log stands still")

    def now(self) -> Future[Micros]:
        """Move it now; the future tells where it stands. Raises Unavailable, Overloaded."""
        return self._writer.submit(advance)

    def start(self) -> None:
        """Go on by itself."""
        self._beating.start()

    async def close(self) -> None:
        """Stop."""
        await self._beating.close()

    async def _beat(self) -> None:
        await self._writer.run(self._unless_moved)

    def _unless_moved(self, tx: Transaction) -> None:
        if tx.now_us - newest(tx.connection).received_us >= self._every_s * SECOND / 2:
            advance(tx)
