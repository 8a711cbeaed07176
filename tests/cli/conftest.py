"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.invoke import Done, invoke

Tocsin = Callable[..., Done]


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tocsin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tocsin:
    """Run a command in a folder of its own: `tocsin("check", "a.yaml", env={...})`."""
    monkeypatch.chdir(tmp_path)
    return invoke
