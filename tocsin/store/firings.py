"""What was judged: firings with their state, and the decisions that no event carries."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision, Firing, Verdict
from tocsin.schemas.moments import Micros, iso
from tocsin.store.bulk import Bulk, Row
from tocsin.store.page import Page, decode_cursor, page_of
from tocsin.store.tables import decisions, firings

_IN = 500  # the most values in one IN list
_RECENT = 10_000


@dataclass(frozen=True, slots=True)
class Judged:
    """A firing with what was true of its automation at that moment: mode and severity."""

    firing: Firing
    mode: str
    severity: str


def add(
    connection: Connection, judged: Sequence[Judged], events: Mapping[int, Arrival], *, decided_us: Micros
) -> set[str]:
    """Store firings and close those that they resolve; return the ids that were not known yet (law F1)."""
    if not judged:
        return set()
    ids = [one.firing.id for one in judged]
    known: set[str] = set()
    for start in range(0, len(ids), _IN):
        known.update(connection.execute(_KNOWN, {"ids": ids[start : start + _IN]}).scalars())
    new = [one for one in judged if one.firing.id not in known]
    _ADD.execute(connection, [_row(one, events, decided_us) for one in new])
    resolved = [{"of": of, "by": one.firing.id} for one in new for of in one.firing.resolves]
    if resolved:
        connection.execute(_RESOLVE, resolved)
    return {one.firing.id for one in new}


def _row(judged: Judged, events: Mapping[int, Arrival], decided_us: Micros) -> Row:
    """Return the values for `_ADD`."""
    firing = judged.firing
    listed = [(seq, events[seq].event.id, events[seq].event.source) for seq in firing.events if seq in events]
    is_open = firing.verdict is Verdict.MISSED and firing.repeat == 0
    return (
        firing.id, firing.automation, firing.node, firing.state_key, json.dumps(firing.labels), firing.verdict.value,
        firing.at_us, firing.time_us, firing.due_us, *(firing.window_us or (None, None)), json.dumps(listed),
        firing.trigger_event, firing.reason, json.dumps(firing.resolves), firing.repeat, firing.first,
        json.dumps(firing.chain), judged.mode, judged.severity, decided_us, is_open,
    )  # fmt: skip


def read_firing(row: Any) -> Firing:
    """Return the firing that a row holds."""
    window_us = None if row.window_from_us is None else (row.window_from_us, row.window_to_us)
    return Firing(
        id=row.id,
        automation=row.automation,
        node=row.node,
        state_key=row.state_key,
        labels=json.loads(row.labels),
        verdict=Verdict(row.verdict),
        at_us=row.at_us,
        time_us=row.time_us,
        due_us=row.due_us,
        window_us=window_us,
        events=tuple(event[0] for event in json.loads(row.events)),
        trigger_event=row.trigger_event,
        reason=row.reason,
        resolves=tuple(json.loads(row.resolves)),
        repeat=row.repeat,
        chain=tuple(json.loads(row.chain)),
        first=row.first,
    )


def by_id(connection: Connection, ids: Collection[str]) -> dict[str, Firing]:
    """Return the firings with these ids."""
    rows = connection.execute(_BY_ID, {"ids": list(ids)})
    return {row.id: read_firing(row) for row in rows}


def document(row: Any) -> dict[str, Any]:
    """Return a firing as the API shows it."""
    window = None if row.window_from_us is None else [iso(row.window_from_us), iso(row.window_to_us)]
    resolves = json.loads(row.resolves)
    return {
        "n": row.n,
        "id": row.id,
        "automation": row.automation,
        "verdict": row.verdict,
        "labels": json.loads(row.labels),
        "at": iso(row.at_us),
        "due": iso(row.due_us),
        "window": window,
        "reason": row.reason,
        "events": [event[1] for event in json.loads(row.events)],
        "resolves": resolves,
        "resolved_by": row.resolved_by,
        "open": row.open,
        "repeat": row.repeat,
        "incident": row.first or next(iter(resolves), row.id),
        "chain": json.loads(row.chain),
        "mode": row.mode,
        "severity": row.severity,
        "decided": iso(row.decided_us),
    }


def page(
    connection: Connection,
    *,
    automation: str | None = None,
    verdict: str | None = None,
    state: str | None = None,
    since_us: Micros | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Return the newest firings of a filter that stand before the cursor; `state` is None or `open`."""
    query = select(firings).order_by(firings.c.n.desc()).limit(limit + 1)
    if automation is not None:
        query = query.where(firings.c.automation == automation)
    if verdict is not None:
        query = query.where(firings.c.verdict == verdict)
    if state == "open":
        query = query.where(firings.c.open)
    if since_us is not None:
        query = query.where(firings.c.at_us >= since_us)
    if cursor is not None:
        query = query.where(firings.c.n < decode_cursor(cursor))
    return page_of([document(row) for row in connection.execute(query)], limit=limit, place="n")


def find(connection: Connection, firing_id: str) -> dict[str, Any] | None:
    """Return one firing as the API shows it, or None."""
    row = connection.execute(select(firings).where(firings.c.id == firing_id)).one_or_none()
    return None if row is None else document(row)


def count_open(connection: Connection) -> int:
    """Return how many misses are open."""
    return connection.execute(select(func.count()).select_from(firings).where(firings.c.open)).scalar_one()


def newest_of(connection: Connection, automation: str) -> dict[str, Any] | None:
    """Return an automation's newest firing."""
    query = select(firings).where(firings.c.automation == automation).order_by(firings.c.n.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else document(row)


def close_all(connection: Connection, automation: str) -> None:
    """End an automation's open misses without a resolve: its trigger was changed or removed (law S4)."""
    connection.execute(update(firings).where(firings.c.automation == automation, firings.c.open).values(open=False))


def close_keys(connection: Connection, state_keys: Collection[str]) -> None:
    """End the open misses of keys without a resolve: they were forgotten (law P8)."""
    connection.execute(_CLOSE, [{"of": key} for key in state_keys])


def newest_of_keys(connection: Connection, automation: str, state_keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the newest firing of each of these keys, as far as it is among the newest 10,000 of their automation."""
    recent = (
        select(firings.c.n, firings.c.state_key)
        .where(firings.c.automation == automation)
        .order_by(firings.c.n.desc())
        .limit(_RECENT)
        .subquery()
    )
    newest = select(func.max(recent.c.n)).where(recent.c.state_key.in_(state_keys)).group_by(recent.c.state_key)
    return {row.state_key: document(row) for row in connection.execute(select(firings).where(firings.c.n.in_(newest)))}


def note(connection: Connection, rows: Sequence[tuple[str, Micros, int | None, str]]) -> None:
    """Store decisions that ride with no event: (automation, moment, place or None, JSON document)."""
    if rows:
        names = ("automation", "at_us", "seq", "document")
        connection.execute(insert(decisions), [dict(zip(names, row, strict=True)) for row in rows])


def notes_of(connection: Connection, automation: str, *, limit: int) -> list[dict[str, Any]]:
    """Return an automation's newest decisions that ride with no event."""
    query = select(decisions).where(decisions.c.automation == automation).order_by(decisions.c.n.desc()).limit(limit)
    return [Decision(*json.loads(row.document)).document() for row in connection.execute(query)]


_CLOSE = update(firings).where(firings.c.open, firings.c.state_key == bindparam("of")).values(open=False)
_ADD = Bulk(
    tuple(column.name for column in firings.columns if column.name not in ("n", "resolved_by")),
    lambda dialect: dialect.insert(firings).on_conflict_do_nothing().inline(),
)
_KNOWN = select(firings.c.id).where(firings.c.id.in_(bindparam("ids", expanding=True)))
_BY_ID = select(firings).where(firings.c.id.in_(bindparam("ids", expanding=True)))
_RESOLVE = update(firings).where(firings.c.id == bindparam("of")).values(open=False, resolved_by=bindparam("by"))
