"""What the judge can not judge is set aside, for one automation only, and an alarm is raised (law S5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from tests.engine.live import T0, Live, automation, evaluator_of, event
from tests.servers import BOTH
from tocsin.engine import evaluator
from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import DAY
from tocsin.store import states
from tocsin.store.tables import states as states_table
from tocsin.store.writer import Transaction
from tocsin.triggers.deadline import Deadline
from tocsin.triggers.machine import Seen
from tocsin.triggers.reactive import Each
from tocsin.triggers.watch import Watch

DATABASES = BOTH

EACH = {"expect": "a"}
SILENT = {"type": "absence", "expect": "a", "within": "10s", "for_each": ["id"]}


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Break the judgement of automations that fire each event: those whose names are put into this set."""
    names: set[str] = set()
    arrive = Each.arrive

    def breaking(self: Each, state: Any, seen: Seen, ledger: Any) -> None:
        if self.node.automation in names:
            raise ZeroDivisionError(f"place {seen.seq}")
        arrive(self, state, seen, ledger)

    monkeypatch.setattr(Each, "arrive", breaking)
    return names


async def poison(live: Live, name: str, blob: bytes = b"not a state") -> None:
    """Spoil the stored states of an automation, as a fault of an earlier version might have."""

    def unit(tx: Transaction) -> None:
        stored = states.of_automation(tx.connection, name)
        tx.connection.execute(update(states_table).where(states_table.c.automation == name).values(blob=blob))
        states.bump(tx.connection, states.shards_of(tx.connection, stored))

    await live.app.shards.settled()
    await live.app.writer.run(unit)


def errors(live: Live) -> list[tuple[str, int | None]]:
    """Return (automation, place) of each decision `error`; each is there with its event, or by itself."""
    found = {(one.automation, one.seq) for one in live.decisions() if one.outcome == Outcome.ERROR}
    return sorted(found, key=repr)


def alarms(live: Live) -> list[str]:
    return [placed.event.resource["id"] for placed in live.told("tocsin.automation.failed")]


async def test_an_event_is_set_aside_for_the_automation_that_it_breaks(live: Live, breaks: set[str]) -> None:
    await live.start(automation(EACH, "good"), automation(EACH, "bad"), automation(SILENT, "silent"))
    await live.send(event(id="e1"), at_s=1)
    await live.settle()
    breaks.add("bad")
    await live.send(event(id="e2"), event("b"), event(id="e3"), at_s=2)
    await live.settle()
    breaks.clear()
    await live.send(event(id="e4"), at_s=3)
    await live.settle(20)
    names = [firing.automation for firing in live.firings()]
    assert {name: names.count(name) for name in names} == {"good": 4, "bad": 2, "silent": 1}
    assert [name for name, _ in errors(live)] == ["bad", "bad"]
    assert alarms(live) == ["automation/bad", "automation/bad"]
    [alarm, _] = live.told("tocsin.automation.failed")
    assert "ZeroDivisionError" in str(alarm.event.payload)


async def test_an_automation_that_always_fails_keeps_the_others_from_nothing(
    live: Live, breaks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure judges the batch again, so batches get short while there are many."""
    runs: list[int] = []
    app = await live.start(automation(EACH, "good"), automation(EACH, "bad"))
    judge = type(evaluator_of(app).in_force.judge)
    run = judge.run

    def counted(self: Any, arrivals: Any, **more: Any) -> Any:
        runs.append(len(arrivals))
        return run(self, arrivals, **more)

    monkeypatch.setattr(judge, "run", counted)
    breaks.add("bad")
    await live.send(*(event() for _ in range(150)))
    await live.settle()
    assert [firing.automation for firing in live.firings()] == ["good"] * 150
    assert len(alarms(live)) == 150
    assert sum(runs) < 150 * 2 * (2 * evaluator.BATCH_FAILING)
    breaks.clear()
    await live.send(*(event() for _ in range(50)))
    await live.settle()
    assert len(live.firings()) == 250


async def test_a_state_that_can_not_be_read_is_set_aside_once_and_its_key_begins_anew(live: Live) -> None:
    app = await live.start(automation(SILENT, "bad"), automation(SILENT, "good"))
    await live.send(event(), at_s=1)
    await live.settle()
    await poison(live, "bad")
    await live.settle(12)
    assert errors(live) == [("bad", None)]
    assert alarms(live) == ["automation/bad"]
    assert [firing.automation for firing in live.firings()] == ["good"]
    assert app.shards.progress is not None
    assert (app.shards.progress.next_us or 0) > T0 + DAY  # when the missed key is forgotten (law P8)
    await live.send(event(), at_s=13)
    await live.settle(30)
    assert [(firing.automation, str(firing.verdict)) for firing in live.firings()] == [
        ("good", "missed"), ("good", "resolved"), ("bad", "missed"), ("good", "missed"),
    ]  # fmt: skip
    assert len(alarms(live)) == 1


async def test_every_poisoned_state_raises_its_alarm(live: Live) -> None:
    await live.start(automation(SILENT, "bad"))
    for at_s in (1, 20):
        await live.send(event(resource="p"), event(resource="q"), at_s=at_s)
        await live.settle()
        await poison(live, "bad")
        await live.settle(at_s + 11)
    assert alarms(live) == ["automation/bad"] * 4


async def test_what_is_watched_from_t0_on_is_watched_on_after_its_state_was_set_aside(live: Live) -> None:
    """A dead man's switch that is broken is not dead: it is armed anew, at that moment."""
    switch = {"type": "absence", "expect": "a", "within": "10s"}
    await live.start(automation(switch, "bad"))
    await poison(live, "bad")
    await live.settle(11)
    assert live.fired() == []
    assert alarms(live) == ["automation/bad"]
    await live.settle(30)
    [(at_s, verdict, _)] = live.fired()
    assert (round(at_s), verdict) == (21, "missed")


async def test_a_moment_that_breaks_is_set_aside_and_the_others_are_judged(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.start(automation(SILENT, "bad"), automation(SILENT, "good"))
    await live.send(event(resource="p"), event(resource="q"), at_s=1)
    await live.settle()
    wake = Watch.wake

    def breaking(self: Watch, state: Any, at_us: int, ledger: Any) -> None:
        if self.node.automation == "bad" and state.labels["id"] == "p":
            raise KeyError("lost")
        wake(self, state, at_us, ledger)

    monkeypatch.setattr(Watch, "wake", breaking)
    await live.settle(12)
    found = [(firing.automation, firing.labels["id"]) for firing in live.firings()]
    assert sorted(found) == [("bad", "q"), ("good", "p"), ("good", "q")]
    assert errors(live) == [("bad", None)]


async def test_a_poisoned_state_survives_a_change_of_its_definition_and_is_set_aside_when_it_is_due(live: Live) -> None:
    await live.start(automation(SILENT, "bad"))
    await live.send(event(), at_s=1)
    await live.settle()
    await poison(live, "bad")
    await live.apply(automation(SILENT | {"grace": "5s"}, "bad"))
    await live.settle(40)
    assert alarms(live) == ["automation/bad"]
    assert live.read(states.of_automation, "bad") == {}


async def test_a_state_that_nobody_calls_keeps_the_evaluator_from_nothing(live: Live) -> None:
    """A paused automation's state that is due, and one of a node that is gone, let the evaluator sleep."""
    app = await live.start(automation(SILENT, "bad"), automation(EACH, "good"))
    await live.send(event(), at_s=1)
    await live.settle()
    await poison(live, "bad")
    await app.definitions.pause("automation", "bad")
    gone = states.Saved("bad\x1fgone\x1f[]", "bad", 5, b"{}")
    await app.writer.run(lambda tx: states.save(tx.connection, 0, [gone]))
    evaluator_of(app)._next_us = 5
    await live.settle(60)
    async with asyncio.timeout(10):
        await app.shards.settled()
    assert app.shards.progress is not None
    assert app.shards.progress.next_us is None
    assert [firing.automation for firing in live.firings()] == ["good"]


async def test_a_deadline_that_can_not_be_primed_begins_without_what_is_stored(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the same change, and all that were there, are judged as ever."""
    await live.start(automation(EACH, "good"))
    await live.send(event(id="e1"), at_s=1)
    await live.settle()
    monkeypatch.setattr(Deadline, "arrive", fail)
    due = {"type": "deadline", "expect": "a", "due": "0 9 * * *"}
    await live.apply(automation(EACH, "good"), automation(due, "bad"), automation(EACH, "new"))
    await live.send(event(id="e2"), at_s=2)
    await live.settle()
    monkeypatch.undo()
    await live.settle(3_600)
    fired = [(firing.automation, str(firing.verdict)) for firing in live.firings()]
    assert sorted(fired) == [("bad", "missed"), ("good", "fired"), ("good", "fired"), ("new", "fired")]


def fail(*_: object, **_more: object) -> None:
    raise ZeroDivisionError("not this one")
