"""What the database says at the end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import HOUR, Micros
from tocsin.schemas.run import ENDED
from tocsin.store import definitions, log, states
from tocsin.store.definitions import Version
from tocsin.store.firings import read_firing
from tocsin.store.states import Cursor
from tocsin.store.tables import attempts, decisions, events, firings, identities, intents, queues, runs, uptime
from tocsin.store.tables import states as state_table

Row = RowMapping


@dataclass(frozen=True)
class Records:
    """All that is needed to account; rows are in the order in which they were written."""

    arrivals: list[Arrival]
    identities: dict[tuple[str, str], int]
    riding: dict[int, list[Any]]
    alone: list[Any]
    versions: dict[str, tuple[Version, Automation]]
    firings: list[Firing]
    states: dict[str, bytes]
    cursor: Cursor
    head_seq: int
    stretches: list[tuple[Micros, Micros]]
    intents: list[Row]
    attempts: list[Row]
    runs: list[Row]
    queues: list[Row]
    integrity: str


def read(connection: Connection) -> Records:
    """Read everything on one snapshot."""
    noted = select(events.c.seq, events.c.decisions).where(events.c.decisions.is_not(None))
    versions = definitions.in_force(connection, kind="automation")
    return Records(
        arrivals=log.after(connection, 0, limit=1 << 31),
        identities={(row.source, row.id): row.seq for row in connection.execute(select(identities))},
        riding={row.seq: json.loads(bytes(row.decisions)) for row in connection.execute(noted)},
        alone=[json.loads(row.document) for row in connection.execute(select(decisions).order_by(decisions.c.n))],
        versions={one.name: (one, Automation.model_validate_json(one.document)) for one in versions},
        firings=[read_firing(row) for row in connection.execute(select(firings).order_by(firings.c.n))],
        states={row.state_key: bytes(row.blob) for row in connection.execute(select(state_table))},
        cursor=states.cursor_of(connection, 0),
        head_seq=log.newest(connection)[0],
        stretches=[(row.from_us, row.to_us) for row in connection.execute(select(uptime).order_by(uptime.c.n))],
        intents=list(connection.execute(select(intents).order_by(intents.c.n)).mappings()),
        attempts=list(connection.execute(select(attempts).order_by(attempts.c.n)).mappings()),
        runs=list(connection.execute(select(runs).order_by(runs.c.n)).mappings()),
        queues=list(connection.execute(select(queues)).mappings()),
        integrity=_integrity(connection),
    )


def _integrity(connection: Connection) -> str:
    """Return `ok`, or what SQLite finds wrong with its file; PostgreSQL looks after its own."""
    if connection.dialect.name != "sqlite":
        return "ok"
    return str(connection.exec_driver_sql("PRAGMA integrity_check").scalar())


def is_at_rest(connection: Connection) -> bool:
    """Return whether everything was judged and done, and nothing is due within the next hour."""
    head_seq, _ = log.newest(connection)
    cursor = states.cursor_of(connection, 0)
    soon = state_table.c.wake_us < cursor.judged_us + HOUR
    unfinished = (
        select(func.count()).select_from(state_table).where(soon),
        select(func.count()).select_from(intents).where(intents.c.ended_us.is_(None)),
        select(func.count()).select_from(runs).where(runs.c.state.not_in(ENDED)),
    )
    return cursor.seq == head_seq and not any(connection.execute(query).scalar() for query in unfinished)
