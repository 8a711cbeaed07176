"""A name in a template that can not exist is found before anything is rendered."""

# ruff: noqa: E501 - a table of inputs and messages reads best with one case on a line

from __future__ import annotations

import pytest

from tocsin.schemas.template_names import wrong_names


@pytest.mark.parametrize(
    "template",
    [
        "{{ labels.id }}{{ labels['id'] }}{{ labels }}",
        "{{ event.id }}{{ event.resource.anything.at.all }}{{ event.payload.a[0].b }}{{ event.related[0].role }}",
        "{{ events[0].occurred.year }}{{ events | length }}{{ events[1:][0].id }}",
        "{{ firing.at.date() }}{{ firing.window[0].hour }}{{ firing.reason.upper() }}",
        "{{ automation.severity }}{{ automation.tags | join(', ') }}{{ automation.tags[0] }}",
        "{% for e in events %}{{ e.event }}{{ loop.index }}{% endfor %}",
        "{% for e in events | sort(attribute='occurred') if e.payload.x %}{{ e.id }}{% else %}{{ event.id }}{% endfor %}",
        "{% for k, v in event.payload.items() %}{{ k.x }}{{ v }}{% endfor %}",
        "{% set last = events | last %}{{ last.seq }}",
        "{% if event %}{% set x = event.id %}{% endif %}{{ x }}",
        "{% with e = events[0] %}{{ e.source }}{% endwith %}",
        "{{ events | map(attribute='payload.n') | sum }}{{ events | map(attribute='resource') | first }}",
        "{{ events | selectattr('event', 'eq', 'x') | map(attribute='id') | list }}",
        "{{ events | groupby('event') | first }}{{ (event or events[0]).whatever }}",
        "{{ range(3) }}{{ 'x'.split(labels.id) }}{{ {'a': event.id}.a }}",
    ],
)
def test_names_that_exist_or_may_exist_are_fine(template: str) -> None:
    assert wrong_names(template, ("id",)) == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ evnt.id }}", "there is no `evnt`: did you mean `event`?"),
        (
            "{{ foo | default('x') }}",
            "there is no `foo`: known here: `automation`, `event`, `events`, `firing`, `labels`",
        ),
        ("{{ event.nme }}", "there is no `event.nme`: "),
        ("{{ event['payloed'].x }}", "there is no `event.payloed`: did you mean `payload`?"),
        ("{{ firing.dues }}", "there is no `firing.dues`: did you mean `due`?"),
        ("{{ firing.due.hours }}", "there is no `firing.due.hours`: did you mean `hour`?"),
        ("{{ firing.id.x }}", "there is no `firing.id.x`: it has no parts"),
        ("{{ automation.owners }}", "there is no `automation.owners`: did you mean `owner`?"),
        ("{{ labels.host }}", "there is no `labels.host`: known here: `id`"),
        ("{{ events.id }}", "a list has no `id`: take an item first, as in events[0].id, or use map"),
        ("{% for e in events %}{{ e.idd }}{% endfor %}", "there is no `e.idd`: did you mean `id`?"),
        ("{% for e in events %}{% endfor %}{{ e.id }}", "there is no `e`: "),
        ("{{ loop.index }}", "there is no `loop`: "),
        ("{% set x = firing %}{{ x.y }}", "there is no `x.y`: "),
        ("{% if evnt %}{% endif %}", "there is no `evnt`: did you mean `event`?"),
        ("{{ 'a' if x else y.upper() }}", "there is no `x`: "),
        ("{{ events | map(attribute='idd') | list }}", "there is no `idd`: did you mean `id`?"),
        ("{{ events | first | upper ~ (events | first).x }}", "there is no `x`: "),
        ("{{ events | selectattr('evnt') | list }}", "there is no `evnt`: did you mean `event`?"),
        ("a\nb {{ evnt }}", "line 2 of the template: there is no `evnt`: did you mean `event`?"),
        ("{{ range(evnt) }}{{ 'x'.split(evnt) }}", "there is no `evnt`: did you mean `event`?"),
        ("{{ x | nope }}", "line 1 of the template: there is no filter `nope`"),
    ],
)
def test_names_that_can_not_exist_are_told(template: str, said: str) -> None:
    first, *_ = wrong_names(template, ("id",))
    assert first.startswith(said)


def test_labels_are_open_while_the_trigger_is_not_known() -> None:
    assert wrong_names("{{ labels.whatever }}", None) == []


def test_a_firing_without_labels_has_none() -> None:
    assert wrong_names("{{ labels.id }}", ()) == ["there is no `labels.id`: it has no parts"]
