"""A server moves from SQLite to PostgreSQL: what was open stays open there, in whichever shard it is judged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from tests.engine.live import Live, automation, event
from tocsin.schemas.identity import shard_of
from tocsin.store import states
from tocsin.store.copying import copy
from tocsin.store.database import Database
from tocsin.store.tables import states as states_table

SHARDS = 5
NAMES = [f"waits-{number}" for number in range(6)]
AUTOMATIONS = [
    automation({"type": "absence", "after": "begun", "expect": "ended", "for_each": ["id"], "within": "1h"}, name)
    for name in NAMES
] + [automation({"type": "absence", "expect": "beat", "for_each": ["id"], "within": "10m"}, "alive")]


@pytest.fixture
async def moved(live: Live, empty_postgres: str, tmp_path: Path) -> AsyncIterator[Live]:
    """The server that `live` becomes: `start` copies what that one has left."""
    there = Live(tmp_path / "moved", database=empty_postgres, shards=SHARDS)
    there.clock = live.clock
    yield there
    await there.stop()


async def move(live: Live, there: Live, url: str) -> None:
    await live.stop()
    source, target = Database(f"sqlite:///{live.home / 'tocsin.db'}"), Database(url)
    copy(source, target, shards=SHARDS, tell=lambda _: None)
    source.close()
    target.close()
    await there.start()


def shards_of_states(connection: Connection) -> set[tuple[str, int]]:
    rows = connection.execute(select(states_table.c.automation, states_table.c.shard))
    return {(row.automation, row.shard) for row in rows}


async def test_s3_open_windows_and_open_misses_go_on_and_nothing_is_judged_twice(
    live: Live, moved: Live, empty_postgres: str
) -> None:
    await live.start(*AUTOMATIONS)
    await live.send(event("beat", "gone"), event("begun", "x"))
    await live.settle(1200)
    assert [(verdict, labels) for _, verdict, labels in live.fired()] == [("missed", {"id": "gone"})]
    before = live.firings()
    await move(live, moved, empty_postgres)
    assert moved.read(shards_of_states) == {(name, shard_of(name, SHARDS)) for name in [*NAMES, "alive"]}
    assert len({moved.read(states.cursor_of, shard).seq for shard in range(SHARDS)}) == 1
    await moved.settle(1201)
    assert moved.firings() == before
    await moved.send(event("beat", "gone"), event("begun", "y"), at_s=1300)
    await moved.settle(1300)
    assert moved.fired()[1:] == [(1300, "resolved", {"id": "gone"})]
    assert moved.firings()[1].resolves == (before[0].id,)
    await moved.settle(3600)
    assert sorted(one.automation for one in moved.firings()[2:] if one.labels == {"id": "x"}) == NAMES
    assert (await moved.send(event("beat", "z", id="same"), event("beat", "z", id="same"))).duplicates == 1
