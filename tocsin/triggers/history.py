"""The order in which silence is judged: by when things happened, as far back as `lateness` reaches (law O4).

A key's history is a base, into which everything older is folded for good, and the entries behind it in their places.
The present is the base with all entries folded into it. What arrives in order is one step of the present; what
arrives late takes its place, and the present is folded again from the base.

Rule 1: where an event stands among its key's events is decided in this file.
Rule 2: this file does not know what an event adds to a fold; the machine's `step` does.
Ties: of equal times the earlier arrival stands in front (law O2).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

from tocsin.schemas.moments import Micros
from tocsin.triggers.machine import Seen

REACH = 1_000
"""How many of a key's newest events may be judged again (law O4)."""


class Fold(Protocol):
    """What events add up to."""

    def copy(self) -> Self:
        """Return an independent copy."""
        ...


F = TypeVar("F", bound=Fold)
T = TypeVar("T")


class History(Generic[F]):
    """One key's events in the order of law O4, and what they add up to."""

    __slots__ = ("base", "entries", "newest_us", "now")

    def __init__(self, base: F) -> None:
        self.base = base
        self.now = base.copy()
        self.entries: list[Seen] = []
        self.newest_us: Micros | None = None

    def add(self, seen: Seen, lateness_us: Micros, step: Callable[[F, Seen], T]) -> T:
        """Give an arrival its place, fold, and return what its own step returned."""
        placed = self.placed(seen, lateness_us)
        self.newest_us = seen.time_us if self.newest_us is None else max(self.newest_us, seen.time_us)
        entries = self.entries
        if not entries or entries[-1].place_us <= placed.place_us:
            self._shorten(lateness_us, step)
            entries.append(placed)
            return step(self.now, placed)
        self._shorten(lateness_us, step)
        place = bisect_right(entries, placed)
        entries.insert(place, placed)
        return self.refold(step)[place]

    def commit(self, until_us: Micros, step: Callable[[F, Seen], T]) -> None:
        """Fold for good everything with a place up to `until_us`."""
        entries, done = self.entries, 0
        while done < len(entries) and entries[done].place_us <= until_us:
            step(self.base, entries[done])
            done += 1
        del entries[:done]

    def placed(self, seen: Seen, lateness_us: Micros) -> Seen:
        """Return an arrival in its place: where its time puts it, or at the end when that is out of reach."""
        newest_us, entries = self.newest_us, self.entries
        if newest_us is None or seen.time_us >= newest_us:
            return seen
        reach_us = newest_us - lateness_us
        if len(entries) >= REACH:
            reach_us = max(reach_us, entries[-REACH].place_us)
        return seen if seen.time_us >= reach_us else seen._replace(place_us=newest_us)

    def _shorten(self, lateness_us: Micros, step: Callable[[F, Seen], T]) -> None:
        """Fold for good what is out of reach now."""
        assert self.newest_us is not None
        entries, reach_us, done = self.entries, self.newest_us - lateness_us, 0
        while done < len(entries) and (entries[done].place_us < reach_us or len(entries) - done > REACH):
            step(self.base, entries[done])
            done += 1
        del entries[:done]

    def refold(self, step: Callable[[F, Seen], T]) -> list[T]:
        """Fold the present again from the base; return what each entry's step returned."""
        self.now = self.base.copy()
        return [step(self.now, entry) for entry in self.entries]
