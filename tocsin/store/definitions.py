"""Definitions in versions: a version is in force for a stretch of the log, so that every reader of the log agrees."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, or_, select, update

from tocsin.schemas.moments import Micros
from tocsin.store.tables import definitions, pauses

_ROWS = 1_000  # of a kind, so many are in memory at a time


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
    connection: Connection, *, at_seq: int | None = None, kind: str | None = None, names: Collection[str] | None = None
) -> Iterator[Version]:
    """Yield what is in force for the event behind a place of the log; by default what was said last."""
    columns = [definitions.c[field] for field in Version.__dataclass_fields__]
    query: Select[tuple[Any, ...]] = select(*columns).order_by(definitions.c.kind, definitions.c.name)
    if at_seq is None:
        query = query.where(definitions.c.removed_seq.is_(None))
    else:
        removed = or_(definitions.c.removed_seq.is_(None), definitions.c.removed_seq > at_seq)
        query = query.where(definitions.c.active_seq <= at_seq, removed)
    if kind is not None:
        query = query.where(definitions.c.kind == kind)
    if names is not None:
        query = query.where(definitions.c.name.in_(names))
    for row in connection.execute(query.execution_options(yield_per=_ROWS)):
        yield Version(*row)


def changed_names(connection: Connection, kind: str, *, after_seq: int, to_seq: int) -> set[str]:
    """Return what began, ended, was paused or resumed at the places (after_seq, to_seq] of the log."""
    found: set[str] = set()
    for table, columns in ((definitions, ("active_seq", "removed_seq")), (pauses, ("from_seq", "to_seq"))):
        for column in columns:
            place = table.c[column]
            query = select(table.c.name).where(table.c.kind == kind, place > after_seq, place <= to_seq)
            found.update(connection.execute(query).scalars())
    return found


def add(connection: Connection, versions: Collection[Version]) -> None:
    """Store new versions."""
    if versions:
        names = Version.__dataclass_fields__
        connection.execute(insert(definitions), [{name: getattr(one, name) for name in names} for one in versions])


def end(connection: Connection, keys: Collection[tuple[str, str]], *, seq: int) -> None:
    """Let the versions of these (kind, name) that are in force end with this place of the log."""
    rows = [{"of_kind": kind, "of_name": name, "last_seq": seq} for kind, name in keys]
    if rows:
        connection.execute(_END, rows)


def pause(connection: Connection, *, kind: str, name: str, seq: int, now_us: Micros) -> bool:
    """Begin a pause; False if one lasts already."""
    if open_pauses(connection, kind).get(name) is not None:
        return False
    connection.execute(insert(pauses).values(kind=kind, name=name, from_seq=seq, from_us=now_us))
    return True


def resume(connection: Connection, *, kind: str, name: str, seq: int, now_us: Micros) -> bool:
    """End a pause; False if there is none."""
    mine = (pauses.c.kind == kind, pauses.c.name == name, pauses.c.to_seq.is_(None))
    return connection.execute(update(pauses).where(*mine).values(to_seq=seq, to_us=now_us)).rowcount > 0


def open_pauses(connection: Connection, kind: str) -> dict[str, Pause]:
    """Return what is paused now, by name."""
    return {one.name: one for one in pauses_of(connection, kind) if one.to_seq is None}


def pauses_of(connection: Connection, *kinds: str) -> list[Pause]:
    """Return all pauses of some kinds, the oldest first."""
    query = select(pauses).where(pauses.c.kind.in_(kinds)).order_by(pauses.c.n)
    names = Pause.__dataclass_fields__
    return [Pause(**{name: row[name] for name in names}) for row in connection.execute(query).mappings()]


def count(connection: Connection, kind: str) -> int:
    """Return how many definitions of a kind are in force."""
    mine = (definitions.c.kind == kind, definitions.c.removed_seq.is_(None))
    return connection.execute(select(func.count()).select_from(definitions).where(*mine)).scalar_one()


_END = (
    update(definitions)
    .where(
        definitions.c.kind == bindparam("of_kind"),
        definitions.c.name == bindparam("of_name"),
        definitions.c.removed_seq.is_(None),
    )
    .values(removed_seq=bindparam("last_seq"))
)
