"""What people do by hand: give up on actions, read what a run wrote, forget a key."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tocsin.api import runs
from tocsin.app import App
from tocsin.store import refusals

DEFINITIONS = {
    "automations": [
        {"name": "calls", "trigger": {"expect": "call.me"},
         "actions": [{"type": "call-webhook", "url": "http://127.0.0.1:9/", "retry": {"attempts": 1}}]},
        {"name": "silent", "trigger": {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "1h"}},
    ],
    "flows": [{"name": "talks", "command": ["printf", "one\\ntwo\\n"]}],
}  # fmt: skip


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.yaml"
    path.write_text(json.dumps(DEFINITIONS))
    return path


async def send(client: httpx.AsyncClient, app: App, event: str, resource: str = "r") -> None:
    assert (await client.post("/api/events", json={"event": event, "resource": {"id": resource}})).status_code == 202
    await app.settled()


async def test_a_dead_action_is_discarded_with_a_reason_and_can_be_retried(client: httpx.AsyncClient, app: App) -> None:
    await send(client, app, "call.me")
    (dead,) = (await client.get("/api/actions?state=dead")).json()["items"]
    address = f"/api/actions/{dead['id']}"
    given_up = (await client.post(f"{address}/discard", json={"reason": "the host is gone"})).json()
    assert (given_up["state"], given_up["result"]) == ("discarded", {"discarded": "the host is gone"})
    again = await client.post(f"{address}/discard", json={"reason": "once more"})
    assert (again.status_code, "is discarded" in again.json()["error"]) == (409, True)
    assert (await client.post(f"{address}/retry")).json()["state"] == "waiting"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 1001}, {"reason": "a", "why": "b"}])
async def test_an_action_is_not_discarded_without_a_reason(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/api/actions/none/discard", json=body)).status_code == 422
    assert (await client.post("/api/actions/none/discard", json={"reason": "a"})).status_code == 404


async def read_logs(client: httpx.AsyncClient, run: str) -> str:
    text, offset = b"", 0
    while True:
        part = await client.get(f"/api/runs/{run}/logs?offset={offset}")
        assert (part.status_code, part.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        text, offset = text + part.content, int(part.headers["tocsin-next-offset"])
        if not part.content:
            return text.decode()


async def test_what_a_run_writes_is_read_in_bounded_parts(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LOG_BYTES", 5)
    await client.post("/api/runs", json={"flow": "talks", "id": "r1"})
    ended: dict[str, Any] = {}
    async for event in ended_runs(client):
        ended = event
        break
    assert ended["event"] == "flow-run.completed"
    title, *lines = (await read_logs(client, "r1")).splitlines()
    assert title.startswith("--- ")
    assert lines == ["one", "two"]


async def ended_runs(client: httpx.AsyncClient) -> Any:
    """Yield the ends of runs, however often one has to look."""
    while True:
        for event in (await client.get("/api/events?event=flow-run.completed")).json()["items"]:
            yield event


async def test_a_run_that_has_not_begun_has_written_nothing(client: httpx.AsyncClient) -> None:
    await client.post("/api/queues/default/pause")
    await client.post("/api/runs", json={"flow": "talks", "id": "r1"})
    await client.post("/api/runs/r1/cancel")
    answer = await client.get("/api/runs/r1/logs")
    assert answer.status_code == 200
    assert "two" not in answer.text
    for path, status in (("../lock", 404), ("none", 404), ("r1", 422)):
        assert (await client.get(f"/api/runs/{path}/logs?offset={-1 if status == 422 else 0}")).status_code == status


async def test_p8_a_key_is_forgotten_and_the_decision_is_shown(client: httpx.AsyncClient, app: App) -> None:
    await send(client, app, "beat", "web-1")
    await send(client, app, "beat", "web-2")
    shown = (await client.get("/api/automations/silent")).json()
    assert (shown["labels"], [key["labels"] for key in shown["keys"]]) == (["id"], [{"id": "web-1"}, {"id": "web-2"}])
    answer = await client.post("/api/automations/silent/forget", json={"labels": {"id": "web-1"}})
    assert [one["outcome"] for one in answer.json()["decisions"]] == ["closed", "forgotten"]
    shown = (await client.get("/api/automations/silent")).json()
    assert [key["labels"] for key in shown["keys"]] == [{"id": "web-2"}]
    assert shown["decisions"][0]["outcome"] == "forgotten"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nobody", {"labels": {"id": "a"}}, 404), ("silent", {"labels": {"id": "a"}}, 404),
        ("silent", {"labels": {"host": "a"}}, 422), ("silent", {}, 422), ("calls", {"labels": {}}, 409),
    ],
)  # fmt: skip
async def test_what_can_not_be_forgotten_is_refused(
    client: httpx.AsyncClient, name: str, body: dict[str, Any], status: int
) -> None:
    answer = await client.post(f"/api/automations/{name}/forget", json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "errors"})


async def test_what_came_over_the_bus_and_is_no_event_is_listed(client: httpx.AsyncClient, app: App) -> None:
    for number in range(3):
        unit = partial(refusals.keep, entry=f"{number}-0", reason="not JSON", body=b"\xff{", received_us=number)
        await app.writer.run(unit)
    first = (await client.get("/api/refusals?limit=2")).json()
    assert [one["entry"] for one in first["items"]] == ["2-0", "1-0"]
    assert first["items"][0] | {"n": 0} == {
        "n": 0, "received": "1970-01-01T00:00:00.000002Z", "entry": "2-0", "reason": "not JSON", "body": "\ufffd{"
    }  # fmt: skip
    rest = (await client.get("/api/refusals", params={"cursor": first["next"]})).json()
    assert [one["entry"] for one in rest["items"]] == ["0-0"]
    await app.retention.sweep()
    assert (await client.get("/api/refusals")).json()["items"] == []
