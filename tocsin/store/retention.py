"""What is dropped when it is old, in small bites (laws E2, P8).

A bite looks at the next few rows behind a place and drops those that nothing needs any more; the caller goes on where
it ended. Rows are written in the order of time; so the first bite that finds nothing old is the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, Connection, and_, bindparam, column, delete, func, select, table

from tocsin.schemas.moments import Micros
from tocsin.schemas.run import ENDED
from tocsin.store import partitions
from tocsin.store.firings import read_firing
from tocsin.store.partitions import Day
from tocsin.store.tables import (
    arrival_decisions,
    attempts,
    days,
    decisions,
    definitions,
    events,
    firings,
    identities,
    intents,
    outages,
    pauses,
    refusals,
    runs,
    shards,
    states,
)
from tocsin.store.writer import Transaction

BITE = 200
"""How many rows a bite looks at; the writer is held up by it, so it is small."""

IDENTITIES = 500
"""How many identities a bite drops whose events are gone already."""

LISTED = 5_000
"""How many states or runs are looked up at once, to be dropped in bites."""


@dataclass(frozen=True, slots=True)
class Bite:
    """How many things a bite dropped, and the place behind which the next one goes on; None: there is no next."""

    dropped: int
    place: int | None


# Events and their identities


@dataclass(frozen=True, slots=True)
class OldPart:
    """Old events in a table: those up to a place. `day` is what can be dropped whole, if none of them is needed."""

    table: str
    first_seq: int
    to_seq: int
    day: Day | None = None

    def has_any(self, seqs: Collection[int]) -> bool:
        """Return whether any of these places may be in it."""
        return any(self.first_seq <= seq <= self.to_seq for seq in seqs)


def old_parts(connection: Connection, *, before_us: Micros) -> list[OldPart]:
    """Return where there are events that were received before a moment and judged by every shard.

    A day of which only a part is old stays as it is: it is dropped whole, later.
    """
    judged: int = connection.execute(select(func.min(shards.c.cursor))).scalar() or 0
    rest = partitions.rest(connection)
    found = []
    for day in partitions.days(connection):
        if day.to_us <= before_us and (one := _old_part(connection, day.table, before_us)) is not None:
            whole = day if one.to_seq <= judged else None
            found.append(replace(one, to_seq=min(one.to_seq, judged), day=whole))
    if (one := _old_part(connection, rest, before_us)) is not None:
        found.append(replace(one, to_seq=min(one.to_seq, judged)))
    return found


def empty_days(connection: Connection, *, before_us: Micros) -> list[Day]:
    """Return the old days in which there is nothing (any more)."""
    old = (day for day in partitions.days(connection) if day.to_us <= before_us)
    return [day for day in old if _old_part(connection, day.table, before_us) is None]


def _old_part(connection: Connection, name: str, before_us: Micros) -> OldPart | None:
    part = _events_in(name)
    old = select(part.c.seq).where(part.c.received_us < before_us).limit(1)
    last = connection.execute(old.order_by(part.c.received_us.desc(), part.c.seq.desc())).scalar()
    first = connection.execute(old.order_by(part.c.received_us, part.c.seq)).scalar()
    return None if first is None or last is None else OldPart(name, first, last)


def _events_in(name: str) -> Any:
    return table(name, *(column(one) for one in ("seq", "received_us", "id", "source")))


def states_needing(connection: Connection, *, to_seq: int) -> Iterator[tuple[str, int, bytes]]:
    """Return (key, first place, blob) of the states that know events up to a place."""
    query = select(states.c.state_key, states.c.needs_seq, states.c.blob).where(states.c.needs_seq <= to_seq)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        yield row.state_key, row.needs_seq, bytes(row.blob)


def events_of_intents(connection: Connection) -> set[int]:
    """Return the places of the events that intents which have not ended answer to."""
    unfinished = select(intents.c.firing).where(intents.c.ended_us.is_(None))
    query = select(firings).where(firings.c.id.in_(unfinished)).execution_options(yield_per=1_000)
    return {seq for row in connection.execute(query) for seq in read_firing(row).events}


def drop_events(tx: Transaction, after_seq: int, *, old: OldPart, spared: Collection[int]) -> Bite:
    """Drop old events behind a place, with their identities, except those that are spared."""
    part = _events_in(old.table)
    query = select(part).where(part.c.seq > after_seq, part.c.seq <= old.to_seq).order_by(part.c.seq).limit(BITE)
    rows = tx.connection.execute(query).all()
    gone = [
        {"of_seq": row.seq, "of_id": row.id, "of_source": row.source, "of_us": row.received_us}
        for row in rows
        if row.seq not in spared
    ]
    if gone:
        for statement in (_DROP_IDENTITY, _DROP_DECISIONS, _DROP_EVENT):
            tx.connection.execute(statement, gone)
    return Bite(len(gone), rows[-1].seq if len(rows) == BITE else None)


def drop_identities(tx: Transaction, after_seq: int, *, taken_out: str) -> Bite:
    """Drop the identities of events that were taken out of the log, behind a place."""
    part = _events_in(taken_out)
    query = select(part).where(part.c.seq > after_seq).order_by(part.c.seq).limit(IDENTITIES)
    rows = tx.connection.execute(query).all()
    if rows:
        gone = [{"of_id": row.id, "of_source": row.source, "of_seq": row.seq} for row in rows]
        tx.connection.execute(_DROP_IDENTITY, gone)
    return Bite(len(rows), rows[-1].seq if len(rows) == IDENTITIES else None)


# Firings with their actions, decisions, runs


def drop_firings(tx: Transaction, after_n: int, *, before_us: Micros) -> Bite:
    """Drop old firings with their intents and attempts; open misses stay, and what is still to be done."""
    query = select(firings.c.n, firings.c.id, firings.c.open, firings.c.decided_us).where(firings.c.n > after_n)
    rows = tx.connection.execute(query.order_by(firings.c.n).limit(BITE)).all()
    old = [row.id for row in rows if row.decided_us < before_us]
    unfinished = select(intents.c.firing).where(intents.c.firing.in_(old), intents.c.ended_us.is_(None))
    needed = set(tx.connection.execute(unfinished).scalars()) | {row.id for row in rows if row.open}
    gone = [firing for firing in old if firing not in needed]
    if gone:
        of_these = select(intents.c.id).where(intents.c.firing.in_(gone))
        tx.connection.execute(delete(attempts).where(attempts.c.intent.in_(of_these)))
        tx.connection.execute(delete(intents).where(intents.c.firing.in_(gone)))
        tx.connection.execute(delete(firings).where(firings.c.id.in_(gone)))
    return Bite(len(gone), rows[-1].n if old and len(rows) == BITE else None)


def drop_decisions(tx: Transaction, after_n: int, *, before_us: Micros) -> Bite:
    """Drop old decisions that ride with no event."""
    return _drop_older(tx, after_n, n=decisions.c.n, at_us=decisions.c.at_us, before_us=before_us)


def drop_refusals(tx: Transaction, after_n: int, *, before_us: Micros) -> Bite:
    """Drop what came over the bus long ago and was no event."""
    return _drop_older(tx, after_n, n=refusals.c.n, at_us=refusals.c.received_us, before_us=before_us)


def _drop_older(tx: Transaction, after_n: int, *, n: Column[int], at_us: Column[int], before_us: Micros) -> Bite:
    rows = tx.connection.execute(select(n, at_us).where(n > after_n).order_by(n).limit(BITE)).all()
    old = [place for place, moment_us in rows if moment_us < before_us]
    if old:
        tx.connection.execute(delete(n.table).where(n.in_(old)))
    return Bite(len(old), rows[-1][0] if old and len(rows) == BITE else None)


def old_runs(connection: Connection, *, before_us: Micros) -> list[str]:
    """Return the ids of runs that ended before a moment, at most `LISTED`."""
    query = select(runs.c.id).where(runs.c.state.in_(ENDED), runs.c.ended_us < before_us)
    return list(connection.execute(query.limit(LISTED)).scalars())


def drop_runs(tx: Transaction, ids: Sequence[str]) -> int:
    """Drop runs that have ended; return how many."""
    return tx.connection.execute(delete(runs).where(runs.c.id.in_(ids), runs.c.state.in_(ENDED))).rowcount


# States, and what was in force


def idle_states(connection: Connection, *, before_us: Micros) -> list[str]:
    """Return the keys of states in which nothing was open since before a moment, at most `LISTED`."""
    query = select(states.c.state_key).where(states.c.idle_us < before_us)
    return list(connection.execute(query.limit(LISTED)).scalars())


def drop_states(tx: Transaction, keys: Sequence[str], *, before_us: Micros) -> int:
    """Drop those of these states in which still nothing is open since before a moment; return how many."""
    idle = (states.c.state_key.in_(keys), states.c.idle_us < before_us)
    return tx.connection.execute(delete(states).where(*idle)).rowcount


def drop_history(tx: Transaction, before_us: Micros) -> int:
    """Drop what was in force, paused or away before a moment and before every event that is kept; return how much."""
    oldest = tx.connection.execute(select(events.c.seq, events.c.received_us).order_by(events.c.seq).limit(1)).first()
    first_seq = tx.connection.execute(select(func.min(shards.c.cursor))).scalar() or 0
    if oldest is not None:
        first_seq, before_us = min(first_seq, oldest.seq), min(before_us, oldest.received_us)
    gone = (
        (outages, outages.c.end_us < before_us),
        (pauses, pauses.c.to_us < before_us),
        (definitions, and_(definitions.c.removed_seq < first_seq, definitions.c.created_us < before_us)),
    )
    dropped = 0
    for of, old in gone:
        some = select(of.c.n).where(old).order_by(of.c.n).limit(BITE)
        dropped += tx.connection.execute(delete(of).where(of.c.n.in_(some))).rowcount
    kept = select(func.max(days.c.from_us)).where(days.c.first_seq <= first_seq, days.c.from_us < before_us)
    tx.connection.execute(delete(days).where(days.c.from_us < kept.scalar_subquery()))
    return dropped


_DROP_EVENT = delete(events).where(events.c.seq == bindparam("of_seq"), events.c.received_us == bindparam("of_us"))
_DROP_DECISIONS = delete(arrival_decisions).where(
    arrival_decisions.c.seq == bindparam("of_seq"), arrival_decisions.c.received_us == bindparam("of_us")
)
_DROP_IDENTITY = delete(identities).where(
    identities.c.id == bindparam("of_id"),
    identities.c.source == bindparam("of_source"),
    identities.c.seq == bindparam("of_seq"),  # it may have come again, once its identity was dropped
)
