"""Why an event did, or did not, make an automation fire."""

from __future__ import annotations

from typing import Any

from tocsin.review.explain import explain
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.firing import Decision, Outcome


def automation(**trigger: Any) -> Automation:
    return Automation.model_validate({"name": "a", "trigger": trigger})


def event(name: str = "flow-run.failed", **labels: str) -> Arrival:
    return arrival(Event(event=name, resource={"id": "run/1", **labels}), seq=7, received_us=0)


def test_an_event_that_did_not_match_is_shown_beside_the_pattern() -> None:
    found = explain(automation(expect="flow-run.failed", match={"env": "prod"}), event(env="test"))
    assert not found["matched"]
    assert found["summary"] == "does not match: match.env wants prod, and it is 'test'"
    (trigger,) = found["triggers"]
    shown = {one["name"]: (one["value"], one["passed"]) for one in trigger["predicates"]}
    assert shown == {"expect": ("flow-run.failed", True), "match.env": ("test", False)}


def test_a_label_that_is_not_there_is_said_not_to_be_there() -> None:
    found = explain(automation(expect="*", match={"env": "prod"}), event())
    assert found["summary"] == "does not match: match.env wants prod, and there is none"


def test_one_role_is_enough_to_match() -> None:
    """M5: the patterns of `expect` and `after` are alternatives."""
    trigger = {"type": "absence", "expect": "run.finished", "after": "run.started", "within": "1h"}
    found = explain(automation(**trigger), event("run.started"))
    assert found["matched"]
    assert found["triggers"][0]["failed"] == []
    neither = explain(automation(**trigger), event("run.paused"))
    assert neither["summary"] == (
        "does not match: expect wants run.finished, and it is 'run.paused'; "
        "after wants run.started, and it is 'run.paused'"
    )


def test_the_nearest_trigger_of_a_composite_is_the_one_that_is_told() -> None:
    absent = {"type": "not", "trigger": {"expect": "c"}}
    children = [{"expect": "a", "match": {"x": "1"}}, {"expect": "b", "match": {"env": "prod"}}, absent]
    found = explain(automation(type="compound", triggers=children), event("b", env="test"))
    assert [one["place"] for one in found["triggers"]] == [
        "trigger.triggers[0]", "trigger.triggers[1]", "trigger.triggers[2].trigger",
    ]  # fmt: skip
    assert found["summary"] == "does not match: match.env wants prod, and it is 'test'"


def test_what_was_recorded_is_told_as_it_is() -> None:
    decisions = [
        Decision("a", "n", {"id": "run/1"}, Outcome.COUNTED, 0, 7, None, "counted {0} of {1}", ("2", "3")),
        Decision("b", "n", {}, Outcome.FIRED, 0, 7, "f", "fired", ()),
    ]
    found = explain(automation(expect="flow-run.failed", for_each=["id"], threshold=3, within="1h"), event(), decisions)
    assert found["summary"] == "counted 2 of 3"
    assert [(one["labels"], one["outcome"], one["text"]) for one in found["decisions"]] == [
        ({"id": "run/1"}, "counted", "counted 2 of 3")
    ]


def test_a_schedule_does_not_look_at_events() -> None:
    found = explain(automation(type="schedule", every="1h"), event())
    assert found["summary"] == "does not look at events: it fires by time"


def test_a_match_without_a_record_says_why_there_is_none() -> None:
    assert "before the automation was armed" in explain(automation(expect="*"), event())["summary"]
