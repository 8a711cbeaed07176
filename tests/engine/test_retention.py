"""Retention: what is old goes, what is needed stays (laws E2, P8), and nobody has to wait for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from tests.engine.live import T0, Live, automation, event
from tests.servers import BOTH, ON_POSTGRES
from tocsin.app import App
from tocsin.engine.retention import Keep, Pace, Retention, Swept
from tocsin.schemas.moments import DAY, SECOND
from tocsin.schemas.run import RunState
from tocsin.store import definitions, partitions, runs, tables
from tocsin.store.database import Database
from tocsin.store.retention import BITE
from tocsin.store.writer import Transaction

DATABASES = BOTH

AT_ONCE = Pace(rest_s=0, patience_s=0)
KEEP = Keep(events_us=10 * DAY, firings_us=20 * DAY, runs_us=10 * DAY)
DAY_S = DAY / SECOND
COUNTS_THREE = automation({"expect": "a", "for_each": ["id"], "threshold": 3, "within": "60d"})
LOGS = automation({"expect": "a"})
DEAD_END = {"type": "call-webhook", "url": "http://127.0.0.1:9/", "retry": {"attempts": 3, "delay": "60s"}}


async def sweep(app: App, keep: Keep = KEEP) -> Swept:
    retention = Retention(
        app.writer,
        app.database,
        app.clock,
        shards=app.shards,
        judges=app.judges,
        keep=keep,
        forget=lambda ids: None,
        pace=AT_ONCE,
    )
    return await retention.sweep()


def count(live: Live, name: str) -> int:
    table = tables.metadata.tables[name]
    return live.read(lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one())


def ids(live: Live) -> list[str | None]:
    """Return the ids of the events of others that are kept."""
    return [placed.event.id for placed in live.log() if placed.event.source != "tocsin"]


async def test_e2_old_events_go_with_their_identities_and_younger_ones_stay(live: Live) -> None:
    app = await live.start(LOGS)
    await live.send(event(id="old"))
    await live.settle(5 * DAY_S)
    await live.send(event(id="young"))
    await live.settle(11 * DAY_S)
    await app.dispatcher.settled()
    assert (await sweep(app)).events > 0
    assert ids(live) == ["young"]
    assert count(live, "identities") == count(live, "events")
    receipt = await live.send(event(id="old"), event(id="young"))
    assert receipt.duplicates == 1
    assert ids(live) == ["young", "old"]


def make_days(live: Live) -> None:
    """Have partitions from the first day on, as a server's start makes them by the database's clock."""
    database = Database(live.settings["database"])
    partitions.make_ahead(database, now_us=T0)
    database.close()


@ON_POSTGRES
async def test_e2_a_day_goes_whole_when_all_of_it_is_old(live: Live) -> None:
    make_days(live)
    app = await live.start(LOGS)
    await live.send(event(id="old"))
    await live.settle(DAY_S)
    await live.send(event(id="young"))
    await live.settle(10.8 * DAY_S)
    await app.dispatcher.settled()
    assert live.read(partitions.days)[0].table == "events_20260302"
    there = live.read(lambda it: it.exec_driver_sql("SELECT count(*) FROM events_20260302").scalar_one())
    assert (await sweep(app)).events == there >= 2
    assert "events_20260302" not in [day.table for day in live.read(partitions.days)]
    assert ids(live) == ["young"]
    assert count(live, "identities") == count(live, "events")
    assert live.read(partitions.taken_out) == []


@ON_POSTGRES
async def test_of_a_day_in_which_something_is_needed_the_rest_goes_and_then_the_day(live: Live) -> None:
    waits = automation({"type": "absence", "after": "a", "expect": "b", "for_each": ["id"], "within": "60d"})
    make_days(live)
    app = await live.start(waits)
    await live.send(event("a", "x", id="opened"), event("other", "x", id="no matter"))
    await live.settle(11 * DAY_S)
    await sweep(app)
    assert ids(live) == ["opened"]
    assert live.read(partitions.days)[0].table == "events_20260302"
    await live.send(event("b", "x", id="closed"))
    await live.settle(75 * DAY_S)
    await sweep(app)
    assert "events_20260302" not in [day.table for day in live.read(partitions.days)]


@ON_POSTGRES
async def test_a_sweep_goes_on_with_what_an_interrupted_one_took_out(live: Live) -> None:
    make_days(live)
    app = await live.start()
    await live.send(*[event() for _ in range(1_010)])
    await live.settle(11 * DAY_S)
    await asyncio.to_thread(partitions.take_out, app.database, live.read(partitions.days)[0])
    assert (count(live, "events"), count(live, "identities")) == (0, 1_010)
    assert (await sweep(app)).events == 1_010
    assert count(live, "identities") == 0
    assert live.read(partitions.taken_out) == []


async def test_many_are_dropped_in_bites(live: Live) -> None:
    app = await live.start()
    await live.send(*[event() for _ in range(2 * BITE + 10)])
    await live.settle(11 * DAY_S)
    assert (await sweep(app)).events == 2 * BITE + 10
    assert ids(live) == []


async def test_what_was_not_judged_yet_stays(live: Live) -> None:
    app = await live.start()
    await live.send(event(id="judged"))
    await live.settle()
    await app.shards.close()  # as if judgement were far behind
    await live.send(event(id="waiting"))
    live.turn(11 * DAY_S)
    await sweep(app)
    assert ids(live) == ["waiting"]


async def test_exactly_the_events_that_an_open_window_knows_stay(live: Live) -> None:
    waits = automation({"type": "absence", "after": "a", "expect": "b", "for_each": ["id"], "within": "60d"})
    app = await live.start(waits)
    await live.send(event("a", "x", id="opened"), event("other", "x", id="no matter"))
    await live.settle(11 * DAY_S)
    await sweep(app)
    assert ids(live) == ["opened"]
    await live.settle(61 * DAY_S)
    (firing,) = live.firings()
    assert [live.read(_identity, seq) for seq in firing.events] == ["opened"]


def _identity(connection: Connection, seq: int) -> str:
    return str(connection.execute(select(tables.events.c.id).where(tables.events.c.seq == seq)).scalar_one())


async def test_events_that_count_stay_as_long_as_their_key_is_not_idle(live: Live) -> None:
    app = await live.start(COUNTS_THREE)
    await live.send(event(id="first"))
    await live.settle(9 * DAY_S)
    await live.send(event(id="second"))
    await live.settle(11 * DAY_S)
    await sweep(app)
    assert ids(live) == ["first", "second"]
    await live.send(event(id="third"))
    await live.settle()
    assert len(live.firings()[0].events) == 3


async def test_events_that_an_unfinished_action_answers_to_stay(live: Live) -> None:
    app = await live.start(automation({"expect": "a"}, actions=[DEAD_END]))
    await live.send(event(id="told"), event("b", id="no matter"))
    await live.settle()
    await app.dispatcher.settled()
    live.turn(11 * DAY_S)
    await app.shards.close()
    await sweep(app, Keep(events_us=10 * DAY, firings_us=5 * DAY, runs_us=DAY))
    assert ids(live) == ["told"]
    assert (count(live, "firings"), count(live, "intents")) == (1, 1)


async def test_old_firings_go_with_their_actions_and_attempts(live: Live) -> None:
    app = await live.start(LOGS)
    await live.send(event())
    await live.settle()
    await app.dispatcher.settled()
    await live.settle(15 * DAY_S)
    assert (await sweep(app)).firings == 0
    await live.settle(21 * DAY_S)
    assert (await sweep(app)).firings == 1
    assert [count(live, name) for name in ("firings", "intents", "attempts")] == [0, 0, 0]


async def test_open_misses_stay_until_they_are_resolved(live: Live) -> None:
    app = await live.start(automation({"type": "absence", "expect": "a", "within": "1h"}))
    await live.settle(30 * DAY_S)
    assert (await sweep(app)).firings == 0
    await live.send(event())
    await live.settle()
    await app.dispatcher.settled()
    live.turn(51 * DAY_S)
    assert (await sweep(app)).firings == 2


async def test_p8_a_key_at_which_nothing_is_open_is_forgotten_with_its_identities(live: Live) -> None:
    app = await live.start(COUNTS_THREE)
    await live.send(event(resource="gone"))
    await live.settle(9 * DAY_S)
    await live.send(event(resource="here"))
    await live.settle(11 * DAY_S)
    assert (await sweep(app)).states == 1
    await live.send(*[event(resource=name) for name in ("gone", "gone", "here", "here")])
    await live.settle()
    assert [labels for _, _, labels in live.fired()] == [{"id": "here"}]


async def test_p8_a_forgotten_key_does_not_live_on_in_memory(live: Live) -> None:
    app = await live.start(COUNTS_THREE)
    await live.send(event(), event())
    await live.settle(11 * DAY_S)
    await sweep(app)
    await live.send(event())
    await live.settle()
    assert live.fired() == []


async def test_a_missed_key_that_is_never_forgotten_is_not_idle(live: Live) -> None:
    watch = {"type": "absence", "expect": "a", "for_each": ["id"], "within": "1h", "subjects": ["x"]}
    app = await live.start(automation(watch))
    await live.settle(30 * DAY_S)
    assert (await sweep(app)).states == 0
    await live.send(event())
    await live.settle()
    assert [verdict for _, verdict, _ in live.fired()] == ["missed", "resolved"]


async def test_decisions_of_moments_go_with_the_firings_of_their_time(live: Live) -> None:
    app = await live.start(automation({"type": "absence", "expect": "a", "within": "1h"}))
    await live.settle(DAY_S)
    assert count(live, "decisions") > 0
    await live.settle(22 * DAY_S)
    await sweep(app)
    assert count(live, "decisions") == 0


async def test_runs_go_with_their_files_when_they_have_ended_long_ago(live: Live) -> None:
    app = await live.start()
    await app.worker.stop()

    def add(tx: Transaction) -> None:
        for run in ("ended", "waiting"):
            runs.create(tx, flow="f", queue="q", parameters={}, run_id=run)
        ended = {"state": RunState.COMPLETED, "ended_us": tx.now_us}
        tx.connection.execute(update(tables.runs).where(tables.runs.c.id == "ended").values(ended))

    await app.writer.run(add)
    folder = live.home / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ended.log", "ended.result", "waiting.log"):
        (folder / name).touch()
    live.turn(91 * DAY_S)
    assert (await app.retention.sweep()).runs == 1
    assert [path.name for path in folder.iterdir()] == ["waiting.log"]
    assert count(live, "runs") == 1


async def test_what_was_in_force_or_paused_long_ago_goes_and_what_is_stays(live: Live) -> None:
    app = await live.start(LOGS)
    await app.definitions.pause("automation", "one")
    await app.definitions.resume("automation", "one")
    await live.apply(LOGS | {"severity": "high"})
    await live.settle(9 * DAY_S)
    await live.apply(LOGS | {"severity": "low"})
    await app.definitions.pause("automation", "one")
    await live.settle(21 * DAY_S)
    await sweep(app)
    await live.settle(22 * DAY_S)
    assert count(live, "definitions") == 1
    (pause,) = live.read(definitions.pauses_of, "automation")
    assert pause.to_us is None


async def test_s2_an_outage_is_known_as_long_as_something_may_be_judged_by_it(live: Live) -> None:
    live.settings["blind_after"] = "10s"
    app = await live.start()
    await live.settle()
    for day in (1, 2, 19):
        await live.settle(day * DAY_S)
    assert count(live, "outages") == 3
    await live.settle(21.5 * DAY_S)
    await sweep(app)
    assert count(live, "outages") == 3  # one ended 20.5 days ago, another 19.5: KEEP is 20
    await live.settle(40 * DAY_S)
    await sweep(app)
    assert count(live, "outages") == 2  # those that ended in the last 20 days


async def test_a_busy_writer_goes_first_but_not_for_ever(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await live.start()
    await live.send(event())
    await live.settle(11 * DAY_S)
    monkeypatch.setattr(Retention, "_is_busy", lambda self: True)
    patient = Retention(
        app.writer, app.database, app.clock, shards=app.shards, judges=app.judges, keep=KEEP, forget=lambda ids: None,
        pace=Pace(rest_s=0, patience_s=0.05),
    )  # fmt: skip
    async with asyncio.timeout(10):
        assert (await patient.sweep()).events == 1


async def test_it_comes_by_itself_and_survives_what_fails(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await live.start()
    sweeps: asyncio.Queue[int] = asyncio.Queue()

    async def failing(self: Retention) -> Any:
        sweeps.put_nowait(1)
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(Retention, "sweep", failing)
    retention = Retention(
        app.writer, app.database, app.clock, shards=app.shards, judges=app.judges, keep=KEEP, forget=lambda ids: None,
        pace=Pace(first_s=0, every_s=0),
    )  # fmt: skip
    retention.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await sweeps.get()
    await retention.close()


async def test_the_settings_say_how_long_things_are_kept(live: Live) -> None:
    live.settings["keep_events"] = "1d"
    app = await live.start()
    assert app.settings.keep_events == timedelta(days=1)
    await live.send(event(id="old"))
    await live.settle(1.5 * DAY_S)
    await app.retention.sweep()
    assert ids(live) == []
