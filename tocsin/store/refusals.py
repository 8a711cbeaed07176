"""What came over the bus and is no event: kept as it came, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from tocsin.schemas.moments import Micros, iso
from tocsin.store.page import Page, decode_cursor, page_of
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
    return [_read(row) for row in connection.execute(_NEWEST.limit(limit))]


def page(connection: Connection, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Return refusals as JSON data, newest first; what is not UTF-8 in a body is replaced.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    query = _NEWEST if cursor is None else _NEWEST.where(refusals.c.n < decode_cursor(cursor))
    found = [_read(row) for row in connection.execute(query.limit(limit + 1))]
    rows: list[dict[str, Any]] = [
        {"n": one.n, "received": iso(one.received_us), "entry": one.entry, "reason": one.reason,
         "body": one.body.decode(errors="replace")}
        for one in found
    ]  # fmt: skip
    return page_of(rows, limit=limit, place="n")


def _read(row: Row[Any]) -> Refusal:
    return Refusal(row.n, row.received_us, row.entry, row.reason, bytes(row.body))


_NEWEST = select(refusals).order_by(refusals.c.n.desc())
