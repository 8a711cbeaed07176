"""Times that come by themselves (`type: schedule`, laws T1, T2).

Each time after T0 fires at its moment. Those that fell into an outage come together at its end, as `catch_up` says:
the last of them, all, or none.

Rule 1: when a schedule fires is decided in this file; which times it has, in `times`.
Rule 2: a schedule waits for nobody to deliver: it goes on when an outage ends, not when its settling does (law S2).
"""

from __future__ import annotations

from typing import Any

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, iso
from tocsin.schemas.trigger import ScheduleTrigger
from tocsin.triggers.machine import Ledger, Machine, Node, Outages, Said, Seen, State, clock
from tocsin.triggers.times import times_of

CATCH_UP_MAX = 10_000
"""The most times that `catch_up: all` fires after one outage: the newest ones."""


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
        outage = outages.around(moment_us)
        return moment_us if outage is None else self.moved(outages, outage.end_us)

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        """Never happens: no event matches a schedule."""
        raise AssertionError("no event matches a schedule")

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        assert isinstance(state, ScheduleState)
        missed: list[Micros] = []
        while state.wake_us is not None and self.moved(ledger.outages, state.wake_us) <= at_us:
            if ledger.outages.around(state.wake_us):
                missed.append(state.wake_us)
            else:
                self._catch_up(state, missed, at_us, ledger)
                missed = []
                self._fire(state, state.wake_us, at_us, ledger)
            state.done_us = state.wake_us
            self.rearm(state)
        self._catch_up(state, missed, at_us, ledger)
        state.seen_us = at_us

    def _catch_up(self, state: State, missed: list[Micros], at_us: Micros, ledger: Ledger) -> None:
        wanted = {"all": missed[-CATCH_UP_MAX:], "last": missed[-1:], "none": []}[self.catch_up]
        if len(wanted) < len(missed):
            self.note(state, ledger, Outcome.IGNORED, "{0} times from {1:time} on fell into an outage; catch_up: {2}",
                      len(missed) - len(wanted), missed[0], self.catch_up, at_us=at_us)  # fmt: skip
        for time_us in wanted:
            self._fire(state, time_us, at_us, ledger)

    def _fire(self, state: State, time_us: Micros, at_us: Micros, ledger: Ledger) -> None:
        late = f", caught up at {clock(at_us)}" if at_us != time_us else ""
        self.fire(state, ledger, Said(Verdict.FIRED, at_us, f"scheduled for {clock(time_us)}{late}", (time_us,)))

    def rearm(self, state: State) -> None:
        assert isinstance(state, ScheduleState)
        state.wake_us = self.times.after(state.done_us)

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: a schedule has no window."""

    def describe(self, state: State) -> dict[str, Any]:
        return {"next": iso(state.wake_us)}
