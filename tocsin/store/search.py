"""Looking through the log: filters, pages and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select

from tocsin.schemas.moments import DAY, HOUR, Micros, iso
from tocsin.store.log import exactly, read_arrival
from tocsin.store.page import Page, decode_cursor, page_of
from tocsin.store.tables import events

COUNT_GROUPS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant: a name (glob as in law M1), a resource, received in [since, until), text in the body."""

    event: str | None = None
    resource: str | None = None
    since_us: Micros | None = None
    until_us: Micros | None = None
    q: str | None = None


def page(connection: Connection, wanted: EventFilter, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Return the newest events of a filter that stand before the cursor."""
    columns = (events.c.seq, events.c.received_us, events.c.time_us, events.c.body, events.c.chain, events.c.trace)
    query: Select[Any] = select(*columns).where(_condition(connection, wanted)).order_by(events.c.seq.desc())
    if cursor is not None:
        query = query.where(events.c.seq < decode_cursor(cursor))
    rows = [read_arrival(row).document() for row in connection.execute(query.limit(limit + 1))]
    return page_of(rows, limit=limit, place="seq")


def count(
    connection: Connection, wanted: EventFilter, *, by: Literal["event", "resource", "hour", "day"] | None = None
) -> int | list[dict[str, Any]]:
    """Count the events of a filter, or count them by name, resource, hour or day (1,000 groups at most)."""
    condition = _condition(connection, wanted)
    if by is None:
        return connection.execute(select(func.count()).select_from(events).where(condition)).scalar_one()
    number = func.count().label("count")
    if by in {"event", "resource"}:
        value: ColumnElement[Any] = events.c.event if by == "event" else events.c.resource_id
        query = select(value.label("value"), number).where(condition).group_by(value).order_by(number.desc(), value)
        return [{"value": row.value, "count": row.count} for row in connection.execute(query.limit(COUNT_GROUPS_MAX))]
    size = HOUR if by == "hour" else DAY
    bucket = (events.c.received_us - events.c.received_us % size).label("value")
    grouped = select(bucket, number).where(condition).group_by(bucket).order_by(bucket.desc()).limit(COUNT_GROUPS_MAX)
    return [{"value": iso(row.value), "count": row.count} for row in connection.execute(grouped)]


def _condition(connection: Connection, wanted: EventFilter) -> ColumnElement[bool]:
    is_sqlite = connection.dialect.name == "sqlite"
    parts: list[ColumnElement[bool]] = []
    if wanted.event is not None and "*" not in wanted.event:
        parts.append(exactly(connection, events.c.event, wanted.event))
    elif wanted.event is not None:
        parts.append(_matches(wanted.event, is_sqlite=is_sqlite))
    if wanted.resource is not None:
        parts.append(exactly(connection, events.c.resource_id, wanted.resource))
    if wanted.since_us is not None:
        parts.append(events.c.received_us >= wanted.since_us)
    if wanted.until_us is not None:
        parts.append(events.c.received_us < wanted.until_us)
    if wanted.q:
        parts.append(_contains(wanted.q, is_sqlite=is_sqlite))
    return and_(literal(True), *parts)


def _matches(pattern: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Return the condition of law M1: `*` is one or more characters, nothing else is special."""
    if is_sqlite:
        escaped = "".join(f"[{char}]" if char in "?[" else char for char in pattern)
        return events.c.event.op("GLOB")(escaped.replace("*", "?*"))
    escaped = "".join(f"\\{char}" if char in "%_\\" else char for char in pattern)
    return events.c.event.op("~~")(escaped.replace("*", "_%"))


def _contains(text: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Return the condition that the body contains a text; bodies are bytes."""
    if is_sqlite:
        return func.instr(events.c.body, literal(text.encode())) > 0
    escaped = "".join(f"\\{char}" if char in "%_\\" else char for char in text)
    return events.c.body.op("~~")(f"%{escaped}%".encode())
