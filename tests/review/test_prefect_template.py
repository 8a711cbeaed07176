"""Templates written for Prefect, translated: what maps is mapped, what does not stands as text and is told."""

# ruff: noqa: E501 - a table of templates reads best with one case on a line

from __future__ import annotations

from typing import Any

import pytest

from tests.review.exported import FOLDER
from tocsin.review.prefect_template import Translator
from tocsin.schemas.template import render
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser

LABELS = ("id", "related:flow:id")
FLOW = '(event.related | selectattr("role", "equalto", "flow") | first)'


@pytest.mark.parametrize(
    ("prefect", "ours"),
    [
        ("plain {text}", "plain {text}"),
        ("{{ event.resource.id }} {{event.event}}", "{{ event.resource.id }} {{event.event}}"),
        ("{{ event.resource['prefect.resource.name'] }}", "{{ event.resource.name }}"),
        ("{{ event.resource.labels.prefect.resource.id }}", "{{ event.resource.id }}"),
        ("{{ event.resource.labels['team-x'] }}", '{{ event.resource["team-x"] }}'),
        ("{{ event.resource.labels.hello.world }}", '{{ event.resource["hello.world"] }}'),
        ("{{ event.resource.labels }}", "{{ event.resource }}"),
        ("{{ event.resource.get('prefect.resource.name', 'x') }}", "{{ event.resource.get('name', 'x') }}"),
        ("{{ event.related[0].labels.prefect.resource.role }}", "{{ event.related[0].role }}"),
        ("{{ event.resource_in_role.flow.id }}", f"{{{{ {FLOW}.id }}}}"),
        ("{{ event.resource_in_role['flow'].name|upper }}", f"{{{{ {FLOW}.name|upper }}}}"),
        ("{{ event.involved_resources | length }}", "{{ ([event.resource] + event.related) | length }}"),
        ("{{ labels.prefect.resource.id }}", "{{ labels.id }}"),
        ("{{ labels['prefect.resource.id'] ~ '!' }}", "{{ labels.id ~ '!' }}"),
        ("{{ labels['related:flow:prefect.resource.id'] }}", '{{ labels["related:flow:id"] }}'),
        ("{{ firing.triggered }} {{ firing.id }}", "{{ firing.at }} {{ firing.id }}"),
        ("{{ firing.triggering_labels['prefect.resource.id'] }}", "{{ labels.id }}"),
        ("{{ firing.triggering_event.resource.name }}", "{{ event.resource.name }}"),
        ("{{ events[0].resource.labels.prefect.resource.name }}", "{{ events[0].resource.name }}"),
        ("{{ automation.name }} {{ automation.description }}", "{{ automation.name }} {{ automation.description }}"),
        ("{{ flow_run.name }} {{ flow_run.id }}", '{{ event.resource.name }} {{ event.resource.id.removeprefix("prefect.flow-run.") }}'),
        ("{{ flow_run.state.message }}", '{{ event.resource["prefect.state-message"] }}'),
        ("{{ flow_run.state_name }}", '{{ event.resource["prefect.state-name"] }}'),
        ("{{ flow.name }}", f"{{{{ {FLOW}.name }}}}"),
        ("{% for r in event.related %}{{ r.labels.prefect.resource.role }}={{ r['prefect.resource.id'] }}{% endfor %}",
         "{% for r in event.related %}{{ r.role }}={{ r.id }}{% endfor %}"),
        ("{% for event in events %}{{ event.resource.labels.env }}{% endfor %}",
         "{% for event in events %}{{ event.resource.env }}{% endfor %}"),
        ("{%- if event.payload.n > 3 -%} {# why #}many{% endif %}", "{%- if event.payload.n > 3 -%} {# why #}many{% endif %}"),
    ],
)  # fmt: skip
def test_what_has_an_equivalent_is_written_with_it(prefect: str, ours: str) -> None:
    translated = Translator(LABELS, primary="flow_run").translate(prefect)
    assert (translated.text, translated.lost) == (ours, ())


@pytest.mark.parametrize(
    ("prefect", "ours", "lost"),
    [
        ("a {{ flow_run.parameters.x }} {{ event.id }}", "a [flow_run.parameters.x] {{ event.id }}", ("flow_run.parameters.x",)),
        ("{{ flow|ui_url }}{{ event.occurred|humanize_naturaltime }}", "[flow|ui_url][event.occurred|humanize_naturaltime]",
         ("flow|ui_url", "event.occurred|humanize_naturaltime")),
        ("{{ automation.id }} {{ automation.id }}", "[automation.id] [automation.id]", ("automation.id",)),
        ("{{ variables.region }}", "[variables.region]", ("variables.region",)),
        ("{{ labels.other }}", "[labels.other]", ("labels.other",)),
        ("{% for e in events %}{{ e.url }}{{ e.id }}{% endfor %}", "{% for e in events %}[e.url]{{ e.id }}{% endfor %}", ("e.url",)),
        ("{{ 'the {{ end' | nofilter }}", "[?]", ("?",)),
    ],
)  # fmt: skip
def test_what_has_none_stands_as_text_and_is_told(prefect: str, ours: str, lost: tuple[str, ...]) -> None:
    translated = Translator(LABELS).translate(prefect)
    assert (translated.text, translated.lost) == (ours, lost)


@pytest.mark.parametrize(
    ("prefect", "says"),
    [
        ("{% if flow_run.parameters %}x{% endif %}", "there is no `flow_run`"),
        ("{% for x in firings %}{{ x }}{% endfor %}", "there is no `firings`"),
        ("{{ event.", "line 1 of the template"),
        ("{% include 'x' %}", "is not for templates"),
    ],
)
def test_a_statement_without_an_equivalent_can_not_be_left_out(prefect: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Translator(LABELS).translate(prefect)


def test_of_silence_the_event_is_the_last_one_that_was_seen() -> None:
    translated = Translator(LABELS, silent=True).translate("{{ event.resource.id }} {{ flow.name }}")
    run = {"resource": {"id": "run"}, "related": [{"id": "f", "role": "flow", "name": "sales"}]}
    context: dict[str, Any] = {"events": [{"resource": {"id": "older"}}, run], "event": None}
    assert render(translated.text, context).value == "run sales"


def test_a_role_that_no_resource_has_renders_as_nothing() -> None:
    translated = Translator(LABELS).translate("flow {{ flow.name }}.")
    assert render(translated.text, {"event": {"resource": {}, "related": []}}).value == "flow ."


def test_templates_find_in_prefects_events_what_prefect_found_in_its_database() -> None:
    """The events are as `prefect event stream` printed them, and are taken as they are (law E4)."""
    late, scheduled = NativeParser(Limits()).parse_lines((FOLDER / "stream.jsonl").read_bytes())
    prefect = "{{ flow_run.name }} of {{ flow.name }}/{{ deployment.name }} in {{ work_pool.name }} is {{ flow_run.state.name }}"
    ours = Translator(("id",), primary="flow_run").translate(prefect).text

    assert [render(ours, {"event": event.model_dump()}).value for event in (late, scheduled)] == [
        "wild-llama of backfill/backfill-sales in k8s is Late",
        "hasty-marmoset of backfill/backfill-sales in k8s is Scheduled",
    ]
    assert (
        render(
            Translator((), primary="flow_run").translate("{{ flow_run.id }}").text, {"event": late.model_dump()}
        ).value
        == "54515808-82c3-4db9-83ab-9861c683630d"
    )
