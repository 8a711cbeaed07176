"""Queues: which are paused, by whom, and how much waits and runs in each.

What is declared about a queue (its concurrency) is its definition; here is what happens to it. A queue has a row from
its first run or pause on. A paused queue starts nothing; what runs goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.schemas.event import Event
from tocsin.schemas.moments import iso
from tocsin.schemas.run import RunState
from tocsin.store.log import OWN_SOURCE, Draft, append
from tocsin.store.tables import queues, runs
from tocsin.store.writer import Signal, Transaction


def ensure(tx: Transaction, name: str) -> None:
    """Give the queue its row, unless it has one."""
    dialect = postgresql if tx.connection.dialect.name == "postgresql" else sqlite
    tx.connection.execute(dialect.insert(queues).values(name=name, paused=False).on_conflict_do_nothing())


def exists(conn: Connection, name: str) -> bool:
    """Return whether the queue was ever used or paused."""
    return conn.execute(select(queues.c.name).where(queues.c.name == name)).first() is not None


def pause(tx: Transaction, name: str, by: str, *, chain: Sequence[str] = ()) -> bool:
    """Start nothing more from this queue; return whether that is new (then `queue.paused` is emitted).

    `by` says who asked, for example `api` or `automation/three-failures`; `chain` is the chain of automations that
    led to it, the one that asks included (law F5).
    """
    ensure(tx, name)
    values = {"paused": True, "paused_by": by, "paused_us": tx.now_us}
    done = tx.connection.execute(update(queues).where(queues.c.name == name, ~queues.c.paused).values(values))
    if done.rowcount:
        append(tx, [Draft(_event("queue.paused", name, by), tuple(chain))])
    return bool(done.rowcount)


def resume(tx: Transaction, name: str, by: str, *, chain: Sequence[str] = ()) -> bool:
    """Start runs from this queue again; return whether it was paused (then `queue.resumed` is emitted)."""
    values = {"paused": False, "paused_by": None, "paused_us": None}
    done = tx.connection.execute(update(queues).where(queues.c.name == name, queues.c.paused).values(values))
    if done.rowcount:
        append(tx, [Draft(_event("queue.resumed", name, by), tuple(chain))])
        tx.tell(Signal.RUNS)
    return bool(done.rowcount)


def _event(what: str, name: str, by: str) -> Event:
    automation = [{"id": by, "role": "automation"}] if by.startswith("automation/") else []
    return Event(
        event=what,
        resource={"id": f"queue/{name}", "queue": name},
        related=automation,
        payload={"by": by},
        source=OWN_SOURCE,
    )


def states(conn: Connection) -> dict[str, dict[str, Any]]:
    """Return every queue that was used or paused: `{paused, paused_by, paused_at, waiting, running}` by name.

    A run that a worker has taken, begun or not, counts as running.
    """
    taken = runs.c.state != RunState.PENDING
    open_states = [RunState.PENDING, RunState.CLAIMED, RunState.RUNNING]
    count = select(runs.c.queue, taken.label("taken"), func.count().label("number"))
    groups = conn.execute(count.where(runs.c.state.in_(open_states)).group_by(runs.c.queue, taken))
    number = {(row.queue, bool(row.taken)): row.number for row in groups}
    return {
        row.name: {
            "paused": row.paused,
            "paused_by": row.paused_by,
            "paused_at": iso(row.paused_us),
            "waiting": number.get((row.name, False), 0),
            "running": number.get((row.name, True), 0),
        }
        for row in conn.execute(select(queues).order_by(queues.c.name))
    }
