"""Live events as server-sent events.

The log is the buffer: a stream keeps nothing but the place that it has reached, reads on from there when a bell rings
(or after a second, for what other processes append), and waits while its client does. So a slow client costs nothing
and loses nothing, and one that comes back with `Last-Event-ID` goes on where it was.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.sse import ServerSentEvent

from tocsin.app import App
from tocsin.errors import Overloaded, Unavailable
from tocsin.schemas.event import Arrival
from tocsin.store import log

STREAMS_MAX = 100
"""The most streams at the same time."""

_PAGE = 200
_POLL_S = 1.0
_REST_S = 0.05  # under load, many commits are read together


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a stream is for: names by glob (law M1), one resource."""

    event: re.Pattern[str] | None = None
    resource: str | None = None

    def covers(self, arrival: Arrival) -> bool:
        """Return whether the stream is for this event."""
        event = arrival.event
        return (self.event is None or self.event.fullmatch(event.event) is not None) and (
            self.resource is None or self.resource == event.resource["id"]
        )


def glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob over event names, in which `*` stands for one or more characters (law M1)."""
    return re.compile(".+".join(map(re.escape, pattern.split("*"))), re.DOTALL)


class Bell:
    """Wakes the streams when something was appended. Rung by the writer's thread, heard in the event loop."""

    def __init__(self) -> None:
        """Start without listeners."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()
        self._streams = 0
        self.closed = False

    def ring(self) -> None:
        """Wake all streams; from any thread."""
        if self._streams and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Let all streams end; from the event loop."""
        self.closed = True
        self._wake()

    async def heard(self) -> None:
        """Wait until the bell has rung, or for a second."""
        try:
            async with asyncio.timeout(_POLL_S):
                await self._rung.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_REST_S)

    def enter(self) -> None:
        """Count a stream in.

        Raises:
            Overloaded: there are too many.
        """
        if self._streams >= STREAMS_MAX:
            raise Overloaded(f"{STREAMS_MAX} streams are open: close one, or try again later", retry_after_s=10)
        self._loop = asyncio.get_running_loop()
        self._streams += 1

    def leave(self) -> None:
        """Count a stream out."""
        self._streams -= 1

    def _wake(self) -> None:
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()


async def follow(app: App, bell: Bell, after_seq: int, *, wanted: Wanted) -> AsyncIterator[ServerSentEvent]:
    """Yield the events behind a place of the log, then those that come, until the bell is closed."""
    while not bell.closed:
        try:
            arrivals = await app.read(log.after, after_seq, limit=_PAGE)
        except Unavailable:  # the client comes back with its place
            return
        for arrival in arrivals:
            after_seq = arrival.seq
            if wanted.covers(arrival):
                yield ServerSentEvent(data=arrival.document(), id=str(arrival.seq))
        if len(arrivals) < _PAGE:
            await bell.heard()
