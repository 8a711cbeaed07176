"""`simulate`: what an automation says about events, judged as the live engine judges them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter

from tocsin.review.backtest import Stretch, backtest
from tocsin.review.history import History
from tocsin.schemas.automation import Automation
from tocsin.schemas.document import parse
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros, duration_us, from_micros, parse_duration, to_micros

_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class Fired:
    """A firing with datetimes in UTC, and the ids of its events."""

    automation: str
    verdict: str
    labels: Mapping[str, str]
    at: datetime
    due: datetime | None
    events: tuple[str, ...]
    reason: str


def simulate(
    automation: Automation | Mapping[str, Any] | str,
    events: Iterable[Event | Mapping[str, Any]],
    *,
    until: datetime | str | None = None,
    since: datetime | str | None = None,
    lateness: str = "60s",
) -> list[Fired]:
    """Return the firings of automations over events, ordered by `at`.

    `automation` is one, as a model or a mapping, or a whole definitions document as YAML. Events are native ones with
    `occurred`, and optionally `received`, in the order of arrival. What is due up to and including `until`, by default
    the last arrival, is judged; automations are armed at `since`, by default at the first arrival.

    Raises:
        InvalidDefinition, ValidationError: the automation is wrong.
        InvalidEvent: an event is wrong, or has no time.
    """
    history = History(map(_line, events), file="events")
    lateness_us = duration_us(parse_duration(lateness))
    stretch = Stretch(_micros(since), _micros(until), lateness_us=lateness_us)
    return [_fired(one, history) for one in backtest(_automations(automation), history, stretch)]


def _automations(given: Automation | Mapping[str, Any] | str) -> list[Automation]:
    if isinstance(given, str):
        return [one for one in parse(given, file="automation").automations if one.enabled]
    if isinstance(given, Automation):
        return [given]
    return [Automation.model_validate({"name": "automation", **given})]


def _line(event: Event | Mapping[str, Any]) -> bytes:
    return event.model_dump_json().encode() if isinstance(event, Event) else _JSON.dump_json(event)


def _micros(moment: datetime | str | None) -> Micros | None:
    return None if moment is None else to_micros(_MOMENT.validate_python(moment))


def _fired(firing: Firing, history: History) -> Fired:
    return Fired(
        automation=firing.automation,
        verdict=firing.verdict.value,
        labels=dict(firing.labels),
        at=from_micros(firing.at_us),
        due=None if firing.due_us is None else from_micros(firing.due_us),
        events=tuple(map(history.id_of, firing.events)),
        reason=firing.reason,
    )
