"""What is in force, in memory: snapshots that share most of what they hold, and what is between one and the next."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tocsin.engine.entries import STORED, Entry, Key, Origin, Texts
from tocsin.triggers.forking import ForkingDict

Entries: TypeAlias = Mapping[str, ForkingDict[Entry]]
"""Entries by kind and name."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is in force behind a place of the log; it never changes, another takes its place."""

    place: int
    entries: Entries


@dataclass(frozen=True, slots=True)
class News:
    """What is in force, or no longer, behind `place` and was not so before."""

    place: int
    entries: Sequence[Entry]
    gone: Sequence[Key]


NOTHING = Known(0, MappingProxyType({kind: ForkingDict() for kind in STORED}))
"""What is in force before anything was defined."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What of a wanted set is not in force as it stands, behind a place; `touched` are those and what would go."""

    place: int
    new: frozenset[Key]
    touched: frozenset[Key]


def difference(known: Known, origin: Origin, wanted: Texts) -> Difference:
    """Return what changes when `wanted` is put in the place of everything from an origin."""
    same: set[Key] = set()
    gone: set[Key] = set()
    for kind, entries in known.entries.items():
        for name, entry in entries.items():
            if entry.origin == origin:
                key = (kind, name)
                text = wanted.get(key)
                if text is None:
                    gone.add(key)
                elif text == entry.text:
                    same.add(key)
    new = frozenset(wanted.keys() - same)
    return Difference(known.place, new, new | gone)


def merged(known: Known, news: News) -> Known:
    """Return what is known with the news."""
    entries = dict(known.entries)
    for kind in {entry.kind for entry in news.entries} | {kind for kind, _ in news.gone}:
        changed = entries[kind] = entries[kind].copy()
        for entry in news.entries:
            if entry.kind == kind:
                changed[entry.name] = entry
        for other, name in news.gone:
            if other == kind:
                changed.pop(name, None)
    return Known(max(known.place, news.place), MappingProxyType(entries))


class FromFiles(Collection[str]):
    """The names of entries that came from files, without a copy of them."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    def __contains__(self, name: object) -> bool:
        found = self._entries.get(name) if isinstance(name, str) else None
        return found is not None and found.origin == "file"

    def __iter__(self) -> Iterator[str]:
        return (name for name, entry in self._entries.items() if entry.origin == "file")

    def __len__(self) -> int:
        return sum(1 for _ in self)
