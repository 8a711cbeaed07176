"""The model against the conformance scenarios: they and the laws are all that it was written from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.model import judge
from tests.model.notation import moment

SCENARIOS = [
    json.loads(line) for line in (Path(__file__).parent.parent / "conformance" / "laws.jsonl").read_text().splitlines()
]


def _comparable(firings: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    rows = [
        (
            moment(firing["at"]),
            sorted(firing["labels"].items()),
            firing["verdict"],
            sorted(firing["events"]),
            firing["due"] and moment(firing["due"]).isoformat(),
        )
        for firing in firings
    ]
    return sorted(rows, key=repr)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_the_model_agrees_with_the_scenario(scenario: dict[str, Any]) -> None:
    firings = judge(scenario["trigger"], scenario["events"], scenario["armed"], until=scenario["until"])
    assert _comparable(firings) == _comparable(scenario["expected"])
