"""Emitters: they tell stories over HTTP, several requests at once and in no order, until each is acknowledged.

Each request goes to another front each time, always under the same ids; some are repeated long after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import aiohttp

from tests.crash import senders
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
class Sent(senders.Sent):
    """What emitters know at the end."""

    put_on_bus: int = 0


class Bus(Protocol):
    """The stream, for those who write to it by themselves."""

    async def put(self, events: Sequence[Event]) -> bool:
        """Append an entry with these events; return whether the stream took it."""
        ...


class Emitter:
    """One of several; what it tells, and to whom, is chosen by `random`."""

    def __init__(self, name: str, random: Random, *, fronts: Sequence[str], sent: Sent, bus: Bus | None) -> None:
        """Begin with new stories; `fronts` are the addresses of those who take events."""
        self._random = random
        self._stories = Stories(name, random)
        self._fronts = fronts
        self.name = f"emitter {name}"
        self._messenger = senders.Messenger(self.name, sent=sent, where=self._front, again_s=AGAIN_S)
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

    async def _front(self) -> str:
        return self._random.choice(self._fronts)

    async def _have_acknowledged(self, http: aiohttp.ClientSession, events: list[Event]) -> None:
        await self._messenger.have_acknowledged(http, events)
        self._kept.append(events)

    async def _repeat(self, http: aiohttp.ClientSession, events: list[Event]) -> None:
        if self._bus is not None and self._random.random() < ON_THE_BUS:
            self._sent.repeated += 1
            self._sent.put_on_bus += await self._bus.put(events)
        else:
            await self._messenger.repeat(http, events)
