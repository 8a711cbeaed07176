"""Event triggers with `posture: Reactive`: laws R1 to R4. They look at events in the order of arrival."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.model.matching import key_of, name_matches, predicate_holds
from tests.model.notation import LONG_AGO, Event, Firing, Json, Labels, span


@dataclass
class _Key:
    kept: list[Event] = field(default_factory=list)
    """R1: neither consumed nor quiet. R4: counted for no window, remembered."""
    newest: datetime = LONG_AGO
    quiet_until: datetime = LONG_AGO
    opener: Event | None = None
    counted: list[Event] = field(default_factory=list)
    last_end: datetime = LONG_AGO


def _in_order(events: list[Event]) -> list[Event]:
    """By time; where times tie, by arrival (law O2)."""
    return sorted(events, key=lambda event: (event.t, event.place))


class Reactive:
    """One reactive trigger with all its keys."""

    def __init__(self, trigger: dict[str, Json], *, lateness: timedelta) -> None:
        self._trigger = trigger
        self._threshold: int = trigger.get("threshold", 1)
        within = trigger.get("within")
        self._within: timedelta | None = span(within) if within else None
        self._lateness = span(trigger["lateness"]) if "lateness" in trigger else lateness
        self._keys: dict[Labels, _Key] = {}

    def next_moment(self, now: datetime) -> datetime | None:
        """None: what has arrived is all that a reactive trigger judges."""
        return None

    def at_moment(self, at: datetime) -> list[Firing]:
        return []

    def arrive(self, event: Event) -> list[Firing]:
        """Judge one arrival."""
        expect = name_matches(self._trigger["expect"], event.name)
        after = "after" in self._trigger and name_matches(self._trigger["after"], event.name)
        if not (expect or after) or not predicate_holds(self._trigger, event):
            return []
        labels = key_of(self._trigger, event)
        key = self._keys.setdefault(labels, _Key())
        if "after" in self._trigger:
            sets = self._judge_window(key, event, roles=(expect, after))
            keep = self._lateness
        else:
            sets = self._judge_count(key, event)
            keep = max(self._within or timedelta(), self._lateness)
        # R3: after the arriving event was judged.
        key.newest = max(key.newest, event.t)
        key.kept = [kept for kept in key.kept if key.newest - kept.t < keep]
        return [Firing(event.received, "fired", labels, tuple(events), by=event) for events in sets]

    def _judge_count(self, key: _Key, event: Event) -> list[list[Event]]:
        """R1, R2: the earliest set of N kept events, this one among them, inside a span shorter than W."""
        if event.t < key.quiet_until:
            return []
        if self._within is None:
            return [[event]]
        key.kept.append(event)
        kept = _in_order(key.kept)
        for first in range(len(kept) - self._threshold + 1):
            counted = kept[first : first + self._threshold]
            if event in counted and counted[-1].t - counted[0].t < self._within:
                key.quiet_until = counted[0].t + self._within
                key.kept = [one for one in kept if one not in counted and one.t >= key.quiet_until]
                return [counted]
        return []

    def _judge_window(self, key: _Key, event: Event, *, roles: tuple[bool, bool]) -> list[list[Event]]:
        """R4: an `expect` counts for the open window or is remembered; an `after` opens when it can.

        So an event that is both may fire one window and open the next.
        """
        expect, after = roles
        sets = []
        if after:
            self._expire(key, event)
        if expect:
            if key.opener is not None and self._inside(key, event):
                key.counted.append(event)
            else:
                key.kept.append(event)
            sets += self._complete(key)
        if after and key.opener is None and event.t >= key.last_end:
            key.opener = event
            # In front of the opener (O2) is what has its time: all that is remembered arrived earlier.
            around = [one for one in _in_order(key.kept) if one.t > event.t and self._inside(key, one)]
            key.counted = around[: self._threshold]
            key.kept = [kept for kept in key.kept if kept not in key.counted]
            sets += self._complete(key)
        return sets

    def _expire(self, key: _Key, event: Event) -> None:
        """R4: an `after` behind the window finds it expired."""
        if key.opener is not None and self._within is not None and event.t > key.opener.t + self._within:
            key.last_end = key.opener.t + self._within
            key.opener, key.counted = None, []

    def _inside(self, key: _Key, event: Event) -> bool:
        assert key.opener is not None
        if event.t < key.opener.t:
            return False
        return self._within is None or event.t <= key.opener.t + self._within

    def _complete(self, key: _Key) -> list[list[Event]]:
        if key.opener is None or len(key.counted) < self._threshold:
            return []
        events = [key.opener, *key.counted]
        key.last_end = max(event.t for event in key.counted)
        key.opener, key.counted = None, []
        return [events]
