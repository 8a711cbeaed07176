"""The services of docker-compose.yml work side by side, go on when one is killed, and hold nothing when they stop."""

from __future__ import annotations

import asyncio
import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.composed import GIVEN
from tests.deploy.side import ORDER, Side, side_by_side, until
from tests.engine.sink import Sink, serving
from tests.redis_servers import Redis
from tests.servers import ask

AUTOMATIONS = 24
"""Enough of them that every one of eight shards has some."""

NAMES = [f"rule-{number}" for number in range(AUTOMATIONS)]


def definitions(sink: Sink) -> str:
    automations: list[dict[str, Any]] = [
        {
            "name": name,
            "trigger": {"expect": f"load.{name}", "for_each": ["id"]},
            "actions": [{"type": "call-webhook", "url": f"{sink.url}/{name}", "body": {"about": "{{ labels.id }}"}}],
        }
        for name in NAMES
    ]
    automations += [
        {
            "name": "runs",
            "trigger": {"expect": "please.run"},
            "actions": [{"type": "run-flow", "flow": "answers"}],
        },
        {
            "name": "answered",
            "trigger": {"expect": "flow.answered"},
            "actions": [{"type": "call-webhook", "url": f"{sink.url}/answered", "body": {"about": "run"}}],
        },
    ]
    command = ["tocsin", "emit", "flow.answered", "--resource", "run"]
    flows = [{"name": "answers", "command": command, "env": {"TOCSIN_TOKEN": {"env": "RUN_TOKEN"}}}]
    return json.dumps({"automations": automations, "flows": flows})


async def send(side: Side, *events: dict[str, Any]) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {GIVEN['TOCSIN_EMIT_TOKEN']}"}) as client:
        answer = await client.post(side.services["api"].url + "/api/events", json=events)
    assert answer.status_code == 202, answer.text


def loads(about: str) -> list[dict[str, Any]]:
    return [{"event": f"load.{name}", "resource": {"id": about}, "id": f"{name}-{about}"} for name in NAMES]


async def told(sink: Sink, about: str, count: int) -> None:
    """Wait until so many webhooks about something came, then see that each came once."""

    async def enough() -> bool:
        return len([body for _, body in sink.seen if json.loads(body) == {"about": about}]) >= count

    await until(enough, f"{count} webhooks about {about}")
    keys = [key for key, body in sink.seen if json.loads(body) == {"about": about}]
    assert len(keys) == len(set(keys)) == count


def owners(url: str) -> dict[int, str]:
    return dict(ask(url, "SELECT shard, owner FROM shards WHERE owner IS NOT NULL"))


def shares(url: str) -> list[int]:
    held = list(owners(url).values())
    return sorted(held.count(owner) for owner in set(held))


async def test_services_do_the_whole_job_and_one_that_is_killed_is_replaced(
    empty_postgres: str, redis_url: Redis, tmp_path: Path
) -> None:
    settings = {"TOCSIN_DATABASE": empty_postgres, "TOCSIN_BUS": redis_url.url, "RUN_TOKEN": GIVEN["TOCSIN_EMIT_TOKEN"]}
    with redis_url.stream() as stream:
        async with (
            serving() as sink,
            side_by_side(tmp_path, definitions(sink), TOCSIN_BUS_STREAM=stream, **settings) as side,
        ):
            status, said = await side.run("migrate")
            assert (status, said.startswith("the database was empty, now at version")) == (0, True)
            await start_all(side)
            await until(lambda: asyncio.to_thread(lambda: shares(empty_postgres) == [4, 4]), "two share the shards")

            await send(side, *loads("first"))
            await told(sink, "first", AUTOMATIONS)
            await send(side, {"event": "please.run", "resource": {"id": "x"}})
            await told(sink, "run", 1)
            await asyncio.gather(*(until(partial(side.healthy, name), f"{name} is healthy") for name in side.services))

            refused = await side.services["recorder"].ask("/api/events")
            assert refused.status_code == 404
            assert refused.json()["error"].startswith("this process does not have the role `api`")

            await side.services["evaluator"].end(signal.SIGKILL)
            await send(side, *loads("second"))
            await told(sink, "second", AUTOMATIONS)
            assert shares(empty_postgres) == [8]

            statuses = await asyncio.gather(*(one.end() for one in side.services.values()))
            assert statuses == [-signal.SIGKILL if name == "evaluator" else 0 for name in side.services]
            nothing_is_held(empty_postgres)
            with redis_url.client() as client:
                assert client.xpending(stream, "recorders")["pending"] == 0
            await told(sink, "first", AUTOMATIONS)


async def start_all(side: Side) -> None:
    await side.start(ORDER[0])  # the worker has to know where it is
    others = (side.start(name) for name in ORDER[1:])
    await asyncio.gather(*others, side.start("evaluator", also="evaluator-2"))


def nothing_is_held(url: str) -> None:
    assert owners(url) == {}
    assert ask(url, "SELECT id, state, owner FROM intents WHERE ended_us IS NULL OR owner IS NOT NULL") == []
    assert ask(url, "SELECT id, state, owner FROM runs WHERE ended_us IS NULL OR owner IS NOT NULL") == []
    assert ask(url, "SELECT roles FROM processes WHERE roles <> 'evaluator'") == []  # the killed one could not leave
