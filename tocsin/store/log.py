"""The log: the one order of arrivals, and its time (laws E1, E2, E3, S2).

Rule 1: `append` is the only way in, for what others send and for the engine's own events alike.
Rule 2: who appends holds the row of `head`, so no place becomes visible before a lower one, in one process or many.
Rule 3: a known identity is dropped here and nowhere else.
Rule 4: the time of the log is moved by receivers only: by processes that can take events, or by the times at which a
bus took them. What others append is received at the time at which the log stands. So while the log's time stands still
nobody could be heard, which is what law S2 calls an outage; and when it has come to a moment, everything received
before is in the log (law S1).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, bindparam, func, select, update

from tocsin.schemas.event import Arrival, Event, arrival, identified, read_deep
from tocsin.schemas.firing import Decision
from tocsin.schemas.identity import uuid7s
from tocsin.schemas.moments import DAY, Micros
from tocsin.store.bulk import Bulk, Row
from tocsin.store.tables import INDEXED_CHARS, NOBODY_YET, arrival_decisions, days, events, head, identities, outages
from tocsin.store.writer import Fresh, Transaction

OWN_SOURCE = "tocsin"
"""The source of the engine's own events."""

_to_json = Event.__pydantic_serializer__.to_json
_from_json = Event.__pydantic_validator__.validate_json
V = TypeVar("V")
_IN = 500  # the most values in one IN list


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way into the log.

    `chain` names the automations that led to it (law F5), `received_us` is when a bus took it (None: now), `trace` the
    W3C `traceparent` that it came with.
    """

    event: Event
    chain: tuple[str, ...] = ()
    received_us: Micros | None = None
    trace: str | None = None


class Head(NamedTuple):
    """The newest place of the log, its time, and the number of the newest outage (0: there is none)."""

    seq: int
    received_us: Micros
    outages: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of an append: the new arrivals, how many were known already, and all ids in the order given."""

    arrivals: list[Arrival]
    duplicates: int
    ids: list[str]


def append(tx: Transaction, drafts: Sequence[Draft]) -> Appended:
    """Append events in their order and give each its place and its `received`; known identities are dropped.

    An event without an id gets a UUIDv7. Evaluators are told after the commit.
    """
    connection = tx.connection
    before = _hold(connection)
    time = _Time(tx, before)
    fresh_ids = uuid7s(max(tx.now_us, before.received_us), len(drafts))
    arrivals: list[Arrival] = []
    for seq, draft in enumerate(drafts, start=before.seq + 1):
        event = draft.event if draft.event.id is not None else identified(draft.event, next(fresh_ids))
        received_us = time.of(draft.received_us)
        arrivals.append(arrival(event, seq=seq, received_us=received_us, chain=draft.chain, trace=draft.trace))
    ids = [placed.event.id or "" for placed in arrivals]
    new = _unknown(connection, arrivals)
    if new:
        _INSERT.execute(connection, [_row(placed) for placed in new])
        tx.fresh.append(Fresh(before.seq, new))
    time.keep(connection, new, seq=new[-1].seq if new else before.seq)
    return Appended(new, len(arrivals) - len(new), ids)


def advance(tx: Transaction, to_us: Micros | None = None) -> Micros:
    """Move the time of the log to a moment at which events could be received (None: now); return where it stands."""
    before = _hold(tx.connection)
    time = _Time(tx, before)
    time.of(to_us)
    time.keep(tx.connection, [], seq=before.seq)
    return time.now_us


class _Time:
    """The time of the log on its way through one transaction (rule 4)."""

    def __init__(self, tx: Transaction, before: Head) -> None:
        self._before = before
        self._blind_after_us = tx.blind_after_us
        self._receives = tx.receives
        self._own_us = tx.now_us if tx.receives or not before.received_us else 0
        self._heard = before.outages != NOBODY_YET
        self._gaps: list[tuple[Micros, Micros]] = []
        self.now_us = before.received_us

    def of(self, received_us: Micros | None) -> Micros:
        """Go on to when something was received, never back; a gap on the way is an outage."""
        to_us = self._own_us if received_us is None else received_us
        if to_us > self.now_us:
            if self._heard and to_us - self.now_us > self._blind_after_us:
                self._gaps.append((self.now_us, to_us))
            self.now_us = to_us
        self._heard = self._heard or self._receives or received_us is not None
        return self.now_us

    def keep(self, connection: Connection, new: Sequence[Arrival], *, seq: int) -> None:
        """Store where the log stands now, and with which of the new arrivals a day began."""
        before = self._before
        newest = before.outages + len(self._gaps) + (self._heard and before.outages == NOBODY_YET)
        if (seq, self.now_us, newest) == before:
            return
        connection.execute(_MOVE_HEAD, {"to_seq": seq, "to_received_us": self.now_us, "to_outages": newest})
        if self._gaps:
            rows = [
                {"n": n, "start_us": start_us, "end_us": end_us}
                for n, (start_us, end_us) in enumerate(self._gaps, start=newest - len(self._gaps) + 1)
            ]
            connection.execute(outages.insert(), rows)
        day = before.received_us // DAY
        if self.now_us // DAY > day:
            marks = [(one.received_us // DAY, one.seq) for one in new] + [(self.now_us // DAY, seq + 1)]
            firsts = {number: place for number, place in reversed(marks) if number > day}
            rows = [{"from_us": number * DAY, "first_seq": place} for number, place in firsts.items()]
            connection.execute(days.insert(), rows)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log: its number and when what stands there was received."""

    seq: int
    received_us: Micros


def next_place(tx: Transaction) -> Place:
    """Return the place that the next event of this transaction will have; it is held until the transaction ends."""
    before = _hold(tx.connection)
    return Place(before.seq + 1, _Time(tx, before).of(None))


def _hold(connection: Connection) -> Head:
    """Return where the log stands; nobody else appends until the transaction ends."""
    return Head(*connection.execute(_HEAD).one())


def _unknown(connection: Connection, arrivals: list[Arrival]) -> list[Arrival]:
    """Keep the identities of the arrivals and return those that were not known (law E2)."""
    rows = [(placed.event.id, placed.event.source, placed.seq) for placed in arrivals]
    if _KEEP.execute(connection, rows) == len(rows):
        return arrivals
    seqs: dict[tuple[str, str], int] = {}
    for part in _parts(sorted({placed.event.id or "" for placed in arrivals})):
        for found in connection.execute(_IDENTITIES, {"ids": part}):
            seqs[found.id, found.source] = found.seq
    return [placed for placed in arrivals if seqs.get((placed.event.id or "", placed.event.source)) == placed.seq]


def _row(placed: Arrival) -> Row:
    event = placed.event
    chain = json.dumps(placed.chain) if placed.chain else None
    return (placed.seq, placed.received_us, placed.time_us, event.source, event.id, event.event,
            event.resource["id"], _to_json(event), chain, placed.trace)  # fmt: skip


def read_arrival(row: Any) -> Arrival:
    """Return the arrival that a row of the log holds."""
    chain = tuple(json.loads(row.chain)) if row.chain else ()
    body = bytes(row.body)
    try:
        event = _from_json(body)
    except ValueError:  # what was not parsed from JSON on its way in may be nested deeper than that parser goes
        event = read_deep(json.loads(body))
    return Arrival(event, row.seq, row.received_us, row.time_us, chain, row.trace)


def newest(connection: Connection) -> Head:
    """Return where the log stands; (0, 0, `NOBODY_YET`) for one that nobody has used."""
    return Head(*connection.execute(_READ_HEAD).one())


def outages_of(connection: Connection) -> list[tuple[Micros, Micros]]:
    """Return all stretches (from, to) in which no event could be received, the oldest first (law S2)."""
    return [(row.start_us, row.end_us) for row in connection.execute(select(outages).order_by(outages.c.n))]


def after(connection: Connection, seq: int, *, limit: int) -> list[Arrival]:
    """Return the arrivals behind a place, in order, at most `limit`."""
    found: list[Arrival] = []
    for day in _days(connection, from_seq=seq + 1):
        query = day.bound(_AFTER)
        values = {"after_seq": seq, "most": limit - len(found)}
        found += [read_arrival(row) for row in connection.execute(query, values)]
        if len(found) >= limit:
            break
    return found


def by_seq(connection: Connection, seqs: Collection[int]) -> dict[int, Arrival]:
    """Return the arrivals at these places; what retention has dropped is left out."""
    found: dict[int, Arrival] = {}
    ordered = sorted(set(seqs))
    for day in _days(connection, from_seq=ordered[0]) if ordered else ():
        here = ordered[bisect_left(ordered, day.first_seq) : bisect_left(ordered, day.next_seq)]
        for part in _parts(here):
            for row in connection.execute(day.bound(_BY_SEQ), {"seqs": part}):
                found[row.seq] = read_arrival(row)
    return found


class _Day(NamedTuple):
    """A stretch of the log: a day, or all of it; from one place up to before another, and likewise of `received`."""

    first_seq: float = 0
    next_seq: float = math.inf
    from_us: Micros | None = None
    to_us: Micros | None = None

    def bound(self, query: Select[Any]) -> Select[Any]:
        """Have a query look in the partitions of this day only: in all, it takes a hundred times as long."""
        if self.from_us is not None:
            query = query.where(events.c.received_us >= self.from_us)
        return query if self.to_us is None else query.where(events.c.received_us < self.to_us)


def _days(connection: Connection, *, from_seq: int) -> Iterator[_Day]:
    """Yield the days of the log from the one of a place on; SQLite has no partitions, there it is all one."""
    if connection.dialect.name == "sqlite":
        yield _Day()
        return
    rows = connection.execute(_DAYS, {"from_seq": from_seq}).all()
    before = _Day()
    for row in rows:
        if row.first_seq > max(from_seq, before.first_seq):  # or else nothing was received in between
            yield before._replace(next_seq=row.first_seq, to_us=row.from_us)
        before = _Day(first_seq=row.first_seq, from_us=row.from_us)
    yield before


def find(connection: Connection, event_id: str, source: str | None = None) -> Arrival | None:
    """Return the event with this id, the newest one if several sources have used it."""
    query = select(identities.c.seq).where(identities.c.id == event_id)
    if source is not None:
        query = query.where(identities.c.source == source)
    seqs = connection.execute(query.order_by(identities.c.seq.desc())).scalars().all()
    return by_seq(connection, seqs[:1]).get(seqs[0]) if seqs else None


def since(
    connection: Connection, *, from_us: Micros, to_seq: int, after_seq: int, limit: int, name: str | None = None
) -> list[Arrival]:
    """Return stored arrivals received from a moment on, up to a place, in order (for priming, law O3).

    With `name`, only the events of that name.
    """
    first_seq = connection.execute(_FIRST, {"from_us": from_us}).scalar()
    if first_seq is None:
        return []
    query = select(*_STORED).where(events.c.seq >= first_seq, events.c.seq > after_seq, events.c.seq <= to_seq)
    query = query.where(events.c.received_us >= from_us)
    if name is not None:
        query = query.where(exactly(connection, events.c.event, name))
    return [read_arrival(row) for row in connection.execute(query.order_by(events.c.seq).limit(limit))]


def exactly(connection: Connection, column: Column[str], value: str) -> ColumnElement[bool]:
    """Return the condition that an event's name or resource is this one, in words for which there is an index."""
    if connection.dialect.name == "sqlite":
        return column == value
    return and_(func.left(column, INDEXED_CHARS) == value[:INDEXED_CHARS], column == value)


def note_decisions(connection: Connection, shard: int, decisions: Iterable[tuple[int, Micros, bytes]]) -> None:
    """Write what arrivals did, as a shard judged them: their place, their `received`, and a JSON document."""
    _NOTE.execute(connection, [(seq, shard, received_us, document) for seq, received_us, document in decisions])


def decisions_of(connection: Connection, seq: int) -> list[Decision]:
    """Return what the arrival at a place did."""
    query = select(arrival_decisions.c.document).where(arrival_decisions.c.seq == seq)
    documents = connection.execute(query.order_by(arrival_decisions.c.shard)).scalars()
    return [Decision(*fields) for document in documents for fields in json.loads(bytes(document))]


def _parts(values: Sequence[V]) -> Iterable[Sequence[V]]:
    return (values[start : start + _IN] for start in range(0, len(values), _IN))


_STORED = (events.c.seq, events.c.received_us, events.c.time_us, events.c.body, events.c.chain, events.c.trace)
_READ_HEAD = select(head.c.seq, head.c.received_us, head.c.outages)
_HEAD = _READ_HEAD.with_for_update()  # SQLite has one writer and ignores it
_MOVE_HEAD = update(head).values(
    seq=bindparam("to_seq"), received_us=bindparam("to_received_us"), outages=bindparam("to_outages")
)
_INSERT = Bulk(
    ("seq", "received_us", "time_us", "source", "id", "event", "resource_id", "body", "chain", "trace"),
    lambda dialect: dialect.insert(events),
)
_KEEP = Bulk(("id", "source", "seq"), lambda dialect: dialect.insert(identities).on_conflict_do_nothing())
_IDENTITIES = select(identities).where(identities.c.id.in_(bindparam("ids", expanding=True)))
_FIRST = (  # time never goes back along the log, so the first of a time has the lowest place
    select(events.c.seq)
    .where(events.c.received_us >= bindparam("from_us"))
    .order_by(events.c.received_us, events.c.seq)
    .limit(1)
)
_AFTER = select(*_STORED).where(events.c.seq > bindparam("after_seq")).order_by(events.c.seq).limit(bindparam("most"))
_BY_SEQ = select(*_STORED).where(events.c.seq.in_(bindparam("seqs", expanding=True)))
_DAY_OF = select(func.max(days.c.from_us)).where(days.c.first_seq <= bindparam("from_seq"))
_DAYS = select(days).where(days.c.from_us >= func.coalesce(_DAY_OF.scalar_subquery(), 0)).order_by(days.c.from_us)
_NOTE = Bulk(("seq", "shard", "received_us", "document"), lambda dialect: dialect.insert(arrival_decisions))
