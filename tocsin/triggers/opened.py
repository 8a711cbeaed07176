"""Events that happen after another one (`posture: Reactive` with `after`, law R4).

An `after` event opens a window; N `expect` events with times in it fire. Events are judged as they arrive: an
`expect` that counted for no window is remembered for `lateness`, and counts for one that opens around it later. The
window stays open until it fires, or until an `after` event behind its end finds it expired and opens its own.

Rule 1: when events after another one fire is decided in this file.
Rule 2: windows include both ends; an `expect` of the opener's time counts if it arrived later (law O2). The end of
a window that fired is the newest event that it counted; one that expired ended `within` after its opening. No
window opens before the end of the last one."""

from __future__ import annotations

from bisect import insort
from typing import Any

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, duration_us, iso, span
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.machine import Counted, Ledger, Node, Said, Seen, State, Timeless, clock, expected, labelled
from tocsin.triggers.match import AFTER, EXPECT


class OpenedState(State):
    """The open window with what counts for it, the end of the last one, and expects that counted for none."""

    __slots__ = ("counted", "end_us", "newest_us", "opener", "remembered")

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.opener: Counted | None = None
        self.counted: list[Counted] = []
        self.end_us: Micros | None = None
        self.remembered: list[Counted] = []
        self.newest_us: Micros | None = None

    @property
    def idle_since_us(self) -> Micros | None:
        """Since when no window is open."""
        return self.seen_us if self.opener is None else None

    def fields(self) -> list[Any]:
        return [self.opener, self.counted, self.end_us, self.remembered, self.newest_us]


class Opened(Timeless):
    """A Reactive trigger with `after`."""

    __slots__ = ("after", "lateness_us", "threshold", "what", "within_us")

    def __init__(self, node: Node, trigger: EventTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node)
        self.what = expected(trigger)
        self.after = " or ".join(trigger.after or ())
        self.threshold = trigger.threshold
        self.within_us = None if trigger.within is None else duration_us(trigger.within)
        self.lateness_us = lateness_us if trigger.lateness is None else duration_us(trigger.lateness)

    def fresh(self, labels: dict[str, str]) -> OpenedState:
        return OpenedState(labels)

    def restore(self, state: State, fields: list[Any]) -> None:
        assert isinstance(state, OpenedState)
        opener, counted, state.end_us, remembered, state.newest_us = fields
        state.opener = Counted(*opener) if opener else None
        state.counted = [Counted(*one) for one in counted]
        state.remembered = [Counted(*one) for one in remembered]

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        assert isinstance(state, OpenedState)
        state.seen_us, event = seen.received_us, Counted(seen.time_us, seen.seq)
        if state.newest_us is None or event.time_us > state.newest_us:
            state.newest_us = event.time_us
        counted = bool(seen.roles & EXPECT) and self._in_window(state, event)
        if counted:
            insort(state.counted, event)
            self._progress(state, seen, ledger)
        if seen.roles & AFTER and self._may_open(state, event, ledger):
            self._open(state, seen, ledger)
        elif seen.roles & EXPECT and not counted:
            insort(state.remembered, event)
            self.note(state, ledger, Outcome.REMEMBERED, "no window is open at {0:time}; remembered for {1:span}",
                      event.time_us, self.lateness_us, at_us=seen.received_us, seq=seen.seq)  # fmt: skip
        elif not counted:
            self.note(state, ledger, Outcome.IGNORED, "opens no window: another is open, or ended later",
                      at_us=seen.received_us, seq=seen.seq)  # fmt: skip
        old_us = state.newest_us - self.lateness_us
        state.remembered = [other for other in state.remembered if other.time_us > old_us]

    def _in_window(self, state: OpenedState, event: Counted) -> bool:
        opener = state.opener
        return opener is not None and opener < event and not self._is_behind(opener, event.time_us)

    def _is_behind(self, opener: Counted, time_us: Micros) -> bool:
        return self.within_us is not None and time_us > opener.time_us + self.within_us

    def _may_open(self, state: OpenedState, event: Counted, ledger: Ledger) -> bool:
        opener = state.opener
        if opener is not None:
            if not self._is_behind(opener, event.time_us):
                return False
            assert self.within_us is not None
            state.opener, state.end_us = None, opener.time_us + self.within_us
        return state.end_us is None or event.time_us >= state.end_us

    def _open(self, state: OpenedState, seen: Seen, ledger: Ledger) -> None:
        opener = state.opener = Counted(seen.time_us, seen.seq)
        around = [event for event in state.remembered if self._in_window(state, event)][: self.threshold]
        state.counted = around
        state.remembered = [event for event in state.remembered if event not in around]
        if around:
            self._progress(state, seen, ledger)
        elif self.within_us is None:
            self.note(state, ledger, Outcome.OPENED, "opened", at_us=seen.received_us, seq=seen.seq)
        else:
            self.note(state, ledger, Outcome.OPENED, "opened until {0:time}", opener.time_us + self.within_us,
                      at_us=seen.received_us, seq=seen.seq)  # fmt: skip

    def _progress(self, state: OpenedState, seen: Seen, ledger: Ledger) -> None:
        """Fire if enough events count for the open window, and end it there."""
        opener, counted = state.opener, state.counted
        assert opener is not None
        if len(counted) < self.threshold:
            self.note(state, ledger, Outcome.COUNTED, "counted {0} of {1} since {2:time}", len(counted), self.threshold,
                      opener.time_us, at_us=seen.received_us, seq=seen.seq)  # fmt: skip
            return
        end_us = counted[-1].time_us
        times = f"{self.threshold} times " if self.threshold > 1 else ""
        limit = "" if self.within_us is None else f"within {span(self.within_us)} "
        reason = (f"{self.what}{labelled(state.labels)} happened {times}{limit}after {self.after} at "
                  f"{clock(opener.time_us)}, the last at {clock(end_us)}")  # fmt: skip
        about = (opener.seq, *(event.seq for event in counted))
        said = Said(Verdict.FIRED, seen.received_us, reason, about, [opener, *counted], seen=seen)
        said.window_us = (opener.time_us, end_us)
        state.opener, state.counted, state.end_us = None, [], end_us
        self.fire(state, ledger, said)

    def describe(self, state: State) -> dict[str, Any]:
        assert isinstance(state, OpenedState)
        return {"waits for": self.what, "after": self.after, "opened": iso(state.opener and state.opener.time_us),
                "counted": len(state.counted), "of": self.threshold, "remembered": len(state.remembered)}  # fmt: skip
