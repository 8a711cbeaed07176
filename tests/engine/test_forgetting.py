"""P8: forgetting one key by hand, in the writer's thread and with the evaluator's memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.live import Live, automation, event, put_to_sleep
from tests.servers import BOTH
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.schemas.firing import Decision
from tocsin.store import firings, states

DATABASES = BOTH

SILENT = {"type": "absence", "expect": "a", "for_each": ["id"], "within": "10s"}


async def forget(live: Live, name: str = "one", **labels: str) -> list[Decision]:
    return await live.app.forget(name, labels)


def open_misses(live: Live) -> int:
    return live.read(firings.count_open)


async def test_p8_a_key_that_is_forgotten_gives_no_verdict_until_its_next_event(live: Live) -> None:
    await live.start(automation(SILENT))
    await live.send(event(resource="x"), event(resource="y"), at_s=1)
    decisions = await forget(live, id="x")
    assert [str(one.outcome) for one in decisions] == ["closed", "forgotten"]
    assert live.outcomes()[-2:] == ["closed", "forgotten"]
    await live.settle(20)
    assert live.fired() == [(11.0, "missed", {"id": "y"})]
    await live.send(event(resource="x"), at_s=21)
    await live.settle(40)
    assert live.fired()[1:] == [(31.0, "missed", {"id": "x"})]


async def test_p8_what_is_forgotten_leaves_no_open_miss_and_does_not_resolve(live: Live) -> None:
    await live.start(automation(SILENT))
    await live.send(event(), at_s=1)
    await live.settle(20)
    assert open_misses(live) == 1
    await forget(live, id="x")
    assert open_misses(live) == 0
    await live.send(event(), at_s=22)
    await live.settle(23)
    assert [verdict for _, verdict, _ in live.fired()] == ["missed"]


async def test_p8_a_key_that_was_missed_for_long_leaves_no_open_miss_either(live: Live) -> None:
    await live.start(automation(SILENT | {"forget_after": "1m"}))
    await live.send(event(), at_s=1)
    await live.settle(20)
    assert open_misses(live) == 1
    await live.settle(100)
    assert (open_misses(live), live.outcomes()[-1]) == (0, "forgotten")


async def test_what_arrived_before_is_judged_before_a_key_is_forgotten(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await live.start(automation(SILENT))
    await live.settle(0)
    put_to_sleep(app, monkeypatch)
    await live.send(event(), at_s=1)
    await forget(live, id="x")
    await live.settle(60)
    assert live.fired() == []


async def test_a_key_stays_forgotten_over_a_restart(live: Live) -> None:
    await live.start(automation(SILENT))
    await live.send(event(), at_s=1)
    await forget(live, id="x")
    assert live.read(states.of_automation, "one") == {}
    await live.restart()
    await live.settle(60)
    assert live.fired() == []


@pytest.mark.parametrize(
    ("trigger", "outcomes"),
    [
        ({"type": "deadline", "expect": "a", "for_each": ["id"], "due": "* * * * *"}, ["closed", "forgotten"]),
        ({"expect": "a", "for_each": ["id"], "threshold": 3, "within": "1h"}, ["forgotten"]),
        (
            {"type": "compound", "for_each": ["id"], "triggers": [
                {"expect": "a", "for_each": ["id", "event"], "threshold": 3, "within": "1h"},
                {"expect": "b", "for_each": ["id"], "threshold": 2, "within": "1h"}]},
            ["forgotten"],
        ),
    ],
    ids=["deadline", "counting", "compound"],
)  # fmt: skip
async def test_a_key_of_any_trigger_is_forgotten_in_all_of_its_nodes(
    live: Live, trigger: dict[str, Any], outcomes: list[str]
) -> None:
    await live.start(automation(trigger))
    await live.send(event(resource="x"), event(resource="y"), at_s=1)
    assert [str(one.outcome) for one in await forget(live, id="x")] == outcomes
    await live.send(event(resource="x"), event(resource="x"), event(resource="y"), event(resource="y"), at_s=2)
    await live.settle(3)
    fired = [labels for _, _, labels in live.fired()]
    assert fired == ([{"id": "y"}] if trigger.get("type") is None else [])
    assert [state for state in live.read(states.of_automation, "one") if '"x"' in state]


@pytest.mark.parametrize(
    ("name", "labels", "error", "says"),
    [
        ("nobody", {"id": "x"}, NotFound, "there is no automation 'nobody'"),
        ("one", {"id": "z"}, NotFound, "'one' watches no key id=z"),
        ("one", {"host": "x"}, InvalidInput, "a key of 'one' has the labels id: give each of them, and no other"),
        ("one", {}, InvalidInput, "has the labels id"),
        ("all", {}, Conflict, "'all' has one key only: pause it, or remove it"),
        ("listed", {"id": "s"}, Conflict, "id=s is one of the `subjects` of 'listed': remove it there"),
    ],
)
async def test_what_can_not_be_forgotten_is_explained(
    live: Live, name: str, labels: dict[str, str], error: type[Exception], says: str
) -> None:
    everything = {name: value for name, value in SILENT.items() if name != "for_each"}
    await live.start(
        automation(SILENT), automation(everything, "all"), automation(SILENT | {"subjects": ["s"]}, "listed")
    )
    await live.send(event(), at_s=1)
    with pytest.raises(error, match=says):
        await forget(live, name, **labels)
