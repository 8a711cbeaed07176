"""Silence: windows that wait for their verdict, and keys that are missed until something happens (laws P1-P8, S2,
S3).

What both kinds of silence have in common. `windows` (an `after` event opens a window) and `heartbeat` (each event
moves the deadline) say what events do to windows; this file says what moments do:

- each window has a moment at which it is settled, `max(due + grace, received + min(within, lateness))`, `received`
  being the arrival of the event that set its deadline; those that nobody met have theirs one after another (P5);
- unmet then, it ends `missed`, or `unknown` when an outage overlaps it, and the key is missed until it is resolved;
- a key that is missed already is not alerted again: one alert per silence.

Rule 1: every verdict about silence is given in this file, and each window ends here, exactly once (law S3). The
decision that says how is the one without a `seq`; what arrivals did on the way there carries the `seq` of the
arrival.
Rule 2: this file does not know which events open, meet or move a window."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, duration_us, iso, span
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.history import History
from tocsin.triggers.machine import (
    Counted,
    Ledger,
    Machine,
    Node,
    Said,
    Seen,
    State,
    clock,
    expected,
    labelled,
    seen_again,
)
from tocsin.triggers.match import AFTER, EXPECT, UNTIL
from tocsin.triggers.window import Fold, Window, holds_back

FOR_EVER: Micros = 1 << 62
"""The time up to which an `until` closes a key that does not reopen."""

BEAT = 8
"""An arrival that both expects and opens (law P2); kept beside its roles, which it loses one by one as it is used."""


_WITHOUT_VERDICT = (Outcome.MET, Outcome.CLOSED)


@dataclass(slots=True)
class Alert:
    """A key that is missed: the firing that said so and when, for what; `repeats` is how often it was said again."""

    firing: str
    at_us: Micros
    opened_us: Micros
    due_us: Micros
    events: list[Counted]
    reason: str
    repeats: int = 0


class WatchState(State):
    """One key of a trigger about silence."""

    __slots__ = ("alert", "history")

    def __init__(self, labels: dict[str, str], fold: Fold) -> None:
        super().__init__(labels)
        self.history: History[Any] = History(fold)
        self.alert: Alert | None = None

    @property
    def idle_since_us(self) -> Micros | None:
        """Since when no window is open and nothing is missed."""
        return None if self.alert or self.history.now.windows else self.seen_us

    def is_over(self, *, reopen: bool) -> bool:
        """Return whether the key is closed for good, and nothing of it awaits a verdict any more (law P6)."""
        now = self.history.now
        return not reopen and bool(now.untils) and not now.windows

    def fields(self) -> list[Any]:
        """Return the alert and the history.

        The present is folded again when it is read back, unless some of it depends on when its events arrived.
        """
        history, alert = self.history, self.alert
        said = alert and [alert.firing, alert.at_us, alert.opened_us, alert.due_us, alert.events, alert.reason,
                          alert.repeats]  # fmt: skip
        now = history.now
        end_us = now.end_us or 0
        as_it_is = any(window.setter and window.setter.time_us < end_us for window in now.windows)
        return [said, history.newest_us, history.base.dump(), history.entries, now.dump() if as_it_is else None]


class Watch(Machine):
    """A trigger about silence."""

    __slots__ = (
        "fires_late", "fires_unknown", "grace_us", "lateness_us", "patience_us", "reopen", "repeat_us", "threshold",
        "what", "within_us",
    )  # fmt: skip

    def __init__(self, node: Node, trigger: EventTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node)
        assert trigger.within is not None, "a definition without it is refused"
        self.within_us = duration_us(trigger.within)
        self.threshold = trigger.threshold
        self.grace_us = duration_us(trigger.grace)
        self.lateness_us = lateness_us if trigger.lateness is None else duration_us(trigger.lateness)
        self.patience_us = min(self.within_us, self.lateness_us)
        self.repeat_us = None if trigger.repeat is None else duration_us(trigger.repeat)
        self.fires_late = trigger.on_late == "fire"
        self.fires_unknown = trigger.on_unknown == "fire"
        self.reopen = trigger.reopen
        self.what = expected(trigger) if self.threshold == 1 else f"{self.threshold} times {expected(trigger)}"

    @abstractmethod
    def step(self, fold: Any, seen: Seen) -> tuple[Outcome, str, tuple[object, ...]]:
        """Fold one event in; return what it did, as the outcome, sentence and arguments of a decision."""

    @abstractmethod
    def since(self, window: Window) -> str:
        """Return what was expected since when, as the middle of a sentence."""

    @abstractmethod
    def forget_at(self, state: WatchState) -> Micros | None:
        """Return when a missed key is forgotten (law P8), or None."""

    # Arrivals

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        """Judge an arrival: count it, then see whether it closes or resolves the key."""
        assert isinstance(state, WatchState)
        state.seen_us = seen.received_us
        if state.is_over(reopen=self.reopen):
            self.note(state, ledger, Outcome.IGNORED, "closed for good", at_us=seen.received_us, seq=seen.seq)
            return
        self._lapse(state, seen.received_us - 1, ledger)
        if seen.roles & (EXPECT | AFTER) == EXPECT | AFTER:
            seen = Seen(seen.place_us, seen.seq, seen.time_us, seen.received_us, seen.roles | BEAT, seen.chain)
        self.before(state, seen)
        outcome, says, args = state.history.add(seen, self.lateness_us, self.step)
        self.note(state, ledger, outcome, says, *args, at_us=seen.received_us, seq=seen.seq)
        self._finish(state, seen.received_us, ledger)
        if state.alert is not None:
            self._review(state, seen, at_us=seen.received_us, ledger=ledger)
        self.rearm(state)

    def before(self, state: WatchState, seen: Seen) -> None:
        """Let the folds know of an arrival what they have to know wherever it is placed: that it is an `until`."""
        if seen.roles & UNTIL:
            history = state.history
            untils = [*history.now.untils, Counted(seen.time_us if self.reopen else FOR_EVER, seen.seq)]
            last = max(untils)
            needed = [one for one in untils if one is last or any(holds_back(one, entry) for entry in history.entries)]
            history.base.untils = history.now.untils = needed

    def _finish(self, state: WatchState, at_us: Micros, ledger: Ledger) -> None:
        """Take out windows that ended within what is folded for good: no arrival can change them any more."""
        base = state.history.base.windows
        if not base or base[0].outcome not in _WITHOUT_VERDICT:
            return
        count = 0
        for kept, window in zip(base, state.history.now.windows, strict=False):
            if kept.outcome not in _WITHOUT_VERDICT or window.outcome is not kept.outcome:
                break
            count += 1
        if count:
            self.settle(state, count, ledger, at_us=at_us)

    # Moments

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Give the verdicts that are due, repeat what is missed, forget what was missed for long."""
        assert isinstance(state, WatchState)
        state.seen_us = at_us
        while (place := self._first_unmet(state)) is not None:
            window = state.history.now.windows[place]
            if ledger.outages.moved(self._moment(window)) > at_us:
                break
            self.settle(state, place + 1, ledger, at_us=at_us)
            self._verdict(state, window, ledger, at_us=at_us)
        self._lapse(state, at_us, ledger)
        forget_us = self.forget_at(state)
        if forget_us is not None and ledger.outages.moved(forget_us) <= at_us:
            self.forget(state, at_us, ledger)
        else:
            self._repeat(state, at_us, ledger)
        self.rearm(state)

    def rearm(self, state: State) -> None:
        """Set when the state is called again: at the next verdict, else when what was met is settled."""
        assert isinstance(state, WatchState)
        wake_us: Micros | None = None
        windows = state.history.now.windows
        if windows:
            place = self._first_unmet(state)
            wake_us = self._moment(windows[place]) if place is not None else max(map(self._moment, windows))
        if state.alert is not None:
            repeat_us = self.repeat_us and state.alert.at_us + (state.alert.repeats + 1) * self.repeat_us
            moments = (wake_us, repeat_us, self.forget_at(state))
            wake_us = min((moment for moment in moments if moment is not None), default=None)
        state.wake_us = wake_us

    def _moment(self, window: Window) -> Micros:
        graced_us, patient_us = window.due_us + self.grace_us, window.received_us + self.patience_us
        return max(patient_us, graced_us)

    def _first_unmet(self, state: WatchState) -> int | None:
        """Return the place of the first window that has a verdict to come; those behind it wait for it (law P5)."""
        for place, window in enumerate(state.history.now.windows):
            if window.outcome is None or window.outcome is Outcome.LATE:
                return place
        return None

    def _lapse(self, state: WatchState, until_us: Micros, ledger: Ledger) -> None:
        """Settle windows that were met or closed, and whose moment has passed, in front of the first unmet one."""
        windows = state.history.now.windows
        if not windows or windows[0].due_us + self.grace_us > until_us:
            return  # dues only grow, and no moment is before its window's
        count, last_us = 0, until_us
        for place, window in enumerate(windows):
            if window.outcome is None or window.outcome is Outcome.LATE:
                break
            moment_us = ledger.outages.moved(self._moment(window))
            if moment_us <= until_us:
                count, last_us = place + 1, moment_us
        if count:
            self.settle(state, count, ledger, at_us=last_us)

    def settle(self, state: WatchState, count: int, ledger: Ledger, *, at_us: Micros) -> None:
        """Make the first windows' outcomes, ends and events final (law O4)."""
        history = state.history
        settled = history.now.windows[:count]
        end_us = settled[-1].end_us
        self.settled(history, settled)
        for fold in (history.base, history.now):
            fold.end_us = end_us if fold.end_us is None else max(fold.end_us, end_us)
        for window in settled:
            if window.outcome in _WITHOUT_VERDICT:
                self.ended(state, window, ledger, at_us=at_us)

    @abstractmethod
    def settled(self, history: History[Any], settled: list[Window]) -> None:
        """Take settled windows out of the folds, so that folding again does not bring them back (law O4)."""

    def ended(self, state: WatchState, window: Window, ledger: Ledger, *, at_us: Micros) -> None:
        """Say how a window ended that has no verdict."""
        assert window.outcome is not None
        self.note(state, ledger, window.outcome, "window of {0:time} ended {1:time}, due {2:time}",
                  window.opened_us, window.end_us, window.due_us, at_us=at_us)  # fmt: skip

    # Verdicts

    def _verdict(self, state: WatchState, window: Window, ledger: Ledger, *, at_us: Micros) -> None:
        events = window.events
        sentence = f"expected {self.what}{labelled(state.labels)} {self.since(window)}, due {clock(window.due_us)}"
        if window.outcome is Outcome.LATE:
            reason = f"{sentence}; it came late, at {clock(max(events).time_us)}"
            self._late(state, window, ledger, said=Said(Verdict.LATE, at_us, reason, self._about(window), events))
            return
        outage = ledger.outages.over(window.opened_us, self._moment(window))
        verdict = Verdict.UNKNOWN if outage else Verdict.MISSED
        reason = f"{sentence}, judged {clock(at_us)}"
        if outage:
            reason += outage.excuse
        if state.alert is not None or (outage and not self.fires_unknown):
            why = "said already" if state.alert is not None else "skipped"
            self.note(state, ledger, Outcome(verdict), "{0}; {1}", reason, why, at_us=at_us)
            return
        firing = self.fire(state, ledger, Said(verdict, at_us, reason, self._about(window), events, window.due_us,
                                               (window.opened_us, window.due_us)))  # fmt: skip
        if verdict is Verdict.UNKNOWN:
            return
        state.alert = Alert(firing, at_us, window.opened_us, window.due_us, events, reason)
        self._review(state, None, at_us=at_us, ledger=ledger)

    def _late(self, state: WatchState, window: Window, ledger: Ledger, *, said: Said) -> None:
        if self.fires_late:
            said.due_us, said.window_us = window.due_us, (window.opened_us, window.due_us)
            self.fire(state, ledger, said)
        else:
            self.note(state, ledger, Outcome.LATE, "{0}", said.reason, at_us=said.at_us)

    def _about(self, window: Window) -> tuple[object, ...]:
        return (window.opened_us, window.due_us, window.events[0].seq if window.events else "")

    # Missed keys

    @abstractmethod
    def _review(self, state: WatchState, seen: Seen | None, *, at_us: Micros, ledger: Ledger) -> None:
        """See whether a key that is missed resolves, or is missed no more for another reason."""

    def resolve(self, state: WatchState, by: Seen | Counted | None, *, at_us: Micros, ledger: Ledger) -> None:
        """End a missed key's silence (law P5)."""
        alert, state.alert = state.alert, None
        assert alert is not None
        assert by is not None, "only an event moves a deadline"
        event = Counted(by.time_us, by.seq)
        reason = (f"{self.what}{labelled(state.labels)} seen again, at {clock(by.time_us)}; "
                  f"missed since {clock(alert.due_us)}")  # fmt: skip
        said = Said(Verdict.RESOLVED, at_us, reason, (alert.firing, by.seq), [event], resolves=(alert.firing,))
        said.seen = by if isinstance(by, Seen) else None
        self.fire(state, ledger, said)

    def _repeat(self, state: WatchState, at_us: Micros, ledger: Ledger) -> None:
        alert = state.alert
        if alert is None or self.repeat_us is None:
            return
        due_us = alert.at_us + (alert.repeats + 1) * self.repeat_us
        if ledger.outages.moved(due_us) > at_us:
            return
        alert.repeats = max(alert.repeats + 1, (at_us - alert.at_us) // self.repeat_us)
        reason = f"still missed, {span(at_us - alert.at_us)} after the alert: {alert.reason}"
        said = Said(Verdict.MISSED, at_us, reason, (alert.firing,), alert.events, alert.due_us)
        said.window_us, said.repeat, said.first = (alert.opened_us, alert.due_us), alert.repeats, alert.firing
        self.fire(state, ledger, said)

    def forget(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Stop watching a key; its next event begins anew (law P8)."""
        assert isinstance(state, WatchState)
        self.close(state, at_us, ledger)
        since = state.alert.at_us if state.alert else state.seen_us
        self.note(state, ledger, Outcome.FORGOTTEN, "forgotten, silent since {0:time}", since, at_us=at_us)
        state.alert, state.gone = None, True

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """End every window `closed`, and the miss that is open."""
        assert isinstance(state, WatchState)
        if state.alert is not None:
            due_us = state.alert.due_us
            self.note(state, ledger, Outcome.CLOSED, "missed {0:time}, and not resolved", due_us, at_us=at_us)
        now = state.history.now
        for window in now.windows:
            window.outcome = Outcome.MET if window.outcome is Outcome.MET else Outcome.CLOSED
            self.ended(state, window, ledger, at_us=at_us)
        now.windows = []

    def restore(self, state: State, fields: list[Any]) -> None:
        """Read the history back, and fold the present from it."""
        assert isinstance(state, WatchState)
        said, newest_us, base, entries, now = fields
        if said:
            firing, at_us, opened_us, due_us, events, reason, repeats = said
            counted = [Counted(*one) for one in events]
            state.alert = Alert(firing, at_us, opened_us, due_us, counted, reason, repeats)
        history = state.history
        history.newest_us = newest_us
        history.base.load(base)
        history.entries = [seen_again(entry) for entry in entries]
        if now is None:
            history.refold(self.step)
        else:
            history.now.load(now)

    def describe(self, state: State) -> dict[str, Any]:
        """Return the open windows and what is missed."""
        assert isinstance(state, WatchState)
        alert = state.alert
        return {
            "waits for": self.what,
            "windows": [
                {"opened": iso(window.opened_us), "due": iso(window.due_us), "counted": len(window.counted),
                 "of": self.threshold, "outcome": window.outcome}
                for window in state.history.now.windows
            ],
            "missed": alert and {"due": iso(alert.due_us), "since": iso(alert.at_us), "repeats": alert.repeats,
                                 "firing": alert.firing},
            "closed": state.is_over(reopen=self.reopen),
        }  # fmt: skip
