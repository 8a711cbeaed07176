"""Events: what happened, to what, and when (laws E1, E2, E4)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
)
from pydantic_core import PydanticCustomError

from tocsin.schemas.moments import Micros, iso, to_micros

RESERVED = "tocsin."
"""The prefix of the engine's own event names: no sender may use it, and a bare `*` does not match it (law F5)."""

OWN_SOURCE = RESERVED.removesuffix(".")
"""The source of the engine's own events: no sender may take their identities (law E2)."""

_PREFECT = "prefect.resource."


def _as_labels(value: object) -> object:
    """Write label values as JSON does and drop Prefect's prefix (law E4); what is already right is not copied."""
    if not isinstance(value, dict):
        return value
    for name, label in value.items():
        if type(name) is not str:
            return value  # refused by the type of the field
        if type(label) is not str or "\0" in label or "\0" in name or name.startswith(_PREFECT):
            return {bare_label(name): label_text(name, label) for name, label in value.items()}
    return value


def label_text(name: str, value: object) -> str:
    """Return a label's value as JSON writes it (law E4).

    Raises:
        ValueError: it is not a string, a number or a boolean.
    """
    if "\0" in name:
        raise ValueError(f"the label name {name!r} contains a NUL character: remove it")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError(f"label {name!r} contains a NUL character: remove it")
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"label {name!r} is not a finite number: JSON knows neither NaN nor infinity")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    what = "null" if value is None else "a list" if isinstance(value, list) else "an object"
    raise ValueError(f"label {name!r} is {what}: a label is a string, a number or a boolean")


def bare_label(name: str) -> str:
    """Return a label's name without Prefect's prefix, so that what was written for Prefect works (law E4)."""
    return name.removeprefix(_PREFECT)


def _without_nul(value: str | None) -> str | None:
    if value is not None and "\0" in value:
        raise ValueError("contains a NUL character: remove it")
    return value


def _missing_label(name: str, *position: int) -> PydanticCustomError:
    """Return the error of a label that must be there; its `place` goes on from the field that is checked."""
    return PydanticCustomError(
        "missing_label", "needs the label `{label}`, not empty", {"label": name, "place": (*position, name)}
    )


Labels = Annotated[dict[str, str], BeforeValidator(_as_labels)]
Name = Annotated[str, StringConstraints(min_length=1)]
Identity = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Event(BaseModel):
    """What a sender says: something happened to a resource.

    `occurred` is when it happened by the sender's clock (None: when it was received). `id` identifies the event
    within its `source`; without one the log makes a UUIDv7. `follows` is the id of an event that came before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    event: Name
    resource: Labels
    related: list[Labels] = Field(default_factory=list)
    payload: JsonValue = Field(default_factory=dict)
    occurred: Annotated[AwareDatetime, Field(strict=True)] | None = None
    id: Identity | None = None
    source: Annotated[str, StringConstraints(max_length=255)] = ""
    follows: Identity | None = None

    _no_nul = field_validator("event", "id", "source", "follows")(_without_nul)

    @field_validator("resource")
    @classmethod
    def _has_id(cls, labels: dict[str, str]) -> dict[str, str]:
        if not labels.get("id"):
            raise _missing_label("id")
        return labels

    @field_validator("related")
    @classmethod
    def _have_id_and_role(cls, related: list[dict[str, str]]) -> list[dict[str, str]]:
        for position, labels in enumerate(related):
            for name in ("id", "role"):
                if not labels.get(name):
                    raise _missing_label(name, position)
        return related


def read_deep(document: Any) -> Event:
    """Return an event from a document that is nested deeper than pydantic's parser of JSON goes. Raises ValueError."""
    if isinstance(document, dict) and isinstance(occurred := document.get("occurred"), str):
        document = document | {"occurred": datetime.fromisoformat(occurred)}
    return Event.model_validate(document)


def identified(event: Event, identity: str) -> Event:
    """Return an event with this id: as `model_copy` would, at half of its cost: the log does it to most events."""
    named = Event.__new__(Event)
    object.__setattr__(named, "__dict__", {**event.__dict__, "id": identity})
    object.__setattr__(named, "__pydantic_fields_set__", {*event.__pydantic_fields_set__, "id"})
    object.__setattr__(named, "__pydantic_extra__", None)
    object.__setattr__(named, "__pydantic_private__", None)
    return named


@dataclass(slots=True, frozen=True)
class Arrival:
    """An event in its place in the log.

    `seq` is its place in the one order of arrivals, `received_us` when it arrived (never earlier than its
    predecessor), `time_us` its judged time t(e) (law E1). `chain` names the automations that led to it (law F5),
    `trace` is the W3C `traceparent` that it came with.
    """

    event: Event
    seq: int
    received_us: Micros
    time_us: Micros
    chain: tuple[str, ...] = ()
    trace: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the event as JMESPath, templates and the API see it, with its place and times."""
        event = self.event
        return {"id": event.id, "event": event.event, "resource": event.resource, "related": event.related,
                "payload": event.payload, "occurred": iso(self.time_us), "received": iso(self.received_us),
                "source": event.source, "follows": event.follows, "seq": self.seq}  # fmt: skip


def arrival(
    event: Event, *, seq: int, received_us: Micros, chain: tuple[str, ...] = (), trace: str | None = None
) -> Arrival:
    """Place an event in the log: nothing happens after it was received (law E1)."""
    occurred = event.occurred
    time_us = received_us if occurred is None else min(to_micros(occurred), received_us)
    return Arrival(event, seq, received_us, time_us, chain, trace)
