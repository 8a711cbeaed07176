"""`make demo`, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def demo(**more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **more}
    command = [sys.executable, "-m", "tocsin.demo"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_demo_shows_what_was_sent_judged_and_done_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(TMPDIR=str(tmp_path), TOCSIN_PORT="1", TOCSIN_DATABASE="nonsense")
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("sent", "judged", "done", "call-webhook", "run-flow", "pause-queue", "missed", "resolved"):
        assert told in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 120
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_demo_fails_when_something_does_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 0 means that all of it was seen: here the incident service says that it got nothing."""
    package = tmp_path / "broken"
    package.mkdir()
    (package / "sitecustomize.py").write_text(
        "import tocsin.demo.neighbours as n\nn.PATIENCE_S = 3.0\nn.Neighbours.call = lambda *_: None\n"
    )
    done = demo(TMPDIR=str(tmp_path), PYTHONPATH=str(package))
    assert done.returncode == 1
    assert "This had to happen and did not: the incident service is called" in done.stdout
