"""The command line, called as its entry point is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tocsin.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it wrote."""

    status: object
    out: str
    err: str


Tocsin = Callable[..., Done]


@pytest.fixture
def tocsin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tocsin:
    """Run a command in this process, in a folder of its own and with no TOCSIN_ variable set."""
    for name in ("TOCSIN_URL", "TOCSIN_TOKEN", "TOCSIN_HOME", "TOCSIN_LATENESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setattr(sys.stderr, "reconfigure", lambda **_: None, raising=False)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["tocsin", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Done(ended.value.code, written.out, written.err)

    return run
