"""What is done in bites where there is very much of it, here with bites that are very small (laws C1, O3, S2, S4)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.engine.live import Live, automation, evaluator_of, event, put_to_sleep
from tests.servers import BOTH
from tocsin.engine import evaluator
from tocsin.schemas.automation import Automation
from tocsin.triggers.keys import automation_of

DATABASES = BOTH

KEYS = 23
WATCH = {"type": "absence", "expect": "a", "within": "10s", "for_each": ["id"]}


@pytest.fixture
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "BATCH_DUE", 4)


def keys(count: int = KEYS) -> list[str]:
    return [f"k{number:02}" for number in range(count)]


async def watched(live: Live, *automations: dict[str, object]) -> None:
    """Start a server to which every key has said something in the first second."""
    await live.start(*automations)
    await live.send(*(event(resource=key) for key in keys()), at_s=1)
    await live.app.shards.settled()


async def one_step(live: Live) -> None:
    """Have one step made, up to the clock: on PostgreSQL by a writer of its own, behind a beat."""
    shards = live.app.shards
    if shards._judging.beat is not None:
        await asyncio.wrap_future(shards._judging.beat())
    await shards._writer.run(shards._step)


@pytest.mark.usefixtures("small_bites")
async def test_what_is_due_at_one_moment_gets_its_verdicts_in_bites_each_key_once(live: Live) -> None:
    await watched(live, automation(WATCH))
    await live.settle(11)
    assert sorted(labels["id"] for _, _, labels in live.fired()) == keys()
    assert {(at_s, verdict) for at_s, verdict, _ in live.fired()} == {(11.0, "missed")}


@pytest.mark.usefixtures("small_bites")
async def test_a_server_that_stops_between_bites_goes_on_with_the_rest(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched(live, automation(WATCH))
    put_to_sleep(live.app, monkeypatch)
    live.turn(11)
    live.clock.advance(0.000001)
    await one_step(live)
    assert 0 < len(live.fired()) < KEYS
    await live.restart()
    await live.settle(12)
    assert Counter(labels["id"] for _, _, labels in live.fired()) == Counter(keys())
    assert {(at_s, verdict) for at_s, verdict, _ in live.fired()} == {(11.0, "missed")}


@pytest.mark.usefixtures("small_bites")
async def test_c1_what_a_moment_completes_of_a_composite_is_judged_together(live: Live) -> None:
    """The `not` holds back what the same moment completes, whichever comes first in the store."""
    silent = {"type": "absence", "expect": "a", "within": "10s", "for_each": ["id"]}
    calm = {"type": "not", "trigger": silent | {"grace": "0s"}, "within": "1m"}
    both = {"type": "compound", "require": "all", "triggers": [silent, calm], "for_each": ["id"]}
    await watched(live, automation(both))
    await live.settle(30)
    assert live.fired() == []


@pytest.mark.usefixtures("small_bites")
async def test_s2_an_outage_moves_verdicts_in_bites_and_they_end_unknown(live: Live) -> None:
    live.settings["blind_after"] = "10s"
    await watched(live, automation(WATCH), automation({"type": "schedule", "every": "1d"}, "daily"))
    await live.stop()
    live.turn(86_401)  # settled a minute later
    await live.start()
    await live.app.shards.settled()
    assert live.fired() == [(86_400.0, "fired", {})]
    for at_s in range(86_405, 86_461, 5):
        await live.settle(at_s)
    assert len(live.fired()) == 1
    await live.settle(86_462)
    unknown = [(at_s, labels["id"]) for at_s, verdict, labels in live.fired() if verdict == "unknown"]
    assert sorted(unknown) == [(86_461.0, key) for key in keys()]


async def test_automations_are_texts_in_memory_and_read_when_asked_for(live: Live) -> None:
    app = await live.start(automation(WATCH), automation(WATCH, "two"))
    entry = app.definitions.entries("automation")["two"]
    assert entry.kept is None
    assert isinstance(entry.spec, Automation)
    await app.shards.settled()
    lives = evaluator_of(app).in_force.automations
    assert lives["one"] is lives["two"]  # they differ in nothing but their names


async def test_states_in_memory_are_bounded_and_the_oldest_go_first(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "CACHED_STATES", 5)
    monkeypatch.setattr(evaluator, "FORGOTTEN_STATES", 2)
    app = await live.start(automation(WATCH))
    for number, key in enumerate(keys()):
        await live.send(event(resource=key), at_s=1 + number / 100)
        await app.shards.settled()  # by itself: keys of one batch are of one age
    cached = [key.split("\x1f")[2] for key in evaluator_of(app)._cache]
    assert len(cached) <= 7
    assert cached[-1] == f'["{keys()[-1]}"]'
    await live.settle(15)
    assert sorted(labels["id"] for _, _, labels in live.fired()) == keys()


async def test_s4_a_change_of_one_automation_leaves_the_states_of_others_in_memory(live: Live) -> None:
    app = await live.start(automation(WATCH), automation(WATCH, "two"))
    await live.send(event(resource="k"), at_s=1)
    await app.shards.settled()
    before = dict(evaluator_of(app)._cache)
    await app.definitions.pause("automation", "two")
    await app.shards.settled()
    after = evaluator_of(app)._cache
    kept = [key for key in before if automation_of(key) == "one"]
    assert kept
    assert all(after[key] is before[key] for key in kept)
    assert not any(automation_of(key) == "two" for key in after)
