"""A process that is asked to stop finishes or hands back what it holds; one that can not work as told says why."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from tests.deploy.side import Side, side_by_side, until
from tests.deploy.test_side_by_side import owners, send
from tests.engine.sink import Sink, serving
from tests.servers import ask


def definitions(sink: Sink, started: Path) -> str:
    run = {"type": "run-flow", "flow": "slow"}
    call = {"type": "call-webhook", "url": sink.url}
    return json.dumps(
        {
            "automations": [
                {"name": "calls", "trigger": {"expect": "please.call"}, "actions": [call]},
                {"name": "runs", "trigger": {"expect": "please.run"}, "actions": [run]},
            ],
            "flows": [{"name": "slow", "command": ["sh", "-c", f"touch {started}; sleep 2"], "queue": "narrow"}],
            "queues": [{"name": "narrow", "concurrency": 1}],
        }
    )


def event(name: str) -> dict[str, Any]:
    return {"event": name, "resource": {"id": "x"}}


async def test_what_is_under_way_is_finished_and_what_waits_is_handed_back(empty_postgres: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    settings = {"TOCSIN_DATABASE": empty_postgres, "TOCSIN_BUS": ""}
    async with serving() as sink, side_by_side(tmp_path, definitions(sink, started), **settings) as side:
        sink.answer = sink.hang
        await side.run("migrate")
        await side.start("api")
        await asyncio.gather(*(side.start(name) for name in ("evaluator", "dispatcher", "worker")))
        await send(side, event("please.call"), event("please.run"), event("please.run"))
        await until(_is_there(sink, started), "a call and a run are under way")

        for name in ("dispatcher", "worker", "evaluator"):
            side.services[name].process.send_signal(signal.SIGTERM)
        await until(_refuses(side, "dispatcher"), "the dispatcher takes no requests any more")
        sink.release.set()
        statuses = await asyncio.gather(*(one.end() for name, one in side.services.items() if name != "api"))
        assert statuses == [0, 0, 0]

        assert ask(empty_postgres, "SELECT state, owner FROM intents WHERE type = 'call-webhook'") == [
            ("succeeded", None)
        ]
        left = ask(empty_postgres, "SELECT state, owner FROM runs ORDER BY n")
        assert left == [("completed", None), ("pending", None)]
        assert owners(empty_postgres) == {}
        assert await side.services["api"].end() == 0
        assert ask(empty_postgres, "SELECT name FROM processes") == []


def _is_there(sink: Sink, started: Path) -> Any:
    async def look() -> bool:
        return bool(sink.seen) and await asyncio.to_thread(started.exists)

    return look


def _refuses(side: Side, name: str) -> Any:
    async def look() -> bool:
        port = int(side.services[name].url.rpartition(":")[2])
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    return look


async def test_a_recorder_without_a_bus_says_what_it_lacks(empty_postgres: str, tmp_path: Path) -> None:
    async with side_by_side(tmp_path, "automations: []", TOCSIN_DATABASE=empty_postgres, TOCSIN_BUS="") as side:
        status, _ = await side.run("recorder")
        assert status == 1
        said = (tmp_path / "recorder.log").read_text()
        assert "a recorder takes events from a bus into the log: set TOCSIN_BUS, or leave that role out" in said
