"""A server whose PostgreSQL goes away refuses what it can not keep, and goes on by itself when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.engine.live import Live, automation, event
from tests.servers import ON_POSTGRES, Postgres
from tocsin.errors import Unavailable

pytestmark = ON_POSTGRES

SILENT = {"type": "absence", "expect": "a", "after": "start", "within": "10s"}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)


async def test_the_evaluator_goes_on_by_itself_when_the_database_is_back(
    live: Live, postgres: Postgres, url: str
) -> None:
    """Silence that fell due meanwhile is judged without an event to wake it (laws E3, S3)."""
    await live.start(automation(SILENT))
    await live.send(event("start"), at_s=0)
    await live.settle(1)
    try:
        await asyncio.to_thread(postgres.cut, url)
        with pytest.raises(Unavailable):
            await live.send(event("start", id="refused"), at_s=2)
        with pytest.raises(Unavailable):
            await live.app.shards.settled()
    finally:
        await asyncio.to_thread(lambda: postgres.cut(url, off=False))
    live.turn(120)
    await until(lambda: len(live.firings()) == 1)
    assert [verdict for _, verdict, _ in live.fired()] == ["missed"]
    assert "refused" not in [placed.event.id for placed in live.log()]


async def test_connections_that_break_now_and_then_change_nothing(live: Live, postgres: Postgres, url: str) -> None:
    await live.start(automation({"expect": "a", "threshold": 2, "within": "1h"}))
    for number in range(6):
        await live.send(event("a", id=f"e{number}"), at_s=number)
        await asyncio.to_thread(postgres.kick, url)
    await live.settle(10)
    assert len([placed for placed in live.log() if placed.event.event == "a"]) == 6
    assert len(live.firings()) == 1
