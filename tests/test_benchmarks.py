"""The benchmarks run and give a whole table; how fast anything is, no test asserts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.soak import Trend

ROOT = Path(__file__).parent.parent


def test_the_cheapest_rows_are_measured_beside_their_references() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", "judge", "installed", "latency"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 8
    assert all(row["value"] > 0 and row["name"] and row["note"] and row["bound"] for row in rows)
    assert [row["name"] for row in rows if row["reference"] is None] == ["installed size", "installed distributions"]


def test_a_row_that_does_not_exist_is_refused_with_those_that_do() -> None:
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'speed' is none of batches, many, singles" in done.stderr


def test_a_soak_shows_how_it_began_and_how_it_ended_and_the_most_in_between() -> None:
    samples = [{"memory, MB": value} for value in (10.0, 30.0, 99.0, 20.0, 21.0)]
    _, heading, row = Trend("server", "said", samples).text().splitlines()
    assert heading.split() == ["start", "middle", "end", "most"]
    assert row.split() == ["memory,", "MB", "10.0", "99.0", "21.0", "99.0"]
