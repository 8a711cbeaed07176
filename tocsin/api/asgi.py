"""The ASGI application: who may pass, then the ingest calls by hand, then everything else through FastAPI."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.api.access import Access
from tocsin.api.answers import refuse
from tocsin.api.ingest import Ingest, Recorder
from tocsin.errors import TocsinError
from tocsin.settings import Settings
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser


class Served(Protocol):
    """What the API needs of an App."""

    @property
    def settings(self) -> Settings: ...
    @property
    def recorder(self) -> Recorder: ...


def asgi(app: Served) -> ASGIApp:
    """Return the ASGI application of a running App."""
    settings = app.settings
    access = Access(settings.token, settings.emit_token)
    ingest = Ingest(app.recorder, NativeParser(limits_of(settings)))
    rest = FastAPI()

    async def serve(scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http":
            return await rest(scope, receive, send)
        try:
            access.check(scope, dict(scope["headers"]))
        except TocsinError as error:
            return await refuse(send, error, close=True)
        if scope["path"] == "/api/events" and scope["method"] == "POST":
            return await ingest.events(scope, receive, send)
        return await rest(scope, receive, send)

    return serve


def limits_of(settings: Settings) -> Limits:
    """Return the settings that bound what one request may bring."""
    return Limits(
        event_bytes=settings.event_bytes,
        batch_events=settings.batch_events,
        batch_bytes=settings.batch_bytes,
        name_chars=settings.name_chars,
        labels=settings.labels,
        related=settings.related,
    )
