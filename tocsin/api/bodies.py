"""Reading the body of a request: never more than a limit, never longer than a patience."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from tocsin.api.errors import Disconnected, TooSlow, UnknownEncoding
from tocsin.errors import TooLarge

PATIENCE_S = 30.0
"""How long the whole body of a request may take to arrive, in seconds."""

_DIGITS = 18  # a longer Content-Length is larger than any limit


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, limit_bytes: int) -> bytes:
    """Return the body of a request, as it was sent.

    Raises:
        TooLarge: it is, or says that it will be, larger than `limit_bytes`; no more than that was read.
        TooSlow: it took longer than `PATIENCE_S`.
        UnknownEncoding: it is compressed.
        Disconnected: the client went away.
    """
    if headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
        raise UnknownEncoding("compressed bodies are not taken: send without Content-Encoding")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and (len(announced) > _DIGITS or int(announced) > limit_bytes):
        raise _too_large(limit_bytes)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _collect(receive, limit_bytes)
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {PATIENCE_S:g} seconds: send it faster, or in parts") from None


async def _collect(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected("the client went away before the body was complete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit_bytes} bytes: send several smaller ones")
