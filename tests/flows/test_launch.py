"""What a run has told when it is over; what it is given is tested with real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tocsin.flows.launch import Launch
from tocsin.schemas.run import JSON_BYTES


def launch(path: Path, *secrets: str) -> Launch:
    return Launch(["true"], path, {}, path / "log", path / "result", secrets)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"result": {"rows": 3}}', ({"rows": 3}, None)),
        ('{"error": "ValueError: no"}', (None, "ValueError: no")),
        ('{"result": 1, "error": 5}', (1, None)),
        ("", (None, None)),
        ("[1]", (None, None)),
        ("{", (None, None)),
        ('{"result": NaN}', (None, None)),
        ('{"result": "\\ud800"}', (None, None)),
        (json.dumps({"result": "x" * JSON_BYTES}), (None, None)),
        ('{"result": ' + "[" * 60 + "]" * 60 + "}", (None, None)),
        ("[" * 100_000, (None, None)),
    ],
)
def test_what_can_not_be_stored_is_not_kept(tmp_path: Path, text: str, told: Any) -> None:
    one = launch(tmp_path)
    one.result.write_text(text)
    assert one.told() == told
    assert not one.result.exists()


def test_no_result_is_none(tmp_path: Path) -> None:
    assert launch(tmp_path).told() == (None, None)


def test_a_secret_in_a_result_is_blotted_out_however_it_is_escaped(tmp_path: Path) -> None:
    secret = 'pä"ss\nword'
    one = launch(tmp_path, secret)
    one.result.write_text(json.dumps({"result": [f"<{secret}>"], "error": secret}))
    assert one.told() == (["<***>"], "***")


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    one = launch(tmp_path)
    os.mkfifo(one.result)
    assert one.told() == (None, None)
