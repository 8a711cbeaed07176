"""`/api/flows`: what can be run, and pausing schedules."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.yaml"
    flows = [
        {"name": "backfill", "command": ["true"], "schedule": {"cron": "0 2 1 1 *"}},
        {"name": "by hand", "command": ["true"]},
    ]
    path.write_text(json.dumps({"flows": flows}))
    return path


async def test_flows_are_listed_with_the_moment_of_their_next_run(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/flows")).json()
    backfill, by_hand = listed["items"]
    assert (backfill["name"], backfill["origin"], backfill["paused"]) == ("backfill", "file", False)
    assert backfill["next"].endswith("-01-01T02:00:00Z")
    assert (by_hand["name"], by_hand["next"], listed["next"]) == ("by hand", None, None)
    assert (await client.get("/api/flows/by hand")).json() == by_hand


async def test_a_schedule_is_paused_and_resumed(client: httpx.AsyncClient) -> None:
    paused = (await client.post("/api/flows/backfill/pause")).json()
    assert (paused["paused"], paused["next"]) == (True, None)
    resumed = (await client.post("/api/flows/backfill/resume")).json()
    assert resumed["paused"] is False


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/api/flows/nosuch/pause", 404, "there is no flow 'nosuch'"),
        ("/api/flows/by hand/pause", 409, "the flow 'by hand' has no schedule that could be paused"),
    ],
)
async def test_what_can_not_be_paused_is_refused(
    client: httpx.AsyncClient, address: str, status: int, says: str
) -> None:
    answer = await client.post(address)
    assert (answer.status_code, answer.json()["error"]) == (status, says)
