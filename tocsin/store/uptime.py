"""The ledger of law S2: stretches of time in which events could be received."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from tocsin.schemas.moments import Micros
from tocsin.store.tables import head, shards, uptime


def stretches(connection: Connection) -> list[tuple[Micros, Micros]]:
    """Return all stretches (from, to), the oldest first."""
    return [(row.from_us, row.to_us) for row in connection.execute(select(uptime).order_by(uptime.c.n))]


def begin(connection: Connection, now_us: Micros) -> None:
    """Begin a stretch."""
    connection.execute(insert(uptime).values(from_us=now_us, to_us=now_us))


def extend(connection: Connection, now_us: Micros) -> None:
    """Let the newest stretch reach up to now."""
    newest = select(func.max(uptime.c.n)).scalar_subquery()
    connection.execute(update(uptime).where(uptime.c.n == newest).values(to_us=now_us))


def newest_moment(connection: Connection) -> Micros:
    """Return the newest moment that the database knows of: received, judged or up; 0 for an empty one.

    A clock that was set back while the server was down must not bring events before verdicts that were given (law S1).
    """
    known = (select(head.c.received_us), select(func.max(shards.c.judged_us)), select(func.max(uptime.c.to_us)))
    return max(connection.execute(query).scalar() or 0 for query in known)
