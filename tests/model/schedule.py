"""Schedule triggers: laws T1 and T2."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from tests.model.calendar import cron_times, instant
from tests.model.notation import Event, Firing, Json, moment, span
from tests.model.silence import Outages


def schedule_times(trigger: dict[str, Json], armed: datetime) -> Iterator[datetime]:
    """The moments of a `cron`, `every` or `rrule` behind T0 (law T1)."""
    zone = trigger.get("timezone", "UTC")
    if "cron" in trigger:
        yield from cron_times(trigger["cron"], zone, after=armed)
    elif "every" in trigger:
        every = span(trigger["every"])
        anchor = moment(trigger["anchor"]) if "anchor" in trigger else armed
        at = anchor + ((armed - anchor) // every) * every
        while True:
            at += every
            yield at
    else:
        place, last = ZoneInfo(zone), armed
        for local in rrulestr(trigger["rrule"], dtstart=armed.astimezone(place).replace(tzinfo=None)):
            at = local.astimezone(UTC) if local.tzinfo else instant(local, place)
            if at > last:  # local times that a gap moved to its end are one time (D4)
                last = at
                yield at


class Schedule:
    """One schedule; it has one key and no events."""

    def __init__(self, trigger: dict[str, Json], *, armed: datetime, outages: Outages) -> None:
        self._catch_up: str = trigger.get("catch_up", "last")
        self._outages = outages
        self._times = schedule_times(trigger, armed)
        self._ahead = [next(self._times, None), next(self._times, None)]

    def _is_skipped(self, at: datetime, following: datetime | None) -> bool:
        """T2: what of the times in an outage is caught up with."""
        ends = [end for start, end in self._outages.gaps if start < at < end]
        if not ends or self._catch_up == "all":
            return False
        return self._catch_up == "none" or (following is not None and following < max(ends))

    def _advance(self) -> None:
        self._ahead = [self._ahead[1], next(self._times, None)]

    def next_moment(self, now: datetime) -> datetime | None:
        """The next time that fires."""
        while self._ahead[0] is not None and self._is_skipped(self._ahead[0], self._ahead[1]):
            self._advance()
        return self._ahead[0]

    def arrive(self, event: Event) -> list[Firing]:
        return []

    def at_moment(self, at: datetime) -> list[Firing]:
        """Fire at the schedule's time."""
        if self.next_moment(at) != at:
            return []
        self._advance()
        return [Firing(at, "fired", (), ())]
