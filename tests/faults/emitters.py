"""Emitters: they tell stories over HTTP, several requests at once and in no order, until each is acknowledged.

Each request goes to another front each time, always under the same ids; some are repeated long after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import aiohttp

from tests.crash.senders import Event, Stories

TIMEOUT = aiohttp.ClientTimeout(total=2.5)
AGAIN_S = 0.05
PAUSE_S = 0.12
AT_ONCE = 3
KEPT = 60
"""So many requests are remembered, to be repeated."""

REPEATED = 0.12
ON_THE_BUS = 0.5
"""The part of what is repeated that goes straight to the bus, where there is one."""


@dataclass
class Sent:
    """What emitters know at the end."""

    acknowledged: dict[str, Event] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    requests: int = 0
    resent: int = 0
    repeated: int = 0
    refused: int = 0
    put_on_bus: int = 0
    complaints: list[str] = field(default_factory=list)


class Bus(Protocol):
    """The stream, for those who write to it by themselves."""

    async def put(self, events: Sequence[Event]) -> bool:
        """Append an entry with these events; return whether the stream took it."""
        ...


class Emitter:
    """One of several; what it tells, and to whom, is chosen by `random`."""

    def __init__(self, name: str, random: Random, *, fronts: Sequence[str], sent: Sent, bus: Bus | None) -> None:
        """Begin with new stories; `fronts` are the addresses of those who take events."""
        self._name = name
        self._random = random
        self._stories = Stories(name, random)
        self._fronts = fronts
        self._sent = sent
        self._bus = bus
        self._kept: deque[list[Event]] = deque(maxlen=KEPT)
        self.finishing = False

    async def send(self) -> None:
        """Send until told to finish; the last request is acknowledged, too."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
            while not self.finishing:
                told = [self._stories.events() for _ in range(self._random.randint(1, AT_ONCE))]
                self._random.shuffle(told)
                async with asyncio.TaskGroup() as together:
                    for events in told:
                        together.create_task(self._have_acknowledged(http, events))
                    if self._kept and self._random.random() < REPEATED:
                        together.create_task(self._repeat(http, self._random.choice(self._kept)))
                await asyncio.sleep(self._random.expovariate(1 / PAUSE_S))
            if last := self._stories.goodbyes():
                await self._have_acknowledged(http, last)

    async def _have_acknowledged(self, http: aiohttp.ClientSession, events: list[Event]) -> None:
        receipt, tries = await self._deliver(http, events)
        ids = [event["id"] for event in events]
        self._sent.acknowledged.update((event["id"], event) for event in events)
        self._sent.batches.append(ids)
        self._kept.append(events)
        if receipt["ids"] != ids or receipt["accepted"] != len(ids):
            self._complain(f"{receipt} for {len(ids)} events")
        known = receipt.get("duplicates")
        if known not in (None, 0, len(ids)) or (known and tries == 1):
            self._complain(f"{receipt} for a request that is kept as a whole or not at all (law E3)")

    async def _repeat(self, http: aiohttp.ClientSession, events: list[Event]) -> None:
        self._sent.repeated += 1
        if self._bus is not None and self._random.random() < ON_THE_BUS:
            self._sent.put_on_bus += await self._bus.put(events)
            return
        receipt, _ = await self._deliver(http, events)
        if receipt.get("duplicates") not in (None, len(events)):
            self._complain(f"{receipt} for a request that was acknowledged before")

    async def _deliver(self, http: aiohttp.ClientSession, events: list[Event]) -> tuple[dict[str, Any], int]:
        self._sent.requests += 1
        tries = 0
        body: Any = events[0] if len(events) == 1 else events
        while True:
            tries += 1
            try:
                async with http.post(f"{self._random.choice(self._fronts)}/api/events", json=body) as response:
                    if response.status == 202:
                        return await response.json(), tries
                    said = await response.text()
            except (aiohttp.ClientError, TimeoutError):
                self._sent.resent += 1
            else:
                self._sent.refused += 1
                if response.status not in (429, 503):
                    self._complain(f"{response.status} {said}")
            await asyncio.sleep(AGAIN_S)

    def _complain(self, what: str) -> None:
        self._sent.complaints.append(f"emitter {self._name} got {what}")
