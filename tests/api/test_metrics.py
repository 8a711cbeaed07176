"""`/metrics`: every stage, in Prometheus's words."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tocsin.app import App
from tocsin.errors import Unavailable

DEFINITIONS = """\
automations:
  - {name: each, trigger: {expect: table.updated}, actions: [{type: log, message: x}]}
  - {name: shadow, mode: shadow, trigger: {expect: table.updated}}
  - {name: silent, trigger: {type: absence, expect: heart.beat, for_each: [id], within: 1h}}
queues: [{name: nightly, concurrency: 1}]
"""
EVENT = {"event": "table.updated", "resource": {"id": "table/sales"}, "id": "e1"}


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    (path := tmp_path / "all.yaml").write_text(DEFINITIONS)
    return path


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """Return every sample by its name and labels."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_every_stage_counts_what_passes_it(client: httpx.AsyncClient, app: App) -> None:
    for body in (EVENT, EVENT, {"event": "heart.beat", "resource": {"id": "a"}}):
        assert (await client.post("/api/events", json=body)).status_code == 202
    assert (await client.post("/api/events", content=b"{")).status_code == 400
    await app.settled()
    found = await scraped(client)
    expected = {
        "tocsin_ingest_requests_total{status=202}": 3,
        "tocsin_ingest_requests_total{status=400}": 1,
        "tocsin_events_accepted_total{}": 3,
        "tocsin_events_duplicate_total{}": 1,
        "tocsin_events_waiting{}": 0,
        "tocsin_firings_total{mode=live,verdict=fired}": 1,
        "tocsin_firings_total{mode=shadow,verdict=fired}": 1,
        "tocsin_action_attempts_total{outcome=succeeded,type=log}": 1,
        "tocsin_action_seconds_count{}": 1,
        "tocsin_loops_stopped_total{}": 0,
        "tocsin_judge_errors_total{}": 0,
        "tocsin_definitions{kind=automation}": 3,
        "tocsin_shards_owned{}": 1,
        "tocsin_shards{}": 1,
        "tocsin_shards_unowned{}": 0,
        "tocsin_processes{role=evaluator}": 1,
        "tocsin_intents{state=waiting}": 0,
        "tocsin_intents{state=dead}": 0,
        "tocsin_lag_seconds{}": 0,
        "tocsin_unjudged_events{}": 0,
        "tocsin_deadline_overdue_seconds{}": 0,
        "tocsin_outages_total{}": 0,
        "tocsin_database_up{}": 1,
        "tocsin_parts_in_trouble{}": 0,
        "tocsin_writer_waiting_units{writer=log}": 0,
        "tocsin_lane_actions{state=running,target=host}": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["tocsin_commit_seconds_count{writer=log}"] == found["tocsin_commit_units_count{writer=log}"] > 0
    assert found["tocsin_next_deadline_timestamp_seconds{}"] > 1e9
    assert found["tocsin_database_bytes{}"] > 0
    assert found["tocsin_events_recorded_total{}"] >= 5  # the engine's own are in the log, too
    assert "process_resident_memory_bytes{}" in found


async def test_labels_are_kinds_and_states_whatever_events_and_automations_are_called(
    client: httpx.AsyncClient, app: App
) -> None:
    before = set(await scraped(client))
    for number in range(50):
        body = {"event": f"name.{number}", "resource": {"id": f"r{number}"}}
        assert (await client.post("/api/events", json=body)).status_code == 202
    await app.settled()
    assert set(await scraped(client)) - before <= {"tocsin_ingest_requests_total{status=202}"}


async def test_what_the_process_counts_is_told_though_the_database_is_away(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise Unavailable("the database refused: it is away")

    monkeypatch.setattr(app.database, "read", away)
    found = await scraped(client)
    assert found["tocsin_database_up{}"] == 0
    assert "tocsin_lag_seconds{}" not in found
    assert "tocsin_events_accepted_total{}" in found


async def test_without_the_client_library_it_says_how_to_install_it(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = await client.get("/metrics")
    assert answer.status_code == 501
    assert "pip install 'tocsin[metrics]'" in answer.json()["error"]


async def test_the_diagnosis_of_a_server_that_is_well_has_nothing_wrong(client: httpx.AsyncClient) -> None:
    items = (await client.get("/api/diagnosis")).json()["items"]
    assert [one["finding"] for one in items if not one["ok"]] == []
    assert {one["what"] for one in items} >= {"process", "judging", "acting", "database"}


async def test_a_part_that_does_not_work_makes_the_server_unready_and_is_named(
    client: httpx.AsyncClient, app: App
) -> None:
    app.watch.trouble.append(lambda: "the bus at redis://b:6379 does not answer")
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "the bus at redis://b:6379 does not answer")
    items = (await client.get("/api/diagnosis")).json()["items"]
    assert {"what": "here", "finding": "the bus at redis://b:6379 does not answer", "ok": False} in items
