"""What absence and deadline share: the order in which silence is judged (O4), windows, outages (S2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.model.matching import name_matches, predicate_holds
from tests.model.notation import LONG_AGO, Event, Json, span

REACH = 1_000
"""Law O4: an event takes the place of its time among so many of K's newest."""


@dataclass(frozen=True)
class Outages:
    """When the engine could not receive, and how long senders get to deliver again (law S2)."""

    gaps: tuple[tuple[datetime, datetime], ...] = ()
    settle: timedelta = timedelta(minutes=1)

    def moved(self, moment: datetime) -> datetime:
        """The moment of a verdict, after the outage that it falls into has settled."""
        for start, end in sorted(self.gaps):
            if start < moment < end + self.settle:
                moment = end + self.settle
        return moment

    def touch(self, opening: datetime, moment: datetime) -> bool:
        """Whether one of them overlaps a window, up to the moment that its verdict was meant for."""
        return any(opening < end and moment > start for start, end in self.gaps)


@dataclass(frozen=True)
class Rule:
    """The fields of a trigger that judge silence, read once."""

    trigger: Mapping[str, Json]
    armed: datetime
    lateness: timedelta
    outages: Outages

    @classmethod
    def read(cls, trigger: Mapping[str, Json], *, armed: datetime, lateness: timedelta, outages: Outages) -> "Rule":
        """The rule of one trigger, armed at T0, with the setting for `lateness`."""
        own = span(trigger["lateness"]) if "lateness" in trigger else lateness
        return cls(trigger, armed, own, outages)

    @property
    def threshold(self) -> int:
        """N."""
        count: int = self.trigger.get("threshold", 1)
        return count

    @property
    def within(self) -> timedelta:
        """W."""
        return span(self.trigger["within"])

    @property
    def grace(self) -> timedelta:
        """How long the verdict waits behind the deadline (law P7)."""
        return span(self.trigger.get("grace", 0))

    @property
    def fires_late(self) -> bool:
        """`on_late: fire` (law P7)."""
        return self.trigger.get("on_late") == "fire"

    @property
    def skips_unknown(self) -> bool:
        """`on_unknown: skip` (law S2)."""
        return self.trigger.get("on_unknown") == "skip"

    def plays(self, role: str, event: Event) -> bool:
        """Whether the event is an `expect`, `after` or `until` of this trigger."""
        if role not in self.trigger or not name_matches(self.trigger[role], event.name):
            return False
        return predicate_holds(self.trigger, event)


@dataclass(eq=False)
class Window:
    """A stretch of time that wants N events. `outcome` is `open` until something decided (law S3)."""

    opening: datetime
    deadline: datetime
    received: datetime
    """r: the arrival of what set the deadline (law P5)."""
    opener: Event | None = None
    """The `after` event of P1 and P2."""
    mover: Event | None = None
    """The event of P3 and P4 that moved the deadline to here; none at T0."""
    events: list[Event] = field(default_factory=list)
    """In time: those counted (P1, D1), or the N newest that the deadline counts from (P3, P4)."""
    late: list[Event] = field(default_factory=list)
    outcome: str = "open"
    end: datetime = LONG_AGO
    ended_by: Event | None = None
    """The event that met or closed it, if one did."""

    @property
    def waits(self) -> bool:
        """Not met in time, and not closed: it awaits its moment for a verdict."""
        return self.outcome in ("open", "late")

    @property
    def setter(self) -> Event | None:
        """The event that set the deadline (law P5)."""
        return self.opener or self.mover

    def finish(self, outcome: str, end: datetime) -> None:
        """Give the outcome, and where the window ends."""
        self.outcome = outcome
        self.end = end

    def all_events(self) -> tuple[Event, ...]:
        """Those that a firing lists (law F3)."""
        listed: list[Event] = []
        for event in [self.opener, *self.events, *self.late]:
            if event is not None and event not in listed:
                listed.append(event)
        return tuple(listed)


@dataclass(eq=False)
class History:
    """K's events, in the order in which silence judges them (law O4)."""

    lateness: timedelta
    _rank: list[tuple[datetime, Event]] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """An arrival: in reach, its rank is its time; older than that, it comes after all that arrived before."""
        times = sorted((known.t for _, known in self._rank), reverse=True)
        rank = event.t
        if times:
            reach = max(times[0] - self.lateness, times[:REACH][-1] if len(times) >= REACH else LONG_AGO)
            if event.t < reach:
                rank = times[0]
        self._rank.append((rank, event))

    def in_order(self) -> list[Event]:
        """All of them; ties in the order of arrival (law O2)."""
        return [event for _, event in sorted(self._rank, key=lambda one: (one[0], one[1].place))]
