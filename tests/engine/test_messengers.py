"""Mail against a real socket, and Apprise."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import pytest

from tocsin.engine.messengers import Messengers
from tocsin.errors import ActionFailed
from tocsin.schemas.channel import EmailChannel

NOT_OURS = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")


@pytest.fixture
def messengers() -> Iterator[Messengers]:
    made = Messengers()
    yield made
    made.close()


@asynccontextmanager
async def smtp(**replies: str) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve SMTP; `replies` gives the reply to a verb, where it is not 250. Yield the port and what was said."""
    said: list[str] = []
    writers: list[asyncio.StreamWriter] = []
    usual = {"DATA": "354 go on", "QUIT": "221 bye"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"220 here\r\n")
        in_mail = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            said.append(line)
            verb = "." if in_mail and line == "." else line.partition(" ")[0].upper()
            if in_mail and line != ".":
                continue
            in_mail = verb == "DATA"
            writer.write(f"{replies.get(verb, usual.get(verb, '250 ok'))}\r\n".encode())
            while in_mail and (line := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                said.append(line)
            if in_mail:
                in_mail = False
                writer.write(f"{replies.get('END', '250 taken')}\r\n".encode())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], said
    finally:
        server.close()
        for writer in writers:
            writer.close()


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "tocsin@a.example", "x@a.example", "late"
    message.set_content("it is late")
    return message


def channel(port: int) -> EmailChannel:
    return EmailChannel.model_validate({
        "name": "m", "type": "email", "host": "127.0.0.1", "port": port, "security": "none",
        "from": "tocsin@a.example", "to": ["x@a.example"],
    })  # fmt: skip


async def test_mail_is_handed_over(messengers: Messengers) -> None:
    async with smtp() as (port, said):
        assert await messengers.send(mail(), channel(port), None) == []
    assert "Subject: late" in said
    assert "it is late" in said


@pytest.mark.parametrize(
    ("replies", "permanent"),
    [({"RCPT": "550 no such user"}, True), ({"RCPT": "451 try later"}, False), ({"MAIL": "421 busy"}, False),
     ({"END": "554 spam"}, True), ({"END": "452 full"}, False)],
)  # fmt: skip
async def test_a_refusal_says_whether_a_retry_can_help(
    messengers: Messengers, replies: dict[str, str], permanent: bool
) -> None:
    async with smtp(**replies) as (port, _):
        with pytest.raises(ActionFailed, match=r"refused.*: \d{3} ") as failed:
            await messengers.send(mail(), channel(port), None)
    assert failed.value.permanent is permanent


async def test_a_server_that_is_away_may_come_back(messengers: Messengers) -> None:
    async with smtp() as (port, _):
        pass
    with pytest.raises(ActionFailed, match=f"127.0.0.1:{port}: ConnectionRefusedError") as failed:
        await messengers.send(mail(), channel(port), None)
    assert not failed.value.permanent


async def test_a_server_that_can_not_protect_the_connection_is_not_talked_to(messengers: Messengers) -> None:
    async with smtp() as (port, said):
        with pytest.raises(ActionFailed, match="STARTTLS") as failed:
            await messengers.send(mail(), channel(port).model_copy(update={"security": "starttls"}), None)
    assert failed.value.permanent
    assert not any("Subject" in line for line in said)


@NOT_OURS
async def test_apprise_sends_by_url(messengers: Messengers) -> None:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await messengers.notify(f"json://127.0.0.1:{port}/hook", title="late", body="it is late")
    server.close()
    assert requests[0].startswith(b"POST /hook")


@NOT_OURS
async def test_apprise_says_what_is_wrong_without_the_url(messengers: Messengers, monkeypatch: Any) -> None:
    with pytest.raises(ActionFailed, match="does not know this URL") as failed:
        await messengers.notify("nonsense://s3cret", title="", body="late")
    assert failed.value.permanent
    with pytest.raises(ActionFailed, match="did not take"):
        await messengers.notify("json://127.0.0.1:1/s3cret", title="", body="late")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ActionFailed, match=r"pip install 'tocsin\[notify\]'"):
        await messengers.notify("json://127.0.0.1/s3cret", title="", body="late")
