"""What a server does when something around it fails, seen through the doors that people use."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.engine.live import T0, Live, automation, event
from tests.engine.sink import Sink, serving
from tests.store.disk import Disk
from tocsin.api.asgi import asgi
from tocsin.app import App, running
from tocsin.engine import watcher
from tocsin.schemas.moments import HOUR, MINUTE, SECOND
from tocsin.settings import Settings
from tocsin.store import intents
from tocsin.store.database import Database
from tocsin.store.schema import prepare

SILENT = {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "10m"}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    live = Live(tmp_path / "home")
    live.home.mkdir()
    database = Database(f"sqlite:///{live.home / 'tocsin.db'}")
    prepare(database)
    database.close()
    yield live
    await live.stop()


@asynccontextmanager
async def door(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
        yield client


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, at most ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def body(name: str, **more: Any) -> dict[str, Any]:
    """Return an event as it is sent over HTTP."""
    return {"event": name, "resource": {"id": "web-1"}, **more}


# The store can not write


async def test_e3_while_the_disk_is_full_a_sender_is_told_to_come_back_and_nothing_is_kept(live: Live) -> None:
    app = await live.start(automation({"expect": "a"}))
    disk = Disk(app.database)
    big = [body("a", id=f"e{number}", payload="x" * 5_000) for number in range(200)]
    async with door(app) as client:
        disk.leave(20, app.database)
        refused = await client.post("/api/events", json=big)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert "the disk is full" in refused.json()["error"]
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/events?event=a")).json()["items"] == []
        disk.make_room()
        accepted = await client.post("/api/events", json=big)
        assert (accepted.status_code, accepted.json()["accepted"], accepted.json()["duplicates"]) == (202, 200, 0)
        await app.settled()
    assert len(live.firings()) == 200


async def test_e3_while_another_process_holds_the_database_a_sender_is_told_to_come_back(live: Live) -> None:
    app = await live.start(automation({"expect": "a"}))
    await app.writer.run(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout=20"))
    async with door(app) as client:
        with closing(sqlite3.connect(live.home / "tocsin.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for path, sent in (("/api/events", body("a", id="e1")), ("/api/automations/one/pause", None)):
                refused = await client.post(path, json=sent)
                assert (refused.status_code, int(refused.headers["retry-after"])) == (503, 5)
                assert "another process holds the database" in refused.json()["error"]
            assert (await client.get("/api/automations")).status_code == 200
        accepted = await client.post("/api/events", json=body("a", id="e1"))
        assert accepted.json() == {"accepted": 1, "duplicates": 0, "ids": ["e1"]}
        await app.settled()
    assert [one.verdict for one in live.firings()] == ["fired"]


# A channel is down


@asynccontextmanager
async def channel_down(live: Live, monkeypatch: pytest.MonkeyPatch, **retry: Any) -> AsyncIterator[tuple[App, Sink]]:
    """A server whose only channel is down, and a notification that was tried once."""
    async with serving() as sink:

        async def down(_: web.BaseRequest) -> web.Response:
            return web.Response(status=503 if live.clock.now_us() < T0 + HOUR else 200)

        sink.answer = down
        monkeypatch.setenv("ONCALL_URL", sink.url)
        app = await live.start()
        notify = {"type": "send-notification", "channel": "oncall", "retry": retry}
        await live.apply(
            automation({"expect": "a"}, actions=[notify]),
            channels=[{"name": "oncall", "type": "slack", "url": {"env": "ONCALL_URL"}}],
        )
        await live.send(event("a"))
        await app.settled()
        yield app, sink


async def pass_time(live: Live, app: App, *, until_us: int) -> None:
    """Let an hour go by, minute by minute; what is due in between is tried."""
    while live.clock.now_us() < until_us:
        live.clock.advance(MINUTE / SECOND)
        await look(app)


async def look(app: App) -> None:
    """Have the dispatcher look for what is due, and wait until that was tried."""
    app.dispatcher.nudge()
    await until(lambda: not app.database.read(_is_under_way, app.clock.now_us()))


def _is_under_way(connection: Any, now_us: int) -> bool:
    due_us = intents.next_due(connection)
    return intents.counts(connection)["running"] > 0 or (due_us is not None and due_us <= now_us)


async def test_f4_a_channel_that_is_down_for_an_hour_gets_its_notification_once(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with channel_down(live, monkeypatch, attempts=30) as (app, sink):
        await pass_time(live, app, until_us=T0 + 80 * MINUTE)
        [action] = (await app.read(intents.page)).items
        assert action["state"] == "succeeded"
        tried = len(sink.seen)
        assert 10 < tried < 30
        assert len(app.database.read(intents.show, action["id"])["history"]) == tried
        await pass_time(live, app, until_us=T0 + 100 * MINUTE)
        assert len(sink.seen) == tried


async def test_f4_a_notification_that_was_given_up_is_redriven_by_hand(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with channel_down(live, monkeypatch, attempts=3) as (app, sink), door(app) as client:
        await pass_time(live, app, until_us=T0 + 61 * MINUTE)
        [dead] = (await client.get("/api/actions?state=dead")).json()["items"]
        assert len(sink.seen) == 3
        assert (await client.post(f"/api/actions/{dead['id']}/retry")).status_code == 200
        await until(lambda: app.database.read(intents.show, dead["id"])["state"] == "succeeded")
        assert len(sink.seen) == 4


# Definitions go away


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "a.yaml").write_text(json.dumps({"automations": [automation(SILENT, "silent")]}))
    return folder


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "empty"])
async def test_a_definitions_folder_that_disappears_changes_nothing_and_works_again_when_it_is_back(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, emptied: bool
) -> None:
    """A volume that is not mounted leaves an empty folder, or none."""
    monkeypatch.setattr(watcher, "LOOK_MS", 50)
    monkeypatch.setattr(watcher, "AWAY_S", 0.05)
    away = tmp_path / "away"
    async with running(Settings(home=tmp_path / "home"), folder) as app:
        shutil.move(folder, away)
        if emptied:
            await asyncio.to_thread(folder.mkdir)
        assert app.watcher is not None
        await until(lambda: app.watcher and app.watcher.problem)
        complaint = "there is no *.yaml" if emptied else "No such file or directory"
        assert complaint in app.watcher.problem
        assert complaint in (await app.readiness()).definitions
        assert list(app.definitions.entries("automation")) == ["silent"]
        shutil.rmtree(folder, ignore_errors=True)
        (away / "b.yaml").write_text(json.dumps({"automations": [automation(SILENT, "another")]}))
        shutil.move(away, folder)
        await until(lambda: len(app.definitions.entries("automation")) == 2)
        await until(lambda: app.watcher and not app.watcher.problem)


async def test_a_server_is_not_started_over_an_empty_folder(tmp_path: Path, folder: Path) -> None:
    """It would remove what runs, and end its windows."""
    settings = Settings(home=tmp_path / "home")
    async with running(settings, folder):
        pass
    (folder / "a.yaml").unlink()
    with pytest.raises(Exception, match=r"there is no \*\.yaml or \*\.yml file in this folder"):
        async with running(settings, folder):
            pass
    (folder / "a.yaml").write_text("automations: []")
    async with running(settings, folder) as app:
        assert list(app.definitions.entries("automation")) == []


# The clock is set


async def test_s3_deadlines_are_judged_late_rather_than_never_when_the_clock_is_set_back_by_an_hour(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = await live.start(automation(SILENT))
    await live.send(*(event("beat", f"web-{number}") for number in range(5)), at_s=0)
    live.clock.set(T0 - HOUR)
    await app.shards.settled()
    assert [record.getMessage()[:34] for record in caplog.records if "clock" in record.getMessage()] == [
        "the clock was set back by 1h: time"
    ]
    live.clock.advance("19m")
    await app.shards.settled()
    assert live.fired() == [], "half of 19 minutes are not ten"
    live.clock.advance("2m")
    await app.shards.settled()
    assert live.fired() == [(600.0, "missed", {"id": f"web-{number}"}) for number in range(5)]
    await live.send(event("beat", "web-0"))
    await app.shards.settled()
    assert live.fired()[5:] == [(630.0, "resolved", {"id": "web-0"})]
    live.clock.set(T0 + HOUR)
    await app.shards.settled()
    assert "the clock has caught up" in caplog.text
    assert live.fired()[6:] == [(1230.0, "missed", {"id": "web-0"})]
