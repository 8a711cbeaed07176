"""Everything but ingest: what the calls answer, and that all errors have one shape."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.doubles import FakeApp
from tocsin.errors import Unavailable
from tocsin.schemas.document import Document
from tocsin.schemas.firing import Firing, Verdict, firing_id
from tocsin.store import firings, intents
from tocsin.store.writer import Transaction

AUTOMATION = {"trigger": {"type": "absence", "expect": "host.heartbeat", "within": "5m"}, "actions": [{"type": "log"}]}


async def post(client: httpx.AsyncClient, *names: str, resource: str = "table/sales") -> None:
    events = [{"event": name, "resource": {"id": resource}, "id": name, "payload": {"n": name}} for name in names]
    assert (await client.post("/api/events", json=events)).status_code == 202


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["event"] for item in answer.json()["items"]]


# Events


async def test_events_are_listed_newest_first_and_page_by_page(client: httpx.AsyncClient) -> None:
    await post(client, "a", "b", "c")
    first = await client.get("/api/events", params={"limit": 2})
    assert names(first) == ["c", "b"]
    second = await client.get("/api/events", params={"limit": 2, "cursor": first.json()["next"]})
    assert (names(second), second.json()["next"]) == (["a"], None)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"event": "table.*"}, ["table.updated", "table.created"]),
        ({"event": "table.created"}, ["table.created"]),
        ({"resource": "table/sales"}, ["table.updated", "table.created"]),
        ({"q": "deleted"}, ["row.deleted"]),
        ({"since": "1h"}, ["row.deleted", "table.updated", "table.created"]),
        ({"until": "1h"}, []),
        ({"since": "2999-01-01T00:00:00Z"}, []),
        ({"until": "2999-01-01T00:00:00+01:00"}, ["row.deleted", "table.updated", "table.created"]),
    ],
)
async def test_events_are_found_by_what_is_asked(
    client: httpx.AsyncClient, params: dict[str, str], expected: list[str]
) -> None:
    await post(client, "table.created", "table.updated")
    await post(client, "row.deleted", resource="row/1")
    assert names(await client.get("/api/events", params=params)) == expected
    counted = await client.get("/api/events/count", params=params)
    assert counted.json() == {"count": len(expected)}


async def test_a_plus_that_an_address_turned_into_a_space_is_understood(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/events?since=2026-01-01T00:00:00+01:00")).status_code == 200


async def test_events_are_counted_by_name(client: httpx.AsyncClient) -> None:
    await post(client, "a", "b")
    counted = await client.get("/api/events/count", params={"by": "event"})
    assert counted.json() == {"counts": [{"value": "a", "count": 1}, {"value": "b", "count": 1}]}


@pytest.mark.parametrize("event_id", ["plain", "with/slash", "with space", "ü%2F?#"])
async def test_an_event_is_found_by_any_id(client: httpx.AsyncClient, event_id: str) -> None:
    sent = {"event": "a", "resource": {"id": "b"}, "id": event_id, "source": "s"}
    await client.post("/api/events", json=sent)
    address = f"/api/events/{quote(event_id, safe='')}"
    assert (await client.get(address)).json()["id"] == event_id
    assert (await client.get(address, params={"source": "s"})).status_code == 200
    assert (await client.get(address, params={"source": "other"})).status_code == 404


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


async def test_an_automation_is_put_shown_paused_resumed_and_deleted(client: httpx.AsyncClient) -> None:
    address = "/api/automations/host is silent"
    assert (await client.get(address)).status_code == 404
    put = await client.put(address, json=AUTOMATION)
    assert (put.status_code, put.json()["definition"]) == (200, {**AUTOMATION, "name": "host is silent"})
    assert (await client.post(f"{address}/pause")).json()["paused"] is True
    assert (await client.post(f"{address}/resume")).json()["paused"] is False
    assert (await client.get("/api/automations")).json()["items"] == [put.json()]
    assert (await client.delete(address)).status_code == 204
    assert (await client.get("/api/automations")).json() == {"items": [], "next": None}


async def test_automations_are_listed_by_name_page_by_page(client: httpx.AsyncClient) -> None:
    for name in ("b", "c", "a"):
        await client.put(f"/api/automations/{name}", json=AUTOMATION)
    first = (await client.get("/api/automations?limit=2")).json()
    second = (await client.get(f"/api/automations?limit=2&cursor={first['next']}")).json()
    assert [item["definition"]["name"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next"] is None


async def test_what_comes_from_a_file_is_not_changed_here(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.put("/api/automations/from-file", json=AUTOMATION),
        await client.delete("/api/automations/from-file"),
    ):
        assert (answer.status_code, "comes from a file" in answer.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b"", 422), (b"{}", 422), (b'"' + b"x" * (1 << 20) + b'"', 413)],
)
async def test_a_definition_that_is_wrong_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.put("/api/automations/a", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (status, {"error", "errors"}), answer.text


@pytest.mark.parametrize("call", ["DELETE ", "POST /pause", "POST /resume"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, call: str) -> None:
    method, _, path = call.partition(" ")
    answer = await client.request(method, f"/api/automations/nobody{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "there is no automation 'nobody'")


# Firings and actions


async def fire(app: FakeApp, number: int, verdict: Verdict = Verdict.MISSED) -> Firing:
    """Store a firing with one action that waits."""
    firing = Firing(
        id=firing_id(number),
        automation="tables",
        node="n",
        state_key="k",
        labels={"id": "table/sales"},
        verdict=verdict,
        at_us=number,
        time_us=number,
        reason="it was not seen",
    )

    def unit(tx: Transaction) -> None:
        firings.add(tx.connection, [firings.Judged(firing, "live", "high")], {}, decided_us=tx.now_us)
        intents.add(tx, [intents.Order(firing, [("log", '{"type": "log"}')])])

    await app.writer.run(unit)
    return firing


async def test_firings_are_listed_and_shown(client: httpx.AsyncClient, app: FakeApp) -> None:
    missed, fired = await fire(app, 1), await fire(app, 2, Verdict.FIRED)
    listed = (await client.get("/api/firings")).json()["items"]
    assert [item["id"] for item in listed] == [fired.id, missed.id]
    for query, expected in [("state=open", missed), ("verdict=fired", fired), ("automation=tables&limit=1", fired)]:
        answer = await client.get(f"/api/firings?{query}")
        assert [item["id"] for item in answer.json()["items"]] == [expected.id]
    shown = (await client.get(f"/api/firings/{missed.id}")).json()
    assert (shown["verdict"], shown["reason"], shown["labels"]) == ("missed", "it was not seen", {"id": "table/sales"})
    assert (await client.get("/api/firings/none")).status_code == 404


async def test_actions_are_listed_shown_and_retried(client: httpx.AsyncClient, app: FakeApp) -> None:
    firing = await fire(app, 1)
    (item,) = (await client.get("/api/actions", params={"firing": firing.id, "state": "waiting"})).json()["items"]
    shown = (await client.get(f"/api/actions/{item['id']}")).json()
    assert (shown["type"], shown["history"]) == ("log", [])
    await app.writer.run(lambda tx: intents.discard(tx, item["id"], "a test"))
    retried = await client.post(f"/api/actions/{item['id']}/retry")
    assert (retried.status_code, retried.json()["state"]) == (200, "waiting")
    assert (await client.get("/api/actions?state=dead")).json()["items"] == []


async def test_an_action_that_can_not_be_retried_is_refused(client: httpx.AsyncClient, app: FakeApp) -> None:
    assert (await client.post("/api/actions/none/retry")).status_code == 404
    assert (await client.get("/api/actions/none")).status_code == 404
    await fire(app, 1)
    await app.writer.run(lambda tx: intents.claim(tx, owner="me", limit=1))
    (item,) = (await client.get("/api/actions")).json()["items"]
    assert (await client.post(f"/api/actions/{item['id']}/retry")).status_code == 409


# Queues and runs


@pytest.fixture
def flows(app: FakeApp) -> None:
    flow = {"name": "backfill", "command": ["true"], "queue": "nightly", "parameters": {"day": 1, "table": "a"}}
    app.definitions.document = Document.model_validate(
        {"queues": [{"name": "nightly", "concurrency": 2}], "flows": [flow]}
    )


@pytest.mark.usefixtures("flows")
async def test_a_queue_is_paused_and_resumed(client: httpx.AsyncClient) -> None:
    (idle,) = (await client.get("/api/queues")).json()["items"]
    assert (idle["name"], idle["concurrency"], idle["paused"], idle["waiting"]) == ("nightly", 2, False, 0)
    assert (await client.post("/api/queues/nightly/pause")).json()["paused"] is True
    assert (await client.post("/api/queues/nightly/resume")).json()["paused"] is False
    for call in ("pause", "resume"):
        assert (await client.post(f"/api/queues/other/{call}")).status_code == 404


@pytest.mark.usefixtures("flows")
async def test_a_run_is_started_once_shown_and_cancelled(client: httpx.AsyncClient) -> None:
    order = {"flow": "backfill", "parameters": {"table": "b"}, "id": "r1"}
    started, again = await client.post("/api/runs", json=order), await client.post("/api/runs", json=order)
    assert (started.status_code, again.status_code) == (202, 202)
    assert (started.json()["id"], started.json()["parameters"]) == ("r1", {"day": 1, "table": "b"})
    assert [run["id"] for run in (await client.get("/api/runs?flow=backfill")).json()["items"]] == ["r1"]
    assert (await client.get("/api/queues")).json()["items"][0]["waiting"] == 1
    assert (await client.post("/api/runs/r1/cancel")).json()["state"] == "cancelled"
    assert (await client.get("/api/runs/r1")).json()["state"] == "cancelled"


@pytest.mark.usefixtures("flows")
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


async def test_alive_and_ready_are_two_questions(client: httpx.AsyncClient, app: FakeApp) -> None:
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).json() == {"ready": True, "lag_s": 0.0}
    app.ready = False
    assert (await client.get("/readyz")).status_code == 503


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
    app: FakeApp, api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(app, "read", broken)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/api/events")
    assert (answer.status_code, "the inside" in answer.text, "the inside" in caplog.text) == (500, False, True)


async def test_a_database_that_is_away_says_when_to_come_back(
    client: httpx.AsyncClient, app: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object, **_kwargs: object) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(app, "read", away)
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
