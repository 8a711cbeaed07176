"""`/api/events`: looking through the log, and following it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, Since, Text, Until, paged
from tocsin.api.stream import Bell, Wanted, follow, glob
from tocsin.app import App
from tocsin.errors import InvalidInput, NotFound, Problem
from tocsin.review.explain import explain
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision
from tocsin.store import log, search

router = APIRouter(prefix="/api/events", tags=["events"])

EXPLAINED_MAX = 1_000
"""The most automations to which an event is explained in one answer; ask for one by name to see any other."""


def _filter(
    *,
    since: Since,
    until: Until,
    event: Annotated[str | None, Query(description="A name; `*` stands for one or more characters.")] = None,
    resource: Annotated[str | None, Query(description="The id of the resource.")] = None,
    q: Annotated[str | None, Query(description="Text that stands anywhere in the event.")] = None,
) -> search.EventFilter:
    return search.EventFilter(event=event, resource=resource, since_us=since, until_us=until, q=q)


Filter = Annotated[search.EventFilter, Depends(_filter)]


@router.get("")
async def list_events(app: Running, *, wanted: Filter, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return events, the newest first."""
    return paged(await app.read(search.page, wanted, limit=limit, cursor=cursor))


@router.get("/count")
async def count_events(
    app: Running, *, wanted: Filter, by: Literal["event", "resource", "hour", "day"] | None = None
) -> Json:
    """Count events, all of them or by name, resource, hour or day."""
    counted = await app.read(search.count, wanted, by=by)
    return Json({"count": counted} if by is None else {"counts": counted})


async def _resumed(
    app: Running,
    *,
    last_event_id: Annotated[str | None, Header(description="Where a stream before this one ended.")] = None,
) -> int:
    """Return the place behind which a stream begins: by default the end of the log. Raises InvalidInput."""
    if last_event_id is None:
        newest_seq: int = (await app.read(log.newest)).seq
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
    app: Running,
    *,
    bell: Annotated[Bell, Depends(_bell)],
    after_seq: Annotated[int, Depends(_resumed)],
    event: Text = None,
    resource: Text = None,
) -> AsyncIterator[ServerSentEvent]:
    """Follow the log as server-sent events; `Last-Event-ID` goes on where a stream before ended."""
    wanted = Wanted(event=glob(event) if event is not None else None, resource=resource)
    async for arrived in follow(app, bell, after_seq, wanted=wanted):
        yield arrived


Id = Annotated[str, Path(description="The id of an event.")]
Source = Annotated[str | None, Query(description="The source, if several use that id.")]


@router.get("/{event_id:path}/explain")
async def explain_event(app: Running, *, event_id: Id, source: Source = None, automation: Text = None) -> Json:
    """Say what an event was to each automation, and why it did, or did not, make it fire."""
    arrival = await _arrival(app, event_id, source)
    decisions = await app.read(log.decisions_of, arrival.seq)
    return Json({"items": await asyncio.to_thread(_explained, app, arrival, decisions, name=automation), "next": None})


@router.get("/{event_id:path}")
async def get_event(app: Running, *, event_id: Id, source: Source = None) -> Json:
    """Return one event."""
    return Json((await _arrival(app, event_id, source)).document())


async def _arrival(app: App, event_id: str, source: str | None) -> Arrival:
    arrival = await app.read(log.find, event_id, source)
    if arrival is None:
        raise NotFound(f"there is no event {event_id!r}")
    return arrival


def _explained(app: App, arrival: Arrival, decisions: list[Decision], *, name: str | None) -> list[dict[str, Any]]:
    """Explain an event to one automation, or to all; those that it touched come first, the others up to a bound."""
    touched = {decision.automation for decision in decisions}
    entries = app.definitions.entries("automation")
    if name is not None and name not in entries:
        raise NotFound(f"there is no automation {name!r}")
    known = sorted(entries if name is None else [name], key=lambda one: (one not in touched, one))
    shown = (cast("Automation", entries[one].spec) for one in known[: max(EXPLAINED_MAX, len(touched))])
    return [explain(one, arrival, decisions) for one in shown]
