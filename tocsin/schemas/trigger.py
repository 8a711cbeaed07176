"""Triggers as they are written in definitions: one frozen model for each type, brought into one shape.

What is read accepts every spelling of the contract, Prefect's included; what is kept is canonical: patterns and specs
are tuples, `for_each` is a map from names to readers, `subjects` are tuples of values in its order, `type: absence`
is an event trigger with `posture: Proactive`. A model that was dumped as JSON is read back as an equal one.
Triggers only say what was asked for; `tocsin.triggers` decides when it happens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from tocsin.schemas.calendar import Cron, Recurrence, Zone
from tocsin.schemas.event import bare_label, label_text
from tocsin.schemas.moments import Duration
from tocsin.schemas.pattern import LabelSpec, LabelSpecs, Names, OptionalNames, Readers, Where
from tocsin.schemas.spec import Spec

ZERO = timedelta(0)
_SHORTEST = timedelta(seconds=1)
CALM = ("grace", "repeat", "on_late", "on_unknown", "forget_after", "subjects")
"""Fields whose change keeps all windows (law S4)."""

Subject: TypeAlias = tuple[str, ...]
Problems: TypeAlias = Mapping[str, str]


class _Trigger(Spec):
    """What all triggers have in common."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: Annotated[None, BeforeValidator(lambda _: None), WithJsonSchema({})] = Field(default=None, exclude=True)
    """Triggers written for Prefect have ids of their own; they are read and mean nothing here."""

    def _differs(self, fields: Sequence[str]) -> list[str]:
        model = type(self).model_fields
        return [name for name in fields if getattr(self, name) != model[name].get_default(call_default_factory=True)]

    def _refuse(self, problems: Problems) -> None:
        """Raise all problems at once, each at its field."""
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("definition", "{message}", {"message": message}),
                loc=(field,),
                input=getattr(self, field),
            )
            for field, message in problems.items()
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)


class _Matching(_Trigger):
    """A trigger over events: which events, divided into keys by what (laws M1-M5)."""

    expect: Names
    """The event names to look for, as globs; "*" is any event (law M1)."""
    match: LabelSpec = Field(default_factory=dict)
    """Patterns of the primary resource's labels; a leading ! excludes (law M2)."""
    match_related: LabelSpecs = ()
    """Patterns that one related resource has to satisfy together; a list: each, by any of them (law M3)."""
    where: Where | None = None
    """A JMESPath condition over the event (law M4)."""
    for_each: Readers = Field(default_factory=dict)
    """What makes a key: labels, related:ROLE:LABEL, payload:PATH, or a map from names of your own to them (law M5)."""
    threshold: int = Field(default=1, ge=1, le=100_000)
    """How many events it takes."""
    lateness: Duration | None = None
    """How late events may arrive and still be put in their place (laws R3, O4); a setting, if left out."""
    grace: Duration = ZERO
    """How long after a deadline its verdict waits (law P7)."""
    on_late: Literal["record", "fire"] = "record"
    """Whether what came within the grace is recorded only, or fires as well (law P7)."""
    on_unknown: Literal["fire", "skip"] = "fire"
    """What to do about a silence that may be our own outage (law S2)."""
    subjects: tuple[Subject, ...] = Field(
        default=(), json_schema_extra={"items": {"type": ["string", "number", "boolean", "object"]}}
    )
    """Keys that are watched from the start, although never seen (laws P4, D3)."""

    @field_validator("subjects", mode="before")
    @classmethod
    def _subjects(cls, value: object, info: ValidationInfo) -> tuple[Subject, ...]:
        names = tuple(info.data.get("for_each", ()))
        if not isinstance(value, list | tuple):
            raise ValueError("subjects is a list: write subjects: [table/sales, table/orders]")
        if value and "for_each" in info.data and not names:
            raise ValueError(
                "subjects are the keys to watch from the start, so say what makes a key: add for_each: [id]"
            )
        return tuple(dict.fromkeys(_subject(item, names) for item in value))

    @field_serializer("subjects")
    def _subject_maps(self, subjects: tuple[Subject, ...]) -> list[dict[str, str]]:
        return [dict(zip(self.for_each, subject, strict=True)) for subject in subjects]


class EventTrigger(_Matching):
    """Events that happen (`posture: Reactive`, laws R1-R4), or do not (`Proactive`, laws P1-P8)."""

    type: Literal["event", "absence"] = "event"
    """Always `event` once read: `absence` is `event` with `posture: Proactive`."""
    posture: Literal["Reactive", "Proactive"] = "Reactive"
    """Reactive: fire when it happens. Proactive: fire when it does not."""
    after: OptionalNames = None
    """Event names that open a window (laws R4, P1)."""
    until: OptionalNames = None
    """Event names that end the waiting (law P6)."""
    within: Duration | None = None
    """The length of the window; left out or zero, there is no limit."""
    repeat: Annotated[Duration, Field(ge=_SHORTEST)] | None = None
    """Fire again so often while missed (law P5)."""
    reopen: bool = False
    """Whether what is newer than an `until` event counts again (law P6)."""
    forget_after: Duration = timedelta(days=30)
    """A key that has been missed for so long is forgotten (law P8)."""

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        posture = value.get("posture")
        known = posture.capitalize() if isinstance(posture, str) else posture
        if value.get("type") == "absence":
            if known not in (None, "Proactive"):
                raise ValueError("type: absence is type: event with posture: Proactive: leave posture out")
            return {**value, "type": "event", "posture": "Proactive"}
        return value if known is None else {**value, "posture": known}

    @field_validator("within")
    @classmethod
    def _no_limit(cls, value: timedelta | None) -> timedelta | None:
        return value or None

    @model_validator(mode="after")
    def _legal(self) -> EventTrigger:
        self._refuse(self._proactive_problems() if self.posture == "Proactive" else self._reactive_problems())
        return self

    def _reactive_problems(self) -> Problems:
        silence = ("until", "grace", "on_late", "on_unknown", "repeat", "reopen", "subjects", "forget_after")
        problems = {
            name: f"{name} is about silence and means nothing here: leave it out, or say type: absence"
            for name in self._differs(silence)
        }
        if self.threshold > 1 and self.within is None and self.after is None:
            problems["within"] = (
                f"threshold: {self.threshold} counts events within a time, which is missing: add within: 10m (law R1)"
            )
        return problems

    def _proactive_problems(self) -> Problems:
        problems = {}
        if self.within is None:
            problems["within"] = "silence needs a length: add within: 10m, more than zero"
        if self.reopen and self.until is None:
            problems["reopen"] = (
                "reopen says what an until event leaves open: add until: [...], or leave it out (law P6)"
            )
        if self.after is not None and self.subjects:
            problems["subjects"] = (
                "with after, only an after event begins to wait: leave out subjects or after (law P4)"
            )
        if self._differs(("forget_after",)) and (self.after is not None or not self.for_each):
            problems["forget_after"] = "only keys of for_each without after are forgotten: leave it out (law P8)"
        if self.forget_after <= ZERO:
            problems["forget_after"] = "forget_after is more than zero: write 30d"
        return problems


class DeadlineTrigger(_Matching):
    """Something that has to happen by certain times of the calendar (laws D1-D5)."""

    type: Literal["deadline"]
    due: Cron
    """The due times, as a cron expression."""
    timezone: Zone = "UTC"
    """The zone in which the times are meant (law D4)."""
    window: Annotated[Duration, Field(gt=ZERO)] | None = None
    """None: since the previous due time (law D1)."""


class ScheduleTrigger(_Trigger):
    """Times that come by themselves (laws T1, T2): one of `cron`, `every` and `rrule`."""

    type: Literal["schedule"]
    cron: Cron | None = None
    """The times, as a cron expression of five fields."""
    every: Annotated[Duration, Field(ge=_SHORTEST)] | None = None
    """The time from one to the next."""
    anchor: AwareDatetime | None = None
    """Where `every` counts from; when the automation became active, if left out."""
    rrule: Recurrence | None = None
    """A recurrence rule of RFC 5545."""
    timezone: Zone = "UTC"
    """The zone in which the times are meant (law D4)."""
    catch_up: Literal["last", "all", "none"] = "last"
    """Which times that passed during a downtime fire after it (law T2)."""

    @model_validator(mode="after")
    def _one_way(self) -> ScheduleTrigger:
        given = self._differs(("cron", "every", "rrule"))
        problems = {}
        if len(given) != 1:
            text = "none is given" if not given else f"{' and '.join(given)} are given"
            problems[given[-1] if given else "cron"] = f"a schedule has one of cron, every and rrule; {text}: keep one"
        elif self.anchor is not None and self.every is None:
            problems["anchor"] = "anchor is where `every` counts from: leave it out, or write every: 1h"
        elif self.every is not None and self.timezone != "UTC":
            problems["timezone"] = "`every` is the same in all zones: leave timezone out, or write cron"
        self._refuse(problems)
        return self


class NotTrigger(_Trigger):
    """A child of a composite that has to be absent (law C4); it stands in a compound or a sequence only."""

    type: Literal["not"]
    trigger: PositiveTrigger
    """What has to be absent."""
    within: Duration | None = None
    """How far back to look; without it, all the way (law C4)."""


class _Composite(_Trigger):
    """A trigger over other triggers' firings, correlated by the labels in `for_each` (laws C1, C5)."""

    triggers: tuple[ChildTrigger, ...] = Field(min_length=1)
    """The triggers that it is made of."""
    within: Duration | None = None
    """How far apart their firings may be; without it, any distance (laws C2, C3)."""
    for_each: Readers = Field(default_factory=dict)
    """Labels of the children's firings by which they are correlated (law C5)."""

    @property
    def positives(self) -> tuple[PositiveTrigger, ...]:
        """The children that have to fire: all but those under a `not`."""
        return tuple(child for child in self.triggers if not isinstance(child, NotTrigger))

    def _common_problems(self) -> dict[str, str]:
        problems = {}
        if not self.positives:
            problems["triggers"] = "all children are `not`: add at least one that has to fire (law C4)"
        for place, child in enumerate(self.triggers, 1):
            names = label_names(child)
            missing = [reader for reader in self.for_each.values() if reader not in names]
            if missing:
                has = f"it has {', '.join(names)}" if names else "it has none"
                what = f"child {place} has no label {missing[0]!r} to correlate by ({has})"
                problems.setdefault("for_each", f"{what}: add it to that child's for_each (law C5)")
        return problems


class CompoundTrigger(_Composite):
    """Several triggers that fire together, in any order (law C2)."""

    type: Literal["compound"]
    require: Literal["any", "all"] | Annotated[int, Field(strict=True, ge=1)] = "all"
    """How many of them have to fire."""

    @property
    def required(self) -> int:
        """How many distinct children have to have fired; those under a `not` do not count (law C4)."""
        if isinstance(self.require, int):
            return self.require
        return 1 if self.require == "any" else len(self.positives)

    @model_validator(mode="after")
    def _legal(self) -> CompoundTrigger:
        problems = self._common_problems()
        if self.positives and self.required > len(self.positives):
            problems["require"] = (
                f"require: {self.require} is more than the {len(self.positives)} children that can fire: "
                f"`not` children do not count (law C4)"
            )
        self._refuse(problems)
        return self


class SequenceTrigger(_Composite):
    """Several triggers that fire one after another (law C3)."""

    type: Literal["sequence"]

    @model_validator(mode="after")
    def _legal(self) -> SequenceTrigger:
        problems = self._common_problems()
        if self.positives and isinstance(self.triggers[-1], NotTrigger) and self.within is None:
            problems["within"] = (
                "a sequence that ends in `not` waits for silence, which needs an end: add within: 1h (law C4)"
            )
        self._refuse(problems)
        return self


TYPES = ("event", "absence", "deadline", "compound", "sequence", "schedule")
"""What may stand at the top of an automation; `not` stands inside a compound or a sequence only."""


def _type_of(value: object) -> str | None:
    kind = value.get("type", "event") if isinstance(value, dict) else getattr(value, "type", None)
    return "event" if kind == "absence" else kind


def _positive(value: object) -> object:
    return _known(value, TYPES)


def _child(value: object) -> object:
    return _known(value, (*TYPES, "not"))


def _known(value: object, types: tuple[str, ...]) -> object:
    if isinstance(value, BaseModel):
        return value
    if not isinstance(value, dict):
        raise ValueError("a trigger is a map: write trigger: {expect: table.updated, ...}")
    kind = value.get("type", "event")
    if kind in types:
        return value
    if kind == "not":
        raise ValueError(
            "type: not stands inside a compound or a sequence only: for silence alone, write type: absence"
        )
    near = get_close_matches(str(kind), types, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"there is no trigger type {kind!r}: {hint}The types are {', '.join(types)}")


PositiveTrigger = Annotated[
    Annotated[EventTrigger, Tag("event")]
    | Annotated[DeadlineTrigger, Tag("deadline")]
    | Annotated[CompoundTrigger, Tag("compound")]
    | Annotated[SequenceTrigger, Tag("sequence")]
    | Annotated[ScheduleTrigger, Tag("schedule")],
    Discriminator(_type_of),
    BeforeValidator(_positive),
]
Trigger = PositiveTrigger
"""What an automation waits for. Error locations name the type between a trigger and its field."""

ChildTrigger = Annotated[
    Annotated[EventTrigger, Tag("event")]
    | Annotated[DeadlineTrigger, Tag("deadline")]
    | Annotated[CompoundTrigger, Tag("compound")]
    | Annotated[SequenceTrigger, Tag("sequence")]
    | Annotated[ScheduleTrigger, Tag("schedule")]
    | Annotated[NotTrigger, Tag("not")],
    Discriminator(_type_of),
    BeforeValidator(_child),
]
"""What may stand inside a compound or a sequence."""

LeafTrigger: TypeAlias = EventTrigger | DeadlineTrigger
"""Triggers that look at events themselves."""

for _model in (NotTrigger, CompoundTrigger, SequenceTrigger):
    _model.model_rebuild()


def label_names(trigger: ChildTrigger) -> tuple[str, ...]:
    """Return the names of the labels that a trigger's firings carry, in order (laws M5, C5)."""
    if isinstance(trigger, NotTrigger):
        return label_names(trigger.trigger)
    return () if isinstance(trigger, ScheduleTrigger) else tuple(trigger.for_each)


def fingerprint(trigger: ChildTrigger) -> str:
    """Return 16 hexadecimal digits over what decides which events match and how they count (law S4).

    Equal for triggers whose windows are the same: spelling, defaults, the order of patterns and of a compound's
    children make no difference; the order in a sequence and in `for_each`, which orders the values of a key, does.
    """
    text = json.dumps(_essence(trigger), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _essence(trigger: ChildTrigger) -> dict[str, Any]:
    nested = ("trigger", "triggers", "for_each")
    essence = trigger.model_dump(mode="json", exclude={*CALM, *nested}, exclude_defaults=True)
    essence["type"] = trigger.type
    for name in ("expect", "after", "until"):
        if essence.get(name) is not None:
            essence[name] = sorted(getattr(trigger, name))
    if isinstance(trigger, EventTrigger | DeadlineTrigger):
        essence["match"] = _spec_essence(trigger.match)
        essence["match_related"] = sorted(map(_spec_essence, trigger.match_related))
    if isinstance(trigger, NotTrigger):
        essence["trigger"] = fingerprint(trigger.trigger)
    elif not isinstance(trigger, ScheduleTrigger):
        essence["for_each"] = list(trigger.for_each.items())
    if isinstance(trigger, CompoundTrigger | SequenceTrigger):
        children = [fingerprint(child) for child in trigger.triggers]
        essence["triggers"] = children if isinstance(trigger, SequenceTrigger) else sorted(children)
    return essence


def _spec_essence(spec: Mapping[str, Sequence[str]]) -> list[list[Any]]:
    return sorted([label, sorted(patterns)] for label, patterns in spec.items())


def _subject(item: object, names: tuple[str, ...]) -> Subject:
    """Return the values of one key in the order of `for_each`: from a map, or from the value itself if there is one."""
    if isinstance(item, dict):
        values = {bare_label(str(name)): label_text(str(name), value) for name, value in item.items()}
        if set(values) != set(names):
            raise ValueError(
                f"subject {item!r} names {', '.join(values) or 'nothing'}: give each of {', '.join(names)}"
            )
        return tuple(values[name] for name in names)
    if len(names) > 1:
        raise ValueError(
            f"subject {item!r} is one value, and a key has {len(names)}: write a map of {', '.join(names)}"
        )
    return tuple(label_text(name, item) for name in names)
