"""The matching index: many triggers, one event, and only the triggers that it may concern are looked at.

A trigger is reached by its event names and, below a name that many share, by the most selective label of its primary
resource that has to equal something (`tables.py`).

Rule 1: the index may offer too many leaves, never too few; `Matcher.roles` decides (laws M1-M5).
Rule 2: an index never changes; `replace` returns another that shares most of it, so readers need no lock, and a
change among 100,000 leaves costs the copy of a few small dictionaries.
Rule 3: the predicates of a leaf are compiled when they are first asked; most of very many never are.

Sources: access predicates as in Fabret et al., "Filtering Algorithms and Implementation for Very Fast
Publish/Subscribe Systems" (SIGMOD 2001); immutable snapshots swapped whole as in timbray/quamina.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tocsin.schemas.event import Arrival
from tocsin.schemas.expression import ExpressionFailed
from tocsin.schemas.trigger import LeafTrigger
from tocsin.triggers.match import Facts, Key, Matcher, Roles
from tocsin.triggers.sketch import Reach
from tocsin.triggers.tables import Change, Leaf, LeafId, Tables

_NONE: Mapping[LeafId, LeafTrigger] = MappingProxyType({})
Match: TypeAlias = tuple[LeafId, Roles, Key]
"""A leaf that an event matches: in which roles, and under which key."""


class Index:
    """An immutable set of leaves, event and deadline triggers, that finds those which an event matches.

    `Index()` is empty; `Index().replace(leaves)` has some.
    """

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables | None = None) -> None:
        self._tables = tables or Tables()

    def __len__(self) -> int:
        return len(self._tables.leaves)

    def __contains__(self, leaf_id: object) -> bool:
        return leaf_id in self._tables.leaves

    def matcher(self, leaf_id: LeafId) -> Matcher:
        """Return the compiled predicates of a leaf.

        Raises:
            KeyError: there is no such leaf.
        """
        return self._tables.leaves[leaf_id].compiled()

    def match(self, arrival: Arrival, failed: list[LeafId] | None = None) -> list[Match]:
        """Return the leaves that the event matches, in no order to rely on.

        A leaf whose `where` failed at run time does not match; its id is appended to `failed` (law M4).
        """
        event, tables = arrival.event, self._tables
        name, labels = event.event, event.resource
        unnamed, prefixes = tables.unnamed, tables.prefixes
        found = unnamed.candidates(labels) if unnamed.labels else unnamed.rest
        named = tables.names.get(name)
        if named is not None:
            more = named.candidates(labels)
            found = [*found, *more] if found else more
        if prefixes.children or prefixes.lengths:
            more = prefixes.candidates(name, labels)
            found = [*found, *more] if found else more
        return _judged(found, arrival, failed) if found else []

    def replace(self, added: Mapping[LeafId, LeafTrigger] = _NONE, removed: Collection[LeafId] = ()) -> Index:
        """Return an index without `removed` and with `added`; an added leaf takes the place of one of the same id."""
        change = self.changing()
        for leaf_id in removed:
            change.drop(leaf_id)
        for leaf_id, trigger in added.items():
            change.put(Leaf(leaf_id, Reach.of(trigger), _Read(trigger)))
        return Index(change.tables)

    def changing(self) -> Change:
        """Return this index's tables in the making: what they become makes another index."""
        return Change(self._tables)


@dataclass(frozen=True, slots=True)
class _Read:
    """The predicates of a trigger that was read."""

    trigger: LeafTrigger

    def matcher(self) -> Matcher:
        return Matcher(self.trigger)


def _judged(candidates: list[Leaf], arrival: Arrival, failed: list[LeafId] | None) -> list[Match]:
    facts = Facts(arrival)
    matches = []
    for leaf in candidates:
        matcher = leaf.matcher or leaf.compiled()
        try:
            roles = matcher.roles(facts)
        except ExpressionFailed:
            if failed is not None:
                failed.append(leaf.id)
            continue
        if roles:
            matches.append((leaf.id, roles, matcher.key(facts)))
    return matches
