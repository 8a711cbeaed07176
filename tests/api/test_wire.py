"""The API behind a real server and real sockets: clients that are slow, that lie, and that send anything."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from tocsin.api import bodies
from tocsin.api.asgi import asgi
from tocsin.app import running
from tocsin.settings import Settings

EVENT = json.dumps({"event": "a", "resource": {"id": "b"}}).encode()
LIMIT = 100_000


class Server:
    """A server in a thread of its own."""

    def __init__(self, home: Path) -> None:
        self._settings = Settings(home=home, batch_bytes=LIMIT)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _serve(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            self.port = listener.getsockname()[1]
            async with running(self._settings) as app:
                config = uvicorn.Config(asgi(app), http="httptools", lifespan="off", log_config=None)
                self._server = uvicorn.Server(config)
                self._started.set()
                await self._server.serve(sockets=[listener])

    def talk(self, *parts: bytes) -> bytes:
        """Send bytes and return all that is answered until the server closes."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as connection:
            for part in parts:
                connection.sendall(part)
            answer = b""
            try:
                while data := connection.recv(65536):
                    answer += data
            except ConnectionResetError:
                pass
            return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("wire")) as server:
        yield server


def post(*headers: bytes) -> bytes:
    lines = [b"POST /api/events HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", *headers, b"", b""]
    return b"\r\n".join(lines)


def length(size: int) -> bytes:
    return b"Content-Length: %d" % size


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (EVENT[:10], EVENT[10:]))
    assert status(server.talk(post(b"Transfer-Encoding: chunked"), chunks, b"0\r\n\r\n")) == 202


def test_chunks_without_end_are_refused_at_the_limit(server: Server) -> None:
    chunk = b"%x\r\n%s\r\n" % (60_000, b" " * 60_000)
    assert status(server.talk(post(b"Transfer-Encoding: chunked"), chunk, chunk)) == 413


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    assert status(server.talk(post(length(LIMIT + 1)))) == 413


def test_who_asks_first_is_told_to_go_on_or_not(server: Server) -> None:
    answer = server.talk(post(length(len(EVENT)), b"Expect: 100-continue"), EVENT)
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 202 " in answer
    assert status(server.talk(post(length(LIMIT + 1), b"Expect: 100-continue"))) == 413


def test_a_body_that_is_shorter_than_announced_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.05)
    assert status(server.talk(post(length(len(EVENT) + 1)), EVENT)) == 408


def test_what_follows_a_body_is_not_part_of_it(server: Server) -> None:
    assert status(server.talk(post(length(len(EVENT))), EVENT + b"trailing")) == 202


@pytest.mark.parametrize(
    "headers", [[b"Content-Length: -1"], [b"Content-Length: x"], [b"Content-Length: 1", b"Content-Length: 2"]]
)
def test_a_nonsensical_length_is_a_bad_request(server: Server, headers: list[bytes]) -> None:
    assert status(server.talk(post(*headers), EVENT)) == 400


def test_no_call_that_the_description_allows_makes_the_server_fail(server: Server) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    for found in schema.exclude(path="/api/events/stream").get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(max_examples=10, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def call(case: schemathesis.Case[Any]) -> None:
            response = case.call(timeout=10)
            assert response.status_code < 500, response.text

        call()
