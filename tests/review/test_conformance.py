"""Every scenario of the laws through the function that `tocsin backtest` calls, and some through the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tocsin.review.backtest import Stretch, backtest, document
from tocsin.review.history import History
from tocsin.schemas.automation import Automation
from tocsin.schemas.moments import to_micros

LAWS = Path(__file__).parent.parent / "conformance" / "laws.jsonl"
SCENARIOS = [json.loads(line) for line in LAWS.read_text().splitlines()]
FIRST_OF_LAW = {scenario["law"]: scenario for scenario in reversed(SCENARIOS)}
Scenario = dict[str, Any]


def comparable(firings: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Moments as moments, events as a set; the order among firings of one moment is free."""
    return sorted(
        (
            datetime.fromisoformat(one["at"]).timestamp(),
            sorted(one["labels"].items()),
            one["verdict"],
            sorted(one["events"]),
            "" if one["due"] is None else datetime.fromisoformat(one["due"]).isoformat(),
        )
        for one in firings
    )


def lines_of(scenario: Scenario) -> list[bytes]:
    return [json.dumps(event).encode() for event in scenario["events"]]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_a_backtest_says_what_the_laws_say(scenario: Scenario) -> None:
    automation = Automation.model_validate({"name": "scenario", "trigger": scenario["trigger"]})
    history = History(lines_of(scenario), file="events.jsonl")
    until_us = to_micros(datetime.fromisoformat(scenario["until"]))
    said = [document(one, history) for one in backtest([automation], history, Stretch(until_us=until_us))]
    assert comparable(said) == comparable(scenario["expected"])
    assert [one["at"] for one in said] == sorted(one["at"] for one in said)


@pytest.mark.parametrize("law", ["E2", "R2", "R4", "P4", "P5", "D3", "C3", "T1"])
def test_the_command_says_what_the_laws_say(law: str, tmp_path: Path) -> None:
    scenario = FIRST_OF_LAW[law]
    definitions = {"automations": [{"name": "scenario", "trigger": scenario["trigger"], "actions": []}]}
    (tmp_path / "scenario.yaml").write_text(json.dumps(definitions))
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines_of(scenario)))
    command = [sys.executable, "-m", "tocsin", "backtest", "scenario.yaml", "--events", "events.jsonl"]
    command += ["--until", scenario["until"], "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert comparable(said) == comparable(scenario["expected"])
    assert {one["automation"] for one in said} <= {"scenario"}
