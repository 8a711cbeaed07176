"""The ASGI application: who may pass, then the calls that bring events, then everything else through FastAPI."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tocsin.api.access import Access
from tocsin.api.answers import answer, refuse
from tocsin.api.errors import Disconnected
from tocsin.api.failures import failed
from tocsin.api.ingest import Ingest, Route
from tocsin.api.rest import rest
from tocsin.api.stream import Bell
from tocsin.api.strict import vetted
from tocsin.app import App
from tocsin.engine.ports import FoundSecrets
from tocsin.errors import NotFound, TocsinError
from tocsin.sources.native import NativeParser

_ALWAYS = ("/healthz", "/readyz", "/metrics")
"""What every process answers, whatever its roles."""


class Api:
    """HTTP over one running App; an ASGI application.

    A server that stops calls `end_streams` first, since it waits for the requests that are still being answered.
    """

    def __init__(self, app: App) -> None:
        """Wire the routes."""
        self._access = Access(app.settings.token, app.settings.emit_token)
        self._ingest = Ingest(
            app.recorder,
            app.definitions,
            parser=NativeParser(app.settings.limits()),
            resolve=FoundSecrets().resolve,
            clock=app.clock,
            tracing=app.tracing,
        )
        self._answers = "api" in app.roles
        self._bell = Bell()
        app.on_log.append(self._bell.ring)
        self._rest = rest(app, self._bell, self._ingest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        try:
            if not self._answers and scope["path"] not in _ALWAYS:
                raise NotFound(f"this process does not have the role `api`: it answers {', '.join(_ALWAYS)} only")
            self._access.check(scope, dict(scope["headers"]))
            route = self._ingest.route(scope)
            if route is not None:
                await self._bring(route, scope, receive=receive, send=send)
                return
            scope, receive = await vetted(scope, receive)
        except Disconnected:
            return
        except TocsinError as error:
            await refuse(send, error, close=True)
            return
        await self._rest(scope, receive, send)

    async def _bring(self, route: Route, scope: Scope, *, receive: Receive, send: Send) -> None:
        """Serve a request that brings events; an error of our own is answered as the framework's calls answer it."""
        try:
            await route(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - it is logged, and the sender told to try again or give up
            self._ingest.answered[500] += 1
            await answer(send, 500, failed(scope, error))

    def end_streams(self) -> None:
        """Let the streams of live events come to their end."""
        self._bell.close()


def asgi(app: App) -> Api:
    """Return the ASGI application of a running App."""
    return Api(app)
