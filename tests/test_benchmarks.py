"""The benchmarks run and give a whole table; how fast anything is, no test asserts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
