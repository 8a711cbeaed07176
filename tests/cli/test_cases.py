"""`tocsin test`: what differs from what a case expects, and why."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Tocsin
from tests.review.test_suite import beat, document, missed


def test_the_command_shows_what_differs_and_why(tocsin: Tocsin, tmp_path: Path) -> None:
    end = "2026-03-02T09:00:00+01:00"
    wrong = {"events": [beat("08:00:00")], "end": end, "firings": [missed("08:06:00", labels={"id": "a"})]}
    right = {"events": [beat("08:00:00")], "end": end, "firings": [missed("08:05:00")]}
    (tmp_path / "a.yaml").write_text(document(right, wrong))
    done = tocsin("test", "a.yaml")
    assert done.status == 1
    first, second, *shown, last = done.out.splitlines()
    assert (first, second) == ("pass  case 0 (silent)", "FAIL  case 1 (silent)")
    assert "at is 2026-03-02 08:05:00+01:00, expected 2026-03-02 08:06:00+01:00" in "\n".join(shown)
    assert "because  expected beat for id=a every 5m" in "\n".join(shown)
    assert last == "1 passed, 1 failed"


def test_the_command_tells_programs_the_same(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(document({"events": [beat("08:00:00")], "firings": [missed("08:05:00")]}))
    done = tocsin("test", "a.yaml", "--json")
    (found,) = map(json.loads, done.out.splitlines())
    assert (done.status, found["passed"]) == (1, False)
    assert [(one["right"], one["actual"]) for one in found["firings"]] == [(False, None)]


def test_without_tests_there_is_nothing_to_fail(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("automations: []")
    assert tocsin("test", "a.yaml").out == "there are no tests\n"
