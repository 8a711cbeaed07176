"""A document tells everything that is wrong with it at once, each problem with its place and how to mend it."""

# ruff: noqa: E501 - a table of inputs and messages reads best with one case on a line

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.schemas.documents import WHOLE
from tocsin.errors import InvalidDefinition
from tocsin.schemas.document import SECTIONS, Document, document_schema, load, parse, parse_definition
from tocsin.schemas.source import CheckinSource
from tocsin.schemas.yaml_text import read_yaml


def complaints(text: str) -> list[str]:
    with pytest.raises(InvalidDefinition) as refused:
        parse(text, file="d.yaml")
    return [str(problem).removeprefix("d.yaml:") for problem in refused.value.problems]


def automation(body: str) -> str:
    return f"automations:\n  - name: a\n    trigger: {{expect: x, for_each: [id]}}\n    actions:\n      - {body}\n"


def test_every_section_is_read() -> None:
    document = parse(WHOLE)
    assert {section: len(getattr(document, section)) for section in SECTIONS} == {
        "automations": 5, "sources": 7, "channels": 6, "flows": 2, "queues": 1, "tests": 1,
    }  # fmt: skip
    assert document.tests[0].events[0].native().resource == {"id": "table/orders"}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "automations:\nqueues: []\n"])
def test_a_document_may_be_empty(text: str) -> None:
    assert parse(text) == Document()


def test_what_is_dumped_is_read_back() -> None:
    document = parse(WHOLE)
    for short in (False, True):
        dumped = document.model_dump(mode="json", exclude_defaults=short)
        assert parse(json.dumps(dumped)) == document
        assert parse(yaml.safe_dump(dumped)) == document


NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" -._:*&!#'\"{}"), min_size=1, max_size=12)


@given(
    name=NAMES.filter(lambda name: name == name.strip() and name.isprintable()),
    description=st.text(st.characters(exclude_categories=["Cs"])),
    label=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    message=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{")),
)
def test_whatever_stands_in_a_definition_is_read_back(name: str, description: str, label: str, message: str) -> None:
    written = {
        "name": name, "description": description, "trigger": {"expect": "x", "for_each": {label: "id"}},
        "actions": [{"type": "log", "message": message}],
    }  # fmt: skip
    document = parse(yaml.safe_dump({"automations": [written]}, allow_unicode=True))
    assert document.automations[0].name == name
    assert parse(yaml.safe_dump(document.model_dump(mode="json"))) == document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("channls: []", ["1:1: channls: unknown key: did you mean `channels`?"]),
        ("- a", ["1:1: a definitions file is a mapping of sections: automations, sources, channels, flows, queues, tests"]),
        ("queues: 5", ["1:9: queues: has to be a list: begin each entry with `-`"]),
        ("queues: [nightly]", ["1:10: queues[0]: is text, and has to be a mapping"]),
        (
            "queues: [{name: a, concurrency: 0}]",
            ["1:33: queues[a].concurrency: input should be greater than or equal to 1"],
        ),
        ("queues: [{name: a}]", ["1:10: queues[a].concurrency: is missing: how many of its runs go on at the same time"]),
        ("queues: [{name: a, concurrency: two}]", ["1:33: queues[a].concurrency: is text, and has to be a whole number"]),
        ("queues: [{name: 5, concurrency: 1}]", ["1:17: queues[0].name: is a number, and has to be text: put it in quotes"]),
        ("queues: [{name: '', concurrency: 1}]", ["1:17: queues[].name: is too short: write at least 1 character"]),
        ("queues: [{name: 'a ', concurrency: 1}]", ["1:17: queues[a ].name: 'a ' begins or ends with a space: remove it"]),
        (
            "queues: [{name: a/b, concurrency: 1}]",
            ["1:17: queues[a/b].name: 'a/b' contains `/`: names stand in addresses, write `-` or `.` instead"],
        ),
        (
            'queues: [{name: "a\\nb", concurrency: 1}]',
            ["1:17: queues[a\nb].name: 'a\\nb' contains a character that can not be printed: remove it"],
        ),
        ("channels: [{name: a}]", ["1:12: channels[a].type: is missing: one of log, slack, teams, webhook, email, apprise"]),
        (
            "channels: [{name: a, type: slak}]",
            ["1:28: channels[a].type: there is no type 'slak': did you mean `slack`?"],
        ),
        (
            "channels: [{name: a, type: log, colour: red}]",
            ["1:33: channels[a].colour: unknown key: known here: `name`, `type`"],
        ),
        (
            "channels: [{name: a, type: email, host: h, from: x, to: []}]",
            ["1:57: channels[a].to: has 0 items, and needs at least 1"],
        ),
        (
            "channels: [{name: a, type: email, host: h, from: x, to: [y], username: u}]",
            ["1:12: channels[a]: `username` and `password` go together: give both or neither"],
        ),
        (
            "channels: [{name: a, type: email, host: h, from: x, to: [y], username: u, password: {env: P}, security: none}]",
            ["1:12: channels[a]: a password is not sent over an unprotected connection: use `security: starttls` or `tls`"],
        ),
        (
            "sources: [{name: a, type: webhook}]",
            ["1:11: sources[a]: needs `recipe: github`, or both `verify` and `event`"],
        ),
        (
            "sources: [{name: a, type: webhook, recipe: github}]",
            ["1:11: sources[a]: `recipe: github` needs `secret`, for example {env: GITHUB_SECRET}"],
        ),
        (
            "sources: [{name: a, type: webhook, recipe: github, secret: {env: A}, verify: {type: none}}]",
            ["1:11: sources[a]: `recipe` brings its own `verify` and `event`: leave them out, or leave out `recipe`"],
        ),
        (
            "sources: [{name: a, type: webhook, secret: {env: A}, verify: {type: none}, event: {event: a, resource: {id: b}}}]",
            ["1:11: sources[a]: `secret` belongs to a recipe: write it inside of `verify`"],
        ),
        (
            "sources: [{name: a, type: webhook, verify: {type: token, secret: {env: A}}, event: {event: a, resource: {b: c}}}]",
            [
                "1:44: sources[a].verify: a token comes in one place: write `header: Authorization` or `query: token`",
                "1:105: sources[a].event.resource: needs an `id` label that is not empty",
            ],
        ),
        (
            "sources: [{name: a b, type: checkin}]",
            ["1:18: sources[a b].name: 'a b' stands in an address: use letters, digits, `-`, `_` and `.` only"],
        ),
        ("flows: [{name: a}]", ["1:9: flows[a]: a flow is one program: write `entrypoint: path.py:function` or `command: [program, ...]`"]),
        (
            "flows: [{name: a, entrypoint: x.py}]",
            ["1:9: flows[a]: 'x.py' is not an entrypoint: write path.py:function"],
        ),
        (
            "flows: [{name: a, command: [x], queue: nihgtly}]\nqueues: [{name: nightly, concurrency: 1}]",
            ["1:40: flows[a].queue: there is no queue 'nihgtly': did you mean `nightly`?"],
        ),
        (
            "flows: [{name: a, command: [x], schedule: {cron: '0 0 * * *', every: 1h}}]",
            ["1:43: flows[a].schedule: a schedule has one of `cron`, `every` and `rrule`; `cron` and `every` are given: keep one"],
        ),
        ("flows: [{name: a, command: [x], timeout: 0}]", ["1:9: flows[a]: `timeout` is 0: give the run some time, for example 1h"]),
        ("tests: [{name: a, automation: b, start: 2026-03-02T09:00:00, end: 2026-03-02T09:00:00Z, firings: []}]", [
            "1:41: tests[a].start: has no offset from UTC: write 2026-03-02T09:00:00+01:00, or Z for UTC"]),
        ("tests: [{name: a, automation: b, start: 5, end: 2026-03-02T09:00:00Z, firings: []}]", [
            "1:41: tests[a].start: is not a time: write it with its offset, 2026-03-02T09:00:00+01:00"]),
        ("flows: [{name: a, command: [x], schedule: {cron: '0 0 * * *', anchor: '2026-01-01T00:00:00Z'}}]", [
            "1:43: flows[a].schedule: `anchor` is where `every` counts from: leave it out, or write `every: 1h`"]),
        ("flows: [{name: a, command: [x], schedule: {every: 1h, timezone: Europe/Berlin}}]", [
            "1:43: flows[a].schedule: `every` is the same in all zones: leave `timezone` out, or write `cron`"]),
        ("flows: [{name: a, command: [x], env: {A-B: c}}]", [
            "1:39: flows[a].env.A-B: 'A-B' is not the name of an environment variable: use letters, digits and `_`"]),
        ("tests: [{name: a, automation: b, firings: []}]", ["1:9: tests[a]: without `events` nothing says when to begin: add `start`"]),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("{type: cal-webhook}", ["5:16: automations[a].actions[0].type: there is no type 'cal-webhook': did you mean `call-webhook`?"]),
        ("{type: log, retry: {atempts: 3}}", ["5:29: automations[a].actions[0].retry.atempts: unknown key: did you mean `attempts`?"]),
        ("{type: log, retry: {delay: 1h}}", [
            "5:28: automations[a].actions[0].retry: `delay` is longer than `max_delay`: make `max_delay` at least as long"]),
        ("{type: log, timeout: 0}", ["5:30: automations[a].actions[0].timeout: is 0: give the action some time, for example 10s"]),
        ("{type: log, timeout: soon}", [
            "5:30: automations[a].actions[0].timeout: 'soon' is not a duration: write 90s, 10m, 1h30m, 2d, PT10M or a number of seconds"]),
        ("{type: log, level: loud}", [
            "5:28: automations[a].actions[0].level: 'loud' is not one of 'debug', 'info', 'warning' or 'error'"]),
        ("{type: log, message: [x]}", ["5:30: automations[a].actions[0].message: is a list, and has to be text"]),
        ("{type: log, message: true}", ["5:30: automations[a].actions[0].message: is true or false, and has to be text: put it in quotes"]),
        ("{type: call-webhook, url: example.org}", [
            "5:35: automations[a].actions[0].url: 'example.org' is not the address of a web server: write https://host/path"]),
        ("{type: call-webhook, url: 'https://h', headers: {'a b': c}}", [
            "5:57: automations[a].actions[0].headers: 'a b' is not the name of a header: use letters, digits and `-`"]),
        ('{type: call-webhook, url: "https://h", headers: {a: "b\\nc"}}', [
            "5:57: automations[a].actions[0].headers: header 'a' contains a line break: write it on one line"]),
        ("{type: emit-event, event: tocsin.x, resource: {id: a}}", [
            "5:35: automations[a].actions[0].event: names that start with `tocsin.` are the engine's own: choose another"]),
        ("{type: emit-event, event: x, resource: {a: b}}", [
            "5:48: automations[a].actions[0].resource: needs an `id` label that is not empty"]),
        ("{type: emit-event, event: x, resource: {id: b}, related: [{id: c}]}", [
            "5:66: automations[a].actions[0].related: item 0 needs a `role` label that is not empty"]),
        ("{type: send-notification, channel: oncal}", [
            "5:44: automations[a].actions[0].channel: there is no channel 'oncal': declare it under `channels:`"]),
        ("{type: run-flow, flow: f}", ["5:32: automations[a].actions[0].flow: there is no flow 'f': declare it under `flows:`"]),
        ("{type: pause-queue, queue: q}", ["5:36: automations[a].actions[0].queue: there is no queue 'q': declare it under `queues:`"]),
        ("{type: pause-automation, automation: b}", [
            "5:46: automations[a].actions[0].automation: there is no automation 'b': declare it under `automations:`"]),
        ("{type: log, if: 'a ='}", [
            ("5:25: automations[a].actions[0].if: 'a =' is not JMESPath: at column 3, Unknown token '='; strings stand in "
            "single quotes, numbers in backticks: resource.env == 'prod' && payload.n > `1`")]),
        ("{type: log, message: '{{ evnt.id }}'}", ["5:30: automations[a].actions[0].message: there is no `evnt`: did you mean `event`?"]),
        ("{type: call-webhook, url: 'https://h', body: {a: [1, '{{ labels.di }}']}}", [
            "5:62: automations[a].actions[0].body.a[1]: there is no `labels.di`: known here: `id`"]),
        ("{type: log, message: '{{ x'}", [
            "5:30: automations[a].actions[0].message: line 1 of the template: unexpected end of template, expected 'end of print statement'."]),
        ("5", ["5:9: automations[a].actions[0]: is a number, and has to be a mapping"]),
    ],
)  # fmt: skip
def test_a_wrong_action_is_told_with_its_place(action: str, expected: list[str]) -> None:
    assert complaints(automation(action)) == expected


@pytest.mark.parametrize(
    "action", ["{type: pause-queue, queue: default}", "{type: pause-queue, queue: '{{ event.resource.queue }}'}"]
)
def test_the_default_queue_and_templated_names_need_no_declaration(action: str) -> None:
    assert len(parse(automation(action)).automations) == 1


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("{expect: x, windin: 5m}", "3:26: automations[a].trigger.windin: unknown key: did you mean `within`?"),
        ("{expect: x, threshold: 3}", "3:14: automations[a].trigger.within: threshold: 3 counts events within a time"),
        ("{type: abscence, expect: x}", "3:21: automations[a].trigger.type: there is no trigger type 'abscence': did you mean"),
        ("{type: deadline, expect: x, due: noon}", "3:47: automations[a].trigger.due: 'noon' has 1 fields"),
        ("{type: sequence, triggers: [{expect: x}, {expect: y, wher: z}]}",
         "3:67: automations[a].trigger.triggers[1].wher: unknown key: did you mean `where`?"),
        ("5", "3:14: automations[a].trigger: a trigger is a map"),
    ],
)  # fmt: skip
def test_a_wrong_trigger_is_told_with_its_place(trigger: str, expected: str) -> None:
    (found,) = complaints(f"automations:\n  - name: a\n    trigger: {trigger}\n")
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("trigger", "refused"),
    [
        ("{expect: x}", True), ("{type: schedule, every: 1h}", True),
        ("{type: compound, triggers: [{type: absence, expect: x, within: 1h}]}", True),
        ("{type: absence, expect: x, within: 1h}", False),
        ("{type: deadline, expect: x, due: '@daily'}", False),
    ],
)  # fmt: skip
def test_actions_on_resolve_need_a_trigger_that_resolves(trigger: str, refused: bool) -> None:
    """P5, D2."""
    text = f"automations:\n  - name: a\n    trigger: {trigger}\n    actions_on_resolve: [{{type: log}}]\n"
    if refused:
        assert complaints(text) == [
            (
                "4:25: automations[a].actions_on_resolve: would never run: only `absence` and `deadline` triggers resolve; "
                "leave it out"
            )
        ]
    else:
        assert parse(text).automations[0].actions_on_resolve


CASE = "automations: [{name: a, trigger: {expect: x}}]\ntests: [{name: t, automation: a, firings: [], "
AT = "at: 2026-03-02T09:00:00Z, event: x, resource: {id: y}"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("start: 2026-03-02T09:00:00Z}]", "without `events` nothing says when to stop: add `end`"),
        (f"events: [{{{AT}}}], end: 2026-03-02T08:59:00Z}}]", "`end` is before the last event or before `start`: make it later"),
        (f"events: [{{{AT}}}], start: 2026-03-02T09:01:00Z}}]", "`start` is after the first event: make it earlier"),
        (f"events: [{{{AT}}}, {{{AT.replace('09:', '08:')}}}]}}]",
         "`events` do not arrive in order: sort them by `at`; what happened late has `occurred`"),
    ],
)  # fmt: skip
def test_the_times_of_a_case_are_in_order(rest: str, said: str) -> None:
    assert complaints(CASE + rest) == [f"2:9: tests[t]: {said}"]


@pytest.mark.parametrize("url", ["{{ event.payload.url }}", "https://{{ labels.id }}.example.org", "http://[::1]:80/x"])
def test_an_address_may_be_a_template(url: str) -> None:
    assert parse(automation(f"{{type: call-webhook, url: '{url}'}}")).automations


def test_an_address_that_is_none_is_refused() -> None:
    (found,) = complaints(automation("{type: call-webhook, url: 'http://[x'}"))
    assert found == "5:35: automations[a].actions[0].url: is not an address: write https://host/path"


@pytest.mark.parametrize(
    ("written", "key"), [("{name: a, type: checkin}", "a"), ("{name: a, type: checkin, key: k}", "k")]
)
def test_a_checkin_is_reached_by_its_key_or_else_its_name(written: str, key: str) -> None:
    (source,) = parse(f"sources: [{written}]").sources
    assert isinstance(source, CheckinSource)
    assert source.address_key == key


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = """
automations:
  - name: a
    mode: on
    trigger: {expect: x, windin: 5m}
    actions:
      - {type: log, message: "{{ evnt }}"}
      - {type: send-notification, channel: nowhere}
  - {name: a, trigger: {expect: "x"}}
flows:
  - {name: f, command: []}
"""
    assert [complaint.split(": ")[0] for complaint in complaints(text)] == [
        "4:11",
        "5:26",
        "7:30",
        "8:44",
        "9:12",
        "11:24",
    ]


def test_a_name_that_is_taken_tells_both_places() -> None:
    one = "queues:\n  - {name: q, concurrency: 1}\n"
    with pytest.raises(InvalidDefinition) as refused:
        load({"one.yaml": one, "two.yaml": "\n" + one})
    assert str(refused.value) == (
        "two.yaml:3:12: queues[q].name: the name 'q' is taken by the queue at one.yaml:2:12: rename one of them"
    )


def test_files_may_name_what_other_files_declare() -> None:
    document = load(
        {"a.yaml": automation("{type: pause-queue, queue: q}"), "b.yaml": "queues: [{name: q, concurrency: 1}]"}
    )
    assert (document.automations[0].name, document.queues[0].name) == ("a", "q")


def test_while_a_file_is_not_yaml_nothing_is_said_about_names_that_it_may_declare() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        load({"a.yaml": automation("{type: pause-queue, queue: q}"), "b.yaml": "queues: [{name: q, concurrency: 1}"})
    assert [problem.file for problem in refused.value.problems] == ["b.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "channels: [{name: a, type: slack, url: 'https://hooks.example.org/hunter2'}]",
        "channels: [{name: a, type: slack, url: [hunter2]}]",
        "channels: [{name: a, type: slack, url: {env: A, value: hunter2}}]",
        "channels: [{name: a, type: webhook, url: 'https://me:hunter2@h'}]",
        "sources: [{name: a, type: webhook, recipe: github, secret: hunter2}]",
        automation("{type: call-webhook, url: 'https://h', secret: hunter2}"),
        automation("{type: call-webhook, url: 'https://me:hunter2@h'}"),
        automation("{type: call-webhook, url: 'https://h', headers: {Authorization: Bearer hunter2}}"),
        automation("{type: call-webhook, url: 'https://h', headers: {X: [hunter2]}}"),
        "channels: [{name: a, type: slack, url: hunter2",
        "channels: [{name: a, type: slack, url: !!x hunter2}]",
    ],
)
def test_a_literal_secret_is_refused_and_never_repeated(text: str) -> None:
    assert "hunter2" not in "\n".join(complaints(text))


def test_the_schema_knows_what_the_reader_knows() -> None:
    schema = document_schema()
    validator = jsonschema_rs.validator_for(schema)
    validator.validate(read_yaml(WHOLE))
    assert not validator.is_valid({"automations": [{"name": "a", "trigger": {"expect": "x"}, "action": []}]})
    assert not validator.is_valid({"channels": [{"name": "a", "type": "slack", "url": "https://x"}]})


@pytest.mark.parametrize(
    "name", ["Automation", "CallWebhook", "EmailChannel", "Flow", "WebhookSource", "Case", "Retry"]
)
def test_every_field_is_described(name: str) -> None:
    model = document_schema()["$defs"][name]["properties"]
    assert [key for key, field in model.items() if "description" not in field and "const" not in field] == []


# Definitions over the API


def test_a_definition_alone_tells_fields_instead_of_lines() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        parse_definition("automation", {"name": "a", "trigger": {"expect": "x", "windin": 5}}, beside={})
    (problem,) = refused.value.problems
    assert (problem.field, problem.file, problem.line) == ("trigger.windin", "", 0)
    assert str(problem) == "trigger.windin: unknown key: did you mean `within`?"


def test_a_definition_may_name_itself_and_what_its_document_declares() -> None:
    data = {"name": "a", "trigger": {"expect": "x"}, "actions": [
        {"type": "pause-automation", "automation": "a"}, {"type": "pause-queue", "queue": "q"}]}  # fmt: skip
    assert parse_definition("automation", data, beside={"queues": {"q"}}).name == "a"
    with pytest.raises(InvalidDefinition, match="there is no queue 'q'"):
        parse_definition("automation", data, beside={})


@pytest.mark.parametrize(
    ("kind", "data", "complaint"),
    [
        ("channel", {"name": "a", "type": "slack", "url": {"file": "/etc/passwd"}},
         "url: a definition that comes over the API can not read files: write {env: NAME}"),
        ("channel", {"name": "a", "type": "slack", "url": {"env": "HOME"}},
         "url: {env: HOME} is not open to the API: list HOME in TOCSIN_API_SECRETS"),
        ("automation", {"name": "a", "trigger": {"expect": "x"}, "actions": [
            {"type": "call-webhook", "url": "https://h", "headers": {"Authorization": {"env": "HOME"}}}]},
         "actions[0].headers.Authorization: {env: HOME} is not open to the API: list HOME in TOCSIN_API_SECRETS"),
        ("flow", {"name": "a", "command": ["rm"]},
         "a flow starts a program: declare it in a definitions file, not over the API"),
    ],
)  # fmt: skip
def test_what_comes_over_the_api_starts_no_programs_and_reads_no_files(kind: str, data: Any, complaint: str) -> None:
    assert parse_definition(kind, data).name == "a"
    with pytest.raises(InvalidDefinition) as refused:
        parse_definition(kind, data, restricted=True, secrets={"OPEN"})
    assert str(refused.value) == complaint


def test_what_comes_over_the_api_may_use_the_secrets_that_are_listed() -> None:
    data = {"name": "a", "type": "slack", "url": {"env": "OPEN"}}
    assert parse_definition("channel", data, restricted=True, secrets={"OPEN"}).name == "a"


@pytest.mark.parametrize("more", [{"type": "checkin"}, {"type": "webhook", "recipe": "github", "secret": {"env": "S"}}])
def test_e2_no_source_takes_the_name_of_the_engine(more: dict[str, Any]) -> None:
    """What a source sends carries its name: under the engine's it could take the identities of the engine's events."""
    with pytest.raises(InvalidDefinition) as refused:
        parse(json.dumps({"sources": [{"name": "tocsin", **more}]}), file="a.yaml")
    (problem,) = refused.value.problems
    assert problem.field == "sources[tocsin].name"
    assert problem.message == "`tocsin` is the source of the engine's own events: choose another name"
    assert parse(json.dumps({"sources": [{"name": "tocsin-2", **more}]})).sources[0].name == "tocsin-2"


def test_a_misspelt_name_is_found_among_very_many() -> None:
    names = [f"failures-of-{number}" for number in range(50_000)] + ["nightly-report"]
    action = {"type": "pause-automation", "automation": "nightly-raport"}
    data = {"name": "a", "trigger": {"expect": "x"}, "actions": [action]}
    with pytest.raises(InvalidDefinition, match="did you mean `nightly-report`"):
        parse_definition("automation", data, beside={"automations": names})
    with pytest.raises(InvalidDefinition, match="declare it under `automations:`"):
        parse_definition("automation", data, beside={"automations": names[:-1]})
