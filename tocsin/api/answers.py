"""Answers in JSON, written by pydantic-core: without a framework for ingest, as a `Response` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Send

from tocsin.api.errors import body_of, headers_of, status_of
from tocsin.errors import TocsinError


async def answer(send: Send, status: int, content: Any, *, headers: Mapping[str, str] | None = None) -> None:
    """Send JSON."""
    body = to_json(content)
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if headers:
        raw += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: TocsinError, *, close: bool = False) -> None:
    """Send what is wrong; `close` when the rest of the request's body is not wanted."""
    headers = headers_of(error)
    if close:
        headers["connection"] = "close"
    await answer(send, status_of(error), body_of(error), headers=headers)


class Json(Response):
    """JSON as an answer of FastAPI, which then does not look through the content once more."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Write the content."""
        super().__init__(to_json(content), status_code, headers)
