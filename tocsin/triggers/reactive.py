"""Events that happen, without an `after` (`posture: Reactive`, laws R1, R2, R3).

  each       `threshold: 1` with no `within`: every matching event fires, and nothing is remembered.
  counting   N events within a span shorter than W fire; what they consumed is gone, and the key is quiet until W after
             the oldest that was counted. Events are judged as they arrive: a late one fires with those of its own time.

Rule 1: when N events within W fire is decided in this file.
Rule 2: the span is open (`newest - oldest < W`), and so is the quiet time: an event at its end counts again.
Ties: of several sets the one that begins earliest; of equal times the earlier arrival is the earlier event.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Any

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, duration_us, iso, span
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.machine import Counted, Ledger, Node, Said, Seen, State, Timeless, clock, expected, labelled


class Nothing(State):
    """What a trigger keeps that needs no state: nothing. It is never stored."""

    __slots__ = ()


class Each(Timeless):
    """`threshold: 1` without `within` and `after`."""

    __slots__ = ("what",)

    keeps = False

    def __init__(self, node: Node, trigger: EventTrigger) -> None:
        super().__init__(node)
        self.what = expected(trigger)

    def fresh(self, labels: dict[str, str]) -> Nothing:
        return Nothing(labels)

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        reason = f"{self.what}{labelled(state.labels)} happened at {clock(seen.time_us)}"
        event = Counted(seen.time_us, seen.seq)
        self.fire(state, ledger, Said(Verdict.FIRED, seen.received_us, reason, (seen.seq,), [event], seen=seen))

    def describe(self, state: State) -> dict[str, Any]:
        return {"waits for": self.what}


class CountingState(State):
    """The events kept, sorted by time; until when the key is quiet; the newest time seen."""

    __slots__ = ("kept", "newest_us", "quiet_us")

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.kept: list[Counted] = []
        self.quiet_us: Micros | None = None
        self.newest_us: Micros | None = None

    def fields(self) -> list[Any]:
        return [self.kept, self.quiet_us, self.newest_us]


class Counting(Timeless):
    """N events within W (laws R1, R2, R3)."""

    __slots__ = ("keep_us", "threshold", "what", "within_us")

    def __init__(self, node: Node, trigger: EventTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node)
        assert trigger.within is not None, "Each takes those without"
        self.what = expected(trigger)
        self.threshold = trigger.threshold
        self.within_us = duration_us(trigger.within)
        lateness = trigger.lateness
        self.keep_us = max(self.within_us, lateness_us if lateness is None else duration_us(lateness))

    def fresh(self, labels: dict[str, str]) -> CountingState:
        return CountingState(labels)

    def restore(self, state: State, fields: list[Any]) -> None:
        assert isinstance(state, CountingState)
        kept, state.quiet_us, state.newest_us = fields
        state.kept = [Counted(*one) for one in kept]

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        assert isinstance(state, CountingState)
        state.seen_us, time_us = seen.received_us, seen.time_us
        if state.newest_us is None or time_us > state.newest_us:
            state.newest_us = time_us
        if state.quiet_us is not None and time_us < state.quiet_us:
            self.note(state, ledger, Outcome.QUIET, "quiet until {0:time}", state.quiet_us,
                      at_us=seen.received_us, seq=seen.seq)  # fmt: skip
        else:
            self._count(state, seen, ledger)
        self._forget(state)

    def _count(self, state: CountingState, seen: Seen, ledger: Ledger) -> None:
        kept, event = state.kept, Counted(seen.time_us, seen.seq)
        insort(kept, event)
        first = self._earliest_set(kept, event)
        if first is None:
            together = len(kept) - bisect_right(kept, (event.time_us - self.within_us, event.seq))
            self.note(state, ledger, Outcome.COUNTED, "counted {0} of {1}", min(together, self.threshold - 1),
                      self.threshold, at_us=seen.received_us, seq=seen.seq)  # fmt: skip
            return
        counted = kept[first : first + self.threshold]
        quiet_us = state.quiet_us = counted[0].time_us + self.within_us
        state.kept = [other for other in kept[first + self.threshold :] if other.time_us >= quiet_us]
        times = f"at {clock(seen.time_us)}" if len(counted) == 1 else (
            f"{self.threshold} times within {span(self.within_us)}, "
            f"from {clock(counted[0].time_us)} to {clock(counted[-1].time_us)}"
        )  # fmt: skip
        reason = f"{self.what}{labelled(state.labels)} happened {times}; quiet until {clock(quiet_us)}"
        about = [one.seq for one in counted]
        self.fire(state, ledger, Said(Verdict.FIRED, seen.received_us, reason, tuple(about), counted, seen=seen))

    def _earliest_set(self, kept: list[Counted], event: Counted) -> int | None:
        """Return where the earliest N neighbours begin that include the event and lie within W.

        Neighbours suffice: without the event no N of them lie within W, or they would have fired.
        """
        size = self.threshold
        last = len(kept) - size
        place = bisect_right(kept, event) - 1
        for first in range(max(0, place - size + 1), min(place, last) + 1):
            if kept[first + size - 1].time_us - kept[first].time_us < self.within_us:
                return first
        return None

    def _forget(self, state: CountingState) -> None:
        assert state.newest_us is not None
        old_us, kept = state.newest_us - self.keep_us, state.kept
        if kept and kept[0].time_us <= old_us:
            state.kept = [event for event in kept if event.time_us > old_us]

    def describe(self, state: State) -> dict[str, Any]:
        assert isinstance(state, CountingState)
        return {"waits for": self.what, "kept": len(state.kept), "of": self.threshold, "within": span(self.within_us),
                "quiet until": iso(state.quiet_us)}  # fmt: skip
