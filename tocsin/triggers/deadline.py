"""Things that have to happen by certain times of the calendar (`type: deadline`, laws D1-D5, O3).

An event counts for one due time (D5): for the last one before it while that is unmet, has no verdict, and its grace
lasts; else for the earliest unmet one in whose window `(due - window, due]` it lies, missed ones included. Events are
allotted in the order of law O4, so what arrives late may push the others on, up to what verdicts have settled.

At `due + grace` each due time is settled with what counted for it: `met`, `late`, `missed` or `unknown`. Every due
time is missed for itself; one event resolves all open misses whose windows began before it.

Rule 1: which due time an event counts for, and every verdict of a deadline, is in this file.
Rule 2: due times that are met in time need no call; they are settled when something else happens to the key.
"""

from __future__ import annotations

from typing import Any

from tocsin.schemas.firing import Outcome, Verdict, firing_id
from tocsin.schemas.moments import DAY, Micros, duration_us, iso
from tocsin.schemas.trigger import DeadlineTrigger
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
from tocsin.triggers.match import EXPECT
from tocsin.triggers.times import Cron

PRIMED = 16
"""A role that says: this happened before T0 and is stored; it counts, and arms nothing (law O3)."""

PRIMING_MAX = 32 * DAY
MISSES_MAX = 10_000
"""The most open misses that a key keeps to be resolved, the newest ones."""


class Allotted:
    """What a key's events add up to: those that count for each due time.

    `start_us` is the due time that is judged first, `began` says that an event from T0 on was folded. All due times up
    to `settled_us` have had their verdicts, and up to `cut_us`
    it is not known any more what counted for them: nothing does from then on.
    """

    __slots__ = ("began", "counts", "cut_us", "settled_us", "start_us")

    def __init__(self) -> None:
        self.began = False
        self.start_us: Micros | None = None
        self.settled_us: Micros | None = None
        self.cut_us: Micros | None = None
        self.counts: dict[Micros, list[Counted]] = {}

    def copy(self) -> Allotted:
        """Return an independent copy."""
        fold = Allotted()
        fold.began, fold.start_us = self.began, self.start_us
        fold.settled_us, fold.cut_us = self.settled_us, self.cut_us
        fold.counts = {due_us: list(events) for due_us, events in self.counts.items()}
        return fold

    def is_settled(self, due_us: Micros) -> bool:
        """Return whether a due time has had its verdict."""
        return self.settled_us is not None and due_us <= self.settled_us

    def in_time(self, due_us: Micros) -> int:
        """Return how many events count for a due time and, until its verdict, came in time: late ones give way (P7)."""
        counted = self.counts.get(due_us, ())
        return len(counted) if self.is_settled(due_us) else sum(event.time_us <= due_us for event in counted)


class DeadlineState(State):
    """One key. `misses` are the due times that were missed, and are not resolved."""

    __slots__ = ("history", "misses")

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.history: History[Allotted] = History(Allotted())
        self.misses: list[Micros] = []

    @property
    def idle_since_us(self) -> Micros | None:
        """Since when nothing is waited for: a key that was primed only. One that is judged is so for good (law D3)."""
        return self.seen_us if self.history.now.start_us is None else None

    def fields(self) -> list[Any]:
        history = self.history
        fold = history.base
        base = [fold.began, fold.start_us, fold.settled_us, fold.cut_us, list(fold.counts.items())]
        return [self.misses, history.newest_us, base, history.entries]


class Deadline(Machine):
    """A deadline."""

    __slots__ = (
        "due", "fires_late", "fires_unknown", "grace_us", "lateness_us", "subjects", "threshold", "what", "window_us",
    )  # fmt: skip

    def __init__(self, node: Node, trigger: DeadlineTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node)
        self.what = expected(trigger) if trigger.threshold == 1 else f"{trigger.threshold} times {expected(trigger)}"
        self.subjects = frozenset(trigger.subjects)
        self.due = Cron(trigger.due, trigger.timezone)
        self.threshold = trigger.threshold
        self.window_us = None if trigger.window is None else duration_us(trigger.window)
        self.grace_us = duration_us(trigger.grace)
        self.lateness_us = lateness_us if trigger.lateness is None else duration_us(trigger.lateness)
        self.fires_late = trigger.on_late == "fire"
        self.fires_unknown = trigger.on_unknown == "fire"

    def fresh(self, labels: dict[str, str]) -> DeadlineState:
        return DeadlineState(labels)

    def armed(self, labels: dict[str, str], from_us: Micros) -> DeadlineState:
        """Return the state of a key that is judged from a moment on, though nothing was seen (law D3)."""
        state = self.fresh(labels)
        self.arm(state, from_us)
        return state

    def arm(self, state: DeadlineState, from_us: Micros) -> None:
        """Judge a key, of which only primed events may be known, from a moment on."""
        for fold in (state.history.base, state.history.now):
            fold.start_us = self.due.after(from_us)
        state.seen_us = from_us
        self.rearm(state)

    def restore(self, state: State, fields: list[Any]) -> None:
        assert isinstance(state, DeadlineState)
        state.misses, newest_us, (began, start_us, settled_us, cut_us, counts), entries = fields
        history = state.history
        history.newest_us = newest_us
        history.base.began, history.base.start_us = began, start_us
        history.base.settled_us, history.base.cut_us = settled_us, cut_us
        history.base.counts = {due_us: [Counted(*one) for one in events] for due_us, events in counts}
        history.entries = [seen_again(entry) for entry in entries]
        history.refold(self.step)

    # Events

    def opens_at(self, due_us: Micros) -> Micros:
        """Return when the window of a due time opens; that moment is not in it (law D1)."""
        return self.due.before(due_us) if self.window_us is None else due_us - self.window_us

    def step(self, fold: Allotted, seen: Seen) -> tuple[Micros, int] | None:
        """Allot an event; return the due time it counts for, and how many do now."""
        fold.began = fold.began or not seen.roles & PRIMED
        if not seen.roles & EXPECT:
            return None
        due_us = self._late_for(fold, seen) or self._in_time_for(fold, seen)
        if due_us is None:
            return None
        counted = fold.counts.setdefault(due_us, [])
        counted.append(Counted(seen.time_us, seen.seq))
        return due_us, len(counted)

    def _begin(self, state: DeadlineState, seen: Seen) -> None:
        """Let a key's first event say which due time is judged first (law D3): the next whose moment has not passed.

        Later another one may turn out to be the first (law O4); what is judged already stays so.
        """
        history = state.history
        place_us = history.placed(seen, self.lateness_us).place_us
        before = (entry for entry in history.entries if not entry.roles & PRIMED and entry.place_us <= place_us)
        if history.base.began or any(before):
            return
        due_us = self.due.after(max(self.node.armed_us, seen.time_us, seen.received_us - self.grace_us - 1))
        start_us = history.now.start_us
        history.base.start_us = history.now.start_us = due_us if start_us is None else min(start_us, due_us)

    def _is_judged(self, fold: Allotted, seen: Seen, due_us: Micros) -> bool:
        """Primed events are offered to due times up to T0 as well, so that they count for the right one (law O3)."""
        if fold.cut_us is not None and due_us <= fold.cut_us:
            return False
        return bool(seen.roles & PRIMED) or (fold.start_us is not None and due_us >= fold.start_us)

    def _late_for(self, fold: Allotted, seen: Seen) -> Micros | None:
        due_us = self.due.before(seen.time_us)
        over_us = due_us + self.grace_us
        if seen.time_us > over_us or not self._is_judged(fold, seen, due_us):
            return None
        if fold.is_settled(due_us) or (seen.roles & PRIMED and seen.received_us > over_us):
            return None
        return due_us if len(fold.counts.get(due_us, ())) < self.threshold else None

    def _in_time_for(self, fold: Allotted, seen: Seen) -> Micros | None:
        due_us = self.due.after(seen.time_us - 1)
        while self.opens_at(due_us) < seen.time_us:
            if self._is_judged(fold, seen, due_us) and fold.in_time(due_us) < self.threshold:
                return due_us
            due_us = self.due.after(due_us)
        return None

    def _prime(self, state: DeadlineState, seen: Seen) -> None:
        """Count a stored event from before T0 for a window that is open then; arm nothing (law O3)."""
        if seen.time_us > self.primed_from():
            state.seen_us = seen.received_us
            state.history.add(seen, self.lateness_us, self.step)
            self.rearm(state)

    def primed_from(self) -> Micros:
        """Return the opening of the earliest window that is open at T0, at most 32 days before."""
        armed_us = self.node.armed_us
        return max(self.opens_at(self.due.after(armed_us)), armed_us - PRIMING_MAX)

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        """Judge an arrival: allot it, then resolve what was missed and began before it."""
        assert isinstance(state, DeadlineState)
        if seen.roles & PRIMED:
            self._prime(state, seen)
            return
        self._settle(state, seen.received_us - 1, ledger)
        state.seen_us = seen.received_us
        self._begin(state, seen)
        counted = state.history.add(seen, self.lateness_us, self.step)
        if counted is None:
            self.note(state, ledger, Outcome.IGNORED, "counts for no due time", at_us=seen.received_us, seq=seen.seq)
        else:
            due_us, count = counted
            says = "counted {0} of {1} for {2:time}" + (", late" if seen.time_us > due_us else "")
            self.note(state, ledger, Outcome.COUNTED, says, count, self.threshold, due_us,
                      at_us=seen.received_us, seq=seen.seq)  # fmt: skip
        if state.misses:
            self._resolve(state, seen, ledger)
        self.rearm(state)

    # Moments

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        assert isinstance(state, DeadlineState)
        state.seen_us = at_us
        self._settle(state, at_us, ledger)
        self.rearm(state)

    def rearm(self, state: State) -> None:
        """Set when the state is called again: at the moment of the next due time that is not met in time."""
        assert isinstance(state, DeadlineState)
        due_us = self._next(state)
        while due_us is not None and self._outcome(state, due_us) is Outcome.MET:
            due_us = self.due.after(due_us)
        state.wake_us = None if due_us is None else due_us + self.grace_us

    def _next(self, state: DeadlineState) -> Micros | None:
        """Return the first due time without a verdict."""
        fold = state.history.now
        if fold.start_us is None or fold.settled_us is None or fold.settled_us < fold.start_us:
            return fold.start_us
        return self.due.after(fold.settled_us)

    def _outcome(self, state: DeadlineState, due_us: Micros) -> Outcome | None:
        counted = state.history.now.counts.get(due_us, ())
        if len(counted) < self.threshold:
            return None
        return Outcome.MET if state.history.now.in_time(due_us) >= self.threshold else Outcome.LATE

    def _settle(self, state: DeadlineState, until_us: Micros, ledger: Ledger) -> None:
        """Settle each due time whose moment has come, in order."""
        while (due_us := self._next(state)) is not None:
            at_us = ledger.outages.moved(due_us + self.grace_us)
            if at_us > until_us:
                return
            self._verdict(state, due_us, at_us=at_us, ledger=ledger)
            self._keep(state, due_us)

    def _keep(self, state: DeadlineState, due_us: Micros) -> None:
        """Make what counts for a due time final (law O4), and drop what no event can be allotted to any more."""
        history = state.history
        counted = history.now.counts.get(due_us, [])
        seqs = {event.seq for event in counted}
        history.entries = [
            entry._replace(roles=entry.roles & ~EXPECT) if entry.seq in seqs else entry for entry in history.entries
        ]
        old_us = due_us - self.lateness_us - (self.window_us or 0)
        for fold in (history.base, history.now):
            fold.settled_us, fold.cut_us = due_us, old_us
            fold.counts = {due: events for due, events in fold.counts.items() if due > old_us}
            if counted:
                fold.counts[due_us] = list(counted)

    # Verdicts

    def _verdict(self, state: DeadlineState, due_us: Micros, *, at_us: Micros, ledger: Ledger) -> None:
        outcome, counted = self._outcome(state, due_us), state.history.now.counts.get(due_us, [])
        window_us = (self.opens_at(due_us), due_us)
        sentence = f"expected {self.what}{labelled(state.labels)} after {clock(window_us[0])} by {clock(due_us)}"
        if outcome is Outcome.MET:
            self.note(state, ledger, outcome, "met the due time {0:time}", due_us, at_us=at_us)
            return
        if outcome is Outcome.LATE:
            reason = f"{sentence}; it came late, at {clock(max(counted).time_us)}"
            if not self.fires_late:
                self.note(state, ledger, outcome, "{0}", reason, at_us=at_us)
                return
            verdict = Verdict.LATE
        else:
            outage = ledger.outages.over(window_us[0], due_us + self.grace_us)
            verdict = Verdict.UNKNOWN if outage else Verdict.MISSED
            count = f"{len(counted)} of {self.threshold} came" if self.threshold > 1 else "nothing came"
            reason = f"{sentence}, {count}, judged {clock(at_us)}"
            if outage:
                reason += outage.excuse
                if not self.fires_unknown:
                    self.note(state, ledger, Outcome.UNKNOWN, "{0}; skipped", reason, at_us=at_us)
                    return
            else:
                state.misses = [*state.misses[1 - MISSES_MAX :], due_us]
        self.fire(state, ledger, Said(verdict, at_us, reason, (due_us,), counted, due_us, window_us))

    def _resolve(self, state: DeadlineState, seen: Seen, ledger: Ledger) -> None:
        """Resolve every open miss whose window began before the event, in one firing (law D2)."""
        ended = [due_us for due_us in state.misses if seen.time_us > self.opens_at(due_us)]
        if not ended:
            return
        state.misses = [due_us for due_us in state.misses if seen.time_us <= self.opens_at(due_us)]
        ids = tuple(firing_id(ledger.state_key, due_us, Verdict.MISSED, 0) for due_us in ended)
        dues = clock(ended[0]) if len(ended) == 1 else f"{len(ended)} due times from {clock(ended[0])} on"
        reason = f"{self.what}{labelled(state.labels)} seen at {clock(seen.time_us)}; missed: {dues}"
        event = Counted(seen.time_us, seen.seq)
        said = Said(Verdict.RESOLVED, seen.received_us, reason, (*ended, seen.seq), [event],
                    seen=seen, resolves=ids)  # fmt: skip
        self.fire(state, ledger, said)

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """End the next due time `closed`, and the misses that are open."""
        assert isinstance(state, DeadlineState)
        for missed_us in state.misses:
            self.note(state, ledger, Outcome.CLOSED, "missed {0:time}, and not resolved", missed_us, at_us=at_us)
        due_us = self._next(state)
        if due_us is not None:
            self.note(state, ledger, Outcome.CLOSED, "no longer due at {0:time}", due_us, at_us=at_us)

    def describe(self, state: State) -> dict[str, Any]:
        assert isinstance(state, DeadlineState)
        due_us = self._next(state)
        counted = state.history.now.counts.get(due_us, ()) if due_us is not None else ()
        return {"waits for": self.what, "due": iso(due_us), "counted": len(counted), "of": self.threshold,
                "missed": [iso(due) for due in state.misses]}  # fmt: skip
