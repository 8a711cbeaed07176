"""Everything but ingest: what the calls answer, and that all errors have one shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from tests.servers import ON_BOTH
from tocsin.app import App
from tocsin.engine.readiness import Readiness
from tocsin.errors import Unavailable
from tocsin.schemas.firing import Firing, Verdict, firing_id
from tocsin.store import firings
from tocsin.store.writer import Transaction

AUTOMATION = {"trigger": {"type": "absence", "expect": "host.heartbeat", "within": "5m"}, "actions": [{"type": "log"}]}


DEFINITIONS = {
    "automations": [
        {"name": "from-file", **AUTOMATION},
        {"name": "logs", "trigger": {"expect": "log.me"}, "actions": [{"type": "log"}]},
        {
            "name": "calls",
            "trigger": {"expect": "call.me"},
            "actions": [{"type": "call-webhook", "url": "http://127.0.0.1:9/", "retry": {"attempts": 1}}],
        },
    ],
    "queues": [{"name": "nightly", "concurrency": 2}],
    "flows": [{"name": "backfill", "command": ["true"], "queue": "nightly", "parameters": {"day": 1, "table": "a"}}],
}


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.yaml"
    path.write_text(json.dumps(DEFINITIONS))  # JSON is YAML
    return path


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/events?limit=0", "limit"),
        ("/api/events?limit=many", "limit"),
        ("/api/events?cursor=nonsense", "cursor"),
        ("/api/events?since=yesterday", "since"),
        ("/api/events?since=2026-01-01", "since"),
        ("/api/events?until=1763628000", "until"),
        ("/api/events/count?by=colour", "by"),
        ("/api/firings?state=shut", "state"),
        ("/api/firings?verdict=guilty", "verdict"),
        ("/api/actions?state=done", "state"),
        ("/api/runs?state=done", "state"),
        ("/api/automations?cursor=x", "cursor"),
    ],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert answer.json()["error"].startswith(field)


# Automations


async def automations(client: httpx.AsyncClient) -> list[str]:
    return [item["definition"]["name"] for item in (await client.get("/api/automations")).json()["items"]]


@ON_BOTH
async def test_an_automation_is_put_shown_paused_resumed_and_deleted(client: httpx.AsyncClient) -> None:
    address = "/api/automations/host is silent"
    assert (await client.get(address)).status_code == 404
    put = await client.put(address, json=AUTOMATION)
    assert (put.status_code, put.json()["definition"]["name"], put.json()["origin"]) == (200, "host is silent", "api")
    assert (await client.post(f"{address}/pause")).json()["paused"] is True
    assert (await client.post(f"{address}/resume")).json()["paused"] is False
    assert "host is silent" in await automations(client)
    assert (await client.delete(address)).status_code == 204
    assert "host is silent" not in await automations(client)


@ON_BOTH
async def test_automations_are_listed_by_name_page_by_page(client: httpx.AsyncClient) -> None:
    first = (await client.get("/api/automations?limit=2")).json()
    second = (await client.get(f"/api/automations?limit=2&cursor={first['next']}")).json()
    assert [item["definition"]["name"] for item in first["items"] + second["items"]] == await automations(client)
    assert (len(first["items"]), second["next"]) == (2, None)


@ON_BOTH
async def test_what_comes_from_a_file_is_not_changed_here(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.put("/api/automations/from-file", json=AUTOMATION),
        await client.delete("/api/automations/from-file"),
    ):
        assert (answer.status_code, "from a file" in answer.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"description": "\\ud800"}', 400),
        (b'{"description": NaN}', 400),
        (b"[" * 5_000 + b"]" * 5_000, 400),
        (b"[]", 422),
        (b"", 422),
        (b"{}", 422),
        (b'{"trigger": {"expect": "a"}, "name": "another"}', 409),
        (b'{"trigger": {"expect": "a\\u0000"}, "actions": [{"type": "emit-event", "evnt": "a"}]}', 422),
        (b'"' + b"x" * (1 << 20) + b'"', 413),
    ],
)
async def test_a_definition_that_is_wrong_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.put("/api/automations/a", content=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "errors"}), answer.text


@pytest.mark.parametrize("call", ["DELETE ", "POST /pause", "POST /resume"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, call: str) -> None:
    method, _, path = call.partition(" ")
    answer = await client.request(method, f"/api/automations/nobody{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "there is no automation 'nobody'")


async def test_a_body_is_json_whatever_its_content_type_says(client: httpx.AsyncClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}  # what curl says unless it is told otherwise
    body = json.dumps(AUTOMATION).encode()
    assert (await client.put("/api/automations/a", content=body, headers=form)).status_code == 200


@pytest.mark.parametrize("path", ["/api/events/a%00b", "/api/events?q=%00", "/api/firings?automation=a%00"])
@ON_BOTH
async def test_an_address_with_a_nul_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 422


# Firings and actions


async def miss(app: App) -> Firing:
    """Store a firing that is open."""
    firing = Firing(
        id=firing_id("a", "b"),
        automation="tables",
        node="n",
        state_key="k",
        labels={"id": "table/sales"},
        verdict=Verdict.MISSED,
        at_us=1,
        time_us=1,
        reason="it was not seen",
    )

    def unit(tx: Transaction) -> None:
        firings.add(tx.connection, [firings.Judged(firing, "live", "high")], {}, decided_us=tx.now_us)

    await app.writer.run(unit)
    return firing


async def fire(client: httpx.AsyncClient, app: App, name: str) -> None:
    assert (await client.post("/api/events", json={"event": name, "resource": {"id": "r"}})).status_code == 202
    await app.settled()


@ON_BOTH
async def test_firings_are_listed_and_shown(client: httpx.AsyncClient, app: App) -> None:
    await fire(client, app, "log.me")
    missed = await miss(app)
    newest, oldest = (await client.get("/api/firings")).json()["items"]
    assert (newest["id"], oldest["automation"]) == (missed.id, "logs")
    for query, expected in [("state=open", newest), ("verdict=fired", oldest), ("automation=logs&since=1h", oldest)]:
        assert (await client.get(f"/api/firings?{query}")).json()["items"] == [expected]
    shown = (await client.get(f"/api/firings/{missed.id}")).json()
    assert (shown["verdict"], shown["reason"], shown["labels"]) == ("missed", "it was not seen", {"id": "table/sales"})
    assert (await client.get("/api/firings/none")).status_code == 404


@ON_BOTH
async def test_the_list_of_automations_says_when_each_fired_last(client: httpx.AsyncClient, app: App) -> None:
    await fire(client, app, "log.me")
    items = (await client.get("/api/automations")).json()["items"]
    (last,) = (item["last_firing"] for item in items if item["definition"]["name"] == "logs")
    assert [last] == (await client.get("/api/firings?automation=logs")).json()["items"]
    assert {item["last_firing"] for item in items if item["definition"]["name"] != "logs"} == {None}


@ON_BOTH
async def test_a_dead_action_is_shown_with_its_attempts_and_retried(client: httpx.AsyncClient, app: App) -> None:
    await fire(client, app, "call.me")
    (item,) = (await client.get("/api/actions?state=dead&automation=calls")).json()["items"]
    address = f"/api/actions/{item['id']}"
    shown = (await client.get(address)).json()
    assert (shown["type"], [one["outcome"] for one in shown["history"]]) == ("call-webhook", ["failed"])
    retried = await client.post(f"{address}/retry")
    assert (retried.status_code, retried.json()["state"]) == (200, "waiting")


@ON_BOTH
async def test_an_action_that_can_not_be_retried_is_refused(client: httpx.AsyncClient, app: App) -> None:
    await fire(client, app, "log.me")
    (item,) = (await client.get("/api/actions", params={"type": "log"})).json()["items"]
    answer = await client.post(f"/api/actions/{item['id']}/retry")
    assert (answer.status_code, "succeeded" in answer.json()["error"]) == (409, True)
    assert (await client.post("/api/actions/none/retry")).status_code == 404
    assert (await client.get("/api/actions/none")).status_code == 404


# Queues and runs


@ON_BOTH
async def test_a_queue_is_paused_and_resumed(client: httpx.AsyncClient) -> None:
    (idle,) = (await client.get("/api/queues")).json()["items"]
    assert (idle["name"], idle["concurrency"], idle["paused"], idle["waiting"]) == ("nightly", 2, False, 0)
    assert (await client.post("/api/queues/nightly/pause")).json()["paused"] is True
    assert (await client.post("/api/queues/nightly/resume")).json()["paused"] is False
    for call in ("pause", "resume"):
        assert (await client.post(f"/api/queues/other/{call}")).status_code == 404


@ON_BOTH
async def test_a_run_is_started_once_shown_and_cancelled(client: httpx.AsyncClient) -> None:
    await client.post("/api/queues/nightly/pause")
    order = {"flow": "backfill", "parameters": {"table": "b"}, "id": "r1"}
    started, again = await client.post("/api/runs", json=order), await client.post("/api/runs", json=order)
    assert (started.status_code, again.status_code) == (202, 202)
    assert (started.json()["id"], started.json()["parameters"]) == ("r1", {"day": 1, "table": "b"})
    assert [run["id"] for run in (await client.get("/api/runs?flow=backfill")).json()["items"]] == ["r1"]
    assert (await client.get("/api/queues")).json()["items"][0]["waiting"] == 1
    assert (await client.post("/api/runs/r1/cancel")).json()["state"] == "cancelled"
    assert (await client.get("/api/runs/r1")).json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({}, 422),
        ({"flow": "other"}, 404),
        ({"flow": "backfill", "id": "a b"}, 422),
        ({"flow": "backfill", "x": 1}, 422),
    ],
)
async def test_an_order_that_is_wrong_is_refused(client: httpx.AsyncClient, order: dict[str, Any], status: int) -> None:
    answer = await client.post("/api/runs", json=order)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "errors"}), answer.text


# Health, errors, description


@ON_BOTH
async def test_alive_and_ready_are_two_questions(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/healthz")).status_code == 200
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    late = Readiness(ready=False, lag_s=31.0, unjudged=9, waiting=0, reason="judgement is 31 s late")
    monkeypatch.setattr(app, "readiness", AsyncMock(return_value=late))
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "judgement is 31 s late")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api", 404), ("DELETE", "/api/events", 405), ("PATCH", "/api/automations/a", 405)],
)
async def test_what_does_not_exist_is_said_in_the_same_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["errors"]) == (status, [])
    assert "/docs" in answer.json()["error"]


async def test_an_error_of_our_own_says_nothing_of_the_inside(
    app: App, api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "read", AsyncMock(side_effect=RuntimeError("the inside")))
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/api/events", headers={"x-request-id": "from-the-proxy-7"})
    assert (answer.status_code, "the inside" in answer.text, "the inside" in caplog.text) == (500, False, True)
    (line,) = [one for one in caplog.records if one.name == "tocsin.api"]
    assert vars(line)["request"] == "from-the-proxy-7"
    assert "(request from-the-proxy-7)" in answer.json()["error"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, "\x1b[2J"])
async def test_a_request_without_an_id_that_is_one_gets_a_new_one(
    app: App, api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    monkeypatch.setattr(app.recorder, "record", AsyncMock(side_effect=RuntimeError("the inside")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://127.0.0.1") as client:
        answer = await client.post(
            "/api/events", json={"event": "a", "resource": {"id": "b"}}, headers=[(b"x-request-id", given.encode())]
        )
    assert (answer.status_code, answer.json()["errors"], "the inside" in answer.text) == (500, [], False)
    (line,) = [one for one in caplog.records if one.name == "tocsin.api"]
    request = vars(line)["request"]
    assert (len(request), request in answer.json()["error"]) == (32, True)


async def test_a_database_that_is_away_says_when_to_come_back(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "read", AsyncMock(side_effect=Unavailable("the database is away")))
    answer = await client.get("/api/firings")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_the_description_names_every_call(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    assert set(schema["paths"]) >= {
        "/api/events",
        "/api/events/count",
        "/api/events/stream",
        "/hooks/{source}",
        "/ping/{key}",
        "/ping/{key}/{signal}",
        "/api/automations/{name}",
        "/api/automations/{name}/pause",
        "/api/firings/{firing_id}",
        "/api/actions/{action_id}/retry",
        "/api/queues/{name}/resume",
        "/api/runs",
        "/healthz",
        "/readyz",
    }
    assert set(schema["paths"]["/api/events"]) == {"get", "post"}
    identities = [call["operationId"] for calls in schema["paths"].values() for call in calls.values()]
    assert len(set(identities)) == len(identities)
    assert (await client.get("/openapi.json")).json() == schema
