"""Scenarios as the judge takes them: triggers and events from JSON, histories of arrivals, firings in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.firing import Decision, Firing
from tocsin.schemas.moments import MINUTE, Micros, from_micros, iso, to_micros
from tocsin.schemas.trigger import Trigger
from tocsin.triggers.judge import Armed, Judge, Judgement
from tocsin.triggers.machine import Outage, State
from tocsin.triggers.simulate import Memory, drive

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
NAME = "scenario"
Row = tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...], str | None]


def micros(moment: str | datetime) -> Micros:
    """Read a moment as scenarios, or the model, write it."""
    return to_micros(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)


def read_log(events: Iterable[dict[str, Any]]) -> list[Arrival]:
    """Place events in the log, in the order of their arrival; an identity that was there is dropped (law E2)."""
    arrivals: dict[tuple[str, str], Arrival] = {}
    for seq, raw in enumerate(sorted(events, key=lambda raw: micros(raw["received"]))):
        received_us = micros(raw["received"])
        event = Event.model_validate_json(json.dumps({name: raw[name] for name in raw if name != "received"}))
        arrivals.setdefault((event.source, event.id or ""), arrival(event, seq=seq, received_us=received_us))
    return list(arrivals.values())


def armed(trigger: dict[str, Any], armed_us: Micros, **more: Any) -> Armed:
    """Return an automation that judges all arrivals."""
    return Armed(NAME, TRIGGER.validate_python(trigger), armed_us, more.pop("armed_seq", -1), **more)


def rows(firings: Iterable[Firing], arrivals: Iterable[Arrival]) -> list[Row]:
    """Return firings as scenarios compare them, in an order of their own."""
    ids = {one.seq: str(one.event.id) for one in arrivals}
    found = (
        (str(iso(firing.at_us)), str(firing.verdict), tuple(sorted(firing.labels.items())),
         tuple(sorted(ids[seq] for seq in firing.events)), iso(firing.due_us))
        for firing in firings
    )  # fmt: skip
    return sorted(found, key=repr)


def comparable(firings: Iterable[dict[str, Any]]) -> list[Row]:
    """Return firings that scenarios and the model write in the same form."""
    found = (
        (str(iso(micros(firing["at"]))), firing["verdict"], tuple(sorted(firing["labels"].items())),
         tuple(sorted(firing["events"])), firing["due"] and iso(micros(firing["due"])))
        for firing in firings
    )  # fmt: skip
    return sorted(found, key=repr)


def judged(scenario: dict[str, Any]) -> list[Row]:
    """Judge a scenario and return its firings."""
    arrivals = read_log(scenario["events"])
    judge = Judge([armed(scenario["trigger"], micros(scenario["armed"]))])
    found = drive(judge, arrivals, micros(scenario["until"]), names=[NAME])
    return rows((firing for one in found for firing in one.firings), arrivals)


T0: Micros = micros("2026-03-02T08:00:00Z")
SECOND = 1_000_000


def event(text: str, seq: int) -> Arrival:
    """Read `NAME OCCURRED [RECEIVED] [label=value ...]`, times in seconds from T0, as the arrival at a place."""
    name, *words = text.split()
    times = [float(word) for word in words if "=" not in word]
    labels = dict(word.split("=", 1) for word in words if "=" in word)
    at = [T0 + round(time * SECOND) for time in times]
    made = Event(event=name, resource={"id": "a"} | labels, occurred=from_micros(at[0]), id=str(seq))
    return arrival(made, seq=seq, received_us=at[-1])


class Play:
    """One automation on a stage: arrivals and moments in, what is said out, times in seconds from T0."""

    def __init__(self, trigger: dict[str, Any], outages: Iterable[tuple[float, float]] = (), **more: Any) -> None:
        self.memory = Memory(Judge([armed(trigger, T0, **more)]))
        self.memory.arm(NAME)
        self.outages = [
            Outage(T0 + round(start * SECOND), T0 + round(end * SECOND), T0 + round(end * SECOND) + MINUTE)
            for start, end in outages
        ]
        self.firings: list[Firing] = []
        self.decisions: list[Decision] = []
        self.seq = 0

    def see(self, *texts: str, until: float | None = None) -> list[tuple[Any, ...]]:
        """Judge events, then the moments up to `until`; return what fired: (at, verdict, events, due)."""
        arrivals = []
        for text in texts:
            self.seq += 1
            arrivals.append(event(text, self.seq))
        until_us = None if until is None else T0 + round(until * SECOND)
        return self.note(self.memory.run(arrivals, until_us=until_us, outages=self.outages))

    def note(self, judgement: Judgement) -> list[tuple[Any, ...]]:
        """Keep a judgement; return what fired."""
        self.firings += judgement.firings
        self.decisions += judgement.decisions
        return [
            (seconds(one.at_us), str(one.verdict), one.events, seconds(one.due_us)) for one in judgement.firings
        ]  # fmt: skip

    @property
    def state(self) -> State:
        """The only state."""
        (state,) = self.memory.states.values()
        return state

    def said(self) -> list[tuple[float | None, str, int | None]]:
        """Return the decisions: (at, outcome, place of the arrival)."""
        return [(seconds(one.at_us), str(one.outcome), one.seq) for one in self.decisions]


def seconds(moment_us: Micros | None) -> float | None:
    """Return a moment in seconds from T0."""
    return None if moment_us is None else (moment_us - T0) / SECOND
