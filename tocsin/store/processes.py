"""The processes that run on a database: what each says of itself, and when it last did.

A process registers when it starts, beats about once a second, and leaves when it stops. One that was killed leaves a
row that beats no more: whoever looks decides from which age on a process counts as gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.schemas.moments import SECOND, Micros
from tocsin.store.tables import processes
from tocsin.store.writer import Transaction

BEAT_S = 1.0
"""How often a process says that it is there, in seconds."""

GONE_AFTER_US: Micros = 10 * SECOND
"""A process that has not beaten for so long counts as gone."""

_FORGOTTEN_US: Micros = 24 * 3600 * SECOND
"""The row of a process that was killed is kept so long, for whoever asks what has become of it."""


@dataclass(frozen=True, slots=True)
class Process:
    """One running process. `name` is never used again by another; `bus` is its bus without secrets, if it has one.

    `detail` is what it says of itself, as JSON; `beat_us` when it last did.
    """

    name: str
    roles: tuple[str, ...]
    host: str
    pid: int
    version: str
    bus: str | None = None
    started_us: Micros = 0
    beat_us: Micros = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


def register(tx: Transaction, process: Process) -> None:
    """Note that a process has started, now; rows of those that have been gone for a day are dropped."""
    connection = tx.connection
    connection.execute(delete(processes).where(processes.c.beat_us < tx.now_us - _FORGOTTEN_US))
    _put(connection, process, started_us=tx.now_us, now_us=tx.now_us)


def beat(tx: Transaction, process: Process, detail: Mapping[str, Any]) -> None:
    """Note that a process is alive, and what it says of itself; one whose row is gone is registered again."""
    said = json.dumps(detail)
    mine = update(processes).where(processes.c.name == process.name)
    if tx.connection.execute(mine.values(beat_us=tx.now_us, detail=said)).rowcount == 0:
        _put(tx.connection, process, started_us=process.started_us or tx.now_us, now_us=tx.now_us)


def leave(tx: Transaction, name: str) -> None:
    """Note that a process has stopped in good order."""
    tx.connection.execute(delete(processes).where(processes.c.name == name))


def live(connection: Connection, *, since_us: Micros) -> list[Process]:
    """Return the processes that have beaten since a moment, by role and name."""
    query = select(processes).where(processes.c.beat_us >= since_us)
    return [_read(row) for row in connection.execute(query.order_by(processes.c.roles, processes.c.name))]


def _put(connection: Connection, process: Process, *, started_us: Micros, now_us: Micros) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = {
        "name": process.name, "roles": ",".join(process.roles), "host": process.host, "pid": process.pid,
        "version": process.version, "bus": process.bus, "started_us": started_us, "beat_us": now_us,
        "detail": json.dumps(process.detail),
    }  # fmt: skip
    changes = {name: value for name, value in row.items() if name != "name"}
    connection.execute(
        dialect.insert(processes).values(row).on_conflict_do_update(index_elements=["name"], set_=changes)
    )


def _read(row: Any) -> Process:
    roles = tuple(part for part in row.roles.split(",") if part)
    return Process(
        row.name, roles, row.host, row.pid, row.version, row.bus, row.started_us, row.beat_us, json.loads(row.detail)
    )
