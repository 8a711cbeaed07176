"""What people and programs see."""

from __future__ import annotations

import json

import pytest

from tocsin.cli import output
from tocsin.schemas.moments import HOUR, MINUTE, SECOND, Micros, iso

NOW = 1_772_442_000 * SECOND


def test_a_json_line_is_one_line_and_keeps_its_letters(capsys: pytest.CaptureFixture[str]) -> None:
    output.json_line({"title": "zu spät\nsehr", "n": 1})
    written = capsys.readouterr().out
    assert written == '{"title": "zu spät\\nsehr", "n": 1}\n'
    assert json.loads(written)["title"] == "zu spät\nsehr"


def test_columns_are_aligned_and_lines_end_with_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "state", "reason"), [("a", "fired", None), ("longer", "x", "because")])
    assert capsys.readouterr().out.splitlines() == ["name    state  reason", "a       fired", "longer  x      because"]


def test_a_long_value_is_neither_cut_nor_wrapped_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id", "reason"), [("a" * 100, "b" * 300)])
    assert capsys.readouterr().out.splitlines()[1] == f"{'a' * 100}  {'b' * 300}"


def test_events_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jgone\x07\r\n\u202ereversed [red]text[/red] :smile:"
    output.line(evil)
    output.table(("a",), [(evil,)])
    output.document({evil: {"inner": evil}})
    written = capsys.readouterr().out
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "\x07" not in written
    assert written.splitlines()[0] == "\\x1b[2Jgone\\x07\\r\\n\\u202ereversed [red]text[/red] :smile:"


def test_a_document_leaves_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output.document(
        {"id": "1", "due": None, "events": [], "labels": {"id": "a"}, "tried": [{"n": 1}], "tags": ["x", "y"]}
    )
    assert capsys.readouterr().out.splitlines() == [
        "id: 1", "labels:", "  id: a", "tried:", "  1:", "    n: 1", "tags: x, y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("away_us", "said"),
    [(0, "now"), (4 * MINUTE + 59 * SECOND, "in 4m"), (3 * SECOND, "in 3s"), (-2 * HOUR, "2h ago"),
     (-90 * SECOND, "1m ago"), (-50 * HOUR, "2d ago"), (-SECOND // 2, "now")],
)  # fmt: skip
def test_how_far_away_a_moment_is(away_us: Micros, said: str) -> None:
    assert output.relative(iso(NOW + away_us), NOW) == said


def test_a_local_time_shows_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = output.local("2026-11-20T08:57:02.123Z")
    assert shown is not None
    assert shown[-6] in "+-"
    assert output.local(None) is None


def test_a_line_on_a_terminal_has_colours_and_no_padding_behind_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    rows = [("missed", "x" * 200), ("fired", "short")]
    output.table(("verdict", "reason"), rows)
    header, missed, fired = capsys.readouterr().out.splitlines()
    assert header.endswith("reason\x1b[0m")
    assert "\x1b[1;31mmissed" in missed
    assert fired.endswith("  short")
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(("verdict", "reason"), rows)
    assert "\x1b[1;31m" not in capsys.readouterr().out
