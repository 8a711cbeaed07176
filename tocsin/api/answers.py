"""Answers without a framework, for the routes that are called thousands of times a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.types import Send

from tocsin.api.errors import body_of, headers_of, status_of
from tocsin.errors import TocsinError


async def answer(send: Send, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
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
    await answer(send, status_of(error), body_of(error), headers)
