"""call-webhook: what is sent, what an answer means, and what may be called (law F4)."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.actions.doubles import NOW, SECRETS, World, placed
from tocsin.actions.ports import Request, Response
from tocsin.actions.targets import host_is_written
from tocsin.errors import ActionFailed, NotFound
from tocsin.schemas import trace
from tocsin.schemas.moments import MINUTE, SECOND, from_micros

URL = "https://example.org/hooks/incident"


def hook(**more: Any) -> dict[str, Any]:
    return {"type": "call-webhook", "url": URL} | more


def sent(world: World) -> Request:
    (request,) = world.web.requests
    return request


async def test_without_a_body_the_firing_is_sent_as_json() -> None:
    world = World()
    details = await world.act(hook())
    request = sent(world)
    body = json.loads(request.body or b"")
    assert (request.method, request.url, request.headers["Content-Type"]) == ("POST", URL, "application/json")
    assert body["automation"] == "late"
    assert (body["verdict"], body["labels"], body["reason"]) == ("missed", {"id": "table/sales"}, "nothing came")
    assert (body["at"], body["due"]) == ("2026-05-28T20:26:40Z", "2026-05-28T20:16:40Z")
    assert (body["events"], body["event"]["event"], body["severity"]) == (["e1"], "table.updated", "high")
    assert details == {"host": "example.org", "status": 200, "excerpt": "ok"}


async def test_a_body_is_filled_in_and_keeps_its_types() -> None:
    world = World()
    await world.act(hook(body={"table": "{{ labels.id }}", "n": "{{ events | length }}", "due": "{{ firing.due }}"}))
    assert json.loads(sent(world).body or b"") == {"table": "table/sales", "n": 1, "due": "2026-05-28T22:16:40+02:00"}


async def test_a_text_body_is_sent_as_it_is() -> None:
    world = World()
    await world.act(hook(body="{{ labels.id }} is late", headers={"X-From": "{{ automation.name }}"}))
    request = sent(world)
    assert request.body == b"table/sales is late"
    assert (request.headers["Content-Type"], request.headers["X-From"]) == ("text/plain; charset=utf-8", "late")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_method_without_a_body_sends_none(method: str) -> None:
    world = World()
    await world.act(hook(method=method))
    assert sent(world).body is None


async def test_f4_the_idempotency_key_is_that_of_the_intent() -> None:
    world = World()
    call = world.call()
    await world.act(hook(headers={"X-Trace": "1"}), call)
    assert sent(world).headers["Idempotency-Key"] == call.key


async def test_a_request_goes_on_in_the_trace_of_the_event_that_decided() -> None:
    world = World()
    call = world.call(arrivals={1: replace(placed(), trace=f"00-{'a' * 32}-{'b' * 16}-01")})
    await world.act(hook(), call)
    carried = trace.read(sent(world).headers["traceparent"])
    assert carried == call.span
    assert carried.trace_id == "a" * 32
    assert carried.span_id not in ("b" * 16, trace.of_firing(call.firing, {}).span_id)


async def test_without_a_trace_a_request_begins_one_and_each_attempt_has_a_span_of_its_own() -> None:
    world = World()
    for attempt in (1, 2):
        await world.act(hook(), world.call(attempt=attempt))
    first, second = (trace.read(request.headers["traceparent"]) for request in world.web.requests)
    assert first is not None
    assert second is not None
    assert first.trace_id == second.trace_id == world.call().firing.id.replace("-", "")
    assert first.span_id != second.span_id


async def test_a_traceparent_that_is_written_stays() -> None:
    world = World()
    await world.act(hook(headers={"TraceParent": "mine"}))
    assert {name: value for name, value in sent(world).headers.items() if name.lower() == "traceparent"} == {
        "TraceParent": "mine"
    }


async def test_a_secret_signs_as_standard_webhooks_says() -> None:
    world = World()
    call = world.call()
    await world.act(hook(secret={"env": "SIGNING"}), call)
    request = sent(world)
    assert request.headers["webhook-id"] == call.key
    assert request.headers["webhook-timestamp"] == str(NOW // SECOND)
    signature = Webhook(SECRETS["SIGNING"]).sign(call.key, from_micros(NOW), (request.body or b"").decode())
    assert request.headers["webhook-signature"] == signature


async def test_a_secret_that_can_not_sign_is_a_permanent_failure_that_does_not_show_it() -> None:
    world = World()
    world.vault.secrets["SIGNING"] = "x"
    with pytest.raises(ActionFailed, match="needs base64") as failed:
        await world.act(hook(secret={"env": "SIGNING"}))
    assert failed.value.permanent
    assert world.web.requests == []


async def test_a_secret_that_is_not_there_is_named_by_its_reference() -> None:
    with pytest.raises(NotFound, match="NOWHERE"):
        await World().act(hook(headers={"Authorization": {"env": "NOWHERE"}}))


async def test_an_answer_that_repeats_the_secret_is_kept_without_it() -> None:
    world = World()
    token = SECRETS["TOKEN"]
    world.web.answer = lambda request: Response(200, {}, "x" * 495 + token + json.dumps({"you said": token}))
    details = await world.act(hook(headers={"Authorization": {"env": "TOKEN", "prefix": "Bearer "}}))
    assert sent(world).headers["Authorization"] == f"Bearer {token}"
    assert "t0p" not in str(details)
    assert len(details["excerpt"]) == 500


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(408, False), (425, False), (429, False), (500, False), (503, False), (599, False),
     (400, True), (401, True), (404, True), (410, True), (422, True), (301, True), (307, True), (304, True)],
)  # fmt: skip
async def test_an_answer_says_whether_a_retry_can_help(status: int, permanent: bool) -> None:
    world = World()
    world.web.answer = lambda request: Response(status, {"location": "https://other.example/secret"}, "why")
    with pytest.raises(ActionFailed, match=f"example.org answered {status}") as failed:
        await world.act(hook())
    assert failed.value.permanent is permanent
    assert "secret" not in str(failed.value)
    assert ("redirects are not followed" in str(failed.value)) is (300 <= status < 400)


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [("7", 7.0), (format_datetime(from_micros(NOW + MINUTE), usegmt=True), 60.0),
     (format_datetime(from_micros(NOW - MINUTE), usegmt=True), 0.0), ("soon", None), ("-3", None), ("", None),
     ("Fri, 31 Dec 99999 23:59:59 GMT", None)],
)  # fmt: skip
async def test_what_an_answer_asks_to_wait_is_kept(asked: str, wait_s: float | None) -> None:
    world = World()
    world.web.answer = lambda request: Response(429, {"retry-after": asked})
    with pytest.raises(ActionFailed) as failed:
        await world.act(hook())
    assert failed.value.retry_after_s == wait_s


async def test_a_header_that_comes_out_with_a_line_break_is_not_sent() -> None:
    world = World()
    call = world.call(firing=world.call().firing.__class__(**_fields(world) | {"labels": {"id": "a\r\nX-Evil: 1"}}))
    with pytest.raises(ActionFailed, match="line break") as failed:
        await world.act(hook(headers={"X-Table": "{{ labels.id }}"}), call)
    assert failed.value.permanent
    assert world.web.requests == []


def _fields(world: World) -> dict[str, Any]:
    firing = world.call().firing
    return {name: getattr(firing, name) for name in firing.__dataclass_fields__}


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://example.org/hooks", True),
        ("http://127.0.0.1:9000", True),
        ("https://example.org/{{ labels.id }}?at={{ firing.at }}", True),
        ("https://example.org?x={{ labels.id }}", True),
        ("https://example.org#{% if labels %}x{% endif %}", True),
        ("https://{{ labels.host }}/hooks", False),
        ("https://example.org{{ labels.id }}", False),
        ("https://example.org:{{ labels.port }}/", False),
        ("https://{% if labels.x %}a{% endif %}.example.org/", False),
        ("https://{# a/b #}{{ labels.host }}/", False),
        ("{{ labels.url }}", False),
        ("http{{ labels.s }}://example.org/", False),
        ("https://example.org\\{{ labels.id }}/", False),
    ],
)
async def test_only_a_host_that_is_written_out_is_trusted(url: str, written: bool) -> None:
    assert host_is_written(url) is written
