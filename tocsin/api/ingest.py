"""The calls that bring events: native and CloudEvents, webhooks, check-ins.

They are plain ASGI, in front of the framework: an event costs 25 us of the server's time here and 107 us there.
A 2xx is sent after the events are durable, and not before (law E3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Receive, Scope, Send

from tocsin.api.answers import answer, refuse
from tocsin.api.bodies import read_body
from tocsin.api.errors import Disconnected, TooSlow, UnknownEncoding
from tocsin.errors import TocsinError, TooLarge
from tocsin.schemas.event import Event
from tocsin.sources.native import NativeParser

LINES = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})


class Receipt(Protocol):
    """What became of the events of one request."""

    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int | None: ...
    @property
    def ids(self) -> Sequence[str]: ...


class Recorder(Protocol):
    """What puts events into the log; they are durable when it returns."""

    async def record(self, events: Sequence[Event]) -> Receipt: ...


class Ingest:
    """`POST /api/events`."""

    def __init__(self, recorder: Recorder, parser: NativeParser) -> None:
        """Keep where events go, and what reads them."""
        self._recorder = recorder
        self._parser = parser

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take native events or CloudEvents."""
        headers = dict(scope["headers"])
        try:
            body = await read_body(receive, headers, limit_bytes=self._parser.limits.batch_bytes)
            events = self._read(headers, body)
            receipt = await self._recorder.record(events)
        except Disconnected:
            return
        except TocsinError as error:
            await refuse(send, error, close=isinstance(error, TooLarge | TooSlow | UnknownEncoding))
            return
        await answer_receipt(send, receipt)

    def _read(self, headers: dict[bytes, bytes], body: bytes) -> list[Event]:
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type in LINES:
            return self._parser.parse_lines(body)
        return self._parser.parse(body)


async def answer_receipt(send: Send, receipt: Receipt) -> None:
    """Say that the events are safe, and which ids they have."""
    content = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "ids": receipt.ids}
    await answer(send, 202, content)
