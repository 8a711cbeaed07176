"""What the database says: in the end, and whether everything has come to rest."""

from __future__ import annotations

from sqlalchemy import Connection, select

from tests.crash import records
from tocsin.store.tables import refusals

ALWAYS_DUE = ("each-minute",)
"""Automations of which something is due again and again."""


def is_at_rest(connection: Connection) -> bool:
    """Return whether everything was judged and done, and nothing but the next minute is due."""
    return records.is_at_rest(connection, always_due=ALWAYS_DUE)


def refused(connection: Connection) -> list[tuple[str, str]]:
    """Return what came over the bus and was no event: (entry, reason)."""
    return [(row.entry, row.reason) for row in connection.execute(select(refusals))]
