"""What Prefect fired over events sent to it in real time, and what the imported automations say about the same events.

Where they differ the import remarks it; docs/coming-from-prefect.md tells why.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.review.exported import FOLDER, kept
from tocsin.review.backtest import Stretch, backtest
from tocsin.review.history import History
from tocsin.review.prefect import convert
from tocsin.schemas.document import parse
from tocsin.schemas.moments import to_micros

SAME = {
    "burst": [("fired", 2)],
    "each": [("fired", 2)],
    "opened": [("missed", 10)],
    "heart": [("missed", 24)],
    "both": [("fired", 6)],
    "after": [("fired", 4)],
}
"""Verdicts with the second they were given at, in Prefect the same within two."""

DIFFERENT = {
    "slide": ([], [("fired", 14)]),
    "quiet": ([0, 12, 21], [("fired", 0), ("fired", 12)]),
    "reopened": ([4, 17, 38, 59], [("missed", 10)]),
    "host": ([], [("missed", 15)]),
    "ever": ([4, 14, 25, 35, 45, 77], [("missed", 10), ("resolved", 46), ("missed", 56)]),
    "exclude": ([1, 3], [("fired", 3), ("fired", 5)]),
    "order": ([], [("fired", 7)]),
}
"""The seconds at which Prefect fired, and our verdicts."""


@pytest.fixture(scope="module")
def ours() -> dict[str, list[tuple[str, float]]]:
    fired = kept("histories_fired")
    armed_us, until_us = (to_micros(datetime.fromisoformat(fired[name])) for name in ("armed", "until"))
    automations = parse(convert(kept("histories")).text).automations
    found: dict[str, list[tuple[str, float]]] = {one.name: [] for one in automations}
    with (FOLDER / "histories_events.jsonl").open("rb") as lines:
        for firing in backtest(automations, History(lines, file="events"), Stretch(armed_us, until_us)):
            found[firing.automation].append((firing.verdict.value, (firing.at_us - armed_us) / 1e6))
    return found


def prefects(name: str) -> list[float]:
    return [at_s for automation, at_s, _ in kept("histories_fired")["fired"] if automation == name]


def rounded(verdicts: list[tuple[str, float]]) -> list[tuple[str, int]]:
    return [(verdict, round(at_s)) for verdict, at_s in verdicts]


@pytest.mark.parametrize("name", SAME)
def test_it_fires_when_prefect_did(name: str, ours: dict[str, list[tuple[str, float]]]) -> None:
    assert rounded(ours[name]) == SAME[name]
    assert [at_s for _, at_s in ours[name]] == pytest.approx(prefects(name), abs=2)


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_it_differs_from_prefect_is_known(name: str, ours: dict[str, list[tuple[str, float]]]) -> None:
    theirs, verdicts = DIFFERENT[name]
    assert rounded(ours[name]) == verdicts
    assert [round(at_s) for at_s in prefects(name)] == theirs
