"""The outgoing HTTP client against real sockets: hostile answers, hosts that may not be called, connections kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.engine.sink import Sink, raw, serving
from tocsin.actions.ports import AddressRefused, Request
from tocsin.engine.http import HttpClient
from tocsin.errors import ActionFailed


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with serving() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as made:
        yield made


def post(url: str, **more: Any) -> Request:
    values: dict[str, Any] = {"method": "POST", "url": url, "body": b"{}", "trusted": True}
    return Request(**values | more)


async def test_status_headers_and_the_beginning_of_the_body_come_back(sink: Sink, client: HttpClient) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=503, text="x" * 100_000, headers={"Retry-After": "7"})

    sink.answer = answer
    response = await client.request(post(sink.url, headers={"X-A": "1"}))
    assert (response.status, response.headers["retry-after"], len(response.text)) == (503, "7", 16_384)
    assert sink.requests[0].headers["X-A"] == "1"
    assert sink.seen[0][1] == b"{}"


async def test_redirects_are_not_followed_and_cookies_not_kept(sink: Sink, client: HttpClient) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{sink.url}/there", "Set-Cookie": "a=b"})

    sink.answer = answer
    for _ in range(2):
        assert (await client.request(post(sink.url))).status == 302
    assert [request.path for request in sink.requests] == ["/", "/"]
    assert ["Cookie" in request.headers for request in sink.requests] == [False, False]


async def test_a_compressed_answer_is_not_unpacked(sink: Sink, client: HttpClient) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        response = web.Response(text="0" * 10_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    sink.answer = answer
    response = await client.request(post(sink.url))
    assert len(response.text) <= 16_384
    assert "0000" not in response.text


async def test_an_answer_whose_body_never_ends_counts_by_its_status(client: HttpClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("tocsin.engine.http._BODY_S", 0.05)
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome", close=False) as port:
        assert (await client.request(post(f"http://127.0.0.1:{port}"))).status == 200


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x00\xff garbage\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 banana\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, "not HTTP"),
        (b"", "the connection broke"),
    ],
)
async def test_garbage_is_a_failure_that_may_be_retried(client: HttpClient, answer: bytes, reason: str) -> None:
    async with raw(answer) as port:
        with pytest.raises(ActionFailed, match=reason) as failed:
            await client.request(post(f"http://127.0.0.1:{port}/secret-path"))
    assert not failed.value.permanent
    assert "secret" not in str(failed.value)


async def test_nobody_listening_is_a_failure_that_may_be_retried(client: HttpClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(ActionFailed, match=f"127.0.0.1:{port}: ") as failed:
            await client.request(post(f"http://127.0.0.1:{port}/secret"))
    assert not failed.value.permanent


async def test_an_unknown_name_is_a_failure_that_may_be_retried(client: HttpClient, monkeypatch: Any) -> None:
    def unknown(*args: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ActionFailed, match=r"nowhere.example:443: Name or service not known") as failed:
        await client.request(post("https://nowhere.example/secret"))
    assert not failed.value.permanent


@pytest.mark.parametrize(
    "url", ["", "example.org", "ftp://example.org/", "http://", "http:///x", "file:///etc/passwd", "http://u:p@a.example/",
            "http://a.example:99999/", "http://[::1", "//a.example/", "http://u@a.example/"],
)  # fmt: skip
async def test_what_is_no_web_address_is_a_permanent_failure_that_does_not_repeat_it(
    client: HttpClient, url: str
) -> None:
    with pytest.raises(ActionFailed, match="did not come out as") as failed:
        await client.request(post(url))
    assert failed.value.permanent
    assert "example" not in str(failed.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::]"])
async def test_event_data_can_not_name_a_host_of_ours(sink: Sink, client: HttpClient, host: str) -> None:
    with pytest.raises((AddressRefused, ActionFailed), match="TOCSIN_ALLOW_HOSTS"):
        await client.request(post(f"http://{host}:{sink.port}/", trusted=False))
    assert sink.requests == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1"])
async def test_other_spellings_of_an_address_lead_nowhere(sink: Sink, client: HttpClient, host: str) -> None:
    with pytest.raises((AddressRefused, ActionFailed)):
        await client.request(post(f"http://{host}:{sink.port}/", trusted=False))
    assert sink.requests == []


@pytest.mark.parametrize("trusted", [True, False])
async def test_metadata_addresses_are_refused_though_a_definition_names_them(client: HttpClient, trusted: bool) -> None:
    with pytest.raises(AddressRefused, match="metadata"):
        await client.request(post("http://169.254.169.254/latest/meta-data/", trusted=trusted))


async def test_a_name_that_resolves_to_a_metadata_address_is_refused(client: HttpClient, monkeypatch: Any) -> None:
    def rebound(host: str, port: int, *args: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with pytest.raises(AddressRefused, match=r"inside\.example is a link-local"):
        await client.request(post("http://inside.example/"))


async def test_a_listed_host_may_be_named_by_event_data(sink: Sink) -> None:
    async with HttpClient(allow_hosts={"LOCALHOST"}) as client:
        assert (await client.request(post(f"http://localhost:{sink.port}/", trusted=False))).status == 200
        with pytest.raises(AddressRefused):
            await client.request(post(f"http://127.0.0.1:{sink.port}/", trusted=False))


async def test_a_connection_to_a_trusted_host_is_not_lent_to_event_data(sink: Sink, client: HttpClient) -> None:
    assert (await client.request(post(f"http://localhost:{sink.port}/"))).status == 200
    with pytest.raises((AddressRefused, ActionFailed), match="TOCSIN_ALLOW_HOSTS"):
        await client.request(post(f"http://localhost:{sink.port}/", trusted=False))
    assert len(sink.requests) == 1


async def test_names_that_hang_leave_the_threads_of_the_process_alone(client: HttpClient, monkeypatch: Any) -> None:
    names = set()

    def slow(host: str, port: int, *args: Any) -> Any:
        import threading

        names.add(threading.current_thread().name.partition("_")[0])
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    failures = await asyncio.gather(
        *(client.request(post(f"http://h{n}.example/")) for n in range(4)), return_exceptions=True
    )
    assert [type(failure) for failure in failures] == [ActionFailed] * 4
    assert names == {"tocsin-names"}
