"""How the command line prints: JSON lines for programs, aligned text for people.

What came from events is never trusted: control characters are shown, not sent to the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tocsin.schemas.moments import DAY, HOUR, MINUTE, SECOND, Micros, from_micros, to_micros

STYLES = {
    "fired": "yellow", "missed": "bold red", "late": "yellow", "unknown": "magenta", "resolved": "green",
    "succeeded": "green", "completed": "green", "failed": "red", "dead": "bold red", "crashed": "bold red",
    "running": "cyan", "waiting": "cyan", "pending": "cyan", "paused": "yellow", "cancelled": "yellow",
    "shadow": "magenta", "disabled": "dim", "yes": "green", "no": "red", "ok": "green", "wrong": "bold red",
}  # fmt: skip
"""Words that have a colour of their own wherever they stand alone in a cell."""

Row = Callable[[dict[str, Any]], Sequence[Any]]
"""Makes the cells of one row."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_VERBATIM = frozenset({"definition", "payload", "parameters", "spec"})
_PADDING = re.compile(r" +(?=(?:\x1b\[0m)?$)")
_UNLIMITED = 1_000_000


def json_line(item: Any) -> None:
    """Print one JSON object on one line."""
    sys.stdout.write(json.dumps(item, ensure_ascii=False, separators=(", ", ": ")) + "\n")


def console(*, stderr: bool = False) -> Console:
    """Return where text for people goes: coloured on a terminal, which wraps long lines itself if it has to."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=_UNLIMITED, highlight=False, emoji=False, markup=False)


def line(text: str, *, style: str = "") -> None:
    """Print one line for people."""
    console().print(Text(printable(text), style=style))


def heading(text: str) -> None:
    """Print the title of what follows, behind an empty line."""
    sys.stdout.write("\n")
    line(text, style="bold")


def note(text: str) -> None:
    """Print one line beside the output, on standard error."""
    console(stderr=True).print(Text(printable(text)))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print aligned rows, a line each, under the names of their columns."""
    grid = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for row in rows:
        grid.add_row(*map(cell, row))
    screen = console()
    with screen.capture() as captured:
        screen.print(grid)
    sys.stdout.write("".join(_PADDING.sub("", part) + "\n" for part in captured.get().splitlines()))


def items(found: Iterable[dict[str, Any]], columns: Sequence[str], row: Row, *, json: bool) -> None:
    """Print what a list answered: a JSON object a line as it comes, or a table."""
    if json:
        for one in found:
            json_line(one)
    else:
        table(columns, map(row, found))


def one(found: dict[str, Any], row: Row, *, json: bool) -> None:
    """Print one item of a list that has no end, at once."""
    if json:
        json_line(found)
    else:
        line("  ".join(str(cell(part)) for part in row(found)))
    sys.stdout.flush()


def item(found: dict[str, Any], *, json: bool) -> None:
    """Print one thing with everything that is known about it."""
    if json:
        json_line(found)
    else:
        document(found)


def done(answer: Any, sentence: str, *, json: bool) -> None:
    """Print what a command did: the server's answer, or a sentence."""
    if json:
        json_line(answer)
    else:
        line(sentence)


def document(found: Any, indent: int = 0, *, verbatim: bool = False) -> None:
    """Print nested data as `name: value`, in the order given; what is empty is left out.

    Moments are shown in the local zone, but not in what people and senders wrote (`verbatim`).
    """
    for name, value in found.items() if isinstance(found, Mapping) else enumerate(found, 1):
        if value is None or value in ({}, [], ""):
            continue
        if isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, Mapping) for one in value)):
            line(f"{' ' * indent}{name}:")
            document(value, indent + 2, verbatim=verbatim or name in _VERBATIM)
        else:
            shown = cell(value if verbatim else _localised(value))
            console().print(Text(f"{' ' * indent}{printable(str(name))}: ", style="dim") + shown)


def _localised(value: Any) -> Any:
    if isinstance(value, list):
        return [_localised(one) for one in value]
    return local(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else value


def explanation(found: dict[str, Any]) -> None:
    """Print why an event did, or did not, make an automation fire: each predicate, then what was decided."""
    word, style = ("matched", "green") if found["matched"] else ("no match", "yellow")
    line(f"{found['automation']}: {word}", style=f"bold {style}")
    line(f"  {found['summary']}")
    for trigger in found["triggers"]:
        if len(found["triggers"]) > 1:
            line(f"  {trigger['place']}", style="dim")
        for one in trigger["predicates"]:
            sign, colour = ("+", "green") if one["passed"] else ("-", "red")
            line(f"    {sign} {one['name']}: {_inline(one['pattern'])}  <- {_inline(one['value'])}", style=colour)
    for one in found["decisions"]:
        line(f"  decided{' for ' + str(cell(one['labels'])) if one['labels'] else ''}: {one['text']}")


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(value: Any) -> Text:
    """Return a value as a cell: nothing for None, `a=1 b=2` for labels, coloured where the word has a colour."""
    if isinstance(value, Text):
        return value
    if isinstance(value, Mapping):
        text = " ".join(f"{name}={inner}" for name, inner in value.items())
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, list | tuple):
        text = ", ".join(map(str, value))
    else:
        text = "" if value is None else str(value)
    return Text(printable(text), style=STYLES.get(text, ""))


def printable(text: str) -> str:
    """Return the text with every character that could steer a terminal written as its escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def local(moment: str | None) -> str | None:
    """Return a moment of the API in the local zone, with its offset: `2026-11-20 09:57:02+01:00`."""
    if moment is None:
        return None
    return datetime.fromisoformat(moment).astimezone().isoformat(sep=" ", timespec="seconds")


def clock_time(moment_us: Micros) -> str:
    """Return a moment in the local zone, with its offset."""
    return from_micros(moment_us).astimezone().isoformat(sep=" ", timespec="seconds")


def is_ahead(moment: str, now_us: Micros) -> bool:
    """Return whether a moment of the API is still to come."""
    return to_micros(datetime.fromisoformat(moment)) > now_us


def relative(moment: str | None, now_us: Micros) -> str | None:
    """Return how far away a moment of the API is: `in 4m`, `2h ago`, `now`."""
    if moment is None:
        return None
    away_us = to_micros(datetime.fromisoformat(moment)) - now_us
    for unit, size_us in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if abs(away_us) >= size_us:
            count = f"{abs(away_us) // size_us}{unit}"
            return f"in {count}" if away_us > 0 else f"{count} ago"
    return "now"
