"""Sending events from Python: one identity for all attempts, patience with bounds, errors in one sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import tocsin
from tests.cli.invoke import CLEAN
from tocsin.client import Client, emit
from tocsin.errors import Forbidden, Overloaded, TocsinError, Unavailable
from tocsin.testing import ManualClock

SAFE = {"accepted": 1, "duplicates": 0, "ids": ["e1"]}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Server:
    """A double of a server: it answers in turn, and remembers what it was sent."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = ManualClock(datetime(2026, 3, 2, 8, tzinfo=UTC))
        self.waits: list[float] = []

    def client(self, timeout_s: float = 10.0) -> Client:
        return Client("http://tocsin.example:8710/", "t0", timeout_s, transport=httpx.MockTransport(self._answer),
                      clock=self.clock, wait=self._wait)  # fmt: skip

    @property
    def sent(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)


def safe(**more: Any) -> httpx.Response:
    return httpx.Response(202, json=SAFE | more)


def busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": "the disk is full", "errors": []}, headers=headers)


def test_an_event_is_sent_as_the_server_takes_it() -> None:
    server = Server(safe())
    with server.client() as client:
        identity = client.emit(
            "table.updated", resource="table/sales", labels={"env": "prod"}, payload={"rows": 1},
            related=[{"id": "team/growth", "role": "owner"}], occurred=datetime(2026, 3, 2, 7, tzinfo=UTC), source=None,
        )  # fmt: skip
    assert identity == "e1"
    (request,), ((event,),) = server.requests, server.sent
    assert (str(request.url), request.headers["authorization"]) == (
        "http://tocsin.example:8710/api/events",
        "Bearer t0",
    )
    assert UUID7.fullmatch(event.pop("id"))
    assert event == {
        "event": "table.updated", "resource": {"env": "prod", "id": "table/sales"}, "payload": {"rows": 1},
        "related": [{"id": "team/growth", "role": "owner"}], "occurred": "2026-03-02T07:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    "trouble", [httpx.ConnectError("no"), httpx.ReadTimeout("no"), httpx.RemoteProtocolError("cut"), busy(), busy(429)]
)
def test_e2_an_event_that_is_sent_again_is_the_same_event(trouble: httpx.Response | Exception) -> None:
    server = Server(trouble, trouble, safe())
    assert server.client().emit("a", "r") == "e1"
    assert len(server.sent) == 3
    assert len({event["id"] for (event,) in server.sent}) == 1


def test_a_server_is_given_the_time_that_it_asks_for() -> None:
    server = Server(busy(429, **{"Retry-After": "3"}), safe())
    server.client().emit("a", "r")
    assert server.waits == [3.0]


def test_waits_grow_and_end_with_the_time_of_the_call() -> None:
    server = Server(busy())
    with pytest.raises(Unavailable, match="the disk is full"):
        server.client(timeout_s=30).emit("a", "r")
    assert 20 < sum(server.waits) <= 30
    assert max(server.waits) > 1.0 > server.waits[0]
    asked = Server(busy(429, **{"Retry-After": "60"}))
    with pytest.raises(Overloaded):
        asked.client().emit("a", "r")
    assert (len(asked.requests), asked.waits) == (1, [])


@pytest.mark.parametrize(("status", "kind"), [(422, TocsinError), (400, TocsinError), (403, Forbidden)])
def test_what_is_refused_is_not_tried_again(status: int, kind: type[TocsinError]) -> None:
    server = Server(httpx.Response(status, json={"error": "resource.id: is required", "errors": []}))
    with pytest.raises(kind, match=r"resource\.id: is required"):
        server.client().emit("a", "r")
    assert len(server.requests) == 1


def test_many_events_go_in_one_request_and_keep_ids_of_their_own() -> None:
    server = Server(safe(accepted=3, duplicates=1, ids=["x", "b", "c"]))
    receipt = server.client().emit_many(
        {"event": "host.heartbeat", "resource": {"id": host}, **more}
        for host, more in (("a", {"id": "x"}), ("b", {}), ("c", {"labels": {"zone": "1"}}))
    )
    assert (receipt.accepted, receipt.duplicates, receipt.ids) == (3, 1, ["x", "b", "c"])
    ((first, second, third),) = server.sent
    assert first["id"] == "x"
    assert second["id"] != third["id"]
    assert third["resource"] == {"id": "c", "zone": "1"}


@pytest.mark.parametrize("payload", [object(), float("nan"), {1, 2}])
def test_what_is_not_json_is_said_before_anything_is_sent(payload: object) -> None:
    server = Server(safe())
    with pytest.raises(TocsinError, match="can not be sent as JSON"):
        server.client().emit("a", "r", payload=payload)
    assert server.requests == []


def test_address_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TOCSIN_TOKEN", "t1")
    with Client(timeout_s=0.01) as client:
        assert (client.url, client._http.headers["authorization"]) == ("http://127.0.0.1:9", "Bearer t1")
        with pytest.raises(Unavailable, match=r"no server answers at http://127\.0\.0\.1:9"):
            client.emit("a", "r")
    monkeypatch.setenv("TOCSIN_URL", "localhost:8710")
    with pytest.raises(Unavailable, match="TOCSIN_URL is 'localhost:8710'"):
        emit("a", "r")


@pytest.mark.parametrize("name", tocsin.__all__)
def test_public_names_are_loaded_when_they_are_used(name: str) -> None:
    code = f"import sys, tocsin; assert 'httpx' not in sys.modules; assert '{name}' in dir(tocsin); tocsin.{name}"
    subprocess.run([sys.executable, "-c", code], check=True, env=CLEAN)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    missing: Callable[[], object] = lambda: tocsin.nothing  # noqa: E731 - so that it is looked up in the block below
    with pytest.raises(AttributeError, match="module 'tocsin' has no attribute 'nothing'"):
        missing()
