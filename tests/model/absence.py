"""Event triggers with `posture: Proactive`: the life of a key under laws P1 to P8."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.model.matching import key_of, subject_keys
from tests.model.notation import Event, Firing, Json, Labels, span
from tests.model.silence import History, Outages, Rule, Window
from tests.model.windows import windows_with_after, windows_without_after

FORGET_AFTER = timedelta(days=30)


@dataclass
class _Miss:
    """An open miss: the window, when it was said, how often it was repeated."""

    window: Window
    at: datetime
    repeats: int = 0


class _Key:
    """One key: its history, what is settled, and whether it is missed now."""

    def __init__(self, rule: Rule, labels: Labels, *, subject: bool) -> None:
        self.rule = rule
        self.labels = labels
        self.subject = subject
        self.history = History(rule.lateness)
        self.settled: list[Window] = []
        self.miss: _Miss | None = None

    @property
    def _armed_at_start(self) -> bool:
        return self.subject or not self.rule.trigger.get("for_each")

    @property
    def _follows_after(self) -> bool:
        return "after" in self.rule.trigger

    def pending(self) -> list[Window]:
        """The windows that are not settled, recomputed from the whole history."""
        if self._follows_after:
            return windows_with_after(self.history.in_order(), self.rule, self.settled)
        return windows_without_after(self.history.in_order(), self.rule, self.settled, armed=self._armed_at_start)

    def _meant(self, window: Window) -> datetime:
        """P5: the moment of a verdict, before outages move it."""
        patience = min(self.rule.within, self.rule.lateness)
        return max(window.deadline + self.rule.grace, window.received + patience)

    def _moments(self) -> list[tuple[datetime, Window]]:
        """P5: each window's moment, closed ones included (O4); those behind an unmet one wait for it."""
        moments = []
        not_before: datetime | None = None
        for window in self.pending():
            own = self.rule.outages.moved(self._meant(window))
            own = own if not_before is None else max(own, not_before)
            moments.append((own, window))
            if window.waits:
                not_before = own
        return moments

    def next_moment(self) -> datetime | None:
        """When something about this key is decided next."""
        moments = [at for at, _ in self._moments()]
        moments += [at for at in (self._next_repeat(), self._forgotten_at()) if at is not None]
        return min(moments, default=None)

    def _next_repeat(self) -> datetime | None:
        if self.miss is None or "repeat" not in self.rule.trigger:
            return None
        every = span(self.rule.trigger["repeat"])
        return self.rule.outages.moved(self.miss.at + (self.miss.repeats + 1) * every)

    def _forgotten_at(self) -> datetime | None:
        """P8: when a missed key is forgotten; never a subject, a key of P1 to P3 neither."""
        if self.miss is None or self._armed_at_start or self._follows_after:
            return None
        after = self.rule.trigger.get("forget_after")
        return self.rule.outages.moved(self.miss.at + (span(after) if after else FORGET_AFTER))

    def is_forgotten(self, at: datetime) -> bool:
        forgotten_at = self._forgotten_at()
        return forgotten_at is not None and forgotten_at <= at

    def arrive(self, event: Event) -> list[Firing]:
        """Take an event to its place; it may resolve (P5, P6)."""
        self.history.add(event)
        if self.miss is None:
            return []
        missed = self.miss.window
        if self.rule.plays("until", event):
            reopen = bool(self.rule.trigger.get("reopen"))
            if not reopen or missed.opening <= event.t:
                return self._resolve(event.received, event)
        if not self._one_alert_per_silence(missed):
            if any(window.opening > missed.opening for window in self.pending()):
                self.miss = None
            elif self.rule.plays("expect", event) and event.t >= missed.opening:
                return self._resolve(event.received, event)
        elif self._deadline_to_come(event.received):
            return self._resolve(event.received, event)
        return []

    def _one_alert_per_silence(self, window: Window) -> bool:
        """P2, P3 and P4, in contrast to P1: heartbeats, not jobs."""
        heartbeat = window.setter is not None and self.rule.plays("expect", window.setter)
        return not self._follows_after or heartbeat

    def _deadline_to_come(self, now: datetime) -> Window | None:
        """The current deadline, when its verdict is still to come (P5)."""
        pending = self.pending()
        if not pending or pending[-1].outcome != "open":
            return None
        return pending[-1] if pending[-1].deadline + self.rule.grace > now else None

    def _resolve(self, at: datetime, event: Event) -> list[Firing]:
        self.miss = None
        return [Firing(at, "resolved", self.labels, (event,), by=event)]

    def decide(self, at: datetime) -> list[Firing]:
        """Every verdict and repeat whose moment has come."""
        firings: list[Firing] = []
        while due := [window for moment, window in self._moments() if moment <= at]:
            firings += self._settle(due[0], at)
        return firings + self._repeat(at)

    def _repeat(self, at: datetime) -> list[Firing]:
        """P5: once, however many repeats an outage has kept waiting."""
        repeat = self._next_repeat()
        if self.miss is None or repeat is None or repeat > at or self.is_forgotten(at):
            return []
        while repeat is not None and repeat <= at:
            self.miss.repeats += 1
            repeat = self._next_repeat()
        return [self._silence(at, "missed", self.miss.window)]

    def _silence(self, at: datetime, verdict: str, window: Window) -> Firing:
        return Firing(at, verdict, self.labels, window.all_events(), due=window.deadline)

    def _settle(self, window: Window, at: datetime) -> list[Firing]:
        """O4: the window, and those before it, become facts. Unmet, it fires (P5); late, when asked to (P7)."""
        pending = self.pending()
        same = next(one for one in pending if one.deadline == window.deadline and one.setter is window.setter)
        self.settled += pending[: pending.index(same) + 1]
        if same.outcome == "late":
            return [self._silence(at, "late", same)] if self.rule.fires_late else []
        if same.outcome != "open":
            return []
        unknown = self.rule.outages.touch(same.opening, self._meant(same))
        same.finish("unknown" if unknown else "missed", same.deadline)
        return self._say(same, at)

    def _say(self, window: Window, at: datetime) -> list[Firing]:
        grouped = self._one_alert_per_silence(window)
        if grouped and self.miss is not None:
            return []
        if window.outcome == "unknown":
            return [] if self.rule.skips_unknown else [self._silence(at, "unknown", window)]
        firings = [self._silence(at, "missed", window)]
        if grouped:
            self.miss = _Miss(window, at)
            current = self._deadline_to_come(at)
            if current is not None and current.setter is not None:
                firings += self._resolve(at, current.setter)
        elif not self.pending():
            self.miss = _Miss(window, at)
        else:
            self.miss = None
        return firings


@dataclass
class Absence:
    """One proactive trigger with all its keys."""

    rule: Rule
    keys: dict[Labels, _Key] = field(default_factory=dict)
    forgotten: list[_Key] = field(default_factory=list)

    @classmethod
    def read(cls, trigger: dict[str, Json], *, armed: datetime, lateness: timedelta, outages: Outages) -> "Absence":
        """The trigger at T0, with the keys that are armed then (P3, P4)."""
        absence = cls(Rule.read(trigger, armed=armed, lateness=lateness, outages=outages))
        if "after" not in trigger:
            for labels in subject_keys(trigger) if trigger.get("for_each") else [()]:
                absence.keys[labels] = _Key(absence.rule, labels, subject=bool(labels))
        return absence

    def next_moment(self, now: datetime) -> datetime | None:
        """When silence decides next; what should have been decided before is decided now."""
        moments = [at for key in self.keys.values() if (at := key.next_moment()) is not None]
        return self.rule.outages.moved(max(min(moments), now)) if moments else None

    def arrive(self, event: Event) -> list[Firing]:
        """Judge one arrival."""
        if not any(self.rule.plays(role, event) for role in ("expect", "after", "until")):
            return []
        labels = key_of(self.rule.trigger, event)
        if labels not in self.keys:
            self.keys[labels] = _Key(self.rule, labels, subject=False)
        return self.keys[labels].arrive(event)

    def at_moment(self, at: datetime) -> list[Firing]:
        """Judge what the silence up to this moment decides."""
        firings = []
        for labels in sorted(self.keys):
            key = self.keys[labels]
            firings += key.decide(at)
            if key.is_forgotten(at):
                self.forgotten.append(self.keys.pop(labels))
        return firings
