"""The way to a server, against a double of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tocsin.cli.client import Client, segment
from tocsin.errors import Conflict, NotFound, Overloaded, TocsinError, Unauthorized, Unavailable

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> Client:
    return Client(httpx.MockTransport(answer))


def refusing(status: int, content: Any = None, **headers: str) -> Client:
    return client(lambda _: httpx.Response(status, json=content, headers=headers))


def test_the_token_is_sent_as_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN", "t0")
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    with client(answer) as server:
        server.get("/api/queues")
    assert seen == ["Bearer t0"]


def test_a_list_is_followed_over_its_pages_up_to_the_limit() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        start = int(request.url.params.get("cursor", 0))
        size = int(request.url.params["limit"])
        numbers = range(start, min(start + size, 1200))
        following = str(start + size) if start + size < 1200 else None
        return httpx.Response(200, json={"items": [{"n": n} for n in numbers], "next": following})

    with client(answer) as server:
        assert [one["n"] for one in server.items("/api/events", 700, event="a.*", since=None)] == list(range(700))
        assert len(list(server.items("/api/events", None))) == 1200
    assert asked[:2] == ["limit=500&event=a.%2A", "limit=200&cursor=500&event=a.%2A"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (404, NotFound), (409, Conflict), (400, TocsinError)]
)
def test_an_error_is_told_in_the_servers_words(status: int, kind: type[TocsinError]) -> None:
    with pytest.raises(kind, match="it is so"):
        refusing(status, {"error": "it is so", "errors": []}).get("/x")


def test_several_problems_are_listed() -> None:
    problems = [
        {"index": 0, "field": "resource.id", "message": "is required"},
        {"index": None, "field": "", "message": "and more"},
    ]
    with pytest.raises(TocsinError) as refused:
        refusing(422, {"error": "resource.id: is required (and 1 more)", "errors": problems}).post("/api/events", [])
    assert str(refused.value) == "2 things are wrong:\n  [0] resource.id: is required\n  and more"


def test_a_full_server_says_when_to_try_again() -> None:
    with pytest.raises(Overloaded, match=r"full \(again in 7 s\)"):
        refusing(429, {"error": "full", "errors": []}, **{"retry-after": "7"}).post("/api/events", {})


def test_what_is_not_tocsin_is_recognised() -> None:
    with pytest.raises(Unavailable, match=r"is not tocsin \(text/html\): set TOCSIN_URL"):
        client(lambda _: httpx.Response(200, html="<p>hello")).get("/api/events")
    with pytest.raises(TocsinError, match="answered 502 Bad Gateway"):
        client(lambda _: httpx.Response(502, html="<p>oh")).get("/api/events")


def test_a_server_that_is_slow_or_breaks_off_is_told_apart() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    def rude(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("peer closed connection", request=request)

    with pytest.raises(Unavailable, match="did not answer in time"):
        client(slow).get("/x")
    with pytest.raises(Unavailable, match=r"broke off \(peer closed connection\)"):
        client(rude).get("/x")


def test_a_stream_is_read_event_by_event() -> None:
    text = 'id: 1\ndata: {"n": 1}\n\n: still here\n\nid: 2\ndata: {"n": 2}\n\n'
    with client(lambda _: httpx.Response(200, text=text)) as server:
        assert list(server.stream("/api/events/stream")) == [{"n": 1}, {"n": 2}]
    with pytest.raises(NotFound, match="gone"):
        list(refusing(404, {"error": "gone"}).stream("/api/events/stream"))


def test_a_name_becomes_one_part_of_a_path() -> None:
    assert segment("a b/ü?#%") == "a%20b%2F%C3%BC%3F%23%25"
