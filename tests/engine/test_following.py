"""What several processes on one PostgreSQL define: each knows it, and none overwrites another's (laws O3, P8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.engine.live import Live, automation, event, until
from tocsin.engine import definitions as following
from tocsin.errors import Conflict, NotFound
from tocsin.store import definitions, states

API = frozenset({"api"})
JUDGES = frozenset({"evaluator"})
WATCH = {"type": "absence", "expect": "a", "within": "10s", "for_each": ["id"]}


async def test_what_one_process_defines_the_others_know(many: Callable[..., Live]) -> None:
    one, two = many(), many()
    await one.start()
    await two.start()
    await one.app.definitions.put("automation", "first", automation({"expect": "a"}, "first"))
    await until(lambda: two.app.definitions.origin("automation", "first") == "api")
    await two.app.definitions.put("automation", "first", automation({"expect": "b"}, "first"))
    await until(lambda: (one.app.definitions.automation("first") or {})["trigger"]["expect"] == "b")
    await one.app.definitions.delete("automation", "first")
    await until(lambda: not two.app.definitions.entries("automation"))
    assert two.app.definitions.names("automation") == []


async def test_without_a_signal_it_is_found_out_before_the_next_change_and_by_looking(
    many: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = many(), many()
    await one.start()
    await two.start()
    monkeypatch.setattr(two.app.definitions, "look", lambda: None)
    await one.app.definitions.put("automation", "first", automation({"expect": "a"}, "first"))
    await one.app.definitions.put("automation", "second", automation({"expect": "a"}, "second"))
    await one.app.definitions.delete("automation", "first")
    await two.app.definitions.put("automation", "third", automation({"expect": "a"}, "third"))
    assert two.app.definitions.names("automation") == ["second", "third"]
    await one.app.definitions.delete("automation", "second")
    with pytest.raises(NotFound):
        await two.app.definitions.delete("automation", "second")
    monkeypatch.undo()
    await two.app.definitions.refresh()
    assert two.app.definitions.names("automation") == ["third"]


async def test_a_process_that_hears_nothing_looks_from_time_to_time(
    many: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FOLLOW_S", 0.05)
    one, two = many(), many()
    await one.start()
    await two.start()
    monkeypatch.setattr(two.app.definitions, "look", lambda: None)
    await one.app.definitions.put("automation", "first", automation({"expect": "a"}, "first"))
    await until(lambda: two.app.definitions.names("automation") == ["first"])


async def test_changes_of_several_processes_at_the_same_time_come_one_after_another(many: Callable[..., Live]) -> None:
    """Whoever is last has its say as a whole; every version ends where the next one begins."""
    servers = [many(), many()]
    for live in servers:
        await live.start()

    async def say(live: Live, turn: int) -> None:
        texts = [automation({"expect": f"x{turn}"}, f"a{number}") for number in range(3 + turn % 3)]
        read = live.app.definitions.read_document({"automations": texts}, origin="api")
        await live.app.definitions.put_all(read)

    await asyncio.gather(*(say(servers[turn % 2], turn) for turn in range(12)))
    present = list(servers[0].read(lambda connection: list(definitions.in_force(connection))))
    assert len({one.active_seq for one in present}) == 1
    for live in servers:
        await live.app.definitions.refresh()
        entries = live.app.definitions.entries("automation")
        assert {name: entry.text for name, entry in entries.items()} == {one.name: one.document for one in present}


async def test_files_do_not_take_what_another_process_has_from_the_api(many: Callable[..., Live]) -> None:
    one, two = many(), many()
    await one.start()
    await two.start()
    await two.app.definitions.put("automation", "first", automation({"expect": "a"}, "first"))
    with pytest.raises(Conflict, match="the API"):
        await one.apply(automation({"expect": "b"}, "first"))


async def test_automations_are_divided_among_the_shards_for_good(many: Callable[..., Live]) -> None:
    live = many()
    await live.start(*(automation({"expect": "a"}, f"a{number}") for number in range(40)))
    versions = live.read(lambda connection: list(definitions.in_force(connection)))
    assert {one.shard for one in versions} == set(range(live.read(states.count_shards)))
    for shard in range(4):
        found = live.read(lambda connection, of: list(definitions.in_force(connection, shard=of)), shard)
        assert found == [one for one in versions if one.shard == shard]


async def test_p8_a_process_that_judges_nothing_shows_keys_and_forgets_them(many: Callable[..., Live]) -> None:
    api, judge = many(roles=API), many(roles=JUDGES)
    await api.start(automation(WATCH))
    await judge.start()
    await api.send(event("a", "x"), event("a", "y"), at_s=1)

    def keys() -> list[str]:
        return sorted(key.split("\x1f")[2] for key in api.read(states.of_automation, "one"))

    await until(lambda: keys() == ['["x"]', '["y"]'])
    shown = await api.app.automation("one")
    assert shown is not None
    assert sorted(key["labels"]["id"] for key in shown["keys"]) == ["x", "y"]  # type: ignore[attr-defined]
    decisions = await api.app.forget("one", {"id": "x"})
    assert {tuple(decision.labels.items()) for decision in decisions} == {(("id", "x"),)}
    assert keys() == ['["y"]']
    api.turn(30)
    await until(judge.fired)
    assert judge.fired() == [(11.0, "missed", {"id": "y"})]
