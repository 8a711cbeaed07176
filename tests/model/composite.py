"""Composite triggers: laws C1 to C5. They compare the judged times of what their children said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Protocol

from tests.model.matching import key_names
from tests.model.notation import Event, Firing, Json, Labels, span
from tests.model.silence import Outages

KEPT = 100
"""Law C3: so many firings of each child are kept by a sequence without `within`."""


class Child(Protocol):
    """What a composite asks of the triggers inside it."""

    def next_moment(self, now: datetime) -> datetime | None: ...
    def arrive(self, event: Event) -> list[Firing]: ...
    def at_moment(self, at: datetime) -> list[Firing]: ...


@dataclass(frozen=True, eq=False)
class Kept:
    """A child's firing as its parent keeps it; `place` is its number among all that were handed over."""

    firing: Firing
    place: int

    @property
    def newness(self) -> tuple[datetime, int]:
        """Of equal times the later arrival is the newer (law C1)."""
        return self.firing.time, self.place


@dataclass(frozen=True)
class Position:
    """One entry of `triggers`: a child that fires, or a `not`."""

    child: Child
    is_not: bool
    within: timedelta | None


@dataclass
class Key:
    """What one combination of the composite's labels keeps, for each position."""

    kept: dict[int, list[Kept]] = field(default_factory=dict)
    found: list[tuple[Kept, ...]] = field(default_factory=list)
    """C4: sets that await the end of a sequence."""
    known: list[tuple[Kept, ...]] = field(default_factory=list)

    def of(self, position: int) -> list[Kept]:
        return self.kept.setdefault(position, [])


def _span(kept: Iterable[Kept]) -> timedelta:
    times = [one.firing.time for one in kept]
    return max(times) - min(times)


class Composite:
    """A compound or a sequence with its children and all its keys."""

    def __init__(self, trigger: dict[str, Json], node: Callable[[dict[str, Json]], Child], *, outages: Outages) -> None:
        self._trigger = trigger
        self._outages = outages
        self._within = span(trigger["within"]) if "within" in trigger else None
        self._positions = [_position(child, node) for child in trigger["triggers"]]
        self._counted = [i for i, position in enumerate(self._positions) if not position.is_not]
        self._nots = [i for i, position in enumerate(self._positions) if position.is_not]
        self._keys: dict[Labels, Key] = {}
        self._handed = 0

    def next_moment(self, now: datetime) -> datetime | None:
        """The next moment of a child, or the end of a sequence that was found."""
        moments = [at for position in self._positions if (at := position.child.next_moment(now)) is not None]
        ends = [self._decided_at(found) for key in self._keys.values() for found in key.found]
        moments += [self._outages.moved(max(end, now)) for end in ends]
        return min(moments, default=None)

    def arrive(self, event: Event) -> list[Firing]:
        """Judge one arrival in all children, then here."""
        return self._hand_over(lambda child: child.arrive(event))

    def at_moment(self, at: datetime) -> list[Firing]:
        """Judge one moment in all children, then here."""
        firings = self._hand_over(lambda child: child.at_moment(at))
        for labels in sorted(self._keys):
            firings += self._decide_ends(labels, at)
        return firings

    def _hand_over(self, judge: Callable[[Child], list[Firing]]) -> list[Firing]:
        """C1: in the order of the children, those of `not` first, then by K; resolved ones are not."""
        said = {i: judge(position.child) for i, position in enumerate(self._positions)}
        firings = []
        for i in [*self._nots, *self._counted]:
            for firing in sorted(said[i], key=lambda firing: firing.labels):
                if firing.verdict != "resolved":
                    firings += self._take(i, firing)
        return firings

    def _take(self, position: int, firing: Firing) -> list[Firing]:
        self._handed += 1
        given = dict(firing.labels)
        labels = tuple((name, given[name]) for name in key_names(self._trigger))
        key = self._keys.setdefault(labels, Key())
        kept = Kept(firing, self._handed)
        key.of(position).append(kept)
        if position in self._nots:
            return []
        if self._trigger["type"] == "compound":
            return self._compound(labels, kept, position)
        return self._sequence(labels, kept, position)

    def _fire(self, labels: Labels, chosen: Sequence[Kept], *, at: datetime, by: Event | None) -> Firing:
        events = tuple(event for one in chosen for event in one.firing.events)
        times = tuple(one.firing.time for one in chosen)
        return Firing(at, "fired", labels, events, by=by, times=times)

    def _compound(self, labels: Labels, arrived: Kept, position: int) -> list[Firing]:
        """C2: N children whose newest firings are at most `within` apart, the newest ones first."""
        key = self._keys[labels]
        newest = {i: max(key.of(i), key=lambda one: one.newness) for i in self._counted if key.of(i)}
        key.kept.update({i: [one] for i, one in newest.items()})
        if newest[position] is not arrived:
            return []
        require = self._trigger.get("require", "all")
        needed = len(self._counted) if require == "all" else 1 if require == "any" else int(require)
        others = [one for one in newest.values() if one is not arrived]
        sets = [
            sorted([arrived, *some], key=lambda one: one.newness, reverse=True)
            for some in combinations(others, needed - 1)
            if self._within is None or _span([arrived, *some]) <= self._within
        ]
        if not sets:
            return []
        chosen = max(sets, key=lambda one: [each.newness for each in one])
        if not self._nots_of_compound_hold(key, chosen[0].firing.time):
            return []
        for i in self._counted:
            key.of(i).clear()
        return [self._fire(labels, chosen, at=arrived.firing.at, by=arrived.firing.by)]

    def _nots_of_compound_hold(self, key: Key, newest: datetime) -> bool:
        """C4: no firing in `(newest - within, newest]`."""
        return not any(
            one.firing.time <= newest and self._is_near(i, one.firing.time, newest)
            for i in self._nots
            for one in key.of(i)
        )

    def _is_near(self, position: int, time: datetime, end: datetime) -> bool:
        within = self._positions[position].within
        return within is None or time > end - within

    def _sequence(self, labels: Labels, arrived: Kept, position: int) -> list[Firing]:
        """C3: from the newest firing of the last child back to the first."""
        key = self._keys[labels]
        if self._within is None:
            kept = sorted(key.of(position), key=lambda one: one.newness)
            key.kept[position] = kept[-KEPT:]
        found = self._find(key)
        if found is None or (self._within is not None and _span(found) > self._within):
            return []
        if self._positions[-1].is_not:
            if found not in key.known:
                key.known.append(found)
                key.found.append(found)
            return []
        if not self._nots_of_sequence_hold(key, found):
            return []
        return [self._consume(labels, found, at=arrived.firing.at, by=arrived.firing.by)]

    def _find(self, key: Key) -> tuple[Kept, ...] | None:
        found: list[Kept] = []
        for i in reversed(self._counted):
            used = {one.firing.by for one in found} - {None}
            before = [
                one
                for one in key.of(i)
                if (not found or one.firing.time <= found[0].firing.time) and one.firing.by not in used
            ]
            if not before:
                return None
            found.insert(0, max(before, key=lambda one: one.newness))
        return tuple(found)

    def _consume(self, labels: Labels, found: Sequence[Kept], *, at: datetime, by: Event | None) -> Firing:
        key = self._keys[labels]
        for i in self._counted:
            key.kept[i] = [one for one in key.of(i) if one.firing.time > found[-1].firing.time]
        return self._fire(labels, found, at=at, by=by)

    def _nots_of_sequence_hold(self, key: Key, found: Sequence[Kept]) -> bool:
        """C4: nothing between two positions, in front, or at the end, of each `not`."""
        first, last = found[0].firing.time, found[-1].firing.time
        for i in self._nots:
            times = [one.firing.time for one in key.of(i)]
            behind = sum(position < i for position in self._counted)
            if behind == 0:
                disturbed = any(time < first and self._is_near(i, time, first) for time in times)
            elif behind == len(found):
                assert self._within is not None
                disturbed = any(last < time <= first + self._within for time in times)
            else:
                between = found[behind - 1].firing.time, found[behind].firing.time
                disturbed = any(between[0] < time < between[1] for time in times)
            if disturbed:
                return False
        return True

    def _decided_at(self, found: Sequence[Kept]) -> datetime:
        assert self._within is not None
        return self._outages.moved(found[0].firing.time + self._within)

    def _decide_ends(self, labels: Labels, at: datetime) -> list[Firing]:
        """C4: each set that was found, at its end, unless it was consumed before."""
        key = self._keys[labels]
        firings = []
        ripe = [found for found in key.found if self._decided_at(found) <= at]
        for found in sorted(ripe, key=lambda found: (self._decided_at(found), key.found.index(found))):
            key.found.remove(found)
            alive = all(one in key.of(i) for i, one in zip(self._counted, found, strict=True))
            if alive and self._nots_of_sequence_hold(key, found):
                firings.append(self._consume(labels, found, at=at, by=None))
        return firings


def _position(trigger: dict[str, Json], node: Callable[[dict[str, Json]], Child]) -> Position:
    if trigger.get("type") != "not":
        return Position(node(trigger), is_not=False, within=None)
    within = span(trigger["within"]) if "within" in trigger else None
    return Position(node(trigger["trigger"]), is_not=True, within=within)
