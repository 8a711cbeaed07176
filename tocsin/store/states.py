"""The judge's states, their wake-ups, and the cursors of the shards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, func, select, update

from tocsin.errors import Conflict
from tocsin.schemas.moments import Micros
from tocsin.store.bulk import Bulk
from tocsin.store.tables import shards, states

_IN = 500


class ShardLost(Conflict):
    """Another process judges the shard now, or has changed its states; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A state as it is stored; `wake_us` is when it wants to be called again, the last two are for retention."""

    state_key: str
    automation: str
    wake_us: Micros | None
    blob: bytes
    needs_seq: int | None = None
    idle_us: Micros | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a shard is: it has judged all events up to `seq` and all moments up to `judged_us`."""

    shard: int
    seq: int
    judged_us: Micros
    epoch: int


def load(connection: Connection, keys: Collection[str]) -> dict[str, bytes]:
    """Return the stored states among these keys."""
    found: dict[str, bytes] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), _IN):
        for row in connection.execute(_LOAD, {"keys": ordered[start : start + _IN]}):
            found[row.state_key] = bytes(row.blob)
    return found


def of_automation(connection: Connection, automation: str, *, limit: int = -1) -> dict[str, bytes]:
    """Return the stored states of one automation in the order of their keys, at most `limit` (-1: all)."""
    query = select(states.c.state_key, states.c.blob).where(states.c.automation == automation)
    rows = connection.execute(query if limit < 0 else query.limit(limit))
    # In order here: a database that sorts before it limits would read all of very many.
    return dict(sorted((row.state_key, bytes(row.blob)) for row in rows))


def due(
    connection: Connection, shard: int, *, until_us: Micros, limit: int, together: Callable[[str], bool]
) -> tuple[list[str], Micros]:
    """Return the keys that want to be called by `until_us`, and up to which moment they may be judged.

    More than `limit` are cut behind a whole moment, and a single moment that has more between automations or their
    keys: only those automations of which `together` says so have all their keys returned (law C1). The others follow.
    """
    query = _DUE if connection.dialect.name == "sqlite" else _DUE_BY_KEY
    rows = connection.execute(query, {"shard": shard, "until_us": until_us, "most": limit + 1}).all()
    if len(rows) <= limit:
        return [row.state_key for row in rows], until_us
    last_us = rows[-1].wake_us
    if rows[0].wake_us != last_us:
        return [row.state_key for row in rows if row.wake_us < last_us], last_us - 1
    whole = {name for name in {row.automation for row in rows} if together(name)}
    found = [row.state_key for row in rows[:limit] if row.automation not in whole]
    for name in sorted(whole):
        found += sorted(connection.execute(_DUE_TOGETHER, {"of": name, "at_us": last_us}).scalars())
    return found, last_us


def next_wake(connection: Connection, shard: int) -> Micros | None:
    """Return the earliest moment at which a state wants to be called."""
    wake_us: Micros | None = connection.execute(_NEXT, {"shard": shard}).scalar_one()
    return wake_us


def save(connection: Connection, shard: int, saved: Collection[Saved]) -> None:
    """Insert or replace states."""
    rows = [(one.state_key, shard, one.automation, one.wake_us, one.needs_seq, one.idle_us, one.blob) for one in saved]
    _SAVE.execute(connection, rows)


def remove(connection: Connection, keys: Iterable[str]) -> None:
    """Delete states."""
    rows = [{"key": key} for key in keys]
    if rows:
        connection.execute(_REMOVE, rows)


def let_sleep(connection: Connection, keys: Iterable[str]) -> None:
    """Have states not called again until they are saved anew."""
    connection.execute(_LET_SLEEP, [{"key": key} for key in keys])


def cursor_of(connection: Connection, shard: int) -> Cursor:
    """Return how far a shard is."""
    row = connection.execute(select(shards).where(shards.c.shard == shard)).one()
    return Cursor(shard, row.cursor, row.judged_us, row.epoch)


def owned_cursor_of(connection: Connection, shard: int) -> tuple[Cursor, str | None]:
    """Return how far a shard is, and who has leased it."""
    row = connection.execute(select(shards).where(shards.c.shard == shard)).one()
    return Cursor(shard, row.cursor, row.judged_us, row.epoch), row.owner


def count_shards(connection: Connection) -> int:
    """Return among how many shards the automations are divided."""
    return connection.execute(select(func.count()).select_from(shards)).scalar_one()


def judged_seq(connection: Connection) -> int:
    """Return the place up to which every shard has judged, as far as that is stored."""
    seq: int = connection.execute(select(func.coalesce(func.min(shards.c.cursor), 0))).scalar_one()
    return seq


def shards_of(connection: Connection, keys: Collection[str]) -> set[int]:
    """Return the shards in which these states are."""
    found: set[int] = set()
    ordered = sorted(keys)
    for start in range(0, len(ordered), _IN):
        query = select(states.c.shard).where(states.c.state_key.in_(ordered[start : start + _IN])).distinct()
        found.update(connection.execute(query).scalars())
    return found


def bump(connection: Connection, of: Collection[int]) -> None:
    """Have whoever judges these shards read their states anew: this transaction changes them."""
    connection.execute(update(shards).where(shards.c.shard.in_(of)).values(epoch=shards.c.epoch + 1))


def move_cursor(
    connection: Connection, before: Cursor, after: Cursor, *, leased_until_us: Micros | None = None
) -> None:
    """Move a shard's cursor, as who owns it; one that is leased is so until the moment given.

    Raises:
        ShardLost: another process has moved it, or changed what is judged.
    """
    was = {"at": before.seq, "at_us": before.judged_us, "owned": before.epoch, "of": before.shard}
    values = was | {"to": after.seq, "to_us": after.judged_us, "until_us": leased_until_us}
    if connection.execute(_MOVE, values).rowcount != 1:
        raise ShardLost(f"shard {before.shard} is judged by another process")


def _upsert(dialect: Any) -> Executable:
    statement = dialect.insert(states)
    replaced = {name: statement.excluded[name] for name in ("wake_us", "needs_seq", "idle_us", "blob", "shard")}
    upsert: Executable = statement.on_conflict_do_update(index_elements=["state_key"], set_=replaced)
    return upsert


_SAVE = Bulk(("state_key", "shard", "automation", "wake_us", "needs_seq", "idle_us", "blob"), _upsert)
_LOAD = select(states.c.state_key, states.c.blob).where(states.c.state_key.in_(bindparam("keys", expanding=True)))
_DUE = (
    select(states.c.state_key, states.c.automation, states.c.wake_us)
    .where(states.c.shard == bindparam("shard"), states.c.wake_us <= bindparam("until_us"))
    .order_by(states.c.wake_us)
    .limit(bindparam("most"))
)
_DUE_BY_KEY = _DUE.order_by(states.c.state_key)  # SQLite's index goes on with the row's number; PostgreSQL's does not
# That it is not null says no more than min() does, but the partial index is used only if it is said.
_DUE_TOGETHER = select(states.c.state_key).where(
    states.c.automation == bindparam("of"), states.c.wake_us == bindparam("at_us")
)
_NEXT = select(func.min(states.c.wake_us)).where(states.c.shard == bindparam("shard"), states.c.wake_us.is_not(None))
_REMOVE = delete(states).where(states.c.state_key == bindparam("key"))
_LET_SLEEP = update(states).where(states.c.state_key == bindparam("key")).values(wake_us=None)
_MOVE = (
    update(shards)
    .where(
        shards.c.shard == bindparam("of"),
        shards.c.cursor == bindparam("at"),
        shards.c.judged_us == bindparam("at_us"),
        shards.c.epoch == bindparam("owned"),
    )
    .values(cursor=bindparam("to"), judged_us=bindparam("to_us"), leased_until_us=bindparam("until_us"))
)
