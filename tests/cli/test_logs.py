"""The server's log."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from tocsin.cli.logs import JsonLines, TextLines


def record(message: str, *, exc_info: bool = False, **fields: object) -> logging.LogRecord:
    info = sys.exc_info() if exc_info else None
    made = logging.getLogger("tocsin.x").makeRecord(
        "tocsin.x", logging.WARNING, "f", 1, message, (), info, extra=fields
    )
    made.created = 1_772_442_000.25
    return made


def test_a_line_of_text_has_time_level_logger_message_and_fields() -> None:
    line = TextLines().format(record("it happened", firing="f1"))
    assert line == "2026-03-02T09:00:00.250Z WARNING tocsin.x: it happened firing=f1"


@pytest.mark.parametrize("form", [TextLines, JsonLines])
def test_ids_stand_in_both_forms(form: type[logging.Formatter]) -> None:
    ids: dict[str, Any] = {
        "event": "e1",
        "firing": "f1",
        "automation": "late",
        "intent": "i1",
        "run": "r1",
        "request": "q1",
    }
    line = form().format(record("it happened", **ids))
    for name, value in ids.items():
        assert (f"{name}={value}" if form is TextLines else f'"{name}": "{value}"') in line


def test_a_field_can_not_take_the_place_of_another() -> None:
    line = json.loads(JsonLines().format(record("it happened", level="none", time="never", logger="nobody")))
    assert (line["level"], line["logger"]) == ("warning", "tocsin.x")
    assert line["time"].startswith("2026-03-02T")


def test_what_comes_from_events_can_forge_no_line() -> None:
    forged = "quiet\n2026-03-02T09:00:00Z INFO tocsin.x: all is well\x1b[2J"
    line = TextLines().format(record(forged, label=forged))
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_line_of_json_is_one_object() -> None:
    try:
        int("no")
    except ValueError:
        text = JsonLines().format(record("it\nhappened", exc_info=True, firing="f1", moment=object))
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"], line["firing"]) == (
        "warning", "tocsin.x", "it\nhappened", "f1",
    )  # fmt: skip
    assert line["time"] == "2026-03-02T09:00:00.250Z"
    assert "ValueError: invalid literal" in line["exception"]
