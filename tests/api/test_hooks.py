"""`/hooks/{source}` and `/ping/{key}`: requests that prove themselves."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.api.reading import kept
from tocsin.app import App
from tocsin.schemas.moments import SECOND

SOURCES: list[dict[str, Any]] = [
    {"name": "github", "type": "webhook", "recipe": "github", "secret": {"env": "TEST_GITHUB_SECRET"}},
    {
        "name": "shop",
        "type": "webhook",
        "verify": {"type": "token", "query": "token", "secret": {"env": "TEST_SHOP_SECRET"}},
        "event": {"event": "body.kind", "resource": {"id": 'headers."x-order"', "page": "query.page"}, "id": "body.id"},
    },
    {
        "name": "open",
        "type": "webhook",
        "verify": {"type": "none"},
        "event": {"event": "'open.called'", "resource": {"id": "source"}},
    },
    {
        "name": "basic",
        "type": "webhook",
        "verify": {"type": "basic", "user": "shop", "password": {"env": "TEST_SHOP_SECRET"}},
        "event": {"event": "'basic.called'", "resource": {"id": "source"}},
    },
    {
        "name": "standard",
        "type": "webhook",
        "verify": {"type": "standard-webhooks", "secret": {"env": "TEST_SIGNING_SECRET"}},
        "event": {"event": "body.type", "resource": {"id": "source"}},
    },
    {"name": "nightly-backup", "type": "checkin", "key": "4f1c"},
]
SECRET = "s3cret"
SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEST_GITHUB_SECRET", SECRET)
    monkeypatch.setenv("TEST_SHOP_SECRET", SECRET)
    monkeypatch.setenv("TEST_SIGNING_SECRET", SIGNING_SECRET)
    return written(tmp_path, SOURCES)


def written(folder: Path, sources: list[dict[str, Any]]) -> Path:
    path = folder / "sources.yaml"
    path.write_text(json.dumps({"sources": sources}))  # JSON is YAML
    return path


def github(body: bytes, delivery: str = "d1") -> dict[str, Any]:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-github-event": "ping",
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={digest}",
    }
    return {"content": body, "headers": headers}


async def test_a_signed_delivery_is_taken_once(client: httpx.AsyncClient, app: App) -> None:
    """E2, E3."""
    sent = github(b'{"zen": "Keep it logically awesome."}')
    first, again = await client.post("/hooks/github", **sent), await client.post("/hooks/github", **sent)
    assert (first.status_code, first.json()) == (202, {"accepted": 1, "duplicates": 0, "ids": ["d1"]})
    assert (again.status_code, again.json()) == (202, {"accepted": 1, "duplicates": 1, "ids": ["d1"]})
    assert [(event.event, event.source) for event in await kept(app)] == [("github.ping", "github")]


async def test_a_delivery_with_a_wrong_signature_is_refused(client: httpx.AsyncClient, app: App) -> None:
    answer = await client.post("/hooks/github", **{**github(b"{}"), "content": b"{} "})
    assert (answer.status_code, await kept(app)) == (401, [])
    assert "X-Hub-Signature-256" in answer.json()["error"]
    assert answer.headers["www-authenticate"].startswith("Signature ")
    assert SECRET not in answer.text


def standard(app: App, body: str, *, age_s: int = 0) -> dict[str, Any]:
    """Return a request that is signed as Standard Webhooks says, some seconds ago."""
    sent_s = app.clock.now_us() // SECOND - age_s
    signature = Webhook(SIGNING_SECRET).sign("msg_1", datetime.fromtimestamp(sent_s, UTC), body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(sent_s), "webhook-signature": signature}
    return {"content": body, "headers": headers}


async def test_a_replayed_message_of_standard_webhooks_is_a_duplicate(client: httpx.AsyncClient, app: App) -> None:
    """E2."""
    sent = standard(app, '{"type": "invoice.paid"}', age_s=60)
    first, again = await client.post("/hooks/standard", **sent), await client.post("/hooks/standard", **sent)
    assert [answer.json()["duplicates"] for answer in (first, again)] == [0, 1]
    assert [(event.event, event.id) for event in await kept(app)] == [("invoice.paid", "msg_1")]


async def test_an_old_message_of_standard_webhooks_is_refused(client: httpx.AsyncClient, app: App) -> None:
    answer = await client.post("/hooks/standard", **standard(app, '{"type": "invoice.paid"}', age_s=400))
    assert (answer.status_code, await kept(app)) == (401, [])


async def test_http_basic_is_asked_for_and_taken(client: httpx.AsyncClient) -> None:
    refused = await client.post("/hooks/basic")
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    assert (await client.post("/hooks/basic", auth=("shop", "guess"))).status_code == 401
    assert (await client.post("/hooks/basic", auth=("shop", SECRET))).status_code == 202


async def test_headers_and_query_reach_the_expressions(client: httpx.AsyncClient, app: App) -> None:
    headers = [("X-Order", "order/7"), ("X-Many", "a"), ("X-Many", "b")]
    answer = await client.post(
        f"/hooks/shop?token={SECRET}&page=a%20b", json={"kind": "paid", "id": 5}, headers=headers
    )
    assert answer.json() == {"accepted": 1, "duplicates": 0, "ids": ["5"]}
    assert (await kept(app))[0].resource == {"id": "order/7", "page": "a b"}


async def test_a_request_that_gives_no_event_is_told_which_expression_failed(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/hooks/shop?token={SECRET}", json={"kind": 7})
    assert answer.status_code == 422
    assert {(error["field"], error["message"]) for error in answer.json()["errors"]} == {
        ("event", "`body.kind` gave 7: a string is needed"),
        ("resource.id", '`headers."x-order"` gave nothing: the id of the resource is needed'),
    }


async def test_a_missing_secret_refuses_everything_and_tells_senders_to_come_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TEST_SHOP_SECRET")
    answer = await client.post("/hooks/shop?token=", json={"kind": "paid"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert "TEST_SHOP_SECRET" not in answer.text
    assert "TEST_SHOP_SECRET" in caplog.text


async def test_a_source_that_is_replaced_is_compiled_anew(client: httpx.AsyncClient, app: App, tmp_path: Path) -> None:
    await client.post("/hooks/open")
    mapping = {"event": "'open.renamed'", "resource": {"id": "source"}}
    await app.load(written(tmp_path, [{**SOURCES[2], "event": mapping}]))
    await client.post("/hooks/open")
    assert [event.event for event in await kept(app)] == ["open.called", "open.renamed"]


@pytest.mark.parametrize("path", ["/hooks/nobody", "/hooks/", "/hooks/nightly-backup", "/hooks/github/more"])
async def test_only_declared_webhooks_exist(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, json={})).status_code == 404


async def test_a_webhook_is_received_by_post_only(client: httpx.AsyncClient) -> None:
    answer = await client.get("/hooks/open")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_tunnel_may_bring_webhooks_to_a_server_without_a_token(client: httpx.AsyncClient) -> None:
    assert (await client.post("/hooks/open", headers={"host": "abc.tunnel.example"})).status_code == 202


async def test_a_webhook_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/hooks/open", content=b"x" * 200_001)).status_code == 413


async def test_what_arrives_while_the_client_goes_away_is_not_kept(app: App, api: Any) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/hooks/open", "headers": [], "query_string": b""}
    await api(scope, receive, send)
    assert (sent, await kept(app)) == ([], [])


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/ping/4f1c", "checkin.ok"),
        ("POST", "/ping/4f1c", "checkin.ok"),
        ("GET", "/ping/4f1c/start?rid=7", "checkin.started"),
        ("POST", "/ping/4f1c/fail", "checkin.failed"),
        ("GET", "/ping/4f1c/3", "checkin.failed"),
    ],
)
async def test_a_job_checks_in(client: httpx.AsyncClient, app: App, method: str, path: str, name: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    (event,) = await kept(app)
    assert (event.event, event.resource["id"]) == (name, "checkin/4f1c")
    assert event.resource.get("rid") == ("7" if "rid" in path else None)


async def test_what_is_no_check_in_is_told_so(client: httpx.AsyncClient, app: App) -> None:
    assert (await client.get("/ping/other")).status_code == 404
    assert (await client.get("/ping/4f1c/maybe")).status_code == 404
    assert (await client.delete("/ping/4f1c")).status_code == 405
    assert (await client.post("/ping/4f1c/fail", content=b"x" * 100_001)).status_code == 413
    assert await kept(app) == []


async def test_cloudevents_are_taken_where_events_are(client: httpx.AsyncClient, app: App) -> None:
    attributes = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order.paid"}
    for content, headers in [
        (b"1", {f"ce-{name}": value for name, value in attributes.items()} | {"content-type": "application/json"}),
        (json.dumps(attributes).encode(), {"content-type": "application/cloudevents+json"}),
        (json.dumps([attributes]).encode(), {"content-type": "application/cloudevents-batch+json; charset=utf-8"}),
    ]:
        answer = await client.post("/api/events", content=content, headers=headers)
        assert (answer.status_code, answer.json()["ids"]) == (202, ["e1"])
    assert [event.event for event in await kept(app)] == ["order.paid"]
