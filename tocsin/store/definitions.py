"""Definitions in versions: a version is in force for a stretch of the log, so that every reader of the log agrees."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, bindparam, func, insert, or_, select, update

from tocsin.schemas.moments import Micros
from tocsin.store.bulk import Bulk
from tocsin.store.tables import definitions, pauses

_ROWS = 1_000  # so many are in memory at a time
_IN = 500  # the most values in one IN list


@dataclass(frozen=True, slots=True)
class Version:
    """A definition as it is in force from behind `active_seq`; `armed_seq` and `armed_us` are T0 of its trigger."""

    kind: str
    name: str
    origin: str
    document: str
    active_seq: int
    armed_seq: int
    armed_us: Micros
    created_us: Micros
    shard: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch in which something was paused by a person or an action; the end is None while it lasts."""

    name: str
    from_seq: int
    from_us: Micros
    to_seq: int | None
    to_us: Micros | None


def in_force(
    connection: Connection,
    *,
    at_seq: int | None = None,
    kind: str | None = None,
    names: Collection[str] | None = None,
    shard: int | None = None,
) -> Iterator[Version]:
    """Yield what is in force for the event behind a place of the log; by default what was said last.

    Only those of a kind, of some names and of a shard, if given. To look for names without a kind is to look at all.
    """
    columns = [definitions.c[field] for field in Version.__dataclass_fields__]
    query: Select[tuple[Any, ...]] = select(*columns).order_by(definitions.c.kind, definitions.c.name)
    if at_seq is None:
        query = query.where(definitions.c.removed_seq.is_(None))
    else:
        removed = or_(definitions.c.removed_seq.is_(None), definitions.c.removed_seq > at_seq)
        query = query.where(definitions.c.active_seq <= at_seq, removed)
    if kind is not None:
        query = query.where(definitions.c.kind == kind)
    if shard is not None:
        query = query.where(definitions.c.shard == shard)
    for part in [None] if names is None else _parts(names):
        asked = query if part is None else query.where(definitions.c.name.in_(part))
        for row in connection.execute(asked.execution_options(yield_per=_ROWS)):
            yield Version(*row)


def shards_of(connection: Connection, names: Collection[str]) -> set[int]:
    """Return the shards in which automations and flows of these names are, or were, judged."""
    found: set[int] = set()
    for part in _parts(names):
        mine = (definitions.c.kind.in_(("automation", "flow")), definitions.c.name.in_(part))
        found.update(connection.execute(select(definitions.c.shard).where(*mine).distinct()).scalars())
    return found


def newest_place(connection: Connection) -> int:
    """Return the place of the newest change of a definition; 0 where there was none."""
    # That it is not null says no more than max() does, but a partial index is used only if it is said.
    queries = [select(func.max(place)).where(place.is_not(None)) for place in _PLACES[definitions]]
    return max(connection.execute(query).scalar_one() or 0 for query in queries)


def changed(connection: Connection, *, after_seq: int, to_seq: int) -> set[tuple[str, str]]:
    """Return what began or ended at the places (after_seq, to_seq] of the log: kinds and names."""
    return _changed(connection, (definitions,), after_seq=after_seq, to_seq=to_seq)


def changed_or_paused(connection: Connection, *, after_seq: int, to_seq: int) -> set[tuple[str, str]]:
    """Return what began, ended, was paused or resumed at the places (after_seq, to_seq]: kinds and names."""
    return _changed(connection, (definitions, pauses), after_seq=after_seq, to_seq=to_seq)


def _changed(connection: Connection, tables: Collection[Table], *, after_seq: int, to_seq: int) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for table in tables:
        for place in _PLACES[table]:
            query = select(table.c.kind, table.c.name).where(place > after_seq, place <= to_seq)
            found.update((row.kind, row.name) for row in connection.execute(query))
    return found


def add(connection: Connection, versions: Collection[Version]) -> None:
    """Store new versions."""
    _ADD.execute(connection, [tuple(getattr(one, name) for name in _ADD.names) for one in versions])


def end(connection: Connection, keys: Collection[tuple[str, str]], *, seq: int) -> None:
    """Let the versions of these (kind, name) that are in force end with this place of the log."""
    rows = [{"of_kind": kind, "of_name": name, "last_seq": seq} for kind, name in keys]
    if rows:
        connection.execute(_END, rows)


def pause(connection: Connection, *, kind: str, name: str, seq: int, now_us: Micros) -> bool:
    """Begin a pause; False if one lasts already."""
    if open_pauses(connection, kind, names=[name]):
        return False
    connection.execute(insert(pauses).values(kind=kind, name=name, from_seq=seq, from_us=now_us))
    return True


def resume(connection: Connection, *, kind: str, name: str, seq: int, now_us: Micros) -> bool:
    """End a pause; False if there is none."""
    mine = (pauses.c.kind == kind, pauses.c.name == name, pauses.c.to_seq.is_(None))
    return connection.execute(update(pauses).where(*mine).values(to_seq=seq, to_us=now_us)).rowcount > 0


def open_pauses(connection: Connection, kind: str, *, names: Collection[str] | None = None) -> dict[str, Pause]:
    """Return what is paused now, by name; only what has some names, if given."""
    return {one.name: one for one in pauses_of(connection, kind, names=names) if one.to_seq is None}


def pauses_of(connection: Connection, *kinds: str, names: Collection[str] | None = None) -> list[Pause]:
    """Return all pauses of some kinds, the oldest first; only those of some names, if given."""
    fields = Pause.__dataclass_fields__
    query = select(*(pauses.c[field] for field in fields)).where(pauses.c.kind.in_(kinds)).order_by(pauses.c.n)
    found: list[Pause] = []
    for part in [None] if names is None else _parts(names):
        asked = query if part is None else query.where(pauses.c.name.in_(part))
        found += [Pause(*row) for row in connection.execute(asked)]
    return found


def count(connection: Connection, kind: str) -> int:
    """Return how many definitions of a kind are in force."""
    mine = (definitions.c.kind == kind, definitions.c.removed_seq.is_(None))
    return connection.execute(select(func.count()).select_from(definitions).where(*mine)).scalar_one()


def _parts(names: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(names)
    return (ordered[start : start + _IN] for start in range(0, len(ordered), _IN))


_PLACES: Mapping[Table, tuple[Column[Any], Column[Any]]] = MappingProxyType(
    {definitions: (definitions.c.active_seq, definitions.c.removed_seq), pauses: (pauses.c.from_seq, pauses.c.to_seq)}
)
"""The places at which what a table holds begins and ends."""
_ADD = Bulk(
    ("kind", "name", "origin", "document", "shard", "active_seq", "armed_seq", "armed_us", "created_us"),
    lambda dialect: dialect.insert(definitions),
)
_END = (
    update(definitions)
    .where(
        definitions.c.kind == bindparam("of_kind"),
        definitions.c.name == bindparam("of_name"),
        definitions.c.removed_seq.is_(None),
    )
    .values(removed_seq=bindparam("last_seq"))
)
