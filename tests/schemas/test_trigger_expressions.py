"""JMESPath expressions fail early where they can, and never run away (law M4)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tocsin.schemas.expression import ExpressionFailed, compile_expression, is_true

DOCUMENT: Any = {"payload": {"n": 2, "items": [{"n": 1}, {"n": 2}], "text": "abc"}, "resource": {"env": "prod"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payload.n", 2),
        ("payload.items[0].n", 1),
        ("payload.items[?n > `1`].n", [2]),
        ("payload.items[*].n | sum(@)", 3),
        ("payload.items[0:1] | [].n", [1]),
        ("payload.[n, text][]", [2, "abc"]),
        ("resource.* | length(@)", 1),
        ("join('-', [resource.env, payload.text])", "prod-abc"),
        ("max_by(payload.items, &n).n", 2),
        ("map(&n, payload.items)", [1, 2]),
        ("to_string(payload.items)", '[{"n":1},{"n":2}]'),
        ("contains(payload.text, 'b') && !(payload.missing)", True),
        ("payload.items == payload.items[] && 'a' < 'b'", True),
        ("{a: payload.n, b: @.resource.env}", {"a": 2, "b": "prod"}),
        ("missing[].n", None),
    ],
)
def test_an_expression_finds_what_the_library_finds(text: str, expected: object) -> None:
    assert compile_expression(text).search(DOCUMENT) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a[", "at column 3, it ends too early"),
        ("a > 1", "at column 5, 1 is not expected here; strings stand in single quotes, numbers in backticks"),
        ("a # b", "at column 3, Unknown token"),
        ("a.nope(b)", "calls nope(), which is not there: the functions are abs, avg"),
        ("length(a, b)", "calls length() with 2 arguments: give it 1"),
        ("a || merge()", "calls merge() with 0 arguments: give it at least 1"),
        ("(" * 2000, "nested too deeply"),
    ],
)
def test_a_wrong_expression_is_refused_when_it_is_read(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_expression(text)

    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["length(payload.n)", "'a' < `1`", "payload.items[?length(n) > `1`]"])
def test_a_failure_at_run_time_is_one_error_that_names_the_expression(text: str) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        compile_expression(text).search(DOCUMENT)

    assert repr(text) in str(caught.value)


RUNAWAYS = [
    ("|".join(["[@,@]"] * 60) + "|to_string(@)", 1),
    ("|".join(["[@,@]|[]"] * 60), [1]),
    ("|".join(["[@,@]|join('',@)"] * 60), "abc"),
    ("|".join(["[@,@]"] * 60) + "|[0] == [1]", 1),
    ("|".join(["[@,@]"] * 60) + "|contains(@, `2`)", 1),
    ("|".join(["[@,@]"] * 60) + "|[{a: [0]}, {a: [1]}]|contains(@, `2`)", 1),
    ("a[].b[?contains(@.c, 'x')][] | length(@)", {"a": [{"b": [{"c": "x"}] * 1000}] * 1000}),
    ("a[*].[b[*].[c]]", {"a": [{"b": [{"c": "x"}] * 1000}] * 1000}),
    ("map(&sum(@), a)", {"a": [[1] * 1000] * 1000}),
]


@pytest.mark.parametrize(("text", "document"), RUNAWAYS)
def test_an_expression_that_would_run_away_is_stopped_by_counting(text: str, document: object) -> None:
    with pytest.raises(ExpressionFailed, match="needs more than 200,000 steps"):
        compile_expression(text).search(document)


def test_the_budget_is_the_callers() -> None:
    expression = compile_expression("payload.items[].n")

    assert expression.search(DOCUMENT, budget=20) == [1, 2]
    with pytest.raises(ExpressionFailed, match="needs more than 3 steps"):
        expression.search(DOCUMENT, budget=3)


def test_a_document_that_is_too_deep_is_a_failure_like_others() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ExpressionFailed, match="nested too deeply"):
        compile_expression("to_string(@)").search(deep)


@pytest.mark.parametrize(
    ("value", "true"), [(0, True), ("", False), ([], False), ({}, False), (None, False), (False, False), (" ", True)]
)
def test_truth_is_jmespaths(value: object, true: bool) -> None:
    assert is_true(value) is true
    assert compile_expression("@").holds(value) is true


def test_one_expression_serves_several_threads() -> None:
    expression, found = compile_expression("items[?n > `1`].n | sum(@)"), []
    document = {"items": [{"n": n} for n in range(100)]}
    threads = [threading.Thread(target=lambda: found.append(expression.search(document))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [sum(range(2, 100))] * 4


def test_an_expression_shows_its_text() -> None:
    assert repr(compile_expression("a.b")) == "Expression('a.b')"
