"""The run of one trigger over one log: arrivals and moments in the order of law O1."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from tests.model.absence import Absence
from tests.model.composite import Composite
from tests.model.deadline import Deadline
from tests.model.notation import Event, Firing, Json, moment, read_log, written
from tests.model.reactive import Reactive
from tests.model.schedule import Schedule
from tests.model.silence import Outages, Rule


class Node(Protocol):
    """A trigger of any type, with all its keys."""

    def next_moment(self, now: datetime) -> datetime | None:
        """When it decides something next without an arrival, not before `now`."""

    def arrive(self, event: Event) -> list[Firing]:
        """Judge an arrival."""

    def at_moment(self, at: datetime) -> list[Firing]:
        """Judge the moment, after everything that arrived up to it."""


class Setting:
    """What a trigger is judged with."""

    def __init__(self, armed: datetime, lateness: timedelta, outages: Outages) -> None:
        self.armed = armed
        self.lateness = lateness
        self.outages = outages
        self.stored: list[Event] = []

    def node(self, trigger: dict[str, Json]) -> Node:
        """The node that a trigger's type asks for."""
        kind = trigger.get("type", "event")
        if kind == "deadline":
            rule = Rule.read(trigger, armed=self.armed, lateness=self.lateness, outages=self.outages)
            return Deadline.read(trigger, rule=rule, stored=self.stored)
        if kind == "absence" or trigger.get("posture") == "Proactive":
            return Absence.read(trigger, armed=self.armed, lateness=self.lateness, outages=self.outages)
        if kind in ("compound", "sequence"):
            return Composite(trigger, self.node, outages=self.outages)
        if kind == "schedule":
            return Schedule(trigger, armed=self.armed, outages=self.outages)
        if kind == "event":
            return Reactive(trigger, lateness=self.lateness)
        raise ValueError(f"the model knows no trigger of type {kind!r}")


def run(
    trigger: dict[str, Json], events: list[dict[str, Json]], *, setting: Setting, until: datetime
) -> tuple[list[Firing], Node]:
    """All firings, and the trigger's node as it is at the end."""
    log = read_log(events)
    setting.stored = [event for event in log if event.received < setting.armed]
    node = setting.node(trigger)
    firings: list[Firing] = []
    now = setting.armed
    for event in log:
        if not setting.armed <= event.received <= until:
            continue
        while (at := node.next_moment(now)) is not None and at < event.received:
            now = at
            firings += node.at_moment(at)
        now = event.received
        firings += node.arrive(event)
    while (at := node.next_moment(now)) is not None and at <= until:
        now = at
        firings += node.at_moment(at)
    return firings, node


def judge(
    trigger: dict[str, Json],
    events: list[dict[str, Json]],
    armed: datetime | str,
    *,
    until: datetime | str,
    lateness: timedelta = timedelta(seconds=60),
    outages: Iterable[tuple[datetime, datetime]] = (),
    settle: timedelta = timedelta(minutes=1),
) -> list[dict[str, Json]]:
    """All firings of a trigger that is active from `armed`, judged up to and including `until`.

    `events` are native ones with `received`; those received before `armed` are only stored (law O3).
    `outages` are the (start, end) of times when nothing could be received (law S2). Ordered by `at`,
    then as they were judged.
    """
    setting = Setting(moment(armed), lateness, Outages(tuple(outages), settle))
    firings, _ = run(trigger, events, setting=setting, until=moment(until))
    return [written(firing) for firing in firings]
