"""Scenarios as the judge takes them: triggers and events from JSON, histories of arrivals, firings in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros, iso, to_micros
from tocsin.schemas.trigger import Trigger
from tocsin.triggers.judge import Armed, Judge
from tocsin.triggers.simulate import drive

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
