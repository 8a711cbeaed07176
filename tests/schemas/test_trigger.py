"""What a trigger may say, and what it is brought to."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tocsin.schemas.trigger import (
    CompoundTrigger,
    DeadlineTrigger,
    EventTrigger,
    NotTrigger,
    ScheduleTrigger,
    SequenceTrigger,
    Trigger,
    fingerprint,
    label_names,
)

TRIGGERS: TypeAdapter[Any] = TypeAdapter(Trigger)
LAWS = Path(__file__).parents[1] / "conformance" / "laws.jsonl"
A, B = {"expect": "a"}, {"expect": "b"}
ABSENCE = {"type": "absence", "expect": "x", "within": 5}
KEYED = ABSENCE | {"for_each": ["id"]}
DEADLINE = {"type": "deadline", "expect": "x", "due": "0 9 * * *"}
COMPOUND = {"type": "compound", "triggers": [A, B]}
SEQUENCE = {"type": "sequence", "triggers": [A, B]}
EVERY = {"type": "schedule", "every": "1h"}


def read(value: Any) -> Any:
    return TRIGGERS.validate_python(value)


def complaint(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(value)
    return "\n".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in caught.value.errors())


def test_every_trigger_of_the_conformance_suite_is_read_and_survives_being_dumped() -> None:
    for line in LAWS.read_text().splitlines():
        trigger = read(json.loads(line)["trigger"])
        again = TRIGGERS.validate_json(TRIGGERS.dump_json(trigger))

        assert again == trigger
        assert fingerprint(again) == fingerprint(trigger)
        assert read(trigger) is trigger


@pytest.mark.parametrize("posture", ["Proactive", "proactive", "PROACTIVE"])
def test_absence_is_an_event_trigger_with_a_proactive_posture(posture: str) -> None:
    assert read(ABSENCE) == read({"expect": "x", "posture": posture, "within": "5s"})
    assert read(ABSENCE | {"posture": posture}).type == "event"


def test_a_trigger_written_for_prefect_is_accepted_unchanged() -> None:
    trigger = read(
        {
            "type": "event",
            "id": "6f0a3d0e-7c3c-5b86-9a4e-70c51b2e9d11",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": ["a", "b"]},
            "after": [],
            "expect": [],
            "for_each": ["prefect.resource.id"],
            "posture": "Reactive",
            "threshold": 1,
            "within": 0,
        }
    )

    assert trigger.match == {"id": ("prefect.flow-run.*",)}
    assert trigger.match_related == ({"role": ("flow",), "name": ("a", "b")},)
    assert trigger.expect == ("*",)
    assert trigger.for_each == {"id": "id"}
    assert (trigger.after, trigger.within, trigger.id) == (None, None, None)


def test_prefects_sets_and_composites_are_accepted() -> None:
    trigger = read(
        {
            "type": "compound",
            "require": "all",
            "within": 3600.0,
            "triggers": [{"expect": {"b", "a"}, "for_each": {"id"}}],
        }
    )

    assert trigger.triggers[0].expect == ("a", "b")
    assert trigger.within == timedelta(hours=1)


def test_e4_the_prefix_is_lost_in_related_labels_and_names_of_your_own() -> None:
    assert read(A | {"for_each": ["related:owner:prefect.resource.id"]}).for_each == {
        "related:owner:id": "related:owner:id"
    }
    assert read(A | {"for_each": {"host": "prefect.resource.id"}}).for_each == {"host": "id"}
    assert read(A | {"for_each": ["payload: n "]}).for_each == {"payload: n": "payload: n"}


def test_e4_patterns_are_written_as_json_writes_values() -> None:
    assert read(A | {"match": {"n": 3, "last": [True, 1.5]}}).match == {"n": ("3",), "last": ("true", "1.5")}


def test_m3_empty_specs_ask_for_nothing() -> None:
    assert read(A | {"match_related": None}).match_related == ()
    assert read(A | {"match_related": [{}, {"id": "x"}]}).match_related == ({"id": ("x",)},)


def test_p4_subjects_are_values_in_the_order_of_for_each() -> None:
    trigger = read(KEYED | {"for_each": ["id", "env"], "subjects": [{"env": "p", "prefect.resource.id": 1}]})

    assert trigger.subjects == (("1", "p"),)
    assert trigger.model_dump(mode="json")["subjects"] == [{"id": "1", "env": "p"}]
    assert read(KEYED | {"subjects": ["a", {"id": "b"}, "a", True]}).subjects == (("a",), ("b",), ("true",))


def test_the_defaults_are_those_of_the_laws() -> None:
    absence, deadline, schedule = read(KEYED), read(DEADLINE), read(EVERY)

    assert (absence.threshold, absence.grace, absence.on_late, absence.on_unknown) == (
        1,
        timedelta(0),
        "record",
        "fire",
    )
    assert (absence.forget_after, absence.reopen, absence.lateness) == (timedelta(days=30), False, None)
    assert (deadline.timezone, deadline.window) == ("UTC", None)
    assert (schedule.catch_up, schedule.timezone) == ("last", "UTC")
    assert read(COMPOUND).require == "all"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("x", "a trigger is a map"),
        ({"type": "evnt", "expect": "x"}, "no trigger type 'evnt': did you mean event? The types are event, absence"),
        ({"type": "metric"}, "The types are event, absence, deadline, compound, sequence, schedule"),
        ({"type": "not", "trigger": A}, "inside a compound or a sequence only"),
        ({}, "event.expect: Field required"),
        (A | {"colour": "red"}, "event.colour: Extra inputs"),
        (A | {"expect": ""}, "event.expect: Value error, an event name pattern is empty"),
        (A | {"expect": 5}, "event.expect: Value error, 5 is not an event name pattern"),
        (A | {"expect": [5]}, "write a string or a list of strings"),
        (A | {"threshold": 2}, "event.within: threshold: 2 counts events within a time, which is missing: add within"),
        (A | {"threshold": 0}, "event.threshold"),
        (A | {"grace": 5}, "event.grace: grace is about silence"),
        (A | {"until": "u", "repeat": 5}, "event.repeat: repeat is about silence"),
        (A | {"subjects": ["a"], "for_each": ["id"]}, "event.subjects: subjects is about silence"),
        (A | {"posture": "Calm"}, "event.posture"),
        (A | {"posture": 5}, "event.posture"),
        (A | {"match": ["x"]}, "event.match: Value error, a label spec is a map"),
        (A | {"match": {"": "x"}}, "is not the name of a label"),
        (A | {"match": {"id": None}}, "label 'id' is null"),
        (A | {"match": {"id": []}}, "empty list of patterns"),
        (A | {"match": {"id": "a", "prefect.resource.id": "b"}}, "label 'id' is given twice"),
        (A | {"match": {"id": "[ab"}}, "a set in '[ab' is not closed"),
        (A | {"match": {"id": "![!]x"}}, "is not closed"),
        (A | {"match": {"id": "[z-a]"}}, "the range z-a in '[z-a]' is empty: write a-z"),
        (A | {"where": "payload.n > 1"}, "event.where: Value error, 'payload.n > 1' is not JMESPath: at column 13"),
        (A | {"where": 5}, "event.where: Input should be a valid string"),
        (A | {"for_each": "id"}, "write for_each: [id]"),
        (A | {"for_each": [""]}, "is not the name of a label"),
        (A | {"for_each": [5]}, "is not the name of a label"),
        (A | {"for_each": ["related:owner"]}, "write related:ROLE:LABEL"),
        (A | {"for_each": ["payload:["]}, "is not JMESPath"),
        (A | {"lateness": "soon"}, "is not a duration"),
        ({"type": "absence", "expect": "x"}, "event.within: silence needs a length: add within"),
        (ABSENCE | {"within": 0}, "event.within: silence needs a length"),
        (ABSENCE | {"posture": "Reactive"}, "leave posture out"),
        (ABSENCE | {"reopen": True}, "add until"),
        (ABSENCE | {"subjects": ["a"]}, "add for_each: [id]"),
        (ABSENCE | {"forget_after": "1d"}, "only keys of for_each without after are forgotten"),
        (KEYED | {"after": "s", "forget_after": "1d"}, "only keys of for_each without after are forgotten"),
        (KEYED | {"forget_after": 0}, "forget_after is more than zero"),
        (KEYED | {"after": "s", "subjects": ["a"]}, "leave out subjects or after"),
        (KEYED | {"subjects": "a"}, "subjects is a list"),
        (KEYED | {"subjects": [{"env": "a"}]}, "subject {'env': 'a'} names env: give each of id"),
        (KEYED | {"subjects": [{}]}, "names nothing: give each of id"),
        (KEYED | {"subjects": [None]}, "label 'id' is null"),
        (KEYED | {"for_each": ["id", "env"], "subjects": ["a"]}, "write a map of id, env"),
        (KEYED | {"for_each": "id", "subjects": ["a"]}, "write for_each: [id]"),
        (KEYED | {"repeat": 0}, "event.repeat"),
        (DEADLINE | {"due": "* * * * * *"}, "deadline.due: Value error, '* * * * * *' has 6 fields"),
        (DEADLINE | {"due": "R * * * *"}, "is random"),
        (DEADLINE | {"due": "61 * * * *"}, "is not a cron expression"),
        (DEADLINE | {"due": "@never"}, "is not a cron expression"),
        (DEADLINE | {"due": "0 0 30 2 *"}, "is never due"),
        (DEADLINE | {"timezone": "Mars/Base"}, "there is no time zone 'Mars/Base'"),
        (DEADLINE | {"timezone": "../etc/passwd"}, "there is no time zone"),
        (DEADLINE | {"window": 0}, "deadline.window"),
        (DEADLINE | {"within": 5}, "deadline.within: Extra inputs"),
        ({"type": "schedule"}, "schedule.cron: a schedule has one of cron, every and rrule; none is given"),
        (EVERY | {"cron": "0 9 * * *"}, "schedule.every: a schedule has one of cron, every and rrule; cron and"),
        (EVERY | {"every": "10ms"}, "schedule.every"),
        (EVERY | {"timezone": "Europe/Berlin"}, "leave timezone out"),
        (EVERY | {"anchor": "2026-01-01T00:00:00"}, "schedule.anchor"),
        (
            {"type": "schedule", "cron": "0 9 * * *", "anchor": "2026-01-01T00:00:00Z"},
            "schedule.anchor: anchor is where",
        ),
        ({"type": "schedule", "rrule": "FREQ=SOMETIMES"}, "is not a recurrence rule"),
        (COMPOUND | {"triggers": []}, "compound.triggers"),
        (COMPOUND | {"triggers": [{"type": "not", "trigger": A}]}, "add at least one that has to fire"),
        (
            COMPOUND | {"triggers": [A, {"type": "not", "trigger": {"type": "not", "trigger": A}}]},
            "not.trigger: Value error, type: not",
        ),
        (COMPOUND | {"triggers": [A, {"type": "nott"}]}, "did you mean not?"),
        (COMPOUND | {"require": 3}, "require: 3 is more than the 2 children that can fire"),
        (COMPOUND | {"require": 0}, "compound.require"),
        (COMPOUND | {"for_each": ["id"]}, "child 1 has no label 'id' to correlate by (it has none)"),
        (COMPOUND | {"for_each": ["id"], "triggers": [A | {"for_each": ["env"]}]}, "(it has env)"),
        (SEQUENCE | {"triggers": [A, {"type": "not", "trigger": B}]}, "sequence.within: a sequence that ends in `not`"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_where_and_how_to_mend(value: Any, says: str) -> None:
    assert says in complaint(value)


def test_all_problems_of_a_trigger_are_named_at_once() -> None:
    said = complaint(A | {"grace": 5, "until": "u", "threshold": 2})

    assert [line.partition(":")[0] for line in said.splitlines()] == ["event.until", "event.grace", "event.within"]


def test_r4_with_after_several_events_need_no_limit() -> None:
    assert read(A | {"after": "s", "threshold": 2}).within is None


def test_c4_the_children_that_can_fire_are_counted_without_those_under_not() -> None:
    trigger = read(COMPOUND | {"triggers": [A, {"type": "not", "trigger": B, "within": 5}, B]})

    assert trigger.required == 2
    assert [child.expect for child in trigger.positives] == [("a",), ("b",)]
    assert read(COMPOUND | {"require": "any"}).required == 1
    assert read(COMPOUND | {"require": 2}).required == 2


def test_c5_labels_are_those_of_for_each_and_a_not_has_its_triggers() -> None:
    child = A | {"for_each": {"host": "id"}}
    trigger = read(SEQUENCE | {"for_each": ["host"], "triggers": [{"type": "not", "trigger": child}, child]})

    assert label_names(trigger) == ("host",)
    assert label_names(trigger.triggers[0]) == ("host",)
    assert label_names(read(EVERY)) == ()


def test_schedules_are_read_in_three_ways() -> None:
    assert read({"type": "schedule", "cron": " 0  9 * * MON-FRI "}).cron == "0 9 * * MON-FRI"
    assert read({"type": "schedule", "cron": "@daily"}).cron == "@daily"
    assert read({"type": "schedule", "rrule": "FREQ=DAILY;BYHOUR=9\n"}).rrule == "FREQ=DAILY;BYHOUR=9"
    assert read(EVERY | {"anchor": "2026-01-01T00:00:00Z"}).anchor is not None


SAME = [
    (A, {"type": "event", "expect": ["a"], "threshold": 1, "posture": "reactive"}),
    ({"expect": ["a", "b"]}, {"expect": ["b", "a"]}),
    (A | {"match": {"x": ["p", "q"], "y": "r"}}, A | {"match": {"y": ["r"], "x": ["q", "p"]}}),
    (A | {"match_related": [{"x": "p"}, {"y": "q"}]}, A | {"match_related": [{"y": "q"}, {"x": "p"}]}),
    (A | {"threshold": 2, "within": "1m"}, A | {"threshold": 2, "within": 60}),
    (KEYED, KEYED | {"grace": 5, "repeat": 60, "on_late": "fire", "on_unknown": "skip", "forget_after": "1d"}),
    (KEYED, KEYED | {"subjects": ["a"]}),
    (DEADLINE, DEADLINE | {"due": " 0 9  * * *"}),
    (COMPOUND, COMPOUND | {"triggers": [B, A]}),
    (COMPOUND | {"triggers": [KEYED, A]}, COMPOUND | {"triggers": [A, KEYED | {"grace": 5}]}),
]
DIFFERENT = [
    A,
    B,
    A | {"within": 5},
    A | {"lateness": 5},
    A | {"where": "payload.n"},
    A | {"for_each": ["id"]},
    A | {"for_each": ["id", "env"]},
    A | {"for_each": ["env", "id"]},
    A | {"for_each": {"host": "id"}},
    A | {"after": "s"},
    A | {"match": {"id": "x"}},
    A | {"match_related": {"id": "x"}},
    ABSENCE,
    ABSENCE | {"until": "u"},
    ABSENCE | {"until": "u", "reopen": True},
    DEADLINE,
    DEADLINE | {"window": 5},
    DEADLINE | {"timezone": "Europe/Berlin"},
    COMPOUND,
    COMPOUND | {"require": "any"},
    COMPOUND | {"within": 5},
    SEQUENCE,
    SEQUENCE | {"triggers": [B, A]},
    COMPOUND | {"triggers": [A, {"type": "not", "trigger": B}]},
    EVERY,
    EVERY | {"catch_up": "all"},
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_s4_what_keeps_all_windows_keeps_the_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(read(one)) == fingerprint(read(other))


def test_s4_any_other_change_makes_another_fingerprint() -> None:
    prints = [fingerprint(read(value)) for value in DIFFERENT]

    assert len(set(prints)) == len(DIFFERENT)
    assert all(len(found) == 16 for found in prints)


def test_s4_fingerprints_are_the_same_in_every_version() -> None:
    assert fingerprint(read(A)) == "2bfc20d758d21744"
    assert fingerprint(read(COMPOUND)) == "433566b0227e4406"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (A, EventTrigger),
        (DEADLINE, DeadlineTrigger),
        (COMPOUND, CompoundTrigger),
        (SEQUENCE, SequenceTrigger),
        (EVERY, ScheduleTrigger),
    ],
)
def test_each_type_is_read_by_its_own_model_and_is_immutable(value: Any, kind: type) -> None:
    trigger = read(value)

    assert type(trigger) is kind
    with pytest.raises(ValidationError, match="frozen"):
        setattr(trigger, "type", "event")  # noqa: B010 - what mypy already refuses


def test_a_model_takes_maps_only() -> None:
    with pytest.raises(ValidationError, match="valid dictionary"):
        EventTrigger.model_validate("x")


def test_not_stands_inside_a_composite() -> None:
    trigger = read(COMPOUND | {"triggers": [A, {"type": "not", "trigger": DEADLINE}]})

    assert isinstance(trigger.triggers[1], NotTrigger)
    assert isinstance(trigger.triggers[1].trigger, DeadlineTrigger)


def test_the_json_schema_takes_what_people_write() -> None:
    expect = TRIGGERS.json_schema()["$defs"]["EventTrigger"]["properties"]["expect"]

    assert {"type": "string"} in expect["anyOf"]
