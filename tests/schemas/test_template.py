"""Templates are Jinja2 over plain data: they keep types, note what is missing, and stop before they run away."""

# ruff: noqa: E501 - a table of inputs and messages reads best with one case on a line

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from tocsin.schemas.template import Rendered, Template, render
from tocsin.schemas.template_work import CHARACTERS_MAX, Work

DUE = datetime(2026, 3, 2, 9, tzinfo=UTC)
VARIABLES: dict[str, Any] = {
    "labels": {"id": "web-1", "related:owner:id": "team/growth"},
    "firing": {"id": "f1", "verdict": "missed", "at": DUE + timedelta(minutes=10), "due": DUE, "window": None,
               "reason": "silence"},
    "event": None,
    "events": [{"id": f"e{n}", "resource": {"id": "web-1"}, "payload": {"n": n, "items": [n, n]}} for n in range(4)],
    "automation": {"name": "hosts", "severity": "high", "tags": ["a", "b"]},
}  # fmt: skip


def value(template: Any, **more: Any) -> Any:
    rendered = render(template, VARIABLES | more)
    assert (rendered.missing, rendered.failed) == ((), ())
    return rendered.value


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain text", "plain text"),
        (5, 5),
        (None, None),
        ("{{ labels.id }} was not updated by {{ firing.due }}", "web-1 was not updated by 2026-03-02T09:00:00+00:00"),
        ("{{ firing.due.date() }}", "2026-03-02"),
        ("{{ firing.due.strftime('%H:%M') }} {{ firing.due.year }}", "09:00 2026"),
        ("{{ firing.due }}", "2026-03-02T09:00:00+00:00"),
        ("{{ firing.at - firing.due }}", "10m"),
        ("after {{ firing.at - firing.due }}", "after 10m"),
        ("{{ (firing.at - firing.due).total_seconds() }}", 600.0),
        ("{{ firing.window }}", None),
        ("window: {{ firing.window }}", "window: "),
        ("{{ events | map(attribute='id') | list }}", ["e0", "e1", "e2", "e3"]),
        ("{{ events | map(attribute='payload.n') | sum }}", 6),
        ("{{ events[0].payload }}", {"n": 0, "items": [0, 0]}),
        ("{{ events[0].payload.items }}", [0, 0]),
        ("{{ events[-1]['id'] }}{{ labels['related:owner:id'] }}", "e3team/growth"),
        ("{% for k, v in events[1].payload.items() %}{{ k }}={{ v }};{% endfor %}", "n=1;items=[1, 1];"),
        ("{{ labels }}!", '{"id": "web-1", "related:owner:id": "team/growth"}!'),
        ("{{ labels | tojson }}", '{"id": "web-1", "related:owner:id": "team/growth"}'),
        ("{{ {'due': firing.due} | tojson(indent=1) }}", '{\n "due": "2026-03-02T09:00:00+00:00"\n}'),
        ("{{ events | selectattr('payload.n', 'gt', 1) | map(attribute='id') | join('-') }}", "e2-e3"),
        ("{{ events | rejectattr('payload.n') | map(attribute='id') | first }}", "e0"),
        ("{{ automation.tags | map('upper') | join }}", "AB"),
        ("{{ automation.tags[:1] + ['c'] }}", ["a", "c"]),
        ("{{ events | sort(attribute='id', reverse=true) | map(attribute='id') | list | length }}", 4),
        ("{{ events | groupby('resource.id') | first | first }}", "web-1"),
        ("{% if event %}an event{% elif firing.due %}silence{% else %}?{% endif %}", "silence"),
        ("{{ 'event' if event else 'silence' }}", "silence"),
        ("{{ event.payload.x | default('none') }}", "none"),
        ("{{ event.payload.x is defined }} {{ event is none }}", "False True"),
        ("{{ (event.payload or {'n': 1}).n }}", 1),
        ("{% for e in events if e.payload.n %}{{ loop.index }}{{ e.id }}{{ ',' if not loop.last }}{% endfor %}", "1e1,2e2,3e3"),
        ("{% for e in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for c in 'ab' %}{{ loop.revindex }}{{ c }}{% endfor %}", "2a1b"),
        ("{% set n = 1 %}{% for e in events %}{% set n = 2 %}{% endfor %}{{ n }}", "1"),
        ("{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"),
        ("{% with n = 5 %}{{ n }}{% endwith %}", "5"),
        ("{{ 7 // 2 * 2 ** 3 - 1 % 4 / 2 }}", 23.5),
        ("{{ -3 | abs }} {{ not true }} {{ +1 }} {{ 1 < 2 <= 2 }} {{ 'a' in 'abc' }} {{ 5 not in [1] }}", "3 False 1 True True True"),
        ("{{ 'a' ~ 1 ~ none ~ [2] }}", "a1[2]"),
        ("{{ '%s-%02d' | format('a', 7) }} {{ '%s' % 'b' }}", "a-07 b"),
        ("{{ 'a-b'.split('-') }}", ["a", "b"]),
        ("{{ ' x '.strip().upper().replace('X', 'y') }}", "y"),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ 1 and 2 }}{{ 0 and 2 }}{{ 0 or 3 }}{{ 1 > 2 }}", "203False"),
        ("{{ true }}", True),
        ("{{ labels.id }}\n", "web-1"),
        ("{# nothing #}", ""),
        ({"a": ["{{ events | length }}", {"b": "{{ labels.id }}!"}], "c": 1}, {"a": [4, {"b": "web-1!"}], "c": 1}),
    ],
)  # fmt: skip
def test_a_template_renders_and_one_expression_keeps_its_type(template: Any, expected: Any) -> None:
    found = value(template)
    assert found == expected
    assert type(found) is type(expected)


SAME_AS_JINJA = [
    "{{ a }} and {{ b.c }}", "{% for x in b.d %}{{ loop.index0 }}:{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "  {%- if a %} yes {%- else %} no {% endif -%}  !", "{{ b.d | join(', ') | title }}", "{{ a | truncate(5) }}",
    "{{ b.d | reverse | list | first }}", "{{ b.d | batch(2) | map('join') | join('/') }}", "{{ 3.14159 | round(2) }}",
    "{% set x = a ~ '!' %}{{ x | upper }}{{ x | length }}", "{{ a | replace('e', 'E') | center(30) }}|",
    "{{ b.d | unique | sort | join }}", "{{ 'x' * 3 + 'y' }}", "{{ b.d[1:] | last }}", "{{ a | wordcount }}",
    "{{ 1536 | filesizeformat }}", "{{ 'a b' | urlencode }}", "{{ a | indent(2, true) }}", "{{ '12' | int + 1 }}",
    "{% for k, v in b.e | dictsort %}{{ k }}{{ v }}{% endfor %}", "{{ b.d | select('eq', 'w') | list | length }}",
    "{{ b.d | min }}{{ b.d | max }}", "{{ nothing | default('d') }}{{ nothing }}", "{{ b.d is iterable }}",
    "{% with y = b.c %}{% for x in range(y) %}{{ x }}{% endfor %}{% endwith %}", "{{ [1, 2] | sum }}",
    "{{ 7 is divisibleby 7 }}{{ 'A' is upper }}{{ 4 is even }}",
]  # fmt: skip


@pytest.mark.parametrize("template", SAME_AS_JINJA)
def test_a_text_renders_as_jinja_renders_it(template: str) -> None:
    data = {"a": "one event was late", "b": {"c": 3, "d": ["w", "x", "w"], "e": {"k": 1, "j": 2}}}
    expected = Environment(autoescape=False).from_string(template + "|").render(data)  # noqa: S701
    assert render(template + "|", data).value == expected


def test_what_is_missing_renders_empty_and_is_noted() -> None:
    rendered = render("{{ event.payload.user }} of {{ labels.team }}{{ event.payload.user }}", VARIABLES)
    assert rendered == Rendered(" of ", ("event.payload.user", "labels.team"))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ event.a.b }}", ""), ("{{ event.n + 1 }}", ""), ("{{ 1 - event.n }}", ""), ("{{ event.n | upper }}", ""),
        ("{{ event.n ~ 'x' }}", "x"), ("{{ event.n.split('x') }}", ""), ("{{ event.n[1:] }}", ""),
        ("{% for x in event.n %}x{% endfor %}", ""), ("{{ event.n > 5 }}", False), ("{{ events[9] }}", ""),
        ({"a": "{{ event.n }}"}, {"a": ""}),
    ],
)  # fmt: skip
def test_a_missing_value_never_stops_an_alert(template: Any, expected: Any) -> None:
    rendered = render(template, VARIABLES)
    assert rendered.value == expected
    assert rendered.missing in {("event.n",), ("event.a.b",), ("events.9",), ("9",)}
    assert rendered.failed == ()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a{{ 1 / 0 }}b", "line 1 of the template: division by zero"),
        ("a{{ 'x' + 1 }}b", 'line 1 of the template: can only concatenate str (not "int") to str'),
        ("a{{ 5.upper() }}b", "line 1 of the template: a value of type int has no method upper"),
        ("a{% if 1 < 'x' %}c{% endif %}b", "line 1 of the template: '<' not supported"),
        ("a{{ 'x' | round }}b", "line 1 of the template: "),
        ("a{{ range(100000) }}b", "line 1 of the template: a range has at most 10,000 numbers"),
        ("a{{ 'x' | center(5000) }}b", "line 1 of the template: 5000 is not a number up to 1,000"),
        ("a{{ '%*d' % (5, 1) }}b", "line 1 of the template: `*` as a width is not for templates"),
        ("a{{ [[1]] | sum(start=[]) }}b", "line 1 of the template: sum adds numbers only"),
        ("a\n{% for k, v in [1] %}{{ k.x.upper() }}{% endfor %}{{ 1 // 0 }}b", "line 2 of the template: "),
    ],
)
def test_an_expression_that_fails_leaves_nothing_and_the_rest_stands(template: str, said: str) -> None:
    rendered = render(template, VARIABLES)
    assert rendered.value.replace("\n", "") == "ab"
    assert rendered.failed[-1].startswith(said)


X = "'" + "x" * 1_000 + "'"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**9 }}", "{{ 10**9 * 'a' }}", "{{ [1] * 10**9 }}", "{{ 2 ** 99999999 }}", "{{ 2 ** 9999 ** 9999 }}",
        "{{ (2 ** 2000) * (2 ** 2000) * (2 ** 2000) }}", "{{ '%999999999d' % 1 }}", "{{ '%.999999999f' | format(1) }}",
        "{{ '%(a)9999999999d' | format(a=1) }}", "{{ firing.due.strftime('%9999999d') }}",
        f"{{{{ ({X} * 1000).replace('x', {X}) }}}}", f"{{{{ ({X} * 1000) | replace('x', {X}) }}}}",
        f"{{{{ ({X} * 1000) | replace('x', new={X}) }}}}", f"{{{{ ({X} * 1000) | replace(new={X}, old='x') }}}}",
        f"{{{{ {X}.join('y' * 9000) }}}}", f"{{{{ ('y' * 9000) | join({X}) }}}}", f"{{{{ ([{X} * 1000] * 9000) | join }}}}",
        f"{{{{ ({X} * 1000) ~ ({X} * 1000) }}}}", f"{{{{ ('%s' * 2000) % (({X},) * 2000) }}}}",
        f"{{{{ ([({X} * 100)] * 1000) | string | length }}}}", f"{{{{ ([({X} * 100)] * 1000) | tojson }}}}",
        f"{{{{ ([({X} * 100)] * 1000) | unique | map('replace', 'x', {X}) | join }}}}",
        "{{ ('\n' * 900000) | indent(1000) }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) if false %}x{% endfor %}{% endfor %}",
        "{% set a = 'x' * 999999 %}{{ a }}{{ a }}",
        "{% set a = [1] * 9999 %}{% for x in a %}{{ a | sort | length }}{% endfor %}",
        "{% set a = [[1] * 999] * 999 %}{{ a == a }}{% for x in a %}{{ a }}{% endfor %}",
        "{% set a = [1] * 9999 %}{{ a | select('in', a) | list | length }}",
        "{% set a = ['x' * 999999] * 999 %}{{ a | map('upper') | list | length }}",
        "".join(f"{{% set a{n + 1} = (a{n} or 'x') ~ (a{n} or 'x') %}}" for n in range(60)) + "{{ a60 }}",
        "".join(f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(60)) + "{{ a60 }}",
        "".join(f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(60)) + "{{ a60 == a60 }}",
        "".join(f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(60)) + "{{ a60 | tojson }}",
    ],
)  # fmt: skip
def test_a_template_that_would_run_away_is_stopped(template: str) -> None:
    rendered = render({"text": "so far: " + template, "only": template}, VARIABLES)
    assert len(json.dumps(rendered.value)) < 2 * CHARACTERS_MAX + 100
    stops = {sentence.split(" ")[0] for sentence in rendered.failed if not sentence.startswith("line")}
    assert stops
    assert stops <= {"needs", "would", "makes"}


def test_the_budget_counts_a_whole_structure() -> None:
    one = {"a": "{% for x in range(100) %}x{% endfor %}"}
    assert Template([one] * 3).render({}, work=Work(2_000)).failed == ()
    assert Template([one] * 9).render({}, work=Work(2_000)).failed != ()


def test_brackets_may_nest_up_to_their_limit_and_in_any_number() -> None:
    deep = "{{ " + "(" * 27 + "1" + ")" * 27 + " }}"
    assert render(deep * 100, {}).value == "1" * 100


class Snoop:
    secret = "hunter2"

    def __str__(self) -> str:
        return "hunter2"


@pytest.mark.parametrize(
    "template", ["{{ x.secret }}", "{{ x['secret'] }}", "{{ [x] | map(attribute='secret') | list }}"]
)
def test_attributes_of_python_objects_are_not_there(template: str) -> None:
    assert "hunter2" not in json.dumps(render(template, {"x": Snoop()}).value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__ }}", "names that begin with `_` are private: `__class__`"),
        ("{{ x.y() }}", "there is no method `y`"),
        ("{{ firing.due.date }}{{ x.stirp() }}", "there is no method `stirp`: did you mean `strip`?"),
        ("{{ lipsum() }}", "there is no function `lipsum`: only `range` is one"),
        ("{{ f()() }}", "only methods of values can be called"),
        ("{{ x | uper }}", "there is no filter `uper`: did you mean `upper`?"),
        ("{{ x | random }}", "there is no filter `random`"),
        ("{{ x is defned }}", "there is no test `defned`: did you mean `defined`?"),
        ("{{ range(*x) }}", "`*` and `**` are not for templates"),
        ("{% macro m() %}{% endmacro %}", "macro is not for templates: use expressions, if, for, set and with"),
        ("{% include 'x' %}", "include is not for templates"),
        ("{% import 'x' as y %}", "import is not for templates"),
        ("{% extends 'x' %}", "extends is not for templates"),
        ("{% block b %}{% endblock %}", "block is not for templates"),
        ("{% filter upper %}x{% endfilter %}", "filterblock is not for templates"),
        (
            "{% for x in y recursive %}{{ loop(x) }}{% endfor %}",
            "a recursive loop is not for templates: nest two loops",
        ),
        ("{% for x in y %}{{ loop(x) }}{% endfor %}", "there is no function `loop`: only `range` is one"),
        ("{% set ns.x = 1 %}", "nsref is not for templates"),
        ("a\n{{ b", "line 2 of the template: unexpected end of template"),
        ("{{ " + "(" * 31 + "1" + ")" * 31 + " }}", "more than 30 brackets inside each other: flatten it"),
        ("{{ " + "-" * 70 + "1 }}", "the template is nested more than 60 deep: flatten it"),
        ("{{ " + "-" * 5000 + "1" + " }}", "the template is nested more than 60 deep: flatten it"),
        ("{{ x }}" * 10_000, "a template has at most 65,536 characters, this one has 70,000: shorten it"),
    ],
)
def test_what_a_template_may_not_contain_is_refused_when_it_is_compiled(template: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        Template(["fine", {"a": template}])
    assert said in str(refused.value)


PARTS = st.sampled_from([
    "{{", "}}", "{%", "%}", "for x in events", "endfor", "if x", "endif", "else", "set y = x", "labels.id", "x", "|",
    "length", "map(attribute='id')", "join", "(", ")", "[", "]", "1", "'a'", "*", "**", "~", "==", ".", " ", "9999999",
    "event", "range(99)", "is defined", "not", "\n",
])  # fmt: skip


@given(st.lists(PARTS, max_size=14))
def test_any_text_compiles_and_renders_or_is_refused(parts: list[str]) -> None:
    try:
        template = Template(" ".join(parts))
    except ValueError:
        return
    json.dumps(template.render(VARIABLES).value)
