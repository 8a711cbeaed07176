"""The evaluator: what waits for what, what is undone together, where it begins (laws O1, O3, S1, F1, F2, F5)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy import event as happens

from tests.engine.live import T0, Live, automation, evaluator_of, event, put_to_sleep
from tests.servers import BOTH, ON_SQLITE
from tests.store.disk import Disk
from tocsin.engine import evaluator, shards, tail
from tocsin.errors import Conflict, Unavailable
from tocsin.schemas.moments import SECOND
from tocsin.store import firings, intents, log, states
from tocsin.store.log import Draft
from tocsin.store.writer import Transaction

DATABASES = BOTH

EACH = {"expect": "a"}
SILENT = {"type": "absence", "expect": "a", "within": "10s"}


async def judged(live: Live) -> None:
    """Wait until the evaluator has come to the end of the log by itself, at most ten seconds."""
    newest = live.log()[-1].seq
    async with asyncio.timeout(10):
        while (progress := live.app.shards.progress) is None or progress.seq < newest:  # noqa: ASYNC110 - no signal
            await asyncio.sleep(0.001)


# What waits for what


async def test_o1_a_moment_is_judged_behind_the_arrivals_of_the_same_instant(live: Live) -> None:
    await live.start(automation(SILENT))
    await live.send(event(), at_s=10)
    await live.settle(10)
    assert live.fired() == []
    await live.settle(20)
    assert live.fired() == [(20.0, "missed", {})]


async def test_s1_what_was_received_before_a_verdict_is_judged_before_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluator sleeps over two heartbeats and two deadlines: it still finds the first one met."""
    app = await live.start(automation(SILENT))
    await live.settle(0)
    put_to_sleep(app, monkeypatch)
    await live.send(event(), at_s=9)
    await live.send(event(), at_s=30)
    live.turn(60)
    await app.shards.settled()
    assert live.fired() == [(19.0, "missed", {}), (30.0, "resolved", {}), (40.0, "missed", {})]


async def test_s1_verdicts_wait_for_arrivals_in_the_same_commit(live: Live) -> None:
    """An event that shares its transaction with the step that could give the verdict comes first."""
    app = await live.start(automation(SILENT))
    await live.settle(9)
    live.turn(10)

    def unit(tx: Transaction) -> None:
        log.append(tx, [Draft(event())])
        app.shards._step(tx)

    await app.writer.run(unit)
    await live.settle(19)
    assert live.fired() == []


async def test_a_wake_up_is_never_lost(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended while a step is under way is judged without waiting for the next look."""
    monkeypatch.setattr(shards, "LOOK_S", 3600.0)
    app = await live.start(automation(EACH))
    store = evaluator_of(app)._verdicts.store
    left = iter(range(20))

    def store_and_append(*args: Any, **kwargs: Any) -> None:
        store(*args, **kwargs)
        if next(left, None) is not None:
            app.writer.submit(lambda tx: log.append(tx, [Draft(event())]))

    monkeypatch.setattr(evaluator_of(app)._verdicts, "store", store_and_append)
    await live.send(event())
    await judged(live)
    async with asyncio.timeout(10):
        while len(live.firings()) < 21:  # noqa: ASYNC110 - no signal
            await asyncio.sleep(0.001)


async def test_what_memory_does_not_hold_is_read_from_the_log(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "KEPT_EVENTS", 3)
    monkeypatch.setattr(evaluator, "BATCH_EVENTS", 5)
    app = await live.start(automation(EACH))
    await asyncio.gather(*(live.send(*(event(id=f"{part}-{one}") for one in range(6))) for part in range(10)))
    await app.shards.settled()
    sent = [placed.seq for placed in live.log() if placed.event.event == "a"]
    assert [one.events for one in live.firings()] == [(seq,) for seq in sent]


async def test_a_deadline_that_moved_is_not_looked_for_any_more(live: Live) -> None:
    """The evaluator sleeps until the next moment: one that has passed would keep it awake for ever."""
    app = await live.start(automation(SILENT))
    for at_s in (2, 4, 6):
        await live.send(event(), at_s=at_s)
    await live.settle(12)
    assert app.shards.progress is not None
    assert app.shards.progress.next_us == T0 + 16 * SECOND


async def test_what_is_due_at_one_moment_is_judged_together(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many due keys are cut behind a whole moment: what one moment completes is handed over in order (law C1)."""
    monkeypatch.setattr(evaluator, "BATCH_DUE", 3)
    keyed = SILENT | {"for_each": ["id"]}
    await live.start(automation(keyed))
    for at_s, names in ((1, "abcdefgh"), (2, "i"), (3, "jk"), (4, "lmno")):
        await live.send(*(event(resource=name) for name in names), at_s=at_s)
    await live.settle(60)
    assert "".join(labels["id"] for _, _, labels in live.fired()) == "abcdefghijklmno"
    assert {at_s for at_s, _, _ in live.fired()} == {11.0, 12.0, 13.0, 14.0}


async def test_e1_judgement_goes_on_when_the_clock_steps_back_and_forth(live: Live) -> None:
    app = await live.start(automation(SILENT))
    await live.send(event("b"), at_s=5)
    live.clock.set(T0 - 3600 * SECOND)
    await live.send(event())
    live.clock.advance(8)
    await app.shards.settled()
    live.clock.set(T0 + 12 * SECOND)
    await live.send(event("b"))
    await app.shards.settled()
    received = [placed.received_us for placed in live.log() if placed.event.source == ""]
    assert received == [T0 + 5 * SECOND, T0 + 5 * SECOND, T0 + 12 * SECOND]
    assert live.fired() == []
    await live.settle(15)
    assert live.fired() == [(15.0, "missed", {})]


async def test_s1_no_event_is_received_before_a_verdict_that_was_given(live: Live) -> None:
    """The clock is set back while the server is down."""
    await live.start(automation(SILENT))
    await live.settle(30)
    await live.stop()
    live.clock.set(T0 + 5 * SECOND)
    await live.start()
    await live.send(event())
    assert live.log()[-1].received_us > T0 + 30 * SECOND
    await live.app.shards.settled()
    assert [verdict for _, verdict, _ in live.fired()] == ["missed", "resolved"]


# What is undone together


def all_of_it(live: Live) -> tuple[list[str], list[Any], list[str]]:
    """Return the firings' ids, the actions, and the engine's own events about automations."""
    actions = live.read(intents.page).items
    told = [placed.event.event for placed in live.log() if placed.event.event.startswith("tocsin.automation")]
    return [one.id for one in live.firings()], [one["id"] for one in actions], told


@pytest.mark.parametrize("place", ["save", "move_cursor"])
async def test_f2_a_step_that_is_undone_leaves_nothing_and_repeated_says_the_same(
    live: Live, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Laws F1 and F2: the step fails after, or before, it has stored most of what it judged."""
    monkeypatch.setattr(shards, "LOOK_S", 0.01)
    app = await live.start(automation(SILENT | {"for_each": ["id"]}), automation(EACH, "two"))
    real: Callable[..., Any] = getattr(states, place)
    seen: list[object] = []
    failures = iter(range(3))

    def failing(*args: Any, **more: Any) -> Any:
        real(*args, **more)
        if next(failures, None) is not None:
            seen.append([one["id"] for one in firings.page(args[0]).items])
            raise Conflict("not now")

    monkeypatch.setattr(states, place, failing)
    await live.send(event(resource="p"), event(resource="q"), at_s=1)
    await judged(live)
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    await live.settle(20)
    ids, actions, told = all_of_it(live)
    assert [firing for _, firing, _ in live.fired()] == ["fired", "fired", "missed", "missed"]
    assert len(set(ids)) == len(set(actions)) == len(ids) == len(actions) == 4
    assert told == ["tocsin.automation.fired"] * 4
    await app.dispatcher.settled()
    await app.shards.settled()
    assert app.shards.judged == app.shards.progress.seq - _gaps(live)  # type: ignore[union-attr]


def _gaps(live: Live) -> int:
    return live.log()[-1].seq - len(live.log())


async def test_f2_what_fires_in_a_step_whose_group_is_lost_fires_once(live: Live) -> None:
    """The group of the step is broken by another unit: everything in it is run again."""
    app = await live.start(automation({"expect": "a", "threshold": 2, "within": "1m"}))
    await live.send(event())
    await app.shards.settled()

    def broken(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("SELECT * FROM nowhere")

    group = app.recorder.record([event()]), app.writer.run(app.shards._step), app.writer.run(broken)
    results = await asyncio.gather(*group, return_exceptions=True)
    assert isinstance(results[2], Unavailable)
    await app.shards.settled()
    assert [len(one.events) for one in live.firings()] == [2]
    assert live.outcomes().count("counted") == 1


@ON_SQLITE
async def test_evaluation_goes_on_once_the_disk_has_room_again(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LOOK_S", 0.01)
    app = await live.start(automation(EACH | {"for_each": ["id"]}, actions=[]))
    disk = Disk(app.database)
    await live.send(*(event(resource=f"{number}") for number in range(200)))
    await app.shards.settled()
    disk.leave(3, app.database)
    requests = [live.send(event(payload="x" * 1_000)) for _ in range(50)]
    refused = [one for one in await asyncio.gather(*requests, return_exceptions=True) if isinstance(one, Unavailable)]
    assert "the disk is full" in str(refused[0])
    before = len([placed for placed in live.log() if placed.event.event == "a"])
    disk.make_room()
    await live.send(event())
    await judged(live)
    assert len(live.firings()) == before + 1


async def test_two_evaluators_of_one_shard_judge_nothing_twice(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can not move the cursor stores nothing, also when only moments were judged."""
    app = await live.start(automation(SILENT))
    await live.settle(1)
    put_to_sleep(app, monkeypatch)
    before = evaluator_of(app)._stored
    assert before is not None
    await live.settle(10)
    late = states.Cursor(before.shard, before.seq, before.judged_us + SECOND, before.epoch)
    with pytest.raises(Conflict, match="another process"):
        await app.writer.run(lambda tx: states.move_cursor(tx.connection, before, late))
    assert len(live.firings()) == 1


# Loops, shadow, T0


async def test_f5_an_automation_that_feeds_itself_is_stopped(live: Live) -> None:
    again = {"type": "emit-event", "event": "a", "resource": {"id": "x"}}
    live.settings["max_depth"] = 3
    app = await live.start(automation(EACH, actions=[again]))
    await live.send(event())
    async with asyncio.timeout(10):
        while not live.told("tocsin.automation.loop_stopped"):  # noqa: ASYNC110 - no signal
            await asyncio.sleep(0.005)
    await app.settled()
    assert [one.chain for one in live.firings()] == [(), ("one",), ("one", "one")]
    assert live.outcomes().count("loop") == 1
    [stopped] = live.told("tocsin.automation.loop_stopped")
    assert stopped.event.resource["id"] == "automation/one"
    assert len(live.read(intents.page).items) == 3


async def test_a_shadow_is_judged_and_recorded_and_performs_nothing(live: Live) -> None:
    await live.start(automation(EACH, mode="shadow"))
    await live.send(event())
    await live.settle()
    assert live.fired() == [(0.0, "fired", {})]
    assert live.outcomes() == ["fired", "shadow"]
    assert live.read(intents.page).items == []
    [told] = live.told("tocsin.automation.fired")
    assert told.event.resource["mode"] == "shadow"
    assert live.read(firings.page).items[0]["mode"] == "shadow"


async def test_o3_what_came_before_an_automation_was_active_is_not_judged(live: Live) -> None:
    """T0 is a place in the log: what stands before it is not judged, though received in the same instant."""
    await live.start()
    await live.send(event(id="before"))
    await live.apply(automation(EACH))
    await live.send(event(id="after"))
    await live.settle()
    assert [live.read(log.by_seq, one.events)[one.events[0]].event.id for one in live.firings()] == ["after"]


@pytest.mark.parametrize("expect", ["a", "a*", ["a", "c"]])
async def test_o3_a_deadline_is_primed_with_what_is_stored(live: Live, expect: str | list[str]) -> None:
    """At T0 = 8:30 the table was updated in today's window; at 9:00 nothing is missed."""
    await live.start()
    await live.send(event("ab" if expect == "a*" else "a", resource="sales"), event("b", resource="orders"), at_s=600)
    live.turn(1800)
    due = {
        "type": "deadline",
        "expect": expect,
        "for_each": ["id"],
        "subjects": ["sales", "orders"],
        "due": "0 9 * * *",
    }
    await live.apply(automation(due))
    await live.settle(3600)
    assert live.fired() == [(3600.0, "missed", {"id": "orders"})]


async def test_f3_a_firing_lists_its_events_and_says_why(live: Live) -> None:
    await live.start(automation({"expect": "a", "threshold": 3, "within": "1m", "for_each": ["id"]}))
    for number in range(3):
        await live.send(event(id=f"e{number}"), at_s=number)
    await live.settle()
    [firing] = live.read(firings.page).items
    assert firing["events"] == ["e0", "e1", "e2"]
    assert firing["labels"] == {"id": "x"}
    assert firing["reason"].startswith("a for id=x happened 3 times within 1m")
    assert live.outcomes() == ["counted", "counted", "fired"]


@ON_SQLITE
async def test_a_step_with_very_many_firings_is_stored(live: Live) -> None:
    """More firings than a statement takes values."""
    app = await live.start(*(automation(EACH, f"a{number}") for number in range(6)))

    def few_values(connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1_000)

    happens.listen(app.database.writing, "begin", few_values)
    await live.send(*(event() for _ in range(250)))
    await live.settle()
    assert len(live.firings()) == 1_500
