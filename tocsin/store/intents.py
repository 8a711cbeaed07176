"""Intents: what is to be done about a firing, and what was tried (law F4).

    waiting -> running -> succeeded | skipped | dead        (dead: a dead letter)
    running -> waiting          to be tried again, put off, released, or taken back from an owner that is gone
    waiting | dead -> discarded, and waiting | dead | discarded -> waiting, by a person

Rule 1: an intent's id is derived from (firing, position); it is the idempotency key of the effect on every attempt.
Rule 2: a running intent belongs to its owner, until its lease is over; who is not the owner records nothing about its
state. An interrupted attempt does not use up a retry: nobody knows what came of it, so it is made again.
Rule 3: what has a leader is performed with it, as one effect under the leader's key (law S2). It is never claimed by
itself: who performs the leader adopts what waits for it, and until the leader ends, they end together.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from tocsin.errors import IllegalTransition, NotFound
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import SECOND, Micros, iso
from tocsin.store import firings, log
from tocsin.store.bulk import Bulk
from tocsin.store.page import Page, decode_cursor, page_of
from tocsin.store.tables import attempts, intents
from tocsin.store.writer import Signal, Transaction

LEASE_US: Micros = 20 * SECOND
"""How long a claim lasts unless it is renewed."""


class IntentState(StrEnum):
    """Where an intent is; the module's docstring draws how it gets there."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    DEAD = "dead"
    DISCARDED = "discarded"


class AttemptOutcome(StrEnum):
    """What came of one attempt; `interrupted`: nobody knows."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Order:
    """What one firing asks for: (type, spec as JSON) of each action, in the order of the definition."""

    firing: Firing
    actions: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Intent:
    """One effect to be performed. `spec` is JSON; `attempts` counts the attempts that failed since the last redrive.

    `followers` is how many others are performed with it.
    """

    id: str
    firing: str
    automation: str
    position: int
    type: str
    spec: str
    attempts: int
    created_us: Micros
    followers: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt and the state in which it leaves its intent; waiting until `not_before_us` when that is given.

    `outcome` is None when nothing was attempted: its condition was false.
    """

    intent: str
    state: IntentState
    outcome: AttemptOutcome | None
    started_us: Micros
    ended_us: Micros
    detail: Mapping[str, Any]
    not_before_us: Micros = 0


_OPEN = intents.c.ended_us.is_(None)
_WAITING = and_(_OPEN, intents.c.state == IntentState.WAITING, intents.c.leader.is_(None))
_RUNNING = and_(_OPEN, intents.c.state == literal_column(f"'{IntentState.RUNNING}'"))
_NEXT_DUE = select(func.min(intents.c.not_before_us)).where(_WAITING)
_ENDED = (IntentState.SUCCEEDED, IntentState.SKIPPED, IntentState.DEAD, IntentState.DISCARDED)
_FIELDS = tuple(intents.c[name] for name in Intent.__dataclass_fields__)

_NO_LEADERS: Mapping[str, str] = MappingProxyType({})
_IN = 500  # the most values in one IN list
_KNOWN = select(intents.c.id).where(intents.c.id.in_(bindparam("ids", expanding=True)))
_NUMBER = (
    select(func.coalesce(func.max(attempts.c.number), literal_column("0")) + literal_column("1"))
    .where(attempts.c.intent == bindparam("of"))
    .scalar_subquery()
)
_ADD = Bulk(
    ("id", "firing", "automation", "position", "type", "spec", "state", "attempts", "not_before_us", "owner",
     "leased_until_us", "created_us", "leader", "followers"),
    lambda dialect: dialect.insert(intents).inline(),
)  # fmt: skip
_ADD_ATTEMPT = Bulk(
    ("of", "of", "started", "ended", "came", "said"),
    lambda dialect: dialect.insert(attempts).values(
        intent=bindparam("of"), number=_NUMBER, started_us=bindparam("started"), ended_us=bindparam("ended"),
        outcome=bindparam("came"), detail=bindparam("said"),
    ).inline(),
)  # fmt: skip
_MINE = and_(intents.c.id == bindparam("of"), intents.c.owner == bindparam("mine"), _RUNNING)
_SETTLE = Bulk(
    ("becomes", "failed", "after", "done", "said", "of", "mine"),
    lambda dialect: update(intents).where(_MINE).values(
        state=bindparam("becomes"), attempts=intents.c.attempts + bindparam("failed"), not_before_us=bindparam("after"),
        owner=null(), leased_until_us=null(), ended_us=bindparam("done"), result=bindparam("said"),
    ),
)  # fmt: skip
_PUT_OFF = update(intents).where(_MINE).values(
    state=IntentState.WAITING, not_before_us=bindparam("after"), owner=None, leased_until_us=None,
)  # fmt: skip
_OWNED = (
    select(intents.c.id)
    .where(intents.c.id.in_(bindparam("ids", expanding=True)), intents.c.owner == bindparam("mine"), _RUNNING)
    .order_by(intents.c.id)  # two that lock the same never wait for each other
    .with_for_update()
)
_RENEW = update(intents).where(_MINE).values(leased_until_us=bindparam("until"))
_LEADER = intents.alias("leader")
_LEAD_THEMSELVES = (
    update(intents)
    .where(_OPEN, intents.c.state == IntentState.WAITING, intents.c.leader.is_not(None))
    .where(exists().where(_LEADER.c.id == intents.c.leader, _LEADER.c.ended_us.is_not(None)))
    .values(leader=None)
)
"""What waits for a leader that has ended, because a process died between recording the two, or because it was redriven
while its leader was under way, is performed by itself."""


def intent_id(firing: str, position: int) -> str:
    """Return the id, and idempotency key, of a firing's action."""
    return str(uuid.uuid5(uuid.UUID(firing), str(position)))


def add(
    tx: Transaction, orders: Sequence[Order], *, claimed_by: str | None = None, lease_us: Micros = LEASE_US,
    leaders: Mapping[str, str] = _NO_LEADERS,
) -> list[Intent]:  # fmt: skip
    """Store what the firings ask for, in the transaction that stores the firings (law F2); return what is new.

    `leaders` are those with which others, given by their ids, are performed. What is new and has none is returned;
    with `claimed_by` it is that owner's from the start, who must be given it after the commit.
    """
    followers = Counter(leaders.values())
    wanted = [
        Intent(id=(one := intent_id(order.firing.id, position)), firing=order.firing.id,
               automation=order.firing.automation, position=position, type=kind, spec=spec, attempts=0,
               created_us=tx.now_us, followers=followers[one])
        for order in orders
        for position, (kind, spec) in enumerate(order.actions)
    ]  # fmt: skip
    known: set[str] = set()
    for start in range(0, len(wanted), _IN):
        part = [intent.id for intent in wanted[start : start + _IN]]
        known.update(tx.connection.execute(_KNOWN, {"ids": part}).scalars())
    new = [intent for intent in wanted if intent.id not in known]
    waiting = (IntentState.WAITING.value, 0, tx.now_us, None, None)
    running = (IntentState.RUNNING.value, 0, tx.now_us, claimed_by, tx.now_us + lease_us)
    _ADD.execute(tx.connection, [
        (one.id, one.firing, one.automation, one.position, one.type, one.spec,
         *(waiting if claimed_by is None or one.id in leaders else running),
         one.created_us, leaders.get(one.id), one.followers)
        for one in new
    ])  # fmt: skip
    if new and claimed_by is None:
        tx.tell(Signal.INTENTS)
    return [intent for intent in new if intent.id not in leaders]


def claim(tx: Transaction, *, owner: str, limit: int, lease_us: Micros = LEASE_US) -> list[Intent]:
    """Take up to `limit` intents that are due, those due longest first."""
    due = (
        select(intents.c.n)
        .where(_WAITING, intents.c.not_before_us <= tx.now_us)
        .order_by(intents.c.not_before_us, intents.c.n)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = (
        update(intents)
        .where(intents.c.n.in_(select(due.c.n)))
        .values(state=IntentState.RUNNING, owner=owner, leased_until_us=tx.now_us + lease_us)
        .returning(*_FIELDS, intents.c.not_before_us, intents.c.n)
    )
    rows = sorted(tx.connection.execute(taken), key=lambda row: (row.not_before_us, row.n))
    return [_intent(row) for row in rows]


def adopt(tx: Transaction, leader: str, *, owner: str, lease_us: Micros = LEASE_US) -> list[Intent]:
    """Take what waits for a leader, for who performs it; they are the owner's then like the leader itself."""
    followers = update(intents).where(intents.c.leader == leader, _OPEN)
    taken = followers.values(state=IntentState.RUNNING, owner=owner, leased_until_us=tx.now_us + lease_us)
    rows = tx.connection.execute(taken.returning(*_FIELDS, intents.c.n))
    return [_intent(row) for row in sorted(rows, key=lambda row: row.n)]


def subjects(connection: Connection, claimed: Collection[Intent]) -> tuple[dict[str, Firing], dict[int, Arrival]]:
    """Return the firings that intents answer to, by id, and the events of these firings, by place."""
    found = firings.by_id(connection, {intent.firing for intent in claimed})
    return found, log.by_seq(connection, {seq for firing in found.values() for seq in firing.events})


def holds(tx: Transaction, intent: str, *, owner: str) -> bool:
    """Return whether the intent is running and still the owner's, and keep it so until the end of the transaction."""
    mine = select(true()).where(intents.c.id == intent, intents.c.owner == owner, _RUNNING).with_for_update()
    return tx.connection.execute(mine).scalar() is not None


def record(tx: Transaction, done: Sequence[Attempt], *, owner: str) -> set[str]:
    """Store attempts and the states that they lead to; return the ids of those that were still the owner's.

    The state of the others stays as it is.
    """
    said = [_json(attempt.detail) for attempt in done]
    _ADD_ATTEMPT.execute(tx.connection, [
        (one.intent, one.intent, one.started_us, one.ended_us, one.outcome.value, text)
        for one, text in zip(done, said, strict=True)
        if one.outcome is not None
    ])  # fmt: skip
    mine: set[str] = set()
    for start in range(0, len(done), _IN):
        part = [attempt.intent for attempt in done[start : start + _IN]]
        mine.update(tx.connection.execute(_OWNED, {"ids": part, "mine": owner}).scalars())
    _SETTLE.execute(tx.connection, [
        (one.state.value, int(one.outcome is AttemptOutcome.FAILED), one.not_before_us,
         tx.now_us if one.state in _ENDED else None, text, one.intent, owner)
        for one, text in zip(done, said, strict=True)
        if one.intent in mine
    ])  # fmt: skip
    return mine


def put_off(tx: Transaction, until: Mapping[str, Micros], *, owner: str) -> None:
    """Give back intents that were not attempted, to be claimed again from the given moments on."""
    rows = [{"of": intent, "mine": owner, "after": moment_us} for intent, moment_us in until.items()]
    if rows:
        tx.connection.execute(_PUT_OFF, rows)


def renew(tx: Transaction, held: Collection[str], *, owner: str, lease_us: Micros = LEASE_US) -> None:
    """Extend the leases of what the owner still works on."""
    rows = [{"of": intent, "mine": owner, "until": tx.now_us + lease_us} for intent in held]
    if rows:
        tx.connection.execute(_RENEW, rows)


def release(tx: Transaction, *, owner: str) -> None:
    """Give back everything that the owner holds, not attempted or recorded as interrupted, at a graceful stop."""
    mine = update(intents).where(_RUNNING, intents.c.owner == owner)
    tx.connection.execute(mine.values(state=IntentState.WAITING, owner=None, leased_until_us=None))
    tx.connection.execute(_LEAD_THEMSELVES)


def reclaim(tx: Transaction, *, owner: str, alone: bool = False) -> int:
    """Take back what others held when their lease ended, or at once where this process is `alone`; return how many.

    What waits for a leader that has ended counts, too: it is due now.
    Whether their effects arrived is not known: the attempt is recorded as interrupted and made again, under the same
    idempotency key (law F4).
    """
    lost: ColumnElement[bool] = intents.c.leased_until_us <= tx.now_us
    if alone:
        lost = or_(lost, intents.c.owner != owner)
    found = select(intents.c.id, intents.c.owner, intents.c.not_before_us).where(_RUNNING, lost)
    rows = tx.connection.execute(found.with_for_update(skip_locked=True)).all()
    if not rows:
        return tx.connection.execute(_LEAD_THEMSELVES).rowcount
    said = _json({"error": "the attempt was interrupted: it is not known whether its effect arrived"})
    came = AttemptOutcome.INTERRUPTED.value
    interrupted = [(row.id, row.id, row.not_before_us, tx.now_us, came, said) for row in rows]
    _ADD_ATTEMPT.execute(tx.connection, interrupted)
    tx.connection.execute(_PUT_OFF, [{"of": row.id, "mine": row.owner, "after": tx.now_us} for row in rows])
    tx.connection.execute(_LEAD_THEMSELVES)
    return len(rows)


def retry(tx: Transaction, intent: str) -> dict[str, Any]:
    """Let the intent be attempted again, now, with all of its retries; return it as `show` does.

    A dead letter that was to be performed with others is performed with them again, unless those were performed.

    Raises:
        NotFound: there is no such intent.
        IllegalTransition: it is running, or was performed, or its condition was false.
    """
    again = {"state": IntentState.WAITING, "attempts": 0, "not_before_us": tx.now_us, "ended_us": None, "result": None}
    _move(tx, intent, again, allowed=(IntentState.WAITING, IntentState.DEAD, IntentState.DISCARDED))
    tx.tell(Signal.INTENTS)
    leader = tx.connection.execute(select(intents.c.leader).where(intents.c.id == intent)).scalar()
    head = leader or intent
    is_head, dead = intents.c.id == head, intents.c.state == IntentState.DEAD
    tx.connection.execute(update(intents).where(or_(is_head, intents.c.leader == head), dead).values(again))
    if leader is not None:
        ready = select(true()).where(is_head, intents.c.state.in_((IntentState.WAITING, IntentState.RUNNING)))
        if tx.connection.execute(ready).scalar() is None:  # it has ended: this one is performed by itself
            tx.connection.execute(update(intents).where(intents.c.id == intent).values(leader=None))
    return show(tx.connection, intent)


def discard(tx: Transaction, intent: str, reason: str) -> dict[str, Any]:
    """Give up on a waiting intent or a dead letter, saying why; return it as `show` does.

    Raises:
        NotFound: there is no such intent.
        IllegalTransition: it is running, or has ended otherwise.
    """
    over = {"state": IntentState.DISCARDED, "ended_us": tx.now_us, "result": _json({"discarded": reason})}
    _move(tx, intent, over, allowed=(IntentState.WAITING, IntentState.DEAD))
    _follow_another(tx, intent)
    return show(tx.connection, intent)


def _follow_another(tx: Transaction, leader: str) -> None:
    """Let the first of what waits for a leader lead the others, now that it has ended without them."""
    waiting = select(intents.c.id).where(intents.c.leader == leader, _OPEN).order_by(intents.c.n)
    left = tx.connection.execute(waiting).scalars().all()
    if left:
        mine = update(intents).where(intents.c.leader == leader, _OPEN)
        tx.connection.execute(mine.values(leader=left[0]))
        first = update(intents).where(intents.c.id == left[0])
        tx.connection.execute(first.values(leader=None, followers=len(left) - 1))


def _move(tx: Transaction, intent: str, values: dict[str, Any], *, allowed: tuple[IntentState, ...]) -> None:
    changed = update(intents).where(intents.c.id == intent, intents.c.state.in_(allowed)).values(values)
    if tx.connection.execute(changed).rowcount:
        return
    state = tx.connection.execute(select(intents.c.state).where(intents.c.id == intent)).scalar()
    if state is None:
        raise NotFound(f"there is no action {intent!r}")
    raise IllegalTransition(f"the action is {state}; this needs it to be {' or '.join(allowed)}")


def next_due(connection: Connection) -> Micros | None:
    """Return the moment from which on the next waiting intent may be claimed, None if nothing waits."""
    moment: Micros | None = connection.execute(_NEXT_DUE).scalar()
    return moment


def page(
    connection: Connection, *, state: str | None = None, automation: str | None = None, type: str | None = None,
    firing: str | None = None, limit: int = 50, cursor: str | None = None,
) -> Page:  # fmt: skip
    """Return intents, newest first.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    wanted = select(intents).order_by(intents.c.n.desc()).limit(limit + 1)
    for column, value in (("state", state), ("automation", automation), ("type", type), ("firing", firing)):
        if value is not None:
            wanted = wanted.where(intents.c[column] == value)
    if cursor is not None:
        wanted = wanted.where(intents.c.n < decode_cursor(cursor))
    return page_of([_document(row) for row in connection.execute(wanted)], limit=limit, place="n")


def show(connection: Connection, intent: str) -> dict[str, Any]:
    """Return one intent with its spec and its `history`: every attempt, oldest first.

    Raises:
        NotFound: there is no such intent.
    """
    row = connection.execute(select(intents).where(intents.c.id == intent)).one_or_none()
    if row is None:
        raise NotFound(f"there is no action {intent!r}")
    tried = select(attempts).where(attempts.c.intent == intent).order_by(attempts.c.n)
    history = [
        {"number": attempt.number, "started": iso(attempt.started_us), "ended": iso(attempt.ended_us),
         "outcome": attempt.outcome, "detail": json.loads(attempt.detail)}
        for attempt in connection.execute(tried)
    ]  # fmt: skip
    return {**_document(row), "spec": json.loads(row.spec), "history": history}


def counts(connection: Connection) -> dict[str, int]:
    """Return how many intents are in each state."""
    found = connection.execute(select(intents.c.state, func.count()).group_by(intents.c.state))
    return dict.fromkeys(map(str, IntentState), 0) | {row.state: row[1] for row in found}


def _intent(row: Row[Any]) -> Intent:
    return Intent(**{name: getattr(row, name) for name in Intent.__dataclass_fields__})


def _document(row: Row[Any]) -> dict[str, Any]:
    waits = row.state == IntentState.WAITING
    return {"n": row.n, "id": row.id, "type": row.type, "state": row.state, "automation": row.automation,
            "firing": row.firing, "leader": row.leader, "followers": row.followers,
            "position": row.position, "attempts": row.attempts, "created": iso(row.created_us),
            "next": iso(row.not_before_us) if waits else None, "ended": iso(row.ended_us),
            "result": None if row.result is None else json.loads(row.result)}  # fmt: skip


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII: whatever a target answered can be stored
