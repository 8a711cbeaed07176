"""An error of our own: the answer says only that it is our fault, the server's log says the rest, under one id."""

from __future__ import annotations

import logging
import re
import uuid
from typing import Any

from starlette.types import Scope

log = logging.getLogger("tocsin.api")

_NAMED = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def failed(scope: Scope, error: BaseException) -> dict[str, Any]:
    """Log the error of a request, and return the body of its answer (status 500).

    The request's id is what `X-Request-Id` says, which proxies set, or a new one.
    """
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request = given.decode() if _NAMED.fullmatch(given) else uuid.uuid4().hex
    log.error("%s %s failed", scope["method"], scope["path"], exc_info=error, extra={"request": request})
    return {"error": f"the server failed on this request: its log says why (request {request})", "errors": []}
