"""One run of the judge: which states are touched by what, and in which order each is led through it (law O1).

Each key of each node is led by itself: arrivals in the order of the log, before each the moments that come before it,
and at the end those up to the horizon. What leaves and composites fire is handed to the composite above, in the order
of law C1; a level is played when all below it are.

Rule 1: the order of judgement is decided in this file.
Ties: at the same instant arrivals come before moments; of what one of them completes, children of `not` come first,
then the others in their order, then the order of K."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.errors import JudgeFailed
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision, Firing, Verdict
from tocsin.schemas.moments import Micros
from tocsin.triggers.composite import Composite, CompositeState
from tocsin.triggers.keys import state_key
from tocsin.triggers.machine import Fired, Ledger, Machine, Outages, Seen, State
from tocsin.triggers.match import Key, Roles
from tocsin.triggers.nodes import Arming, Spot

NEVER: Micros = -(1 << 63)
"""Before every moment."""


@dataclass(slots=True)
class Work:
    """What has to be done with one state: arrivals or firings of children to take, and moments."""

    spot: Spot
    labels: dict[str, str]
    seen: list[Seen] = field(default_factory=list)
    handed: list[tuple[Spot, Fired]] = field(default_factory=list)


class Run:
    """The work of one run, by level and state key. `horizon_us` is the last moment that is judged."""

    def __init__(self, *, excluded: frozenset[tuple[str, int | str]], outages: Outages, horizon_us: Micros) -> None:
        self.changed: dict[str, State | None] = {}
        self.excluded = excluded
        self._outages = outages
        self._own: dict[str, Outages] = {}
        self._horizon_us = horizon_us
        self._ledger = Ledger()
        self._levels: list[dict[str, Work]] = []
        self._played = 0
        self._keys: dict[tuple[Spot, Key], str] = {}
        self._roots: list[Fired] = []
        self._at: int | None = None

    # What there is to do

    def touch(self, spot: Spot, key: Key, arrival: Arrival, *, roles: Roles) -> None:
        """Note that an arrival concerns a key of a leaf."""
        work = self._work(spot, key)
        if work is not None:
            time_us = arrival.time_us
            work.seen.append(Seen(time_us, arrival.seq, time_us, arrival.received_us, roles, arrival.chain))

    def due(self, name: str, spot: Spot) -> None:
        """Note that a state wants to be called."""
        self._level(spot).setdefault(name, Work(spot, {}))

    def _work(self, spot: Spot, key: Key) -> Work | None:
        name = self._keys.get((spot, key))
        if name is None:
            name = self._keys[spot, key] = state_key(spot.arming.name, spot.id, key)
        works = self._level(spot)
        work = works.get(name)
        if work is None:
            if self.excluded and (spot.arming.name, name) in self.excluded:
                return None
            work = works[name] = Work(spot, dict(zip(spot.names, key, strict=True)))
        return work

    def _level(self, spot: Spot) -> dict[str, Work]:
        while len(self._levels) <= spot.level:
            self._levels.append({})
        return self._levels[spot.level]

    # Doing it

    def next_level(self) -> frozenset[str] | None:
        """Return the keys of the states that the next level needs, or None when all levels are played."""
        if self._played >= len(self._levels):
            return None
        works = self._levels[self._played]
        return frozenset(name for name, work in works.items() if work.spot.machine.keeps)

    def play(self, states: Mapping[str, State | None]) -> None:
        """Do the work of the next level with the states that exist."""
        works = self._levels[self._played]
        self._played += 1
        for name, work in works.items():
            fired = len(self._ledger.fired)
            self._at = None
            try:
                self._lead(name, work, states.get(name))
            except Exception as error:
                raise self._failure(name, work, error) from error
            for one in self._ledger.fired[fired:]:
                self._pass_on(work.spot, one)

    def _failure(self, name: str, work: Work, error: Exception) -> JudgeFailed:
        """Say what has to be set aside: the pair of automation and arrival, or the state."""
        what, key = f"{type(error).__name__}: {error}", None if self._at is not None else name
        return JudgeFailed(what, automation=work.spot.arming.name, seq=self._at, state_key=key)

    def _lead(self, name: str, work: Work, state: State | None) -> None:
        machine, ledger = work.spot.machine, self._ledger
        if state is None:
            if not work.seen and not work.handed:
                return
            state = machine.fresh(work.labels)
        ledger.state_key, ledger.outages = name, self._outages_of(work.spot.arming)
        for seen in work.seen:
            if state.wake_us is not None and state.wake_us < seen.received_us:
                self._moments(machine, state, seen.received_us - 1)
                state = machine.fresh(state.labels) if state.gone else state
            self._at = seen.seq
            ledger.step = (seen.received_us, 0, seen.seq)
            machine.arrive(state, seen, ledger)
            self._at = None
        if work.handed:
            state = self._hand_over(work, state)
        self._moments(machine, state, self._horizon_us)
        if machine.keeps:
            self.changed[name] = None if state.gone else state

    def _hand_over(self, work: Work, state: State) -> State:
        machine = work.spot.machine
        assert isinstance(machine, Composite)
        assert isinstance(state, CompositeState)
        work.handed.sort(key=lambda one: (one[1].step, one[0].rank, tuple(one[1].firing.labels.values())))
        for spot, fired in work.handed:
            self._moments(machine, state, fired.step[0] - 1)
            self._ledger.step = fired.step
            machine.hand(state, fired, self._ledger, place=spot.place)
        return state

    def _moments(self, machine: Machine, state: State, until_us: Micros) -> None:
        """Judge the moments that a state asks for, up to one; what is found after its moment is judged at once."""
        ledger, last_us = self._ledger, NEVER
        while state.wake_us is not None and not state.gone:
            at_us = machine.moved(ledger.outages, max(state.wake_us, state.seen_us))
            if at_us > until_us:
                return
            assert at_us > last_us, f"asks for the moment {at_us} again"
            ledger.step, last_us = (at_us, 1, 0), at_us
            machine.wake(state, at_us, ledger)

    def _pass_on(self, spot: Spot, fired: Fired) -> None:
        """Give a firing to the composite above; a composite is not handed what resolves (law C1)."""
        parent = spot.parent
        if parent is None:
            self._roots.append(fired)
        elif fired.firing.verdict is not Verdict.RESOLVED:
            assert isinstance(parent.machine, Composite)
            work = self._work(parent, tuple(fired.firing.labels[name] for name in parent.machine.readers))
            if work is not None:
                work.handed.append((spot, fired))

    def _outages_of(self, arming: Arming) -> Outages:
        if not arming.outages:
            return self._outages
        if arming.name not in self._own:
            self._own[arming.name] = self._outages.and_also(arming.outages)
        return self._own[arming.name]

    # What came of it

    def firings(self) -> list[Firing]:
        """Return what root nodes fired, in order."""
        self._roots.sort(key=lambda one: (one.step, one.firing.automation, tuple(one.firing.labels.values())))
        return [one.firing for one in self._roots]

    def decisions(self) -> list[Decision]:
        """Return what happened to each key, in order."""
        self._ledger.decisions.sort(key=lambda one: one[:2])
        return [decision for _, _, decision in self._ledger.decisions]
