"""Schedules of flows: judged like every schedule (laws T1, T2, S4), performed as runs with their cause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.servers import BOTH
from tocsin.app import App, running
from tocsin.errors import Conflict, NotFound
from tocsin.schemas.event import Event
from tocsin.settings import Settings
from tocsin.store import log, runs
from tocsin.testing.clock import ManualClock

DATABASES = BOTH

START = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)
HOURLY = {"name": "backfill", "command": ["true"], "queue": "nightly", "parameters": {"day": 1},
          "schedule": {"cron": "0 * * * *"}}  # fmt: skip
PAUSES = {"name": "pauses", "trigger": {"expect": "pause.it"}, "actions": [{"type": "pause-flow", "flow": "backfill"}]}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


class House:
    """A server on a manual clock, and the definitions file that it serves."""

    def __init__(self, path: Path, clock: ManualClock, database: str) -> None:
        self.clock = clock
        self._database = database
        self._home = path / "home"
        self._file = path / "definitions.yaml"

    def write(self, *flows: Mapping[str, Any], automations: Any = ()) -> None:
        queues = [{"name": "nightly", "concurrency": 2}]
        self._file.write_text(json.dumps({"flows": flows, "automations": list(automations), "queues": queues}))

    @asynccontextmanager
    async def open(self, *, blind_after: str = "2h") -> AsyncIterator[App]:
        """Run a server; the clock is turned by an hour at a time, which is no outage unless a test says so."""
        settings = Settings(home=self._home, database=self._database, settle="0s", blind_after=blind_after)
        async with running(settings, self._file, clock=self.clock) as app:
            yield app

    async def reload(self, app: App, *flows: Mapping[str, Any]) -> None:
        self.write(*flows)
        await app.load(self._file)

    async def pass_time(self, app: App, by: str) -> None:
        self.clock.advance(by)
        await app.settled()


@pytest.fixture
def house(tmp_path: Path, clock: ManualClock, url: str) -> House:
    made = House(tmp_path, clock, url)
    made.write(HOURLY)
    return made


async def started(app: App) -> list[dict[str, Any]]:
    """Return the runs, the oldest first."""
    page = await app.read(runs.page, flow=None, queue=None, state=None, limit=100, cursor=None)
    return page.items[::-1]


async def following(app: App) -> object:
    flow = await app.flow("backfill")
    assert flow is not None
    return flow["next"]


async def test_t1_a_flow_runs_at_its_times_with_its_parameters_and_its_cause(house: House) -> None:
    async with house.open() as app:
        assert await following(app) == "2026-03-02T01:00:00Z"
        for _ in range(2):
            await house.pass_time(app, "1h")
        first, second = await started(app)
        assert (first["flow"], first["queue"], first["parameters"]) == ("backfill", "nightly", {"day": 1})
        assert (first["automation"], first["chain"]) == ("flow/backfill", ["flow/backfill"])
        assert first["firing"] != second["firing"]
        told = [one for one in await app.read(log.after, 0, limit=100) if one.event.event == "tocsin.automation.fired"]
        assert {one.event.resource["id"] for one in told} == {"automation/flow/backfill"}


async def test_a_flow_s_schedule_is_no_automation_that_somebody_wrote(house: House) -> None:
    async with house.open() as app:
        assert await app.automations() == []
        assert [flow["name"] for flow in await app.flows()] == ["backfill"]


@pytest.mark.parametrize(("catch_up", "count"), [("last", 1), ("all", 3), ("none", 0)])
async def test_t2_what_fell_into_a_downtime_is_run_as_catch_up_says(house: House, catch_up: str, count: int) -> None:
    house.write(HOURLY | {"schedule": {"cron": "0 * * * *", "catch_up": catch_up}})
    async with house.open(blind_after="10s") as app:
        await app.settled()
    house.clock.advance("3h")
    async with house.open(blind_after="10s") as app:
        await house.pass_time(app, "1s")
        assert len(await started(app)) == count
        assert await following(app) == "2026-03-02T04:00:00Z"


async def test_s4_a_paused_schedule_runs_nothing_and_catches_up_when_it_is_resumed(house: House) -> None:
    async with house.open() as app:
        await app.definitions.pause("flow", "backfill")
        for _ in range(3):
            await house.pass_time(app, "1h")
        assert (await started(app), await following(app)) == ([], None)
        await app.definitions.resume("flow", "backfill")
        await house.pass_time(app, "1s")
        assert len(await started(app)) == 1
        assert await following(app) == "2026-03-02T04:00:00Z"


async def test_a_pause_survives_a_restart_and_a_change_of_the_file(house: House) -> None:
    async with house.open() as app:
        await app.definitions.pause("flow", "backfill")
    async with house.open() as app:
        await house.reload(app, HOURLY | {"timeout": "2h"})
        await house.pass_time(app, "1h")
        assert await started(app) == []


async def test_s4_a_change_that_is_not_of_the_schedule_keeps_its_times(house: House) -> None:
    house.write(HOURLY | {"schedule": {"every": "1h"}})
    async with house.open() as app:
        await house.pass_time(app, "20m")
        await house.reload(app, HOURLY | {"schedule": {"every": "1h"}, "timeout": "2h"})
        await app.settled()
        assert await following(app) == "2026-03-02T01:30:00Z"
        await house.reload(app, HOURLY | {"schedule": {"every": "2h"}})
        await app.settled()
        assert await following(app) == "2026-03-02T02:50:00Z"  # another schedule counts from its own T0


async def test_a_schedule_that_is_taken_away_or_comes_later_is_followed(house: House) -> None:
    bare = {name: value for name, value in HOURLY.items() if name != "schedule"}
    async with house.open() as app:
        await house.reload(app, bare)
        await house.pass_time(app, "1h")
        assert (await started(app), await following(app)) == ([], None)
        await house.reload(app, HOURLY)
        await house.pass_time(app, "1h")
        assert len(await started(app)) == 1


async def test_an_action_pauses_a_schedule(house: House) -> None:
    house.write(HOURLY, automations=[PAUSES])
    async with house.open() as app:
        await app.recorder.record([Event(event="pause.it", resource={"id": "x"})])
        async with asyncio.timeout(10):
            while not (await app.flows())[0]["paused"]:
                await app.settled()
        await house.pass_time(app, "1h")
        assert await started(app) == []


async def test_only_a_schedule_can_be_paused(house: House) -> None:
    house.write({"name": "by-hand", "command": ["true"]})
    async with house.open() as app:
        with pytest.raises(Conflict, match="has no schedule"):
            await app.definitions.pause("flow", "by-hand")
        with pytest.raises(NotFound, match="no flow 'backfill'"):
            await app.definitions.pause("flow", "backfill")
