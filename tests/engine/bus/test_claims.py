"""Whose turn it is, by the group's bookkeeping; on a Redis in memory, with no intake around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from tocsin.engine.bus.channel import GROUP, Channel
from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.hands import Hands

STREAM = "bus"


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    async with FakeAsyncRedis() as client:
        yield client


class Recorder:
    """One consumer of the group: what it holds, and its claims."""

    def __init__(self, client: Any, name: str, *, claim_after_s: float = 10.0) -> None:
        self.client = client
        self.name = name
        self.hands = Hands(most_bytes=1 << 20)
        self.claims = Claims(Channel(client, STREAM), self.hands, consumer=name, claim_after_s=claim_after_s)

    async def read(self, count: int) -> None:
        for _, delivered in await self.client.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=count):
            self.hands.add(delivered)

    async def turn(self) -> list[int]:
        """Return the places of what may be appended now, and acknowledge it."""
        taken = await self.claims.turn(entries=100, most_bytes=1 << 20)
        await self.claims.acknowledge(taken)
        self.hands.drop(taken)
        return [int(entry_id.partition(b"-")[2]) for entry_id, _ in taken]


@pytest.fixture
async def group(client: Any) -> Channel:
    """A stream with the entries 1-1 to 1-9."""
    channel = Channel(client, STREAM)
    await channel.make_group()
    for number in range(1, 10):
        await client.xadd(STREAM, {"data": "x"}, id=f"1-{number}")
    return channel


async def test_s1_nobody_appends_what_is_younger_than_what_another_holds(client: Any, group: Channel) -> None:
    first, second = Recorder(client, "first"), Recorder(client, "second")
    await first.read(2)
    await second.read(3)
    await first.read(4)
    assert await second.turn() == []
    assert await first.turn() == [1, 2]
    assert await first.turn() == []
    assert await second.turn() == [3, 4, 5]
    assert await first.turn() == [6, 7, 8, 9]
    assert await second.turn() == []


async def test_an_answer_that_was_lost_is_taken_up_before_anything_younger(client: Any, group: Channel) -> None:
    recorder = Recorder(client, "first")
    await client.xreadgroup(GROUP, "first", {STREAM: ">"}, count=2)
    await recorder.read(2)
    assert await recorder.turn() == [1, 2, 3, 4]


async def test_what_a_dead_one_held_is_claimed_and_comes_first(client: Any, group: Channel) -> None:
    dead, alive = Recorder(client, "dead"), Recorder(client, "alive", claim_after_s=0)
    await dead.read(4)
    await alive.read(2)
    assert await alive.turn() == []
    await alive.claims._claim()
    assert await alive.turn() == [1, 2, 3, 4, 5, 6]


async def test_only_what_everybody_is_done_with_is_trimmed(client: Any, group: Channel) -> None:
    first, second = Recorder(client, "first"), Recorder(client, "second")
    await first.read(2)
    await second.read(2)
    assert await first.turn() == [1, 2]
    await group.trim()
    assert await client.xlen(STREAM) == 7
    assert await second.turn() == [3, 4]
    await group.trim()
    assert [entry for entry, _ in await client.xrange(STREAM)] == [f"1-{number}".encode() for number in range(4, 10)]


async def test_the_figures_say_how_much_there_is_and_how_old_it_is(client: Any, group: Channel) -> None:
    recorder = Recorder(client, "first")
    figures = await group.figures()
    assert (figures.length, figures.pending, figures.oldest_us) == (9, 0, 1000)
    await recorder.read(4)
    assert (await group.figures()).pending == 4


async def test_hands_give_entries_by_age_however_they_came_and_each_once() -> None:
    hands = Hands(most_bytes=1 << 20)
    hands.add([(b"10-0", {b"a": b"1"}), (b"9-1", None)])
    hands.add([(b"9-0", {}), (b"10-0", {})])
    assert (hands.oldest(), len(hands), b"9-1" in hands) == (b"9-0", 3, True)
    taken = hands.take(b"10-0", entries=100, most_bytes=1 << 20)
    assert [entry_id for entry_id, _ in taken] == [b"9-0", b"9-1"]
    assert b"9-0" in hands
    hands.drop(taken)
    assert b"9-0" not in hands
    assert [entry_id for entry_id, _ in hands.take(None, entries=100, most_bytes=1)] == [b"10-0"]
