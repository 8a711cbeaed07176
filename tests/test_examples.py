"""Every example is right, passes its own tests, and says what is written down beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tocsin.review.backtest import Stretch, backtest, document
from tocsin.review.check import check
from tocsin.review.history import History
from tocsin.review.suite import run
from tocsin.store.files import read_definitions

EXAMPLES = Path(__file__).parent.parent / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
RECORDED = [path for path in FOLDERS if (path / "events.jsonl").exists()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_example_is_right_and_explained(folder: Path) -> None:
    assert check(folder).problems == []
    assert (folder / "README.md").read_text().startswith("# ")
    assert f"]({folder.name})" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_example_passes_the_tests_that_it_brings(folder: Path) -> None:
    outcomes = list(run(read_definitions(folder)))
    assert outcomes
    assert [outcome.case.name for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize("folder", RECORDED, ids=lambda path: path.name)
def test_a_backtest_says_what_is_expected(folder: Path) -> None:
    with (folder / "events.jsonl").open("rb") as lines:
        history = History(lines, file="events.jsonl")
        said = [document(one, history) for one in backtest(read_definitions(folder).automations, history, Stretch())]
    expected = [json.loads(line) for line in (folder / "expected.jsonl").read_text().splitlines()]
    assert all(one["reason"] for one in said)
    for one in (*said, *expected):
        del one["reason"]  # its wording is no promise
    assert said == expected


def test_each_of_the_three_uses_has_a_recording() -> None:
    assert [path.name for path in RECORDED] == ["automations", "sla", "webhooks"]


def test_the_demo_serves_the_example() -> None:
    served = Path(__file__).parent.parent / "tocsin" / "demo" / "definitions.yaml"
    assert served.read_bytes() == (EXAMPLES / "demo" / "definitions.yaml").read_bytes()
