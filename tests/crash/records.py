"""What the database says at the end."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, select

from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import HOUR, Micros
from tocsin.schemas.run import ENDED
from tocsin.store import definitions, log, states
from tocsin.store.definitions import Version
from tocsin.store.firings import read_firing
from tocsin.store.states import Cursor
from tocsin.store.tables import (
    arrival_decisions,
    attempts,
    decisions,
    firings,
    identities,
    intents,
    queues,
    runs,
    shards,
)
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
    states: dict[int, dict[str, bytes]]
    cursors: dict[int, Cursor]
    head_seq: int
    outages: list[tuple[Micros, Micros]]
    intents: list[Row]
    attempts: list[Row]
    runs: list[Row]
    queues: list[Row]
    integrity: str


def read(connection: Connection) -> Records:
    """Read everything on one snapshot."""
    versions = definitions.in_force(connection, kind="automation")
    return Records(
        arrivals=log.after(connection, 0, limit=1 << 31),
        identities={(row.source, row.id): row.seq for row in connection.execute(select(identities))},
        riding=_riding(connection),
        alone=[json.loads(row.document) for row in connection.execute(select(decisions).order_by(decisions.c.n))],
        versions={one.name: (one, Automation.model_validate_json(one.document)) for one in versions},
        firings=[read_firing(row) for row in connection.execute(select(firings).order_by(firings.c.n))],
        states=_states(connection),
        cursors={shard: states.cursor_of(connection, shard) for shard in _shards(connection)},
        head_seq=log.newest(connection).seq,
        outages=log.outages_of(connection),
        intents=list(connection.execute(select(intents).order_by(intents.c.n)).mappings()),
        attempts=list(connection.execute(select(attempts).order_by(attempts.c.n)).mappings()),
        runs=list(connection.execute(select(runs).order_by(runs.c.n)).mappings()),
        queues=list(connection.execute(select(queues)).mappings()),
        integrity=_integrity(connection),
    )


def _shards(connection: Connection) -> list[int]:
    return list(connection.execute(select(shards.c.shard).order_by(shards.c.shard)).scalars())


def _states(connection: Connection) -> dict[int, dict[str, bytes]]:
    """Return the stored states of each shard."""
    found: dict[int, dict[str, bytes]] = defaultdict(dict)
    for row in connection.execute(select(state_table)):
        found[row.shard][row.state_key] = bytes(row.blob)
    return found


def _riding(connection: Connection) -> dict[int, list[Any]]:
    """Return what each arrival did, in the order of shards."""
    found: dict[int, list[Any]] = defaultdict(list)
    noted = select(arrival_decisions).order_by(arrival_decisions.c.seq, arrival_decisions.c.shard)
    for row in connection.execute(noted):
        found[row.seq] += json.loads(bytes(row.document))
    return dict(found)


def _integrity(connection: Connection) -> str:
    """Return `ok`, or what SQLite finds wrong with its file; PostgreSQL looks after its own."""
    if connection.dialect.name != "sqlite":
        return "ok"
    return str(connection.exec_driver_sql("PRAGMA integrity_check").scalar())


def is_at_rest(connection: Connection, *, always_due: Collection[str] = ()) -> bool:
    """Return whether everything was judged and done, and nothing is due within the next hour.

    Automations that are `always_due` are left out: something of theirs comes again and again.
    """
    head = log.newest(connection)
    cursors = [states.cursor_of(connection, shard) for shard in _shards(connection)]
    soon = and_(state_table.c.wake_us < head.received_us + HOUR, state_table.c.automation.not_in(always_due))
    unfinished = (
        select(func.count()).select_from(state_table).where(soon),
        select(func.count()).select_from(intents).where(intents.c.ended_us.is_(None)),
        select(func.count()).select_from(runs).where(runs.c.state.not_in(ENDED)),
    )
    judged = all(cursor.seq == head.seq for cursor in cursors)
    return judged and not any(connection.execute(query).scalar() for query in unfinished)
