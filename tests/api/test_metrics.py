"""`/metrics`: every stage, in Prometheus's words."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engine.sink import serving
from tests.redis_servers import Redis
from tests.servers import ON_POSTGRES
from tocsin.api.asgi import asgi
from tocsin.app import App, running
from tocsin.errors import Unavailable
from tocsin.settings import Settings

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


def of_the_bus(found: dict[str, float]) -> dict[str, float]:
    """Return what is told of a bus; how many entries were refused is the database's, and told without one, too."""
    start = "tocsin_bus_"
    told = {name.removeprefix(start).removesuffix("{}"): one for name, one in found.items() if name.startswith(start)}
    assert told.pop("refusals_total") == 0
    return told


@asynccontextmanager
async def serving_on_a_bus(settings: Settings) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    async with running(settings) as app:
        transport = httpx.ASGITransport(asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
            yield app, client


async def test_every_stage_counts_what_passes_it(client: httpx.AsyncClient, app: App) -> None:
    for body in (EVENT, EVENT, {"event": "heart.beat", "resource": {"id": "a"}}):
        assert (await client.post("/api/events", json=body)).status_code == 202
    assert (await client.post("/api/events", content=b"{")).status_code == 400
    await app.settled()
    await app.settled()  # what was done is an event, and judged as well
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
        **{f"tocsin_lanes{{target={target}}}": 0 for target in ("host", "channel", "own")},
        "tocsin_lane_actions{state=running,target=host}": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["tocsin_commit_seconds_count{writer=log}"] == found["tocsin_commit_units_count{writer=log}"] > 0
    assert found["tocsin_next_deadline_timestamp_seconds{}"] > 1e9
    assert found["tocsin_database_bytes{}"] > 0
    assert found["tocsin_events_recorded_total{}"] >= 5  # the engine's own are in the log, too
    assert found["tocsin_events_judged_total{}"] == found["tocsin_events_recorded_total{}"]  # there is one shard
    assert of_the_bus(found) == {}
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


async def test_a_target_at_which_an_action_is_under_way_has_a_lane(client: httpx.AsyncClient, app: App) -> None:
    async with serving() as sink:
        sink.answer = sink.hang
        call = {"type": "call-webhook", "url": sink.url}
        await app.definitions.put("automation", "calls", {"trigger": {"expect": "table.updated"}, "actions": [call]})
        assert (await client.post("/api/events", json=EVENT)).status_code == 202
        async with asyncio.timeout(20):
            while not sink.requests:  # noqa: ASYNC110 - there is no signal
                await asyncio.sleep(0.01)
        found = await scraped(client)
        assert {target: found[f"tocsin_lanes{{target={target}}}"] for target in ("host", "channel", "own")} == {
            "host": 1, "channel": 0, "own": 0,
        }  # fmt: skip
        assert found["tocsin_lane_actions{state=running,target=host}"] == 1
        sink.release.set()
        await app.settled()
    assert (await scraped(client))["tocsin_lanes{target=host}"] == 0


@ON_POSTGRES
async def test_what_is_in_the_bus_is_told_by_who_takes_events_and_by_who_records_them(
    url: str, redis_url: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_url.stream() as stream:
        taking, recording = (
            Settings(home=tmp_path / role, database=url, bus=redis_url.url, bus_stream=stream, roles=role)
            for role in ("api", "recorder")
        )
        async with serving_on_a_bus(taking) as (taker, client):
            assert (await client.post("/api/events", json=EVENT)).status_code == 202
            told = of_the_bus(await scraped(client))
            assert set(told) == {"up", "entries", "pending_entries", "unread_entries", "oldest_seconds"}
            assert (told["up"], told["pending_entries"]) == (1, 0)
            assert told["entries"] == told["unread_entries"] > 0  # nobody records
            assert 0 <= told["oldest_seconds"] < 60
            async with serving_on_a_bus(recording) as (recorder, other):
                async with asyncio.timeout(20):
                    told = of_the_bus(await scraped(other))
                    while told["entries"] == 0 or told["unread_entries"]:
                        told = of_the_bus(await scraped(other))
                assert set(told) == {"up", "entries", "pending_entries", "unread_entries", "oldest_seconds"}
                assert told["up"] == 1
                assert recorder.intake is not None
                monkeypatch.setattr(recorder.intake, "_well", lambda: None)
                recorder.intake.problem = "the bus does not answer"
                assert of_the_bus(await scraped(other))["up"] == 0

            async def away() -> None:
                raise Unavailable("the bus does not answer")

            monkeypatch.setattr(taker.publisher, "figures", away)
            assert of_the_bus(await scraped(client)) == {"up": 0}


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
