"""What the database shows of how the engine is: a look that is cheap however much is stored.

Whatever could be many is counted up to `COUNTED_MAX` only, along an index; what is asked for by time is the first row
of an index. So a look costs about the same in a database of a day and in one of a year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select, text

from tocsin.schemas.moments import Micros
from tocsin.schemas.run import RunState
from tocsin.store import leases, log, processes, states
from tocsin.store.intents import IntentState, next_due
from tocsin.store.leases import Held
from tocsin.store.processes import GONE_AFTER_US, Process
from tocsin.store.tables import events, firings, intents, outages, queues, refusals, runs

COUNTED_MAX = 100_000
"""What is more than so many is not counted to its end."""

_LIVE_RUNS = (RunState.PENDING, RunState.CLAIMED, RunState.RUNNING)
_DEAD = text(f"state = '{IntentState.DEAD}'")  # a literal, or else its index could not be used


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at the database.

    `received_us` is the time of the log, `unjudged_us` when the oldest event was received that some shard has not
    judged (None: all are), `next_us` the next moment at which a state wants to be called, `due_us` the first moment at
    which an intent that waits wants to be performed. `shards` may store how far they are a second late.
    """

    at_us: Micros
    seq: int
    received_us: Micros
    outages: int
    last_outage: tuple[Micros, Micros] | None
    shards: tuple[Held, ...]
    unjudged_us: Micros | None
    next_us: Micros | None
    due_us: Micros | None
    intents: Mapping[str, int]
    open_misses: int
    runs: Mapping[str, int]
    paused: tuple[str, ...]
    processes: tuple[Process, ...] = field(default=())
    refusals: int = 0
    size_bytes: int = 0

    @property
    def judged_seq(self) -> int:
        """The place up to which every shard has judged, as far as that is stored."""
        return min((shard.seq for shard in self.shards), default=0)


def look(connection: Connection, *, now_us: Micros, judged_seq: int = 0) -> Vitals:
    """Return how things are, in one snapshot; `now_us` is what the caller's clock says.

    `judged_seq` is up to where the caller knows everything to be judged, which may not be stored yet.
    """
    head = log.newest(connection)
    shards = tuple(leases.held(connection, now_us))
    judged_seq = max(judged_seq, min((shard.seq for shard in shards), default=0))
    behind = select(events.c.received_us).where(events.c.seq > judged_seq).order_by(events.c.seq).limit(1)
    wakes = [states.next_wake(connection, shard.shard) for shard in shards]
    newest_outage = select(outages.c.start_us, outages.c.end_us).order_by(outages.c.n.desc()).limit(1)
    last_outage = connection.execute(newest_outage).one_or_none()
    return Vitals(
        at_us=now_us,
        seq=head.seq,
        received_us=head.received_us,
        outages=max(head.outages, 0),
        last_outage=None if last_outage is None else (last_outage.start_us, last_outage.end_us),
        shards=shards,
        unjudged_us=connection.execute(behind).scalar() if judged_seq < head.seq else None,
        next_us=min((wake_us for wake_us in wakes if wake_us is not None), default=None),
        due_us=next_due(connection),
        intents=_intents(connection),
        open_misses=_count(connection, select(firings.c.n).where(text("open"))),
        runs=_runs(connection),
        paused=tuple(connection.execute(_PAUSED).scalars()),
        processes=tuple(processes.live(connection, since_us=now_us - GONE_AFTER_US)),
        refusals=connection.execute(select(func.coalesce(func.max(refusals.c.n), 0))).scalar_one(),
        size_bytes=_size(connection),
    )


_PAUSED = select(queues.c.name).where(queues.c.paused).order_by(queues.c.name)


def _count(connection: Connection, query: Select[Any]) -> int:
    bounded = query.limit(COUNTED_MAX).subquery()
    return connection.execute(select(func.count()).select_from(bounded)).scalar_one()


def _intents(connection: Connection) -> dict[str, int]:
    open_ = intents.c.ended_us.is_(None)
    found = {
        str(state): _count(connection, select(intents.c.n).where(and_(open_, intents.c.state == state)))
        for state in (IntentState.WAITING, IntentState.RUNNING)
    }
    return found | {str(IntentState.DEAD): _count(connection, select(intents.c.n).where(_DEAD))}


def _runs(connection: Connection) -> dict[str, int]:
    return {str(state): _count(connection, select(runs.c.n).where(runs.c.state == state)) for state in _LIVE_RUNS}


def _size(connection: Connection) -> int:
    """Return how many bytes the database takes."""
    if connection.dialect.name == "sqlite":
        pages: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return pages * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
