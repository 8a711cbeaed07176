"""Recorders are killed between reading, committing and acknowledging: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from tests.engine.bus.desk import Desk
from tests.engine.live import event
from tests.test_house import ROOT

DATABASES = ("postgres",)
SENT = 1_200
KILLS = 6
CLAIM_AFTER_S = 0.5


class Recorders:
    """Two processes that record; one that is killed is replaced by another."""

    def __init__(self, desk: Desk, database: str, *arguments: str) -> None:
        self._command = [
            sys.executable, "-m", "tests.engine.bus.child", desk.server.url, desk.stream, database, *arguments
        ]  # fmt: skip
        self._running: list[subprocess.Popen[bytes]] = []
        self._fresh: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._fresh.append(subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE))
        self._running.append(self._fresh[-1])

    def kill(self, random: Random) -> None:
        victim = self._running.pop(random.randrange(len(self._running)))
        if victim in self._fresh:
            self._fresh.remove(victim)
        victim.kill()
        victim.communicate()

    async def ready(self) -> None:
        """Wait until those are at work that have just been started."""
        for process in self._fresh:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        self._fresh.clear()

    def end(self) -> None:
        while self._running:
            self.kill(Random(0))


@contextmanager
def recorders(desk: Desk, database: str, *arguments: str) -> Iterator[Recorders]:
    made = Recorders(desk, database, *arguments)
    try:
        for _ in range(2):
            made.start()
        yield made
    finally:
        made.end()


async def suffer(desk: Desk, made: Recorders, *, seed: int) -> list[str]:
    """Publish, and kill a recorder again and again whenever some more was recorded; return what was acknowledged."""
    random = Random(seed)
    publisher = await desk.publisher()
    acknowledged: list[str] = []
    kills = KILLS
    while len(acknowledged) < SENT or kills:
        batch = [publisher.record([event(id=f"{len(acknowledged)}-{index}")]) for index in range(random.randint(1, 20))]
        for receipt in await asyncio.gather(*batch):
            acknowledged += receipt.ids
        if kills and random.random() < 0.15:
            before = len(await desk.arrivals())

            async def more(before: int = before) -> bool:
                return len(await desk.arrivals()) > before

            await desk.until(more)
            await asyncio.sleep(random.random() * 0.1)
            await made.ready()
            made.kill(random)
            made.start()
            kills -= 1
        await asyncio.sleep(random.random() * 0.02)
    return acknowledged


async def test_e3_recorders_that_are_killed_lose_nothing_and_double_nothing_and_keep_the_order(
    desk: Desk, url: str
) -> None:
    with recorders(desk, url, str(CLAIM_AFTER_S)) as made:
        await made.ready()
        acknowledged = await suffer(desk, made, seed=11)
        arrivals = await desk.until_recorded(len(acknowledged))
    assert [placed.event.id for placed in arrivals] == acknowledged
    times = [placed.received_us for placed in arrivals]
    assert times == sorted(times)


@pytest.mark.parametrize("safety", ["claims", "order of commit and acknowledgement"])
async def test_control_without_a_safety_something_is_missing(desk: Desk, url: str, safety: str) -> None:
    arguments = ("3600",) if safety == "claims" else (str(CLAIM_AFTER_S), "acknowledge-first")
    with recorders(desk, url, *arguments) as made:
        publisher = await desk.publisher()
        random = Random(5)
        sent = 0
        for _ in range(20):
            await made.ready()
            await asyncio.gather(*(publisher.record([event(id=f"{sent + index}")]) for index in range(5)))
            sent += 5
            await asyncio.sleep(random.random() * 0.05)
            for _ in range(2):
                made.kill(random)
                made.start()
            if len(await desk.arrivals()) < sent and await is_stuck(desk, made, sent):
                break
        assert len(await desk.arrivals()) < sent


async def is_stuck(desk: Desk, made: Recorders, sent: int) -> bool:
    """Return whether recorders that are at work do not record what is missing, for longer than claiming takes."""
    await made.ready()
    before = -1
    while (now := len(await desk.arrivals())) != before:
        before = now
        await asyncio.sleep(6 * CLAIM_AFTER_S)
    return now < sent
