"""A history judged live by several servers on one database is the history looked back upon (laws S1, E2, F1).

Each event is sent to one of the servers that run, some of them twice; servers stop and start between requests, so the
shards that judge the automations change hands. What was stored in the end is compared with what a backtest says.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from random import Random

import pytest

from tests.engine.live import Live, automation
from tests.engine.requests import requests_of
from tests.model.histories import random_history
from tests.servers import Postgres
from tocsin.engine.own_events import DEFINITIONS_CHANGED
from tocsin.review.backtest import Stretch, judged
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros, to_micros
from tocsin.schemas.scheduled import shard_of
from tocsin.store.database import Database
from tocsin.store.schema import prepare

SHARDS = 3
SERVERS = 3
AUTOMATIONS = 9
SEEDS = 4
PATIENCE_S = 60


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[str]:
    """A database with several shards."""
    with postgres.database() as url:
        database = Database(url)
        prepare(database, shards=SHARDS)
        database.close()
        yield url


@pytest.fixture
async def servers(shared: str, tmp_path: Path) -> AsyncIterator[list[Live]]:
    """Servers on one database and one clock, none of which runs yet."""
    made = [Live(tmp_path / f"home-{number}", database=shared) for number in range(SERVERS)]
    for live in made:
        live.clock = made[0].clock
    yield made
    for live in made:
        await live.stop()


class Story:
    """A random log, some events of it sent again, and automations of which it suits the first."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        first = random_history(seed)
        triggers = [first[0], *(random_history(1_000 + AUTOMATIONS * seed + more)[0] for more in range(1, AUTOMATIONS))]
        self.automations = [automation(trigger, f"a{number}") for number, trigger in enumerate(triggers)]
        self.until_us = to_micros(first[3])
        self.log = [(to_micros(datetime.fromisoformat(raw["received"])), raw) for raw in first[1]]

    def requests(self) -> Iterator[tuple[Micros, list[Event]]]:
        """Return requests of random size, of events that arrive together."""
        return requests_of(self.log, self.random)


async def play(servers: list[Live], story: Story) -> None:
    """Send the log as it came, to whoever runs, while servers come and go; wait until all of it is judged."""
    random, clock = story.random, servers[0].clock
    clock.set(story.log[0][0] - 1)
    await servers[0].start(*story.automations)
    for at_us, events in story.requests():
        clock.set(at_us)
        await _come_and_go(servers, random)
        for live in random.sample(_running(servers), k=1 + (random.random() < 0.2 and len(_running(servers)) > 1)):
            await live.app.recorder.record(events)
        for live in _running(servers):
            if random.random() < 0.3:
                await live.app.shards.settled()
    clock.set(story.until_us + 1)
    await _all_judged(servers, story.until_us)


async def _come_and_go(servers: list[Live], random: Random) -> None:
    """Start or stop one of the servers now and then; one always runs."""
    live = random.choice(servers)
    if random.random() < 0.7:
        return
    if not live.running:
        await live.start()
    elif len(_running(servers)) > 1:
        await live.stop()
    else:
        await live.restart()


def _running(servers: list[Live]) -> list[Live]:
    return [live for live in servers if live.running]


async def _all_judged(servers: list[Live], until_us: Micros) -> None:
    """Wait until each shard has an owner again, and has judged everything up to a moment."""
    running = _running(servers)

    def is_done() -> bool:
        owned = sorted(shard for live in running for shard in live.app.shards.owned)
        found = [live.app.shards.progress for live in running if live.app.shards.owned]
        return owned == list(range(SHARDS)) and all(
            one is not None and not one.behind and one.judged_us >= until_us for one in found
        )

    async with asyncio.timeout(PATIENCE_S):
        while not is_done():
            for live in running:
                live.app.shards.take()
                await live.app.shards.settled()
            await asyncio.sleep(0.01)


def looked_back(live: Live, story: Story) -> list[Firing]:
    """Return what a backtest over the whole log says of the same automations."""
    log = live.log()
    marker = next(placed for placed in log if placed.event.event == DEFINITIONS_CHANGED)
    automations = [Automation.model_validate(one) for one in story.automations]
    return list(judged(automations, [log], Stretch(marker.received_us, story.until_us)))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_several_servers_that_come_and_go_judge_as_a_backtest_does(servers: list[Live], seed: int) -> None:
    story = Story(seed)
    await play(servers, story)
    live = _running(servers)[0]
    found, wanted = live.firings(), looked_back(live, story)
    identities = Counter((one.event.source, one.event.id) for one in live.log())
    assert max(identities.values()) == 1
    assert Counter(one.id for one in found) == Counter(one.id for one in wanted)
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_the_stories_have_something_to_say_in_every_shard() -> None:
    """The comparison would be worth little if one server judged all of it, or nothing fired."""
    names = [f"a{number}" for number in range(AUTOMATIONS)]
    assert {shard_of(name, SHARDS) for name in names} == set(range(SHARDS))
