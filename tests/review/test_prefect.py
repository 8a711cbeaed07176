"""Automations of a real Prefect server become definitions that pass `check`; what differs is remarked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.review.exported import FOLDER, kept, known
from tocsin.errors import InvalidDefinition
from tocsin.review.prefect import Imported, automations_of, convert, read_export, references
from tocsin.schemas.document import Document, parse
from tocsin.schemas.trigger import EventTrigger

BLOCK, QUEUE = "15dcf8e7-0384-4d65-a921-7c789e7fc8ec", "7142c936-9ac8-4ad7-b300-1bb404c510ce"


@pytest.fixture(scope="module")
def whole() -> Imported:
    return convert(kept("automations"), known())


def document(imported: Imported) -> Document:
    return parse(imported.text)


def action(**fields: Any) -> Imported:
    """Import an automation with one action."""
    return convert([{"name": "a", "trigger": {"expect": ["x"]}, "actions": [fields]}], known())


def trigger(**fields: Any) -> Imported:
    return convert([{"name": "a", "trigger": {"type": "event", **fields}, "actions": []}])


def remarks(imported: Imported) -> str:
    """Return the comments as one text."""
    return " ".join(line.strip(" #") for line in imported.text.splitlines() if line.strip().startswith("#"))


def test_what_the_server_exported_becomes_definitions(whole: Imported) -> None:
    automations = {one.name: one for one in document(whole).automations}

    assert len(automations) == whole.automations == len(kept("automations")) - 1
    failed = automations["a failed run"]
    assert (failed.description, failed.tags) == ('Tells about failures: of "sales" flows.', ["prod", "sales"])
    assert not automations["talking"].enabled
    stuck = automations["stuck run"].trigger
    assert isinstance(stuck, EventTrigger)
    assert (stuck.posture, stuck.after, len(stuck.expect)) == ("Proactive", ("prefect.flow-run.Running",), 4)
    assert [one.name for one in automations.values() if one.trigger.type == "compound"] == ["both", "two of three"]


def test_each_trigger_means_what_it_did_as_it_was_written(whole: Imported) -> None:
    """Prefect's triggers are accepted unchanged; the import only writes them as people do here."""
    imported = {one.name: one.trigger for one in document(whole).automations}
    for source in kept("automations"):
        if source["name"] in imported and source["name"] != "twice":
            unchanged = parse(json.dumps({"automations": [{"name": "a", "trigger": source["trigger"]}]}))
            assert unchanged.automations[0].trigger == imported[source["name"]]


def test_what_has_no_equivalent_is_told_and_stands_as_a_comment(whole: Imported) -> None:
    assert [error.partition(":")[0] for error in whole.errors].count("runs") == 5
    assert any("every third: trigger: counts 3 events however far apart" in error for error in whole.errors)
    assert whole.text.count("NOT IMPORTED") == len(whole.errors) == 12
    assert "# NOT IMPORTED: every third" in whole.text


def test_names_are_made_unique_and_fit_for_addresses(whole: Imported) -> None:
    names = {one.name for one in document(whole).automations}
    assert {"twice", "twice (2)", "three failures - an hour"} <= names
    assert '# Called "three failures / an hour" in Prefect.' in whole.text


def test_blocks_become_channels_whose_addresses_are_references(whole: Imported) -> None:
    types = {one.name: one.type for one in document(whole).channels}
    assert types == {
        "oncall": "slack", "team-sales": "teams", "mattermost": "apprise", "pager": "apprise", "custom": "webhook",
    }  # fmt: skip
    assert "ONCALL_URL" in whole.variables
    assert "example.org/notify" not in whole.text


def test_deployments_become_flows_that_start_them_in_prefect(whole: Imported) -> None:
    (flow,) = document(whole).flows
    assert (flow.name, flow.queue) == ("backfill-sales", "k8s.nightly")
    assert flow.command is not None
    assert "308c2c57-b1f5-4673-8cbc-82607f2db964" in flow.command[-1]
    assert {one.name: one.concurrency for one in document(whole).queues} == {"k8s.nightly": 3, "k8s.default": 10}


def test_parameters_lose_prefects_markings(whole: Imported) -> None:
    switch = next(one for one in document(whole).automations if one.name == "dead man's switch")
    assert switch.actions[0].model_dump()["parameters"] == {
        "table": "{{ (events | last).resource.id }}",
        "count": "{{ (events | last).payload.rows }}",
        "plain": 3,
        "j": [1, 2],
        "t": "at {{ (events | last).occurred }}",
    }


def test_automations_are_named_where_prefect_has_their_ids(whole: Imported) -> None:
    pauser = next(one for one in document(whole).automations if one.name == "pauser")
    assert [one.model_dump()["automation"] for one in pauser.actions] == ["a failed run", "a failed run"]


def test_without_the_api_what_is_named_by_id_gets_a_name_to_fill_in() -> None:
    imported = convert(kept("automations"))
    definitions = document(imported)
    assert "block-15dcf8e7" in {one.name for one in definitions.channels}
    assert "deployment-308c2c57" in {one.name for one in definitions.flows}
    assert "of a type that the export does not tell" in remarks(imported)
    assert any("import from the server's API" in error for error in imported.errors)


def test_every_reference_is_asked_for_once() -> None:
    found = references(kept("automations"))
    assert len(found) == len(set(found)) == 6 + 2 + 1 + 1
    assert ("block_documents", BLOCK) in found


@pytest.mark.parametrize("name", ["inspect.json", "inspect.yaml"])
def test_what_the_inspect_command_prints_is_read_with_its_broken_lines(name: str) -> None:
    (one,) = read_export((FOLDER / name).read_text())
    imported = convert([one])
    assert imported.automations == 1
    assert imported.errors == ()
    assert "NOT" not in imported.text
    assert re.search(r"\{\{ \(?event", imported.text)


@pytest.mark.parametrize("data", [[], {"automations": []}])
def test_an_export_may_be_empty(data: Any) -> None:
    assert document(convert(automations_of(data))).automations == []


@pytest.mark.parametrize("text", ["3", "[1]", "{a: b}", "[{name: x}]", "{automations: 3}", "{", "a: b: c"])
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition):
        read_export(text, file="x.json")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"expect": ["x"], "threshold": 3, "within": 60}, "Counts 3 events in any 1m (law R1)"),
        (
            {"expect": ["x"], "posture": "reactive", "within": "PT1M"},
            "Quiet for 1m after each event that fired (law R2)",
        ),
        ({"posture": "Proactive", "expect": ["x"], "within": 60}, "add `repeat: 1m`"),
        ({"posture": "Proactive", "expect": ["x"], "for_each": ["a"]}, "does not notice that it falls silent"),
        ({"posture": "Proactive", "expect": ["x"], "after": ["a"], "within": 60}, "Waits behind an `after` event only"),
        ({"expect": ["x"], "match": {"env": ["a", "!b"]}}, "in Prefect one pattern that fits is enough"),
        ({"expect": ["x"], "match": {"env": "!b"}}, "An event without the label passes"),
        ({"expect": ["x"], "match_related": {"env": "!b"}}, "no related resource may be excluded"),
        ({"type": "sequence", "within": 60, "triggers": [{"expect": ["x"]}, {"expect": ["y"]}]}, "A sequence is found"),
        ({"type": "compound", "triggers": [{"expect": ["x"], "within": 60, "threshold": 2}]}, "in any 1m"),
    ],
)
def test_a_meaning_that_differs_is_remarked(fields: dict[str, Any], says: str) -> None:
    imported = trigger(**fields)
    assert imported.errors == ()
    assert says in remarks(imported)


@pytest.mark.parametrize(
    "fields",
    [
        {"expect": ["x"]},
        {"expect": ["x"], "after": ["a"], "within": 60, "threshold": 2},
        {"posture": "Proactive", "expect": ["x"], "after": ["a"], "for_each": ["prefect.resource.id"], "within": 60},
        {"type": "compound", "require": "all", "within": 60, "triggers": [{"expect": ["x"]}]},
        {"match": {"env": ["a", "b"]}},
    ],
)
def test_a_meaning_that_is_the_same_needs_no_remark(fields: dict[str, Any]) -> None:
    assert remarks(trigger(**fields)) == remarks(convert([]))


def test_what_prefect_takes_for_granted_is_written_out() -> None:
    found = document(trigger(posture="Proactive", within=0)).automations[0].trigger
    assert isinstance(found, EventTrigger)
    assert (found.expect, found.model_dump(mode="json")["within"]) == (("*",), "10s")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": "metric", "metric": {"name": "lateness"}}, "metrics of Prefect Cloud"),
        ({"type": "weather"}, "no trigger type 'weather'"),
        ({"expect": ["x"], "match": {"env": []}}, "empty list of patterns"),
        ({"type": "compound", "triggers": [{"type": "metric"}]}, "metrics of Prefect Cloud"),
        ({"type": "compound", "triggers": 3}, "triggers"),
    ],
)
def test_a_trigger_without_an_equivalent_leaves_a_comment(fields: dict[str, Any], says: str) -> None:
    imported = trigger(**fields)
    assert (imported.automations, len(imported.errors)) == (0, 1)
    assert says in imported.errors[0]
    assert says in remarks(imported)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": "suspend-flow-run"}, "can not be suspended"),
        ({"type": "dance"}, "there is no action like 'dance'"),
        ({}, "there is no action like None"),
        ({"type": "pause-work-queue", "source": "inferred"}, "is inferred from the event"),
        ({"type": "run-deployment", "deployment_id": "x; rm -rf /"}, "is not an id of Prefect's deployments"),
        ({"type": "run-deployment", "deployment_id": QUEUE, "schedule_after": 60}, "no waiting before an action"),
        ({"type": "change-flow-run-state", "state": "FAILED"}, "can not be set to FAILED"),
        ({"type": "send-notification", "block_document_id": BLOCK, "body": "{% if flow_run.x %}a{% endif %}"},
         "its template can not be translated: there is no `flow_run`"),
        ({"type": "run-deployment", "deployment_id": QUEUE,
          "parameters": {"a": {"__prefect_kind": "workspace_variable", "variable_name": "r"}}}, "'workspace_variable'"),
        ({"type": "run-deployment", "deployment_id": QUEUE,
          "parameters": {"a": {"__prefect_kind": "json", "value": "{"}}}, "is marked as JSON and is not JSON"),
        ({"type": "pause-automation", "automation_id": QUEUE}, "which is not imported"),
    ],
)  # fmt: skip
def test_an_action_without_an_equivalent_leaves_a_comment(fields: dict[str, Any], says: str) -> None:
    imported = action(**fields)
    assert imported.automations == 1
    assert says in imported.errors[0]
    assert "NOT IMPORTED" in imported.text
    assert document(imported).automations[0].actions == []


def test_a_webhooks_block_gives_what_it_tells_and_leaves_the_address_to_fill_in() -> None:
    imported = action(type="call-webhook", block_document_id="5a5ce95c-f3d6-44c2-af1c-a94683e7f9e2", payload={"a": 1})
    (sent,) = document(imported).automations[0].actions
    assert "Write the address from Prefect's block 'incident'" in remarks(imported)
    assert sent.model_dump(exclude_defaults=True) == {
        "type": "call-webhook",
        "url": "https://incident.invalid/",
        "method": "PUT",
        "body": '{\n  "a": 1\n}',
        "headers": {"X-Team": {"env": "INCIDENT_X_TEAM"}, "Authorization": {"env": "INCIDENT_AUTHORIZATION"}},
    }


def test_json_around_a_template_keeps_the_type_of_its_value() -> None:
    value = {
        "__prefect_kind": "json",
        "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.n | tojson }}"},
    }
    imported = action(type="run-deployment", deployment_id=QUEUE, parameters={"n": value, "m": [{"deep": value}]})
    (run,) = document(imported).automations[0].actions
    assert run.model_dump()["parameters"] == {"n": "{{ event.payload.n }}", "m": [{"deep": "{{ event.payload.n }}"}]}


def test_actions_on_trigger_join_the_others_and_those_on_resolve_stay_where_something_resolves(whole: Imported) -> None:
    automations = {one.name: one for one in document(whole).automations}
    assert [len(automations["at its end"].actions), len(automations["at its end"].actions_on_resolve)] == [1, 1]
    assert automations["twice"].actions_on_resolve == []
    assert "Its actions_on_resolve never ran" in remarks(whole)


def test_doing_nothing_needs_no_action() -> None:
    assert document(action(type="do-nothing")).automations[0].actions == []


def test_no_text_of_an_export_gets_out_of_its_place() -> None:
    evil = 'x\n- name: "evil"\u2028\x85#: {{ [] }}\r\x1b[2J/'
    sent = {"type": "send-notification", "block_document_id": BLOCK, "subject": "s", "body": "b"}
    source: dict[str, Any] = {"name": evil, "description": evil, "trigger": {"expect": [evil]}, "tags": [evil]}
    source["actions"] = [{"type": evil}, sent]
    imported = convert([source, source | {"trigger": {"type": evil}}], {("block_documents", BLOCK): {"name": evil}})
    (one,) = document(imported).automations
    assert (one.description, one.tags) == (evil, [evil])
    assert len(imported.errors) == 2
