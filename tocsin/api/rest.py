"""Everything but ingest: FastAPI over the App, with our errors in our shape."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from tocsin import __version__
from tocsin.api import (
    actions,
    automations,
    definitions,
    events,
    firings,
    flows,
    health,
    metrics,
    queues,
    refusals,
    runs,
)
from tocsin.api.answers import Json
from tocsin.api.errors import body_of, headers_of, status_of
from tocsin.api.failures import failed
from tocsin.api.metrics import Answered
from tocsin.api.openapi import described
from tocsin.api.query import only_known
from tocsin.api.reference import page
from tocsin.api.stream import Bell
from tocsin.app import App
from tocsin.errors import InvalidInput, NotJSON, Problem, TocsinError
from tocsin.sources.problems import field_name

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""What a browser may load for `/docs`: nothing but what stands in the page."""


def rest(app: App, bell: Bell, ingest: Answered) -> FastAPI:
    """Return the FastAPI application over a running App; `ingest` counts what came in front of it."""
    api = FastAPI(
        title="tocsin",
        version=__version__,
        summary="An event-driven automations engine: events in, judgement, actions out.",
        docs_url=None,  # that page would load its scripts from the web
        redoc_url=None,
    )
    api.state.app = app
    api.state.bell = bell
    api.state.ingest = ingest
    for routes in (events, definitions, automations, firings, actions, flows, queues, runs, refusals):
        api.include_router(routes.router, dependencies=[Depends(only_known)])
    for open_to_all in (health, metrics):
        api.include_router(open_to_all.router)
    api.add_exception_handler(TocsinError, _tell)
    api.add_exception_handler(RequestValidationError, _tell_invalid)
    api.add_exception_handler(HTTPException, _tell_http)
    api.add_exception_handler(Exception, _tell_unexpected)
    described(api)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(api.openapi()), headers={"content-security-policy": POLICY})

    return api


async def _tell(_request: Request, error: Exception) -> Json:
    assert isinstance(error, TocsinError)
    return Json(body_of(error), status_of(error), headers_of(error))


async def _tell_invalid(request: Request, error: Exception) -> Json:
    """Say what FastAPI found wrong with parameters and bodies as we say it everywhere."""
    assert isinstance(error, RequestValidationError)
    for detail in error.errors():
        if detail["type"] == "json_invalid":
            return await _tell(request, NotJSON(f"the body is not JSON: {detail['ctx']['error']}"))
    problems = [
        Problem(_sentence(detail), field=field_name(detail["loc"][1:]) or str(detail["loc"][0]))
        for detail in error.errors()
    ]
    return await _tell(request, InvalidInput(problems))


def _sentence(detail: Any) -> str:
    return "is required" if detail["type"] == "missing" else str(detail["msg"])


async def _tell_http(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)
    sentence = {
        404: f"there is nothing at {request.url.path}: /docs lists every call",
        405: f"{request.method} is not possible here: /docs lists every call",
    }.get(error.status_code, str(error.detail))
    return Json({"error": sentence, "errors": []}, error.status_code, error.headers)


async def _tell_unexpected(request: Request, error: Exception) -> Json:
    return Json(failed(request.scope, error), 500)
