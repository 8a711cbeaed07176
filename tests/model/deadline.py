"""Deadline triggers: laws D1 to D5."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.model.calendar import cron_times, last_cron_time
from tests.model.matching import key_of, subject_keys
from tests.model.notation import Event, Firing, Json, Labels, span
from tests.model.silence import History, Rule, Window

PRIMED = timedelta(days=32)


class _Calendar:
    """The due times of one trigger, with their windows."""

    def __init__(self, rule: Rule, *, since: datetime) -> None:
        self.rule = rule
        self._cron = (rule.trigger["due"], rule.trigger.get("timezone", "UTC"))
        start = last_cron_time(*self._cron, before=since)
        self._times = cron_times(*self._cron, after=start - timedelta(microseconds=1))
        self._known = [next(self._times)]

    def up_to(self, end: datetime) -> list[datetime]:
        """The due times up to this moment, from the last one before T0 and all stored events on."""
        while self._known[-1] <= end:
            self._known.append(next(self._times))
        return [due for due in self._known if due <= end]

    def next(self, after: datetime) -> datetime:
        """The first due time behind a moment."""
        self.up_to(after)
        return next(due for due in self._known if due > after)

    def opening(self, due: datetime) -> datetime:
        """Where its window begins (D1): this moment itself is not in it."""
        if "window" in self.rule.trigger:
            return due - span(self.rule.trigger["window"])
        return max(known for known in self._known if known < due)

    def window(self, due: datetime) -> Window:
        return Window(self.opening(due), due, self.rule.armed)

    def holding(self, moment: datetime) -> list[datetime]:
        """The due times (all that K can be judged for) whose windows hold a moment, the earliest first."""
        found = []
        due = self.next(max(moment - timedelta(microseconds=1), self._known[0]))
        while self.opening(due) < moment:
            found.append(due)
            due = self.next(due)
        return found


class _Key:
    """One key: its history, and the due times that are settled."""

    def __init__(self, calendar: _Calendar, labels: Labels, *, primed: Sequence[Event], armed: bool) -> None:
        self.calendar = calendar
        self.rule = calendar.rule
        self.labels = labels
        self.history = History(self.rule.lateness)
        self.primed = tuple(primed)
        for event in primed:
            self.history.add(event)
        self.judged_after: datetime | None = self.rule.armed if armed else None
        """K is judged for the due times behind this moment (D3); None: not yet."""
        self.settled: list[Window] = []
        self.missed: list[Window] = []

    def windows(self, now: datetime) -> list[Window]:
        """Every due time that K is judged for and that matters by now, with what counts for it."""
        judged = {window.deadline: window for window in self.settled}
        taken = {event for window in self.settled for event in [*window.events, *window.late]}
        if self.judged_after is not None:
            for due in [*self.calendar.up_to(now), self.calendar.next(now)]:
                if due > self.judged_after and due not in judged:
                    judged[due] = self.calendar.window(due)
        absorbed: dict[datetime, int] = {}
        for event in self.history.in_order():
            if event not in taken:
                self._count(event, judged, absorbed)
        return [judged[due] for due in sorted(judged)]

    def _count(self, event: Event, judged: dict[datetime, Window], absorbed: dict[datetime, int]) -> None:
        """D5: for the due time before it, late; else for the earliest unmet one in whose window it lies."""
        before = self.calendar.up_to(event.t - timedelta(microseconds=1))[-1:]
        for window in [judged[due] for due in before if due in judged]:
            if window.outcome == "open" and event.t <= window.deadline + self.rule.grace:
                window.late.append(event)
                if len(window.events) + len(window.late) >= self.rule.threshold:
                    window.finish("late", window.deadline)
                return
        for due in self.calendar.holding(event.t):
            if self.judged_after is None or due <= self.judged_after:
                if event in self.primed and due > self.rule.armed and absorbed.get(due, 0) < self.rule.threshold:
                    absorbed[due] = absorbed.get(due, 0) + 1  # spent, though K is not judged for that one
                    return
                continue
            if self._takes(judged.setdefault(due, self.calendar.window(due)), event, absorbed):
                return

    def _takes(self, window: Window, event: Event, absorbed: dict[datetime, int]) -> bool:
        """In time: met by the N-th. A settled miss takes what it lacked, though it stays missed."""
        if window.outcome in ("missed", "unknown"):
            lacking = self.rule.threshold - len(window.events) - len(window.late)
            absorbed[window.deadline] = absorbed.get(window.deadline, 0) + 1
            return absorbed[window.deadline] <= lacking
        if window.outcome == "met" or window in self.settled:
            return False
        window.events.append(event)
        if len(window.events) >= self.rule.threshold:
            window.finish("met", window.deadline)
        elif len(window.events) + len(window.late) >= self.rule.threshold:
            window.finish("late", window.deadline)
        return True

    def _meant(self, window: Window) -> datetime:
        return window.deadline + self.rule.grace

    def next_moment(self, now: datetime) -> datetime | None:
        """D2: the moment of the first due time that is not settled."""
        moments = [
            self.rule.outages.moved(self._meant(window)) for window in self.windows(now) if window not in self.settled
        ]
        return min(moments, default=None)

    def arrive(self, event: Event) -> list[Firing]:
        """Take an event to its place; it may arm the key (D3) and resolve (D2)."""
        self.history.add(event)
        self._arm(event.received)
        back = [window for window in self.missed if event.t > window.opening]
        if not back:
            return []
        self.missed = [window for window in self.missed if window not in back]
        return [Firing(event.received, "resolved", self.labels, (event,), by=event)]

    def _arm(self, now: datetime) -> None:
        """D3: from the first due time behind its first event on, whose moment has not passed."""
        arrived = [event for event in self.history.in_order() if event not in self.primed]
        due = self.calendar.next(max(arrived[0].t, self.rule.armed))
        while self._meant(due_window := self.calendar.window(due)) < now:
            due = self.calendar.next(due_window.deadline)
        just_before = due - timedelta(microseconds=1)
        if self.judged_after is None or just_before < self.judged_after:
            self.judged_after = just_before

    def decide(self, at: datetime) -> list[Firing]:
        """D2: every due time whose moment has come."""
        firings = []
        for window in self.windows(at):
            if window in self.settled or self.rule.outages.moved(self._meant(window)) > at:
                continue
            self.settled.append(window)
            if window.outcome == "late" and self.rule.fires_late:
                firings.append(self._silence(at, "late", window))
            elif window.outcome == "open":
                firings += self._unmet(window, at)
        return firings

    def _unmet(self, window: Window, at: datetime) -> list[Firing]:
        if self.rule.outages.touch(window.opening, self._meant(window)):
            window.finish("unknown", window.deadline)
            return [] if self.rule.skips_unknown else [self._silence(at, "unknown", window)]
        window.finish("missed", window.deadline)
        self.missed.append(window)
        return [self._silence(at, "missed", window)]

    def _silence(self, at: datetime, verdict: str, window: Window) -> Firing:
        return Firing(at, verdict, self.labels, window.all_events(), due=window.deadline)


def _left_by_the_past(stored: Sequence[Event], calendar: _Calendar) -> list[Event]:
    """O3: the stored events of the windows open at T0, without those that count for a due time up to T0."""
    armed = calendar.rule.armed
    open_since, due = armed, calendar.next(armed)
    while calendar.opening(due) < armed:
        open_since, due = min(open_since, calendar.opening(due)), calendar.next(due)
    open_since = max(open_since, armed - PRIMED)
    history = History(calendar.rule.lateness)
    for event in stored:
        if event.t > open_since:
            history.add(event)
    counts: dict[datetime, int] = {}
    left = []
    for event in history.in_order():
        past = calendar.up_to(min(event.t - timedelta(microseconds=1), armed))[-1:]
        grace = calendar.rule.grace
        late_for = [due for due in past if max(event.t, event.received) <= due + grace]
        in_time_for = [due for due in calendar.holding(event.t) if due <= armed]
        for due in [*late_for, *in_time_for]:
            if counts.get(due, 0) < calendar.rule.threshold:
                counts[due] = counts.get(due, 0) + 1
                break
        else:
            left.append(event)
    return left


@dataclass
class Deadline:
    """One deadline trigger with all its keys."""

    rule: Rule
    calendar: _Calendar
    stored: Sequence[Event]
    keys: dict[Labels, _Key] = field(default_factory=dict)

    @classmethod
    def read(cls, trigger: dict[str, Json], *, rule: Rule, stored: Sequence[Event]) -> "Deadline":
        """The trigger at T0, primed with what is stored (O3), with the keys that are judged from then on (D3)."""
        primed = [event for event in stored if rule.plays("expect", event)]
        earliest = max(min([rule.armed, *(event.t for event in primed)]), rule.armed - PRIMED)
        deadline = cls(rule, _Calendar(rule, since=earliest), primed)
        for labels in subject_keys(trigger) if trigger.get("for_each") else [()]:
            deadline.keys[labels] = deadline.new_key(labels, armed=True)
        return deadline

    def new_key(self, labels: Labels, *, armed: bool) -> _Key:
        stored = [event for event in self.stored if key_of(self.rule.trigger, event) == labels]
        return _Key(self.calendar, labels, primed=_left_by_the_past(stored, self.calendar), armed=armed)

    def next_moment(self, now: datetime) -> datetime | None:
        """The next due time of any key, with its grace."""
        moments = [at for key in self.keys.values() if (at := key.next_moment(now)) is not None]
        return self.rule.outages.moved(max(min(moments), now)) if moments else None

    def arrive(self, event: Event) -> list[Firing]:
        """Judge one arrival."""
        if not self.rule.plays("expect", event):
            return []
        labels = key_of(self.rule.trigger, event)
        if labels not in self.keys:
            self.keys[labels] = self.new_key(labels, armed=False)
        return self.keys[labels].arrive(event)

    def at_moment(self, at: datetime) -> list[Firing]:
        """Judge the due times whose moment has come."""
        return [firing for labels in sorted(self.keys) for firing in self.keys[labels].decide(at)]
