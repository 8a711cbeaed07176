"""What stands for the definitions files that are in force: who finds them unchanged need not read them again."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from tocsin.store.tables import applied


def digest(connection: Connection) -> str:
    """Return the digest of the files whose definitions are in force; empty if there is none."""
    return connection.execute(select(applied.c.digest)).scalar_one_or_none() or ""


def note(connection: Connection, digest: str) -> None:
    """Keep the digest of the files whose definitions are put into force."""
    if connection.execute(update(applied).values(digest=digest)).rowcount == 0:
        connection.execute(insert(applied).values(one=1, digest=digest))
