"""How an error becomes an answer: one table from our exceptions to statuses, read along the MRO.

Every answer that is an error has the same shape: `error` says in one sentence what is wrong, and `errors` lists what
is wrong where, as far as that is known: `index` (of an event in a batch), `field`, `message`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tocsin.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    NotJSON,
    Overloaded,
    Problem,
    TocsinError,
    TooLarge,
    Unauthorized,
    Unavailable,
)


class TooSlow(TocsinError):
    """The body of a request did not arrive in time."""


class UnknownEncoding(TocsinError):
    """The body of a request is compressed."""


class WrongMethod(TocsinError):
    """That address exists, and does not take this method."""

    def __init__(self, message: str, *, allowed: str) -> None:
        """Keep the methods that it takes."""
        super().__init__(message)
        self.allowed = allowed


class Disconnected(TocsinError):
    """The client went away before its request was complete; there is nobody to answer."""


STATUSES: Mapping[type[Exception], int] = {
    NotJSON: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    WrongMethod: 405,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    UnknownEncoding: 415,
    InvalidInput: 422,
    Overloaded: 429,
    Unavailable: 503,
    TocsinError: 500,
}


def status_of(error: TocsinError) -> int:
    """Return the HTTP status of an error: that of its class, or of the nearest one that it is derived from."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def body_of(error: TocsinError) -> dict[str, Any]:
    """Return what an answer says about an error."""
    if not isinstance(error, InvalidInput):
        return {"error": str(error), "errors": []}
    listed = [_listed(problem) for problem in error.problems]
    more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
    return {"error": f"{error.problems[0]}{more}", "errors": listed}


def _listed(problem: Problem) -> dict[str, Any]:
    return {"index": problem.index, "field": problem.field, "message": problem.message}


def headers_of(error: TocsinError) -> dict[str, str]:
    """Return the headers that belong to an error: when to try again, how to prove who one is, what is allowed."""
    if isinstance(error, Overloaded | Unavailable):
        return {"retry-after": str(math.ceil(error.retry_after_s))}
    if isinstance(error, Unauthorized):
        return {"www-authenticate": error.challenge}
    if isinstance(error, WrongMethod):
        return {"allow": error.allowed}
    return {}
