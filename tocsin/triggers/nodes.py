"""From a trigger to its machines: the tree of nodes, each with the identity that its states are stored under.

A node's id is made of fingerprints: that of the whole trigger, then that of the child at each level, with an
ordinal among equal siblings. So reordering children keeps their windows, and any change that matters starts all
anew (law S4).

A plan is made of a trigger that was read, or of one that is not read yet: that one is compiled when it is first asked
for its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.errors import JudgeFailed
from tocsin.schemas.event import RESERVED
from tocsin.schemas.moments import Micros
from tocsin.schemas.trigger import (
    ChildTrigger,
    CompoundTrigger,
    DeadlineTrigger,
    EventTrigger,
    LeafTrigger,
    NotTrigger,
    PositiveTrigger,
    ScheduleTrigger,
    SequenceTrigger,
    Trigger,
    fingerprint,
    label_names,
)  # fmt: skip
from tocsin.triggers.composite import Composite
from tocsin.triggers.compound import Compound
from tocsin.triggers.deadline import Deadline
from tocsin.triggers.heartbeat import Heartbeat
from tocsin.triggers.machine import Machine, Node, Outage
from tocsin.triggers.match import Matcher
from tocsin.triggers.opened import Opened
from tocsin.triggers.reactive import Counting, Each
from tocsin.triggers.schedule import Schedule
from tocsin.triggers.sequence import Sequence
from tocsin.triggers.sketch import Reach, Unread
from tocsin.triggers.windows import Windows


@dataclass(frozen=True, slots=True)
class Armed:
    """An automation as the judge knows it.

    `armed_us` is T0 (law O3); arrivals with a `seq` up to `armed_seq` are not judged. While `paused` it ignores
    arrivals and gives no verdicts; `outages` are its own (pauses that ended, law S4), besides those of the engine.
    """

    name: str
    trigger: Trigger | Unread
    armed_us: Micros
    armed_seq: int
    paused: bool = False
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Arming:
    """What stays of an `Armed` once its trigger is compiled."""

    name: str
    armed_us: Micros
    armed_seq: int
    paused: bool
    outages: tuple[Outage, ...]


@dataclass(slots=True, eq=False)
class Spot:
    """A node in its tree. `level` is 0 for what looks at events or the calendar, above that the height of a composite.

    `rank` orders what one moment completes: the children of `not` first (law C1); `place` is where its parent keeps
    what it fired.
    """

    arming: Arming
    machine: Machine
    names: tuple[str, ...]
    level: int
    parent: Spot | None = None
    place: int = 0
    rank: int = 0

    @property
    def id(self) -> str:
        """The identity of the node."""
        return self.machine.node.id


class Plan:
    """An automation, compiled when it is first asked for its nodes; never changed otherwise.

    `waits` says whether anything of it may have a state before its first event, `reaches` how its leaves are found.
    """

    __slots__ = ("_compiled", "_lateness_us", "_unread", "arming", "reaches", "waits")

    def __init__(self, armed: Armed, *, lateness_us: Micros) -> None:
        self.arming = Arming(armed.name, armed.armed_us, armed.armed_seq, armed.paused, armed.outages)
        self._lateness_us = lateness_us
        self._unread: Unread | None = None
        self._compiled: Compiled | None = None
        if isinstance(armed.trigger, Unread):
            self._unread = armed.trigger
            self.waits, self.reaches = armed.trigger.sketch.waits, armed.trigger.sketch.leaves
        else:
            compiler = self._compile(armed.trigger)
            self.waits, self.reaches = True, tuple(Reach.of(trigger) for _, trigger in compiler.leaves)

    def compiled(self) -> Compiled:
        """Return its nodes.

        Raises:
            JudgeFailed: its trigger can not be read, as when a later version has stored it.
        """
        if self._compiled is None:
            unread = self._unread
            assert unread is not None, "it is forgotten only behind what is made of it"
            try:
                self._compile(unread.read())
            except Exception as error:
                raise JudgeFailed(f"its trigger can not be read: {error}", automation=self.arming.name) from error
            self._unread = None
        assert self._compiled is not None
        return self._compiled

    def _compile(self, trigger: Trigger) -> _Compiler:
        compiler = _Compiler(self.arming, self._lateness_us)
        compiler.spot(trigger, fingerprint(trigger))
        leaves = tuple((spot, Matcher(leaf)) for spot, leaf in compiler.leaves)
        self._compiled = Compiled(tuple(compiler.spots), leaves)
        return compiler

    @property
    def spots(self) -> tuple[Spot, ...]:
        """Its nodes, children before their parents. Raises JudgeFailed."""
        return self.compiled().spots

    @property
    def root(self) -> Spot:
        """The node whose firings are the automation's. Raises JudgeFailed."""
        return self.spots[-1]

    def spot(self, node: str) -> Spot | None:
        """Return the node of this identity. Raises JudgeFailed."""
        return next((spot for spot in self.spots if spot.id == node), None)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The nodes of a trigger, and those of them that look at events, each with its predicates."""

    spots: tuple[Spot, ...]
    leaves: tuple[tuple[Spot, Matcher], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Twig:
    """A leaf of a plan, as the index knows it."""

    plan: Plan
    place: int

    def matcher(self) -> Matcher:
        """Return its predicates. What can not be read matches whatever reaches it: so it is found, and set aside."""
        try:
            return self.plan.compiled().leaves[self.place][1]
        except JudgeFailed:
            return Matcher(_ANY)


_ANY = EventTrigger(expect=("*", RESERVED + "*"))


class _Compiler:
    """Builds the nodes of one trigger, children before their parents."""

    def __init__(self, arming: Arming, lateness_us: Micros) -> None:
        self.arming = arming
        self.lateness_us = lateness_us
        self.spots: list[Spot] = []
        self.leaves: list[tuple[Spot, LeafTrigger]] = []

    def spot(self, trigger: PositiveTrigger, node_id: str) -> Spot:
        node = Node(self.arming.name, node_id, self.arming.armed_us)
        if isinstance(trigger, CompoundTrigger | SequenceTrigger):
            spot = self._composite(trigger, node)
        else:
            spot = Spot(self.arming, self._leaf(trigger, node), label_names(trigger), 0)
            if not isinstance(trigger, ScheduleTrigger):
                self.leaves.append((spot, trigger))
        self.spots.append(spot)
        return spot

    def _leaf(self, trigger: EventTrigger | DeadlineTrigger | ScheduleTrigger, node: Node) -> Machine:
        if isinstance(trigger, ScheduleTrigger):
            return Schedule(node, trigger)
        if isinstance(trigger, DeadlineTrigger):
            return Deadline(node, trigger, lateness_us=self.lateness_us)
        if trigger.posture == "Proactive":
            machine = Heartbeat if trigger.after is None else Windows
            return machine(node, trigger, lateness_us=self.lateness_us)
        if trigger.after is not None:
            return Opened(node, trigger, lateness_us=self.lateness_us)
        if trigger.within is not None:
            return Counting(node, trigger, lateness_us=self.lateness_us)
        return Each(node, trigger)

    def _composite(self, trigger: CompoundTrigger | SequenceTrigger, node: Node) -> Spot:
        children = [
            (child, self.spot(child.trigger if isinstance(child, NotTrigger) else child, child_id))
            for child, child_id in zip(trigger.triggers, _child_ids(node.id, trigger.triggers), strict=True)
        ]
        machine: Composite = Sequence(node, trigger) if isinstance(trigger, SequenceTrigger) else Compound(
            node, trigger, sorted(range(len(children)), key=lambda written: children[written][1].id)
        )  # fmt: skip
        parent = Spot(self.arming, machine, label_names(trigger), 1 + max(spot.level for _, spot in children))
        for place, written in enumerate(machine.written):
            children[written][1].parent, children[written][1].place = parent, place
        for rank, (_, spot) in enumerate(sorted(children, key=lambda one: not isinstance(one[0], NotTrigger))):
            spot.rank = rank
        return parent


def _child_ids(parent: str, children: tuple[ChildTrigger, ...]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for child in children:
        mark = fingerprint(child)
        seen[mark] += 1
        yield f"{parent}/{mark[:12]}" + (f"#{seen[mark]}" if seen[mark] > 1 else "")
