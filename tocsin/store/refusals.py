"""What came over the bus and is no event: kept as it came, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tocsin.schemas.moments import Micros
from tocsin.store.tables import refusals
from tocsin.store.writer import Transaction


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry of the bus that is no event: when it was received, its id there, why it is none, and its bytes."""

    n: int
    received_us: Micros
    entry: str
    reason: str
    body: bytes


def keep(tx: Transaction, *, entry: str, reason: str, body: bytes, received_us: Micros) -> None:
    """Keep an entry that is refused."""
    row = {"entry": entry, "reason": reason.replace("\0", "\\0"), "body": body, "received_us": received_us}
    tx.connection.execute(refusals.insert(), row)


def count(connection: Connection) -> int:
    """Return how many entries are kept as refused."""
    return connection.execute(select(func.count()).select_from(refusals)).scalar_one()


def newest(connection: Connection, *, limit: int) -> list[Refusal]:
    """Return the newest refusals, newest first."""
    rows = connection.execute(select(refusals).order_by(refusals.c.n.desc()).limit(limit))
    return [Refusal(row.n, row.received_us, row.entry, row.reason, bytes(row.body)) for row in rows]
