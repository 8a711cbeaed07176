"""The whole server: one home each, the journey of an event, readiness, an orderly end."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.live import Live, automation, event, put_to_sleep
from tocsin.app import running
from tocsin.errors import Conflict, HomeInUse, InvalidDefinition, Unavailable
from tocsin.settings import Settings
from tocsin.store import intents
from tocsin.store.database import Database
from tocsin.store.schema import prepare

DEFINITIONS = """
automations:
  - name: failed
    trigger: {expect: flow-run.failed, for_each: [id]}
    actions:
      - {type: log, message: "{{ labels.id }} failed"}
"""


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    home = tmp_path / "home"
    home.mkdir()
    database = Database(f"sqlite:///{home / 'tocsin.db'}")
    prepare(database)
    database.close()
    live = Live(home)
    yield live
    await live.stop()


async def test_an_event_goes_all_the_way_to_its_action_and_on(live: Live) -> None:
    """Law F2 and F4: event, firing, intent, attempt; each told in the log."""
    app = await live.start(automation({"expect": "a", "for_each": ["id"]}))
    receipt = await live.send(event(id="e1"))
    await app.settled()
    await app.settled()
    assert receipt.ids == ["e1"]
    [action] = (await app.read(intents.page)).items
    assert (action["state"], action["type"], action["automation"]) == ("succeeded", "log", "one")
    names = [placed.event.event for placed in live.log()]
    assert names == ["tocsin.definitions.changed", "a", "tocsin.automation.fired", "tocsin.action.succeeded"]
    assert [placed.chain for placed in live.log()] == [(), (), ("one",), ("one",)]


async def test_definitions_are_read_from_a_file_and_reloaded(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "definitions.yaml"
    path.write_text(DEFINITIONS)
    async with running(Settings(home=live.home), path, clock=live.clock) as app:
        assert [one["state"] for one in await app.automations()] == ["live"]
        path.write_text(DEFINITIONS.replace("name: failed", "name: broken"))
        changes = await app.load(path)
        assert (changes.added, changes.removed) == (["automation/broken"], ["automation/failed"])
        path.write_text(DEFINITIONS.replace("expect", "expects"))
        with pytest.raises(InvalidDefinition, match="expects"):
            await app.load(path)
        shown = await app.automation("broken")
        assert shown is not None
        assert shown["definition"]["name"] == "broken"  # type: ignore[index]
        assert await app.automation("failed") is None


async def test_a_home_has_one_server(live: Live, tmp_path: Path) -> None:
    await live.start()
    with pytest.raises(HomeInUse, match=r"already serves .*: stop it, or set TOCSIN_HOME"):
        async with running(Settings(home=live.home)):
            pass
    shutil.copytree(live.home, tmp_path / "other", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    async with running(Settings(home=tmp_path / "other")):
        pass
    await live.restart()


async def test_f4_a_sqlite_file_has_one_server_from_whichever_home(tmp_path: Path) -> None:
    """A second one would take the actions that the first performs for those of a process that is gone."""
    folder, linked = tmp_path / "srv", tmp_path / "linked"
    folder.mkdir()
    linked.symlink_to(folder)

    def settings(home: str, file: Path | None = None) -> Settings:
        return Settings(home=tmp_path / home, database=None if file is None else f"sqlite:///{file}")

    async with running(settings("one", folder / "t.db")), running(settings("two", folder / "another.db")):
        for file in (folder / "t.db", linked / "t.db"):
            with pytest.raises(HomeInUse, match=rf"already serves {file}: stop it, or set TOCSIN_DATABASE"):
                async with running(settings("other", file)):
                    pass
    async with running(settings("one")):
        with pytest.raises(HomeInUse, match=r"already serves .*one/tocsin\.db: stop it, or set TOCSIN_DATABASE"):
            async with running(settings("other", tmp_path / "one" / "tocsin.db")):
                pass
    async with running(settings("other", tmp_path / "one" / "tocsin.db")):
        with pytest.raises(HomeInUse, match=r"already serves .*one: stop it, or set TOCSIN_HOME"):
            async with running(settings("one")):
                pass


async def test_wrong_definitions_start_nothing(tmp_path: Path) -> None:
    path = tmp_path / "definitions.yaml"
    path.write_text("automations: [{name: x}]")
    with pytest.raises(InvalidDefinition):
        async with running(Settings(home=tmp_path / "home"), path):
            pass
    assert not (tmp_path / "home").exists()


async def test_a_start_that_fails_leaves_the_home_free_and_no_thread_behind(live: Live, tmp_path: Path) -> None:
    app = await live.start()
    await app.definitions.put("automation", "failed", {"trigger": {"expect": "a"}})
    await live.stop()
    path = tmp_path / "definitions.yaml"
    path.write_text(DEFINITIONS)
    with pytest.raises(Conflict, match="came from the API"):
        async with running(Settings(home=live.home), path):
            pass
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("tocsin")] == []
    await live.start()


async def test_a_database_that_can_not_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tocsin.db").write_text("not a database, just a text that is long enough to be looked at\n" * 20)
    with pytest.raises(Unavailable, match="file is not a database"):
        async with running(Settings(home=tmp_path)):
            pass


async def test_an_orderly_end_leaves_no_task_and_no_thread_and_loses_nothing(live: Live) -> None:
    app = await live.start(automation({"expect": "a"}))
    await asyncio.gather(*(live.send(event()) for _ in range(50)))
    stopping = app.writer
    await live.stop()
    with pytest.raises(Unavailable, match="stopping"):
        stopping.submit(lambda tx: None)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("tocsin")] == []
    await live.start()
    await live.settle()
    assert len(live.firings()) == 50


async def test_readiness_says_how_late_judgement_is(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await live.start()
    await app.shards.settled()
    ready = await app.readiness()
    assert (ready.ready, ready.lag_s, ready.unjudged, ready.reason) == (True, 0.0, 0, "")
    put_to_sleep(app, monkeypatch)
    await live.send(event(), event())
    live.turn(45)
    ready = await app.readiness()
    assert (ready.ready, ready.lag_s, ready.unjudged) == (False, 45.0, 2)
    assert ready.reason == "judgement is 45 s late"
    await app.shards.settled()
    assert (await app.readiness()).ready


async def test_the_automation_shows_what_it_waits_for(live: Live) -> None:
    app = await live.start(automation({"type": "absence", "expect": "a", "within": "10s", "for_each": ["id"]}))
    await live.send(event(resource="p"))
    await app.shards.settled()
    shown = await app.automation("one") or {}
    assert (shown["origin"], shown["state"], shown["paused"], shown["last_firing"]) == ("file", "live", False, None)
    keys: Any = shown["keys"]
    assert [key["labels"] for key in keys] == [{"id": "p"}]
    assert "2026-03-02T08:00:10Z" in str(keys)
    await live.settle(11)
    shown = await app.automation("one") or {}
    assert shown["last_firing"]["verdict"] == "missed"  # type: ignore[index]
