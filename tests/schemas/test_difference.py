"""S4: what of a trigger's change lets it begin anew is named, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from tocsin.schemas.difference import differences, restarting
from tocsin.schemas.trigger import Trigger

ABSENCE = {"type": "absence", "expect": "a", "within": "5m", "for_each": ["id"]}
BOTH = {"type": "compound", "triggers": [{"expect": "a"}, {"expect": "b"}]}

_trigger = TypeAdapter[Any](Trigger).validate_python


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        (ABSENCE, ABSENCE | {"grace": "1m", "repeat": "1h", "subjects": ["x"], "on_unknown": "skip"}, []),
        (ABSENCE, ABSENCE | {"within": 600, "grace": "1m"}, ["trigger.within: 5m -> 10m"]),
        (ABSENCE, ABSENCE | {"match": {"grace": "x"}}, ["trigger.match: not set -> {"]),
        (ABSENCE | {"match": {"grace": "x"}}, ABSENCE | {"match": {"grace": "y"}}, ["trigger.match.grace: "]),
        (ABSENCE | {"for_each": ["a", "b"]}, ABSENCE | {"for_each": ["b", "a"]}, ["trigger: the order of"]),
        (ABSENCE, {"expect": "a"}, ["trigger.for_each", "trigger.posture: Proactive -> not set", "trigger.within"]),
        (BOTH, BOTH | {"triggers": [{"expect": "b"}, {"expect": "a"}]}, []),
        (BOTH, BOTH | {"triggers": [{"expect": "a"}, {"expect": "c"}]}, ["trigger.triggers[1].expect: b -> c"]),
        (BOTH, BOTH | {"triggers": [{"expect": "a"}]}, ["trigger.triggers: [{"]),
        (BOTH, BOTH | {"triggers": [{"expect": "a"}, ABSENCE | {"grace": "1m"}]}, ["trigger.triggers[1].expect"]),
    ],
)  # fmt: skip
def test_s4_what_lets_a_trigger_begin_anew_is_named(
    before: dict[str, Any], after: dict[str, Any], because: list[str]
) -> None:
    said = restarting(_trigger(before), _trigger(after))
    assert len(said) >= len(because), said
    assert bool(said) == bool(because)
    for sentence, begin in zip(said, because, strict=False):
        assert sentence.startswith(begin)


def test_long_values_are_cut_and_absent_ones_said() -> None:
    (one, other) = differences({"a": "x" * 100, "b": ""}, {"b": None})
    assert str(one) == f"a: {'x' * 59}… -> not set"
    assert str(other) == 'b: "" -> null'
