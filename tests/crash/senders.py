"""Senders as they should be: each request is sent until it is acknowledged, with the same ids every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol

import aiohttp

Event = dict[str, Any]
TIMEOUT = aiohttp.ClientTimeout(total=5)
AGAIN_S = 0.02
PAUSE_S = 0.08
GENERATION = 60
"""So many events tell of the same things; then come others."""

HOSTS_MAX = 10
"""So many hosts of a sender beat, or are missed; older ones are gone."""

STORIES = ("beat", "beat", "beat", "beat", "job", "job", "failed", "failed", "order", "order", "order", "rare")


class Whereabouts:
    """Where the server is now; senders wait here while there is none."""

    def __init__(self) -> None:
        self._url = ""
        self._known = asyncio.Event()

    def say(self, url: str) -> None:
        """Say where the server is; empty for nowhere."""
        self._url = url
        if url:
            self._known.set()
        else:
            self._known.clear()

    async def ask(self) -> str:
        """Return where the server is, as soon as it is somewhere."""
        await self._known.wait()
        return self._url


@dataclass
class Sent:
    """What senders know at the end."""

    acknowledged: dict[str, Event] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    requests: int = 0
    resent: int = 0
    repeated: int = 0
    refused: int = 0
    complaints: list[str] = field(default_factory=list)


class Messenger:
    """Takes requests to a server until they are acknowledged, and looks at the receipts."""

    def __init__(self, name: str, *, sent: Sent, where: Callable[[], Awaitable[str]], again_s: float = AGAIN_S) -> None:
        """Prepare; `where` tells the address for the next try, which is made after `again_s`."""
        self._name = name
        self._sent = sent
        self._where = where
        self._again_s = again_s

    async def have_acknowledged(self, http: aiohttp.ClientSession, events: Sequence[Event]) -> None:
        """Have events acknowledged for the first time."""
        receipt, tries = await self._deliver(http, events)
        ids = [event["id"] for event in events]
        self._sent.acknowledged.update((event["id"], event) for event in events)
        self._sent.batches.append(ids)
        if receipt["ids"] != ids or receipt["accepted"] != len(ids):
            self._complain(f"{receipt} for {len(ids)} events")
        known = receipt.get("duplicates")  # behind the bus nobody knows yet
        if known not in (None, 0, len(ids)) or (known and tries == 1):
            self._complain(f"{receipt} for a request that is kept as a whole or not at all (law E3)")

    async def repeat(self, http: aiohttp.ClientSession, events: Sequence[Event]) -> None:
        """Have events acknowledged once more."""
        self._sent.repeated += 1
        receipt, _ = await self._deliver(http, events)
        if receipt.get("duplicates") not in (None, len(events)):
            self._complain(f"{receipt} for a request that was acknowledged before")

    async def _deliver(self, http: aiohttp.ClientSession, events: Sequence[Event]) -> tuple[dict[str, Any], int]:
        self._sent.requests += 1
        tries = 0
        body: Any = events[0] if len(events) == 1 else events
        while True:
            url = await self._where()
            tries += 1
            try:
                async with http.post(f"{url}/api/events", json=body) as response:
                    if response.status == 202:
                        return await response.json(), tries
                    said = await response.text()
            except (aiohttp.ClientError, TimeoutError):
                self._sent.resent += 1
            else:
                self._sent.refused += 1
                if response.status not in (429, 503):
                    self._complain(f"{response.status} {said}")
            await asyncio.sleep(self._again_s)

    def _complain(self, what: str) -> None:
        self._sent.complaints.append(f"{self._name} got {what}")


class Sends(Protocol):
    """One of several that send at the same time, until it is told to finish."""

    name: str
    finishing: bool

    async def send(self) -> None: ...


@asynccontextmanager
async def at_work(crowd: Sequence[Sends], *, finish_s: float) -> AsyncIterator[list[str]]:
    """Have all send; at the end let them finish. Whoever can not in time is named in the list that is given."""
    work = [asyncio.create_task(one.send(), name=one.name) for one in crowd]
    unanswered: list[str] = []
    try:
        yield unanswered
        for one in crowd:
            one.finishing = True
        done, late = await asyncio.wait(work, timeout=finish_s)
        unanswered += [task.get_name() for task in late]
        for task in done:
            task.result()
    finally:
        while not all(task.done() for task in work):  # a timeout of the HTTP client may swallow a cancellation
            for task in work:
                task.cancel()
            await asyncio.wait(work, timeout=1)


class Stories:
    """What a sender tells: short stories about things that come and go."""

    def __init__(self, name: str, random: Random) -> None:
        """Begin; the things have `name` in their ids."""
        self._name = name
        self._random = random
        self._count = 0
        self._hosts: list[str] = []

    def events(self) -> list[Event]:
        """Return the events of the next request; when a generation is over, its hosts say goodbye."""
        size = self._random.choice((1, 1, 1, 2, 5, 20))
        events = [self._event() for _ in range(size)]
        if len(self._hosts) > HOSTS_MAX:
            oldest = self._hosts.pop(0)
            events.append(self._goodbye(oldest))
        return events

    def goodbyes(self) -> list[Event]:
        """Return the last events: all hosts that are not gone say goodbye."""
        return [self._goodbye(host) for host in self._hosts]

    def _event(self) -> Event:
        generation = self._count // GENERATION - (self._random.random() < 0.2)
        thing = f"{self._name}-{generation}-{self._random.randrange(4)}"
        name, resource = self._story(self._random.choice(STORIES), thing)
        if name == "host.beat" and resource not in self._hosts:
            self._hosts.append(resource)
        event = self._made(name, resource)
        if self._random.random() < 0.7:
            ago = timedelta(seconds=self._random.choice((0, 0, 0, 0.1, 0.5, 1.5)) * self._random.random())
            event["occurred"] = (datetime.now(UTC) - ago).isoformat()
        if self._random.random() < 0.3:
            event["payload"] = {"number": self._count, "text": "x" * self._random.choice((10, 100, 5_000))}
        return event

    def _goodbye(self, host: str) -> Event:
        return self._made("host.gone", host)

    def _made(self, name: str, resource: str) -> Event:
        self._count += 1
        return {"event": name, "resource": {"id": resource}, "id": f"{self._name}-{self._count}"}

    def _story(self, kind: str, thing: str) -> tuple[str, str]:
        if kind == "beat":
            return "host.beat", f"host/{thing}"
        if kind == "job":
            return self._random.choice(("job.started", "job.started", "job.finished")), f"job/{thing}"
        if kind == "failed":
            return "job.failed", f"job/{thing}"
        if kind == "order":
            return "order.placed", f"order/{thing}"
        if self._random.random() < 0.3:
            return "line.broken", f"line-{self._random.randrange(3)}"
        return ("flow.wanted", f"want/{thing}") if self._random.random() < 0.4 else ("nothing.special", thing)


class Sender:
    """One of several that send at the same time; what it sends is chosen by `random`."""

    def __init__(self, name: str, random: Random, *, where: Whereabouts, sent: Sent) -> None:
        self._random = random
        self._stories = Stories(name, random)
        self.name = f"sender {name}"
        self._messenger = Messenger(self.name, sent=sent, where=where.ask)
        self.finishing = False

    async def send(self) -> None:
        """Send until told to finish; the last request is acknowledged, too."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
            while not self.finishing:
                await self._request(http, self._stories.events())
                await asyncio.sleep(self._random.expovariate(1 / PAUSE_S))
            await self._request(http, self._stories.goodbyes(), twice=True)

    async def _request(self, http: aiohttp.ClientSession, events: list[Event], *, twice: bool = False) -> None:
        """Have events acknowledged, and now and then the same ones once more."""
        await self._messenger.have_acknowledged(http, events)
        if twice or self._random.random() < 0.05:
            await self._messenger.repeat(http, events)


def senders(count: int, random: Random, *, where: Whereabouts, sent: Sent) -> Iterator[Sender]:
    """Return so many senders, each with a randomness of its own."""
    for number in range(count):
        yield Sender(f"s{number}", Random(random.random()), where=where, sent=sent)
