"""What compounds and sequences share: the firings of children, kept until they are consumed (laws C1, C5).

Rule 1: composites compare judged times, never arrival; of equal times the later arrival is the newer.
Rule 2: a composite sees firings in the order in which the judge hands them over, which is that of law C1.
Rule 3: what is kept is ordered by the identity of children where their order decides nothing, so that a definition that
lists them in another order finds it again (law S4).
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tocsin.schemas.firing import Outcome, Verdict
from tocsin.schemas.moments import Micros, duration_us, iso
from tocsin.schemas.trigger import (
    ChildTrigger,
    CompoundTrigger,
    DeadlineTrigger,
    EventTrigger,
    NotTrigger,
    SequenceTrigger,
)
from tocsin.triggers.machine import Counted, Fired, Ledger, Machine, Node, Said, Seen, State, clock, expected, labelled


class Kept(NamedTuple):
    """A child's firing. They sort by judged time, then by arrival; `by` is the event that completed it, if one did."""

    time_us: Micros
    arrived: int
    id: str
    by: int | None
    events: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A child under a `not`: its place, and how far back it looks (None: for ever)."""

    place: int
    within_us: Micros | None


class CompositeState(State):
    """For each child the firings that are kept, oldest first; and the sets that wait for an end of silence (law C4)."""

    __slots__ = ("arrived", "kept", "waiting")

    def __init__(self, labels: dict[str, str], children: int) -> None:
        super().__init__(labels)
        self.kept: list[list[Kept]] = [[] for _ in range(children)]
        self.arrived = 0
        self.waiting: list[tuple[Micros, list[str]]] = []

    def fields(self) -> list[Any]:
        return [self.arrived, self.kept, self.waiting]


class Composite(Machine):
    """A trigger over the firings of others; `written` is where the definition has the child of each place."""

    __slots__ = ("absent", "children", "positive", "readers", "what", "within_us", "written")

    def __init__(self, node: Node, trigger: CompoundTrigger | SequenceTrigger, written: Sequence[int]) -> None:
        super().__init__(node)
        self.within_us = None if trigger.within is None else duration_us(trigger.within)
        self.written = tuple(written)
        self.children = len(self.written)
        triggers = [trigger.triggers[one] for one in self.written]
        self.absent = {
            place: Absent(place, None if child.within is None else duration_us(child.within))
            for place, child in enumerate(triggers) if isinstance(child, NotTrigger)
        }  # fmt: skip
        self.positive = [place for place in range(self.children) if place not in self.absent]
        self.readers = tuple(trigger.for_each.values())
        self.what = tuple(map(_awaited, triggers))

    def fresh(self, labels: dict[str, str]) -> CompositeState:
        return CompositeState(labels, self.children)

    def restore(self, state: State, fields: list[Any]) -> None:
        assert isinstance(state, CompositeState)
        state.arrived, kept, state.waiting = fields
        state.kept = [
            [Kept(time_us, arrived, id_, by, tuple(Counted(*one) for one in events))
             for time_us, arrived, id_, by, events in child]
            for child in kept
        ]  # fmt: skip

    def hand(self, state: CompositeState, fired: Fired, ledger: Ledger, *, place: int) -> None:
        """Take a child's firing, and see what it completes."""
        firing = fired.firing
        state.arrived += 1
        state.seen_us = fired.step[0]
        kept = Kept(firing.time_us, state.arrived, firing.id, firing.trigger_event, fired.events)
        self.keep(state, place, kept)
        seen = None
        if firing.trigger_event is not None:
            seen = Seen(firing.time_us, firing.trigger_event, firing.time_us, fired.step[0], 0, firing.chain)
        if place in self.absent or not self.complete(state, kept, ledger, place=place, at_us=fired.step[0], seen=seen):
            count = sum(1 for child in self.positive if state.kept[child])
            says = "child {0} fired; {1} of {2} children have"
            self.note(state, ledger, Outcome.COUNTED, says, self.written[place] + 1, count, len(self.positive),
                      at_us=fired.step[0], seq=firing.trigger_event)  # fmt: skip
        self.rearm(state)

    @abstractmethod
    def keep(self, state: CompositeState, place: int, kept: Kept) -> None:
        """Put a firing among those of its child, and drop what the law drops."""

    @abstractmethod
    def complete(self, state: CompositeState, kept: Kept, ledger: Ledger, *, place: int, at_us: Micros,
                 seen: Seen | None) -> bool:  # fmt: skip
        """Fire if the firing that was just kept completes a set; return whether it did."""

    def fire_set(self, state: CompositeState, found: Sequence[Kept], ledger: Ledger, *, at_us: Micros,
                 seen: Seen | None) -> None:  # fmt: skip
        """Fire for a set of children's firings."""
        times = ", ".join(clock(one.time_us) for one in found)
        reason = f"{self.sentence(len(found))}{labelled(state.labels)}: at {times}"
        events = {event for one in found for event in one.events}
        said = Said(Verdict.FIRED, at_us, reason, tuple(one.id for one in found), events, seen=seen)
        said.time_us = max(one.time_us for one in found)
        said.window_us = (min(one.time_us for one in found), said.time_us)
        self.fire(state, ledger, said)

    @abstractmethod
    def sentence(self, count: int) -> str:
        """Return what happened when `count` children's firings came together."""

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: what children fired is dropped with the state."""

    def describe(self, state: State) -> dict[str, Any]:
        assert isinstance(state, CompositeState)
        listed = [(place, state.kept[place]) for place in sorted(range(self.children), key=self.written.__getitem__)]
        missing = [self.what[place] for place, child in listed if place not in self.absent and not child]
        return {
            "waits for": ", ".join(missing) or None,
            "children": [
                {"kept": len(child), "newest": iso(child[-1].time_us) if child else None, "not": place in self.absent}
                for place, child in listed
            ],
            "decided": [iso(moment_us) for moment_us, _ in state.waiting],
        }


def _awaited(child: ChildTrigger) -> str:
    """Return what has to happen for a child to fire, as far as a word can say it."""
    return expected(child) if isinstance(child, EventTrigger | DeadlineTrigger) else f"a {child.type}"


def insert(child: list[Kept], kept: Kept, most: int) -> None:
    """Put a firing among the others of its child in the order of time; keep the newest ones only."""
    insort(child, kept)
    del child[:-most]
