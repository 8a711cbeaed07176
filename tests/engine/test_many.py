"""Several servers on one PostgreSQL: they share the judgement, and it is the same as one server's (laws E2, F1, S1)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from tests.engine.live import T0, Live, automation, event, until
from tocsin.engine import shards as shards_module
from tocsin.engine.evaluator import Evaluator
from tocsin.errors import Conflict
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import leases, log
from tocsin.store.states import ShardLost
from tocsin.store.writer import Transaction

SILENT = {"type": "absence", "expect": "beat", "within": "10s", "for_each": ["id"]}
NAMES = [f"n{number}" for number in range(12)]
EVALUATOR = frozenset({"evaluator"})
API = frozenset({"api"})


async def moved_to(live: Live, moment_us: Micros) -> None:
    """Wait until the time of the log has come to a moment."""
    await until(lambda: live.read(log.newest).received_us >= moment_us)


async def shared_out(*servers: Live) -> None:
    """Wait until every shard is judged, and every server has some."""

    def is_done() -> bool:
        owned = [live.app.shards.owned for live in servers]
        return all(owned) and sorted(shard for some in owned for shard in some) == [0, 1, 2, 3]

    async with asyncio.timeout(20):
        while not is_done():
            for live in servers:
                live.app.shards.take()
            await asyncio.sleep(0.02)


def automations() -> list[dict[str, object]]:
    return [automation({"expect": "a"}, name) for name in NAMES]


async def test_f1_two_servers_judge_each_event_once(many: Callable[..., Live]) -> None:
    one, two = many(), many()
    await one.start(*automations())
    await two.start()
    await shared_out(one, two)
    for number in range(20):
        await (one, two)[number % 2].send(event(id=f"e{number}"))
    await until(lambda: len(one.firings()) >= 20 * len(NAMES))
    for live in (one, two):
        await live.app.shards.settled()
    fired = [(firing.automation, tuple(firing.events)) for firing in one.firings()]
    assert len(fired) == len(set(fired)) == 20 * len(NAMES)


async def test_s1_silence_is_judged_by_a_process_that_receives_nothing(many: Callable[..., Live]) -> None:
    """The time of the log is moved by the other one."""
    api, judge = many(roles=API), many(roles=EVALUATOR)
    await api.start(automation(SILENT))
    await judge.start()
    await shared_out(judge)
    await api.send(event("beat", "x"), at_s=1)
    api.turn(30)
    await until(judge.fired)
    assert judge.fired() == [(11.0, "missed", {"id": "x"})]


async def test_s2_while_nobody_receives_no_verdict_is_given(many: Callable[..., Live]) -> None:
    """What silence means is known when somebody receives again: the time between was an outage."""
    api, judge = many(roles=API, blind_after="10s"), many(roles=EVALUATOR, blind_after="10s")
    await api.start(automation(SILENT))
    await judge.start()
    await shared_out(judge)
    await api.send(event("beat", "x"), at_s=1)
    await judge.app.shards.settled()
    await api.stop()
    judge.turn(60)
    await judge.app.shards.settled()
    assert judge.fired() == []
    await api.start()
    await until(lambda: judge.read(log.outages_of))
    for at_s in range(65, 126, 5):  # in steps that are no outages themselves
        api.turn(at_s)
        await moved_to(judge, T0 + at_s * SECOND)
    await until(judge.fired)
    assert len(judge.read(log.outages_of)) == 1
    assert [verdict for _, verdict, _ in judge.fired()] == ["unknown"]


async def test_shards_move_when_a_server_stops_and_nothing_is_lost(many: Callable[..., Live]) -> None:
    one, two = many(), many()
    await one.start(*automations())
    await two.start()
    await shared_out(one, two)
    await one.send(event(id="first"))
    await two.stop()
    await shared_out(one)
    await one.send(event(id="second"))
    await until(lambda: len(one.firings()) == 2 * len(NAMES))


async def test_what_is_told_during_a_step_makes_another_one(
    many: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That step may have looked at the log before; nobody waits for the next look then."""
    live = many()
    await live.start(*automations())
    await until(lambda: not live.app.shards._steps)
    monkeypatch.setattr(shards_module, "LOOK_S", 1_000.0)
    stepped, step_one = Counter[int](), live.app.shards._step_one

    def counted(shard: int, tx: Transaction) -> None:
        stepped[shard] += 1
        step_one(shard, tx)

    monkeypatch.setattr(live.app.shards, "_step_one", counted)
    for _ in range(3):
        live.app.shards.nudge()
    await until(lambda: len(stepped) == 4 and min(stepped.values()) >= 2)


async def test_who_has_lost_a_shard_stores_nothing(many: Callable[..., Live]) -> None:
    """A server that was stopped for longer than its leases goes on where it was: the fence keeps it out."""
    one, two = many(), many()
    await one.start(*automations())
    stopped = one.app.shards
    for task in asyncio.all_tasks():
        if task.get_name().startswith("repeating "):
            task.cancel()
    await one.app.writer.run(lambda tx: tx.now_us)  # behind what these have begun
    one.turn(leases.LEASE_US / SECOND + 60)
    await two.start()
    await shared_out(two)
    await two.send(event())
    await until(lambda: len(two.firings()) == len(NAMES))
    await stopped._writer.run(stopped._step)
    assert 0 not in stopped.owned  # where something was to be stored
    assert len(two.firings()) == len(NAMES)


async def test_a_shard_may_be_left_while_it_is_found_to_be_lost(
    many: Callable[..., Live], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Leases are renewed through one writer and shards are judged by another: both learn that a shard is gone."""
    live = many()
    await live.start(*automations())
    await shared_out(live)
    shards = live.app.shards
    step = Evaluator.step

    def lost(evaluator: Evaluator, tx: Transaction) -> None:
        if evaluator.shard == 0:
            shards._have({1, 2, 3})
            raise ShardLost("shard 0 is judged by another process")
        step(evaluator, tx)

    monkeypatch.setattr(Evaluator, "step", lost)
    await live.send(event("a"))
    await until(lambda: 0 not in shards.owned)
    monkeypatch.setattr(Evaluator, "step", step)
    await shared_out(live)
    await until(lambda: len(live.firings()) == len(NAMES))
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_s1_who_takes_events_another_way_is_refused(many: Callable[..., Live]) -> None:
    """Beside a bus, events that came by without it would be judged before older ones on it."""
    one, two = many(), many(roles=EVALUATOR, bus="redis://127.0.0.1:1/0")
    await one.start()
    with pytest.raises(Conflict, match=r"uses no bus, this one redis://127.0.0.1:1"):
        await two.start()


async def test_s2_before_anybody_has_received_there_is_no_outage(many: Callable[..., Live]) -> None:
    """A first start has none, however long after the definitions the first receiver comes."""
    judge, api = many(roles=EVALUATOR, blind_after="10s"), many(roles=API, blind_after="10s")
    await judge.start(automation(SILENT))
    judge.turn(60)
    await api.start()
    await moved_to(api, T0 + 60 * SECOND)
    assert api.read(log.outages_of) == []
    await api.stop()
    judge.turn(120)
    await api.start()
    await moved_to(api, T0 + 120 * SECOND)
    assert [(start_us // SECOND, end_us // SECOND) for start_us, end_us in api.read(log.outages_of)] == [
        (T0 // SECOND + 60, T0 // SECOND + 120)
    ]
