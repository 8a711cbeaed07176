"""Silence after something (`posture: Proactive` with `after`): windows that events open and meet (laws P1, P2, P6,
P7).

An arrival is folded in three parts, in this order; each is one method below:

  expect   counts for the earliest unmet window that it can meet: up to its deadline in time, up to the end of its grace
           late. The N-th one meets it; met in time, the window ends at the time of that event, else at its deadline.
  until    closes what nobody met of the windows that opened up to its time; without `reopen`, nothing that stands
           behind it counts for anything.
  after    opens a window, unless its time is before the end of the last one. The end of an unmet window is its
           deadline; so at the deadline itself the next one opens, while the old one awaits its verdict. Should it
           yet be met at that very time, it was still open then, and the next one did not open (law O2).

A heartbeat is both expect and after (P2): it counts first, so it opens the next window if it met the one that was open.

Rule 1: what opens, meets and closes a window of P1 and P2 is in this file.
Rule 2: this file does not know when verdicts are given; `watch` does.
"""

from __future__ import annotations

from typing import Any

from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import Micros, span
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.history import History
from tocsin.triggers.machine import Counted, Ledger, Node, Seen, State, clock
from tocsin.triggers.match import AFTER, EXPECT, UNTIL
from tocsin.triggers.watch import BEAT, Alert, Watch, WatchState
from tocsin.triggers.window import Fold, Window


class Windows(Watch):
    """A Proactive trigger with `after`."""

    __slots__ = ("after",)

    def __init__(self, node: Node, trigger: EventTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node, trigger, lateness_us=lateness_us)
        self.after = " or ".join(trigger.after or ())

    def fresh(self, labels: dict[str, str]) -> WatchState:
        return WatchState(labels, Fold())

    def step(self, fold: Fold, seen: Seen) -> tuple[Outcome, str, tuple[object, ...]]:
        roles = seen.roles
        if fold.until_us is not None and not self.reopen:
            return Outcome.IGNORED, "closed at {0:time}", (fold.until_us,)
        counted = self._expect(fold, seen) if roles & EXPECT else None
        closed = self._until(fold, seen) if roles & UNTIL else None
        opened = self._after(fold, seen) if roles & AFTER else None
        if opened is not None:
            says = "opened until {0:time}" if counted is None else "counted {1} of {2}; opened until {0:time}"
            return Outcome.OPENED, says, (opened.due_us, len(counted.counted) if counted else 0, self.threshold)
        if counted is not None:
            args = (len(counted.counted), self.threshold, counted.opened_us, counted.due_us)
            return Outcome.COUNTED, "counted {0} of {1} in the window {2:time} to {3:time}", args
        if closed is not None:
            return Outcome.CLOSED, "closed {0} windows up to {1:time}", (closed, seen.time_us)
        says = "counts for no window" if roles & EXPECT else "opens no window: before the end of the last one"
        return Outcome.IGNORED, says, ()

    def _expect(self, fold: Fold, seen: Seen) -> Window | None:
        time_us = seen.time_us
        for window in fold.windows:
            in_time = window.opened_us <= time_us <= window.due_us
            if in_time and window.outcome in (None, Outcome.LATE):
                self._count(window, Counted(time_us, seen.seq))
                if window.is_met and seen.place_us == time_us == window.due_us:
                    fold.windows = [other for other in fold.windows if other.opened_us < window.due_us]
                return window
            if window.outcome is None and window.due_us < time_us <= window.due_us + self.grace_us:
                self._count(window, Counted(time_us, seen.seq))
                return window
        return None

    def _count(self, window: Window, event: Counted) -> None:
        """Count an event. One in time that came after late ones, out of reach of law O4, takes their verdict back."""
        window.counted.append(event)
        if len(window.counted) < self.threshold:
            return
        if event.time_us <= window.due_us and self._in_time(window) >= self.threshold:
            window.outcome, window.end_us = Outcome.MET, event.time_us
        else:
            window.outcome = Outcome.LATE

    def _in_time(self, window: Window) -> int:
        return sum(event.time_us <= window.due_us for event in window.counted)

    def _until(self, fold: Fold, seen: Seen) -> int:
        time_us = seen.time_us
        fold.until_us = time_us if fold.until_us is None else max(fold.until_us, time_us)
        shut = [
            window for window in fold.windows
            if window.outcome is None and (window.opened_us <= time_us or not self.reopen)
        ]  # fmt: skip
        for window in shut:
            window.close(seen)
        return len(shut)

    def _after(self, fold: Fold, seen: Seen) -> Window | None:
        time_us = seen.time_us
        end_us = fold.windows[-1].end_us if fold.windows else fold.end_us
        if end_us is not None and time_us < end_us:
            return None
        if fold.is_closed(seen):
            return None
        due_us = time_us + self.within_us
        window = Window(time_us, due_us, seen.received_us, due_us, [], Counted(time_us, seen.seq), listed=True)
        window.beat = bool(seen.roles & BEAT)
        fold.windows.append(window)
        return window

    def settled(self, history: History[Fold], settled: list[Window]) -> None:
        """Fold for good what stands in front of the settled end: it can open and meet nothing behind it any more.

        What has its place further on may still be judged again. But what counted for a settled window counts for no
        other; and up to the last event of a settled window, what opened nothing then opens nothing later.
        """
        history.commit(settled[-1].end_us, self.step)
        for fold in (history.base, history.now):
            del fold.windows[: len(settled)]
        counted = {event.seq for window in settled for event in window.counted}
        ended = {event.seq for window in settled for event in window.events if event.time_us <= window.due_us}
        ended |= {window.closer for window in settled if window.closer is not None}
        opened = {window.setter.seq for window in history.now.windows if window.setter}
        last = max((place for place, entry in enumerate(history.entries) if entry.seq in ended), default=-1)
        for place, entry in enumerate(history.entries):
            used = EXPECT if entry.seq in counted else 0
            if place <= last and entry.seq not in opened:
                used |= AFTER
            if used & entry.roles:
                history.entries[place] = entry._replace(roles=entry.roles & ~used)

    def since(self, window: Window) -> str:
        count = f", {len(window.counted)} of {self.threshold} came" if self.threshold > 1 else ""
        return f"within {span(self.within_us)} of {self.after} at {clock(window.opened_us)}{count}"

    def forget_at(self, state: WatchState) -> Micros | None:
        return None

    def _review(self, state: WatchState, seen: Seen | None, *, at_us: Micros, ledger: Ledger) -> None:
        """Resolve by a plain expect from the opening on (P1), or by a heartbeat that moves the deadline (P2, P5)."""
        alert, windows = state.alert, state.history.now.windows
        assert alert is not None
        if seen is not None and self._ends(alert, seen):
            self.resolve(state, seen, at_us=at_us, ledger=ledger)
        elif windows and not windows[-1].beat:
            state.alert = None
        elif windows and windows[-1].due_us + self.grace_us > at_us:
            self.resolve(state, seen or windows[-1].setter, at_us=at_us, ledger=ledger)

    def _ends(self, alert: Alert, seen: Seen) -> bool:
        if seen.roles & UNTIL and (not self.reopen or alert.opened_us <= seen.time_us):
            return True
        return seen.roles & (EXPECT | BEAT) == EXPECT and seen.time_us >= alert.opened_us

    def describe(self, state: State) -> dict[str, Any]:
        return {"waits for": self.what, "after": self.after, "within": span(self.within_us)} | super().describe(state)
