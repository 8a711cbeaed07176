"""All definitions at once: what a document would change, and changing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.reading import kept
from tests.servers import BOTH
from tocsin.app import App
from tocsin.settings import Settings

DATABASES = BOTH

ADDRESS = "/api/definitions"
ABSENCE = {"type": "absence", "expect": "host.heartbeat", "for_each": ["id"], "within": "5m"}


def watching(name: str = "silent", **trigger: Any) -> dict[str, Any]:
    return {"name": name, "trigger": ABSENCE | trigger, "actions": [{"type": "log"}]}


FILES = {
    "automations": [watching("from-file")],
    "queues": [{"name": "nightly", "concurrency": 2}],
    "flows": [{"name": "backfill", "command": ["true"], "schedule": {"cron": "0 2 * * *"}}],
}


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.yaml"
    path.write_text(json.dumps(FILES))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", api_secrets=frozenset({"SLACK_URL"}))


async def planned(client: httpx.AsyncClient, query: str = "", **document: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{ADDRESS}/plan{query}", json=document)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def put(client: httpx.AsyncClient, query: str = "", **document: Any) -> dict[str, list[str]]:
    answer = await client.put(f"{ADDRESS}{query}", json=document)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def names(client: httpx.AsyncClient) -> list[tuple[str, str, str]]:
    items = (await client.get(ADDRESS)).json()["items"]
    return [(one["kind"], one["name"], one["origin"]) for one in items]


FROM_FILES = [("automation", "from-file", "file"), ("flow", "backfill", "file"), ("queue", "nightly", "file")]


async def test_a_document_is_put_into_force_changed_and_taken_out_again(client: httpx.AsyncClient) -> None:
    channel = {"name": "oncall", "type": "slack", "url": {"env": "SLACK_URL"}}
    changes = await put(client, automations=[watching()], channels=[channel])
    assert changes == {"added": ["automation/silent", "channel/oncall"], "changed": [], "removed": [], "restarted": []}
    assert set(await names(client)) == {*FROM_FILES, ("automation", "silent", "api"), ("channel", "oncall", "api")}
    changes = await put(client, automations=[watching(within="10m")])
    assert (changes["changed"], changes["removed"], changes["restarted"]) == (
        ["automation/silent"], ["channel/oncall"], ["automation/silent"])  # fmt: skip
    assert (await put(client))["removed"] == ["automation/silent"]
    assert await names(client) == FROM_FILES


async def test_what_is_put_with_keep_stands_beside_what_was_there(client: httpx.AsyncClient) -> None:
    await put(client, automations=[watching("one")])
    assert (await planned(client, "?keep=true", automations=[watching("two")]))[0]["change"] == "added"
    assert (await put(client, "?keep=true", automations=[watching("two")]))["removed"] == []
    assert [name for _, name, origin in await names(client) if origin == "api"] == ["one", "two"]


async def test_s4_a_plan_says_what_keeps_its_windows_and_why_others_begin_anew(client: httpx.AsyncClient) -> None:
    await put(client, automations=[watching("calm"), watching("anew"), watching("gone")])
    steps = await planned(
        client,
        automations=[watching("calm", grace="1m"), watching("anew", within="10m", grace="1m"), watching("new")],
        channels=[{"name": "oncall", "type": "log"}],
    )
    within, grace = "trigger.within: 5m -> 10m", "trigger.grace: not set -> 1m"
    told = [(one["change"], one["kind"], one["name"], one["windows"], one["because"], one["fields"]) for one in steps]
    assert told == [
        ("changed", "automation", "anew", "restarted", [within], [within, grace]),
        ("changed", "automation", "calm", "kept", [], [grace]),
        ("removed", "automation", "gone", "closed", [], []),
        ("added", "automation", "new", "begin", [], []),
        ("added", "channel", "oncall", None, [], []),
    ]
    assert {"calm", "anew", "gone"} <= {name for _, name, _ in await names(client)}, "a plan changes nothing"


async def test_a_plan_and_what_is_done_agree(client: httpx.AsyncClient) -> None:
    await put(client, automations=[watching("a"), watching("b"), watching("c")])
    document: dict[str, Any] = {
        "automations": [watching("b", threshold=2), watching("c", forget_after="5d"), watching("d")]
    }
    steps = await planned(client, **document)
    changes = await put(client, **document)
    for change in ("added", "changed", "removed"):
        assert changes[change] == [f"{one['kind']}/{one['name']}" for one in steps if one["change"] == change]
    restarted = [f"automation/{one['name']}" for one in steps if one["windows"] == "restarted"]
    assert changes["restarted"] == restarted == ["automation/b"]
    assert await planned(client, **document) == []


async def test_what_files_define_is_a_conflict_and_nothing_is_changed(client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = {"automations": [watching("mine"), watching("from-file", within="9m")]}
    steps = await planned(client, **document)
    assert [(one["change"], one["because"]) for one in steps] == [
        ("conflict", ["the automation 'from-file' came from a file: change it there"]),
        ("added", []),
    ]
    refused = await client.put(ADDRESS, json=document)
    assert (refused.status_code, "came from a file" in refused.json()["error"]) == (409, True)
    assert await names(client) == FROM_FILES


async def test_a_plan_of_files_compares_with_what_came_from_files(client: httpx.AsyncClient) -> None:
    flow = {"name": "backfill", "command": ["true"], "schedule": {"cron": "0 3 * * *"}}
    changed = FILES | {"automations": [watching("from-file", expect="host.ping")], "flows": [flow]}
    steps = await planned(client, "?origin=file", **changed)
    assert [(one["name"], one["windows"], one["because"]) for one in steps] == [
        ("from-file", "restarted", ["trigger.expect: host.heartbeat -> host.ping"]),
        ("backfill", "restarted", ["schedule.cron: 0 2 * * * -> 0 3 * * *"]),
    ]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"automatons": []}, "automatons: unknown key: did you mean `automations`?"),
        ({"automations": [watching(wihtin=1)]}, "automations[silent].trigger.wihtin: unknown key"),
        ({"automations": [watching(), watching()]}, "the name 'silent' is taken by another automation"),
        ({"automations": [watching() | {"actions": [{"type": "pause-queue", "queue": "daily"}]}]},
         "automations[silent].actions[0].queue: there is no queue 'daily'"),
        ({"flows": [{"name": "a", "command": ["rm"]}]}, "flows[a]: a flow starts a program"),
        ({"channels": [{"name": "a", "type": "slack", "url": {"file": "/etc/passwd"}}]}, "can not read files"),
        ({"channels": [{"name": "a", "type": "slack", "url": {"env": "HOME"}}]}, "list HOME in TOCSIN_API_SECRETS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["PUT ", "POST /plan"])
async def test_a_document_that_is_wrong_is_refused_whole(
    client: httpx.AsyncClient, document: dict[str, Any], complaint: str, call: str
) -> None:
    method, _, path = call.partition(" ")
    right = {"queues": [{"name": "q", "concurrency": 1}]}
    answer = await client.request(method, f"{ADDRESS}{path}", json=right | document)
    assert answer.status_code == 422, answer.text
    assert complaint in answer.json()["error"]
    assert await names(client) == FROM_FILES


async def test_what_comes_over_the_api_may_name_what_files_define(client: httpx.AsyncClient) -> None:
    resume = watching("resumes") | {"actions": [{"type": "resume-queue", "queue": "nightly"}]}
    assert (await put(client, automations=[resume]))["added"] == ["automation/resumes"]


async def test_a_document_is_active_when_it_is_answered(client: httpx.AsyncClient, app: App) -> None:
    """O3: what is acknowledged after the answer is judged by it."""
    await put(client, automations=[{"name": "a", "trigger": {"expect": "x"}, "actions": [{"type": "log"}]}])
    await client.post("/api/events", json={"event": "x", "resource": {"id": "r"}})
    await app.settled()
    assert [one["automation"] for one in (await client.get("/api/firings")).json()["items"]] == ["a"]
    assert [one.event for one in await kept(app)] == ["x"]


async def test_definitions_are_listed_page_by_page_and_by_kind(client: httpx.AsyncClient) -> None:
    first = (await client.get(f"{ADDRESS}?limit=2")).json()
    second = (await client.get(f"{ADDRESS}?limit=2&cursor={first['next']}")).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["from-file", "backfill", "nightly"]
    (queue,) = (await client.get(f"{ADDRESS}?kind=queue")).json()["items"]
    assert queue == {"kind": "queue", "name": "nightly", "origin": "file", "definition": FILES["queues"][0]}
