"""The smallest shell around the judge: states in memory, moments in order. Backtests and tests run on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import Micros
from tocsin.triggers.judge import Judge, Judgement
from tocsin.triggers.machine import Outage, State

BATCH = 500


class Memory:
    """The states of one judge, kept in memory."""

    def __init__(self, judge: Judge, states: dict[str, State] | None = None) -> None:
        self.judge = judge
        self.states: dict[str, State] = {} if states is None else states

    def arm(self, name: str) -> None:
        """Put in place what exists from T0 on."""
        self.states |= self.judge.arm(name)

    def run(
        self,
        arrivals: Sequence[Arrival],
        *,
        until_us: Micros | None,
        outages: Sequence[Outage] = (),
        excluded: Iterable[tuple[str, int | str]] = (),
        prime: str | None = None,
    ) -> Judgement:
        """Judge arrivals and moments as `Judge.run` does, and keep the states."""
        horizon_us = until_us if until_us is not None else arrivals[-1].received_us if arrivals else None
        due = [
            key for key, state in self.states.items()
            if horizon_us is not None and state.wake_us is not None and state.wake_us <= horizon_us
        ]  # fmt: skip
        running = self.judge.run(
            arrivals, until_us=until_us, due=due, outages=outages, excluded=tuple(excluded), prime=prime
        )
        answer: dict[str, State | None] | None = None
        while True:
            try:
                needed = running.send(answer)  # type: ignore[arg-type]
            except StopIteration as done:
                judgement: Judgement = done.value
                break
            answer = {key: self.states.get(key) for key in needed}
        for key, state in judgement.changed.items():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
        return judgement


def drive(
    judge: Judge,
    arrivals: Iterable[Arrival],
    until_us: Micros,
    *,
    outages: Sequence[Outage] = (),
    names: Iterable[str] = (),
) -> Iterator[Judgement]:
    """Judge a history from the beginning: arrivals and moments up to and including `until_us`, in batches.

    `names` are the automations to arm.
    """
    memory = Memory(judge)
    for name in names:
        memory.arm(name)
    batch: list[Arrival] = []
    for arrival in arrivals:
        if arrival.received_us > until_us:
            break
        batch.append(arrival)
        if len(batch) >= BATCH:
            yield memory.run(batch, until_us=None, outages=outages)
            batch = []
    yield memory.run(batch, until_us=until_us, outages=outages)
