"""`/api/events`: looking through the log, and why events did what they did."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest

from tests.servers import BOTH
from tocsin.app import App

DATABASES = BOTH

AUTOMATION = {
    "trigger": {"expect": "table.updated", "match": {"id": "table/*"}, "threshold": 2, "within": "1h"},
    "actions": [{"type": "log"}],
}


async def post(client: httpx.AsyncClient, *names: str, resource: str = "table/sales") -> None:
    events = [{"event": name, "resource": {"id": resource}, "id": name, "payload": {"n": name}} for name in names]
    assert (await client.post("/api/events", json=events)).status_code == 202


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["event"] for item in answer.json()["items"]]


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


async def test_an_event_is_explained_to_every_automation(client: httpx.AsyncClient, app: App) -> None:
    other = {**AUTOMATION, "trigger": {"expect": "row.*"}}
    assert (await client.put("/api/automations/a-rows", json=other)).status_code == 200
    assert (await client.put("/api/automations/b-tables", json=AUTOMATION)).status_code == 200
    await post(client, "table.updated")
    await app.settled()
    answer = await client.get("/api/events/table.updated/explain")
    tables, rows = answer.json()["items"]
    assert (tables["automation"], tables["matched"]) == ("b-tables", True)
    assert "1 of 2" in tables["summary"]
    assert (rows["automation"], rows["matched"]) == ("a-rows", False)
    assert "row.*" in rows["summary"]


async def test_an_event_is_explained_to_one_automation(client: httpx.AsyncClient) -> None:
    await client.put("/api/automations/tables", json=AUTOMATION)
    await post(client, "table.updated")
    address = "/api/events/table.updated/explain"
    assert [one["automation"] for one in (await client.get(f"{address}?automation=tables")).json()["items"]] == [
        "tables"
    ]
    assert (await client.get(f"{address}?automation=other")).status_code == 404
    assert (await client.get("/api/events/other/explain")).status_code == 404


async def test_the_deepest_payload_that_is_taken_can_be_read_again(client: httpx.AsyncClient) -> None:
    for levels in range(260, 0, -1):
        body = b'{"event": "deep", "id": "deep", "resource": {"id": "a"}, "payload": %s}'
        answer = await client.post("/api/events", content=body % (b"[" * levels + b"]" * levels))
        if answer.status_code == 202:
            break
    assert levels > 100
    for address in ("/api/events", "/api/events/deep", "/api/events?q=deep"):
        assert (await client.get(address)).status_code == 200
