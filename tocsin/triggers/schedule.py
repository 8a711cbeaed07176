"""Times that come by themselves (`type: schedule`, laws T1, T2).

Each time after T0 fires at its moment. Of those that fell into an outage, `catch_up` takes the last, all, or none;
what it takes fires as of its own time, whenever the engine got round to it (law O1).

Rule 1: when a schedule fires is decided in this file; which times it has, in `times`.
Rule 2: a schedule waits for nobody to deliver, so outages do not move its moments (law S2).
"""

from __future__ import annotations

from typing import Any

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, iso
from tocsin.schemas.trigger import ScheduleTrigger
from tocsin.triggers.machine import Ledger, Machine, Node, Outage, Outages, Said, State, clock
from tocsin.triggers.times import times_of


class ScheduleState(State):
    """How far the schedule is: all times up to `done_us` have fired, or were given up."""

    __slots__ = ("done_us",)

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.done_us: Micros = 0

    def fields(self) -> list[Any]:
        return [self.done_us]


class Schedule(Machine):
    """A schedule."""

    __slots__ = ("catch_up", "times")

    def __init__(self, node: Node, trigger: ScheduleTrigger) -> None:
        super().__init__(node)
        self.times = times_of(trigger, node.armed_us)
        self.catch_up = trigger.catch_up

    def fresh(self, labels: dict[str, str]) -> ScheduleState:
        return ScheduleState(labels)

    subjects: tuple[tuple[str, ...], ...] = ((),)

    def armed(self, labels: dict[str, str], from_us: Micros) -> State:
        """Return the state of a schedule whose times begin after a moment."""
        state = self.fresh(labels)
        state.done_us = state.seen_us = from_us
        self.rearm(state)
        return state

    def restore(self, state: State, fields: list[Any]) -> None:
        assert isinstance(state, ScheduleState)
        (state.done_us,) = fields

    def moved(self, outages: Outages, moment_us: Micros) -> Micros:
        return moment_us

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        assert isinstance(state, ScheduleState)
        time_us = state.wake_us
        assert time_us is not None
        state.done_us = state.seen_us = time_us
        self.rearm(state)
        outage = ledger.outages.around(time_us)
        if outage is None:
            self._fire(state, time_us, ledger, why="")
        elif self.catch_up == "all" or (self.catch_up == "last" and self._is_last(state, outage)):
            self._fire(state, time_us, ledger, why=f", caught up after {clock(outage.end_us)}")
        else:
            self.note(state, ledger, Outcome.IGNORED, "{0:time} fell into an outage; catch_up: {1}",
                      time_us, self.catch_up, at_us=time_us)  # fmt: skip

    def _is_last(self, state: ScheduleState, outage: Outage) -> bool:
        return state.wake_us is None or state.wake_us >= outage.end_us

    def _fire(self, state: State, time_us: Micros, ledger: Ledger, *, why: str) -> None:
        self.fire(state, ledger, Said(Verdict.FIRED, time_us, f"scheduled for {clock(time_us)}{why}", (time_us,)))

    def rearm(self, state: State) -> None:
        assert isinstance(state, ScheduleState)
        state.wake_us = self.times.after(state.done_us)

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: a schedule has no window."""

    def describe(self, state: State) -> dict[str, Any]:
        return {"next": iso(state.wake_us)}
