"""Every scenario of the laws, through the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.triggers.scenario import comparable, judged

LAWS = Path(__file__).parent.parent / "conformance" / "laws.jsonl"
SCENARIOS = [json.loads(line) for line in LAWS.read_text().splitlines()]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario["name"] for scenario in SCENARIOS])
def test_the_judge_agrees_with_the_scenario(scenario: dict[str, Any]) -> None:
    assert judged(scenario) == comparable(scenario["expected"])
