"""What is asked of every request before the framework sees it.

FastAPI reads bodies of any size, takes as long as the client likes, and accepts JSON that no database and no other
reader takes back (half surrogate pairs, NaN, hundreds of levels); here it does not come to that.
"""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

from tocsin.api.bodies import read_body
from tocsin.errors import InvalidInput, Problem
from tocsin.sources.request import read_json

DEFINITION_BYTES = 1 << 20
"""The largest body of a call that brings no events; the largest of them is a definition."""

DOCUMENT_BYTES = 64 << 20
"""The largest body of a call that brings all definitions at once."""

DOCUMENTS = "/api/definitions"
"""The addresses that begin so take a document."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONTENT_TYPE = b"content-type"


async def vetted(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """Return the request with its body read and checked; all bodies are JSON, whatever their content type says.

    Raises:
        InvalidInput: the address contains what can not be looked up.
        NotJSON: the body is not JSON that can be kept.
        TooLarge, TooSlow, UnknownEncoding, Disconnected: as for `read_body`.
    """
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise InvalidInput([Problem("contains a NUL character: remove it", field="address")])
    if scope["method"] not in _WITH_BODY:
        return scope, receive
    limit_bytes = DOCUMENT_BYTES if scope["path"].startswith(DOCUMENTS) else DEFINITION_BYTES
    body = await read_body(receive, dict(scope["headers"]), limit_bytes=limit_bytes)
    if body:
        read_json(body)
    headers = [(name, value) for name, value in scope["headers"] if name != _CONTENT_TYPE]
    return {**scope, "headers": [*headers, (_CONTENT_TYPE, b"application/json")]}, _replayed(body, receive)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was read already, then goes on with the real one."""
    unread = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        message = next(unread, None)
        return message if message is not None else await receive()

    return replay
