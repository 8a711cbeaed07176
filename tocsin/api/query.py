"""What the calls have in common: the App behind them, pages, moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from tocsin.api.answers import Json
from tocsin.app import App
from tocsin.errors import InvalidInput, NotFound, Problem
from tocsin.schemas.findings import nearest
from tocsin.schemas.moments import Micros, duration_us, parse_duration, to_micros
from tocsin.store.page import LIMIT_MAX, Page, decode_cursor, encode_cursor


def _app(request: Request) -> App:
    app: App = request.app.state.app
    return app


Running = Annotated[App, Depends(_app)]
"""The running App."""

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many items a page has at most.")]
Cursor = Annotated[str | None, Query(description="The `next` of the page before.")]
Text = Annotated[str | None, Query()]


def only_known(request: Request) -> None:
    """Refuse query parameters that a call does not have: a misspelt filter would else answer with everything.

    Raises:
        InvalidInput: there is one; says which known name is nearest.
    """
    if not request.query_params:
        return
    known = set(_queried(request.scope["route"].dependant))
    says = "is not a parameter of this call" + ("" if known else ", which has none")
    problems = [
        Problem(f"{says}: {nearest(name, known)}" if known else says, field=name)
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if problems:
        raise InvalidInput(problems)


def _queried(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _queried(inner)


def _moment_us(text: str | None, *, field: str, now_us: Micros) -> Micros | None:
    """Read ISO 8601 with a zone, or how long ago it was (`7d`)."""
    if text is None:
        return None
    try:
        if text[-1:].isalpha() and not text.endswith("Z"):
            return now_us - duration_us(parse_duration(text))
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + in an address is a space
        if moment.tzinfo is not None:
            return to_micros(moment)
    except ValueError:
        pass
    message = f"{text!r} is not a time: write 2026-11-20T08:57:02Z, or how long ago it was: 7d"
    raise InvalidInput([Problem(message, field=field)])


def since_us(
    app: Running,
    since: Annotated[str | None, Query(description="From this time on; ISO 8601, or how long ago: `7d`.")] = None,
) -> Micros | None:
    """Read `since`. Raises InvalidInput."""
    return _moment_us(since, field="since", now_us=app.clock.now_us())


def until_us(
    app: Running,
    until: Annotated[str | None, Query(description="Up to this time; ISO 8601, or how long ago: `1h`.")] = None,
) -> Micros | None:
    """Read `until`. Raises InvalidInput."""
    return _moment_us(until, field="until", now_us=app.clock.now_us())


Since = Annotated[Micros | None, Depends(since_us)]
Until = Annotated[Micros | None, Depends(until_us)]


def paged(page: Page) -> Json:
    """Answer with a page of a list."""
    return Json({"items": page.items, "next": page.next})


def part_of(items: Sequence[dict[str, Any]], *, limit: int, cursor: str | None) -> Json:
    """Answer with a page of a list that is known as a whole. Raises InvalidInput."""
    start = decode_cursor(cursor) if cursor is not None else 0
    following = encode_cursor(start + limit) if start + limit < len(items) else None
    return paged(Page(list(items[start : start + limit]), following))


def found(item: dict[str, Any] | None, what: str) -> Json:
    """Answer with one thing.

    Raises:
        NotFound: there is none.
    """
    if item is None:
        raise NotFound(f"there is no {what}")
    return Json(item)
