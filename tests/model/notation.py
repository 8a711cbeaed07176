"""What the model reads and what it says: durations, moments, events, firings.

Moments are aware datetimes in UTC, spans are timedeltas. Nothing here (or anywhere in this package)
imports tocsin: the model must not share a mistake with the code that it judges.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Json = Any
Labels = tuple[tuple[str, str], ...]
"""A key, and the labels of a firing: (name, value) pairs in the order of `for_each`."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)
PREFIX = "prefect.resource."

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def span(value: Json) -> timedelta:
    """A duration as definitions write it: seconds, `1h30m`, or ISO 8601 (`PT10M`, `P1DT12H`)."""
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    text = value
    if text.upper().startswith("P"):
        text = text[1:].replace("T", "").lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[wdhms])", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"{value!r} is not a duration")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())


def moment(value: str | datetime) -> datetime:
    """A moment in UTC, from ISO 8601 with an offset."""
    read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return read.astimezone(UTC)


def as_text(value: Json) -> str:
    """A scalar as JSON writes it, a string as it is (law E4)."""
    return value if isinstance(value, str) else json.dumps(value)


def bare(name: str) -> str:
    """A label name without the prefix that Prefect's have (law E4)."""
    return name.removeprefix(PREFIX)


@dataclass(frozen=True, eq=False)
class Event:
    """An event as the laws see it. `t` is its judged time (law E1), `place` its number in the log."""

    id: str
    name: str
    resource: Mapping[str, str]
    related: tuple[Mapping[str, str], ...]
    payload: Json
    document: Mapping[str, Json]
    t: datetime
    received: datetime
    place: int


@dataclass(frozen=True, eq=False)
class Firing:
    """What a trigger said. `by` is the event that completed it; silence has none (law C3)."""

    at: datetime
    verdict: str
    labels: Labels
    events: tuple[Event, ...]
    due: datetime | None = None
    by: Event | None = None
    times: tuple[datetime, ...] = field(default=())
    """The judged times of the children's firings, for a composite's own."""

    @property
    def time(self) -> datetime:
        """The judged time (law O1): what composites compare."""
        if self.due is not None:
            return self.due
        return max(self.times or tuple(event.t for event in self.events), default=self.at)


def read_log(events: list[dict[str, Json]]) -> list[Event]:
    """The log: in order of `received` (law O1), each identity once (law E2)."""
    known: set[tuple[str, str]] = set()
    log: list[Event] = []
    for raw in sorted(events, key=lambda raw: moment(raw["received"])):
        identity = (raw.get("source") or "", raw["id"])
        if identity in known:
            continue
        known.add(identity)
        resource = _labels(raw["resource"])
        related = [_labels(each) for each in raw.get("related") or ()]
        received = moment(raw["received"])
        log.append(
            Event(
                id=raw["id"],
                name=raw["event"],
                resource=resource,
                related=tuple(related),
                payload=raw.get("payload"),
                document={**raw, "resource": resource, "related": related},
                t=min(moment(raw.get("occurred") or received), received),
                received=received,
                place=len(log),
            )
        )
    return log


def _labels(raw: Mapping[str, Json]) -> dict[str, str]:
    return {bare(name): as_text(value) for name, value in raw.items()}


def written(firing: Firing) -> dict[str, Json]:
    """A firing as the conformance file writes it."""
    return {
        "at": firing.at,
        "verdict": firing.verdict,
        "labels": dict(firing.labels),
        "events": sorted({event.id for event in firing.events}),
        "due": firing.due,
    }
