"""Options that several commands share, and the readers of their values."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Definitions = Annotated[Path, typer.Argument(help="A definitions file, or a folder of them.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Since = Annotated[str | None, typer.Option(help="From when on: a time, or how long ago (7d, 90m).")]
Until = Annotated[str | None, typer.Option(help="Up to when: a time, or how long ago.")]


class ListByDefault(TyperGroup):
    """A group whose `list` command is meant when no other is named: `tocsin firings --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in front where no command stands."""
        named = args and (not args[0].startswith("-") or args[0] in ("-h", "--help"))
        if not (named or ctx.resilient_parsing):  # a shell that completes asks for the commands themselves
            args = ["list", *args]
        return super().parse_args(ctx, args)


def group(help: str) -> typer.Typer:
    """Return a group of commands with `list` as the default."""
    return typer.Typer(cls=ListByDefault, help=help, no_args_is_help=False, add_completion=False)


def moment_us(text: str | None, *, option: str) -> int | None:
    """Read a moment: ISO 8601 (the local zone, unless it names one), or how long ago; in microseconds.

    Raises:
        typer.BadParameter: it is neither (exit status 2).
    """
    from tocsin.clock import SystemClock
    from tocsin.schemas.moments import duration_us, parse_duration, to_micros

    if text is None:
        return None
    try:
        return SystemClock().now_us() - duration_us(parse_duration(text))
    except ValueError:
        pass
    try:
        return to_micros(datetime.fromisoformat(text).astimezone())
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a time (2026-11-20T08:57:02Z) nor how long ago (7d, 90m)"
        raise typer.BadParameter(message, param_hint=option) from None


def moment_text(text: str | None, *, option: str) -> str | None:
    """Read a moment as `moment_us` does, and return it as the API takes it."""
    from tocsin.schemas.moments import iso

    return iso(moment_us(text, option=option))


def usage(message: str) -> typer.BadParameter:
    """Return the error of a wrong use of a command; it exits with 2."""
    return typer.BadParameter(message)
