"""Cases: the `tests:` section, which says what an automation does with given events on a virtual clock."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, JsonValue, field_validator, model_validator

from tocsin.schemas.event import Event, Identity, Labels, Name
from tocsin.schemas.firing import Verdict
from tocsin.schemas.spec import EntryName, Spec, with_id, with_id_and_role


def _as_written(value: Any) -> Any:
    if isinstance(value, str | datetime):
        return value
    raise ValueError("is not a time: write it with its offset, 2026-03-02T09:00:00+01:00")


Instant = Annotated[AwareDatetime, BeforeValidator(_as_written, json_schema_input_type=datetime)]
"""An ISO 8601 time with its offset from UTC."""


class CaseEvent(Spec):
    """An event of a case: a native event, and when it arrives."""

    at: Instant = Field(description="When it arrives.")
    event: Name = Field(description="The event's name.")
    resource: Labels = Field(description="The labels of its resource; `id` is required.")
    related: list[Labels] = Field(default_factory=list, description="Related resources, with `id` and `role`.")
    payload: JsonValue = Field(default_factory=dict, description="The event's payload.")
    occurred: Instant | None = Field(None, description="When it happened, default when it arrives.")
    id: Identity | None = Field(None, description="What identifies it; sent again, it is a duplicate (law E2).")
    source: str = Field("", max_length=255, description="Who sends it.")

    _with_id = field_validator("resource")(with_id)
    _with_id_and_role = field_validator("related")(with_id_and_role)

    def native(self) -> Event:
        """Return the event as a sender would send it."""
        return Event.model_validate(self.model_dump(exclude={"at"}) | {"occurred": self.occurred or self.at})


class ExpectedFiring(Spec):
    """A firing that a case expects. What is left out is not compared."""

    verdict: Verdict = Field(description="How it comes about.")
    at: Instant | None = Field(None, description="The moment of the verdict.")
    due: Instant | None = Field(None, description="The deadline of a missed, unknown or late verdict.")
    labels: dict[str, str] | None = Field(None, description="Its labels.")
    events: list[str] | None = Field(None, description="The ids of its events.")


class Case(Spec):
    """One test of an automation."""

    name: EntryName = Field(description="What the case shows.")
    automation: str = Field(description="The name of the automation.")
    description: str = Field("", description="Why the case is here.")
    start: Instant | None = Field(None, description="When the automation becomes active, default the first event.")
    events: list[CaseEvent] = Field(default_factory=list, description="What arrives, in this order.")
    end: Instant | None = Field(None, description="When the case ends, default the last event.")
    firings: list[ExpectedFiring] = Field(description="All firings of the automation, in their order.")

    @model_validator(mode="after")
    def _in_order(self) -> Case:
        times = [event.at for event in self.events]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError("`events` do not arrive in order: sort them by `at`; what happened late has `occurred`")
        if self.start is None and not times:
            raise ValueError("without `events` nothing says when to begin: add `start`")
        if self.end is None and not times:
            raise ValueError("without `events` nothing says when to stop: add `end`")
        if self.end is not None and self.end < max([*times, *filter(None, [self.start])]):
            raise ValueError("`end` is before the last event or before `start`: make it later")
        if self.start is not None and times and times[0] < self.start:
            raise ValueError("`start` is after the first event: make it earlier")
        return self
