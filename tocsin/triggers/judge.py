"""The judge: leads arrivals and moments through the machines of many automations (laws O1, S1, S5, C1).

A `Judge` is an immutable snapshot. Its `run` is a generator that asks for the states it needs, level by level:
first those of the leaves that the whole batch touches, with those that are due; then those of the composites above,
which the firings of the level below touch; and so on. Automations do not touch each other, and a composite looks at
nothing but judged times and the order in which it is handed firings; so level by level gives what event by event
would.

Rule 1: this directory does not know where states are kept; who runs the generator does.
Rule 2: one broken automation breaks itself only. Whatever it raises becomes `JudgeFailed`, with what to set aside.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.errors import JudgeFailed
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision, Firing
from tocsin.schemas.moments import MINUTE, Micros
from tocsin.triggers.deadline import PRIMED, Deadline
from tocsin.triggers.forking import ForkingDict
from tocsin.triggers.heartbeat import Heartbeat
from tocsin.triggers.index import Index
from tocsin.triggers.keys import automation_of, node_of, state_key
from tocsin.triggers.machine import Ledger, Outage, Outages, State
from tocsin.triggers.nodes import Armed, Arming, Plan, Spot, Twig
from tocsin.triggers.run import NEVER, Run
from tocsin.triggers.schedule import Schedule
from tocsin.triggers.tables import Change, Leaf

__all__ = ["Armed", "Judge", "Judgement", "Outage", "State", "automation_of"]

_MARK = "\x1f"  # between an automation and the place of a leaf in it, in the name by which the index knows the leaf


@dataclass(slots=True)
class Judgement:
    """What a run decided: the states to save (None: delete), the firings of root nodes, and why.

    Firings and decisions are in the order of laws O1 and C1.
    """

    changed: dict[str, State | None] = field(default_factory=dict)
    firings: list[Firing] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


class Judge:
    """All automations, compiled. `lateness_us` is the default of triggers that do not say (law R3)."""

    def __init__(self, automations: Iterable[Armed] = (), *, lateness_us: Micros = MINUTE) -> None:
        self._lateness_us = lateness_us
        self._plans: ForkingDict[Plan] = ForkingDict()
        self._index = Index()
        self._take(automations, ())

    def replace(self, *, armed: Iterable[Armed] = (), removed: Iterable[str] = ()) -> Judge:
        """Return a judge with these automations in place of those of the same names, and without those removed."""
        judge = Judge(lateness_us=self._lateness_us)
        judge._plans, judge._index = self._plans.copy(), self._index
        judge._take(armed, removed)
        return judge

    def _take(self, armed: Iterable[Armed], removed: Iterable[str]) -> None:
        change = self._index.changing()
        for name in removed:
            self._drop(change, name)
        for one in armed:  # one by one: there may be very many
            self._drop(change, one.name)
            plan = self._plans[one.name] = Plan(one, lateness_us=self._lateness_us)
            for place, reach in enumerate(plan.reaches):
                change.put(Leaf(f"{one.name}{_MARK}{place}", reach, Twig(plan, place)))
        self._index = Index(change.tables)

    def _drop(self, change: Change, name: str) -> None:
        plan = self._plans.pop(name, None)
        if plan is not None:
            for place in range(len(plan.reaches)):
                change.drop(f"{name}{_MARK}{place}")

    def __contains__(self, name: str) -> bool:
        return name in self._plans

    def fingerprint(self, name: str) -> str:
        """Return the identity of an automation's trigger: while it stays, so do the windows (law S4)."""
        return self._plans[name].root.id

    # States

    def spot(self, key: str) -> Spot | None:
        """Return the node that a state belongs to, or None when it is no longer defined."""
        automation, node = node_of(key)
        plan = self._plans.get(automation)
        return plan.spot(node) if plan else None

    def arming(self, name: str) -> Arming:
        """Return since when and whether an automation is judged."""
        return self._plans[name].arming

    def root(self, name: str) -> Spot:
        """Return the topmost node of an automation. Raises JudgeFailed when its trigger can not be read."""
        return self._plans[name].root

    def spots(self, name: str) -> Collection[Spot]:
        """Return the nodes of an automation."""
        return self._plans[name].spots

    def decode(self, key: str, blob: bytes) -> State | None:
        """Return a stored state, or None when its node is no longer defined.

        Raises:
            JudgeFailed: it can not be read.
        """
        spot = self.spot(key)
        if spot is None:
            return None
        try:
            return spot.machine.decode(blob)
        except Exception as error:
            what = f"its state can not be read: {error!r}"
            raise JudgeFailed(what, automation=spot.arming.name, state_key=key) from error

    def arm(self, name: str, *, from_us: Micros | None = None) -> dict[str, State]:
        """Return the states that exist from T0 on, though nothing arrived: by law, silence counts from there.

        `from_us` is a later start, for subjects that were added to a trigger whose windows stay (law S4).
        """
        plan = self._plans[name]
        from_us = plan.arming.armed_us if from_us is None else from_us
        states: dict[str, State] = {}
        if not plan.waits:
            return states
        for spot in plan.spots:
            machine = spot.machine
            if isinstance(machine, Heartbeat | Deadline | Schedule):
                for key in machine.subjects if spot.names else ((),):
                    labels = dict(zip(spot.names, key, strict=True))
                    states[state_key(name, spot.id, key)] = machine.armed(labels, from_us)
        return states

    def refresh(self, key: str, state: State) -> None:
        """Set when a state is called again, after its automation changed in a way that keeps its windows (law S4)."""
        spot = self.spot(key)
        if spot is not None:
            spot.machine.rearm(state)

    def close(self, states: Mapping[str, State], *, at_us: Micros) -> Judgement:
        """End what is open in states whose automation goes, or starts anew: `closed`, without a resolve (law S4).

        To be asked of the judge that still has the automation.
        """
        ledger, judgement = Ledger(), Judgement()
        for key, state in states.items():
            spot = self.spot(key)
            if spot is not None:
                ledger.state_key = key
                spot.machine.close(state, at_us, ledger)
            judgement.changed[key] = None
        judgement.decisions = [decision for _, _, decision in ledger.decisions]
        return judgement

    def forget(self, key: str, state: State, *, at_us: Micros) -> Judgement:
        """Stop watching one key of one node at once (law P8)."""
        spot, ledger = self.spot(key), Ledger()
        ledger.state_key = key
        if spot is not None:
            spot.machine.forget(state, at_us, ledger)
        return Judgement({key: None}, [], [decision for _, _, decision in ledger.decisions])

    def describe(self, key: str, state: State) -> dict[str, Any]:
        """Return what a state knows, for people: open windows, counts, next moments; times as ISO 8601."""
        spot = self.spot(key)
        return {} if spot is None else {"node": spot.id, "labels": state.labels, **spot.machine.describe(state)}

    def priming(self, name: str) -> Micros | None:
        """Return from which moment on stored events are needed to prime an automation, or None (law O3)."""
        plan = self._plans[name]
        machines = [spot.machine for spot in plan.spots] if plan.waits else []
        return min((machine.primed_from() for machine in machines if isinstance(machine, Deadline)), default=None)

    # Judgement

    def run(
        self,
        arrivals: Sequence[Arrival],
        *,
        until_us: Micros | None,
        due: Collection[str] = (),
        outages: Sequence[Outage] = (),
        excluded: Collection[tuple[str, int | str]] = (),
        prime: str | None = None,
    ) -> Generator[frozenset[str], Mapping[str, State | None], Judgement]:
        """Judge arrivals in their order, merged with moments; yield the state keys that are needed, level by level.

        Each yield is to be answered with a mapping of what exists under those keys; the states are changed in place.
        Moments up to `until_us` are judged (None: those before the last arrival's). `due` are the keys of all states
        that want to be called by then. `excluded` are pairs of an automation and a `seq` or a state key: they are
        skipped as if they had matched nothing (law S5). With `prime`, the arrivals are stored ones from before T0 of
        that automation, which its deadlines count (law O3) into the states that `arm` returned; nothing else happens.

        Raises:
            JudgeFailed: an automation could not judge an arrival or a state; nothing of this run may be kept.
        """
        run = Run(excluded=frozenset(excluded), outages=Outages(outages), horizon_us=_horizon(arrivals, until_us))
        skipped = run.excluded
        for arrival in arrivals:
            self._touch(run, arrival, prime)
        for key in due:
            if skipped and (automation_of(key), key) in skipped:
                continue
            spot = self._due_spot(key)
            if spot is not None and not spot.arming.paused:
                run.due(key, spot)
        while (needed := run.next_level()) is not None:
            run.play((yield needed) if needed else {})
        judgement = Judgement(run.changed)
        judgement.firings = run.firings()
        judgement.decisions = run.decisions()
        return judgement

    def _due_spot(self, key: str) -> Spot | None:
        try:
            return self.spot(key)
        except JudgeFailed as failed:
            raise JudgeFailed(str(failed), automation=failed.automation, state_key=key) from failed

    def _touch(self, run: Run, arrival: Arrival, prime: str | None) -> None:
        """Find the keys that an arrival concerns."""
        for leaf, roles, key in self._index.match(arrival):
            name, _, place = leaf.rpartition(_MARK)
            plan = self._plans[name]
            arming = plan.arming
            if prime is not None:
                if name == prime:
                    spot = plan.compiled().leaves[int(place)][0]
                    if isinstance(spot.machine, Deadline):
                        run.touch(spot, key, arrival, roles=roles | PRIMED)
            elif arrival.seq > arming.armed_seq and not arming.paused:
                if run.excluded and (name, arrival.seq) in run.excluded:
                    continue
                run.touch(_leaf(plan, int(place), arrival), key, arrival, roles=roles)


def _leaf(plan: Plan, place: int, arrival: Arrival) -> Spot:
    try:
        return plan.compiled().leaves[place][0]
    except JudgeFailed as failed:
        raise JudgeFailed(str(failed), automation=failed.automation, seq=arrival.seq) from failed


def _horizon(arrivals: Sequence[Arrival], until_us: Micros | None) -> Micros:
    if until_us is not None:
        return until_us
    return arrivals[-1].received_us - 1 if arrivals else NEVER
