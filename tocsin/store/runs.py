"""Runs of flows: every step is one transaction that checks the step, stores it and emits its event.

Rule 1: `schemas/run.py` says which state follows which; `_move` is the only function here that changes a state.
Rule 2: an attempt belongs to at most one worker, which starts, ends or releases it and shows it as it was claimed; a
worker that was given up learns so from the refusal, and its process must end.
Rule 3: an attempt begins at most once: `start` stores the process before that process may do anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.errors import IllegalTransition, InvalidInput, NotFound, Problem
from tocsin.schemas.moments import Micros
from tocsin.schemas.run import (
    DEFAULT_QUEUE,
    ENDED,
    HELD,
    TRANSITIONS,
    Ending,
    Run,
    RunState,
    attempt_document,
    json_text,
    run_event,
)
from tocsin.store import queues
from tocsin.store.log import Draft, append
from tocsin.store.page import Page, decode_cursor, encode_cursor
from tocsin.store.tables import queues as queue_table
from tocsin.store.tables import runs
from tocsin.store.writer import Signal, Transaction

ATTEMPTS_KEPT = 20
ERROR_CHARS = 4_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def create(
    tx: Transaction,
    *,
    flow: str,
    queue: str,
    parameters: Mapping[str, JsonValue],
    run_id: str,
    automation: str | None = None,
    firing: str | None = None,
    chain: Sequence[str] = (),
) -> Run:
    """Add a run that waits in its queue; one with this id is returned as it is.

    `chain` is the chain of automations that led to it, `automation` included (law F5).

    Raises:
        InvalidInput: the id can not name a file, or the parameters can not be handed over (see `json_text`).
    """
    if not _ID.fullmatch(run_id):
        message = f"{run_id!r} can not be the id of a run: use up to 100 letters, digits, `.`, `_` and `-`"
        raise InvalidInput([Problem(message=message, field="id")])
    queues.ensure(tx, queue)
    dialect = postgresql if tx.connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(runs).values(
        id=run_id, flow=flow, queue=queue, state=RunState.PENDING, parameters=_parameters(parameters), attempt=1,
        not_before_us=tx.now_us, created_us=tx.now_us, automation=automation, firing=firing, chain=_dump(list(chain)),
        detail="{}",
    )  # fmt: skip
    new = tx.connection.execute(row.on_conflict_do_nothing()).rowcount
    run = _of(tx, run_id)
    if new:
        append(tx, [Draft(run_event(run, follows=None), run.chain)])
        tx.tell(Signal.RUNS)
    return run


def claim(tx: Transaction, *, owner: str, limits: Mapping[str, int], limit: int, lease_us: Micros) -> list[Run]:
    """Take up to `limit` runs that are due, the ones due longest first, for `lease_us`.

    `limits` is the concurrency of each queue; one that is not in it has that of `DEFAULT_QUEUE`. No queue gets more
    than that over all processes, and a paused one gets nothing.
    """
    open_queues = select(queue_table.c.name).where(queue_table.c.paused.is_(False)).order_by(queue_table.c.name)
    names = tx.connection.execute(open_queues.with_for_update()).scalars().all()  # one process at a time counts
    taken = select(runs.c.queue, func.count().label("number")).where(runs.c.state.in_(HELD)).group_by(runs.c.queue)
    busy = {row.queue: row.number for row in tx.connection.execute(taken)}
    due: list[Run] = []
    for name in names:
        room = min(limits.get(name, limits[DEFAULT_QUEUE]) - busy.get(name, 0), limit)
        if room > 0:
            waiting = select(runs).where(
                runs.c.state == RunState.PENDING, runs.c.queue == name, runs.c.not_before_us <= tx.now_us
            )
            rows = tx.connection.execute(waiting.order_by(runs.c.not_before_us, runs.c.n).limit(room))
            due += map(_run, rows)
    due.sort(key=lambda run: (run.not_before_us, run.n))
    until_us = tx.now_us + lease_us
    return [_move(tx, run, RunState.CLAIMED, owner=owner, leased_until_us=until_us) for run in due[:limit]]


def start(tx: Transaction, run: Run, *, process: str) -> Run:
    """Record the process of a claimed run, which may begin once this is durable.

    Raises:
        IllegalTransition: the run was cancelled, or given to another worker: the process must not begin.
    """
    return _move(tx, _held(tx, run), RunState.RUNNING, process=process, started_us=tx.now_us)


def heartbeat(tx: Transaction, *, owner: str, lease_us: Micros) -> None:
    """Keep what the owner holds for another `lease_us`."""
    mine = (runs.c.owner == owner) & runs.c.state.in_(HELD)
    tx.connection.execute(update(runs).where(mine).values(leased_until_us=tx.now_us + lease_us))


def finish(tx: Transaction, run: Run, ending: Ending, *, retry_at_us: Micros | None = None) -> Run:
    """End an attempt of a run; a failed one becomes the next attempt, due at `retry_at_us`, if that is given.

    Raises:
        IllegalTransition: the attempt has ended, or does not belong to the owner any more.
    """
    now = _held(tx, run)
    if ending.state is not RunState.FAILED or now.cancelled_by:
        retry_at_us = None
    over = _end(tx, now, ending, retry_at_us=retry_at_us)
    if retry_at_us is None:
        return over
    again = {"attempt": over.attempt + 1, "started_us": None, "ended_us": None}
    return _move(tx, over, RunState.PENDING, not_before_us=retry_at_us, **again)


def release(tx: Transaction, *, owner: str, run_id: str | None = None) -> list[str]:
    """Hand back what the owner took and did not start, or one run of it; return the ids."""
    taken = select(runs).where(runs.c.owner == owner, runs.c.state == RunState.CLAIMED)
    if run_id is not None:
        taken = taken.where(runs.c.id == run_id)
    mine = [_run(row) for row in tx.connection.execute(taken.order_by(runs.c.n).with_for_update())]
    return [_move(tx, run, RunState.PENDING, owner=None, leased_until_us=None).id for run in mine]


def cancel(tx: Transaction, run_id: str, by: str) -> Run:
    """Cancel a run: at once if it has not begun; else its worker is told, and it ends when its process has.

    Raises:
        NotFound: there is no such run.
        IllegalTransition: it has already ended in another way.
    """
    run = _of(tx, run_id)
    if run.state is RunState.CANCELLED or (run.state is RunState.RUNNING and run.cancelled_by):
        return run
    if run.state in ENDED:
        raise IllegalTransition(f"the run {run_id} has already {run.state}: there is nothing to cancel")
    asked = replace(run, detail=run.detail | {"cancelled_by": by})
    if run.state is RunState.RUNNING:
        tx.connection.execute(update(runs).where(runs.c.n == run.n).values(detail=_dump(asked.detail)))
        tx.tell(Signal.RUNS)
        return asked
    return _end(tx, asked, Ending(RunState.CANCELLED, f"cancelled by {by} before it began"))


def held(conn: Connection) -> list[Run]:
    """Return the runs that workers hold, those of dead ones among them."""
    query = select(runs).where(runs.c.state.in_(HELD)).order_by(runs.c.n)
    return [_run(row) for row in conn.execute(query)]


def find(conn: Connection, run_id: str) -> Run | None:
    """Return the run with this id, or None."""
    row = conn.execute(select(runs).where(runs.c.id == run_id)).first()
    return None if row is None else _run(row)


def show(conn: Connection, run_id: str) -> dict[str, Any] | None:
    """Return a run as the API shows it, with how each of its last `ATTEMPTS_KEPT` attempts ended, or None."""
    run = find(conn, run_id)
    return None if run is None else run.document() | {"attempts": run.attempts}


def page(
    conn: Connection,
    *,
    flow: str | None = None,
    queue: str | None = None,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Return a page of runs, newest first.

    Raises:
        InvalidInput: the cursor or the state is not one.
    """
    query = select(runs).order_by(runs.c.n.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(runs.c.n < decode_cursor(cursor))
    if state is not None:
        if state not in set(RunState):
            message = f"{state!r} is not the state of a run: write one of {', '.join(RunState)}"
            raise InvalidInput([Problem(message=message, field="state")])
        query = query.where(runs.c.state == state)
    for column, value in ((runs.c.flow, flow), (runs.c.queue, queue)):
        if value is not None:
            query = query.where(column == value)
    found = [_run(row) for row in conn.execute(query)]
    more = len(found) > limit
    return Page([run.document() for run in found[:limit]], encode_cursor(found[limit - 1].n) if more else None)


def _end(tx: Transaction, run: Run, ending: Ending, *, retry_at_us: Micros | None = None) -> Run:
    ending = replace(ending, error=ending.error[-ERROR_CHARS:])
    kept = [*run.attempts, attempt_document(run, ending, ended_us=tx.now_us)][-ATTEMPTS_KEPT:]
    detail = run.detail | {"attempts": kept, "result": ending.result}
    over = {"ended_us": tx.now_us, "owner": None, "leased_until_us": None, "process": None}
    return _move(tx, replace(run, detail=detail), ending.state, retry_at_us=retry_at_us, **over)


def _move(tx: Transaction, run: Run, to: RunState, *, retry_at_us: Micros | None = None, **changes: Any) -> Run:
    """Bring the run into its next state and emit the event of the step; what others can not see emits none."""
    if to not in TRANSITIONS[run.state]:
        raise IllegalTransition(f"the run {run.id} is {run.state}: it can not become {to}")
    unchanged = (runs.c.n == run.n) & (runs.c.state == run.state) & (runs.c.attempt == run.attempt)
    values = {**changes, "state": to, "detail": _dump(run.detail)}
    if tx.connection.execute(update(runs).where(unchanged).values(values)).rowcount != 1:
        raise IllegalTransition(f"the run {run.id} is not {run.state} any more: it can not become {to}")
    moved = replace(run, **{**changes, "state": to})
    if RunState.CLAIMED not in (to, run.state if to is RunState.PENDING else None):
        append(tx, [Draft(run_event(moved, follows=run.state, retry_at_us=retry_at_us), run.chain)])
    return moved


def _of(tx: Transaction, run_id: str) -> Run:
    row = tx.connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).first()
    if row is None:
        raise NotFound(f"there is no run {run_id!r}")
    return _run(row)


def _held(tx: Transaction, run: Run) -> Run:
    now = _of(tx, run.id)
    if (now.owner, now.attempt) != (run.owner, run.attempt) or now.owner is None:
        raise IllegalTransition(f"the run {run.id} is {now.state} and does not belong to this worker (any more)")
    return now


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["state"] = RunState(row.state)
    for name in ("parameters", "detail"):
        values[name] = json.loads(values[name])
    return Run(**values | {"chain": tuple(json.loads(row.chain))})


def _parameters(parameters: Mapping[str, JsonValue]) -> str:
    try:
        return json_text(dict(parameters))
    except ValueError as error:
        raise InvalidInput([Problem(message=str(error), field="parameters")]) from None


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
