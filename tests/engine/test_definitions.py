"""Definitions: who owns them, what a change keeps, and where in the log it takes effect (laws O3, S4)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.engine.live import Live, automation, document, event, put_to_sleep
from tests.servers import BOTH
from tocsin.engine.entries import wanted_of
from tocsin.engine.own_events import DEFINITIONS_CHANGED
from tocsin.errors import Conflict, InvalidDefinition, NotFound
from tocsin.schemas.moments import SECOND, iso
from tocsin.store import definitions, firings

DATABASES = BOTH

EACH = {"expect": "a"}
SWITCH = {"type": "absence", "expect": "a", "within": "10s"}
WATCH = SWITCH | {"for_each": ["id"]}
LOG = {"name": "oncall", "type": "log"}


def spec(trigger: dict[str, Any] = EACH, **more: Any) -> dict[str, Any]:
    """Return a definition as the API is given it."""
    return {"trigger": trigger, "actions": [{"type": "log"}]} | more


# Files


async def test_what_files_say_is_added_changed_and_removed(live: Live) -> None:
    app = await live.start()
    assert await live.apply(automation(EACH, "one"), automation(EACH, "two"), channels=[LOG]) == {
        "added": ["automation/one", "automation/two", "channel/oncall"], "changed": [], "removed": [], "restarted": [],
    }  # fmt: skip
    assert await live.apply(automation(EACH, "one", description="more"), automation(WATCH, "three")) == {
        "added": ["automation/three"], "changed": ["automation/one"], "restarted": [],
        "removed": ["automation/two", "channel/oncall"],
    }  # fmt: skip
    assert sorted(app.definitions.entries("automation")) == ["one", "three"]
    assert app.definitions.channel("oncall") is None
    assert app.definitions.origin("automation", "one") == "file"
    assert app.definitions.automation("three") is not None
    [_, marker] = live.told(DEFINITIONS_CHANGED)
    assert marker.event.payload == {
        "added": ["automation/three"], "changed": ["automation/one"], "removed": ["automation/two", "channel/oncall"],
    }  # fmt: skip


async def test_files_that_say_the_same_change_nothing(live: Live) -> None:
    """Neither does a restart: nothing is written, and the windows go on."""
    await live.start(automation(WATCH), automation(EACH, "two"))
    await live.send(event(), at_s=1)
    await live.stop()
    live.turn(5)
    app = await live.start()
    assert sorted(app.definitions.entries("automation")) == ["one", "two"]
    assert not any((await live.apply(automation(WATCH), automation(EACH, "two"))).values())
    assert len(live.told(DEFINITIONS_CHANGED)) == 1
    await live.settle(11)
    assert live.fired() == [(1.0, "fired", {}), (11.0, "missed", {"id": "x"})]


async def test_what_leaves_its_file_is_not_judged_any_more(live: Live) -> None:
    await live.start(automation(WATCH), automation(EACH, "two"))
    await live.send(event(), at_s=1)
    await live.apply(automation(EACH, "two"))
    await live.send(event(), at_s=2)
    await live.settle(60)
    assert [firing.automation for firing in live.firings()] == ["two", "two"]
    assert live.outcomes().count("closed") == 1


async def test_a_thousand_automations_are_put_into_force_and_found_again(live: Live) -> None:
    many = [automation(EACH | {"match": {"id": f"x{number}"}}, f"a{number}") for number in range(1_000)]
    await live.start(*many)
    [marker] = live.told(DEFINITIONS_CHANGED)
    assert marker.event.payload == {"added": 1_000}
    await live.restart()
    await live.send(event(resource="x7"), event(resource="x999"))
    await live.settle()
    assert [firing.automation for firing in live.firings()] == ["a7", "a999"]
    await live.apply(*many[:7])
    await live.send(event(resource="x6"), event(resource="x7"))
    await live.settle()
    assert [firing.automation for firing in live.firings()] == ["a7", "a999", "a6"]


# The API


async def test_each_origin_keeps_its_own(live: Live) -> None:
    app = await live.start(automation(EACH, "filed"))
    put = await app.definitions.put("automation", "sent", spec())
    assert put.added == ["automation/sent"]
    with pytest.raises(Conflict, match="came from a file: change it there"):
        await app.definitions.put("automation", "filed", spec())
    with pytest.raises(Conflict, match="came from a file: remove it there"):
        await app.definitions.delete("automation", "filed")
    with pytest.raises(Conflict, match="came from the API: delete it there first"):
        await live.apply(automation(EACH, "sent"), automation(EACH, "other"))
    assert {name: one.origin for name, one in app.definitions.entries("automation").items()} == {
        "filed": "file", "sent": "api",
    }  # fmt: skip
    assert (await live.apply())["removed"] == ["automation/filed"]
    assert (await app.definitions.delete("automation", "sent")).removed == ["automation/sent"]
    with pytest.raises(NotFound):
        await app.definitions.delete("automation", "sent")


async def test_what_comes_over_the_api_is_active_when_it_is_answered_and_after_a_restart(live: Live) -> None:
    app = await live.start()
    await app.definitions.put("automation", "sent", spec(description="first"))
    await live.send(event())
    changes = await app.definitions.put("automation", "sent", spec(description="second"))
    assert (changes.changed, changes.restarted) == (["automation/sent"], [])
    await live.restart()
    await live.send(event())
    await live.settle()
    assert len(live.firings()) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (spec(actions=[{"type": "send-notification", "channel": "nowhere"}]), "nowhere"),
        (spec(trigger={"expect": "a", "threshold": 2}), "within"),
        (spec() | {"name": "other"}, "the definition is named 'other'"),
        (
            spec(actions=[{"type": "call-webhook", "url": "https://example.org", "secret": {"file": "/etc/passwd"}}]),
            "file",
        ),
        (spec(actions=[{"type": "call-webhook", "url": "https://example.org", "secret": {"env": "HOME"}}]), "HOME"),
        ("text", "mapping|dictionary|object"),
    ],
)
async def test_what_may_not_come_over_the_api_is_refused_and_nothing_changed(live: Live, wrong: Any, says: str) -> None:
    app = await live.start(automation(EACH, "filed"))
    with pytest.raises((InvalidDefinition, Conflict), match=says):
        await app.definitions.put("automation", "sent", wrong)
    assert app.definitions.automation("sent") is None
    assert len(live.told(DEFINITIONS_CHANGED)) == 1


async def test_programs_are_started_by_files_only(live: Live) -> None:
    app = await live.start()
    with pytest.raises(InvalidDefinition, match="starts a program"):
        await app.definitions.put("flow", "backfill", {"command": ["rm", "-rf", "x"]})


async def test_the_secrets_that_are_allowed_may_be_used_over_the_api(live: Live) -> None:
    live.settings["api_secrets"] = frozenset({"HOOK"})
    app = await live.start()
    hook = {"type": "call-webhook", "url": "https://example.org", "secret": {"env": "HOOK"}}
    await app.definitions.put("automation", "sent", spec(actions=[hook]))
    assert app.definitions.secret_names() == {"HOOK"}


# What a change keeps


async def test_s4_a_change_of_grace_keeps_the_windows_and_moves_the_verdict(live: Live) -> None:
    await live.start(automation(WATCH | {"grace": "60s"}))
    await live.send(event(), at_s=1)
    await live.settle(5)
    assert (await live.apply(automation(WATCH | {"grace": "5s"}, description="less")))["restarted"] == []
    await live.settle(30)
    assert live.fired() == [(16.0, "missed", {"id": "x"})]
    assert "closed" not in live.outcomes()


async def test_s4_a_change_of_within_closes_what_is_open_and_begins_anew(live: Live) -> None:
    await live.start(automation(WATCH))
    await live.send(event(resource="p"), at_s=1)
    await live.send(event(resource="q"), at_s=8)
    await live.settle(12)
    assert len(live.read(firings.page, state="open").items) == 1
    assert (await live.apply(automation(WATCH | {"within": "20s"})))["restarted"] == ["automation/one"]
    await live.settle(60)
    assert live.fired() == [(11.0, "missed", {"id": "p"})]
    assert live.read(firings.page, state="open").items == []
    changed_us = live.told(DEFINITIONS_CHANGED)[1].received_us
    closed = [(one.labels["id"], one.at_us) for one in live.decisions() if one.outcome == "closed"]
    assert closed == [("p", changed_us), ("q", changed_us)]  # an open miss, and an open window
    await live.send(event(resource="p"), at_s=61)
    await live.settle(90)
    assert live.fired()[1:] == [(81.0, "missed", {"id": "p"})]


async def test_s4_new_subjects_are_watched_from_the_change_on(live: Live) -> None:
    await live.start(automation(WATCH | {"subjects": ["p"]}))
    await live.settle(7)
    await live.apply(automation(WATCH | {"subjects": ["p", "q"]}))
    await live.settle(30)
    assert [(round(at_s), verdict, labels) for at_s, verdict, labels in live.fired()] == [
        (10, "missed", {"id": "p"}), (17, "missed", {"id": "q"}),
    ]  # fmt: skip


async def test_s4_an_automation_that_comes_again_begins_anew(live: Live) -> None:
    await live.start(automation(WATCH))
    await live.send(event(), at_s=1)
    await live.apply()
    live.turn(5)
    await live.apply(automation(WATCH))
    await live.settle(60)
    assert live.fired() == []


# Pauses


async def test_s4_a_pause_keeps_windows_gives_no_verdicts_and_is_an_outage_when_it_ends(live: Live) -> None:
    app = await live.start(automation(WATCH), automation(WATCH, "two"))
    await live.send(event(), at_s=1)
    live.turn(5)
    assert await app.definitions.pause("automation", "one") == {"automation": "one", "paused": True, "changed": True}
    assert (await app.definitions.pause("automation", "one"))["changed"] is False
    await live.settle(40)
    assert [firing.automation for firing in live.firings()] == ["two"]
    assert (await app.automation("one") or {})["state"] == "paused"
    resumed_us = live.clock.now_us()
    assert (await app.definitions.resume("automation", "one"))["changed"] is True
    assert (await app.definitions.resume("automation", "one"))["changed"] is False
    await live.settle(101)
    [_, firing] = live.firings()
    assert (firing.automation, str(firing.verdict)) == ("one", "unknown")
    assert firing.at_us == resumed_us + 60 * SECOND
    assert str(iso(resumed_us)) in firing.reason


async def test_what_is_not_there_can_not_be_paused(live: Live) -> None:
    app = await live.start()
    with pytest.raises(NotFound, match="there is no automation 'one'"):
        await app.definitions.pause("automation", "one")


async def test_a_pause_survives_reloads_and_restarts_until_it_is_resumed(live: Live) -> None:
    app = await live.start(automation(EACH))
    await app.definitions.pause("automation", "one")
    await live.send(event())
    await live.apply(automation(EACH, description="changed"))
    await live.send(event())
    app = await live.restart()
    await live.apply(automation(EACH | {"expect": ["a", "b"]}))
    await live.send(event())
    await live.settle()
    assert live.fired() == []
    assert [one["paused"] for one in await app.automations()] == [True]
    await app.definitions.resume("automation", "one")
    await live.send(event())
    await live.settle()
    assert len(live.fired()) == 1


async def test_disabled_is_paused_by_its_own_kind_and_wins(live: Live) -> None:
    """`enabled: false` keeps windows; resuming a pause does not enable, enabling does not resume."""
    app = await live.start(automation(WATCH))
    await live.send(event(), at_s=1)
    await live.apply(automation(WATCH, enabled=False))
    await app.definitions.pause("automation", "one")
    await app.definitions.resume("automation", "one")
    assert [one["state"] for one in await app.automations()] == ["disabled"]
    await live.settle(20)
    assert live.fired() == []
    await app.definitions.pause("automation", "one")
    await live.apply(automation(WATCH))
    await live.settle(100)
    assert live.fired() == []
    await app.definitions.resume("automation", "one")
    await live.settle(200)
    assert [verdict for _, verdict, _ in live.fired()] == ["unknown"]


async def test_what_was_disabled_and_removed_comes_again_enabled(live: Live) -> None:
    await live.start(automation(EACH, enabled=False))
    await live.send(event())
    await live.apply()
    await live.apply(automation(EACH))
    await live.send(event())
    await live.settle()
    assert len(live.fired()) == 1
    assert live.read(definitions.open_pauses, "enabled") == {}


# The place in the log


async def test_a_change_takes_effect_at_its_place_also_when_the_evaluator_comes_late(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was due after a change is judged by what was in force then, not by what was before."""
    app = await live.start(automation(SWITCH), automation(SWITCH, "two"))
    await live.settle(0)
    put_to_sleep(app, monkeypatch)
    live.turn(8)
    await live.apply(automation(SWITCH | {"within": "30s"}))
    live.turn(60)
    await app.shards.settled()
    assert [(round(at_s), verdict) for at_s, verdict, _ in live.fired()] == [(38, "missed")]


VARIANTS: list[dict[str, Any]] = [
    {}, {"grace": "5s"}, {"grace": "20s"}, {"within": "15s"}, {"subjects": ["p", "z"]}, {"repeat": "30s"},
    {"match": {"id": ["p", "q"]}},
]  # fmt: skip


class Steps:
    """A random course of events, changes, pauses and time, to be gone by servers that are quick or late."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.at_s = 0.0
        self.numbers = iter(range(1_000))

    async def go(self, live: Live) -> None:
        random, known = self.random, live.app.definitions
        self.at_s += random.choice([0, 0, 1, 2, 4, 9, 16])
        live.turn(self.at_s)
        match random.randint(0, 9):
            case 0 | 1:
                one, two = (automation(WATCH | random.choice(VARIANTS), name) for name in ("one", "two"))
                await live.apply(*random.choice([[one], [two], [one, two], [one, two, automation(EACH, "each")]]))
            case 2:
                name = random.choice(["one", "two"])
                if known.automation(name):
                    await random.choice([known.pause, known.resume])("automation", name)
            case 3:
                await live.apply(automation(WATCH, "one", enabled=random.random() < 0.5), automation(WATCH, "two"))
            case _:
                names = random.choices(["p", "q", "r"], k=random.randint(1, 3))
                await live.send(*(event(resource=name, id=f"e{next(self.numbers)}") for name in names))


def told(live: Live) -> list[tuple[Any, ...]]:
    """Return what was judged, without the places in the log, which the engine's own events move."""
    ids = {placed.seq: placed.event.id for placed in live.log()}
    fired = [
        (one.at_us, one.automation, str(one.verdict), str(one.labels), one.due_us, tuple(map(ids.get, one.events)))
        for one in live.firings()
    ]
    decided = [
        (one.at_us, one.automation, str(one.outcome), str(one.labels), ids.get(one.seq or 0))
        for one in live.decisions()
    ]
    return sorted(fired, key=repr) + sorted(decided, key=repr)


SEEDS = [*(("sqlite", seed) for seed in range(8)), ("postgres", 0)]


@pytest.mark.parametrize(("url", "seed"), SEEDS, indirect=["url"])
async def test_changes_take_effect_at_their_places_however_late_they_are_judged(
    live: Live, monkeypatch: pytest.MonkeyPatch, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One server judges each step at once, the other all of them at the end, after a restart (laws O3, S4)."""
    quick, late = live, Live(tmp_path_factory.mktemp("late"))
    for server, judges in ((quick, True), (late, False)):
        steps = Steps(seed)
        app = await server.start(automation(WATCH, "one"))
        with monkeypatch.context() as patched:
            if not judges:
                put_to_sleep(app, patched)
            for _ in range(40):
                await steps.go(server)
                if judges:
                    await app.shards.settled()
            if not judges:
                await app.shards.close()
                await server.stop()
        if not judges:
            await server.start()
        server.turn(steps.at_s + 200)
        await server.app.shards.settled()
    try:
        assert told(quick) == told(late)
        assert quick.firings()
    finally:
        await late.stop()


async def test_a_document_that_conflicts_changes_nothing(live: Live) -> None:
    app = await live.start()
    await app.definitions.put("automation", "sent", spec())
    with pytest.raises(Conflict):
        await app.definitions.apply_files(wanted_of(document(automation(EACH, "new"), automation(EACH, "sent"))))
    assert sorted(app.definitions.entries("automation")) == ["sent"]
    await live.restart()
    assert sorted(live.app.definitions.entries("automation")) == ["sent"]
