"""The calls that bring events: native and CloudEvents, webhooks, check-ins.

They are plain ASGI, in front of the framework, which would cost four times as much as the rest of a request. A 2xx
is sent after the events are durable, and not before (law E3); nothing is kept of a request that is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from tocsin.api.answers import answer, refuse
from tocsin.api.bodies import read_body
from tocsin.api.errors import Disconnected, TooSlow, UnknownEncoding, WrongMethod, status_of
from tocsin.clock import Clock
from tocsin.engine.definitions import Definitions
from tocsin.engine.recorder import Records
from tocsin.engine.tracing import Tracing
from tocsin.errors import NotFound, TocsinError, TooLarge, Unavailable
from tocsin.schemas.event import Event
from tocsin.schemas.moments import Micros
from tocsin.schemas.secret import SecretReference
from tocsin.schemas.source import CheckinSource, WebhookSource
from tocsin.schemas.trace import TRACEPARENT, Span
from tocsin.schemas.trace import read as read_trace
from tocsin.sources import cloudevents
from tocsin.sources.checkin import checkin
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request
from tocsin.sources.webhook import WebhookReceiver

log = logging.getLogger(__name__)

LINES = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})
"""The content types of a body with one event a line."""

_TRACEPARENT = TRACEPARENT.encode()

Headers = dict[bytes, bytes]
Route = Callable[[Scope, Receive, Send], Awaitable[None]]


class Ingest:
    """`POST /api/events`, `POST /hooks/{source}` and `/ping/{key}`."""

    def __init__(
        self,
        recorder: Records,
        definitions: Definitions,
        *,
        parser: NativeParser,
        resolve: Callable[[SecretReference], str],
        clock: Clock,
        tracing: Tracing | None = None,
    ) -> None:
        """Keep where events go, what is defined, what reads events, what finds secrets, the time, and where spans go.

        `answered` counts the requests by the status of their answer, for those who watch.
        """
        self._recorder = recorder
        self._definitions = definitions
        self._parser = parser
        self._resolve = resolve
        self._clock = clock
        self._tracing = tracing
        self._receivers: dict[str, tuple[WebhookSource, WebhookReceiver]] = {}
        self.answered: Counter[int] = Counter()

    def route(self, scope: Scope) -> Route | None:
        """Return what serves a request, None if it is not about bringing events."""
        path: str = scope["path"]
        if path == "/api/events":
            return self.events if scope["method"] == "POST" else None
        if path.startswith("/hooks/"):
            return self.hook
        return self.ping if path.startswith("/ping/") else None

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take native events or CloudEvents."""
        headers: Headers = dict(scope["headers"])
        try:
            began_us = 0 if self._tracing is None else self._clock.now_us()
            body = await read_body(receive, headers, limit_bytes=self._parser.limits.batch_bytes)
            events, trace = self._read(headers, body)
            await self._record(events, send, how="events", began_us=began_us, trace=trace)
        except TocsinError as error:
            await self._refuse(send, error)

    async def hook(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take what others send to a webhook source."""
        name = scope["path"].removeprefix("/hooks/")
        try:
            source = self._definitions.source(name)
            if not isinstance(source, WebhookSource):
                raise NotFound(f"there is no webhook source {name!r}")
            if scope["method"] != "POST":
                raise WrongMethod("a webhook is received by POST", allowed="POST")
            request = await self._request(scope, receive, name=name, limit_bytes=self._parser.limits.batch_bytes)
            receiver = self._receiver(source)
            events = receiver.receive(request, self._secret(receiver))
            trace = read_trace(request.headers.get(TRACEPARENT))
            await self._record(events, send, how="webhook", began_us=request.received_us, trace=trace)
        except TocsinError as error:
            await self._refuse(send, error)

    async def ping(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a check-in."""
        key, _, signal = scope["path"].removeprefix("/ping/").partition("/")
        try:
            source = self._checkin(key)
            if scope["method"] not in ("GET", "POST"):
                raise WrongMethod("a check-in is a GET or a POST", allowed="GET, POST")
            request = await self._request(scope, receive, name=source.name, limit_bytes=self._parser.limits.event_bytes)
            events = checkin(source, signal, request, parser=self._parser)
            trace = read_trace(request.headers.get(TRACEPARENT))
            await self._record(events, send, how="check-in", began_us=request.received_us, trace=trace)
        except TocsinError as error:
            await self._refuse(send, error)

    def _read(self, headers: Headers, body: bytes) -> tuple[list[Event], Span | None]:
        """Return the events of a body and where they stand in a trace; what they say of it goes before the header."""
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        carried = headers.get(_TRACEPARENT)
        trace = None if carried is None else read_trace(carried.decode("latin-1"))
        if media_type in LINES:
            return self._parser.parse_lines(body), trace
        if cloudevents.is_cloudevent(media_type.decode("latin-1"), headers):
            request = Request(source="", body=body, headers=_texts(headers.items()))
            events, said = cloudevents.parse(request, self._parser)
            return events, read_trace(said) or trace
        return self._parser.parse(body), trace

    async def _request(self, scope: Scope, receive: Receive, *, name: str, limit_bytes: int) -> Request:
        headers: Headers = dict(scope["headers"])
        body = await read_body(receive, headers, limit_bytes=limit_bytes)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        return Request(
            source=name,
            body=body,
            headers=_texts(scope["headers"]),
            query=query,
            method=scope["method"],
            received_us=self._clock.now_us(),
        )

    async def _record(self, events: list[Event], send: Send, *, how: str, began_us: Micros, trace: Span | None) -> None:
        if self._tracing is None:
            receipt = await self._recorder.record(events, trace=None if trace is None else str(trace))
        else:
            with self._tracing.receiving(trace, how=how, began_us=began_us, events=len(events)) as stands:
                receipt = await self._recorder.record(events, trace=stands)
        self.answered[202] += 1
        content = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "ids": receipt.ids}
        await answer(send, 202, content)

    async def _refuse(self, send: Send, error: TocsinError) -> None:
        if isinstance(error, Disconnected):
            return
        self.answered[status_of(error)] += 1
        await refuse(send, error, close=isinstance(error, TooLarge | TooSlow | UnknownEncoding))

    def _receiver(self, source: WebhookSource) -> WebhookReceiver:
        """Return the compiled source; it is compiled anew when its definition was replaced."""
        known = self._receivers.get(source.name)
        if known is None or known[0] != source:
            known = self._receivers[source.name] = (source, WebhookReceiver(source, self._parser))
        return known[1]

    def _secret(self, receiver: WebhookReceiver) -> str:
        if receiver.secret is None:
            return ""
        try:
            return self._resolve(receiver.secret)
        except NotFound as error:
            says = "the source %r refuses what it receives: %s"
            log.warning(says, receiver.name, error, extra={"source": receiver.name})
            raise Unavailable(f"the source {receiver.name!r} can not verify requests now") from None

    def _checkin(self, key: str) -> CheckinSource:
        for source in self._definitions.sources():
            if isinstance(source, CheckinSource) and source.address_key == key:
                return source
        raise NotFound("there is no check-in with this key")


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers as text; the values of one that came several times are joined."""
    texts: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        texts[name] = f"{texts[name]}, {value}" if name in texts else value
    return texts
