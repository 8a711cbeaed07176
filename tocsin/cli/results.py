"""How the results of backtests and tests are printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.text import Text

from tocsin.cli import output
from tocsin.review.backtest import Stretch, backtest, document
from tocsin.review.history import History
from tocsin.review.suite import Outcome, Row
from tocsin.schemas.automation import Automation
from tocsin.schemas.case import ExpectedFiring
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros, from_micros

_VERDICT_WIDTH = 8


def show_backtest(
    automations: list[Automation], lines: Iterable[bytes], source: str, *, stretch: Stretch, json: bool
) -> None:
    """Judge recorded events and print each firing as it comes; on standard error how far that is, and a summary."""
    history, progress = History(lines, file=source), Progress()
    width = max((len(one.name) for one in automations), default=0)
    count = 0
    for firing in backtest(automations, history, stretch, progress=progress.show):
        count += 1
        progress.clear()
        if json:
            output.json_line(document(firing, history))
        else:
            _show_firing(firing, width)
    progress.clear()
    if not json:
        known = f", {_counted(history.duplicates, 'duplicate')}" if history.duplicates else ""
        watched = _counted(len(automations), "automation")
        output.note(f"{_counted(count, 'firing')} of {watched} over {_counted(len(history), 'event')}{known}")


class Progress:
    """Says on a terminal how far a long backtest is, on a line that is wiped before anything else is printed."""

    def __init__(self) -> None:
        """Notice whether standard error is a terminal; otherwise say nothing."""
        self._on = sys.stderr.isatty()
        self._shown = False

    def show(self, events: int, now_us: Micros) -> None:
        """Say how many events were judged, and up to when."""
        if self._on:
            sys.stderr.write(f"\r\x1b[K{events:,} events, up to {output.clock_time(now_us)}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Wipe the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def _show_firing(firing: Firing, width: int) -> None:
    row = Text.assemble(
        (output.clock_time(firing.at_us), "dim"), "  ",
        (f"{firing.verdict.value:<{_VERDICT_WIDTH}}", output.STYLES[firing.verdict.value]), "  ",
        (f"{output.printable(firing.automation):<{width}}", "bold"), "  ",
        output.cell(firing.labels), "  " if firing.labels else "",
        (output.printable(firing.reason), "dim"),
    )  # fmt: skip
    output.console().print(row)


def show_outcome(outcome: Outcome) -> None:
    """Print whether a case passed; if not, every firing beside what was expected, with the judge's reason."""
    case, screen = outcome.case, output.console()
    word, style = ("pass", "green") if outcome.passed else ("FAIL", "bold red")
    about = Text(f" ({output.printable(case.automation)})", style="dim")
    screen.print(Text(word, style=style) + Text(f"  {output.printable(case.name)}") + about)
    if outcome.passed:
        return
    zone = _zone(outcome)
    for row in outcome.rows:
        for text, colour in _difference(row, outcome.ids, zone):
            screen.print(Text(f"      {output.printable(text)}", style=colour))


def _difference(row: Row, ids: dict[int, str], zone: tzinfo) -> list[tuple[str, str]]:
    reason = [(f"    because  {row.actual.reason}", "dim")] if row.actual is not None else []
    if row.right and row.actual is not None:
        return [(f"  as expected  {_told(_actual(row.actual, ids, zone))}", "dim")]
    if row.expected is None and row.actual is not None:
        return [(f"+ unexpected   {_told(_actual(row.actual, ids, zone))}", "yellow"), *reason]
    assert row.expected is not None
    wanted = _expected(row.expected, zone)
    if row.actual is None:
        return [(f"- missing      {_told(wanted)}", "red")]
    had = _actual(row.actual, ids, zone)
    said = ", ".join(f"{name} is {had[name]}, expected {wanted[name]}" for name in row.differs)
    return [(f"! differs      {_told(had)}", "red"), (f"    in       {said}", "red"), *reason]


def _told(fields: dict[str, str]) -> str:
    return "  ".join(fields["verdict"] if name == "verdict" else f"{name} {text}" for name, text in fields.items())


def _actual(firing: Firing, ids: dict[int, str], zone: tzinfo) -> dict[str, str]:
    return {
        "verdict": firing.verdict.value,
        "at": _time(from_micros(firing.at_us), zone),
        "due": "none" if firing.due_us is None else _time(from_micros(firing.due_us), zone),
        "labels": _labels(firing.labels),
        "events": ", ".join(ids[seq] for seq in firing.events) or "none",
    }


def _expected(firing: ExpectedFiring, zone: tzinfo) -> dict[str, str]:
    fields = {
        "verdict": firing.verdict.value,
        "at": None if firing.at is None else _time(firing.at, zone),
        "due": None if firing.due is None else _time(firing.due, zone),
        "labels": None if firing.labels is None else _labels(firing.labels),
        "events": None if firing.events is None else ", ".join(firing.events) or "none",
    }
    return {name: text for name, text in fields.items() if text is not None}


def _labels(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "none"


def _time(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(sep=" ").replace("+00:00", "Z")


def _zone(outcome: Outcome) -> tzinfo:
    """Return the zone in which the case itself is written."""
    case = outcome.case
    times = [*(one.at for one in case.firings), case.start, *(one.at for one in case.events), case.end]
    return next((moment.tzinfo for moment in times if moment is not None and moment.tzinfo is not None), UTC)


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Return what came of a case as `--json` prints it."""
    return {
        "name": outcome.case.name,
        "automation": outcome.case.automation,
        "passed": outcome.passed,
        "firings": [_row_document(row, outcome.ids) for row in outcome.rows],
    }


def _row_document(row: Row, ids: dict[int, str]) -> dict[str, Any]:
    expected = None if row.expected is None else row.expected.model_dump(mode="json", exclude_unset=True)
    actual = None
    if row.actual is not None:
        actual = _actual(row.actual, ids, UTC) | {"labels": row.actual.labels, "reason": row.actual.reason}
    return {"right": row.right, "differs": list(row.differs), "expected": expected, "actual": actual}


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
