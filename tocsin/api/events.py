"""`/api/events`: looking through the log, and following it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tocsin.api.answers import Json
from tocsin.api.query import App, Cursor, Limit, Since, Text, Until, found, paged
from tocsin.api.stream import Bell, Wanted, follow, glob
from tocsin.errors import InvalidInput, Problem
from tocsin.store import log, search

router = APIRouter(prefix="/api/events", tags=["events"])


def _filter(
    since: Since,
    until: Until,
    event: Annotated[str | None, Query(description="A name; `*` stands for one or more characters.")] = None,
    resource: Annotated[str | None, Query(description="The id of the resource.")] = None,
    q: Annotated[str | None, Query(description="Text that stands anywhere in the event.")] = None,
) -> search.EventFilter:
    return search.EventFilter(event=event, resource=resource, since_us=since, until_us=until, q=q)


Filter = Annotated[search.EventFilter, Depends(_filter)]


@router.get("")
async def list_events(app: App, wanted: Filter, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return events, the newest first."""
    return paged(await app.read(search.page, wanted, limit=limit, cursor=cursor))


@router.get("/count")
async def count_events(app: App, wanted: Filter, by: Literal["event", "resource", "hour", "day"] | None = None) -> Json:
    """Count events, all of them or by name, resource, hour or day."""
    counted = await app.read(search.count, wanted, by=by)
    return Json({"count": counted} if by is None else {"counts": counted})


async def _resumed(
    app: App, last_event_id: Annotated[str | None, Header(description="Where a stream before this one ended.")] = None
) -> int:
    """Return the place behind which a stream begins: by default the end of the log. Raises InvalidInput."""
    if last_event_id is None:
        newest_seq, _ = await app.read(log.newest)
        return newest_seq
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
        raise InvalidInput([Problem("is not an id that a stream has given", field="Last-Event-ID")])
    return int(last_event_id)


async def _bell(request: Request) -> AsyncIterator[Bell]:
    bell: Bell = request.app.state.bell
    bell.enter()
    yield bell
    bell.leave()


@router.get("/stream", response_class=EventSourceResponse)
async def stream_events(
    app: App,
    bell: Annotated[Bell, Depends(_bell)],
    after_seq: Annotated[int, Depends(_resumed)],
    event: Text = None,
    resource: Text = None,
) -> AsyncIterator[ServerSentEvent]:
    """Follow the log as server-sent events; `Last-Event-ID` goes on where a stream before ended."""
    wanted = Wanted(event=glob(event) if event is not None else None, resource=resource)
    async for arrived in follow(app, bell, after_seq, wanted=wanted):
        yield arrived


@router.get("/{event_id:path}")
async def get_event(
    app: App,
    event_id: str,
    source: Annotated[str | None, Query(description="The source, if several use that id.")] = None,
) -> Json:
    """Return one event."""
    arrival = await app.read(log.find, event_id, source)
    return found(arrival.document() if arrival is not None else None, f"event {event_id!r}")
