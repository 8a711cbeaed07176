"""Silence without an `after` (`posture: Proactive`): a dead man's switch, for a trigger or for each key (laws P3,
P4).

The deadline is `within` after the N-th newest expect event, or after the start while there are fewer. The start is
T0 where the key is watched from the beginning (no `for_each`, or a subject); else the time of its first event. An
event up to the deadline moves it. One behind it leaves the old deadline to its verdict, as late while its grace
lasts, and sets the next.

Rule 1: what moves a deadline of P3 and P4 is in this file.
Rule 2: this file does not know when verdicts are given; `watch` does.
"""

from __future__ import annotations

from typing import Any

from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import Micros, duration_us, span
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.history import History
from tocsin.triggers.machine import Counted, Ledger, Node, Seen, State, clock
from tocsin.triggers.match import EXPECT, UNTIL
from tocsin.triggers.watch import Watch, WatchState
from tocsin.triggers.window import Fold, Window


class Beats(Fold):
    """What a key's events add up to: the N newest, where counting started, and the deadline that follows.

    `done_us` is the last deadline that was settled, `arrived_us` when the last event arrived. `kept_us` is the deadline
    that is watched though an event from before the settled end set it, which opens no window by its place (law O4):
    it was still to come then, or moved one that was.
    """

    __slots__ = ("arrived_us", "done_us", "due_us", "kept_us", "newest", "start_us")

    def __init__(self) -> None:
        super().__init__()
        self.start_us: Micros | None = None
        self.newest: list[Counted] = []
        self.due_us: Micros = 0
        self.arrived_us: Micros = 0
        self.done_us: Micros | None = None
        self.kept_us: Micros | None = None

    def copy(self) -> Any:
        fold = super().copy()
        fold.start_us, fold.newest, fold.due_us = self.start_us, list(self.newest), self.due_us
        fold.arrived_us, fold.done_us, fold.kept_us = self.arrived_us, self.done_us, self.kept_us
        return fold

    def dump(self) -> list[Any]:
        own = [self.start_us, self.newest, self.due_us, self.arrived_us, self.done_us, self.kept_us]
        return [*super().dump(), *own]

    def load(self, values: list[Any]) -> None:
        *windows, self.start_us, newest, self.due_us, self.arrived_us, self.done_us, self.kept_us = values
        super().load(windows)
        self.newest = [Counted(*one) for one in newest]


class Heartbeat(Watch):
    """A Proactive trigger without `after`."""

    __slots__ = ("forget_after_us", "subjects")

    def __init__(self, node: Node, trigger: EventTrigger, *, lateness_us: Micros) -> None:
        super().__init__(node, trigger, lateness_us=lateness_us)
        self.forget_after_us = duration_us(trigger.forget_after) if trigger.for_each else None
        self.subjects = frozenset(trigger.subjects)

    def fresh(self, labels: dict[str, str]) -> WatchState:
        return WatchState(labels, Beats())

    def armed(self, labels: dict[str, str], from_us: Micros) -> WatchState:
        """Return the state of a key that is watched from a moment on, though nothing was seen."""
        state, fold = self.fresh(labels), Beats()
        self._start(fold, from_us, start_us=from_us)
        state.history = History(fold)
        state.seen_us = from_us
        self.rearm(state)
        return state

    def step(self, fold: Beats, seen: Seen) -> tuple[Outcome, str, tuple[object, ...]]:
        did: tuple[Outcome, str, tuple[object, ...]] = (Outcome.IGNORED, "changes nothing", ())
        if fold.until_us is not None and not self.reopen:
            return Outcome.IGNORED, "closed at {0:time}", (fold.until_us,)
        if seen.roles & EXPECT:
            did = self._beat(fold, seen)
        if seen.roles & UNTIL:
            self._until(fold, seen)
            did = Outcome.CLOSED, "closed up to {0:time}", (seen.time_us,)
        return did

    def _beat(self, fold: Beats, seen: Seen) -> tuple[Outcome, str, tuple[object, ...]]:
        time_us, held_back = seen.time_us, fold.is_closed(seen)
        if held_back and (fold.start_us is None or (fold.until_us is not None and time_us <= fold.until_us)):
            return Outcome.IGNORED, "closed until later than that", ()
        if fold.start_us is None:
            self._start(fold, seen.received_us, start_us=time_us, event=Counted(time_us, seen.seq))
            return Outcome.OPENED, "watched from now on, due {0:time}", (fold.due_us,)
        if time_us < fold.start_us:
            return Outcome.IGNORED, "from before the watch began at {0:time}", (fold.start_us,)
        event = Counted(time_us, seen.seq)
        if self.threshold == 1:
            newest = fold.newest = [max(fold.newest[0], event)] if fold.newest else [event]
        else:
            newest = fold.newest = sorted([*fold.newest, event])[-self.threshold :]
        due_us = (newest[0].time_us if len(newest) == self.threshold else fold.start_us) + self.within_us
        if due_us != fold.due_us:
            fold.due_us = due_us
            opens = self._end(fold, seen) and not held_back
            if opens:
                self._open(fold, seen.received_us, event)
            return Outcome.MOVED, "seen; due {0:time}", (due_us,)
        if fold.windows and fold.windows[-1].due_us == due_us:
            fold.windows[-1].counted = list(newest)
        return Outcome.COUNTED, "seen; still due {0:time}", (due_us,)

    def _end(self, fold: Beats, seen: Seen) -> bool:
        """End the open window by an event that moved the deadline; return whether it opens the next.

        Behind a settled end, an event from before it opens none, unless the deadline is still to come.
        """
        time_us = seen.time_us
        if not fold.windows:
            if fold.end_us is None or time_us >= fold.end_us or fold.due_us == fold.kept_us:
                return True
            if fold.due_us + self.grace_us <= fold.arrived_us:
                return False
            fold.kept_us = fold.due_us
            return True
        if fold.end_us is not None and time_us < fold.end_us:
            fold.kept_us = fold.due_us
        window = fold.windows[-1]
        if window.outcome is not None:
            return True
        if time_us <= window.due_us:
            window.outcome, window.end_us = Outcome.MET, time_us
        elif time_us <= window.due_us + self.grace_us:
            window.outcome = Outcome.LATE
            window.counted.append(Counted(time_us, seen.seq))
        return True

    def _open(self, fold: Beats, received_us: Micros, setter: Counted | None) -> None:
        """Open the window of the deadline, unless it was settled before."""
        due_us = fold.due_us
        if fold.done_us is None or due_us > fold.done_us:
            opened_us = due_us - self.within_us
            fold.windows.append(Window(opened_us, due_us, received_us, due_us, list(fold.newest), setter))

    def settled(self, history: History[Beats], settled: list[Window]) -> None:
        done_us = settled[-1].due_us
        for fold in (history.base, history.now):
            windows = fold.windows
            while windows and windows[0].due_us <= done_us:
                del windows[0]
            fold.done_us, fold.kept_us = done_us, history.now.kept_us

    def before(self, state: WatchState, seen: Seen) -> None:
        super().before(state, seen)
        history = state.history
        history.base.kept_us = history.now.kept_us
        history.base.arrived_us = history.now.arrived_us = seen.received_us

    def _start(self, fold: Beats, received_us: Micros, *, start_us: Micros, event: Counted | None = None) -> None:
        fold.start_us, fold.due_us = start_us, start_us + self.within_us
        fold.newest = [event] if event else []
        self._open(fold, received_us, event)

    def _until(self, fold: Beats, seen: Seen) -> None:
        time_us = seen.time_us
        fold.until_us = time_us if fold.until_us is None else max(fold.until_us, time_us)
        for window in fold.windows:
            if window.outcome is None and (window.opened_us <= time_us or not self.reopen):
                window.close(seen)
        if fold.start_us is not None and (fold.due_us - self.within_us <= time_us or not self.reopen):
            fold.start_us, fold.newest = None, []

    def since(self, window: Window) -> str:
        newest_us = window.counted[-1].time_us if window.counted else None
        seen = "not seen" if newest_us is None else f"last seen {clock(newest_us)}"
        counting = "" if newest_us == window.opened_us else f" since {clock(window.opened_us)}"
        return f"every {span(self.within_us)}, {seen}{counting}"

    def ended(self, state: WatchState, window: Window, ledger: Ledger, *, at_us: Micros) -> None:
        """Say how a window ended; that an event moved the deadline in time was said when it arrived."""
        if window.outcome is not Outcome.MET:
            super().ended(state, window, ledger, at_us=at_us)

    def forget_at(self, state: WatchState) -> Micros | None:
        if state.alert is None or self.forget_after_us is None or tuple(state.labels.values()) in self.subjects:
            return None
        return state.alert.at_us + self.forget_after_us

    def _review(self, state: WatchState, seen: Seen | None, *, at_us: Micros, ledger: Ledger) -> None:
        """Resolve when an event moved the deadline to one that is still to come (law P5)."""
        alert, windows = state.alert, state.history.now.windows
        assert alert is not None
        if seen is not None and seen.roles & UNTIL and (not self.reopen or alert.opened_us <= seen.time_us):
            self.resolve(state, seen, at_us=at_us, ledger=ledger)
        elif windows and windows[-1].due_us + self.grace_us > at_us:
            self.resolve(state, seen or windows[-1].setter, at_us=at_us, ledger=ledger)

    def describe(self, state: State) -> dict[str, Any]:
        assert isinstance(state, WatchState)
        newest = state.history.now.newest
        seen = clock(newest[-1].time_us) if newest else None
        return {"waits for": self.what, "every": span(self.within_us), "last seen": seen} | super().describe(state)
