"""Spans: an event received, recorded, judged and acted upon is one trace, with ids and nothing of what is in it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.engine import sink
from tocsin import app as root
from tocsin.api.asgi import asgi
from tocsin.app import App, running
from tocsin.clock import SystemClock
from tocsin.engine.tracing import Tracing, tracing_of
from tocsin.schemas import trace
from tocsin.settings import Settings

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
SECRETIVE = {"event": "order.paid", "resource": {"id": "order/7"}, "payload": {"card": "4111-secret"}, "id": "e1"}


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def target() -> AsyncIterator[sink.Sink]:
    async with sink.serving() as one:
        yield one


@pytest.fixture
async def app(
    tmp_path: Path, target: sink.Sink, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[App]:
    made = Tracing(SystemClock(), SimpleSpanProcessor(exported), version="1", process="p")
    monkeypatch.setattr(root, "tracing_of", lambda *_arguments, **_more: made)
    hook = {"type": "call-webhook", "url": f"{target.url}/hook", "retry": {"attempts": 1}}
    one = {"name": "paid", "trigger": {"expect": "order.paid"}, "actions": [hook]}
    (tmp_path / "all.yaml").write_text(json.dumps({"automations": [one]}))
    async with running(Settings(home=tmp_path / "home"), tmp_path / "all.yaml") as app:
        yield app


async def send(app: App, **headers: str) -> None:
    transport = httpx.ASGITransport(asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/api/events", json=SECRETIVE, headers=headers)).status_code == 202
    await app.settled()


def spans(exported: InMemorySpanExporter) -> dict[str, dict[str, Any]]:
    """Return the spans by name, as they are exported."""
    found = [json.loads(span.to_json()) for span in exported.get_finished_spans()]
    assert len(found) == 4
    return {span["name"]: span for span in found}


async def test_what_an_event_leads_to_is_one_trace(app: App, target: sink.Sink, exported: InMemorySpanExporter) -> None:
    await send(app, traceparent=PARENT)
    found = spans(exported)
    received, recorded, judged, acted = (found[name] for name in ("receive events", "record", "judge", "act"))
    assert {span["context"]["trace_id"] for span in found.values()} == {"0x" + "a" * 32}
    assert received["parent_id"] == "0x" + "b" * 16
    assert recorded["parent_id"] == judged["parent_id"] == received["context"]["span_id"]
    assert acted["parent_id"] == judged["context"]["span_id"]
    carried = trace.read(target.requests[0].headers["traceparent"])
    assert carried is not None
    assert (f"0x{carried.trace_id}", f"0x{carried.span_id}") == (
        acted["context"]["trace_id"],
        acted["context"]["span_id"],
    )


async def test_without_a_trace_of_the_senders_one_begins_where_the_event_was_received(
    app: App, exported: InMemorySpanExporter
) -> None:
    await send(app)
    found = spans(exported)
    assert found["receive events"]["parent_id"] is None
    assert len({span["context"]["trace_id"] for span in found.values()}) == 1


async def test_spans_carry_ids_and_nothing_of_what_events_say(app: App, exported: InMemorySpanExporter) -> None:
    await send(app)
    found = spans(exported)
    assert found["act"]["attributes"]["tocsin.event.id"] == "e1"
    assert {"tocsin.firing.id", "tocsin.intent.id", "tocsin.automation"} <= set(found["act"]["attributes"])
    assert found["act"]["attributes"]["tocsin.firing.id"] == found["judge"]["attributes"]["tocsin.firing.id"]
    assert found["judge"]["resource"]["attributes"]["service.name"] == "tocsin"
    assert "4111-secret" not in json.dumps(found)
    assert "order/7" not in json.dumps(found)


async def test_an_attempt_that_fails_is_an_error_in_its_span(
    app: App, target: sink.Sink, exported: InMemorySpanExporter
) -> None:
    async def gone(_request: Any) -> Any:
        return web.Response(status=410, text="gone: 4111-secret")

    target.answer = gone
    await send(app)
    assert spans(exported)["act"]["status"]["status_code"] == "ERROR"
    assert "4111-secret" not in json.dumps(spans(exported))


def test_traces_are_exported_only_where_the_environment_says_where_to() -> None:
    made: dict[str, Any] = {"version": "1", "process": "p"}
    assert tracing_of({}, SystemClock(), **made) is None
    disabled = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}
    assert tracing_of(disabled, SystemClock(), **made) is None


def test_without_the_library_that_is_asked_for_there_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with caplog.at_level(logging.WARNING):
        assert tracing_of(env, SystemClock(), version="1", process="p") is None
    assert "pip install 'tocsin[otel]'" in caplog.text


async def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch, target: sink.Sink) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", target.url)
    made = tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": target.url}, SystemClock(), version="1", process="p")
    assert made is not None
    with made.receiving(trace.read(PARENT), how="events", began_us=SystemClock().now_us(), events=1):
        pass
    await asyncio.to_thread(made.close)
    (request,) = target.requests
    assert request.path == "/v1/traces"
    assert bytes.fromhex("a" * 32) in target.seen[0][1]
