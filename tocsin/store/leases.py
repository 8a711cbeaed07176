"""Who judges which shard: leases, with the epoch of the cursor as their fence.

A lease says who may begin; the epoch says who may commit (`states.move_cursor`). So a process that was stopped for
longer than its lease finds out when it wants to store something, and no two processes ever judge the same.
Source of the idea: https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html ("fencing tokens").
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import or_, select, update

from tocsin.schemas.moments import SECOND, Micros
from tocsin.store.database import Connection
from tocsin.store.tables import shards
from tocsin.store.writer import Signal, Transaction

LEASE_US: Micros = 5 * SECOND
"""How long a shard stays with a process that does not say anything any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """The state of one shard: its owner if it has one whose lease lasts, and how far it is."""

    shard: int
    owner: str | None
    seq: int
    judged_us: Micros


def tend(tx: Transaction, *, owner: str, most: int) -> set[int]:
    """Renew what is the owner's, and take what is free until it has `most`; return the shards that it has now.

    It waits for nobody: a shard that its owner is storing at this moment is renewed by that (`states.move_cursor`), and
    nobody takes it meanwhile. To wait for one while others are held would be a deadlock of the owner with itself.
    """
    until_us = tx.now_us + LEASE_US
    mine = set(tx.connection.execute(select(shards.c.shard).where(shards.c.owner == owner)).scalars())
    idle = select(shards.c.shard).where(shards.c.owner == owner).order_by(shards.c.shard)
    if renewed := tx.connection.execute(idle.with_for_update(skip_locked=True)).scalars().all():
        tx.connection.execute(update(shards).where(shards.c.shard.in_(renewed)).values(leased_until_us=until_us))
    if len(mine) >= most:
        return mine
    lost = or_(shards.c.owner.is_(None), (shards.c.leased_until_us <= tx.now_us) & (shards.c.owner != owner))
    free = select(shards.c.shard).where(lost).order_by(shards.c.shard).limit(most - len(mine))
    found = set(tx.connection.execute(free.with_for_update(skip_locked=True)).scalars())
    if found:
        taken = update(shards).where(shards.c.shard.in_(found))
        tx.connection.execute(taken.values(owner=owner, leased_until_us=until_us, epoch=shards.c.epoch + 1))
    return mine | found


def release(tx: Transaction, given: Collection[int] | None, *, owner: str) -> None:
    """Give shards back, or with None all that are the owner's: whoever has room takes them."""
    mine = update(shards).where(shards.c.owner == owner)
    if given is not None:
        mine = mine.where(shards.c.shard.in_(given))
    tx.connection.execute(mine.values(owner=None, leased_until_us=None, epoch=shards.c.epoch + 1))
    tx.tell(Signal.SHARDS)


def held(connection: Connection, now_us: Micros) -> list[Held]:
    """Return every shard."""
    rows = connection.execute(select(shards).order_by(shards.c.shard))
    return [
        Held(row.shard, row.owner if (row.leased_until_us or 0) > now_us else None, row.cursor, row.judged_us)
        for row in rows
    ]
